//! A span of a recorded file as a file of its own, without re-encoding: whole clusters of the source behind a patched
//! header. It begins at the keyframe at or before the wanted time and ends at the last block before the wanted end.

use std::fs::File;
use std::io;
use std::sync::Arc;

use reelay_signaling::Kind;

use super::clusters::Clusters;
use super::splice::Splice;
use crate::webm::VideoCodec;
use crate::webm::cues::{CuePoint, Cues};
use crate::webm::ebml::{Children, big_endian, vint};
use crate::webm::elements;
use crate::webm::front::{self, FrontError, Track};
use crate::webm::index::{Row, flags};
use crate::webm::layout::*;
use crate::webm::tally::{self, Counted, Tally};

/// A clip, ready to be read.
#[derive(Debug, Clone)]
pub struct Clip {
    /// Its bytes.
    pub content: Splice,
    /// Where it begins in the source, in milliseconds: at a keyframe, so at or before the wanted time.
    pub from_ms: u64,
    /// Where it ends in the source.
    pub to_ms: u64,
}

/// Why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The span holds nothing of the file.
    #[error("the file has nothing in this span")]
    Empty,
    /// The source is no file of ours, or damaged.
    #[error("the file cannot be cut: {0}")]
    Source(#[from] FrontError),
    /// The disk's.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

/// Cuts `from_ms..to_ms` (times of the file) out of a closed file.
///
/// # Errors
/// When nothing is in the span, or the file cannot be read.
pub fn cut(file: &Arc<File>, clusters: &Clusters, from_ms: u64, to_ms: u64) -> Result<Clip, ClipError> {
    let first = clusters.start(Some(from_ms)).ok_or(ClipError::Empty)?.offset;
    let rows = clusters.rows.iter().filter(|row| row.offset >= first && row.t_ms < to_ms);
    let rows: Vec<Row> = rows.copied().collect();
    let Some(first) = rows.first() else { return Err(ClipError::Empty) };
    let base_ms = first.t_ms;

    let mut header = vec![0; FIRST_CLUSTER_AT as usize];
    Splice::whole(file, FIRST_CLUSTER_AT).read_at(0, &mut header)?;
    let front = front::read(&header[..], FIRST_CLUSTER_AT)?;

    let kept = Kept::of(file, &rows, to_ms, front.tracks.iter().find_map(Track::video_codec))?;
    // A cluster before the span may end before it too.
    if kept.tally.duration_ms() <= from_ms {
        return Err(ClipError::Empty);
    }
    let mut cues = Cues::default();
    let mut body = Splice::default();
    let mut seen = kept.kinds;
    for (n, row) in rows.iter().enumerate() {
        let is_last = n + 1 == rows.len();
        let len = if is_last { kept.last_len } else { row.len.into() };
        seen |= if is_last { 0 } else { row.flags & (flags::AUDIO | flags::VIDEO) };
        let (head, head_len) = head(file, row, len, base_ms)?;
        let at = FIRST_CLUSTER_AT + body.len();
        if let Some(time_ms) = key_time(file, row)?.filter(|time_ms| *time_ms < to_ms) {
            cues.push(CuePoint { time_ms: time_ms.saturating_sub(base_ms), track: VIDEO_TRACK, cluster_at: at });
        } else if row.key_len == 0 && !front.tracks.iter().any(|track| track.kind == 1) {
            cues.push(CuePoint { time_ms: row.t_ms - base_ms, track: AUDIO_TRACK, cluster_at: at });
        }
        body.push_bytes(head);
        body.push_file(file, row.offset + head_len, len - head_len);
    }

    for track in &front.tracks {
        let kind = if track.kind == 1 { flags::VIDEO } else { flags::AUDIO };
        if seen & kind == 0 {
            header[track.at as usize] = VOID as u8;
        } else if let (1, Some((width, height))) = (track.kind, kept.tally.size) {
            put(&mut header, track.at + PICTURE_SIZE_IN_ENTRY, &elements::picture_size(width, height));
        }
    }
    let index = cues.encode(INDEX_LEN);
    if index.first() != Some(&(VOID as u8)) {
        put(&mut header, SEEK_CUES_AT, &elements::seek_entry(CUES, INDEX_AT));
    }
    put(&mut header, INDEX_AT, &index);
    let end_us = kept.tally.duration_us();
    put(&mut header, DURATION_AT, &elements::duration(end_us.saturating_sub(base_ms * 1000)));
    move_date(&mut header, base_ms);
    put(&mut header, SEGMENT_SIZE_AT, &elements::size_8(FIRST_CLUSTER_AT + body.len() - SEGMENT_DATA_AT));

    let mut content = Splice::default();
    content.push_bytes(header);
    content.push_splice(&body);
    Ok(Clip { content, from_ms: base_ms, to_ms: end_us.div_ceil(1000) })
}

/// What stays of the clusters that tell about the whole: the first one (kinds, picture size) and the last two (the end).
struct Kept {
    tally: Tally,
    kinds: u32,
    /// Bytes of the last cluster that stay, head included.
    last_len: u64,
}

impl Kept {
    fn of(file: &Arc<File>, rows: &[Row], to_ms: u64, codec: Option<VideoCodec>) -> io::Result<Self> {
        let mut kept = Self { tally: Tally::default(), kinds: 0, last_len: 0 };
        for (n, row) in rows.iter().enumerate().filter(|(n, _)| *n == 0 || n + 2 >= rows.len()) {
            let is_last = n + 1 == rows.len();
            let cluster = read(file, row.offset, row.len.into())?;
            kept.last_len = cluster.len() as u64;
            for block in blocks(&cluster) {
                let time_ms = row.t_ms.saturating_add_signed(block.relative_ms.into());
                if is_last && time_ms >= to_ms {
                    kept.last_len = block.at as u64;
                    break;
                }
                let counted = Counted {
                    kind: block.kind,
                    time_ms,
                    keyframe: block.is_keyframe,
                    fill: block.is_fill,
                    head: &block.data[..block.data.len().min(tally::HEAD_LEN)],
                    len: block.data.len() as u64,
                    size: None,
                };
                kept.kinds |= if block.kind == Kind::Video { flags::VIDEO } else { flags::AUDIO };
                kept.tally.add(counted, codec.unwrap_or(VideoCodec::Vp8));
            }
        }
        Ok(kept)
    }
}

struct BlockAt<'a> {
    /// Offset of its element in the cluster.
    at: usize,
    kind: Kind,
    relative_ms: i16,
    is_keyframe: bool,
    is_fill: bool,
    data: &'a [u8],
}

/// The blocks of a cluster that is in memory from its head on.
fn blocks(cluster: &[u8]) -> impl Iterator<Item = BlockAt<'_>> {
    let body = cluster.get(CLUSTER_HEAD_LEN as usize..).unwrap_or(&[]);
    Children::of(body).filter_map(|child| {
        let is_fill = child.id == BLOCK_GROUP;
        let block = match child.id {
            SIMPLE_BLOCK => child.body,
            BLOCK_GROUP => Children::of(child.body).find(|inner| inner.id == BLOCK)?.body,
            _ => return None,
        };
        let (track, len) = vint(block).ok()?;
        let [high, low, flags, data @ ..] = block.get(len..)? else { return None };
        Some(BlockAt {
            at: CLUSTER_HEAD_LEN as usize + child.at,
            kind: if track? == u64::from(VIDEO_TRACK) { Kind::Video } else { Kind::Audio },
            relative_ms: i16::from_be_bytes([*high, *low]),
            is_keyframe: is_fill || flags & 0x80 != 0,
            is_fill,
            data,
        })
    })
}

/// The head of a cluster and its Timestamp for the clip, and how long they are in the source: just as long.
fn head(file: &Arc<File>, row: &Row, len: u64, base_ms: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut bytes = read(file, row.offset, (CLUSTER_HEAD_LEN + MAX_TIMESTAMP_LEN).min(len))?;
    let body = bytes.get(CLUSTER_HEAD_LEN as usize..).unwrap_or(&[]);
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a cluster does not begin with its time");
    let time = Children::of(body).next().filter(|child| child.id == TIMESTAMP).ok_or_else(damaged)?;
    let (digits, head_len) = (time.body.len(), CLUSTER_HEAD_LEN as usize + 2 + time.body.len());
    let moved = big_endian(time.body).saturating_sub(base_ms).to_be_bytes();
    if digits > moved.len() {
        return Err(damaged());
    }
    bytes.truncate(head_len);
    bytes[head_len - digits..].copy_from_slice(&moved[moved.len() - digits..]);
    put(&mut bytes, CLUSTER_SIZE_IN_CLUSTER, &elements::size_8(len - CLUSTER_HEAD_LEN));
    Ok((bytes, head_len as u64))
}

/// When the first keyframe of a cluster is shown.
fn key_time(file: &Arc<File>, row: &Row) -> io::Result<Option<u64>> {
    if row.key_len == 0 {
        return Ok(None);
    }
    // In front of the data stand track, time (2 bytes) and flags.
    let head = read(file, row.key_offset.saturating_sub(3), 2)?;
    let relative = i16::from_be_bytes([head[0], head[1]]);
    Ok(Some(row.t_ms.saturating_add_signed(relative.into())))
}

/// DateUTC stands behind Duration: the clip began later than its source.
fn move_date(header: &mut [u8], by_ms: u64) {
    let at = DURATION_AT as usize + DURATION_LEN;
    if let Some([0x44, 0x61, 0x88, date @ ..]) = header.get_mut(at..at + 11)
        && let Ok(ns) = <[u8; 8]>::try_from(&*date)
    {
        let by_ns = i64::try_from(by_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        date.copy_from_slice(&i64::from_be_bytes(ns).saturating_add(by_ns).to_be_bytes());
    }
}

fn read(file: &Arc<File>, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len.min(MAX_CLUSTER)).unwrap_or(usize::MAX)];
    std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, at)?;
    Ok(bytes)
}

fn put(target: &mut [u8], at: u64, bytes: &[u8]) {
    target[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
}

const MAX_TIMESTAMP_LEN: u64 = 10;
/// Far above what the recorder lets a cluster grow to.
const MAX_CLUSTER: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::recording::file::{Block, SegmentFile};
    use crate::recording::storage::Disk;
    use crate::webm::check;
    use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

    /// Ten seconds, a keyframe every two; the sound ends after six.
    fn source(dir: &Path) -> (Arc<File>, Clusters) {
        let header = Header {
            video: Some(VideoTrack { codec: VideoCodec::Vp8, size: Some((64, 48)) }),
            audio: Some(AudioTrack { channels: 2 }),
            date_ms: 1_000_000,
            name: "Ada".into(),
        };
        let path = dir.join("a.webm");
        let mut file = SegmentFile::create(Arc::new(Disk), &path, &header).unwrap();
        for time_ms in (0..10_000).step_by(20) {
            if time_ms < 6_000 {
                let data = &[0xF8, 0xFF, (time_ms / 20) as u8];
                file.write(Block { kind: Kind::Audio, time_ms, keyframe: true, fill: false, data, size: None })
                    .unwrap();
            }
            if time_ms % 40 == 0 {
                let keyframe = time_ms % 2000 == 0;
                let mut data = vec![u8::from(!keyframe), 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 48, 0];
                data.push((time_ms / 40) as u8);
                let block = Block { kind: Kind::Video, time_ms, keyframe, fill: false, data: &data, size: None };
                file.write(block).unwrap();
            }
        }
        file.close().unwrap().unwrap();
        let file = File::open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        let clusters = Clusters::read(&file, len, &dir.join("a.idx")).unwrap();
        (Arc::new(file), clusters)
    }

    fn bytes(clip: &Clip) -> Vec<u8> {
        let mut bytes = vec![0; clip.content.len() as usize];
        assert_eq!(clip.content.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    }

    #[test]
    fn any_span_is_a_sound_file_with_the_right_times() {
        let dir = tempfile::tempdir().unwrap();
        let (file, clusters) = source(dir.path());
        for from in (0..10_000).step_by(370) {
            for to in (from + 1..10_500).step_by(910) {
                let clip = cut(&file, &clusters, from, to).unwrap();
                assert_eq!(clip.from_ms, from / 2000 * 2000, "{from}..{to}");
                assert!(
                    clip.to_ms >= to.min(10_000) && clip.to_ms <= to.next_multiple_of(40) + 40,
                    "{from}..{to}: {}",
                    clip.to_ms
                );
                let bytes = bytes(&clip);
                let report = check::check(&bytes[..], bytes.len() as u64, check::State::Closed).unwrap();
                assert!(report.faults.is_empty(), "{from}..{to}: {:?}", report.faults);
                let front = front::read(&bytes[..], bytes.len() as u64).unwrap();
                assert_eq!(front.duration.unwrap() as u64, clip.to_ms - clip.from_ms);
                let has_sound = clip.from_ms < 6_000 && to - clip.from_ms > 40;
                assert_eq!(front.tracks.len(), if has_sound { 2 } else { 1 }, "{from}..{to}");
            }
        }
    }

    #[test]
    fn a_span_without_anything_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (file, clusters) = source(dir.path());
        assert!(matches!(cut(&file, &Clusters::default(), 0, 1000), Err(ClipError::Empty)));
        assert!(matches!(cut(&file, &clusters, 20_000, 30_000), Err(ClipError::Empty)));
        assert!(matches!(cut(&file, &clusters, 0, 0), Err(ClipError::Empty)));
    }
}
