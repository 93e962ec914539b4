//! Recorded material for `reelay publish`: IVF and Ogg files as frames and packets with their times. Pure.

use bytes::Bytes;

use crate::rtp::{Codec, opus, vp8, vp9};

/// A picture, a sound, or both, from time 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clip {
    /// What the frames are.
    pub video_codec: Option<Codec>,
    /// Video frames.
    pub video: Vec<Unit>,
    /// Opus packets.
    pub audio: Vec<Unit>,
    /// Channels of the audio.
    pub channels: u8,
}

/// A frame or packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// When it is due.
    pub at_us: u64,
    /// How long it lasts.
    pub lasts_us: u64,
    /// Decodable by itself.
    pub is_keyframe: bool,
    /// As the encoder made it.
    pub data: Bytes,
}

/// Why a file cannot be published; the text is for people.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClipError {
    /// Neither IVF nor Ogg.
    #[error("not an IVF or Ogg file")]
    Unknown,
    /// IVF with something that is not forwarded.
    #[error("IVF with '{0}'; VP80, VP90 and AV01 can be published")]
    Codec(String),
    /// Ogg without Opus.
    #[error("Ogg without Opus in it")]
    NoOpus,
    /// A second file of the same kind.
    #[error("there is one {0} file already")]
    Twice(&'static str),
    /// Nothing in it.
    #[error("there is nothing in it")]
    Empty,
}

impl Clip {
    /// The clip that is built in: three seconds of moving colours and a tone.
    pub fn test_pattern() -> Self {
        let mut clip = Self::default();
        for bytes in
            [&include_bytes!("../../../tests/data/clip.ivf")[..], include_bytes!("../../../tests/data/clip.ogg")]
        {
            // A test reads them; a build with broken files does not pass it.
            let _ = clip.add(bytes);
        }
        clip
    }

    /// Adds what a file holds.
    ///
    /// # Errors
    /// When it is of another kind, damaged from the start, or the clip has such a track already.
    pub fn add(&mut self, file: &[u8]) -> Result<(), ClipError> {
        match file.get(..4) {
            Some(b"DKIF") => self.add_ivf(file),
            Some(b"OggS") => self.add_ogg(file),
            _ => Err(ClipError::Unknown),
        }
    }

    /// How long it is.
    pub fn length_us(&self) -> u64 {
        let end = |units: &[Unit]| units.last().map_or(0, |last| last.at_us + last.lasts_us);
        end(&self.video).max(end(&self.audio))
    }

    fn add_ivf(&mut self, file: &[u8]) -> Result<(), ClipError> {
        if !self.video.is_empty() {
            return Err(ClipError::Twice("video"));
        }
        let codec = match file.get(8..12) {
            Some(b"VP80") => Codec::Vp8,
            Some(b"VP90") => Codec::Vp9,
            Some(b"AV01") => Codec::Av1,
            other => return Err(ClipError::Codec(String::from_utf8_lossy(other.unwrap_or_default()).into_owned())),
        };
        let rate = u64::from(u32_at(file, 16).unwrap_or(0)).max(1);
        let scale = u64::from(u32_at(file, 20).unwrap_or(0)).max(1);
        let head_len = file.get(6..8).map_or(32, |len| usize::from(u16::from_le_bytes([len[0], len[1]])));
        let mut rest = file.get(head_len..).unwrap_or_default();
        let mut times = Vec::new();
        while let (Some(len), Some(time)) = (u32_at(rest, 0), rest.get(4..12)) {
            let Some(data) = rest.get(12..12 + len as usize) else { break };
            let ticks = time.iter().rev().fold(0_u64, |ticks, byte| ticks << 8 | u64::from(*byte));
            times.push((ticks.saturating_mul(scale).saturating_mul(1_000_000) / rate, Bytes::copy_from_slice(data)));
            rest = &rest[12 + len as usize..];
        }
        let first = times.first().map_or(0, |(at_us, _)| *at_us);
        let usual = scale * 1_000_000 / rate;
        let nexts: Vec<Option<u64>> = times.iter().skip(1).map(|(at_us, _)| Some(*at_us)).chain([None]).collect();
        for ((at_us, data), next) in times.into_iter().zip(nexts) {
            let lasts_us = next.map_or(usual, |next| next.saturating_sub(at_us)).max(1);
            self.video.push(Unit {
                at_us: at_us.saturating_sub(first),
                lasts_us,
                is_keyframe: is_keyframe(codec, &data),
                data,
            });
        }
        self.video_codec = Some(codec);
        if self.video.is_empty() { Err(ClipError::Empty) } else { Ok(()) }
    }

    fn add_ogg(&mut self, file: &[u8]) -> Result<(), ClipError> {
        if !self.audio.is_empty() {
            return Err(ClipError::Twice("audio"));
        }
        let mut packets = ogg_packets(file).into_iter();
        let head = packets.next().filter(|head| head.starts_with(b"OpusHead")).ok_or(ClipError::NoOpus)?;
        self.channels = head.get(9).copied().unwrap_or(2).clamp(1, 2);
        let mut at_us = 0;
        for data in packets.skip(1) {
            let Some(toc) = opus::toc(&data) else { continue };
            let lasts_us = u64::from(toc.samples) * 1_000 / 48;
            self.audio.push(Unit { at_us, lasts_us, is_keyframe: true, data: data.into() });
            at_us += lasts_us;
        }
        if self.audio.is_empty() { Err(ClipError::Empty) } else { Ok(()) }
    }
}

// Packets of the first logical stream (RFC 3533 §6).
fn ogg_packets(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut open) = (Vec::new(), Vec::new());
    let (mut rest, serial) = (file, file.get(14..18));
    while rest.starts_with(b"OggS") {
        let Some(count) = rest.get(26) else { break };
        let Some(laces) = rest.get(27..27 + usize::from(*count)) else { break };
        let is_ours = rest.get(14..18) == serial;
        let mut body = &rest[27 + laces.len()..];
        for lace in laces {
            let Some((part, tail)) = body.split_at_checked(usize::from(*lace)) else { return packets };
            body = tail;
            if is_ours {
                open.extend_from_slice(part);
                if *lace < 255 {
                    packets.push(std::mem::take(&mut open));
                }
            }
        }
        rest = body;
    }
    packets
}

fn is_keyframe(codec: Codec, frame: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => vp8::is_keyframe(frame),
        Codec::Vp9 => vp9::keyframe_size(frame).is_some(),
        Codec::Av1 => has_sequence_header(frame),
        Codec::Opus => true,
    }
}

// Encoders write one before each keyframe, and so do files that can be cut. OBUs in IVF have sizes (AV1 §5.3).
fn has_sequence_header(mut unit: &[u8]) -> bool {
    while let Some(head) = unit.first() {
        if head >> 3 & 15 == 1 {
            return true;
        }
        let at = if head & 4 != 0 { 2 } else { 1 };
        let size = unit.iter().skip(at).take(8).enumerate();
        let mut len = 0;
        let mut end = None;
        for (n, byte) in size {
            len |= usize::from(byte & 0x7F) << (7 * n);
            if byte & 0x80 == 0 {
                end = len.checked_add(at + n + 1);
                break;
            }
        }
        match end.filter(|_| head & 2 != 0).and_then(|end| unit.get(end..)) {
            Some(rest) => unit = rest,
            None => return false,
        }
    }
    false
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_pattern_has_sound_and_picture_of_three_seconds() {
        let clip = Clip::test_pattern();
        assert_eq!((clip.video.len(), clip.video_codec, clip.channels), (90, Some(Codec::Vp8), 1));
        assert!((3_000_000..3_100_000).contains(&clip.length_us()), "{}", clip.length_us());
        let keyframes: Vec<_> = clip.video.iter().filter(|unit| unit.is_keyframe).map(|unit| unit.at_us).collect();
        assert_eq!(keyframes, [0, 2_000_000]);
        assert!(clip.audio.len() >= 150 && clip.audio.iter().all(|unit| unit.lasts_us == 20_000));
    }

    #[test]
    fn damaged_files_end_early_or_are_refused() {
        let ivf = &include_bytes!("../../../tests/data/clip.ivf")[..];
        let ogg = &include_bytes!("../../../tests/data/clip.ogg")[..];
        for file in [ivf, ogg] {
            for cut in (0..file.len()).step_by(97) {
                let mut clip = Clip::default();
                let _ = clip.add(&file[..cut]);
            }
        }
        let refused = |file: &[u8]| Clip::default().add(file).unwrap_err();
        assert_eq!(refused(b"RIFF"), ClipError::Unknown);
        assert_eq!(refused(b"DKIF\0\0\x20\0H264"), ClipError::Codec("H264".into()));
        assert_eq!(refused(&ogg[..20]), ClipError::NoOpus);
        let mut clip = Clip::test_pattern();
        assert_eq!(clip.add(ivf), Err(ClipError::Twice("video")));
    }
}
