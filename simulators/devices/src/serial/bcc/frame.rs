//! Frames and character stuffing of BCC, §3.

pub(super) const SOH: u8 = 0x01;
pub(super) const STX: u8 = 0x02;
pub(super) const ETX: u8 = 0x03;
pub(super) const EOT: u8 = 0x04;
pub(super) const ACK: u8 = 0x06;
pub(super) const NAK: u8 = 0x15;
pub(super) const ETB: u8 = 0x17;
/// Between records.
pub(super) const RS: u8 = 0x1E;
/// "Suffix is constant", §3.
const SUFFIX: &str = "/1/1>";
/// SOH, five digits, STX; ETX, five digits, EOT.
const EDGE: usize = 7;

/// SOH, length, STX, bed and information, end, sum, EOT.
pub(super) fn encode(bed: &str, information: &[u8], end: u8) -> Vec<u8> {
    let len = 19 + bed.len() + information.len();
    let mut frame = vec![SOH];
    frame.extend(format!("{len:05}").bytes());
    frame.push(STX);
    frame.extend(bed.bytes());
    frame.extend(SUFFIX.bytes());
    frame.extend(information);
    frame.push(end);
    let sum = frame.iter().fold(0_u64, |sum, byte| sum + u64::from(*byte)) % 256;
    frame.extend(format!("{sum:05}").bytes());
    frame.push(EOT);
    frame
}

/// Bed and command of a request whose length and sum are right.
pub(super) fn decode(frame: &[u8]) -> Option<(String, String)> {
    let text = frame.get(EDGE..frame.len().checked_sub(EDGE)?)?;
    let text = String::from_utf8(text.to_vec()).ok()?;
    let (bed, command) = text.split_once(SUFFIX)?;
    (encode(bed, command.as_bytes(), ETX) == frame).then(|| (bed.to_owned(), command.to_owned()))
}

/// "D→EX, E→EE, d→ex, e→ee", §3.1.
pub(super) fn stuff(frame: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(frame.len());
    for byte in frame {
        match byte {
            b'D' => stuffed.extend(b"EX"),
            b'E' => stuffed.extend(b"EE"),
            b'd' => stuffed.extend(b"ex"),
            b'e' => stuffed.extend(b"ee"),
            byte => stuffed.push(*byte),
        }
    }
    stuffed
}

/// "In one left-to-right pass", §3.1; nothing, where a letter stands that stuffing never leaves.
pub(super) fn destuff(stuffed: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(stuffed.len());
    let mut bytes = stuffed.iter();
    while let Some(byte) = bytes.next() {
        frame.push(match byte {
            b'E' => match bytes.next()? {
                b'X' => b'D',
                b'E' => b'E',
                _ => return None,
            },
            b'e' => match bytes.next()? {
                b'x' => b'd',
                b'e' => b'e',
                _ => return None,
            },
            b'D' | b'd' => return None,
            byte => *byte,
        });
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn bytes(text: &str) -> Vec<u8> {
        let marks = [("<SOH>", SOH), ("<STX>", STX), ("<ETX>", ETX), ("<EOT>", EOT), ("<RS>", RS)];
        let text = marks.iter().fold(text.to_owned(), |text, (mark, byte)| {
            text.replace(mark, &char::from(*byte).to_string())
        });
        text.into_bytes()
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    #[track_caller]
    fn check(bed: &str, information: &str, expected: &str) {
        let frame = bytes(expected);
        assert_eq!(encode(bed, &bytes(information), ETX), frame);
        assert_eq!(
            decode(&frame),
            Some((bed.to_owned(), String::from_utf8(bytes(information)).unwrap()))
        );
    }

    /// Sheet §9.1, §9.3 and §9.4.
    #[test]
    fn frames_are_those_of_the_sheet() {
        let bed = "WARD3BED2";
        check("1", "ADMIN:ALIVE", "<SOH>00031<STX>1/1/1>ADMIN:ALIVE<ETX>00061<EOT>");
        check(
            bed,
            "206,50100,GNACK,0",
            "<SOH>00045<STX>WARD3BED2/1/1>206,50100,GNACK,0<ETX>00001<EOT>",
        );
        check(bed, "ADMIN:VERSION", "<SOH>00041<STX>WARD3BED2/1/1>ADMIN:VERSION<ETX>00032<EOT>");
        check(
            bed,
            "207,50100,V3.30",
            "<SOH>00043<STX>WARD3BED2/1/1>207,50100,V3.30<ETX>00090<EOT>",
        );
        check(bed, "MEM:GET", "<SOH>00035<STX>WARD3BED2/1/1>MEM:GET<ETX>00083<EOT>");
        check(bed, "MEM:GETSLOT#13", "<SOH>00042<STX>WARD3BED2/1/1>MEM:GETSLOT#13<ETX>00026<EOT>");
        check(
            bed,
            "220,50112,GNERR,39",
            "<SOH>00046<STX>WARD3BED2/1/1>220,50112,GNERR,39<ETX>00087<EOT>",
        );
        let block = "230,50111,GNMODEL,688N030003<RS>230,50111,INRT,5.00<RS>230,50111,INVTB,50.0<RS>\
            230,50111,INVI,12.5<RS>230,50111,INSOL,Dopamine<RS>230,50111,INSERNUM,40864<RS>\
            230,50111,INM3,1<RS>230,50111,INA3,0<RS>230,50111,INA15,0";
        let frame = format!("<SOH>00219<STX>WARD3BED2/1/1>{block}<ETX>00099<EOT>");
        check(bed, block, &frame);
        assert_eq!(
            encode("1", b"ADMIN:ALIVE", ETX),
            hex(
                "01 30 30 30 33 31 02 31 2F 31 2F 31 3E 41 44 4D 49 4E 3A 41 4C 49 56 45 03 30 30 30 36 31 04"
            )
        );
        assert_eq!(
            encode(bed, b"MEM:GET", ETX),
            hex(
                "01 30 30 30 33 35 02 57 41 52 44 33 42 45 44 32 2F 31 2F 31 3E 4D 45 4D 3A 47 45 54 03 30 30 30 38 33 04"
            )
        );
    }

    /// Sheet §9.1, §9.3 and §3.1.
    #[test]
    fn stuffed_frames_are_those_of_the_sheet() {
        assert_eq!(
            stuff(&encode("1", b"ADMIN:ALIVE", ETX)),
            hex(
                "01 30 30 30 33 31 02 31 2F 31 2F 31 3E 41 45 58 4D 49 4E 3A 41 4C 49 56 45 45 03 30 30 30 36 31 04"
            )
        );
        assert_eq!(
            stuff(&encode("WARD3BED2", b"MEM:GET", ETX)),
            bytes("<SOH>00035<STX>WAREX3BEEEX2/1/1>MEEM:GEET<ETX>00083<EOT>")
        );
        assert_eq!(destuff(b"EEX").as_deref(), Some(&b"EX"[..]));
        assert_eq!(destuff(b"MEM"), None);
        assert_eq!(destuff(b"AD"), None);
    }

    proptest! {
        #[test]
        fn what_is_stuffed_comes_back(frame in vec(any::<u8>(), 0..200)) {
            let stuffed = stuff(&frame);
            prop_assert!(!stuffed.iter().any(|byte| b"dD".contains(byte)));
            prop_assert_eq!(destuff(&stuffed), Some(frame));
        }

        #[test]
        fn no_bytes_are_taken_for_a_request(frame in vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(decode(&frame), None);
            destuff(&frame);
        }
    }
}
