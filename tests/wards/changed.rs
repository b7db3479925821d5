//! What is compared of those whose devices came or went.

use crate::{
    compare::{SAME_S, Seen, Story, line_of},
    world::Outcome,
};
use gateway::proof::Notified;

impl Story<'_> {
    /// Of whom devices came or went while their box was away, of which it did not know: what its box
    /// judged of others is judged anew, and what it had judged until then ended with that. So nothing
    /// that held is missing, what holds still is known, and nothing is of somebody else.
    pub(crate) fn compare_changed(&mut self, expected: &[Seen], found: &[Seen], outage: &Outcome) {
        let is_own = |alert: &&Seen| ["tech", "pump"].iter().any(|of| alert.family.starts_with(of));
        // On nobody for no time, while it was put from one on the other.
        let is_passing =
            |alert: &&Seen| alert.why.is_some() && alert.cleared == Some(alert.started);
        let whole: Vec<&Seen> =
            expected.iter().filter(|alert| !is_own(alert) && !is_passing(alert)).collect();
        // What a device signalled before it came holds since it came, as far as is known (row 11),
        // and sounds for nobody before it is heard.
        let is_nothing = |alert: &&Seen| {
            let told = |told: &Notified| told.alert == alert.id;
            alert.late_row == Some(11)
                && alert.cleared == Some(alert.started)
                && !outage.notified.iter().any(told)
        };
        let broken: Vec<&Seen> = found.iter().filter(|alert| !is_own(alert)).collect();
        self.figures.moved += broken.len();
        let is_like = |one: &Seen, other: &Seen| {
            (&one.subject, &one.family) == (&other.subject, &other.family)
                && one.started <= other.cleared.map_or(i64::MAX, |over| over + SAME_S)
                && other.started <= one.cleared.map_or(i64::MAX, |over| over + SAME_S)
        };
        for alert in &whole {
            let like: Vec<&&Seen> = broken.iter().filter(|other| is_like(alert, other)).collect();
            let is_active = alert.cleared.is_none() && alert.why.is_none();
            if like.is_empty() || (is_active && like.iter().all(|other| other.cleared.is_some())) {
                let like: Vec<String> = like.into_iter().map(|other| line_of(other)).collect();
                let line = format!(
                    "missed where devices changed: {}\n    {}",
                    line_of(alert),
                    like.join("\n    ")
                );
                self.says(|f| &mut f.missed, line);
            }
        }
        for alert in broken.into_iter().filter(|alert| !is_nothing(alert) && !is_passing(alert)) {
            if !whole.iter().any(|other| is_like(alert, other)) {
                let line = format!("only where devices changed: {}", line_of(alert));
                self.says(|f| &mut f.differ, line);
            }
        }
    }
}
