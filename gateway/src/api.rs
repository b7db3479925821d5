//! The HTTP API and the board.
//!
//! - [`session`], [`attempts`]: who asks; log-in and log-out; how often a password may be tried
//! - [`own`]: one's own password and PIN; saying that one is still there
//! - [`data`]: sites, devices, readings, waveforms, ledger
//! - [`alerts`]: alerts, and what persons do with them
//! - [`rules`]: versions of the rules
//! - [`duty`]: who is on duty, and what the alerts of a time came to
//! - [`people`]: persons and tokens
//! - [`audit`]: what people did
//! - [`notifications`]: who was told of them beside the board
//! - [`patients`], [`bindings`]: patients; which device is on whom, results that wait for a patient
//! - [`boards`]: boards that are open, and whether each can be heard
//! - [`events`]: server-sent events
//! - [`pages`]: the board's own files
//! - [`large`]: questions that read much, few of them at once
//! - [`extract`], [`problem`]: what comes in with a request; errors
//!
//! `openapi.json` describes all of it; the tests hold the two together.
//!
//! # Invariants
//! - what somebody began is done to its end, whether they wait for the answer or hang up: what is
//!   committed is told to boards, engines and boxes

mod alerts;
mod attempts;
mod audit;
mod bindings;
mod boards;
mod data;
mod duty;
mod events;
mod extract;
mod large;
mod notifications;
mod own;
mod pages;
mod patients;
mod people;
mod problem;
mod rules;
mod session;

use crate::{
    boards::Boards,
    clock,
    code::Code,
    config::HttpConfig,
    disk::DiskState,
    events::Events,
    notify::standings,
    people::{Action, Caller},
    pki::Identity,
    query::Clinics,
    rule_sets::{LiveRules, preview::job::Previews},
    store::{Store, StoreError},
};
use anyhow::Context as _;
use attempts::Attempts;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
pub(crate) use large::LargeQuestions;
use metrics_exporter_prometheus::PrometheusHandle;
use problem::Problem;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

/// The largest body anybody sends is a rule set; acknowledging needs 600 bytes.
const BODY_MAX: usize = 256 * 1024;
/// Requests that are being answered get this long when the gateway stops.
const GRACE: Duration = Duration::from_secs(2);
/// The board loads its own files and nothing else.
const CONTENT_POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// What this API is, for programs.
const OPENAPI: &str = include_str!("api/openapi.json");

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) rules: LiveRules,
    pub(crate) events: Events,
    pub(crate) boards: Arc<Boards>,
    pub(crate) clinics: Arc<Clinics>,
    pub(crate) broker_up: watch::Receiver<bool>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) attempts: Arc<Attempts>,
    /// Of those who are logged in: what strangers try at log-in has no part in them.
    pub(crate) confirmations: Arc<Attempts>,
    /// The preview of rules that is under way, or the last one.
    pub(crate) previews: Arc<Previews>,
    /// Leave to ask what reads much of the database.
    pub(crate) large: LargeQuestions,
    /// Whether the board is reached over HTTPS only.
    pub(crate) https: bool,
    pub(crate) stopped: CancellationToken,
}

/// A path and what it answers to.
type Route = (&'static str, MethodRouter<App>);

/// A server that listens.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// Serves until the gateway stops.
    pub(crate) task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Listens, and hands out the task that serves.
pub(crate) async fn serve(
    app: App,
    config: &HttpConfig,
    identity: &Identity,
    stopped: CancellationToken,
) -> anyhow::Result<Served> {
    let listener = std::net::TcpListener::bind(config.address)
        .with_context(|| format!("listening at {}; choose another port", config.address))?;
    listener.set_nonblocking(true).context("setting the listener up")?;
    let address = listener.local_addr().context("asking for the port")?;
    let service = router(app).into_make_service();
    let handle = Handle::new();
    let ending = handle.clone();
    let end = async move {
        stopped.cancelled().await;
        ending.graceful_shutdown(Some(GRACE));
    };
    let ended = |result: std::io::Result<()>| {
        if let Err(error) = result {
            tracing::error!(%error, "The HTTP server failed.");
        }
    };
    let task: Pin<Box<dyn Future<Output = ()> + Send>> = if config.tls {
        let tls = RustlsConfig::from_config(Arc::new(tls(identity)?));
        let server =
            axum_server::from_tcp_rustls(listener, tls).context("setting HTTPS up")?.handle(handle);
        Box::pin(async move { ended(tokio::join!(server.serve(service), end).0) })
    } else {
        let server = axum_server::from_tcp(listener).context("setting HTTP up")?.handle(handle);
        Box::pin(async move { ended(tokio::join!(server.serve(service), end).0) })
    };
    Ok(Served { address, task })
}

fn tls(identity: &Identity) -> anyhow::Result<rustls::ServerConfig> {
    let read = || format!("reading {}; run `clinic-gateway pki init`", identity.cert.display());
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(read)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).with_context(read)?;
    // Named, because another package of the workspace brings a second provider into the tree.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn router(app: App) -> Router {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ];
    let api = with(api_routes()).layer(SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    ));
    let mut router = with(service_routes())
        .nest("/api/v1", api)
        .fallback(pages::page)
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::WrongMethod, "see /api/v1/openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(to_its_end))
        .with_state(app);
    for (name, value) in headers {
        router = router
            .layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)));
    }
    router
}

/// Answers what may change something in a task of its own: whoever hangs up ends only what is asked,
/// not what is done.
async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let answer = tokio::spawn(next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::from(StoreError::Panicked).into_response())
}

/// Everything below `/api/v1`.
fn api_routes() -> Vec<Route> {
    let own = vec![("/openapi.json", get(openapi))];
    let people = [session::routes(), own::routes(), people::routes(), audit::routes()].concat();
    let alerts =
        [alerts::routes(), boards::routes(), duty::routes(), notifications::routes()].concat();
    let patients = [patients::routes(), bindings::routes()].concat();
    [people, data::routes(), alerts, patients, rules::routes(), events::routes(), own].concat()
}

/// For those who watch over the service.
fn service_routes() -> Vec<Route> {
    vec![
        ("/healthz", get(|| async { "ok\n" })),
        ("/readyz", get(readyz)),
        ("/metrics", get(counters)),
    ]
}

fn with(routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, (path, answers)| router.route(path, answers))
}

async fn readyz(State(app): State<App>) -> Result<String, Problem> {
    let sinks = app.store.read(|connection| standings(connection, clock::now())).await?;
    let failing: Vec<String> = sinks
        .into_iter()
        .filter(|standing| standing.failing_since.is_some())
        .map(|standing| standing.sink)
        .collect();
    let not_ready = |code, detail: &str| Err(Problem::new(code, detail));
    match (*app.broker_up.borrow(), app.store.disk().found().state()) {
        (true, DiskState::Good) if failing.is_empty() => Ok("ready\n".to_owned()),
        (true, DiskState::Good) => Ok(format!(
            "ready; notifications do not get through to {}, see /api/v1/notifications\n",
            failing.join(", ")
        )),
        (true, DiskState::Low) => Ok("ready; the disk is nearly full, make room\n".to_owned()),
        (_, DiskState::Full) => not_ready(
            Code::DiskFull,
            "only urgent records are taken in, the rest waits at the clinics; make room on the \
             disk of the data folder, it goes on by itself",
        ),
        (_, DiskState::Failing) => not_ready(
            Code::DatabaseUnwritten,
            "readings wait at the clinics; look at the disk of the data folder and at who owns \
             it, it goes on by itself",
        ),
        (false, _) => not_ready(Code::NoBroker, "readings wait at the clinics; check the broker"),
    }
}

async fn counters(State(app): State<App>, caller: Caller) -> Result<String, Problem> {
    caller.may(Action::ReadCounters)?;
    Ok(app.metrics.render())
}

async fn openapi(_: Caller) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests;
