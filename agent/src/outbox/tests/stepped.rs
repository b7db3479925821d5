//! What becomes of records when somebody sets the clock.

use super::*;

/// A moment `ms` after the box started, the wall clock being at `wall_ms`.
fn moment(ms: u64, wall_ms: i64, quality: ClockQuality) -> Now {
    Now {
        mono: MonoTime::from_start(Duration::from_millis(ms)),
        uptime: Uptime { boot: 1, ms },
        wall: WallTime::from_unix_ms(wall_ms),
        quality,
    }
}

const SET_TO_MS: i64 = 1_795_335_300_000;

#[test]
fn the_times_of_an_envelope_are_all_by_one_setting_of_the_clock() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    let moments = [(100, 100), (200, 200), (300, SET_TO_MS), (400, SET_TO_MS + 100)];
    for (ms, wall_ms) in moments {
        let now = moment(ms, wall_ms, ClockQuality::Unknown);
        writer.queue.add(now, NO_LINK, trend(), |_| Vec::new());
    }
    writer.commit_all();
    let opened = |number| {
        let bytes = Reader::open(writer.file.path()).unwrap().row(Lane::Trend, seq(number));
        let envelope = Envelope::decode(&bytes.unwrap().unwrap()).unwrap().envelope;
        (envelope.records.len(), envelope.opened_at.unix_ms(), envelope.uptime.unwrap().ms)
    };
    assert_eq!([opened(1), opened(2)], [(2, 100, 100), (2, SET_TO_MS, 300)]);
}

#[test]
fn what_was_decoded_before_the_clock_was_set_is_by_the_clock_of_then() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    let begin = writer.looked;
    let by =
        |set_ms: i64| Now { wall: WallTime::from_unix_ms(begin.wall.unix_ms() + set_ms), ..begin };
    let decoded_at = |now: Now| match trend() {
        Record::Readings(group) => {
            Record::Readings(ReadingGroup { observed: now.observed(), ..group })
        }
        other => other,
    };
    writer.look_at_clock(by(3_600_000));
    let setting_of = |now: Now| writer.by_setting_of(&decoded_at(now), by(3_600_000)).wall;
    assert_eq!(setting_of(by(3_599_000)), by(3_600_000).wall);
    assert_eq!(setting_of(by(-1000)), begin.wall);
}

#[test]
fn that_the_clock_was_set_or_is_trusted_otherwise_is_a_record() {
    let mut bench = Bench::new(1 << 30);
    let mut writer = bench.writer();
    let begin = writer.looked;
    let later = |ms: u64, set_ms: i64, quality| {
        let uptime = Uptime { ms: begin.uptime.ms + ms, ..begin.uptime };
        let passed_ms = i64::try_from(ms).unwrap();
        let wall = WallTime::from_unix_ms(begin.wall.unix_ms() + passed_ms + set_ms);
        Now { uptime, wall, quality, ..begin }
    };
    let (unknown, good) = (ClockQuality::Unknown, ClockQuality::Synchronised);
    writer.look_at_clock(later(60_000, 0, unknown));
    writer.look_at_clock(later(61_000, -3_600_000, unknown));
    writer.look_at_clock(later(62_000, -3_600_000, good));
    writer.look_at_clock(later(63_000, -3_600_000, good));
    writer.commit_all();
    let told: Vec<_> = writer
        .decoded(Lane::Urgent, 1)
        .unwrap()
        .into_iter()
        .chain(writer.decoded(Lane::Urgent, 2).into_iter().flatten())
        .map(|record| match record {
            Record::Clock(change) => {
                let set_ms = change.observed.at.unix_ms() - change.before.unix_ms();
                (set_ms / 1000, change.observed.quality)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(-3600, unknown), (0, good)]);
}
