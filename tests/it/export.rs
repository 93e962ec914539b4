//! Clips and exports of a recording on disk, by a real server: sound files, by ranges, and a folder that another server takes.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reelay::recording::file::SegmentFile;
use reelay::recording::storage::Disk;
use reelay::webm::check::{State, check};
use serde_json::{Value, json};

use crate::harness::{Server, until, until_within};
use crate::webm_judges;

pub const ID: &str = "0192abcd-0000-7000-8000-000000000001";
pub const FILES: [(&str, u64, u64); 2] = [("pabcdefghij-camera-1.webm", 0, 5), ("p234567abcd-camera-1.webm", 4_000, 2)];

/// Two people: one for 15 seconds, one from the fourth second on for six.
pub fn put(dir: &Path) {
    let folder = dir.join(ID);
    fs::create_dir(&folder).unwrap();
    let mut files = Vec::new();
    for (name, offset_ms, rounds) in FILES {
        let mut file =
            SegmentFile::create(Arc::new(Disk), &folder.join(name), &webm_judges::header(true, true)).unwrap();
        webm_judges::frames(rounds).iter().for_each(|(kind, frame)| webm_judges::put(&mut file, *kind, frame));
        let closed = file.close().unwrap().unwrap();
        // Each byte says which tenth of a second it is of.
        let levels: Vec<u8> = (0..closed.duration_ms.div_ceil(100)).map(|slot| slot as u8).collect();
        fs::write(folder.join(name).with_extension("levels"), levels).unwrap();
        let participant = &name[..11];
        files.push(
            json!({"file": name, "participant": participant, "person": participant, "name": "Ada", "source": "camera",
            "offset_ms": offset_ms, "duration_ms": closed.duration_ms, "bytes": closed.bytes,
            "video": {"codec": "vp8", "width": 320, "height": 180}, "audio": {"codec": "opus", "channels": 2}}),
        );
    }
    let manifest = json!({"version": 1, "id": ID, "room": "team", "state": "complete", "started_at": "2026-11-20T10:00:00Z",
        "ended_at": "2026-11-20T10:00:15Z", "duration_ms": 15_000, "files": files,
        "participants": [{"id": "pabcdefghij", "person": "a", "name": "Ada", "joined_ms": 0, "left_ms": 15_000},
            {"id": "p234567abcd", "person": "b", "name": "Bo", "joined_ms": 4_000, "left_ms": 10_000}]});
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let chat = |t_ms: u64, text: &str| {
        json!({"t_ms": t_ms, "at": "", "type": "chat", "name": "Ada", "text": text}).to_string()
    };
    let speaking = json!({"t_ms": 2_000, "type": "speaking", "participants": ["pabcdefghij"]});
    let events = [chat(1_000, "early"), speaking.to_string(), chat(7_000, "late")];
    fs::write(folder.join("events.jsonl"), events.join("\n") + "\n").unwrap();
    let mark = |t_ms: u64, mark: &str| json!({"type": "mark", "t_ms": t_ms, "mark": mark, "text": mark}).to_string();
    let unmark = json!({"type": "unmark", "mark": "wrong"}).to_string();
    let marks = [mark(500, "begin"), mark(6_000, "decision"), mark(6_500, "wrong"), unmark];
    fs::write(folder.join("marks.jsonl"), marks.join("\n") + "\n").unwrap();
    fs::create_dir(folder.join("captions")).unwrap();
    fs::write(folder.join("captions/en.vtt"), "WEBVTT\n\n00:07.000 --> 00:08.000\n<v Ada>late\n").unwrap();
    fs::write(folder.join("captions/not a language.vtt"), "x").unwrap();
    fs::write(folder.join("notes.json"), json!({"title": "Budget", "tags": ["board"]}).to_string()).unwrap();
}

fn server(put: impl FnOnce(&Path)) -> Server {
    let server = Server::start("", put);
    until("it is listed", || (server.get(&format!("/api/recordings/{ID}")).status == 200).then_some(()));
    server
}

fn unzip(bytes: Vec<u8>, name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    archive.by_name(&format!("{ID}/{name}")).unwrap().read_to_end(&mut found).unwrap();
    found
}

#[test]
fn clip_of_one_person_is_a_sound_file_and_resumes() {
    let server = server(put);
    let url = format!("/api/recordings/{ID}/clip/{}?from=7500&to=9000", FILES[1].0);
    let whole = server.get(&url);
    assert_eq!((whole.status, whole.header("content-type")), (200, "video/webm"));
    assert!(whole.header("content-disposition").contains("team - Ada - 2026-11-20 10.00 - 0.00.07.webm"), "{whole:?}");
    let saved = server.dir.path().join("clip.webm");
    fs::write(&saved, &whole.body).unwrap();
    webm_judges::judge(&saved);
    let judged = check(&whole.body[..], whole.body.len() as u64, State::Closed).unwrap();
    assert!(judged.is_sound(), "{:?}", judged.faults);
    // The file began four seconds in and has a keyframe each three seconds: from 7.0 s on, up to 9.0 s.
    assert!((2_000..=2_040).contains(&judged.duration_ms), "{}", judged.duration_ms);
    let rest = server.request("GET", &url, &[("Range", "bytes=70000-"), ("If-Range", whole.header("etag"))]);
    assert_eq!(rest.status, 206);
    assert!(rest.body == whole.body[70_000..]);
    for (query, status) in [("from=5&to=5", 400), ("from=x", 400), ("from=0&to=3000", 404)] {
        assert_eq!(server.get(&format!("/api/recordings/{ID}/clip/{}?{query}", FILES[1].0)).status, status, "{query}");
    }
}

#[test]
fn export_is_a_folder_that_another_server_lists_and_plays() {
    let first = server(put);
    let manifest = first.get(&format!("/api/recordings/{ID}")).json();
    let whole = first.get(manifest["export_url"].as_str().unwrap());
    assert_eq!((whole.status, whole.header("content-type")), (200, "application/zip"));
    for (name, ..) in FILES {
        assert!(unzip(whole.body.clone(), name) == fs::read(first.recordings().join(ID).join(name)).unwrap(), "{name}");
    }
    let span = first.get(&format!("/api/recordings/{ID}/export?from=5500&to=8000"));
    let rest =
        first.request("GET", &format!("/api/recordings/{ID}/export?from=5500&to=8000"), &[("Range", "bytes=999-")]);
    assert!(rest.status == 206 && rest.body == span.body[999..]);
    let marks_of = |server: &Server| -> Vec<(Value, Value)> {
        let events = server.get(&format!("/api/recordings/{ID}/events")).json();
        let markers = events["markers"].as_array().unwrap();
        markers.iter().map(|mark| (mark["t_ms"].clone(), mark["text"].clone())).collect()
    };
    let again = server(|dir| {
        zip::ZipArchive::new(Cursor::new(whole.body.clone())).unwrap().extract(dir).unwrap();
    });
    assert_eq!(marks_of(&again), [(json!(500), json!("begin")), (json!(6_000), json!("decision"))]);
    let found = again.get("/api/recordings?text=board").json();
    assert_eq!(found["recordings"][0]["title"], "Budget");
    for (name, ..) in FILES {
        let levels =
            |server: &Server| fs::read(server.recordings().join(ID).join(name).with_extension("levels")).unwrap();
        assert_eq!(levels(&again), levels(&first), "{name}");
    }
    let captions = again.get(&format!("/api/recordings/{ID}")).json()["captions"].clone();
    let url = format!("/api/recordings/{ID}/captions/en");
    assert_eq!(captions, json!([{"language": "en", "url": url}]));
    let text = again.get(&url);
    assert_eq!((text.status, text.header("content-type")), (200, "text/vtt; charset=utf-8"));
    assert_eq!(text.header("x-content-type-options"), "nosniff");
    assert!(String::from_utf8(text.body).unwrap().contains("00:07.000 --> 00:08.000\n<v Ada>late"));
    assert_eq!(again.get(&url.replace("/en", "/de")).status, 404);
    assert_eq!(again.get(&url.replace("/en", "/..%2f..%2fmanifest")).status, 404);
    let text = String::from_utf8(unzip(span.body.clone(), "captions/en.vtt")).unwrap();
    assert!(text.contains("00:00:03.000 --> 00:00:04.000\n<v Ada>late"), "{text}");
    assert_eq!(unzip(span.body.clone(), "chat.txt"), b"0:00:03  Ada: late\n");

    let second = server(|dir| {
        zip::ZipArchive::new(Cursor::new(span.body)).unwrap().extract(dir).unwrap();
    });
    let moved: Value = second.get(&format!("/api/recordings/{ID}")).json();
    assert_eq!(
        (moved["duration_ms"].as_u64(), moved["started_at"].as_str()),
        (Some(4_000), Some("2026-11-20T10:00:04Z"))
    );
    assert_eq!(marks_of(&second), [(json!(2_000), json!("decision"))]);
    let events = second.get(&format!("/api/recordings/{ID}/events")).json();
    assert_eq!(
        (events["events"][0]["type"].as_str(), events["events"][0]["t_ms"].as_u64()),
        (Some("speaking"), Some(0))
    );
    let levels = fs::read(second.recordings().join(ID).join(FILES[0].0).with_extension("levels")).unwrap();
    assert_eq!((levels.first(), levels.len()), (Some(&50), 30));
    // Both still agree on when things happened: the second began where it was, 5 and 4 seconds in.
    let offsets: Vec<_> = moved["files"].as_array().unwrap().iter().map(|file| file["offset_ms"].as_u64()).collect();
    assert_eq!(offsets, [Some(1_000), Some(0)]);
    for (name, ..) in FILES {
        let file = second.get(&format!("/api/recordings/{ID}/files/{name}")).body;
        assert!(check(&file[..], file.len() as u64, State::Closed).unwrap().is_sound(), "{name}");
    }
    assert_eq!(first.get(&format!("/api/recordings/{ID}/export?from=90000")).status, 404);
}

fn job(server: &Server, order: &Value) -> (Value, Vec<u8>) {
    let body = order.to_string();
    let answer = server.send(
        "POST",
        &format!("/api/recordings/{ID}/export"),
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 202, "{answer:?}");
    let at = answer.header("location").to_owned();
    let done = until_within(Duration::from_secs(180), "the job ends", || {
        let job = server.get(&at).json();
        matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled")).then_some(job)
    });
    assert_eq!((done["state"].as_str(), done["error"].as_str()), (Some("done"), None));
    let file = server.get(done["url"].as_str().unwrap());
    assert_eq!(file.status, 200);
    (done, file.body)
}

fn probe(path: &Path) -> Value {
    let words = ["-v", "error", "-show_streams", "-show_format", "-of", "json"];
    let output = Command::new("ffprobe").args(words).arg(path).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn seconds(facts: &Value) -> f64 {
    facts["format"]["duration"].as_str().unwrap().parse().unwrap()
}

#[test]
fn movie_of_everybody_has_picture_and_sound_of_the_whole_length() {
    let server = server(put);
    let path = server.dir.path().join("movie.mp4");
    for layout in ["grid", "speaker"] {
        let (done, bytes) = job(&server, &json!({"kind": "movie", "layout": layout}));
        fs::write(&path, bytes).unwrap();
        let facts = probe(&path);
        let kinds: Vec<_> =
            facts["streams"].as_array().unwrap().iter().map(|stream| stream["codec_type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["video", "audio"]);
        assert!((seconds(&facts) - 15.0).abs() < 0.1, "{}", seconds(&facts));
        let at = format!("/api/jobs/{}", done["id"].as_str().unwrap());
        assert_eq!(server.request("DELETE", &at, &[]).status, 204);
        assert_eq!(server.get(&at).status, 404);
    }
}

#[test]
fn files_for_editors_are_all_of_one_length() {
    let server = server(put);
    let (_, archive) = job(&server, &json!({"kind": "editor"}));
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    archive.extract(server.dir.path()).unwrap();
    let folder = server.dir.path().join("editor");
    let timeline: Value = serde_json::from_slice(&fs::read(folder.join("timeline.otio")).unwrap()).unwrap();
    let tracks = timeline["tracks"]["children"].as_array().unwrap();
    assert_eq!(tracks.len(), 5);
    for track in tracks {
        let file = track["children"][0]["media_reference"]["target_url"].as_str().unwrap();
        let length = seconds(&probe(&folder.join(file)));
        assert!((length - 15.0).abs() < 0.1, "{file}: {length}");
    }
}

#[test]
fn job_is_stopped_and_what_is_deleted_has_none() {
    let server = server(put);
    let at = format!("/api/recordings/{ID}/export");
    let order = |body: &str| server.send("POST", &at, &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(order("{\"kind\": \"opera\"}").status, 400);
    let first = order("{\"kind\": \"editor\"}").header("location").to_owned();
    let second = order("{\"kind\": \"movie\"}").header("location").to_owned();
    assert_eq!(server.request("DELETE", &second, &[]).status, 204);
    until("it is stopped", || (server.get(&second).json()["state"] == "cancelled").then_some(()));
    assert_eq!(server.request("DELETE", &format!("/api/recordings/{ID}"), &[]).status, 200);
    assert_eq!(server.get(&first).status, 404);
    assert_eq!(order("{\"kind\": \"movie\"}").status, 404);
}
