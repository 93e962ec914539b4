//! A camera with a microphone as the recorder's tap gives it, in virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reelay_signaling::Kind;

use crate::bench::source::{FRAME_BYTES, FRAMES_PER_SECOND, PACKETS_PER_FRAME, SOUND_BYTES, SOUND_US};
use crate::media::{SenderReport, TapItem, TapPacket};
use crate::recording::storage::StorageError;
use crate::recording::trial::Trial;
use crate::rtp::Codec;

/// What a camera sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shot {
    /// Bytes of a video packet; there are four to a frame.
    pub packet_bytes: usize,
    /// Bytes of an Opus packet.
    pub sound_bytes: usize,
    /// One video packet is lost for good in each this many frames.
    pub lost_every: Option<u64>,
}

impl Shot {
    /// 1 Mbit/s in 30 frames a second, and sound of 32 kbit/s: the load of all benches.
    pub const USUAL: Self =
        Self { packet_bytes: FRAME_BYTES / PACKETS_PER_FRAME as usize, sound_bytes: SOUND_BYTES, lost_every: None };
}

/// See the module.
pub(super) struct Camera {
    shot: Shot,
    zero: Instant,
    frame: u64,
    sound: u64,
    second: u64,
    seq: u16,
    /// Frames and packets of sound so far.
    pub frames: u64,
    payloads: [Vec<u8>; 3],
    audio: Vec<u8>,
}

impl Camera {
    /// Begins at `zero`.
    pub fn new(shot: Shot, zero: Instant) -> Self {
        let payload = |head: &[u8]| [head, &vec![7; shot.packet_bytes.saturating_sub(head.len() - 1)]].concat();
        // The payload descriptor, then frame tag, start code and size (RFC 7741 §4.2, RFC 6386 §9.1).
        let key = payload(&[0x10, 0x10, 0, 0, 0x9D, 1, 0x2A, 0x00, 0x05, 0xD0, 0x02]);
        let (delta, rest) = (payload(&[0x10, 0x11, 0, 0]), payload(&[0x00]));
        // CELT, full band, 20 ms, one frame (RFC 6716 §3.1).
        let audio = [&[0xF8], &vec![0x5A; shot.sound_bytes.saturating_sub(1)][..]].concat();
        Self { shot, zero, frame: 0, sound: 0, second: 0, seq: 0, frames: 0, payloads: [key, delta, rest], audio }
    }

    /// Lets a recording run until `until`, in the recorder's steps; `each_second` comes after each second of it.
    pub fn play(
        &mut self,
        trial: &mut Trial,
        from: Duration,
        until: Duration,
        mut each_second: impl FnMut(&mut Trial) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut passed = from;
        let mut next_second = from + SECOND;
        while passed < until {
            passed += TICK;
            self.send(trial, passed);
            trial.tick(self.zero + passed).map_err(|error: StorageError| anyhow::anyhow!(error))?;
            if passed >= next_second {
                next_second += SECOND;
                each_second(trial)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, trial: &mut Trial, until: Duration) {
        let until_us = until.as_micros() as u64;
        loop {
            let (frame_us, sound_us) = (self.frame * 1_000_000 / FRAMES_PER_SECOND, self.sound * SOUND_US);
            if frame_us.min(sound_us) >= until_us {
                return;
            }
            let arrival = self.zero + Duration::from_micros(frame_us.min(sound_us));
            if frame_us.min(sound_us) >= self.second * 1_000_000 {
                self.report(trial, arrival);
            }
            if frame_us <= sound_us {
                self.send_frame(trial, arrival, frame_us);
            } else {
                let payload = Bytes::copy_from_slice(&self.audio);
                let seq = self.sound as u16;
                let rtp_time = (self.sound * 960) as u32;
                trial.take(arrival, packet(Codec::Opus, (seq, rtp_time, true), arrival, payload));
                self.sound += 1;
            }
            self.frames += 1;
        }
    }

    fn send_frame(&mut self, trial: &mut Trial, arrival: Instant, frame_us: u64) {
        let is_key = self.frame.is_multiple_of(KEYFRAME_EVERY);
        let is_hit = self.shot.lost_every.is_some_and(|every| self.frame % every == every - 1);
        for n in 0..PACKETS_PER_FRAME {
            let kind = if n > 0 { 2 } else { usize::from(!is_key) };
            let seq = self.seq;
            self.seq = self.seq.wrapping_add(1);
            if is_hit && n == 1 {
                continue;
            }
            // Copied to its own size, as the tap does.
            let payload = Bytes::copy_from_slice(&self.payloads[kind]);
            let rtp_time = (frame_us * 9 / 100) as u32;
            let numbers = (seq, rtp_time, n + 1 == PACKETS_PER_FRAME);
            trial.take(arrival, packet(Codec::Vp8, numbers, arrival, payload));
        }
        self.frame += 1;
    }

    fn report(&mut self, trial: &mut Trial, arrival: Instant) {
        let us = self.second * 1_000_000;
        self.second += 1;
        let ntp = (NTP_SECONDS + us / 1_000_000) << 32;
        for codec in [Codec::Vp8, Codec::Opus] {
            let rtp_time = (us * u64::from(codec.clock_hz()) / 1_000_000) as u32;
            let (kind, ssrc) = (codec.kind(), ssrc(codec));
            trial.take(arrival, TapItem::Report(SenderReport { kind, ssrc, ntp, rtp_time, arrival }));
        }
    }
}

fn packet(codec: Codec, (seq, rtp_time, marker): (u16, u32, bool), arrival: Instant, payload: Bytes) -> TapItem {
    let kind = codec.kind();
    let audio_level = (kind == Kind::Audio).then_some(30);
    TapItem::Packet(TapPacket { kind, codec, ssrc: ssrc(codec), seq, rtp_time, marker, arrival, audio_level, payload })
}

fn ssrc(codec: Codec) -> u32 {
    if codec == Codec::Opus { 2 } else { 1 }
}

/// As the recorder's thread.
const TICK: Duration = Duration::from_millis(40);
const SECOND: Duration = Duration::from_secs(1);
/// Frames; 4 s.
const KEYFRAME_EVERY: u64 = 120;
/// Somewhere in 2026.
const NTP_SECONDS: u64 = 3_987_000_000;
