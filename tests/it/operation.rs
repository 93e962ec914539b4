//! Starting and ending: what is said, what is refused, and in which order things close.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::harness::{Server, until};
use crate::socket::Socket;

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
