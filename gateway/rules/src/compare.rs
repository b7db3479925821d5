//! Comparing a value as it is printed with a limit (metric catalogue, "Comparing").

use crate::rule::Op;
use model::{decimal::Decimal, reading::Comparator};

/// Whether the value meets the condition; `None` when a meter's LO or HI says neither.
pub(crate) fn meets(
    op: Op,
    limit: Decimal,
    value: Decimal,
    comparator: Comparator,
) -> Option<bool> {
    let low_rule = matches!(op, Op::Less | Op::LessOrEqual);
    match comparator {
        Comparator::Equal => Some(match op {
            Op::Less => value < limit,
            Op::LessOrEqual => value <= limit,
            Op::Greater => value > limit,
            Op::GreaterOrEqual => value >= limit,
        }),
        // "A low rule fires on below v when v <= L; a high rule on above v when v >= L; the other
        // way round it is a normal reading."
        Comparator::Below if value <= limit => Some(low_rule),
        Comparator::Above if value >= limit => Some(!low_rule),
        Comparator::Below | Comparator::Above => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meters_low_fires_a_low_rule_and_clears_a_high_one() {
        let (low, high) = (Decimal::fixed(11, -1), Decimal::fixed(333, -1));
        let (three, sixteen) = (Decimal::fixed(30, -1), Decimal::fixed(167, -1));
        assert_eq!(meets(Op::Less, three, low, Comparator::Below), Some(true));
        assert_eq!(meets(Op::GreaterOrEqual, sixteen, low, Comparator::Below), Some(false));
        assert_eq!(meets(Op::GreaterOrEqual, sixteen, high, Comparator::Above), Some(true));
        assert_eq!(meets(Op::Less, three, high, Comparator::Above), Some(false));
        // Below 20 says nothing about a limit of 10.
        assert_eq!(meets(Op::Less, Decimal::fixed(5, -1), low, Comparator::Below), None);
    }
}
