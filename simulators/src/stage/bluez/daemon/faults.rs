//! What goes wrong by the catalogue: links that are lost, a bluetoothd that ends, an adapter that goes.

use super::{ADAPTER, ADAPTER_IF, Daemon, Later, adapter};
use virtual_devices::gatt::faults::{AirFault, AirFaults, AirPlan, Due, Occasion};

/// What a value that was to be handed over comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// Nothing is wrong.
    Good,
    /// The link is gone, or bluetoothd itself.
    Cut,
}

impl Daemon {
    /// From now on things go wrong by that plan.
    pub(super) fn let_go_wrong(&mut self, plan: AirPlan) {
        for (place, peer) in (0..).zip(&mut self.peers) {
            peer.faults = Some(AirFaults::new(plan, place, peer.device.profile()));
        }
    }

    /// Whether that write is refused as if a procedure were under way.
    pub(super) fn is_busy(&self, place: usize, occasion: Occasion<'_>) -> bool {
        let peer = self.peers.get(place);
        peer.and_then(|peer| peer.faults.as_ref()).is_some_and(|faults| faults.is_busy(occasion))
    }

    /// Something happens on the link: perhaps a fault does, too.
    pub(super) async fn meet(
        &mut self,
        place: usize,
        occasion: Occasion<'_>,
    ) -> anyhow::Result<Fate> {
        let now = self.time.now();
        let Some(peer) = self.peers.get_mut(place) else { return Ok(Fate::Good) };
        let Some(due) = peer.faults.as_mut().and_then(|faults| faults.take(occasion)) else {
            return Ok(Fate::Good);
        };
        let Due { fault, away_ms, .. } = due;
        peer.device.note_fault(now, fault, away_ms);
        match (fault, away_ms) {
            (AirFault::Restart, Some(ms)) => {
                // What it has said is said; it says and hears nothing more.
                self.tell().await?;
                self.is_dying = Some(now.plus_millis(ms));
            }
            (AirFault::AdapterGone, Some(ms)) => self.lose_adapter(ms).await?,
            _ => self.link_down(place).await?,
        }
        Ok(Fate::Cut)
    }

    /// Somebody pulls the adapter out: links end, and all objects but the manager's go.
    async fn lose_adapter(&mut self, back_after_ms: u64) -> anyhow::Result<()> {
        for place in 0..self.peers.len() {
            self.link_down(place).await?;
        }
        for peer in &mut self.peers {
            peer.sessions.clear();
            peer.refuses = false;
        }
        self.clients.values_mut().for_each(|client| client.is_discovering = false);
        self.tree.remove(ADAPTER);
        (self.is_powered, self.is_powering) = (false, false);
        self.plan(back_after_ms, Later::AdapterBack);
        Ok(())
    }

    /// An adapter is there, as at the start.
    pub(super) fn show_adapter(&mut self) {
        (self.is_powered, self.is_powering) = (!self.is_nasty(), self.is_nasty());
        self.tree.add(ADAPTER, vec![(ADAPTER_IF, self.adapter_properties())]);
        if self.is_powering {
            self.plan(adapter::POWER_MS, Later::Powered);
        }
        for place in 0..self.peers.len() {
            if self.peers.get(place).is_some_and(|peer| peer.bonded) {
                self.show(place);
            }
        }
    }
}
