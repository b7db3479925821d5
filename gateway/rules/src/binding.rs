//! Which device is whose: the binding list, and whom alerts are about.
//!
//! Not here: who binds, and how the list travels.
//!
//! # Invariants
//! - a device is bound to at most one patient at any moment
//! - a list that exists was checked, also one that was read

use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Bindings of one site: some hundred patients a year, of each the last weeks.
const BINDINGS_MAX: usize = 4096;
/// Longest name of a bed, in letters.
const BED_LEN_MAX: usize = 32;
/// What a stored subject begins with when it is a patient; no device has a colon.
const PATIENT_PREFIX: &str = "patient:";

/// Pseudonymous key of a patient; says nothing about who it is.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PatientKey(DeviceId);

impl PatientKey {
    /// 1 to 64 of letters, digits, `.`, `_`, `-`.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn new(key: &str) -> Result<Self, PatientKeyError> {
        DeviceId::new(key).map(Self).map_err(|_| PatientKeyError(key.to_owned()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// No key of a patient.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("\"{0}\" is no patient key; use 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")]
pub struct PatientKeyError(String);

impl TryFrom<String> for PatientKey {
    type Error = PatientKeyError;
    fn try_from(key: String) -> Result<Self, PatientKeyError> {
        Self::new(&key)
    }
}

impl From<PatientKey> for String {
    fn from(key: PatientKey) -> Self {
        key.0.into()
    }
}

impl fmt::Display for PatientKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Whom alerts are about.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A patient, with the devices bound to them.
    Patient(PatientKey),
    /// A device bound to nobody.
    Device(DeviceId),
    /// The edge box of the site.
    Box,
}

impl Subject {
    /// The subject of what no patient is bound to: a box has the name of its site.
    #[must_use]
    pub fn unbound(site: &SiteId, device: &DeviceId) -> Self {
        match device.as_str() == site.as_str() {
            true => Self::Box,
            false => Self::Device(device.clone()),
        }
    }

    /// The name under which it is stored beside its site.
    #[must_use]
    pub fn name(&self, site: &SiteId) -> String {
        match self {
            Self::Patient(key) => format!("{PATIENT_PREFIX}{key}"),
            Self::Device(device) => device.to_string(),
            Self::Box => site.to_string(),
        }
    }

    /// The subject that is stored under that name.
    #[must_use]
    pub fn from_name(site: &SiteId, name: &str) -> Option<Self> {
        match name.strip_prefix(PATIENT_PREFIX) {
            Some(key) => PatientKey::new(key).ok().map(Self::Patient),
            None => DeviceId::new(name).ok().map(|device| Self::unbound(site, &device)),
        }
    }

    /// The patient, if it is one.
    #[must_use]
    pub const fn patient(&self) -> Option<&PatientKey> {
        match self {
            Self::Patient(key) => Some(key),
            Self::Device(_) | Self::Box => None,
        }
    }
}

/// A device is a patient's for a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Binding {
    /// The device.
    pub device: DeviceId,
    /// Whose it is.
    pub patient: PatientKey,
    /// Where, as people there call it.
    #[serde(default)]
    pub bed: Option<String>,
    /// From this moment on.
    pub from: WallTime,
    /// Up to this moment, which is outside; `None`: until somebody ends it.
    #[serde(default)]
    pub until: Option<WallTime>,
}

impl Binding {
    /// Whether it holds at that moment.
    #[must_use]
    pub fn holds(&self, at: WallTime) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let before_end = |from: WallTime, end: Option<WallTime>| end.is_none_or(|end| from < end);
        self.device == other.device
            && before_end(self.from, other.until)
            && before_end(other.from, self.until)
    }
}

/// The bindings of one site, as of one version.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Written")]
pub struct BindingList {
    version: u64,
    bindings: Vec<Binding>,
}

/// A list as written, not yet checked.
#[derive(Deserialize)]
struct Written {
    version: u64,
    bindings: Vec<Binding>,
}

impl TryFrom<Written> for BindingList {
    type Error = BindingError;
    fn try_from(written: Written) -> Result<Self, BindingError> {
        Self::new(written.version, written.bindings)
    }
}

/// Why a binding list was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BindingError {
    /// More than a list holds.
    #[error("{0} bindings are more than the {BINDINGS_MAX} of one list; leave out the oldest")]
    TooMany(usize),
    /// It does not end after it begins.
    #[error("the binding of {0} does not end after it begins")]
    Backwards(DeviceId),
    /// Two patients at one moment.
    #[error("{0} is bound twice at one moment; end the first binding before the second begins")]
    Overlap(DeviceId),
    /// A bed with such a name.
    #[error("the bed of {0} has a name of more than {BED_LEN_MAX} letters")]
    Bed(DeviceId),
}

impl BindingList {
    /// A list of that version.
    ///
    /// # Errors
    /// The first mistake of the list.
    pub fn new(version: u64, mut bindings: Vec<Binding>) -> Result<Self, BindingError> {
        if bindings.len() > BINDINGS_MAX {
            return Err(BindingError::TooMany(bindings.len()));
        }
        for binding in &bindings {
            let device = || binding.device.clone();
            if binding.until.is_some_and(|until| until <= binding.from) {
                return Err(BindingError::Backwards(device()));
            }
            let letters = binding.bed.as_ref().map_or(0, |bed| bed.chars().count());
            if letters > BED_LEN_MAX {
                return Err(BindingError::Bed(device()));
            }
        }
        bindings.sort_by(|a, b| (&a.device, a.from).cmp(&(&b.device, b.from)));
        let twice = bindings.iter().zip(bindings.iter().skip(1)).find(|(a, b)| a.overlaps(b));
        match twice {
            Some((binding, _)) => Err(BindingError::Overlap(binding.device.clone())),
            None => Ok(Self { version, bindings }),
        }
    }

    /// Its version: a later list has a higher one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Its bindings, by device and begin.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The binding of a device at that moment.
    #[must_use]
    pub fn at(&self, device: &DeviceId, t_meas: WallTime) -> Option<&Binding> {
        let after = self
            .bindings
            .partition_point(|binding| (&binding.device, binding.from) <= (device, t_meas));
        self.bindings
            .get(after.checked_sub(1)?)
            .filter(|binding| binding.device == *device && binding.holds(t_meas))
    }

    /// Whom a reading of that device, measured at that moment, is about.
    #[must_use]
    pub fn subject_at(&self, device: &DeviceId, t_meas: WallTime) -> Subject {
        match self.at(device, t_meas) {
            Some(binding) => Subject::Patient(binding.patient.clone()),
            None => Subject::Device(device.clone()),
        }
    }

    /// The bed of a patient at that moment, as the binding of that device says, else as all others
    /// do; `None` where they name several: nobody is sent to the wrong one.
    #[must_use]
    pub fn bed_of(&self, patient: &PatientKey, device: &DeviceId, at: WallTime) -> Option<&str> {
        let hold = self.bindings.iter().filter(|one| one.patient == *patient && one.holds(at));
        let beds = hold.filter_map(|one| Some((&one.device, one.bed.as_deref()?)));
        let own = beds.clone().find(|(of, _)| *of == device);
        let (_, bed) = own.or_else(|| beds.clone().next())?;
        (own.is_some() || beds.clone().all(|(_, other)| other == bed)).then_some(bed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(device: &str, patient: &str, from: i64, until: Option<i64>) -> Binding {
        Binding {
            device: DeviceId::new(device).unwrap(),
            patient: PatientKey::new(patient).unwrap(),
            bed: Some("3".to_owned()),
            from: WallTime::from_unix_ms(from),
            until: until.map(WallTime::from_unix_ms),
        }
    }

    #[track_caller]
    fn check(list: &BindingList, device: &str, at: i64, patient: Option<&str>) {
        let subject = list.subject_at(&DeviceId::new(device).unwrap(), WallTime::from_unix_ms(at));
        assert_eq!(subject.patient().map(PatientKey::as_str), patient, "{device} at {at}");
    }

    #[test]
    fn a_reading_is_about_whoever_had_the_device_when_it_was_measured() {
        let list = BindingList::new(
            7,
            vec![
                binding("ecg-01", "b", 200, None),
                binding("ecg-01", "a", 100, Some(200)),
                binding("bp-01", "a", 150, Some(160)),
            ],
        )
        .unwrap();
        for (device, at, patient) in [
            ("ecg-01", 99, None),
            ("ecg-01", 100, Some("a")),
            ("ecg-01", 199, Some("a")),
            ("ecg-01", 200, Some("b")),
            ("ecg-01", i64::MAX, Some("b")),
            ("bp-01", 149, None),
            ("bp-01", 159, Some("a")),
            ("bp-01", 160, None),
            ("oxi-01", 150, None),
        ] {
            check(&list, device, at, patient);
        }
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<BindingList>(&text).unwrap(), list);
    }

    #[test]
    fn a_bed_is_where_what_holds_now_says_and_none_where_that_says_two() {
        let at_bed = |bed: &str, binding| Binding { bed: Some(bed.to_owned()), ..binding };
        let list = BindingList::new(
            7,
            vec![
                at_bed("3", binding("ecg-01", "a", 100, Some(200))),
                at_bed("5", binding("oxi-01", "a", 100, Some(400))),
                at_bed("7", binding("bp-01", "a", 300, None)),
                Binding { bed: None, ..binding("temp-01", "a", 100, None) },
                at_bed("9", binding("ecg-01", "b", 200, None)),
            ],
        )
        .unwrap();
        for (patient, device, at, bed) in [
            ("a", "ecg-01", 99, None),
            ("a", "ecg-01", 150, Some("3")),
            ("a", "oxi-01", 150, Some("5")),
            // What has no bed of its own, and what is on nobody: two others name two.
            ("a", "temp-01", 150, None),
            ("a", "bp-01", 150, None),
            // The first was taken off: it is somebody else's, at another bed.
            ("a", "ecg-01", 200, Some("5")),
            ("b", "ecg-01", 200, Some("9")),
            ("a", "bp-01", 300, Some("7")),
            ("a", "ecg-01", 300, None),
            ("a", "oxi-01", 400, Some("7")),
            ("c", "ecg-01", 400, None),
        ] {
            let patient = PatientKey::new(patient).unwrap();
            let device = DeviceId::new(device).unwrap();
            let found = list.bed_of(&patient, &device, WallTime::from_unix_ms(at));
            assert_eq!(found, bed, "{patient} {device} at {at}");
        }
    }

    #[test]
    fn a_list_with_a_mistake_is_refused_however_it_comes() {
        let device = DeviceId::new("ecg-01").unwrap();
        let mut bed = binding("ecg-01", "a", 0, None);
        bed.bed = Some("x".repeat(33));
        let overlap = vec![binding("ecg-01", "a", 0, None), binding("ecg-01", "b", 5, None)];
        for (bindings, error) in [
            (vec![binding("ecg-01", "a", 9, Some(9))], BindingError::Backwards(device.clone())),
            (vec![bed], BindingError::Bed(device.clone())),
            (overlap, BindingError::Overlap(device)),
            (
                vec![binding("ecg-01", "a", 0, Some(0)); BINDINGS_MAX + 1],
                BindingError::TooMany(BINDINGS_MAX + 1),
            ),
        ] {
            let written = serde_json::json!({"version": 1, "bindings": bindings}).to_string();
            let read = serde_json::from_str::<BindingList>(&written).unwrap_err().to_string();
            assert!(read.starts_with(&error.to_string()), "{read}");
            assert_eq!(BindingList::new(1, bindings), Err(error));
        }
    }

    #[test]
    fn a_subject_is_found_again_by_its_name() {
        let site = SiteId::new("heping").unwrap();
        for subject in [
            Subject::Patient(PatientKey::new("p-0007").unwrap()),
            Subject::Device(DeviceId::new("ecg-01").unwrap()),
            Subject::Box,
        ] {
            assert_eq!(Subject::from_name(&site, &subject.name(&site)), Some(subject));
        }
        assert_eq!(Subject::from_name(&site, "a|b"), None);
    }
}
