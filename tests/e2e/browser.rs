//! Chromium without a screen, for the stories that look at a page.

use anyhow::Context as _;
use e2e::until;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use simulators::county::free_port;
use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A driver that is being started listens within this, on a loaded machine.
const STARTS_MAX: Duration = Duration::from_secs(60);

/// Chromium's driver, killed when it goes out of scope.
pub(crate) struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromedriver; tests/run installs it")?;
        let driver = Self { process, port };
        until("chromedriver listens", STARTS_MAX, async || {
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
        .await?;
        Ok(driver)
    }

    /// A browser with a profile of its own, with those arguments beside the usual ones; `options`
    /// are further ones of Chromium's driver.
    pub(crate) async fn browser(
        &self,
        profile: &Path,
        arguments: &[&str],
        mut options: Value,
    ) -> anyhow::Result<Client> {
        let usual = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let profile = format!("--user-data-dir={}", profile.display());
        let all: Vec<&str> = usual.iter().chain(arguments).copied().chain([&*profile]).collect();
        let members = options.as_object_mut().context("options are an object")?;
        members.insert("args".to_owned(), json!(all));
        let capabilities = json!({"goog:chromeOptions": options});
        let capabilities = capabilities.as_object().cloned().unwrap_or_default();
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities).connect(&url).await.context("starting the browser")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
