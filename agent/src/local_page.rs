//! The box's own page: what is wrong, what still works, how long it holds; acknowledging while the
//! county is out of reach.
//!
//! HTTP without TLS, on the box alone unless the configuration names another address: no name of a
//! patient is on the box.
//!
//! - [`door`]: who may acknowledge
//! - `agent/page`: the page itself
//!
//! # Invariants
//! - connections, their time and what they send are bounded
//! - a page of another origin can neither read nor acknowledge

mod door;

use crate::{
    alerts::{Acknowledge, AcknowledgeHereError, NewestValue, rfc3339},
    config::{AgentConfig, PageConfig},
    status::{Facts, Sources},
};
use door::{Door, DoorError};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rules::{
    alert::{AckReason, AlertId},
    engine::ActionError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A screen at the box, and some phones.
const CONNECTIONS_MAX: usize = 16;
/// A connection is one question: the slowest phone has sent it by then.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// An address that is taken, or not there yet, is tried again after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(15);
/// After a connection could not be taken: the system has no more of them.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// Longest head of a question.
const HEAD_LEN_MAX: usize = 16 << 10;
/// A name, a PIN, a reason and a note.
const BODY_LEN_MAX: usize = 8 << 10;

/// The files of the page: path, type, content.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("../page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("../page/page.js")),
    ("/zh-CN.json", "application/json", include_str!("../page/zh-CN.json")),
    ("/en.json", "application/json", include_str!("../page/en.json")),
];
/// Nothing from elsewhere, nothing inside another page, nothing kept.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

type Answer = Response<Full<Bytes>>;

/// The page and all it needs.
#[derive(Clone)]
pub(crate) struct LocalPage(Arc<Parts>);

struct Parts {
    config: PageConfig,
    time_zone: jiff::tz::TimeZone,
    has_hook: bool,
    sources: Sources,
    door: Door,
    stopped: CancellationToken,
}

/// What the page is told.
#[derive(Serialize)]
struct State {
    /// The box's clock: ages go by it.
    now: String,
    /// Seconds east of UTC at the clinic.
    offset_s: i32,
    facts: Facts,
    newest: Vec<NewestValue>,
    kinds: BTreeMap<String, &'static str>,
    has_hook: bool,
    people: Vec<String>,
    /// Whether a PIN is asked for here, and whether one can be given.
    pin: &'static str,
}

/// What somebody sends who has an alert in hand.
#[derive(Deserialize)]
struct Said {
    id: String,
    by: String,
    #[serde(default)]
    pin: String,
    reason: String,
    #[serde(default)]
    note: String,
}

impl LocalPage {
    pub(crate) fn new(
        config: &AgentConfig,
        page: PageConfig,
        sources: Sources,
        stopped: CancellationToken,
    ) -> Self {
        let door = Door::new(page.pin_file.clone());
        let (time_zone, has_hook) = (config.time_zone.clone(), config.hook.is_some());
        Self(Arc::new(Parts { config: page, time_zone, has_hook, sources, door, stopped }))
    }
}

/// Serves the page until the agent stops.
pub(crate) async fn serve(LocalPage(parts): LocalPage) {
    let Some(listener) = parts.listen().await else { return };
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => open.push(connection(&parts, stream, peer)),
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
            Some(()) = open.next() => {}
            () = parts.stopped.cancelled() => return,
        }
    }
}

/// One question and its answer.
async fn connection(parts: &Parts, stream: TcpStream, peer: SocketAddr) {
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(parts.answer(peer.ip(), request).await) },
        );
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).header_read_timeout(None).max_buf_size(HEAD_LEN_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    // Whoever asks badly or goes away is answered by the end of the connection.
    drop(tokio::time::timeout(CONNECTION_LIMIT, served).await);
}

impl Parts {
    async fn listen(&self) -> Option<TcpListener> {
        let at = self.config.listen;
        let mut is_told = false;
        loop {
            let bound = TcpListener::bind(at).await.and_then(|listener| {
                let at = listener.local_addr()?;
                Ok((listener, at))
            });
            let error = match bound {
                Ok((listener, at)) => {
                    self.sources.board.page(&format!("http://{at}/"));
                    return Some(listener);
                }
                Err(error) => error,
            };
            let why = format!(
                "none: {at} cannot be used: {error}; name another address in local_page.listen"
            );
            if !is_told {
                tracing::warn!(why, "The box has no page; it is tried again.");
            }
            is_told = true;
            self.sources.board.page(&why);
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = self.stopped.cancelled() => return None,
            }
        }
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let Some(host) = own_host(request.headers()) else {
            return problem(StatusCode::FORBIDDEN, "host", None);
        };
        let path = request.uri().path();
        if request.method() == Method::GET {
            if let Some((_, kind, text)) = FILES.iter().find(|(known, ..)| *known == path) {
                return respond(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()));
            }
            return match path {
                "/state.json" => self.state(peer).await,
                _ => problem(StatusCode::NOT_FOUND, "not_found", None),
            };
        }
        if request.method() == Method::POST && path == "/acknowledge" {
            if !is_from_here(request.headers(), &host) {
                return problem(StatusCode::FORBIDDEN, "origin", None);
            }
            let body = Limited::new(request.into_body(), BODY_LEN_MAX).collect().await;
            let said = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
            return match said {
                Some(said) => self.acknowledge(peer, said).await,
                None => problem(StatusCode::BAD_REQUEST, "not_understood", None),
            };
        }
        problem(StatusCode::METHOD_NOT_ALLOWED, "method", None)
    }

    async fn state(&self, peer: IpAddr) -> Answer {
        let (facts, picture) = self.sources.facts().await;
        let (newest, kinds) =
            picture.map(|picture| (picture.newest, picture.kinds)).unwrap_or_default();
        let state = State {
            now: rfc3339(self.sources.clock.now().wall),
            offset_s: self.sources.clock.offset_s(&self.time_zone),
            facts,
            newest,
            kinds,
            has_hook: self.has_hook,
            people: self.config.people.clone(),
            pin: self.door.asks(peer.is_loopback()),
        };
        match serde_json::to_value(&state) {
            Ok(state) => json_answer(StatusCode::OK, &state),
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "failed", None),
        }
    }

    async fn acknowledge(&self, peer: IpAddr, said: Said) -> Answer {
        let Said { id, by, pin, reason, note } = said;
        if !self.config.people.contains(&by) {
            return problem(StatusCode::FORBIDDEN, "person_unknown", None);
        }
        let (Some(id), Some(reason)) = (AlertId::from_hex(&id), AckReason::from_name(&reason))
        else {
            return problem(StatusCode::BAD_REQUEST, "not_understood", None);
        };
        match self.door.open(peer.is_loopback(), &pin, self.sources.clock.mono()) {
            Ok(()) => {}
            Err(DoorError::Wrong) => return problem(StatusCode::FORBIDDEN, "pin_wrong", None),
            Err(DoorError::Locked) => {
                return problem(StatusCode::TOO_MANY_REQUESTS, "pin_locked", None);
            }
            Err(error @ (DoorError::None | DoorError::Unreadable)) => {
                tracing::warn!(%error, "Nobody can acknowledge on the page of the box.");
                return problem(StatusCode::FORBIDDEN, "pin_missing", None);
            }
        }
        let acknowledge = Acknowledge { id, by, reason, note };
        match self.sources.alerts.acknowledge(acknowledge).await {
            Ok(alert) => json_answer(StatusCode::OK, &json!({ "alert": alert })),
            Err(AcknowledgeHereError::InReach) => problem(StatusCode::CONFLICT, "in_reach", None),
            Err(AcknowledgeHereError::Closed) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", None)
            }
            Err(AcknowledgeHereError::Rules(error)) => match error {
                ActionError::NotFound => problem(StatusCode::NOT_FOUND, "gone", None),
                ActionError::AlreadyAcknowledged { by } | ActionError::OutOfService { by } => {
                    problem(StatusCode::CONFLICT, "first", Some(&by))
                }
                _ => problem(StatusCode::CONFLICT, "over", None),
            },
        }
    }
}

/// The host that was asked, where it is an address of this box: a name could be anybody's, and a
/// page of that name could read this one.
fn own_host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    (is_address || name == "localhost").then(|| host.to_owned())
}

/// Whether a page of this box sent it: a form of another page cannot send JSON.
fn is_from_here(headers: &HeaderMap, host: &str) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_json =
        text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    is_json && text(header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"))
}

fn problem(status: StatusCode, problem: &str, by: Option<&str>) -> Answer {
    json_answer(status, &json!({ "problem": problem, "by": by }))
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    respond(status, "application/json", value.to_string().into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let kind = (header::CONTENT_TYPE, kind);
    for (name, value) in HEADERS.into_iter().chain([kind]) {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
