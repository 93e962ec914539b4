//! All live rooms: opened by who comes first, owned here, gone when empty.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reelay_signaling::{
    ClientMessage, ClosedReason, ErrorCode, Join, Moderation, ParticipantId, RecordingEvent, ResumeMedia, RoomName,
    RoomRecording,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::member::{Outbound, SessionKey};
use super::stay::{may_enter_at_all, resume_expired};
use super::task::{self, Input};
use super::web::{SdpAnswer, WebAction, WebRequest};
use super::{MediaLink, Now, Options, RoomEvent, Snapshot, refusal};
use crate::auth::{Caller, Grant, Refusal};
use crate::media::RoomKey;
use crate::places::Rates;

/// All live rooms; cheap to clone.
#[derive(Clone)]
pub struct Rooms(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: Arc<Options>,
    pub(super) media: MediaLink,
    pub(super) observer: mpsc::Sender<RoomEvent>,
    /// Gives out every key of the media plane.
    pub(super) keys: Arc<AtomicU64>,
    live: Mutex<HashMap<RoomName, RoomHandle>>,
    web_sessions: Mutex<HashMap<String, RoomHandle>>,
    tasks: Mutex<JoinSet<()>>,
    pub(super) count: watch::Sender<usize>,
    /// How often each address opens a room.
    openings: Rates,
    is_draining: AtomicBool,
}

/// One live room.
#[derive(Debug, Clone)]
pub struct RoomHandle {
    /// This life of it.
    pub key: RoomKey,
    /// Its name.
    pub name: RoomName,
    inputs: mpsc::Sender<Input>,
}

/// A socket's place in a room.
#[derive(Debug)]
pub struct Session {
    /// Who they are there.
    pub participant: ParticipantId,
    /// The room.
    pub room: RoomHandle,
    key: SessionKey,
}

impl Rooms {
    /// No room yet. Events of all rooms go to `observer`, which must be read.
    pub fn new(options: Options, media: MediaLink, observer: mpsc::Sender<RoomEvent>) -> Self {
        Self(Arc::new(Inner {
            openings: Rates::new(options.limits.new_rooms_per_minute),
            options: Arc::new(options),
            media,
            observer,
            keys: Arc::new(AtomicU64::new(1)),
            live: Mutex::default(),
            web_sessions: Mutex::default(),
            tasks: Mutex::default(),
            count: watch::Sender::new(0),
            is_draining: AtomicBool::new(false),
        }))
    }

    /// Joins or watches; opens the room if it is not live.
    ///
    /// # Errors
    /// Why not: `room-full`, `too-many-rooms`, `forbidden`, `draining` and others.
    pub async fn enter(&self, caller: Caller, join: Join, outbound: Outbound) -> Result<Session, Refusal> {
        // Before the room is opened: who may not enter opens none.
        may_enter_at_all(&self.0.options, &caller, join.role, &join.room)?;
        let key = self.new_session();
        let (name, from) = (join.room.clone(), caller.address);
        let (reply, answer) = oneshot::channel();
        let input = Input::Enter { caller, join: Box::new(join), session: (key, outbound), reply };
        let room = self.deliver(&name, from, input)?;
        let participant = answer.await.map_err(|_| room_gone())??;
        Ok(Session { participant, room, key })
    }

    /// Comes back with the token of the last `joined`.
    ///
    /// # Errors
    /// `resume-expired` when there is nothing to come back to.
    pub async fn resume(&self, token: &str, media: ResumeMedia, outbound: Outbound) -> Result<Session, Refusal> {
        let room_key = token.split_once('-').and_then(|(key, _)| u64::from_str_radix(key, 16).ok());
        let room = room_key.and_then(|key| self.by_key(RoomKey(key))).ok_or_else(resume_expired)?;
        let key = self.new_session();
        let (reply, answer) = oneshot::channel();
        let input = Input::Resume { token: token.to_owned(), media, session: (key, outbound), reply };
        room.send(input)?;
        let participant = answer.await.map_err(|_| resume_expired())??;
        Ok(Session { participant, room, key })
    }

    /// A new WHIP or WHEP session; the action carries its id. WHIP opens the room if it is not live.
    ///
    /// # Errors
    /// Why not.
    pub async fn web_open(
        &self,
        room: &RoomName,
        (caller, credential): (Caller, Option<[u8; 32]>),
        action: WebAction,
    ) -> Result<SdpAnswer, Refusal> {
        let id = action.id().to_owned();
        let opens_room = matches!(action, WebAction::Publish { .. });
        let (reply, answer) = oneshot::channel();
        let from = caller.address;
        let may_publish = caller.require(Grant::Publish, Some(room));
        let input = Input::Web(Box::new(WebRequest { caller, credential, action, reply }));
        let handle = if opens_room {
            may_publish?;
            self.deliver(room, from, input)?
        } else {
            let handle = self.find(room).ok_or_else(|| no_viewer_room(room))?;
            handle.send(input)?;
            handle
        };
        let answer = answer.await.map_err(|_| room_gone())??;
        lock(&self.0.web_sessions).insert(id, handle);
        Ok(answer)
    }

    /// PATCH or DELETE of a WHIP or WHEP session.
    ///
    /// # Errors
    /// `session-not-found` and what the room says.
    pub async fn web_act(
        &self,
        (caller, credential): (Caller, Option<[u8; 32]>),
        action: WebAction,
    ) -> Result<SdpAnswer, Refusal> {
        let found = lock(&self.0.web_sessions).get(action.id()).cloned();
        let no_session = || refusal(ErrorCode::SessionNotFound, "there is no such session");
        let (reply, answer) = oneshot::channel();
        let request = WebRequest { caller, credential, action, reply };
        found.ok_or_else(no_session)?.send(Input::Web(Box::new(request)))?;
        answer.await.map_err(|_| no_session())?
    }

    /// A live room.
    pub fn find(&self, name: &RoomName) -> Option<RoomHandle> {
        lock(&self.0.live).get(name).cloned()
    }

    /// The state of all live rooms, by name.
    pub async fn list(&self) -> Vec<Snapshot> {
        let mut rooms: Vec<_> = lock(&self.0.live).values().cloned().collect();
        rooms.sort_by(|a, b| a.name.cmp(&b.name));
        let mut snapshots = Vec::new();
        for room in rooms {
            snapshots.extend(room.snapshot().await);
        }
        snapshots
    }

    /// How many rooms are live.
    pub fn count(&self) -> usize {
        *self.0.count.borrow()
    }

    /// News of the recorder for a room; nothing happens if the room is over.
    pub fn on_recording(&self, room: RoomKey, recording: RoomRecording, recorded: Vec<ParticipantId>) {
        self.tell(room, Input::RecordingState { recording, recorded });
    }

    /// The recorder wants to record who has not been asked.
    pub fn on_consent_wanted(&self, room: RoomKey, by: Option<String>) {
        self.tell(room, Input::ConsentWanted { by });
    }

    /// Something happened to a recording of the room of this name, which may be over.
    pub fn on_recording_event(&self, room: &RoomName, event: RecordingEvent) {
        if let Some(room) = self.find(room)
            && room.inputs.try_send(Input::RecordingEvent(event)).is_err()
        {
            metrics::counter!("room_inputs_dropped_total").increment(1);
        }
    }

    /// From now on no new rooms.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Waits until no room is live.
    pub async fn empty(&self) {
        let mut count = self.0.count.subscribe();
        // An error means that the sender is gone, and we hold it.
        let _ = count.wait_for(|live| *live == 0).await;
    }

    /// Ends all rooms, tells everybody why, and waits for it, but not longer than `patience`.
    pub async fn close_all(&self, reason: ClosedReason, patience: Duration) {
        self.drain();
        let rooms: Vec<_> = lock(&self.0.live).values().cloned().collect();
        for room in rooms {
            // An error means that the room has just ended.
            let _ = room.inputs.send(Input::End { reason }).await;
        }
        if tokio::time::timeout(patience, self.empty()).await.is_err() {
            tracing::warn!(rooms = self.count(), "rooms did not end in time");
        }
    }

    fn tell(&self, room: RoomKey, input: Input) {
        if let Some(room) = self.by_key(room)
            && room.inputs.try_send(input).is_err()
        {
            metrics::counter!("room_inputs_dropped_total").increment(1);
        }
    }

    fn by_key(&self, key: RoomKey) -> Option<RoomHandle> {
        lock(&self.0.live).values().find(|room| room.key == key).cloned()
    }

    fn new_session(&self) -> SessionKey {
        SessionKey(self.0.keys.fetch_add(1, Ordering::Relaxed))
    }

    // Under the lock, so that a room that ends at this moment either gets the input or is not found.
    fn deliver(&self, name: &RoomName, from: Option<IpAddr>, input: Input) -> Result<RoomHandle, Refusal> {
        let mut live = lock(&self.0.live);
        if let Some(room) = live.get(name) {
            room.send(input)?;
            return Ok(room.clone());
        }
        if self.0.is_draining.load(Ordering::Relaxed) {
            return Err(refusal(ErrorCode::Draining, "this server is about to stop and opens no new rooms"));
        }
        let limit = self.0.options.limits.rooms;
        if live.len() >= limit {
            let text = format!("this server has {limit} rooms already (limits.rooms)");
            return Err(refusal(ErrorCode::TooManyRooms, text));
        }
        if !self.0.openings.allow(from, Now::read().at) {
            let limit = self.0.openings.limit();
            let text = format!("this address has opened {limit} rooms in a minute (limits.new_rooms_per_minute)");
            return Err(refusal(ErrorCode::TooFast, text));
        }
        let (inputs, receiver) = mpsc::channel(INPUTS);
        let key = RoomKey(self.0.keys.fetch_add(1, Ordering::Relaxed));
        let room = RoomHandle { key, name: name.clone(), inputs };
        room.send(input)?;
        live.insert(name.clone(), room.clone());
        self.0.count.send_replace(live.len());
        let mut tasks = lock(&self.0.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task::run(self.0.clone(), key, name.clone(), receiver));
        Ok(room)
    }
}

impl Inner {
    /// Takes an empty room out, unless somebody stands at its door.
    pub(super) fn end_if_alone(&self, name: &RoomName, inputs: &mpsc::Receiver<Input>) -> bool {
        let mut live = lock(&self.live);
        let is_alone = inputs.is_empty();
        if is_alone {
            live.remove(name);
            self.count.send_replace(live.len());
        }
        is_alone
    }

    /// Takes a room out whose task ends in any other way.
    pub(super) fn remove(&self, name: &RoomName, key: RoomKey) {
        let mut live = lock(&self.live);
        if live.get(name).is_some_and(|room| room.key == key) {
            live.remove(name);
            self.count.send_replace(live.len());
        }
        lock(&self.web_sessions).retain(|_, room| room.key != key);
    }

    pub(super) fn forget_web(&self, id: &str) {
        lock(&self.web_sessions).remove(id);
    }
}

impl RoomHandle {
    /// The state of this room; `None` if it has just ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Snapshot(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Mutes, removes or ends, on behalf of the API.
    ///
    /// # Errors
    /// `participant-not-found`, or `room-not-found` if the room has just ended.
    pub async fn moderate(&self, moderation: Moderation, by: Option<String>) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Moderate { moderation, by, reply })?;
        answer.await.map_err(|_| room_gone())?
    }

    fn send(&self, input: Input) -> Result<(), Refusal> {
        self.inputs.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                refusal(ErrorCode::Overloaded, "this room has more to do than it can")
            }
            mpsc::error::TrySendError::Closed(_) => room_gone(),
        })
    }
}

impl Session {
    /// Hands a message to the room.
    ///
    /// # Errors
    /// `overloaded` when the room has more to do than it can.
    pub fn message(&self, message: ClientMessage, reference: Option<String>) -> Result<(), Refusal> {
        self.room.send(Input::Message { session: self.key, message, reference })
    }

    /// Hands in who a new token of this session speaks of.
    ///
    /// # Errors
    /// `overloaded` when the room has more to do than it can.
    pub fn renew(&self, caller: Caller, reference: Option<String>) -> Result<(), Refusal> {
        self.room.send(Input::Renew { session: self.key, caller, reference })
    }

    /// The socket is gone.
    pub async fn gone(self) {
        // An error means that the room is over.
        let _ = self.room.inputs.send(Input::Gone { session: self.key }).await;
    }
}

fn room_gone() -> Refusal {
    refusal(ErrorCode::RoomNotFound, "there is no such room")
}

fn no_viewer_room(room: &RoomName) -> Refusal {
    refusal(ErrorCode::NobodyPublishes, format!("nobody publishes in '{room}'"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const INPUTS: usize = 1024;
