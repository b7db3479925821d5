//! What a box goes by: rules, bindings, how to signal. Signed by the county, told on the site's
//! config topic.
//!
//! Not here: keys and certificates (agent and gateway have them), what bindings mean (`rules`).
//!
//! # Invariants
//! - signature and hash are over bytes as they came, never over a re-encoding
//! - a box takes nothing for another site and nothing older than what it goes by
//! - the rule set travels beside the policy that names its hash, and only to a box without it

use crate::wire::{self, DecodeError, field, number, text};
use ciborium::Value;
use model::{
    alarm::Priority,
    alert::{Acknowledged, InHand, Shelved},
    id::SiteId,
    reading::shortened,
    time::WallTime,
};
use thiserror::Error;

/// Longest signed policy on the wire. A broker delivers it with every connection.
pub const POLICY_LEN_MAX: usize = 64 * 1024;
/// Longest rule set that boxes are told. With its envelope it fits the packet of 256 KiB that both
/// ends allow; the default set has 70 kB.
pub const RULES_LEN_MAX: usize = 192 * 1024;
/// What is around a rule set.
const RULES_HEAD_LEN: usize = 64;
/// A certificate of the county's CA has some 500 bytes.
const CERTIFICATE_LEN_MAX: usize = 4096;
/// Ed25519 (RFC 8032, section 5.1.6).
const SIGNATURE_LEN: usize = 64;
/// Alerts in hand that a box is told of, 3.3 kB. Those of a ward that has more sound again
/// when its link fails.
pub const IN_HAND_MAX: usize = 64;
/// Version of these messages.
const VERSION: u8 = 1;

/// SHA-256 of a rule set's text.
pub type RulesHash = [u8; 32];

/// A message on the config topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicyMessage {
    /// What to go by; retained.
    Signed(SignedPolicy),
    /// The text of the rule set whose hash a policy names.
    Rules(Vec<u8>),
}

/// A policy as it was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedPolicy {
    /// Of the key that signed it, as DER: the box trusts its issuer already.
    pub certificate: Vec<u8>,
    /// Ed25519, over the payload's bytes.
    pub signature: Vec<u8>,
    /// A [`Policy`].
    pub payload: Vec<u8>,
}

/// What a box goes by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The box.
    pub site: SiteId,
    /// Strictly increasing for each site.
    pub version: u64,
    /// County clock when it was made.
    pub made_at: WallTime,
    /// Number of the rule set.
    pub rule_set: u64,
    /// Hash of its text.
    pub rules: RulesHash,
    /// The binding list, as JSON of `rules`.
    pub bindings: String,
    /// What rules have to know of bound patients, as JSON of `rules`.
    pub patients: String,
    /// Whether the box signals by itself while the county is out of reach.
    pub signals: bool,
    /// Alerts of this site that somebody at the county has in hand, at most [`IN_HAND_MAX`]; a
    /// county of before tells none.
    pub in_hand: Vec<InHand>,
}

/// What a box says of its policy in its state.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeldPolicy {
    /// Version that it goes by; 0 for none.
    pub version: u64,
    /// Hash of the rule set that it has.
    pub rules: Option<RulesHash>,
    /// Why it refused the last one that it did not take; empty if it did.
    pub refused: String,
}

/// Why a policy is not for this box.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PolicyError {
    /// It is no message of version 1.
    #[error("a policy is not understood; install the newer agent")]
    Decode(#[from] DecodeError),
    /// It is of another site.
    #[error("the policy is for the site {0}; the county has to look at who publishes there")]
    OtherSite(SiteId),
    /// A newer one is in force: an old message was played again.
    #[error("the policy {told} is older than {held}, which this box goes by")]
    Older {
        /// Version in force.
        held: u64,
        /// Version told.
        told: u64,
    },
    /// Two policies with one number.
    #[error("another policy has the number {0} already; the county has to give it a new one")]
    SameNumber(u64),
}

impl PolicyMessage {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts = match self {
            Self::Signed(signed) => vec![
                ("c", Value::Bytes(signed.certificate.clone())),
                ("s", Value::Bytes(signed.signature.clone())),
                ("p", Value::Bytes(signed.payload.clone())),
            ],
            Self::Rules(text) => vec![("r", Value::Bytes(text.clone()))],
        };
        wire::to_bytes(&wire::map([("v", number(VERSION))].into_iter().chain(parts)))
    }

    /// Reads a message back.
    ///
    /// # Errors
    /// When the bytes are too many, or no message of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let map = version_1(bytes, RULES_LEN_MAX + RULES_HEAD_LEN)?;
        if let Ok(text) = field(&map, "r") {
            return Ok(Self::Rules(bytes_of(text, "r", RULES_LEN_MAX)?));
        }
        if bytes.len() > POLICY_LEN_MAX {
            return Err(DecodeError::TooLong { len: bytes.len(), max: POLICY_LEN_MAX }.into());
        }
        let signature = bytes_of(field(&map, "s")?, "s", SIGNATURE_LEN)?;
        if signature.len() != SIGNATURE_LEN {
            return Err(DecodeError::Shape("s").into());
        }
        Ok(Self::Signed(SignedPolicy {
            certificate: bytes_of(field(&map, "c")?, "c", CERTIFICATE_LEN_MAX)?,
            signature,
            payload: bytes_of(field(&map, "p")?, "p", POLICY_LEN_MAX)?,
        }))
    }
}

impl Policy {
    /// The payload that is signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::to_bytes(&wire::map([
            ("v", number(VERSION)),
            ("site", text(self.site.as_str())),
            ("n", number(self.version)),
            ("t", number(self.made_at.unix_ms())),
            ("rn", number(self.rule_set)),
            ("rh", Value::Bytes(self.rules.to_vec())),
            ("b", text(&self.bindings)),
            ("u", text(&self.patients)),
            ("s", Value::Bool(self.signals)),
            ("a", Value::Array(self.in_hand.iter().take(IN_HAND_MAX).map(in_hand).collect())),
        ]))
    }

    /// Reads a payload back.
    ///
    /// # Errors
    /// When the bytes are no policy of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        let map = version_1(bytes, POLICY_LEN_MAX)?;
        let int = |key| wire::int(field(&map, key)?).ok_or(DecodeError::Shape(key));
        let said = |key| field(&map, key)?.as_text().ok_or(DecodeError::Shape(key));
        Ok(Self {
            site: SiteId::new(said("site")?).map_err(|_| DecodeError::Shape("site"))?,
            version: int("n")?,
            made_at: WallTime::from_unix_ms(
                wire::int(field(&map, "t")?).ok_or(DecodeError::Shape("t"))?,
            ),
            rule_set: int("rn")?,
            rules: hash_of(field(&map, "rh")?).ok_or(DecodeError::Shape("rh"))?,
            bindings: said("b")?.to_owned(),
            patients: said("u")?.to_owned(),
            signals: field(&map, "s")?.as_bool().ok_or(DecodeError::Shape("s"))?,
            in_hand: field(&map, "a").ok().map(read_in_hand).unwrap_or_default(),
        })
    }

    /// Whether a box that goes by `held` has to take this one; `false` for the very same.
    ///
    /// # Errors
    /// When it is not for this box.
    pub fn is_news(&self, site: &SiteId, held: Option<&Self>) -> Result<bool, PolicyError> {
        if self.site != *site {
            return Err(PolicyError::OtherSite(self.site.clone()));
        }
        let Some(held) = held else { return Ok(true) };
        match self.version.cmp(&held.version) {
            std::cmp::Ordering::Greater => Ok(true),
            std::cmp::Ordering::Equal if self == held => Ok(false),
            std::cmp::Ordering::Equal => Err(PolicyError::SameNumber(held.version)),
            std::cmp::Ordering::Less => {
                Err(PolicyError::Older { held: held.version, told: self.version })
            }
        }
    }
}

impl HeldPolicy {
    pub(crate) fn value(&self) -> Value {
        let rules = self.rules.map_or(Value::Null, |hash| Value::Bytes(hash.to_vec()));
        Value::Array(vec![number(self.version), rules, text(&self.refused)])
    }

    pub(crate) fn read(value: &Value) -> Option<Self> {
        let mut at = wire::Positions::of(value)?;
        Some(Self {
            version: at.int()?,
            rules: match at.next()? {
                Value::Null => None,
                hash => Some(hash_of(hash)?),
            },
            refused: shortened(at.text()?),
        })
    }
}

fn in_hand(alert: &InHand) -> Value {
    let acknowledged = alert.acknowledged.as_ref().map_or(Value::Null, |said| {
        Value::Array(vec![text(&said.by), text(&said.reason), number(said.at.unix_ms())])
    });
    let shelved = alert.shelved.as_ref().map_or(Value::Null, |said| {
        Value::Array(vec![text(&said.by), number(said.until.unix_ms())])
    });
    let (id, priority) = (Value::Bytes(alert.id.to_vec()), text(alert.priority.name()));
    Value::Array(vec![id, priority, number(alert.recurrences), acknowledged, shelved])
}

/// What is not understood is left out: the box calls for it.
fn read_in_hand(list: &Value) -> Vec<InHand> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|value| {
        let mut at = wire::Positions::of(value)?;
        Some(InHand {
            id: at.next()?.as_bytes()?.as_slice().try_into().ok()?,
            priority: Priority::from_name(at.text()?)?,
            recurrences: at.int()?,
            acknowledged: told(at.next()?, |mut at| {
                let (by, reason) = (shortened(at.text()?), at.text()?.to_owned());
                Some(Acknowledged { by, reason, at: WallTime::from_unix_ms(at.int()?) })
            })?,
            shelved: told(at.next()?, |mut at| {
                let by = shortened(at.text()?);
                Some(Shelved { by, until: WallTime::from_unix_ms(at.int()?) })
            })?,
        })
    })
    .take(IN_HAND_MAX)
    .collect()
}

/// A part that may be null.
fn told<T>(value: &Value, read: impl Fn(wire::Positions<'_>) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        value => wire::Positions::of(value).and_then(read).map(Some),
    }
}

fn version_1(bytes: &[u8], len_max: usize) -> Result<Value, DecodeError> {
    let map = wire::from_bytes(bytes, len_max)?;
    match wire::int(field(&map, "v")?) {
        Some(VERSION) => Ok(map),
        _ => Err(DecodeError::Shape("v")),
    }
}

fn bytes_of(value: &Value, key: &'static str, max: usize) -> Result<Vec<u8>, DecodeError> {
    let bytes = value.as_bytes().ok_or(DecodeError::Shape(key))?;
    match bytes.len() {
        len if len > max => Err(DecodeError::TooLong { len, max }),
        _ => Ok(bytes.clone()),
    }
}

fn hash_of(value: &Value) -> Option<RulesHash> {
    value.as_bytes()?.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const SCHEMA: &str = include_str!("../schema/uplink-v1.cddl");

    fn policy() -> Policy {
        Policy {
            site: SiteId::new("heping-01").unwrap(),
            version: 1_795_335_300_000,
            made_at: WallTime::from_unix_ms(1_795_335_300_000),
            rule_set: 3,
            rules: [7; 32],
            bindings: r#"{"version":12,"bindings":[]}"#.into(),
            patients: "{}".into(),
            signals: true,
            in_hand: vec![
                InHand {
                    id: [1; 16],
                    priority: Priority::High,
                    recurrences: 2,
                    acknowledged: Some(Acknowledged {
                        by: "wang".into(),
                        reason: "at_bedside".into(),
                        at: WallTime::from_unix_ms(1_795_335_290_000),
                    }),
                    shelved: None,
                },
                InHand {
                    id: [2; 16],
                    priority: Priority::Low,
                    recurrences: 0,
                    acknowledged: None,
                    shelved: Some(Shelved {
                        by: "li".into(),
                        until: WallTime::from_unix_ms(1_795_335_890_000),
                    }),
                },
            ],
        }
    }

    /// A policy with another field "a", or none.
    fn with_in_hand(in_hand: Option<Value>) -> Vec<u8> {
        let mut map = wire::from_bytes(&policy().encode(), POLICY_LEN_MAX).unwrap();
        let parts = map.as_map_mut().unwrap();
        parts.retain(|(key, _)| *key != text("a"));
        parts.extend(in_hand.map(|list| (text("a"), list)));
        wire::to_bytes(&map)
    }

    #[test]
    fn a_county_of_before_has_nothing_in_hand_and_of_a_later_one_what_is_understood_counts() {
        let none = Policy { in_hand: Vec::new(), ..policy() };
        assert_eq!(Policy::decode(&with_in_hand(None)), Ok(none.clone()));
        cddl_cat::validate_cbor_bytes("policy", SCHEMA, &with_in_hand(None)).unwrap();
        assert_eq!(Policy::decode(&with_in_hand(Some(Value::Null))), Ok(none));

        let known = in_hand(&policy().in_hand[0]);
        let mut longer = known.clone();
        longer.as_array_mut().unwrap().push(text("of the future"));
        let mut dire = known;
        dire.as_array_mut().unwrap()[1] = text("dire");
        let bytes = with_in_hand(Some(Value::Array(vec![text("what?"), dire, longer])));
        assert_eq!(Policy::decode(&bytes).unwrap().in_hand, policy().in_hand[..1]);
    }

    #[test]
    fn a_box_is_told_of_64_alerts_in_hand_at_most_of_51_bytes_each() {
        let many = vec![policy().in_hand[0].clone(); IN_HAND_MAX + 1];
        let bytes = Policy { in_hand: many.clone(), ..policy() }.encode();
        assert_eq!(Policy::decode(&bytes).unwrap().in_hand, many[1..]);
        let list = Value::Array(many.iter().map(in_hand).collect());
        assert_eq!(Policy::decode(&with_in_hand(Some(list))).unwrap().in_hand, many[1..]);
        let none = Policy { in_hand: Vec::new(), ..policy() }.encode();
        assert_eq!((bytes.len() - none.len()) / IN_HAND_MAX, 51);
    }

    fn signed() -> PolicyMessage {
        PolicyMessage::Signed(SignedPolicy {
            certificate: vec![0x30; 500],
            signature: vec![9; SIGNATURE_LEN],
            payload: policy().encode(),
        })
    }

    #[test]
    fn what_is_told_comes_back_as_it_was_and_matches_the_schema() {
        assert_eq!(Policy::decode(&policy().encode()), Ok(policy()));
        cddl_cat::validate_cbor_bytes("policy", SCHEMA, &policy().encode()).unwrap();
        for message in [signed(), PolicyMessage::Rules(b"{}".to_vec())] {
            let bytes = message.encode();
            cddl_cat::validate_cbor_bytes("policy-message", SCHEMA, &bytes).unwrap();
            assert_eq!(PolicyMessage::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_box_takes_what_is_its_own_and_newer() {
        let (own, held) = (policy().site, policy());
        let newer = Policy { version: held.version + 1, ..policy() };
        assert_eq!(newer.is_news(&own, None), Ok(true));
        assert_eq!(newer.is_news(&own, Some(&held)), Ok(true));
        assert_eq!(held.is_news(&own, Some(&held)), Ok(false));
        let older = PolicyError::Older { held: newer.version, told: held.version };
        assert_eq!(held.is_news(&own, Some(&newer)), Err(older));
        let altered = Policy { signals: false, ..policy() };
        assert_eq!(altered.is_news(&own, Some(&held)), Err(PolicyError::SameNumber(held.version)));
        let other = SiteId::new("other").unwrap();
        assert_eq!(newer.is_news(&other, None), Err(PolicyError::OtherSite(own)));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let long = PolicyMessage::Rules(vec![b' '; RULES_LEN_MAX]);
        assert_eq!(PolicyMessage::decode(&long.encode()), Ok(long));
        let longer = PolicyMessage::Rules(vec![b' '; RULES_LEN_MAX + 1]);
        assert!(PolicyMessage::decode(&longer.encode()).is_err());
        let payload = Policy { bindings: "x".repeat(POLICY_LEN_MAX), ..policy() }.encode();
        let (certificate, signature) = (Vec::new(), vec![0; SIGNATURE_LEN]);
        let message = SignedPolicy { certificate, signature, payload };
        let bytes = PolicyMessage::Signed(message).encode();
        assert!(matches!(PolicyMessage::decode(&bytes), Err(PolicyError::Decode(_))));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
            prop_assert!(PolicyMessage::decode(&bytes).is_err());
            prop_assert!(Policy::decode(&bytes).is_err());
        }

        #[test]
        fn a_damaged_message_never_panics(
            place in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            for mut bytes in [signed().encode(), policy().encode()] {
                let place = place.index(bytes.len());
                bytes[place] = byte;
                drop(PolicyMessage::decode(&bytes));
                drop(Policy::decode(&bytes));
            }
        }
    }
}
