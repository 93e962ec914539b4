//! Recordings whose sidecars and manifests were damaged, or written by somebody who means harm: the recorder, the commands
//! and the doors say what is wrong, end, and stay small.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reelay::webm::index::Row;
use reelay::webm::layout::FIRST_CLUSTER_AT;
use reelay_signaling::{Kind, RecordingStatus};

use crate::harness::{Server, until};
use crate::recorder::Stage;
use crate::tape::Tape;

const WHO: &str = "paaaaaaaaaa";
const FILE: &str = "paaaaaaaaaa-camera-1.webm";

/// Three seconds of a call, as the recorder left them.
fn model(dir: &Path) -> PathBuf {
    let mut tape = Tape::new(0);
    tape.begins(0);
    tape.join(100, WHO);
    let sender = tape.sender(200, 1);
    for kind in [Kind::Audio, Kind::Video] {
        tape.start(200, WHO, "camera", kind);
        tape.items(WHO, "camera", sender.items(kind));
    }
    tape.leave(4_000, WHO);
    tape.play(6_000, dir).remove(0).0
}

fn id(n: usize) -> String {
    format!("0192abcd-0000-7000-8000-{n:012x}")
}

/// A copy of the model under another id.
fn copy(model: &Path, dir: &Path, n: usize) -> PathBuf {
    let folder = dir.join(id(n));
    fs::create_dir_all(&folder).unwrap();
    for item in model.read_dir().unwrap().flatten() {
        fs::copy(item.path(), folder.join(item.file_name())).unwrap();
    }
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let known = model.file_name().unwrap().to_str().unwrap();
    fs::write(folder.join("manifest.json"), manifest.replace(known, &id(n))).unwrap();
    folder
}

fn huge(path: &Path, len: u64) {
    File::create(path).unwrap().set_len(len).unwrap();
}

/// Rows with a right checksum and wrong everything else.
fn lying_index(len: u64) -> Vec<u8> {
    let row =
        |t_ms, offset, len, key_offset, key_len| Row { t_ms, offset, len, key_offset, key_len, flags: 63 }.encode();
    [
        row(0, FIRST_CLUSTER_AT, 40, FIRST_CLUSTER_AT + 1, 39),
        row(1, FIRST_CLUSTER_AT + 40, (len - FIRST_CLUSTER_AT - 41) as u32, FIRST_CLUSTER_AT + 50, 1 << 20),
        row(u64::MAX, len - 1, 1, 0, 0),
        row(u64::MAX, u64::MAX - 1, u32::MAX, u64::MAX, u32::MAX),
    ]
    .concat()
}

type Damage = (&'static str, fn(&Path));

/// What is done to one file of a recording each.
const SIDECARS: &[Damage] = &[
    ("index of noise", |folder| fs::write(index(folder), noise(100_000)).unwrap()),
    ("index that lies", |folder| {
        let len = fs::metadata(folder.join(FILE)).unwrap().len();
        fs::write(index(folder), lying_index(len)).unwrap();
    }),
    ("flipped bits in the index", |folder| {
        let mut bytes = fs::read(index(folder)).unwrap();
        bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 4);
        fs::write(index(folder), bytes).unwrap();
    }),
    ("endless index", |folder| huge(&index(folder), 1 << 33)),
    ("folder for an index", |folder| {
        fs::remove_file(index(folder)).unwrap();
        fs::create_dir(index(folder)).unwrap();
    }),
    ("endless levels", |folder| huge(&folder.join(FILE).with_extension("levels"), 1 << 33)),
    ("notes of noise", |folder| fs::write(folder.join("notes.json"), noise(1000)).unwrap()),
    ("notes without a bottom", |folder| fs::write(folder.join("notes.json"), "[".repeat(60_000)).unwrap()),
    ("endless notes", |folder| huge(&folder.join("notes.json"), 1 << 33)),
    ("marks of noise", |folder| fs::write(folder.join("marks.jsonl"), noise(100_000)).unwrap()),
    ("endless marks", |folder| huge(&folder.join("marks.jsonl"), 1 << 33)),
    ("marks that say nonsense", |folder| {
        let lines = [
            "{\"type\":\"mark\"}",
            "{\"type\":\"mark\",\"mark\":7}",
            "null",
            "{\"type\":\"mark\",\"mark\":\"x\",\"t_ms\":-1}",
        ];
        fs::write(folder.join("marks.jsonl"), lines.join("\n")).unwrap();
    }),
    ("events of noise", |folder| fs::write(folder.join("events.jsonl"), noise(100_000)).unwrap()),
    ("endless events", |folder| huge(&folder.join("events.jsonl"), 1 << 33)),
    ("events that say nonsense", |folder| {
        let lines = ["{\"type\":7}", "[[[[", "{\"type\":\"gap\",\"t_ms\":1e300}", "{\"type\":\"chat\",\"text\":{}}"];
        fs::write(folder.join("events.jsonl"), lines.join("\n")).unwrap();
    }),
];

/// What is done to the text of a manifest. It is not listed, or as it says.
const MANIFESTS: &[fn(&str) -> String] = &[
    |text| text[..text.len() / 2].to_owned(),
    |text| text.replacen("\"participants\"", &format!("\"deep\":{},\"participants\"", "[".repeat(100_000)), 1),
    |text| text.replace("\"offset_ms\": 0", "\"offset_ms\": 18446744073709551615"),
    |text| text.replace("\"bytes\": ", "\"bytes\": 9999999999"),
    |text| text.replace("\"duration_ms\": ", "\"duration_ms\": -"),
    |text| text.replace("\"complete\"", "\"archived by hand\""),
    |text| text.replace("\"version\": 1", "\"version\": 4294967295"),
    |text| text.replace("\"version\": 1", "\"version\": \"one\""),
    |text| text.replace("\"started_at\": \"", "\"started_at\": \"around "),
    |text| text.replace("\"started_at\": \"2026", "\"started_at\": \"9999"),
    |text| text.replace(FILE, "../../../../etc/passwd"),
    |text| text.replace("\"room\": \"team\"", "\"room\": \"../../ <b>\\u0000 Team\""),
    |text| {
        text.replace("\"complete\"", "\"recording\"").replace("\"offset_ms\": 0", "\"offset_ms\": 18446744073709551615")
    },
    |text| format!("{text}{text}"),
    |_| "{}".into(),
    |_| "null".into(),
    |_| String::new(),
];

fn index(folder: &Path) -> PathBuf {
    folder.join(FILE).with_extension("idx")
}

fn noise(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A folder of recordings: one for each damage, then a whole one.
fn damaged(dir: &Path) -> usize {
    let made = tempfile::tempdir().unwrap();
    let model = model(made.path());
    let mut n = 0;
    for (_, damage) in SIDECARS {
        n += 1;
        damage(&copy(&model, dir, n));
    }
    for damage in MANIFESTS {
        n += 1;
        let path = copy(&model, dir, n).join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        let damaged = damage(&text);
        assert_ne!(damaged, text, "manifest {n}");
        fs::write(path, damaged).unwrap();
    }
    copy(&model, dir, n + 1);
    n + 1
}

fn reelay(command: &str, dir: &Path) -> Output {
    // More memory than this is not to be had.
    let script = "ulimit -v 2000000; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_reelay");
    Command::new("sh").args(["-c", script, "sh", program, command]).arg(dir).output().unwrap()
}

#[test]
fn damaged_sidecars_and_manifests_break_no_door() {
    let mut count = 0;
    let server = Server::start("", |dir| count = damaged(dir));
    let whole = id(count);
    until("the list is there", || {
        let list = server.get("/api/recordings?limit=200").json();
        list["recordings"].as_array()?.iter().any(|one| one["id"] == whole).then_some(())
    });
    for n in 1..=count {
        let of =
            if n <= SIDECARS.len() { SIDECARS[n - 1].0.to_owned() } else { format!("manifest {}", n - SIDECARS.len()) };
        let base = format!("/api/recordings/{}", id(n));
        let manifest = server.get(&base);
        let is_listed = manifest.status == 200;
        assert!(is_listed || manifest.status == 404, "{of}: {manifest:?}");
        assert!(is_listed || n > SIDECARS.len(), "{of} is listed");
        for door in ["files", "index", "thumb", "clip"] {
            let answer = server.get(&format!("{base}/{door}/{FILE}?from=500&to=1500&t=1"));
            assert!(answer.status < 500, "{of}, {door}: {answer:?}");
            assert!(door != "files" || !is_listed || [200, 404].contains(&answer.status), "{of}: {answer:?}");
        }
        for door in ["export?from=0&to=2000", "events"] {
            // What they answer may be long.
            let answer = server.open("GET", &format!("{base}/{door}"), &[]);
            assert!(answer.status < 500, "{of}, {door}: {}", answer.status);
        }
        let mark = br#"{"t_ms":500,"text":"here"}"#;
        let answer = server.send("POST", &format!("{base}/markers"), &[("Content-Type", "application/json")], mark);
        // As many as can be, where there are endless ones.
        assert!(answer.status <= 503 && answer.status != 500, "{of}: {answer:?}");
    }
    assert_eq!(server.get(&format!("/api/recordings/{whole}/files/{FILE}")).status, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!("the server took {peak} at most");
    let kb: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(kb < 600_000, "{peak}");
}

#[test]
fn damaged_sidecars_and_manifests_are_told_by_the_commands_and_stop_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let count = damaged(dir.path());
    let later = dir.path().join(id(SIDECARS.len() + 7)).join("manifest.json");
    let untouched = fs::read(&later).unwrap();
    assert!(String::from_utf8_lossy(&untouched).contains("4294967295"));
    // The last one was not closed: when it is repaired all others have been looked at.
    let last = dir.path().join(id(count)).join("manifest.json");
    let text = fs::read_to_string(&last).unwrap().replace("\"complete\"", "\"recording\"");
    fs::write(&last, text.replace("\"sha256\": \"", "\"sha256\": null, \"was\": \"")).unwrap();
    let mut stage = Stage::new(dir.path(), |_| {});
    stage.until("the last one is repaired and hashed", |stage| {
        stage.manifest.as_ref().is_some_and(|manifest| {
            manifest.id.as_str() == id(count)
                && manifest.state == RecordingStatus::Recovered
                && manifest.files.iter().all(|entry| entry.sha256.is_some())
        })
    });
    drop(stage);
    assert_eq!(fs::read(&later).unwrap(), untouched, "a manifest of a later version stays as it is");

    for command in ["check", "repair", "check"] {
        for n in 1..=count {
            let folder = dir.path().join(id(n));
            let output = reelay(command, &folder);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(0), "{command} {n}: {said}");
            assert!(said.contains(FILE) && !said.contains("panicked"), "{command} {n}: {said}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["reindex", "--recordings"])
        .arg(dir.path())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("recordings in the catalogue"), "{output:?}");
    println!("{said}");
}
