//! How a scenario is written: TOML, a patient and a timeline of events.
//!
//! Every mistake is told with its line. `README.md` of this package describes the format.
//!
//! - `written`: the fields
//! - `values`: times and numbers
//! - `course`: vital signs that jump and vital signs that drift, into values from a moment on

mod course;
mod values;
mod written;

use super::{
    Body, Crowd, Cuff, Glucose, Infusion, Measure, Rhythm, Scenario, Station, Step, Text, Vitals,
};
use course::{Changes, Course};
use thiserror::Error;
use toml::Spanned;
use values::{Hundredths, Time};
use written::{Base, Event, Happening, Limit, People, Programme, Pump, Written};

/// A story goes on for at most so long, in seconds: a week.
const LENGTH_MAX_S: u64 = 7 * 24 * 3600;
/// "Rate limits 0.1–1200 ml/h" of syringe pumps, in hundredths.
const RATE_MAX: u64 = 120_000;
/// "INSOL long name ≤ 25 characters".
const DRUG_MAX: usize = 25;
/// What a meter has numbers for, in mg/dL.
const GLUCOSE: std::ops::RangeInclusive<u16> = 1..=u16::MAX - 1;
const LO: u16 = 0;
const HI: u16 = u16::MAX;
/// Grams of carbohydrate of anything between a biscuit and a feast.
const MEAL_G: std::ops::RangeInclusive<u16> = 1..=500;
/// Units of one injection.
const INSULIN: std::ops::RangeInclusive<u16> = 1..=100;

/// Why a file is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It is not TOML, or has a field that is unknown, missing or of another kind.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// It cannot be played as it is.
    #[error("{}", .0.join("\n"))]
    Mistakes(Vec<String>),
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When it cannot be played, with every mistake and its line.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let written: Written = toml::from_str(text)?;
        let mut mistakes = Mistakes { text, found: Vec::new() };
        let mut reader = Reader::begin(&written, &mut mistakes);
        // An event cannot be judged by a story that is wrong itself.
        if mistakes.found.is_empty() {
            for event in &written.event {
                mistakes.note(event, reader.event(event.get_ref()));
            }
            for crowd in &written.crowd {
                mistakes.note(crowd, reader.crowd(crowd.get_ref()));
            }
        }
        match mistakes.found.is_empty() {
            true => Ok(reader.end()),
            false => Err(ScenarioError::Mistakes(mistakes.found)),
        }
    }
}

/// What is wrong with a text, each with its line.
struct Mistakes<'t> {
    text: &'t str,
    found: Vec<String>,
}

impl Mistakes<'_> {
    /// What was read of that part, if nothing is wrong with it.
    fn note<P, T>(&mut self, part: &Spanned<P>, read: Result<T, String>) -> Option<T> {
        let before = self.text.get(..part.span().start).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        read.map_err(|mistake| self.found.push(format!("line {line}: {mistake}"))).ok()
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    scenario: Scenario,
    course: Course,
    /// When the last event was.
    last_s: u64,
    /// Until when a bolus runs.
    bolus_until_s: u64,
}

impl Reader {
    fn begin(written: &Written, mistakes: &mut Mistakes<'_>) -> Self {
        let length_s = written.length.get_ref().0;
        if length_s == 0 || length_s > LENGTH_MAX_S {
            let mistake = "length: a story is longer than nothing and at most a week";
            mistakes.note(&written.length, Err::<(), _>(mistake.to_owned()));
        }
        let patient = match &written.patient {
            Some(patient) => mistakes.note(patient, patient_of(patient.get_ref())),
            None => patient_of(&Base::default()).ok(),
        };
        let (course, body) = patient.unwrap_or_default();
        let station = written.station.as_ref();
        let infusion = written.infusion.as_ref();
        let scenario = Scenario {
            about: written.about.clone(),
            repeat_s: length_s,
            starts_at_s: written.starts_at.0,
            is_exact: written.exact,
            body,
            station: station.and_then(|part| mistakes.note(part, station_of(*part.get_ref()))),
            infusion: infusion.and_then(|part| mistakes.note(part, programme(part.get_ref()))),
            ..Scenario::default()
        };
        Self { scenario, course, last_s: 0, bolus_until_s: 0 }
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let at_s = event.at.0;
        if at_s >= self.scenario.repeat_s {
            return Err("this is at or after the end of the story: see length".to_owned());
        }
        if at_s < self.last_s {
            return Err("this is earlier than the event before it: keep them in order".to_owned());
        }
        self.last_s = at_s;
        event.has_one_action()?;
        if let Some(changes) = &event.set {
            let over_s = event.over.unwrap_or_default().0;
            self.ends(at_s, over_s, "over")?;
            self.course.change(at_s, over_s, changes)?;
        } else if let Some(what) = event.what {
            self.happens(what, at_s, event)?;
        } else if let Some(rhythm) = event.rhythm {
            self.rhythm(rhythm, at_s, event.lasts)?;
        } else if let Some(measure) = event.measure {
            self.measure(measure, at_s, event)?;
        } else if event.meal.is_some_and(|grams| !MEAL_G.contains(&grams)) {
            return Err("meal: from 1 to 500 g of carbohydrate".to_owned());
        } else if event.insulin.as_ref().is_some_and(|dose| !INSULIN.contains(&dose.units)) {
            return Err("insulin: from 1 to 100 units".to_owned());
        } else if let Some(grams) = event.meal {
            self.scenario.body.meals.push((at_s, grams));
        } else if let Some(dose) = &event.insulin {
            self.scenario.body.insulin.push((at_s, dose.units, dose.kind));
        } else if let Some(pump) = &event.pump {
            self.pump(pump, at_s, event.over)?;
        }
        Ok(())
    }

    /// When something that begins then is over.
    fn ends(&self, at_s: u64, lasts_s: u64, field: &str) -> Result<u64, String> {
        let until_s = at_s.saturating_add(lasts_s);
        if until_s > self.scenario.repeat_s {
            return Err(format!("{field}: this goes on after the end of the story: see length"));
        }
        Ok(until_s)
    }

    fn happens(&mut self, what: Happening, at_s: u64, event: &Event) -> Result<(), String> {
        let lasts_s = event.lasts.ok_or(r#"what happens has an end: add lasts = "00:00:30""#)?.0;
        if lasts_s == 0 {
            return Err("lasts: what happens takes a second at least".to_owned());
        }
        let until_s = self.ends(at_s, lasts_s, "lasts")?;
        let codes_of = match what {
            Happening::Oximeter => 2..=4,
            Happening::TemperatureOff => 1..=3,
            _ => 0..=u8::MAX,
        };
        if event.code.is_some_and(|code| !codes_of.contains(&code)) {
            return Err(format!("code: from {} to {}", codes_of.start(), codes_of.end()));
        }
        let scenario = &mut self.scenario;
        let (spans, codes) = match what {
            Happening::LeadsOff => (Some(&mut scenario.leads_off), None),
            Happening::ProbeOff => (Some(&mut scenario.probe_off), None),
            Happening::WeakSignal => (Some(&mut scenario.weak_signal), None),
            Happening::Saturation => (Some(&mut scenario.saturation), None),
            Happening::Motion => (Some(&mut scenario.motion), None),
            Happening::Occlusion => (Some(&mut scenario.occlusion), None),
            Happening::PumpAway => (Some(&mut scenario.pump_away), None),
            Happening::MonitorBusy => (Some(&mut scenario.monitor_busy), None),
            Happening::Unplugged => (Some(&mut scenario.unplugged), None),
            Happening::Off => (Some(&mut scenario.switched_off), None),
            Happening::Oximeter => (None, Some(&mut scenario.oximeter)),
            Happening::TemperatureOff => (None, Some(&mut scenario.temperature_off)),
            Happening::Arrhythmia => (None, Some(&mut scenario.arrhythmia)),
            Happening::EctopicBeats => (None, Some(&mut scenario.ectopic_beats)),
        };
        match (spans, codes, event.code) {
            (Some(spans), _, None) => spans.push((at_s, until_s)),
            (_, Some(codes), Some(code)) => codes.push((at_s, until_s, code)),
            (Some(_), _, Some(_)) => return Err("code: this happening has none".to_owned()),
            (None, _, _) => return Err("this happening needs a code: see README.md".to_owned()),
        }
        Ok(())
    }

    /// A rhythm lasts until the next one, or as long as it is told to.
    fn rhythm(&mut self, rhythm: Rhythm, at_s: u64, lasts: Option<Time>) -> Result<(), String> {
        let until_s = match lasts {
            Some(lasts) => self.ends(at_s, lasts.0, "lasts")?,
            None => self.scenario.repeat_s,
        };
        if let Some((_, until, _)) = self.scenario.rhythm.last_mut() {
            *until = (*until).min(at_s);
        }
        self.scenario.rhythm.push((at_s, until_s, rhythm));
        Ok(())
    }

    fn measure(&mut self, measure: Measure, at_s: u64, event: &Event) -> Result<(), String> {
        let is_cuff = measure != Measure::Glucose;
        let has_glucose = event.mg_per_dl.is_some() || event.reads.is_some();
        let has_cuff = event.pressure.is_some() || event.pulse.is_some() || event.failed.is_some();
        if (is_cuff && has_glucose) || (!is_cuff && (has_cuff || event.moved.is_some())) {
            return Err("this is the result of another measurement".to_owned());
        }
        let scenario = &mut self.scenario;
        if let Some(count) = event.moved {
            if measure != Measure::Kiosk {
                return Err("moved: only a kiosk counts movements".to_owned());
            }
            scenario.kiosk_moved.push((at_s, count));
        }
        let (cuffs, failures) = match measure {
            Measure::Kiosk => (&mut scenario.kiosk, &mut scenario.kiosk_failed),
            _ => (&mut scenario.monitor_cuff, &mut scenario.monitor_cuff_failed),
        };
        let falls = |[systolic, mean, diastolic]: [u8; 3]| systolic >= mean && mean >= diastolic;
        match (event.pressure, event.pulse, event.failed) {
            _ if !is_cuff => return self.glucose(at_s, event),
            (Some(pressure), ..) if !falls(pressure) => {
                return Err("pressure: systolic, mean, diastolic, from high to low".to_owned());
            }
            (.., Some(100..)) if measure == Measure::Kiosk => {
                return Err("failed: a kiosk's E-code has two digits".to_owned());
            }
            (Some(pressure), Some(pulse), None) => cuffs.push(Cuff { at_s, pressure, pulse }),
            (None, None, Some(code)) => failures.push((at_s, code)),
            (None, None, None) => scenario.measures.push((at_s, measure)),
            _ => return Err("give pressure and pulse, or failed, or none of them".to_owned()),
        }
        Ok(())
    }

    fn glucose(&mut self, at_s: u64, event: &Event) -> Result<(), String> {
        let mg_per_dl = match (event.mg_per_dl, event.reads) {
            (None, None) => {
                self.scenario.measures.push((at_s, Measure::Glucose));
                return Ok(());
            }
            (Some(value), None) if GLUCOSE.contains(&value) => value,
            (None, Some(Limit::Lo)) => LO,
            (None, Some(Limit::Hi)) => HI,
            _ => return Err(r#"give mg_per_dl, or reads = "LO" or "HI""#.to_owned()),
        };
        self.scenario.glucose.push(Glucose { at_s, mg_per_dl });
        Ok(())
    }

    fn pump(&mut self, pump: &Pump, at_s: u64, over: Option<Time>) -> Result<(), String> {
        if at_s < self.bolus_until_s {
            return Err("pump: a bolus is running".to_owned());
        }
        let before = self.scenario.infusion.as_ref().and_then(|infusion| infusion.step(at_s));
        let before = before.ok_or("pump: there is no [infusion]")?;
        let now = Step { at_s, is_bolus: false, syringe: None, ..before };
        let mut then = None;
        let step = match (pump.rate, pump.bolus, pump.syringe, over) {
            (Some(rate), None, None, None) => Step { rate: rate_of(rate)?, ..now },
            (None, None, Some(volume), None) => Step { syringe: Some(volume_of(volume)?), ..now },
            (None, Some(volume), None, Some(Time(over_s @ 1..))) => {
                let until_s = self.ends(at_s, over_s, "over")?;
                let per_hour = volume_of(volume)? * 3600;
                if per_hour % over_s != 0 || per_hour / over_s > RATE_MAX {
                    let advice = "pump: choose over so that the rate of the bolus is at most \
                                  1200 ml/h and has two decimals";
                    return Err(advice.to_owned());
                }
                self.bolus_until_s = until_s;
                then = Some(Step { at_s: until_s, ..now });
                Step { rate: per_hour / over_s, is_bolus: true, ..now }
            }
            _ => {
                let advice = "pump: give rate, or syringe, or bolus together with over";
                return Err(advice.to_owned());
            }
        };
        if let Some(infusion) = &mut self.scenario.infusion {
            infusion.steps.push(step);
            infusion.steps.extend(then);
        }
        Ok(())
    }

    fn crowd(&mut self, people: &People) -> Result<(), String> {
        let span = (people.from.0, people.until.0);
        // A measurement takes a minute, and so does a second try.
        let room_s = span.1.saturating_sub(span.0) / u64::from(people.people.max(1));
        let is_nobody = people.people == 0;
        let has_room = span.1 <= self.scenario.repeat_s && room_s >= 120;
        if is_nobody || !has_room || people.failed > people.people {
            let advice = "a crowd comes within the story, is somebody, with two minutes for \
                          everyone, and no more tries fail than people come";
            return Err(advice.to_owned());
        }
        let crowd = Crowd { span, people: people.people, failed: people.failed };
        self.scenario.crowds.push(crowd);
        Ok(())
    }

    fn end(self) -> Scenario {
        Scenario { vitals: self.course.vitals(), ..self.scenario }
    }
}

fn patient_of(patient: &Base) -> Result<(Course, Body), String> {
    let [t1, t2] = patient.temperature;
    let all = Changes {
        hr: Some(patient.hr),
        rr: Some(patient.rr),
        spo2: Some(patient.spo2),
        temperature: Some([t1, t2]),
        st: Some(patient.st),
        pressure: Some(patient.pressure),
    };
    let mut course = Course::default();
    course.change(0, 0, &all).map_err(|mistake| format!("patient: {mistake}"))?;
    if patient.night_dip > 40 {
        return Err("patient: night_dip is a percentage, at most 40".to_owned());
    }
    if !(40..=600).contains(&patient.glucose) {
        return Err("patient: glucose is fasting, in mg/dL, from 40 to 600".to_owned());
    }
    let body = Body {
        night_dip: patient.night_dip,
        fasting: patient.glucose,
        is_diabetic: patient.diabetic,
        ..Body::default()
    };
    Ok((course, body))
}

fn station_of(station: Station) -> Result<Station, String> {
    if station.pumps > 3 || station.cycle_s == Some(0) {
        return Err("station: up to 3 pumps, and a cycle of a second at least".to_owned());
    }
    Ok(station)
}

fn programme(written: &Programme) -> Result<Infusion, String> {
    let (rate, volume) = (rate_of(written.rate)?, volume_of(written.syringe)?);
    let Text { zh, en } = &written.drug;
    let is_long = zh.chars().count() > DRUG_MAX || en.len() > DRUG_MAX;
    let is_odd = |letter: char| letter.is_control() || "^|!<>".contains(letter);
    if is_long || zh.contains(is_odd) || en.contains(is_odd) || !en.is_ascii() {
        return Err("infusion: a drug has at most 25 letters, and en is ASCII".to_owned());
    }
    let first = Step { at_s: 0, rate, is_bolus: false, syringe: Some(volume) };
    Ok(Infusion { drug: written.drug.clone(), steps: vec![first] })
}

fn rate_of(rate: Hundredths) -> Result<u64, String> {
    let rate = rate.positive().filter(|rate| *rate <= RATE_MAX);
    rate.ok_or_else(|| "rate: from 0 to 1200 ml/h, with at most two decimals".to_owned())
}

fn volume_of(volume: Hundredths) -> Result<u64, String> {
    let volume = volume.positive().filter(|volume| (1..=100_000).contains(volume));
    volume.ok_or_else(|| "a volume: up to 1000 ml, with at most two decimals".to_owned())
}

#[cfg(test)]
mod tests;
