//! One file of a recording without a server: what a tap delivers goes in, a file comes out, in the time that the caller says.
//! This is how the recorder's own cost is measured, over days in seconds.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reelay_signaling::{ParticipantId, Source};

use super::api::Options;
use super::cuts::Cuts;
use super::feed::Feed;
use super::keeper::Job;
use super::manifest::{SegmentEntry, file_name};
use super::segment::Segment;
use super::storage::{Storage, StorageError, StorageFile};
use super::timeline::Shape;
use crate::media::TapItem;
use crate::rtp::Codec;

/// A camera with sound, VP8 and Opus, on its way into a file.
pub struct Trial {
    segment: Segment,
    storage: Arc<dyn Storage>,
}

impl Trial {
    /// The first file of a participant, in `folder`. `zero` is server time 0.
    pub fn new(storage: Arc<dyn Storage>, folder: &Path, zero: Instant) -> Self {
        let shape = Shape { audio: true, video: Some(Codec::Vp8) };
        let feed = Feed::new(shape, Options::new(folder).reorder_wait, zero, Cuts::default());
        let participant = ParticipantId::from_random(1);
        let name = file_name(&participant, Source::Camera, 1);
        let entry = SegmentEntry::open(name, participant, Source::Camera, String::new(), String::new());
        Self { segment: Segment::new(feed, entry, folder, 2), storage }
    }

    /// What came through the tap.
    pub fn take(&mut self, now: Instant, mut item: TapItem) {
        // It declares both codecs, so nothing needs a new file.
        let _ = self.segment.feed.on_item(now, &mut item);
    }

    /// Time passes: writes what is ready.
    ///
    /// # Errors
    /// The disk's.
    pub fn tick(&mut self, now: Instant) -> Result<(), StorageError> {
        if self.segment.gather(now) {
            self.segment.write(&self.storage, 0)?;
        }
        self.segment.feed.wants_keyframe(now);
        Ok(())
    }

    /// Makes what was written durable, here and now; the server does it once a second on another thread.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&mut self) -> io::Result<()> {
        if let (Some(Job::Sync { file, busy, .. }), _) = self.segment.sync_job() {
            file.sync_data()?;
            busy.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Brings numbers up to date and lets go of levels, as the server does now and then.
    pub fn refresh(&mut self) {
        self.segment.levels_job();
        self.segment.refresh();
    }

    /// Ends the file and tells what is in it.
    pub fn close(self, now: Instant) -> SegmentEntry {
        self.segment.close(now, &self.storage, 0).0
    }
}

/// A disk that takes everything and keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Storage for Nowhere {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(Self))
    }

    fn open(&self, _: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(Self))
    }

    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for Nowhere {
    fn write_at(&self, _: u64, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use reelay_signaling::Kind;

    use super::*;
    use crate::media::TapPacket;
    use crate::recording::faulty::{FaultyDisk, Op};
    use crate::webm::layout::FIRST_CLUSTER_AT;

    #[test]
    fn blocks_of_one_look_are_one_write() {
        let disk = FaultyDisk::default();
        let zero = Instant::now();
        let mut trial = Trial::new(disk.storage(), Path::new("/r"), zero);
        for n in 0..500 {
            let now = zero + Duration::from_millis(20) * n;
            let packet = TapPacket {
                kind: Kind::Audio,
                codec: Codec::Opus,
                ssrc: 1,
                seq: n as u16,
                rtp_time: n * 960,
                marker: false,
                arrival: now,
                audio_level: None,
                payload: Bytes::from_static(&[0x78, 0, 0, 0]),
            };
            trial.take(now, TapItem::Packet(packet));
            if n % 2 == 1 {
                trial.tick(now).unwrap();
            }
        }
        let is_block = |op: &&Op| matches!(op, Op::Write { path, offset, .. } if path.extension().is_some_and(|e| e == "part") && *offset >= FIRST_CLUSTER_AT);
        let writes = disk.log().iter().filter(is_block).count();
        // 250 looks, of which the last ones find nothing: it is held back for video that may come. A cluster adds one or two.
        assert!((150..=260).contains(&writes), "{writes} writes");
        let entry = trial.close(zero + Duration::from_secs(10));
        assert_eq!(entry.counters.get("audio_packets"), Some(&500), "{:?}", entry.counters);
    }
}
