//! Webhooks from a real server: signed, again until they are taken, and once more when somebody asks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use ring::hmac;
use serde_json::Value;

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
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
    let settings = format!("[recording]\nlinger = \"0s\"\n[webhooks]\nurls = [\"{url}\"]\nsecret = \"{SECRET}\"\n");
    let server = Server::start(&settings, |_| {});
    let to = server.url("/whip/team/cam");
    let published = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["publish", "--to", &to, "--test-pattern", "--duration", "2s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(published.success());
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
