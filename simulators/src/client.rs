//! The county's HTTP API, as a program uses it.

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::DeserializeOwned};
use std::{path::Path, sync::Arc};

/// The most the API gives at once.
const PAGE: usize = 10_000;

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
    /// The agent's clock when it was decoded.
    pub observed_time: String,
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
    /// Samples in device units.
    pub samples: Vec<i32>,
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
    pub gaps: Vec<serde_json::Value>,
    /// What the agent gave up.
    pub dropped: Vec<serde_json::Value>,
    /// What could not be taken.
    pub quarantined: Vec<serde_json::Value>,
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
        let answer = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .query(query)
            .send()
            .await
            .with_context(|| format!("asking {}{path}", self.url))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("reading {path}"))?;
        if !status.is_success() {
            bail!("GET {path} was answered with {status}: {text}");
        }
        serde_json::from_str(&text)
            .with_context(|| format!("the answer to {path} is not as agreed"))
    }

    /// Every reading the county has, ascending by observed time.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn readings(&self) -> anyhow::Result<Vec<ApiReading>> {
        #[derive(Deserialize)]
        struct Page {
            readings: Vec<ApiReading>,
            next_cursor: Option<String>,
        }
        let limit = PAGE.to_string();
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", limit.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page = self.get("/api/v1/readings", &query).await?;
            all.extend(page.readings);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Every block of one lead between two moments (RFC 3339).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn blocks(
        &self,
        device: &str,
        metric: &str,
        from: &str,
        to: &str,
    ) -> anyhow::Result<Vec<ApiBlock>> {
        #[derive(Deserialize)]
        struct Answer {
            blocks: Vec<ApiBlock>,
        }
        let query = [("device", device), ("metric", metric), ("from", from), ("to", to)];
        Ok(self.get::<Answer>("/api/v1/waveforms", &query).await?.blocks)
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

    /// All alerts, whatever their state.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn alerts(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        #[derive(Deserialize)]
        struct Answer {
            alerts: Vec<serde_json::Value>,
        }
        Ok(self.get::<Answer>("/api/v1/alerts", &[]).await?.alerts)
    }

    /// The stream of events, as it comes from the wire.
    ///
    /// # Errors
    /// When the county does not answer.
    pub async fn events(&self) -> anyhow::Result<reqwest::Response> {
        let answer = self
            .http
            .get(format!("{}/api/v1/events", self.url))
            .bearer_auth(&self.token)
            .send()
            .await
            .context("asking for events")?;
        answer.error_for_status().context("asking for events")
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
