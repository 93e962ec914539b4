//! AV1 in RTP (aomediacodec.github.io/av1-rtp-spec): OBUs out of packets, and what the headers tell.
//! A file gets them with sizes, without temporal delimiters, padding and enhancement layers.

use super::bits::{BitReader, leb128, put_leb128};

/// The aggregation header of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregation {
    /// Z: the first element continues an OBU.
    pub continues: bool,
    /// Y: the last element goes on in the next packet.
    pub is_continued: bool,
    /// W: how many elements there are; 0: each has its length.
    pub elements: u8,
    /// N: the first packet of a coded video sequence, which is a keyframe.
    pub starts_sequence: bool,
}

/// Reads the aggregation header. `None` when nothing follows it.
pub fn aggregation(payload: &[u8]) -> Option<Aggregation> {
    let first = *payload.first()?;
    (payload.len() > 1).then_some(Aggregation {
        continues: first & 0x80 != 0,
        is_continued: first & 0x40 != 0,
        elements: first >> 4 & 3,
        starts_sequence: first & 0x08 != 0,
    })
}

/// One temporal unit as a file wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// OBUs with sizes.
    pub data: Vec<u8>,
    /// Begins with a shown keyframe and a sequence header.
    pub is_keyframe: bool,
    /// What the sequence header says, where there is one.
    pub sequence: Option<Sequence>,
}

/// What a sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The largest size of a frame.
    pub size: (u16, u16),
    /// The four bytes and the OBU of `av1C`, CodecPrivate in a file.
    pub codec_private: Vec<u8>,
}

/// Puts the packets of one temporal unit together. `None` when they do not fit together.
pub fn unit(packets: &[bytes::Bytes]) -> Option<Unit> {
    let mut out = Unit::default();
    let mut has_key = false;
    for obu in obus(packets)? {
        let header = *obu.first()?;
        let (kind, has_extension, has_size) = (header >> 3 & 15, header & 4 != 0, header & 2 != 0);
        let spatial_id = if has_extension { obu.get(1)? >> 3 & 3 } else { 0 };
        if matches!(kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) || spatial_id > 0 {
            continue;
        }
        let header_length = 1 + usize::from(has_extension);
        let mut body = obu.get(header_length..)?;
        if has_size {
            let (size, length) = leb128(body)?;
            body = body.get(length..length.checked_add(size)?)?;
        }
        let from = out.data.len();
        out.data.push(header | 2);
        out.data.extend_from_slice(&obu[1..header_length]);
        put_leb128(body.len(), &mut out.data);
        out.data.extend_from_slice(body);
        match kind {
            SEQUENCE_HEADER => out.sequence = sequence(body, &out.data[from..]),
            FRAME_HEADER | FRAME => has_key |= is_shown_key(body),
            _ => {}
        }
    }
    out.is_keyframe = has_key && out.sequence.is_some();
    (!out.data.is_empty()).then_some(out)
}

/// The sequence header in a temporal unit as a file has it, or in the first bytes of one.
pub fn sequence_in(mut data: &[u8]) -> Option<Sequence> {
    loop {
        let header = *data.first()?;
        let header_length = if header & 4 != 0 { 2 } else { 1 };
        let (size, length) = leb128(data.get(header_length..)?)?;
        let end = (header_length + length).checked_add(size)?;
        let obu = data.get(..end)?;
        if header >> 3 & 15 == SEQUENCE_HEADER {
            return sequence(&obu[header_length + length..], obu);
        }
        data = &data[end..];
    }
}

fn obus(packets: &[bytes::Bytes]) -> Option<Vec<Vec<u8>>> {
    let mut obus: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for payload in packets {
        let header = aggregation(payload)?;
        if header.continues != is_open {
            return None;
        }
        let mut rest = &payload[1..];
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            let is_last_counted = header.elements != 0 && index == header.elements;
            let element = if is_last_counted {
                std::mem::take(&mut rest)
            } else {
                let (size, length) = leb128(rest)?;
                let element = rest.get(length..length.checked_add(size)?)?;
                rest = &rest[length + size..];
                element
            };
            match obus.last_mut() {
                Some(open) if is_open => open.extend_from_slice(element),
                _ => obus.push(element.to_vec()),
            }
            is_open = rest.is_empty() && header.is_continued;
        }
    }
    (!is_open).then_some(obus)
}

// Reduced still pictures have neither flag, and no camera sends them.
fn is_shown_key(body: &[u8]) -> bool {
    body.first().is_some_and(|byte| byte & 0xf0 == 0x10)
}

/// Reads a sequence header (AV1 §5.5) as far as `av1C` needs it.
fn sequence(body: &[u8], with_size: &[u8]) -> Option<Sequence> {
    let mut bits = BitReader::new(body);
    let profile = bits.bits(3)?;
    bits.bit()?;
    let is_reduced = bits.bit()?;
    let (mut level, mut tier) = (0, 0);
    if is_reduced {
        level = bits.bits(5)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            bits.bits(32)?;
            bits.bits(32)?;
            if bits.bit()? {
                bits.uvlc()?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.bits(5)? + 1);
                bits.bits(32)?;
                bits.bits(10)?;
            }
        }
        let has_display_delay = bits.bit()?;
        for point in 0..=bits.bits(5)? {
            bits.bits(12)?;
            let this_level = bits.bits(5)?;
            let this_tier = if this_level > 7 { bits.bits(1)? } else { 0 };
            if point == 0 {
                (level, tier) = (this_level, this_tier);
            }
            if let Some(delay_bits) = delay_bits
                && bits.bit()?
            {
                bits.bits(delay_bits)?;
                bits.bits(delay_bits)?;
                bits.bit()?;
            }
            if has_display_delay && bits.bit()? {
                bits.bits(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
    if !is_reduced && bits.bit()? {
        bits.bits(7)?;
    }
    bits.bits(3)?;
    if !is_reduced {
        skip_tools(&mut bits)?;
    }
    bits.bits(3)?;
    let color = color(&mut bits, profile)?;
    let mut codec_private = vec![0x81, (profile << 5 | level) as u8, (tier << 7) as u8 | color, 0];
    codec_private.extend_from_slice(with_size);
    Some(Sequence { size: (u16::try_from(width).ok()?, u16::try_from(height).ok()?), codec_private })
}

fn skip_tools(bits: &mut BitReader<'_>) -> Option<()> {
    bits.bits(4)?;
    let has_order_hint = bits.bit()?;
    if has_order_hint {
        bits.bits(2)?;
    }
    let chooses_content_tools = bits.bit()?;
    let forces_content_tools = if chooses_content_tools { true } else { bits.bit()? };
    if forces_content_tools {
        let chooses_integer = bits.bit()?;
        if !chooses_integer {
            bits.bit()?;
        }
    }
    if has_order_hint {
        bits.bits(3)?;
    }
    Some(())
}

/// The color half of byte 2 of `av1C`.
fn color(bits: &mut BitReader<'_>, profile: u32) -> Option<u8> {
    let high_depth = bits.bit()?;
    let twelve = profile == 2 && high_depth && bits.bit()?;
    let mono = profile != 1 && bits.bit()?;
    let description = if bits.bit()? { (bits.bits(8)?, bits.bits(8)?, bits.bits(8)?) } else { (2, 2, 2) };
    let (sub_x, sub_y, position);
    if mono {
        bits.bit()?;
        (sub_x, sub_y, position) = (true, true, 0);
    } else if description == SRGB {
        (sub_x, sub_y, position) = (false, false, 0);
    } else {
        bits.bit()?;
        (sub_x, sub_y) = match profile {
            0 => (true, true),
            1 => (false, false),
            _ if twelve => {
                let x = bits.bit()?;
                (x, x && bits.bit()?)
            }
            _ => (true, false),
        };
        position = if sub_x && sub_y { bits.bits(2)? } else { 0 };
    }
    let flag = |set: bool, shift: u8| u8::from(set) << shift;
    Some(flag(high_depth, 6) | flag(twelve, 5) | flag(mono, 4) | flag(sub_x, 3) | flag(sub_y, 2) | position as u8)
}

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;
/// BT.709 primaries, sRGB transfer, identity matrix.
const SRGB: (u32, u32, u32) = (1, 13, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    // The sequence header of a 320x180 stream of SVT-AV1, profile 0, level 0.
    const HEADER: [u8; 11] = [0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcd, 0xbf, 0xf8];

    fn body() -> Vec<u8> {
        [&HEADER[2..], &[0x00, 0x40]].concat()
    }

    #[test]
    fn size_comes_from_the_sequence_header() {
        let read = sequence(&body(), &HEADER).expect("it is whole");
        assert_eq!(read.size.0, 320);
        assert_eq!(&read.codec_private[..2], [0x81, 0x00]);
        assert_eq!(&read.codec_private[4..], HEADER);
    }

    #[test]
    fn sequence_header_is_found_in_a_unit() {
        let unit = [&[0x12, 0x00][..], &[0x0a, 0x0b], &body(), &[0x32, 0x01, 0x10]].concat();
        let found = sequence_in(&unit).expect("it is there");
        assert_eq!(found.size.0, 320);
        assert_eq!(found.codec_private[4..6], [0x0a, 0x0b]);
        for cut in 0..unit.len() - 3 {
            assert_eq!(sequence_in(&unit[..cut]), None);
        }
    }

    #[test]
    fn fragments_become_one_obu_with_a_size_and_delimiters_go() {
        let packets = [
            // W=2, Y: a temporal delimiter with a length, then the first half of a frame.
            Bytes::from_static(&[0x60, 0x01, 0x10, 0x30, 0x10, 0xaa]),
            // Z, W=1: the other half.
            Bytes::from_static(&[0x90, 0xbb, 0xcc]),
        ];
        let unit = unit(&packets).expect("they fit together");
        assert_eq!(unit.data, [0x32, 0x04, 0x10, 0xaa, 0xbb, 0xcc]);
        assert!(!unit.is_keyframe, "no sequence header");
    }

    #[test]
    fn packets_that_do_not_fit_are_no_unit() {
        assert_eq!(unit(&[Bytes::from_static(&[0x90, 0xbb])]), None);
        assert_eq!(unit(&[Bytes::from_static(&[0x50, 0x30, 0x10])]), None);
        assert_eq!(unit(&[Bytes::from_static(&[0x00, 0x09, 0x10])]), None);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5)) {
            let packets: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let _ = unit(&packets);
        }

        #[test]
        fn no_sequence_header_panics(body: Vec<u8>) {
            let _ = sequence(&body, &body);
        }
    }
}
