//! What happens to a recording reaches the people in the room, listeners of the API and `events.jsonl`.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Exchange, Server, until};
use crate::socket::Socket;

/// Somebody with a camera, in a process of its own.
struct Camera(Child);

impl Camera {
    fn new(server: &Server, name: &str) -> Self {
        let to = server.url(&format!("/whip/team/{name}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
        command.args(["publish", "--to", &to, "--test-pattern", "--duration", "60s"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Goes as somebody who closes the page.
    fn leave(mut self) {
        let killed = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        assert!(killed.unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn recording(server: &Server) -> Value {
    server.get("/api/rooms").json()["rooms"][0]["recording"].clone()
}

fn until_records(server: &Server) -> Value {
    until("it records", || {
        let now = recording(server);
        (now["state"] == "recording" && now["duration_ms"].as_u64()? > 300).then_some(now)
    })
}

/// The next `recording-event` of the stream.
fn next_told(events: &mut Exchange, text: &mut String) -> Value {
    loop {
        if let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if event.contains("event: recording-event\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                return serde_json::from_str(data).unwrap();
            }
            continue;
        }
        text.push_str(&String::from_utf8(events.chunk().expect("the stream goes on")).unwrap());
    }
}

#[test]
fn people_the_api_and_the_list_of_events_hear_what_happens_to_a_recording() {
    let server = Server::start("", |_| ());
    let (mut ann, _) = Socket::join(&server, "team", "Ann");
    let mut stream = server.open("GET", "/api/events?room=team", &[("Accept", "text/event-stream")]);
    let mut text = String::new();
    let camera = Camera::new(&server, "cam");
    let id = until_records(&server)["id"].as_str().unwrap().to_owned();
    let path = "/api/rooms/team/recording";
    for (method, path) in
        [("POST", format!("{path}/pause")), ("POST", format!("{path}/resume")), ("DELETE", path.into())]
    {
        assert_eq!(server.request(method, &path, &[]).status, 200, "{path}");
    }
    let one = format!("/api/recordings/{id}");
    until("it can be deleted", || (server.request("DELETE", &one, &[]).status == 200).then_some(()));
    let mut told = Vec::new();
    for expected in ["started", "paused", "resumed", "stopped", "finished", "deleted"] {
        let heard = ann.wait("recording-event");
        let mut streamed = next_told(&mut stream, &mut text);
        assert_eq!((heard["event"].as_str(), heard["id"].as_str()), (Some(expected), Some(&*id)), "{heard}");
        assert!(heard["t_ms"].is_u64() && heard["at"].is_string(), "{heard}");
        assert_eq!(streamed["room"].take(), "team");
        streamed.as_object_mut().unwrap().remove("room");
        let mut heard = heard;
        heard.as_object_mut().unwrap().remove("type");
        assert_eq!(heard, streamed);
        told.push(heard);
    }
    assert_eq!(told[4]["state"], "complete");
    let lines = std::fs::read_to_string(server.recordings().join(".trash").join(&id).join("events.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in told {
        let is_it = |line: &&Value| {
            line["type"] == event["event"] && line["at"] == event["at"] && line["t_ms"] == event["t_ms"]
        };
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{event} in {lines:?}");
    }
    drop(camera);
}

#[test]
fn two_people_who_drop_come_back_into_the_same_recording() {
    let server = Server::start("", |_| ());
    let people = ["ann", "ben"];
    let cameras = people.map(|name| Camera::new(&server, name));
    let files = |server: &Server, id: &str| {
        server.get(&format!("/api/recordings/{id}")).json()["files"].as_array().map_or(0, Vec::len)
    };
    let first = until("both are recorded", || {
        let now = until_records(&server);
        (files(&server, now["id"].as_str()?) == 2).then_some(now)
    });
    cameras.into_iter().for_each(Camera::leave);
    until("the room is over", || (server.get("/api/rooms").json()["rooms"] == serde_json::json!([])).then_some(()));
    let again = people.map(|name| Camera::new(&server, name));
    let id = first["id"].as_str().unwrap();
    until("it goes on", || {
        let now = recording(&server);
        (now["id"] == id && now["state"] == "recording" && now["duration_ms"].as_u64() > first["duration_ms"].as_u64())
            .then_some(())
    });
    until("both are in it again", || (files(&server, id) == 4).then_some(()));
    drop(again);
    assert_eq!(server.get("/api/recordings").json()["recordings"].as_array().unwrap().len(), 1);
}
