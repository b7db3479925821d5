//! Posts a message as JSON, signed. The recipe stands in the README of the gateway.

use super::sink::{Outcome, Webhook};
use anyhow::Context as _;
use aws_lc_rs::hmac;
use axum::{
    body::Body,
    http::{Request, header},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use model::time::WallTime;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{error::Error, fs, sync::Arc, time::Duration};

/// One who has not answered by then is tried again.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Shortest secret: shorter ones are guessed.
const SECRET_LEN_MIN: usize = 16;
/// Longest text of an error that is kept.
const DETAIL_LEN_MAX: usize = 300;

/// The name under which a receiver sees a message again that it may have had.
const KEY: &str = "idempotency-key";
const TIMESTAMP: &str = "clinic-timestamp";
const SIGNATURE: &str = "clinic-signature";

/// What a message is posted with: made anew after a failure, so that a file that was mended or a
/// secret that was changed counts without a restart.
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    secret: hmac::Key,
}

impl Poster {
    pub(super) fn new(webhook: &Webhook) -> anyhow::Result<Self> {
        let path = webhook.secret_file.display();
        let secret =
            fs::read(&webhook.secret_file).with_context(|| format!("reading the secret {path}"))?;
        let secret = secret.trim_ascii();
        if secret.len() < SECRET_LEN_MIN {
            anyhow::bail!("the secret in {path} is too short; use {SECRET_LEN_MIN} bytes or more");
        }
        // Redirects are not followed: this client knows none.
        let connector = match webhook.url.scheme_str() {
            Some("https") => {
                HttpsConnectorBuilder::new().with_tls_config(tls(webhook)?).https_only()
            }
            // Loopback, as the configuration says.
            _ => HttpsConnectorBuilder::new().with_tls_config(trusting_nobody()?).https_or_http(),
        };
        let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().build());
        Ok(Self { client, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    pub(super) async fn post(
        &self,
        webhook: &Webhook,
        key: &str,
        now: WallTime,
        body: String,
    ) -> Outcome {
        let timestamp = now.unix_ms() / 1000;
        let request = Request::post(webhook.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("clinic-gateway/", env!("CARGO_PKG_VERSION")))
            .header(KEY, key)
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signature(&self.secret, timestamp, &body))
            .body(Body::from(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Outcome::failed(error.to_string()),
        };
        match tokio::time::timeout(ANSWER_LIMIT, self.client.request(request)).await {
            Err(_) => Outcome::failed(format!("no answer in {} s", ANSWER_LIMIT.as_secs())),
            Ok(Err(error)) => Outcome::failed(chain(&error)),
            Ok(Ok(answer)) if answer.status().is_success() => {
                Outcome::delivered(format!("HTTP {}", answer.status().as_u16()))
            }
            Ok(Ok(answer)) => Outcome::failed(format!("HTTP {}", answer.status().as_u16())),
        }
    }
}

/// `v1=` and the HMAC-SHA256, in hex, of the timestamp, a dot and the body.
pub(super) fn signature(secret: &hmac::Key, timestamp: i64, body: &str) -> String {
    let mut context = hmac::Context::with_key(secret);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body.as_bytes());
    format!("v1={}", crate::people::hex(context.sign().as_ref()))
}

/// What went wrong, with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().take(DETAIL_LEN_MAX).collect()
}

fn tls(webhook: &Webhook) -> anyhow::Result<rustls::ClientConfig> {
    let path = webhook.ca_file.display();
    let mut roots = rustls::RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(&webhook.ca_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the certificates {path}"))?;
    let (added, _) = roots.add_parsable_certificates(found);
    anyhow::ensure!(added > 0, "there is no certificate in {path}; name a PEM file as ca_file");
    trusting(roots)
}

fn trusting_nobody() -> anyhow::Result<rustls::ClientConfig> {
    trusting(rustls::RootCertStore::empty())
}

fn trusting(roots: rustls::RootCertStore) -> anyhow::Result<rustls::ClientConfig> {
    // Named, because another package of the workspace brings a second provider into the tree.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
