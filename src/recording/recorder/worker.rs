//! The recorder's thread: takes items and inputs, lets the life of the recordings decide, and carries it out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use reelay_signaling::{ErrorCode, Kind, ParticipantId, RecordingId, RecordingState, RoomRecording, Source, TrackId};
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use crate::media::{RoomKey, Tap, TapBudget, TapFrom, TapItem, TapKey, TapMessage};
use crate::recording::api::{Accepted, Input, Reply, StartPolicy, Update};
use crate::recording::capture::Captures;
use crate::recording::keeper::Job;
use crate::recording::life::{Action, Life, Session, TrackChange, Wanted};
use crate::recording::manifest::Manifest;
use crate::recording::parallel::in_parallel;
use crate::recording::recover::{Away, Later};
use crate::recording::session::{Running, Shared};
use crate::recording::store::{self, Store};
use crate::recording::watch::{self, Told};

/// What reaches the thread beside media.
pub enum Message {
    /// Something happened, or somebody wanted something, at this time.
    Input(Instant, Input),
    /// A file that went out of sight is back, and ended.
    Back(Away),
    /// Close everything and end.
    Stop,
}

type SourceKey = (ParticipantId, Source);

/// The thread's state.
pub struct Worker {
    pub(super) shared: Shared,
    store: Store,
    life: Life,
    running: BTreeMap<Session, Running>,
    declared: HashMap<SourceKey, (bool, bool)>,
    taps: HashMap<TapKey, (Session, SourceKey, Arc<TapBudget>)>,
    by_source: HashMap<(Session, SourceKey), Tap>,
    tap_queue: Sender<TapMessage>,
    next_tap: u64,
    /// The recording of a room that runs, or the last one.
    last_ids: HashMap<RoomKey, RecordingId>,
    /// Why nothing can be written, when the disk as a whole is the reason.
    disk: Option<&'static str>,
    is_stopping: bool,
    captures: Captures,
    /// Of recordings to come, when a capture is replayed.
    pub(super) ids: VecDeque<RecordingId>,
    /// How far in time the taps have been heard. Behind the present after the disk kept this thread waiting: what was sent
    /// meanwhile is in the queue, and is not missing.
    heard: Instant,
    /// Taken from the queue and to be heard next: it came after an input that is to be done first.
    next_item: Option<TapMessage>,
    /// Room for what is heard at a time.
    batch: Vec<TapMessage>,
}

impl Worker {
    /// Nothing recorded yet; taps deliver into `tap_queue`.
    pub fn new(shared: Shared, store: Store, tap_queue: Sender<TapMessage>) -> Self {
        Self {
            life: Life::new(&shared.options),
            captures: Captures::new(&shared.options, shared.zero, &shared.wall),
            ids: VecDeque::new(),
            heard: shared.zero,
            shared,
            store,
            running: BTreeMap::new(),
            declared: HashMap::new(),
            taps: HashMap::new(),
            by_source: HashMap::new(),
            tap_queue,
            next_tap: 0,
            last_ids: HashMap::new(),
            disk: None,
            is_stopping: false,
            next_item: None,
            batch: Vec::new(),
        }
    }

    /// Runs until it is told to stop. Media wakes nobody: it is taken once a tick, so that a packet costs the media thread
    /// no system call and this one no switch.
    pub fn run(mut self, inputs: &Receiver<Message>, taps: &Receiver<TapMessage>) {
        let mut next_tick = Instant::now() + TICK;
        let mut next_second = next_tick + SECOND;
        let mut seconds = 0_u64;
        while !self.is_stopping {
            let began = Instant::now();
            self.shared.watch.busy.begin();
            self.drain_inputs(inputs, taps);
            std::thread::sleep(next_tick.saturating_duration_since(Instant::now()));
            self.hear_all(taps);
            let now = Instant::now();
            next_tick = now + TICK;
            self.on_tick(self.heard);
            if now >= next_second {
                next_second = now + SECOND;
                seconds += 1;
                self.on_second(now, seconds);
            }
            if self.shared.watch.take_spoken() {
                self.after_stall(began);
            }
        }
        self.drain_taps(taps, Instant::now());
        self.close_all(Instant::now(), None);
    }

    /// Takes what is in the queue, for one tick at most.
    fn hear_all(&mut self, taps: &Receiver<TapMessage>) {
        let until = Instant::now() + TICK;
        let mut batch = std::mem::take(&mut self.batch);
        loop {
            let now = Instant::now();
            batch.extend(self.next_item.take().into_iter().chain(taps.try_iter()).take(BATCH));
            let is_all = batch.len() < BATCH;
            // One file after the other, so that what it needs is looked up once and at hand.
            batch.sort_by_key(|(key, _)| *key);
            let since = self.heard;
            for of_one in batch.chunk_by_mut(|(a, _), (b, _)| a == b) {
                let heard = self.hear(now, since, of_one);
                self.heard = self.heard.max(heard);
            }
            batch.clear();
            if is_all {
                self.heard = now;
            }
            if is_all || now >= until {
                break;
            }
        }
        self.batch = batch;
    }

    fn drain_inputs(&mut self, inputs: &Receiver<Message>, taps: &Receiver<TapMessage>) {
        loop {
            match inputs.try_recv() {
                Ok(Message::Input(at, input)) => {
                    // What ends something comes after the last packets, which may still be in the queue.
                    let ends = matches!(
                        input,
                        Input::Left { .. }
                            | Input::Stop { .. }
                            | Input::Pause { .. }
                            | Input::Consent { .. }
                            | Input::RoomClosed { .. }
                            | Input::CloseAll { .. }
                    );
                    if ends {
                        self.drain_taps(taps, at);
                    }
                    self.on_input(at.max(self.heard), input);
                }
                Ok(Message::Back(away)) => self.on_back(away),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// What arrived before `at` belongs into the files, though it is still in the queue.
    fn drain_taps(&mut self, taps: &Receiver<TapMessage>, at: Instant) {
        let until = Instant::now() + DRAIN_AT_MOST;
        while let Some(message) = self.next_item.take().or_else(|| taps.try_recv().ok()) {
            let now = Instant::now();
            if let (_, TapItem::Packet(packet)) = &message
                && (at..=now).contains(&packet.arrival)
            {
                self.next_item = Some(message);
                return;
            }
            self.heard = self.hear(now, self.heard, &mut [message]);
            if now > until {
                return;
            }
        }
    }

    /// Takes items of one tap, each as of the time that it belongs to, which is the present unless the disk kept us waiting.
    /// Gives the time of the last.
    fn hear(&mut self, now: Instant, mut heard: Instant, items: &mut [TapMessage]) -> Instant {
        let of_tap = items.first().and_then(|(key, _)| self.taps.get(key));
        let Some((session, source, budget)) = of_tap else { return heard };
        budget.release(items.iter().map(|(_, item)| item.cost()).sum());
        let Some(running) = self.running.get_mut(session) else { return heard };
        let items = items.iter_mut().map(|(_, item)| {
            if let TapItem::Packet(packet) = item {
                heard = heard.max(packet.arrival.min(now));
            }
            self.captures.item(heard, *session, source, item);
            (heard, item)
        });
        running.on_items(&self.shared, source, items);
        heard
    }

    /// The disk answers again. Rooms were told that it did not; now they hear how it is.
    fn after_stall(&mut self, began: Instant) {
        let now = Instant::now();
        let lasted_ms = now.duration_since(began).as_millis() as u64;
        let event = serde_json::json!({"type": "disk-back", "reason": watch::REASON, "lasted_ms": lasted_ms});
        for running in self.running.values_mut().filter(|running| running.has_begun()) {
            running.event(&self.shared, now, event.clone());
        }
        for room in self.life.rooms().collect::<Vec<_>>() {
            self.tell_room(now, room);
        }
    }

    /// A file is back. It belongs to a recording that runs, or to a manifest that is on disk.
    fn on_back(&mut self, away: Away) {
        let mut running = self.running.values_mut();
        match running.find(|running| *running.id() == away.recording) {
            Some(running) => running.take_back(&self.shared, Instant::now(), away),
            None => self.shared.keep(Job::Then(away.folder.clone(), Later::List(away))),
        }
    }

    pub(super) fn on_input(&mut self, now: Instant, input: Input) {
        self.captures.input(now, &input);
        match input {
            Input::CloseAll { done } => self.close_all(now, Some(done)),
            Input::Start { .. } | Input::Stop { .. } | Input::Pause { .. } | Input::Resume { .. } => {
                self.on_command(now, input);
            }
            other => {
                if let Input::Declared { participant, source, audio, video, .. } = &other {
                    self.declared.insert((participant.clone(), *source), (*audio, *video));
                }
                self.life.on_input(now, &other);
                self.act(now);
                match &other {
                    Input::Left { participant, .. } => self.declared.retain(|(id, _), _| id != participant),
                    Input::RoomClosed { room, .. } => {
                        self.last_ids.remove(room);
                    }
                    _ => {}
                }
            }
        }
    }

    fn on_command(&mut self, now: Instant, mut input: Input) {
        let (Input::Start { room, reply, .. }
        | Input::Stop { room, reply, .. }
        | Input::Pause { room, reply, .. }
        | Input::Resume { room, reply, .. }) = &mut input
        else {
            return;
        };
        let (room, reply): (RoomKey, Option<Reply>) = (*room, reply.take());
        let is_refused_by_disk = matches!(input, Input::Start { .. })
            && self.life.wanted(room).0 == Wanted::Off
            && self.shared.options.start != StartPolicy::Off
            && self.is_disk_full();
        let result = if is_refused_by_disk { Err(ErrorCode::DiskFull) } else { self.life.command(now, &input) };
        self.act(now);
        let answer = result.map(|is_new| Accepted { recording: self.state_of(now, room), is_new });
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
    }

    /// Does what the life of the recordings asks for.
    fn act(&mut self, now: Instant) {
        while let Some(action) = self.life.poll() {
            self.do_action(now, action);
        }
    }

    fn do_action(&mut self, now: Instant, action: Action) {
        match action {
            Action::Begin { session, name, by } => {
                let replayed = self.ids.pop_front();
                if replayed.is_none() {
                    self.read_wall_clock(now);
                }
                let made = || Uuid::now_v7().to_string().parse::<RecordingId>().ok();
                let Some(id) = replayed.or_else(made) else { return };
                self.captures.begun(now, session, &name, &id);
                info!(recording = %id, "recording wanted");
                if let Some(room) = self.life.room_of(session) {
                    self.last_ids.insert(room, id.clone());
                }
                let started_at = self.shared.wall.text(self.shared.us(now));
                let mut running = Running::new(id, name, by, &self.store, started_at);
                for ((participant, source), (audio, video)) in &self.declared {
                    let change = TrackChange::Declared { audio: *audio, video: *video };
                    running.on_track(participant, *source, Kind::Audio, change);
                }
                self.running.insert(session, running);
            }
            Action::Close { session, reason } => {
                self.close(now, session, reason);
            }
            Action::Tap(session, room, track, from) => self.tap(session, room, track, from),
            Action::Untap(_, room, track) => self.send(Update::Untap { room, track }),
            Action::Tell(room) => self.tell_room(now, room),
            Action::AskConsent(room, by) => self.send(Update::ConsentWanted { room, by }),
            Action::Pause(session) => self.with(session, |running, shared| running.pause(shared, now)),
            Action::Resume(session) => self.with(session, |running, shared| running.resume(shared, now)),
            Action::Track(session, track, change) => self.with(session, |running, _| {
                running.on_track(&track.participant, track.source, track.kind, change);
            }),
            Action::EndSource(session, participant, source, reason) => {
                self.forget_tap(session, &(participant.clone(), source));
                self.with(session, |running, shared| {
                    running.end_source(shared, now, &participant, source, reason);
                });
            }
            Action::Withdraw(session, participant) => {
                let sources = [Source::Camera, Source::Screen(1), Source::Screen(2), Source::Screen(3)];
                for source in sources {
                    self.forget_tap(session, &(participant.clone(), source));
                }
                self.with(session, |running, _| running.withdraw(now, &participant));
            }
            Action::Person(session, change) => {
                self.with(session, |running, shared| running.on_person(shared, now, change));
            }
            Action::Event(session, event) => self.with(session, |running, shared| running.event(shared, now, event)),
        }
    }

    /// Unless something is recorded: its times belong together.
    fn read_wall_clock(&mut self, now: Instant) {
        if !self.running.is_empty() {
            return;
        }
        if let Some(wall) = self.shared.wall.stepped((self.shared.clock)(), self.shared.us(now)) {
            info!("the machine's clock was set");
            self.captures.set_wall(&self.shared.options, &wall);
            self.shared.wall = wall;
        }
    }

    fn with(&mut self, session: Session, act: impl FnOnce(&mut Running, &Shared)) {
        if let Some(running) = self.running.get_mut(&session) {
            act(running, &self.shared);
        }
    }

    /// One queue for both tracks of a source, so that they share one budget.
    fn tap(&mut self, session: Session, room: RoomKey, track: TrackId, from: TapFrom) {
        let key = (session, (track.participant.clone(), track.source));
        let tap = match self.by_source.get(&key) {
            Some(tap) => tap.clone(),
            None => {
                self.next_tap += 1;
                let tap_key = TapKey(self.next_tap);
                let (tap, budget) = Tap::new(tap_key, self.tap_queue.clone());
                self.taps.insert(tap_key, (session, key.1.clone(), budget));
                self.by_source.insert(key, tap.clone());
                tap
            }
        };
        self.send(Update::Tap { room, track, tap, from });
    }

    /// What still comes through the tap of a source is not taken any more.
    fn forget_tap(&mut self, session: Session, source: &SourceKey) {
        self.by_source.remove(&(session, source.clone()));
        self.taps.retain(|_, (of, key, _)| (*of, &*key) != (session, source));
    }

    /// One item by its source, when a capture is replayed.
    pub(super) fn on_item_of(&mut self, now: Instant, source: &SourceKey, item: &mut TapItem) {
        let session = self.by_source.keys().find(|(_, of)| of == source).map(|(session, _)| *session);
        if let Some(running) = session.and_then(|session| self.running.get_mut(&session)) {
            running.on_items(&self.shared, source, std::iter::once((now, item)));
        }
    }

    pub(super) fn on_tick(&mut self, now: Instant) {
        self.captures.tick(now);
        let mut changed = Vec::new();
        let mut wanted = Vec::new();
        for (session, running) in &mut self.running {
            if running.on_time(&self.shared, now, self.disk) {
                changed.push(*session);
            }
            for (participant, source) in running.keyframes_wanted(now) {
                wanted.push((*session, TrackId { participant, source, kind: Kind::Video }));
            }
        }
        for (session, track) in wanted {
            if let Some(room) = self.life.room_of(session) {
                self.send(Update::Keyframe { room, track });
            }
        }
        for session in changed {
            if let Some(room) = self.life.room_of(session) {
                self.tell_room(now, room);
            }
        }
        self.life.on_timeout(now);
        self.act(now);
    }

    pub(super) fn on_second(&mut self, now: Instant, seconds: u64) {
        self.captures.second(now, seconds);
        let was = self.disk;
        self.disk = match self.store.hold() {
            Ok(()) => self.is_disk_full().then_some("disk-full"),
            Err(_) => Some("io-error"),
        };
        if self.disk != was {
            warn!(refuses = self.disk, "the disk of the recordings");
        }
        for running in self.running.values_mut() {
            running.on_second(&self.shared, now);
            if seconds.is_multiple_of(PUBLISH_EVERY) && running.has_begun() && !self.shared.keeper.is_behind() {
                running.publish(&self.shared, now);
            }
        }
        for room in self.life.rooms().collect::<Vec<_>>() {
            if self.life.wanted(room).0 != Wanted::Off {
                self.tell_room(now, room);
            }
        }
    }

    fn close(&mut self, now: Instant, session: Session, reason: &'static str) -> Option<Manifest> {
        let running = self.take(session)?;
        let id = running.id().clone();
        let manifest = running.close(&self.shared, now, reason);
        self.closed(&id, manifest.as_ref());
        manifest
    }

    fn take(&mut self, session: Session) -> Option<Running> {
        self.by_source.retain(|(of, _), _| *of != session);
        self.taps.retain(|_, (of, _, _)| *of != session);
        self.captures.closed(session);
        self.running.remove(&session)
    }

    fn closed(&mut self, id: &RecordingId, manifest: Option<&Manifest>) {
        match manifest {
            Some(manifest) => info!(
                recording = %id,
                files = manifest.files.len(),
                duration_ms = manifest.duration_ms,
                bytes = manifest.files.iter().map(|file| file.bytes).sum::<u64>(),
                "recording closed"
            ),
            None => {
                info!(recording = %id, "recording ended, nothing was sent");
                self.last_ids.retain(|_, last| last != id);
            }
        }
    }

    pub(super) fn close_all(&mut self, now: Instant, done: Option<oneshot::Sender<Vec<Manifest>>>) {
        self.captures.close_all(now);
        self.life.on_input(now, &Input::CloseAll { done: oneshot::channel().0 });
        let mut open = Vec::new();
        while let Some(action) = self.life.poll() {
            match action {
                Action::Close { session, reason } => {
                    open.extend(self.take(session).map(|running| (running, reason)));
                }
                other => self.do_action(now, other),
            }
        }
        let shared = &self.shared;
        let ended = in_parallel(open, |(running, reason)| (running.id().clone(), running.close(shared, now, reason)));
        let mut closed = Vec::new();
        for (id, manifest) in ended {
            self.closed(&id, manifest.as_ref());
            closed.extend(manifest);
        }
        if let Some(done) = done {
            self.shared.keep(Job::Done(done, closed));
        }
    }

    fn tell_room(&mut self, now: Instant, room: RoomKey) {
        let recording = self.state_of(now, room);
        let recorded = self.life.recorded(room);
        if let Some(name) = self.life.name_of(room).cloned() {
            let clock = (self.shared.zero, self.shared.wall);
            let told = Told { name, recording: recording.clone(), recorded: recorded.clone(), clock };
            self.shared.watch.told(room, told);
        }
        self.send(Update::Room { room, recording, recorded });
    }

    fn state_of(&self, now: Instant, room: RoomKey) -> RoomRecording {
        let (wanted, by) = self.life.wanted(room);
        let mut recording = RoomRecording {
            id: self.last_ids.get(&room).cloned(),
            by: by.map(str::to_owned),
            consent_required: self.life.asks_first(),
            ..RoomRecording::default()
        };
        let (session, is_paused) = match wanted {
            Wanted::Off => return recording,
            Wanted::On(session) => (session, false),
            Wanted::Paused(session) => (session, true),
        };
        let Some(running) = self.running.get(&session) else { return recording };
        recording.id = Some(running.id().clone());
        (recording.duration_ms, recording.behind_ms) = running.progress(&self.shared, now);
        recording.state = match running.interrupted {
            _ if is_paused => RecordingState::Paused,
            Some((reason, _)) => {
                recording.reason = Some(reason.to_owned());
                RecordingState::Interrupted
            }
            None if running.has_begun() => RecordingState::Recording,
            None => RecordingState::Waiting,
        };
        recording
    }

    fn is_disk_full(&self) -> bool {
        let least = self.shared.options.min_free_bytes;
        least > 0 && store::free_bytes(self.store.dir()).is_ok_and(|free| free < least)
    }

    fn send(&self, update: Update) {
        let _ = self.shared.updates.send(update);
    }
}

/// How often media is taken and files are looked at.
const TICK: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
/// How often, in seconds, the manifest of a recording that runs is brought up to date.
const PUBLISH_EVERY: u64 = 10;
/// So many items are heard before the clock is read again.
const BATCH: usize = 1024;
const DRAIN_AT_MOST: Duration = Duration::from_secs(2);

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
