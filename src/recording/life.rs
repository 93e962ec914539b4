//! The life of recordings: when one begins and ends, whose tracks go into it, and what is told to whom.
//! Pure: what happens in rooms goes in with the time, actions come out. Knows no file and no queue.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use reelay_signaling::{Consent, ErrorCode, Kind, ParticipantId, RoomName, Source, TrackId};
use serde_json::{Value, json};

use super::api::{ConsentPolicy, Input, Options, StartPolicy, Tracks};
use crate::media::{Codec, RoomKey, TapFrom};

mod action;
mod people;

pub use action::{Action, PersonChange, Session, TrackChange, Wanted};

/// All rooms and their recordings.
#[derive(Debug)]
pub struct Life {
    start: StartPolicy,
    tracks: Tracks,
    consent: ConsentPolicy,
    linger: Duration,
    rooms: HashMap<RoomKey, Room>,
    recordings: BTreeMap<Session, Recording>,
    next: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Room {
    name: RoomName,
    people: BTreeMap<ParticipantId, Person>,
    session: Option<Session>,
    is_stopped: bool,
}

#[derive(Debug)]
struct Recording {
    name: RoomName,
    room: Option<RoomKey>,
    by: Option<String>,
    is_paused: bool,
    empty_since: Option<Instant>,
}

#[derive(Debug)]
struct Person {
    person: String,
    name: String,
    consent: Consent,
    /// The version of the words that were shown for it.
    wording: String,
    tracks: BTreeMap<TrackId, Track>,
    /// Listed in the recording, as recorded or not.
    listed: Option<bool>,
}

#[derive(Debug, Default)]
struct Track {
    /// Sends now.
    sends: Option<(Codec, u8)>,
    is_muted: bool,
    is_tapped: bool,
    /// Since when a screen sends nothing.
    ended: Option<Instant>,
}

impl Life {
    /// No rooms yet.
    pub fn new(options: &Options) -> Self {
        Self {
            start: options.start,
            tracks: options.tracks,
            consent: options.consent,
            linger: options.linger,
            rooms: HashMap::new(),
            recordings: BTreeMap::new(),
            next: 0,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do. Empty it after each call of the others.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Something happened in a room. Commands of people go to [`command`](Self::command).
    pub fn on_input(&mut self, now: Instant, input: &Input) {
        match input {
            Input::RoomOpened { room, name } => self.open(*room, name),
            Input::RoomClosed { room, ended } => self.close_room(now, *room, *ended),
            Input::Joined { room, participant, person, name, consent, wording } => {
                let newcomer = Person {
                    person: person.clone(),
                    name: name.clone(),
                    consent: *consent,
                    wording: wording.clone().unwrap_or_default(),
                    tracks: BTreeMap::new(),
                    listed: None,
                };
                self.join(*room, participant, newcomer);
            }
            Input::Left { room, participant, reason } => {
                self.leave(now, *room, participant, json!(reason));
            }
            Input::Declared { room, participant, source, audio, video } => {
                self.declare(*room, participant, *source, TrackChange::Declared { audio: *audio, video: *video });
            }
            Input::TrackStarted { room, track, codec, channels } => {
                self.track_started(*room, track, (*codec, *channels));
            }
            Input::TrackEnded { room, track } => self.track_ended(now, *room, track),
            Input::Muted { room, track, muted } => self.mute(*room, track, *muted),
            Input::Consent { room, participant, consent, wording } => {
                self.set_consent(*room, participant, *consent, wording);
            }
            Input::Chat { room, participant, name, text, at } => {
                let said = json!({"name": name, "text": text, "at": at});
                self.personal_event(*room, participant, "chat", said);
            }
            Input::Speaking { room, participants } => self.speaking(*room, participants),
            Input::Start { .. } | Input::Stop { .. } | Input::Pause { .. } | Input::Resume { .. } => {}
            Input::CloseAll { .. } => {
                for session in self.recordings.keys().copied().collect::<Vec<_>>() {
                    self.end(session, "shutdown");
                }
                self.start = StartPolicy::Off;
            }
        }
    }

    /// A person starts, stops, pauses or resumes. Gives whether a recording was made.
    ///
    /// # Errors
    /// `recording-off`, `not-recording` or `room-not-found`.
    pub fn command(&mut self, now: Instant, input: &Input) -> Result<bool, ErrorCode> {
        match input {
            Input::Start { room, by, .. } => {
                let state = self.rooms.get_mut(room).ok_or(ErrorCode::RoomNotFound)?;
                if self.start == StartPolicy::Off {
                    return Err(ErrorCode::RecordingOff);
                }
                state.is_stopped = false;
                if state.session.is_some() {
                    return Ok(false);
                }
                self.begin(now, *room, by.clone());
                Ok(true)
            }
            Input::Stop { room, by, .. } => {
                let session = self.session(*room)?;
                if let Some(state) = self.rooms.get_mut(room) {
                    state.is_stopped = true;
                }
                self.event(session, json!({"type": "stopped", "by": by}));
                self.end(session, "stopped");
                Ok(false)
            }
            Input::Pause { room, by, .. } => self.set_paused(*room, true, by),
            Input::Resume { room, by, .. } => self.set_paused(*room, false, by),
            _ => Err(ErrorCode::Internal),
        }
    }

    /// Time passes: empty rooms stop after a while, screens that ended are closed.
    pub fn on_timeout(&mut self, now: Instant) {
        let is_over = |recording: &Recording| recording.empty_since.is_some_and(|since| now >= since + self.linger);
        let over: Vec<Session> = self.recordings.iter().filter(|(_, r)| is_over(r)).map(|(s, _)| *s).collect();
        for session in over {
            self.end(session, "ended");
        }
        let mut actions = Vec::new();
        for (key, room) in &mut self.rooms {
            let Some(session) = room.session else { continue };
            for (id, person) in &mut room.people {
                for source in (1..=3).map(Source::Screen) {
                    let of_source = |(track, _): &(&TrackId, &mut Track)| track.source == source;
                    let is_gone = |track: &Track| track.ended.is_some_and(|since| now >= since + SCREEN_GRACE);
                    let mut tracks: Vec<_> = person.tracks.iter_mut().filter(of_source).collect();
                    if tracks.is_empty() || !tracks.iter().all(|(_, track)| is_gone(track)) {
                        continue;
                    }
                    for (id, track) in &mut tracks {
                        track.ended = None;
                        if std::mem::take(&mut track.is_tapped) {
                            actions.push(Action::Untap(session, *key, (*id).clone()));
                        }
                    }
                    actions.push(Action::EndSource(session, id.clone(), source, "ended"));
                }
            }
        }
        self.actions.extend(actions);
    }

    /// How the recording of a room is meant to be, and who started it.
    pub fn wanted(&self, room: RoomKey) -> (Wanted, Option<&str>) {
        let session = self.rooms.get(&room).and_then(|room| room.session);
        match session.and_then(|session| Some((session, self.recordings.get(&session)?))) {
            None => (Wanted::Off, None),
            Some((session, recording)) if recording.is_paused => (Wanted::Paused(session), recording.by.as_deref()),
            Some((session, recording)) => (Wanted::On(session), recording.by.as_deref()),
        }
    }

    /// Whose flows go into the recording of a room.
    pub fn recorded(&self, room: RoomKey) -> Vec<ParticipantId> {
        let people = self.rooms.get(&room).into_iter().flat_map(|room| &room.people);
        let is_heard = |person: &Person| person.tracks.values().any(|track| track.is_tapped);
        people.filter(|(_, person)| is_heard(person)).map(|(id, _)| id.clone()).collect()
    }

    /// What a room is called.
    pub fn name_of(&self, room: RoomKey) -> Option<&RoomName> {
        self.rooms.get(&room).map(|room| &room.name)
    }

    /// The room that a recording belongs to now.
    pub fn room_of(&self, session: Session) -> Option<RoomKey> {
        self.recordings.get(&session)?.room
    }

    /// All rooms.
    pub fn rooms(&self) -> impl Iterator<Item = RoomKey> + '_ {
        self.rooms.keys().copied()
    }

    /// True when everybody is asked first.
    pub fn asks_first(&self) -> bool {
        self.consent == ConsentPolicy::Required
    }

    fn open(&mut self, room: RoomKey, name: &RoomName) {
        let waiting = self.recordings.iter_mut().find(|(_, r)| r.room.is_none() && r.name == *name);
        let session = waiting.map(|(session, recording)| {
            recording.room = Some(room);
            *session
        });
        let state = Room { name: name.clone(), people: BTreeMap::new(), session, is_stopped: false };
        self.rooms.insert(room, state);
        self.actions.push_back(Action::Tell(room));
    }

    fn close_room(&mut self, now: Instant, room: RoomKey, ended: bool) {
        let people: Vec<_> = self.rooms.get(&room).into_iter().flat_map(|r| r.people.keys().cloned()).collect();
        for id in people {
            self.leave(now, room, &id, json!("left"));
        }
        let Some(state) = self.rooms.remove(&room) else { return };
        let Some(session) = state.session else { return };
        if ended || self.linger.is_zero() {
            self.end(session, "ended");
        } else if let Some(recording) = self.recordings.get_mut(&session) {
            recording.room = None;
            recording.empty_since.get_or_insert(now);
        }
    }

    fn join(&mut self, room: RoomKey, id: &ParticipantId, newcomer: Person) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let (consent, wording) = (newcomer.consent, newcomer.wording.clone());
        state.people.insert(id.clone(), newcomer);
        let Some(session) = state.session else { return };
        if let Some(recording) = self.recordings.get_mut(&session) {
            recording.empty_since = None;
        }
        self.list(session, room, id);
        if consent != Consent::NotAsked {
            self.consent_event(session, room, id, consent, &wording);
        } else if self.asks_first() {
            let by = self.recordings.get(&session).and_then(|recording| recording.by.clone());
            self.actions.push_back(Action::AskConsent(room, by));
        }
    }

    fn leave(&mut self, now: Instant, room: RoomKey, id: &ParticipantId, reason: Value) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(person) = state.people.remove(id) else { return };
        let Some(session) = state.session else { return };
        let is_empty = state.people.is_empty();
        for (track, known) in &person.tracks {
            if known.is_tapped {
                self.actions.push_back(Action::Untap(session, room, track.clone()));
            }
        }
        let mut sources: Vec<Source> = person.tracks.keys().map(|track| track.source).collect();
        sources.dedup();
        for source in sources {
            self.actions.push_back(Action::EndSource(session, id.clone(), source, "left"));
        }
        if person.listed == Some(true) {
            self.event(session, json!({"type": "left", "participant": id, "person": person.person, "reason": reason}));
        }
        if person.listed.is_some() {
            self.actions.push_back(Action::Person(session, PersonChange::Left(id.clone())));
        }
        if is_empty && let Some(recording) = self.recordings.get_mut(&session) {
            recording.empty_since.get_or_insert(now);
        }
        self.actions.push_back(Action::Tell(room));
    }

    fn declare(&mut self, room: RoomKey, id: &ParticipantId, source: Source, change: TrackChange) {
        // It is kept by the recorder, because it may come before the recording begins.
        let track = TrackId { participant: id.clone(), source, kind: Kind::Audio };
        let session = self.rooms.get(&room).and_then(|room| room.session).unwrap_or(Session(0));
        self.actions.push_back(Action::Track(session, track, change));
    }

    fn track_started(&mut self, room: RoomKey, id: &TrackId, sends: (Codec, u8)) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(person) = state.people.get_mut(&id.participant) else { return };
        let track = person.tracks.entry(id.clone()).or_default();
        track.sends = Some(sends);
        track.ended = None;
        let is_wanted = self.tracks == Tracks::Av || id.kind == Kind::Audio;
        let begins = state.session.is_none() && !state.is_stopped && self.start == StartPolicy::Auto && is_wanted;
        if begins {
            self.begin_now(room, None, TapFrom::FirstPacket);
            return;
        }
        if let Some(session) = state.session {
            self.actions.push_back(Action::Track(session, id.clone(), TrackChange::Started(sends.0, sends.1)));
            self.tap(session, room, id, TapFrom::FirstPacket);
            self.track_event(room, id, true);
        }
    }

    fn track_ended(&mut self, now: Instant, room: RoomKey, id: &TrackId) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(person) = state.people.get_mut(&id.participant) else { return };
        let Some(track) = person.tracks.get_mut(id) else { return };
        track.sends = None;
        track.ended = Some(now);
        if let Some(session) = state.session {
            self.actions.push_back(Action::Track(session, id.clone(), TrackChange::Ended));
            self.track_event(room, id, false);
        }
    }

    fn mute(&mut self, room: RoomKey, id: &TrackId, muted: bool) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(person) = state.people.get_mut(&id.participant) else { return };
        let track = person.tracks.entry(id.clone()).or_default();
        if track.is_muted == muted {
            return;
        }
        track.is_muted = muted;
        let Some(session) = state.session else { return };
        self.actions.push_back(Action::Track(session, id.clone(), TrackChange::Muted(muted)));
        let mut said = json!({"source": id.source, "kind": id.kind, "muted": muted});
        if (id.source, id.kind) == (Source::Camera, Kind::Video) {
            said = json!({"on": !muted});
            return self.personal_event(room, &id.participant, "camera", said);
        }
        self.personal_event(room, &id.participant, "muted", said);
    }

    fn set_consent(&mut self, room: RoomKey, id: &ParticipantId, consent: Consent, wording: &str) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(person) = state.people.get_mut(id) else { return };
        if person.consent == consent {
            return;
        }
        person.consent = consent;
        wording.clone_into(&mut person.wording);
        let Some(session) = state.session else { return };
        self.consent_event(session, room, id, consent, wording);
        self.list(session, room, id);
        let tracks: Vec<TrackId> =
            self.person(room, id).into_iter().flat_map(|person| person.tracks.keys().cloned()).collect();
        if self.is_recordable(consent) {
            for track in &tracks {
                // What was sent before the person agreed stays out.
                self.tap(session, room, track, TapFrom::Now);
            }
        } else {
            for track in &tracks {
                self.untap(session, room, track);
            }
            self.actions.push_back(Action::Withdraw(session, id.clone()));
        }
        self.actions.push_back(Action::Tell(room));
    }

    fn set_paused(&mut self, room: RoomKey, pause: bool, by: &Option<String>) -> Result<bool, ErrorCode> {
        let session = self.session(room)?;
        let Some(recording) = self.recordings.get_mut(&session) else { return Err(ErrorCode::NotRecording) };
        if recording.is_paused == pause {
            return Ok(false);
        }
        recording.is_paused = pause;
        if pause {
            self.event(session, json!({"type": "paused", "by": by}));
            self.actions.push_back(Action::Pause(session));
        } else {
            self.actions.push_back(Action::Resume(session));
            self.event(session, json!({"type": "resumed", "by": by}));
        }
        self.actions.push_back(Action::Tell(room));
        Ok(false)
    }

    fn begin(&mut self, now: Instant, room: RoomKey, by: Option<String>) {
        self.begin_now(room, by, TapFrom::Now);
        let Some(state) = self.rooms.get(&room) else { return };
        if state.people.is_empty()
            && let Some(recording) = state.session.and_then(|session| self.recordings.get_mut(&session))
        {
            recording.empty_since = Some(now);
        }
    }

    fn begin_now(&mut self, room: RoomKey, by: Option<String>, from: TapFrom) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        self.next += 1;
        let session = Session(self.next);
        state.session = Some(session);
        let name = state.name.clone();
        let asks = state.people.values().any(|person| person.consent == Consent::NotAsked);
        let people: Vec<ParticipantId> = state.people.keys().cloned().collect();
        for person in state.people.values_mut() {
            person.listed = None;
        }
        let recording =
            Recording { name: name.clone(), room: Some(room), by: by.clone(), is_paused: false, empty_since: None };
        self.recordings.insert(session, recording);
        self.actions.push_back(Action::Begin { session, name: name.clone(), by: by.clone() });
        self.event(session, json!({"type": "started", "by": by, "room": name}));
        for id in &people {
            self.list(session, room, id);
            let answer = self.person(room, id).map(|person| (person.consent, person.wording.clone()));
            if let Some((consent, wording)) = answer.filter(|(consent, _)| *consent != Consent::NotAsked) {
                self.consent_event(session, room, id, consent, &wording);
            }
            let known: Vec<_> = self
                .person(room, id)
                .into_iter()
                .flat_map(|person| person.tracks.iter().map(|(t, known)| (t.clone(), known.sends, known.is_muted)))
                .collect();
            for (track, sends, is_muted) in known {
                if let Some((codec, channels)) = sends {
                    let started = TrackChange::Started(codec, channels);
                    self.actions.push_back(Action::Track(session, track.clone(), started));
                }
                if is_muted {
                    self.actions.push_back(Action::Track(session, track.clone(), TrackChange::Muted(true)));
                }
                self.tap(session, room, &track, from);
                if sends.is_some() {
                    self.track_event(room, &track, true);
                }
            }
        }
        if asks && self.asks_first() {
            self.actions.push_back(Action::AskConsent(room, by));
        }
        self.actions.push_back(Action::Tell(room));
    }

    fn end(&mut self, session: Session, reason: &'static str) {
        let Some(recording) = self.recordings.remove(&session) else { return };
        if let Some(room) = recording.room
            && let Some(state) = self.rooms.get_mut(&room)
        {
            state.session = None;
            for person in state.people.values_mut() {
                person.listed = None;
                for (track, known) in &mut person.tracks {
                    if std::mem::take(&mut known.is_tapped) {
                        self.actions.push_back(Action::Untap(session, room, track.clone()));
                    }
                }
            }
        }
        self.actions.push_back(Action::Close { session, reason });
        if let Some(room) = recording.room {
            self.actions.push_back(Action::Tell(room));
        }
    }

    fn session(&self, room: RoomKey) -> Result<Session, ErrorCode> {
        let state = self.rooms.get(&room).ok_or(ErrorCode::RoomNotFound)?;
        state.session.ok_or(ErrorCode::NotRecording)
    }

    fn person(&self, room: RoomKey, id: &ParticipantId) -> Option<&Person> {
        self.rooms.get(&room)?.people.get(id)
    }

    fn is_recordable(&self, consent: Consent) -> bool {
        match self.consent {
            ConsentPolicy::Required => consent == Consent::Agreed,
            ConsentPolicy::Notice => consent != Consent::Declined,
        }
    }
}

/// A screen that ended is closed after this; a renegotiation is not an end.
const SCREEN_GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
