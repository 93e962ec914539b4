//! Starting and ending: what is said, what is refused, and in which order things close.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::access::KEY;
use crate::harness::{Server, until};
use crate::publisher::Publisher;
use crate::socket::Socket;
use crate::viewer::Viewer;

fn reelay(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reelay")).args(args).current_dir(dir).output().unwrap()
}

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &server.pid().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn refused(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = reelay(dir.path(), args);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn taken_port_is_one_sentence_with_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    let text = refused(&["--listen", &taken.to_string(), "--udp-port", "0"]);
    assert!(text.contains("is taken") && text.contains("--listen") && text.lines().count() == 1, "{text}");
    drop(holder);
    let udp = std::net::UdpSocket::bind("[::]:0").unwrap();
    let port = udp.local_addr().unwrap().port().to_string();
    let text = refused(&["--listen", "127.0.0.1:0", "--udp-port", &port]);
    assert!(text.contains("is taken") && text.contains("--udp-port"), "{text}");
}

#[test]
fn network_address_demands_a_key() {
    let text = refused(&["--listen", "0.0.0.0:0", "--udp-port", "0"]);
    assert!(text.contains("key") && text.contains("--init"), "{text}");
}

#[test]
fn unknown_settings_name_the_nearest_known_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("reelay.toml"), "[media]\nudp_prt = 1\n").unwrap();
    let text = String::from_utf8(reelay(dir.path(), &[]).stderr).unwrap();
    assert!(text.contains("media.udp_prt") && text.contains("media.udp_port"), "{text}");
}

#[test]
fn init_writes_a_key_that_tokens_are_signed_with() {
    let dir = tempfile::tempdir().unwrap();
    let output = reelay(dir.path(), &["serve", "--init"]);
    assert!(output.status.success());
    let file = dir.path().join("reelay.toml");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&fs::canonicalize(&file).unwrap().display().to_string()), "{shown}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    assert!(!reelay(dir.path(), &["serve", "--init"]).status.success(), "never twice");
    assert_eq!(fs::read(&file).unwrap(), before);

    let settings = fs::read_to_string(&file).unwrap();
    let token = reelay(dir.path(), &["token", "--room", "team", "--name", "Ana", "-q"]);
    let said = String::from_utf8(token.stderr).unwrap();
    assert!(said.contains("not in the audit log") && said.contains("recordings"), "{said}");
    assert!(!dir.path().join("recordings").exists());
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
    let server = Server::start(&settings, |_| {});
    let mut socket = Socket::open(&server);
    socket.say(json!({"type": "join", "room": "team", "name": "Eve", "token": token}));
    let joined = socket.wait("joined");
    assert_eq!(joined["participants"][0]["name"], "Ana", "the token's name wins");
    assert_eq!((&joined["grants"]["publish"], &joined["grants"]["moderate"]), (&json!(true), &json!(false)));
    assert_eq!(joined["recording"]["consent_required"], false, "only this machine can reach it");
}

#[test]
fn token_made_beside_a_running_server_is_in_its_audit_log() {
    let server = Server::start(&format!("[auth]\nkey = \"{KEY}\"\n"), |_| {});
    let make = |args: &[&str]| {
        let output = reelay(server.dir.path(), &[&["token", "-q"], args].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let admin = make(&["--grant", "admin"]);
    let ana = make(&["--room", "team", "--grant", "replay,watch", "--sub", "ana", "--for", "10m"]);
    let log = server.request("GET", "/api/audit", &[("Authorization", &format!("Bearer {admin}"))]).json();
    let made: Vec<&Value> = log["entries"].as_array().unwrap().iter().filter(|e| e["action"] == "token-made").collect();
    assert_eq!((made.len(), &made[1]["room"], &made[1]["who"]), (2, &json!("team"), &json!("token")), "{log}");
    assert!(made[1]["what"].as_str().unwrap().starts_with("for ana: replay, watch, until 20"), "{log}");
    assert!(!log.to_string().contains(&ana), "the token itself is nobody's business");
    let audit = reelay(server.dir.path(), &["audit"]);
    assert!(audit.status.success() && String::from_utf8_lossy(&audit.stdout).contains("2 lines"), "{audit:?}");
}

#[test]
fn second_server_on_the_same_folder_is_refused() {
    let server = Server::start("", |_| {});
    let output = reelay(server.dir.path(), &["--listen", "127.0.0.1:0", "--udp-port", "0"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--recordings"), "{text}");
}

#[test]
fn stopping_tells_everybody_and_ends_with_success() {
    for name in ["TERM", "INT"] {
        let mut server = Server::start("", |_| {});
        let (ana, _) = Socket::join(&server, "team", "Ana");
        signal(&server, name);
        assert_eq!(ana.end().as_deref(), Some("stopping"));
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::start("", |_| {});
    let (ana, _) = Socket::join(&server, "team", "Ana");
    // A request that is half sent keeps the server from ending by itself for two seconds more.
    let mut half = std::net::TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /whip/team/cam HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv=0",
        server.address
    );
    half.write_all(head.as_bytes()).unwrap();
    // When this is answered the other connection has been read too, or soon will be.
    assert_eq!(server.get("/healthz").status, 200);
    signal(&server, "TERM");
    assert_eq!(ana.end().as_deref(), Some("stopping"));
    signal(&server, "TERM");
    assert_eq!(server.wait(), Some(130));
}

#[test]
fn draining_opens_no_new_rooms_and_ends_when_the_last_is_empty() {
    for door in ["api", "signal"] {
        let mut server = Server::start("", |_| {});
        let (mut ana, _) = Socket::join(&server, "team", "Ana");
        match door {
            "api" => assert_eq!(server.send("POST", "/api/drain", &[], b"").json()["rooms"], 1),
            _ => signal(&server, "USR1"),
        }
        until("the drain", || (server.get("/readyz").status == 503).then_some(()));
        let (mut bo, _) = Socket::join(&server, "team", "Bo");
        let mut other = Socket::open(&server);
        other.say(json!({"type": "join", "room": "other", "name": "Cy"}));
        assert_eq!(other.error().0, "draining");
        drop(other);
        bo.say(json!({"type": "leave"}));
        ana.say(json!({"type": "leave"}));
        assert_eq!(server.wait(), Some(0), "{door}");
    }
}

#[test]
fn config_for_pages_tells_what_they_need() {
    let server = Server::start("[recording]\nstart = \"manual\"\nconsent = \"required\"\n", |_| {});
    let config = server.get("/api/config").json();
    assert_eq!(config["auth"], "open");
    assert_eq!(config["recording"], json!({"start": "manual", "consent": "required", "tracks": "av"}));
    assert_eq!((&config["lan"], &config["loopback"]), (&json!(null), &json!(true)));
    assert!(config["media"]["udp_port"].as_u64().unwrap() > 0);
}

#[test]
fn start_says_where_who_how_much_and_how_to_stop_and_opens_the_browser() {
    let dir = tempfile::tempdir().unwrap();
    let browser = dir.path().join("xdg-open");
    fs::write(
        &browser,
        format!("#!/bin/sh\necho \"$1\" > {0}.part; mv {0}.part {0}\n", dir.path().join("opened").display()),
    )
    .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["--listen", "127.0.0.1:0", "--udp-port", "0", "--ready-file", "ready.json", "--open"])
        .env("PATH", path)
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let opened = until("the browser", || fs::read_to_string(dir.path().join("opened")).ok());
    let ready: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("ready.json")).unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    assert_eq!(opened.trim(), text(&ready["url"]));
    let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let recordings = fs::canonicalize(dir.path().join("recordings")).unwrap().display().to_string();
    for part in [
        &text(&ready["url"]),
        "only this computer",
        "--lan",
        &format!("UDP port {}", text(&ready["udp_ports"][0])),
        "127.0.0.1",
        &recordings,
        "GB free",
        "hours",
        "Ctrl+C",
        "Nothing was being recorded",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_what_happens_and_move_with_it() {
    let server = Server::start("", |_| {});
    let sdp = ("Content-Type", "application/sdp");
    let read = || {
        let text = String::from_utf8(server.get("/metrics").body).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect::<HashMap<String, f64>>()
    };
    let (_ana, _) = Socket::join(&server, "team", "Ana");
    let before = read();
    let publisher = Publisher::new(7).await;
    let answer = server.send("POST", "/whip/team/cam", &[sdp], publisher.offer().await.as_bytes());
    publisher.accept(std::str::from_utf8(&answer.body).unwrap()).await;
    publisher.connected().await;
    publisher.link.loss.store(50, std::sync::atomic::Ordering::Relaxed);
    let viewer = Viewer::new().await;
    let seen = loop {
        publisher.play(20).await;
        let answer = server.send("POST", "/whep/team", &[sdp], viewer.offer().await.as_bytes());
        if answer.status == 201 {
            break String::from_utf8(answer.body).unwrap();
        }
    };
    viewer.accept(&seen).await;
    let port = server.get("/api/config").json()["media"]["udp_port"].as_u64().unwrap() as u16;
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&[22, 1, 2, 3], ("127.0.0.1", port)).unwrap();
    let grows = [
        "media_packets_in_total",
        "media_bytes_in_total",
        "media_packets_out_total",
        "media_bytes_out_total",
        "media_packets_asked_again_total",
        "media_keyframe_requests_total",
        "media_dropped_unverified_source_total",
        "recording_bytes_written_total",
    ];
    let is =
        [("rooms", 1.0), ("participants", 2.0), ("media_tracks", 2.0), ("watchers", 1.0), ("recordings_open", 1.0)];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        publisher.play(20).await;
        let now = read();
        let of = |numbers: &HashMap<String, f64>, name: &str| numbers.get(name).copied().unwrap_or_default();
        let still: Vec<_> = grows.iter().filter(|name| of(&now, name) <= of(&before, name)).collect();
        let off: Vec<_> = is.iter().filter(|(name, value)| now.get(*name) != Some(value)).collect();
        if still.is_empty() && off.is_empty() {
            for name in [
                "recording_behind_seconds",
                "media_viewer_nacks_total",
                "media_viewer_keyframe_requests_total",
                "media_dropped_slow_viewer_total",
                "media_dropped_send_total",
                "media_dropped_bad_stun_total",
                "uptime_seconds",
                "process_resident_memory_bytes",
            ] {
                assert!(now.contains_key(name), "{name} is missing");
            }
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{still:?} do not grow, {off:?} are not so: {now:?}");
    }
}
