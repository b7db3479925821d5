//! Glucose after meals and insulin, minute by minute, in integers.
//!
//! Two compartments each for the gut and for the insulin under the skin, with the time constants
//! of Hovorka et al. 2004 (Physiol. Meas. 25:905: 40 min and 55 min), and a return to the fasting
//! value (the glucose effectiveness of Bergman et al. 1979, Am. J. Physiol. 236:E667). It makes
//! plausible curves, and is no model of anybody.

use crate::scenario::{Insulin, Scenario};

/// Micrograms a decilitre in a mg/dL: fine enough for a minute's change.
const FINE: i64 = 1_000;
/// Carbohydrate leaves each compartment of the gut with this time constant, in minutes.
const MEAL_MIN: i64 = 40;
/// A gram of carbohydrate raises glucose by so many mg/dL in all: 15 g raise it by 60 ("rule of
/// 15": 45–60), if nothing takes it away.
const RISE_PER_G: i64 = 4;
/// Insulin leaves each compartment under the skin with this time constant, in minutes; NPH has its
/// peak after four to ten hours.
const RAPID_MIN: i64 = 55;
const INTERMEDIATE_MIN: i64 = 300;
/// A unit lowers by so many mg/dL in all, at 100 mg/dL ("rule of 1800" at 45 units a day).
const FALL_PER_UNIT: i64 = 40;
/// Of the distance to the fasting value, in per mille a minute.
const RETURN: i64 = 10;
/// The same above it, where the patient's own insulin helps.
const RETURN_HEALTHY: i64 = 50;
/// Nobody lives below.
const LEAST: i64 = 15 * FINE;
const MINUTE_S: u64 = 60;

/// Two compartments in a row; what leaves the second one acts.
#[derive(Clone, Copy, Debug, Default)]
struct Depot {
    first: i64,
    second: i64,
}

impl Depot {
    /// A minute passes: what acts in it.
    fn pass(&mut self, time_constant_min: i64) -> i64 {
        let (out, through) = (self.second / time_constant_min, self.first / time_constant_min);
        self.first -= through;
        self.second += through - out;
        out
    }
}

/// Glucose in mg/dL of every minute of the story, the first included.
pub(super) fn course(scenario: &Scenario) -> Vec<u16> {
    let body = &scenario.body;
    let fasting = i64::from(body.fasting) * FINE;
    let (mut gut, mut rapid, mut slow) = (Depot::default(), Depot::default(), Depot::default());
    let mut glucose = fasting;
    let mut course = Vec::new();
    for minute in 0..=scenario.repeat_s / MINUTE_S {
        let printed = (glucose + FINE / 2) / FINE;
        course.push(u16::try_from(printed).unwrap_or(u16::MAX));
        let is_now = |at_s: u64| at_s / MINUTE_S == minute;
        for (_, grams) in body.meals.iter().filter(|(at_s, _)| is_now(*at_s)) {
            gut.first += i64::from(*grams) * RISE_PER_G * FINE;
        }
        for (_, units, kind) in body.insulin.iter().filter(|(at_s, ..)| is_now(*at_s)) {
            let depot = match kind {
                Insulin::Rapid => &mut rapid,
                Insulin::Intermediate => &mut slow,
            };
            depot.first += i64::from(*units) * FALL_PER_UNIT * FINE;
        }
        let acts = rapid.pass(RAPID_MIN) + slow.pass(INTERMEDIATE_MIN);
        // In proportion to what there is.
        let taken = acts * glucose / (100 * FINE);
        let share = match glucose > fasting && !body.is_diabetic {
            true => RETURN_HEALTHY,
            false => RETURN,
        };
        let back = (fasting - glucose) * share / 1_000;
        glucose = (glucose + gut.pass(MEAL_MIN) - taken + back).max(LEAST);
    }
    course
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Body;

    /// A day of the story with these in it, by hour.
    fn day(body: Body) -> Vec<u16> {
        course(&Scenario { repeat_s: 24 * 3600, body, ..Scenario::default() })
    }

    fn body(is_diabetic: bool) -> Body {
        let fasting = if is_diabetic { 140 } else { 92 };
        Body { fasting, is_diabetic, ..Body::default() }
    }

    #[test]
    fn nothing_eaten_is_nothing_changed() {
        assert!(day(body(false)).iter().all(|glucose| *glucose == 92));
    }

    /// Healthy people stay below 7.8 mmol/L (140 mg/dL) after two hours; diabetic ones do not.
    #[test]
    fn a_meal_raises_glucose_within_an_hour_and_longer_in_a_diabetic() {
        let meal = |is_diabetic| day(Body { meals: vec![(0, 60)], ..body(is_diabetic) });
        let (healthy, diabetic) = (meal(false), meal(true));
        let peak =
            |day: &[u16]| (0..).zip(day.to_vec()).max_by_key(|(_, glucose)| *glucose).unwrap();
        let ((at, highest), (late, higher)) = (peak(&healthy), peak(&diabetic));
        assert!((45..=75).contains(&at) && (115..=160).contains(&highest), "{at} {highest}");
        assert!((60..=150).contains(&late) && (220..=300).contains(&higher), "{late} {higher}");
        assert!(healthy[120] < 140 && diabetic[120] > 180);
        assert!((91..=93).contains(&healthy[600]));
    }

    #[test]
    fn insulin_lowers_and_the_intermediate_one_later() {
        let dose = |kind| day(Body { insulin: vec![(0, 6, kind)], ..body(true) });
        let lowest = |kind| {
            let day = dose(kind);
            (0..).zip(day).min_by_key(|(_, glucose)| *glucose).unwrap()
        };
        let (soon, low) = lowest(Insulin::Rapid);
        let (late, _) = lowest(Insulin::Intermediate);
        assert!((60..=150).contains(&soon) && (60..=110).contains(&low), "{soon} {low}");
        assert!((300..=480).contains(&late), "{late}");
        let much = day(Body { insulin: vec![(0, 300, Insulin::Rapid)], ..body(true) });
        assert_eq!(much.iter().min(), Some(&15));
    }
}
