//! The last packets of one video layer, plain, so that every viewer's losses can be repaired from one place.
//! Counts in sequence numbers that never wrap; knows no viewer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::descriptor::Descriptor;

/// One packet, with room for the RTP header that each viewer gets its own version of.
#[derive(Debug)]
pub struct CachedPacket {
    /// The publisher's RTP timestamp.
    pub rtp_time: u32,
    /// The RTP marker bit.
    pub marker: bool,
    /// When it arrived.
    pub arrival: Instant,
    /// Where its picture numbers are.
    pub descriptor: Descriptor,
    /// Bytes of RTP padding at the end of `bytes`.
    pub padding: u8,
    /// [`HEADER_BYTES`] of free room, the payload, the padding.
    pub bytes: Vec<u8>,
}

/// What became of a packet that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is in.
    New,
    /// It was there before.
    Duplicate,
    /// It is older than everything that is kept.
    TooLate,
}

/// A window of packets that moves with the newest.
#[derive(Debug, Default)]
pub struct PacketCache {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Option<CachedPacket>>,
    spare: Vec<Vec<u8>>,
}

impl PacketCache {
    /// Keeps `payload` under number `seq`.
    pub fn insert(&mut self, seq: u64, payload: &[u8], packet: impl FnOnce(Vec<u8>) -> CachedPacket) -> Inserted {
        if self.entries.is_empty() || seq >= self.first + self.entries.len() as u64 + MAX_PACKETS as u64 {
            self.clear();
            self.first = seq;
        }
        let Some(at) = seq.checked_sub(self.first) else { return Inserted::TooLate };
        let at = at as usize;
        if self.entries.get(at).is_some_and(Option::is_some) {
            return Inserted::Duplicate;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(payload);
        while self.entries.len() <= at {
            self.entries.push_back(None);
        }
        self.entries[at] = Some(packet(bytes));
        while self.entries.len() > MAX_PACKETS {
            self.drop_first();
        }
        Inserted::New
    }

    /// The packet with number `seq`.
    pub fn get(&self, seq: u64) -> Option<&CachedPacket> {
        let at = seq.checked_sub(self.first)? as usize;
        self.entries.get(at)?.as_ref()
    }

    /// The packet with number `seq`, to be written for the next viewer.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut CachedPacket> {
        let at = seq.checked_sub(self.first)? as usize;
        self.entries.get_mut(at)?.as_mut()
    }

    /// The numbers that are kept, holes included.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.entries.len() as u64
    }

    /// Forgets what is older than [`MAX_AGE`].
    pub fn expire(&mut self, now: Instant) {
        while let Some(front) = self.entries.front() {
            let is_old = front.as_ref().is_none_or(|p| now.saturating_duration_since(p.arrival) > MAX_AGE);
            if !is_old || self.entries.len() == 1 {
                return;
            }
            self.drop_first();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        while !self.entries.is_empty() {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.first += 1;
        if let Some(Some(packet)) = self.entries.pop_front()
            && self.spare.len() < MAX_SPARE
        {
            self.spare.push(packet.bytes);
        }
    }
}

/// Room for an RTP header without extensions.
pub const HEADER_BYTES: usize = 12;
/// How many packets are kept at most.
pub const MAX_PACKETS: usize = 1024;
/// How long a packet is kept; a viewer has given up on it by then.
pub const MAX_AGE: Duration = Duration::from_secs(1);
const MAX_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(cache: &mut PacketCache, seq: u64, at: Instant) -> Inserted {
        let build = |bytes| CachedPacket {
            rtp_time: seq as u32,
            marker: false,
            arrival: at,
            descriptor: Descriptor::default(),
            padding: 0,
            bytes,
        };
        cache.insert(seq, &seq.to_be_bytes(), build)
    }

    #[test]
    fn duplicates_and_late_packets_are_told_apart() {
        let now = Instant::now();
        let mut cache = PacketCache::default();
        assert_eq!(put(&mut cache, 100, now), Inserted::New);
        assert_eq!(put(&mut cache, 103, now), Inserted::New);
        assert_eq!(put(&mut cache, 101, now), Inserted::New);
        assert_eq!(put(&mut cache, 101, now), Inserted::Duplicate);
        assert_eq!(put(&mut cache, 99, now), Inserted::TooLate);
        assert!(cache.get_mut(102).is_none());
        assert_eq!(cache.get_mut(103).unwrap().bytes[HEADER_BYTES..], 103u64.to_be_bytes());
    }

    #[test]
    fn packets_leave_after_a_second_or_a_thousand() {
        let now = Instant::now();
        let mut cache = PacketCache::default();
        put(&mut cache, 1, now);
        put(&mut cache, 2, now + Duration::from_millis(800));
        cache.expire(now + Duration::from_millis(1500));
        assert_eq!(cache.range(), 2..3);
        for seq in 3..5000 {
            put(&mut cache, seq, now);
        }
        assert_eq!(cache.range(), 5000 - MAX_PACKETS as u64..5000);
        put(&mut cache, 1_000_000, now);
        assert_eq!(cache.range(), 1_000_000..1_000_001);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put_in(steps in proptest::collection::vec(0u64..3000, 1..400)) {
            let now = Instant::now();
            let mut cache = PacketCache::default();
            let mut newest = 0;
            for step in steps {
                let seq = 10_000 + step;
                put(&mut cache, seq, now);
                newest = newest.max(seq);
                prop_assert!(cache.range().end - cache.range().start <= MAX_PACKETS as u64);
                for kept in cache.range() {
                    if let Some(packet) = cache.get_mut(kept) {
                        prop_assert_eq!(&packet.bytes[HEADER_BYTES..], &kept.to_be_bytes());
                    }
                }
            }
            prop_assert!(cache.get_mut(newest).is_some() || cache.range().end > newest);
        }
    }
}
