//! The pump against the example frames of the sheet, and in sessions with a host.

use super::*;
use crate::{EcgSource, Patient, StageClock, scenario};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

/// §9, and the checks of §5.2 and §4.
const FRAMES: [&str; 24] = [
    "!INF|4961",
    "!INST_SERIALNO|457D",
    "!INST_SERIALNO^8002-51740|050B",
    "!COMMS_PROTOCOL|E8DA",
    "!COMMS_PROTOCOL^Asena Rev 2.1.5|661A",
    "!INF^8002-51733^A^HLD^0.00^ml/h^^0.969^ml^530.15^mmHg^00:04:09^EVENT^214725|DB9D",
    "!SYRINGE_STATUS|4102",
    "!SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF|1CF8",
    "!COMMS_RESPONSE_MAX|7E29",
    "!COMMS_RESPONSE_MAX^4000^ms|DFDF",
    "!INF_RATE_MAX_SYRINGE|8F30",
    "!INF_RATE_MAX_SYRINGE^1200.00^ml/h|8575",
    "!ALARM|50B2",
    "!ALARM^AL_NOALM^ ^ |C73B",
    "!ALARM^AL_OCCLU^ ^ |5B3B",
    "!INF^8002-51733^-^SET^12.50^ml/h^^3.125^ml^17.91^mmHg^02:30:00^EVENT^127904|A0AD",
    "!INF_VTBI|8456",
    "!INF_VTBI^ACTIV^11.000^ml^STOP|4433",
    "!INF_RATE|8E6D",
    "!INF_VI|B42C",
    "!REMQUERY^DEACT^^^^|E5C9",
    "!8002-51740|3CC1",
    "!8002-51733|9535",
    "!123456789|29B1",
];

/// A host with a pump on its line.
struct Host {
    link: Link,
    now: SimTime,
}

impl Host {
    fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::built_in("clinic-day").unwrap();
        change(&mut scenario);
        let link = Link::new(Setup {
            device: "pump-02".into(),
            seed,
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(1, scenario, EcgSource::Synthetic),
        });
        Self { link, now: SimTime(0) }
    }

    fn pass(&mut self, ms: u64) -> String {
        let end = self.now.plus_millis(ms);
        while let Some(due) = self.link.next_due().filter(|due| *due <= end) {
            self.link.advance(due);
        }
        self.now = end;
        self.link.advance(end);
        String::from_utf8(self.link.take_output()).unwrap()
    }

    fn say(&mut self, frame: &str) {
        self.link.receive(self.now, format!("{frame}\r").as_bytes());
    }

    /// The first good answer within 4 s; the request is repeated once after 500 ms, §6.
    fn ask(&mut self, query: &str) -> Option<String> {
        let mut heard = String::new();
        for step in 0..40 {
            if step == 0 || step == 5 {
                self.link.receive(self.now, &encode(query));
            }
            heard += &self.pass(100);
            let mut frames = heard.split('\r').filter(|frame| frame.len() > 5);
            let good = frames.find_map(|frame| body(frame.strip_prefix('!')?.as_bytes()));
            if let Some(answer) = good.filter(|answer| answer.starts_with(&format!("{query}^"))) {
                return Some(answer);
            }
        }
        None
    }

    fn truth(&mut self) -> Vec<Truth> {
        self.link.take_truth()
    }
}

#[test]
fn checks_are_those_of_the_sheet() {
    for frame in FRAMES {
        let (body, _) = frame[1..].rsplit_once('|').unwrap();
        assert_eq!(String::from_utf8(encode(body)).unwrap(), format!("{frame}\r"));
        assert_eq!(super::body(&frame.as_bytes()[1..]).as_deref(), Some(body));
    }
    assert_eq!(encode("INF"), [0x21, 0x49, 0x4E, 0x46, 0x7C, 0x34, 0x39, 0x36, 0x31, 0x0D]);
}

#[test]
fn a_polite_pump_gives_the_answers_of_the_sheet() {
    let mut host = Host::new(0, |scenario| scenario.occlusion = vec![(2, 10)]);
    let mut check = |request: usize| {
        host.say(FRAMES[request]);
        assert_eq!(host.pass(200), format!("{}\r", FRAMES[request + 1]));
    };
    for request in [1, 3, 6, 8, 10, 12] {
        check(request);
    }
    host.pass(2_000);
    host.say("!ALARM|50B2");
    assert_eq!(host.pass(200), "!ALARM^AL_OCCLU^ ^ |5B3B\r");
}

#[test]
fn a_status_is_truth_in_the_units_of_the_pump() {
    let mut host = Host::new(0, |_| {});
    host.pass(10_000);
    assert_eq!(
        host.ask("INF").as_deref(),
        Some("INF^8002-51740^-^SET^36.00^ml/h^^0.100^ml^17.91^mmHg^00:01:50^EVENT^127905")
    );
    assert_eq!(host.ask("INF_VTBI").as_deref(), Some("INF_VTBI^ACTIV^1.200^ml^STOP"));
    assert!(host.ask("SYRINGE_STATUS").is_some());
    let truth = host.truth();
    let said: Vec<_> = truth
        .iter()
        .map(|fact| {
            let value = fact.value.as_deref().or(fact.no_data).unwrap();
            format!("{} {} {value} {}", fact.device, fact.metric.unwrap(), fact.unit.unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        said,
        [
            "pump-02-800251740 pump_rate 36.00 mL/h",
            "pump-02-800251740 pump_vi 0.100 mL",
            "pump-02-800251740 pump_press 17.91 mm[Hg]",
            "pump-02-800251740 pump_time_rem 110 s",
            "pump-02-800251740 pump_drug not_available -",
            "pump-02-800251740 pump_state infusing -",
            "pump-02-800251740 pump_vtbi 1.200 mL",
            "pump-02-800251740 pump_syr 50 mL",
        ]
    );
}

#[test]
fn an_infusion_is_blocked_ends_and_begins_again() {
    let mut host = Host::new(0, |_| {});
    let mut at = |second: u64| {
        host.pass(second * 1000 - host.now.millis());
        let answer = host.ask("INF").unwrap();
        host.ask("ALARM");
        answer.split('^').skip(2).take(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(at(45), "- SET 36.00");
    assert_eq!(at(60), "A HLD 0.00");
    assert_eq!(at(90), "- SET 36.00");
    assert_eq!(at(140), "A SET 36.00");
    assert_eq!(at(155), "A HLD 0.00");
    assert_eq!(at(175), "- SET 36.00");
    let alarms: Vec<_> = host
        .truth()
        .into_iter()
        .filter_map(|fact| Some(format!("{} {}", fact.alarm?, fact.phase?)))
        .collect();
    assert_eq!(
        alarms,
        [
            "AL_OCCLU start",
            "AL_OCCLU end",
            "AL_NEOIN start",
            "AL_NEOIN end",
            "AL_VTBIS start",
            "AL_VTBIS end"
        ]
    );
}

#[test]
fn control_commands_are_recorded_neither_obeyed_nor_answered() {
    let mut host = Host::new(0, |_| {});
    let commands = [
        "REMOTE_CTRL^ENABLED^3CC1",
        "REMOTE_CTRL^DISABLED",
        "REMOTE_CFG^ENABLED^3CC1",
        "REMQUERY^DEACT^^^^",
        "INF_RATE^99.00^ml/h",
        "INF_VTBI^ACTIV^11.000^ml^STOP",
        "INF_VTBI^DEACT",
        "INF_START",
        "INF_STOP",
        "INF_VI_CLEAR",
        "INF_BOLUS^ENABLED",
    ];
    for command in commands {
        host.link.receive(host.now, &encode(command));
        assert_eq!(host.pass(500), "");
    }
    let forbidden: Vec<_> = host.truth().into_iter().filter_map(|fact| fact.forbidden).collect();
    assert_eq!(forbidden, commands);
    assert!(host.ask("INF").unwrap().contains("^SET^36.00^"));
}

#[test]
fn an_escape_aborts_and_a_wrong_check_is_not_heard() {
    let mut host = Host::new(0, |_| {});
    host.say("!INF|4961\u{1b}");
    host.say("!INF|4962");
    host.say("INF|4961");
    host.say("!REMQUERY^DEACT^^^|E5C9");
    assert_eq!(host.pass(1_000), "");
    host.say("!INF!INF|4961");
    assert!(host.pass(1_000).starts_with("!INF^"));
    assert!(host.truth().iter().all(|fact| fact.forbidden.is_none()));
}

#[test]
fn another_pump_comes_back_as_another_device() {
    let mut host = Host::new(0, |scenario| scenario.pump_away = vec![(10, 20)]);
    assert!(host.ask("INF").unwrap().starts_with("INF^8002-51740^"));
    host.pass(11_000);
    host.say("!INF|4961");
    assert_eq!(host.pass(8_000), "");
    host.pass(2_000);
    assert!(host.ask("INF").unwrap().starts_with("INF^8002-51733^"));
    let devices: BTreeSet<_> = host.truth().into_iter().map(|fact| fact.device).collect();
    assert_eq!(devices, ["pump-02-800251733".into(), "pump-02-800251740".into()].into());
}

#[test]
fn an_answer_that_is_pulled_out_half_is_not_said() {
    let pulled_out = |seed: u64| {
        let mut host = Host::new(seed, |scenario| scenario.pump_away = vec![(5, 20)]);
        host.pass(4_850);
        host.say("!INF|4961");
        let half = host.pass(6_000).len();
        (half, host.truth())
    };
    let (_, truth) = (0..100).map(pulled_out).find(|(half, _)| (1..60).contains(half)).unwrap();
    assert_eq!(truth, []);
}

#[test]
fn rude_pumps_are_understood_by_a_host_that_asks_again() {
    let (mut reasons, mut comparators, mut alarms) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for seed in (0..40).filter(|seed| seed % 4 > 1) {
        let mut host = Host::new(seed, |_| {});
        let mut answered = BTreeMap::<bool, u64>::new();
        while host.now.millis() < 100_000 {
            for query in ["INF", "ALARM", "INF_VTBI", "SYRINGE_STATUS"] {
                *answered.entry(host.ask(query).is_some()).or_default() += 1;
                // What comes twice is drained before the next request, §10.
                host.pass(300);
            }
        }
        assert!(answered[&true] > 10 * answered.get(&false).unwrap_or(&0), "{seed}: {answered:?}");
        for fact in host.truth() {
            reasons.extend(fact.no_data);
            comparators.extend(fact.comparator);
            alarms.extend(fact.alarm);
        }
    }
    assert_eq!(reasons, ["not_available", "off"].into());
    assert_eq!(comparators, [">"].into());
    assert!(alarms.len() > 8, "{alarms:?}");
}

proptest! {
    /// Whatever a host sends, nothing panics and nothing grows without end.
    #[test]
    fn no_bytes_of_a_host_upset_the_pump(
        parts in vec((0_usize..30, vec(any::<u8>(), 0..700), 0_u64..9_000), 0..30),
        seed in 0_u64..8,
    ) {
        let mut host = Host::new(seed, |_| {});
        for (frame, noise, ms) in parts {
            match FRAMES.get(frame) {
                Some(frame) => host.say(frame),
                None => host.link.receive(host.now, &noise),
            }
            host.pass(ms);
            prop_assert!(host.link.input.as_ref().is_none_or(|input| input.len() <= FRAME_MAX));
            prop_assert!(host.link.next_due().is_none_or(|due| due > host.now));
        }
    }

    /// Valid requests come out the same however the port happens to cut the bytes.
    #[test]
    fn cutting_does_not_matter(cut in 0_usize..10, seed in 0_u64..8) {
        let heard = |cut: usize| {
            let mut host = Host::new(seed, |_| {});
            let frame = encode("INF");
            let (before, after) = frame.split_at(cut);
            host.link.receive(host.now, before);
            host.link.receive(host.now, after);
            (host.pass(5_000), host.truth())
        };
        prop_assert_eq!(heard(cut), heard(0));
    }
}

/// A new syringe of 20 ml at a minute, half a millilitre at once at two, stopped at four.
fn programme() -> scenario::Infusion {
    let step = |at_s, rate, is_bolus| scenario::Step { at_s, rate, is_bolus, syringe: None };
    let drug = scenario::Text { zh: "去甲肾上腺素".into(), en: "NORADRENALINE".into() };
    let mut steps = vec![
        step(0, 720, false),
        step(60, 720, false),
        step(120, 30_000, true),
        step(126, 720, false),
        step(240, 0, false),
    ];
    (steps[0].syringe, steps[1].syringe) = (Some(5_000), Some(2_000));
    scenario::Infusion { drug, steps }
}

/// What is infused is the rate summed up over time, to the microlitre.
#[test]
fn the_story_tells_rates_a_bolus_a_new_syringe_and_a_stop() {
    let mut host = Host::new(0, |scenario| {
        (scenario.infusion, scenario.repeat_s) = (Some(programme()), 600);
        scenario.occlusion = vec![(180, 190)];
    });
    let mut at = |second: u64, query: &str| {
        host.pass(second * 1000 - host.now.millis());
        let fields = host.ask(query).unwrap();
        fields.split('^').skip(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    // 7.2 ml/h are 2 µl a second.
    let drug = "EVENT NORADRENALINE";
    let status = |text: &str| text.to_owned();
    assert_eq!(at(50, "INF_VTBI"), "50.000 ml STOP");
    let before = at(55, "INF");
    assert!(before.starts_with("- SET 7.20 ml/h NORADRENALINE 0.110 ml"), "{before} {drug}");
    // 50 ml less 0.11, and 20 less 0.02.
    assert!(before.contains(" 06:55:"), "{before}");
    let fresh = at(70, "INF");
    assert!(fresh.contains(" 0.140 ml") && fresh.contains(" 02:46:30"), "{fresh}");
    assert_eq!(at(121, "INF_RATE"), "ml/h");
    let after = at(130, "INF");
    // 124 s at 2 µl and 6 s that gave 500.
    assert!(after.contains(" 0.748 ml"), "{after}");
    let blocked = at(185, "INF");
    assert!(blocked.starts_with("A HLD 0.00 ml/h"), "{blocked}");
    let stopped = at(300, "INF");
    assert!(stopped.starts_with(&status("- HLD 0.00 ml/h NORADRENALINE")), "{stopped}");
    // Ten seconds were blocked.
    assert!(stopped.contains(&format!(" 0.{} ml", 240 * 2 - 12 + 500 - 20)), "{stopped}");
    let truth = host.truth();
    let paused = |fact: &Truth| fact.value.as_deref() == Some("paused");
    assert!(truth.iter().any(paused));
}

/// At the end of its syringe it stays where it is, until somebody brings another one.
#[test]
fn the_end_of_a_programme_is_the_end() {
    let mut host = Host::new(0, |scenario| {
        let mut infusion = programme();
        infusion.steps.truncate(1);
        infusion.steps[0].syringe = Some(10);
        (scenario.infusion, scenario.repeat_s) = (Some(infusion), 600);
        scenario.occlusion.clear();
    });
    host.pass(30_000);
    assert_eq!(host.ask("ALARM").as_deref(), Some("ALARM^AL_NEOIN^ ^ "));
    host.pass(300_000);
    assert_eq!(host.ask("ALARM").as_deref(), Some("ALARM^AL_VTBIS^ ^ "));
    assert!(host.ask("INF").unwrap().contains("^0.100^ml^"));
}
