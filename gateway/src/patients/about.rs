//! What is known of a person but for the name: read, merged and checked.

use super::{
    Body, HOLDS_MAX_MS, Refused, bed_of,
    name::{self, Name},
    profile::birth,
};
use crate::{
    clock::{self, rfc3339},
    people::able,
    query::Clinics,
};
use jiff::civil::Date;
use model::time::WallTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// From here on rules for the elderly hold (alert rules, section 2).
const ELDERLY_MONTHS: u32 = 780;
/// Until here those for children.
const ADULT_MONTHS: u32 = 216;
/// Pregnancy counts from its registration to six weeks after the birth.
const POST_PARTUM_DAYS: i64 = 42;

/// What is known of a person, but for the name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) clinic: String,
    pub(crate) bed: Option<String>,
    /// Year and month; of a newborn the day too.
    pub(crate) born: Option<String>,
    pub(crate) sex: Sex,
    pub(crate) monitored: bool,
    /// The cuff is on another limb than the oximeter: it does not take the pulse away.
    pub(crate) cuff_on_other_limb: bool,
    /// In the programme for the elderly, whatever the age.
    pub(crate) elderly: bool,
    pub(crate) hypertension: bool,
    pub(crate) diabetes: bool,
    pub(crate) pregnancy: Option<Pregnancy>,
    pub(crate) scale2: Option<Scale2>,
    /// The day on which the person is expected.
    pub(crate) appointment: Option<String>,
    pub(crate) discharged: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sex {
    Female,
    Male,
    #[default]
    Unknown,
}

/// Days of a pregnancy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pregnancy {
    pub(crate) registered: String,
    #[serde(default)]
    pub(crate) delivered: Option<String>,
}

/// A doctor's order that names 88 to 92 % as the aim.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale2 {
    pub(crate) doctor: String,
    pub(crate) until: String,
}

impl About {
    /// Refuses texts with the name of the patient in them.
    pub(super) fn check_unnamed(&self, name: Option<&Name>) -> Result<(), Refused> {
        let doctor = self.scale2.as_ref().map(|order| &order.doctor);
        for (what, text) in [("bed", self.bed.as_ref()), ("scale2: doctor", doctor)] {
            if name.zip(text).is_some_and(|(name, text)| name.is_in(text)) {
                return Err(name::refused(what));
            }
        }
        Ok(())
    }

    /// Refuses an order that was not known before and that no doctor of the clinic has given.
    pub(super) fn check_order(
        &self,
        connection: &Connection,
        known: Option<&Self>,
    ) -> Result<(), Refused> {
        let Some(order) = self.scale2.as_ref().filter(|_| self.has_new_order(known)) else {
            return Ok(());
        };
        match able::is_doctor(connection, &self.clinic, &order.doctor)? {
            true => Ok(()),
            false => Err(Refused::Wrong(format!(
                "scale2: doctor is no doctor of {}; write the name under which the doctor who \
                 ordered 88 to 92 % logs in",
                self.clinic
            ))),
        }
    }

    /// Ends an order that was given before there was a longest one: at the latest then.
    pub(super) fn end_order(&mut self, latest_ms: i64) {
        let is_later = |until: &String| clock::parse_rfc3339(until) > Some(latest_ms);
        if let Some(order) = self.scale2.as_mut().filter(|order| is_later(&order.until)) {
            order.until = rfc3339(latest_ms);
        }
    }

    fn has_new_order(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.scale2 != self.scale2)
    }

    /// Completed months of life, where it is known when the person was born.
    pub(crate) fn age_months(&self, at: WallTime) -> Option<u32> {
        birth(self.born.as_deref()?)?.completed_months(at)
    }

    /// Whether it counts as a pregnancy on that day.
    pub(crate) fn is_pregnant(&self, today: Date) -> bool {
        let Some(pregnancy) = &self.pregnancy else { return false };
        let registered = day(&pregnancy.registered).is_some_and(|day| day <= today);
        registered && pregnancy.until().is_none_or(|until| today < until)
    }

    /// Old, young or pregnant on that day, as far as is known.
    pub(super) fn groups(&self, at: WallTime) -> Vec<&'static str> {
        let (age, today) = (self.age_months(at), clock::local_date(at));
        let elderly = self.elderly || age.is_some_and(|age| age >= ELDERLY_MONTHS);
        let groups = [
            ("elderly", elderly),
            ("child", age.is_some_and(|age| age < ADULT_MONTHS)),
            ("pregnant", self.is_pregnant(today)),
        ];
        groups.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect()
    }

    /// Everything that cannot be meant, with what to write instead. What time has made of what was
    /// known before, a clinic that is none any more or an order that ran out, is no mistake of whoever
    /// changes something else.
    pub(super) fn mistakes(
        &self,
        known: Option<&Self>,
        clinics: &Clinics,
        now: WallTime,
    ) -> Vec<String> {
        let today = clock::local_date(now);
        let mut mistakes = Vec::new();
        let mut note = |holds: bool, text: &str| {
            if holds {
                mistakes.push(text.to_owned());
            }
        };
        let past = |text: &str| day(text).is_some_and(|day| day <= today);
        let stays = known.is_some_and(|known| known.clinic == self.clinic);
        note(!stays && !clinics.values().any(|name| *name == self.clinic), &one_of(clinics));
        note(
            self.born.as_deref().is_some_and(|born| {
                day_or_month(born).is_none_or(|born| born > today || born < today_130(today))
            }),
            "born: write year and month such as 1956-03, of a newborn the day such as 2026-11-20, \
             or null",
        );
        let age = self.age_months(now);
        if let Some(pregnancy) = &self.pregnancy {
            note(
                !past(&pregnancy.registered),
                "pregnancy: registered is a day that has come, such as 2026-05-01",
            );
            note(
                pregnancy.delivered.as_deref().is_some_and(|delivered| {
                    !past(delivered) || day(delivered) < day(&pregnancy.registered)
                }),
                "pregnancy: delivered is a day after registered that has come, or null",
            );
            note(self.sex == Sex::Male, "pregnancy: the sex is male; correct one of the two");
        }
        let until = |order: &Scale2| clock::parse_rfc3339(&order.until);
        let is_over = |order: &&Scale2| until(order).is_none_or(|until| until <= now.unix_ms());
        let latest = now.unix_ms() + HOLDS_MAX_MS;
        let ran_out = known.and_then(|known| known.scale2.as_ref()).filter(is_over);
        if let Some(scale2) = self.scale2.as_ref().filter(|order| ran_out != Some(*order)) {
            let is_too_long = until(scale2).is_some_and(|until| until > latest);
            note(
                is_over(&scale2) || is_too_long && self.has_new_order(known),
                &format!(
                    "scale2: until is when the order ends, such as 2026-12-01T00:00:00Z, at the \
                     latest {}",
                    rfc3339(latest)
                ),
            );
            note(
                age.is_some_and(|age| age < ADULT_MONTHS) || self.is_pregnant(today),
                "scale2: not below 18 years and not in pregnancy; set limits of this patient under \
                 limits instead",
            );
        }
        note(
            self.bed.as_deref().is_some_and(|bed| bed_of(bed).is_none()),
            "bed: write its name in 1 to 32 letters, such as 3, or null",
        );
        note(
            self.appointment.as_deref().is_some_and(|text| day(text).is_none()),
            "appointment: write a day such as 2026-11-27, or null",
        );
        mistakes
    }
}

impl Pregnancy {
    /// The first day on which it does not count any more.
    pub(super) fn until(&self) -> Option<Date> {
        let delivered = day(self.delivered.as_deref()?)?;
        delivered.checked_add(jiff::Span::new().days(POST_PARTUM_DAYS)).ok()
    }
}

/// What of a new patient a person stands for: an order. What else is known of one is what a system
/// registers.
pub(crate) fn ordered(body: &Body) -> Vec<&str> {
    let is_given = body.get("scale2").is_some_and(|order| !order.is_null());
    if is_given { vec!["scale2"] } else { Vec::new() }
}

/// What of a change may end or lessen a warning, so that a person stands for it: who is watched, by
/// which rules and limits, and when the oximeter is believed.
pub(crate) fn cared_for(body: &Body) -> Vec<&str> {
    const FIELDS: [&str; 7] = [
        "born",
        "age_months",
        "monitored",
        "pregnancy",
        "scale2",
        "cuff_on_other_limb",
        "discharged",
    ];
    FIELDS.into_iter().filter(|field| body.contains_key(*field)).collect()
}

/// What is known, if anything, with what the body says in the place of it (RFC 7396).
pub(super) fn merged(
    known: Option<&About>,
    body: Body,
    clinics: &Clinics,
    now: WallTime,
) -> Result<About, Refused> {
    let mut whole = json!(known.unwrap_or(&About::default()));
    if let Some(fields) = whole.as_object_mut() {
        fields.extend(body);
        // Who is known by age only was born so many months ago.
        if let Some(months) = fields.remove("age_months") {
            fields.insert("born".to_owned(), json!(born_of(&months, now)?));
        }
    }
    let about: About = serde_json::from_value(whole)
        .map_err(|error| Refused::Wrong(format!("{error}; see /api/v1/openapi.json")))?;
    let mistakes = about.mistakes(known, clinics, now);
    if mistakes.is_empty() { Ok(about) } else { Err(Refused::Wrong(mistakes.join("; "))) }
}

fn born_of(months: &Value, now: WallTime) -> Result<Option<String>, Refused> {
    if months.is_null() {
        return Ok(None);
    }
    let today = clock::local_date(now);
    let born = months.as_i64().filter(|months| (0..=130 * 12).contains(months));
    let born = born.and_then(|months| today.checked_sub(jiff::Span::new().months(months)).ok());
    let wrong = || {
        let text =
            "age_months: write completed months of life, such as 846 for 70 and a half years";
        Refused::Wrong(text.to_owned())
    };
    Ok(Some(born.ok_or_else(wrong)?.to_string()))
}

pub(super) fn day(text: &str) -> Option<Date> {
    // `2026-11-22T08:00` would be read too.
    (text.len() == 10).then(|| text.parse().ok())?
}

/// A day, or the first of a month.
pub(super) fn day_or_month(text: &str) -> Option<Date> {
    if text.len() == 7 { day(&format!("{text}-01")) } else { day(text) }
}

/// Nobody is older.
fn today_130(today: Date) -> Date {
    today.checked_sub(jiff::Span::new().years(130)).unwrap_or(Date::MIN)
}

fn one_of(clinics: &Clinics) -> String {
    let mut names: Vec<&str> = clinics.values().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    format!("clinic: use one of gateway.toml: {}", names.join(", "))
}
