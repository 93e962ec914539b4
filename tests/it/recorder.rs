//! The recorder from taps to folders: what was sent is in the files, byte for byte, whatever happens around it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reelay::media::{Codec, RoomKey, Tap, TapItem};
use reelay::recording::{Input, Manifest, Options, Recorder, RecorderThread, Update};
use reelay::webm::layout;
use reelay::webm::scan::{Item, OnDamage, Walker};
use reelay_signaling::{Consent, Kind, ParticipantId, RecordingState, RecordingStatus, RoomRecording, Source, TrackId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::media::Sender;
use crate::webm_judges::judge;

const ROOM: RoomKey = RoomKey(1);
const SOON: Duration = Duration::from_secs(10);

/// A recorder and the room that it serves.
struct Stage {
    recorder: Recorder,
    thread: Option<RecorderThread>,
    updates: UnboundedReceiver<Update>,
    taps: HashMap<TrackId, Tap>,
    room: RoomRecording,
    recorded: Vec<ParticipantId>,
    manifest: Option<Manifest>,
    events: Vec<serde_json::Value>,
    keyframes: usize,
    asked: usize,
}

impl Stage {
    fn new(dir: &Path, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new(dir);
        options.min_free_bytes = 0;
        change(&mut options);
        let (sender, updates) = unbounded_channel();
        let (recorder, thread) = Recorder::start(options, sender).unwrap();
        let stage = Self {
            recorder,
            thread: Some(thread),
            updates,
            taps: HashMap::new(),
            room: RoomRecording::default(),
            recorded: Vec::new(),
            manifest: None,
            events: Vec::new(),
            keyframes: 0,
            asked: 0,
        };
        stage.recorder.tell(Input::RoomOpened { room: ROOM, name: "team".parse().unwrap() });
        stage
    }

    fn join(&self, n: u64, consent: Consent) -> ParticipantId {
        let participant = ParticipantId::from_random(n);
        self.recorder.tell(Input::Joined {
            room: ROOM,
            participant: participant.clone(),
            person: format!("person-{n}"),
            name: format!("Name {n}"),
            consent,
            wording: None,
        });
        participant
    }

    fn publish(&self, participant: &ParticipantId, kind: Kind) -> TrackId {
        let track = TrackId { participant: participant.clone(), source: Source::Camera, kind };
        let codec = if kind == Kind::Video { Codec::Vp8 } else { Codec::Opus };
        self.recorder.tell(Input::TrackStarted { room: ROOM, track: track.clone(), codec, channels: 2 });
        track
    }

    fn send(&self, track: &TrackId, items: impl IntoIterator<Item = TapItem>) {
        let tap = &self.taps[track];
        items.into_iter().for_each(|item| assert!(tap.send(item)));
    }

    fn stop(&self) {
        self.recorder.tell(Input::Stop { room: ROOM, by: Some("Ann".into()), reply: None });
    }

    /// Takes updates until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.room);
            match self.updates.try_recv() {
                Ok(update) => self.take(update),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::Room { recording, recorded, .. } => (self.room, self.recorded) = (recording, recorded),
            Update::Tap { track, tap, .. } => _ = self.taps.insert(track, tap),
            Update::Untap { track, .. } => _ = self.taps.remove(&track),
            Update::Keyframe { .. } => self.keyframes += 1,
            Update::ConsentWanted { .. } => self.asked += 1,
            Update::Manifest(manifest) => self.manifest = Some(manifest),
            Update::Event { line, .. } => self.events.push(serde_json::from_str(&line).unwrap()),
        }
    }

    fn until_closed(&mut self) -> Manifest {
        self.until("the recording is closed and hashed", |stage| {
            stage.manifest.as_ref().is_some_and(|m| !m.is_running() && m.files.iter().all(|f| f.sha256.is_some()))
        });
        self.manifest.clone().unwrap()
    }
}

/// A block that was read back.
struct ReadBlock {
    time_ms: i64,
    is_fill: bool,
    keyframe: bool,
    data: Vec<u8>,
}

/// The blocks of a track, in order.
fn blocks(path: &Path, kind: Kind) -> Vec<ReadBlock> {
    let bytes = std::fs::read(path).unwrap();
    let mut walker = Walker::new(&bytes[..], layout::FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
    let mut blocks = Vec::new();
    while let Some(item) = walker.next_item().unwrap() {
        let Item::Block(block) = item else { continue };
        if (block.track == u64::from(layout::VIDEO_TRACK)) == (kind == Kind::Video) {
            let data = bytes[block.data_at as usize..][..block.data_len as usize].to_vec();
            let is_fill = block.is_fill() || data == [0xf8, 0xff, 0xfe];
            blocks.push(ReadBlock { time_ms: block.time_ms, is_fill, keyframe: block.keyframe, data });
        }
    }
    blocks
}

fn real(path: &Path, kind: Kind) -> Vec<Vec<u8>> {
    blocks(path, kind).into_iter().filter(|block| !block.is_fill).map(|block| block.data).collect()
}

fn sent(sender: &Sender, kind: Kind) -> Vec<Vec<u8>> {
    sender.frames(kind).into_iter().map(|frame| frame.data).collect()
}

fn file(dir: &Path, manifest: &Manifest, n: usize) -> PathBuf {
    dir.join(manifest.id.as_str()).join(&manifest.files[n].file)
}

/// A sender whose packets have arrived already: the recorder gets them all at once.
fn past(rounds: u64) -> Sender {
    let length = Duration::from_secs(3 * rounds) + Duration::from_millis(200);
    Sender::new(Instant::now() - length, rounds)
}

fn all(sender: &Sender, kind: Kind) -> Vec<TapItem> {
    sender.items(kind).into_iter().map(|(_, item)| item).collect()
}

/// Both tracks, in the order of arrival, into the recorder.
fn send_both(stage: &Stage, sender: &Sender, audio: &TrackId, video: &TrackId) {
    for (_, item) in sender.both() {
        let kind = match &item {
            TapItem::Packet(packet) => packet.kind,
            TapItem::Report(report) => report.kind,
            _ => Kind::Audio,
        };
        stage.send(if kind == Kind::Video { video } else { audio }, [item]);
    }
}

#[test]
fn every_byte_that_was_sent_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    // The stage begins first: time before the recorder's start has no place in a file.
    let mut stage = Stage::new(dir.path(), |_| {});
    let person = stage.join(1, Consent::NotAsked);
    let (audio, video) = (stage.publish(&person, Kind::Audio), stage.publish(&person, Kind::Video));
    stage.until("both tracks are tapped", |stage| stage.taps.len() == 2);
    assert_eq!(stage.room.state, RecordingState::Waiting);
    let sender = past(2);
    send_both(&stage, &sender, &audio, &video);
    stage.until("it records", |stage| stage.room.state == RecordingState::Recording);
    assert_eq!(stage.recorded, std::slice::from_ref(&person));
    stage.stop();
    let manifest = stage.until_closed();
    assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Complete, 1));
    let path = file(dir.path(), &manifest, 0);
    assert_eq!(judge(&path), (180, 300), "{:?}", manifest.files[0].counters);
    for kind in [Kind::Audio, Kind::Video] {
        assert!(real(&path, kind) == sent(&sender, kind), "{kind} differs");
    }
    let entry = &manifest.files[0];
    assert!((6000..=6001).contains(&entry.duration_ms) && entry.offset_ms == 0, "{entry:?}");
    assert_eq!(entry.sync.as_deref(), Some("sender-reports"));
    assert_eq!(entry.video.as_ref().map(|v| (v.width, v.height)), Some((320, 180)));
    assert!(entry.gaps.is_empty(), "{:?}", entry.gaps);
    let types: Vec<&str> = stage.events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["started", "joined", "published", "published", "stopped", "finished"]);
}
