//! Frames as RTP packets of one stream.

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp::{Header, Packet};

use crate::rtp::Codec;

/// Turns the frames of one stream into packets.
#[derive(Debug)]
pub struct Payloads {
    codec: Codec,
    ssrc: u32,
    payload_type: u8,
    seq: u16,
    base_time: u32,
    picture_id: u16,
    vp9: Vp9Payloader,
    av1: Av1Payloader,
}

impl Payloads {
    /// A stream that begins at random numbers, as RFC 3550 wants it.
    pub fn new(codec: Codec, ssrc: u32, payload_type: u8) -> Self {
        Self {
            codec,
            ssrc,
            payload_type,
            seq: rand::random(),
            base_time: rand::random(),
            picture_id: rand::random::<u16>() & 0x7FFF,
            vp9: Vp9Payloader::default(),
            av1: Av1Payloader::default(),
        }
    }

    /// The packets of a frame that is due `at_us` after the beginning. A frame that cannot be split gives none.
    pub fn packets(&mut self, at_us: u64, frame: &Bytes) -> Vec<Packet> {
        let parts = match self.codec {
            Codec::Opus => vec![frame.clone()],
            Codec::Vp8 => self.vp8(frame),
            Codec::Vp9 => self.vp9.payload(MTU, frame).unwrap_or_default(),
            Codec::Av1 => self.av1.payload(MTU, frame).unwrap_or_default(),
        };
        let ticks = u128::from(at_us) * u128::from(self.codec.clock_hz()) / 1_000_000;
        let timestamp = self.base_time.wrapping_add(ticks as u32);
        let last = parts.len().saturating_sub(1);
        let packet = |(n, payload)| {
            let header = Header {
                version: 2,
                marker: n == last && self.codec != Codec::Opus,
                payload_type: self.payload_type,
                sequence_number: self.seq.wrapping_add(n as u16),
                timestamp,
                ssrc: self.ssrc,
                ..Header::default()
            };
            Packet { header, payload }
        };
        let packets: Vec<Packet> = parts.into_iter().enumerate().map(packet).collect();
        self.seq = self.seq.wrapping_add(packets.len() as u16);
        packets
    }

    // With a picture id of 15 bits, always (RFC 7741 §4.2).
    fn vp8(&mut self, frame: &Bytes) -> Vec<Bytes> {
        let id = self.picture_id;
        self.picture_id = (id + 1) & 0x7FFF;
        let part = |(n, data): (usize, &[u8])| {
            let mut part = BytesMut::with_capacity(VP8_DESCRIPTOR_LEN + data.len());
            part.put_slice(&[if n == 0 { 0x90 } else { 0x80 }, 0x80, 0x80 | (id >> 8) as u8, id as u8]);
            part.put_slice(data);
            part.freeze()
        };
        frame.chunks(MTU - VP8_DESCRIPTOR_LEN).enumerate().map(part).collect()
    }
}

/// Room for one payload: 1,200 bytes with header and authentication tag, which every path lets through.
const MTU: usize = 1160;
const VP8_DESCRIPTOR_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cli::client::clip::Clip;
    use crate::rtp::{Order, OrderLimits, Released};

    #[test]
    fn packets_put_together_are_the_frames_again() {
        let clip = Clip::test_pattern();
        let mut payloads = Payloads::new(Codec::Vp8, 7, 96);
        let mut order = Order::new(Codec::Vp8, OrderLimits::default());
        let start = Instant::now();
        let mut frames = Vec::new();
        for unit in &clip.video {
            for packet in payloads.packets(unit.at_us, &unit.data) {
                assert!(packet.payload.len() <= MTU);
                order.push(crate::rtp::Packet {
                    seq: packet.header.sequence_number,
                    rtp_time: packet.header.timestamp,
                    marker: packet.header.marker,
                    arrival: start + Duration::from_micros(unit.at_us),
                    level: None,
                    payload: packet.payload,
                });
            }
        }
        order.flush(start + Duration::from_secs(60));
        while let Some(released) = order.poll() {
            if let Released::Frame(frame) = released {
                frames.push(frame.data);
            }
        }
        assert_eq!(frames, clip.video.iter().map(|unit| unit.data.clone()).collect::<Vec<_>>());
    }
}
