//! What a block of a BCC station may say about the person.
//!
//! Among the general parameters is the last barcode that was read (FMBANY), which may be that of a
//! wristband; and a newer station may send parameters nobody described to us. The bed-ID names a
//! place, not a person, and stays: requests must carry it.

use super::codec::{Shape, entry, first_block, with_information};
use crate::redaction::{Mask, hidden_text};

/// Separates entries.
const RS: u8 = 0x1E;
/// Time, address and parameter stand before the value, §5.1.
const COMMAS: usize = 3;
/// Parameters of the sheet, §5 and §7, whose values are about the station, the pump or the
/// infusion. FMBANY is not among them.
const KNOWN: &[&str] = &[
    "GNACK",
    "GNERR",
    "GNNEW",
    "GNMODEL",
    "FMNOR",
    "FMSTAT",
    "FMDONGLE",
    "FMRT",
    "FMRSTAT",
    "COMSERIALNO",
    "COMSWVERSION",
    "INSERNUM",
    "INNR",
    "INDTNR",
    "INRT",
    "INAVRT",
    "INVTB",
    "INVI",
    "VOLREMAIN",
    "INRMT",
    "INVOLACT",
    "INSYR",
    "INTIME",
    "TIMEOFINF",
    "INSOL",
    "INSOLSN",
    "INSOLID",
    "INDOCAL",
    "INDCON",
    "INDCONU",
    "INDORT",
    "INDORTU",
    "INBORT",
    "INBOVAL",
    "INBOCNT",
    "BOLTYPE",
    "INP1",
    "INP2",
    "INPSOLL",
    "INAKKU",
    "INSTBY",
    "DSSTATUS",
    "OPMODE",
    "RUNSTATE",
    "ALARM1",
    "ALARM2",
    "PREALARM",
    "STATUS1",
    "STATUS2",
];
/// Flags, with a number behind: INM1 to INM14, INA1 to INA16.
const FLAGS: [&str; 2] = ["INM", "INA"];

/// Hides the values of parameters that are not known to be harmless.
pub(crate) struct BccMask;

impl Mask for BccMask {
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let (len, shape) = first_block(bytes)?;
        let bytes = bytes.get(..len)?;
        let kept = match shape {
            Shape::Block { stuffed } => with_information(bytes, stuffed, |information| {
                let entries = information.split(|byte| *byte == RS).map(masked);
                entries.collect::<Vec<_>>().join(&RS)
            }),
            Shape::Bad => None,
        };
        Some((len, kept.unwrap_or_else(|| hidden_text(bytes))))
    }
}

/// An entry without a value that may tell who it is about.
fn masked(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let Some(entry) = entry(&text) else { return hidden_text(bytes) };
    let parts: Vec<_> = bytes.splitn(COMMAS + 1, |byte| *byte == b',').collect();
    match parts.as_slice() {
        _ if is_known(&entry.parameter) => bytes.to_vec(),
        [time, address, parameter, value] => {
            [time, address, parameter, &hidden_text(value)[..]].join(&b',')
        }
        // The version of the protocol is a parameter without a value.
        [_, _, version] if is_version(version) => bytes.to_vec(),
        [time, address, parameter] => [time, address, &hidden_text(parameter)[..]].join(&b','),
        _ => hidden_text(bytes),
    }
}

fn is_known(parameter: &str) -> bool {
    let number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    KNOWN.contains(&parameter)
        || FLAGS.iter().any(|flag| parameter.strip_prefix(flag).is_some_and(number))
}

/// "V3.30", §5.
fn is_version(parameter: &[u8]) -> bool {
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let version = parameter.strip_prefix(b"V");
    version.is_some_and(|rest| (1..=6).contains(&rest.len()) && rest.iter().all(digits))
}

#[cfg(test)]
mod tests {
    use super::{
        super::codec::{Decoder, entries, stuff, tests::block},
        *,
    };
    use crate::{
        redaction::tests::{chunks, redacted},
        registry::DriverName,
    };
    use proptest::{collection::vec, prelude::*};

    #[track_caller]
    fn kept(information: &str, expected: &str) {
        let (sent, kept) = (block("WARD3", information, false), block("WARD3", expected, false));
        assert_eq!(BccMask.settle(&sent), Some((sent.len(), kept.clone())), "{information}");
        let sent = stuff(&sent);
        assert_eq!(
            BccMask.settle(&sent),
            Some((sent.len(), stuff(&kept))),
            "{information}, stuffed"
        );
    }

    #[test]
    fn a_barcode_and_what_is_not_known_is_hidden() {
        kept(
            "9,50100,FMBANY,4711\x1e9,50111,INRT,5.00\x1e9,50111,INSOL,DE 0,9%",
            "9,50100,FMBANY,xxxx\x1e9,50111,INRT,5.00\x1e9,50111,INSOL,DE 0,9%",
        );
        kept("9,50111,PATNAME,王Ed,1\r", "9,50111,PATNAME,xxxxxxx\r");
        kept("WANG-31\x1e7,50100,V3.30", "xxxxxxx\x1e7,50100,V3.30");
        kept("7,50100,WANG-31\x1e7,50111,INA13,1", "7,50100,xxxxxxx\x1e7,50111,INA13,1");
    }

    #[test]
    fn alarms_states_and_identities_pass_in_both_forms() {
        let flags = (1..=16).flat_map(|number| [format!("INA{number}"), format!("INM{number}")]);
        let fields = ["ALARM1", "ALARM2", "PREALARM", "STATUS1", "RUNSTATE", "INSERNUM", "INNR"];
        for parameter in flags.chain(fields.map(str::to_owned)) {
            assert!(is_known(&parameter), "{parameter}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let good =
            ("[A-Ea-e0-9]{0,8}", 0_u16..999, any::<bool>()).prop_map(|(name, rate, more)| {
                let text =
                    format!("9,50100,FMBANY,WANG-31{name}\x1e9,50111,INRT,{rate}\x1eWANG-31");
                block("WARD3BED2", &text, more)
            });
        let good = (good, any::<bool>()).prop_map(|(block, stuffed)| match stuffed {
            true => stuff(&block),
            false => block,
        });
        prop_oneof![
            4 => good.clone(),
            1 => (good.clone(), 0_usize..60).prop_map(|(block, cut)| block[..cut].to_vec()),
            1 => (good, 30_usize..50).prop_map(|(mut block, at)| {
                block[at] ^= 0x40;
                block
            }),
            1 => vec(prop_oneof![any::<u8>(), Just(1), Just(4)], 0..40),
        ]
    }

    /// What the driver would read.
    fn read(bytes: &[u8]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let frames: Vec<_> = decoder.decode(bytes).flatten().collect();
        let found = frames.iter().flat_map(|frame| entries(&frame.information)).flatten();
        let known = found.filter(|entry| is_known(&entry.parameter));
        known.map(|entry| (entry.parameter, entry.value)).collect()
    }

    proptest! {
        #[test]
        fn recordings_decode_to_the_same_entries_and_tell_no_one(
            pieces in vec(piece(), 0..12), cuts in vec(1_usize..60, 1..40),
        ) {
            let bytes = pieces.concat();
            let kept = redacted(DriverName::Bcc, &chunks(&bytes, &cuts)).concat();
            prop_assert_eq!(read(&kept), read(&bytes));
            prop_assert!(!kept.windows(7).any(|found| found == b"WANG-31"));
        }
    }
}
