//! The few things that a file needs to know about what is in its blocks.

/// Video codecs that WebM carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1; CodecPrivate is the `av1C` record.
    Av1,
}

impl VideoCodec {
    /// The CodecID of Matroska.
    pub fn id(self) -> &'static str {
        match self {
            Self::Vp8 => "V_VP8",
            Self::Vp9 => "V_VP9",
            Self::Av1 => "V_AV1",
        }
    }

    /// Reads a CodecID.
    pub fn from_id(id: &[u8]) -> Option<Self> {
        [Self::Vp8, Self::Vp9, Self::Av1].into_iter().find(|codec| codec.id().as_bytes() == id)
    }

    /// The name for a manifest or a MIME type's `codecs`, without profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
        }
    }

    /// Width and height as a keyframe of VP8 or VP9 says in its first bytes.
    pub fn picture_size(self, head: &[u8]) -> Option<(u16, u16)> {
        match self {
            Self::Vp8 => vp8_picture_size(head),
            Self::Vp9 => vp9_picture_size(head),
            Self::Av1 => None,
        }
    }
}

/// The CodecID of Opus.
pub const OPUS_ID: &str = "A_OPUS";

/// A packet of 20 ms silence, as the recorder puts it where one is missing.
pub const OPUS_SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// How long an Opus packet sounds, by its TOC (RFC 6716 §3.1); 0 for an empty one.
pub fn opus_duration_us(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame_us = match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1).copied().unwrap_or(0) & 0x3F),
    };
    (frame_us * frames).min(120_000)
}

/// RFC 6386 §9.1: frame tag of 3 bytes, start code 9D 01 2A, two sizes of 14 bits.
fn vp8_picture_size(head: &[u8]) -> Option<(u16, u16)> {
    let [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *head else { return None };
    let size = (u16::from_le_bytes([w0, w1]) & 0x3FFF, u16::from_le_bytes([h0, h1]) & 0x3FFF);
    (tag & 1 == 0 && size.0 > 0 && size.1 > 0).then_some(size)
}

/// VP9 bitstream §6.2: uncompressed header up to frame_size.
fn vp9_picture_size(head: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits { bytes: head, at: 0 };
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? | bits.take(1)? << 1;
    if profile == 3 {
        bits.take(1)?;
    }
    let (show_existing, frame_type) = (bits.take(1)?, bits.take(1)?);
    if show_existing == 1 || frame_type == 1 {
        return None;
    }
    bits.take(2)?;
    if bits.take(24)? != 0x49_8342 {
        return None;
    }
    if profile >= 2 {
        bits.take(1)?;
    }
    const SRGB: u32 = 7;
    if bits.take(3)? == SRGB {
        if profile == 1 || profile == 3 {
            bits.take(1)?;
        }
    } else {
        bits.take(1)?;
        if profile == 1 || profile == 3 {
            bits.take(3)?;
        }
    }
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_tell_their_length() {
        assert_eq!(opus_duration_us(&OPUS_SILENCE), 20_000);
        assert_eq!(opus_duration_us(&[]), 0);
        assert_eq!(opus_duration_us(&[0x08]), 20_000); // SILK 20 ms
        assert_eq!(opus_duration_us(&[0x18]), 60_000);
        assert_eq!(opus_duration_us(&[0x80]), 2_500);
        assert_eq!(opus_duration_us(&[0xF9]), 40_000);
        assert_eq!(opus_duration_us(&[0xFB, 0x03]), 60_000);
        assert_eq!(opus_duration_us(&[0xFB, 0x3F]), 120_000);
    }

    #[test]
    fn vp8_keyframes_tell_their_size() {
        let key = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x42, 0x68, 0x41];
        assert_eq!(VideoCodec::Vp8.picture_size(&key), Some((640, 360)));
        assert_eq!(VideoCodec::Vp8.picture_size(&key[..9]), None);
        assert_eq!(VideoCodec::Vp8.picture_size(&[0x11, 0, 0, 0x9D, 0x01, 0x2A, 1, 0, 1, 0]), None);
    }

    #[test]
    fn vp9_keyframes_tell_their_size() {
        // Profile 0 keyframe of 320x180 as libvpx writes it.
        let key = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xF0, 0x0B, 0x36];
        assert_eq!(VideoCodec::Vp9.picture_size(&key), Some((320, 180)));
        assert_eq!(VideoCodec::Vp9.picture_size(&key[..6]), None);
        assert_eq!(VideoCodec::Vp9.picture_size(&[0x86, 0x00]), None);
    }
}
