//! Danger signs: what a person is asked at the referral lines of 180/110 and 16.7/3.9 (alert rules,
//! "Adult, spot").
//!
//! Not here: how an alert rises by a yes (`engine`).

use crate::alert::{Alert, named};
use model::alarm::Priority;
use serde::{Deserialize, Serialize};

/// The rules at whose lines they are asked; whoever is far beyond is beyond these too. In pregnancy
/// the severe ones stand for those of 180/110, which do not hold then.
pub(crate) const ASKED_BY: [&str; 7] =
    ["BP-AD-SH", "BP-AD-DH", "BP-PR-SHH", "BP-PR-DHH", "GLU-AD-H", "GLU-AD-L", "GLU-EL-L"];
/// What a rise by a yes is told to come from, and an answer without a yes to say.
pub(crate) const BY_SIGNS: &str = "danger_signs";
pub(crate) const NO_SIGN: &str = "none";

named! {
    /// The public health norm's own list.
    DangerSign {
        /// Change of consciousness.
        Consciousness = "consciousness";
        /// Severe headache or dizziness.
        Headache = "headache";
        /// Vomiting.
        Vomiting = "vomiting";
        /// Blurred vision.
        BlurredVision = "blurred_vision";
        /// Chest pain.
        ChestPain = "chest_pain";
        /// Breathless when lying flat.
        BreathlessFlat = "breathless_flat";
        /// The breath smells of acetone.
        AcetoneBreath = "acetone_breath";
        /// Deep, fast breathing.
        DeepBreathing = "deep_breathing";
        /// Heart rate above 100 that stays.
        FastHeart = "fast_heart";
        /// Above 39 °C.
        Fever = "fever";
        /// Pregnancy.
        Pregnancy = "pregnancy";
    }
}

impl Alert {
    /// Whether a person is to be asked for danger signs, as the rules that hold say.
    #[must_use]
    pub fn asks_danger_signs(&self) -> bool {
        self.rules.iter().any(|rule| ASKED_BY.contains(&&**rule))
    }

    /// How urgent it is where that holds: with a danger sign it is high.
    pub(crate) fn at_least(&self, priority: Priority) -> Priority {
        match self.people.danger_signs.as_deref() {
            None | Some([]) => priority,
            Some(_) => priority.max(Priority::High),
        }
    }
}
