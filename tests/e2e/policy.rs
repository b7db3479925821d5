//! Story: a box goes by the rules that the county approved and signed, also when its power was cut
//! while it stored them.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use simulators::{
    county::BrokerPlace,
    process::{Program, Role},
};
use std::{
    ffi::OsStr,
    fs,
    path::Path,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const RULES: &str = include_str!("../../configs/rules/default.json");
const LIMIT: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse";

#[tokio::test(flavor = "multi_thread")]
async fn a_box_goes_by_the_rules_that_the_county_approved_last() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    goes_by(&village.site.config(), 1).await?;

    let password = village.folder().join("password");
    fs::write(&password, PASSWORD)?;
    let file = password.display().to_string();
    for name in ["zhang", "li"] {
        let words =
            ["user", "add", name, "--role", "doctor", "--own-password", "--password-file", &file];
        village.county.command(&words).await?;
    }
    let ours = RULES.replacen("\"version\": \"", "\"version\": \"county-", 1);
    let url = village.county.url();
    let (status, draft) = ask(&url, "zhang", Method::PUT, "rules", &ours).await?;
    ensure!(status == StatusCode::CREATED && draft["version"] == 2, "{status} {draft}");
    let approve = "rules/2/approve";
    let (status, own) = ask(&url, "zhang", Method::POST, approve, "").await?;
    ensure!(status == StatusCode::CONFLICT, "{status} {own}");
    let since = Instant::now();
    let (status, live) = ask(&url, "li", Method::POST, approve, "").await?;
    ensure!(status == StatusCode::OK && live["live"] == true, "{status} {live}");
    goes_by(&village.site.config(), 2).await?;
    println!("approved rules are at the box after {:?}", since.elapsed());

    // The power goes while the new ones are written, and the county is out of reach.
    village.site.kill().await?;
    village.county.stop().await?;
    let current = village.site.data().join("policy/current");
    let whole = fs::read(&current).context("what the box has stored")?;
    fs::write(&current, whole.split_at(whole.len() / 2).0)?;
    village.site.start()?;
    goes_by(&village.site.config(), 1).await?;
    village.county.start().await?;
    goes_by(&village.site.config(), 2).await?;
    ensure!(fs::read(&current)? == whole, "what came again is what was there before");

    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await?;
    village.county.stop().await
}

/// Waits until the box says that it goes by that rule set.
async fn goes_by(config: &Path, rule_set: u64) -> anyhow::Result<()> {
    let program = Program::at(Path::new(PROGRAM));
    let words =
        [OsStr::new("status"), OsStr::new("--json"), OsStr::new("--config"), config.as_os_str()];
    until("the box goes by its rules", LIMIT, async || {
        // It may just be starting.
        let Ok(told) = program.run(Role::Agent, &words).await else { return Ok(false) };
        let told: Value = serde_json::from_str(&told).context("the status")?;
        let policy = |what| told.pointer(&format!("/policy/{what}"));
        ensure!(policy("refused") == Some(&"".into()), "{told}");
        Ok(policy("rule_set") == Some(&rule_set.into()))
    })
    .await
}

/// What the API answers somebody who has logged in.
async fn ask(
    url: &str,
    who: &str,
    method: Method,
    path: &str,
    body: &str,
) -> anyhow::Result<(StatusCode, Value)> {
    // An error means that somebody was first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = Client::builder().no_proxy().build()?;
    let log_in = json!({"name": who, "password": PASSWORD});
    let session = client.post(format!("{url}/api/v1/session")).json(&log_in).send().await?;
    let cookie = session.headers().get(header::SET_COOKIE).context("no session")?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
    let asked = client
        .request(method, format!("{url}/api/v1/{path}"))
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_owned());
    let answer = asked.send().await?;
    Ok((answer.status(), answer.json().await.unwrap_or_default()))
}
