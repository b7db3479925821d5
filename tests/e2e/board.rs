//! Story: a nurse at the board, in a real browser.

use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use fantoccini::{Client, ClientBuilder, Locator, key::Key};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use simulators::county::{BrokerPlace, NURSE, free_port};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// The top alert that nobody has in hand.
const OPEN_ALERT: &str = "[data-alert-id][data-state='active_unack']";

/// Chromium's driver, killed when it goes out of scope.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromedriver; tests/run installs it")?;
        Ok(Self { process, port })
    }

    async fn browser(&self, profile: &Path) -> anyhow::Result<Client> {
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,900",
            "--lang=zh-CN",
            format!("--user-data-dir={}", profile.display())
        ]);
        let capabilities = json!({"goog:chromeOptions": {"args": arguments}});
        let capabilities = capabilities.as_object().cloned().unwrap_or_default();
        let url = format!("http://127.0.0.1:{}", self.port);
        until("chromedriver listens", Duration::from_secs(60), async || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok())
        })
        .await?;
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

async fn is_there(browser: &Client, css: &str) -> anyhow::Result<bool> {
    Ok(!browser.find_all(Locator::Css(css)).await?.is_empty())
}

async fn appears(browser: &Client, css: &str, limit: Duration) -> anyhow::Result<()> {
    until(css, limit, async || is_there(browser, css).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_sees_an_alert_acknowledges_it_and_never_sees_an_old_number() -> anyhow::Result<()>
{
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    let driver = Driver::start()?;
    let browser = driver.browser(&village.folder().join("browser")).await?;
    let told = at_the_board(&mut village, &browser).await;
    // The browser is closed whatever happened; what happened is told afterwards.
    let closed = browser.close().await;
    for performance in performances {
        performance.unplug().await?;
    }
    village.county.stop().await?;
    told?;
    closed.context("closing the browser")
}

async fn at_the_board(village: &mut Village, browser: &Client) -> anyhow::Result<()> {
    let limit = Duration::from_secs(60);
    browser.goto(&village.county.url()).await?;
    appears(browser, "#name", limit).await?;
    browser.find(Locator::Css("#name")).await?.send_keys(NURSE).await?;
    let password = browser.find(Locator::Css("#password")).await?;
    password.send_keys(village.county.password()).await?;
    password.send_keys(&Key::Enter.to_string()).await?;

    // Only what the county said counts as known.
    appears(browser, "[data-knowledge='known']", limit).await?;

    // An alert, with colour, glyph and word.
    appears(browser, OPEN_ALERT, limit).await?;
    let row = browser.find(Locator::Css(OPEN_ALERT)).await?;
    let id = row.attr("data-alert-id").await?.context("the row has no id")?;
    let text = row.text().await?;
    ensure!(
        ["高", "中", "低"].iter().any(|word| text.contains(word)),
        "no word for the priority: {text}"
    );
    ensure!(["▲!!!", "■!!", "●!"].iter().any(|glyph| text.contains(glyph)), "no glyph: {text}");

    // Acknowledged with a reason, and shown when the county has confirmed it.
    let own = format!("[data-alert-id='{id}']");
    browser.find(Locator::Css(&format!("{own} button.ack"))).await?.click().await?;
    let reason = format!("{own} [data-reason='at_bedside']");
    appears(browser, &reason, limit).await?;
    browser.find(Locator::Css(&reason)).await?.click().await?;
    appears(browser, &format!("{own}[data-state='active_ack'], {own}[data-state='closed']"), limit)
        .await?;
    let alert: serde_json::Value =
        village.county.client()?.get(&format!("/api/v1/alerts/{id}"), &[]).await?;
    let acknowledged = alert.get("acknowledged_by").zip(alert.get("reason"));
    ensure!(acknowledged.is_some_and(|(by, why)| by == NURSE && why == "at_bedside"), "{alert}");

    // A live number; then its box is gone, and the number leaves the page.
    let rate = "[data-device='heping-ecg-01'] [data-metric='hr']";
    appears(browser, &format!("{rate}[data-stale='fresh']"), limit).await?;
    let live = browser.find(Locator::Css(rate)).await?.text().await?;
    village.site.kill().await?;
    appears(browser, &format!("{rate}[data-stale='stale']"), limit).await?;
    let gone = browser.find(Locator::Css(rate)).await?.text().await?;
    ensure!(gone.contains("--"), "the old number is still there: {gone}");
    let live = live.lines().next().unwrap_or_default().to_owned();
    ensure!(!gone.lines().any(|line| line == live), "{live} is still in {gone}");
    // Nor does the page claim to know how a device is whose box is gone.
    appears(browser, "[data-device='heping-ecg-01'][data-cut]", limit).await?;
    Ok(())
}
