//! Frames as the packets of a source: one SSRC for sound and one for pictures, whatever files they come from. Pure.

use std::time::{Duration, Instant};

use reelay_signaling::{Kind, ParticipantId, Source, TrackId};

use super::reader::Unit;
use crate::media::{InboundPacket, SenderReport};
use crate::rtp::{Codec, opus, pack};

/// Sound and pictures of one playback.
pub struct Streams {
    /// Recording time that the clocks begin at.
    zero_ms: u64,
    audio: Stream,
    video: Stream,
}

struct Stream {
    track: TrackId,
    ssrc: u32,
    seq: u16,
    base_time: u32,
    /// The least time, in ticks since the beginning, that the next frame may have.
    next: Option<u64>,
    reported: Option<Instant>,
}

/// What a frame becomes.
pub struct Fed {
    /// Its packets.
    pub packets: Vec<InboundPacket>,
    /// Once in a while: which moment of the sender's clock it shows.
    pub report: Option<(TrackId, SenderReport)>,
}

impl Streams {
    /// Streams that begin at `zero_ms` of the recording. `seed` is any number that differs from playback to playback.
    pub fn new(zero_ms: u64, participant: &ParticipantId, seed: u64) -> Self {
        let stream = |kind, salt: u64| {
            let random = seed.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            Stream {
                track: TrackId { participant: participant.clone(), source: Source::Camera, kind },
                ssrc: (random >> 32) as u32 | 1,
                seq: random as u16,
                base_time: random as u32,
                next: None,
                reported: None,
            }
        };
        Self { zero_ms, audio: stream(Kind::Audio, 1), video: stream(Kind::Video, 2) }
    }

    /// Both tracks.
    pub fn tracks(&self) -> [TrackId; 2] {
        [self.audio.track.clone(), self.video.track.clone()]
    }

    /// The packets of a frame that is due at `due`, which is `ntp` by the sender's clock (32.32 seconds since 1900).
    pub fn packets(&mut self, unit: &Unit, due: Instant, ntp: u64) -> Fed {
        let is_audio = unit.codec == Codec::Opus;
        let ticks = unit.at_ms.saturating_sub(self.zero_ms).saturating_mul(u64::from(unit.codec.clock_hz() / 1000));
        let stream = if is_audio { &mut self.audio } else { &mut self.video };
        let next = stream.next.unwrap_or(ticks);
        let (time, length) = if is_audio {
            // Files count milliseconds, packets follow each other by the sample: only a hole moves the clock.
            let time = if ticks > next + AUDIO_HOLE_TICKS { ticks } else { next };
            (time, opus::toc(&unit.data).map_or(0, |toc| u64::from(toc.samples)))
        } else {
            (ticks.max(next), 1)
        };
        stream.next = Some(time + length);
        let rtp_time = stream.base_time.wrapping_add(time as u32);
        let payloads = pack::payloads(unit.codec, &unit.data, unit.is_keyframe);
        let last = payloads.len().saturating_sub(1);
        let packet = |(n, payload)| {
            stream.seq = stream.seq.wrapping_add(1);
            InboundPacket {
                track: stream.track.clone(),
                layer: 0,
                ssrc: stream.ssrc,
                codec: unit.codec,
                seq: stream.seq,
                rtp_time,
                marker: n == last && !is_audio,
                audio_level: None,
                arrival: due,
                payload,
            }
        };
        let packets: Vec<InboundPacket> = payloads.into_iter().enumerate().map(packet).collect();
        let is_due = stream.reported.is_none_or(|last| due.saturating_duration_since(last) >= REPORT_EVERY);
        let report = (is_due && !packets.is_empty()).then(|| {
            stream.reported = Some(due);
            let kind = stream.track.kind;
            (stream.track.clone(), SenderReport { kind, ssrc: stream.ssrc, ntp, rtp_time, arrival: due })
        });
        Fed { packets, report }
    }
}

// 60 ms: more than rounding, drift and a packet of the longest usual kind.
const AUDIO_HOLE_TICKS: u64 = 48 * 60;
const REPORT_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(at_ms: u64, codec: Codec, len: usize) -> Unit {
        let data = if codec == Codec::Opus { vec![0xf8, 0xff, 0xfe] } else { vec![1; len] };
        Unit { at_ms, codec, is_keyframe: false, data: data.into() }
    }

    fn streams() -> Streams {
        Streams::new(1_000, &"paaaaaaaaaa".parse().unwrap(), 7)
    }

    #[test]
    fn sound_follows_by_the_sample_and_jumps_over_holes() {
        let mut streams = streams();
        let now = Instant::now();
        // Rounded to milliseconds, late by 30 ms, and a hole of a second.
        let at = [1_000, 1_021, 1_039, 1_090, 2_080, 2_081];
        let packets: Vec<_> = at.map(|at| streams.packets(&unit(at, Codec::Opus, 0), now, 0).packets.remove(0)).into();
        let since: Vec<u32> = packets.iter().map(|packet| packet.rtp_time.wrapping_sub(packets[0].rtp_time)).collect();
        assert_eq!(since, [0, 960, 1920, 2880, 1080 * 48, 1080 * 48 + 960]);
        assert!(packets.windows(2).all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1)));
        assert!(packets.iter().all(|packet| !packet.marker));
    }

    #[test]
    fn pictures_keep_their_time_and_differ_in_it() {
        let mut streams = streams();
        let now = Instant::now();
        let mut fed = |at| streams.packets(&unit(at, Codec::Vp8, 3000), now, 0).packets;
        let (first, same, later) = (fed(1_000), fed(1_000), fed(1_033));
        assert_eq!(first.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(same[0].rtp_time.wrapping_sub(first[0].rtp_time), 1);
        assert_eq!(later[0].rtp_time.wrapping_sub(first[0].rtp_time), 33 * 90);
        assert_eq!(later[0].seq.wrapping_sub(first[0].seq), 6);
    }

    #[test]
    fn clocks_are_told_once_a_second() {
        let mut streams = streams();
        let start = Instant::now();
        let told = (0..100).filter(|n| {
            let due = start + Duration::from_millis(n * 40);
            streams.packets(&unit(1_000 + n * 40, Codec::Vp8, 10), due, 5).report.is_some()
        });
        assert_eq!(told.count(), 4);
    }
}
