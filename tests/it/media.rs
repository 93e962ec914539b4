//! The clip of `tests/data` as what a tap delivers: packets of a sender whose clock, start and order can be chosen.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reelay::media::{SenderReport, TapItem, TapPacket};
use reelay::rtp::{Codec, NtpTime};
use reelay_signaling::Kind;

use crate::clip::{self, CLIP_MS, Frame};

/// An item and when it arrives.
pub type Timed = (Instant, TapItem);

/// A sender of the clip.
#[derive(Debug, Clone)]
pub struct Sender {
    /// When the clip's time 0 is sent.
    pub start: Instant,
    /// How often the clip is played.
    pub rounds: u64,
    /// SSRC of audio; video has the next.
    pub ssrc: u32,
    /// First sequence number of both.
    pub seq: u16,
    /// First RTP time of both.
    pub rtp_time: u32,
    /// How long a packet is under way.
    pub delay: Duration,
    /// What its wall clock shows at the start.
    pub wall_ms: u64,
    /// Other pictures than the clip's.
    pub video: Option<Vec<Frame>>,
}

impl Sender {
    /// One that is about to wrap all its numbers.
    pub fn new(start: Instant, rounds: u64) -> Self {
        let delay = Duration::from_millis(10);
        Self { start, rounds, ssrc: 1000, seq: 65_500, rtp_time: u32::MAX - 100_000, delay, wall_ms: 0, video: None }
    }

    /// The frames that are sent, in order.
    pub fn frames(&self, kind: Kind) -> Vec<Frame> {
        let video = || self.video.clone().unwrap_or_else(clip::video);
        let clip = if kind == Kind::Video { video() } else { clip::audio() };
        let mut all = Vec::new();
        for round in 0..self.rounds {
            let within = clip.iter().filter(|frame| frame.time_ms < CLIP_MS);
            all.extend(within.map(|frame| Frame { time_ms: frame.time_ms + round * CLIP_MS, ..frame.clone() }));
        }
        all
    }

    /// The packets of one track, with a sender report each second.
    pub fn items(&self, kind: Kind) -> Vec<Timed> {
        let mut items = Vec::new();
        let mut seq = self.seq;
        let mut next_report_ms = 300;
        let (codec, ssrc) = if kind == Kind::Video { (Codec::Vp8, self.ssrc + 1) } else { (Codec::Opus, self.ssrc) };
        for (n, frame) in self.frames(kind).iter().enumerate() {
            // Exact ticks: the clip's times are rounded to milliseconds.
            let ticks = if kind == Kind::Video { n as u32 * 3000 } else { n as u32 * 960 };
            let rtp_time = self.rtp_time.wrapping_add(ticks);
            let sent = Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(codec.clock_hz()));
            let arrival = self.start + sent + self.delay;
            if frame.time_ms >= next_report_ms {
                next_report_ms += 1000;
                let ntp =
                    NtpTime::from_us(3_900_000_000_000_000 + self.wall_ms as i64 * 1000 + sent.as_micros() as i64).0;
                items.push((arrival, TapItem::Report(SenderReport { kind, ssrc, ntp, rtp_time, arrival })));
            }
            let payloads =
                if kind == Kind::Video { vp8_payloads(&frame.data, n, 400) } else { vec![frame.data.clone().into()] };
            let last = payloads.len() - 1;
            for (i, payload) in payloads.into_iter().enumerate() {
                let audio_level = (kind == Kind::Audio).then_some(30);
                let marker = kind == Kind::Video && i == last;
                let packet = TapPacket { kind, codec, ssrc, seq, rtp_time, marker, arrival, audio_level, payload };
                seq = seq.wrapping_add(1);
                items.push((arrival, TapItem::Packet(packet)));
            }
        }
        items
    }

    /// Both tracks in the order of arrival.
    pub fn both(&self) -> Vec<Timed> {
        let mut items = self.items(Kind::Audio);
        items.extend(self.items(Kind::Video));
        items.sort_by_key(|(at, _)| *at);
        items
    }
}

/// A frame in packets of at most this size, with a picture id.
pub fn vp8_payloads(frame: &[u8], n: usize, size: usize) -> Vec<Bytes> {
    let id = n as u16 & 0x7fff | 0x8000;
    let payload = |(i, part): (usize, &[u8])| {
        let start = if i == 0 { 0x10 } else { 0 };
        [&[0x80 | start, 0x80, (id >> 8) as u8, id as u8], part].concat().into()
    };
    frame.chunks(size).enumerate().map(payload).collect()
}
