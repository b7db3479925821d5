//! Checksums that more than one protocol uses.

/// "CRC-16/CCITT-FALSE: polynomial 0x1021, initial 0xFFFF, no reflection, no final XOR": OneTouch
/// UltraEasy §3, Asena §4.
const POLYNOMIAL: u16 = 0x1021;
const INITIAL: u16 = 0xFFFF;

/// CRC-16/CCITT-FALSE.
pub(crate) fn crc16_ccitt_false(bytes: &[u8]) -> u16 {
    bytes.iter().fold(INITIAL, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ POLYNOMIAL,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_has_the_published_check_value() {
        assert_eq!(crc16_ccitt_false(b"123456789"), 0x29B1);
    }
}
