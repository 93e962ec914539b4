//! The recorder on a disk that refuses: the call goes on, people are told, and nothing is lost when the disk comes back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use reelay_signaling::{Consent, RecordingStatus};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::media::{Codec, TapPacket};
use crate::recording::WallClock;
use crate::recording::api::Options;
use crate::recording::faulty::{Faults, FaultyDisk};
use crate::recording::recorder::{Recorder, RecorderThread};
use crate::webm::layout;
use crate::webm::scan::{Item, OnDamage, Walker};

const ROOM: RoomKey = RoomKey(1);

struct Stage {
    disk: FaultyDisk,
    recorder: Recorder,
    updates: UnboundedReceiver<Update>,
    tap: Option<Tap>,
    room: RoomRecording,
    manifest: Option<Manifest>,
    seq: u16,
    start: Instant,
    /// How much too late a packet was sent.
    latest: Duration,
    _thread: RecorderThread,
    /// By how many seconds the machine's clock was set.
    set_by: Arc<AtomicI64>,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = FaultyDisk::default();
        let options = Options { min_free_bytes: 0, ..Options::new(dir.path()) };
        let (sender, updates) = unbounded_channel();
        let set_by = Arc::new(AtomicI64::new(0));
        let by = set_by.clone();
        let clock = Arc::new(move || stepped(SystemTime::now(), by.load(Ordering::Relaxed)));
        let (recorder, thread) = Recorder::start_on(disk.storage(), clock, options, sender).expect("it starts");
        let (room, participant) = (ROOM, ParticipantId::from_random(1));
        recorder.tell(Input::RoomOpened { room, name: "team".parse().expect("a room name") });
        recorder.tell(Input::Joined {
            room,
            participant: participant.clone(),
            person: "p".into(),
            name: "A".into(),
            consent: Consent::NotAsked,
            wording: None,
        });
        recorder.tell(Input::Declared {
            room,
            participant: participant.clone(),
            source: Source::Camera,
            audio: true,
            video: false,
        });
        let track = TrackId { participant, source: Source::Camera, kind: Kind::Audio };
        recorder.tell(Input::TrackStarted { room, track, codec: Codec::Opus, channels: 1 });
        let room = RoomRecording::default();
        let mut stage = Self {
            disk,
            recorder,
            updates,
            tap: None,
            room,
            manifest: None,
            seq: 0,
            start: Instant::now(),
            latest: Duration::ZERO,
            _thread: thread,
            set_by,
            dir,
        };
        stage.until("it is tapped", |stage| stage.tap.is_some());
        stage
    }

    fn faults(&self, faults: Faults) {
        self.disk.set_faults(faults);
    }

    /// Sends so many packets of 20 ms.
    fn send(&mut self, count: u16) {
        for _ in 0..count {
            let arrival = self.start + Duration::from_millis(20) * u32::from(self.seq);
            let packet = TapPacket {
                kind: Kind::Audio,
                codec: Codec::Opus,
                ssrc: 1,
                seq: self.seq,
                rtp_time: u32::from(self.seq) * 960,
                marker: false,
                arrival,
                audio_level: None,
                payload: Bytes::from([&[0x78, 0, 0, 0], &self.seq.to_be_bytes()[..]].concat()),
            };
            self.seq += 1;
            assert!(self.tap.as_ref().is_some_and(|tap| tap.send(TapItem::Packet(packet))));
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.room);
            match self.updates.try_recv() {
                Ok(Update::Room { recording, .. }) => self.room = recording,
                Ok(Update::Tap { tap, .. }) => self.tap = Some(tap),
                Ok(Update::Manifest(manifest)) => self.manifest = Some(manifest),
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Sends as packets come in a call, each at its time, for so long.
    fn send_live(&mut self, lasting: Duration) {
        let until = Instant::now() + lasting;
        while Instant::now() < until {
            match self.start + Duration::from_millis(20) * u32::from(self.seq) <= Instant::now() {
                true => {
                    let due = self.start + Duration::from_millis(20) * u32::from(self.seq);
                    self.latest = self.latest.max(due.elapsed());
                    self.send(1);
                }
                false => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// False when the machine kept this test from sending in time, for which the recorder puts silence in its place.
    fn sent_in_time(&self) -> bool {
        let is_so = self.latest < Duration::from_millis(500);
        if !is_so {
            println!("a packet was sent {:?} too late by this machine: its place is not judged", self.latest);
        }
        is_so
    }

    fn until_state(&mut self, state: RecordingState) {
        self.until(&format!("it is {state:?}"), |stage| stage.room.state == state);
    }

    fn stop(&self) {
        self.recorder.tell(Input::Stop { room: ROOM, by: None, reply: None });
    }

    fn close(&mut self) -> Manifest {
        self.stop();
        self.until("it is closed", |stage| stage.manifest.as_ref().is_some_and(|manifest| !manifest.is_running()));
        self.manifest.clone().expect("it was just there")
    }

    /// Types of the lines of `events.jsonl`, in order.
    fn event_types(&self, manifest: &Manifest) -> Vec<String> {
        self.events(manifest).iter().map(|line| line["type"].as_str().expect("a word").to_owned()).collect()
    }

    fn events(&self, manifest: &Manifest) -> Vec<serde_json::Value> {
        let path = self.dir.path().join(manifest.id.as_str()).join(store::EVENTS);
        let text = String::from_utf8(self.disk.files()[&path].clone()).expect("it is text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The manifest as it is on disk; `None` until it is there.
    fn on_disk(&self) -> Option<Manifest> {
        let files = self.disk.files();
        let (_, bytes) = files.iter().find(|(path, _)| path.ends_with(store::MANIFEST))?;
        crate::recording::parse_manifest(bytes).ok()
    }

    /// Numbers of the real packets in a file.
    fn packets(&self, manifest: &Manifest, n: usize) -> Vec<u16> {
        let path: PathBuf = self.dir.path().join(manifest.id.as_str()).join(&manifest.files[n].file);
        let bytes = self.disk.files().get(Path::new(&path)).cloned().expect("the file is there");
        let mut walker = Walker::new(&bytes[..], layout::FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
        let mut found = Vec::new();
        while let Some(item) = walker.next_item().expect("it is in memory") {
            if let Item::Block(block) = item
                && block.data_len == 6
            {
                let at = block.data_at as usize + 4;
                found.push(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            }
        }
        found
    }
}

fn stepped(wall: SystemTime, by_s: i64) -> SystemTime {
    let by = Duration::from_secs(by_s.unsigned_abs());
    if by_s < 0 { wall - by } else { wall + by }
}

/// Milliseconds since 1970.
fn unix_ms(text: &str) -> i64 {
    let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a time");
    (at.unix_timestamp_nanos() / 1_000_000) as i64
}

#[test]
fn machine_clock_that_is_set_by_an_hour_moves_nothing_in_a_recording() {
    for by_s in [3600, -3600] {
        let mut stage = Stage::new();
        stage.send(60);
        stage.until_state(RecordingState::Recording);
        stage.set_by.store(by_s, Ordering::Relaxed);
        stage.send(60);
        let manifest = stage.close();
        let (started, ended) =
            (unix_ms(&manifest.started_at), unix_ms(manifest.ended_at.as_deref().expect("it ended")));
        let now = unix_ms(&WallClock::new(SystemTime::now()).text(0));
        assert!((0..300_000).contains(&(now - started)) && (0..300_000).contains(&(ended - started)), "{manifest:?}");
        assert_eq!((manifest.files[0].offset_ms, manifest.files[0].duration_ms), (0, 2_400));
        assert!(stage.packets(&manifest, 0).into_iter().eq(0..120));
        let times: Vec<i64> =
            stage.events(&manifest).iter().map(|line| unix_ms(line["at"].as_str().expect("a time"))).collect();
        assert!(times.is_sorted() && times.iter().all(|at| (at - started).abs() < 300_000), "{times:?}");

        // The next one begins when the clock says so.
        (stage.manifest, stage.tap) = (None, None);
        stage.recorder.tell(Input::Start { room: ROOM, by: None, reply: None });
        stage.until("it is tapped again", |stage| stage.tap.is_some());
        stage.send(60);
        stage.until_state(RecordingState::Recording);
        let next = stage.close();
        let moved = unix_ms(&next.started_at) - started - by_s * 1000;
        assert!((0..300_000).contains(&moved), "{} after {}", next.started_at, manifest.started_at);
    }
}

fn survives(faults: impl Fn(u64) -> Faults, reason: &str) {
    let mut stage = Stage::new();
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    let used = stage.disk.files().values().map(|file| file.len() as u64).sum();
    stage.faults(faults(used));
    stage.send(60);
    stage.until_state(RecordingState::Interrupted);
    assert_eq!(stage.room.reason.as_deref(), Some(reason));
    stage.send(60);
    stage.faults(Faults::default());
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    let manifest = stage.close();
    assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Complete, 1));
    let counters = &manifest.files[0].counters;
    assert!(counters["write_errors"] > 0 && !counters.contains_key("blocks_dropped"), "{counters:?}");
    // On a slow machine time runs away from the packets, and some find their place taken by silence.
    let overlaps = counters.get("overlaps").copied().unwrap_or_default();
    let packets = stage.packets(&manifest, 0);
    assert!(packets.is_sorted() && packets.len() as u64 + overlaps == 240, "{overlaps} and {packets:?}");
}

#[test]
fn full_disk_is_told_and_nothing_is_lost_when_there_is_room_again() {
    survives(|used| Faults { space: Some(used + 100), ..Faults::default() }, "disk-full");
}

#[test]
fn failing_disk_is_told_and_nothing_is_lost_when_it_works_again() {
    survives(|_| Faults { writes_left: Some(0), ..Faults::default() }, "io-error");
}

#[test]
fn folder_that_cannot_be_written_to_at_the_start_is_told_and_tried_again() {
    let mut stage = Stage::new();
    stage.faults(Faults { read_only: true, ..Faults::default() });
    stage.send(60);
    stage.until_state(RecordingState::Interrupted);
    stage.faults(Faults::default());
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    let manifest = stage.close();
    assert!(stage.packets(&manifest, 0).len() > 60);
}

#[test]
fn disk_that_stays_full_ends_in_an_interrupted_recording_that_still_closes() {
    let mut stage = Stage::new();
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { space: Some(0), ..Faults::default() });
    stage.send(60);
    stage.until_state(RecordingState::Interrupted);
    let manifest = stage.close();
    assert_eq!((manifest.state, manifest.reason.as_deref()), (RecordingStatus::Interrupted, Some("disk-full")));
    let packets = stage.packets(&manifest, 0);
    assert!(packets.len() > 20 && packets[..] == (0..120).collect::<Vec<u16>>()[..packets.len()], "{packets:?}");
}

#[test]
fn disk_that_stalls_is_told_and_nothing_is_lost_when_it_answers_again() {
    let mut stage = Stage::new();
    stage.send_live(Duration::from_millis(500));
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { stall: true, ..Faults::default() });
    stage.send_live(Duration::from_secs(10));
    stage.until_state(RecordingState::Interrupted);
    assert_eq!(stage.room.reason.as_deref(), Some("io-error"));
    stage.faults(Faults::default());
    stage.send_live(Duration::from_millis(200));
    stage.until_state(RecordingState::Recording);
    let manifest = stage.close();
    assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Complete, 1));
    // What was sent while the disk stood still is in its place; none of it was taken for missing.
    let counters = &manifest.files[0].counters;
    for name in ["blocks_dropped", "overflow_packets"] {
        assert!(!counters.contains_key(name), "{counters:?}");
    }
    if stage.sent_in_time() {
        for name in ["filled_audio_ms", "overlaps"] {
            assert!(!counters.contains_key(name), "{counters:?}");
        }
        let sent = stage.seq;
        assert!(stage.packets(&manifest, 0).into_iter().eq(0..sent), "{counters:?}");
    }
    let types = stage.event_types(&manifest);
    let told = ["interrupted", "disk-back"].map(|kind| types.iter().filter(|known| *known == kind).count());
    assert!(told[0] >= 1 && told[0] == told[1], "{types:?}");
}

#[test]
fn disk_that_makes_nothing_durable_is_told_and_the_recording_goes_on() {
    let mut stage = Stage::new();
    stage.send_live(Duration::from_millis(500));
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { stall_sync: true, ..Faults::default() });
    stage.send_live(Duration::from_millis(5500));
    stage.until_state(RecordingState::Interrupted);
    assert_eq!(stage.room.reason.as_deref(), Some("io-error"));
    assert!(stage.room.duration_ms > 3_000, "blocks are written meanwhile: {:?}", stage.room);
    stage.faults(Faults::default());
    stage.send_live(Duration::from_millis(200));
    stage.until_state(RecordingState::Recording);
    let manifest = stage.close();
    assert_eq!(manifest.state, RecordingStatus::Complete);
    let sent = stage.seq;
    if stage.sent_in_time() {
        assert!(stage.packets(&manifest, 0).into_iter().eq(0..sent), "{:?}", manifest.files[0].counters);
    }
}

#[test]
fn pause_while_the_disk_stalls_cuts_when_it_was_asked_for() {
    let mut stage = Stage::new();
    stage.send_live(Duration::from_millis(300));
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { stall: true, ..Faults::default() });
    stage.send_live(Duration::from_millis(300));
    stage.recorder.tell(Input::Pause { room: ROOM, by: None, reply: None });
    // On a loaded machine packets are sent later than they are said to arrive.
    let paused_at = stage.seq..=(stage.start.elapsed().as_millis() / 20) as u16 + 1;
    stage.send_live(Duration::from_millis(700));
    stage.faults(Faults::default());
    stage.until_state(RecordingState::Paused);
    let manifest = stage.close();
    let last = stage.packets(&manifest, 0).last().copied();
    // One may have been on its way.
    let allowed = paused_at.start() - 3..=*paused_at.end();
    assert!(last.is_some_and(|last| allowed.contains(&last)), "{last:?} at {paused_at:?}");
}

#[test]
fn sync_that_fails_is_told_and_counted() {
    let mut stage = Stage::new();
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { sync: true, ..Faults::default() });
    stage.send(60);
    stage.until_state(RecordingState::Interrupted);
    assert_eq!(stage.room.reason.as_deref(), Some("io-error"));
    stage.faults(Faults::default());
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    let manifest = stage.close();
    assert_eq!(manifest.state, RecordingStatus::Complete);
    assert!(manifest.files[0].counters["write_errors"] > 0);
}

#[test]
fn manifest_and_events_that_are_refused_cost_no_media_and_are_written_later() {
    let mut stage = Stage::new();
    // The draft of the manifest as well as the events.
    stage.faults(Faults { refused: Some(".json"), ..Faults::default() });
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    stage.send(60);
    let closed = stage.close();
    assert_eq!(closed.state, RecordingStatus::Complete);
    assert!(stage.on_disk().is_none(), "it is refused");
    assert!(stage.packets(&closed, 0).into_iter().eq(0..120));
    stage.faults(Faults::default());
    stage.until("the manifest is there", |stage| stage.on_disk().is_some());
    assert_eq!(stage.on_disk(), Some(closed.clone()));
    stage.until("the events are there", |stage| stage.disk.files().keys().any(|path| path.ends_with(store::EVENTS)));
    assert_eq!(stage.event_types(&closed), ["started", "joined", "published", "stopped", "finished"]);
}

#[test]
fn rename_that_fails_at_the_end_leaves_a_part_and_says_so() {
    let mut stage = Stage::new();
    stage.send(60);
    stage.until_state(RecordingState::Recording);
    stage.faults(Faults { rename: true, ..Faults::default() });
    let manifest = stage.close();
    assert_eq!((manifest.state, manifest.reason.as_deref()), (RecordingStatus::Interrupted, Some("io-error")));
    // The next start finds it by this, and ends it.
    assert!(manifest.files[0].open);
    let part = stage.disk.files().into_keys().find(|path| path.to_string_lossy().ends_with(".part"));
    let report = crate::recording::repair::repair(&stage.disk.storage(), &part.expect("it is there"));
    assert!(matches!(report, Err(crate::recording::repair::RepairError::Storage(_))), "{report:?}");
    stage.faults(Faults::default());
    stage.until("it is ended without a new start", |stage| {
        stage.disk.files().keys().any(|path| path.extension().is_some_and(|extension| extension == "webm"))
    });
    assert!(stage.packets(&manifest, 0).into_iter().eq(0..60));
}

#[test]
fn hole_in_the_sound_is_told() {
    let mut stage = Stage::new();
    stage.send_live(Duration::from_millis(600));
    // A second of packets that nobody sees.
    stage.seq += 50;
    stage.send_live(Duration::from_millis(5000));
    let manifest = stage.close();
    let lines = stage.events(&manifest);
    let told: Vec<_> = lines.iter().filter(|line| line["type"] == "gap").collect();
    // A part of it was filled before it was clear that the rest is lost.
    let lasted: u64 = told.iter().filter_map(|line| line["lasted_ms"].as_u64()).sum();
    assert!((980..=1020).contains(&lasted), "{lines:?}");
    let first = told[0]["from_ms"].as_u64();
    assert!(first.is_some_and(|ms| (500..800).contains(&ms)), "{told:?}");
    assert!(told.iter().all(|line| line["kind"] == "audio" && line["source"] == "camera"), "{told:?}");
    assert_eq!(manifest.files[0].gaps.len(), told.len());
}
