//! Folders as crashes, power cuts and accidents leave them.

#![allow(clippy::unwrap_used, clippy::panic)]

use reelay_signaling::Kind;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::recording::file::{Block, SegmentFile};
use crate::recording::storage::Disk;
use crate::webm::{AudioTrack, Header};

const ID: &str = "01920000-0000-7000-8000-000000000001";
const CAMERA: &str = "paaaaaaaaaa-camera-1.webm";
const OTHER: &str = "pbbbbbbbbbb-camera-1.webm";
/// 2026-01-01.
const DATE_MS: i64 = 1_767_225_600_000;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(ID);
    fs::create_dir(&folder).unwrap();
    (dir, folder)
}

/// A second of sound, closed or left open.
fn record(folder: &Path, name: &str, date_ms: i64, is_closed: bool) {
    let header = Header { video: None, audio: Some(AudioTrack { channels: 2 }), date_ms, name: String::new() };
    let mut file = SegmentFile::create(Arc::new(Disk), &folder.join(name), &header).unwrap();
    for n in 0..50 {
        let block =
            Block { kind: Kind::Audio, time_ms: n * 20, keyframe: true, fill: false, data: &[0xF8, 1, 2], size: None };
        file.write(block).unwrap();
    }
    file.flush().unwrap();
    if is_closed {
        file.close().unwrap();
    }
}

/// What a start of the server makes of it, and whether a second one finds anything to do.
fn started(folder: &Path) -> (Option<Manifest>, bool) {
    let work = Work {
        storage: Arc::new(Disk),
        dir: folder.parent().unwrap().to_owned(),
        found: Vec::new(),
        clock: Arc::new(std::time::SystemTime::now),
    };
    let (updates, mut told) = unbounded_channel();
    let id: RecordingId = ID.parse().unwrap();
    work.look(folder, &id, &updates).unwrap();
    let manifest = store::read_manifest(folder).ok();
    while told.try_recv().is_ok() {}
    work.look(folder, &id, &updates).unwrap();
    (manifest, told.try_recv().is_ok())
}

#[test]
fn lost_manifest_is_made_anew_from_files_and_events() {
    let damages: [&[u8]; 5] = [b"", b"{\"version\":1,\"id\":\"0192", &[0; 4096], b"[]", b"{}"];
    for damage in damages.into_iter().map(Some).chain([None]) {
        let (_dir, folder) = folder();
        record(&folder, CAMERA, DATE_MS, true);
        record(&folder, OTHER, DATE_MS + 7_250, true);
        let events = [
            r#"{"t_ms":0,"at":"2026-01-01T00:00:00Z","type":"started","by":null,"room":"team"}"#,
            r#"{"t_ms":0,"at":"2026-01-01T00:00:00Z","type":"joined","participant":"paaaaaaaaaa","person":"k","name":"Ann"}"#,
            "{half a line",
        ];
        fs::write(folder.join(store::EVENTS), events.join("\n")).unwrap();
        if let Some(damage) = damage {
            fs::write(folder.join(store::MANIFEST), damage).unwrap();
        }
        let (manifest, is_repeated) = started(&folder);
        let manifest = manifest.unwrap();
        assert_eq!((manifest.state, manifest.room.as_str(), is_repeated), (RecordingStatus::Recovered, "team", false));
        assert_eq!((manifest.started_at.as_str(), manifest.duration_ms), ("2026-01-01T00:00:00Z", 8_250));
        let files: Vec<_> = manifest.files.iter().map(|f| (&*f.file, f.offset_ms, f.duration_ms, &*f.name)).collect();
        assert_eq!(files, [(CAMERA, 0, 1000, "Ann"), (OTHER, 7_250, 1000, "")]);
    }
}

#[test]
fn manifest_with_a_name_that_no_room_has_keeps_it_and_what_else_others_wrote() {
    for state in ["complete", "recording"] {
        let (_dir, folder) = folder();
        record(&folder, CAMERA, DATE_MS, state == "complete");
        let text = format!(
            r#"{{"id":"{ID}","room":"Team meeting, 3rd floor","state":"{state}","started_at":"2026-01-01T00:00:00Z",
            "lecture":{{"n":7}},"files":[{{"file":"{CAMERA}","participant":"paaaaaaaaaa","source":"camera",
            "open":{},"mood":"good"}},{{"file":"slides.pdf","participant":"paaaaaaaaaa","source":"camera"}}]}}"#,
            state == "recording"
        );
        fs::write(folder.join(store::MANIFEST), text).unwrap();
        let (manifest, is_repeated) = started(&folder);
        assert_eq!((manifest.unwrap().room.as_str(), is_repeated), ("Team meeting, 3rd floor", false));
        let stop = AtomicBool::new(false);
        hash::hash_recording(&Disk, &folder, &String::new, &stop).unwrap().unwrap();
        let now: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(store::MANIFEST)).unwrap()).unwrap();
        assert_eq!((&now["room"], &now["lecture"]["n"]), (&"Team meeting, 3rd floor".into(), &7.into()));
        let files = now["files"].as_array().unwrap();
        assert_eq!((&files[0]["mood"], &files[1]["file"]), (&"good".into(), &"slides.pdf".into()));
        assert!(files[0]["sha256"].is_string() && files[0]["open"] == false, "{now}");
    }
}

#[test]
fn manifest_that_says_something_else_than_ours_is_left_alone() {
    let (_dir, folder) = folder();
    record(&folder, CAMERA, DATE_MS, true);
    let text = format!(
        r#"{{"id":"{ID}","room":"team","state":"archived","started_at":"2026-01-01T00:00:00Z",
        "participants":[{{"id":"Ann"}}],"files":[]}}"#
    );
    fs::write(folder.join(store::MANIFEST), &text).unwrap();
    assert_eq!(started(&folder).0, None);
    assert_eq!(fs::read_to_string(folder.join(store::MANIFEST)).unwrap(), text);
}

#[test]
fn whole_file_that_the_manifest_does_not_know_is_listed() {
    let (_dir, folder) = folder();
    record(&folder, CAMERA, DATE_MS, true);
    record(&folder, OTHER, DATE_MS + 2_000, true);
    let text = format!(
        r#"{{"id":"{ID}","room":"team","state":"complete","started_at":"2026-01-01T00:00:00Z",
        "files":[{{"file":"{CAMERA}","participant":"paaaaaaaaaa","source":"camera","duration_ms":1000,"bytes":9}}]}}"#
    );
    fs::write(folder.join(store::MANIFEST), text).unwrap();
    let (manifest, is_repeated) = started(&folder);
    let files: Vec<_> = manifest.unwrap().files.iter().map(|f| (f.file.clone(), f.offset_ms, f.duration_ms)).collect();
    assert_eq!(files, [(CAMERA.to_owned(), 0, 1000), (OTHER.to_owned(), 2_000, 1000)]);
    assert!(!is_repeated);
}

#[test]
fn manifest_of_a_later_version_is_left_alone() {
    let (_dir, folder) = folder();
    record(&folder, CAMERA, DATE_MS, false);
    let later = format!(
        r#"{{"version":99,"id":"{ID}","room":"team","state":"recording","started_at":"2026-01-01T00:00:00Z"}}"#
    );
    fs::write(folder.join(store::MANIFEST), &later).unwrap();
    assert_eq!(started(&folder).0, None);
    assert_eq!(fs::read_to_string(folder.join(store::MANIFEST)).unwrap(), later);
    assert!(folder.join(format!("{CAMERA}.part")).exists());
}

#[test]
fn file_that_nobody_can_read_is_told_once_and_kept() {
    let (_dir, folder) = folder();
    let part = folder.join(format!("{CAMERA}.part"));
    let garbage = vec![7; 100_000];
    fs::write(&part, &garbage).unwrap();
    let (manifest, is_repeated) = started(&folder);
    let manifest = manifest.unwrap();
    assert_eq!((manifest.state, manifest.reason.as_deref()), (RecordingStatus::Failed, Some("nothing-usable")));
    assert_eq!(manifest.files[0].close_reason.as_deref(), Some("unusable"));
    assert!(!is_repeated && fs::read(&part).unwrap() == garbage);
}

#[test]
fn header_without_media_that_a_power_cut_tore_is_an_honest_nothing() {
    for lost in [0..512, 512..1024, 0..4096] {
        let (_dir, folder) = folder();
        record(&folder, CAMERA, DATE_MS, false);
        let part = folder.join(format!("{CAMERA}.part"));
        let mut bytes = fs::read(&part).unwrap();
        bytes.truncate(crate::webm::layout::FIRST_CLUSTER_AT as usize);
        bytes[lost].fill(0);
        fs::write(&part, bytes).unwrap();
        let (manifest, is_repeated) = started(&folder);
        let manifest = manifest.unwrap();
        assert_eq!((manifest.state, manifest.reason.as_deref()), (RecordingStatus::Failed, Some("nothing-usable")));
        assert!(manifest.files.is_empty() && !part.exists() && !is_repeated);
    }
}

#[test]
fn file_that_the_manifest_does_not_know_is_placed_by_its_date() {
    let (_dir, folder) = folder();
    record(&folder, CAMERA, DATE_MS + 4_000, false);
    let known = format!(
        r#"{{"version":1,"id":"{ID}","room":"team","state":"recording","started_at":"2026-01-01T00:00:00Z",
        "files":[{{"file":"{OTHER}","participant":"pbbbbbbbbbb","source":"camera","open":true}}]}}"#
    );
    fs::write(folder.join(store::MANIFEST), known).unwrap();
    record(&folder, OTHER, DATE_MS, false);
    let manifest = started(&folder).0.unwrap();
    let files: Vec<_> = manifest.files.iter().map(|file| (&*file.file, file.offset_ms)).collect();
    assert_eq!((manifest.state, &files[..]), (RecordingStatus::Recovered, &[(OTHER, 0), (CAMERA, 4_000)][..]));
}
