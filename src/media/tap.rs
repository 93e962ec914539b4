//! The tap: how a recorder hears a track. A bounded queue that the media thread never waits on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

use bytes::Bytes;
use reelay_signaling::Kind;

use super::Codec;

/// Which tap an item came through; chosen by the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapKey(pub u64);

/// Where in a track a tap begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapFrom {
    /// With what arrives after the tap.
    Now,
    /// With the track's first packet, if that came less than a second ago and nothing was missed since.
    FirstPacket,
}

/// What a tap delivers, in the order of arrival.
#[derive(Debug, Clone)]
pub enum TapItem {
    /// A media packet of the layer that this tap gets (RTX already unwrapped, duplicates possible).
    Packet(TapPacket),
    /// A sender report of one of the SSRCs.
    Report(SenderReport),
    /// The queue was full and `packets` were dropped here: ask for a keyframe and count them.
    Overflow {
        /// How many packets were dropped.
        packets: u64,
    },
    /// The track of this kind has ended (BYE, unpublished, peer closed). A later packet begins it anew.
    Ended(Kind),
}

/// One RTP packet as the recorder needs it.
#[derive(Debug, Clone)]
pub struct TapPacket {
    /// Audio or video.
    pub kind: Kind,
    /// What the payload is.
    pub codec: Codec,
    /// The SSRC it came with; a change is a new source or another layer.
    pub ssrc: u32,
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp, in ticks of the codec's clock.
    pub rtp_time: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// When the datagram was read.
    pub arrival: Instant,
    /// ssrc-audio-level (RFC 6464): 0 loudest to 127 silent, in −dBov; `None` when not negotiated.
    pub audio_level: Option<u8>,
    /// The payload after the RTP header, without padding; its neighbours in memory are of the same track.
    pub payload: Bytes,
}

/// What a recorder needs of an RTCP sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy)]
pub struct SenderReport {
    /// Audio or video.
    pub kind: Kind,
    /// Whose report.
    pub ssrc: u32,
    /// NTP time in 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// The same instant in RTP ticks.
    pub rtp_time: u32,
    /// When it arrived.
    pub arrival: Instant,
}

/// What the recorder's queue carries.
pub type TapMessage = (TapKey, TapItem);

/// The media thread's end of a tap. Cloned for each track of a file; all clones share one budget.
#[derive(Debug, Clone)]
pub struct Tap {
    key: TapKey,
    budget: Arc<TapBudget>,
    queue: Sender<TapMessage>,
}

/// How much of a tap's queue is in use; shared by both ends.
#[derive(Debug, Default)]
pub struct TapBudget {
    bytes: AtomicUsize,
    dropped: AtomicU64,
    overflowing: AtomicBool,
}

impl TapBudget {
    /// To be called by the recorder for each item that it has taken, with [`TapItem::cost`].
    pub fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl TapItem {
    /// What the item counts against [`TAP_LIMIT_BYTES`].
    pub fn cost(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.payload.len() + ITEM_OVERHEAD,
            _ => ITEM_OVERHEAD,
        }
    }
}

impl Tap {
    /// A tap that puts its items, marked with `key`, into the recorder's `queue`.
    pub fn new(key: TapKey, queue: Sender<TapMessage>) -> (Self, Arc<TapBudget>) {
        let budget = Arc::new(TapBudget::default());
        (Self { key, budget: budget.clone(), queue }, budget)
    }

    /// Hands an item over, or drops it when the queue holds [`TAP_LIMIT_BYTES`]. Never waits.
    /// Returns false when the recorder is gone and the tap should be removed.
    pub fn send(&self, item: TapItem) -> bool {
        let cost = item.cost();
        // Once full, the queue has to drain to half before anything goes in again: one hole, not many.
        let limit = if self.budget.overflowing.load(Ordering::Relaxed) { TAP_LIMIT_BYTES / 2 } else { TAP_LIMIT_BYTES };
        let is_packet = matches!(item, TapItem::Packet(_));
        if is_packet && self.budget.queued() + cost > limit {
            self.budget.overflowing.store(true, Ordering::Relaxed);
            self.budget.dropped.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let dropped = self.budget.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.budget.overflowing.store(false, Ordering::Relaxed);
            self.push(TapItem::Overflow { packets: dropped });
        }
        self.push(item)
    }

    fn push(&self, item: TapItem) -> bool {
        self.budget.bytes.fetch_add(item.cost(), Ordering::Relaxed);
        self.queue.send((self.key, item)).is_ok()
    }
}

/// How much one tap may have waiting (DECISIONS: 8 MiB per file).
pub const TAP_LIMIT_BYTES: usize = 8 * 1024 * 1024;
const ITEM_OVERHEAD: usize = 128;
