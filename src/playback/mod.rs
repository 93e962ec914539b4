//! A recording as a live source: read at its own pace by its own clock, sent to as many viewers as want to see it.
//! The first viewer starts it, and some seconds after the last one it ends. Knows neither rooms nor HTTP.

mod reader;
mod run;
mod script;
mod stream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reelay_signaling::{ErrorCode, ParticipantId, RecordingId, TrackId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::media::{Command, LegKey, Media, MediaError, RoomKey};
use crate::places::{Place, Places};
use crate::recording::SegmentEntry;
use reader::OpenError;
pub use script::Wanted;
use stream::Streams;

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Playbacks at the same time.
    pub playbacks: usize,
    /// Viewers of one.
    pub viewers: usize,
    /// Connections of one address that are being set up.
    pub half_open_per_address: usize,
    /// How long a viewer's connection may take until it stands.
    pub connect_timeout: Duration,
}

/// All playbacks; cheap to clone.
#[derive(Clone)]
pub struct Playbacks(Arc<Inner>);

struct Inner {
    media: Media,
    options: Options,
    setups: Places,
    keys: AtomicU64,
    state: Mutex<State>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    live: HashMap<What, Live>,
    sessions: HashMap<String, Session>,
}

/// Viewers who want the same see the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct What {
    /// The recording.
    pub recording: RecordingId,
    /// Whom of it.
    pub wanted: Wanted,
    /// From where on, in milliseconds of the recording.
    pub from_ms: u64,
}

#[derive(Debug, Clone)]
struct Live {
    room: RoomKey,
    tracks: [TrackId; 2],
}

struct Session {
    room: RoomKey,
    leg: LegKey,
    credential: Option<[u8; 32]>,
    etag: String,
    since: Instant,
    /// When the right to it ends.
    expires: Option<SystemTime>,
    /// While the connection is being set up.
    setup: Option<Place>,
}

/// Somebody who wants to see a recording.
#[derive(Debug)]
pub struct View {
    /// The new session: the secret part of its URL.
    pub id: String,
    /// What they want to see.
    pub what: What,
    /// The files of that recording.
    pub files: Vec<SegmentEntry>,
    /// Where they lie.
    pub folder: PathBuf,
    /// Digest of their token; the same is wanted for what they do later.
    pub credential: Option<[u8; 32]>,
    /// When their right to it ends.
    pub expires: Option<SystemTime>,
    /// Where they are.
    pub address: Option<IpAddr>,
    /// SDP.
    pub offer: String,
}

/// What goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// SDP, or a fragment of it after a restart.
    pub sdp: String,
    /// The ETag of the session now.
    pub etag: String,
}

impl Playbacks {
    /// No playback yet.
    pub fn new(media: Media, options: Options) -> Self {
        Self(Arc::new(Inner {
            media,
            options,
            setups: Places::new(options.half_open_per_address),
            keys: AtomicU64::new(1),
            state: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Sends a recording to one more viewer; starts it if nobody watches the same.
    ///
    /// # Errors
    /// When there is nothing to play, a limit is reached, or the offer cannot be answered.
    pub async fn view(&self, view: View) -> Result<Answer, MediaError> {
        let Some(setup) = self.0.setups.take(view.address) else {
            let limit = self.0.setups.limit();
            let text = format!("{limit} connections of this address are being set up (limits.half_open_per_address)");
            return Err(refusal(ErrorCode::LimitReached, text));
        };
        let leg = LegKey(self.0.next_key());
        let etag = new_etag();
        let session = |room| Session {
            room,
            leg,
            credential: view.credential,
            etag: etag.clone(),
            since: Instant::now(),
            expires: view.expires,
            setup: Some(setup),
        };
        let live = self.0.state().live.get(&view.what).cloned();
        let live = match live {
            Some(live) => live,
            None => self.start(&view).await?,
        };
        {
            let mut state = self.0.state();
            // It may have ended meanwhile.
            if !state.live.values().any(|other| other.room == live.room) {
                return Err(refusal(ErrorCode::Overloaded, "the playback has just ended; ask again"));
            }
            let viewers = state.sessions.values().filter(|session| session.room == live.room).count();
            if viewers >= self.0.options.viewers {
                let text = format!("{viewers} viewers see this playback already (limits.watchers_per_room)");
                return Err(refusal(ErrorCode::LimitReached, text));
            }
            state.sessions.insert(view.id.clone(), session(live.room));
        }
        let answer = self.0.open_leg(&live, leg, view.offer).await;
        if answer.is_err() {
            self.0.state().sessions.remove(&view.id);
        }
        Ok(Answer { sdp: answer?, etag })
    }

    /// True if the session is one of a playback.
    pub fn has(&self, id: &str) -> bool {
        self.0.state().sessions.contains_key(id)
    }

    /// PATCH with candidates: a server that only answers checks needs none.
    ///
    /// # Errors
    /// `session-not-found`, `forbidden`, `precondition-failed`.
    pub fn trickle(&self, id: &str, credential: Option<[u8; 32]>, etag: &str) -> Result<(), MediaError> {
        let state = self.0.state();
        let session = state.session(id, credential)?;
        if session.etag == etag {
            return Ok(());
        }
        Err(refusal(ErrorCode::PreconditionFailed, "the session's ETag is another one"))
    }

    /// PATCH with new ICE credentials.
    ///
    /// # Errors
    /// `session-not-found`, `forbidden`, and when the fragment cannot be answered.
    pub async fn restart(
        &self,
        id: &str,
        credential: Option<[u8; 32]>,
        fragment: String,
    ) -> Result<Answer, MediaError> {
        let (room, leg) = self.0.state().session(id, credential).map(|session| (session.room, session.leg))?;
        let (reply, answer) = oneshot::channel();
        self.0.media.send(room, Command::RestartLeg { room, leg, fragment: Some(fragment), reply })?;
        let sdp = answer.await.map_err(|_| not_found())??;
        let etag = new_etag();
        self.0.state().sessions.get_mut(id).ok_or_else(not_found)?.etag.clone_from(&etag);
        Ok(Answer { sdp, etag })
    }

    /// DELETE.
    ///
    /// # Errors
    /// `session-not-found`, `forbidden`, `overloaded`.
    pub fn leave(&self, id: &str, credential: Option<[u8; 32]>) -> Result<(), MediaError> {
        let mut state = self.0.state();
        let (room, leg) = state.session(id, credential).map(|session| (session.room, session.leg))?;
        self.0.media.send(room, Command::CloseLeg { room, leg })?;
        state.sessions.remove(id);
        Ok(())
    }

    /// Ends the playbacks of a recording that is deleted or changed.
    pub fn forget(&self, recording: &RecordingId) {
        let state = self.0.state();
        for (_, live) in state.live.iter().filter(|(what, _)| what.recording == *recording) {
            self.0.close_room(live.room);
        }
    }

    /// Ends all of them, with the media plane.
    pub fn stop(&self) {
        lock(&self.0.tasks).abort_all();
    }

    async fn start(&self, view: &View) -> Result<Live, MediaError> {
        let spans = script::spans(&view.files, &view.what.wanted, view.what.from_ms);
        let Some(first) = spans.first().cloned() else {
            return Err(refusal(ErrorCode::BadRequest, "there is nothing to play from this moment on"));
        };
        let (folder, name) = (view.folder.clone(), first.file.clone());
        let opened = tokio::task::spawn_blocking(move || reader::open(&folder, &first)).await;
        let opened = opened.map_err(|_| refusal(ErrorCode::Internal, "the server failed; its log has the details"))?;
        let opened = opened.map_err(|error| {
            let code = match error {
                OpenError::Missing => ErrorCode::FileNotFound,
                OpenError::Damaged(_) | OpenError::Empty => ErrorCode::UnsupportedMediaType,
                OpenError::Io(_) => ErrorCode::Internal,
            };
            refusal(code, format!("{name} cannot be played: {error}"))
        })?;
        let mut state = self.0.state();
        // Somebody else may have been faster.
        if let Some(live) = state.live.get(&view.what) {
            return Ok(live.clone());
        }
        let limit = self.0.options.playbacks;
        if state.live.len() >= limit {
            let text = format!("this server plays {limit} recordings already (limits.playbacks)");
            return Err(refusal(ErrorCode::LimitReached, text));
        }
        let room = RoomKey(PLAYBACKS | self.0.next_key());
        let (events, from_media) = mpsc::channel(EVENTS);
        self.0.media.send(room, Command::OpenRoom { room, events })?;
        let streams = Streams::new(opened.start_ms, &ParticipantId::from_random(rand::random()), rand::random());
        let live = Live { room, tracks: streams.tracks() };
        state.live.insert(view.what.clone(), live.clone());
        let film = run::Film { folder: view.folder.clone(), spans, opened, streams };
        let mut tasks = lock(&self.0.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(run::run(self.0.clone(), view.what.clone(), room, from_media, film));
        Ok(live)
    }
}

impl Inner {
    async fn open_leg(&self, live: &Live, leg: LegKey, offer: String) -> Result<String, MediaError> {
        let (room, tracks) = (live.room, live.tracks.to_vec());
        let (reply, answer) = oneshot::channel();
        self.media.send(room, Command::OpenWhepLeg { room, leg, offer, reply })?;
        self.media.send(room, Command::SetTracks { room, leg, tracks })?;
        answer.await.map_err(|_| not_found())?
    }

    fn close_room(&self, room: RoomKey) {
        // A shard that is too busy for it closes the room when its events are not read any more.
        let _ = self.media.send(room, Command::CloseRoom { room });
    }

    fn next_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn session(&self, id: &str, credential: Option<[u8; 32]>) -> Result<&Session, MediaError> {
        let session = self.sessions.get(id).ok_or_else(not_found)?;
        if session.credential == credential {
            return Ok(session);
        }
        Err(refusal(ErrorCode::Forbidden, "the session was made with another token"))
    }

    fn is_watched(&self, room: RoomKey) -> bool {
        self.sessions.values().any(|session| session.room == room)
    }
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> MediaError {
    MediaError { code, message: message.into() }
}

fn not_found() -> MediaError {
    refusal(ErrorCode::SessionNotFound, "there is no such session")
}

fn new_etag() -> String {
    format!("\"{:016x}\"", rand::random::<u64>())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rooms count from 1 and never come here.
const PLAYBACKS: u64 = 1 << 63;
const EVENTS: usize = 1024;
