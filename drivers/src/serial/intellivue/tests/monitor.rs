//! What a monitor says, for tests: the frames of the sheet, and answers built by hand.

/// Sheet §9.2 to §9.9, as on the wire.
pub(super) const ACCEPTED: &str = "
    C0 11 01 00 D0 0E CE 05 08 13 01 00 16 01 02 80 00 14 02 00 02 7D E1 BE 31 80 A0 80 80 01 01 00
    00 A2 80 A0 03 00 00 01 A5 80 30 80 80 01 00 81 02 51 01 00 00 30 80 80 01 00 81 0C 2A 86 48 CE
    14 02 01 00 00 00 02 01 00 00 00 00 61 80 30 80 02 01 01 A0 80 61 80 A1 80 06 0C 2A 86 48 CE 14
    02 01 00 00 00 03 01 00 00 A2 03 02 01 00 A3 05 A1 03 02 01 00 BE 80 28 80 02 01 02 81 48 80 00
    00 00 40 00 00 00 00 00 00 00 00 80 00 00 20 00 00 00 00 00 00 00 00 01 00 2C 00 01 00 28 80 00
    00 00 00 00 1F 40 00 00 03 E8 00 00 03 E8 FF FF FF FF 60 00 00 00 00 01 00 0C F0 01 00 08 88 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 E1 0B C1";
pub(super) const CREATED: &str = "
    C0 11 01 00 54 E1 00 00 02 00 01 00 4C 00 01 00 01 00 46 00 21 00 00 00 00 00 01 38 80 0D 06 00
    38 00 21 00 00 00 00 00 03 00 2E 09 86 00 04 00 01 11 4D 09 28 00 14 00 08 50 68 69 6C 69 70 73
    00 00 08 4D 38 30 30 33 41 00 00 09 84 00 0A 00 08 00 09 FB FF FF 88 7D E1 BD 3F 19 C1";
pub(super) const NUMBERS: &str = "
    C0 11 01 00 AC E1 00 00 02 00 02 00 A4 00 01 00 07 00 9E 00 21 00 00 00 00 0C 16 00 94 00 01 00
    07 53 00 20 26 11 22 08 30 00 00 00 01 00 06 00 00 00 01 00 7C 00 00 00 03 00 76 01 01 00 03 00
    1C 09 21 00 02 01 01 09 24 00 04 00 02 41 82 09 50 00 0A 41 82 00 00 0A A0 00 00 00 4B 01 02 00
    03 00 1C 09 21 00 02 01 02 09 24 00 04 00 02 4B B8 09 50 00 0A 4B B8 00 00 02 20 FF 00 03 CA 01
    03 00 02 00 2C 09 21 00 02 01 03 09 4B 00 22 00 03 00 1E 4A 05 00 00 0F 20 00 00 00 78 4A 06 00
    00 0F 20 00 00 00 50 4A 07 20 00 0F 20 00 7F FF FF 30 28 C1";
pub(super) const WAVES: &str = "
    C0 11 01 00 78 E1 00 00 02 00 02 00 70 00 02 00 07 00 6A 00 21 00 00 00 00 F1 3B 00 60 00 02 00
    03 00 07 72 40 FF FF FF FF FF FF FF FF 00 01 00 09 08 03 00 01 00 46 00 00 00 01 00 40 02 01 00
    05 00 3A 09 21 00 02 02 01 09 6D 00 06 00 04 10 0E 30 00 09 6F 00 0C FE FF F0 00 FD 00 9F FB 00
    00 3F FF 09 8D 00 04 00 00 00 10 09 6E 00 0E 01 02 00 00 00 08 20 00 20 0A
    20 C8 20 00 51 12 C1";
pub(super) const ALARM: &str = "
    C0 11 01 00 74 E1 00 00 02 00 02 00 6C 00 05 00 07 00 66 00 21 00 00 00 00 0C 16 00 5C 00 04 00
    07 91 80 FF FF FF FF FF FF FF FF 00 01 00 36 08 01 00 01 00 44 00 00 00 01 00 3E 03 01 00 03 00
    38 09 21 00 02 03 01 09 16 00 0A 00 00 00 07 04 00 00 00 04 00 09 02 00 20 00 01 00 1C 41 82 00
    08 04 00 00 08 00 06 00 00 01 01 02 01 00 0A 00 01 00 05 00 01 00 03 40 00 48 79 C1";
pub(super) const RELEASED: &str = "
    C0 11 01 00 1A 0A 18 7D E1 16 61 80 30 80 02 01 01 A0 80 63 80 80 01 00 00 00 00 00 00 00 00 00
    0D 52 C1";
pub(super) const REFUSED: &str = "C0 11 01 00 05 0C 03 32 01 00 85 EE C1";

pub(super) const HR: u16 = 0x4182;
pub(super) const SPO2: u16 = 0x4BB8;
pub(super) const TEMP: u16 = 0x4B48;
pub(super) const BPM: u16 = 0x0AA0;
pub(super) const PERCENT: u16 = 0x0220;
pub(super) const CELSIUS: u16 = 0x17A0;
pub(super) const MM_HG: u16 = 0x0F20;

pub(super) fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

pub(super) fn layer(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(items.len()).unwrap();
    [&count.to_be_bytes()[..], &layer(&items.concat())].concat()
}

pub(super) fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(super) fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    [&words(&[id])[..], &layer(value)].concat()
}

/// Physio-id, state, unit, FLOAT.
pub(super) fn number(physio_id: u16, state: u16, unit: u16, value: u32) -> Vec<u8> {
    [&words(&[physio_id, state, unit])[..], &value.to_be_bytes()].concat()
}

pub(super) fn numeric(physio_id: u16, state: u16, unit: u16, value: u32) -> Vec<u8> {
    attribute(0x0950, &number(physio_id, state, unit, value))
}

pub(super) fn label(code: u32, text: &str) -> Vec<Vec<u8>> {
    let letters: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    vec![attribute(0x0924, &code.to_be_bytes()), attribute(0x0927, &layer(&letters))]
}

pub(super) fn cuff(sys: u32, dia: u32, mean: u32) -> Vec<u8> {
    let part = |id, value| number(id, 0, MM_HG, value);
    attribute(0x094B, &list(&[part(0x4A05, sys), part(0x4A06, dia), part(0x4A07, mean)]))
}

pub(super) fn samples(state: u16, raw: &[u16]) -> Vec<u8> {
    attribute(0x096E, &[&words(&[0x0102, state])[..], &layer(&words(raw))].concat())
}

/// 16 bits with 14 significant ones, 2 ms, invalid and pacer marked.
pub(super) fn packing() -> Vec<Vec<u8>> {
    vec![
        attribute(0x096D, &[0, 128, 16, 14, 0x30, 0]),
        attribute(0x098D, &[0, 0, 0, 16]),
        attribute(0x0A16, &list(&[words(&[1, 0x8000]), words(&[2, 0x4000])])),
    ]
}

pub(super) struct Reply {
    pub(super) number: u16,
    pub(super) sequence: Option<u16>,
    pub(super) ticks: u32,
    pub(super) object: u16,
    pub(super) group: u16,
}

/// Handle and attributes.
pub(super) type Object = (u16, Vec<Vec<u8>>);

impl Reply {
    pub(super) fn numbers(ticks: u32) -> Self {
        Self { number: 1, sequence: Some(1), ticks, object: 6, group: 0x0803 }
    }

    pub(super) fn waves(sequence: u16, ticks: u32) -> Self {
        Self { number: 2, sequence: Some(sequence), ticks, object: 9, group: 0x0803 }
    }

    pub(super) fn alerts() -> Self {
        Self { number: 4, sequence: None, ticks: 0, object: 0x36, group: 0x0801 }
    }

    pub(super) fn user_data(&self, head: &[u8], objects: &[Object]) -> Vec<u8> {
        let action = if self.sequence.is_some() { 0xF13B } else { 0x0C16 };
        let object = |(handle, attributes): &Object| [words(&[*handle]), list(attributes)].concat();
        let objects: Vec<_> = objects.iter().map(object).collect();
        let context = [words(&[0]), list(&objects)].concat();
        let reply = [
            words(&[self.number]),
            self.sequence.map(|sequence| words(&[sequence])).unwrap_or_default(),
            self.ticks.to_be_bytes().to_vec(),
            vec![0xFF; 8],
            words(&[1, self.object, self.group]),
            list(&[context]),
        ]
        .concat();
        let result = [words(&[0x21, 0, 0, action]), layer(&reply)].concat();
        let operation = [words(&[9, 7]), layer(&result)].concat();
        let ro_type = if head.is_empty() { 2 } else { 5 };
        let body = [head, &operation].concat();
        [words(&[0xE100, 2, ro_type]), layer(&body)].concat()
    }
}

pub(super) fn technical_alarm(source: u16) -> Vec<u8> {
    let info = words(&[1, 0, 5, 1, 0x4000]);
    let entry = [words(&[source, 274, 2, 0, 0x36, 0, 0x301, 513]), layer(&info)].concat();
    attribute(0x0904, &list(&[entry]))
}
