//! `reelay check` and `reelay repair` as a person or a script uses them.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use reelay::recording::file::{Block, SegmentFile};
use reelay::recording::storage::Disk;
use reelay::webm::{AudioTrack, Header, VideoCodec, VideoTrack};
use reelay_signaling::Kind;

use crate::clip;

fn reelay(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reelay")).args(arguments).args(paths).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The clip in a file that is still open.
fn growing(path: &Path) -> SegmentFile {
    let header = Header {
        video: Some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
        audio: Some(AudioTrack { channels: 1 }),
        date_ms: 0,
        name: String::new(),
    };
    let mut file = SegmentFile::create(Arc::new(Disk), path, &header).unwrap();
    let video = clip::video().into_iter().map(|frame| (Kind::Video, frame));
    let mut all: Vec<_> = video.chain(clip::audio().into_iter().map(|frame| (Kind::Audio, frame))).collect();
    all.sort_by_key(|(kind, frame)| (frame.time_ms, *kind == Kind::Audio));
    for (kind, frame) in &all {
        let clip::Frame { time_ms, keyframe, ref data } = *frame;
        file.write(Block { kind: *kind, time_ms, keyframe, fill: false, data, size: None }).unwrap();
    }
    file.flush().unwrap();
    file
}

#[test]
fn repair_makes_whole_what_a_killed_server_left_and_check_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let (part, whole) = (dir.path().join("a.webm.part"), dir.path().join("a.webm"));
    let file = growing(&whole);

    let busy = reelay(&["repair"], &[&part]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(text(&busy).contains("in use by another process"), "{}", text(&busy));
    assert!(reelay(&["check"], &[&part]).status.success(), "a growing file is sound");

    drop(file);
    let repaired = reelay(&["repair", "--json"], &[dir.path()]);
    assert!(repaired.status.success());
    let said: serde_json::Value = serde_json::from_slice(&repaired.stdout).unwrap();
    assert_eq!((&said[0]["outcome"], &said[0]["blocks"]), (&"repaired".into(), &241.into()));
    assert!(whole.exists() && !part.exists());

    let again = reelay(&["repair"], &[&whole]);
    assert!(again.status.success() && text(&again).contains("is whole, 0:03.0"), "{}", text(&again));
    let checked = reelay(&["check", "--json"], &[dir.path()]);
    assert!(checked.status.success(), "{}", text(&checked));
    let said: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&said[0]["sound"], &said[0]["video"]["frames"]), (&true.into(), &90.into()));
}

#[test]
fn faults_and_foreign_files_end_with_an_exit_code_and_their_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.webm");
    growing(&path).close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, bytes).unwrap();
    let foreign = dir.path().join("b.webm");
    std::fs::write(&foreign, "not a recording").unwrap();

    let checked = reelay(&["check"], &[&path, &foreign, Path::new("/nowhere.webm")]);
    assert_eq!(checked.status.code(), Some(1));
    for words in ["R4 at byte", "R6 at byte", "b.webm: not a WebM or Matroska file", "/nowhere.webm: No such file"] {
        assert!(text(&checked).contains(words), "no {words:?} in {}", text(&checked));
    }
    let repaired = reelay(&["repair"], &[&path, &foreign]);
    assert_eq!(repaired.status.code(), Some(1));
    assert!(text(&repaired).contains("b.webm: not a recording of this program"), "{}", text(&repaired));
    assert!(reelay(&["check"], &[&path]).status.success(), "the cut one was repaired");
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "not a recording");
}
