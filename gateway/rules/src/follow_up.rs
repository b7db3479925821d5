//! Targets of the follow-up programmes: never an alert, only a list for the family doctor.

use crate::{compare::meets, population::Profile, rule::RuleSet};
use model::{
    metric::Class,
    reading::{ReadingGroup, Validity},
    time::WallTime,
};

/// What a reading says to one rule of a programme.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FollowUp<'r> {
    /// The rule.
    pub rule: &'r str,
    /// What belongs together: both pressures of one visit.
    pub family: &'r str,
    /// The meal it is a target for: each has its own.
    pub meal: Option<&'r str>,
    /// The class that was read.
    pub class: Class,
    /// Whether it is out of target.
    pub out_of_target: bool,
    /// So many visits in a row that are out of target put somebody on the list.
    pub consecutive: u32,
    /// What it says, in Chinese.
    pub message_zh: &'r str,
    /// What it says, in English.
    pub message_en: &'r str,
}

impl RuleSet {
    /// The targets of all programmes: the rule, and what it says in Chinese and in English.
    pub fn targets(&self) -> impl Iterator<Item = (&str, [&str; 2])> {
        self.follow_ups().iter().map(|of| {
            let rule = &of.rule;
            (&*rule.id, [&*rule.message_zh, &*rule.message_en])
        })
    }

    /// What a visit's readings say to the programmes the patient is in. Rules that it says nothing
    /// to are left out; `two_hours` is that a person confirmed it was two hours after the meal.
    #[must_use]
    pub fn follow_up(
        &self,
        profile: &Profile,
        group: &ReadingGroup,
        t_meas: WallTime,
        two_hours: bool,
    ) -> Vec<FollowUp<'_>> {
        let facts = profile.facts(self, t_meas);
        let meal = group.context.get("meal");
        let good = group.readings.iter().filter(|reading| reading.validity != Validity::Invalid);
        let mut told = Vec::new();
        for reading in good {
            let class = reading.metric.row().class;
            let Some((value, comparator)) = reading.canonical() else { continue };
            let applies = self.follow_ups().iter().filter(|of| {
                of.rule.class == class
                    && of.rule.is_for(&facts)
                    && (of.meal.is_none() || of.meal.as_ref() == meal)
                    && (two_hours || !of.two_hours)
            });
            told.extend(applies.filter_map(|of| {
                let out_of_target = meets(of.rule.op, of.rule.limit, value, comparator)?;
                Some(FollowUp {
                    rule: &of.rule.id,
                    family: &of.rule.family,
                    meal: of.meal.as_deref(),
                    class,
                    out_of_target,
                    consecutive: of.consecutive,
                    message_zh: &of.rule.message_zh,
                    message_en: &of.rule.message_en,
                })
            }));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::Birth;
    use model::{
        id::DeviceId,
        metric::Metric,
        reading::Reading,
        time::{ClockQuality, Observed},
        units::Unit,
    };

    fn now() -> WallTime {
        WallTime::from_unix_ms(1_795_335_300_000)
    }

    fn said(readings: Vec<Reading>, meal: Option<&str>) -> ReadingGroup {
        let observed = Observed { at: now(), quality: ClockQuality::Synchronised };
        let group = ReadingGroup::new(DeviceId::new("any-01").unwrap(), observed, readings);
        match meal {
            Some(meal) => group.with_context("meal", meal),
            None => group,
        }
    }

    fn pressure(sys: u32, dia: u32) -> ReadingGroup {
        let reading = |metric, value: u32| Reading::number(metric, value, Unit::MM_HG);
        said(vec![reading(Metric::NIBP_SYS, sys), reading(Metric::NIBP_DIA, dia)], None)
    }

    fn glucose(value: &str, meal: Option<&str>) -> ReadingGroup {
        let value: model::decimal::Decimal = value.parse().unwrap();
        said(vec![Reading::number(Metric::GLU_CAP_PL, value, Unit::MMOL_PER_L)], meal)
    }

    #[track_caller]
    fn check(profile: &Profile, group: &ReadingGroup, two_hours: bool, expected: &[(&str, bool)]) {
        let text = include_str!("../../../configs/rules/default.json");
        let rules = RuleSet::from_json(text).unwrap();
        let told = rules.follow_up(profile, group, now(), two_hours);
        let told: Vec<_> = told.iter().map(|it| (it.rule, it.out_of_target)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn targets_are_those_of_the_programmes_somebody_is_in() {
        let aged = |months| Profile { birth: Birth::of_age(months, now()), ..Profile::default() };
        let general = Profile { hypertension: true, ..aged(600) };
        let elderly = Profile { hypertension: true, ..aged(780) };
        let diabetic = Profile { diabetes: true, ..aged(600) };
        let (s, d) = ("FU-BP-general-S", "FU-BP-general-D");
        check(&aged(600), &pressure(184, 100), false, &[]);
        check(&general, &pressure(139, 90), false, &[(s, false), (d, true)]);
        check(&general, &pressure(140, 89), false, &[(s, true), (d, false)]);
        let old = [("FU-BP-elderly65-S", false), ("FU-BP-elderly65-D", false)];
        check(&elderly, &pressure(149, 89), false, &old);
        check(&diabetic, &glucose("7.0", Some("meal_fast")), false, &[("FU-GLU-F", true)]);
        check(&diabetic, &glucose("6.9", Some("meal_fast")), false, &[("FU-GLU-F", false)]);
        check(&diabetic, &glucose("9.9", Some("meal_post")), false, &[]);
        check(&diabetic, &glucose("9.9", None), false, &[]);
    }

    #[test]
    fn after_a_meal_of_the_pregnant_somebody_has_to_confirm_the_two_hours() {
        let until = WallTime::from_unix_ms(now().unix_ms() + 1);
        let pregnant = Profile { pregnant_until: Some(until), ..Profile::default() };
        check(&pregnant, &glucose("5.4", Some("meal_fast")), false, &[("GLU-PR-F", true)]);
        check(&pregnant, &glucose("6.8", Some("meal_post")), false, &[]);
        check(&pregnant, &glucose("6.8", Some("meal_post")), true, &[("GLU-PR-2H", true)]);
        check(&pregnant, &glucose("6.7", Some("meal_post")), true, &[("GLU-PR-2H", false)]);
    }
}
