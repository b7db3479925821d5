//! Two series side by side: what is the same, what was altered, what only one of them has.

/// How far two series may run apart in both directions before one of them must have a hole.
const LOOK_AHEAD: usize = 64;

/// One step of walking two series side by side.
pub(super) enum Step<'a, L, R> {
    Same(&'a L, &'a R),
    Altered(&'a L, &'a R),
    OnlyLeft(&'a L),
    OnlyRight(&'a R),
}

/// Walks two series in order. Where they differ, the nearest place where they agree again decides
/// what was left out on either side; what both sides have in between was altered.
pub(super) fn align<'a, L, R>(
    left: &'a [L],
    right: &'a [R],
    same: impl Fn(&L, &R) -> bool,
) -> Vec<Step<'a, L, R>> {
    let mut steps = Vec::with_capacity(left.len());
    let (mut left, mut right) = (left, right);
    loop {
        match (left.split_first(), right.split_first()) {
            (None, None) => return steps,
            (Some((fact, rest)), None) => {
                steps.push(Step::OnlyLeft(fact));
                left = rest;
            }
            (None, Some((stored, rest))) => {
                steps.push(Step::OnlyRight(stored));
                right = rest;
            }
            (Some((fact, rest)), Some((stored, others))) if same(fact, stored) => {
                steps.push(Step::Same(fact, stored));
                (left, right) = (rest, others);
            }
            (Some(_), Some(_)) => {
                let (skip_left, skip_right) = nearest_agreement(left, right, &same);
                let (passed_left, rest) = left.split_at(skip_left);
                let (passed_right, others) = right.split_at(skip_right);
                let both = skip_left.min(skip_right);
                let pairs = passed_left.iter().zip(passed_right);
                steps.extend(pairs.map(|(fact, stored)| Step::Altered(fact, stored)));
                steps.extend(passed_left.iter().skip(both).map(Step::OnlyLeft));
                steps.extend(passed_right.iter().skip(both).map(Step::OnlyRight));
                (left, right) = (rest, others);
            }
        }
    }
}

/// How much to skip on either side until they agree, as little as possible in all.
fn nearest_agreement<L, R>(
    left: &[L],
    right: &[R],
    same: impl Fn(&L, &R) -> bool,
) -> (usize, usize) {
    for distance in 1..=LOOK_AHEAD {
        for skip_left in 0..=distance {
            let skip_right = distance - skip_left;
            if let (Some(fact), Some(stored)) = (left.get(skip_left), right.get(skip_right))
                && same(fact, stored)
            {
                return (skip_left, skip_right);
            }
        }
    }
    // Hours may be missing on one side: then the other goes on with what it has.
    if let Some(stored) = right.first()
        && let Some(skip) = left.iter().position(|fact| same(fact, stored))
    {
        return (skip, 0);
    }
    if let Some(fact) = left.first()
        && let Some(skip) = right.iter().position(|stored| same(fact, stored))
    {
        return (0, skip);
    }
    (left.len().min(LOOK_AHEAD), right.len().min(LOOK_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(left: &[u32], right: &[u32]) -> (usize, usize, usize, usize) {
        let mut counts = (0, 0, 0, 0);
        for step in align(left, right, |one, other| one == other) {
            match step {
                Step::Same(..) => counts.0 += 1,
                Step::Altered(..) => counts.1 += 1,
                Step::OnlyLeft(_) => counts.2 += 1,
                Step::OnlyRight(_) => counts.3 += 1,
            }
        }
        counts
    }

    #[test]
    fn equal_series_have_no_difference() {
        assert_eq!(count(&[1, 2, 2, 3], &[1, 2, 2, 3]), (4, 0, 0, 0));
    }

    #[test]
    fn a_missing_reading_is_lost() {
        assert_eq!(count(&[1, 2, 3, 4], &[1, 3, 4]), (3, 0, 1, 0));
        assert_eq!(count(&[1, 2], &[]), (0, 0, 2, 0));
        assert_eq!(count(&[5, 5, 5], &[5, 5]), (2, 0, 1, 0));
    }

    #[test]
    fn a_reading_stored_twice_is_doubled() {
        assert_eq!(count(&[1, 2, 3], &[1, 2, 2, 3]), (3, 0, 0, 1));
    }

    #[test]
    fn another_value_in_its_place_is_altered() {
        assert_eq!(count(&[1, 2, 3], &[1, 9, 3]), (2, 1, 0, 0));
        assert_eq!(count(&[1], &[2]), (0, 1, 0, 0));
    }

    #[test]
    fn a_long_outage_is_lost_and_not_altered() {
        let all: Vec<u32> = (0..1000).collect();
        let some: Vec<u32> = (0..100).chain(900..1000).collect();
        assert_eq!(count(&all, &some), (200, 0, 800, 0));
        assert_eq!(count(&some, &all), (200, 0, 0, 800));
    }
}
