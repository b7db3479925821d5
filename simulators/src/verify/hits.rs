//! Two series side by side, where a fault may have hidden some of what was said.
//!
//! What was hit may be stored or not. What is stored must have been said, in this order; what was
//! not hit must be stored.

/// What is stored and what was said of it are not further apart: no fault holds bytes back longer.
pub(super) const ABOUT_MS: i64 = 8_000;
/// A sample too many shows in a block no later than this: no sensor of a story is off for longer.
const SHOWS_MS: i64 = 30_000;

/// What two series have in common, by places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Judgement {
    /// What was said, and where it is stored.
    pub same: Vec<(usize, usize)>,
    /// Said, not hit, and not stored.
    pub lost: Vec<usize>,
    /// Stored, and nobody said it there.
    pub invented: Vec<usize>,
}

/// Looks for everything stored in what was said, and for what was not hit in what is stored.
pub fn judge<L, R>(
    said: &[L],
    stored: &[R],
    is_hit: impl Fn(&L) -> bool,
    same: impl Fn(&L, &R) -> bool,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut from = 0;
    for (place, one) in stored.iter().enumerate() {
        let found = said.iter().skip(from).position(|fact| same(fact, one));
        match found.map(|ahead| from + ahead) {
            Some(fact) => {
                judgement.same.push((fact, place));
                from = fact + 1;
            }
            None => judgement.invented.push(place),
        }
    }
    let mut from = 0;
    for (place, fact) in said.iter().enumerate().filter(|(_, fact)| !is_hit(fact)) {
        match stored.iter().skip(from).position(|one| same(fact, one)) {
            Some(ahead) => from += ahead + 1,
            None => judgement.lost.push(place),
        }
    }
    judgement
}

/// A waveform block as it was said.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// When it was complete, in milliseconds.
    pub end_ms: i64,
    /// Its samples.
    pub samples: &'a [i32],
    /// Whether a fault may have hidden some of it.
    pub is_hit: bool,
}

/// Looks for the samples of stored blocks, each with its start in milliseconds, in what was said,
/// and for those of blocks that were not hit in what is stored: behind a fault a host may cut other
/// blocks of the same samples. A stored block that nobody said is invented, unless a fault may have
/// put a sample too many into it: that is told by the next sample that is another, which may come
/// later, so that the number of such blocks in a while is compared with that of the blocks that were
/// hit in it.
#[must_use]
pub fn judge_waves(said: &[Block<'_>], stored: &[(i64, &[i32])]) -> Judgement {
    let mut judgement = Judgement::default();
    let all: Vec<i32> = said.iter().flat_map(|block| block.samples).copied().collect();
    let (mut from, mut strange) = (0, Vec::new());
    for (place, (start_ms, samples)) in stored.iter().enumerate() {
        let later = start_ms.saturating_add(ABOUT_MS);
        // The same samples may come again much later: a lead that is off says one number.
        let by_then = said.iter().take_while(|block| block.end_ms <= later);
        let until = by_then.clone().map(|block| block.samples.len()).sum();
        let lately = |ms: i64| start_ms - ms <= SHOWS_MS;
        let hit = by_then.filter(|block| block.is_hit && lately(block.end_ms)).count();
        let known = strange.iter().filter(|ms| lately(**ms)).count();
        match find(all.get(from..until).unwrap_or_default(), samples) {
            Some(ahead) => from += ahead + samples.len(),
            None if known < hit => strange.push(*start_ms),
            None => judgement.invented.push(place),
        }
    }
    let all: Vec<i32> = stored.iter().flat_map(|(_, samples)| *samples).copied().collect();
    let mut from = 0;
    for (place, block) in said.iter().enumerate().filter(|(_, block)| !block.is_hit) {
        match find(all.get(from..).unwrap_or_default(), block.samples) {
            Some(ahead) => from += ahead + block.samples.len(),
            None => judgement.lost.push(place),
        }
    }
    judgement
}

/// Where these samples begin.
fn find(among: &[i32], wanted: &[i32]) -> Option<usize> {
    match wanted.is_empty() {
        true => Some(0),
        false => among.windows(wanted.len()).position(|there| there == wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Said, with a mark where it was hit; stored; lost and invented.
    #[track_caller]
    fn check(said: &[(u32, bool)], stored: &[u32], lost: &[usize], invented: &[usize]) {
        let judged = judge(said, stored, |one| one.1, |one, other| one.0 == *other);
        assert_eq!((judged.lost.as_slice(), judged.invented.as_slice()), (lost, invented));
    }

    #[test]
    fn what_was_hit_may_be_stored_or_not_and_the_rest_must() {
        let said = [(1, false), (2, true), (2, true), (3, false)];
        for stored in [&[1, 3][..], &[1, 2, 3], &[1, 2, 2, 3]] {
            check(&said, stored, &[], &[]);
        }
        check(&said, &[1, 2, 2, 2, 3], &[], &[3]);
        check(&said, &[2, 3], &[0], &[]);
        check(&said, &[1, 2, 9, 3], &[], &[2]);
        // Which of two like values was hidden nobody can tell, and it does not matter.
        check(&[(7, true), (7, false), (7, false), (8, false)], &[7, 7, 8], &[], &[]);
        check(&[(7, false), (7, true), (7, false), (8, false)], &[7, 8], &[2], &[]);
    }

    /// Blocks of a second, said at its end: the samples, and a mark where it was hit.
    #[track_caller]
    fn check_waves(said: &[(&[i32], bool)], stored: &[&[i32]], lost: &[usize], invented: &[usize]) {
        let blocks = (1..).zip(said).map(|(second, (samples, is_hit))| Block {
            end_ms: second * 1000,
            samples,
            is_hit: *is_hit,
        });
        let blocks: Vec<Block<'_>> = blocks.collect();
        let stored: Vec<(i64, &[i32])> =
            (0..).zip(stored).map(|(second, samples)| (second * 1000, *samples)).collect();
        let judged = judge_waves(&blocks, &stored);
        assert_eq!((judged.lost.as_slice(), judged.invented.as_slice()), (lost, invented));
    }

    #[test]
    fn samples_may_be_cut_into_other_blocks_behind_a_fault() {
        let said: [(&[i32], bool); 4] =
            [(&[1, 2, 3], false), (&[4, 5, 6], true), (&[7, 8, 9], false), (&[1, 1, 1], false)];
        // 5 is missing.
        let stored: [&[i32]; 4] = [&[1, 2, 3], &[4], &[6, 7, 8], &[9, 1, 1]];
        check_waves(&said, &stored, &[3], &[]);
        check_waves(&said, &[&stored[..], &[&[1]]].concat(), &[], &[]);
        // 5 came twice, where something was hit.
        check_waves(&said, &[&[1, 2, 3], &[4, 5, 5, 6], &[7, 8, 9], &[1, 1, 1]], &[], &[]);
    }

    #[test]
    fn what_was_hit_long_ago_excuses_no_block() {
        let hit: (&[i32], bool) = (&[1, 2, 3], true);
        let good: (&[i32], bool) = (&[4, 5, 6], false);
        let said: Vec<_> = [hit].into_iter().chain([good; 60]).collect();
        let mut stored: Vec<&[i32]> = [good.0; 60].to_vec();
        stored[1] = &[9, 9, 9];
        stored[50] = &[8, 8, 8];
        check_waves(&said, &stored, &[59, 60], &[50]);
    }

    #[test]
    fn samples_that_nobody_said_are_invented() {
        let said: [(&[i32], bool); 2] = [(&[1, 2, 3], false), (&[4, 5, 6], false)];
        check_waves(&said, &[&[1, 2, 3], &[4, 6, 6]], &[1], &[1]);
        check_waves(&said, &[&[1, 2, 3], &[1, 2, 3], &[4, 5, 6]], &[], &[1]);
        let far: [(&[i32], bool); 12] = [(&[1, 2], false); 12];
        let stored: Vec<&[i32]> = (0..11).map(|_| &[1, 2][..]).chain([&[1, 3][..]]).collect();
        check_waves(&far, &stored, &[11], &[11]);
    }
}
