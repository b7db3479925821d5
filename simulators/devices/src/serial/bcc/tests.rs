//! The station in sessions with a host, in every configuration.

use super::*;
use crate::{EcgSource, Patient, StageClock};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

/// A host with a station on its line, as §6 wants it.
struct Host {
    station: Station,
    now: SimTime,
    heard: Vec<u8>,
}

impl Host {
    fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::built_in("clinic-day").unwrap();
        change(&mut scenario);
        let station = Station::new(Setup {
            device: "pump-01".into(),
            seed,
            clock: StageClock { wall_start_ms: 0, utc_offset_s: 0 },
            patient: Patient::new(1, scenario, EcgSource::Synthetic),
        });
        Self { station, now: SimTime(0), heard: Vec::new() }
    }

    fn configured(config: scenario::Station) -> Self {
        Self::new(0, |scenario| scenario.station = Some(config))
    }

    fn alive(mut self) -> Self {
        assert_eq!(self.ask("ADMIN:ALIVE").unwrap(), ["GNACK=0"]);
        self.acknowledge();
        self
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_millis(ms);
        while let Some(due) = self.station.next_due().filter(|due| *due <= end) {
            self.station.advance(due);
        }
        self.now = end;
        self.station.advance(end);
        self.heard.extend(self.station.take_output());
    }

    fn request(&mut self, command: &str) {
        let bed = if command == "ADMIN:ALIVE" { "1" } else { BED };
        let frame = encode(bed, command.as_bytes(), ETX);
        let frame = if self.station.config.stuffing { stuff(&frame) } else { frame };
        self.station.receive(self.now, &frame);
    }

    fn acknowledge(&mut self) {
        self.station.receive(self.now, &[ACK]);
    }

    /// The next frame within 3 s: its end and its records as `parameter=value`.
    fn frame(&mut self) -> Option<(u8, Vec<String>)> {
        for _ in 0..30 {
            self.pass(100);
            while let Some(end) = self.heard.iter().position(|byte| *byte == EOT) {
                let bytes: Vec<u8> = self.heard.drain(..=end).collect();
                let start = bytes.iter().rposition(|byte| *byte == SOH).unwrap();
                let frame = match self.station.config.stuffing {
                    true => destuff(&bytes[start..]),
                    false => Some(bytes[start..].to_vec()),
                };
                let good = frame.filter(|frame| is_good(frame));
                let Some(frame) = good else {
                    self.station.receive(self.now, &[NAK]);
                    continue;
                };
                let text = String::from_utf8(frame[7..frame.len() - 7].to_vec()).unwrap();
                let (bed, text) = text.split_once("/1/1>").unwrap();
                assert_eq!(bed, BED);
                let records = text.split('\u{1E}').map(|record| {
                    let fields: Vec<&str> = record.splitn(4, ',').skip(2).collect();
                    fields.join("=")
                });
                return Some((frame[frame.len() - 7], records.collect()));
            }
        }
        None
    }

    /// The records of one block, asked for twice if need be.
    fn ask(&mut self, command: &str) -> Option<Vec<String>> {
        (0..2).find_map(|_| {
            self.request(command);
            self.frame().map(|(_, records)| records)
        })
    }

    /// All blocks of one cycle, each acknowledged.
    fn cycle(&mut self) -> Option<Vec<Vec<String>>> {
        let mut blocks = vec![self.ask("MEM:GET")?];
        loop {
            self.acknowledge();
            match self.frame() {
                Some((end, records)) => {
                    blocks.push(records);
                    if end == ETX {
                        self.acknowledge();
                        self.pass(500);
                        return Some(blocks);
                    }
                }
                None => return None,
            }
        }
    }

    fn truth(&mut self) -> Vec<Truth> {
        self.station.take_truth()
    }
}

/// Length and sum of a frame with any end.
fn is_good(frame: &[u8]) -> bool {
    let end = frame.len().checked_sub(7).and_then(|place| frame.get(place)).copied();
    let text = frame.get(7..frame.len().saturating_sub(7)).unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    match (end, text.split_once("/1/1>")) {
        (Some(end @ (ETX | ETB)), Some((bed, text))) => encode(bed, text.as_bytes(), end) == frame,
        _ => false,
    }
}

fn value<'a>(records: &'a [String], name: &str) -> Option<&'a str> {
    records.iter().find_map(|record| record.strip_prefix(name)?.strip_prefix('='))
}

fn config(pumps: u8) -> scenario::Station {
    scenario::Station { pumps, bit_fields: false, stuffing: false, cycle_s: None }
}

#[test]
fn the_station_is_silent_until_it_is_asked_to_be_alive() {
    let mut host = Host::new(1, |_| {});
    host.request("MEM:GET");
    assert_eq!(host.frame(), None);
    host.station.receive(host.now, &encode("1", b"ADMIN:ALIVE", ETX));
    assert_eq!(host.station.take_output(), encode(BED, b"3,50100,GNACK,0", ETX));
}

#[test]
fn a_block_is_truth_once_it_is_acknowledged_and_comes_again_when_it_is_not() {
    let mut host = Host::new(1, |_| {}).alive();
    host.request("MEM:GET");
    host.station.take_output();
    host.acknowledge();
    let block = host.station.take_output();
    host.station.receive(host.now, &[NAK]);
    assert_eq!(host.station.take_output(), block);
    assert_eq!(host.truth(), []);
    host.acknowledge();
    assert_eq!(host.truth().len(), 10);
    host.acknowledge();
    assert_eq!((host.station.take_output(), host.truth()), (vec![], vec![]));
}

#[test]
fn a_block_is_truth_when_the_power_goes_right_behind_it() {
    let mut host = Host::new(1, |_| {}).alive();
    host.request("MEM:GET");
    host.acknowledge();
    assert_eq!(host.truth(), []);
    host.station.switch_off(host.now);
    assert_eq!(host.truth().len(), 10);
}

#[test]
fn a_new_request_restarts_at_the_first_block() {
    let mut host = Host::configured(config(3)).alive();
    for _ in 0..3 {
        host.request("MEM:GET");
        let (end, general) = host.frame().unwrap();
        assert_eq!((end, value(&general, "FMNOR")), (ETB, Some("2")));
        host.acknowledge();
        let (end, first) = host.frame().unwrap();
        assert_eq!((end, value(&first, "INSERNUM")), (ETB, Some("40864")));
    }
    // A pump's block that was sent, and not acknowledged before the next request: nobody knows
    // whether it was heard.
    let truth = host.truth();
    assert!(truth.iter().all(|fact| fact.faulted == Some("unheard")), "{truth:?}");
    assert_eq!(truth.len(), 20);
}

#[test]
fn pumps_of_every_kind_stand_on_two_pillars() {
    let mut host = Host::configured(config(3)).alive();
    let blocks = host.cycle().unwrap();
    let serials: Vec<_> = blocks.iter().map(|block| value(block, "INSERNUM")).collect();
    assert_eq!(serials, [None, Some("40864"), Some("130218"), Some("_NV")]);
    assert!(blocks.iter().skip(1).all(|block| value(block, "GNNEW").is_some()));
    let blocks = host.cycle().unwrap();
    assert_eq!(value(&blocks[2], "GNMODEL"), Some("686F030006\r"));
    let truth = host.truth();
    let devices: BTreeSet<_> = truth.iter().map(|fact| fact.device.as_str()).collect();
    assert_eq!(devices, ["pump-01-130218", "pump-01-40864", "pump-01-60001A2B3C4D"].into());
    let said = |device: &str| -> BTreeMap<_, _> {
        let facts = truth.iter().filter(|fact| fact.device.ends_with(device));
        let value = |fact: &Truth| fact.value.clone().or(fact.no_data.map(str::to_owned)).unwrap();
        facts.map(|fact| (fact.metric.unwrap(), (value(fact), fact.unit.unwrap_or("")))).collect()
    };
    let compactplus = said("4D");
    assert_eq!(compactplus["pump_dose_rate"], ("0.05".to_owned(), "ug/kg/min"));
    assert_eq!(compactplus["pump_conc"], ("0.08".to_owned(), "mg/mL"));
    let infusomat = said("130218");
    assert_eq!(infusomat["pump_conc"].0, "off");
    assert_eq!(infusomat["pump_syr"].0, "not_available");
    assert_eq!(infusomat["pump_drug"].0, "氯化钠 0.9%, 500 ml");
    assert_eq!(infusomat["power"].0, "onBattery");
    assert_eq!(infusomat["pump_mode"].0, "continuous");
}

/// Every alarm of a story, in both forms.
#[test]
fn both_forms_tell_the_same_story() {
    let told = |bit_fields: bool| {
        let mut host = Host::configured(scenario::Station { bit_fields, ..config(3) }).alive();
        let mut states = BTreeMap::<String, Vec<String>>::new();
        while host.now.millis() < 200_000 {
            let blocks = host.cycle().unwrap();
            for block in blocks.iter().skip(1) {
                let has = |name: &str| value(block, name).is_some();
                assert_eq!(has("INA3") && has("INM3") && has("INM8"), !bit_fields);
                assert_eq!(has("ALARM1") && has("STATUS1") && has("RUNSTATE"), bit_fields);
                assert!(has("INA3") != has("ALARM1") && has("INM8") != has("STATUS1"));
            }
            host.pass(1_000);
        }
        let mut alarms = Vec::new();
        for fact in host.truth() {
            if let (Some(alarm), Some(phase)) = (&fact.alarm, fact.phase) {
                alarms.push(format!("{alarm} {phase}"));
            }
            if let (Some("pump_state"), Some(state)) = (fact.metric, fact.value) {
                let states = states.entry(fact.device).or_default();
                if states.last() != Some(&state) {
                    states.push(state);
                }
            }
        }
        (alarms, states)
    };
    let ((flags, states), (bits, same)) = (told(false), told(true));
    assert_eq!(states, same);
    assert_eq!(
        states.into_values().collect::<Vec<_>>(),
        [
            vec!["infusing", "alarm", "infusing"],
            vec!["infusing", "alarm", "infusing", "alarm", "infusing"],
            vec!["infusing", "standby", "infusing"],
        ]
    );
    assert_eq!(
        flags,
        [
            "INA11 start",
            "INA3 start",
            "INA11 end",
            "INA15 start",
            "INA3 end",
            "INA15 end",
            "INA12 start",
            "INA12 end",
            "INA7 start",
            "INA7 end",
        ]
    );
    let names = [
        ("INA11", "PREALARM.4"),
        ("INA12", "PREALARM.2"),
        ("INA15", "ALARM1.29"),
        ("INA3", "ALARM1.10"),
        ("INA7", "ALARM1.13"),
    ];
    let renamed = flags.iter().map(|alarm| {
        let (name, phase) = alarm.split_once(' ').unwrap();
        let (_, bit) = names.iter().find(|(flag, _)| *flag == name).unwrap();
        format!("{bit} {phase}")
    });
    assert_eq!(bits, renamed.collect::<Vec<_>>());
}

#[test]
fn bit_fields_are_hexadecimal_and_say_when_there_is_no_alarm() {
    let mut host = Host::configured(scenario::Station { bit_fields: true, ..config(1) }).alive();
    let at = |host: &mut Host, second: u64| {
        host.pass(second * 1000 - host.now.millis());
        let block = host.cycle().unwrap().remove(1);
        ["ALARM1", "ALARM2", "PREALARM", "STATUS1", "RUNSTATE"]
            .map(|name| value(&block, name).unwrap().to_owned())
    };
    assert_eq!(at(&mut host, 10), ["00000001", "00000000", "00000000", "00000083", "2"]);
    assert_eq!(at(&mut host, 60), ["00000400", "00000000", "00000000", "00000003", "5"]);
}

#[test]
fn a_pump_that_is_taken_away_is_missed_once_and_new_when_it_comes_back() {
    let mut host = Host::new(0, |scenario| {
        scenario.station = Some(config(2));
        scenario.pump_away = vec![(10, 20)];
    })
    .alive();
    assert_eq!(host.cycle().unwrap().len(), 3);
    host.pass(10_000);
    assert_eq!(host.cycle().unwrap()[2], ["GNERR=39"]);
    assert_eq!(host.cycle().unwrap().len(), 2);
    host.pass(10_000);
    let blocks = host.cycle().unwrap();
    assert!(value(&blocks[2], "GNNEW").is_some() && value(&blocks[1], "GNMODEL").is_some());
}

#[test]
fn a_station_without_pumps_says_so() {
    let mut host = Host::configured(config(0)).alive();
    assert_eq!(host.cycle().unwrap()[1], ["GNERR=11"]);
    let mut host = Host::new(0, |scenario| {
        scenario.station = Some(config(1));
        scenario.pump_away = vec![(0, 180)];
    })
    .alive();
    host.pass(2_000);
    assert_eq!(host.cycle().unwrap()[1], ["GNERR=11"]);
}

#[test]
fn a_slot_can_be_asked_for() {
    let mut host = Host::new(0, |scenario| {
        scenario.station = Some(config(2));
        scenario.pump_away = vec![(30, 50)];
    })
    .alive();
    let block = host.ask("MEM:GETSLOT#1C").unwrap();
    assert_eq!(value(&block, "INSERNUM"), Some("130218"));
    host.acknowledge();
    assert!(!host.truth().is_empty());
    assert_eq!(host.ask("MEM:GETSLOT#13").unwrap(), ["GNERR=811"]);
    host.acknowledge();
    host.pass(31_000);
    assert_eq!(host.ask("MEM:GETSLOT#1C").unwrap(), ["GNERR=39"]);
    assert_eq!(host.ask("MEM:GETSLOT#1C").unwrap(), ["GNERR=811"]);
    assert_eq!(host.ask("MEM:GETSLOT#1").unwrap(), ["GNERR=68"]);
    assert_eq!(host.ask("MEM:SET").unwrap(), ["GNERR=68"]);
}

#[test]
fn a_wrong_bed_or_sum_is_an_error() {
    let mut host = Host::configured(config(1)).alive();
    host.station.receive(host.now, &encode("1", b"MEM:GET", ETX));
    assert_eq!(host.frame().unwrap().1, ["GNERR=68"]);
    let mut frame = encode(BED, b"MEM:GET", ETX);
    frame[30] ^= 1;
    host.station.receive(host.now, &frame);
    assert_eq!(host.frame().unwrap().1, ["GNERR=68"]);
}

#[test]
fn a_stuffing_station_never_says_d_and_wants_the_same() {
    let stuffing = scenario::Station { stuffing: true, ..config(3) };
    let mut host = Host::configured(stuffing);
    host.station.receive(host.now, &encode("1", b"ADMIN:ALIVE", ETX));
    let heard = host.station.take_output();
    assert!(!heard.iter().any(|byte| b"dD".contains(byte)));
    assert_eq!(destuff(&heard), Some(encode(BED, b"0,50100,GNACK,0", ETX)));
    host.station.receive(host.now, &encode(BED, b"MEM:GET", ETX));
    assert_eq!(host.frame().unwrap().1, ["GNERR=68"]);
    assert_eq!(host.cycle().unwrap().len(), 4);
}

#[test]
fn a_cyclic_station_pushes_all_pumps_and_what_changed() {
    let cyclic = scenario::Station { cycle_s: Some(5), ..config(3) };
    let mut host = Host::configured(cyclic).alive();
    let (mut cycles, mut standby) = (0, None);
    while host.now.millis() < 44_000 {
        let Some((end, records)) = host.frame() else { continue };
        cycles += usize::from(value(&records, "FMNOR").is_some());
        if value(&records, "INM6") == Some("1") {
            // It went to standby at 40 s.
            standby.get_or_insert((host.now.millis(), end));
        }
        host.acknowledge();
    }
    assert_eq!(cycles, 9);
    let (at_ms, end) = standby.unwrap();
    assert!((40_000..41_200).contains(&at_ms), "{at_ms}");
    assert_eq!(end, ETX);
    // Without an acknowledgement the flow stops, and goes on with it.
    while host.frame().is_none() {}
    assert_eq!(host.frame(), None);
    assert_eq!(host.frame(), None);
    host.acknowledge();
    assert!(host.frame().is_some());
}

#[test]
fn drug_names_have_up_to_25_characters() {
    assert!(pump_names().iter().all(|name| name.chars().count() <= 25), "{:?}", pump_names());
    assert!(pump_names().iter().any(|name| name.chars().count() == 25 && name.len() == 75));
    assert!(pump_names().iter().any(|name| name.contains('\u{E021}')));
}

fn pump_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for seed in 0..32 {
        let mut host = Host::new(seed, |scenario| scenario.station = Some(config(3)));
        (0..4).find(|_| host.ask("ADMIN:ALIVE").is_some()).unwrap();
        host.acknowledge();
        (0..9).find(|_| host.cycle().is_some()).unwrap();
        let drugs = host.truth().into_iter().filter(|fact| fact.metric == Some("pump_drug"));
        names.extend(drugs.filter_map(|fact| fact.value));
    }
    names
}

#[test]
fn rude_stations_are_understood_by_a_host_of_the_sheet() {
    let (mut reasons, mut reboots) = (BTreeSet::new(), 0);
    for seed in (0..64).filter(|seed| seed % 4 > 1 && configured(*seed).cycle_s.is_none()) {
        let mut host = Host::new(seed, |_| {});
        let mut cycles = 0;
        while host.now.millis() < 170_000 {
            if host.cycle().is_some() {
                cycles += 1;
            } else if host.ask("ADMIN:ALIVE").is_some() {
                host.acknowledge();
            }
        }
        assert!(cycles > 30, "seed {seed}: {cycles}");
        reasons.extend(host.truth().into_iter().filter_map(|fact| fact.no_data));
        reboots += usize::from(host.station.on_since_s > 0);
    }
    assert_eq!(reasons, ["not_available", "off"].into());
    assert!(reboots > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a host sends, nothing panics and nothing grows without end.
    #[test]
    fn no_bytes_of_a_host_upset_the_station(
        parts in vec((0_usize..8, vec(any::<u8>(), 0..300), 0_u64..9_000), 0..40),
        seed in 0_u64..8,
    ) {
        let commands = ["ADMIN:ALIVE", "MEM:GET", "MEM:GETSLOT#11", "ADMIN:VERSION", "MEM:SET"];
        let mut host = Host::new(seed, |_| {});
        for (command, noise, ms) in parts {
            match commands.get(command) {
                Some(command) => host.request(command),
                None if command == 5 => host.acknowledge(),
                None => host.station.receive(host.now, &noise),
            }
            host.pass(ms);
            host.heard.clear();
            prop_assert!(host.station.input.len() <= INPUT_MAX);
            prop_assert!(host.station.queue.len() <= 4);
            prop_assert!(host.station.next_due().is_none_or(|due| due > host.now));
        }
    }

    /// Valid requests come out the same however the port happens to cut the bytes.
    #[test]
    fn cutting_does_not_matter(cut in 0_usize..32, seed in 0_u64..8) {
        let frame = encode("1", b"ADMIN:ALIVE", ETX);
        let heard = |cut: usize| {
            let mut host = Host::new(seed, |_| {});
            let (before, after) = frame.split_at(cut.min(frame.len()));
            host.station.receive(host.now, before);
            host.station.receive(host.now, after);
            host.pass(4_000);
            host.heard
        };
        prop_assert_eq!(heard(cut), heard(0));
    }
}

/// 50 ml of a drug that the story names, a bolus at twenty seconds, stopped at forty.
#[test]
fn the_first_pump_does_what_the_story_tells() {
    let step = |at_s, rate, is_bolus| scenario::Step { at_s, rate, is_bolus, syringe: None };
    for bit_fields in [false, true] {
        let mut host = Host::new(0, |story| {
            let first = scenario::Step { syringe: Some(5_000), ..step(0, 3_600, false) };
            let bolus = step(20, 60_000, true);
            let steps = vec![first, bolus, step(26, 3_600, false), step(40, 0, false)];
            let drug = scenario::Text { zh: "去甲肾上腺素".into(), en: String::new() };
            story.infusion = Some(scenario::Infusion { drug, steps });
            story.station = Some(scenario::Station { bit_fields, ..config(3) });
            story.occlusion.clear();
        })
        .alive();
        let mut at = |second: u64| {
            host.pass(second * 1000 - host.now.millis());
            let block = host.cycle().unwrap().remove(1);
            let shown = ["INSOL", "INRT", "INVTB", "VOLREMAIN", "INRMT"];
            let shown = shown.map(|name| value(&block, name).unwrap().to_owned());
            let state = host
                .truth()
                .into_iter()
                .find(|fact| fact.metric == Some("pump_state") && fact.device.ends_with("40864"));
            (shown.join(" "), state.unwrap().value.unwrap())
        };
        let drug = "去甲肾上腺素";
        // 0.01 ml a second.
        assert_eq!(at(10), (format!("{drug} 36.00 50.0 49.9 4990"), "infusing".to_owned()));
        assert_eq!(at(22), (format!("{drug} 600.00 50.0 49.4 296"), "bolus".to_owned()));
        assert_eq!(at(30), (format!("{drug} 36.00 50.0 48.7 4876"), "infusing".to_owned()));
        assert_eq!(at(60), (format!("{drug} 0.00 50.0 48.6 65535"), "ready".to_owned()));
    }
}
