//! Reads what a script names, block by block, a little ahead of who plays it. Blocks on the disk, and trusts no file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::script::Span;
use crate::recording::clusters::Clusters;
use crate::rtp::Codec;
use crate::webm::ebml::Source;
use crate::webm::front::{self, FrontError, Track};
use crate::webm::scan::{Block, Item, OnDamage, Walker};
use crate::webm::{VideoCodec, index};

/// A frame and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// In milliseconds of the recording.
    pub at_ms: u64,
    /// What it is.
    pub codec: Codec,
    /// Decodable by itself.
    pub is_keyframe: bool,
    /// As the file has it.
    pub data: Bytes,
}

/// An open file of which something is to be played.
pub struct Opened {
    file: File,
    len: u64,
    /// Number and codec of each track that can be sent.
    tracks: Vec<(u64, Codec)>,
    start: u64,
    /// When the cluster begins that a player starts with.
    pub start_ms: u64,
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not there.
    #[error("it is no longer on the disk")]
    Missing,
    /// It is no WebM file, or its beginning is damaged.
    #[error("it is damaged: {0}")]
    Damaged(#[from] FrontError),
    /// No track of it can be sent, or there is nothing after its head.
    #[error("nothing in it can be played")]
    Empty,
    /// The disk's.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

/// Opens the file of a span at the keyframe at or before its beginning.
///
/// # Errors
/// When it is missing, damaged or empty.
pub fn open(folder: &Path, span: &Span) -> Result<Opened, OpenError> {
    let path = folder.join(&span.file);
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing,
        _ => OpenError::Io(error),
    })?;
    let len = file.metadata()?.len();
    let front = front::read(OfFile(&file), len)?;
    let tracks: Vec<(u64, Codec)> =
        front.tracks.iter().filter_map(|track| Some((track.number, codec_of(track)?))).collect();
    let first = front.first_cluster_at.filter(|_| !tracks.is_empty()).ok_or(OpenError::Empty)?;
    let clusters = Clusters::read(&file, len, &index::path_of(&path))?;
    let in_file = span.from_ms.saturating_sub(span.offset_ms);
    let (start, start_ms) = match clusters.start(Some(in_file)) {
        Some(row) => (row.offset, row.t_ms),
        // A file of others has its clusters elsewhere, and says in its index where.
        None => {
            let before = front.cues.iter().flatten().filter(|cue| cue.time_ms <= in_file && cue.cluster_at >= first);
            before.max_by_key(|cue| cue.time_ms).map_or((first, 0), |cue| (cue.cluster_at, cue.time_ms))
        }
    };
    Ok(Opened { file, len, tracks, start, start_ms: span.offset_ms.saturating_add(start_ms) })
}

/// Sends the units of all spans, in order, until there are no more or nobody takes them. The first span begins with
/// what `opened` starts with, the others with the first keyframe of theirs. A file that fails is passed over.
pub fn run(folder: &Path, spans: &[Span], opened: Opened, units: &Sender<Unit>) {
    let mut opened = Some(opened);
    for (n, span) in spans.iter().enumerate() {
        let from_ms = if n == 0 { 0 } else { span.from_ms };
        let file = opened.take().map_or_else(|| open(folder, span), Ok);
        match file.and_then(|file| Ok(play(file, span, from_ms, units)?)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => warn!(file = span.file, %error, "a file of a recording cannot be played"),
        }
    }
}

// False when nobody takes them any more.
fn play(opened: Opened, span: &Span, from_ms: u64, units: &Sender<Unit>) -> io::Result<bool> {
    let Opened { file, len, tracks, start, .. } = opened;
    let mut walker = Walker::new(OfFile(&file), start, len, OnDamage::Skip);
    let mut is_decodable = false;
    while let Some(item) = walker.next_item()? {
        let block = match item {
            Item::Block(block) => block,
            // The pictures behind the hole refer to some in it.
            Item::Damage { .. } => {
                is_decodable = false;
                continue;
            }
            _ => continue,
        };
        let Some(codec) = tracks.iter().find(|(number, _)| *number == block.track).map(|(_, codec)| *codec) else {
            continue;
        };
        let at_ms = span.offset_ms.saturating_add(u64::try_from(block.time_ms).unwrap_or(0));
        if at_ms >= span.to_ms.saturating_add(INTERLEAVED_MS) {
            return Ok(true);
        }
        if at_ms < from_ms || at_ms >= span.to_ms {
            continue;
        }
        if codec != Codec::Opus {
            is_decodable |= block.keyframe;
            if !is_decodable {
                continue;
            }
        }
        let Some(data) = data(&file, &block)? else {
            is_decodable &= codec == Codec::Opus;
            continue;
        };
        let is_keyframe = block.keyframe && codec != Codec::Opus;
        if units.blocking_send(Unit { at_ms, codec, is_keyframe, data }).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn data(file: &File, block: &Block) -> io::Result<Option<Bytes>> {
    if block.lacing != 0 || block.data_len > MAX_FRAME {
        return Ok(None);
    }
    let mut data = vec![0; usize::try_from(block.data_len).unwrap_or(0)];
    file.read_exact_at(&mut data, block.data_at)?;
    Ok(Some(data.into()))
}

fn codec_of(track: &Track) -> Option<Codec> {
    if track.is_opus() {
        return Some(Codec::Opus);
    }
    Some(match track.video_codec()? {
        VideoCodec::Vp8 => Codec::Vp8,
        VideoCodec::Vp9 => Codec::Vp9,
        VideoCodec::Av1 => Codec::Av1,
    })
}

struct OfFile<'a>(&'a File);

impl Source for OfFile<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// Sound and picture of one moment are never further apart in a file.
const INTERLEAVED_MS: u64 = 5_000;
/// A frame of ours is never longer; more would not fit into the caches of the media plane either.
const MAX_FRAME: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use reelay_signaling::Kind;
    use tokio::sync::mpsc;

    use super::*;
    use crate::recording::file::{Block, SegmentFile};
    use crate::recording::storage::Disk;
    use crate::webm::{AudioTrack, Header, VideoTrack};

    const SPAN: Span = Span { file: String::new(), offset_ms: 500, from_ms: 500, to_ms: 10_500 };

    /// Ten seconds, a keyframe every two.
    fn write(dir: &Path, name: &str) {
        let header = Header {
            video: Some(VideoTrack { codec: VideoCodec::Vp8, size: Some((64, 48)) }),
            audio: Some(AudioTrack { channels: 2 }),
            date_ms: 0,
            name: "Ada".into(),
        };
        let mut file = SegmentFile::create(Arc::new(Disk), &dir.join(name), &header).unwrap();
        for time_ms in (0..10_000).step_by(20) {
            if time_ms % 40 == 0 {
                let keyframe = time_ms % 2000 == 0;
                let data = &[u8::from(!keyframe), 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 48, 0, (time_ms / 40) as u8];
                file.write(Block { kind: Kind::Video, time_ms, keyframe, fill: false, data, size: None }).unwrap();
            }
            let data = &[0xF8, 0xFF, (time_ms / 20) as u8];
            file.write(Block { kind: Kind::Audio, time_ms, keyframe: true, fill: false, data, size: None }).unwrap();
        }
        file.close().unwrap().unwrap();
    }

    fn span(file: &str, from_ms: u64, to_ms: u64) -> Span {
        Span { file: file.into(), from_ms, to_ms, ..SPAN }
    }

    fn read(dir: &Path, spans: &[Span]) -> Vec<Unit> {
        let opened = open(dir, &spans[0]).unwrap();
        let (sender, mut units) = mpsc::channel(1000);
        run(dir, spans, opened, &sender);
        drop(sender);
        std::iter::from_fn(|| units.blocking_recv()).collect()
    }

    fn times(units: &[Unit], codec: Codec) -> Vec<u64> {
        units.iter().filter(|unit| unit.codec == codec).map(|unit| unit.at_ms).collect()
    }

    #[test]
    fn first_file_begins_at_the_keyframe_before_and_the_next_at_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.webm");
        write(dir.path(), "b.webm");
        let spans = [span("a.webm", 3_000, 5_000), span("b.webm", 5_000, 10_500)];
        assert_eq!(open(dir.path(), &spans[0]).unwrap().start_ms, 2_500);
        let units = read(dir.path(), &spans);
        let (sound, pictures) = (times(&units, Codec::Opus), times(&units, Codec::Vp8));
        assert_eq!(sound, (2_500..10_500).step_by(20).collect::<Vec<_>>());
        let expected: Vec<u64> = (2_500..5_000).step_by(40).chain((6_500..10_500).step_by(40)).collect();
        assert_eq!(pictures, expected);
        assert_eq!(units.iter().filter(|unit| unit.is_keyframe).count(), 2 + 2);
        let frame = units.iter().find(|unit| unit.at_ms == 2_540 && unit.codec == Codec::Opus).unwrap();
        assert_eq!(frame.data.last(), Some(&102), "the one of 2,040 ms in the file");
    }

    #[test]
    fn damage_and_a_file_that_is_gone_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.webm");
        write(dir.path(), "b.webm");
        let clusters = {
            let file = File::open(dir.path().join("a.webm")).unwrap();
            Clusters::read(&file, file.metadata().unwrap().len(), Path::new("/nonexistent")).unwrap()
        };
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("a.webm")).unwrap();
        file.write_all_at(&[0; 40], clusters.rows[1].offset + 100).unwrap();
        let units = read(dir.path(), &[span("a.webm", 500, 10_500), span("gone.webm", 10_500, 11_000)]);
        let pictures = times(&units, Codec::Vp8);
        assert!(pictures.contains(&2_460) && !pictures.contains(&3_500), "{pictures:?}");
        assert!(pictures.contains(&4_500) && pictures.ends_with(&[10_460]), "{pictures:?}");
    }

    #[test]
    fn every_cut_of_a_file_is_opened_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.webm");
        let bytes = std::fs::read(dir.path().join("a.webm")).unwrap();
        for len in (0..bytes.len()).step_by(997) {
            std::fs::write(dir.path().join("cut.webm"), &bytes[..len]).unwrap();
            if open(dir.path(), &span("cut.webm", 500, 10_500)).is_ok() {
                read(dir.path(), &[span("cut.webm", 500, 10_500)]);
            }
        }
    }
}
