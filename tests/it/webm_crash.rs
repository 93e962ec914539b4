//! A writer that is really killed, a disk that is really full, a folder that is really taken away.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use reelay::recording::file::{Block, SegmentFile};
use reelay::recording::repair::{Outcome, repair};
use reelay::recording::storage::{Disk, Storage, StorageError};
use reelay_signaling::Kind;

use crate::webm_judges::{counted, frames, header, judge, put};

const WRITE_TO: &str = "REELAY_TEST_WRITE_TO";
const THEN_COPY_TO: &str = "REELAY_TEST_COPY_TO";

/// Not a test of its own: what the tests below start as a process, told by the environment.
#[test]
fn writer_process() {
    let Some(path) = std::env::var_os(WRITE_TO) else { return };
    let mut file = SegmentFile::create(Arc::new(Disk), Path::new(&path), &header(true, true)).unwrap();
    let mut written = 0;
    for (kind, frame) in frames(200) {
        let data = &frame.data;
        let block = Block { kind, time_ms: frame.time_ms, keyframe: frame.keyframe, fill: false, data, size: None };
        if file.write(block).and_then(|_| file.flush()).is_err() {
            break;
        }
        written += 1;
        println!("\nwritten {written}");
        std::io::stdout().flush().unwrap();
    }
    let closed = file.close().unwrap().unwrap();
    if let Some(copy) = std::env::var_os(THEN_COPY_TO) {
        std::fs::copy(&closed.path, copy).unwrap();
    }
}

fn writer(program: &str, before: &[&str], path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(before).args(["--exact", "webm_crash::writer_process", "--nocapture"]);
    command.env(WRITE_TO, path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Kills it as soon as it has said that it wrote so many blocks.
fn kill_after(mut child: Child, blocks: u64) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let wanted = format!("written {blocks}");
    assert!(lines.map_while(Result::ok).any(|line| line == wanted), "the writer ended early");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_writer_loses_no_complete_block() {
    let this = std::env::current_exe().unwrap();
    for blocks in [1, 2, 77, 600, 1111, 2500] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p1-camera-1.webm");
        kill_after(writer(this.to_str().unwrap(), &[], &path).spawn().unwrap(), blocks);
        let part = dir.path().join("p1-camera-1.webm.part");
        // A kill in the middle of a write leaves the beginning of a block.
        let (before, said) = counted(&part);
        assert!(said.lines().all(|line| line.ends_with("File ended prematurely")), "{said}");
        assert!(before.0 + before.1 >= blocks, "{before:?} of {blocks}");

        let storage: Arc<dyn Storage> = Arc::new(Disk);
        let report = repair(&storage, &part).unwrap();
        assert_eq!(report.outcome, Outcome::Repaired);
        assert_eq!((report.tally.video.blocks, report.tally.audio.blocks), before);
        assert_eq!(judge(&path), before);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(repair(&storage, &path).unwrap().outcome, Outcome::Whole);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

/// In a mount namespace of its own, with a tmpfs that is too small.
#[test]
fn full_disk_ends_with_a_whole_file() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy: PathBuf = out.path().join("p1-camera-1.webm");
    let script = "mount -t tmpfs -o size=700k tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let (place, this) = (dir.path().to_str().unwrap(), std::env::current_exe().unwrap());
    let before = ["-Urm", "sh", "-c", script, "sh", place, this.to_str().unwrap()];
    let mut command = writer("unshare", &before, &dir.path().join("p1-camera-1.webm"));
    let output = command.env(THEN_COPY_TO, &copy).output().unwrap();
    if output.status.code() == Some(77) || (output.stdout.is_empty() && !output.status.success()) {
        println!("no mount namespace here: not tested");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let (video, audio) = judge(&copy);
    assert!(video > 500 && audio > 800, "{video} {audio}");
    let len = copy.metadata().unwrap().len();
    assert!((600_000..720_000).contains(&len), "{len} bytes on a disk of 700 KiB");
}

#[test]
fn folder_that_is_taken_away_is_noticed_by_the_next_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, elsewhere) = (dir.path().join("r"), dir.path().join("moved"));
    std::fs::create_dir(&folder).unwrap();
    let mut file = SegmentFile::create(Arc::new(Disk), &folder.join("a.webm"), &header(true, true)).unwrap();
    for (kind, frame) in frames(1) {
        put(&mut file, kind, &frame);
    }
    file.sync().unwrap();
    std::fs::rename(&folder, &elsewhere).unwrap();
    assert!(matches!(file.sync(), Err(StorageError::Unwritable(_))));
    assert!(matches!(
        SegmentFile::create(Arc::new(Disk), &folder.join("b.webm"), &header(true, true)),
        Err(StorageError::Unwritable(_))
    ));
    // What was written is where the folder went, and plays.
    assert!(matches!(file.close(), Err(StorageError::Unwritable(_))));
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    assert_eq!(repair(&storage, &elsewhere.join("a.webm.part")).unwrap().tally.video.blocks, 90);
    assert_eq!(judge(&elsewhere.join("a.webm")), (90, 150));
}

#[test]
fn file_in_use_is_repaired_by_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.webm");
    let mut file = SegmentFile::create(Arc::new(Disk), &path, &header(true, true)).unwrap();
    put(&mut file, Kind::Video, &frames(1)[0].1);
    file.flush().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let part = file.path().to_path_buf();
    assert!(matches!(
        repair(&storage, &part),
        Err(reelay::recording::repair::RepairError::Storage(StorageError::Busy))
    ));
    file.close().unwrap();
    assert_eq!(repair(&storage, &path).unwrap().outcome, Outcome::Whole);
}
