//! What the catalogue reads out of a manifest. It works on the JSON itself, so manifests of another version are
//! listed too; fields it does not know stay in the text that is handed out.

use reelay_signaling::RecordingId;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::recording::library::is_active;

/// One recording as the catalogue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which recording.
    pub id: RecordingId,
    /// The room it is of.
    pub room: String,
    /// As in the manifest (`complete`, `recording`, …).
    pub state: String,
    /// When it began, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// Its length.
    pub duration_ms: i64,
    /// All files together.
    pub size_bytes: i64,
    /// How many files.
    pub files_count: i64,
    /// Keys of the people in it, and their names, each once.
    pub people: Vec<(String, String)>,
    /// What people called it.
    pub title: String,
    /// What people marked it with.
    pub tags: Vec<String>,
    /// Lines of chat, for the search; `None` keeps what the catalogue has.
    pub chat: Option<String>,
    /// What captions say, for the search; `None` keeps what the catalogue has.
    pub said: Option<String>,
    /// When the manifest was written to disk; 0 when it did not come from there.
    pub manifest_mtime_ns: i64,
    /// The manifest without its files' details, as JSON.
    pub summary: String,
    /// The manifest as JSON.
    pub manifest: String,
}

/// Why a manifest cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not JSON, or a field that must be there is missing or of another kind.
    #[error("not a manifest")]
    Json(#[from] serde_json::Error),
    /// `started_at` is no RFC 3339 time.
    #[error("started_at is not a time")]
    Time,
}

impl Entry {
    /// Reads the text of a `manifest.json`.
    ///
    /// # Errors
    /// When it is no manifest.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        Self::from_value(serde_json::from_str(text)?)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is no manifest.
    pub fn from_value(manifest: Value) -> Result<Self, EntryError> {
        let fields = Fields::deserialize(&manifest)?;
        let text = manifest.to_string();
        let started = OffsetDateTime::parse(&fields.started_at, &Rfc3339).map_err(|_| EntryError::Time)?;
        let mut people: Vec<(String, String)> =
            fields.participants.into_iter().chain(fields.files.iter().map(|f| f.who.clone())).map(Who::pair).collect();
        people.sort();
        people.dedup();
        let size_bytes = clamped(fields.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes)));
        let files_count = clamped(fields.files.len() as u64);
        let mut summary = manifest;
        if let Some(object) = summary.as_object_mut() {
            object.remove("files");
            object.insert("files_count".into(), files_count.into());
            object.insert("size_bytes".into(), size_bytes.into());
            if let Some(poster) = poster(&fields.files) {
                object.insert("poster".into(), poster);
            }
            if !is_active(&fields.state) && !fields.files.is_empty() {
                object.insert("quality".into(), quality(&fields.files));
            }
        }
        Ok(Self {
            id: fields.id,
            room: fields.room,
            state: fields.state,
            started_at_ms: clamped_i128(started.unix_timestamp_nanos() / 1_000_000),
            duration_ms: clamped(fields.duration_ms),
            size_bytes,
            files_count,
            people,
            title: fields.title.unwrap_or_default(),
            tags: fields.tags,
            chat: None,
            said: None,
            manifest_mtime_ns: 0,
            summary: summary.to_string(),
            manifest: text,
        })
    }
}

// A shared screen says more about a call than a face; else whoever was seen for longest.
fn poster(files: &[FileFields]) -> Option<Value> {
    let seen = || files.iter().filter(|file| file.video.as_ref().is_some_and(|video| !video.is_null()));
    let file = seen().find(|file| file.source != "camera").or_else(|| seen().max_by_key(|file| file.duration_ms))?;
    let t_ms = POSTER_MS.min(file.duration_ms / 2);
    Some(json!({ "file": file.file, "t_ms": t_ms, "duration_ms": file.duration_ms }))
}

// `whole`, `gaps`, or `poor` when so much is missing that people notice all the time. What its owner switched off is not
// missing, and neither is the sound of a quiet room; the replay page says it in the same way.
fn quality(files: &[FileFields]) -> Value {
    let is_quiet = |gap: &GapFields| gap.kind == "audio" && gap.cause == "silence";
    let is_wanted = |gap: &GapFields| matches!(gap.cause.as_str(), "muted" | "ended" | "consent") || is_quiet(gap);
    // What cannot be read is no reason not to list a recording.
    let gaps = files.iter().flat_map(|file| Vec::<GapFields>::deserialize(&file.gaps).unwrap_or_default());
    let holes: Vec<GapFields> = gaps.filter(|gap| !is_wanted(gap)).collect();
    let missing_ms = holes.iter().fold(0_u64, |sum, gap| sum.saturating_add(gap.to_ms.saturating_sub(gap.from_ms)));
    let all_ms = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.duration_ms));
    let mark = match holes.len() {
        0 => "whole",
        _ if missing_ms.saturating_mul(100) > all_ms.saturating_mul(POOR_PERCENT) => "poor",
        _ => "gaps",
    };
    json!({ "mark": mark, "missing_ms": missing_ms })
}

const POOR_PERCENT: u64 = 5;

// The first pictures of a call are often black, or somebody's ceiling.
const POSTER_MS: u64 = 3_000;

/// The text of all chat lines in an `events.jsonl`; lines that cannot be read are skipped.
pub fn chat_of(events: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        text: String,
    }
    let lines = events.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let chat: Vec<String> = lines.filter(|line| line.kind == "chat").map(|line| line.text).collect();
    chat.join("\n")
}

#[derive(Deserialize)]
struct Fields {
    id: RecordingId,
    room: String,
    state: String,
    started_at: String,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    participants: Vec<Who>,
    #[serde(default)]
    files: Vec<FileFields>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct FileFields {
    #[serde(flatten)]
    who: Who,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    file: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    video: Option<Value>,
    #[serde(default)]
    gaps: Value,
}

#[derive(Deserialize)]
struct GapFields {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    from_ms: u64,
    #[serde(default)]
    to_ms: u64,
    #[serde(default)]
    cause: String,
}

#[derive(Deserialize, Clone)]
struct Who {
    #[serde(default)]
    person: String,
    #[serde(default)]
    name: String,
}

impl Who {
    fn pair(self) -> (String, String) {
        (self.person, self.name)
    }
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn clamped_i128(value: i128) -> i64 {
    // 43 bits of milliseconds (until the year 2248) leave 20 bits below them in a catalogue row's number.
    value.clamp(0, (1 << 43) - 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_totals_and_keeps_unknown_fields() {
        let entry = Entry::parse(
            r#"{"version":9,"id":"01920000-0000-7000-8000-000000000001","room":"team","state":"complete","later":1,
                "started_at":"2026-11-20T10:00:00.5Z","duration_ms":1000,"participants":[{"person":"a","name":"Ada"}],
                "files":[{"file":"x","person":"a","name":"Ada","bytes":5},{"file":"y","person":"b","name":"Bo","bytes":7}]}"#,
        )
        .unwrap();
        assert_eq!((entry.size_bytes, entry.files_count), (12, 2));
        assert_eq!(entry.people, [("a".into(), "Ada".into()), ("b".into(), "Bo".into())]);
        assert_eq!(entry.started_at_ms, 1_795_168_800_500);
        let summary: Value = serde_json::from_str(&entry.summary).unwrap();
        assert_eq!((summary["later"].as_i64(), summary["size_bytes"].as_i64()), (Some(1), Some(12)));
        assert!(summary.get("files").is_none());
        assert!(entry.manifest.contains("\"files\""));
    }

    #[test]
    fn poster_is_of_a_screen_or_of_whoever_was_seen_longest() {
        let check = |files: Value, expected: Option<(&str, u64)>| {
            let manifest = json!({"id": "01920000-0000-7000-8000-000000000001", "room": "team", "state": "complete",
                "started_at": "2026-11-20T10:00:00Z", "files": files});
            let summary: Value = serde_json::from_str(&Entry::from_value(manifest).unwrap().summary).unwrap();
            let poster = summary.get("poster").map(|p| (p["file"].as_str().unwrap(), p["t_ms"].as_u64().unwrap()));
            assert_eq!(poster, expected);
        };
        let file = |name: &str, source: &str, duration_ms: u64, video: Value| json!({"file": name, "source": source, "duration_ms": duration_ms, "video": video});
        let vp8 = || json!({"codec": "VP8"});
        check(json!([]), None);
        check(json!([file("a", "camera", 9_000, Value::Null)]), None);
        check(json!([file("a", "camera", 4_000, vp8()), file("b", "camera", 9_000, vp8())]), Some(("b", 3_000)));
        check(json!([file("a", "camera", 9_000, vp8()), file("b", "screen1", 1_000, vp8())]), Some(("b", 500)));
    }

    #[test]
    fn quality_counts_what_is_missing_and_not_what_was_switched_off() {
        let check = |state: &str, gaps: Value, expected: Option<(&str, u64)>| {
            let manifest = json!({"id": "01920000-0000-7000-8000-000000000001", "room": "team", "state": state,
                "started_at": "2026-11-20T10:00:00Z", "files": [{"file": "a", "duration_ms": 60_000, "gaps": gaps}, {"file": "b", "duration_ms": 40_000}]});
            let summary: Value = serde_json::from_str(&Entry::from_value(manifest).unwrap().summary).unwrap();
            let quality =
                summary.get("quality").map(|q| (q["mark"].as_str().unwrap(), q["missing_ms"].as_u64().unwrap()));
            assert_eq!(quality, expected);
        };
        let gap = |kind: &str, ms: u64, cause: &str| json!({"kind": kind, "from_ms": 1_000, "to_ms": 1_000 + ms, "cause": cause});
        check("complete", json!([]), Some(("whole", 0)));
        check("complete", json!([gap("video", 30_000, "muted"), gap("audio", 9_000, "silence")]), Some(("whole", 0)));
        check("recovered", json!([gap("audio", 400, "loss")]), Some(("gaps", 400)));
        check("complete", json!([gap("audio", 3_000, "loss"), gap("video", 3_000, "stall")]), Some(("poor", 6_000)));
        check("recording", json!([gap("audio", 3_000, "loss")]), None);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for bad in
            ["", "[]", "{}", r#"{"id":"../x","room":"r","state":"complete","started_at":"2026-11-20T10:00:00Z"}"#]
        {
            assert!(Entry::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chat_is_read_from_events_past_broken_lines() {
        let events = "{\"type\":\"chat\",\"text\":\"one\"}\n{broken\n{\"type\":\"joined\"}\n{\"type\":\"chat\",\"text\":\"二\"}\n{\"ty";
        assert_eq!(chat_of(events), "one\n二");
    }
}
