//! Server-sent events: readings, waveforms that were asked for, alerts, devices, sites.
//!
//! # Invariants
//! - the stream ends with the session or token that opened it, and with the rights it was opened by
//! - nobody hears of what they may not see
//! - an event that was told is on its way, pressed or not

use super::{App, Problem, Route, extract::Query, pages, session::Credential};
use crate::{
    clock,
    events::{Event as News, EventId, Missed},
    people::{Action, Caller},
    query,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeSet, convert::Infallible, io::Write as _, mem, sync::Arc, time::Duration,
};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream, errors::BroadcastStreamRecvError};

/// A board knows that the link is alive, and the county's time.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Strips one board shows at once.
const STRIPS_MAX: usize = 64;

pub(super) fn routes() -> Vec<Route> {
    vec![("/events", get(events))]
}

#[derive(Deserialize)]
struct Wanted {
    /// `site:device:metric`, separated by commas.
    #[serde(default)]
    waveforms: String,
}

async fn events(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.may(Action::SeeSites)?;
    let strips: BTreeSet<String> =
        wanted.waveforms.split(',').take(STRIPS_MAX).map(ToOwned::to_owned).collect();
    let last = headers.get("last-event-id");
    let last = last.map(|id| id.to_str().unwrap_or_default().parse::<EventId>());
    let (missed, live) = match last {
        None => (Missed::Events(Vec::new()), app.events.follow()),
        Some(Ok(last)) => app.events.follow_after(last),
        Some(Err(_)) => (Missed::TooMuch, app.events.follow()),
    };
    let missed = match missed {
        Missed::TooMuch => vec![resync(Lost::Before)],
        Missed::Events(events) => events.iter().filter_map(|news| told(news, &caller)).collect(),
    };
    let generation = app.store.read(query::generation).await?;
    let hello = json!({"server_time": now(), "board": *pages::MARK, "generation": generation});
    let hello = Event::default().event("hello").data(hello.to_string());
    let listener = caller.clone();
    let live = BroadcastStream::new(live).filter_map(move |news| {
        let event = match news {
            Err(BroadcastStreamRecvError::Lagged(_)) => Some(resync(Lost::Within)),
            Ok(news) if news.wave.as_ref().is_some_and(|wave| !strips.contains(wave)) => None,
            Ok(news) => told(&news, &listener),
        };
        async move { event }
    });
    let beats = IntervalStream::new(tokio::time::interval(HEARTBEAT))
        .map(|_| Event::default().event("heartbeat").data(server_time()));
    let all = stream::iter([hello]).chain(stream::iter(missed)).chain(stream::select(live, beats));
    let over = over(app, Credential::of(&headers), caller);
    let told = Sse::new(all.map(Ok::<_, Infallible>).take_until(over)).into_response();
    Ok(if takes_gzip(&headers) { pressed(told) } else { told })
}

/// Whether who asks understands gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|coding| coding.trim() == "gzip")
}

/// The stream in gzip: most of an event is what the one before it said, too. Each event is flushed,
/// so that none waits for the next.
fn pressed(told: Response) -> Response {
    let (mut head, body) = told.into_parts();
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let parts = body.into_data_stream().map(Some).chain(stream::iter([None]));
    let parts = parts.map(move |part| {
        match part {
            Some(part) => {
                gzip.write_all(&part?)?;
                gzip.flush()?;
            }
            None => gzip.try_finish()?,
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(mem::take(gzip.get_mut()))
    });
    Response::from_parts(head, Body::from_stream(parts))
}

/// Waits until the gateway stops, or until whoever asked may no longer, or may something else.
async fn over(app: App, credential: Option<Credential>, caller: Caller) {
    let mut look = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            () = app.stopped.cancelled() => return,
            _ = look.tick() => {}
        }
        let Some(credential) = &credential else { return };
        match credential.caller(&app).await {
            Ok(found) if found.as_ref() != Some(&caller) => return,
            Ok(_) => {}
            // It proves nothing: the board keeps what it has.
            Err(error) => tracing::warn!(%error, "A session could not be looked at."),
        }
    }
}

/// An event as the caller may hear it, if at all.
fn told(news: &Arc<News>, caller: &Caller) -> Option<Event> {
    caller.may(seen_by(news)).ok()?;
    let data = news.within(&caller.scope)?;
    Some(Event::default().event(news.name).id(news.id.to_string()).data(data))
}

/// What one must be allowed to do to hear it.
fn seen_by(news: &News) -> Action {
    match news.name {
        "alert" if news.is_of_the_county() => Action::SeeServiceAlerts,
        "alert" | "boards" => Action::SeeAlerts,
        "site" | "broker" | "disk" | "sink" => Action::SeeSites,
        _ => Action::SeeReadings,
    }
}

/// What a board has missed and will never hear.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Lost {
    /// What came before its stream began: whoever fetches everything at `hello` has it.
    Before,
    /// Something out of the middle of its stream.
    Within,
}

fn resync(lost: Lost) -> Event {
    Event::default().event("resync").data(json!({"lagging": lost == Lost::Within}).to_string())
}

fn server_time() -> String {
    json!({"server_time": now()}).to_string()
}

fn now() -> String {
    clock::rfc3339(clock::now().unix_ms())
}
