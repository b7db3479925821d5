//! The county's HTTP API, as a program uses it.

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use std::{path::Path, sync::Arc};

/// Readings in one answer: the most the API gives.
const READINGS_PAGE: &str = "10000";

/// One reading as the API tells it; what the bench does not compare is left out.
#[derive(Clone, Debug, Deserialize)]
pub struct ApiReading {
    /// Device id.
    pub device: String,
    /// Channel; empty where the device has only one.
    pub channel: String,
    /// Metric name.
    pub metric: String,
    /// Value as sent.
    pub value: Option<String>,
    /// `<`, `>` or absent.
    pub comparator: Option<String>,
    /// Unit as sent.
    pub unit: Option<String>,
    /// Why there is no value.
    pub no_data: Option<String>,
    /// Device time, UTC.
    pub device_time: Option<String>,
    /// The device's own number for it.
    pub device_seq: Option<u64>,
    /// When the agent decoded it, by the county's clock.
    pub placed_time: String,
    /// This is a marked copy.
    pub duplicate_of: Option<serde_json::Value>,
    /// Outbox id.
    pub outbox: String,
    /// Lane.
    pub lane: String,
    /// Envelope.
    pub seq: u64,
    /// Place in the envelope.
    pub index: u64,
}

impl ApiReading {
    /// What names this reading for ever.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.outbox, self.lane, self.seq, self.index)
    }
}

/// One waveform block as the API tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct ApiBlock {
    /// Start, by the agent's clock.
    pub start: String,
    /// Seconds from sample to sample.
    pub period: ApiPeriod,
    /// Samples in device units.
    pub samples: Vec<i32>,
}

/// A period as a ratio.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ApiPeriod {
    /// 1 of 1/500 s.
    pub num: u32,
    /// 500 of 1/500 s.
    pub den: u32,
}

/// One outbox lane of the ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct LedgerLane {
    /// The site.
    pub site: String,
    /// Outbox id.
    pub outbox: String,
    /// Lane.
    pub lane: String,
    /// Everything up to here has arrived.
    pub watermark: Option<u64>,
    /// What is missing below the highest that arrived.
    pub gaps: Vec<[u64; 2]>,
    /// What the agent gave up.
    pub dropped: Vec<[u64; 2]>,
    /// What could not be taken.
    pub quarantined: Vec<[u64; 2]>,
}

/// The county's API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// `ca` is the county's own CA where the API is HTTPS.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub fn new(url: &str, token: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        // An error means that somebody was first.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(path) = ca {
            builder = builder.use_preconfigured_tls(trusting(path)?);
        }
        Ok(Self {
            http: builder.build().context("making an HTTP client")?,
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    /// `GET` of a path with a query, as JSON.
    ///
    /// # Errors
    /// When the county does not answer, or answers with an error; the message has what it said.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        serde_json::from_str(&self.ask(path, query).await?)
            .with_context(|| format!("the answer to {path} is not as agreed"))
    }

    /// Readings the county has stored since it started, by its own counter.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn readings_stored(&self) -> anyhow::Result<u64> {
        const NAME: &str = "gateway_readings_stored_total ";
        let counters = self.ask("/metrics", &[]).await?;
        // A counter that never counted is not told.
        let told = counters.lines().find_map(|line| line.strip_prefix(NAME));
        told.map_or(Ok(0), |told| told.trim().parse().with_context(|| format!("{NAME}{told}")))
    }

    /// `POST` of JSON; the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let text = self.send("POST", path, self.http.post(self.at(path)).json(body)).await?;
        serde_json::from_str(&text)
            .with_context(|| format!("the answer to {path} is not as agreed"))
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        self.send("GET", path, self.http.get(self.at(path)).query(query)).await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<String> {
        let answer = request
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("asking {}", self.at(path)))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("reading {path}"))?;
        if !status.is_success() {
            bail!("{method} {path} was answered with {status}: {text}");
        }
        Ok(text)
    }

    /// Everything in a list that the county gives in pages.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        list: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<Vec<T>> {
        let wrong = || format!("the answer to {path} is not as agreed");
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut asked = query.to_vec();
            asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page: serde_json::Value = self.get(path, &asked).await?;
            let part = page.get_mut(list).map(serde_json::Value::take).with_context(wrong)?;
            all.extend(serde_json::from_value::<Vec<T>>(part).with_context(wrong)?);
            let next = page.get("next_cursor").and_then(serde_json::Value::as_str);
            match next.map(ToOwned::to_owned) {
                None => return Ok(all),
                next if next == cursor => bail!("{path} gives the same page again"),
                next => cursor = next,
            }
        }
    }

    /// Every reading of a device from a moment on (RFC 3339), ascending by observed time.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn readings(&self, device: &str, from: &str) -> anyhow::Result<Vec<ApiReading>> {
        let query = [("device", device), ("from", from), ("limit", READINGS_PAGE)];
        self.pages("/api/v1/readings", "readings", &query).await
    }

    /// Every block of one lead from a moment on (RFC 3339).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn blocks(
        &self,
        device: &str,
        metric: &str,
        from: &str,
    ) -> anyhow::Result<Vec<ApiBlock>> {
        let query = [("device", device), ("metric", metric), ("from", from)];
        self.pages("/api/v1/waveforms", "blocks", &query).await
    }

    /// The county's account of what arrived.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn ledger(&self) -> anyhow::Result<Vec<LedgerLane>> {
        #[derive(Deserialize)]
        struct Answer {
            outboxes: Vec<LedgerLane>,
        }
        Ok(self.get::<Answer>("/api/v1/ledger", &[]).await?.outboxes)
    }

    /// All alerts that began from a moment on (RFC 3339), whatever their state.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn alerts(&self, from: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        #[derive(Deserialize)]
        struct Answer {
            alerts: Vec<serde_json::Value>,
        }
        Ok(self.get::<Answer>("/api/v1/alerts", &[("from", from)]).await?.alerts)
    }

    /// The stream of events, as it comes from the wire.
    ///
    /// # Errors
    /// When the county does not answer.
    pub async fn events(&self) -> anyhow::Result<reqwest::Response> {
        let answer = self
            .http
            .get(self.at("/api/v1/events"))
            .bearer_auth(&self.token)
            .send()
            .await
            .context("asking for events")?;
        answer.error_for_status().context("asking for events")
    }
}

/// Tells every reading on that stream of events, and when it came, until the stream ends.
pub async fn each_reading(
    events: reqwest::Response,
    mut tell: impl FnMut(jiff::Timestamp, ApiReading),
) {
    #[derive(Deserialize)]
    struct Batch {
        readings: Vec<ApiReading>,
    }
    each_event(events, |now, name, data| {
        let batch = (name == "reading").then(|| serde_json::from_str::<Batch>(data).ok()).flatten();
        for reading in batch.into_iter().flat_map(|batch| batch.readings) {
            tell(now, reading);
        }
    })
    .await;
}

/// Tells every event on that stream, its name, its data, and when it came, until the stream ends.
pub async fn each_event(
    events: reqwest::Response,
    mut tell: impl FnMut(jiff::Timestamp, &str, &str),
) {
    let mut bytes = events.bytes_stream();
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(Ok(chunk)) = bytes.next().await {
        let now = jiff::Timestamp::now();
        waiting.extend(chunk);
        while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = waiting.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (line("event:"), line("data:")) {
                tell(now, name.trim(), data.trim());
            }
        }
    }
}

/// TLS that trusts the county's CA and nobody else.
fn trusting(ca: &Path) -> anyhow::Result<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca)
        .with_context(|| format!("reading the CA {}", ca.display()))?;
    roots.add(certificate).with_context(|| format!("{} is no CA", ca.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choosing TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
