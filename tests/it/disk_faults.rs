//! Real servers on real disks that fill up, become read-only, or are taken away: the call goes on, and people are told.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use reelay::recording::repair::repair;
use reelay::recording::storage::{Disk, Storage};
use serde_json::Value;

use crate::harness::{Server, until};
use crate::webm_judges::judge;

/// Somebody in the room, with a test picture; goes when this value ends.
struct Caller(Child);

impl Caller {
    fn new(server: &Server) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
        command.args(["publish", "--to", &server.url("/whip/team/cam"), "--test-pattern", "--duration", "60s"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn recording(server: &Server) -> Value {
    server.get("/api/rooms").json()["rooms"][0]["recording"].clone()
}

fn until_state(server: &Server, state: &str, reason: Option<&str>) -> Value {
    until(&format!("{state} {reason:?}"), || {
        let now = recording(server);
        (now["state"] == state && now["reason"].as_str() == reason).then_some(now)
    })
}

/// It is recorded again when another second of it is on disk.
fn until_grows(server: &Server) {
    let before = until_state(server, "recording", None)["duration_ms"].as_u64().unwrap();
    until("it grows", || (recording(server)["duration_ms"].as_u64()? > before + 500).then_some(()));
}

#[test]
fn call_outlives_a_full_disk_and_a_folder_that_is_read_only_for_a_while() {
    let Some(server) = Server::start_on_own_disk("", "80m") else { return };
    let _caller = Caller::new(&server);
    until_grows(&server);
    let disk = server.own_disk();
    let id = recording(&server)["id"].as_str().unwrap().to_owned();

    let filler = disk.join("filler");
    let fill = || std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert!(fill().is_err(), "the disk is full now");
    until_state(&server, "interrupted", Some("disk-full"));
    assert_eq!(server.get("/api/rooms").json()["rooms"][0]["participants"].as_array().unwrap().len(), 1);
    std::fs::remove_file(&filler).unwrap();
    until_grows(&server);

    server.among_its_disks("mount -t tmpfs -o ro tmpfs recordings");
    until_state(&server, "interrupted", Some("io-error"));
    server.among_its_disks("umount recordings");
    until_grows(&server);

    assert_eq!(server.request("DELETE", "/api/rooms/team/recording", &[]).status, 200);
    let folder = disk.join(&id);
    let manifest = until("the manifest is closed", || {
        let text = std::fs::read(folder.join("manifest.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&text).ok()?;
        (manifest["state"] == "complete").then_some(manifest)
    });
    // The file that went out of sight is still there; a start of the server, or this, ends it.
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let mut files = 0;
    for item in std::fs::read_dir(&folder).unwrap().flatten().map(|item| item.path()) {
        if item.extension().is_some_and(|extension| extension == "part") {
            repair(&storage, &item).unwrap();
        }
    }
    for item in std::fs::read_dir(&folder).unwrap().flatten().map(|item| item.path()) {
        if item.extension().is_some_and(|extension| extension == "webm") {
            judge_copy(&item, server.dir.path());
            files += 1;
        }
    }
    assert!(files >= 2, "{manifest}");
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let types: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
    let told = ["interrupted", "disk-back"].map(|kind| types.iter().filter(|known| *known == kind).count());
    assert_eq!(told, [2, 2], "{events}");
}

/// The judges do not see into the server's disk.
fn judge_copy(path: &Path, to: &Path) {
    let copy = to.join("copy.webm");
    std::fs::copy(path, &copy).unwrap();
    let (video, audio) = judge(&copy);
    assert!(video > 10 && audio > 10, "{video} {audio}");
}

#[test]
fn second_server_on_one_folder_refuses_and_the_first_goes_on() {
    let server = Server::start("", |_| ());
    let second = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["--listen", "127.0.0.1:0", "--udp-port", "0", "--recordings", "recordings"])
        .current_dir(server.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another Reelay records into"), "{said}");
    assert_eq!(server.get("/api/rooms").status, 200);
}
