//! The library over HTTP: lists, files with ranges, deletion, by hand-made recordings in a real server's folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, until};

const FILE: &str = "pabcdefghij-camera-1.webm";
const OPEN: &str = "pabcdefghij-screen1-1.webm";
const LEN: usize = 3_000_000;

fn id(n: u32) -> String {
    format!("0192abcd-0000-7000-8000-{n:012x}")
}

fn bytes() -> Vec<u8> {
    (0..LEN as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
}

fn manifest(n: u32, state: &str) -> Value {
    let file = |name: &str, source: &str| {
        json!({"file": name, "participant": "pabcdefghij", "person": "key-1", "name": "Ada <b>李</b>", "source": source,
            "offset_ms": 0, "duration_ms": 1000, "bytes": LEN, "video": {"codec": "vp8", "width": 640, "height": 360},
            "audio": {"codec": "opus", "channels": 2}, "sha256": null})
    };
    json!({"version": 1, "id": id(n), "room": "team-1", "state": state, "started_at": format!("2026-11-20T10:{n:02}:00Z"),
        "ended_at": null, "duration_ms": 1000, "files": [file(FILE, "camera"), file(OPEN, "screen1")],
        "participants": [{"id": "pabcdefghij", "person": "key-1", "name": "Ada <b>李</b>"}]})
}

fn put(dir: &Path, n: u32, state: &str) {
    let folder = dir.join(id(n));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(FILE), bytes()).unwrap();
    fs::write(folder.join(format!("{OPEN}.part")), bytes()).unwrap();
    fs::write(folder.join("secret.txt"), "secret").unwrap();
    fs::write(folder.join("manifest.json"), manifest(n, state).to_string()).unwrap();
}

fn server_with(settings: &str, count: u32) -> Server {
    let server = Server::start(settings, |dir| (1..=count).for_each(|n| put(dir, n, "complete")));
    if settings.is_empty() {
        until("the first look through the folder", || {
            (server.get("/api/recordings?limit=200").json()["recordings"].as_array()?.len() == count as usize)
                .then_some(())
        });
    }
    server
}

fn path(file: &str) -> String {
    format!("/api/recordings/{}/files/{file}", id(1))
}

fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    answer.json()["code"].as_str().unwrap().to_owned()
}

#[test]
fn ranges_are_answered_by_the_book() {
    let server = server_with("", 1);
    let all = bytes();
    let check = |range: &str, status: u16, expected: std::ops::Range<usize>| {
        let answer = server.request("GET", &path(FILE), &[("Range", range)]);
        assert_eq!(answer.status, status, "{range}");
        assert!(answer.body == all[expected.clone()], "{range}");
        assert_eq!(answer.header("content-length"), expected.len().to_string(), "{range}");
        let content_range = format!("bytes {}-{}/{LEN}", expected.start, expected.end.wrapping_sub(1));
        assert_eq!(answer.header("content-range"), if status == 206 { &content_range } else { "" }, "{range}");
        assert_eq!(answer.header("accept-ranges"), "bytes");
    };
    check("bytes=0-0", 206, 0..1);
    check("bytes=0-", 206, 0..LEN);
    check("bytes=100-199", 206, 100..200);
    check("bytes=-5", 206, LEN - 5..LEN);
    check("bytes=2999999-9999999", 206, LEN - 1..LEN);
    for whole in ["bytes=0-1,5-6", "lines=1-2", "bytes=7-2", "bytes=x"] {
        check(whole, 200, 0..LEN);
    }
    for behind in ["bytes=3000000-", "bytes=-0", "bytes=99999999999999999999-"] {
        let answer = server.request("GET", &path(FILE), &[("Range", behind)]);
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */3000000"), "{behind}");
        assert_eq!(code(&answer), "range-not-satisfiable");
    }
    // Many `<video>`s of a page share six connections: the first part is small, so that each shows its first picture.
    for (from, most) in [(0, 192 * 1024), (5, 512 * 1024)] {
        let range = format!("bytes={from}-");
        let capped = server.request("GET", &format!("{}?part=1", path(FILE)), &[("Range", &range)]);
        assert_eq!((capped.status, capped.body.len()), (206, most));
        assert_eq!(capped.header("content-range"), format!("bytes {from}-{}/{LEN}", from + most - 1));
    }
}

#[test]
fn conditions_are_honoured() {
    let server = server_with("", 1);
    let first = server.request("HEAD", &path(FILE), &[("Range", "bytes=0-9")]);
    assert_eq!((first.status, first.body.len(), first.header("content-length")), (200, 0, "3000000"));
    assert_eq!(first.header("content-type"), "video/webm");
    let (etag, modified) = (first.header("etag"), first.header("last-modified"));
    assert!(etag.starts_with('"') && modified.ends_with(" GMT"), "{first:?}");
    let status = |headers: &[(&str, &str)]| server.request("GET", &path(FILE), headers).status;
    assert_eq!(status(&[("If-None-Match", etag)]), 304);
    assert_eq!(status(&[("If-Modified-Since", modified)]), 304);
    assert_eq!(status(&[("If-Match", "\"other\"")]), 412);
    assert_eq!(status(&[("If-Range", etag), ("Range", "bytes=0-9")]), 206);
    assert_eq!(status(&[("If-Range", "\"other\""), ("Range", "bytes=0-9")]), 200);
    assert_eq!(server.request("POST", &path(FILE), &[]).status, 405);
}

#[test]
fn downloads_have_a_name_for_people() {
    let server = server_with("", 1);
    let answer = server.request("HEAD", &format!("{}?download", path(FILE)), &[]);
    let expected = "attachment; filename=\"team-1 - Ada _b____b_ - 2026-11-20 10.01.webm\"; \
        filename*=UTF-8''team-1%20-%20Ada%20_b_%E6%9D%8E__b_%20-%202026-11-20%2010.01.webm";
    assert_eq!(answer.header("content-disposition"), expected);
}

#[test]
fn growing_file_is_served_as_it_is_and_under_its_final_name() {
    let server = server_with("", 1);
    let part = server.recordings().join(id(1)).join(format!("{OPEN}.part"));
    let answer = server.get(&path(OPEN));
    assert_eq!((answer.status, answer.body.len()), (200, LEN));
    assert_eq!((answer.header("cache-control"), answer.header("etag")), ("no-store", ""));
    let grown: Vec<u8> = bytes().into_iter().chain([1, 2, 3]).collect();
    fs::write(&part, &grown).unwrap();
    let answer = server.request("GET", &path(OPEN), &[("Range", "bytes=2999999-")]);
    assert_eq!((answer.status, answer.header("content-range")), (206, "bytes 2999999-3000002/3000003"));
    fs::rename(&part, part.with_extension("")).unwrap();
    let answer = server.get(&path(OPEN));
    assert!(answer.body == grown && answer.header("etag").starts_with('"'));
}

#[test]
fn curl_wget_and_ffprobe_get_the_whole_file() {
    let server = server_with("", 1);
    for file in [FILE, OPEN] {
        let begun = |name: &str| {
            let target = server.dir.path().join(name);
            fs::write(&target, &bytes()[..1_000_000]).unwrap();
            target
        };
        let run = |command: &mut Command| match command.status() {
            Ok(status) => assert!(status.success(), "{command:?}"),
            Err(error) => eprintln!("skipped, {error}: {command:?}"),
        };
        let target = begun("curl");
        run(Command::new("curl").args(["-sfC", "-", "-o"]).arg(&target).arg(server.url(&path(file))));
        if fs::metadata(&target).unwrap().len() > 1_000_000 {
            assert!(fs::read(&target).unwrap() == bytes(), "curl -C - {file}");
        }
        let target = begun(file);
        run(Command::new("wget").args(["-qc", "-P"]).arg(server.dir.path()).arg(server.url(&path(file))));
        if fs::metadata(&target).unwrap().len() > 1_000_000 {
            assert!(fs::read(&target).unwrap() == bytes(), "wget -c {file}");
        }
    }
}

#[test]
fn list_walks_by_cursor_and_narrows_by_filters() {
    let server = server_with("", 7);
    let mut ids = Vec::new();
    let mut next = String::new();
    loop {
        let page = server.get(&format!("/api/recordings?limit=3{next}")).json();
        for recording in page["recordings"].as_array().unwrap() {
            assert!(recording.get("files").is_none());
            assert_eq!(
                (recording["files_count"].as_u64(), recording["size_bytes"].as_u64()),
                (Some(2), Some(6_000_000))
            );
            ids.push(recording["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(ids, (1..=7).rev().map(id).collect::<Vec<_>>());
    let count =
        |query: &str| server.get(&format!("/api/recordings?{query}")).json()["recordings"].as_array().unwrap().len();
    assert_eq!(count("room=Team-1&person=KEY-1&state=complete&text=ada"), 7);
    assert_eq!(count("from=2026-11-20T10:03:00Z&to=2026-11-20T10:05:00Z"), 2);
    assert_eq!(count("text=%E6%9D%8E"), 7);
    assert_eq!(count("room=elsewhere"), 0);
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=zz", "from=soon", "state=lost", "room=a%2Fb"] {
        let answer = server.get(&format!("/api/recordings?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
        assert!(["bad-request", "bad-room-name"].contains(&code(&answer).as_str()), "{bad}");
    }
}

#[test]
fn deletion_can_be_undone_and_spares_what_runs() {
    let server = Server::start("", |dir| {
        put(dir, 1, "complete");
        put(dir, 2, "recording");
    });
    let one = format!("/api/recordings/{}", id(1));
    until("the first look through the folder", || (server.get(&one).status == 200).then_some(()));
    let two = format!("/api/recordings/{}", id(2));
    let refused = until("the second recording", || {
        Some(server.request("DELETE", &two, &[])).filter(|answer| answer.status != 404)
    });
    assert_eq!((refused.status, code(&refused).as_str()), (409, "recording-active"));
    assert_eq!(server.request("POST", &format!("{one}/undo"), &[]).status, 404);

    let mut events = server.open("GET", "/api/events", &[("Accept", "text/event-stream")]);
    let deleted = server.request("DELETE", &one, &[]);
    assert_eq!(deleted.status, 200);
    assert!(deleted.json()["undo_until"].as_str().unwrap().starts_with("20"), "{deleted:?}");
    assert!(String::from_utf8(events.chunk().unwrap()).unwrap().contains("event: recording-deleted"));
    for gone in [&one, &path(FILE)] {
        assert_eq!(code(&server.get(gone)), "recording-not-found");
    }
    assert_eq!(server.request("DELETE", &one, &[]).status, 404);
    assert!(!server.recordings().join(id(1)).exists());
    assert_eq!(server.request("POST", &format!("{one}/undo"), &[]).status, 204);
    assert_eq!(server.get(&path(FILE)).status, 200);
}

#[test]
fn manifest_names_the_urls_of_its_files() {
    let server = server_with("", 1);
    let manifest = server.get(&format!("/api/recordings/{}", id(1))).json();
    assert_eq!(manifest["files"].as_array().unwrap().len(), 2);
    let media = &manifest["media"][FILE];
    assert_eq!(server.get(media["url"].as_str().unwrap()).body.len(), LEN);
    assert!(server.get(media["download_url"].as_str().unwrap()).header("content-disposition").contains("filename"));
}

#[test]
fn hostile_ids_and_names_find_nothing() {
    let server = server_with("", 1);
    let id = id(1);
    for hostile in [
        format!("/api/recordings/{id}/files/secret.txt"),
        format!("/api/recordings/{id}/files/manifest.json"),
        format!("/api/recordings/{id}/files/..%2f..%2f{id}%2f{FILE}"),
        format!("/api/recordings/{id}/files/{FILE}.part"),
        format!("/api/recordings/{id}/files/{FILE}%00"),
        format!("/api/recordings/{id}/files/pzzzzzzzzzz-camera-1.webm"),
        format!("/api/recordings/..%2frecordings%2f{id}/files/{FILE}"),
        format!("/api/recordings/{}/files/{FILE}", id.to_uppercase()),
        format!("/api/recordings/{id}%20/files/{FILE}"),
        format!("/api/recordings/{}/files/{FILE}", "9".repeat(5000)),
        "/api/recordings/.trash".into(),
        "/api/recordings/%ff%fe".into(),
    ] {
        let answer = server.get(&hostile);
        assert!([400, 404].contains(&answer.status), "{hostile}: {answer:?}");
        code(&answer);
    }
}

#[test]
fn reindex_gives_the_list_that_the_server_had() {
    let server = server_with("", 5);
    // What the disk has left changes by itself.
    let list = || server.get("/api/recordings?text=ada").json()["recordings"].take();
    let before = list();
    assert_eq!(before.as_array().unwrap().len(), 5);
    let output = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["reindex", "--recordings", "recordings"])
        .current_dir(server.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("5 recordings"), "{output:?}");
    assert_eq!(list(), before);
}
