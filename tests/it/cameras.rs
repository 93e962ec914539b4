//! `reelay publish` and `reelay watch` against a real server: what one sends the other receives and writes.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reelay::auth::{AUDIENCE, Auth, Claims, Grant};
use serde_json::Value;

use crate::harness::{Server, until};

fn reelay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
    command.args(args).stderr(Stdio::null());
    command
}

fn last_line(output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn what_is_published_is_watched() {
    let server = Server::start("", |_| ());
    let to = server.url("/whip/team/cam");
    let publisher = reelay(&["publish", "--to", &to, "--test-pattern", "--duration", "6s", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = server.dir.path().join("watched.webm");
    let (from, path) = (server.url("/whep/team/cam"), out.to_str().unwrap());
    let watched = reelay(&["watch", "--from", &from, "--duration", "4s", "--out", path, "--json"]).output().unwrap();
    assert!(watched.status.success(), "{watched:?}");
    let watched = last_line(&watched);
    assert_eq!((watched["video"]["codec"].as_str(), watched["audio"]["codec"].as_str()), (Some("VP8"), Some("opus")));
    assert_eq!(watched["video"]["size"], serde_json::json!([320, 180]));
    assert_eq!((watched["video"]["lost"].as_u64(), watched["audio"]["lost"].as_u64()), (Some(0), Some(0)));
    assert!(watched["video"]["frames"].as_u64().unwrap() > 30, "{watched}");
    assert!(watched["file"]["duration_ms"].as_u64().unwrap() > 1000, "{watched}");
    let published = publisher.wait_with_output().unwrap();
    assert!(published.status.success(), "{published:?}");
    let published = last_line(&published);
    assert!(published["frames"].as_u64().unwrap() >= 110, "{published}");
    assert!(published["keyframes_asked"].as_u64().unwrap() >= 1, "{published}");
    until("the room's end", || (server.get("/api/rooms").json()["rooms"] == serde_json::json!([])).then_some(()));
}

#[test]
fn refusals_are_said_in_words() {
    let server = Server::start("", |_| ());
    let check = |args: &[&str], expected: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_reelay")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{args:?}: {said}");
    };
    check(&["watch", "--from", &server.url("/whep/nobody"), "--wait", "0s"], "nobody-publishes");
    check(&["publish", "--to", &server.url("/whip/a%2Fb"), "--test-pattern"], "bad-room-name");
    check(&["publish", "--to", &server.url("/whip/team"), "/nonexistent.ivf"], "cannot read '/nonexistent.ivf'");
    check(&["publish", "--to", "http://127.0.0.1:1/whip/team", "--test-pattern"], "http://127.0.0.1:1/whip/team");
}

#[test]
fn what_is_published_is_recorded_listed_and_plays() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| ());
    let to = server.url("/whip/team/cam");
    let mut publisher =
        reelay(&["publish", "--to", &to, "--test-pattern", "--duration", "4s"]).stdout(Stdio::null()).spawn().unwrap();
    let manifest = until("a file in the list", || {
        let list = server.get("/api/recordings").json();
        let id = list["recordings"][0]["id"].as_str()?.to_owned();
        let manifest = server.get(&format!("/api/recordings/{id}")).json();
        manifest["files"][0].is_object().then_some(manifest)
    });
    assert_eq!((&manifest["room"], &manifest["state"]), (&"team".into(), &"recording".into()));
    let (id, file) = (manifest["id"].as_str().unwrap(), manifest["files"][0]["file"].as_str().unwrap());
    let urls = &manifest["media"][file];
    let url = |door: &str| urls[door].as_str().unwrap().to_owned();
    assert_eq!(server.request("DELETE", &format!("/api/recordings/{id}"), &[]).status, 409);
    // Two seconds behind the camera at most, and every byte until it is closed.
    let mut live = server.open("GET", &url("live_url"), &[]);
    let mut streamed = live.chunk().unwrap();
    while let Some(chunk) = live.chunk() {
        streamed.extend(chunk);
    }
    assert!(publisher.wait().unwrap().success());
    let closed = until("the close", || {
        let manifest = server.get(&format!("/api/recordings/{id}")).json();
        (manifest["state"] == "complete").then_some(manifest)
    });
    assert!(closed["duration_ms"].as_u64().unwrap() > 2500, "{closed}");
    let index = server.get(&url("index_url")).json();
    assert_eq!((&index["growing"], &index["mime"]), (&false.into(), &"video/webm; codecs=\"vp8,opus\"".into()));
    assert!(index["clusters"].as_array().unwrap().iter().any(|row| row[4].as_u64() > Some(0)), "{index}");
    assert_eq!(server.get(&url("thumb_url")).header("content-type"), "image/webp");
    let whole = server.get(&url("url")).body;
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let number = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    assert!(number("recording_bytes_written_total").unwrap() >= whole.len() as f64 * 0.9, "{metrics}");
    assert!(number("media_packets_in_total").unwrap() > 200.0 && number("recordings ") == Some(1.0), "{metrics}");
    assert_eq!(whole.len() as u64, closed["files"][0]["bytes"].as_u64().unwrap());
    assert!(streamed.len() <= whole.len() && streamed[..4] == whole[..4]);
    assert_eq!(streamed.last_chunk::<64>(), whole.last_chunk::<64>());
    let list = server.get("/api/recordings?text=cam&room=team&state=complete").json();
    assert_eq!(list["recordings"].as_array().unwrap().len(), 1, "{list}");
}

#[test]
fn token_opens_the_doors_of_its_room() {
    let server = Server::start(&format!("[auth]\nkey = \"{KEY}\"\n[recording]\nstart = \"off\"\n"), |_| ());
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut grants = reelay_signaling::Grants::default();
    [Grant::Join, Grant::Publish, Grant::Watch].into_iter().for_each(|grant| grant.add_to(&mut grants));
    let claims: Claims = serde_json::from_value(serde_json::json!({"sub": "cam", "room": "team", "grants": grants,
        "iat": now, "exp": now + 600, "aud": AUDIENCE}))
    .unwrap();
    let token = Auth::new(KEY, hour, hour).token(&claims).unwrap();
    let (to, from) = (server.url("/whip/team/cam"), server.url("/whep/team"));
    let refused = Command::new(env!("CARGO_BIN_EXE_reelay")).args(["publish", "--to", &to, "--test-pattern"]).output();
    let said = String::from_utf8_lossy(&refused.unwrap().stderr).into_owned();
    assert!(said.contains("(unauthorized)"), "{said}");
    let mut publisher = reelay(&["publish", "--to", &to, "--test-pattern", "--duration", "3s"])
        .env("REELAY_TOKEN", &token)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let watched =
        reelay(&["watch", "--from", &from, "--duration", "1s", "--json", "--token", &token]).output().unwrap();
    assert!(watched.status.success(), "{watched:?}");
    assert!(last_line(&watched)["video"]["frames"].as_u64().unwrap() > 5);
    assert!(publisher.wait().unwrap().success());
}

const KEY: &str = "0123456789abcdef0123456789abcdef";
