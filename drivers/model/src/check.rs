//! Checks of the metric catalogue that say more than a limit can: values against each other.
//!
//! Not here: what needs an earlier reading ("falls without a reset event") or a value without a
//! unit ("unit suspect"); a reading group has neither.

use crate::{
    decimal::Decimal,
    metric::Metric,
    reading::{NoData, Reading, Validity, Value},
};

/// "Not 5/10/20/30/50/60": syringes that exist, in mL.
const SYRINGES_ML: [i64; 6] = [5, 10, 20, 30, 50, 60];
/// "Implausible: >1200 (syringe >300)", in mL/h.
const SYRINGE_RATE_MAX: Decimal = Decimal::fixed(300, 0);

/// Whether the value alone is doubtful for a reason that is no limit; in the canonical unit.
pub(crate) fn is_odd(metric: Metric, value: Decimal) -> bool {
    let known = || SYRINGES_ML.into_iter().any(|size| Decimal::fixed(size, 0) == value);
    metric == Metric::PUMP_SYR && !known()
}

/// Judges the readings of one group by each other.
pub(crate) fn judge_group(readings: &mut [Reading]) {
    judge_inflation(readings);
    judge_infusion(readings);
}

/// "sys ≤ dia rejects systolic, diastolic and mean of the group; a mean outside [dia, sys] is
/// implausible."
fn judge_inflation(readings: &mut [Reading]) {
    let (Some(sys), Some(dia)) =
        (number(readings, Metric::NIBP_SYS), number(readings, Metric::NIBP_DIA))
    else {
        return;
    };
    let mean = number(readings, Metric::NIBP_MEAN);
    if sys <= dia {
        let pressures = [Metric::NIBP_SYS, Metric::NIBP_MEAN, Metric::NIBP_DIA];
        for reading in readings.iter_mut().filter(|reading| pressures.contains(&reading.metric)) {
            if let Ok(Value::Number { number, .. }) = &reading.value {
                reading.value = Err(NoData::Rejected(number.to_string()));
                reading.validity = Validity::Invalid;
            }
        }
    } else if mean.is_some_and(|mean| mean < dia || mean > sys) {
        doubt(readings, &[Metric::NIBP_MEAN]);
    }
}

/// A pump does not infuse more than it was told, nor a syringe faster than it can.
fn judge_infusion(readings: &mut [Reading]) {
    let (left, total) =
        (number(readings, Metric::PUMP_VTBI_REM), number(readings, Metric::PUMP_VTBI));
    if left.zip(total).is_some_and(|(left, total)| left > total) {
        doubt(readings, &[Metric::PUMP_VTBI_REM]);
    }
    if number(readings, Metric::PUMP_SYR).is_some() {
        for rate in [Metric::PUMP_RATE, Metric::PUMP_RATE_SET] {
            if number(readings, rate).is_some_and(|value| value > SYRINGE_RATE_MAX) {
                doubt(readings, &[rate]);
            }
        }
    }
}

fn number(readings: &[Reading], metric: Metric) -> Option<Decimal> {
    let reading = readings.iter().find(|reading| reading.metric == metric)?;
    reading.canonical().map(|(value, _)| value)
}

fn doubt(readings: &mut [Reading], metrics: &[Metric]) {
    for reading in readings.iter_mut().filter(|reading| metrics.contains(&reading.metric)) {
        if reading.value.is_ok() && reading.validity == Validity::Valid {
            reading.validity = Validity::Questionable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Unit;

    #[track_caller]
    fn check(parts: &[(Metric, i32, Unit)], doubtful: &[Metric]) {
        let reading = |(metric, value, unit): &(Metric, i32, Unit)| {
            Reading::number(*metric, *value, unit.clone())
        };
        let mut readings: Vec<_> = parts.iter().map(reading).collect();
        judge_group(&mut readings);
        let found = readings.iter().filter(|one| one.validity == Validity::Questionable);
        assert_eq!(found.map(|one| one.metric).collect::<Vec<_>>(), doubtful);
        assert!(readings.iter().all(|one| one.value.is_ok()), "a doubt takes no number away");
    }

    #[test]
    fn more_left_than_was_to_be_infused_is_doubtful() {
        let infusion = |left| {
            [
                (Metric::PUMP_VTBI, 50, Unit::MILLILITRE),
                (Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE),
            ]
        };
        check(&infusion(50), &[]);
        check(&infusion(51), &[Metric::PUMP_VTBI_REM]);
    }

    #[test]
    fn a_syringe_is_slower_than_a_volumetric_pump() {
        let rate = (Metric::PUMP_RATE, 301, Unit::ML_PER_HOUR);
        check(std::slice::from_ref(&rate), &[]);
        check(&[rate, (Metric::PUMP_SYR, 50, Unit::MILLILITRE)], &[Metric::PUMP_RATE]);
    }

    #[test]
    fn a_syringe_of_no_known_size_is_doubtful() {
        check(&[(Metric::PUMP_SYR, 60, Unit::MILLILITRE)], &[]);
        check(&[(Metric::PUMP_SYR, 45, Unit::MILLILITRE)], &[Metric::PUMP_SYR]);
    }
}
