//! A header that a power cut took before it was made durable: sectors of it are zeros. All but the shape of the tracks is the
//! same in every file, and that shows in the blocks.

use std::io;

use super::{FileSource, begins_like_ours};
use crate::recording::storage::{StorageFile, read_full_at, write_all_at};
use crate::rtp::{av1, vp9};
use crate::webm::layout::*;
use crate::webm::scan::{Item, OnDamage, Walker};
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

/// True when the header never came to be, so that nothing can follow it.
pub(super) fn is_unborn(front: &[u8], len: u64) -> bool {
    len <= FIRST_CLUSTER_AT && (begins_like_ours(front) || (is_zero(head(front)) && may_be_tracks(tracks(front))))
}

/// Puts lost sectors of a header back, in the file and in `front`. True when there were some.
///
/// # Errors
/// The disk's.
pub(super) fn mend(file: &dyn StorageFile, front: &mut [u8], len: u64) -> io::Result<bool> {
    if front.len() < FIRST_CLUSTER_AT as usize {
        return Ok(false);
    }
    let (has_head, has_tracks) = (!is_zero(head(front)), !is_zero(tracks(front)));
    if (has_head && (has_tracks || !begins_like_ours(front))) || !may_be_tracks(tracks(front)) {
        return Ok(false);
    }
    let header = if has_tracks { Header { video: None, audio: None, ..empty() } } else { seen(file, len)? };
    let model = header.encode([rand::random(), rand::random()]).bytes;
    for (from, is_there) in [(0, has_head), (TRACKS_AT, has_tracks)] {
        let sector = from as usize..(from + SECTOR) as usize;
        if !is_there {
            write_all_at(file, from, &model[sector.clone()])?;
            front[sector.clone()].copy_from_slice(&model[sector]);
        }
    }
    Ok(true)
}

/// What the blocks say of their tracks.
fn seen(file: &dyn StorageFile, len: u64) -> io::Result<Header> {
    let mut header = empty();
    let mut walker = Walker::new(FileSource(file), FIRST_CLUSTER_AT, len, OnDamage::Skip);
    while let Some(item) = walker.next_item()? {
        let Item::Block(block) = item else { continue };
        if block.track == u64::from(AUDIO_TRACK) {
            header.audio.get_or_insert(AudioTrack { channels: 2 });
        } else if block.track == u64::from(VIDEO_TRACK) && block.keyframe && header.video.is_none() {
            let mut data = [0; 512];
            let read = read_full_at(file, block.data_at, &mut data)?.min(block.data_len as usize);
            header.video = codec_of(&data[..read]).map(|codec| VideoTrack { codec, size: None });
        }
        if header.audio.is_some() && header.video.is_some() {
            break;
        }
    }
    Ok(header)
}

/// The keyframe may be torn too; then the next one tells.
fn codec_of(keyframe: &[u8]) -> Option<VideoCodec> {
    if keyframe.get(3..6) == Some(&[0x9D, 0x01, 0x2A]) {
        Some(VideoCodec::Vp8)
    } else if av1::sequence_in(keyframe).is_some() {
        Some(VideoCodec::Av1)
    } else {
        vp9::keyframe_size(keyframe).map(|_| VideoCodec::Vp9)
    }
}

fn empty() -> Header {
    Header { video: None, audio: None, date_ms: 0, name: String::new() }
}

fn head(front: &[u8]) -> &[u8] {
    &front[..front.len().min(TRACKS_AT as usize)]
}

fn tracks(front: &[u8]) -> &[u8] {
    front.get(TRACKS_AT as usize..).map_or(&[], |rest| &rest[..rest.len().min(SECTOR as usize)])
}

fn may_be_tracks(sector: &[u8]) -> bool {
    is_zero(sector) || sector.starts_with(&TRACKS.to_be_bytes())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
