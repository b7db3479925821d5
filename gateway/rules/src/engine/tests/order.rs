//! The same readings and rules give the same alerts, however their batches are cut.

use super::*;
use proptest::{collection::vec, prelude::*};

/// What a device may say in a second.
#[derive(Clone, Debug)]
enum Said {
    Value(Metric, u32),
    Absent(Metric, NoData),
    Alarm(AlarmKind, AlarmPhase),
}

fn anything() -> impl Strategy<Value = Said> {
    let metric = prop_oneof![Just(Metric::HR), Just(Metric::PULSE_OXIM), Just(Metric::SPO2)];
    let reason = prop_oneof![Just(NoData::LeadOff), Just(NoData::Searching)];
    let kind =
        prop_oneof![Just(AlarmKind::LeadOff), Just(AlarmKind::ProbeOff), Just(AlarmKind::ROnT)];
    let phase = prop_oneof![Just(AlarmPhase::Start), Just(AlarmPhase::End)];
    prop_oneof![
        12 => (metric.clone(), prop_oneof![4 => 36..40_u32, 1 => 70..100_u32])
            .prop_map(|(metric, value)| Said::Value(metric, value)),
        2 => (metric, reason).prop_map(|(metric, reason)| Said::Absent(metric, reason)),
        1 => (kind, phase).prop_map(|(kind, phase)| Said::Alarm(kind, phase)),
    ]
}

/// Runs the rules on batches of these lengths, each when its last record has come.
fn alerts_of(
    said: &[Said],
    lengths: &[usize],
) -> BTreeMap<AlertId, (AlertState, Priority, Vec<String>, WallTime)> {
    let mut ward = Ward::new("ecg-01");
    let mut lengths = lengths.iter().copied().cycle();
    let mut from = 0;
    while from < said.len() {
        let until = said.len().min(from + lengths.next().unwrap());
        let now = f64::from(u32::try_from(until).unwrap());
        for (second, word) in (0_u32..).zip(said).take(until).skip(from) {
            let second = f64::from(second);
            let unit = |metric: Metric| metric.row().canonical_unit.clone().unwrap();
            match word.clone() {
                Said::Value(metric, value) => {
                    ward.feed(second, now, vec![Reading::number(metric, value, unit(metric))]);
                }
                Said::Absent(metric, reason) => {
                    ward.feed(second, now, vec![Reading::no_data(metric, reason)]);
                }
                Said::Alarm(kind, phase) => {
                    let alarm = ward.an_alarm(second, kind, phase);
                    ward.alarm_at(now, &alarm);
                }
            }
        }
        from = until;
    }
    let mut last = BTreeMap::new();
    for alert in ward.told {
        let told = (alert.state, alert.priority, alert.rules, alert.started_at);
        last.insert(alert.id, told);
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_batches_are_cut_the_alerts_are_the_same(
        said in vec(anything(), 1..100),
        lengths in vec(1_usize..40, 1..12),
    ) {
        prop_assert_eq!(alerts_of(&said, &lengths), alerts_of(&said, &[1]));
    }
}
