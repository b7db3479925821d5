//! What a monitor may say about the person.
//!
//! The patient's name and number are attributes of the demographics object. They are never asked
//! for; a monitor that sends them all the same, or puts them elsewhere (a bed label, notes), is
//! recorded without: of every object only attributes pass that are read, or say how it is built.

use super::{
    association::{self, Session},
    attributes,
    data_export::{group, object, spec},
    framing::{first_frame, frame, hidden},
    reader::Reader,
};
use crate::redaction::{HIDDEN, Mask};

/// Handle, type, metric specification, calibration of an object, §6.9.
const STRUCTURE: [u16; 4] = [0x0921, 0x092F, 0x093F, 0x0964];
/// Head and presentation context id, §6.3.
const HEAD_LEN: usize = 4;
/// Managed object.
const OBJECT_LEN: usize = 6;
/// Relative time, absolute time.
const TIMES_LEN: usize = 4 + 8;

/// Hides attributes that are not read.
pub(crate) struct IntellivueMask;

impl Mask for IntellivueMask {
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let (len, user_data) = first_frame(bytes)?;
        let kept = match user_data {
            Some(user_data) => frame(&masked(&user_data)),
            None => hidden(bytes.get(..len)?, HIDDEN),
        };
        Some((len, kept))
    }
}

fn masked(user_data: &[u8]) -> Vec<u8> {
    let passing = match association::decode(user_data) {
        Session::Accept(_) | Session::Refuse | Session::Released | Session::Abort => {
            user_data.len()
        }
        Session::Unknown(_) => 1,
        Session::Data => {
            let mut copy = Copy::of(user_data);
            if export(&mut copy).is_some() {
                return copy.finish();
            }
            // Malformed inside: it says nothing to the driver either.
            HEAD_LEN
        }
    };
    let mut copy = Copy::of(user_data);
    copy.pass(passing.min(user_data.len()));
    copy.finish()
}

fn export(copy: &mut Copy<'_>) -> Option<()> {
    copy.pass(HEAD_LEN)?;
    let ro_type = copy.pass_u16()?;
    copy.layer(|body| {
        if ro_type == spec::LINKED_RESULT {
            // State and count.
            body.pass(2)?;
        }
        let (_invoke_id, command) = (body.pass_u16()?, body.pass_u16()?);
        body.layer(|argument| match (ro_type, command) {
            (spec::INVOKE, spec::CONFIRMED_EVENT) => event(argument),
            (spec::RESULT | spec::LINKED_RESULT, spec::CONFIRMED_ACTION) => poll_reply(argument),
            _ => Some(()),
        })
    })
}

fn event(copy: &mut Copy<'_>) -> Option<()> {
    // The object and the time of the event.
    copy.pass(OBJECT_LEN + 4)?;
    let kind = copy.pass_u16()?;
    copy.layer(|event| {
        if kind != spec::MDS_CREATE {
            return Some(());
        }
        event.pass(OBJECT_LEN)?;
        attributes(event, true)
    })
}

fn poll_reply(copy: &mut Copy<'_>) -> Option<()> {
    copy.pass(OBJECT_LEN)?;
    let action = copy.pass_u16()?;
    copy.layer(|reply| {
        match action {
            spec::SINGLE_POLL => reply.pass(2)?,
            spec::EXTENDED_POLL => reply.pass(4)?,
            _ => return Some(()),
        };
        reply.pass(TIMES_LEN)?;
        let _partition = reply.pass_u16()?;
        let (polled, asked) = (reply.pass_u16()?, reply.pass_u16()?);
        let harmless = polled != object::DEMOGRAPHICS && asked != group::DEMOGRAPHICS;
        reply.list(|contexts| {
            contexts.pass_u16()?;
            contexts.list(|objects| {
                objects.pass_u16()?;
                attributes(objects, harmless)
            })
        })
    })
}

fn attributes(copy: &mut Copy<'_>, harmless: bool) -> Option<()> {
    copy.list(|list| {
        let id = list.pass_u16()?;
        let passes = harmless && (attributes::READ.contains(&id) || STRUCTURE.contains(&id));
        list.layer(|value| {
            if passes {
                value.pass(value.reader.rest().len())?;
            }
            Some(())
        })
    })
}

/// Copies a message part by part; what is not passed becomes zeros.
struct Copy<'a> {
    reader: Reader<'a>,
    copied: Vec<u8>,
}

impl<'a> Copy<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), copied: Vec::with_capacity(bytes.len()) }
    }

    fn pass(&mut self, count: usize) -> Option<()> {
        self.copied.extend(self.reader.take(count)?);
        Some(())
    }

    fn pass_u16(&mut self) -> Option<u16> {
        let word = self.reader.u16()?;
        self.copied.extend(word.to_be_bytes());
        Some(word)
    }

    /// A layer with what `copy` passes of it.
    fn layer(&mut self, copy: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let len = self.pass_u16()?;
        let mut inner = Self::of(self.reader.take(len.into())?);
        copy(&mut inner)?;
        self.copied.extend(inner.finish());
        Some(())
    }

    /// A list with what `copy` passes of each of its items.
    fn list(&mut self, mut copy: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.pass_u16()?;
        self.layer(|items| (0..count).try_for_each(|_| copy(items)))
    }

    fn finish(mut self) -> Vec<u8> {
        self.copied.resize(self.copied.len() + self.reader.rest().len(), 0);
        self.copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        redaction::tests::{chunks, redacted},
        registry::DriverName,
        serial::intellivue::{data_export, framing::Decoder},
    };
    use proptest::{collection::vec, prelude::*};

    fn layer(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
        [words(&[id]), layer(value)].concat()
    }

    /// An answer to a single poll with one object.
    fn answer(polled: u16, asked: u16, list: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(list.len()).unwrap();
        let object = [words(&[7, count]), layer(&list.concat())].concat();
        let context = [words(&[1, 1]), layer(&object)].concat();
        let times = [0xFF; TIMES_LEN];
        let reply = [words(&[9]), times.to_vec(), words(&[1, polled, asked, 1]), layer(&context)];
        let body = [vec![0, 0x21, 0, 0, 0, 0], words(&[0x0C16]), layer(&reply.concat())].concat();
        let operation = [words(&[3, 7]), layer(&body)].concat();
        [vec![0xE1, 0, 0, 2], words(&[2]), layer(&operation)].concat()
    }

    const NUMBER: [u8; 10] = [0x41, 0x82, 0, 0, 0x0A, 0xA0, 0, 0, 0, 72];

    #[test]
    fn an_attribute_that_is_not_read_becomes_zeros_and_the_number_stays() {
        let label = |text: &[u8]| vec![attribute(0x091E, text), attribute(0x0950, &NUMBER)];
        let sent = answer(object::NUMERIC, group::METRIC_VALUES, &label(b"WANG-31"));
        let kept = answer(object::NUMERIC, group::METRIC_VALUES, &label(&[0; 7]));
        assert!(data_export::decode(&sent).is_ok());
        let wire = frame(&sent);
        assert_eq!(IntellivueMask.settle(&wire), Some((wire.len(), frame(&kept))));
    }

    #[test]
    fn nothing_of_the_demographics_passes() {
        for (polled, asked) in
            [(object::DEMOGRAPHICS, group::ALL), (object::MDS, group::DEMOGRAPHICS)]
        {
            let sent = answer(polled, asked, &[attribute(0x0927, b"WANG-31")]);
            let kept = answer(polled, asked, &[attribute(0x0927, &[0; 7])]);
            assert_eq!(masked(&sent), kept);
        }
    }

    #[test]
    fn other_messages_pass_no_content() {
        let malformed = [&[0xE1, 0, 0, 2, 0, 2, 0, 99][..], b"WANG-31"].concat();
        assert_eq!(masked(&malformed), [&[0xE1, 0, 0, 2][..], &[0; 11]].concat());
        let get = [&[0xE1, 0, 0, 2, 0, 2, 0, 13, 0, 1, 0, 3, 0, 7][..], b"WANG-31"].concat();
        assert_eq!(masked(&get), [&get[..14], &[0; 7]].concat());
        assert_eq!(masked(b"\x99WANG-31"), [&[0x99][..], &[0; 7]].concat());
        assert!(masked(&[]).is_empty());
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let name = "[A-Z\u{7d}]{0,6}".prop_map(|name| format!("WANG-31{name}").into_bytes());
        let message = (name, any::<u8>(), any::<bool>()).prop_map(|(name, rate, demographics)| {
            let mut number = NUMBER;
            number[9] = rate;
            let list = [attribute(0x091E, &name), attribute(0x0950, &number)];
            let polled = if demographics { object::DEMOGRAPHICS } else { object::NUMERIC };
            frame(&answer(polled, group::ALL, &list))
        });
        prop_oneof![
            4 => message.clone(),
            1 => (message.clone(), 0_usize..70).prop_map(|(frame, cut)| frame[..cut].to_vec()),
            1 => (message, 60_usize..70).prop_map(|(mut frame, at)| {
                frame[at] ^= 0x01;
                frame
            }),
            1 => vec(prop_oneof![any::<u8>(), Just(0xC0), Just(0xC1), Just(0x7D)], 0..40),
        ]
    }

    /// The numbers the driver would read.
    fn read(bytes: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let found: Vec<_> = decoder.decode(bytes).flatten().collect();
        let exports = found.iter().filter_map(|user_data| data_export::decode(user_data).ok());
        let polls = exports.filter_map(|export| match export {
            data_export::Export::Poll(part) if part.reply.object == object::NUMERIC => Some(part),
            _ => None,
        });
        let objects = polls.flat_map(|part| part.reply.observations);
        objects.map(|object| format!("{:?}", object.attributes.numerics())).collect()
    }

    proptest! {
        #[test]
        fn recordings_decode_to_the_same_numbers_and_tell_no_one(
            pieces in vec(piece(), 0..12), cuts in vec(1_usize..60, 1..40),
        ) {
            let bytes = pieces.concat();
            let kept = redacted(DriverName::Intellivue, &chunks(&bytes, &cuts)).concat();
            prop_assert_eq!(read(&kept), read(&bytes));
            prop_assert!(!kept.windows(7).any(|found| found == b"WANG-31"));
        }
    }
}
