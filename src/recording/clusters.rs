//! The clusters of a file for those who read it, also while it grows: the rows of the sidecar, what follows them in the
//! file itself, and the cluster that is still open. The file is read, never trusted: what makes no sense ends the list.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::webm::index::{self, Row, flags};
use crate::webm::layout::{
    BLOCK, BLOCK_GROUP, CLUSTER, CLUSTER_HEAD_LEN, CODEC_ID, FIRST_CLUSTER_AT, INDEX_AT, SIMPLE_BLOCK, TIMESTAMP,
    TRACK_ENTRY, TRACKS, TRACKS_AT, VIDEO_TRACK,
};

/// Where things are in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    /// Length of what comes before the first cluster: the initialisation segment of Media Source Extensions.
    pub init_len: u64,
    /// The finished clusters, in order.
    pub rows: Vec<Row>,
    /// The one that grows, as far as it is there.
    pub open: Option<Row>,
}

impl Clusters {
    /// Reads the sidecar (if there is one), and what it does not know from the first `len` bytes of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(file: &File, len: u64, sidecar: &Path) -> io::Result<Self> {
        let mut rows = read_sidecar(sidecar).map(|bytes| index::read(&bytes)).unwrap_or_default();
        let behind = rows.iter().position(|row| row.end() > len).unwrap_or(rows.len());
        rows.truncate(behind);
        if rows.first().is_some_and(|row| row.offset != FIRST_CLUSTER_AT) {
            rows.clear();
        }
        let mut at = rows.last().map_or(FIRST_CLUSTER_AT, Row::end);
        let mut open = None;
        while let Some(found) = cluster_at(file, at, len)? {
            match found {
                Found::Finished(row) => {
                    at = row.end();
                    rows.push(row);
                }
                Found::Open(row) => {
                    open = Some(row);
                    break;
                }
            }
        }
        Ok(Self { init_len: FIRST_CLUSTER_AT, rows, open })
    }

    /// All clusters, the open one last.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter().chain(&self.open)
    }

    /// Where a player begins that wants to see `t_ms`: the last cluster with a keyframe at or before it, else the first
    /// cluster. Without a time: the newest one that can be begun with.
    pub fn start(&self, t_ms: Option<u64>) -> Option<&Row> {
        let has_video = self.all().any(|row| row.key_len > 0);
        let mut before = self.all().rev().filter(|row| t_ms.is_none_or(|t_ms| row.t_ms <= t_ms));
        before.find(|row| !has_video || row.flags & flags::KEYFRAME != 0).or_else(|| self.all().next())
    }

    /// The keyframe that shows `t_ms` best: the last one at or before it, else the first after it; a real picture rather
    /// than one that the recorder put in.
    pub fn picture(&self, t_ms: u64) -> Option<&Row> {
        let nearest = |is_wanted: &dyn Fn(&Row) -> bool| {
            let mut before = self.all().rev().filter(|row| row.t_ms <= t_ms && row.key_len > 0 && is_wanted(row));
            let mut after = self.all().filter(|row| row.t_ms > t_ms && row.key_len > 0 && is_wanted(row));
            before.next().or_else(|| after.next())
        };
        nearest(&|row| row.flags & flags::FILL == 0).or_else(|| nearest(&|_| true))
    }
}

/// The CodecIDs of a file (`V_VP8`, `A_OPUS`), in the order of its tracks.
///
/// # Errors
/// When the file cannot be read.
pub fn codec_ids(file: &File) -> io::Result<Vec<String>> {
    let mut front = vec![0; (INDEX_AT - TRACKS_AT) as usize];
    let filled = read_some(file, TRACKS_AT, &mut front)?;
    let tracks = children(&front[..filled]).find(|(id, _)| *id == TRACKS).map_or(&[][..], |(_, body)| body);
    let entries = children(tracks).filter(|(id, _)| *id == TRACK_ENTRY);
    let ids = entries.filter_map(|(_, entry)| children(entry).find(|(id, _)| *id == CODEC_ID));
    Ok(ids.map(|(_, id)| String::from_utf8_lossy(id).into_owned()).collect())
}

enum Found {
    Finished(Row),
    Open(Row),
}

fn cluster_at(file: &File, at: u64, len: u64) -> io::Result<Option<Found>> {
    let Some(head) = Element::read(file, at, len)?.filter(|head| head.id == CLUSTER) else { return Ok(None) };
    let end = match head.size {
        Some(size) => match head.body.checked_add(size).filter(|end| *end <= len) {
            Some(end) => end,
            None => return Ok(None),
        },
        None => len,
    };
    let Some(time) = Element::read(file, head.body, end)?.filter(|time| time.id == TIMESTAMP) else { return Ok(None) };
    let Some(size @ 1..=8) = time.size else { return Ok(None) };
    let mut bytes = [0; 8];
    let wanted = &mut bytes[8 - size as usize..];
    if time.body + size > end || read_some(file, time.body, wanted)? < size as usize {
        return Ok(None);
    }
    let len = u32::try_from(end - at).unwrap_or(u32::MAX);
    let mut row = Row { t_ms: u64::from_be_bytes(bytes), offset: at, len, ..Row::default() };
    find_keyframe(file, &mut row, time.body + size, end)?;
    Ok(Some(if head.size.is_some() { Found::Finished(row) } else { Found::Open(row) }))
}

// A cluster of video begins with its keyframe; before it stands some audio at most.
fn find_keyframe(file: &File, row: &mut Row, mut at: u64, end: u64) -> io::Result<()> {
    for _ in 0..MAX_BLOCKS_BEFORE_KEYFRAME {
        let Some(element) = Element::read(file, at, end)? else { return Ok(()) };
        let Some(size) = element.size else { return Ok(()) };
        let block = match element.id {
            SIMPLE_BLOCK => Some(element),
            BLOCK_GROUP => Element::read(file, element.body, end)?.filter(|block| block.id == BLOCK),
            _ => None,
        };
        if let Some(Element { body, size: Some(size), .. }) = block {
            let mut head = [0; BLOCK_HEAD_LEN as usize];
            let is_there = size > BLOCK_HEAD_LEN && body.saturating_add(size) <= end;
            if is_there && read_some(file, body, &mut head)? == head.len() && head[0] == 0x80 | VIDEO_TRACK {
                let is_fill = element.id == BLOCK_GROUP;
                row.flags |= flags::VIDEO;
                if is_fill || head[3] & 0x80 != 0 {
                    row.flags |= flags::KEYFRAME | if is_fill { flags::FILL } else { 0 };
                    row.key_offset = body + BLOCK_HEAD_LEN;
                    row.key_len = u32::try_from(size - BLOCK_HEAD_LEN).unwrap_or(0);
                }
                return Ok(());
            }
        }
        match element.body.checked_add(size) {
            Some(next) if next < end => at = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    body: u64,
    /// `None`: unknown, it ends where the file does.
    size: Option<u64>,
}

impl Element {
    // `None` where nothing whole begins before `end`.
    fn read(file: &File, at: u64, end: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; CLUSTER_HEAD_LEN as usize];
        let room = end.saturating_sub(at).min(bytes.len() as u64) as usize;
        let filled = read_some(file, at, &mut bytes[..room])?;
        Ok(head_of(&bytes[..filled]).map(|(id, size, head_len)| Self { id, body: at + head_len as u64, size }))
    }
}

// ID, size and the length of both.
fn head_of(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = bytes.get(..id_len)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let first = *bytes.get(id_len)?;
    let size_len = first.leading_zeros() as usize + 1;
    let rest = bytes.get(id_len + 1..(id_len + size_len).max(id_len + 1))?;
    if size_len > 8 {
        return None;
    }
    let size = rest.iter().fold(u64::from(first) & (0xFF >> size_len), |size, byte| size << 8 | u64::from(*byte));
    let is_unknown = size == (1 << (7 * size_len)) - 1;
    Some((id, (!is_unknown).then_some(size), id_len + size_len))
}

fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, head_len) = head_of(bytes)?;
        let end = head_len.checked_add(usize::try_from(size?).ok()?)?;
        let body = bytes.get(head_len..end)?;
        bytes = &bytes[end..];
        Some((id, body))
    })
}

fn read_some(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Track number, relative time and flags.
const BLOCK_HEAD_LEN: u64 = 4;
const MAX_BLOCKS_BEFORE_KEYFRAME: usize = 256;

/// A cache; one that is larger than any of ours is of no use.
fn read_sidecar(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, MAX_SIDECAR_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// More than a month of clusters.
const MAX_SIDECAR_BYTES: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use reelay_signaling::Kind;

    use super::*;
    use crate::recording::file::{Block, SegmentFile};
    use crate::recording::storage::Disk;
    use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

    fn header() -> Header {
        Header {
            video: Some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
            audio: Some(AudioTrack { channels: 2 }),
            date_ms: 0,
            name: "V_VP9 A_X".into(),
        }
    }

    // Six seconds with a keyframe every two; the first picture is one of the recorder's.
    fn write(dir: &Path) -> SegmentFile {
        let mut file = SegmentFile::create(Arc::new(Disk), &dir.join("a.webm"), &header()).unwrap();
        let mut block = |kind, time_ms, keyframe, fill, data: &[u8]| {
            file.write(Block { kind, time_ms, keyframe, fill, data, size: None }).unwrap();
        };
        for time_ms in (0..6000).step_by(100) {
            block(Kind::Audio, time_ms, true, false, &[0xF8, 0xFF, 0xFE]);
            let keyframe = time_ms % 2000 == 0;
            block(Kind::Video, time_ms, keyframe, time_ms == 0, &[u8::from(!keyframe), 2, 3, (time_ms / 100) as u8]);
            if time_ms == 0 {
                block(Kind::Video, 50, true, false, &[0, 9, 9, 9]);
            }
        }
        file.flush().unwrap();
        file
    }

    fn look(path: &Path, sidecar: &Path) -> Clusters {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        assert_eq!(codec_ids(&file).unwrap(), ["V_VP8", "A_OPUS"]);
        Clusters::read(&file, len, sidecar).unwrap()
    }

    #[test]
    fn sidecar_and_file_say_the_same_and_the_open_cluster_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(dir.path());
        let (part, sidecar) = (file.path().to_owned(), dir.path().join("a.idx"));
        let nowhere = PathBuf::from("/nonexistent");
        let growing = look(&part, &sidecar);
        let open = growing.open.unwrap();
        assert_eq!((open.t_ms, open.end()), (4000, std::fs::metadata(&part).unwrap().len()));
        assert_eq!(look(&part, &nowhere).open, growing.open);
        file.close().unwrap().unwrap();
        let closed = look(&dir.path().join("a.webm"), &sidecar);
        assert_eq!(closed.open, None);
        let without = look(&dir.path().join("a.webm"), &nowhere);
        let places = |clusters: &Clusters| -> Vec<_> {
            clusters.rows.iter().map(|row| (row.t_ms, row.offset, row.len, row.key_offset, row.key_len)).collect()
        };
        assert_eq!(places(&closed), places(&without));
        assert_eq!(closed.rows.last().map(|row| (row.t_ms, row.key_offset)), Some((4000, open.key_offset)));
        assert_eq!(closed.start(None).map(|row| row.t_ms), Some(4000));
        assert_eq!(closed.start(Some(3999)).map(|row| row.t_ms), Some(2000));
        assert_eq!(
            without.picture(0).map(|row| row.t_ms),
            without.rows.iter().find(|row| row.flags & flags::FILL == 0).map(|row| row.t_ms)
        );
    }

    #[test]
    fn every_cut_of_a_file_is_read_without_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let part = write(dir.path()).path().to_owned();
        let bytes = std::fs::read(&part).unwrap();
        let file = File::open(&part).unwrap();
        for len in 0..bytes.len() as u64 {
            let clusters = Clusters::read(&file, len, Path::new("/nonexistent")).unwrap();
            assert!(clusters.all().all(|row| row.end() <= len));
        }
        let garbage = dir.path().join("garbage");
        let mut noise = bytes.clone();
        noise[FIRST_CLUSTER_AT as usize + 12..].iter_mut().enumerate().for_each(|(n, byte)| *byte ^= (n * 37) as u8);
        std::fs::write(&garbage, &noise).unwrap();
        Clusters::read(&File::open(&garbage).unwrap(), noise.len() as u64, Path::new("/nonexistent")).unwrap();
    }
}
