//! What a file was like over time: bit rate, frames, size and fills, in steps that grow with its length. Pure.

use reelay_signaling::Kind;
use serde::{Deserialize, Serialize};

use super::lane::Block;

/// A file over time, in time of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Length of a step.
    pub step_ms: u64,
    /// One for each step.
    pub steps: Vec<Step>,
    /// Each change of the picture's size: time, width, height.
    #[serde(default)]
    pub sizes: Vec<(u64, u16, u16)>,
}

/// One step of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Bytes of real video.
    #[serde(rename = "v")]
    pub video_bytes: u64,
    /// Bytes of real audio.
    #[serde(rename = "a")]
    pub audio_bytes: u64,
    /// Real frames.
    #[serde(rename = "f")]
    pub frames: u32,
    /// Fills of audio, in milliseconds.
    #[serde(rename = "s", default)]
    pub silence_ms: u32,
    /// Fill keyframes.
    #[serde(rename = "b", default)]
    pub black: u32,
}

impl Default for Report {
    fn default() -> Self {
        Self { step_ms: FIRST_STEP_MS, steps: Vec::new(), sizes: Vec::new() }
    }
}

impl Report {
    /// A block went into the file at this time.
    pub fn add(&mut self, time_ms: u64, block: &Block) {
        while time_ms / self.step_ms >= MAX_STEPS {
            self.halve();
        }
        let index = (time_ms / self.step_ms) as usize;
        if self.steps.len() <= index {
            self.steps.resize(index + 1, Step::default());
        }
        let Some(step) = self.steps.get_mut(index) else { return };
        let bytes = block.data.len() as u64;
        match (block.kind, block.is_fill) {
            (Kind::Video, true) => step.black += 1,
            (Kind::Audio, true) => step.silence_ms += (block.duration_us / 1000) as u32,
            (Kind::Audio, false) => step.audio_bytes += bytes,
            (Kind::Video, false) => {
                step.video_bytes += bytes;
                step.frames += 1;
                if let Some((width, height)) = block.size
                    && self.sizes.last().is_none_or(|last| (last.1, last.2) != (width, height))
                    && self.sizes.len() < MAX_SIZES
                {
                    self.sizes.push((time_ms, width, height));
                }
            }
        }
    }

    /// The largest picture.
    pub fn largest(&self) -> Option<(u16, u16)> {
        self.sizes.iter().map(|size| (size.1, size.2)).max_by_key(|(w, h)| u32::from(*w) * u32::from(*h))
    }

    fn halve(&mut self) {
        self.step_ms *= 2;
        self.steps =
            self.steps.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0], |sum, step| sum.plus(step))).collect();
    }
}

impl Step {
    fn plus(self, other: &Self) -> Self {
        Self {
            video_bytes: self.video_bytes + other.video_bytes,
            audio_bytes: self.audio_bytes + other.audio_bytes,
            frames: self.frames + other.frames,
            silence_ms: self.silence_ms + other.silence_ms,
            black: self.black + other.black,
        }
    }
}

const FIRST_STEP_MS: u64 = 1_000;
const MAX_STEPS: u64 = 512;
const MAX_SIZES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn long_file_has_few_steps_and_loses_no_byte() {
        let mut report = Report::default();
        for second in 0..36_000_u64 {
            let block = Block {
                kind: Kind::Video,
                time_ms: 0,
                is_keyframe: second == 0,
                is_fill: false,
                size: (second == 0).then_some((640, 360)),
                duration_us: 0,
                level: None,
                codec_private: None,
                data: Bytes::from_static(&[0; 10]),
            };
            report.add(second * 1000, &block);
        }
        assert!(report.steps.len() <= 512 && report.step_ms == 128_000);
        assert_eq!(report.steps.iter().map(|step| step.video_bytes).sum::<u64>(), 360_000);
        assert_eq!(report.largest(), Some((640, 360)));
    }
}
