//! What a publisher's connection gives to the router: one RTP packet, decrypted and named.

use std::time::Instant;

use bytes::Bytes;
use reelay_signaling::TrackId;

use super::Codec;

/// One media packet of a publisher, RTX already unwrapped; duplicates and any order are possible.
#[derive(Debug, Clone)]
pub struct InboundPacket {
    /// The track.
    pub track: TrackId,
    /// Which simulcast layer, 0 the smallest picture; 0 for everything else.
    pub layer: u8,
    /// The SSRC it came with; a change within a layer is a new source.
    pub ssrc: u32,
    /// What the payload is.
    pub codec: Codec,
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp, in ticks of the codec's clock.
    pub rtp_time: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// ssrc-audio-level (RFC 6464): 0 loudest to 127 silent, in −dBov; `None` when not negotiated.
    pub audio_level: Option<u8>,
    /// When the datagram was read.
    pub arrival: Instant,
    /// The payload after the RTP header, without padding.
    pub payload: Bytes,
}
