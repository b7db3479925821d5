//! Records of the guide, of a database, and of nobody.

use super::*;
use proptest::{collection::vec, prelude::*};

/// The first five seconds of record 100 of the MIT-BIH Arrhythmia Database; see `ecg/README.md`.
const HEADER: &str = include_str!("../../../ecg/mitdb-100-5s.hea");
const SIGNALS: &[u8] = include_bytes!("../../../ecg/mitdb-100-5s.dat");

fn samples(record: &Record) -> Vec<&[i16]> {
    record.signals.iter().map(|signal| signal.samples.as_slice()).collect()
}

#[track_caller]
fn check(header: &str, signals: &[u8], expected: &[&[i16]]) {
    let record = Record::parse(header, signals).unwrap();
    assert_eq!(samples(&record), expected);
}

#[track_caller]
fn refuse(header: &str, signals: &[u8], expected: &RecordError) {
    assert_eq!(Record::parse(header, signals).as_ref(), Err(expected));
}

#[test]
fn record_100_begins_as_the_database_says() {
    let record = Record::parse(HEADER, SIGNALS).unwrap();
    // The initial values in the database's own header, and eight samples of a line at rest.
    let [lead, chest] = samples(&record)[..] else { panic!("two signals") };
    assert_eq!(lead[..10], [995, 995, 995, 995, 995, 995, 995, 995, 1000, 997]);
    assert_eq!(chest[..10], [1011, 1011, 1011, 1011, 1011, 1011, 1011, 1011, 1008, 1008]);
    assert_eq!((lead.len(), record.rate_nhz), (1_800, 360_000_000_000));
    // The cardiologists' first beat is at sample 77 (`100.atr`), where lead II has its peak.
    assert_eq!(lead[75..80], [1148, 1180, 1192, 1177, 1128]);
    // "200 units per mV, zero at 1024": −0.145 mV.
    assert_eq!(record.at(0, 0), Some(-145.0));
    assert_eq!(Record::signal_file(HEADER).as_deref(), Ok("mitdb-100-5s.dat"));
    assert_eq!(record.find(|name| name == "V5"), Some(1));
}

/// The header that lies in the database: CR LF, a comment before it, an empty line inside.
#[test]
fn a_header_may_have_comments_and_empty_lines() {
    let header = "# x\n100 2 360 2\r\n\r\n100.dat 212 200 11 1024 995 1990 0 MLII\r\n\r\n\
                  100.dat 212 200 11 1024 1011 2022 0 V5\r\n# 69 M 1085 1629 x1\r\n";
    check(header, &SIGNALS[..6], &[&[995, 995], &[1011, 1011]]);
}

/// By signal(5), "Format 212": 12 bits of a byte pair, low byte first, then 4 and 8.
#[test]
fn format_212_is_three_bytes_for_two_samples() {
    let one = |count| format!("r 1 250 {count}\nr.dat 212 200\n");
    check(&one(2), &[0xE3, 0x33, 0xF3], &[&[995, 1011]]);
    // −1 and 1; 2047 and −2047.
    check(&one(2), &[0xFF, 0x0F, 0x01], &[&[-1, 1]]);
    check(&one(2), &[0xFF, 0x87, 0x01], &[&[2047, -2047]]);
    // An odd one at the end has two bytes.
    check(&one(3), &[0xFF, 0x0F, 0x01, 0x34, 0x02], &[&[-1, 1, 0x234]]);
    check("r 1\nr.dat 212 200\n", &[0xFF, 0x0F, 0x01, 0x34, 0x02], &[&[-1, 1, 0x234]]);
    // "Two or more signals are stored alternately", signal(5), "Description": also three.
    let three = "r 3 250 1\nr.dat 212 200\nr.dat 212 200\nr.dat 212 200\n";
    check(three, &[0xFF, 0x0F, 0x01, 0x34, 0x02], &[&[-1], &[1], &[0x234]]);
}

/// By signal(5), "Format 16": "two's complement amplitude stored least significant byte first".
#[test]
fn format_16_is_low_byte_first() {
    let header = "r 2 500 2\nr.dat 16+4 1000(-10)/uV 16 0 0 -32766 0 I\n\
                  r.dat 16+4 2.5/mV 16 100 0 -257 0 V1\n";
    let signals = [9, 9, 9, 9, 0xFF, 0x7F, 0x01, 0x00, 0x03, 0x00, 0xFE, 0xFE];
    check(header, &signals, &[&[32_767, 3], &[1, -258]]);
    let record = Record::parse(header, &signals).unwrap();
    // (3 + 10) / 1000 µV; (1 − 100) / 2.5 mV.
    assert_eq!(record.at(0, 2_000), Some(0.013));
    assert_eq!(record.at(1, 0), Some(-39_600.0));
}

#[test]
fn between_samples_is_a_straight_line_and_after_the_last_the_first() {
    let record = Record::parse("r 1 360. 3\nr.dat 16 1/uV\n", &[0, 0, 36, 0, 72, 0]).unwrap();
    for (at_us, expected) in [(0, 0.0), (1_000, 12.96), (2_000, 25.92), (5_000, 64.8)] {
        let found = record.at(0, at_us).unwrap();
        assert!((found - expected).abs() < 1e-3, "{found} at {at_us}");
    }
    // Half way from the last to the first; then, an hour on, as at the start.
    assert!((record.at(0, 6_944).unwrap() - 36.0).abs() < 0.1);
    assert_eq!(record.at(0, 3_600_000_000), Some(0.0));
    assert_eq!(record.at(1, 0), None);
}

#[test]
fn where_a_sample_is_missing_the_last_one_stands() {
    let header = "r 1 250 4\nr.dat 16 200 16 7\n";
    check(header, &[0, 0x80, 5, 0, 0, 0x80, 6, 0], &[&[7, 5, 5, 6]]);
    // −2048 is missing in format 212 only.
    check("r 1 250 2\nr.dat 212 200\n", &[0x05, 0x80, 0x00], &[&[5, 5]]);
    check("r 1 250 1\nr.dat 16 200\n", &[0x00, 0xF8], &[&[-2048]]);
}

#[test]
fn rates_are_what_scanf_reads() {
    for rate in ["360", "360.", "360.0", "3.6e2", "360/1000(17)"] {
        let record = Record::parse(&format!("r 1 {rate}\nr.dat 16 200\n"), &[1, 0]).unwrap();
        assert_eq!(record.rate_nhz, 360_000_000_000, "{rate}");
    }
    for rate in ["0", "-250", "nan", "inf", "1e99", "1e-99", "x"] {
        let found = Record::parse(&format!("r 1 {rate}\nr.dat 16 200\n"), &[1, 0]);
        let error = found.unwrap_err().to_string();
        assert!(error.contains("sampling frequency"), "{rate}: {error}");
    }
}

#[test]
fn what_cannot_be_played_is_refused_and_says_why() {
    let field = |line, field, found: &str, expected| RecordError::Field {
        line,
        field,
        found: found.into(),
        expected,
    };
    refuse("", &[], &RecordError::NoRecordLine);
    refuse("# only\n", &[], &RecordError::NoRecordLine);
    refuse("r/3 2 360 10\na 5\nb 5\n", &[], &RecordError::Segments);
    let signals = "number of signals";
    refuse("r\n", &[], &field(1, signals, "", "a whole number"));
    refuse("r 0\n", &[], &field(1, signals, "0", "1 to 32"));
    refuse("r 4000000000\n", &[], &field(1, signals, "4000000000", "1 to 32"));
    refuse("r 2\nr.dat 16 200\n", &[], &RecordError::SignalsMissing { promised: 2, found: 1 });
    let (one, other) = ("a.dat".to_owned(), "b.dat".to_owned());
    let several = RecordError::SeveralFiles { one, other };
    refuse("r 2\na.dat 16 200\nb.dat 16 200\n", &[1, 0, 1, 0], &several);
    refuse("r 1\nr.dat 310 200\n", &[], &RecordError::Format { found: "310".into() });
    let alone = "one sample a frame, and no skew";
    refuse("r 1\nr.dat 16x2 200\n", &[], &field(2, "format", "16x2", alone));
    refuse("r 1\nr.dat 16:3 200\n", &[], &field(2, "format", "16:3", alone));
    let mixed = field(3, "format", "212", "that of the first signal");
    refuse("r 2\nr.dat 16 200\nr.dat 212 200\n", &[], &mixed);
    for header in ["r 1\nr.dat 16\n", "r 1\nr.dat 16 0\n", "r 1\nr.dat 16 0.0(5)/mV\n"] {
        refuse(header, &[1, 0], &RecordError::Uncalibrated { signal: 1 });
    }
    refuse("r 1\nr.dat 16 1/mmHg\n", &[], &field(2, "units", "mmHg", "mV, uV or V"));
    let beside = "the name of a file beside the header";
    for name in ["../r.dat", "/dev/zero", "-", "a\\b"] {
        let header = format!("r 1\n{name} 16 200\n");
        refuse(&header, &[1, 0], &field(2, "file name", name, beside));
        assert!(Record::signal_file(&header).is_err());
    }
    refuse(
        "r 1 250 4\nr.dat 16 200\n",
        &[1, 0, 2],
        &RecordError::Truncated { promised: 8, found: 3 },
    );
    refuse(
        "r 1 250 4\nr.dat 16+9 200\n",
        &[1, 0, 2],
        &RecordError::Truncated { promised: 17, found: 3 },
    );
    refuse("r 1\nr.dat 16 200\n", &[1], &RecordError::Empty);
    let endless = format!("r 1 250 {}\nr.dat 212 200\n", usize::MAX);
    refuse(&endless, &[1, 0], &RecordError::TooLong);
    let long = format!("r 1\nr.dat 16 200 {}\n", "9".repeat(255));
    refuse(&long, &[], &RecordError::LineTooLong { line: 2 });
    let headers = "\n".repeat(HEADER_BYTES_MAX + 1);
    refuse(&headers, &[], &RecordError::HeaderTooLong { bytes: HEADER_BYTES_MAX + 1 });
}

#[test]
fn a_byte_that_changed_is_found_by_the_checksum() {
    let mut signals = SIGNALS.to_vec();
    signals[100] ^= 4;
    let error = Record::parse(HEADER, &signals).unwrap_err();
    assert!(matches!(error, RecordError::Checksum { .. }), "{error}");
    // Written as an unsigned number it is the same.
    let unsigned = HEADER.replace("-5179", "60357");
    assert_ne!(unsigned, HEADER);
    assert!(Record::parse(&unsigned, SIGNALS).is_ok());
}

/// Lines that look like those of a header.
fn any_header() -> impl Strategy<Value = String> {
    let record = ("r(/2)?", "[0-9]{0,3}", "-?[0-9.e/]{0,6}", "[0-9]{0,22}");
    let record =
        record.prop_map(|(name, signals, rate, count)| format!("{name} {signals} {rate} {count}"));
    let signal = [
        "r.dat (16|212|8)(x[0-9])?(:[0-9])?(\\+[0-9]{1,20})? ",
        "-?[0-9.e]{1,8}(\\(-?[0-9]{1,12}\\))?(/[muV]{1,2})? ",
        "[0-9]{1,2} -?[0-9]{1,12} 0 -?[0-9]{1,6} 0 V",
    ];
    let signal = proptest::string::string_regex(&signal.concat()).unwrap();
    (record, vec(signal, 0..4))
        .prop_map(|(record, signals)| format!("{record}\n{}\n", signals.join("\n")))
}

proptest! {
    #[test]
    fn no_record_panics(
        header in prop_oneof![any_header(), "\\PC{0,200}", Just(HEADER.to_owned())],
        signals in vec(any::<u8>(), 0..100),
        at_us in any::<u64>(),
    ) {
        if let Ok(record) = Record::parse(&header, &signals) {
            for signal in 0..record.signals.len() {
                let uv = record.at(signal, at_us);
                prop_assert!(uv.is_some_and(|uv| uv.abs() <= VOLTAGE_UV_MAX));
            }
        }
    }

    /// Packed by the guide's own words, by arithmetic instead of shifts.
    #[test]
    fn samples_come_back(pairs in vec((-2047_i32..2048, -2047_i32..2048), 1..40)) {
        let signals: Vec<u8> = pairs
            .iter()
            .flat_map(|(one, two)| {
                let (one, two) = (one.rem_euclid(4096), two.rem_euclid(4096));
                [one % 256, one / 256 + two / 256 * 16, two % 256]
            })
            .map(|byte| u8::try_from(byte).unwrap())
            .collect();
        let record = Record::parse("r 2 250\nr.dat 212 1\nr.dat 212 1\n", &signals).unwrap();
        for (place, pair) in pairs.iter().enumerate() {
            let leads = samples(&record);
            prop_assert_eq!((i32::from(leads[0][place]), i32::from(leads[1][place])), *pair);
        }
    }
}
