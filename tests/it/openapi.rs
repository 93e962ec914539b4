//! What `/api/openapi.json` promises is what the server answers: status, kind of content, and the shape of every JSON.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Server, until};

const ID: &str = "0192abcd-0000-7000-8000-000000000001";
const FILE: &str = "pabcdefghij-camera-1.webm";

#[test]
fn answers_of_the_library_are_as_described() {
    let server = Server::start("", |dir| {
        let folder = dir.join(ID);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), "film").unwrap();
        let manifest = json!({"version": 1, "id": ID, "room": "team", "state": "complete", "ended_at": null,
            "duration_ms": 5, "started_at": "2026-11-20T10:00:00Z", "participants": [{"person": "a", "name": "Ada"}],
            "files": [{"file": FILE, "participant": "pabcdefghij", "source": "camera"}]});
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    });
    let api = Api::of(&server);
    assert!(api.text["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api.text["openapi"]);
    let one = format!("/api/recordings/{ID}");
    let file = |door: &str| format!("{one}/{door}/{FILE}");
    for (method, path, status) in [
        ("GET", "/api/recordings", 200),
        ("GET", "/api/recordings?limit=0", 400),
        ("GET", "/api/recordings?sort=longest", 200),
        ("GET", "/api/recordings?sort=loudest", 400),
        ("GET", "/api/recordings?cursor=x", 400),
        ("GET", &one, 200),
        ("GET", "/api/recordings/nothing", 404),
        ("GET", &file("files"), 200),
        ("GET", &format!("{one}/files/other"), 404),
        ("GET", &file("index"), 200),
        ("GET", &file("live"), 200),
        ("GET", &file("thumb"), 404),
        ("GET", &format!("{one}/events"), 200),
        ("GET", "/api/recordings/nothing/events", 404),
        ("DELETE", &format!("{one}/markers/none"), 404),
        ("POST", &format!("{one}/whep"), 415),
        ("POST", "/api/recordings/nothing/whep", 404),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/audit", 200),
        ("GET", "/api/retention", 200),
        ("GET", "/api/webhooks", 200),
        ("GET", "/api/audit?limit=0", 400),
        ("POST", &format!("{one}/undo"), 404),
        ("DELETE", &one, 200),
        ("DELETE", &one, 404),
        ("POST", &format!("{one}/undo"), 204),
    ] {
        api.check(&server, method, path, b"", status);
    }
}

#[test]
fn markers_are_kept_with_what_happened_and_taken_back() {
    let server = Server::start("", |dir| {
        let folder = dir.join(ID);
        fs::create_dir(&folder).unwrap();
        let manifest = json!({"version": 1, "id": ID, "room": "team", "state": "complete", "ended_at": "2026-11-20T10:00:05Z",
            "duration_ms": 5_000, "started_at": "2026-11-20T10:00:00Z", "participants": [], "files": []});
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        // A line that a crash cut off.
        fs::write(folder.join("marks.jsonl"), "{\"type\":\"ma").unwrap();
    });
    let api = Api::of(&server);
    let path = format!("/api/recordings/{ID}/markers");
    assert_eq!(server.get(&format!("/api/recordings/{ID}")).json()["markers_url"], path);
    for (body, status) in [
        (&br#"{"t_ms":2000,"text":" the decision "}"#[..], 201),
        (br#"{"t_ms":3000,"text":"<b>second</b>"}"#, 201),
        (br#"{"t_ms":5001,"text":"behind the end"}"#, 400),
        (br#"{"t_ms":1,"text":"  "}"#, 400),
        (br#"{"t_ms":1,"text":"a\nb"}"#, 400),
        (format!("{{\"t_ms\":1,\"text\":\"{}\"}}", "x".repeat(201)).as_bytes(), 400),
        (b"{}", 400),
    ] {
        api.check(&server, "POST", &path, body, status);
    }
    let marks = || -> Vec<Value> {
        server.get(&format!("/api/recordings/{ID}/events")).json()["markers"].as_array().unwrap().clone()
    };
    let texts: Vec<Value> = marks().iter().map(|mark| mark["text"].clone()).collect();
    assert_eq!(texts, ["the decision", "<b>second</b>"]);
    let first = format!("{path}/{}", marks()[0]["mark"].as_str().unwrap());
    api.check(&server, "DELETE", &first, b"", 204);
    api.check(&server, "DELETE", &first, b"", 404);
    assert_eq!(marks().len(), 1);
}

#[test]
fn answers_of_the_rooms_are_as_described() {
    let server = Server::start("", |_| ());
    let api = Api::of(&server);
    let to = server.url("/whip/team/cam");
    let mut publisher = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["publish", "--to", &to, "--test-pattern", "--duration", "60s"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let who = until("the recording of the room", || {
        let room = server.get("/api/rooms/team").json();
        let is_recording = room["recording"]["state"] == "recording";
        is_recording.then(|| room["participants"][0]["id"].as_str().unwrap().to_owned())
    });
    let participant = format!("/api/rooms/team/participants/{who}");
    let mute = br#"{"source":"camera","kind":"audio"}"#;
    for (method, path, body, status) in [
        ("GET", "/api/config", &b""[..], 200),
        ("GET", "/api/rooms", b"", 200),
        ("GET", "/api/rooms/team", b"", 200),
        ("GET", "/api/rooms/none", b"", 404),
        ("POST", "/api/rooms/team/recording", b"", 200),
        ("POST", "/api/rooms/team/recording/pause", b"", 200),
        ("POST", "/api/rooms/team/recording/resume", b"", 200),
        ("DELETE", "/api/rooms/team/recording", b"", 200),
        ("POST", &format!("{participant}/mute"), mute, 204),
        ("POST", "/whip/team", b"not SDP", 400),
        ("POST", "/whip/team/cam", b"not SDP", 409),
        ("POST", "/whip/team/other", b"not SDP", 400),
        ("POST", "/whep/none", b"not SDP", 404),
        ("POST", "/whep/team/cam", b"not SDP", 400),
        ("PATCH", "/sessions/none", b"", 415),
        ("DELETE", "/sessions/none", b"", 404),
        ("POST", "/api/webhooks/replay", br#"{"after": 0}"#, 202),
        ("POST", "/api/webhooks/replay", br#"{}"#, 400),
        ("DELETE", &participant, b"", 204),
        ("DELETE", "/api/rooms/none", b"", 404),
        ("POST", "/api/drain", b"", 202),
    ] {
        api.check(&server, method, path, body, status);
    }
    // It may have ended by itself, as it was put out of the room.
    let _ = publisher.kill();
    publisher.wait().unwrap();
}

struct Api {
    text: Value,
}

impl Api {
    fn of(server: &Server) -> Self {
        Self { text: server.get("/api/openapi.json").json() }
    }

    fn check(&self, server: &Server, method: &str, path: &str, body: &[u8], status: u16) {
        let kind =
            if path.contains("/whip/") || path.contains("/whep/") { "application/sdp" } else { "application/json" };
        let answer = match body {
            b"" => server.request(method, path, &[]),
            _ => server.send(method, path, &[("Content-Type", kind)], body),
        };
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let responses = &described(&self.text, method, path)["responses"];
        let class = format!("{}XX", status / 100);
        let response = responses.get(status.to_string()).or_else(|| responses.get(class));
        let response = response.unwrap_or_else(|| panic!("{method} {path}: {status} is not described"));
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{method} {path}: a body that is not described");
            return;
        };
        let kind = answer.header("content-type").split(';').next().unwrap();
        let schema = content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind} is not described"));
        if kind.ends_with("json") {
            fits(&self.text, &schema["schema"], &answer.json(), &format!("{method} {path}"));
        }
    }
}

fn described<'a>(api: &'a Value, method: &str, path: &str) -> &'a Value {
    let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
    let matches = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len() && template.iter().zip(&parts).all(|(t, p)| t == p || t.starts_with('{'))
    };
    let paths = api["paths"].as_object().unwrap();
    let found = paths.iter().find(|(template, _)| matches(template));
    let (_, item) = found.unwrap_or_else(|| panic!("{path} is not described"));
    &item[method.to_ascii_lowercase()]
}

// The part of JSON Schema that the description uses.
fn fits(api: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = api.pointer(&reference[1..]).unwrap_or_else(|| panic!("{at}: {reference} leads nowhere"));
        return fits(api, target, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        if !value.is_null() {
            fits(api, choices.iter().find(|choice| choice["type"] != "null").unwrap(), value, at);
        }
        return;
    }
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![name],
    };
    assert!(allowed.contains(&name), "{at}: {name} instead of {allowed:?}");
    for required in schema["required"].as_array().into_iter().flatten() {
        let key = required.as_str().unwrap();
        assert!(value.get(key).is_some(), "{at}: '{key}' is missing");
    }
    if let Some(object) = value.as_object() {
        for (key, inner) in object {
            let place = format!("{at}.{key}");
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Object(_)) => fits(api, &schema["additionalProperties"], inner, &place),
                (Value::Null, _) => {}
                (known, _) => fits(api, known, inner, &place),
            }
        }
    }
    for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            fits(api, &schema["items"], inner, &format!("{at}[{n}]"));
        }
    }
}
