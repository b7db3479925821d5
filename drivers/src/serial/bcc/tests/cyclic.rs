//! A station that sends by itself.

use super::*;

impl Bench<Bcc> {
    /// A station that answers no request for pumps and sends all of them by itself, so often.
    fn push(&mut self, seconds: u32, every: u32) {
        for second in 0..seconds {
            if second % every == 0 {
                let time = 1_000 + u32::try_from(self.ms / 1_000).unwrap();
                self.receive(&block(BED, &pump(time, "11", RUNNING), true));
                self.pass(200);
                self.receive(&block(BED, &pump(time, "13", SECOND), false));
                self.pass(800);
            } else {
                self.pass(1_000);
            }
        }
    }

    /// The session with such a station, when it is known for what it is.
    fn listening() -> Self {
        let mut bench = Self::polling();
        bench.push(10, 5);
        bench.sent.clear();
        bench.records.clear();
        bench
    }
}

#[test]
fn blocks_that_come_by_themselves_are_taken_and_acknowledged() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.answer(&pump(231, "11", RUNNING));
    bench.pass(1_000);
    bench.sent.clear();
    bench.answer(&pump(232, "11", RUNNING));
    bench.pass(110);
    assert_eq!(bench.sent, [vec![codec::ACK]]);
    assert_eq!(bench.groups().len(), 3);
}

#[test]
fn a_station_that_sends_by_itself_is_heard_and_not_asked() {
    let mut bench = Bench::listening();
    bench.push(300, 5);
    assert_eq!(bench.sent, vec![vec![codec::ACK]; 120]);
    assert!(bench.states().is_empty(), "{:?}", bench.states());
    assert_eq!(bench.groups().len(), 120);
    assert!(bench.notes.iter().any(|note| note.kind == "cyclic"));
}

#[test]
fn a_cyclic_station_may_take_its_time() {
    let device = DeviceId::new("station-1").unwrap();
    let mut bench = Bench::new(Bcc::new(device, Duration::from_secs(30)));
    bench.serve(3_000, opening);
    bench.push(300, 30);
    assert_eq!(bench.states().len(), 3, "{:?}", bench.states());
    assert_eq!(bench.groups().len(), 20);
}

#[test]
fn a_trigger_of_one_pump_removes_no_other() {
    let mut bench = Bench::listening();
    for _ in 0..10 {
        for _ in 0..4 {
            bench.answer(&pump(1_000 + u32::try_from(bench.ms / 1_000).unwrap(), "11", RUNNING));
            bench.pass(900);
        }
        bench.push(1, 1);
    }
    assert!(bench.states().is_empty(), "{:?}", bench.states());
}

#[test]
fn a_cyclic_station_that_stops_is_told_to_go_on_and_then_opened_again() {
    let mut bench = Bench::listening();
    bench.pass(4_000);
    assert_eq!(bench.sent, [vec![codec::ACK]]);
    bench.pass(3_000);
    assert!(bench.last_sent().contains("ADMIN:ALIVE"));
    bench.pass(20_000);
    assert!(bench.last_sent().contains(":A"), "it is opened again and again");
    assert_eq!(
        bench.states(),
        ["station-1 silent", "station-1-36248 silent", "station-1-40864 silent"]
    );
}

#[test]
fn a_cyclic_station_whose_mode_was_changed_is_asked_again() {
    let mut bench = Bench::listening();
    bench.pass(11_100);
    bench.serve(30_000, |asked| {
        let all = || block(BED, &pump(2_000, "11", RUNNING), false);
        opening(asked).or_else(|| asked.contains("MEM:GET\u{3}").then(all))
    });
    assert!(bench.groups().iter().any(|group| group.device.as_str() == "station-1-40864"));
    assert!(bench.last_sent().contains("MEM:GET") || bench.last_sent() == "\u{6}");
}

#[test]
fn a_pump_taken_out_of_a_cyclic_station_is_removed() {
    let mut bench = Bench::listening();
    for second in 0..25 {
        if second % 5 == 0 {
            bench.answer(&pump(2_000 + second, "11", RUNNING));
        }
        bench.pass(1_000);
    }
    assert_eq!(bench.states(), ["station-1-36248 removed"]);
}

#[test]
fn a_damaged_block_that_came_by_itself_is_asked_for_again() {
    let mut bench = Bench::listening();
    let mut bad = block(BED, &pump(2_000, "11", RUNNING), false);
    bad[30] ^= 1;
    bench.receive(&bad);
    bench.pass(200);
    assert_eq!(bench.sent, [vec![codec::NAK]]);
}

#[test]
fn a_block_that_came_by_itself_and_lost_its_end_is_asked_for_again() {
    let mut bench = Bench::listening();
    let bytes = block(BED, &pump(2_000, "11", RUNNING), false);
    bench.receive(&bytes[..bytes.len() - 1]);
    bench.pass(3_200);
    assert_eq!(bench.sent, [vec![codec::NAK]]);
    bench.receive(&bytes);
    bench.pass(200);
    assert_eq!(bench.sent[1], vec![codec::ACK]);
}

#[test]
fn a_block_that_comes_by_itself_is_heard_to_its_end_before_anything_is_asked() {
    let mut bench = Bench::polling();
    bench.cycle(&[pump(230, "11", RUNNING)]);
    bench.answer(&pump(231, "11", RUNNING));
    bench.pass(4_500);
    assert!(!bench.last_sent().contains("MEM:GET"));
    let bytes = block(BED, &pump(236, "11", RUNNING), false);
    let asked = bench.sent.len();
    for byte in bytes.chunks(10) {
        bench.receive(byte);
        bench.pass(100);
    }
    assert_eq!(bench.sent[asked..], [vec![codec::ACK]]);
    assert_eq!(bench.groups().len(), 3);
}

#[test]
fn a_late_part_of_an_answer_is_no_cyclic_mode() {
    let mut bench = Bench::polling();
    bench.pass(3_100);
    bench.answer(&pump(230, "11", RUNNING));
    bench.pass(200);
    bench.answer(&pump(230, "11", RUNNING));
    assert!(bench.notes.iter().all(|note| note.kind != "cyclic"));
    bench.pass(6_000);
    assert!(bench.last_sent().contains("MEM:GET"));
}
