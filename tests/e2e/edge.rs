//! Story: the county is out of reach; the box warns by itself and not of what the county has in hand,
//! somebody there has it in hand, and when the link is back it is one alert.
//!
//! `SHOTS=folder` keeps what the page looked like.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

mod browser;

use anyhow::{Context as _, ensure};
use browser::Driver;
use e2e::{
    Village,
    mosquitto::Mosquitto,
    proxy::{Fate, Proxy},
    read_only,
    speaker::Speaker,
    until,
};
use fantoccini::{Client, Locator};
use model::{id::SiteId, time::WallTime};
use reqwest::header;
use rules::alert::AlertId;
use serde_json::{Value, json};
use simulators::county::{BrokerPlace, free_port};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const PATIENCE: Duration = Duration::from_secs(90);
/// A lost connection counts after 10 s, a heart rate below 40 after 10 s; and a loaded machine.
const WARNS_MAX: Duration = Duration::from_secs(30);
const GOOD: u32 = 72;
const PASSWORD: &str = "correct horse";
const BAD: u32 = 38;

/// A clinic with two monitors and a lamp, behind a link.
struct Stage {
    village: Village,
    proxy: Proxy,
    _mosquitto: Mosquitto,
    monitors: Vec<Speaker>,
    lamp: PathBuf,
}

impl Stage {
    async fn set() -> anyhow::Result<Self> {
        let port = free_port()?;
        let broker = format!("localhost:{port}");
        let place = BrokerPlace::Outside(broker.clone());
        let mut village = Village::prepare_with(Path::new(PROGRAM), place, Vec::new()).await?;
        let proxy = Proxy::to(&broker)?;
        village.site.reach_broker_at(&format!("localhost:{}", proxy.port()))?;
        let lamp = village.folder().join("lamp.jsonl");
        let script = village.folder().join("lamp");
        fs::write(&script, "#!/bin/sh\ncat >> \"$1\"\necho >> \"$1\"\n")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let mut config = fs::OpenOptions::new().append(true).open(village.site.config())?;
        writeln!(config, "\n[alerts]\nhook = [\"{}\", \"{}\"]", script.display(), lamp.display())?;
        let mut ports = Vec::new();
        for number in 1..=2 {
            let port = free_port()?;
            writeln!(
                config,
                "\n[[device]]\nid = \"ward-0{number}\"\ndriver = \"json-lines\"\n\
                 port = \"tcp-listen://127.0.0.1:{port}\"\noptions = {{ kind = \"monitor\" }}"
            )?;
            ports.push(port);
        }
        let mut mosquitto = Mosquitto::install(&village.county.pki(), port)?;
        mosquitto.start()?;
        village.county.start().await?;
        village.site.start()?;
        let monitors: Vec<Speaker> = ports.into_iter().map(Speaker::at).collect();
        monitors.iter().for_each(|monitor| monitor.says("hr", GOOD, "/min"));
        Ok(Self { village, proxy, _mosquitto: mosquitto, monitors, lamp })
    }

    fn monitor(&self, number: usize) -> anyhow::Result<&Speaker> {
        self.monitors.get(number - 1).context("there are two")
    }

    /// What `clinic-agent status --json` says.
    async fn status(&self) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(self.village.site.data().join("agent.sock")).await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn signals(&self) -> anyhow::Result<bool> {
        let status = self.status().await?;
        status.pointer("/alerts/signals").and_then(Value::as_bool).context("no signals")
    }

    /// The alert of a device at the box: its id and its state.
    async fn alert_of(&self, device: &str) -> anyhow::Result<Option<(String, String)>> {
        let status = self.status().await?;
        let open = status.pointer("/alerts/open").and_then(Value::as_array);
        let own = open.into_iter().flatten().find(|alert| {
            alert.get("device").is_some_and(|own| own == device)
                && alert.get("family").is_some_and(|family| family == "hr_low")
        });
        let text = |alert: &Value, name| alert.get(name)?.as_str().map(str::to_owned);
        Ok(own.and_then(|alert| text(alert, "id").zip(text(alert, "state"))))
    }

    async fn waits_for(&self, device: &str, state: &str) -> anyhow::Result<String> {
        let what = format!("{device} is {state} at the box");
        until(&what, PATIENCE, async || {
            Ok(self.alert_of(device).await?.is_some_and(|(_, found)| found == state))
        })
        .await?;
        let (id, _) = self.alert_of(device).await?.context("it is gone")?;
        Ok(id)
    }

    /// What the lamp was told about a device.
    fn lamp_heard(&self, device: &str) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(&self.lamp).unwrap_or_default();
        let mut heard = Vec::new();
        for line in text.lines() {
            let call: Value = serde_json::from_str(line).context("the lamp's line")?;
            if call.pointer("/alert/device").is_some_and(|own| own == device) {
                let what = call.get("what").and_then(Value::as_str).context("what?")?;
                heard.push(what.to_owned());
            }
        }
        Ok(heard)
    }

    /// How many alerts signalled at each call of the lamp.
    fn lamp_signals(&self) -> anyhow::Result<Vec<u64>> {
        let text = fs::read_to_string(&self.lamp).unwrap_or_default();
        let count = |line: &str| {
            let call: Value = serde_json::from_str(line).context("the lamp's line")?;
            call.get("signals").and_then(Value::as_u64).context("how many?")
        };
        text.lines().map(count).collect()
    }

    async fn page(&self) -> anyhow::Result<String> {
        let status = self.status().await?;
        let page = status.pointer("/alerts/page").and_then(Value::as_str);
        page.filter(|page| page.starts_with("http")).map(str::to_owned).context("there is no page")
    }
}

async fn appears(browser: &Client, css: &str) -> anyhow::Result<()> {
    until(css, PATIENCE, async || Ok(!browser.find_all(Locator::Css(css)).await?.is_empty())).await
}

async fn click(browser: &Client, css: &str) -> anyhow::Result<()> {
    appears(browser, css).await?;
    browser.find(Locator::Css(css)).await?.click().await.context(css.to_owned())
}

/// The page fits, and is kept for whoever wants to look at it.
async fn looked_at(browser: &Client, name: &str) -> anyhow::Result<()> {
    let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    let over = browser.execute(wide, Vec::new()).await?;
    ensure!(over.as_i64() == Some(0), "{name} is {over} too wide");
    if let Ok(folder) = std::env::var("SHOTS") {
        fs::write(Path::new(&folder).join(format!("{name}.png")), browser.screenshot().await?)?;
    }
    Ok(())
}

async fn text_of(browser: &Client, css: &str) -> anyhow::Result<String> {
    Ok(browser.find(Locator::Css(css)).await?.text().await?)
}

/// How long the box can go on saving, of which it knows nothing in its first hour: as if it had told
/// 9 days and 4 hours.
async fn holds_days(browser: &Client) -> anyhow::Result<()> {
    let saved = ".works [data-name='saved'][data-works='yes']";
    appears(browser, saved).await?;
    let told = text_of(browser, saved).await?;
    ensure!(told.contains("还能保存多久,运行一小时后可知"), "{told}");
    let later = "const real = window.fetch;
        window.fetch = async (...asked) => {
          const answer = await real(...asked);
          if (!String(asked[0]).includes('state')) return answer;
          const state = await answer.json();
          state.facts.outbox.holds_s = (9 * 24 + 4) * 3600 + 59 * 60;
          return new Response(JSON.stringify(state), answer);
        };";
    browser.execute(later, Vec::new()).await?;
    until("the page says how long it holds", PATIENCE, async || {
        Ok(text_of(browser, saved).await?.contains("还能保存 9 天 4 小时"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_warns_while_the_county_is_out_of_reach_and_it_is_one_alert() -> anyhow::Result<()>
{
    let mut stage = Stage::set().await?;
    let driver = Driver::start().await?;
    let (folder, window) = (stage.village.folder(), ["--window-size=1200,900"]);
    let desk = driver.browser(&folder.join("desk"), &window, json!({})).await?;
    let metrics = json!({"width": 360, "height": 740, "pixelRatio": 2.0});
    let emulated = json!({"mobileEmulation": {"deviceMetrics": metrics}});
    let phone = driver.browser(&folder.join("phone"), &window, emulated).await?;
    let told = story(&mut stage, &desk, &phone).await;
    if told.is_err() {
        println!("{}", fs::read_to_string(stage.village.site.log())?);
    }
    // The browsers are closed whatever happened; what happened is told afterwards.
    let closed = (desk.close().await, phone.close().await);
    told?;
    closed.0.and(closed.1).context("closing the browsers")
}

/// In reach both ends see the same alert under the same id; the box hears who has it in hand.
async fn acknowledged_at_the_county(stage: &mut Stage) -> anyhow::Result<String> {
    stage.monitor(2)?.says("hr", BAD, "/min");
    let shared = stage.waits_for("ward-02", "active_unack").await?;
    let client = stage.village.county.client()?;
    until("the county has it under the same id", PATIENCE, async || {
        let alert: anyhow::Result<Value> =
            client.get(&format!("/api/v1/alerts/{shared}"), &[]).await;
        Ok(alert.is_ok_and(|alert| alert.get("state").is_some_and(|is| is == "active_unack")))
    })
    .await?;
    let doctor = Person::new(&stage.village, "zhang", "doctor").await?;
    doctor.act(&shared, "acknowledge", &json!({"reason": "doctor_called", "note": ""})).await?;
    let acknowledged = Instant::now();
    stage.waits_for("ward-02", "active_ack").await?;
    let told = acknowledged.elapsed();
    println!("the box knows who has it in hand after {:.1} s", told.as_secs_f64());
    Ok(shared)
}

async fn story(stage: &mut Stage, desk: &Client, phone: &Client) -> anyhow::Result<()> {
    let limit = PATIENCE;
    until("the county is in reach", limit, async || Ok(!stage.signals().await?)).await?;
    stage.village.flow(3).await?;

    let shared = acknowledged_at_the_county(stage).await?;
    let nurse = Person::new(&stage.village, "wang", "nurse").await?;
    ensure!(stage.lamp_signals()?.iter().all(|count| *count == 0), "it was lit in reach");
    desk.goto(&stage.page().await?).await?;
    appears(desk, ".reach[data-link='good']").await?;
    looked_at(desk, "in-reach-zh").await?;

    // The link is cut.
    stage.proxy.all(Fate::Resets);
    let cut = Instant::now();
    stage.monitor(1)?.says("hr", BAD, "/min");
    until("the box signals", WARNS_MAX, async || Ok(stage.lamp_heard("ward-01")? == ["raise"]))
        .await?;
    println!("the lamp is lit {:.1} s after the cut", cut.elapsed().as_secs_f64());
    // What the county has in hand is not called for: it is on the page, with a name.
    ensure!(stage.lamp_heard("ward-02")?.is_empty(), "it called for what somebody has in hand");
    desk.goto(&stage.page().await?).await?;
    let quiet = format!("[data-alert-id='{shared}'][data-state='active_ack']:not([data-signals])");
    appears(desk, &quiet).await?;
    let row = text_of(desk, &quiet).await?;
    ensure!(row.contains("zhang") && row.contains("通知医生"), "{row}");
    stage.monitor(2)?.says("hr", GOOD, "/min");
    let id = stage.waits_for("ward-01", "active_unack").await?;
    let own = format!("[data-alert-id='{id}']");
    for (browser, name) in [(desk, "desk"), (phone, "phone")] {
        browser.goto(&stage.page().await?).await?;
        appears(browser, &format!("{own}[data-signals][data-priority='high']")).await?;
        appears(browser, ".reach[data-link='lost']").await?;
        appears(browser, ".works [data-name='county'][data-works='no']").await?;
        let since = text_of(browser, &format!("{own} .since")).await?;
        ensure!(since.starts_with("已 ") && since.contains("(自 "), "since when? {since}");
        holds_days(browser).await?;
        appears(browser, ".tile[data-device='ward-01'] [data-metric='hr'][data-stale='fresh']")
            .await?;
        let row = text_of(browser, &own).await?;
        ensure!(row.contains("高") && row.contains("38") && row.contains("ward-01"), "{row}");
        looked_at(browser, &format!("{name}-zh")).await?;
        click(browser, ".language").await?;
        let row = text_of(browser, &own).await?;
        ensure!(row.contains("High"), "{row}");
        looked_at(browser, &format!("{name}-en")).await?;
        click(browser, ".language").await?;
    }

    // Killed, it goes on with the same alert, and the lamp hears nothing twice but how it stands.
    let lines = stage.lamp_signals()?.len();
    stage.village.site.kill().await?;
    appears(desk, "body[data-page='old']").await?;
    let row = text_of(desk, &format!("{own} .number")).await?;
    ensure!(row.contains("--"), "an old number looks live: {row}");
    looked_at(desk, "desk-old-zh").await?;
    stage.village.site.start()?;
    ensure!(stage.waits_for("ward-01", "active_unack").await? == id, "it has another id");
    until("it still signals", limit, async || stage.signals().await).await?;
    until("the lamp is lit again", limit, async || {
        Ok(stage.lamp_signals()?.get(lines..).is_some_and(|since| since.contains(&1)))
    })
    .await?;
    ensure!(stage.lamp_heard("ward-01")? == ["raise"], "the lamp was told again");

    // Somebody at the box has it in hand.
    phone.goto(&stage.page().await?).await?;
    click(phone, &format!("{own} button.ack")).await?;
    appears(phone, &format!("{own} .person option[value='李秀兰']")).await?;
    looked_at(phone, "phone-panel-zh").await?;
    click(phone, &format!("{own} [data-reason='at_bedside']")).await?;
    let told = text_of(phone, &format!("{own} .problem")).await?;
    ensure!(told.contains("姓名"), "acknowledged without a name: {told}");
    let person = phone.find(Locator::Css(&format!("{own} .person"))).await?;
    person.select_by_value("李秀兰").await?;
    click(phone, &format!("{own} [data-reason='at_bedside']")).await?;
    appears(phone, &format!("{own}[data-state='active_ack']")).await?;
    let row = text_of(phone, &own).await?;
    ensure!(row.contains("李秀兰") && row.contains("已到床旁"), "{row}");
    looked_at(phone, "phone-acknowledged-zh").await?;
    until("the lamp hears of it", limit, async || {
        Ok(stage.lamp_heard("ward-01")? == ["raise", "ack"])
    })
    .await?;

    // The link is back: the county has all of it under one id, and nothing signals again here.
    stage.proxy.all(Fate::Passes);
    until("the county is in reach again", limit, async || Ok(!stage.signals().await?)).await?;
    until("the county has what happened", limit, async || {
        Ok(told_to_county(&stage.village, &id)? == ["raised", "acknowledged"])
    })
    .await?;
    ensure!(id == computed_by_county(&stage.village)?, "the county computes another id");
    stage.village.flow(5).await?;
    ensure!(stage.lamp_heard("ward-01")? == ["raise", "ack"], "the lamp was told again");
    let state = stage.alert_of("ward-01").await?;
    ensure!(state == Some((id.clone(), "active_ack".to_owned())), "{state:?}");
    phone.goto(&stage.page().await?).await?;
    appears(phone, ".reach[data-link='good']").await?;
    let buttons = phone.find_all(Locator::Css("button.ack:not([hidden])")).await?;
    ensure!(buttons.is_empty(), "it can be acknowledged in two places");
    one_history(stage, &nurse, &id, &shared).await?;
    stage.village.site.stop().await?;
    stage.village.county.stop().await
}

/// What both sides did is one history under the id that the box showed, as a nurse at the county is
/// told it; and it goes on there.
async fn one_history(stage: &Stage, nurse: &Person, id: &str, shared: &str) -> anyhow::Result<()> {
    let at_the_box = ["raised by nobody", "acknowledged by 李秀兰 at_bedside"].map(str::to_owned);
    // What its box told of is unknown here until its device is heard.
    until("the county hears the device", PATIENCE, async || {
        Ok(text(&nurse.only_alert_of("ward-01").await?, "state") == "active_ack")
    })
    .await?;
    let alert = nurse.only_alert_of("ward-01").await?;
    ensure!(text(&alert, "id") == id, "the county shows another id: {alert}");
    ensure!(text(&alert, "acknowledged_by") == "李秀兰", "{alert}");
    ensure!(text(&alert, "priority") == "high", "{alert}");
    ensure!(steps(&alert).starts_with(&at_the_box), "{alert}");
    let one = nurse.alert(id).await?;
    ensure!(steps(&one) == steps(&alert), "the list and the alert differ: {one} {alert}");
    // What a nurse at the county adds stands behind it.
    let noted = nurse.act(id, "note", &json!({"note": "家属在旁"})).await?;
    let story = steps(&noted);
    ensure!(story.starts_with(&at_the_box), "{noted}");
    ensure!(story.last().is_some_and(|last| last == "noted by wang"), "{noted}");
    stage.monitor(1)?.says("hr", GOOD, "/min");
    until("it is over at the county", PATIENCE, async || {
        Ok(text(&nurse.alert(id).await?, "state") == "closed")
    })
    .await?;
    let closed = nurse.only_alert_of("ward-01").await?;
    ensure!(text(&closed, "id") == id, "{closed}");
    ensure!(steps(&closed).starts_with(&steps(&noted)), "{closed}");
    // And the one that the county had in hand when the link was cut: over while nobody heard of it.
    let other = nurse.only_alert_of("ward-02").await?;
    ensure!(text(&other, "id") == shared && text(&other, "state") == "closed", "{other}");
    ensure!(text(&other, "acknowledged_by") == "zhang", "{other}");
    let at_the_county = ["raised by nobody", "acknowledged by zhang doctor_called"];
    ensure!(steps(&other).starts_with(&at_the_county.map(str::to_owned)), "{other}");
    // Who did it at the box stands in the chain, with the box.
    let auditor = Person::new(&stage.village, "sun", "audit_admin").await?;
    let chain = auditor.answer(auditor.client.get(format!("{}/audit", auditor.api))).await?;
    let entries = chain.get("entries").and_then(Value::as_array).context("no chain")?;
    let mut own = entries.iter().filter(|entry| text(entry, "action") == "edge_alert");
    let entry = own.next().context("it is not in the chain")?;
    ensure!(own.next().is_none(), "{chain}");
    ensure!(text(entry, "who") == "李秀兰@heping" && text(entry, "what") == "heping", "{entry}");
    ensure!(entry.pointer("/detail/alert").is_some_and(|alert| alert == id), "{entry}");
    Ok(())
}

/// Somebody who is logged in at the county.
struct Person {
    client: reqwest::Client,
    api: String,
    cookie: String,
}

impl Person {
    async fn new(village: &Village, name: &str, role: &str) -> anyhow::Result<Self> {
        let password = village.folder().join("password");
        fs::write(&password, PASSWORD)?;
        let file = password.display().to_string();
        let words =
            ["user", "add", name, "--role", role, "--own-password", "--password-file", &file];
        village.county.command(&words).await?;
        // An error means that somebody was first.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build()?;
        let api = format!("{}/api/v1", village.county.url());
        let log_in = json!({"name": name, "password": PASSWORD});
        let session = client.post(format!("{api}/session")).json(&log_in).send().await?;
        let cookie = session.headers().get(header::SET_COOKIE).context("no session")?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { client, api, cookie })
    }

    async fn answer(&self, asked: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = asked.header(header::COOKIE, &self.cookie).send().await?;
        ensure!(answer.status().is_success(), "{} {}", answer.status(), answer.text().await?);
        Ok(answer.json().await?)
    }

    async fn alert(&self, id: &str) -> anyhow::Result<Value> {
        self.answer(self.client.get(format!("{}/alerts/{id}", self.api))).await
    }

    /// The one alert of a device that the list has.
    async fn only_alert_of(&self, device: &str) -> anyhow::Result<Value> {
        let list = self.answer(self.client.get(format!("{}/alerts", self.api))).await?;
        let alerts = list.get("alerts").and_then(Value::as_array).context("no list")?;
        let mut own = alerts.iter().filter(|alert| text(alert, "device") == device);
        let alert = own.next().context("the county has none")?;
        ensure!(own.next().is_none(), "the county has several of {device}: {list}");
        Ok(alert.clone())
    }

    async fn act(&self, id: &str, deed: &str, body: &Value) -> anyhow::Result<Value> {
        self.answer(self.client.post(format!("{}/alerts/{id}/{deed}", self.api)).json(body)).await
    }
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What happened to an alert, who did it, and why.
fn steps(alert: &Value) -> Vec<String> {
    let timeline = alert.get("timeline").and_then(Value::as_array);
    let step = |entry: &Value| {
        let by = entry.get("by").and_then(Value::as_str).unwrap_or("nobody");
        format!("{} by {by} {}", text(entry, "what"), text(entry, "reason")).trim_end().to_owned()
    };
    timeline.into_iter().flatten().map(step).collect()
}

/// What a box told the county of an alert, in its order.
fn told_to_county(village: &Village, id: &str) -> anyhow::Result<Vec<String>> {
    let county = read_only(&village.database())?;
    let mut statement =
        county.prepare("SELECT what FROM edge_alert WHERE alert = ?1 ORDER BY at_ms, rowid")?;
    let told = statement.query_map([id], |row| row.get(0))?;
    Ok(told.collect::<Result<_, _>>()?)
}

/// The id of an alert that begins with the first value below 40 that the county has of ward-01.
fn computed_by_county(village: &Village) -> anyhow::Result<String> {
    let first: i64 = read_only(&village.database())?.query_row(
        "SELECT min(measured_ms) FROM reading_group JOIN source ON source.id = source
         WHERE device = 'ward-01' AND said LIKE '%38%'",
        [],
        |row| row.get(0),
    )?;
    let site = SiteId::new("heping")?;
    Ok(AlertId::new(&site, "ward-01", "hr_low", WallTime::from_unix_ms(first)).to_string())
}
