//! RTP as a recorder and a router need it: time, order, and what the codecs' headers say.
//! Pure: bytes and time come as arguments. Nothing that a sender can put into a packet panics.

use reelay_signaling::Kind;
use serde::{Deserialize, Serialize};

pub mod av1;
pub mod opus;
pub mod order;
pub mod pack;
pub mod red;
pub mod seq;
pub mod time;
pub mod vp8;
pub mod vp9;

mod assemble;
mod bits;
mod chain;
mod frame;

pub use frame::{Frame, OrderCounters, OrderLimits, Packet, Released};
pub use order::Order;
pub use seq::SeqUnwrapper;
pub use time::{MediaTime, NtpTime, RtpTime, RtpUnwrapper};

/// Codecs that can be forwarded and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Opus, 48 kHz clock.
    Opus,
    /// VP8, 90 kHz clock.
    Vp8,
    /// VP9, 90 kHz clock.
    Vp9,
    /// AV1, 90 kHz clock.
    Av1,
}

impl Codec {
    /// Audio or video.
    pub fn kind(self) -> Kind {
        if self == Self::Opus { Kind::Audio } else { Kind::Video }
    }

    /// Ticks per second of its RTP clock.
    pub fn clock_hz(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }

    /// The encoding name in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
        }
    }
}
