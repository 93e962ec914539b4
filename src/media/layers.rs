//! Which simulcast layers of a track are sent just now. Pure.
//! A sender that has too little bandwidth leaves out its highest layer without a word: only the others go on.

use std::time::{Duration, Instant};

use super::InboundPacket;

/// When each layer of one track was last heard.
#[derive(Debug, Default)]
pub struct Layers {
    heard: [Option<Heard>; MAX_LAYERS],
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    rtp_time: u32,
    /// Frames of other layers that have begun since.
    frames_of_others: u8,
}

impl Layers {
    /// A packet of one of them.
    pub fn on_packet(&mut self, packet: &InboundPacket) {
        let number = usize::from(packet.layer);
        let Some(before) = self.heard.get(number).copied() else { return };
        if before.is_none_or(|before| before.rtp_time != packet.rtp_time) {
            for other in self.heard.iter_mut().flatten() {
                other.frames_of_others = other.frames_of_others.saturating_add(1);
            }
        }
        self.heard[number] = Some(Heard { at: packet.arrival, rtp_time: packet.rtp_time, frames_of_others: 0 });
    }

    /// The highest that is sent. When all are silent nothing changes: a camera that is off is no reason to move.
    pub fn highest_live(&self) -> Option<u8> {
        let newest = self.heard.iter().flatten().map(|heard| heard.at).max()?;
        let is_live = |heard: &Option<Heard>| {
            heard.is_some_and(|heard| {
                heard.frames_of_others < MISSED_FRAMES || newest.saturating_duration_since(heard.at) < SILENCE
            })
        };
        self.heard.iter().rposition(is_live).map(|number| number as u8)
    }
}

/// Layers of one track; smaller pictures have lower numbers.
pub const MAX_LAYERS: usize = 4;
// Both must be over: a camera in the dark sends a few frames a second, and a packet may come late.
const SILENCE: Duration = Duration::from_millis(300);
const MISSED_FRAMES: u8 = 6;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Codec;
    use super::*;

    struct Case {
        layers: Layers,
        start: Instant,
    }

    impl Case {
        /// One frame of each named layer at `ms`, then which is the highest.
        fn frame(&mut self, ms: u64, layers: &[u8]) -> u8 {
            for &layer in layers {
                self.layers.on_packet(&InboundPacket {
                    track: "paaaaaaaaaa/camera/video".parse().unwrap(),
                    layer,
                    ssrc: layer.into(),
                    codec: Codec::Vp8,
                    seq: 0,
                    rtp_time: ms as u32 * 90,
                    marker: true,
                    audio_level: None,
                    arrival: self.start + Duration::from_millis(ms),
                    payload: Bytes::new(),
                });
            }
            self.layers.highest_live().unwrap()
        }
    }

    #[test]
    fn a_layer_that_is_left_out_is_missed_within_a_third_of_a_second() {
        let mut case = Case { layers: Layers::default(), start: Instant::now() };
        assert_eq!(case.layers.highest_live(), None);
        assert_eq!(case.frame(0, &[0, 1, 2]), 2);
        let left = (1..).map(|n| n * 33).find(|&ms| case.frame(ms, &[0, 1]) == 1).unwrap();
        assert!((300..=334).contains(&left), "{left}");
        assert_eq!(case.frame(left + 33, &[0, 1, 2]), 2, "back at once");
    }

    #[test]
    fn a_slow_camera_is_not_a_layer_left_out() {
        let mut case = Case { layers: Layers::default(), start: Instant::now() };
        for ms in [0, 500, 1_000, 1_500, 10_000, 10_500] {
            assert_eq!(case.frame(ms, &[0]), if ms == 0 { 0 } else { 2 }, "the lowest comes first");
            assert_eq!(case.frame(ms, &[1, 2]), 2);
        }
    }
}
