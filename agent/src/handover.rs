//! What a driver puts out, handed to the outbox and shown on the status board.

use crate::{
    clock::Clock,
    outbox::{Origin, Outbox, OutboxClosed},
    status::Board,
};
use drivers::output::Output;
use model::{
    device::{DeviceAction, DeviceKind, DeviceState, DeviceStatus},
    id::DeviceId,
    record::Record,
};
use std::{collections::BTreeMap, sync::Arc};

/// The way out of one driver.
pub(crate) struct Handover {
    /// Number of the link.
    pub(crate) link: usize,
    pub(crate) device: DeviceId,
    pub(crate) kind: DeviceKind,
    pub(crate) driver: &'static str,
    pub(crate) outbox: Outbox,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    /// How many records and cursors were handed over.
    pub(crate) count: u64,
}

impl Handover {
    /// Hands over what is not for the link.
    pub(crate) async fn keep<R>(&mut self, output: Output<R>) -> Result<(), OutboxClosed> {
        let device = &self.device;
        match output {
            Output::Send(_) => {}
            Output::Emit(record) => {
                if let Record::Action(DeviceAction { action, text, .. }) = &record {
                    tracing::info!(%device, action, text, "Something was done to a device.");
                }
                self.board.emitted(device, &record, self.clock.now());
                self.count += 1;
                self.outbox.enqueue(self.origin(), record).await?;
            }
            Output::Remember(cursor) => {
                self.count += 1;
                self.outbox.remember(self.origin(), device.clone(), cursor).await?;
            }
            Output::Note(note) => {
                self.board.noted(device, &note);
                match note.kind {
                    "refused" => {
                        tracing::warn!(%device, kind = note.kind, note.text, "A device refused.");
                    }
                    _ if note.is_failure() => {
                        tracing::warn!(%device, kind = note.kind, note.text, "A device was not understood.");
                    }
                    _ => {
                        tracing::warn!(%device, kind = note.kind, note.text, "A driver noticed something.");
                    }
                }
            }
        }
        Ok(())
    }

    /// How the device is doing, as the link sees it.
    pub(crate) async fn report(
        &mut self,
        state: DeviceState,
        reason: &str,
    ) -> Result<(), OutboxClosed> {
        let status = DeviceStatus {
            device: self.device.clone(),
            kind: self.kind,
            driver: self.driver.to_owned(),
            state,
            reason: reason.to_owned(),
            about: BTreeMap::new(),
            observed: self.clock.now().observed(),
        };
        self.keep(Output::<()>::Emit(Record::Status(status))).await
    }

    fn origin(&self) -> Origin {
        Origin { link: self.link, number: self.count }
    }
}
