//! Frames of a file as RTP payloads: the reverse of what [`Order`](super::Order) does, for the same four codecs.
//! One spatial layer and no picture numbers: a file has neither.

use bytes::Bytes;

use super::bits::{leb128, put_leb128};
use super::{Codec, vp9};

/// The payloads of one frame as a file has it, none longer than [`MAX_PAYLOAD`]; the last one gets the marker of a
/// picture. Empty for an empty frame, and for AV1 that is none.
pub fn payloads(codec: Codec, frame: &Bytes, is_keyframe: bool) -> Vec<Bytes> {
    match codec {
        _ if frame.is_empty() => Vec::new(),
        // One packet is one payload (RFC 7587 §4.2), however long.
        Codec::Opus => vec![frame.clone()],
        // RFC 7741 §4.2: S in the first packet, partition 0.
        Codec::Vp8 => parts(frame, |is_first, _| if is_first { 0x10 } else { 0 }),
        Codec::Vp9 => vp9(frame),
        Codec::Av1 => av1(frame, is_keyframe).unwrap_or_default(),
    }
}

// RFC 9628 §4.2: P unless it is a keyframe, B in the first packet, E in the last.
fn vp9(frame: &Bytes) -> Vec<Bytes> {
    let inter = if vp9::keyframe_size(frame).is_some() { 0 } else { 0x40 };
    parts(frame, |is_first, is_last| inter | if is_first { 0x08 } else { 0 } | if is_last { 0x04 } else { 0 })
}

fn parts(frame: &[u8], descriptor: impl Fn(bool, bool) -> u8) -> Vec<Bytes> {
    // Parts of one size: the packets of a frame leave in one go if they are.
    let count = frame.len().div_ceil(MAX_PAYLOAD - 1);
    let chunks = frame.chunks(frame.len().div_ceil(count)).enumerate();
    let part = |(n, data): (usize, &[u8])| [&[descriptor(n == 0, n + 1 == count)], data].concat().into();
    chunks.map(part).collect()
}

/// Each OBU without its size, as an element with a length (W = 0); Z and Y where one is cut in two, N at a keyframe.
fn av1(mut frame: &[u8], is_keyframe: bool) -> Option<Vec<Bytes>> {
    let mut packets: Vec<Vec<u8>> = vec![vec![if is_keyframe { 0x08 } else { 0 }]];
    while let Some(&header) = frame.first() {
        let head = if header & 4 != 0 { 2 } else { 1 };
        let (size, size_len) =
            if header & 2 != 0 { leb128(frame.get(head..)?)? } else { (frame.len().checked_sub(head)?, 0) };
        let body = frame.get(head + size_len..(head + size_len).checked_add(size)?)?;
        let mut obu = vec![header & !2];
        obu.extend_from_slice(frame.get(1..head)?);
        obu.extend_from_slice(body);
        frame = &frame[head + size_len + size..];
        let mut rest = &obu[..];
        let mut is_continued = false;
        while !rest.is_empty() {
            let packet = packets.last_mut()?;
            let room = MAX_PAYLOAD.saturating_sub(packet.len() + MAX_LENGTH_LEN);
            if room == 0 {
                if is_continued {
                    packet[0] |= 0x40;
                }
                packets.push(vec![if is_continued { 0x80 } else { 0 }]);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            put_leb128(now.len(), packet);
            packet.extend_from_slice(now);
            (rest, is_continued) = (later, !later.is_empty());
        }
    }
    Some(packets.into_iter().filter(|packet| packet.len() > 1).map(Bytes::from).collect())
}

/// With header, authentication tag and UDP this stays below 1,280 bytes, which every path of IPv6 lets through.
pub const MAX_PAYLOAD: usize = 1160;
// The length of an element that fits.
const MAX_LENGTH_LEN: usize = 2;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::rtp::{Order, OrderLimits, Packet, Released};

    /// Frames through packets and back, with sequence numbers that wrap.
    fn through(codec: Codec, frames: &[(Bytes, bool)]) -> Vec<(Bytes, bool)> {
        let (start, mut seq) = (Instant::now(), 65_530_u16);
        let mut order = Order::new(codec, OrderLimits::default());
        for (n, (frame, is_keyframe)) in frames.iter().enumerate() {
            let payloads = payloads(codec, frame, *is_keyframe);
            let last = payloads.len().saturating_sub(1);
            for (at, payload) in payloads.into_iter().enumerate() {
                assert!(payload.len() <= MAX_PAYLOAD || codec == Codec::Opus, "{}", payload.len());
                order.push(Packet {
                    seq,
                    rtp_time: n as u32 * 3000,
                    marker: at == last && codec != Codec::Opus,
                    arrival: start + Duration::from_millis(n as u64 * 33),
                    level: None,
                    payload,
                });
                seq = seq.wrapping_add(1);
            }
        }
        order.flush(start + Duration::from_secs(60));
        let frame = |released| match released {
            Released::Frame(frame) => (frame.data, frame.is_keyframe),
            Released::Broken => panic!("nothing was lost"),
        };
        std::iter::from_fn(|| order.poll()).map(frame).collect()
    }

    fn vp8_frame(is_keyframe: bool, rest: &[u8]) -> Bytes {
        let tag = (rest.len() as u32) << 5 | u32::from(!is_keyframe);
        let key: &[u8] = if is_keyframe { &[0x9d, 0x01, 0x2a, 64, 0, 48, 0] } else { &[] };
        [&tag.to_le_bytes()[..3], key, rest].concat().into()
    }

    fn vp9_frame(is_keyframe: bool, rest: &[u8]) -> Bytes {
        let head: &[u8] =
            if is_keyframe { &[0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0, 0x16, 0x70] } else { &[0x86, 0] };
        [head, rest].concat().into()
    }

    fn obu(header: u8, body: &[u8]) -> Vec<u8> {
        let mut obu = vec![header | 2];
        put_leb128(body.len(), &mut obu);
        obu.extend_from_slice(body);
        obu
    }

    // A sequence header of SVT-AV1 (320×180), one OBU of metadata, and a frame.
    fn av1_frame(is_keyframe: bool, rest: &[u8]) -> Bytes {
        let sequence = [0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcd, 0xbf, 0xf8, 0x00, 0x40];
        let begin = if is_keyframe { obu(0x08, &sequence) } else { Vec::new() };
        let shown = [if is_keyframe { 0x10 } else { 0x30 }];
        [begin, obu(0x28, &rest[..rest.len() / 3]), obu(0x30, &[&shown, rest].concat())].concat().into()
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            rests in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..5000), any::<bool>()), 1..8)
        ) {
            for (codec, make) in [
                (Codec::Vp8, vp8_frame as fn(bool, &[u8]) -> Bytes), (Codec::Vp9, vp9_frame), (Codec::Av1, av1_frame),
            ] {
                let frame = |(n, (rest, is_keyframe)): (usize, &(Vec<u8>, bool))| {
                    (make(n == 0 || *is_keyframe, rest), n == 0 || *is_keyframe)
                };
                let frames: Vec<(Bytes, bool)> = rests.iter().enumerate().map(frame).collect();
                prop_assert_eq!(through(codec, &frames), frames, "{:?}", codec);
            }
        }

        #[test]
        fn no_frame_panics(frame: Vec<u8>, is_keyframe: bool) {
            let frame = Bytes::from(frame);
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                let _ = payloads(codec, &frame, is_keyframe);
            }
        }
    }

    #[test]
    fn opus_goes_as_it_is() {
        let frames: Vec<_> = (0..20_u8).map(|n| (Bytes::from(vec![0xf8, 0xff, n]), true)).collect();
        assert_eq!(through(Codec::Opus, &frames), frames);
        assert!(payloads(Codec::Opus, &Bytes::new(), true).is_empty());
    }

    #[test]
    fn av1_that_is_none_gives_nothing() {
        assert!(payloads(Codec::Av1, &Bytes::from_static(&[0x32, 0x09, 1]), true).is_empty());
        assert!(payloads(Codec::Av1, &Bytes::from_static(&[0x04]), true).is_empty(), "an extension that is not there");
    }
}
