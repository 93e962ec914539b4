//! VP9 in RTP (RFC 9628): the payload descriptor, and what the uncompressed frame header tells.

use super::bits::BitReader;
use super::vp8::PictureId;

/// The payload descriptor of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Length of the descriptor in bytes; the VP9 payload follows.
    pub length: usize,
    /// P: refers to earlier pictures.
    pub is_inter: bool,
    /// B: the first packet of a layer's frame.
    pub is_start: bool,
    /// E: the last packet of a layer's frame.
    pub is_end: bool,
    /// 7 or 15 bits.
    pub picture_id: Option<PictureId>,
    /// TID.
    pub temporal_id: Option<u8>,
    /// SID; 0 without layers.
    pub spatial_id: u8,
    /// U: from here on this temporal layer refers to nothing older.
    pub is_sync: bool,
    /// TL0PICIDX, in the mode that is not flexible.
    pub tl0_index: Option<u8>,
}

/// Reads the descriptor. `None` when the packet ends within it, or right behind it.
pub fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let mut at = 0;
    let mut next = || {
        let byte = payload.get(at).copied();
        at += 1;
        byte
    };
    let first = next()?;
    let mut read = Descriptor {
        is_inter: first & 0x40 != 0,
        is_start: first & 0x08 != 0,
        is_end: first & 0x04 != 0,
        ..Descriptor::default()
    };
    let is_flexible = first & 0x10 != 0;
    if first & 0x80 != 0 {
        let high = next()?;
        read.picture_id = Some(if high & 0x80 != 0 {
            PictureId { value: u16::from(high & 0x7f) << 8 | u16::from(next()?), mask: 0x7fff }
        } else {
            PictureId { value: u16::from(high), mask: 0x7f }
        });
    }
    if first & 0x20 != 0 {
        let layers = next()?;
        read.temporal_id = Some(layers >> 5);
        read.is_sync = layers & 0x10 != 0;
        read.spatial_id = layers >> 1 & 7;
        if !is_flexible {
            read.tl0_index = Some(next()?);
        }
    }
    if is_flexible && read.is_inter {
        for _ in 0..3 {
            if next()? & 1 == 0 {
                break;
            }
        }
    }
    if first & 0x02 != 0 {
        let structure = next()?;
        if structure & 0x10 != 0 {
            for _ in 0..4 * (usize::from(structure >> 5) + 1) {
                next()?;
            }
        }
        if structure & 0x08 != 0 {
            for _ in 0..next()? {
                for _ in 0..next()? >> 2 & 3 {
                    next()?;
                }
            }
        }
    }
    read.length = at;
    (payload.len() > read.length).then_some(read)
}

/// Width and height of a keyframe; `None` for all other frames.
pub fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = BitReader::new(frame);
    if bits.bits(2)? != 2 {
        return None;
    }
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 {
        bits.bit()?;
    }
    let shows_existing = bits.bit()?;
    let is_key = !shows_existing && !bits.bit()?;
    if !is_key {
        return None;
    }
    bits.bits(2)?;
    if bits.bits(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.bit()?;
    }
    let has_subsampling = profile & 1 == 1;
    if bits.bits(3)? == COLOR_SPACE_RGB {
        bits.bits(u32::from(has_subsampling))?;
    } else {
        bits.bits(1 + 3 * u32::from(has_subsampling))?;
    }
    let (width, height) = (bits.bits(16)?, bits.bits(16)?);
    Some((u16::try_from(width + 1).ok()?, u16::try_from(height + 1).ok()?))
}

const SYNC_CODE: u32 = 0x49_83_42;
const COLOR_SPACE_RGB: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layers_and_structure_are_passed_over() {
        // I L B E V, 15-bit id, TID 1 U SID 0, TL0PICIDX, one spatial layer with size, one picture with one reference.
        let payload = [0xae, 0x81, 0x02, 0x30, 0x09, 0x18, 1, 64, 0, 240, 1, 0x04, 1, 0x82];
        let read = descriptor(&payload).expect("it is whole");
        assert_eq!(read.length, 13);
        assert_eq!((read.temporal_id, read.spatial_id, read.tl0_index), (Some(1), 0, Some(9)));
        assert!(read.is_start && read.is_end && read.is_sync && !read.is_inter);
        for cut in 0..payload.len() {
            assert_eq!(descriptor(&payload[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn size_is_read_from_a_keyframe() {
        // marker 10, profile 0, not existing, key, shown, no error resilience | sync | space 2, range 0 | 640x360
        let frame = [0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0, 0x16, 0x70];
        assert_eq!(keyframe_size(&frame), Some((640, 360)));
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = descriptor(&payload);
            let _ = keyframe_size(&payload);
        }
    }
}
