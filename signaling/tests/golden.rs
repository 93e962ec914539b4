//! The golden examples: one file per message, read by the tests of every client in any language.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use reelay_signaling::{ClientMessage, ErrorCode, ServerMessage, parse};

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

fn examples(side: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("messages").join(side);
    let mut examples = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        examples.push((name, fs::read_to_string(&path).unwrap()));
    }
    examples.sort();
    examples
}

/// What the example says beyond what the message keeps: `ref`, and fields that are null.
fn without_extras(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| name != "ref" && !value.is_null());
    }
    value
}

/// The `type` of every server message; a new variant does not compile until it is named here.
fn server_type(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Joined(_) => "joined",
        ServerMessage::Published { .. } => "published",
        ServerMessage::Offer { .. } => "offer",
        ServerMessage::Candidate { .. } => "candidate",
        ServerMessage::ParticipantJoined { .. } => "participant-joined",
        ServerMessage::ParticipantUpdated { .. } => "participant-updated",
        ServerMessage::ParticipantLeft { .. } => "participant-left",
        ServerMessage::Speaking { .. } => "speaking",
        ServerMessage::Watchers { .. } => "watchers",
        ServerMessage::Recording(_) => "recording",
        ServerMessage::RecordingEvent(_) => "recording-event",
        ServerMessage::ConsentRequested { .. } => "consent-requested",
        ServerMessage::Chat(_) => "chat",
        ServerMessage::MuteRequested { .. } => "mute-requested",
        ServerMessage::Expiring { .. } => "expiring",
        ServerMessage::Renewed { .. } => "renewed",
        ServerMessage::Closed { .. } => "closed",
        ServerMessage::Error { .. } => "error",
    }
}

/// The same for client messages.
fn client_type(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Join(_) => "join",
        ClientMessage::Resume { .. } => "resume",
        ClientMessage::Publish { .. } => "publish",
        ClientMessage::Candidate { .. } => "candidate",
        ClientMessage::Answer { .. } => "answer",
        ClientMessage::Restart { .. } => "restart",
        ClientMessage::Subscribe { .. } => "subscribe",
        ClientMessage::Mute { .. } => "mute",
        ClientMessage::Recording { .. } => "recording",
        ClientMessage::Consent { .. } => "consent",
        ClientMessage::Chat { .. } => "chat",
        ClientMessage::Moderate(_) => "moderate",
        ClientMessage::Renew { .. } => "renew",
        ClientMessage::Leave => "leave",
    }
}

const CLIENT_TYPES: usize = 14;
const SERVER_TYPES: usize = 18;

#[test]
fn every_client_message_has_an_example_that_survives_a_round_trip() {
    let mut seen = BTreeSet::new();
    for (name, text) in examples("client") {
        let (message, reference) = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let example: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(reference.as_deref(), example.get("ref").and_then(Value::as_str), "{name}");
        let written = serde_json::to_value(&message).unwrap();
        assert_eq!(client_type(&message), name);
        assert_eq!(without_extras(written.clone()), without_extras(example), "{name}");
        assert_eq!(serde_json::from_value::<ClientMessage>(written).unwrap(), message, "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), CLIENT_TYPES);
}

#[test]
fn every_server_message_has_an_example_that_survives_a_round_trip() {
    let mut seen = BTreeSet::new();
    for (name, text) in examples("server") {
        let message: ServerMessage = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(server_type(&message), name);
        let example: Value = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_value(&message).unwrap();
        assert_eq!(written, example, "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), SERVER_TYPES);
}

#[test]
fn protocol_names_every_message_and_every_code() {
    for side in ["client", "server"] {
        for (name, _) in examples(side) {
            assert!(PROTOCOL.contains(&format!("`{name}`")), "PROTOCOL.md does not name '{name}'");
        }
    }
    for code in ErrorCode::ALL {
        assert!(PROTOCOL.contains(&format!("`{code}`")), "PROTOCOL.md does not name the code '{code}'");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_code_and_ref() {
    let check = |text: &str, code: ErrorCode, reference: Option<&str>| {
        let error = parse(text).unwrap_err();
        assert_eq!((error.code, error.reference.as_deref()), (code, reference), "{text}");
    };
    check("", ErrorCode::BadRequest, None);
    check("[1]", ErrorCode::BadRequest, None);
    check(r#"{"type":3}"#, ErrorCode::BadRequest, None);
    check(r#"{"type":"later","ref":"7"}"#, ErrorCode::UnknownMessage, Some("7"));
    check(r#"{"type":"join","room":"a/b","ref":"8"}"#, ErrorCode::BadRoomName, Some("8"));
    check(r#"{"type":"join","room":"a","role":"king"}"#, ErrorCode::BadRequest, None);
    check(r#"{"type":"mute","source":"screen9","kind":"video","muted":true}"#, ErrorCode::BadRequest, None);
    check(r#"{"type":"moderate","action":"mute"}"#, ErrorCode::BadRequest, None);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    check(&deep, ErrorCode::BadRequest, None);
}

#[test]
fn unknown_fields_are_ignored() {
    assert!(parse(r#"{"type":"leave","later":{"a":1}}"#).is_ok());
    assert!(serde_json::from_str::<ServerMessage>(r#"{"type":"watchers","count":1,"later":2}"#).is_ok());
}
