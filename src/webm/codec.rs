//! The few things that a file needs to know about what is in its blocks.

use crate::rtp::{opus, vp8, vp9};

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
        let size = match self {
            Self::Vp8 => vp8::keyframe_size(head),
            Self::Vp9 => vp9::keyframe_size(head),
            Self::Av1 => None,
        };
        size.filter(|(width, height)| *width > 0 && *height > 0)
    }
}

/// The CodecID of Opus.
pub const OPUS_ID: &str = "A_OPUS";

/// How long an Opus packet sounds, by its TOC; 0 for one that is none.
pub fn opus_duration_us(packet: &[u8]) -> u64 {
    opus::toc(packet).map_or(0, |toc| u64::from(toc.samples) * 1000 / 48)
}

/// True for a packet that the recorder puts in; a sender's own silence may look the same.
pub fn is_silence(packet: &[u8]) -> bool {
    let wanted = opus::toc(packet).and_then(|toc| opus::silence(toc.samples.into()));
    wanted.is_some_and(|silence| silence.data == packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_tell_their_length() {
        assert_eq!(opus_duration_us(&[0xF8, 0xFF, 0xFE]), 20_000);
        assert_eq!(opus_duration_us(&[0x80]), 2_500);
        assert_eq!(opus_duration_us(&[]), 0);
    }

    #[test]
    fn silence_is_known_by_its_bytes() {
        assert!(is_silence(&[0xF8, 0xFF, 0xFE]) && is_silence(&[0xE0, 0xFF, 0xFE]));
        assert!(!is_silence(&[0xF8, 0xFF, 0xFE, 0]) && !is_silence(&[0xF8, 0xFF]) && !is_silence(&[]));
    }

    #[test]
    fn keyframes_tell_their_size() {
        let vp9 = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xF0, 0x0B, 0x36];
        assert_eq!(VideoCodec::Vp9.picture_size(&vp9), Some((320, 180)));
        let vp8 = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x42, 0x68, 0x41];
        assert_eq!(VideoCodec::Vp8.picture_size(&vp8), Some((640, 360)));
        assert_eq!(VideoCodec::Vp8.picture_size(&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0, 0, 0, 0]), None);
    }
}
