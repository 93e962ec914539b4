//! What of a recording is played when: which file of it, from where to where. Pure.

use reelay_signaling::{ParticipantId, Source};

use crate::recording::SegmentEntry;

/// Whose picture and sound are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Whoever has a camera for longest, and the next one when that ends.
    Anybody,
    /// One participant, by the id of a stay.
    Participant(ParticipantId, Source),
    /// Everybody of this name, or of this person's key.
    Named(String, Source),
}

impl Wanted {
    /// Whether a file is of those that are wanted.
    pub fn is(&self, file: &SegmentEntry) -> bool {
        match self {
            Self::Anybody => file.source == Source::Camera,
            Self::Participant(id, source) => file.participant == *id && file.source == *source,
            Self::Named(name, source) => (file.name == *name || file.person == *name) && file.source == *source,
        }
    }
}

/// A stretch of one file, in milliseconds of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Name of the file.
    pub file: String,
    /// Time 0 of the file.
    pub offset_ms: u64,
    /// First moment.
    pub from_ms: u64,
    /// First moment not played any more.
    pub to_ms: u64,
}

/// The stretches to play from `from_ms` on, one after the other; what lies between them is silence.
pub fn spans(files: &[SegmentEntry], wanted: &Wanted, from_ms: u64) -> Vec<Span> {
    let mut files: Vec<&SegmentEntry> = files.iter().filter(|file| wanted.is(file)).collect();
    files.retain(|file| (file.video.is_some() || file.audio.is_some()) && end(file) > from_ms);
    files.sort_by_key(|file| (file.offset_ms, end(file)));
    let edges = files.iter().flat_map(|file| [file.offset_ms, end(file)]).chain([from_ms]);
    let mut edges: Vec<u64> = edges.filter(|edge| *edge >= from_ms).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut spans: Vec<Span> = Vec::new();
    let mut current: Option<usize> = None;
    for pair in edges.windows(2) {
        let (from_ms, to_ms) = (pair[0], pair[1]);
        let is_live = |at: &usize| files[*at].offset_ms <= from_ms && end(files[*at]) > from_ms;
        let has_picture = |at: &usize| files[*at].video.is_some();
        let stays = current.filter(|at| is_live(at));
        let live = || (0..files.len()).filter(is_live);
        let next = stays.filter(has_picture).or_else(|| live().find(has_picture)).or(stays).or_else(|| live().next());
        match (next, spans.last_mut()) {
            (Some(at), Some(last)) if current == Some(at) && last.to_ms == from_ms => last.to_ms = to_ms,
            (Some(at), _) => {
                let SegmentEntry { file, offset_ms, .. } = files[at];
                spans.push(Span { file: file.clone(), offset_ms: *offset_ms, from_ms, to_ms });
            }
            (None, _) => {}
        }
        current = next;
    }
    spans
}

fn end(file: &SegmentEntry) -> u64 {
    file.offset_ms.saturating_add(file.duration_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn file(n: usize, source: &str, (offset_ms, duration_ms): (u64, u64), has_picture: bool) -> SegmentEntry {
        let who = char::from(b'a' + n as u8).to_string().repeat(10);
        let picture = has_picture.then(|| json!({"codec": "vp8"}));
        serde_json::from_value(json!({"file": format!("p{who}-{source}-1.webm"), "participant": format!("p{who}"),
            "name": format!("n{n}"), "source": source, "offset_ms": offset_ms, "duration_ms": duration_ms,
            "video": picture, "audio": {"codec": "opus"}}))
        .unwrap()
    }

    fn check(files: &[SegmentEntry], wanted: &Wanted, from_ms: u64, expected: &[(&str, u64, u64)]) {
        let spans = spans(files, wanted, from_ms);
        let found: Vec<_> = spans.iter().map(|span| (&span.file[1..2], span.from_ms, span.to_ms)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn who_has_a_camera_for_longest_is_followed() {
        let files = [
            file(0, "camera", (0, 1000), false),
            file(1, "camera", (500, 2500), true),
            file(2, "camera", (600, 5000), true),
            file(3, "screen1", (0, 9000), true),
            file(4, "camera", (8000, 1000), true),
        ];
        let expected = [("a", 0, 500), ("b", 500, 3000), ("c", 3000, 5600), ("e", 8000, 9000)];
        check(&files, &Wanted::Anybody, 0, &expected);
        check(&files, &Wanted::Anybody, 700, &[("b", 700, 3000), ("c", 3000, 5600), ("e", 8000, 9000)]);
        check(&files, &Wanted::Anybody, 9000, &[]);
    }

    #[test]
    fn one_is_found_by_id_name_and_source() {
        let files = [file(0, "camera", (0, 1000), true), file(0, "screen1", (100, 500), true)];
        check(&files, &Wanted::Named("n0".into(), Source::Camera), 0, &[("a", 0, 1000)]);
        let id = files[0].participant.clone();
        check(&files, &Wanted::Participant(id, "screen1".parse().unwrap()), 0, &[("a", 100, 600)]);
        check(&files, &Wanted::Named("nobody".into(), Source::Camera), 0, &[]);
    }

    proptest! {
        #[test]
        fn spans_are_in_order_and_inside_of_their_files(
            places in prop::collection::vec((0u64..5000, 0u64..3000, any::<bool>()), 0..20), from in 0u64..6000,
        ) {
            let file = |(n, (at, len, has_picture)): (usize, &(u64, u64, bool))| file(n, "camera", (*at, *len), *has_picture);
            let files: Vec<_> = places.iter().enumerate().map(file).collect();
            let spans = spans(&files, &Wanted::Anybody, from);
            let mut last = from;
            for span in &spans {
                let file = files.iter().find(|file| file.file == span.file).unwrap();
                prop_assert!(span.from_ms >= last && span.from_ms < span.to_ms);
                prop_assert!(file.offset_ms <= span.from_ms && end(file) >= span.to_ms);
                last = span.to_ms;
            }
            // Whenever somebody is there, something is played.
            for ms in (from..9000).step_by(97) {
                let is_there = files.iter().any(|file| file.offset_ms <= ms && end(file) > ms);
                prop_assert_eq!(spans.iter().any(|span| span.from_ms <= ms && span.to_ms > ms), is_there);
            }
        }
    }
}
