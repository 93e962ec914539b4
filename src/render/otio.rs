//! The timeline file of an export for editors: OpenTimelineIO JSON, one track for each file. Pure.

use serde_json::{Value, json};

use super::graph::RATE;

/// A file of the export.
pub(super) struct Clip {
    /// Its name in the archive.
    pub file: String,
    /// What the track is called.
    pub name: String,
    /// A picture, or sound only.
    pub has_picture: bool,
}

/// A timeline on which every clip begins at 0 and lasts `length_ms`.
pub(super) fn timeline(title: &str, clips: &[Clip], length_ms: u64) -> Value {
    let frames = (length_ms * u64::from(RATE)).div_ceil(1000);
    let time = |value: u64| json!({"OTIO_SCHEMA": "RationalTime.1", "rate": RATE, "value": value});
    let range = || json!({"OTIO_SCHEMA": "TimeRange.1", "start_time": time(0), "duration": time(frames)});
    let track = |clip: &Clip| {
        json!({
            "OTIO_SCHEMA": "Track.1",
            "name": clip.name,
            "kind": if clip.has_picture { "Video" } else { "Audio" },
            "source_range": null,
            "effects": [], "markers": [], "metadata": {},
            "children": [{
                "OTIO_SCHEMA": "Clip.1",
                "name": clip.name,
                "source_range": range(),
                "effects": [], "markers": [], "metadata": {},
                "media_reference": {
                    "OTIO_SCHEMA": "ExternalReference.1",
                    "name": clip.file,
                    "target_url": clip.file,
                    "available_range": range(),
                    "metadata": {},
                },
            }],
        })
    };
    json!({
        "OTIO_SCHEMA": "Timeline.1",
        "name": title,
        "global_start_time": null,
        "metadata": {},
        "tracks": {
            "OTIO_SCHEMA": "Stack.1",
            "name": "tracks",
            "source_range": null,
            "effects": [], "markers": [], "metadata": {},
            "children": clips.iter().map(track).collect::<Vec<_>>(),
        },
    })
}
