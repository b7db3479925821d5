//! Numbers that follow from a seed.

/// Thrown again and again.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From that seed on.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The seed of this run: `KILL_SEED`, or another one each time.
#[must_use]
pub fn seed() -> u64 {
    of_environment("KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()))
}

/// A number that whoever runs a test may choose.
#[must_use]
pub fn of_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
