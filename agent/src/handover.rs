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
    /// How often it speaks, where that is configured: every status says so.
    pub(crate) expected_interval_ms: Option<u32>,
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
            Output::Emit(mut record) => {
                if let Record::Status(status) = &mut record {
                    status.expected_interval_ms = self.expected_interval_ms;
                }
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
            expected_interval_ms: self.expected_interval_ms,
            observed: self.clock.now().observed(),
        };
        self.keep(Output::<()>::Emit(Record::Status(status))).await
    }

    fn origin(&self) -> Origin {
        Origin { link: self.link, number: self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        outbox::{OutboxSettings, Reader},
    };
    use model::id::{Lane, Seq};
    use std::{path::Path, time::Duration};
    use uplink_proto::envelope::Envelope;

    const CONFIG: &str = "site = \"heping-01\"\ndata_dir = \"data\"\n[uplink]\n\
        broker = \"localhost:1\"\nca = \"ca.crt\"\ncert = \"c\"\nkey = \"k\"\n";

    #[tokio::test]
    async fn every_status_says_how_often_the_device_is_expected_to_speak() {
        let folder = tempfile::tempdir().unwrap();
        let config = config::parse(CONFIG, Path::new("")).unwrap();
        let (clock, path) = (Clock::start(), folder.path().join("outbox.sqlite"));
        let settings = OutboxSettings {
            path: path.clone(),
            commit_after: Duration::from_millis(1),
            max_bytes: 1 << 20,
            time_zone: config.time_zone.clone(),
        };
        let (outbox, mut thread, _news) = Outbox::start(settings, clock).unwrap();
        let mut handover = Handover {
            link: 0,
            device: DeviceId::new("ecg-01").unwrap(),
            kind: DeviceKind::Monitor,
            driver: "json-lines",
            expected_interval_ms: Some(12_000),
            outbox,
            board: Arc::new(Board::new(&config)),
            clock,
            count: 0,
        };
        handover.report(DeviceState::LinkDown, "unplugged").await.unwrap();
        // What the driver says itself.
        let status = DeviceStatus {
            device: handover.device.clone(),
            kind: DeviceKind::Monitor,
            driver: "json-lines".into(),
            state: DeviceState::Online,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: None,
            observed: clock.now().observed(),
        };
        handover.keep(Output::<()>::Emit(Record::Status(status))).await.unwrap();
        drop(handover);
        assert!(thread.close(Duration::from_secs(60)).await);
        let reader = Reader::open(&path).unwrap();
        let rows =
            (1..3).filter_map(|seq| reader.row(Lane::Urgent, Seq::new(seq).unwrap()).unwrap());
        let said: Vec<_> = rows
            .flat_map(|bytes| Envelope::decode(&bytes).unwrap().envelope.records)
            .map(|record| match record {
                Record::Status(status) => status.expected_interval_ms,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, [Some(12_000); 2]);
    }
}
