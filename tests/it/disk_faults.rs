//! Real servers on real disks that fill up, become read-only, or are taken away: the call goes on, and people are told.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reelay_signaling::Kind;
use serde_json::Value;

use crate::harness::{Server, until_within};
use crate::recorder::blocks;
use crate::webm_judges::judge;

/// Somebody in the room, with a test picture; goes when this value ends.
struct Caller(Child);

impl Caller {
    fn new(server: &Server) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
        command.args(["publish", "--to", &server.url("/whip/team/cam"), "--test-pattern", "--duration", "300s"]);
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

    let folder = disk.join(&id);
    until_listed(&folder, &["1.webm"]);
    assert_eq!(server.request("DELETE", "/api/rooms/team/recording", &[]).status, 200);
    let manifest = until_listed(&folder, &["1.webm", "2.webm"]);
    assert!(["complete", "recovered"].contains(&manifest["state"].as_str().unwrap()), "{manifest}");
    assert_eq!(judge_copies(&folder, server.dir.path()), 2);
    assert!(is_told(&folder, 2));
}

#[test]
fn another_disk_over_the_recordings_is_recorded_to_and_what_it_hid_is_ended_once_it_is_seen_again() {
    let Some(server) = Server::start_on_own_disk("", "80m") else { return };
    let _caller = Caller::new(&server);
    until_grows(&server);
    let id = recording(&server)["id"].as_str().unwrap().to_owned();
    let folder = server.own_disk().join(&id);
    let api = format!("/api/recordings/{id}");

    server.among_its_disks("mkdir other && mount -t tmpfs -o size=80m tmpfs other && mount --bind other recordings");
    until_state(&server, "interrupted", Some("io-error"));
    until_grows(&server);
    until("it is told in its new folder", || is_told(&folder, 1).then_some(()));
    assert!(folder.read_dir().unwrap().flatten().any(|item| ends(&item.path(), "-2.webm.part")));
    // Nobody else may record into that one either.
    server.among_its_disks("! flock --nonblock recordings true");

    // It is in use.
    server.among_its_disks("umount --lazy recordings");
    until_state(&server, "interrupted", Some("io-error"));
    until_grows(&server);
    until_listed(&folder, &["1.webm"]);
    assert_eq!(server.request("DELETE", "/api/rooms/team/recording", &[]).status, 200);
    let manifest = until_listed(&folder, &["1.webm", "3.webm"]);
    assert_eq!((&manifest["state"], &manifest["reason"]), (&"interrupted".into(), &"io-error".into()), "{manifest}");
    assert_eq!(judge_copies(&folder, server.dir.path()), 2);
    until("the API says so", || (server.get(&api).json()["state"] == "interrupted").then_some(()));

    server.among_its_disks("mount --bind other recordings");
    let is_recovered = |manifest: &Value| manifest["state"] == "recovered";
    let manifest = until("it is whole", || Some(until_listed(&folder, &["2.webm"])).filter(is_recovered));
    assert_eq!(manifest["files"].as_array().unwrap().len(), 1, "{manifest}");
    assert_eq!(judge_copies(&folder, server.dir.path()), 1);
    until("the API says so", || (server.get(&api).json()["state"] == "recovered").then_some(()));
}

/// Ten seconds on a disk that is frozen meanwhile, which no writer sees an end of.
#[test]
fn disk_that_stalls_for_ten_seconds_costs_viewers_nothing_and_the_recording_neither() {
    let Some(server) = Server::start_on_own_ext4("") else { return };
    let _caller = Caller::new(&server);
    until_grows(&server);
    let id = recording(&server)["id"].as_str().unwrap().to_owned();
    let seen = server.dir.path().join("seen.webm");
    let mut viewer = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["watch", "--from", &server.url("/whep/team"), "--duration", "25s", "--out", seen.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let sent = || {
        let text = String::from_utf8(server.get("/metrics").body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("media_packets_out_total "));
        line.map_or(0, |number| number.parse::<f64>().unwrap() as u64)
    };
    until("somebody watches", || (sent() > 100).then_some(()));

    // It thaws by itself in the end, whatever becomes of this test.
    let began = Instant::now();
    let mut stall = server.start_among_its_disks(
        "fsfreeze -f recordings && for n in $(seq 90); do [ -e thaw ] || sleep 1; done; fsfreeze -u recordings",
    );
    let told = until_state(&server, "interrupted", Some("io-error"));
    println!("told after {:?} that the disk does not answer: {told}", began.elapsed());
    let before = sent();
    until("packets are forwarded meanwhile", || (sent() > before + 100).then_some(()));
    until("ten seconds are over", || (began.elapsed() > Duration::from_secs(10)).then_some(()));
    println!("{} packets forwarded until the disk answered again", sent() - before);
    assert!(stall.try_wait().unwrap().is_none(), "it lasts until now");
    std::fs::write(server.dir.path().join("thaw"), "").unwrap();
    assert!(stall.wait().unwrap().success());

    until_grows(&server);
    assert!(viewer.wait().unwrap().success());
    assert_eq!(server.request("DELETE", "/api/rooms/team/recording", &[]).status, 200);
    let folder = server.own_disk().join(&id);
    let manifest = until_listed(&folder, &["1.webm"]);
    assert_eq!((&manifest["state"], manifest["files"].as_array().unwrap().len()), (&"complete".into(), 1));
    let counters = &manifest["files"][0]["counters"];
    for lost in ["overflow_packets", "blocks_dropped", "write_errors"] {
        assert!(counters[lost].is_null(), "{counters}");
    }
    until("it is told to be back", || is_told(&folder, 1).then_some(()));
    assert_eq!(judge_copies(&folder, server.dir.path()), 1);
    // No hole in what was recorded, nor in what was seen.
    for path in [server.dir.path().join("copy.webm"), seen] {
        for kind in [Kind::Audio, Kind::Video] {
            let times: Vec<u64> =
                blocks(&path, kind).iter().filter(|block| !block.is_fill).map(|block| block.time_ms).collect();
            let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            println!("{}: {} {kind} blocks, {longest} ms apart at most", path.display(), times.len());
            assert!(longest < 5_000, "{kind} stood still for {longest} ms");
        }
    }
}

fn ends(path: &Path, with: &str) -> bool {
    path.to_str().unwrap().ends_with(with)
}

/// The manifest, when files of these names are closed and listed in it.
fn until_listed(folder: &Path, names: &[&str]) -> Value {
    until(&format!("{names:?} are closed"), || {
        let text = std::fs::read(folder.join("manifest.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&text).ok()?;
        let is_closed = |entry: &Value, name| entry["file"].as_str().unwrap().ends_with(name) && entry["open"] == false;
        let files = manifest["files"].as_array()?;
        names.iter().all(|name| files.iter().any(|entry| is_closed(entry, name))).then_some(manifest)
    })
}

/// True when a folder's events say so often, or more often on a slow machine, that the disk refused and was back.
fn is_told(folder: &Path, times: usize) -> bool {
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    let types: Vec<Value> =
        events.lines().filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["type"].clone())).collect();
    let told = ["interrupted", "disk-back"].map(|kind| types.iter().filter(|known| *known == kind).count());
    told[0] >= times && told[0] == told[1]
}

/// As patient as a loaded machine needs.
fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(Duration::from_secs(60), what, look)
}

/// Judges all files, outside of the server's disk, where judges do not see. Gives how many.
fn judge_copies(folder: &Path, to: &Path) -> usize {
    let copy = to.join("copy.webm");
    let mut files = 0;
    for item in folder.read_dir().unwrap().flatten().map(|item| item.path()) {
        assert!(!ends(&item, ".part"), "{}", item.display());
        if ends(&item, ".webm") {
            std::fs::copy(item, &copy).unwrap();
            let (video, audio) = judge(&copy);
            assert!(video > 5 && audio > 5, "{video} {audio}");
            files += 1;
        }
    }
    files
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
