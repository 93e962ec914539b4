//! Makes a file whole and seekable in place: the one code behind the close and the repair. It writes only into slots that the
//! header reserved, so it needs no free space, and each step leaves a file that plays.

use std::io;

use reelay_signaling::Kind;

use super::storage::{StorageFile, read_full_at, write_all_at};
use crate::webm::cues::Cues;
use crate::webm::elements::{self, Entries};
use crate::webm::layout::*;
use crate::webm::tally::Tally;

/// What the slots are filled with.
pub(super) struct Ending<'a> {
    /// First byte behind the last cluster.
    pub end: u64,
    pub tally: &'a Tally,
    pub cues: &'a Cues,
    pub entries: Entries,
    /// `av1C`, where it is known and may be missing in the file.
    pub codec_private: Option<&'a [u8]>,
}

impl Ending<'_> {
    /// Writes index, SeekHead entry, Duration, Tracks and the size of Segment, in this order. Returns whether anything
    /// changed. What is already right is not touched, so doing it twice gives the same bytes.
    ///
    /// # Errors
    /// The first error; the file still plays, and the same call may be made again.
    pub fn write(&self, file: &dyn StorageFile) -> io::Result<bool> {
        let index = self.cues.encode(INDEX_LEN);
        let has_index = index.first() != Some(&(VOID as u8));
        let mut seek = [0; SEEK_LEN];
        seek[..2].copy_from_slice(&[VOID as u8, 0x80 | (SEEK_LEN - 2) as u8]);
        if has_index {
            seek = elements::seek_entry(CUES, INDEX_AT);
        }
        let duration = elements::duration(self.tally.duration_us());
        let mut changed = Slot { at: INDEX_AT, void: &elements::void_head(INDEX_LEN), image: &index }.settle(file)?;
        changed |= Slot { at: SEEK_CUES_AT, void: &[VOID as u8, 0x80 | 19, 0], image: &seek }.settle(file)?;
        changed |= Slot { at: DURATION_AT, void: &[VOID as u8, 0x80 | 9, 0], image: &duration }.settle(file)?;
        changed |= self.settle_tracks(file)?;
        changed |= patch(file, SEGMENT_SIZE_AT, &elements::size_8(self.end - SEGMENT_DATA_AT))?;
        Ok(changed)
    }

    /// A declared track without a block is taken out: Chromium never ends a seek in a file that has one. Its TrackEntry
    /// becomes a Void by one byte.
    fn settle_tracks(&self, file: &dyn StorageFile) -> io::Result<bool> {
        let mut changed = false;
        for (entry, kind) in [(self.entries.video, Kind::Video), (self.entries.audio, Kind::Audio)] {
            let Some(at) = entry else { continue };
            let id = if self.tally.track(kind).blocks > 0 { TRACK_ENTRY } else { VOID };
            changed |= patch(file, at, &[id as u8])?;
        }
        if let (Some(at), Some((width, height))) = (self.entries.video, self.tally.size) {
            changed |= patch(file, at + PICTURE_SIZE_IN_ENTRY, &elements::picture_size(width, height))?;
        }
        if let (Some(at), Some(rate)) = (self.entries.frame_duration, self.tally.frame_rate()) {
            let void = [VOID as u8, 0x80 | (FRAME_DURATION_LEN - 2) as u8, 0];
            changed |= Slot { at, void: &void, image: &elements::frame_duration(rate) }.settle(file)?;
        }
        if let (Some(at), Some(image)) = (self.entries.video, self.codec_private.and_then(elements::codec_private)) {
            let void = [VOID as u8, 0x80 | (PRIVATE_LEN - 2) as u8, 0];
            changed |= Slot { at: at + PRIVATE_IN_ENTRY, void: &void, image: &image }.settle(file)?;
        }
        Ok(changed)
    }
}

/// Writes a few bytes that lie in one sector, if they are not there yet.
pub(super) fn patch(file: &dyn StorageFile, at: u64, bytes: &[u8]) -> io::Result<bool> {
    let mut now = [0; MAX_FLIP];
    let now = &mut now[..bytes.len()];
    if read_full_at(file, at, now)? == bytes.len() && now == bytes {
        return Ok(false);
    }
    write_all_at(file, at, bytes)?;
    Ok(true)
}

/// A part of the header that is a Void until the file is closed.
struct Slot<'a> {
    at: u64,
    /// The head that hides what is in the slot.
    void: &'a [u8],
    /// What shall be there; its head is as long as `void`.
    image: &'a [u8],
}

impl Slot<'_> {
    /// Hides the slot, writes the body, then shows it by its head.
    fn settle(&self, file: &dyn StorageFile) -> io::Result<bool> {
        let mut now = vec![0; self.image.len()];
        if read_full_at(file, self.at, &mut now)? == now.len() && now == self.image {
            return Ok(false);
        }
        let (head, body) = self.image.split_at(self.void.len());
        patch(file, self.at, self.void)?;
        write_all_at(file, self.at + head.len() as u64, body)?;
        patch(file, self.at, head)?;
        Ok(true)
    }
}

const MAX_FLIP: usize = 9;
