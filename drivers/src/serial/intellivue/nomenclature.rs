//! What the monitor's numbers mean to us: metrics, units, sensors.
//!
//! Read first: the protocol sheet, §6.9 and "Our metrics". The physio-id decides, not the label;
//! four ids differ from the catalogue's code for the same thing and are mapped by this table.

use model::{
    metric::{Kind, Metric},
    units::Unit,
};
use std::collections::BTreeMap;

/// Facts from the sheet. No number of the nomenclature stands anywhere else.
mod spec {
    use super::{Metric, Unit};

    /// "Our metrics".
    pub(super) const METRICS: [(u16, Metric); 30] = [
        (0x4182, Metric::HR),
        (0x480A, Metric::PULSE),
        (0x4822, Metric::PULSE_OXIM),
        (0x4BB8, Metric::SPO2),
        (0x4BB0, Metric::PERF_INDEX),
        (0x4BB4, Metric::PLETH),
        (0x500A, Metric::RR),
        (0x5000, Metric::RESP_WAVE),
        (0x4A05, Metric::NIBP_SYS),
        (0x4A06, Metric::NIBP_DIA),
        (0x4A07, Metric::NIBP_MEAN),
        (0xF0E5, Metric::PULSE_NIBP),
        (0x4A15, Metric::ABP_SYS),
        (0x4A16, Metric::ABP_DIA),
        (0x4A17, Metric::ABP_MEAN),
        (0x4B48, Metric::TEMP),
        (0x4B74, Metric::TEMP_SKIN),
        (0xE004, Metric::TEMP_RECT),
        (0x50B0, Metric::ETCO2),
        (0x0100, Metric::ECG_WAVE),
        (0x0101, Metric::ECG_WAVE_I),
        (0x0102, Metric::ECG_WAVE_II),
        (0x013D, Metric::ECG_WAVE_III),
        (0x013E, Metric::ECG_WAVE_AVR),
        (0x013F, Metric::ECG_WAVE_AVL),
        (0x0140, Metric::ECG_WAVE_AVF),
        (0x0103, Metric::ECG_WAVE_V1),
        (0x0143, Metric::ECG_WAVE_V),
        (0x0302, Metric::ST_II),
        (0x4261, Metric::PVC_COUNT),
    ];
    /// Compounds: the object, its parts.
    pub(super) const NIBP: (u16, [u16; 3]) = (0x4A04, [0x4A05, 0x4A06, 0x4A07]);
    pub(super) const ABP: (u16, [u16; 3]) = (0x4A14, [0x4A15, 0x4A16, 0x4A17]);
    /// Units, §6.9; millimetres and °F from the metric catalogue (partition 4).
    pub(super) const UNITS: [(u16, Unit); 11] = [
        (0x0200, Unit::fixed("1")),
        (0x0220, Unit::PERCENT),
        (0x0512, Unit::fixed("mm")),
        (0x0AA0, Unit::PER_MINUTE),
        (0x0AE0, Unit::PER_MINUTE),
        (0x0F03, Unit::KILOPASCAL),
        (0x0F20, Unit::MM_HG),
        (0x10B2, Unit::MILLIVOLT),
        (0x10C0, Unit::fixed("Ohm")),
        (0x1140, Unit::fixed("[degF]")),
        (0x17A0, Unit::CELSIUS),
    ];
    /// "Label differs from 0x00020000 + physio-id": partition 2.
    pub(super) const SCADA: u32 = 0x0002_0000;
}

/// Unknown ids that are told one by one; a monitor with every module has about 40.
const UNKNOWN_MAX: usize = 48;

/// The metric of a number.
pub(super) fn numeric_metric(physio_id: u16) -> Option<Metric> {
    metric(physio_id).filter(|metric| metric.row().kind != Kind::Wave)
}

/// The metric of a wave.
pub(super) fn wave_metric(physio_id: u16) -> Option<Metric> {
    metric(physio_id).filter(|metric| metric.row().kind == Kind::Wave)
}

/// The metric an alarm is about.
pub(super) fn alarm_metric(physio_id: u16) -> Option<Metric> {
    if physio_id == spec::NIBP.0 { Some(Metric::NIBP) } else { metric(physio_id) }
}

fn metric(physio_id: u16) -> Option<Metric> {
    spec::METRICS.iter().find(|(id, _)| *id == physio_id).map(|(_, metric)| *metric)
}

/// The unit as sent. One that is not known keeps its number: it is printed, no rule uses it.
pub(super) fn unit(code: u16) -> Option<Unit> {
    let known = spec::UNITS.into_iter().find(|(known, _)| *known == code);
    known.map_or_else(|| Unit::new(&format!("{{0x{code:04x}}}")), |(_, unit)| Some(unit))
}

/// Whether an object with that label is the only one of its kind, as far as its label says: "the
/// object's label differs from 0x00020000 + physio-id". A compound has the label of the whole.
pub(super) fn is_usual_label(label: u32, physio_id: u16) -> bool {
    let compounds = [spec::NIBP, spec::ABP];
    let whole = compounds.iter().find(|(_, parts)| parts.contains(&physio_id)).map(|(id, _)| *id);
    [Some(physio_id), whole].into_iter().flatten().any(|id| label == spec::SCADA + u32::from(id))
}

/// What is attached to the patient: numbers and waves of one sensor are lost together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sensor {
    Ecg,
    Oximeter,
    Cuff,
    ArterialLine,
    Respiration,
    /// One of its own; the physio-id.
    Other(u16),
}

/// The sensor a physio-id comes from.
pub(super) fn sensor(physio_id: u16) -> Sensor {
    match physio_id {
        0x0100..=0x01FF | 0x0300..=0x03FF | 0x4182 | 0x4261 => Sensor::Ecg,
        0x4BB8 | 0x4822 | 0x4BB0 | 0x4BB4 => Sensor::Oximeter,
        0x4A04..=0x4A07 | 0xF0E5 => Sensor::Cuff,
        0x4A14..=0x4A17 => Sensor::ArterialLine,
        0x500A | 0x5000 => Sensor::Respiration,
        other => Sensor::Other(other),
    }
}

/// Ids that are no metric of ours: "counted and shown in the device's status, not stored".
#[derive(Clone, Debug, Default)]
pub(super) struct UnknownIds {
    counts: BTreeMap<u16, u64>,
    /// Those of ids beyond [`UNKNOWN_MAX`].
    others: u64,
    /// An id was met for the first time.
    news: bool,
}

impl UnknownIds {
    pub(super) fn count(&mut self, physio_id: u16) {
        let room = self.counts.len() < UNKNOWN_MAX;
        match self.counts.get_mut(&physio_id) {
            Some(count) => *count += 1,
            None if room => {
                self.counts.insert(physio_id, 1);
                self.news = true;
            }
            None => {
                self.news |= self.others == 0;
                self.others += 1;
            }
        }
    }

    /// Whether an id was met that was not told yet.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// "4b44 ×12, 5102 ×3"; `None` if all is known.
    pub(super) fn told(&self) -> Option<String> {
        let mut told: Vec<_> =
            self.counts.iter().map(|(id, count)| format!("{id:04x} ×{count}")).collect();
        if self.others > 0 {
            told.push(format!("others ×{}", self.others));
        }
        (!told.is_empty()).then(|| told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_and_no_metric_stands_twice_in_the_table() {
        let ids: BTreeMap<_, _> = spec::METRICS.into_iter().collect();
        let metrics: BTreeMap<_, _> =
            spec::METRICS.iter().map(|(id, metric)| (metric, id)).collect();
        assert_eq!((ids.len(), metrics.len()), (spec::METRICS.len(), spec::METRICS.len()));
    }

    #[test]
    fn an_id_that_differs_from_the_catalogue_is_mapped_by_the_table_only() {
        // "Four ids differ from the catalogue's code": every other one is the same.
        let differs = |(id, metric): &(u16, Metric)| {
            metric.row().mdc_code32 != Some(0x0002_0000 + u32::from(*id))
        };
        let found: Vec<_> =
            spec::METRICS.iter().filter(|row| differs(row)).map(|(_, metric)| *metric).collect();
        assert_eq!(
            found,
            [Metric::PULSE_OXIM, Metric::PERF_INDEX, Metric::RESP_WAVE, Metric::PULSE_NIBP]
        );
    }

    #[test]
    fn a_wave_is_no_number_and_a_number_no_wave() {
        assert_eq!(numeric_metric(0x4182), Some(Metric::HR));
        assert_eq!((wave_metric(0x4182), numeric_metric(0x0102)), (None, None));
        assert_eq!((wave_metric(0x4A14), numeric_metric(0x4A14)), (None, None));
        assert_eq!(alarm_metric(0x4A04), Some(Metric::NIBP));
    }

    #[test]
    fn units_are_those_of_the_catalogue() {
        assert_eq!(unit(0x0F20), Some(Unit::MM_HG));
        assert_eq!(unit(0x4321).unwrap().as_str(), "{0x4321}");
    }

    #[test]
    fn a_compound_has_the_label_of_the_whole() {
        assert!(is_usual_label(0x0002_4A04, 0x4A05) && is_usual_label(0x0002_4182, 0x4182));
        assert!(!is_usual_label(0x0002_E014, 0x4B48));
    }

    #[test]
    fn unknown_ids_are_counted_and_bounded() {
        let mut unknown = UnknownIds::default();
        assert_eq!((unknown.take_news(), unknown.told()), (false, None));
        unknown.count(0x4B44);
        assert!(unknown.take_news());
        unknown.count(0x4B44);
        assert!(!unknown.take_news());
        assert_eq!(unknown.told().as_deref(), Some("4b44 ×2"));
        (0..5000).for_each(|id| unknown.count(id));
        assert_eq!(unknown.counts.len(), UNKNOWN_MAX);
        assert!(unknown.told().unwrap().ends_with("others ×4953"));
    }
}
