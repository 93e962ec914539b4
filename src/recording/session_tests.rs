//! The first second of a recording, in virtual time: its file has not begun, and a kill of the process loses little of it.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::media::TapPacket;
use crate::recording::repair::repair;
use crate::recording::storage::Disk;
use crate::recording::{keeper, recover};
use crate::webm::layout;
use crate::webm::scan::{Item, OnDamage, Walker};

const ID: &str = "01920000-0000-7000-8000-000000000001";
const WHO: &str = "paaaaaaaaaa";

/// Somebody sends a packet of sound each 20 ms and a picture each 100 ms.
struct Scene {
    dir: tempfile::TempDir,
    shared: Shared,
    running: Running,
    ms: u64,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = store::Store::open(dir.path()).unwrap();
        let (updates, storage) = (unbounded_channel().0, Arc::new(Disk));
        let (keeper, _) = keeper::start(storage.clone(), updates.clone(), channel().0).unwrap();
        let shared = Shared {
            options: Options::new(dir.path()),
            storage,
            zero: Instant::now(),
            wall: WallClock::new(SystemTime::now()),
            clock: Arc::new(SystemTime::now),
            updates,
            keeper,
            watch: Arc::default(),
        };
        let mut running = Running::new(ID.parse().unwrap(), "team".parse().unwrap(), None, &store, shared.wall.text(0));
        let id: ParticipantId = WHO.parse().unwrap();
        let there = PersonChange::There { id: id.clone(), person: "k".into(), name: "Ann".into(), recorded: true };
        running.on_person(&shared, shared.zero, there);
        let declared = TrackChange::Declared { audio: true, video: true };
        running.on_track(&id, Source::Camera, Kind::Audio, declared);
        Self { dir, shared, running, ms: 0 }
    }

    /// What is sent until then arrives.
    fn until(&mut self, ms: u64) {
        let key = (WHO.parse().unwrap(), Source::Camera);
        while self.ms < ms {
            self.ms += 20;
            let now = self.shared.zero + Duration::from_millis(self.ms);
            for (kind, each) in [(Kind::Audio, 20), (Kind::Video, 100)] {
                if self.ms.is_multiple_of(each) {
                    let packet = packet(kind, (self.ms / each) as u16, now);
                    let mut item = TapItem::Packet(packet);
                    self.running.on_items(&self.shared, &key, std::iter::once((now, &mut item)));
                }
            }
            if self.ms.is_multiple_of(40) {
                self.running.on_time(&self.shared, now, None);
            }
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(ID).join(name)
    }

    /// What the next start makes of it.
    fn started(&self) -> Manifest {
        let (updates, _told) = unbounded_channel();
        let found = vec![ID.parse().unwrap()];
        let work = recover::Work {
            storage: Arc::new(Disk),
            dir: self.dir.path().to_owned(),
            found,
            clock: Arc::new(SystemTime::now),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let thread = recover::start(work, updates, channel().1, Box::new(|_| {}), stop).unwrap();
        thread.join().unwrap();
        store::read_manifest(&self.dir.path().join(ID)).unwrap()
    }
}

fn packet(kind: Kind, seq: u16, arrival: Instant) -> TapPacket {
    let (codec, ticks, begin) = match kind {
        Kind::Audio => (Codec::Opus, 960, &[0x78][..]),
        Kind::Video => (Codec::Vp8, 9_000, &[0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x40, 1, 0xF0, 0][..]),
    };
    TapPacket {
        kind,
        codec,
        ssrc: 1 + kind as u32,
        seq,
        rtp_time: u32::from(seq) * ticks,
        marker: kind == Kind::Video,
        arrival,
        audio_level: None,
        payload: Bytes::from([begin, &seq.to_be_bytes()].concat()),
    }
}

/// The numbers of the pictures and of the packets of sound in a file, without black ones.
fn numbers(path: &std::path::Path) -> [Vec<u16>; 2] {
    let bytes = std::fs::read(path).unwrap();
    let mut walker = Walker::new(&bytes[..], layout::FIRST_CLUSTER_AT, bytes.len() as u64, OnDamage::Stop);
    let mut numbers = [Vec::new(), Vec::new()];
    while let Some(item) = walker.next_item().unwrap() {
        let Item::Block(block) = item else { continue };
        if block.is_fill() {
            continue;
        }
        let end = (block.data_at + block.data_len) as usize;
        let number = u16::from_be_bytes([bytes[end - 2], bytes[end - 1]]);
        numbers[(block.track == u64::from(layout::AUDIO_TRACK)) as usize].push(number);
    }
    numbers
}

#[test]
fn call_that_is_killed_before_its_file_begins_keeps_all_but_the_last_moment() {
    for killed_ms in [60, 300, 480, 900] {
        let mut scene = Scene::new();
        scene.until(killed_ms);
        assert!(!scene.running.has_begun(), "this is about {killed_ms} ms");
        let manifest = scene.started();
        let entry = &manifest.files[0];
        let kept = numbers(&scene.file(&entry.file));
        // A draft each 200 ms, when there is a look each 40 ms.
        let least = (killed_ms.saturating_sub(239) / 20).max(1) as u16;
        assert!(kept[1].len() as u16 >= least, "{} packets of {killed_ms} ms", kept[1].len());
        for numbers in &kept {
            assert!(numbers.iter().copied().eq(1..=numbers.len() as u16), "{numbers:?}");
        }
        assert!(killed_ms < 400 || kept[0].len() as u64 + 3 > killed_ms / 100, "{kept:?}");
        assert_eq!((manifest.state, &*manifest.room, &*entry.name), (RecordingStatus::Recovered, "team", "Ann"));
        assert_eq!((manifest.files.len(), entry.offset_ms), (1, 0));
        assert_eq!(std::fs::read_dir(scene.dir.path().join(ID)).unwrap().count(), 4, "a draft or its index is left");
    }
}

#[test]
fn file_that_begins_takes_the_place_of_its_draft_and_holds_everything() {
    let mut scene = Scene::new();
    scene.until(2_000);
    let draft = scene.file(&format!("{WHO}-camera-1.{}", crate::recording::segment::DRAFT));
    assert!(scene.running.has_begun() && !draft.exists());
    // One that was not removed any more is of no use.
    std::fs::write(&draft, "what was there before").unwrap();
    let Scene { dir, shared, running, .. } = scene;
    drop(running);
    let scene = Scene { running: Scene::new().running, dir, shared, ms: 0 };
    let manifest = scene.started();
    assert!(!draft.exists());
    let kept = numbers(&scene.file(&manifest.files[0].file));
    assert!(kept[1].len() > 40 && kept[1].iter().copied().eq(1..=kept[1].len() as u16), "{kept:?}");
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    repair(&storage, &scene.file(&manifest.files[0].file)).unwrap();
}

#[test]
fn call_that_ends_before_its_file_begins_leaves_no_draft() {
    let mut scene = Scene::new();
    scene.until(500);
    let now = scene.shared.zero + Duration::from_millis(500);
    let Scene { dir, shared, running, .. } = scene;
    let manifest = running.close(&shared, now, "stopped").unwrap();
    assert_eq!(manifest.state, RecordingStatus::Complete);
    assert_eq!(numbers(&dir.path().join(ID).join(&manifest.files[0].file))[1].len(), 25);
    let names = std::fs::read_dir(dir.path().join(ID)).unwrap().flatten().map(|item| item.file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("draft")));
}
