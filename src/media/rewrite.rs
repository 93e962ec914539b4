//! One viewer's view of one slot: its own SSRC, and sequence numbers, timestamps and picture numbers that go on
//! without a gap whatever track, layer or pause lies behind them. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::descriptor::Descriptor;

/// Where packets come from; numbers of different sources have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceKey {
    /// Index of the track.
    pub track: usize,
    /// Which layer of it.
    pub layer: u8,
    /// Counts the SSRCs that the layer has had.
    pub life: u32,
}

/// What of a packet the rewriting needs.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    /// Unwrapped sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// When it arrived.
    pub arrival: Instant,
    /// Its picture numbers.
    pub descriptor: Descriptor,
}

/// The numbers that a viewer gets for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Unwrapped sequence number; the low 16 bits go on the wire.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// To add to the picture id.
    pub picture_offset: u16,
    /// To add to TL0PICIDX.
    pub tl0_offset: u8,
}

/// Rewrites the packets of a slot, and finds the way back for what the viewer has lost.
#[derive(Debug)]
pub struct Rewriter {
    clock_hz: u32,
    first_seq: u64,
    segments: VecDeque<Segment>,
    last: Option<Last>,
}

/// A stretch of packets with the same offsets.
#[derive(Debug, Clone, Copy)]
struct Segment {
    source: SourceKey,
    first_in: u64,
    first_out: u64,
    time_offset: u32,
    picture_offset: u16,
    tl0_offset: u8,
}

/// The newest packet that went out.
#[derive(Debug, Clone, Copy)]
struct Last {
    seq: u64,
    rtp_time: u32,
    arrival: Instant,
    picture: u16,
    tl0: u8,
}

impl Rewriter {
    /// Begins with sequence number `first_seq` and the publisher's own timestamps.
    pub fn new(clock_hz: u32, first_seq: u16) -> Self {
        // Below 2¹⁵ the rollover counter of SRTP cannot be guessed wrong by either side at the start.
        let first_seq = EPOCH + u64::from(first_seq & 0x3fff);
        Self { clock_hz, first_seq, segments: VecDeque::new(), last: None }
    }

    /// What is being sent, and from which number of it on.
    pub fn source(&self) -> Option<(SourceKey, u64)> {
        self.segments.back().map(|segment| (segment.source, segment.first_in))
    }

    /// Goes on with `packet` of `source`. `elapsed` is the media time since the newest packet that went out,
    /// if it is known better than by the arrival.
    pub fn begin(&mut self, source: SourceKey, packet: &Incoming, elapsed: Option<u32>) {
        let mut next = Segment {
            source,
            first_in: packet.seq,
            first_out: self.first_seq,
            time_offset: 0,
            picture_offset: 0,
            tl0_offset: 0,
        };
        if let Some(last) = self.last {
            next.first_out = last.seq + 1;
            let before = self.segments.back().filter(|segment| segment.source == source);
            next.time_offset = before.map_or_else(
                || {
                    let elapsed = elapsed.unwrap_or_else(|| ticks(packet.arrival, last.arrival, self.clock_hz));
                    last.rtp_time.wrapping_add(elapsed.max(1)).wrapping_sub(packet.rtp_time)
                },
                |segment| segment.time_offset,
            );
            if let Some(id) = packet.descriptor.picture_id {
                next.picture_offset = last.picture.wrapping_add(1).wrapping_sub(id.value);
            }
            if let Some(tl0) = packet.descriptor.tl0 {
                next.tl0_offset = last.tl0.wrapping_add(1).wrapping_sub(tl0.value);
            }
        }
        if self.segments.len() == MAX_SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(next);
    }

    /// The numbers for a packet of the source that is being sent; `None` for those before its beginning.
    pub fn next(&mut self, packet: &Incoming) -> Option<Outgoing> {
        let out = self.segments.back()?.map(packet)?;
        if self.last.is_none_or(|last| out.seq > last.seq) {
            let before = self.last.map_or((0, 0), |last| (last.picture, last.tl0));
            let picture = packet.descriptor.picture_id.map(|id| id.value.wrapping_add(out.picture_offset));
            let tl0 = packet.descriptor.tl0.map(|tl0| tl0.value.wrapping_add(out.tl0_offset));
            self.last = Some(Last {
                seq: out.seq,
                rtp_time: out.rtp_time,
                arrival: packet.arrival,
                picture: picture.unwrap_or(before.0),
                tl0: tl0.unwrap_or(before.1),
            });
        }
        Some(out)
    }

    /// Which packet of which source a viewer means by `seq`.
    pub fn find(&self, seq: u16) -> Option<(SourceKey, u64)> {
        let last = self.last?.seq;
        let back = (last as u16).wrapping_sub(seq);
        let out = last.checked_sub(u64::from(back))?;
        let segment = self.segments.iter().rev().find(|segment| segment.first_out <= out)?;
        Some((segment.source, segment.first_in + (out - segment.first_out)))
    }

    /// The numbers under which `packet` of `source` went out, or would have.
    pub fn again(&self, source: SourceKey, packet: &Incoming) -> Option<Outgoing> {
        let is_its = |segment: &&Segment| segment.source == source && segment.first_in <= packet.seq;
        self.segments.iter().rev().find(is_its)?.map(packet)
    }

    /// The newest timestamp that went out, and the arrival of its packet.
    pub fn newest(&self) -> Option<(u32, Instant)> {
        self.last.map(|last| (last.rtp_time, last.arrival))
    }

    /// A timestamp of the source that is being sent, as the viewer sees it.
    pub fn map_time(&self, rtp_time: u32) -> Option<u32> {
        Some(rtp_time.wrapping_add(self.segments.back()?.time_offset))
    }

    /// The reverse of [`Rewriter::map_time`].
    pub fn unmap_time(&self, rtp_time: u32) -> Option<u32> {
        Some(rtp_time.wrapping_sub(self.segments.back()?.time_offset))
    }
}

impl Segment {
    fn map(&self, packet: &Incoming) -> Option<Outgoing> {
        Some(Outgoing {
            seq: self.first_out + packet.seq.checked_sub(self.first_in)?,
            rtp_time: packet.rtp_time.wrapping_add(self.time_offset),
            picture_offset: self.picture_offset,
            tl0_offset: self.tl0_offset,
        })
    }
}

/// Extends 16-bit sequence numbers to 64 bits (RFC 3550 §A.1).
/// A jump of 2¹⁵ or more is read as a step back, so late packets sort before their successors.
#[derive(Debug, Default)]
pub struct SeqUnwrapper {
    newest: Option<u64>,
}

impl SeqUnwrapper {
    /// The extended number.
    pub fn unwrap(&mut self, seq: u16) -> u64 {
        let Some(newest) = self.newest else {
            let first = EPOCH + u64::from(seq);
            self.newest = Some(first);
            return first;
        };
        let ahead = seq.wrapping_sub(newest as u16) as i16;
        let extended = newest.wrapping_add_signed(i64::from(ahead));
        self.newest = Some(newest.max(extended));
        extended
    }

    /// The newest number so far.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }
}

/// `later − earlier` in ticks of a clock.
pub fn ticks(later: Instant, earlier: Instant, clock_hz: u32) -> u32 {
    let elapsed: Duration = later.saturating_duration_since(earlier);
    (elapsed.as_micros() * u128::from(clock_hz) / 1_000_000) as u32
}

// Far enough from zero that numbers before the first one stay positive; its low 16 bits are zero.
const EPOCH: u64 = 1 << 32;
// A viewer asks for what it has lost within a second, and a slot is not switched more often than that.
const MAX_SEGMENTS: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::media::descriptor::{PictureId, Tl0};

    const SOURCE: SourceKey = SourceKey { track: 0, layer: 0, life: 0 };

    fn packet(seq: u64, rtp_time: u32, arrival: Instant) -> Incoming {
        Incoming { seq, rtp_time, arrival, descriptor: Descriptor::default() }
    }

    #[test]
    fn sequence_numbers_wrap_without_a_step() {
        let mut unwrapper = SeqUnwrapper::default();
        let first = unwrapper.unwrap(65_534);
        assert_eq!(unwrapper.unwrap(65_535), first + 1);
        assert_eq!(unwrapper.unwrap(1), first + 3);
        assert_eq!(unwrapper.unwrap(0), first + 2);
        assert_eq!(unwrapper.unwrap(65_533), first - 1);
    }

    #[test]
    fn a_pause_leaves_no_gap_in_numbers_and_keeps_the_clock() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 7);
        rewriter.begin(SOURCE, &packet(100, 1000, now), None);
        let first = rewriter.next(&packet(100, 1000, now)).unwrap();
        assert_eq!((first.seq as u16, first.rtp_time), (7, 1000));
        rewriter.begin(SOURCE, &packet(500, 91_000, now), None);
        let next = rewriter.next(&packet(500, 91_000, now)).unwrap();
        assert_eq!((next.seq as u16, next.rtp_time), (8, 91_000));
        assert_eq!(rewriter.next(&packet(499, 91_000, now)), None);
        assert_eq!(rewriter.find(7), Some((SOURCE, 100)));
        assert_eq!(rewriter.find(8), Some((SOURCE, 500)));
        assert_eq!(rewriter.find(6), None);
    }

    #[test]
    fn another_source_goes_on_in_time_and_pictures() {
        let now = Instant::now();
        let numbered = |seq, rtp_time, at, picture, tl0| {
            let picture_id = Some(PictureId { at: 2, is_long: true, value: picture });
            let descriptor = Descriptor { starts_keyframe: true, picture_id, tl0: Some(Tl0 { at: 4, value: tl0 }) };
            Incoming { seq, rtp_time, arrival: at, descriptor }
        };
        let other = SourceKey { layer: 1, ..SOURCE };
        let mut rewriter = Rewriter::new(90_000, 0);
        let old = numbered(10, u32::MAX - 10, now, 32_767, 255);
        rewriter.begin(SOURCE, &old, None);
        rewriter.next(&old);
        let new = numbered(9000, 5, now + Duration::from_millis(100), 100, 50);
        rewriter.begin(other, &new, None);
        let out = rewriter.next(&new).unwrap();
        assert_eq!(out.rtp_time, (u32::MAX - 10).wrapping_add(9000));
        assert_eq!(100u16.wrapping_add(out.picture_offset) & 0x7fff, 0);
        assert_eq!(50u8.wrapping_add(out.tl0_offset), 0);
        assert_eq!(rewriter.again(SOURCE, &old).unwrap().picture_offset, 0);
        assert_eq!(rewriter.map_time(5), Some(out.rtp_time));
        assert_eq!(rewriter.unmap_time(out.rtp_time), Some(5));
    }

    proptest! {
        #[test]
        fn no_number_is_used_twice_and_none_is_skipped(
            runs in proptest::collection::vec((0usize..3, 1u64..50, any::<u32>()), 1..40),
            first in any::<u16>(),
        ) {
            let now = Instant::now();
            let mut rewriter = Rewriter::new(90_000, first);
            let mut starts = [EPOCH; 3];
            let mut used = HashSet::new();
            let mut newest_time: Option<u32> = None;
            for (at, (track, length, jump)) in runs.into_iter().enumerate() {
                let source = SourceKey { track, layer: 0, life: 0 };
                let arrival = now + Duration::from_millis(at as u64 * 40);
                starts[track] += u64::from(jump % 100);
                let start = starts[track];
                rewriter.begin(source, &packet(start, jump, arrival), None);
                for seq in start..start + length {
                    let out = rewriter.next(&packet(seq, jump, arrival)).unwrap();
                    prop_assert!(used.insert(out.seq));
                    prop_assert_eq!(rewriter.find(out.seq as u16), Some((source, seq)));
                    newest_time = Some(out.rtp_time);
                }
                prop_assert_eq!(rewriter.newest().map(|newest| newest.0), newest_time);
                starts[track] = start + length;
            }
            let (low, high) = (*used.iter().min().unwrap(), *used.iter().max().unwrap());
            prop_assert_eq!(high - low + 1, used.len() as u64);
        }
    }
}
