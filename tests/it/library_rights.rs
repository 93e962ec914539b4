//! Who sees which recordings on a server with a key, and what its signed URLs open.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reelay::auth::{AUDIENCE, Auth, Claims, Grant};
use reelay_signaling::Grants;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, until};
use crate::socket::Socket;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
const FILE: &str = "pabcdefghij-camera-1.webm";

fn id(n: u32) -> String {
    format!("0192abcd-0000-7000-8000-{n:012x}")
}

fn put(dir: &Path, n: u32, room: &str) {
    let folder = dir.join(id(n));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(FILE), "not much of a film").unwrap();
    let manifest = json!({"version": 1, "id": id(n), "room": room, "state": "complete",
        "started_at": format!("2026-11-20T10:{n:02}:00Z"), "participants": [{"id": "pabcdefghij", "person": "ada", "name": "Ada"}],
        "files": [{"file": FILE, "participant": "pabcdefghij", "source": "camera"}]});
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

pub fn token(room: &str, grants: &[Grant]) -> String {
    let hour = Duration::from_secs(3600);
    let mut given = Grants::default();
    grants.iter().for_each(|grant| grant.add_to(&mut given));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let room = serde_json::from_value(Value::from(room)).unwrap();
    let claims = Claims {
        sub: None,
        name: None,
        room,
        grants: given,
        consent: false,
        nbf: None,
        iat: now,
        exp: now + 600,
        aud: AUDIENCE.into(),
    };
    format!("Bearer {}", Auth::new(KEY, hour, hour).token(&claims).unwrap())
}

fn server() -> Server {
    let server = Server::start(&format!("[auth]\nkey = \"{KEY}\"\n"), |dir| {
        put(dir, 1, "one");
        put(dir, 2, "two");
    });
    let all = token("*", &[Grant::Replay]);
    until("the first look through the folder", || {
        let list = get(&server, "/api/recordings", &all).json();
        (list["recordings"].as_array()?.len() == 2).then_some(())
    });
    server
}

fn get(server: &Server, path: &str, token: &str) -> Answer {
    server.request("GET", path, &[("Authorization", token)])
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap().to_owned())
}

#[test]
fn every_door_wants_a_token_that_allows_it() {
    let server = server();
    let (one, two) = (format!("/api/recordings/{}", id(1)), format!("/api/recordings/{}", id(2)));
    let doors = ["files", "index", "live", "thumb"].map(|door| format!("{one}/{door}/{FILE}"));
    let (share, captions) = (format!("{one}/share"), format!("{one}/captions/en"));
    let paths: Vec<&str> = ["/api/recordings", "/api/events", "/metrics", &one, &share, &captions]
        .into_iter()
        .chain(doors.iter().map(String::as_str))
        .collect();
    let nothing = token("one", &[Grant::Join]);
    for path in &paths {
        assert_eq!(code(&server.get(path)), (401, "unauthorized".into()), "{path}");
        if *path != "/api/recordings" {
            assert_eq!(code(&get(&server, path, &nothing)), (403, "forbidden".into()), "{path}");
        }
    }
    assert_eq!(get(&server, "/api/recordings", &nothing).json()["recordings"], json!([]));
    let mine = token("one", &[Grant::Replay]);
    let list = get(&server, "/api/recordings", &mine).json();
    assert_eq!(list["recordings"].as_array().unwrap().len(), 1);
    assert_eq!(list["recordings"][0]["room"], "one");
    assert_eq!(get(&server, &one, &mine).status, 200);
    assert_eq!(code(&get(&server, &two, &mine)), (403, "forbidden".into()));
    assert!(get(&server, &one, &mine).json().get("markers_url").is_none());
    let saved = [format!("{}?download", doors[0]), format!("{one}/clip/{FILE}"), format!("{one}/export")];
    let others = [
        ("DELETE", one.clone()),
        ("DELETE", format!("{one}/participants/pabcdefghij")),
        ("POST", format!("{one}/share")),
        ("POST", format!("{one}/markers")),
        ("DELETE", format!("{one}/markers/x")),
        ("POST", format!("/api/recordings/{}/whep", id(2))),
    ];
    for (method, path) in others.into_iter().chain(saved.map(|path| ("GET", path))) {
        let answer = server.request(method, &path, &[("Authorization", &mine)]);
        assert_eq!(code(&answer), (403, "forbidden".into()), "{method} {path}");
    }
    let unknown = format!("/api/recordings/{}", id(9));
    assert_eq!(code(&server.get(&unknown)), (401, "unauthorized".into()));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn signed_urls_open_one_door_of_one_file() {
    let server = server();
    let manifest = |grants: &[Grant]| get(&server, &format!("/api/recordings/{}", id(1)), &token("one", grants)).json();
    let media = manifest(&[Grant::Replay])["media"][FILE].clone();
    assert!(media.get("download_url").is_none());
    let url = media["url"].as_str().unwrap();
    let answer = server.get(url);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(server.request("GET", &format!("{url}&part=1"), &[("Range", "bytes=0-3")]).body, b"not ");
    let (path, query) = url.split_once('?').unwrap();
    for forged in [
        format!("{path}?{}", query.replace("exp=", "exp=9")),
        format!("{path}?{query}x"),
        format!("{}?{query}", path.replace("/files/", "/index/")),
        format!("{}?{query}", path.replace(&id(1), &id(2))),
        format!("{path}?{query}&download"),
    ] {
        assert_eq!(server.get(&forged).status, 401, "{forged}");
    }
    let media = manifest(&[Grant::Replay, Grant::Download])["media"][FILE].clone();
    let answer = server.get(media["download_url"].as_str().unwrap());
    assert!(answer.header("content-disposition").starts_with("attachment"), "{answer:?}");
}

#[test]
fn events_of_a_room_are_heard_by_its_signed_url_only() {
    let server = server();
    let admin = token("*", &[Grant::Admin]);
    let list = get(&server, "/api/recordings", &token("two", &[Grant::Replay])).json();
    let url = list["events_url"].as_str().unwrap();
    assert_eq!(server.open("GET", &url.replace("room=two", "room=one"), &[]).status, 401);
    let mut events = server.open("GET", url, &[]);
    assert_eq!(events.status, 200);
    for n in [1, 2] {
        let path = format!("/api/recordings/{}", id(n));
        assert_eq!(server.request("DELETE", &path, &[("Authorization", &admin)]).status, 200);
    }
    let heard = String::from_utf8(events.chunk().unwrap()).unwrap();
    assert!(heard.contains(&id(2)) && !heard.contains(&id(1)), "{heard}");
}

#[test]
fn audit_log_says_who_opened_watched_downloaded_deleted_and_moderated() {
    let server = server();
    let one = format!("/api/recordings/{}", id(1));
    let everything: Vec<Grant> = Grant::ALL.into_iter().filter(|grant| *grant != Grant::Admin).collect();
    let (mine, admin) = (token("one", &everything), token("", &[Grant::Admin]));
    let manifest = get(&server, &one, &mine).json();
    let media = &manifest["media"][FILE];
    for door in ["url", "url", "thumb_url", "download_url"] {
        server.get(media[door].as_str().unwrap());
    }
    assert_eq!(server.get(manifest["export_url"].as_str().unwrap()).status, 200);
    let delete = |token: &str| server.request("DELETE", &one, &[("Authorization", token)]).status;
    assert_eq!((delete(&token("two", &[Grant::Delete])), delete(&mine)), (403, 200));
    let undo = server.request("POST", &format!("{one}/undo"), &[("Authorization", &admin)]);
    assert_eq!(undo.status, 204);
    let erased = server.request("DELETE", &format!("{one}/participants/pabcdefghij"), &[("Authorization", &mine)]);
    assert_eq!(erased.status, 200, "{erased:?}");
    let mut host = Socket::open(&server);
    host.say(json!({"type": "join", "room": "one", "name": "Host", "token": mine.trim_start_matches("Bearer ")}));
    host.wait("joined");
    host.say(json!({"type": "moderate", "action": "end"}));
    assert_eq!(host.end().as_deref(), Some("ended"));
    let log = until("the whole log", || {
        let log = get(&server, "/api/audit", &admin).json();
        (log["entries"].as_array()?.last()?["action"] == "ended").then_some(log)
    });
    let actions: Vec<&str> = log["entries"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["opened", "watched", "downloaded", "downloaded", "deleted", "restored", "erased", "ended"]);
    let entry = |n: usize| &log["entries"][n];
    assert_eq!((&entry(0)["recording"], &entry(0)["room"]), (&json!(id(1)), &json!("one")));
    assert_eq!((&entry(1)["what"], &entry(1)["from"]), (&json!(FILE), &json!("127.0.0.1")));
    assert_eq!((&entry(6)["what"], &entry(7)["name"]), (&json!("pabcdefghij"), &json!("Host")));
    let page = get(&server, "/api/audit?after=2&limit=2", &admin).json();
    assert_eq!((&page["entries"][0]["n"], &page["next"]), (&json!(3), &json!(4)));
    let of = |query: &str| -> Vec<u64> {
        let page = get(&server, &format!("/api/audit?{query}"), &admin).json();
        assert!(query.contains("latest") == page["next"].is_null(), "{page}");
        page["entries"].as_array().unwrap().iter().map(|entry| entry["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(of("latest=true&limit=2"), [7, 8]);
    assert_eq!(of(&format!("latest=true&limit=2&recording={}", id(1))), [6, 7]);
    assert_eq!(of("latest=true&action=deleted"), [5]);
    assert_eq!(of("latest=true&who=retention"), Vec::<u64>::new());
    assert_eq!(get(&server, "/api/audit?action=sang", &admin).status, 400);
    let check = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_reelay"));
        command.arg("audit").current_dir(server.dir.path()).output().unwrap()
    };
    assert!(check().status.success(), "{:?}", check());
    let file = server.recordings().join("audit.jsonl");
    let forged = fs::read_to_string(&file).unwrap().replace("\"deleted\"", "\"opened\"");
    fs::write(&file, forged).unwrap();
    assert!(String::from_utf8_lossy(&check().stderr).contains("line 5"), "{:?}", check());
}
