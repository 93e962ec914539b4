//! Encodes elements into memory. `webm-iterable` writes the header; blocks, one per packet, are written by hand, and a test
//! holds both to the same bytes. Sizes that are patched later are 8 bytes wide and never left to the crate.

use webm_iterable::WebmWriter;
use webm_iterable::errors::TagWriterError;
use webm_iterable::matroska_spec::{Master, MatroskaSpec};

use super::VideoCodec;
use super::codec::OPUS_ID;
use super::layout::*;

/// What a file says about itself before its first block.
#[derive(Debug, Clone)]
pub struct Header {
    /// The video track, if one may come.
    pub video: Option<VideoTrack>,
    /// The audio track, if one may come.
    pub audio: Option<AudioTrack>,
    /// When the first block was sent, in milliseconds since 1970.
    pub date_ms: i64,
    /// Name of the tracks: what a player shows, such as the label of the source.
    pub name: String,
}

/// The declared video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoTrack {
    /// Its codec.
    pub codec: VideoCodec,
    /// Width and height, where known; patched at the first keyframe.
    pub size: Option<(u16, u16)>,
}

/// The declared audio; always Opus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioTrack {
    /// 1 or 2.
    pub channels: u8,
}

/// The bytes of a file before its first cluster, and where its patches go.
#[derive(Debug, Clone)]
pub struct Front {
    /// `FIRST_CLUSTER_AT` bytes.
    pub bytes: Vec<u8>,
    /// Offsets of the TrackEntry of video and of audio.
    pub entries: Entries,
}

/// Offsets of the TrackEntries; `None` = not declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entries {
    /// Of video.
    pub video: Option<u64>,
    /// Of audio.
    pub audio: Option<u64>,
    /// Of DefaultDuration of video, or of the Void in its place; `None` too in files of a version that had no room for it.
    pub frame_duration: Option<u64>,
}

impl Header {
    /// Encodes everything before the first cluster. `uids` are the TrackUIDs; 0 is not allowed by the format and becomes 1.
    pub fn encode(&self, uids: [u64; 2]) -> Front {
        let mut front =
            self.try_encode(uids).expect("the crate fails on a wrong path or a failing sink only; a Vec never fails");
        pad_with_void(&mut front.bytes, INDEX_AT as usize);
        front.bytes.extend_from_slice(&void_head(INDEX_LEN));
        front.bytes.resize(FIRST_CLUSTER_AT as usize, 0);
        front
    }

    fn try_encode(&self, uids: [u64; 2]) -> Result<Front, TagWriterError> {
        use MatroskaSpec as M;
        let mut writer = WebmWriter::new(Vec::with_capacity(FIRST_CLUSTER_AT as usize));
        writer.write(&M::Ebml(Master::Full(vec![
            M::EbmlVersion(1),
            M::EbmlReadVersion(1),
            M::EbmlMaxIdLength(4),
            M::EbmlMaxSizeLength(8),
            M::DocType("webm".into()),
            M::DocTypeVersion(4),
            M::DocTypeReadVersion(2),
        ])))?;
        // An unknown-size master is 8 bytes of ones: the size slot of section 2.
        writer.write_advanced(&M::Segment(Master::Start), unknown_size())?;
        writer.write(&M::SeekHead(Master::Start))?;
        writer.write_raw(SEEK.into(), &seek_body(INFO, INFO_AT))?;
        writer.write_raw(SEEK.into(), &seek_body(TRACKS, TRACKS_AT))?;
        writer.write_raw(VOID.into(), &[0; SEEK_LEN - 2])?;
        writer.write(&M::SeekHead(Master::End))?;
        writer.write_raw(INFO.into(), &info(self.date_ms)?)?;

        let mut entries = Entries::default();
        let mut bytes = writer.into_inner()?;
        let mut body = Vec::new();
        let at = |body: &Vec<u8>| TRACKS_AT + TRACKS_HEAD_LEN + body.len() as u64;
        let name = track_name(&self.name);
        if let Some(video) = &self.video {
            entries.video = Some(at(&body));
            entries.frame_duration = entries.video.map(|entry| entry + frame_duration_in_entry(video.codec));
            push_master(&mut body, TRACK_ENTRY, &video_entry(video, uids[0].max(1), name)?);
        }
        if let Some(audio) = &self.audio {
            entries.audio = Some(at(&body));
            push_master(&mut body, TRACK_ENTRY, &audio_entry(audio, uids[1].max(1), name)?);
        }
        push_master(&mut bytes, TRACKS, &body);
        Ok(Front { bytes, entries })
    }
}

/// The children of Info, with a Void up to Tracks. It is inside because Chromium's stream parser wants Tracks right behind.
fn info(date_ms: i64) -> Result<Vec<u8>, TagWriterError> {
    let mut writer = WebmWriter::new(Vec::new());
    writer.write_raw(TIMESTAMP_SCALE.into(), &1_000_000_u32.to_be_bytes())?;
    writer.write_raw(VOID.into(), &[0; DURATION_LEN - 2])?;
    writer.write_raw(DATE_UTC.into(), &matroska_date(date_ms).to_be_bytes())?;
    writer.write_raw(MUXING_APP.into(), b"Reelay")?;
    writer.write_raw(WRITING_APP.into(), concat!("Reelay ", env!("CARGO_PKG_VERSION")).as_bytes())?;
    let mut body = writer.into_inner()?;
    pad_with_void(&mut body, (TRACKS_AT - INFO_AT - INFO_HEAD_LEN) as usize);
    Ok(body)
}

/// The children of the video's TrackEntry, in an order that keeps what is patched at constant offsets.
fn video_entry(video: &VideoTrack, uid: u64, name: &str) -> Result<Vec<u8>, TagWriterError> {
    let mut writer = WebmWriter::new(Vec::new());
    let (width, height) = video.size.unwrap_or(SIZE_UNTIL_KNOWN);
    writer.write_raw(TRACK_NUMBER.into(), &[VIDEO_TRACK])?;
    writer.write_raw(TRACK_TYPE.into(), &[1])?;
    writer.write_raw(VIDEO.into(), &picture_size(width, height))?;
    writer.write_raw(TRACK_UID.into(), &uid.to_be_bytes())?;
    writer.write_raw(FLAG_LACING.into(), &[0])?;
    writer.write_raw(LANGUAGE.into(), b"und")?;
    writer.write_raw(CODEC_ID.into(), video.codec.id().as_bytes())?;
    if video.codec == VideoCodec::Av1 {
        writer.write_raw(VOID.into(), &[0; PRIVATE_LEN - 2])?;
    }
    writer.write_raw(VOID.into(), &[0; FRAME_DURATION_LEN - 2])?;
    if !name.is_empty() {
        writer.write_raw(NAME.into(), name.as_bytes())?;
    }
    writer.into_inner()
}

fn audio_entry(audio: &AudioTrack, uid: u64, name: &str) -> Result<Vec<u8>, TagWriterError> {
    let mut writer = WebmWriter::new(Vec::new());
    let channels = audio.channels.clamp(1, 2);
    writer.write_raw(TRACK_NUMBER.into(), &[AUDIO_TRACK])?;
    writer.write_raw(TRACK_TYPE.into(), &[2])?;
    writer.write_raw(TRACK_UID.into(), &uid.to_be_bytes())?;
    writer.write_raw(FLAG_LACING.into(), &[0])?;
    writer.write_raw(LANGUAGE.into(), b"und")?;
    writer.write_raw(CODEC_ID.into(), OPUS_ID.as_bytes())?;
    // A live stream has no encoder priming to cut off: any other CodecDelay would shift it against the video.
    writer.write_raw(CODEC_DELAY.into(), &[0])?;
    writer.write_raw(SEEK_PRE_ROLL.into(), &80_000_000_u32.to_be_bytes())?;
    writer.write_raw(CODEC_PRIVATE.into(), &opus_head(channels))?;
    let mut settings = vec![0xB5, 0x88];
    settings.extend_from_slice(&48_000_f64.to_be_bytes());
    settings.extend_from_slice(&[CHANNELS as u8, 0x81, channels]);
    writer.write_raw(AUDIO.into(), &settings)?;
    if !name.is_empty() {
        writer.write_raw(NAME.into(), name.as_bytes())?;
    }
    writer.into_inner()
}

/// PixelWidth and PixelHeight as 8 bytes that can be patched in one write.
pub fn picture_size(width: u16, height: u16) -> [u8; 8] {
    let ([w0, w1], [h0, h1]) = (width.to_be_bytes(), height.to_be_bytes());
    [PIXEL_WIDTH as u8, 0x82, w0, w1, PIXEL_HEIGHT as u8, 0x82, h0, h1]
}

/// Offset of DefaultDuration, or of the Void in its place, from the TrackEntry of video.
pub fn frame_duration_in_entry(codec: VideoCodec) -> u64 {
    PRIVATE_IN_ENTRY + if codec == VideoCodec::Av1 { PRIVATE_LEN as u64 } else { 0 }
}

/// DefaultDuration of this many frames a second, 8 bytes.
pub fn frame_duration(frames_per_second: u16) -> [u8; FRAME_DURATION_LEN] {
    let rate = u32::from(frames_per_second.max(1));
    let [a, b, c, d] = ((1_000_000_000 + rate / 2) / rate).to_be_bytes();
    [0x23, 0xE3, 0x83, 0x84, a, b, c, d]
}

/// CodecPrivate with the Void that fills the rest of its room, or `None` if `data` is too long for it.
pub fn codec_private(data: &[u8]) -> Option<[u8; PRIVATE_LEN]> {
    let mut image = [0; PRIVATE_LEN];
    let rest = PRIVATE_LEN.checked_sub(3 + data.len()).filter(|rest| *rest >= 2)?;
    let [.., id0, id1] = CODEC_PRIVATE.to_be_bytes();
    image[..3].copy_from_slice(&[id0, id1, 0x80 | data.len() as u8]);
    image[3..3 + data.len()].copy_from_slice(data);
    image[3 + data.len()..][..2].copy_from_slice(&[VOID as u8, 0x80 | (rest - 2) as u8]);
    Some(image)
}

/// The SeekHead entry of an element, 21 bytes.
pub fn seek_entry(id: u32, at: u64) -> [u8; SEEK_LEN] {
    let mut entry = [0; SEEK_LEN];
    entry[..3].copy_from_slice(&[0x4D, 0xBB, 0x80 | (SEEK_LEN - 3) as u8]);
    entry[3..].copy_from_slice(&seek_body(id, at));
    entry
}

fn seek_body(id: u32, at: u64) -> [u8; SEEK_LEN - 3] {
    let mut body = [0; SEEK_LEN - 3];
    body[..3].copy_from_slice(&[0x53, 0xAB, 0x84]);
    body[3..7].copy_from_slice(&id.to_be_bytes());
    body[7..10].copy_from_slice(&[0x53, 0xAC, 0x88]);
    body[10..].copy_from_slice(&(at - SEGMENT_DATA_AT).to_be_bytes());
    body
}

/// The Duration element in milliseconds, 11 bytes.
pub fn duration(duration_us: u64) -> [u8; DURATION_LEN] {
    let mut image = [0; DURATION_LEN];
    image[..3].copy_from_slice(&[0x44, 0x89, 0x88]);
    image[3..].copy_from_slice(&(duration_us as f64 / 1000.0).to_be_bytes());
    image
}

/// A size as 8 bytes, as the slots of Segment and Cluster want it.
pub fn size_8(size: u64) -> [u8; 8] {
    debug_assert!(size < (1 << 56) - 1, "an all-ones size means unknown");
    (size | 1 << 56).to_be_bytes()
}

/// The first 9 bytes of a Void that takes `total` bytes (9 or more).
pub fn void_head(total: usize) -> [u8; 9] {
    let mut head = [VOID as u8; 9];
    head[1..].copy_from_slice(&size_8(total as u64 - 9));
    head
}

/// Appends a Void of exactly `total` bytes; 1 is not possible, and 0 is nothing.
pub fn push_void(out: &mut Vec<u8>, total: usize) {
    debug_assert!(total != 1, "a Void takes two bytes or more");
    let end = out.len() + total;
    match total {
        0 | 1 => return,
        2..=128 => out.extend_from_slice(&[VOID as u8, 0x80 | (total - 2) as u8]),
        _ => out.extend_from_slice(&void_head(total)),
    }
    out.resize(end, 0);
}

/// Appends the head of a cluster whose size is not known yet, with its Timestamp.
pub fn push_cluster_start(out: &mut Vec<u8>, time_ms: u64) {
    out.extend_from_slice(&CLUSTER.to_be_bytes());
    out.extend_from_slice(&UNKNOWN_SIZE);
    push_uint(out, TIMESTAMP as u8, time_ms);
}

/// What a block says besides its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// TrackNumber.
    pub track: u8,
    /// Milliseconds after the cluster's Timestamp.
    pub relative_ms: i16,
    /// True for each audio block too.
    pub keyframe: bool,
}

/// Appends a SimpleBlock.
pub fn push_simple_block(out: &mut Vec<u8>, head: BlockHead, data: &[u8]) {
    out.reserve(data.len() + 16);
    out.push(SIMPLE_BLOCK as u8);
    push_size(out, data.len() as u64 + 4);
    push_block_body(out, head, if head.keyframe { 0x80 } else { 0 }, data);
}

/// Appends a fill keyframe: a BlockGroup with [`FILL_DURATION_MS`], so that players show it until the next one.
pub fn push_fill_block(out: &mut Vec<u8>, head: BlockHead, data: &[u8]) {
    let block_len = data.len() as u64 + 4;
    let mut inner = Vec::with_capacity(16);
    push_size(&mut inner, block_len);
    let mut length = Vec::with_capacity(4);
    push_uint(&mut length, BLOCK_DURATION as u8, FILL_DURATION_MS);
    out.reserve(data.len() + 32);
    out.push(BLOCK_GROUP as u8);
    push_size(out, 1 + inner.len() as u64 + block_len + length.len() as u64);
    out.push(BLOCK as u8);
    out.extend_from_slice(&inner);
    push_block_body(out, head, 0, data);
    out.extend_from_slice(&length);
}

fn push_block_body(out: &mut Vec<u8>, head: BlockHead, flags: u8, data: &[u8]) {
    out.push(0x80 | head.track);
    out.extend_from_slice(&head.relative_ms.to_be_bytes());
    out.push(flags);
    out.extend_from_slice(data);
}

/// Appends a size in as few bytes as hold it; a size of all ones would mean "unknown" and takes one more.
fn push_size(out: &mut Vec<u8>, size: u64) {
    for len in 1..=8_u32 {
        if size < (1 << (7 * len)) - 1 {
            let bytes = (size | 1 << (7 * len)).to_be_bytes();
            out.extend_from_slice(&bytes[8 - len as usize..]);
            return;
        }
    }
}

/// Appends an unsigned integer in 1, 2, 4 or 8 bytes, as `webm-iterable` does.
fn push_uint(out: &mut Vec<u8>, id: u8, value: u64) {
    let len = match value {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    };
    out.extend_from_slice(&[id, 0x80 | len as u8]);
    out.extend_from_slice(&value.to_be_bytes()[8 - len..]);
}

fn push_master(out: &mut Vec<u8>, id: u32, body: &[u8]) {
    out.extend(id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
    out.extend_from_slice(&size_8(body.len() as u64));
    out.extend_from_slice(body);
}

fn pad_with_void(out: &mut Vec<u8>, until: usize) {
    let gap = until.checked_sub(out.len()).expect("names are cut so that the header fits");
    push_void(out, gap);
}

pub(super) fn unknown_size() -> webm_iterable::WriteOptions {
    webm_iterable::WriteOptions::is_unknown_sized_element()
}

/// OpusHead (RFC 7845 §5.1): version 1, no pre-skip, 48 kHz, no gain, mapping family 0.
fn opus_head(channels: u8) -> [u8; 19] {
    let mut head = *b"OpusHead\x01\x02\0\0\x80\xBB\0\0\0\0\0";
    head[9] = channels;
    head
}

/// Nanoseconds since 2001-01-01, as DateUTC counts.
fn matroska_date(unix_ms: i64) -> i64 {
    unix_ms.saturating_sub(UNIX_MS_OF_2001).saturating_mul(1_000_000)
}

/// The DateUTC of a header of ours, in milliseconds since 1970.
pub fn date_in(front: &[u8]) -> Option<i64> {
    let at = DURATION_AT as usize + DURATION_LEN;
    let [id0, id1, 0x88, date @ ..] = front.get(at..at + 11)? else { return None };
    let nanoseconds = i64::from_be_bytes(date.try_into().ok()?);
    (u32::from_be_bytes([0, 0, *id0, *id1]) == DATE_UTC).then_some(nanoseconds / 1_000_000 + UNIX_MS_OF_2001)
}

const UNIX_MS_OF_2001: i64 = 978_307_200_000;

/// At most [`NAME_LIMIT`] bytes, without control characters at all: names come from users.
fn track_name(name: &str) -> &str {
    let end = name.find(char::is_control).unwrap_or(name.len()).min(NAME_LIMIT);
    &name[..(0..=end).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0)]
}

const MUXING_APP: u32 = 0x4D80;
const WRITING_APP: u32 = 0x5741;
const LANGUAGE: u32 = 0x22_B59C;
const NAME: u32 = 0x536E;
const NAME_LIMIT: usize = 200;
/// What Tracks says before the first keyframe; a size of 0 would be invalid.
const SIZE_UNTIL_KNOWN: (u16, u16) = (640, 360);
