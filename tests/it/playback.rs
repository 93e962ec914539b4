//! A recording as a live source by WHEP, to viewers on the crate `webrtc`: byte for byte, for many at once, and what is refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelay::auth::Grant;
use reelay::recording::file::SegmentFile;
use reelay::recording::storage::Disk;
use reelay::webm::scan::{Item, OnDamage, Walker};
use serde_json::json;

use crate::access::{KEY, token};
use crate::harness::{Answer, Server, until, until_within};
use crate::viewer::Viewer;
use crate::webm_judges;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const FILE: &str = "pabcdefghij-camera-1.webm";
const VP8: u8 = 96;
const OPUS: u8 = 111;

fn id(n: u32) -> String {
    format!("0192abcd-0000-7000-8000-{n:012x}")
}

fn whep(n: u32) -> String {
    format!("/api/recordings/{}/whep", id(n))
}

/// One person for so many rounds of the clip, three seconds each.
fn put(dir: &Path, n: u32, rounds: u64, state: &str) {
    let folder = dir.join(id(n));
    fs::create_dir(&folder).unwrap();
    let mut file = SegmentFile::create(Arc::new(Disk), &folder.join(FILE), &webm_judges::header(true, true)).unwrap();
    webm_judges::frames(rounds).iter().for_each(|(kind, frame)| webm_judges::put(&mut file, *kind, frame));
    let closed = file.close().unwrap().unwrap();
    let manifest = json!({"version": 1, "id": id(n), "room": "team", "state": state, "started_at": "2026-11-20T10:00:00Z",
        "duration_ms": closed.duration_ms, "participants": [],
        "files": [{"file": FILE, "participant": "pabcdefghij", "person": "a", "name": "Ada", "source": "camera",
            "offset_ms": 0, "duration_ms": closed.duration_ms, "video": {"codec": "vp8"}, "audio": {"codec": "opus"}}]});
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

/// The data of the blocks of a track, in order.
fn blocks(path: &Path, track: u64) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let front = reelay::webm::front::read(&bytes[..], bytes.len() as u64).unwrap();
    let mut walker = Walker::new(&bytes[..], front.first_cluster_at.unwrap(), bytes.len() as u64, OnDamage::Stop);
    let kind = if track == 1 { 1 } else { 2 };
    let number = front.tracks.iter().find(|track| track.kind == kind).map(|track| track.number);
    let mut found = Vec::new();
    while let Some(item) = walker.next_item().unwrap() {
        if let Item::Block(block) = item
            && Some(block.track) == number
        {
            found.push(bytes[block.data_at as usize..(block.data_at + block.data_len) as usize].to_vec());
        }
    }
    found
}

/// How many of `part` are in `whole` one after the other, where the first of `part` is the first of `whole`, and how many
/// of `whole` were passed over.
fn run_in(part: &[Vec<u8>], whole: &[Vec<u8>]) -> (usize, usize) {
    assert_eq!(part[0], whole[0], "it begins with the first frame");
    let (mut at, mut found) = (0, 0);
    for frame in part {
        let Some(step) = whole[at..].iter().position(|other| other == frame) else { break };
        (at, found) = (at + step + 1, found + 1);
    }
    (found, at - found)
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned())
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("-1");
    line.parse().unwrap()
}

#[test]
fn what_is_played_is_what_the_file_has() {
    let server = Server::start("", |dir| put(dir, 1, 4, "complete"));
    let out = server.dir.path().join("watched.webm");
    let output = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["watch", "--from", &server.url(&whep(1)), "--duration", "4s", "--json", "--out", out.to_str().unwrap()])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let source = server.recordings().join(id(1)).join(FILE);
    for (track, least) in [(1, 40), (2, 60)] {
        let (watched, whole) = (blocks(&out, track), blocks(&source, track));
        let (found, passed_over) = run_in(&watched, &whole);
        assert_eq!(found, watched.len(), "track {track}: every frame is one of the file, in its order");
        // Sound that a full socket dropped is not asked for again.
        assert!(found >= least && passed_over <= found / 10, "track {track}: {found} frames, {passed_over} missing");
    }
}

#[test]
fn playback_begins_where_it_is_wanted_and_ends_with_the_recording() {
    let server = Server::start("", |dir| put(dir, 1, 2, "complete"));
    let out = server.dir.path().join("watched.webm");
    let from = server.url(&format!("{}?t=3200&participant=Ada&source=camera", whep(1)));
    let began = Instant::now();
    // Without --duration: until the server closes the connection.
    let output = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["watch", "--from", &from, "--duration", "90s", "--json", "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(85), "it ended by itself");
    // A connection that the server ends is no success of `watch`, but what came is written.
    let (watched, whole) = (blocks(&out, 1), blocks(&server.recordings().join(id(1)).join(FILE), 1));
    let second_round = whole.len() / 2;
    assert_eq!(watched[0], whole[second_round], "the keyframe at 3 s: {output:?}");
    assert!(watched.len() * 10 >= (whole.len() - second_round) * 8, "{} of {second_round}", watched.len());
    until("everything is closed", || (metric(&server, "media_rooms") == 0.0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_viewers_share_one_playback_until_they_leave() {
    let server = Server::start("[limits]\nconnect_timeout = \"60s\"\n", |dir| put(dir, 1, 60, "complete"));
    let mut viewers = Vec::new();
    for _ in 0..20 {
        let viewer = Viewer::new().await;
        let answer = server.send("POST", &whep(1), &[SDP], viewer.offer().await.as_bytes());
        assert_eq!((answer.status, answer.header("content-type")), (201, "application/sdp"), "{answer:?}");
        assert!(!answer.header("etag").is_empty() && answer.header("cache-control") == "no-store");
        viewer.accept(std::str::from_utf8(&answer.body).unwrap()).await;
        viewers.push((viewer, answer.header("location").to_owned(), answer.header("etag").to_owned()));
    }
    for (viewer, ..) in &viewers {
        viewer.connected().await;
        until_within(Duration::from_secs(60), "sound and pictures", || {
            (viewer.count(VP8) >= 30 && viewer.count(OPUS) >= 30).then_some(())
        });
    }
    until("one for all", || {
        ((metric(&server, "media_rooms"), metric(&server, "media_viewers")) == (1.0, 20.0)).then_some(())
    });

    let (first, session, etag) = viewers.remove(0);
    let patch = |etag: &str| server.send("PATCH", &session, &[FRAGMENT, ("If-Match", etag)], b"a=candidate:1");
    assert_eq!(patch(&etag).status, 204);
    assert_eq!(code(&patch("\"other\"")), (412, "precondition-failed".into()));
    assert_eq!(code(&patch("*")), (400, "bad-sdp".into()));
    assert_eq!(server.send("PATCH", &session, &[FRAGMENT], b"").status, 428);
    let new_ice = b"a=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    let restarted = server.send("PATCH", &session, &[FRAGMENT, ("If-Match", "*")], new_ice);
    assert_eq!(restarted.status, 200, "{restarted:?}");
    assert!(restarted.header("etag") != etag && String::from_utf8_lossy(&restarted.body).contains("a=ice-ufrag:"));
    assert_eq!(server.request("DELETE", &session, &[]).status, 200);
    assert_eq!(code(&server.request("DELETE", &session, &[])), (404, "session-not-found".into()));
    drop(first);
    // Who stays sees on.
    let before = viewers[0].0.count(VP8);
    until_within(Duration::from_secs(60), "more pictures", || (viewers[0].0.count(VP8) >= before + 30).then_some(()));
    for (_, session, _) in &viewers {
        assert_eq!(server.request("DELETE", session, &[]).status, 200);
    }
    until("the end of a playback that nobody sees", || (metric(&server, "media_rooms") == 0.0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn playback_of_a_deleted_recording_ends() {
    let server = Server::start("", |dir| put(dir, 1, 40, "complete"));
    let viewer = Viewer::new().await;
    let offer = viewer.offer().await;
    let answer = server.send("POST", &whep(1), &[SDP], offer.as_bytes());
    viewer.accept(std::str::from_utf8(&answer.body).unwrap()).await;
    viewer.connected().await;
    until_within(Duration::from_secs(60), "pictures", || (viewer.count(VP8) > 0).then_some(()));
    assert_eq!(server.request("DELETE", &format!("/api/recordings/{}", id(1)), &[]).status, 200);
    until("the end of the session", || {
        (server.request("DELETE", answer.header("location"), &[]).status == 404).then_some(())
    });
    assert_eq!(code(&server.send("POST", &whep(1), &[SDP], offer.as_bytes())), (404, "recording-not-found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_played_is_said_in_words() {
    let server = Server::start("[limits]\nplaybacks = 1\nconnect_timeout = \"60s\"\n", |dir| {
        put(dir, 1, 40, "complete");
        put(dir, 2, 1, "recording");
        for n in 3..=6 {
            put(dir, n, 1, "complete");
        }
        fs::remove_file(dir.join(id(3)).join(FILE)).unwrap();
        fs::write(dir.join(id(4)).join(FILE), [0xAB; 100_000]).unwrap();
        let cut = fs::read(dir.join(id(5)).join(FILE)).unwrap();
        fs::write(dir.join(id(5)).join(FILE), &cut[..3_000]).unwrap();
        let manifest = dir.join(id(6)).join("manifest.json");
        let later = fs::read_to_string(&manifest).unwrap().replace("\"version\":1", "\"version\":99");
        fs::write(&manifest, later).unwrap();
    });
    let viewer = Viewer::new().await;
    let offer = viewer.offer().await;
    let post = |path: &str| server.send("POST", path, &[SDP], offer.as_bytes());
    let check = |path: &str, status: u16, expected: &str, word: &str| {
        let answer = post(path);
        assert_eq!(code(&answer), (status, expected.into()), "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(word), "{answer:?}");
    };
    check(&whep(9), 404, "recording-not-found", "");
    check("/api/recordings/..%2F..%2Fetc/whep", 404, "recording-not-found", "");
    check(&whep(2), 409, "recording-active", "/whep/team");
    check(&whep(3), 404, "file-not-found", "no longer on the disk");
    check(&whep(4), 415, "unsupported-media-type", "damaged");
    check(&whep(5), 415, "unsupported-media-type", "damaged");
    check(&whep(6), 415, "unsupported-media-type", "version 99");
    check(&format!("{}?participant=Bob", whep(1)), 404, "participant-not-found", "");
    check(&format!("{}?participant=Ada&source=screen1", whep(1)), 404, "participant-not-found", "");
    check(&format!("{}?source=camera", whep(1)), 400, "bad-request", "participant");
    check(&format!("{}?participant=Ada&source=desk", whep(1)), 400, "bad-request", "");
    check(&format!("{}?t=99999999", whep(1)), 400, "bad-request", "nothing to play");
    check(&format!("{}?t=soon", whep(1)), 400, "bad-request", "");
    assert_eq!(code(&server.send("POST", &whep(1), &[SDP], b"v=0")), (400, "bad-sdp".into()));
    let other = server.send("POST", &whep(1), &[("Content-Type", "text/plain")], b"v=0");
    assert_eq!(code(&other), (415, "unsupported-media-type".into()));
    let answer = post(&whep(1));
    viewer.accept(std::str::from_utf8(&answer.body).unwrap()).await;
    viewer.connected().await;
    check(&format!("{}?t=3000", whep(1)), 503, "limit-reached", "limits.playbacks");
    assert_eq!(server.get(&whep(1)).status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_replay_sees_it_and_only_its_token_ends_it() {
    let server = Server::start(&format!("[auth]\nkey = \"{KEY}\"\n"), |dir| put(dir, 1, 40, "complete"));
    let offer = Viewer::new().await.offer().await;
    let post = |token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).chain([SDP]).collect();
        server.send("POST", &whep(1), &headers, offer.as_bytes())
    };
    assert_eq!(code(&post(None)), (401, "unauthorized".into()));
    assert_eq!(code(&post(Some(&token("team", &[Grant::Watch, Grant::Join], 600)))), (403, "forbidden".into()));
    assert_eq!(code(&post(Some(&token("other", &[Grant::Replay], 600)))), (403, "forbidden".into()));
    let mine = token("team", &[Grant::Replay], 600);
    let answer = post(Some(&mine));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, "*"));
    let end = |token: &str| {
        server.request("DELETE", answer.header("location"), &[("Authorization", &format!("Bearer {token}"))])
    };
    assert_eq!(code(&end(&token("team", &[Grant::Replay], 500))), (403, "forbidden".into()));
    assert_eq!(end(&mine).status, 200);
    let foreign = [("Origin", "https://other.example"), ("Access-Control-Request-Method", "POST")];
    let preflight = server.request("OPTIONS", &whep(1), &foreign);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    assert_eq!(preflight.header("accept-post"), "application/sdp");
}
