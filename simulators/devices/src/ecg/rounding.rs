//! From floating point to whole numbers: the one place of this package where `as` is.

/// The nearest whole number, halves away from zero; the limit where the value is beyond it, and 0
/// where it is no number.
#[expect(
    clippy::as_conversions,
    reason = "the standard library has no other way; `as` saturates and makes NaN 0"
)]
pub(crate) fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// The same for what is drawn: microvolts.
pub(crate) fn whole_i32(value: f64) -> i32 {
    let whole = whole(value).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_number_is_the_nearest_and_what_is_no_number_is_0() {
        let check = |value, expected| assert_eq!(whole(value), expected, "{value}");
        check(2.5, 3);
        check(-2.5, -3);
        check(0.49, 0);
        check(f64::NAN, 0);
        check(f64::INFINITY, i64::MAX);
        assert_eq!(whole_i32(-1e300), i32::MIN);
    }
}
