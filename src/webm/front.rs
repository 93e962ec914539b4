//! Reads what stands before the first cluster, of files of ours and of others.

use std::io;

use super::VideoCodec;
use super::codec::OPUS_ID;
use super::cues::CuePoint;
use super::ebml::{Children, Head, HeadError, Source, Window, big_endian, float};
use super::layout::*;

/// What a file says before its first cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Front {
    /// DocType, such as `webm`.
    pub doc_type: String,
    /// DocTypeVersion and DocTypeReadVersion.
    pub doc_type_versions: (u64, u64),
    /// Where Segment's data begins.
    pub segment_data_at: u64,
    /// Its size; `None` is "unknown".
    pub segment_size: Option<u64>,
    /// The elements of Segment before the first cluster, in order.
    pub elements: Vec<Element>,
    /// SeekHead: IDs and positions in the file.
    pub seek: Vec<(u32, u64)>,
    /// TimestampScale in nanoseconds.
    pub timestamp_scale: u64,
    /// Duration, in units of the scale.
    pub duration: Option<f64>,
    /// The tracks.
    pub tracks: Vec<Track>,
    /// The index, if it is here.
    pub cues: Option<Vec<CuePoint>>,
    /// Where the first cluster begins.
    pub first_cluster_at: Option<u64>,
}

/// An element of Segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Its ID.
    pub id: u32,
    /// Where it begins.
    pub at: u64,
    /// First byte behind it.
    pub end: u64,
}

/// A TrackEntry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    /// Where its TrackEntry begins.
    pub at: u64,
    /// TrackNumber.
    pub number: u64,
    /// 1 is video, 2 is audio.
    pub kind: u64,
    /// CodecID.
    pub codec: String,
    /// CodecPrivate.
    pub private: Vec<u8>,
    /// PixelWidth and PixelHeight.
    pub size: Option<(u64, u64)>,
    /// Channels.
    pub channels: Option<u64>,
    /// FlagLacing; 1 unless it says otherwise.
    pub lacing: bool,
    /// CodecDelay in nanoseconds.
    pub codec_delay: u64,
    /// SeekPreRoll in nanoseconds.
    pub seek_pre_roll: u64,
}

impl Track {
    /// The codec, if it is a video codec of WebM.
    pub fn video_codec(&self) -> Option<VideoCodec> {
        VideoCodec::from_id(self.codec.as_bytes()).filter(|_| self.kind == 1)
    }

    /// True for Opus.
    pub fn is_opus(&self) -> bool {
        self.kind == 2 && self.codec == OPUS_ID
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// It does not begin with an EBML header.
    #[error("not a WebM or Matroska file: it does not begin with an EBML header")]
    NotEbml,
    /// It ends before the first cluster.
    #[error("the file ends inside of its header, at byte {0}")]
    Cut(u64),
    /// Bytes that are no element, or one that is too large to be true.
    #[error("no valid element at byte {0}")]
    Invalid(u64),
    /// The disk's.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

/// Reads up to the first cluster of a file of `len` bytes, or to its end.
///
/// # Errors
/// What stops the reading; nothing is guessed.
pub fn read(source: impl Source, len: u64) -> Result<Front, FrontError> {
    let mut reader = Reader { window: Window::new(source), len };
    let header =
        reader.head(0).map_err(|error| if let FrontError::Invalid(_) = error { FrontError::NotEbml } else { error })?;
    if header.id != EBML {
        return Err(FrontError::NotEbml);
    }
    let body = reader.body(0, header)?;
    let mut front = Front { doc_type_versions: (1, 1), timestamp_scale: 1_000_000, ..Front::default() };
    for child in Children::of(&body) {
        match child.id {
            0x4282 => front.doc_type = text(child.body),
            0x4287 => front.doc_type_versions.0 = big_endian(child.body),
            0x4285 => front.doc_type_versions.1 = big_endian(child.body),
            _ => {}
        }
    }
    let segment_at = header.len + body.len() as u64;
    let segment = reader.head(segment_at)?;
    if segment.id != SEGMENT {
        return Err(FrontError::Invalid(segment_at));
    }
    front.segment_data_at = segment_at + segment.len;
    front.segment_size = segment.size;

    let mut at = front.segment_data_at;
    while at < len {
        let head = reader.head(at)?;
        if head.id == CLUSTER {
            front.first_cluster_at = Some(at);
            break;
        }
        let size = head.size.ok_or(FrontError::Invalid(at))?;
        let end = at.checked_add(head.len).and_then(|body| body.checked_add(size)).ok_or(FrontError::Invalid(at))?;
        if end > len {
            return Err(FrontError::Cut(at));
        }
        if front.elements.len() == MAX_ELEMENTS {
            return Err(FrontError::Invalid(at));
        }
        front.elements.push(Element { id: head.id, at, end });
        match head.id {
            SEEK_HEAD | INFO | TRACKS | CUES => front.take(head.id, at + head.len, &reader.body(at, head)?),
            _ => {}
        }
        at = end;
    }
    Ok(front)
}

/// Reads Cues of a file whose Segment data begins at `segment_data_at`: those behind the clusters.
///
/// # Errors
/// As [`read`].
pub fn read_cues(source: impl Source, at: u64, len: u64, segment_data_at: u64) -> Result<Vec<CuePoint>, FrontError> {
    let mut reader = Reader { window: Window::new(source), len };
    let head = reader.head(at)?;
    let mut front = Front { segment_data_at, ..Front::default() };
    front.take(CUES, at + head.len, &reader.body(at, head)?);
    Ok(front.cues.unwrap_or_default())
}

impl Front {
    fn take(&mut self, id: u32, body_at: u64, body: &[u8]) {
        let children = Children::of(body);
        match id {
            SEEK_HEAD => self.seek.extend(children.filter(|child| child.id == SEEK).take(MAX_ELEMENTS).map(|seek| {
                let mut entry = (0, 0);
                for child in Children::of(seek.body) {
                    match child.id {
                        SEEK_ID => entry.0 = big_endian(child.body) as u32,
                        SEEK_POSITION => entry.1 = big_endian(child.body).saturating_add(self.segment_data_at),
                        _ => {}
                    }
                }
                entry
            })),
            INFO => {
                for child in children {
                    match child.id {
                        TIMESTAMP_SCALE => self.timestamp_scale = big_endian(child.body),
                        DURATION => self.duration = Some(float(child.body)),
                        _ => {}
                    }
                }
            }
            TRACKS => {
                let entries = children.filter(|child| child.id == TRACK_ENTRY).take(MAX_TRACKS);
                self.tracks.extend(entries.map(|entry| track(body_at + entry.at as u64, entry.body)));
                self.tracks.truncate(MAX_TRACKS);
            }
            _ => {
                let points = children.filter(|child| child.id == CUE_POINT).take(MAX_CUES);
                self.cues = Some(points.map(|point| self.cue_point(point.body)).collect());
            }
        }
    }

    fn cue_point(&self, body: &[u8]) -> CuePoint {
        let mut point = CuePoint { time_ms: 0, track: 0, cluster_at: 0 };
        for child in Children::of(body) {
            match child.id {
                CUE_TIME => point.time_ms = big_endian(child.body),
                CUE_TRACK_POSITIONS => {
                    for child in Children::of(child.body) {
                        match child.id {
                            CUE_TRACK => point.track = u8::try_from(big_endian(child.body)).unwrap_or(u8::MAX),
                            CUE_CLUSTER_POSITION => {
                                point.cluster_at = big_endian(child.body).saturating_add(self.segment_data_at);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        point
    }
}

fn track(at: u64, body: &[u8]) -> Track {
    let mut track = Track { at, lacing: true, ..Track::default() };
    for child in Children::of(body) {
        match child.id {
            TRACK_NUMBER => track.number = big_endian(child.body),
            TRACK_TYPE => track.kind = big_endian(child.body),
            FLAG_LACING => track.lacing = big_endian(child.body) != 0,
            CODEC_ID => track.codec = text(child.body),
            CODEC_PRIVATE => track.private = child.body.iter().copied().take(MAX_PRIVATE).collect(),
            CODEC_DELAY => track.codec_delay = big_endian(child.body),
            SEEK_PRE_ROLL => track.seek_pre_roll = big_endian(child.body),
            VIDEO => {
                let value =
                    |id| Children::of(child.body).find(|child| child.id == id).map(|child| big_endian(child.body));
                track.size = value(PIXEL_WIDTH).zip(value(PIXEL_HEIGHT));
            }
            AUDIO => {
                let channels = Children::of(child.body).find(|child| child.id == CHANNELS);
                track.channels = Some(channels.map_or(1, |child| big_endian(child.body)));
            }
            _ => {}
        }
    }
    track
}

/// Short texts of the format; what is no UTF-8 is replaced, so that it can be shown.
fn text(body: &[u8]) -> String {
    let body = &body[..body.len().min(MAX_TEXT)];
    String::from_utf8_lossy(body).trim_end_matches('\0').chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

struct Reader<S> {
    window: Window<S>,
    len: u64,
}

impl<S: Source> Reader<S> {
    fn head(&mut self, at: u64) -> Result<Head, FrontError> {
        Head::parse(self.window.at(at, 12)?).map_err(|error| match error {
            HeadError::Short => FrontError::Cut(at),
            HeadError::Invalid => FrontError::Invalid(at),
        })
    }

    fn body(&mut self, at: u64, head: Head) -> Result<Vec<u8>, FrontError> {
        let size = head.size.filter(|size| *size <= MAX_BODY).ok_or(FrontError::Invalid(at))?;
        let mut body = Vec::new();
        let mut from = at + head.len;
        if size > self.len.saturating_sub(from) {
            return Err(FrontError::Cut(at));
        }
        while (body.len() as u64) < size {
            let bytes = self.window.at(from, 1)?;
            if bytes.is_empty() {
                return Err(FrontError::Cut(at));
            }
            let take = bytes.len().min(size as usize - body.len());
            body.extend_from_slice(&bytes[..take]);
            from += take as u64;
        }
        Ok(body)
    }
}

const MAX_BODY: u64 = 16 * 1024 * 1024;
const MAX_ELEMENTS: usize = 1000;
const MAX_TRACKS: usize = 64;
const MAX_CUES: usize = 500_000;
const MAX_PRIVATE: usize = 64 * 1024;
const MAX_TEXT: usize = 100;
