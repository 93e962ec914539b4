//! What a recording tells about who is to be seen and heard when: read from its manifest and events. Pure.

use std::path::PathBuf;

use serde_json::Value;

/// How people are arranged in a movie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Everybody, at the same size.
    Grid,
    /// Who speaks fills the picture.
    Speaker,
}

/// One file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Where it lies.
    pub path: PathBuf,
    /// When it begins, in ms.
    pub offset_ms: u64,
    /// How long it is.
    pub duration_ms: u64,
    /// Index of its lane.
    pub lane: usize,
    /// It has a picture.
    pub has_picture: bool,
    /// It has sound.
    pub has_sound: bool,
}

/// A person, or a screen of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The name as its owner typed it.
    pub name: String,
    /// What it comes from: `camera`, `screen1`, …
    pub source: String,
    key: String,
}

/// A finished recording, as far as a movie needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// Its length.
    pub length_ms: u64,
    /// Who is in it, in the order of the files.
    pub lanes: Vec<Lane>,
    /// The files that are still there.
    pub takes: Vec<Take>,
    /// Who speaks from when on: time and lane.
    pub speakers: Vec<(u64, usize)>,
}

impl Story {
    /// Reads a manifest and the lines of what happened; `path_of` says where a file lies, if it is there.
    pub fn read(manifest: &Value, events: &str, path_of: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let mut story = Self { length_ms: manifest["duration_ms"].as_u64().unwrap_or(0), ..Self::default() };
        let mut stays: Vec<(String, usize)> = Vec::new();
        for file in manifest["files"].as_array().into_iter().flatten() {
            let text = |key: &str| file[key].as_str().unwrap_or("").to_owned();
            let Some(path) = path_of(&text("file")) else { continue };
            let who = if text("person").is_empty() { text("participant") } else { text("person") };
            let key = format!("{who}/{}", text("source"));
            let lane = story.lanes.iter().position(|lane| lane.key == key).unwrap_or_else(|| {
                story.lanes.push(Lane { name: text("name"), source: text("source"), key });
                story.lanes.len() - 1
            });
            if text("source") == "camera" {
                stays.push((text("participant"), lane));
            }
            story.takes.push(Take {
                path,
                offset_ms: file["offset_ms"].as_u64().unwrap_or(0),
                duration_ms: file["duration_ms"].as_u64().unwrap_or(0),
                lane,
                has_picture: file["video"].is_object(),
                has_sound: file["audio"].is_object(),
            });
        }
        let ends = story.takes.iter().map(|take| take.offset_ms + take.duration_ms);
        story.length_ms = ends.max().unwrap_or(0).max(story.length_ms);
        story.speakers = speakers(events, &stays);
        story
    }

    /// From when to when a lane fills the picture.
    pub fn large(&self, lane: usize) -> Vec<(u64, u64)> {
        let first = self.takes.iter().find(|take| take.has_picture).map_or(0, |take| take.lane);
        let mut turns = vec![(0, first)];
        // A shared screen is what people look at, whoever speaks.
        turns.extend(
            self.speakers
                .iter()
                .copied()
                .filter(|(_, lane)| self.takes.iter().any(|take| take.lane == *lane && take.has_picture)),
        );
        let ends = turns.iter().skip(1).map(|(at, _)| *at).chain([self.length_ms]);
        let spans = turns.iter().zip(ends).filter(|((from, who), to)| *who == lane && to > from);
        spans.map(|((from, _), to)| (*from, to)).collect()
    }
}

/// Whoever speaks alone becomes the speaker, at most every two seconds.
fn speakers(events: &str, stays: &[(String, usize)]) -> Vec<(u64, usize)> {
    let mut turns: Vec<(u64, usize)> = Vec::new();
    for line in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some("speaking"), Some(t_ms)) = (line["type"].as_str(), line["t_ms"].as_u64()) else { continue };
        let first = line["participants"].as_array().and_then(|all| all.first()).and_then(Value::as_str);
        let Some(lane) = first.and_then(|id| stays.iter().find(|(stay, _)| stay == id)).map(|(_, lane)| *lane) else {
            continue;
        };
        if turns.last().is_none_or(|(at, last)| *last != lane && t_ms >= at + HOLD_MS) {
            turns.push((t_ms, lane));
        }
    }
    turns
}

const HOLD_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn story_has_lanes_takes_and_turns() {
        let file = |file: &str, person: &str, source: &str, offset_ms: u64, video: bool| {
            let video = if video { json!({"codec": "vp8"}) } else { Value::Null };
            json!({"file": file, "participant": format!("p{person}"), "person": person, "name": person, "source": source,
                "offset_ms": offset_ms, "duration_ms": 5_000, "video": video, "audio": {"codec": "opus"}})
        };
        let manifest = json!({"duration_ms": 9_000, "files": [file("1", "ada", "camera", 0, true),
            file("2", "bo", "camera", 1_000, true), file("3", "ada", "camera", 6_000, true),
            file("4", "ada", "screen1", 0, true), file("5", "cy", "camera", 0, false), file("gone", "di", "camera", 0, true)]});
        let speaking =
            |t_ms: u64, who: &str| json!({"t_ms": t_ms, "type": "speaking", "participants": [who]}).to_string();
        let events =
            [speaking(500, "pbo"), speaking(1_000, "pada"), speaking(3_000, "pada"), speaking(6_000, "pcy")].join("\n");
        let story = Story::read(&manifest, &events, |name| (name != "gone").then(|| name.into()));
        assert_eq!(story.lanes.iter().map(|lane| &*lane.name).collect::<Vec<_>>(), ["ada", "bo", "ada", "cy"]);
        assert_eq!(story.takes.iter().map(|take| take.lane).collect::<Vec<_>>(), [0, 1, 0, 2, 3]);
        assert_eq!(story.length_ms, 11_000);
        // Whoever has no picture does not fill it.
        assert_eq!(story.large(0), [(0, 500), (3_000, 11_000)]);
        assert_eq!(story.large(1), [(500, 3_000)]);
        assert_eq!(story.large(3), []);
    }
}
