//! Captured calls, recorded once more: the same bytes, and exact words where a capture is no good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{Server, until};
use crate::webm_judges::judge;

fn publish(server: &Server, name: &str, length: &str) -> Child {
    let to = server.url(&format!("/whip/team/{name}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
    command.args(["publish", "--to", &to, "--test-pattern", "--duration", length]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn replay(file: &Path, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reelay")).arg("replay-capture").arg(file).arg("--out").arg(out).output().unwrap()
}

/// Every WebM file below, by its folder and name.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for path in std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "webm") {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/call.capture")
}

#[test]
fn captured_calls_are_recorded_again_byte_for_byte() {
    let server = Server::start("[recording]\nlinger = \"0s\"\ncapture_dir = \"captures\"\n", |_| ());
    // Two people and a pause, then a second recording of the same room.
    let (mut ana, mut ben) = (publish(&server, "ana", "4s"), publish(&server, "ben", "3s"));
    let recorded_ms = || server.get("/api/rooms/team").json()["recording"]["duration_ms"].as_u64().unwrap_or(0);
    until("half a second is recorded", || (recorded_ms() > 500).then_some(()));
    for action in ["pause", "resume"] {
        let answer = server.send("POST", &format!("/api/rooms/team/recording/{action}"), &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(ana.wait().unwrap().success() && ben.wait().unwrap().success());
    assert!(publish(&server, "cyd", "1s").wait().unwrap().success());
    let is_done = |list: &serde_json::Value| {
        let all = list["recordings"].as_array().unwrap();
        all.len() == 2 && all.iter().all(|entry| entry["state"] == "complete")
    };
    until("both recordings are complete", || is_done(&server.get("/api/recordings").json()).then_some(()));
    let recorded = files(&server.recordings());
    assert_eq!(recorded.len(), 3);
    let again = server.dir.path().join("again");
    let mut captures = 0;
    for entry in std::fs::read_dir(server.dir.path().join("captures")).unwrap().flatten() {
        let output = replay(&entry.path(), &again);
        assert!(output.status.success(), "{output:?}");
        captures += 1;
        let text = std::fs::read_to_string(entry.path()).unwrap();
        assert!(!text.contains("\"ana\"") && !text.contains("\"cyd\""), "names stay out");
    }
    assert!(captures > 0);
    let replayed = files(&again);
    assert_eq!(replayed.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    for (name, bytes) in &recorded {
        assert!(replayed[name] == *bytes, "{} differs", name.display());
        judge(&again.join(name));
    }
}

#[test]
fn capture_that_is_kept_gives_the_recording_that_it_gave() {
    let out = tempfile::tempdir().unwrap();
    let output = replay(&fixture(), out.path());
    assert!(output.status.success(), "{output:?}");
    let files = files(out.path());
    assert_eq!(files.len(), 1, "{output:?}");
    let path = out.path().join(files.keys().next().unwrap());
    assert_eq!(judge(&path), FIXTURE_BLOCKS);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&*path.to_string_lossy()) && said.split_whitespace().next().unwrap().len() == 64, "{said}");
}

#[test]
fn what_is_no_capture_is_told_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(fixture()).unwrap();
    let check = |text: &str, expected: &str| {
        let path = dir.path().join("x.capture");
        std::fs::write(&path, text).unwrap();
        let output = replay(&path, &dir.path().join("out"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    };
    check("", "not a capture of Reelay");
    check("\u{1}\u{2}\n", "not a capture of Reelay");
    check(&whole.replacen("\"reelay_capture\":1", "\"reelay_capture\":9", 1), "a capture of version 9");
    let lines: Vec<&str> = whole.lines().collect();
    check(&format!("{}\n{}\n[1,{{\"nonsense\":1}}]\n", lines[0], lines[1]), "line 3 is damaged");
    // Killed in the middle of a line: what is there counts.
    let path = dir.path().join("cut.capture");
    std::fs::write(&path, &whole.as_bytes()[..whole.len() * 2 / 3]).unwrap();
    let output = replay(&path, &dir.path().join("cut"));
    assert!(output.status.success(), "{output:?}");
    for name in files(&dir.path().join("cut")).keys() {
        judge(&dir.path().join("cut").join(name));
    }
}

/// Pictures and packets of sound in the capture that is kept.
const FIXTURE_BLOCKS: (u64, u64) = (60, 100);
