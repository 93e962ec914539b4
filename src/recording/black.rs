//! A black VP8 keyframe of any size, for times without a picture: 25 bytes at 16×16, 419 at 640×360.
//! The first macroblock carries the darkness; all others are predicted from it and skipped. Pure.

/// A black keyframe of this size, 1 to 16,383 each way.
pub fn keyframe(width: u16, height: u16) -> Vec<u8> {
    let (width, height) = (width.clamp(1, MAX_SIZE), height.clamp(1, MAX_SIZE));
    let blocks = u32::from(width.div_ceil(16)) * u32::from(height.div_ceil(16));
    let mut modes = BoolEncoder::behind_header();
    for block in 0..blocks {
        modes.put(block > 0, SKIP_PROBABILITY);
        // Luma and chroma predicted as DC (RFC 6386 §8.1, keyframe trees).
        for (bit, probability) in [(true, 145), (false, 156), (false, 163), (false, 142)] {
            modes.put(bit, probability);
        }
    }
    let modes = modes.finish();
    // Keyframe, version 0, shown, length of the first partition.
    let tag = (modes.len() as u32) << 5 | 1 << 4;
    let mut frame = tag.to_le_bytes()[..3].to_vec();
    frame.extend(START_CODE);
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend(modes);
    frame.extend(TOKENS);
    frame
}

/// The arithmetic coder of RFC 6386 §7.3.
struct BoolEncoder {
    out: Vec<u8>,
    range: u32,
    bottom: u64,
    bits_to_go: u32,
}

impl BoolEncoder {
    /// As it stands behind a frame header with quantizer 0, without filter, segments, partitions or new probabilities,
    /// and with macroblocks that may be skipped at [`SKIP_PROBABILITY`]: the same for all sizes.
    fn behind_header() -> Self {
        Self { out: vec![0; 4], range: 192, bottom: 0xc2c0, bits_to_go: 5 }
    }

    fn put(&mut self, bit: bool, probability: u32) {
        let split = 1 + (((self.range - 1) * probability) >> 8);
        if bit {
            self.bottom += u64::from(split);
            self.range -= split;
        } else {
            self.range = split;
        }
        if self.bottom >= 1 << 32 {
            self.carry();
            self.bottom -= 1 << 32;
        }
        while self.range < 128 {
            self.range <<= 1;
            if self.bottom & 1 << 31 != 0 {
                self.carry();
            }
            self.bottom = self.bottom << 1 & 0xffff_ffff;
            self.bits_to_go -= 1;
            if self.bits_to_go == 0 {
                self.out.push((self.bottom >> 24) as u8);
                self.bottom &= 0xff_ffff;
                self.bits_to_go = 8;
            }
        }
    }

    fn carry(&mut self) {
        for byte in self.out.iter_mut().rev() {
            let (sum, is_full) = byte.overflowing_add(1);
            *byte = sum;
            if !is_full {
                return;
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.bottom & 1 << (32 - self.bits_to_go) != 0 {
            self.carry();
        }
        let bottom = self.bottom << (self.bits_to_go & 7) << (8 * (self.bits_to_go >> 3));
        self.out.extend((bottom as u32).to_be_bytes());
        self.out
    }
}

/// The only coefficient: the DC of Y2 in the first macroblock, −896, which takes luma from the predicted 128 to 16.
const TOKENS: [u8; 6] = [0xfe, 0xff, 0xdf, 0x6e, 0xd4, 0x00];
const SKIP_PROBABILITY: u32 = 1;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
const MAX_SIZE: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::vp8;

    #[test]
    fn smallest_one_is_the_one_that_decoders_showed_black() {
        let expected = [
            0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x18, 0x58, 0x12,
            0x00, 0xfe, 0xff, 0xdf, 0x6e, 0xd4, 0x00,
        ];
        assert_eq!(keyframe(16, 16), expected);
    }

    #[test]
    fn sizes_are_said_and_bytes_are_few() {
        for (width, height, bytes) in [(640, 360, 419), (1280, 720, 1568), (180, 320, 128), (1, 1, 25)] {
            let frame = keyframe(width, height);
            assert_eq!((vp8::keyframe_size(&frame), frame.len()), (Some((width, height)), bytes));
        }
    }
}
