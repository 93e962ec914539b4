//! `/api/events`: what changes, as server-sent events. A ring of the last ones answers `Last-Event-ID`; nobody is
//! queued for, a slow reader finds the ring or is told to load anew.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use reelay_signaling::{ErrorCode, RecordingEvent, RecordingId, RoomName};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, Phase};
use super::caller::bearer;
use super::error::{Problem, ProblemBody, Query};
use crate::auth::{Caller, Grant, SignedQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Where events are published. Clones share one ring.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // Ids of another start of the server are of no use here.
    boot: String,
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
    listeners: AtomicUsize,
}

#[derive(Debug, Default)]
struct Ring {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

#[derive(Debug)]
struct Event {
    number: u64,
    kind: &'static str,
    room: Option<RoomName>,
    data: String,
}

impl Default for Events {
    fn default() -> Self {
        let boot = format!("{:x}", uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
        let shared =
            Shared { boot, ring: Mutex::default(), last: watch::Sender::new(0), listeners: AtomicUsize::new(0) };
        Self(Arc::new(shared))
    }
}

impl Events {
    /// Tells everybody who may replay recordings of `room` (without one: of every room).
    pub fn publish(&self, kind: &'static str, room: Option<RoomName>, data: &Value) {
        let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.next += 1;
        let number = ring.next;
        if ring.events.len() == RING {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::new(Event { number, kind, room, data: data.to_string() }));
        drop(ring);
        self.0.last.send_replace(number);
    }

    /// A manifest was opened, changed or closed; `summary` is the manifest without its files.
    pub fn manifest(&self, room: Option<RoomName>, summary: &str) {
        if let Ok(summary) = serde_json::from_str(summary) {
            self.publish("recording", room, &summary);
        }
    }

    /// Something happened to a recording.
    pub fn happened(&self, room: &RoomName, event: &RecordingEvent) {
        if let Ok(mut data) = serde_json::to_value(event) {
            data["room"] = json!(room);
            self.publish("recording-event", Some(room.clone()), &data);
        }
    }

    /// Something happened to a recording of which there is no more to say than its id.
    pub fn recording(&self, kind: &'static str, id: &RecordingId, room: Option<RoomName>) {
        let data = json!({ "id": id, "room": room });
        self.publish(kind, room, &data);
    }

    // The first event after `number`, and whether some before it are lost.
    fn after(&self, number: u64) -> Option<(Arc<Event>, bool)> {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ring.events.partition_point(|event| event.number <= number);
        let event = ring.events.get(at)?.clone();
        let has_gap = event.number != number + 1;
        Some((event, has_gap))
    }

    // Where to begin: after the id that the client saw last, or now. `None`: that id is of another start.
    fn position(&self, last_id: Option<&str>) -> Option<u64> {
        let last = *self.0.last.borrow();
        let Some(id) = last_id else { return Some(last) };
        let (boot, number) = id.split_once('-')?;
        let number = number.parse::<u64>().ok().filter(|number| *number <= last)?;
        (boot == self.0.boot).then_some(number)
    }
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    room: Option<String>,
    last_event_id: Option<String>,
    exp: Option<u64>,
    sig: Option<String>,
}

/// Hear of changes
///
/// Server-sent events: `recording` (a manifest without its files), `recording-event` (what happened: `event`, one of
/// `started`, `gap`, `paused`, `resumed`, `interrupted`, `disk-back`, `repaired`, `stopped`, `finished`, `deleted`, with `id`,
/// `room`, `t_ms`, `at` and more, as in `signaling/PROTOCOL.md`), `recording-deleted`, `recording-restored`, and
/// `reset` when events were missed and lists have to be loaded anew. Honours `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "recordings",
    params(
        ("room" = Option<String>, Query, description = "Only this room"),
        ("last_event_id" = Option<String>, Query, description = "As the header `Last-Event-ID`"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "A stream of events", content_type = "text/event-stream", body = String),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 503, description = "`limit-reached`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn events(State(app): State<App>, Query(query): Query<EventsQuery>, parts: Parts) -> Result<Response, Problem> {
    let room: Option<RoomName> = query.room.as_deref().map(str::parse).transpose()?;
    let signed = SignedQuery { exp: query.exp, sig: query.sig };
    let is_signed = app.auth.check_url(&signed_text(room.as_ref()), &signed, SystemTime::now())?;
    let expires = if is_signed {
        signed.exp.and_then(|exp| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(exp)))
    } else {
        let caller = app.auth.caller(bearer(&parts))?;
        caller.require(Grant::Replay, room.as_ref())?;
        caller.expires
    };
    let listener = Listener::new(&app.events)?;
    let header = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let position = app.events.position(header.or(query.last_event_id.as_deref()));
    let reader = Reader {
        room,
        number: position.unwrap_or_else(|| *app.events.0.last.borrow()),
        must_reset: position.is_none(),
        wake: app.events.0.last.subscribe(),
        ends: expires
            .and_then(|at| at.duration_since(SystemTime::now()).ok())
            .map(|left| tokio::time::Instant::now() + left),
        app,
        _listener: listener,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Reverse proxies would otherwise hold events back until a buffer is full.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

/// Where this caller's page hears of changes, signed where keys are on.
pub(super) fn url_for(app: &App, caller: &Caller) -> String {
    let room = caller.only_room();
    let signed = app.auth.sign_url(&signed_text(room), SystemTime::now());
    // A signature opens the door by itself, so only who may pass gets one.
    let may_pass = caller.allows(Grant::Replay, room);
    let signature = signed.split_once("?exp=").filter(|_| may_pass).map(|(_, rest)| format!("exp={rest}"));
    // Names have letters, digits and -_. only; what is not ASCII is escaped here.
    let room = room.map(|room| format!("room={}", escape(room.as_str())));
    let query: Vec<String> = [room, signature].into_iter().flatten().collect();
    if query.is_empty() { PATH.into() } else { format!("{PATH}?{}", query.join("&")) }
}

fn signed_text(room: Option<&RoomName>) -> String {
    room.map_or_else(|| PATH.to_owned(), |room| format!("{PATH} {room}"))
}

fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

struct Reader {
    app: App,
    room: Option<RoomName>,
    number: u64,
    must_reset: bool,
    wake: watch::Receiver<u64>,
    ends: Option<tokio::time::Instant>,
    _listener: Listener,
}

impl Reader {
    async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if std::mem::take(&mut self.must_reset) {
                return Some(self.event("reset", self.number, "{}".into()));
            }
            // Seen before the ring is read, so that nothing slips between.
            self.wake.mark_unchanged();
            let Some((event, has_gap)) = self.app.events.after(self.number) else {
                let ends = self.ends;
                tokio::select! {
                    changed = self.wake.changed() => changed.ok()?,
                    () = self.app.shutdown.reached(Phase::Stopping) => return None,
                    () = async { if let Some(at) = ends { tokio::time::sleep_until(at).await } else { std::future::pending().await } } => return None,
                }
                continue;
            };
            if has_gap {
                self.must_reset = true;
                self.number = event.number - 1;
                continue;
            }
            self.number = event.number;
            let is_wanted = self.room.as_ref().is_none_or(|room| event.room.as_ref() == Some(room));
            if is_wanted {
                return Some(self.event(event.kind, event.number, event.data.clone()));
            }
        }
    }

    fn event(&self, kind: &str, number: u64, data: String) -> SseEvent {
        SseEvent::default().event(kind).id(format!("{}-{number}", self.app.events.0.boot)).data(data)
    }
}

// Counts one reader for as long as it lives.
struct Listener(Arc<Shared>);

impl Listener {
    fn new(events: &Events) -> Result<Self, Problem> {
        let listener = Self(events.0.clone());
        if events.0.listeners.fetch_add(1, Ordering::Relaxed) >= MAX_LISTENERS {
            return Err(Problem::new(ErrorCode::LimitReached, "too many listen for events already"));
        }
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

const PATH: &str = "/api/events";
const RING: usize = 1024;
const MAX_LISTENERS: usize = 1000;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_go_on_where_they_were_or_learn_that_they_missed_something() {
        let events = Events::default();
        assert_eq!(events.position(None), Some(0));
        for n in 0..3 {
            events.publish("x", None, &json!(n));
        }
        let id = |n: u64| format!("{}-{n}", events.0.boot);
        assert_eq!(events.position(Some(&id(1))), Some(1));
        assert_eq!(events.position(Some(&id(9))), None);
        for bad in ["", "1", "other-1", "-", "other"] {
            assert_eq!(events.position(Some(bad)), None, "{bad}");
        }
        assert_eq!(events.after(1).map(|(event, gap)| (event.number, gap)), Some((2, false)));
        assert!(events.after(3).is_none());
        for n in 0..RING {
            events.publish("x", None, &json!(n));
        }
        assert_eq!(events.after(1).map(|(event, gap)| (event.number, gap)), Some((4, true)));
    }
}
