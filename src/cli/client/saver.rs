//! What `reelay watch` receives: packets put in order, counted, and written into a WebM file. Time is an argument;
//! the file is the only thing it touches.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelay_signaling::Kind;
use serde::Serialize;

use crate::recording::file::{Block, SegmentFile};
use crate::recording::storage::{Disk, StorageError};
use crate::rtp::{Codec, Frame, Order, OrderLimits, Packet, Released, RtpTime};
use crate::webm::{AudioTrack, Header, VideoCodec, VideoTrack};

/// A packet of one of the tracks.
#[derive(Debug)]
pub struct Arrived {
    /// Of which codec the track is.
    pub codec: Codec,
    /// Its stream.
    pub ssrc: u32,
    /// The packet.
    pub packet: Packet,
}

/// Receives one audio and one video track.
pub struct Saver {
    out: Option<PathBuf>,
    file: Option<SegmentFile>,
    began: Instant,
    first_packet: Option<Instant>,
    tracks: Vec<Track>,
    waiting: Vec<(u64, Kind, Frame)>,
    summary: Summary,
    asked: Option<Instant>,
    is_asking: bool,
    line_bytes: [u64; 2],
}

struct Track {
    codec: Codec,
    ssrc: Option<u32>,
    order: Order,
    // RTP time and milliseconds of the first packet of this stream.
    base: Option<(RtpTime, u64, u32)>,
    lost_before: u64,
}

/// What came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Sound.
    pub audio: Counts,
    /// Picture.
    pub video: Counts,
    /// From the first packet of the session to its end.
    pub received_ms: u64,
    /// The file, where one was written.
    pub file: Option<Written>,
}

/// What came of one track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Name of the codec; empty without a track.
    pub codec: &'static str,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Whole frames in order.
    pub frames: u64,
    /// Those that can be decoded by themselves.
    pub keyframes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Size of the last picture.
    pub size: Option<(u16, u16)>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// Its length.
    pub duration_ms: u64,
    /// Its size.
    pub bytes: u64,
}

impl Saver {
    /// Nothing received yet.
    pub fn new(out: Option<PathBuf>, began: Instant) -> Self {
        Self {
            out,
            file: None,
            began,
            first_packet: None,
            tracks: Vec::new(),
            waiting: Vec::new(),
            summary: Summary::default(),
            asked: None,
            is_asking: false,
            line_bytes: [0; 2],
        }
    }

    /// A track of this codec has begun.
    pub fn declare(&mut self, codec: Codec) {
        self.counts(codec.kind()).codec = codec.name();
        self.tracks.retain(|track| track.codec.kind() != codec.kind());
        self.tracks.push(Track { codec, ssrc: None, order: order(codec), base: None, lost_before: 0 });
    }

    /// Takes a packet.
    pub fn on_packet(&mut self, arrived: Arrived) {
        let Arrived { codec, ssrc, packet } = arrived;
        let first = *self.first_packet.get_or_insert(packet.arrival);
        let at_ms = packet.arrival.saturating_duration_since(first).as_millis() as u64;
        let counts = self.counts(codec.kind());
        counts.packets += 1;
        counts.bytes += packet.payload.len() as u64;
        let Some(track) = self.tracks.iter_mut().find(|track| track.codec == codec) else { return };
        if track.ssrc != Some(ssrc) {
            // Another stream in the same place: what the old one still had to say is out of order now.
            track.lost_before += track.order.counters().lost;
            (track.ssrc, track.order, track.base) = (Some(ssrc), order(codec), None);
        }
        let time = track.order.push(packet);
        let epoch = track.order.epoch();
        if let Some(time) = time
            && track.base.is_none_or(|(_, _, known)| known != epoch)
        {
            track.base = Some((time, at_ms, epoch));
        }
        self.collect();
    }

    /// Gives up what has waited for too long, and writes what is due.
    ///
    /// # Errors
    /// The disk's.
    pub fn on_tick(&mut self, now: Instant) -> Result<(), StorageError> {
        for track in &mut self.tracks {
            track.order.on_timeout(now);
        }
        self.collect();
        let Some(first) = self.first_packet else { return Ok(()) };
        let age_ms = now.saturating_duration_since(first).as_millis() as u64;
        self.summary.received_ms = age_ms;
        if self.file.is_some() || self.tracks.len() == 2 || age_ms >= SECOND_TRACK_MS {
            self.write(age_ms.saturating_sub(HOLD_MS))?;
            if let Some(file) = &mut self.file {
                file.flush()?;
            }
        }
        let needs_keyframe = self.tracks.iter().any(|track| track.order.needs_keyframe());
        self.is_asking = needs_keyframe && self.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY);
        if self.is_asking {
            self.asked = Some(now);
        }
        Ok(())
    }

    /// True when a keyframe should be asked for now.
    pub fn wants_keyframe(&self) -> bool {
        self.is_asking
    }

    /// What came since the last line, for people.
    pub fn line(&mut self) -> String {
        let Summary { audio, video, received_ms, .. } = &self.summary;
        let kbit = [audio, video].map(|counts| counts.bytes);
        let rate = |n: usize| (kbit[n] - self.line_bytes[n]) * 8 / 1000;
        let size = video.size.map(|(width, height)| format!(" {width}x{height}")).unwrap_or_default();
        let line = format!(
            "{:>5} s  sound {} kbit/s, {} lost  picture {} kbit/s{size}, {} frames, {} lost",
            received_ms / 1000,
            rate(0),
            audio.lost,
            rate(1),
            video.frames,
            video.lost
        );
        self.line_bytes = kbit;
        line
    }

    /// Ends the file and adds everything up.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self) -> Result<Summary, StorageError> {
        for track in &mut self.tracks {
            track.order.flush(self.began);
        }
        self.collect();
        self.write(u64::MAX)?;
        if let Some(closed) = self.file.take().map(SegmentFile::close).transpose()?.flatten() {
            let (path, duration_ms, bytes) = (closed.path, closed.duration_ms, closed.bytes);
            self.summary.file = Some(Written { path, duration_ms, bytes });
        }
        Ok(self.summary)
    }

    // Frames that came out of order's hands, with their place in the file.
    fn collect(&mut self) {
        for track in &mut self.tracks {
            while let Some(released) = track.order.poll() {
                let Released::Frame(frame) = released else { continue };
                let Some((base, base_ms, _)) = track.base else { continue };
                let since_us = frame.time.to_us(track.codec.clock_hz()) - base.to_us(track.codec.clock_hz());
                let time_ms = base_ms.saturating_add_signed(since_us / 1000);
                let kind = track.codec.kind();
                let counts = if kind == Kind::Audio { &mut self.summary.audio } else { &mut self.summary.video };
                counts.frames += 1;
                counts.keyframes += u64::from(frame.is_keyframe);
                counts.size = frame.size.or(counts.size);
                if self.out.is_some() {
                    self.waiting.push((time_ms, kind, frame));
                }
            }
            let lost = track.lost_before + track.order.counters().lost;
            match track.codec.kind() {
                Kind::Audio => self.summary.audio.lost = lost,
                Kind::Video => self.summary.video.lost = lost,
            }
        }
    }

    // Sound and picture in the order of time, up to `until_ms`.
    fn write(&mut self, until_ms: u64) -> Result<(), StorageError> {
        self.waiting.sort_by_key(|(time_ms, kind, _)| (*time_ms, *kind));
        let due = self.waiting.partition_point(|(time_ms, ..)| *time_ms <= until_ms);
        if due == 0 {
            return Ok(());
        }
        if self.file.is_none() {
            let Some(path) = &self.out else { return Ok(()) };
            self.file = Some(SegmentFile::create(Arc::new(Disk), path, &header(&self.tracks))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        for (time_ms, kind, frame) in self.waiting.drain(..due) {
            if let Some(data) = &frame.codec_private {
                file.set_codec_private(data);
            }
            let (keyframe, size) = (frame.is_keyframe, frame.size);
            file.write(Block { kind, time_ms, keyframe, fill: false, data: &frame.data, size })?;
        }
        Ok(())
    }

    fn counts(&mut self, kind: Kind) -> &mut Counts {
        if kind == Kind::Audio { &mut self.summary.audio } else { &mut self.summary.video }
    }
}

impl Summary {
    /// True when frames came.
    pub fn is_something(&self) -> bool {
        self.audio.frames + self.video.frames > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { audio, video, received_ms, file } = self;
        let seconds = *received_ms as f64 / 1000.0;
        write!(f, "received {seconds:.1} s: {} packets of sound ({} lost), ", audio.packets, audio.lost)?;
        write!(f, "{} frames in {} packets of picture ({} lost)", video.frames, video.packets, video.lost)?;
        match file {
            Some(file) => {
                let (seconds, kilobytes) = (file.duration_ms as f64 / 1000.0, file.bytes / 1000);
                write!(f, "\nwrote {}: {seconds:.1} s, {kilobytes} kB", file.path.display())
            }
            None => Ok(()),
        }
    }
}

fn order(codec: Codec) -> Order {
    Order::new(codec, OrderLimits { wait: WAIT, origin_hold: Duration::from_millis(50), ..OrderLimits::default() })
}

fn header(tracks: &[Track]) -> Header {
    let codec = |codec| match codec {
        Codec::Vp8 => Some(VideoCodec::Vp8),
        Codec::Vp9 => Some(VideoCodec::Vp9),
        Codec::Av1 => Some(VideoCodec::Av1),
        Codec::Opus => None,
    };
    let has_audio = tracks.iter().any(|track| track.codec == Codec::Opus);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Header {
        video: tracks.iter().find_map(|track| codec(track.codec)).map(|codec| VideoTrack { codec, size: None }),
        audio: has_audio.then_some(AudioTrack { channels: 2 }),
        date_ms: now.as_millis() as _,
        name: String::new(),
    }
}

const WAIT: Duration = Duration::from_millis(500);
// Longer than a frame can be late, so that sound and picture come into the file in the order of time.
const HOLD_MS: u64 = 800;
const SECOND_TRACK_MS: u64 = 1_500;
const ASK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::clip::Clip;
    use super::super::payload::Payloads;
    use super::super::player::{Player, Repeat};
    use super::*;

    #[test]
    fn what_is_received_is_counted_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.webm");
        let start = Instant::now();
        let mut saver = Saver::new(Some(out.clone()), start);
        saver.declare(Codec::Vp8);
        saver.declare(Codec::Opus);
        let mut streams = [Payloads::new(Codec::Vp8, 1, 96), Payloads::new(Codec::Opus, 2, 111)];
        let mut player = Player::new(Clip::test_pattern(), Repeat::Loop);
        let mut last = start;
        for due in std::iter::from_fn(|| player.next()).take(1000) {
            let (n, codec) = if due.kind == Kind::Video { (0, Codec::Vp8) } else { (1, Codec::Opus) };
            let arrival = start + Duration::from_micros(due.at_us);
            for packet in streams[n].packets(due.at_us, &due.data) {
                let header = packet.header;
                let packet = Packet {
                    seq: header.sequence_number,
                    rtp_time: header.timestamp,
                    marker: header.marker,
                    arrival,
                    level: None,
                    payload: packet.payload,
                };
                saver.on_packet(Arrived { codec, ssrc: header.ssrc, packet });
            }
            if arrival > last + Duration::from_millis(100) {
                last = arrival;
                saver.on_tick(arrival).unwrap();
                assert!(!saver.wants_keyframe() || arrival < start + Duration::from_millis(500));
            }
        }
        let summary = saver.finish().unwrap();
        assert_eq!((summary.audio.lost, summary.video.lost, summary.video.size), (0, 0, Some((320, 180))));
        assert_eq!(summary.audio.frames + summary.video.frames, 1000);
        let file = summary.file.unwrap();
        assert_eq!(file.path, out);
        assert!((12_000..13_000).contains(&file.duration_ms), "{}", file.duration_ms);
    }
}
