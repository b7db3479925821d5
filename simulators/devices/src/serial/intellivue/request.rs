//! What a host asks, from user data: only as much as the monitor acts upon.
//!
//! Not here: whether it may be asked. Never fails: what cannot be read is a request of its own.

use super::spec;

/// A message of the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Request {
    /// With the poll profile it asks for, if that can be read.
    Associate(Option<Profile>),
    Release,
    Abort,
    /// The answer to the MDS create event.
    CreateResult {
        invoke: u16,
    },
    Poll {
        invoke: u16,
        /// None: its argument cannot be read.
        poll: Option<Poll>,
    },
    /// Attributes it wants to read.
    Get {
        invoke: u16,
        attributes: Option<Vec<u16>>,
    },
    Set {
        invoke: u16,
        confirmed: bool,
        /// None: something else than priority lists that replace the old ones.
        lists: Option<Vec<PriorityList>>,
    },
    /// An action, or a command, that no driver may send.
    Forbidden {
        invoke: u16,
        command: u16,
        action: Option<u16>,
    },
    /// Nothing that is asked of a monitor.
    Other,
}

/// What a host asks for in an association.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Profile {
    /// Minimum poll period in ticks.
    pub(super) period: u32,
    pub(super) mtu_receive: u32,
    /// Bits of the extended poll profile; 0 without one.
    pub(super) options: u32,
}

/// A poll, single or extended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Poll {
    pub(super) extended: bool,
    pub(super) number: u16,
    pub(super) partition: u16,
    pub(super) object: u16,
    pub(super) group: u16,
    /// For how long the monitor keeps sending, in ticks.
    pub(super) duration: Option<u32>,
    /// Number of prioritised objects.
    pub(super) prioritised: Option<u16>,
}

/// A priority list, §6.8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PriorityList {
    pub(super) attribute: u16,
    pub(super) labels: Vec<u32>,
}

impl Request {
    /// The request in user data.
    pub(super) fn decode(user_data: &[u8]) -> Self {
        match user_data.first() {
            Some(&spec::ASSOCIATION_REQUEST) => Self::Associate(profile(user_data)),
            Some(&spec::RELEASE_REQUEST) => Self::Release,
            Some(&spec::ABORT) => Self::Abort,
            _ => data_export(user_data).unwrap_or(Self::Other),
        }
    }
}

/// "Locate the last `02 01 02 81` of the presentation header, then ASNLength, then user info",
/// §6.2.
fn profile(user_data: &[u8]) -> Option<Profile> {
    const HEADER_END: [u8; 4] = [0x02, 0x01, 0x02, 0x81];
    let at = user_data.windows(HEADER_END.len()).position(|window| window == HEADER_END)?;
    let mut rest = Reader(user_data.get(at + HEADER_END.len()..)?);
    let len = match rest.u8()? {
        short @ ..=0x7F => usize::from(short),
        0x81 => usize::from(rest.u8()?),
        0x82 => usize::from(rest.u16()?),
        _ => return None,
    };
    let mut info = Reader(rest.take(len)?);
    // Versions, functional units, system type, startup mode.
    info.take(20)?;
    info.attributes()?;
    let profiles = info.attributes()?;
    let mut poll = Reader(value(&profiles, spec::POLL_PROFILE)?);
    let (_revision, period, mtu_receive) = (poll.u32()?, poll.u32()?, poll.u32()?);
    // MTU transmit, bandwidth, options.
    poll.take(12)?;
    let packages = poll.attributes()?;
    let options = match value(&packages, spec::EXTENDED_POLL_PROFILE) {
        Some(package) => Reader(package).u32()?,
        None => 0,
    };
    Some(Profile { period, mtu_receive, options })
}

fn data_export(user_data: &[u8]) -> Option<Request> {
    let mut rest = Reader(user_data);
    if rest.take(2)? != [0xE1, 0x00] {
        return None;
    }
    let (_context, kind) = (rest.u16()?, rest.u16()?);
    let mut body = Reader(rest.sized()?);
    let (invoke, command) = (body.u16()?, body.u16()?);
    let argument = body.sized()?;
    match (kind, command) {
        (spec::RESULT, spec::CONFIRMED_EVENT) => create_result(invoke, argument),
        (spec::INVOKE, spec::ACTION) => Some(action(invoke, argument)),
        (spec::INVOKE, spec::GET) => Some(Request::Get { invoke, attributes: wanted(argument) }),
        (spec::INVOKE, spec::SET | spec::CONFIRMED_SET) => Some(Request::Set {
            invoke,
            confirmed: command == spec::CONFIRMED_SET,
            lists: priority_lists(argument),
        }),
        (spec::INVOKE, spec::EVENT | spec::CONFIRMED_EVENT) => None,
        (spec::INVOKE, command) => Some(Request::Forbidden { invoke, command, action: None }),
        _ => None,
    }
}

/// §6.5.
fn create_result(invoke: u16, argument: &[u8]) -> Option<Request> {
    let mut rest = Reader(argument);
    rest.take(6 + 4)?;
    (rest.u16()? == spec::MDS_CREATE).then_some(Request::CreateResult { invoke })
}

/// §6.6; an action that cannot be read is as bad as an unknown one.
fn action(invoke: u16, argument: &[u8]) -> Request {
    let mut rest = Reader(argument);
    let action = rest.take(6 + 4).and_then(|_| rest.u16());
    match action {
        Some(code @ (spec::SINGLE_POLL | spec::EXTENDED_POLL)) => {
            let poll = rest.sized().and_then(|argument| poll(code, argument));
            Request::Poll { invoke, poll }
        }
        action => Request::Forbidden { invoke, command: spec::ACTION, action },
    }
}

fn poll(code: u16, argument: &[u8]) -> Option<Poll> {
    let mut rest = Reader(argument);
    let extended = code == spec::EXTENDED_POLL;
    let (number, partition, object, group) = (rest.u16()?, rest.u16()?, rest.u16()?, rest.u16()?);
    let options = if extended { rest.attributes()? } else { Vec::new() };
    let duration = value(&options, spec::POLL_DURATION).and_then(|value| Reader(value).u32());
    let prioritised = value(&options, spec::POLL_PRIORITISED).and_then(|value| Reader(value).u16());
    Some(Poll { extended, number, partition, object, group, duration, prioritised })
}

/// Attribute ids of a get: managed object, scope, list of ids.
fn wanted(argument: &[u8]) -> Option<Vec<u16>> {
    let mut rest = Reader(argument);
    rest.take(6 + 4)?;
    let count = rest.u16()?;
    let mut ids = Reader(rest.sized()?);
    (0..count).map(|_| ids.u16()).collect()
}

/// "Managed object, scope u32, list of {operator, AVA 0xF23A: list of u32 labels}", §6.8.
fn priority_lists(argument: &[u8]) -> Option<Vec<PriorityList>> {
    let mut rest = Reader(argument);
    rest.take(6 + 4)?;
    let count = rest.u16()?;
    let mut items = Reader(rest.sized()?);
    (0..count)
        .map(|_| {
            let (operator, attribute) = (items.u16()?, items.u16()?);
            let mut value = Reader(items.sized()?);
            let count = value.u16()?;
            let mut labels = Reader(value.sized()?);
            let labels = (0..count).map(|_| labels.u32()).collect::<Option<Vec<_>>>()?;
            let allowed = operator == spec::REPLACE
                && [spec::NUMERIC_PRIORITY, spec::WAVE_PRIORITY].contains(&attribute);
            allowed.then_some(PriorityList { attribute, labels })
        })
        .collect()
}

fn value<'a>(attributes: &[(u16, &'a [u8])], id: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(found, _)| *found == id).map(|(_, value)| *value)
}

/// Walks over bytes; `None` where they end too early.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Content after its length.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A list of AVAs.
    fn attributes(&mut self) -> Option<Vec<(u16, &'a [u8])>> {
        let count = self.u16()?;
        let mut items = Reader(self.sized()?);
        (0..count).map(|_| Some((items.u16()?, items.sized()?))).collect()
    }
}
