//! Stories of a shift: devices of a patient are taken off one by one while an alert stands, an infant
//! lies at a box that begins with 1970, a county goes back under an open board, a session ends.

#![expect(clippy::print_stdout, reason = "what was seen, for whoever runs it with --nocapture")]
#![expect(clippy::indexing_slicing, reason = "a test says what went wrong by failing")]

mod browser;

use anyhow::{Context as _, ensure};
use browser::Driver;
use e2e::{Village, faketime, speaker::Speaker, until};
use fantoccini::{Client, Locator, key::Key};
use reqwest::{Method, header};
use serde_json::{Value, json};
use simulators::{
    county::{BrokerPlace, NURSE, free_port},
    process::Program,
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const PATIENCE: Duration = Duration::from_secs(90);
const CLINIC: &str = "和平镇卫生院";
/// So many envelopes take about twice the 10 s after which a high alert sounds again.
const QUIET: u64 = 60;

/// A county with a nurse, and a clinic with these devices, each of that kind.
struct Shift {
    village: Village,
    sources: Vec<Speaker>,
    client: reqwest::Client,
    cookie: String,
}

impl Shift {
    async fn begin(county: &Program, devices: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut village = Village::prepare_on(county, BrokerPlace::Embedded, Vec::new()).await?;
        village.site.set_program(Program::at(Path::new(PROGRAM)));
        let mut config = fs::OpenOptions::new().append(true).open(village.site.config())?;
        let mut sources = Vec::new();
        for (id, kind) in devices {
            let port = free_port()?;
            writeln!(
                config,
                "\n[[device]]\nid = \"{id}\"\ndriver = \"json-lines\"\n\
                 port = \"tcp-listen://127.0.0.1:{port}\"\noptions = {{ kind = \"{kind}\" }}"
            )?;
            sources.push(Speaker::at(port));
        }
        village.county.start().await?;
        village.site.start()?;
        // An error means that somebody was first.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build()?;
        let log_in = json!({"name": NURSE, "password": village.county.password()});
        let url = format!("{}/api/v1/session", village.county.url());
        let session = client.post(url).json(&log_in).send().await?;
        let cookie = session.headers().get(header::SET_COOKIE).context("no session")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { village, sources, client, cookie })
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1{path}", self.village.county.url());
        let asked = self.client.request(method, url).header(header::COOKIE, &self.cookie);
        let answer = asked.json(&body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Somebody in that bed, with these devices.
    async fn admit(&self, bed: &str, born: &str, devices: &[&str]) -> anyhow::Result<String> {
        let whole = json!({"clinic": CLINIC, "name": "测试甲", "bed": bed, "born": born,
            "sex": "female", "monitored": true});
        let patient = self.ask(Method::POST, "/patients", whole).await?;
        let patient = text(&patient, "patient").to_owned();
        for device in devices {
            // Devices are known once they were heard of.
            until(device, PATIENCE, async || Ok(self.village.state_of(device).is_ok())).await?;
            let binding = json!({"site": "heping", "device": device, "patient": patient,
                "reason": "put on"});
            self.ask(Method::POST, "/bindings", binding).await?;
        }
        Ok(patient)
    }

    async fn alerts(&self) -> anyhow::Result<Value> {
        self.ask(Method::GET, "/alerts", json!({})).await
    }

    /// The alert of a family at the county.
    async fn alert(&self, family: &str) -> anyhow::Result<Value> {
        let list = self.alerts().await?;
        let alerts = list["alerts"].as_array().context("no list")?;
        let of: Vec<_> = alerts.iter().filter(|alert| text(alert, "family") == family).collect();
        ensure!(of.len() == 1, "{} alerts of {family}: {list}", of.len());
        Ok(of[0].clone())
    }

    async fn is_at_county(&self, family: &str, state: &str) -> anyhow::Result<Value> {
        until(&format!("{family} is {state}"), PATIENCE, async || {
            Ok(text(&self.alert(family).await?, "state") == state)
        })
        .await?;
        self.alert(family).await
    }

    /// What `clinic-agent status --json` says.
    async fn status(&self) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(self.village.site.data().join("agent.sock")).await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The open alerts at the box, each as `device rules priority`.
    async fn at_the_box(&self) -> anyhow::Result<Vec<String>> {
        let status = self.status().await?;
        let open = status.pointer("/alerts/open").and_then(Value::as_array);
        let told = |alert: &Value| {
            format!("{} {} {}", text(alert, "device"), alert["rules"], text(alert, "priority"))
        };
        Ok(open.context("no alerts")?.iter().map(told).collect())
    }

    /// Waits until the box has that open alert.
    async fn warns(&self, told: &str) -> anyhow::Result<()> {
        until(told, PATIENCE, async || Ok(self.at_the_box().await?.iter().any(|one| one == told)))
            .await
    }

    /// A board at which the nurse is logged in and hears.
    async fn board(&self, driver: &Driver) -> anyhow::Result<Client> {
        let profile = self.village.folder().join("browser");
        let arguments = ["--window-size=1400,900", "--lang=zh-CN"];
        let board = driver.browser(&profile, &arguments, json!({})).await?;
        board.goto(&self.village.county.url()).await?;
        log_in(&board, self.village.county.password()).await?;
        let counts = "window.bursts = 0;
            const { start } = AudioBufferSourceNode.prototype;
            AudioBufferSourceNode.prototype.start = function counted(...when) {
              window.bursts += 1;
              return start.apply(this, when);
            };";
        board.execute(counts, Vec::new()).await?;
        board.find(Locator::Css(".sound-gate")).await?.click().await?;
        appears(&board, ".topbar[data-sound='on']").await?;
        Ok(board)
    }
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

async fn log_in(board: &Client, password: &str) -> anyhow::Result<()> {
    appears(board, "#name").await?;
    board.find(Locator::Css("#name")).await?.send_keys(NURSE).await?;
    let field = board.find(Locator::Css("#password")).await?;
    field.send_keys(password).await?;
    field.send_keys(&Key::Enter.to_string()).await?;
    appears(board, "[data-knowledge='known']").await
}

async fn appears(board: &Client, css: &str) -> anyhow::Result<()> {
    until(css, PATIENCE, async || Ok(!board.find_all(Locator::Css(css)).await?.is_empty())).await
}

/// Waits until the board, which hears of an alert, begins a burst.
async fn sounds(board: &Client) -> anyhow::Result<()> {
    let before = bursts(board).await?;
    until("the board sounds", PATIENCE, async || Ok(bursts(board).await? > before)).await
}

/// How many bursts the board has begun.
async fn bursts(board: &Client) -> anyhow::Result<u64> {
    board.execute("return window.bursts;", Vec::new()).await?.as_u64().context("no bursts")
}

/// Closes the board and ends the shift, whatever happened; what happened is told afterwards.
async fn ends(mut shift: Shift, board: Client, told: anyhow::Result<()>) -> anyhow::Result<()> {
    let closed = board.close().await;
    shift.village.site.stop().await?;
    shift.village.county.stop().await?;
    told?;
    closed.context("closing the browser")
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_a_patient_are_taken_off_one_by_one_while_an_alert_stands() -> anyhow::Result<()>
{
    let devices = [("ward-mon", "monitor"), ("ward-ox", "oximeter")];
    let shift = Shift::begin(&Program::at(Path::new(PROGRAM)), &devices).await?;
    shift.admit("3", "1956-03", &["ward-mon", "ward-ox"]).await?;
    // The oximeter is first: of equals it is the one that the alert names.
    shift.sources[1].says("spo2", 80, "%");
    let alert = shift.is_at_county("spo2_low", "active_unack").await?;
    shift.sources[0].says("spo2", 81, "%");
    let driver = Driver::start().await?;
    let board = shift.board(&driver).await?;
    let told = taken_off(&shift, &board, text(&alert, "id")).await;
    ends(shift, board, told).await
}

async fn taken_off(shift: &Shift, board: &Client, id: &str) -> anyhow::Result<()> {
    let row = format!("[data-alert-id='{id}']");
    let open = format!("{row}[data-state='active_unack']");
    let names = |device: &str| format!("{open}[data-device='{device}']");
    let off = json!({"reason": "坏了"});
    let of = |device: &str| format!("/devices/heping/{device}/out-of-service");
    appears(board, &names("ward-ox")).await?;
    // Until the monitor's readings have lasted as long as the rule asks.
    shift.village.flow(QUIET).await?;
    sounds(board).await?;

    shift.ask(Method::POST, &of("ward-ox"), off.clone()).await?;
    appears(board, &names("ward-mon")).await?;
    let alert = shift.alert("spo2_low").await?;
    ensure!(text(&alert, "state") == "active_unack" && text(&alert, "value") == "81", "{alert}");
    sounds(board).await?;

    shift.ask(Method::POST, &of("ward-mon"), off).await?;
    shift.is_at_county("spo2_low", "out_of_service").await?;
    appears(board, "[data-section='aside']").await?;
    ensure!(board.find_all(Locator::Css(&open)).await?.is_empty(), "it is an open one still");
    let before = bursts(board).await?;
    shift.village.flow(QUIET).await?;
    ensure!(bursts(board).await? == before, "it sounds with both devices off");

    shift.ask(Method::DELETE, &of("ward-ox"), json!({})).await?;
    appears(board, &names("ward-ox")).await?;
    sounds(board).await?;
    shift.ask(Method::DELETE, &of("ward-mon"), json!({})).await?;
    let alert = shift.is_at_county("spo2_low", "active_unack").await?;
    ensure!(text(&alert, "id") == id, "{alert}");
    let story = alert["timeline"].as_array().context("no timeline")?.iter();
    let story: Vec<&str> = story.map(|entry| text(entry, "what")).collect();
    ensure!(story == ["raised", "out_of_service", "in_service"], "{story:?}");
    shift.sources.iter().for_each(|source| source.says("spo2", 97, "%"));
    shift.is_at_county("spo2_low", "cleared_unack").await?;
    appears(board, &format!("{row}[data-state='cleared_unack']")).await
}

/// A file that libfaketime reads, with so many seconds that are added to the real time.
fn set_clock(clock: &Path, seconds: i64) -> anyhow::Result<()> {
    let new = clock.with_extension("new");
    fs::write(&new, format!("{seconds:+}s\n"))?;
    fs::rename(new, clock).context("setting the clock")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_infant_at_a_box_without_a_clock_has_the_limits_of_its_age() -> anyhow::Result<()> {
    let devices = [("ward-baby", "monitor"), ("ward-adult", "monitor")];
    let mut shift = Shift::begin(&Program::at(Path::new(PROGRAM)), &devices).await?;
    let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    // Two months old, whenever the story is told.
    let born = jiff::Timestamp::from_second(now_s - 75 * 86_400)?.strftime("%Y-%m-%d");
    shift.admit("1", &born.to_string(), &["ward-baby"]).await?;
    shift.admit("2", "1980-01", &["ward-adult"]).await?;
    // Low for a child of that age alone: then the box knows whose the monitor is.
    shift.sources.iter().for_each(|source| source.says("hr", 95, "/min"));
    shift.warns("ward-baby [\"HR-p00_03m-L\"] medium").await?;
    shift.village.site.stop().await?;
    shift.village.county.stop().await?;

    // Its power was away, it has no clock, and the county is out of reach.
    let clock = shift.village.folder().join("clock");
    set_clock(&clock, -now_s)?;
    shift.village.site.set_program(faketime::program(Path::new(PROGRAM), &clock)?);
    shift.sources.iter().for_each(|source| source.says("hr", 150, "/min"));
    shift.village.site.start()?;
    shift.warns("ward-adult [\"HR-AD-H\"] medium").await?;
    // What was low before its power went may not have been closed yet.
    let told = shift.at_the_box().await?;
    let is_other = |one: &&String| one.starts_with("ward-baby") && !one.contains("HR-p00_03m-L");
    ensure!(!told.iter().any(|one| is_other(&one)), "150 is normal for the infant: {told:?}");
    shift.sources[0].says("hr", 180, "/min");
    shift.warns("ward-baby [\"HR-p00_03m-H\"] medium").await?;
    println!("{:?}, {}", shift.at_the_box().await?, shift.status().await?["clock"]);
    shift.village.site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_believes_a_county_that_went_back_under_it() -> anyhow::Result<()> {
    let mut shift =
        Shift::begin(&Program::at(Path::new(PROGRAM)), &[("ward-mon", "monitor")]).await?;
    shift.admit("3", "1956-03", &["ward-mon"]).await?;
    shift.sources[0].says("hr", 36, "/min");
    let alert = shift.is_at_county("hr_low", "active_unack").await?;
    let driver = Driver::start().await?;
    let board = shift.board(&driver).await?;
    let told = went_back(&mut shift, &board, text(&alert, "id")).await;
    ends(shift, board, told).await
}

async fn went_back(shift: &mut Shift, board: &Client, id: &str) -> anyhow::Result<()> {
    let row = format!("[data-alert-id='{id}']");
    let open = format!("{row}[data-state='active_unack']");
    appears(board, &open).await?;
    board.execute("window.opened = 'once';", Vec::new()).await?;
    let copy = shift.village.folder().join("copy.sqlite");
    shift.village.county.command(&["backup", &copy.display().to_string()]).await?;
    let acknowledge = format!("/alerts/{id}/acknowledge");
    shift.ask(Method::POST, &acknowledge, json!({"reason": "at_bedside"})).await?;
    for note in ["一", "二", "三"] {
        shift.ask(Method::POST, &format!("/alerts/{id}/note"), json!({"note": note})).await?;
    }
    appears(board, &format!("{row}[data-state='active_ack']")).await?;

    let since = Instant::now();
    shift.village.county.stop().await?;
    shift.village.county.command(&["restore", &copy.display().to_string()]).await?;
    shift.village.county.start().await?;
    // Sessions of before ended with it: the board says aloud that it shows nothing.
    log_in(board, shift.village.county.password()).await?;
    println!(
        "the board is logged in {:.1} s after the county was stopped",
        since.elapsed().as_secs_f64()
    );
    appears(board, &open).await?;
    sounds(board).await?;
    let opened = board.execute("return window.opened ?? 'anew';", Vec::new()).await?;
    ensure!(opened == "once", "the page was loaded anew, and nothing was shown");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_said_half_an_hour_before() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = folder.path().join("clock");
    set_clock(&clock, 0)?;
    let county = faketime::program(Path::new(PROGRAM), &clock)?;
    let shift = Shift::begin(&county, &[("ward-mon", "monitor")]).await?;
    shift.sources[0].says("hr", 72, "/min");
    let driver = Driver::start().await?;
    let board = shift.board(&driver).await?;
    let told = session_ends(&shift, &board, &clock).await;
    ends(shift, board, told).await
}

async fn session_ends(shift: &Shift, board: &Client, clock: &Path) -> anyhow::Result<()> {
    const BANNER: &str = ".session-banner:not([hidden])";
    let is_said = async || anyhow::Ok(!board.find_all(Locator::Css(BANNER)).await?.is_empty());
    ensure!(!is_said().await?, "it is said at once");
    set_clock(clock, 11 * 3600 + 35 * 60)?;
    appears(board, BANNER).await?;
    let told = board.find(Locator::Css(BANNER)).await?.text().await?;
    // Of the 25 minutes that are left some seconds may have passed.
    let is_left = ["登录将在 25:00", "登录将在 24:"].iter().any(|left| told.contains(left));
    ensure!(is_left && told.contains("不再发声"), "{told}");
    let password = board.find(Locator::Css("#session-password")).await?;
    password.send_keys(shift.village.county.password()).await?;
    password.send_keys(&Key::Enter.to_string()).await?;
    until("it goes on", PATIENCE, async || Ok(!is_said().await?)).await?;
    // The session of before ends, as one does that was opened in that moment, and the board goes on.
    set_clock(clock, 12 * 3600 + 60)?;
    until("the session of before has ended", PATIENCE, async || {
        Ok(shift.alerts().await.is_err_and(|error| error.to_string().contains("401")))
    })
    .await?;
    shift.village.flow(QUIET).await?;
    ensure!(board.find_all(Locator::Css("#name")).await?.is_empty(), "it asks who somebody is");
    appears(board, ".topbar[data-sound='on'][data-link='live']").await?;
    set_clock(clock, 24 * 3600 + 60)?;
    appears(board, "#name").await?;
    let told = board.find(Locator::Css("body")).await?.text().await?;
    ensure!(told.contains("登录已满 12 小时") && told.contains("请立即登录"), "{told}");
    Ok(())
}
