//! What an infusion pump is programmed to, and what somebody changes at it.

use super::Text;

/// A syringe and the rates at which it is emptied.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Infusion {
    /// The drug, as pumps of either language show it.
    pub drug: Text,
    /// What is set from a moment on; the first is at 0.
    pub steps: Vec<Step>,
}

/// What is set from a moment on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// Seconds.
    pub at_s: u64,
    /// Hundredths of a millilitre an hour; 0: it stands still.
    pub rate: u64,
    /// It is a bolus.
    pub is_bolus: bool,
    /// The volume of a new syringe, in hundredths of a millilitre.
    pub syringe: Option<u64>,
}

impl Infusion {
    /// What is set at that second of the story.
    #[must_use]
    pub fn step(&self, second: u64) -> Option<Step> {
        self.steps.iter().rfind(|step| step.at_s <= second).copied()
    }

    /// The volume to be infused, in hundredths of a millilitre.
    #[must_use]
    pub fn volume(&self, second: u64) -> u64 {
        let steps = self.steps.iter().filter(|step| step.at_s <= second);
        steps.rev().find_map(|step| step.syringe).unwrap_or_default()
    }

    /// Whether a new syringe was put in at that second.
    #[must_use]
    pub fn is_new(&self, second: u64) -> bool {
        self.steps.iter().any(|step| step.at_s == second && step.syringe.is_some())
    }
}
