//! Story: people and programs at the county's door, over HTTPS.

#![expect(clippy::indexing_slicing, reason = "a test says what went wrong by failing")]

use anyhow::{Context as _, bail, ensure};
use e2e::{Village, until};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use simulators::county::{BrokerPlace, NURSE};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who uses the API of a county over HTTPS.
#[derive(Clone)]
struct Visitor {
    http: reqwest::Client,
    url: String,
    /// A header that proves who it is.
    proof: Option<(header::HeaderName, String)>,
}

impl Visitor {
    fn nobody(village: &Village) -> anyhow::Result<Self> {
        let http = client(Some(&village.county.pki().join("ca.crt")))?;
        Ok(Self { http, url: village.county.url().replace("http://", "https://"), proof: None })
    }

    fn program(&self, token: &str) -> Self {
        let proof = Some((header::AUTHORIZATION, format!("Bearer {token}")));
        Self { proof, ..self.clone() }
    }

    async fn log_in(&self, name: &str, password: &str) -> anyhow::Result<Self> {
        let answer = self.try_in(name, password).await?;
        ensure!(answer.status() == StatusCode::OK, "log-in: {}", answer.status());
        let cookie = answer.headers().get(header::SET_COOKIE).context("no cookie")?.to_str()?;
        for part in ["HttpOnly", "SameSite=Strict", "Secure"] {
            ensure!(cookie.contains(part), "the cookie lacks {part}: {cookie}");
        }
        let proof = cookie.split(';').next().map(|pair| (header::COOKIE, pair.to_owned()));
        Ok(Self { proof, ..self.clone() })
    }

    async fn try_in(&self, name: &str, password: &str) -> anyhow::Result<reqwest::Response> {
        let body = json!({"name": name, "password": password});
        let request = self.http.post(format!("{}/api/v1/session", self.url)).json(&body);
        request.send().await.context("logging in")
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.proof {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.request(reqwest::Method::GET, path).send().await?;
        answer.error_for_status()?.json().await.context("no JSON")
    }

    async fn acknowledge(&self, id: &str) -> anyhow::Result<(StatusCode, Value)> {
        let path = format!("/api/v1/alerts/{id}/acknowledge");
        let request = self.request(reqwest::Method::POST, &path);
        let answer = request.json(&json!({"reason": "at_bedside"})).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Opens the stream of events, after the event of that id.
    async fn listen(&self, last: Option<&str>) -> anyhow::Result<Listener> {
        let mut request = self.request(reqwest::Method::GET, "/api/v1/events");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await?.error_for_status()?;
        Ok(Listener { answer, waiting: String::new() })
    }
}

/// An open stream of events.
struct Listener {
    answer: reqwest::Response,
    waiting: String,
}

impl Listener {
    /// Name and id of the next event; `None` when the stream has ended.
    async fn next(&mut self) -> anyhow::Result<Option<(String, Option<String>)>> {
        loop {
            if let Some((event, rest)) = self.waiting.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(|text| text.trim().to_owned())
                };
                let found = (field("event:").unwrap_or_default(), field("id:"));
                self.waiting = rest.to_owned();
                return Ok(Some(found));
            }
            let chunk = tokio::time::timeout(LIMIT, self.answer.chunk()).await;
            match chunk.context("nothing is heard, not even a heartbeat")?? {
                Some(bytes) => self.waiting += std::str::from_utf8(&bytes)?,
                None => return Ok(None),
            }
        }
    }

    /// Ids of the next events that have one.
    async fn ids(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let (name, id) = self.next().await?.context("the stream has ended")?;
            ensure!(name != "resync", "the stream asks to fetch everything");
            ids.extend(id);
        }
        Ok(ids)
    }
}

fn client(ca: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    if let Some(ca) = ca {
        roots.add(CertificateDer::from_pem_file(ca)?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder().no_proxy().use_preconfigured_tls(tls).build()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_opens_for_whom_it_should_and_no_further() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let config = village.county.config();
    let text = fs::read_to_string(&config)?;
    ensure!(text.contains("tls = \"off\""), "{text}");
    fs::write(&config, text.replace("tls = \"off\"", "tls = \"on\""))?;
    for (name, role) in [("li", "nurse"), ("hall", "kiosk")] {
        let password = village.folder().join("password");
        fs::write(&password, village.county.password())?;
        let password = password.display().to_string();
        let words =
            ["user", "add", name, "--role", role, "--own-password", "--password-file", &password];
        village.county.command(&words).await?;
    }
    let performances = village.start().await?;
    let told = at_the_door(&village).await;
    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await?;
    village.county.stop().await?;
    told
}

async fn at_the_door(village: &Village) -> anyhow::Result<()> {
    let nobody = Visitor::nobody(village)?;
    let program = nobody.program(village.county.token());
    strangers(village, &nobody).await?;
    secrets_are_private(village)?;
    let wang = nobody.log_in(NURSE, village.county.password()).await?;
    acknowledging(village, &nobody, &program, &wang).await?;
    pages(&program).await?;
    events(&wang).await?;
    lock_out(village, &nobody).await
}

async fn strangers(village: &Village, nobody: &Visitor) -> anyhow::Result<()> {
    let plain = client(None)?.get(format!("{}/healthz", village.county.url())).send().await;
    ensure!(!plain.is_ok_and(|answer| answer.status().is_success()), "plain HTTP was answered");
    let untrusting = client(None)?.get(format!("{}/healthz", nobody.url)).send().await;
    ensure!(untrusting.is_err(), "a client took a certificate it does not know");

    let answer = nobody.request(reqwest::Method::GET, "/healthz").send().await?;
    ensure!(answer.status() == StatusCode::OK, "healthz: {}", answer.status());
    let impostor = nobody.program(&"0".repeat(64));
    for visitor in [nobody, &impostor] {
        for path in ["readings", "alerts", "devices", "ledger", "events", "openapi.json"] {
            let path = format!("/api/v1/{path}");
            let answer = visitor.request(reqwest::Method::GET, &path).send().await?;
            ensure!(answer.status() == StatusCode::UNAUTHORIZED, "{path}: {}", answer.status());
            let kind = answer.headers().get(header::CONTENT_TYPE).context("no type")?;
            ensure!(kind == "application/problem+json", "{path}: {kind:?}");
        }
    }
    Ok(())
}

fn secrets_are_private(village: &Village) -> anyhow::Result<()> {
    let mode = |path: &Path| -> anyhow::Result<u32> {
        let found = fs::metadata(path).with_context(|| path.display().to_string())?;
        Ok(found.permissions().mode() & 0o777)
    };
    let pki = village.county.pki();
    for key in ["ca.key", "broker.key", "board.key", "county.key"] {
        ensure!(mode(&pki.join(key))? == 0o600, "{key} is not private");
    }
    ensure!(mode(&village.folder().join("heping/heping.key"))? == 0o600, "heping.key");
    let database = village.database();
    ensure!(mode(database.parent().context("no folder")?)? == 0o700, "the data folder");
    ensure!(mode(&database)? == 0o600, "the database");
    Ok(())
}

async fn acknowledging(
    village: &Village,
    nobody: &Visitor,
    program: &Visitor,
    wang: &Visitor,
) -> anyhow::Result<()> {
    let li = nobody.log_in("li", village.county.password()).await?;
    let hall = nobody.log_in("hall", village.county.password()).await?;
    until("an alert waits for somebody", LIMIT, async || Ok(open_alert(program).await?.is_some()))
        .await?;
    let id = open_alert(program).await?.context("it is gone")?;
    for (visitor, wanted) in [
        (nobody, StatusCode::UNAUTHORIZED),
        (program, StatusCode::FORBIDDEN),
        (&hall, StatusCode::FORBIDDEN),
        (wang, StatusCode::OK),
        (&li, StatusCode::CONFLICT),
    ] {
        let (status, answer) = visitor.acknowledge(&id).await?;
        ensure!(status == wanted, "wanted {wanted}: {status} {answer}");
        let by = answer.get("acknowledged_by").and_then(Value::as_str);
        let told = [StatusCode::OK, StatusCode::CONFLICT].contains(&wanted);
        ensure!(by == told.then_some(NURSE), "{answer}");
    }
    let (status, _) = wang.acknowledge(&"0".repeat(32)).await?;
    ensure!(status == StatusCode::NOT_FOUND, "no such alert: {status}");
    Ok(())
}

async fn open_alert(program: &Visitor) -> anyhow::Result<Option<String>> {
    let answer = program.get("/api/v1/alerts?state=active_unack").await?;
    Ok(answer.pointer("/alerts/0/id").and_then(Value::as_str).map(ToOwned::to_owned))
}

/// The query of a lead of which there are enough strips.
async fn waveforms(program: &Visitor) -> anyhow::Result<Option<String>> {
    let catalogue = program.get("/api/v1/metrics-catalogue").await?;
    let metrics = catalogue.get("metrics").and_then(Value::as_array);
    for metric in metrics.into_iter().flatten().filter(|metric| metric["kind"] == "wave") {
        let name = metric["metric"].as_str().unwrap_or_default();
        let query = format!("waveforms?device=heping-ecg-01&metric={name}");
        let answer = program.get(&format!("/api/v1/{query}")).await?;
        if answer["blocks"].as_array().is_some_and(|blocks| blocks.len() > 10) {
            return Ok(Some(query));
        }
    }
    Ok(None)
}

/// Pages put together are the whole, of readings as of waveforms.
async fn pages(program: &Visitor) -> anyhow::Result<()> {
    let readings = "readings?device=heping-ecg-01".to_owned();
    let there = async || Ok(waveforms(program).await?.is_some());
    until("the monitor has sent strips", LIMIT, there).await?;
    let waves = waveforms(program).await?.context("they are gone")?;
    for (path, list, time) in [(readings, "readings", "observed_time"), (waves, "blocks", "start")]
    {
        // What comes meanwhile is left out.
        let so_far = program.get(&format!("/api/v1/{path}")).await?;
        let last = so_far[list].as_array().and_then(|list| list.last()).context("nothing there")?;
        let path = format!("/api/v1/{path}&to={}", last[time].as_str().context("no time")?);
        let whole = program.get(&path).await?;
        let mut put_together = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = program.get(&format!("{path}&limit=4{cursor}")).await?;
            let items = page[list].as_array().context("no list")?;
            ensure!(items.len() <= 4, "{} of {list} in a page of 4", items.len());
            put_together.extend(items.clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ensure!(put_together.len() > 8, "too little to tell: {}", put_together.len());
        ensure!(whole[list] == Value::Array(put_together), "pages of {list} are not the whole");
    }
    Ok(())
}

async fn events(wang: &Visitor) -> anyhow::Result<()> {
    let mut witness = wang.listen(None).await?;
    let mut board = wang.listen(None).await?;
    let heard = board.ids(3).await?;
    drop(board);
    let last = heard.last().context("nothing heard")?;
    // The witness hears on; the board comes back and hears the same.
    let mut seen = witness.ids(12).await?;
    while !seen.contains(last) {
        seen.extend(witness.ids(1).await?);
    }
    seen.extend(witness.ids(6).await?);
    let missed: Vec<String> = seen.iter().skip_while(|id| *id != last).skip(1).cloned().collect();
    let mut again = wang.listen(Some(last)).await?;
    let resumed = again.ids(missed.len() + 3).await?;
    ensure!(resumed.starts_with(&missed), "missed {missed:?}, got {resumed:?}");
    seen.extend(witness.ids(3).await?);
    ensure!(seen.ends_with(&resumed), "heard {seen:?}, resumed {resumed:?}");

    for stranger in ["1-1", "9", "noise"] {
        let mut listener = wang.listen(Some(stranger)).await?;
        let names = [listener.next().await?, listener.next().await?];
        let names: Vec<String> = names.into_iter().flatten().map(|(name, _)| name).collect();
        ensure!(names == ["hello", "resync"], "{stranger}: {names:?}");
        listener.ids(1).await.with_context(|| format!("after {stranger}"))?;
    }

    let answer = wang.request(reqwest::Method::DELETE, "/api/v1/session").send().await?;
    ensure!(answer.status() == StatusCode::NO_CONTENT, "log-out: {}", answer.status());
    let ended = async {
        while witness.next().await?.is_some() {}
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, ended).await.context("a stream outlives its session")??;
    let answer = wang.request(reqwest::Method::GET, "/api/v1/session").send().await?;
    ensure!(answer.status() == StatusCode::UNAUTHORIZED, "logged out: {}", answer.status());
    Ok(())
}

async fn lock_out(village: &Village, nobody: &Visitor) -> anyhow::Result<()> {
    // All at once count as one after the other.
    let tries: Vec<_> = (0..12)
        .map(|_| {
            let nobody = nobody.clone();
            tokio::spawn(async move { nobody.try_in("li", "wrong horse").await })
        })
        .collect();
    let mut looked_at = 0;
    for tried in tries {
        match tried.await??.status() {
            StatusCode::UNAUTHORIZED => looked_at += 1,
            StatusCode::TOO_MANY_REQUESTS => {}
            other => bail!("a wrong password was answered with {other}"),
        }
    }
    ensure!(looked_at <= 5, "{looked_at} wrong passwords were looked at");
    while looked_at < 5 {
        let status = nobody.try_in("li", "wrong horse").await?.status();
        ensure!(status == StatusCode::UNAUTHORIZED, "try {looked_at}: {status}");
        looked_at += 1;
    }
    let status = nobody.try_in("li", village.county.password()).await?.status();
    ensure!(status == StatusCode::TOO_MANY_REQUESTS, "the right password came too late: {status}");
    nobody.log_in(NURSE, village.county.password()).await.map(drop)
}
