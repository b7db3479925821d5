//! Facts from the protocol sheet; no number of the protocol stands anywhere else.

/// Framing, §3.
pub(super) const BOF: u8 = 0xC0;
pub(super) const EOF: u8 = 0xC1;
pub(super) const ESCAPE: u8 = 0x7D;
pub(super) const FLIP: u8 = 0x20;
/// "protocol-id 0x11, msg-type 0x01", §3.
pub(super) const HEADER: [u8; 2] = [0x11, 0x01];
/// "Cap frame size at 8 KiB", §10.
pub(super) const FRAME_MAX: usize = 8 * 1024;
/// "CRC-16/X-25: polynomial 0x1021 reflected (0x8408)", §4.
pub(super) const CRC_POLYNOMIAL: u16 = 0x8408;

/// "115200 (default of every client seen)", 8N1: ten bits a byte, §2.
pub(super) const BAUD: u64 = 115_200;
pub(super) const BITS_PER_BYTE: u64 = 10;
/// "At most 4 frames per 128 ms from the host", §2.
pub(super) const FRAMES_MAX: usize = 4;
pub(super) const FRAMES_WINDOW_US: u64 = 128_000;
/// "MTU: 1000 bytes of user data on RS-232", §2.
pub(super) const MTU: u32 = 1000;

/// "RelativeTime: u32, unit 125 µs", §5.
pub(super) const TICK_US: u64 = 125;
/// Mantissa of NaN: "no value", §5.
pub(super) const NAN: i32 = 0x007F_FFFF;

/// Message families, §6.
pub(super) const ASSOCIATION_REQUEST: u8 = 0x0D;
pub(super) const ASSOCIATION_ACCEPT: u8 = 0x0E;
pub(super) const RELEASE_REQUEST: u8 = 0x09;
pub(super) const ABORT: u8 = 0x19;
/// "0xE100 + presentation context id u16 (0x0002)", §6.3.
pub(super) const DATA_EXPORT: [u8; 4] = [0xE1, 0x00, 0x00, 0x02];

/// Remote operations, §6.3.
pub(super) const INVOKE: u16 = 1;
pub(super) const RESULT: u16 = 2;
pub(super) const ERROR: u16 = 3;
pub(super) const LINKED: u16 = 5;
/// States of a linked result, §6.3.
pub(super) const FIRST: u8 = 1;
pub(super) const MIDDLE: u8 = 2;
pub(super) const LAST: u8 = 3;

/// Commands, §6.3.
pub(super) const EVENT: u16 = 0;
pub(super) const CONFIRMED_EVENT: u16 = 1;
pub(super) const GET: u16 = 3;
pub(super) const SET: u16 = 4;
pub(super) const CONFIRMED_SET: u16 = 5;
pub(super) const ACTION: u16 = 7;
/// Errors, §6.3.
pub(super) const NO_SUCH_CLASS: u16 = 0;
pub(super) const ACCESS_DENIED: u16 = 2;
pub(super) const GET_LIST: u16 = 7;
pub(super) const NO_SUCH_ACTION: u16 = 9;
pub(super) const INVALID_ARGUMENT: u16 = 15;

/// Actions and poll options, §6.6.
pub(super) const SINGLE_POLL: u16 = 0x0C16;
pub(super) const EXTENDED_POLL: u16 = 0xF13B;
pub(super) const POLL_DURATION: u16 = 0xF13E;
pub(super) const POLL_PRIORITISED: u16 = 0xF228;

/// Partition and codes of objects, §6.6.
pub(super) const OBJECTS: u16 = 1;
pub(super) const NUMERICS: u16 = 0x0006;
pub(super) const WAVES: u16 = 0x0009;
pub(super) const ALERT_MONITOR: u16 = 0x0036;
pub(super) const DEMOGRAPHICS: u16 = 0x002A;
pub(super) const MDS: u16 = 0x0021;
/// Attribute groups, §6.6.
pub(super) const GROUP_ALL: u16 = 0;
pub(super) const GROUP_ALERTS: u16 = 0x0801;
pub(super) const GROUP_VALUES: u16 = 0x0803;
pub(super) const GROUP_DEMOGRAPHICS: u16 = 0x0807;
pub(super) const GROUP_APPLICATION: u16 = 0x080A;
pub(super) const GROUP_PRODUCTION: u16 = 0x080C;
pub(super) const GROUP_DYNAMIC: u16 = 0x0810;
pub(super) const GROUP_STATIC: u16 = 0x0811;

/// Profiles of an association, §6.1.
pub(super) const POLL_PROFILE: u16 = 0x0001;
pub(super) const EXTENDED_POLL_PROFILE: u16 = 0xF001;
pub(super) const OPTION_NUMERICS: u32 = 0x8000_0000;
pub(super) const OPTION_WAVES: u32 = 0x0800_0000;
/// "8000 = 1 s"; the monitor of §9.2 grants no shorter period.
pub(super) const POLL_PERIOD_MIN: u32 = 8000;

/// Events, §6.4.
pub(super) const MDS_CREATE: u16 = 0x0D06;
/// Attributes, §6.4, §6.8 and §6.9.
pub(super) const SYSTEM_ID: u16 = 0x0984;
pub(super) const SYSTEM_TYPE: u16 = 0x0986;
pub(super) const ABSOLUTE_TIME: u16 = 0x0987;
pub(super) const SYSTEM_MODEL: u16 = 0x0928;
pub(super) const RELATIVE_TIME: u16 = 0x098F;
pub(super) const NUMERIC_PRIORITY: u16 = 0xF239;
pub(super) const WAVE_PRIORITY: u16 = 0xF23A;
pub(super) const HANDLE: u16 = 0x0921;
pub(super) const LABEL: u16 = 0x0924;
pub(super) const LABEL_STRING: u16 = 0x0927;
pub(super) const OBJECT_TYPE: u16 = 0x092F;
pub(super) const NUMERIC: u16 = 0x0950;
pub(super) const COMPOUND_NUMERIC: u16 = 0x094B;
pub(super) const SAMPLE_ARRAY: u16 = 0x096E;
pub(super) const SAMPLE_SPEC: u16 = 0x096D;
pub(super) const SCALE_AND_RANGE: u16 = 0x096F;
pub(super) const FIXED_VALUES: u16 = 0x0A16;
pub(super) const SAMPLE_PERIOD: u16 = 0x098D;
pub(super) const TIME_STAMP: u16 = 0x0990;
pub(super) const ALERT_CONDITION: u16 = 0x0916;
pub(super) const PATIENT_ALARMS: u16 = 0x0902;
pub(super) const TECHNICAL_ALARMS: u16 = 0x0904;

/// State word of a value, §8.
pub(super) const INVALID: u16 = 0x8000;
pub(super) const QUESTIONABLE: u16 = 0x4000;
pub(super) const UNAVAILABLE: u16 = 0x2000;
pub(super) const CALIBRATING: u16 = 0x1000;
pub(super) const EARLY: u16 = 0x0040;
pub(super) const IN_ALARM: u16 = 0x0002;

/// Partition and code of a label: "0x00020000 + physio-id", section *Our metrics*.
pub(super) const LABEL_BASE: u32 = 0x0002_0000;

/// A numeric list replaces the old one, §6.8.
pub(super) const REPLACE: u16 = 0;

/// "P < 3.3 s: 10 s; P < 43 s: 3 × P; else 130 s", §7.5, in microseconds.
pub(super) fn time_out_us(period_ticks: u32) -> u64 {
    match u64::from(period_ticks) * TICK_US {
        0..3_300_000 => 10_000_000,
        period @ 3_300_000..43_000_000 => 3 * period,
        _ => 130_000_000,
    }
}
