//! Story: a nurse at the board, in a real browser.

mod browser;

use anyhow::{Context as _, ensure};
use browser::Driver;
use e2e::{Village, until};
use fantoccini::{Client, Locator, key::Key};
use serde_json::json;
use simulators::county::{BrokerPlace, NURSE};
use std::{path::Path, time::Duration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// The top alert that nobody has in hand.
const OPEN_ALERT: &str = "[data-alert-id][data-state='active_unack']";

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
    let driver = Driver::start().await?;
    let profile = village.folder().join("browser");
    let arguments = ["--window-size=1400,900", "--lang=zh-CN"];
    let browser = driver.browser(&profile, &arguments, json!({})).await?;
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

    check_4_time_to_screen(browser).await?;
    appears(browser, OPEN_ALERT, limit).await?;
    let row = browser.find(Locator::Css(OPEN_ALERT)).await?;
    let id = row.attr("data-alert-id").await?.context("the row has no id")?;

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

/// Check 4 of the nurse board's chapter 10: what a device says becomes a row, with glyph and word.
/// The times are the benchmark's, `gateway/board/tests/bench/live.mjs`.
async fn check_4_time_to_screen(browser: &Client) -> anyhow::Result<()> {
    let css = "[data-alert-id][data-device^='heping-pump-01'][data-priority='high']";
    appears(browser, css, Duration::from_secs(120)).await?;
    let text = browser.find(Locator::Css(css)).await?.text().await?;
    for part in ["▲!!!", "高", "管路阻塞"] {
        ensure!(text.contains(part), "the occlusion is a row without {part}: {text}");
    }
    Ok(())
}
