//! Webhooks from a real server: signed, again until they are taken, and once more when somebody asks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{Server, until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Takes one request and answers it with this status; its headers and body.
fn take(listener: &TcpListener, status: &str) -> (HashMap<String, String>, String) {
    let stream = until("a webhook", || listener.accept().ok()).0;
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream);
    let mut headers = HashMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("POST /hook?key=1 HTTP/1.1"), "{line}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    (headers, String::from_utf8(body).unwrap())
}

/// A server that tells `listener`.
fn server(listener: &TcpListener) -> Server {
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
    let settings = format!("[recording]\nlinger = \"0s\"\n[webhooks]\nurls = [\"{url}\"]\nsecret = \"{SECRET}\"\n");
    Server::start(&settings, |_| {})
}

fn publish(server: &Server, duration: &str) -> Child {
    let to = server.url("/whip/team/cam");
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
    command.args(["publish", "--to", &to, "--test-pattern", "--duration", duration]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn check(headers: &HashMap<String, String>, body: &str, event: &str, n: &str) -> Value {
    assert_eq!((headers["reelay-event"].as_str(), headers["reelay-delivery"].as_str()), (event, n), "{body}");
    let (time, tag) = headers["reelay-signature"].strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, format!("{time}.{body}").as_bytes(), &tag).unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["event"], event);
    body
}

#[test]
fn end_of_a_recording_is_told_until_it_is_taken_and_again_when_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server(&listener);
    assert!(publish(&server, "2s").wait().unwrap().success());
    let (headers, body) = take(&listener, "500 Oh");
    check(&headers, &body, "recording-finished", "1");
    let (headers, body) = take(&listener, "204 Fine");
    let told = check(&headers, &body, "recording-finished", "1");
    assert_eq!((&told["recording"]["room"], &told["recording"]["state"]), (&"team".into(), &"complete".into()));
    let id = told["recording"]["id"].as_str().unwrap();
    assert_eq!(server.request("DELETE", &format!("/api/recordings/{id}"), &[]).status, 200);
    let (headers, body) = take(&listener, "200 Fine");
    assert_eq!(check(&headers, &body, "recording-deleted", "2")["recording"]["id"], id);
    let state = until("both are taken", || {
        let state = server.get("/api/webhooks").json();
        (state["targets"][0]["done"] == 2).then_some(state)
    });
    assert_eq!(state["events"].as_array().unwrap().len(), 2, "the end is told once: {state}");
    assert!(!state["targets"].to_string().contains("key=1"), "a secret in the address stays here: {state}");
    let json = ("Content-Type", "application/json");
    assert_eq!(server.send("POST", "/api/webhooks/replay", &[json], br#"{"after": 0}"#).status, 202);
    for (n, event) in [("1", "recording-finished"), ("2", "recording-deleted")] {
        let (headers, body) = take(&listener, "200 Fine");
        check(&headers, &body, event, n);
    }
}

#[test]
fn what_a_power_cut_left_is_told_after_the_start_and_what_was_not_taken_again_after_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server(&listener);
    let mut camera = publish(&server, "60s");
    let cut = until("a second on the disk", || {
        let room = server.get("/api/rooms/team").json();
        (room["recording"]["duration_ms"].as_u64()? > 1_000)
            .then(|| room["recording"]["id"].as_str().unwrap().to_owned())
    });
    server.cut();
    camera.kill().unwrap();
    camera.wait().unwrap();
    // Another one of which nothing can be saved.
    let lost = "01920000-0000-7000-8000-000000000001";
    let folder = server.recordings().join(lost);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("pabcdefghij-camera-1.webm.part"), [0xAB; 5_000]).unwrap();
    let manifest = json!({"version": 1, "id": lost, "room": "team", "state": "recording",
        "started_at": "2026-11-20T10:00:00Z", "participants": [], "files": [{"file": "pabcdefghij-camera-1.webm",
            "participant": "pabcdefghij", "name": "Ada", "source": "camera", "open": true}]});
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    server.start_again();
    let (headers, first) = take(&listener, "503 Not now");
    assert_eq!(headers["reelay-delivery"], "1");
    until("both are kept", || (server.get("/api/webhooks").json()["events"].as_array()?.len() == 2).then_some(()));
    server.cut();
    // Taken by nobody, so it is the first one once more, and in the same words.
    server.start_again();
    let (headers, body) = take(&listener, "200 Fine");
    assert_eq!((headers["reelay-delivery"].as_str(), &body), ("1", &first));
    // What the server asked just before it was cut is still in the queue of the listener.
    let (next, second) =
        until("the next one", || Some(take(&listener, "200 Fine")).filter(|(_, other)| *other != first));
    let mut told = HashMap::new();
    for (headers, body, n) in [(headers, body, "1"), (next, second, "2")] {
        let event = headers["reelay-event"].clone();
        told.insert(event.clone(), check(&headers, &body, &event, n)["recording"].clone());
    }
    let (repaired, failed) = (&told["recording-repaired"], &told["recording-failed"]);
    assert_eq!((repaired["id"].as_str(), repaired["state"].as_str()), (Some(cut.as_str()), Some("recovered")));
    assert_eq!((failed["id"].as_str(), failed["state"].as_str()), (Some(lost), Some("failed")), "{failed}");
    let count = || server.get("/api/webhooks").json()["targets"][0]["done"].clone();
    until("both are taken", || (count() == 2).then_some(()));
    // A further start tells nothing anew.
    server.cut();
    server.start_again();
    let state = server.get("/api/webhooks").json();
    assert_eq!((state["events"].as_array().unwrap().len(), &state["targets"][0]["done"]), (2, &json!(2)), "{state}");
}
