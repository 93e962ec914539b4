//! Captures: all that the recorder received of a room, as lines of JSON, so that the same call can be run through the same
//! code again. One file for each life of a room. Names and chat stay out; nothing is on disk before the first media.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use reelay_signaling::{RecordingId, RoomName};
use tracing::warn;

use super::api::{Input, Options};
use super::events::WallClock;
use super::life::Session;
use crate::media::{RoomKey, TapItem};

pub mod line;

use line::{Head, Line, What};

/// Where captures go, and how much there may be of them.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The folder.
    pub dir: PathBuf,
    /// Bytes of all captures in it together: the oldest ones make room.
    pub limit: u64,
}

/// The captures of all rooms; does nothing without options.
pub struct Captures {
    options: Option<CaptureOptions>,
    head: Vec<u8>,
    zero: Instant,
    rooms: HashMap<RoomKey, RoomName>,
    sessions: HashMap<Session, RoomName>,
    by_name: HashMap<RoomName, Capture>,
    /// Bytes of all captures in the folder.
    used: u64,
}

/// Of one room.
struct Capture {
    /// The first recording, after which the file is named.
    id: Option<RecordingId>,
    /// Of which session there are packets: time matters to it.
    state: State,
}

enum State {
    /// Before the first media: the lines so far. The last one is a tick if `true`.
    Early(Vec<u8>, Option<usize>),
    Writing(PathBuf, BufWriter<File>),
    /// It ended early, for want of room.
    Over,
}

impl Captures {
    /// The wall clock was set; captures that begin now know.
    pub fn set_wall(&mut self, options: &Options, wall: &WallClock) {
        self.head = head(options, wall);
    }

    /// Captures by these options; `wall` says what the wall clock showed at `zero`.
    pub fn new(options: &Options, zero: Instant, wall: &WallClock) -> Self {
        let mut capture = options.capture.clone();
        if let Some(error) = capture.as_ref().and_then(|capture| fs::create_dir_all(&capture.dir).err()) {
            warn!(%error, "nothing is captured");
            capture = None;
        }
        let used = capture.as_ref().map_or(0, |capture| finished(capture).iter().map(|(_, bytes)| bytes).sum());
        Self {
            options: capture,
            head: head(options, wall),
            zero,
            rooms: HashMap::new(),
            sessions: HashMap::new(),
            by_name: HashMap::new(),
            used,
        }
    }

    /// Something happened in a room.
    pub fn input(&mut self, now: Instant, input: &Input) {
        if self.options.is_none() {
            return;
        }
        if let Input::RoomOpened { room, name } = input {
            self.rooms.insert(*room, name.clone());
            let new = Capture { id: None, state: State::Early(Vec::new(), None) };
            self.by_name.entry(name.clone()).or_insert(new);
        }
        let Some((room, what)) = What::of(input) else { return };
        if let Some(name) = self.rooms.get(&room).cloned() {
            self.add(now, &name, what);
        }
        if matches!(input, Input::RoomClosed { .. }) {
            self.rooms.remove(&room);
            self.sweep();
        }
    }

    /// A recording began.
    pub fn begun(&mut self, now: Instant, session: Session, name: &RoomName, id: &RecordingId) {
        let Some(capture) = self.by_name.get_mut(name) else { return };
        capture.id.get_or_insert_with(|| id.clone());
        self.sessions.insert(session, name.clone());
        self.add(now, name, What::Begun(id.clone()));
    }

    /// A recording is closed.
    pub fn closed(&mut self, session: Session) {
        if self.sessions.remove(&session).is_some() {
            self.sweep();
        }
    }

    /// A tap delivered.
    pub fn item(
        &mut self,
        now: Instant,
        session: Session,
        source: &(reelay_signaling::ParticipantId, reelay_signaling::Source),
        item: &TapItem,
    ) {
        let Some(name) = self.sessions.get(&session).cloned() else { return };
        self.open(&name);
        self.add(now, &name, What::of_item(now, source, item));
    }

    /// Time passed for everybody.
    pub fn tick(&mut self, now: Instant) {
        self.for_running(now, || What::Tick);
    }

    /// Another second; what was captured reaches the disk.
    pub fn second(&mut self, now: Instant, seconds: u64) {
        self.for_running(now, || What::Second(seconds));
        for capture in self.by_name.values_mut() {
            if let State::Writing(_, file) = &mut capture.state
                && let Err(error) = file.flush()
            {
                warn!(%error, "a capture ends");
                capture.state = State::Over;
            }
        }
    }

    /// Every recording is closed.
    pub fn close_all(&mut self, now: Instant) {
        self.for_running(now, || What::CloseAll);
    }

    fn for_running(&mut self, now: Instant, what: impl Fn() -> What) {
        let mut names: Vec<RoomName> = self.sessions.values().cloned().collect();
        names.sort();
        names.dedup();
        for name in names {
            self.add(now, &name, what());
        }
    }

    /// The first media of a room: its file is made.
    fn open(&mut self, name: &RoomName) {
        let Some(options) = &self.options else { return };
        let Some(capture) = self.by_name.get_mut(name) else { return };
        let (State::Early(lines, _), Some(id)) = (&capture.state, &capture.id) else { return };
        let path = options.dir.join(format!("{id}.{EXTENSION}"));
        let bytes = [&self.head[..], lines].concat();
        let file = File::create(&path).and_then(|mut file| file.write_all(&bytes).map(|()| file));
        self.used += bytes.len() as u64;
        capture.state = match file {
            Ok(file) => State::Writing(path, BufWriter::with_capacity(BUFFER, file)),
            Err(error) => {
                warn!(%error, "nothing is captured of a room");
                State::Over
            }
        };
    }

    fn add(&mut self, now: Instant, name: &RoomName, what: What) {
        let Some(capture) = self.by_name.get_mut(name) else { return };
        if matches!(capture.state, State::Over) {
            return;
        }
        let at_ns = now.saturating_duration_since(self.zero).as_nanos() as u64;
        let is_tick = matches!(what, What::Tick);
        let mut text = Line(at_ns, what).to_json();
        text.push(b'\n');
        match &mut capture.state {
            State::Over => {}
            State::Early(lines, last_tick) => {
                // Nothing flows yet: of ticks in a row the last one says all.
                if let Some(at) = last_tick.take().filter(|_| is_tick) {
                    lines.truncate(at);
                }
                *last_tick = is_tick.then_some(lines.len());
                lines.extend(text);
                if lines.len() > MAX_EARLY {
                    capture.state = State::Over;
                }
            }
            State::Writing(..) => {
                let has_room = self.make_room(text.len() as u64);
                let Some(capture) = self.by_name.get_mut(name) else { return };
                let State::Writing(_, file) = &mut capture.state else { return };
                let written = if has_room { file.write_all(&text) } else { Err(io::ErrorKind::QuotaExceeded.into()) };
                match written {
                    Ok(()) => self.used += text.len() as u64,
                    Err(error) => {
                        warn!(%error, room = name.as_str(), "a capture ends before its room");
                        capture.state = State::Over;
                    }
                }
            }
        }
    }

    /// Removes the oldest captures until so much fits. False when there is nothing left to remove.
    fn make_room(&mut self, bytes: u64) -> bool {
        let Some(options) = &self.options else { return false };
        if self.used + bytes <= options.limit {
            return true;
        }
        let open = |path: &PathBuf| {
            self.by_name.values().any(|capture| matches!(&capture.state, State::Writing(own, _) if own == path))
        };
        for (path, size) in finished(options) {
            if self.used + bytes <= options.limit {
                break;
            }
            if !open(&path) && fs::remove_file(&path).is_ok() {
                self.used = self.used.saturating_sub(size);
            }
        }
        self.used + bytes <= options.limit
    }

    /// Rooms that are gone need no capture any more.
    fn sweep(&mut self) {
        let (rooms, sessions) = (&self.rooms, &self.sessions);
        let is_alive = |name: &RoomName| rooms.values().chain(sessions.values()).any(|alive| alive == name);
        self.by_name.retain(|name, _| is_alive(name));
    }
}

/// Captures in the folder, oldest first, with their sizes.
fn finished(options: &CaptureOptions) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(&options.dir).into_iter().flatten().flatten();
    let is_capture = |path: &PathBuf| {
        let is_ours = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|s| s.parse::<RecordingId>().is_ok());
        is_ours && path.extension().is_some_and(|extension| extension == EXTENSION)
    };
    let mut all: Vec<(PathBuf, u64)> = entries
        .map(|entry| (entry.path(), entry.metadata().map_or(0, |meta| meta.len())))
        .filter(|(path, _)| is_capture(path))
        .collect();
    all.sort();
    all
}

const EXTENSION: &str = "capture";
const BUFFER: usize = 64 * 1024;
/// What may wait for the first media of a room.
const MAX_EARLY: usize = 1024 * 1024;

fn head(options: &Options, wall: &WallClock) -> Vec<u8> {
    let mut head = Head::new(options, wall.unix_ms(0)).to_json();
    head.push(b'\n');
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &std::path::Path, limit: u64) -> Options {
        let capture = Some(CaptureOptions { dir: dir.to_owned(), limit });
        Options { capture, ..Options::new(dir.join("recordings")) }
    }

    fn id(n: u32) -> RecordingId {
        format!("01920000-0000-7000-8000-{n:012x}").parse().unwrap()
    }

    /// A room with one recording and so many seconds of media; gives the captures.
    fn room(captures: &mut Captures, n: u32, packets: u32) {
        let (room, name): (_, RoomName) = (RoomKey(n.into()), format!("r{n}").parse().unwrap());
        let (now, source) = (captures.zero, ("paaaaaaaaaa".parse().unwrap(), reelay_signaling::Source::Camera));
        captures.input(now, &Input::RoomOpened { room, name: name.clone() });
        captures.begun(now, Session(n.into()), &name, &id(n));
        for _ in 0..packets {
            captures.tick(now);
            captures.item(now, Session(n.into()), &source, &TapItem::Overflow { packets: 1 });
        }
        captures.closed(Session(n.into()));
        captures.input(now, &Input::RoomClosed { room, ended: true });
    }

    fn sizes(dir: &std::path::Path) -> Vec<u64> {
        let size = |entry: fs::DirEntry| entry.metadata().unwrap().len();
        fs::read_dir(dir).unwrap().flatten().map(size).collect()
    }

    #[test]
    fn captures_stay_within_their_bytes_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let wall = WallClock::new(std::time::SystemTime::UNIX_EPOCH);
        let mut captures = Captures::new(&options(dir.path(), 10_000), Instant::now(), &wall);
        for n in 1..=6 {
            room(&mut captures, n, 50);
            assert!(sizes(dir.path()).iter().sum::<u64>() <= 10_000);
        }
        assert!(captures.by_name.is_empty(), "rooms that are gone are forgotten");
        let has = |n| dir.path().join(format!("{}.capture", id(n))).exists();
        assert!(has(6) && !has(1));
        room(&mut captures, 7, 1_000);
        assert_eq!(sizes(dir.path()).len(), 1, "one that is larger than all ends early");
        assert!(sizes(dir.path())[0] <= 10_000);
        let again = Captures::new(&options(dir.path(), 10_000), Instant::now(), &wall);
        assert_eq!(again.used, sizes(dir.path())[0], "what is there counts at the next start");
    }

    #[test]
    fn room_without_media_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let wall = WallClock::new(std::time::SystemTime::UNIX_EPOCH);
        let mut captures = Captures::new(&options(dir.path(), 10_000), Instant::now(), &wall);
        room(&mut captures, 1, 0);
        assert!(sizes(dir.path()).is_empty());
    }
}
