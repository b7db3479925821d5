//! What a lead counted before the news of it came: fresh values are judged by what is known (row 1),
//! and news from before the last of them touches the live state no more (row 8).

use crate::{
    compare::{SAME_S, STREAM_FRESH_S, Seen, differs},
    world::Outcome,
};

/// The next value of a monitor comes within so long.
const PACE_S: i64 = 10;

/// A lead came off or was on again, of which the county heard later.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    /// The device; in what came of a ward whom it is about.
    pub(crate) whose: String,
    pub(crate) is_off: bool,
    pub(crate) at: i64,
    /// Its box could be heard since: from then on the news is on its way.
    pub(crate) open: i64,
    pub(crate) heard: i64,
}

impl Lead {
    fn is_of(&self, alert: &Seen) -> bool {
        self.whose == alert.subject && ["hr_low", "hr_high"].contains(&alert.family.as_str())
    }
}

impl Outcome {
    fn leads_off(&self, alert: &Seen) -> impl Iterator<Item = &Lead> {
        self.leads.iter().filter(|lead| lead.is_off && lead.is_of(alert))
    }

    /// It sounded then by what a lead that was off counted, as long as a value of before is fresh.
    pub(crate) fn is_before_lead_off(&self, alert: &Seen, sounded: i64) -> bool {
        self.leads_off(alert).any(|lead| {
            let known = lead.heard.min(lead.open + 2 * STREAM_FRESH_S);
            (lead.at..=known).contains(&sounded)
        })
    }

    /// The same but for what a lead counted before the news of it came: it began too soon or, as the
    /// lead was on again, too late, or it came back.
    pub(crate) fn is_like_but_for_leads(&self, expected: &Seen, found: &Seen) -> bool {
        if (&expected.subject, &expected.family) != (&found.subject, &found.family) {
            return false;
        }
        let parts = differs(expected, found).parts;
        let begins = parts == ["begin"];
        let sounds = |step: &str| {
            let moments = found.steps.iter().filter(|(_, what)| what == step).map(|(at, _)| *at);
            moments.filter(|at| self.is_before_lead_off(found, *at)).collect::<Vec<_>>()
        };
        let too_soon = || found.started < expected.started && !sounds("raised").is_empty();
        let too_late = || {
            let mut on = self.leads.iter().filter(|lead| !lead.is_off && lead.is_of(found));
            on.any(|lead| {
                (lead.at..=lead.heard).contains(&expected.started)
                    && (lead.at..=lead.heard + PACE_S).contains(&found.started)
                    && found.started > expected.started
            })
        };
        let came_back = || {
            let is_known = |at: i64| {
                expected.steps.iter().any(|(then, what)| *then == at && what == "recurred")
            };
            sounds("recurred").into_iter().any(|at| !is_known(at))
                && parts.iter().all(|it| ["end", "who has it in hand", "state"].contains(it))
        };
        (begins && (too_soon() || too_late())) || came_back()
    }

    /// It ended by what a lead that was off counted, before the news of that had come, and `next` is
    /// what would have been its return.
    ///
    /// Both stories are right. A clear is taken from fresh values that are newer than what was
    /// evaluated, judged by what is known (rows 1 and 7). The news, from before the last of them,
    /// does not touch the live state any more (row 8). What is outside more than five minutes after
    /// that end is another episode ("Identity"), with an id of its own, where the end that was
    /// known in time is later and the same is a return. So nothing is another before the lead came
    /// off, and `next` sounded when the return did and is like it ever since.
    pub(crate) fn is_split_by_lead_off(&self, expected: &Seen, found: &Seen, next: &Seen) -> bool {
        let Some(over) = found.cleared else { return false };
        let is_judged_off = |lead: &&Lead| (lead.at..=lead.heard).contains(&over);
        let Some(lead) = self.leads_off(found).find(is_judged_off) else { return false };
        let turns = ["raised", "recurred", "cleared", "acknowledged", "priority_rose"];
        let until_then = |seen: &Seen| -> Vec<(i64, String)> {
            let steps = seen.steps.iter().filter(|(at, _)| *at < lead.at);
            steps.filter(|(_, what)| turns.contains(&what.as_str())).cloned().collect()
        };
        let moment = |seen: &Seen, step: &str| {
            seen.steps.iter().find(|(at, what)| *at > over && what == step).map(|(at, _)| *at)
        };
        let sounds = moment(next, "raised");
        found.started == expected.started
            && until_then(found) == until_then(expected)
            && next.started > over + SAME_S
            && sounds.is_some()
            && sounds == moment(expected, "recurred")
            && differs(expected, next).parts == ["begin"]
    }
}
