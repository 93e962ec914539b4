//! What goes into [`Order`](super::Order) and what comes out of it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::RtpTime;

/// One RTP packet of the SSRC.
#[derive(Debug, Clone)]
pub struct Packet {
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// RTP marker.
    pub marker: bool,
    /// When it was read from the socket.
    pub arrival: Instant,
    /// Sound level in −dBov, where it is known.
    pub level: Option<u8>,
    /// Without RTP header and padding; empty when it was padding only.
    pub payload: Bytes,
}

/// How long and how much is held.
#[derive(Debug, Clone, Copy)]
pub struct OrderLimits {
    /// How long a hole is waited for.
    pub wait: Duration,
    /// How long the first packet is held, so that an older one can still become the first.
    pub origin_hold: Duration,
    /// More bytes than this end the waiting.
    pub max_bytes: usize,
}

impl Default for OrderLimits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(2), origin_hold: Duration::from_millis(150), max_bytes: 4 << 20 }
    }
}

/// A whole frame: one video picture or one Opus packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its RTP time.
    pub time: RtpTime,
    /// Counts restarts of the numbers; times of different epochs have nothing to do with each other.
    pub epoch: u32,
    /// Decodable by itself; always true for audio.
    pub is_keyframe: bool,
    /// Of a keyframe.
    pub size: Option<(u16, u16)>,
    /// Samples at 48 kHz; 0 for video.
    pub samples: u32,
    /// Channels of an Opus packet; 0 for video.
    pub channels: u8,
    /// Sound level in −dBov, where it is known.
    pub level: Option<u8>,
    /// Packets that were given up right before it.
    pub lost_before: u64,
    /// CodecPrivate, where the frame carries one (AV1).
    pub codec_private: Option<Vec<u8>>,
    /// As it goes into a file.
    pub data: Bytes,
}

/// What comes out, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Released {
    /// A frame.
    Frame(Frame),
    /// Video frames were lost that others need: nothing comes until a keyframe, which should be asked for.
    Broken,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrderCounters {
    /// Packets that were not there in time of their successors.
    pub missing: u64,
    /// Of these, those that came within the wait.
    pub repaired: u64,
    /// Of these, those that were given up.
    pub lost: u64,
    /// Packets that were there already.
    pub duplicates: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that break the payload format.
    pub malformed: u64,
    /// Whole or torn video frames that were left out, because they cannot be decoded or nobody refers to them.
    pub skipped: u64,
    /// Restarts of sequence or timestamps without a new SSRC.
    pub restarts: u64,
}

impl OrderCounters {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            missing: self.missing + other.missing,
            repaired: self.repaired + other.repaired,
            lost: self.lost + other.lost,
            duplicates: self.duplicates + other.duplicates,
            late: self.late + other.late,
            malformed: self.malformed + other.malformed,
            skipped: self.skipped + other.skipped,
            restarts: self.restarts + other.restarts,
        }
    }
}
