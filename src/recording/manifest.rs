//! `manifest.json` of a recording: what is in the folder, and what happened to it. `recordings/README.md` is the norm.
//! Reading is tolerant, because a folder may come from a crash, a newer version or a stranger.

use std::collections::BTreeMap;

use reelay_signaling::{ParticipantId, RecordingId, RecordingStatus, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::report::Report;

/// One recording: one folder, from start to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout, 1.
    #[serde(default = "current_version")]
    pub version: u32,
    /// The recording; equals the folder's name.
    pub id: RecordingId,
    /// The room. A name of ours as a rule; manifests that others made may say anything.
    pub room: String,
    /// What became of it.
    pub state: RecordingStatus,
    /// Why, for `interrupted` and `failed`.
    #[serde(default)]
    pub reason: Option<String>,
    /// The name of who started it, if a person did.
    #[serde(default)]
    pub by: Option<String>,
    /// Time 0 of the recording, RFC 3339 UTC.
    pub started_at: String,
    /// RFC 3339 UTC; absent while it runs.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// From time 0 to the end of the last block, pauses taken out.
    #[serde(default)]
    pub duration_ms: u64,
    /// Who was there.
    #[serde(default)]
    pub participants: Vec<Person>,
    /// The files, by offset.
    #[serde(default)]
    pub files: Vec<SegmentEntry>,
    /// Where time was cut out by hand.
    #[serde(default)]
    pub pauses: Vec<Pause>,
}

/// Somebody who was in the room while it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The id of the stay.
    pub id: ParticipantId,
    /// Stable for one person within a recording. Empty while not recorded.
    #[serde(default)]
    pub person: String,
    /// The name as its owner typed it. Empty while not recorded.
    #[serde(default)]
    pub name: String,
    /// False for who declined: present, and absent from the files.
    #[serde(default = "yes")]
    pub recorded: bool,
    /// When they came, in time of the recording.
    #[serde(default)]
    pub joined_ms: u64,
    /// When they went.
    #[serde(default)]
    pub left_ms: Option<u64>,
}

/// One file: one source of one participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// The final name; while it grows the file on disk ends in `.part`.
    pub file: String,
    /// Whose.
    pub participant: ParticipantId,
    /// Stable for one person within a recording.
    #[serde(default)]
    pub person: String,
    /// The name as its owner typed it.
    #[serde(default)]
    pub name: String,
    /// What it comes from.
    pub source: Source,
    /// True while it grows.
    #[serde(default)]
    pub open: bool,
    /// Time 0 of the file in time of the recording.
    #[serde(default)]
    pub offset_ms: u64,
    /// Length.
    #[serde(default)]
    pub duration_ms: u64,
    /// The picture; absent when there was none.
    #[serde(default)]
    pub video: Option<VideoInfo>,
    /// The sound; absent when there was none.
    #[serde(default)]
    pub audio: Option<AudioInfo>,
    /// Size of the file.
    #[serde(default)]
    pub bytes: u64,
    /// Lower-case hex; null until the background job has read the file.
    #[serde(default)]
    pub sha256: Option<String>,
    /// When it was read, RFC 3339 UTC.
    #[serde(default)]
    pub hashed_at: Option<String>,
    /// When it was closed, RFC 3339 UTC.
    #[serde(default)]
    pub closed_at: Option<String>,
    /// `left`, `ended`, `stopped`, `codec`, `shutdown`, `disk-full`, `io-error`, `repaired`, `unusable`.
    #[serde(default)]
    pub close_reason: Option<String>,
    /// `sender-reports`, or `arrival` when they were missing to the end.
    #[serde(default)]
    pub sync: Option<String>,
    /// Holes in what should be there.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// Numbers by name; README lists them.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Bit rate, frame rate and size over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// The picture of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// `vp8`, `vp9` or `av1`.
    pub codec: String,
    /// Of the largest keyframe.
    #[serde(default)]
    pub width: u32,
    /// Of the largest keyframe.
    #[serde(default)]
    pub height: u32,
}

/// The sound of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioInfo {
    /// `opus`.
    pub codec: String,
    /// 1 or 2.
    #[serde(default)]
    pub channels: u8,
}

/// A hole in one track of a file, in time of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// `audio` or `video`.
    pub kind: reelay_signaling::Kind,
    /// Begin.
    pub from_ms: u64,
    /// End.
    pub to_ms: u64,
    /// `loss`, `muted`, `ended`, `silence`, `stall`, `overflow`, `consent`, `disk`.
    pub cause: String,
}

/// Time that was cut out of all files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Where the cut is, in time of the recording.
    pub at_ms: u64,
    /// How long it lasted; absent while it lasts.
    #[serde(default)]
    pub lasted_ms: Option<u64>,
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any manifest of ours.
    #[error("larger than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or nothing of what every manifest has.
    #[error("not a manifest")]
    Syntax(#[source] serde_json::Error),
    /// A manifest that says something else than ours do.
    #[error("not a manifest of this program: {0}")]
    Foreign(serde_json::Error),
    /// Written by a later version.
    #[error("has version {0}, this program knows up to {VERSION}")]
    Version(u32),
}

/// Reads a manifest. Unknown fields are ignored; missing ones get defaults as far as that is honest.
/// File names that are not ours are dropped, because names become paths.
///
/// # Errors
/// When it is none, or of a later version.
pub fn parse_manifest(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge);
    }
    let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| refused(bytes, error))?;
    if manifest.version > VERSION {
        return Err(ManifestError::Version(manifest.version));
    }
    manifest.files.retain(|entry| parse_file_name(&entry.file).is_some());
    Ok(manifest)
}

/// Why a text could not be taken: no manifest at all, or one of others, or of a later version.
fn refused(bytes: &[u8], error: serde_json::Error) -> ManifestError {
    /// What tells that somebody meant it.
    #[derive(Deserialize)]
    struct Meant {
        version: Option<u32>,
        id: Option<serde::de::IgnoredAny>,
        room: Option<serde::de::IgnoredAny>,
        files: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Meant>(bytes) {
        Ok(Meant { version: Some(version), .. }) if version > VERSION => ManifestError::Version(version),
        Ok(Meant { id: None, room: None, files: None, .. }) | Err(_) => ManifestError::Syntax(error),
        Ok(_) => ManifestError::Foreign(error),
    }
}

/// What is on disk with what this program knows now: fields and files that only others know stay as they are.
pub fn merge(on_disk: &[u8], manifest: &Manifest) -> Vec<u8> {
    let (Ok(Value::Object(mut all)), Ok(Value::Object(mut ours))) =
        (serde_json::from_slice(on_disk), serde_json::to_value(manifest))
    else {
        return manifest.to_json();
    };
    let name = |entry: &Value| entry["file"].as_str().unwrap_or_default().to_owned();
    if let (Some(Value::Array(theirs)), Some(Value::Array(files))) = (all.remove("files"), ours.get_mut("files")) {
        let mut theirs: BTreeMap<String, Value> = theirs.into_iter().map(|entry| (name(&entry), entry)).collect();
        for entry in &mut *files {
            if let (Some(Value::Object(known)), Value::Object(fields)) = (theirs.remove(&name(entry)), &mut *entry) {
                *fields = overlaid(known, std::mem::take(fields));
            }
        }
        files.extend(theirs.into_values().filter(|entry| parse_file_name(&name(entry)).is_none()));
    }
    all = overlaid(all, ours);
    let mut text = serde_json::to_vec_pretty(&all).unwrap_or_else(|_| manifest.to_json());
    text.push(b'\n');
    text
}

fn overlaid(mut below: Map<String, Value>, above: Map<String, Value>) -> Map<String, Value> {
    below.extend(above);
    below
}

/// The final name of the `n`th file of a source.
pub fn file_name(participant: &ParticipantId, source: Source, n: u32) -> String {
    format!("{participant}-{source}-{n}.webm")
}

/// Whose and which file a final name means; `None` when it is no name of ours.
pub fn parse_file_name(name: &str) -> Option<(ParticipantId, Source, u32)> {
    let mut parts = name.strip_suffix(".webm")?.split('-');
    let (participant, source, n) = (parts.next()?, parts.next()?, parts.next()?);
    let (participant, source, n): (ParticipantId, Source, u32) =
        (participant.parse().ok()?, source.parse().ok()?, n.parse().ok()?);
    (parts.next().is_none() && file_name(&participant, source, n) == name).then_some((participant, source, n))
}

impl SegmentEntry {
    /// A file that has no block yet.
    pub fn open(file: String, participant: ParticipantId, source: Source, person: String, name: String) -> Self {
        Self {
            file,
            participant,
            person,
            name,
            source,
            open: true,
            offset_ms: 0,
            duration_ms: 0,
            video: None,
            audio: None,
            bytes: 0,
            sha256: None,
            hashed_at: None,
            closed_at: None,
            close_reason: None,
            sync: None,
            gaps: Vec::new(),
            counters: BTreeMap::new(),
            report: None,
        }
    }
}

impl Manifest {
    /// The bytes of `manifest.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// The entry of a file.
    pub fn file(&self, name: &str) -> Option<&SegmentEntry> {
        self.files.iter().find(|entry| entry.file == name)
    }

    /// From time 0 to the end of the last of its files.
    pub fn length_ms(&self) -> u64 {
        self.files.iter().map(|file| file.offset_ms.saturating_add(file.duration_ms)).max().unwrap_or(0)
    }

    /// True while blocks may still come.
    pub fn is_running(&self) -> bool {
        matches!(self.state, RecordingStatus::Waiting | RecordingStatus::Recording | RecordingStatus::Paused)
    }
}

fn current_version() -> u32 {
    VERSION
}

fn yes() -> bool {
    true
}

/// The layout that this program writes.
pub const VERSION: u32 = 1;
pub(super) const MAX_MANIFEST_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"{"id":"01920000-0000-7000-8000-000000000001","room":"team","state":"recording",
        "started_at":"2026-01-01T00:00:00Z","later":1,
        "files":[{"file":"paaaaaaaaaa-camera-1.webm","participant":"paaaaaaaaaa","source":"camera"},
                 {"file":"../etc/passwd","participant":"paaaaaaaaaa","source":"camera"}]}"#;

    #[test]
    fn sparse_manifest_is_read_and_foreign_names_are_dropped() {
        let manifest = parse_manifest(SMALLEST.as_bytes()).expect("it has what is needed");
        assert_eq!(manifest.files.len(), 1);
        assert_eq!(manifest.version, 1);
        assert_eq!(parse_manifest(&manifest.to_json()).expect("our own"), manifest);
    }

    #[test]
    fn later_version_is_refused() {
        let text = SMALLEST.replacen('{', r#"{"version":2,"#, 1);
        assert!(matches!(parse_manifest(text.as_bytes()), Err(ManifestError::Version(2))));
        let otherwise = br#"{"version":2,"id":{"is":"new"},"rooms":[]}"#;
        assert!(matches!(parse_manifest(otherwise), Err(ManifestError::Version(2))));
    }

    #[test]
    fn manifest_of_others_is_no_lost_one() {
        let check = |text: &str, is_lost: bool| {
            let error = parse_manifest(text.as_bytes()).expect_err("none of ours");
            assert_eq!(matches!(error, ManifestError::Syntax(_)), is_lost, "{text}: {error}");
        };
        for lost in ["", "{", "[]", "{}", "7", r#"{"room":"te"#, r#"{"title":"x"}"#] {
            check(lost, true);
        }
        check(&SMALLEST.replace("paaaaaaaaaa", "Ann"), false);
        check(&SMALLEST.replace(r#""recording""#, r#""done""#), false);
        check(&SMALLEST.replace(r#""2026-01-01T00:00:00Z""#, "1767225600"), false);
        check(r#"{"room":"team"}"#, false);
    }

    #[test]
    fn what_only_others_know_stays_in_a_manifest() {
        let text = SMALLEST.replace(r#""team""#, r#""Team meeting, 3rd floor""#);
        let mut manifest = parse_manifest(text.as_bytes()).expect("any name is one");
        manifest.files[0].sha256 = Some("ab".into());
        let merged: Value = serde_json::from_slice(&merge(text.as_bytes(), &manifest)).expect("JSON");
        assert_eq!((&merged["room"], &merged["later"]), (&"Team meeting, 3rd floor".into(), &1.into()));
        let files: Vec<_> = merged["files"].as_array().expect("a list").iter().map(|entry| &entry["file"]).collect();
        assert_eq!(files, ["paaaaaaaaaa-camera-1.webm", "../etc/passwd"]);
        assert_eq!(merged["files"][0]["sha256"], "ab");
        assert_eq!(merge(b"{half", &manifest), manifest.to_json());
    }

    #[test]
    fn file_names_are_ours_or_nothing() {
        for bad in
            ["x", ".webm", "paaaaaaaaaa-camera-01.webm", "paaaaaaaaaa-screen-1.webm", "paaaaaaaaaa-camera-1-2.webm"]
        {
            assert!(parse_file_name(bad).is_none(), "{bad}");
        }
        let (participant, source, n) = parse_file_name("paaaaaaaaaa-screen1-12.webm").expect("ours");
        assert_eq!(file_name(&participant, source, n), "paaaaaaaaaa-screen1-12.webm");
    }
}
