//! What is compared, and the differences that the alert rules allow: section 8 by its rows, and no
//! others.

use crate::{
    link::told,
    oracle::Episode,
    script::{Script, second},
    world::Outcome,
};
use jiff::Timestamp;
use model::time::WallTime;
use rules::alert::Alert;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::LazyLock,
};

/// "Fresh: at most 60 s old, of streams; 10 min of spot values."
pub(crate) const STREAM_FRESH_S: i64 = 60;
const SPOT_FRESH_S: i64 = 600;
/// A late spot value still tells the present (row 5).
const SPOT_TELLS_S: i64 = 4 * 3600;
/// What is known again does not sound anew at once because of its time.
const KNOWN_S: i64 = 30;
/// What comes back later than this after it was over is another episode.
pub(crate) const SAME_S: i64 = 300;
/// Rows of the table by which an alert is told in silence.
const SILENT_ROWS: [u64; 3] = [2, 3, 6];

/// Rule → how urgent it is.
static PRIORITIES: LazyLock<BTreeMap<String, u8>> = LazyLock::new(|| {
    let set: Value = serde_json::from_str(crate::RULES).unwrap();
    let rules = set["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| (text(&rule["id"]).unwrap(), rank(rule["priority"].as_str().unwrap_or("low"))))
        .collect()
});

/// What the oracle judges.
const FAMILIES: [&str; 11] = [
    "hr_low",
    "hr_high",
    "spo2_low",
    "rr_low",
    "rr_high",
    "bp_low",
    "bp_high",
    "glucose_low",
    "glucose_high",
    "temp_low",
    "temp_high",
];

fn rank(priority: &str) -> u8 {
    ["low", "medium", "high"]
        .iter()
        .position(|it| *it == priority)
        .map_or(0, |it| u8::try_from(it).unwrap())
}

/// What there is to count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) patients: usize,
    pub(crate) readings: usize,
    pub(crate) outages: usize,
    /// Envelopes that came late.
    pub(crate) late: usize,
    /// Of the oracle.
    pub(crate) episodes: usize,
    pub(crate) raised: usize,
    pub(crate) acknowledged: usize,
    /// By rows 2, 3 or 6; 4; 5.
    pub(crate) silent: usize,
    pub(crate) holds: usize,
    pub(crate) late_results: usize,
    /// Left out because another of its rule is worse (row 3).
    pub(crate) left_out: usize,
    /// Waiting for a person because they were told late (rows 2, 3 and 6).
    pub(crate) waits: usize,
    /// Raised by live values before the box's word of the same came, and a part of that since.
    pub(crate) parts: usize,
    /// Taken in hand when they were over, of which the news came later.
    pub(crate) seen_late: usize,
    /// Taken in hand before the news came that they had come back: they wait for a person.
    pub(crate) unseen: usize,
    /// Begun, ended or come back by what a lead counted before the news of it came (rows 1 and 8).
    pub(crate) leads: usize,
    /// Sounded so.
    pub(crate) leads_sounded: usize,
    /// Of those whose devices came or went.
    pub(crate) moved: usize,
    pub(crate) doubled: usize,
    pub(crate) missed: usize,
    pub(crate) sounded_late: usize,
    /// Any other difference.
    pub(crate) differ: usize,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.patients += other.patients;
        self.readings += other.readings;
        self.outages += other.outages;
        self.late += other.late;
        self.episodes += other.episodes;
        self.raised += other.raised;
        self.acknowledged += other.acknowledged;
        self.silent += other.silent;
        self.holds += other.holds;
        self.late_results += other.late_results;
        self.left_out += other.left_out;
        self.waits += other.waits;
        self.parts += other.parts;
        self.seen_late += other.seen_late;
        self.unseen += other.unseen;
        self.leads += other.leads;
        self.leads_sounded += other.leads_sounded;
        self.moved += other.moved;
        self.doubled += other.doubled;
        self.missed += other.missed;
        self.sounded_late += other.sounded_late;
        self.differ += other.differ;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} patients, {} words of devices, {} outages, {} envelopes late; {} episodes of the \
             oracle; after the outages {} alerts raised, {} of them in hand, {} doubled, {} missed, \
             {} sounded late, {} other than without one; as section 8 has it: {} told in silence \
             (rows 2, 3, 6), of them {} wait for a person, {} left out for a worse one (row 3), \
             {} hold (row 4), {} late results (row 5), {} taken in hand \
             before the news of their end came and {} before that they came back, {} begun, ended \
             or come back by what a lead counted before the news of it came and {} sounded so \
             (rows 1 and 8), {} of those whose devices changed; \
             {} were first raised by live values and are a part of what the box told",
            self.patients,
            self.readings,
            self.outages,
            self.late,
            self.episodes,
            self.raised,
            self.acknowledged,
            self.doubled,
            self.missed,
            self.sounded_late,
            self.differ,
            self.silent,
            self.waits,
            self.left_out,
            self.holds,
            self.late_results,
            self.seen_late,
            self.unseen,
            self.leads,
            self.leads_sounded,
            self.moved,
            self.parts
        )
    }
}

/// What went wrong in a ward, as somebody reads it.
#[derive(Debug)]
pub(crate) struct Story<'s> {
    script: &'s Script,
    pub(crate) figures: Figures,
    pub(crate) lines: Vec<String>,
}

/// An alert, as it is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) family: String,
    pub(crate) rules: Vec<String>,
    pub(crate) state: String,
    pub(crate) priority: String,
    /// The most urgent that it ever was.
    pub(crate) highest: u8,
    pub(crate) started: i64,
    pub(crate) cleared: Option<i64>,
    /// Why it was closed, where it was not because it was over.
    pub(crate) why: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) late_row: Option<u64>,
    pub(crate) retro: bool,
    /// It was closed as a part of another.
    is_part: bool,
    /// What happened, when.
    pub(crate) steps: Vec<(i64, String)>,
}

/// Why an alert of the county is closed when its box tells of the same.
const IS_PART: &str = "it is a part of what the box told";

fn moment(value: &Value) -> Option<i64> {
    let moment: Timestamp = value.as_str()?.parse().ok()?;
    Some(second(WallTime::from_unix_ms(moment.as_millisecond())))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Seen {
    fn told(alert: &Value) -> Self {
        let steps = alert["timeline"].as_array().unwrap();
        let story = steps.iter().map(|step| {
            (step["what"].as_str().unwrap(), step["detail"].as_str().unwrap_or_default())
        });
        let (priority, rules) = (text(&alert["priority"]).unwrap(), &alert["rules"]);
        Self {
            id: text(&alert["id"]).unwrap(),
            subject: text(&alert["patient"]).or(text(&alert["device"])).unwrap(),
            family: text(&alert["family"]).unwrap(),
            rules: rules.as_array().unwrap().iter().map(|id| text(id).unwrap()).collect(),
            state: text(&alert["state"]).unwrap(),
            highest: highest(&priority, story.clone()),
            priority,
            started: moment(&alert["started_at"]).unwrap(),
            cleared: moment(&alert["cleared_at"]),
            is_part: is_part(story.clone()),
            why: why(story),
            by: text(&alert["acknowledged_by"]),
            late_row: alert["late_row"].as_u64(),
            retro: alert["retro"] == json!(true),
            steps: steps
                .iter()
                .map(|step| (moment(&step["at"]).unwrap(), text(&step["what"]).unwrap()))
                .collect(),
        }
    }

    fn at_the_box(alert: &Alert) -> Self {
        let steps = alert.timeline.iter();
        let story = steps.clone().map(|step| (step.what.name(), step.detail.as_str()));
        Self {
            id: alert.id.to_string(),
            subject: match &alert.patient {
                Some(patient) => patient.to_string(),
                None => alert.device.to_string(),
            },
            family: alert.family.clone(),
            rules: alert.rules.clone(),
            state: alert.state.name().to_owned(),
            priority: alert.priority.name().to_owned(),
            highest: highest(alert.priority.name(), story.clone()),
            started: second(alert.started_at),
            cleared: alert.cleared_at.map(second),
            is_part: is_part(story.clone()),
            why: why(story),
            by: alert.acknowledged.as_ref().map(|by| by.by.clone()),
            late_row: alert.late_row.map(u64::from),
            retro: alert.retro,
            steps: steps.map(|step| (second(step.at), step.what.name().to_owned())).collect(),
        }
    }
}

impl Seen {
    /// It came back before somebody had it in hand, and the news of that came behind them.
    fn came_back_behind_a_person(&self) -> bool {
        let acknowledged = self.steps.iter().rposition(|(_, what)| what == "acknowledged");
        let Some(place) = acknowledged else { return false };
        let (by, behind) = (self.steps[place].0, &self.steps[place + 1..]);
        behind.iter().any(|(at, what)| what == "recurred" && *at < by)
    }
}

/// The most urgent that an alert ever was, by its story and what it is in the end.
fn highest<'s>(present: &str, story: impl Iterator<Item = (&'s str, &'s str)>) -> u8 {
    let (mut level, mut highest) = (0, rank(present));
    for (what, rule) in story {
        let of_rule = PRIORITIES.get(rule).copied().unwrap_or_default();
        level = match what {
            "raised" | "raised_late" | "recurred" | "priority_fell" => of_rule,
            "priority_rose" => of_rule.max(level + 1).min(rank("high")),
            _ => level,
        };
        highest = highest.max(level);
    }
    highest
}

/// Why it was closed, where it was not because it was over: what its box tells later may say that
/// it was.
fn why<'s>(story: impl Iterator<Item = (&'s str, &'s str)>) -> Option<String> {
    let mut why = None;
    for (what, detail) in story {
        match what {
            "closed" => why = Some(detail.to_owned()),
            "cleared" | "recurred" => why = None,
            _ => {}
        }
    }
    why.filter(|why| !why.is_empty())
}

fn is_part<'s>(story: impl Iterator<Item = (&'s str, &'s str)>) -> bool {
    story.last() == Some(("closed", IS_PART))
}

/// Every alert at the county, but for families that one end decides.
pub(crate) fn at_the_county(
    outcome: &Outcome,
    one_end: &BTreeSet<String>,
) -> BTreeMap<String, Seen> {
    let seen = outcome.county.iter().map(Seen::told);
    let seen = seen.filter(|alert| !one_end.contains(&alert.family));
    seen.map(|alert| (alert.id.clone(), alert)).collect()
}

/// The same at the box.
pub(crate) fn at_the_edge(outcome: &Outcome, one_end: &BTreeSet<String>) -> BTreeMap<String, Seen> {
    let seen = outcome.edge.values().map(Seen::at_the_box);
    let seen = seen.filter(|alert| !one_end.contains(&alert.family));
    seen.map(|alert| (alert.id.clone(), alert)).collect()
}

impl<'s> Story<'s> {
    pub(crate) fn of(script: &'s Script) -> Self {
        Self { script, figures: Figures::default(), lines: Vec::new() }
    }

    /// Whether the oracle knows of it.
    fn is_of_oracle(&self, alert: &Seen) -> bool {
        FAMILIES.contains(&alert.family.as_str()) && self.script.is_settled(&alert.subject)
    }

    pub(crate) fn says(&mut self, count: impl FnOnce(&mut Figures) -> &mut usize, line: String) {
        *count(&mut self.figures) += 1;
        self.lines.push(line);
    }

    /// Without an outage both ends tell the same story, word for word.
    pub(crate) fn compare_ends(&mut self, outcome: &Outcome, one_end: &BTreeSet<String>) {
        let edge = at_the_edge(outcome, one_end);
        let mut county = at_the_county(outcome, one_end);
        // On nobody for no time, while its device was put from one on the other: no box hears of it.
        let settled = |subject: &str| self.script.is_settled(subject);
        county.retain(|id, alert| {
            let is_passing = alert.why.is_some() && alert.cleared == Some(alert.started);
            edge.contains_key(id) || settled(&alert.subject) || !is_passing
        });
        for alert in county.values_mut() {
            // A late result is told so at both ends; the pass runs at the county alone.
            if alert.late_row.take_if(|row| *row != 5).is_some() {
                let line = format!("nothing was late, and is told so: {}", line_of(alert));
                self.says(|f| &mut f.differ, line);
            }
            // What somebody wrote as they took a device off is known where they wrote it.
            let own = edge.get(&alert.id).filter(|own| own.why.is_some() && alert.why.is_some());
            if let Some(own) = own {
                (alert.why, alert.cleared) = (own.why.clone(), own.cleared);
            }
        }
        self.differences("edge and county", &edge, &county);
    }

    /// What came twice, and a county that was restarted, change nothing.
    pub(crate) fn compare_doubled(&mut self, once: &Outcome, again: &Outcome) {
        let nothing = BTreeSet::new();
        let both = [once, again].map(|outcome| at_the_county(outcome, &nothing));
        self.differences("said once and said again", &both[0], &both[1]);
        let told = |outcome: &Outcome| {
            let told = outcome.notified.iter();
            told.map(|told| (told.alert.clone(), told.step.clone(), told.number))
                .collect::<BTreeSet<_>>()
        };
        let (first, second) = (told(once), told(again));
        for (alert, step, number) in first.symmetric_difference(&second) {
            let what = if second.contains(&(alert.clone(), step.clone(), *number)) {
                "a repeated message or a restart told somebody"
            } else {
                "somebody was not told"
            };
            self.says(|f| &mut f.differ, format!("{what}: {alert} {step} {number}"));
        }
    }

    fn differences(&mut self, whose: &str, a: &BTreeMap<String, Seen>, b: &BTreeMap<String, Seen>) {
        let ids: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for id in ids {
            if a.get(id) != b.get(id) {
                let mut line = format!("{whose} differ:");
                for one in [a.get(id), b.get(id)] {
                    write!(line, "\n    {}", one.map_or("none".to_owned(), line_of)).unwrap();
                }
                self.says(|f| &mut f.differ, line);
            }
        }
    }

    /// Nothing is missed, nothing is raised for nothing, each with its begin, end and priority.
    pub(crate) fn compare_oracle(
        &mut self,
        whose: &str,
        episodes: &[Episode],
        seen: &BTreeMap<String, Seen>,
        people: bool,
    ) {
        let mut left: Vec<&Seen> = seen.values().filter(|alert| self.is_of_oracle(alert)).collect();
        for episode in episodes {
            let place = left.iter().position(|alert| {
                alert.subject == episode.subject
                    && alert.family == episode.family
                    && alert.started == episode.start
            });
            let Some(place) = place else {
                let line = format!("{whose}: missed {}", episode_told(episode));
                self.says(|f| &mut f.missed, line);
                continue;
            };
            let alert = left.swap_remove(place);
            let is_high = alert.priority == "high";
            if alert.cleared != episode.cleared() || (!people && is_high != episode.is_high) {
                let (should, is) = (episode_told(episode), line_of(alert));
                let line = format!("{whose}: should be {should}\n    is {is}");
                self.says(|f| &mut f.differ, line);
            }
        }
        for alert in left {
            let line = format!("{whose}: raised for nothing: {}", line_of(alert));
            self.says(|f| &mut f.differ, line);
        }
    }

    /// No two alerts of one subject and family hold at one moment.
    pub(crate) fn compare_doubles(&mut self, seen: &BTreeMap<String, Seen>) {
        let mut all: Vec<&Seen> = seen.values().collect();
        all.sort_by_key(|alert| (&alert.subject, &alert.family, alert.started));
        for pair in all.windows(2) {
            let is_one = pair[0].subject == pair[1].subject && pair[0].family == pair[1].family;
            let of_devices = ["tech", "pump"];
            let is_of_one_device = !of_devices.iter().any(|of| pair[0].family.starts_with(of));
            let ended = pair[0].cleared.unwrap_or(i64::MAX);
            // What a device signalled before it left and nobody heard end is told as it was known.
            let is_history = pair.iter().any(|alert| alert.retro && alert.late_row == Some(11));
            let counts = !is_history || self.script.is_settled(&pair[0].subject);
            if is_one && counts && is_of_one_device && ended > pair[1].started {
                let line = format!("doubled: {}\n    {}", line_of(pair[0]), line_of(pair[1]));
                self.says(|f| &mut f.doubled, line);
            }
        }
    }

    /// After an outage the alerts are those of the ward without one, but for what section 8 allows.
    pub(crate) fn compare_outage(
        &mut self,
        sound: &Outcome,
        outage: &Outcome,
        one_end: &BTreeSet<String>,
    ) {
        let whole = at_the_county(sound, one_end);
        let mut broken = at_the_county(outage, one_end);
        self.take_parts(&mut broken, outage);
        self.compare_doubles(&broken);
        let (mut unsettled, mut changed) = (Vec::new(), Vec::new());
        for (id, expected) in whole {
            if !self.script.is_settled(&expected.subject) {
                unsettled.push(expected);
                continue;
            }
            let Some(found) = broken.remove(outage.joined.get(&id).unwrap_or(&id)) else {
                // Row 3: of backfill only the worst of each rule is told, which row 6 may hold.
                let is_told_by_another = broken.values().any(|other| {
                    matches!(other.late_row, Some(3 | 6))
                        && other.subject == expected.subject
                        && other.family == expected.family
                        && other.highest >= expected.highest
                        && other.rules.iter().any(|rule| expected.rules.contains(rule))
                });
                let mut others = broken.values();
                let by_leads = others.find(|it| outage.is_like_but_for_leads(&expected, it));
                if is_told_by_another {
                    self.figures.left_out += 1;
                } else if let Some(other) = by_leads.map(|other| other.id.clone()) {
                    broken.remove(&other);
                    self.figures.leads += 1;
                } else {
                    let joined = outage.joined.get(&id);
                    let line =
                        format!("missed by the outage: {} {id} {joined:?}", line_of(&expected));
                    self.says(|f| &mut f.missed, line);
                }
                continue;
            };
            let Differs { parts: mut why, waits, seen_late, unseen } = differs(&expected, &found);
            // What was raised so goes on, and what comes back soon is a part of it.
            let raised = found.steps.iter().find(|(_, what)| what == "raised");
            if raised.is_some_and(|(at, _)| outage.is_before_lead_off(&found, *at)) {
                why.retain(|part| *part != "begin" || found.started > expected.started);
            }
            self.figures.waits += usize::from(waits);
            self.figures.seen_late += usize::from(seen_late);
            self.figures.unseen += usize::from(unseen);
            let mut others = broken.values().filter(|_| !why.is_empty());
            let next = others.find(|next| outage.is_split_by_lead_off(&expected, &found, next));
            if let Some(next) = next.map(|next| next.id.clone()) {
                broken.remove(&next);
                self.figures.leads += 1;
                continue;
            }
            if !why.is_empty() && outage.is_like_but_for_leads(&expected, &found) {
                self.figures.leads += 1;
            } else if !why.is_empty() {
                let (should, is) = (line_of(&expected), line_of(&found));
                let at_the_box = at_the_edge(outage, one_end).remove(&id);
                let at_the_box = at_the_box.map_or("nothing".to_owned(), |seen| line_of(&seen));
                let why = why.join(", ");
                let line = format!(
                    "after the outage other: {why}: {should}\n    is {is}\n    at the box {at_the_box}"
                );
                self.says(|f| &mut f.differ, line);
            }
        }
        broken.retain(|_, alert| {
            self.script.is_settled(&alert.subject) || {
                changed.push(alert.clone());
                false
            }
        });
        self.compare_changed(&unsettled, &changed, outage);
        for alert in broken.values() {
            let line = format!("only after the outage: {}", line_of(alert));
            self.says(|f| &mut f.differ, line);
        }
    }

    /// What is a part of another is none of its own, where both are known as one and nobody was told
    /// of both.
    fn take_parts(&mut self, seen: &mut BTreeMap<String, Seen>, outcome: &Outcome) {
        let parts: Vec<Seen> = seen.values().filter(|alert| alert.is_part).cloned().collect();
        for part in parts {
            let Some(whole) = outcome.joined.get(&part.id).and_then(|id| seen.get(id)) else {
                continue;
            };
            let sounds = |alert: &Seen| -> Vec<i64> {
                let of_alert = outcome.notified.iter().filter(|told| told.alert == alert.id);
                let sounds = ["raised", "recurred"];
                let sounds = of_alert.filter(|told| sounds.contains(&told.step.as_str()));
                sounds.map(|told| second(told.made)).collect()
            };
            let told = sounds(&part);
            let again = |made: &i64| told.iter().any(|first| (*first..first + 60).contains(made));
            if sounds(whole).iter().any(again) && whole.priority == part.priority {
                let (part, whole) = (line_of(&part), line_of(whole));
                let line = format!("somebody was told of both: {part}\n    {whole}");
                self.says(|f| &mut f.doubled, line);
            }
            self.figures.parts += 1;
            seen.remove(&part.id);
        }
    }

    /// Nothing sounds by what is old: while it sounds its episode holds by fresh values (rows 1 and
    /// 4), or it is a late result of which nothing newer is known (row 5).
    pub(crate) fn compare_sounds(&mut self, episodes: &[Episode], outcome: &Outcome) {
        let nothing = BTreeSet::new();
        let seen = at_the_county(outcome, &nothing);
        for step in &outcome.notified {
            let Some(alert) = seen.get(&step.alert) else { continue };
            // Rows 2, 3 and 6: nobody is called for it, now or later.
            let calls = ["raised", "recurred", "priority_rose", "escalated", "realarmed"];
            let is_silent =
                alert.retro && alert.late_row.is_some_and(|row| SILENT_ROWS.contains(&row));
            if is_silent && calls.contains(&step.step.as_str()) {
                let line = format!("somebody was called: {} of {}", step.step, line_of(alert));
                self.says(|f| &mut f.sounded_late, line);
            }
            let sounds = ["raised", "recurred", "priority_rose"].contains(&step.step.as_str());
            let over = alert.cleared.filter(|_| alert.family.starts_with("dev_"));
            if sounds && over.is_some_and(|over| second(step.made) > over + STREAM_FRESH_S) {
                let line = format!(
                    "DEV sounded late: {} at {} of {}",
                    step.step,
                    told(second(step.made)),
                    line_of(alert)
                );
                self.says(|f| &mut f.sounded_late, line);
            }
            if !sounds || !self.is_of_oracle(alert) {
                continue;
            }
            let made = second(step.made);
            let of_alert = episodes
                .iter()
                .filter(|one| one.subject == alert.subject && one.family == alert.family);
            let tells = |episode: &Episode| {
                let fresh = match (episode.is_spot, step.late_row) {
                    (true, Some(5)) => SPOT_TELLS_S,
                    (true, _) => SPOT_FRESH_S,
                    (false, _) => STREAM_FRESH_S,
                };
                episode.held.iter().any(|(from, until)| {
                    *from <= made && until.is_none_or(|until| made - until <= fresh)
                })
            };
            if of_alert.clone().any(tells) {
                continue;
            }
            if outcome.is_before_lead_off(alert, made) {
                self.figures.leads_sounded += 1;
            } else {
                let should: Vec<String> = of_alert.map(episode_told).collect();
                let line = format!(
                    "sounded late: {} at {} of {}\n    {}",
                    step.step,
                    told(made),
                    line_of(alert),
                    should.join("\n    ")
                );
                self.says(|f| &mut f.sounded_late, line);
            }
        }
    }

    pub(crate) fn count(&mut self, episodes: usize, outcome: &Outcome) {
        let seen = at_the_county(outcome, &BTreeSet::new());
        let of_row = |rows: &[u64]| {
            let rows =
                seen.values().filter_map(|alert| alert.late_row.filter(|row| rows.contains(row)));
            rows.count()
        };
        self.figures.patients += self.script.patients.len();
        self.figures.readings += self.script.words.len();
        self.figures.late += outcome.late;
        self.figures.episodes += episodes;
        self.figures.raised += seen.len();
        self.figures.acknowledged += seen.values().filter(|alert| alert.by.is_some()).count();
        self.figures.silent += of_row(&SILENT_ROWS);
        self.figures.holds += of_row(&[4]);
        self.figures.late_results += of_row(&[5]);
    }
}

pub(crate) struct Differs {
    /// What of an alert is another than it may be.
    pub(crate) parts: Vec<&'static str>,
    /// It waits for a person because it was told late, where it would have ended by itself (rows 2,
    /// 3 and 6).
    waits: bool,
    /// It held as far as was known until the news of its end came, and somebody saw to it meanwhile.
    seen_late: bool,
    /// It came back before somebody who did not know of that had it in hand, and waits for a person.
    unseen: bool,
}

pub(crate) fn differs(expected: &Seen, found: &Seen) -> Differs {
    let is_silent = found.late_row.is_some_and(|row| SILENT_ROWS.contains(&row)) && found.retro;
    // It rose by its time when it was over, of which the news was on its way.
    let was_over = |moment: i64| {
        let turns = ["raised", "recurred", "cleared"];
        let mut until_then = expected.steps.iter().filter(|(at, _)| *at < moment);
        let turn = until_then.rfind(|(_, what)| turns.contains(&what.as_str()));
        turn.is_some_and(|(_, what)| what == "cleared")
    };
    let mut steps = found.steps.iter();
    let has_risen = expected.highest < found.highest
        && steps.any(|(at, what)| what == "priority_rose" && was_over(*at));
    // What is medium is told as far as the pass came, and by fresh values that are outside for long
    // enough (row 2).
    let is_left = is_silent && found.priority == "medium";
    let is_unseen = expected.by.is_none() && found.by.is_none();
    let waits =
        is_silent && is_unseen && (&*expected.state, &*found.state) == ("closed", "cleared_unack");
    let is_acknowledged = |(at, what): &&(i64, String)| {
        what == "acknowledged" && expected.cleared.is_none_or(|cleared| *at <= cleared)
    };
    let seen_late = expected.by.is_none()
        && found.by.is_some()
        && !found.steps.iter().any(|step| is_acknowledged(&step));
    // Nothing sounds anew because of its time while nobody knows; what is known again waits before it
    // does.
    let moments = |seen: &Seen, step: &str| -> Vec<i64> {
        seen.steps.iter().filter(|(_, what)| what == step).map(|(at, _)| *at).collect()
    };
    let is_granted = expected.by.is_none()
        && moments(expected, "realarmed").iter().any(|again| {
            moments(found, "known")
                .iter()
                .any(|known| (known - STREAM_FRESH_S..known + KNOWN_S).contains(again))
        });
    let unseen = expected.by.is_some() && found.by.is_none() && found.came_back_behind_a_person();
    let is_seen = seen_late || is_granted || unseen;
    let whose = |seen: &Seen| (seen.subject.clone(), seen.family.clone());
    let parts = [
        (whose(expected) == whose(found), "whose it is"),
        (expected.started == found.started, "begin"),
        (is_left || expected.cleared == found.cleared, "end"),
        (is_seen || expected.by == found.by, "who has it in hand"),
        (has_risen || is_granted || expected.priority == found.priority, "priority"),
        (has_risen || expected.highest == found.highest, "highest priority"),
        (expected.rules == found.rules, "rules"),
        (waits || is_granted || unseen || expected.state == found.state, "state"),
        (expected.why == found.why, "reason of its end"),
    ];
    let other = parts.into_iter().filter_map(|(is_same, part)| (!is_same).then_some(part));
    Differs { parts: other.collect(), waits, seen_late, unseen }
}

pub(crate) fn line_of(alert: &Seen) -> String {
    let mut line = format!(
        "{} {} [{}] {} {} from {}",
        alert.subject,
        alert.family,
        alert.rules.join(" "),
        alert.priority,
        alert.state,
        told(alert.started)
    );
    if let Some(cleared) = alert.cleared {
        write!(line, " to {}", told(cleared)).unwrap();
    }
    if let Some(by) = &alert.by {
        write!(line, " by {by}").unwrap();
    }
    if let Some(row) = alert.late_row {
        write!(line, " row {row}").unwrap();
    }
    if alert.retro {
        line.push_str(" retro");
    }
    write!(line, " ({}):", &alert.id[..8]).unwrap();
    for (at, what) in alert.steps.iter().filter(|(_, what)| what != "reminded") {
        write!(line, " {what} {},", told(*at)).unwrap();
    }
    line
}

fn episode_told(episode: &Episode) -> String {
    let Episode { subject, family, start, held, is_high, .. } = episode;
    let priority = if *is_high { "high" } else { "medium" };
    let mut line = format!("{subject} {family} {priority} from {}:", told(*start));
    for (from, until) in held {
        let until = until.map_or("on".to_owned(), told);
        write!(line, " held {} to {until},", told(*from)).unwrap();
    }
    line
}
