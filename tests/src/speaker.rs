//! A device of the json-lines driver that says the same line twice a second.

use serde_json::json;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Between two lines.
const BEAT: Duration = Duration::from_millis(500);

/// Says its line to the agent that listens there, until it is dropped.
#[derive(Debug)]
pub struct Speaker {
    line: Arc<Mutex<String>>,
    _speaking: AbortOnDropHandle<()>,
}

impl Speaker {
    /// Says nothing yet.
    #[must_use]
    pub fn at(port: u16) -> Self {
        let line = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&line);
        let speaking = tokio::spawn(async move {
            let mut beat = tokio::time::interval(BEAT);
            let mut link: Option<TcpStream> = None;
            loop {
                beat.tick().await;
                if link.is_none() {
                    // The agent may be starting.
                    link = TcpStream::connect(("127.0.0.1", port)).await.ok();
                }
                let line = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(stream) = &mut link
                    && stream.write_all(line.as_bytes()).await.is_err()
                {
                    link = None;
                }
            }
        });
        Self { line, _speaking: AbortOnDropHandle::new(speaking) }
    }

    /// From now on it says this.
    pub fn says(&self, metric: &str, value: u32, unit: &str) {
        let line = json!({"metric": metric, "value": value, "unit": unit});
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = format!("{line}\n");
    }
}
