//! A recording whose manifest is lost: what its files, their names and the list of events still tell.

use std::fs;
use std::io::Read;
use std::path::Path;

use reelay_signaling::{RecordingId, RoomName};
use serde_json::{Value, json};

use super::modified;
use crate::recording::manifest::{Manifest, Person};
use crate::recording::store;

/// A manifest without files. The room is `unknown` where no event names it.
pub(super) fn manifest_of(id: &RecordingId, folder: &Path) -> Option<Manifest> {
    let text = json!({
        "version": 1, "id": id, "room": "unknown", "state": "repairing", "started_at": modified(folder)?,
    });
    let mut manifest: Manifest = serde_json::from_value(text).ok()?;
    for event in events(folder) {
        take(&mut manifest, &event);
    }
    Some(manifest)
}

fn take(manifest: &mut Manifest, event: &Value) {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let t_ms = event["t_ms"].as_u64().unwrap_or(0);
    let Ok(participant) = text("participant").parse() else {
        if let ("started", Ok(room)) = (text("type"), text("room").parse::<RoomName>()) {
            room.as_str().clone_into(&mut manifest.room);
            manifest.by = event["by"].as_str().map(str::to_owned);
            text("at").clone_into(&mut manifest.started_at);
        }
        return;
    };
    let people = manifest.participants.len();
    let known = manifest.participants.iter_mut().find(|person| person.id == participant);
    match (text("type"), known) {
        ("joined", None) if people < MAX_PEOPLE => manifest.participants.push(Person {
            id: participant,
            person: text("person").to_owned(),
            name: text("name").to_owned(),
            recorded: true,
            joined_ms: t_ms,
            left_ms: None,
        }),
        ("left", Some(person)) => person.left_ms = Some(t_ms),
        _ => {}
    }
}

fn events(folder: &Path) -> Vec<Value> {
    let mut text = Vec::new();
    let file = fs::File::open(folder.join(store::EVENTS));
    if file.and_then(|file| file.take(MAX_EVENTS_BYTES).read_to_end(&mut text)).is_err() {
        return Vec::new();
    }
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

const MAX_EVENTS_BYTES: u64 = 16 * 1024 * 1024;
const MAX_PEOPLE: usize = 10_000;
