//! Server-sent events: readings, waveforms that were asked for, alerts, devices, sites.

use super::App;
use crate::{
    clock,
    events::{Event as News, Missed},
    people::Caller,
};
use axum::{
    Router,
    extract::{Query, State},
    http::HeaderMap,
    response::sse::{Event, Sse},
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream, errors::BroadcastStreamRecvError};

/// A board knows that the link is alive, and the county's time.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Strips one board shows at once.
const STRIPS_MAX: usize = 64;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/events", get(events))
}

#[derive(Deserialize)]
struct Wanted {
    /// `site:device:metric`, separated by commas.
    #[serde(default)]
    waveforms: String,
}

async fn events(
    State(app): State<App>,
    _: Caller,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let strips: BTreeSet<String> =
        wanted.waveforms.split(',').take(STRIPS_MAX).map(ToOwned::to_owned).collect();
    // Subscribed before what was missed is read: nothing falls in between.
    let live = app.events.subscribe();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let missed = match last.map(|id| app.events.missed_after(id)) {
        None => Vec::new(),
        Some(Missed::TooMuch) => vec![Event::default().event("resync").data("{}")],
        Some(Missed::Events(events)) => events.iter().map(told).collect(),
    };
    let newest = last.unwrap_or_default();
    let hello = Event::default().event("hello").data(server_time());
    let live = BroadcastStream::new(live).filter_map(move |news| {
        let event = match news {
            Err(BroadcastStreamRecvError::Lagged(_)) => {
                Some(Event::default().event("resync").data("{}"))
            }
            Ok(news) if news.wave.as_ref().is_some_and(|wave| !strips.contains(wave)) => None,
            Ok(news) if news.id <= newest => None,
            Ok(news) => Some(told(&news)),
        };
        async move { event }
    });
    let beats = IntervalStream::new(tokio::time::interval(HEARTBEAT))
        .map(|_| Event::default().event("heartbeat").data(server_time()));
    let stopped = app.stopped;
    let all = stream::iter([hello]).chain(stream::iter(missed)).chain(stream::select(live, beats));
    Sse::new(all.map(Ok).take_until(async move { stopped.cancelled().await }))
}

fn told(news: &Arc<News>) -> Event {
    Event::default().event(news.name).id(news.id.to_string()).data(&news.data)
}

fn server_time() -> String {
    json!({"server_time": clock::rfc3339(clock::now().unix_ms())}).to_string()
}
