//! The retained state of a site: online or offline, and how much waits. Also the will.

use crate::{
    policy::HeldPolicy,
    wire::{self, DecodeError, field, number, text},
};
use ciborium::Value;
use model::{
    id::OutboxId,
    reading::shortened,
    time::{ClockQuality, Uptime, WallTime},
};

/// Far more than any state needs.
const STATE_LEN_MAX: usize = 2 * 1024;

/// What somebody has to look after at a box; what nobody knows, or an agent of before does not tell,
/// is `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Upkeep {
    /// How much of the disk of its outbox is free, in percent, rounded down.
    pub free_pct: Option<u8>,
    /// Until when its certificate is valid. The day, not how many are left: the clock of a box may
    /// be anything.
    pub certificate_until: Option<WallTime>,
}

/// State of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SiteState {
    /// Whether the agent is connected.
    pub online: bool,
    /// Counts connections; the county ignores an older one.
    pub connection: u64,
    /// Version of the agent.
    pub agent_version: String,
    /// Its outbox.
    pub outbox: OutboxId,
    /// Envelopes not acked: urgent, trend, wave.
    pub backlog: [u64; 3],
    /// How many seconds more the outbox holds at the rate of the last day, where that is known.
    pub holds_s: Option<u64>,
    /// How far the edge's clock can be trusted.
    pub clock: ClockQuality,
    /// Why it is trusted so.
    pub clock_evidence: String,
    /// The agent's clock when it wrote this.
    pub at: WallTime,
    /// How long the box had been running then.
    pub uptime: Option<Uptime>,
    /// What it goes by; not told by an agent of before.
    pub policy: Option<HeldPolicy>,
    /// What somebody has to look after.
    pub upkeep: Upkeep,
}

impl SiteState {
    /// The state's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let holds = self.holds_s.map_or(Value::Null, number);
        let mut map = wire::map([
            ("v", number(1)),
            ("on", Value::Bool(self.online)),
            ("c", number(self.connection)),
            ("av", text(&self.agent_version)),
            ("o", Value::Bytes(self.outbox.as_bytes().to_vec())),
            ("b", Value::Array(self.backlog.into_iter().map(number).collect())),
            ("h", holds),
            ("q", text(self.clock.name())),
            ("e", text(&self.clock_evidence)),
            ("t", number(self.at.unix_ms())),
        ]);
        if let Some(parts) = map.as_map_mut() {
            parts.extend(self.uptime.map(|uptime| (text("k"), wire::uptime(uptime))));
            parts.extend(self.policy.as_ref().map(|held| (text("p"), held.value())));
            let Upkeep { free_pct, certificate_until } = self.upkeep;
            parts.extend(free_pct.map(|pct| (text("f"), number(pct))));
            parts.extend(certificate_until.map(|until| (text("x"), number(until.unix_ms()))));
        }
        wire::to_bytes(&map)
    }

    /// Reads a state back.
    ///
    /// # Errors
    /// When the bytes are no state of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let map = wire::from_bytes(bytes, STATE_LEN_MAX)?;
        if wire::int(field(&map, "v")?) != Some(1_u8) {
            return Err(DecodeError::Shape("v"));
        }
        let quality = field(&map, "q")?.as_text();
        let quality = ClockQuality::ALL.into_iter().find(|known| Some(known.name()) == quality);
        let evidence = field(&map, "e").ok().and_then(Value::as_text).unwrap_or_default();
        let backlog = field(&map, "b")?.as_array().map(Vec::as_slice);
        let Some([urgent, trend, wave]) = backlog else { return Err(DecodeError::Shape("b")) };
        let count = |value| wire::int(value).ok_or(DecodeError::Shape("b"));
        let outbox =
            field(&map, "o")?.as_bytes().and_then(|bytes| bytes.as_slice().try_into().ok());
        Ok(Self {
            online: field(&map, "on")?.as_bool().ok_or(DecodeError::Shape("on"))?,
            connection: wire::int(field(&map, "c")?).ok_or(DecodeError::Shape("c"))?,
            agent_version: shortened(field(&map, "av")?.as_text().ok_or(DecodeError::Shape("av"))?),
            outbox: OutboxId::from_bytes(outbox.ok_or(DecodeError::Shape("o"))?),
            backlog: [count(urgent)?, count(trend)?, count(wave)?],
            // Not told by an agent of before.
            holds_s: field(&map, "h").ok().and_then(wire::int),
            clock: quality.ok_or(DecodeError::Shape("q"))?,
            clock_evidence: shortened(evidence),
            at: WallTime::from_unix_ms(
                wire::int(field(&map, "t")?).ok_or(DecodeError::Shape("t"))?,
            ),
            uptime: wire::read_uptime(&map)?,
            policy: field(&map, "p").ok().and_then(HeldPolicy::read),
            upkeep: Upkeep {
                free_pct: field(&map, "f").ok().and_then(wire::int).filter(|pct| *pct <= 100),
                certificate_until: field(&map, "x")
                    .ok()
                    .and_then(wire::int)
                    .map(WallTime::from_unix_ms),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let state = SiteState {
            online: true,
            connection: 12,
            agent_version: "0.1.0".into(),
            outbox: OutboxId::from_bytes([3; 16]),
            backlog: [0, 5, 100_000],
            holds_s: Some(800_000),
            clock: ClockQuality::HoldingOver,
            clock_evidence: "the network set it yesterday".into(),
            at: WallTime::from_unix_ms(1_795_335_300_000),
            uptime: Some(Uptime { boot: u32::MAX, ms: 86_400_000 }),
            policy: Some(HeldPolicy {
                version: 1_795_335_300_000,
                rules: Some([7; 32]),
                refused: "the policy is for the site other".into(),
            }),
            upkeep: Upkeep {
                free_pct: Some(9),
                certificate_until: Some(WallTime::from_unix_ms(1_866_585_600_000)),
            },
        };
        assert_eq!(SiteState::decode(&state.encode()), Ok(state.clone()));
        assert!(SiteState::decode(b"online").is_err());

        // An agent of before tells nothing to look after, and what cannot be is nothing.
        for (told, free_pct) in
            [(Upkeep::default(), None), (with_pct(100), Some(100)), (with_pct(101), None)]
        {
            let state = SiteState { upkeep: told, ..state.clone() };
            assert_eq!(SiteState::decode(&state.encode()).unwrap().upkeep.free_pct, free_pct);
        }
    }

    fn with_pct(pct: u8) -> Upkeep {
        Upkeep { free_pct: Some(pct), certificate_until: None }
    }
}
