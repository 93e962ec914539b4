//! The receiving half of a publisher's connection: names each decrypted packet (m-line, layer), unwraps
//! retransmissions, drops duplicates, asks for what is missing. `interceptors` puts it into `rtc`'s chain.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reelay_signaling::Kind;
use rtc::interceptor::{
    Interceptor, RTPHeaderExtension, ReceiverReportBuilder, ReceiverReportInterceptor, StreamInfo, TaggedPacket,
    TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport as RtcpSenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::rtp;
use rtc::sansio::Protocol;

use super::nack::{Arrival, NackLog, NackOptions};
use super::redundancy::{self, Copy};
use super::sdp_in::{Extension, OfferedCodec};
use super::{Codec, SenderReport};

/// An m-line that we receive on, as negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place among the m-lines of the offer; never changes.
    pub index: usize,
    /// Its mid.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// What may come on it.
    pub codecs: Vec<OfferedCodec>,
    /// Simulcast layers, the smallest picture first.
    pub rids: Vec<String>,
    /// Declared SSRCs and those of their retransmissions.
    pub ssrcs: Vec<(u32, Option<u32>)>,
}

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// A media packet.
    Packet(ReceivedPacket),
    /// A sender report about a stream of m-line `line`.
    Report {
        /// The m-line.
        line: usize,
        /// The report.
        report: SenderReport,
    },
    /// The sender said goodbye to every stream of this m-line.
    Ended {
        /// The m-line.
        line: usize,
    },
}

/// A media packet with its place.
#[derive(Debug)]
pub struct ReceivedPacket {
    /// The m-line.
    pub line: usize,
    /// The simulcast layer.
    pub layer: u8,
    /// What the payload is.
    pub codec: Codec,
    /// The RTP header fields that matter further on.
    pub ssrc: u32,
    /// Sequence number.
    pub seq: u16,
    /// Timestamp.
    pub rtp_time: u32,
    /// Marker bit.
    pub marker: bool,
    /// Loudness, where negotiated.
    pub audio_level: Option<u8>,
    /// When its datagram was read.
    pub arrival: Instant,
    /// The payload without padding; empty for padding alone.
    pub payload: Bytes,
}

/// Numbers since the connection began.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceiverCounters {
    /// Media packets given on.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Came because they were asked for again, or as a copy in a later packet.
    pub recovered: u64,
    /// Came twice.
    pub duplicates: u64,
    /// No m-line wants them.
    pub unknown: u64,
    /// Asked for again.
    pub nacked: u64,
    /// Never came.
    pub lost: u64,
    /// Keyframe requests sent.
    pub keyframe_requests: u64,
}

/// See the module.
pub struct Receiver {
    options: NackOptions,
    lines: Vec<Line>,
    extensions: Vec<(u8, Extension)>,
    streams: HashMap<u32, Stream>,
    received: VecDeque<Received>,
    pub(super) twcc: TwccReceiverInterceptor,
    pub(super) reports: ReceiverReportInterceptor,
    pub(super) feedback: VecDeque<(Instant, Box<dyn rtc::rtcp::Packet>)>,
    pub(super) passing: VecDeque<TaggedPacket>,
    sender_ssrc: u32,
    fir_number: u8,
    rtt: Option<Duration>,
    counters: ReceiverCounters,
}

struct Stream {
    line: usize,
    layer: u8,
    last: Instant,
    role: Role,
}

enum Role {
    Media {
        log: NackLog,
        is_ended: bool,
        keyframe: KeyframeWish,
        /// Number and timestamp of the newest packet.
        newest: Option<(u16, u32)>,
    },
    Rtx {
        primary: u32,
    },
}

#[derive(Default)]
struct KeyframeWish {
    last: Option<Instant>,
    is_open: bool,
}

impl Receiver {
    /// A receiver without m-lines.
    pub fn new(options: NackOptions) -> Self {
        Self {
            options,
            lines: Vec::new(),
            extensions: Vec::new(),
            streams: HashMap::new(),
            twcc: TwccReceiverBuilder::new().build(),
            reports: ReceiverReportBuilder::new().build(),
            received: VecDeque::new(),
            feedback: VecDeque::new(),
            passing: VecDeque::new(),
            sender_ssrc: rand::random(),
            fir_number: 0,
            rtt: None,
            counters: ReceiverCounters::default(),
        }
    }

    /// Takes what was negotiated; streams of m-lines that are gone are forgotten.
    pub fn configure(&mut self, lines: Vec<Line>, extensions: Vec<(u8, Extension)>) {
        let gone: Vec<u32> = self
            .streams
            .iter()
            .filter(|(_, stream)| !lines.iter().any(|line| line.index == stream.line))
            .map(|(&ssrc, _)| ssrc)
            .collect();
        for ssrc in gone {
            self.forget(ssrc);
        }
        if let Some(&(id, _)) = extensions.iter().find(|(_, extension)| *extension == Extension::TransportCc) {
            // The number is one for the whole connection, so a single binding serves all SSRCs.
            let extension = RTPHeaderExtension { uri: Extension::TransportCc.uri().into(), id: id.into() };
            self.twcc.bind_remote_stream(&StreamInfo { rtp_header_extensions: vec![extension], ..Default::default() });
        }
        self.lines = lines;
        self.extensions = extensions;
    }

    /// The round-trip time, as the ICE checks measure it.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    /// Takes the next thing that came in.
    pub fn poll(&mut self) -> Option<Received> {
        self.received.pop_front()
    }

    /// Numbers since the connection began.
    pub fn counters(&self) -> ReceiverCounters {
        self.counters
    }

    /// Asks for a keyframe of a layer; requests that come too close are merged into one later.
    /// Returns false when nothing of that layer has come yet.
    pub fn request_keyframe(&mut self, now: Instant, line: usize, layer: u8) -> bool {
        let mut has_any = false;
        for stream in self.streams.values_mut().filter(|s| s.line == line && s.layer == layer) {
            if let Role::Media { keyframe, is_ended: false, .. } = &mut stream.role {
                keyframe.is_open = true;
                has_any = true;
            }
        }
        self.send_keyframe_requests(now);
        has_any
    }

    pub(super) fn on_rtp(&mut self, now: Instant, mut packet: rtp::Packet) -> Option<rtp::Packet> {
        let Some(ssrc) = self.name(now, &packet.header) else {
            self.counters.unknown += 1;
            return None;
        };
        let is_rtx = ssrc != packet.header.ssrc;
        if is_rtx && !self.unwrap_rtx(&mut packet, ssrc) {
            return None;
        }
        let level = self.extension(&packet.header, Extension::AudioLevel).and_then(|value| value.first().copied());
        let stream = self.streams.get_mut(&ssrc)?;
        let Role::Media { log, is_ended, newest, .. } = &mut stream.role else { return None };
        let codecs = &self.lines.iter().find(|l| l.index == stream.line)?.codecs;
        let codec = codecs.iter().find(|codec| codec.carries(packet.header.payload_type))?;
        let (mut payload, mut copies) = (packet.payload.clone(), Vec::new());
        if codec.red == Some(packet.header.payload_type) && !payload.is_empty() {
            let Some(unwrapped) = redundancy::unwrap(&payload, codec.payload_type) else {
                self.counters.unknown += 1;
                return None;
            };
            (payload, copies) = unwrapped;
        }
        stream.last = now;
        let (seq, rtp_time) = (packet.header.sequence_number, packet.header.timestamp);
        let arrival = log.on_packet(now, seq);
        if arrival == Arrival::Known {
            self.counters.duplicates += 1;
            return None;
        }
        // After a goodbye only a newer packet begins the stream again, not one that was on its way.
        if *is_ended && (is_rtx || arrival != Arrival::Newest) {
            return None;
        }
        *is_ended = false;
        self.counters.packets += 1;
        self.counters.bytes += packet.payload.len() as u64;
        self.counters.recovered += u64::from(arrival == Arrival::Repaired);
        let marker = packet.header.marker;
        let own = ReceivedPacket {
            line: stream.line,
            layer: stream.layer,
            codec: codec.codec,
            ssrc,
            seq,
            rtp_time,
            marker,
            audio_level: level.map(|byte| byte & 0x7f),
            arrival: now,
            payload,
        };
        if arrival == Arrival::Newest {
            let before = newest.replace((seq, rtp_time));
            for copy in before.map_or(Vec::new(), |before| redundancy::in_hole(before, (seq, rtp_time), copies)) {
                if log.on_packet(now, copy.seq) == Arrival::Known {
                    continue;
                }
                self.counters.recovered += 1;
                let Copy { seq, rtp_time, payload } = copy;
                let copy = ReceivedPacket { seq, rtp_time, payload, marker: false, audio_level: None, ..own };
                self.received.push_back(Received::Packet(copy));
            }
        }
        self.received.push_back(Received::Packet(own));
        Some(packet)
    }

    /// Turns a retransmission (RFC 4588) back into the packet that it repeats; false for probes without one.
    fn unwrap_rtx(&self, packet: &mut rtp::Packet, primary: u32) -> bool {
        let Some(&[high, low]) = packet.payload.first_chunk::<2>() else { return false };
        let line = self.streams.get(&primary).map(|stream| stream.line);
        let codecs = self.lines.iter().find(|l| Some(l.index) == line).map(|l| &l.codecs);
        let apt = codecs.into_iter().flatten().find(|codec| codec.rtx == Some(packet.header.payload_type));
        let Some(codec) = apt else { return false };
        packet.header.ssrc = primary;
        packet.header.payload_type = codec.payload_type;
        packet.header.sequence_number = u16::from_be_bytes([high, low]);
        packet.header.padding = false;
        packet.payload = packet.payload.slice(2..);
        true
    }

    /// The SSRC of the media stream that a packet belongs to, bound on its first packet.
    fn name(&mut self, now: Instant, header: &rtp::Header) -> Option<u32> {
        let (ssrc, payload_type) = (header.ssrc, header.payload_type);
        let line = match self.text(header, Extension::Mid) {
            Some(mid) => Some(self.lines.iter().find(|line| line.mid.as_bytes() == mid)?),
            None => None,
        };
        if let Some(stream) = self.streams.get(&ssrc)
            && line.is_none_or(|line| line.index == stream.line)
        {
            return match &stream.role {
                Role::Media { .. } => self.takes(stream.line, payload_type).then_some(ssrc),
                Role::Rtx { primary } => Some(*primary),
            };
        }
        let declares = |line: &&Line| line.ssrcs.iter().any(|&(a, b)| a == ssrc || b == Some(ssrc));
        let line = line.or_else(|| self.lines.iter().find(declares)).or_else(|| self.only_line_for(payload_type))?;
        let (index, asks) = (line.index, line.codecs.iter().any(|codec| codec.feedback.contains(&"nack")));
        if line.codecs.iter().any(|codec| codec.carries(payload_type)) {
            let layer = self.layer(line, self.text(header, Extension::Rid))?;
            let clock_rate = line.codecs.iter().find(|c| c.carries(payload_type))?.codec.clock_hz();
            let log = NackLog::new(self.options, asks);
            let role = Role::Media { log, is_ended: false, keyframe: KeyframeWish::default(), newest: None };
            self.bind(ssrc, Stream { line: index, layer, last: now, role });
            self.reports.bind_remote_stream(&StreamInfo { ssrc, clock_rate, ..Default::default() });
            return Some(ssrc);
        }
        line.codecs.iter().find(|codec| codec.rtx == Some(payload_type))?;
        let declared = line.ssrcs.iter().find(|(_, rtx)| *rtx == Some(ssrc)).map(|(primary, _)| *primary);
        let primary = match declared {
            Some(primary) => self.streams.contains_key(&primary).then_some(primary)?,
            None => {
                let layer = self.layer(line, self.text(header, Extension::RepairedRid))?;
                self.newest_media(index, layer)?
            }
        };
        let layer = self.streams.get(&primary)?.layer;
        self.bind(ssrc, Stream { line: index, layer, last: now, role: Role::Rtx { primary } });
        Some(primary)
    }

    fn layer(&self, line: &Line, rid: Option<Bytes>) -> Option<u8> {
        if line.rids.len() < 2 {
            return Some(0);
        }
        let rid = rid?;
        line.rids.iter().position(|known| known.as_bytes() == rid).map(|index| index as u8)
    }

    fn takes(&self, line: usize, payload_type: u8) -> bool {
        let line = self.lines.iter().find(|l| l.index == line);
        line.is_some_and(|line| line.codecs.iter().any(|codec| codec.carries(payload_type)))
    }

    fn only_line_for(&self, payload_type: u8) -> Option<&Line> {
        let takes = |line: &&Line| {
            line.codecs.iter().any(|codec| codec.carries(payload_type) || codec.rtx == Some(payload_type))
        };
        let mut lines = self.lines.iter().filter(takes);
        lines.next().filter(|_| lines.next().is_none())
    }

    fn newest_media(&self, line: usize, layer: u8) -> Option<u32> {
        let media =
            |stream: &Stream| stream.line == line && stream.layer == layer && matches!(stream.role, Role::Media { .. });
        self.streams.iter().filter(|(_, stream)| media(stream)).max_by_key(|(_, stream)| stream.last).map(|(&s, _)| s)
    }

    fn bind(&mut self, ssrc: u32, stream: Stream) {
        if self.streams.len() >= MAX_STREAMS
            && let Some(oldest) = self.streams.iter().min_by_key(|(_, stream)| stream.last).map(|(&ssrc, _)| ssrc)
        {
            self.forget(oldest);
        }
        self.streams.insert(ssrc, stream);
    }

    fn forget(&mut self, ssrc: u32) {
        self.streams.remove(&ssrc);
        self.reports.unbind_remote_stream(&StreamInfo { ssrc, ..Default::default() });
    }

    fn extension(&self, header: &rtp::Header, wanted: Extension) -> Option<Bytes> {
        let (id, _) = self.extensions.iter().find(|(_, extension)| *extension == wanted)?;
        header.get_extension(*id)
    }

    fn text(&self, header: &rtp::Header, wanted: Extension) -> Option<Bytes> {
        let value = self.extension(header, wanted)?;
        // Some senders fill the value up with zeros.
        let length = value.iter().rposition(|&byte| byte != 0)? + 1;
        Some(value.slice(..length))
    }

    pub(super) fn on_rtcp(&mut self, now: Instant, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<RtcpSenderReport>() {
                let Some(stream) = self.streams.get(&report.ssrc) else { continue };
                let Some(line) = self.lines.iter().find(|line| line.index == stream.line) else { continue };
                let (ssrc, ntp, rtp_time) = (report.ssrc, report.ntp_time, report.rtp_time);
                let report = SenderReport { kind: line.kind, ssrc, ntp, rtp_time, arrival: now };
                self.received.push_back(Received::Report { line: line.index, report });
            } else if let Some(goodbye) = packet.as_any().downcast_ref::<Goodbye>() {
                self.on_goodbye(&goodbye.sources);
            }
        }
    }

    fn on_goodbye(&mut self, sources: &[u32]) {
        for ssrc in sources {
            let Some(stream) = self.streams.get_mut(ssrc) else { continue };
            let Role::Media { log, is_ended, keyframe, .. } = &mut stream.role else { continue };
            let was_live = !std::mem::replace(is_ended, true);
            log.forgive();
            keyframe.is_open = false;
            let line = stream.line;
            let is_live = |s: &Stream| s.line == line && matches!(s.role, Role::Media { is_ended: false, .. });
            if was_live && !self.streams.values().any(is_live) {
                self.received.push_back(Received::Ended { line });
            }
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        for (&ssrc, stream) in &mut self.streams {
            let Role::Media { log, .. } = &mut stream.role else { continue };
            if log.next().is_none_or(|next| next > now) {
                continue;
            }
            wanted.clear();
            self.counters.lost += log.due(now, self.rtt, &mut wanted) as u64;
            if wanted.is_empty() {
                continue;
            }
            self.counters.nacked += wanted.len() as u64;
            let nacks = nack_pairs_from_sequence_numbers(&wanted);
            let (sender_ssrc, media_ssrc) = (self.sender_ssrc, ssrc);
            self.feedback.push_back((now, Box::new(TransportLayerNack { sender_ssrc, media_ssrc, nacks })));
        }
        self.send_keyframe_requests(now);
    }

    fn send_keyframe_requests(&mut self, now: Instant) {
        for (&ssrc, stream) in &mut self.streams {
            let Role::Media { keyframe, .. } = &mut stream.role else { continue };
            if !keyframe.is_open || keyframe.last.is_some_and(|last| now < last + KEYFRAME_GAP) {
                continue;
            }
            *keyframe = KeyframeWish { last: Some(now), is_open: false };
            self.counters.keyframe_requests += 1;
            let line = self.lines.iter().find(|line| line.index == stream.line);
            let knows = |word| line.is_some_and(|line| line.codecs.iter().any(|codec| codec.feedback.contains(&word)));
            let (sender_ssrc, media_ssrc) = (self.sender_ssrc, ssrc);
            if knows("ccm fir") && !knows("nack pli") {
                self.fir_number = self.fir_number.wrapping_add(1);
                let fir = vec![FirEntry { ssrc, sequence_number: self.fir_number }];
                self.feedback.push_back((now, Box::new(FullIntraRequest { sender_ssrc, media_ssrc, fir })));
            } else {
                self.feedback.push_back((now, Box::new(PictureLossIndication { sender_ssrc, media_ssrc })));
            }
        }
    }

    pub(super) fn next_timeout(&mut self) -> Option<Instant> {
        let own = self.streams.values().filter_map(|stream| match &stream.role {
            Role::Media { log, keyframe, .. } => {
                let wish = keyframe.last.filter(|_| keyframe.is_open).map(|last| last + KEYFRAME_GAP);
                [log.next(), wish].into_iter().flatten().min()
            }
            Role::Rtx { .. } => None,
        });
        let own = own.min();
        [own, self.twcc.poll_timeout(), self.reports.poll_timeout()].into_iter().flatten().min()
    }
}

const MAX_STREAMS: usize = 32;
// A keyframe is a large frame; a burst of requests would hurt the link that is already losing packets.
const KEYFRAME_GAP: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
