//! The parameters of one pump as it sent them, and how a value is read: none, a flag, bits.
//!
//! Not here: what the parameters mean.

use std::collections::BTreeMap;

mod spec {
    /// "_NV = no value (never zero)", §5.1.
    pub(super) const NO_VALUE: &str = "_NV";
    /// "_NA = temporarily not available", §5.1.
    pub(super) const NOT_NOW: &str = "_NA";
    pub(super) const FLAG_DOWN: &str = "0";
    pub(super) const FLAG_UP: &str = "1";
    /// "32-bit value in hexadecimal; accept 0x prefix and trailing h", §7.2.
    pub(super) const HEX_PREFIXES: [&str; 2] = ["0x", "0X"];
    pub(super) const HEX_SUFFIXES: [&str; 2] = ["h", "H"];
    pub(super) const HEX_DIGITS_MAX: usize = 8;
    /// "DSSTATUS 00050 off, 00051 on", §7.
    pub(super) const SWITCHED: &str = "DSSTATUS";
    pub(super) const SWITCHED_OFF: &str = "00050";
    /// "STATUS1 bit 0 = 0", §7.3.
    pub(super) const STATUS: &str = "STATUS1";
    pub(super) const STATUS_ON: u32 = 1;
}

/// What a flag says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flag {
    Up,
    Down,
    /// This pump has no such thing.
    NotApplicable,
    /// It was sent, and nobody knows: not available now, or neither 0 nor 1.
    Unknown,
    /// It is not in the block.
    Absent,
}

/// What a bit field says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bits {
    Known(u32),
    NotApplicable,
    /// It was sent, and nobody knows: not available now, or no number.
    Unknown,
    /// It is not in the block.
    Absent,
}

impl Bits {
    /// Whether that bit is set, for sure.
    pub(super) fn has(self, bit: u32) -> bool {
        self.known().and_then(|bits| bits.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }

    pub(super) fn known(self) -> Option<u32> {
        match self {
            Self::Known(bits) => Some(bits),
            _ => None,
        }
    }
}

/// The parameters of one pump, as sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Block(BTreeMap<String, String>);

impl Block {
    pub(super) fn insert(&mut self, parameter: String, value: String) {
        self.0.insert(parameter, value);
    }

    /// `None`: not in the block; `Some(None)`: without a value.
    pub(super) fn sent(&self, name: &str) -> Option<Option<&str>> {
        let value = self.0.get(name)?.as_str();
        Some((value != spec::NO_VALUE && value != spec::NOT_NOW).then_some(value))
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|sent| sent == value)
    }

    pub(super) fn flag(&self, name: &str) -> Flag {
        match self.0.get(name).map(String::as_str) {
            Some(spec::FLAG_UP) => Flag::Up,
            Some(spec::FLAG_DOWN) => Flag::Down,
            Some(spec::NO_VALUE) => Flag::NotApplicable,
            Some(_) => Flag::Unknown,
            None => Flag::Absent,
        }
    }

    pub(super) fn bits(&self, name: &str) -> Bits {
        match self.0.get(name).map(String::as_str) {
            Some(spec::NO_VALUE) => Bits::NotApplicable,
            Some(text) => hex(text).map_or(Bits::Unknown, Bits::Known),
            None => Bits::Absent,
        }
    }

    pub(super) fn is_off(&self) -> bool {
        let status = self.bits(spec::STATUS).known();
        self.is(spec::SWITCHED, spec::SWITCHED_OFF)
            || status.is_some_and(|bits| bits & spec::STATUS_ON == 0)
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn hex(text: &str) -> Option<u32> {
    let digits = spec::HEX_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
    let digits = digits.unwrap_or(text);
    let bare = spec::HEX_SUFFIXES.iter().find_map(|suffix| digits.strip_suffix(suffix));
    let digits = bare.unwrap_or(digits);
    let good = (1..=spec::HEX_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| good)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `NAME=value` by white space.
    pub(in crate::serial::bcc) fn block(text: &str) -> Block {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        Block(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn bits_are_hexadecimal_however_they_are_dressed() {
        for (text, expected) in [
            ("00000401", Bits::Known(0x401)),
            ("401", Bits::Known(0x401)),
            ("0x0401", Bits::Known(0x401)),
            ("0401h", Bits::Known(0x401)),
            ("fFfFfFfF", Bits::Known(u32::MAX)),
            ("0", Bits::Known(0)),
            ("_NV", Bits::NotApplicable),
            ("_NA", Bits::Unknown),
            ("+401", Bits::Unknown),
            ("000000401", Bits::Unknown),
            ("h", Bits::Unknown),
            ("4é", Bits::Unknown),
        ] {
            assert_eq!(block(&format!("ALARM1={text}")).bits("ALARM1"), expected, "{text}");
        }
        assert_eq!(block("").bits("ALARM1"), Bits::Absent);
        assert!(Bits::Known(0x8000_0000).has(31) && !Bits::Known(0x401).has(9));
    }

    #[test]
    fn a_flag_is_up_or_down_or_nobody_knows() {
        for (text, expected) in [
            ("INA3=1", Flag::Up),
            ("INA3=0", Flag::Down),
            ("INA3=_NV", Flag::NotApplicable),
            ("INA3=_NA", Flag::Unknown),
            ("INA3=2", Flag::Unknown),
            ("", Flag::Absent),
        ] {
            assert_eq!(block(text).flag("INA3"), expected, "{text}");
        }
    }

    #[test]
    fn either_form_says_that_a_pump_is_off() {
        assert!(block("DSSTATUS=00050 STATUS1=00000001").is_off());
        assert!(block("DSSTATUS=00051 STATUS1=00000002").is_off());
        assert!(!block("DSSTATUS=00051 STATUS1=00000003").is_off());
        assert!(!block("STATUS1=_NA").is_off());
    }
}
