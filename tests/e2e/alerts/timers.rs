//! What time does with an alert, written down a second time: by the table of the alert rules
//! ("Priority, delay and the measures against alarm fatigue"), and by nothing of the code.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const REMIND_MS: i64 = 5 * MINUTE_MS;
const MEDIUM_CLOSES_MS: i64 = 30 * MINUTE_MS;
/// The county looks once a second, which is ten of its own; a machine that does other things too is
/// some seconds late.
const LATE_MS: i64 = 60 * SECOND_MS;

/// Entries that time makes; the others are of devices and people.
pub(crate) const OF_TIME: [&str; 5] = ["escalated", "realarmed", "reminded", "unshelved", "closed"];

/// Names of the steps of a ladder, and after how long nobody has answered; then the time to the
/// next sound after somebody has it in hand.
struct Row {
    ladder: [(&'static str, i64); 3],
    realarm_ms: i64,
}

const HIGH: Row = Row {
    ladder: [
        ("second", MINUTE_MS),
        ("township_doctor", 2 * MINUTE_MS),
        ("county_on_call", 5 * MINUTE_MS),
    ],
    realarm_ms: 2 * MINUTE_MS,
};
const MEDIUM: Row = Row {
    ladder: [
        ("second", 5 * MINUTE_MS),
        ("township_doctor", 15 * MINUTE_MS),
        ("county_on_call", 30 * MINUTE_MS),
    ],
    realarm_ms: 10 * MINUTE_MS,
};

/// A time in which the county was away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Down {
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug)]
enum Stand {
    Sounds { since_ms: i64 },
    InHand { since_ms: i64 },
    Over { since_ms: i64, reminders: i64, sounded_ms: i64 },
    Shelved { until_ms: i64 },
    Closed,
}

/// The story of one alert, as it is read.
pub(crate) struct Story<'d> {
    is_high: bool,
    downs: &'d [Down],
    stand: Stand,
    /// Steps of the ladder that were told.
    told: usize,
    late_ms: i64,
}

impl<'d> Story<'d> {
    /// Before the first word.
    pub(crate) fn begin(priority: &str, downs: &'d [Down]) -> Self {
        let is_high = priority == "high";
        Self { is_high, downs, stand: Stand::Closed, told: 0, late_ms: 0 }
    }

    /// By how much a step was late at most, while the county ran.
    pub(crate) const fn late_ms(&self) -> i64 {
        self.late_ms
    }

    /// Takes in the next entry: none may have been due long before it, and what time did was due.
    pub(crate) fn read(&mut self, entry: &Value) -> anyhow::Result<()> {
        let text = |key| entry.get(key).and_then(Value::as_str);
        let (at_ms, what) = (moment(text("at"))?, text("what").unwrap_or_default());
        let due_ms = self.due_ms();
        self.not_overdue(at_ms).with_context(|| format!("before {entry}"))?;
        if OF_TIME.contains(&what) {
            let due_ms = due_ms.context("time has nothing to do with it")?;
            ensure!(at_ms >= due_ms, "{entry} is {} ms early", due_ms - at_ms);
            self.late_ms = self.late_ms.max(self.ran_ms(due_ms, at_ms));
        }
        self.stand = match (what, self.stand) {
            ("raised", Stand::Closed) => Stand::Sounds { since_ms: at_ms },
            // Nobody came: the times that it sounded add up.
            ("recurred", Stand::Over { sounded_ms, .. }) => {
                Stand::Sounds { since_ms: at_ms - sounded_ms }
            }
            ("escalated", Stand::Sounds { since_ms }) => {
                let ladder = self.row().ladder.iter().enumerate().rev();
                let highest = ladder.into_iter().find(|(_, (_, ms))| since_ms + ms <= at_ms);
                let (place, (name, _)) = highest.context("no step is due")?;
                ensure!(text("detail") == Some(name), "{entry} should be of {name}");
                self.told = place + 1;
                self.stand
            }
            ("acknowledged", Stand::Sounds { .. }) => Stand::InHand { since_ms: at_ms },
            ("realarmed", Stand::InHand { .. }) => {
                self.told = 0;
                Stand::Sounds { since_ms: at_ms }
            }
            ("shelved", Stand::Sounds { .. }) => {
                Stand::Shelved { until_ms: moment(text("until"))? }
            }
            ("unshelved", Stand::Shelved { .. }) => Stand::Sounds { since_ms: at_ms },
            ("cleared", Stand::Sounds { since_ms }) => {
                Stand::Over { since_ms: at_ms, reminders: 0, sounded_ms: at_ms - since_ms }
            }
            ("reminded", Stand::Over { since_ms, sounded_ms, .. }) => {
                let reminders = (at_ms - since_ms) / REMIND_MS;
                Stand::Over { since_ms, reminders, sounded_ms }
            }
            ("closed", Stand::Over { .. }) => Stand::Closed,
            (_, stand) => bail!("{what} in {stand:?}"),
        };
        Ok(())
    }

    /// The story is over: nothing may be overdue. What is due next.
    pub(crate) fn end(&self, at_ms: i64) -> anyhow::Result<Option<i64>> {
        self.not_overdue(at_ms).context("at the end")?;
        Ok(self.due_ms())
    }

    fn not_overdue(&self, at_ms: i64) -> anyhow::Result<()> {
        let ran_ms = self.due_ms().map_or(0, |due_ms| self.ran_ms(due_ms, at_ms));
        ensure!(
            ran_ms <= LATE_MS,
            "the county ran for {ran_ms} ms at once, and a step was not taken"
        );
        Ok(())
    }

    fn row(&self) -> &'static Row {
        if self.is_high { &HIGH } else { &MEDIUM }
    }

    /// When time changes it next.
    fn due_ms(&self) -> Option<i64> {
        match self.stand {
            Stand::Sounds { since_ms } => {
                self.row().ladder.get(self.told).map(|(_, after_ms)| since_ms + after_ms)
            }
            Stand::InHand { since_ms } => Some(since_ms + self.row().realarm_ms),
            Stand::Over { since_ms, reminders, .. } if self.is_high => {
                Some(since_ms + REMIND_MS * (reminders + 1))
            }
            Stand::Over { since_ms, .. } => Some(since_ms + MEDIUM_CLOSES_MS),
            Stand::Shelved { until_ms } => Some(until_ms),
            Stand::Closed => None,
        }
    }

    /// How long the county ran at most between two moments, without being killed: one that lives
    /// for a second only has hardly read its rules.
    fn ran_ms(&self, from_ms: i64, until_ms: i64) -> i64 {
        let between = |down: &&Down| down.until_ms > from_ms && down.from_ms < until_ms;
        let (mut longest_ms, mut begin_ms) = (0, from_ms);
        for down in self.downs.iter().filter(between) {
            longest_ms = longest_ms.max(down.from_ms - begin_ms);
            begin_ms = down.until_ms;
        }
        longest_ms.max(until_ms - begin_ms)
    }
}

fn moment(text: Option<&str>) -> anyhow::Result<i64> {
    let text = text.context("a moment is missing")?;
    let moment: jiff::Timestamp = text.parse().with_context(|| text.to_owned())?;
    Ok(moment.as_millisecond())
}
