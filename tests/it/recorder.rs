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

pub const ROOM: RoomKey = RoomKey(1);
const SOON: Duration = Duration::from_secs(60);

/// A recorder and the room that it serves.
pub struct Stage {
    pub recorder: Recorder,
    pub thread: Option<RecorderThread>,
    pub updates: UnboundedReceiver<Update>,
    pub taps: HashMap<TrackId, Tap>,
    pub room: RoomRecording,
    pub recorded: Vec<ParticipantId>,
    pub manifest: Option<Manifest>,
    pub events: Vec<serde_json::Value>,
    pub keyframes: usize,
    pub asked: usize,
}

impl Stage {
    pub fn new(dir: &Path, change: impl FnOnce(&mut Options)) -> Self {
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

    pub fn join(&self, n: u64, consent: Consent) -> ParticipantId {
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

    pub fn publish(&self, participant: &ParticipantId, kind: Kind) -> TrackId {
        let track = TrackId { participant: participant.clone(), source: Source::Camera, kind };
        let codec = if kind == Kind::Video { Codec::Vp8 } else { Codec::Opus };
        self.recorder.tell(Input::TrackStarted { room: ROOM, track: track.clone(), codec, channels: 2 });
        track
    }

    pub fn send(&self, track: &TrackId, items: impl IntoIterator<Item = TapItem>) {
        let tap = &self.taps[track];
        items.into_iter().for_each(|item| assert!(tap.send(item)));
    }

    pub fn stop(&self) {
        self.recorder.tell(Input::Stop { room: ROOM, by: Some("Ann".into()), reply: None });
    }

    /// Takes updates until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.room);
            match self.updates.try_recv() {
                Ok(update) => self.take(update),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub fn take(&mut self, update: Update) {
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

    pub fn until_closed(&mut self) -> Manifest {
        self.until("the recording is closed and hashed", |stage| {
            let is_final = |m: &Manifest| !m.is_running() && m.state != RecordingStatus::Repairing;
            stage.manifest.as_ref().is_some_and(|m| is_final(m) && m.files.iter().all(|f| f.sha256.is_some()))
        });
        self.manifest.clone().unwrap()
    }
}

/// A block that was read back.
pub struct ReadBlock {
    pub time_ms: u64,
    pub is_keyframe: bool,
    pub is_fill: bool,
    pub data: Vec<u8>,
}

/// The blocks of a track, in order.
pub fn blocks(path: &Path, kind: Kind) -> Vec<ReadBlock> {
    let bytes = std::fs::read(path).unwrap();
    let mut walker = Walker::new(&bytes[..], layout::FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
    let mut blocks = Vec::new();
    while let Some(item) = walker.next_item().unwrap() {
        let Item::Block(block) = item else { continue };
        if (block.track == u64::from(layout::VIDEO_TRACK)) == (kind == Kind::Video) {
            let data = bytes[block.data_at as usize..][..block.data_len as usize].to_vec();
            let is_fill = block.is_fill() || matches!(data[..], [0xe0 | 0xe8 | 0xf0 | 0xf8, 0xff, 0xfe]);
            let (time_ms, is_keyframe) = (block.time_ms.max(0) as u64, block.keyframe);
            blocks.push(ReadBlock { time_ms, is_keyframe, is_fill, data });
        }
    }
    blocks
}

/// The blocks that were received, in order.
pub fn real(path: &Path, kind: Kind) -> Vec<Vec<u8>> {
    blocks(path, kind).into_iter().filter(|block| !block.is_fill).map(|block| block.data).collect()
}

fn sent(sender: &Sender, kind: Kind) -> Vec<Vec<u8>> {
    sender.frames(kind).into_iter().map(|frame| frame.data).collect()
}

/// Where the `n`th file of a recording is.
pub fn file(dir: &Path, manifest: &Manifest, n: usize) -> PathBuf {
    dir.join(manifest.id.as_str()).join(&manifest.files[n].file)
}

/// A sender whose packets are all sent now, ahead of their times: the recorder looks while they are sent, and of a call in the
/// past it would take the rest for missing.
pub fn ahead(rounds: u64) -> Sender {
    Sender::new(Instant::now(), rounds)
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
    let sender = ahead(2);
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

#[test]
fn killed_recorder_loses_no_complete_block_and_its_folder_is_repaired_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    let person = stage.join(1, Consent::NotAsked);
    let (audio, video) = (stage.publish(&person, Kind::Audio), stage.publish(&person, Kind::Video));
    stage.until("both tracks are tapped", |stage| stage.taps.len() == 2);
    let sender = ahead(2);
    send_both(&stage, &sender, &audio, &video);
    stage.until("most of it is on disk", |stage| stage.room.duration_ms > 4_000);
    // What a kill leaves behind is what is on disk now.
    let after = tempfile::tempdir().unwrap();
    let id = stage.room.id.clone().unwrap();
    let (from, to) = (dir.path().join(id.as_str()), after.path().join(id.as_str()));
    std::fs::create_dir(&to).unwrap();
    for item in std::fs::read_dir(&from).unwrap().flatten() {
        std::fs::copy(item.path(), to.join(item.file_name())).unwrap();
    }
    let mut next = Stage::new(after.path(), |_| {});
    let manifest = next.until_closed();
    assert_eq!((manifest.id.clone(), manifest.state), (id, RecordingStatus::Recovered));
    let entry = &manifest.files[0];
    assert!(entry.duration_ms > 4_000 && entry.person == "person-1", "{entry:?}");
    let path = file(after.path(), &manifest, 0);
    judge(&path);
    for kind in [Kind::Audio, Kind::Video] {
        let (written, sent) = (real(&path, kind), sent(&sender, kind));
        assert!(written.len() > 120 && written[..] == sent[..written.len()], "{kind} differs");
    }
    assert!(next.events.iter().any(|event| event["type"] == "repaired"));
    drop(stage);
}

#[test]
fn folder_without_a_manifest_is_repaired_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    let person = stage.join(1, Consent::NotAsked);
    let audio = stage.publish(&person, Kind::Audio);
    stage.until("it is tapped", |stage| stage.taps.len() == 1);
    let sender = ahead(2);
    stage.send(&audio, sender.items(Kind::Audio).into_iter().map(|(_, item)| item));
    stage.until("some of it is on disk", |stage| stage.room.duration_ms > 2_000);
    let id = stage.room.id.clone().unwrap();
    let after = tempfile::tempdir().unwrap();
    let to = after.path().join(id.as_str());
    std::fs::create_dir(&to).unwrap();
    let name = format!("{person}-camera-1.webm.part");
    std::fs::copy(dir.path().join(id.as_str()).join(&name), to.join(&name)).unwrap();
    let mut next = Stage::new(after.path(), |_| {});
    let manifest = next.until_closed();
    assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Recovered, 1));
    assert_eq!((manifest.room.as_str(), &manifest.files[0].participant), ("unknown", &person));
}

#[test]
fn nothing_is_on_disk_before_consent_and_a_gap_is_where_it_was_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |options| options.consent = reelay::recording::ConsentPolicy::Required);
    let person = stage.join(1, Consent::NotAsked);
    let audio = stage.publish(&person, Kind::Audio);
    stage.until("somebody is asked", |stage| stage.asked == 1 && stage.room.state == RecordingState::Waiting);
    assert!(stage.room.consent_required && stage.taps.is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let consent =
        |consent| Input::Consent { room: ROOM, participant: person.clone(), consent, wording: "words-3".into() };
    stage.recorder.tell(consent(Consent::Agreed));
    stage.until("it is tapped", |stage| stage.taps.contains_key(&audio));
    let sender = ahead(1);
    stage.send(&audio, sender.items(Kind::Audio).into_iter().map(|(_, item)| item));
    stage.until("all of it is recorded", |stage| stage.room.duration_ms >= 3_000);
    let tap = stage.taps[&audio].clone();
    stage.recorder.tell(consent(Consent::Declined));
    stage.until("it is untapped", |stage| stage.taps.is_empty() && stage.recorded.is_empty());
    // What comes all the same is not taken.
    for (_, item) in (Sender { ssrc: 5, ..sender.clone() }).items(Kind::Audio) {
        tap.send(item);
    }
    stage.stop();
    let manifest = stage.until_closed();
    assert_eq!(real(&file(dir.path(), &manifest, 0), Kind::Audio).len(), 150);
    let consents: Vec<_> = stage.events.iter().filter(|event| event["type"] == "consent").collect();
    assert_eq!(consents.len(), 2);
    assert!(consents.iter().all(|event| event["wording"] == "words-3" && event["at"].is_string()));
    assert!(!manifest.participants[0].recorded);
}

#[test]
fn short_calls_give_valid_files_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    let mut files = 0;
    for n in 0..12 {
        let person = stage.join(n + 1, Consent::NotAsked);
        let (audio, video) = (stage.publish(&person, Kind::Audio), stage.publish(&person, Kind::Video));
        if n > 0 {
            stage.recorder.tell(Input::Start { room: ROOM, by: None, reply: None });
        }
        stage.until("both tracks are tapped", |stage| {
            stage.taps.contains_key(&audio) && stage.taps.contains_key(&video)
        });
        // Not in the past: on a busy machine the recorder would take the rest of the call for missing.
        let sender = Sender::new(Instant::now(), 1);
        let until = sender.start + Duration::from_millis(n * 40);
        for (at, item) in sender.both() {
            let TapItem::Packet(packet) = &item else { continue };
            if at < until {
                stage.send(if packet.kind == Kind::Video { &video } else { &audio }, [item.clone()]);
            }
        }
        stage.manifest = None;
        stage.stop();
        stage.until("it is off", |stage| stage.room.state == RecordingState::Off);
        stage.recorder.tell(Input::Left {
            room: ROOM,
            participant: person,
            reason: reelay_signaling::LeaveReason::Left,
        });
        stage.taps.clear();
        if n == 0 {
            continue;
        }
        let manifest = stage.until_closed();
        let path = file(dir.path(), &manifest, 0);
        let count = |kind| sent(&sender, kind).len().min(real(&path, kind).len());
        assert!(count(Kind::Audio) + count(Kind::Video) > 0, "call {n}");
        judge(&path);
        files += 1;
    }
    assert_eq!(files, 11);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 11, "a call without a packet leaves nothing");
}

#[test]
fn close_all_finishes_every_file_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    let people: Vec<_> = (1..=4).map(|n| stage.join(n, Consent::NotAsked)).collect();
    let tracks: Vec<_> = people.iter().map(|person| stage.publish(person, Kind::Audio)).collect();
    stage.until("all are tapped", |stage| stage.taps.len() == 4);
    let sender = ahead(1);
    for track in &tracks {
        stage.send(track, sender.items(Kind::Audio).into_iter().map(|(_, item)| item));
    }
    let (done, closed) = tokio::sync::oneshot::channel();
    stage.recorder.tell(Input::CloseAll { done });
    let manifests = closed.blocking_recv().unwrap();
    assert_eq!((manifests.len(), manifests[0].files.len()), (1, 4));
    for n in 0..4 {
        assert_eq!(real(&file(dir.path(), &manifests[0], n), Kind::Audio).len(), 150);
    }
    assert!(manifests[0].files.iter().all(|file| file.close_reason.as_deref() == Some("shutdown")));
    stage.thread.take().unwrap().stop();
}

#[test]
fn two_hundred_files_are_closed_while_a_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    let people: Vec<_> = (1..=200).map(|n| stage.join(n, Consent::NotAsked)).collect();
    let tracks: Vec<_> = people.iter().map(|person| stage.publish(person, Kind::Audio)).collect();
    stage.until("all are tapped", |stage| stage.taps.len() == 200);
    for track in &tracks {
        stage.send(track, ahead(1).items(Kind::Audio).into_iter().map(|(_, item)| item).take(50));
    }
    stage.until("it records", |stage| stage.room.state == RecordingState::Recording);
    let began = Instant::now();
    let (done, closed) = tokio::sync::oneshot::channel();
    stage.recorder.tell(Input::CloseAll { done });
    let manifests = closed.blocking_recv().unwrap();
    println!("200 files closed in {:?}", began.elapsed());
    assert_eq!(manifests[0].files.len(), 200);
    for entry in &manifests[0].files {
        assert_eq!((entry.close_reason.as_deref(), entry.open), (Some("shutdown"), false));
        assert_eq!(entry.counters["audio_packets"], 49, "{entry:?}");
    }
    let folder = dir.path().join(manifests[0].id.as_str());
    let on_disk = reelay::recording::parse_manifest(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((on_disk.state, on_disk.files.len()), (RecordingStatus::Complete, 200));
    let parts = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|item| item.path().extension().is_some_and(|e| e == "part"));
    assert_eq!(parts.count(), 0);
}

#[test]
fn each_promise_of_the_folder_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("recordings/README.md")).unwrap();
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap().flatten().map(|item| item.path()) {
            if item.is_dir() {
                folders.push(item);
            } else if item.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(item).unwrap());
            }
        }
    }
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| R")).collect();
    assert_eq!(rows.len(), 23);
    for row in rows {
        let tests = row.rsplit('|').nth(1).unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {name}(")), "{name} does not exist");
        }
    }
}

#[test]
fn new_size_of_the_picture_stays_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small.ivf");
    let made = std::process::Command::new("ffmpeg")
        .args("-v error -f lavfi -i testsrc=size=160x90:rate=30:duration=1 -c:v libvpx -b:v 60k -f ivf".split(' '))
        .arg(&small)
        .status();
    assert!(made.expect("ffmpeg is needed").success());
    let folder = dir.path().join("recordings");
    let mut stage = Stage::new(&folder, |_| {});
    let person = stage.join(1, Consent::NotAsked);
    let (audio, video) = (stage.publish(&person, Kind::Audio), stage.publish(&person, Kind::Video));
    stage.until("both tracks are tapped", |stage| stage.taps.len() == 2);
    let large = ahead(2);
    let large = Sender { rounds: 1, ..large };
    let packets = large.items(Kind::Video).iter().filter(|(_, item)| matches!(item, TapItem::Packet(_))).count();
    let small = Sender {
        start: large.start + Duration::from_secs(3),
        seq: large.seq.wrapping_add(packets as u16),
        rtp_time: large.rtp_time.wrapping_add(90 * 3000),
        video: Some(crate::clip::ivf(&std::fs::read(&small).unwrap())),
        ..large.clone()
    };
    send_both(&stage, &large, &audio, &video);
    stage.send(&video, small.items(Kind::Video).into_iter().map(|(_, item)| item));
    stage.until("it records", |stage| stage.room.state == RecordingState::Recording);
    stage.stop();
    let manifest = stage.until_closed();
    assert_eq!(manifest.files.len(), 1);
    let path = file(&folder, &manifest, 0);
    assert_eq!(judge(&path).0, 120);
    let sizes = &manifest.files[0].report.as_ref().unwrap().sizes;
    assert_eq!(sizes.iter().map(|size| (size.1, size.2)).collect::<Vec<_>>(), [(320, 180), (160, 90)]);
}

#[test]
fn full_tap_drops_and_counts_and_never_waits() {
    let (queue, items) = std::sync::mpsc::channel();
    let (tap, budget) = Tap::new(reelay::media::TapKey(1), queue);
    let sender = ahead(1);
    let (_, packet) = sender.items(Kind::Audio).remove(0);
    let TapItem::Packet(packet) = packet else { panic!("the first item is a packet") };
    let large = reelay::media::TapPacket { payload: vec![0; 100_000].into(), ..packet };
    for _ in 0..200 {
        assert!(tap.send(TapItem::Packet(large.clone())));
    }
    assert!(budget.queued() <= reelay::media::TAP_LIMIT_BYTES);
    let taken: Vec<_> = items.try_iter().map(|(_, item)| budget.release(item.cost())).collect();
    assert!(tap.send(TapItem::Packet(large)));
    let counted = items.try_iter().find_map(|(_, item)| match item {
        TapItem::Overflow { packets } => Some(packets),
        _ => None,
    });
    assert_eq!(taken.len() as u64 + counted.unwrap(), 200);
}
