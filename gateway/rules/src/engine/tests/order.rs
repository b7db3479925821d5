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
    // Results of a cuff, a meter, a thermometer; respiration by rules of its own.
    let other = prop_oneof![
        (Just(Metric::NIBP_SYS), 78..230_u32),
        (Just(Metric::NIBP_DIA), 40..135_u32),
        (Just(Metric::GLU_CAP_PL), 2..24_u32),
        (Just(Metric::KETONE), 2..5_u32),
        (Just(Metric::TEMP_EAR), 34..42_u32),
        (Just(Metric::RR), 6..38_u32),
    ];
    let reason = prop_oneof![Just(NoData::LeadOff), Just(NoData::Searching)];
    let kind =
        prop_oneof![Just(AlarmKind::LeadOff), Just(AlarmKind::ProbeOff), Just(AlarmKind::ROnT)];
    let phase = prop_oneof![Just(AlarmPhase::Start), Just(AlarmPhase::End)];
    prop_oneof![
        12 => (metric.clone(), prop_oneof![4 => 36..40_u32, 1 => 70..100_u32])
            .prop_map(|(metric, value)| Said::Value(metric, value)),
        4 => other.prop_map(|(metric, value)| Said::Value(metric, value)),
        2 => (metric, reason).prop_map(|(metric, reason)| Said::Absent(metric, reason)),
        1 => (kind, phase).prop_map(|(kind, phase)| Said::Alarm(kind, phase)),
    ]
}

type Told = BTreeMap<AlertId, (AlertState, Priority, Vec<String>, DeviceId, WallTime)>;

/// Two monitors, an oximeter and a cuff of one patient.
const DEVICES: [(&str, DeviceKind); 4] = [
    ("ecg-01", DeviceKind::Monitor),
    ("ecg-02", DeviceKind::Monitor),
    ("oxi-01", DeviceKind::Oximeter),
    ("bp-01", DeviceKind::Cuff),
];

fn patient() -> Ward {
    let mut ward = Ward::of(aged(600));
    for (device, kind) in DEVICES {
        ward.hand_to(device, kind, 0.0);
    }
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward
}

fn say(ward: &mut Ward, second: f64, now: f64, word: &Said) {
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

fn last_told(ward: Ward) -> Told {
    let mut last = BTreeMap::new();
    for alert in ward.told {
        let told = (alert.state, alert.priority, alert.rules, alert.device, alert.started_at);
        last.insert(alert.id, told);
    }
    last
}

/// Runs the rules on batches of these lengths, each when its last record has come.
fn alerts_of(mut ward: Ward, said: &[(usize, Said)], lengths: &[usize]) -> Told {
    let mut lengths = lengths.iter().copied().cycle();
    let mut from = 0;
    while from < said.len() {
        let until = said.len().min(from + lengths.next().unwrap());
        let now = f64::from(u32::try_from(until).unwrap());
        for (second, (device, word)) in (0_u32..).zip(said).take(until).skip(from) {
            let (device, kind) = DEVICES[*device];
            ward.hand_to(device, kind, 0.0);
            say(&mut ward, f64::from(second), now, word);
        }
        from = until;
    }
    last_told(ward)
}

/// Runs the rules on what two devices say second by second, each in its order, one device taking so
/// many turns after another.
fn woven(said: [&[Said]; 2], turns: &[usize]) -> Told {
    let mut ward = patient();
    let mut next = [0, 0];
    let mut turns = turns.iter().copied().cycle();
    let now = 55.0;
    for place in [0, 1].into_iter().cycle() {
        if next[0] == said[0].len() && next[1] == said[1].len() {
            break;
        }
        let (device, kind) = DEVICES[place * 2];
        ward.hand_to(device, kind, 0.0);
        let until = said[place].len().min(next[place] + turns.next().unwrap());
        for (second, word) in (0_u32..).zip(said[place]).take(until).skip(next[place]) {
            say(&mut ward, f64::from(second), now, word);
        }
        next[place] = until;
    }
    last_told(ward)
}

fn values(metric: Metric, low: u32) -> impl Strategy<Value = Vec<Said>> {
    let value = prop_oneof![5 => low..low + 4, 1 => low + 15..low + 20];
    vec(value.prop_map(move |value| Said::Value(metric, value)), 1..54)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn however_batches_are_cut_the_alerts_are_the_same(
        said in vec(anything(), 1..100),
        lengths in vec(1_usize..40, 1..12),
    ) {
        let said: Vec<_> = said.into_iter().map(|word| (0, word)).collect();
        let ward = || Ward::new("ecg-01");
        prop_assert_eq!(alerts_of(ward(), &said, &lengths), alerts_of(ward(), &said, &[1]));
    }

    #[test]
    fn of_a_patient_with_several_devices_too(
        said in vec((0..DEVICES.len(), anything()), 1..100),
        lengths in vec(1_usize..40, 1..12),
    ) {
        prop_assert_eq!(alerts_of(patient(), &said, &lengths), alerts_of(patient(), &said, &[1]));
    }

    #[test]
    fn however_devices_take_turns_the_alerts_are_the_same(
        saturation in values(Metric::SPO2, 82),
        respiration in values(Metric::RR, 5),
        turns in vec(1_usize..20, 1..8),
    ) {
        let said = [&saturation[..], &respiration];
        prop_assert_eq!(woven(said, &turns), woven(said, &[1]));
    }
}
