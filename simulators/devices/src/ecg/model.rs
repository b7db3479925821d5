//! The dynamical model of an ECG, lead II: a point runs around a circle, once a beat, and P, Q, R,
//! S and T pull it up and down as it passes them.
//!
//! Read first: McSharry PE, Clifford GD, Tarassenko L, Smith LA, "A dynamical model for generating
//! synthetic electrocardiogram signals", IEEE Trans Biomed Eng 50(3):289-294, 2003, section "The
//! dynamical model".
//!
//! The point is on the circle from the start, where the first two of its three equations (1) are a
//! phase that grows by ω = 2π / RR (4); z is integrated. What the equations leave open: a wave keeps
//! its height at any RR, and its place and width follow the square root of the mean RR, as QT does
//! (the authors' own program ECGSYN scales angles so, too).
//!
//! Not here: when a beat comes (`rhythm`), noise, leads.
//!
//! # Invariants
//! - what a moment is does not depend on when the model was first asked: it forgets within
//!   [`WARM_UP_TICKS`], as z falls back to its baseline with a time constant of one second

use super::{
    rhythm::{Beat, Beats, Breath, Heart, Kind, LEG_US, Turn},
    tone::sine,
};
use std::f64::consts::{FRAC_PI_2, FRAC_PI_3, TAU};

/// Microseconds of a tick: 500 a second, which the fastest device here asks for. "A fourth order
/// Runge-Kutta method with a fixed time step": 9 ms, the standard deviation of the narrowest wave,
/// are four of these and more.
pub(super) const TICK_US: u64 = 2_000;
const TICK_S: f64 = 0.002;
/// e^-40 of what was: below the last bit of z.
const WARM_UP_TICKS: u64 = 20_000;
/// Later than this the model joins in anew: cheaper than to run through, and the same.
const GAP_TICKS: u64 = 50_000;
/// No device here takes so few samples; a beat before that was in none.
const SKIPPED_TICKS: u64 = 5;

/// Angle of a wave from the R wave, a and b.
type Wave = [f64; 3];

/// Table I, P Q R S T: "-π/3, -π/12, 0, π/12, π/2".
const SINUS: [Wave; 5] = [
    [-FRAC_PI_3, 1.2, 0.25],
    [-FRAC_PI_3 / 4.0, -5.0, 0.1],
    [0.0, 30.0, 0.1],
    [FRAC_PI_3 / 4.0, -7.5, 0.1],
    [FRAC_PI_2, 0.75, 0.4],
];
/// Drawn: 1.3 mV and three times as wide, a late S, and T against them.
const ECTOPIC: [Wave; 3] = [[0.0, 5.9, 0.25], [0.7, -1.5, 0.25], [1.9, -0.8, 0.4]];

/// Table I is for one beat a second.
const OMEGA: f64 = TAU;
/// Units of z in one millivolt, such that R is 1 mV. (ECGSYN scales to −0.4 to 1.2 mV.)
const MILLIVOLT: f64 = 0.042;
/// "A = 0.15 mV", equation (2).
const WANDER_MV: f64 = 0.15;
/// A wave ends here, in multiples of b: 4 millionths of its height.
const REACH: f64 = 5.0;
/// Rates that a beat's shape follows.
const SHAPE_HR: [u8; 2] = [40, 200];
/// T of Table I has ended by then, in seconds at one beat a second: (π/2 + 3 b) / 2π.
const END_OF_T_S: f64 = 0.44;

/// A wave in the turn that the point is in.
#[derive(Clone, Copy, Debug)]
struct Event {
    angle: f64,
    strength: f64,
    width: f64,
}

/// The point, and the heart it follows.
#[derive(Debug)]
pub(super) struct Model {
    seed: u64,
    beats: Beats,
    breath: Breath,
    turn: Turn,
    omega: f64,
    events: Vec<Event>,
    /// Ticks since the start.
    tick: u64,
    z: f64,
    /// An R wave came since the model was last asked.
    beat: bool,
}

impl Model {
    pub(super) fn new(seed: u64, story: &impl Fn(u64) -> Heart) -> Self {
        let beats = Beats::new(seed, 0, story);
        let mut model = Self {
            seed,
            turn: beats.turn(),
            beats,
            breath: Breath::new(0, story),
            omega: 0.0,
            events: Vec::new(),
            tick: 0,
            z: 0.0,
            beat: false,
        };
        model.enter();
        model
    }

    /// Millivolts of that tick, and whether an R wave came since the tick asked for before it.
    pub(super) fn at(&mut self, tick: u64, story: &impl Fn(u64) -> Heart) -> (f64, bool) {
        if tick < self.tick || tick - self.tick > GAP_TICKS {
            self.join(tick, story);
        }
        while self.tick < tick {
            if tick - self.tick > SKIPPED_TICKS {
                self.beat = false;
            }
            self.step(story);
        }
        (self.z / MILLIVOLT, std::mem::take(&mut self.beat))
    }

    /// Joins in shortly before the tick.
    fn join(&mut self, tick: u64, story: &impl Fn(u64) -> Heart) {
        self.tick = tick.saturating_sub(WARM_UP_TICKS);
        self.z = 0.0;
        let now_us = self.tick * TICK_US;
        self.beats = Beats::new(self.seed, now_us / LEG_US, story);
        self.breath = Breath::new(now_us / LEG_US, story);
        self.follow(story);
    }

    /// Goes on by one tick.
    fn step(&mut self, story: &impl Fn(u64) -> Heart) {
        let now_us = self.tick * TICK_US;
        // At most a leg: 3.6e9.
        let into_us = u32::try_from(now_us.saturating_sub(self.turn.from_us)).unwrap_or(u32::MAX);
        let theta = self.omega * f64::from(into_us) * 1e-6;
        let half = self.omega * TICK_S / 2.0;
        let (start, middle, end) =
            (self.pull(theta), self.pull(theta + half), self.pull(theta + 2.0 * half));
        let baseline = WANDER_MV * MILLIVOLT * sine(self.breath.turns(now_us, story));
        let slope = |pull: f64, z: f64| pull - (z - baseline);
        let one = slope(start, self.z);
        let two = slope(middle, self.z + TICK_S / 2.0 * one);
        let three = slope(middle, self.z + TICK_S / 2.0 * two);
        let four = slope(end, self.z + TICK_S * three);
        self.z += TICK_S / 6.0 * (one + 2.0 * two + 2.0 * three + four);
        self.tick += 1;
        self.follow(story);
    }

    /// Enters the turn in which the tick is.
    fn follow(&mut self, story: &impl Fn(u64) -> Heart) {
        let now_us = self.tick * TICK_US;
        while self.beats.turn().until_us <= now_us {
            self.beat |= self.beats.turn().coming.is_some();
            self.beats.next(story);
        }
        if self.turn != self.beats.turn() {
            self.turn = self.beats.turn();
            self.enter();
        }
    }

    /// Puts the waves of the two beats of the turn in their places.
    fn enter(&mut self) {
        let Turn { from_us, until_us, leaving, coming } = self.turn;
        let length_us = u32::try_from(until_us.saturating_sub(from_us)).unwrap_or(u32::MAX);
        let length_s = f64::from(length_us.max(1)) * 1e-6;
        self.omega = TAU / length_s;
        self.events.clear();
        for (beat, angle) in [(leaving, 0.0), (coming, TAU)] {
            let Some(beat) = beat else { continue };
            // What follows a beat must end before the next.
            let stretch = stretch(beat).min(length_s / END_OF_T_S);
            let turned = stretch * self.omega / OMEGA;
            self.events.extend(waves(beat.kind).iter().map(|[place, a, b]| {
                let width = b * turned;
                let strength = a * b * b / OMEGA * self.omega / (width * width);
                Event { angle: angle + place * turned, strength, width }
            }));
        }
    }

    /// The sum in the third of the equations (1).
    fn pull(&self, theta: f64) -> f64 {
        let mut sum = 0.0;
        for event in &self.events {
            let away = theta - event.angle;
            if away.abs() < REACH * event.width {
                let widths = away / event.width;
                sum -= event.strength * away * libm::exp(-0.5 * widths * widths);
            }
        }
        sum
    }
}

fn waves(kind: Kind) -> &'static [Wave] {
    match kind {
        Kind::Sinus => &SINUS,
        Kind::Fibrillation => SINUS.split_first().map(|(_p, rest)| rest).unwrap_or_default(),
        Kind::Ectopic => &ECTOPIC,
    }
}

/// How much longer the shape of a beat is than at one beat a second.
fn stretch(beat: Beat) -> f64 {
    let [slowest, fastest] = SHAPE_HR;
    (60.0 / f64::from(beat.hr.clamp(slowest, fastest))).sqrt()
}
