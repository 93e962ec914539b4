//! The receiver as the connection drives it, in virtual time.

use rtc::interceptor::{AttributedPacket, Packet};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;

use super::super::interceptors::SharedReceiver;
use super::*;

const MS: Duration = Duration::from_millis(1);
const VP8: u8 = 96;
const RTX: u8 = 97;
const MID: u8 = 4;
const RID: u8 = 10;
const RRID: u8 = 11;
const LEVEL: u8 = 1;
const TWCC: u8 = 3;

struct Case {
    receiver: SharedReceiver,
    start: Instant,
}

impl Case {
    fn new(lines: Vec<Line>) -> Self {
        let mut receiver = Receiver::new(NackOptions::default());
        let extensions = [
            (MID, Extension::Mid),
            (RID, Extension::Rid),
            (RRID, Extension::RepairedRid),
            (LEVEL, Extension::AudioLevel),
            (TWCC, Extension::TransportCc),
        ];
        receiver.configure(lines, extensions.to_vec());
        Self { receiver: SharedReceiver::new(receiver), start: Instant::now() }
    }

    fn simulcast() -> Self {
        Self::new(vec![audio(0, "a"), Line { rids: vec!["q".into(), "h".into()], ..video(1, "v") }])
    }

    fn at(&self, ms: u32) -> Instant {
        self.start + MS * ms
    }

    fn read(&mut self, ms: u32, packet: Packet) {
        let (now, transport) = (self.at(ms), TransportContext::default());
        let message = AttributedPacket::new(packet);
        self.receiver.handle_read(TaggedPacket { now, transport, message }).unwrap();
    }

    /// Takes a packet in and gives back (line, layer, ssrc, seq) of what came out.
    fn rtp(&mut self, ms: u32, packet: rtp::Packet) -> Vec<(usize, u8, u32, u16)> {
        self.read(ms, Packet::Rtp(packet));
        self.packets().into_iter().map(|p| (p.line, p.layer, p.ssrc, p.seq)).collect()
    }

    fn packets(&mut self) -> Vec<ReceivedPacket> {
        let mut packets = Vec::new();
        while let Some(received) = self.receiver.lock().poll() {
            if let Received::Packet(packet) = received {
                packets.push(packet);
            }
        }
        packets
    }

    fn rtcp(&mut self, ms: u32, packet: impl rtc::rtcp::Packet + 'static) -> Vec<Received> {
        self.read(ms, Packet::Rtcp(vec![Box::new(packet)]));
        std::iter::from_fn(|| self.receiver.lock().poll()).collect()
    }

    /// Feedback of type `T` that is sent at `ms`.
    fn sent<T: Clone + 'static>(&mut self, ms: u32) -> Vec<T> {
        self.receiver.handle_timeout(self.at(ms)).unwrap();
        let mut found = Vec::new();
        while let Some(message) = self.receiver.poll_write() {
            let Packet::Rtcp(packets) = message.message.packet else { continue };
            found.extend(packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<T>().cloned()));
        }
        found
    }

    fn counters(&self) -> ReceiverCounters {
        self.receiver.lock().counters()
    }
}

fn codec(payload_type: u8, codec: Codec, rtx: Option<u8>, feedback: &[&'static str]) -> OfferedCodec {
    OfferedCodec { payload_type, codec, fmtp: String::new(), rtx, red: None, feedback: feedback.to_vec() }
}

fn video(index: usize, mid: &str) -> Line {
    let codecs = vec![codec(VP8, Codec::Vp8, Some(RTX), &["nack", "nack pli"])];
    Line { index, mid: mid.into(), kind: Kind::Video, codecs, rids: vec![], ssrcs: vec![] }
}

fn audio(index: usize, mid: &str) -> Line {
    let codecs = vec![codec(111, Codec::Opus, None, &[])];
    Line { index, mid: mid.into(), kind: Kind::Audio, codecs, rids: vec![], ssrcs: vec![] }
}

fn packet(payload_type: u8, ssrc: u32, seq: u16, extensions: &[(u8, &[u8])]) -> rtp::Packet {
    let mut header =
        rtp::Header { version: 2, payload_type, ssrc, sequence_number: seq, timestamp: 90, ..Default::default() };
    for &(id, value) in extensions {
        header.set_extension(id, Bytes::copy_from_slice(value)).unwrap();
    }
    rtp::Packet { header, payload: Bytes::from_static(&[0, 5, 1, 2]) }
}

#[test]
fn layers_and_their_retransmissions_are_named_by_extensions_alone() {
    let mut case = Case::simulcast();
    let layer = |ssrc, seq, rid: &'static [u8]| packet(VP8, ssrc, seq, &[(MID, b"v"), (RID, rid)]);
    assert_eq!(case.rtp(0, layer(20, 4, b"q")), [(1, 0, 20, 4)]);
    assert_eq!(case.rtp(0, layer(21, 4, b"h")), [(1, 1, 21, 4)]);
    // Once reported, Chromium leaves the extensions away.
    assert_eq!(case.rtp(1, packet(VP8, 21, 6, &[])), [(1, 1, 21, 6)]);
    // The first two bytes of the payload name the packet that is sent again: 5.
    case.sent::<TransportLayerNack>(20);
    let again = packet(RTX, 31, 900, &[(MID, b"v"), (RRID, b"h")]);
    assert_eq!(case.rtp(40, again), [(1, 1, 21, 5)]);
    assert_eq!(case.rtp(41, packet(RTX, 31, 901, &[])), [], "the same once more");
    assert_eq!((case.counters().recovered, case.counters().duplicates), (1, 1));
    assert_eq!(case.rtp(42, layer(22, 1, b"x")), [], "a layer that was not negotiated");
}

#[test]
fn a_hole_is_asked_for_until_it_is_filled() {
    let mut case = Case::simulcast();
    for seq in [4, 6] {
        case.rtp(0, packet(VP8, 20, seq, &[(MID, b"v"), (RID, b"q")]));
    }
    let asked: Vec<TransportLayerNack> = case.sent(10);
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].media_ssrc, asked[0].nacks[0].packet_id), (20, 5));
    assert!(case.receiver.poll_timeout().is_some_and(|next| next <= case.at(110)));
    case.rtp(20, packet(RTX, 30, 1, &[(MID, b"v"), (RRID, b"q")]));
    assert!(case.sent::<TransportLayerNack>(200).is_empty());
    case.rtp(200, packet(111, 40, 1, &[(MID, b"a")]));
    case.rtp(200, packet(111, 40, 3, &[(MID, b"a")]));
    assert!(case.sent::<TransportLayerNack>(300).is_empty(), "sound was not negotiated with nack");
}

#[test]
fn a_new_ssrc_is_bound_by_mid_then_by_declaration_then_by_payload_type() {
    let declared = Line { ssrcs: vec![(50, Some(51))], ..video(1, "v") };
    let mut case = Case::new(vec![audio(0, "a"), declared, video(2, "w")]);
    assert_eq!(case.rtp(0, packet(VP8, 9, 1, &[(MID, b"w")])), [(2, 0, 9, 1)]);
    assert_eq!(case.rtp(0, packet(VP8, 50, 1, &[])), [(1, 0, 50, 1)]);
    assert_eq!(case.rtp(0, packet(RTX, 51, 1, &[])), [(1, 0, 50, 5)]);
    assert_eq!(case.rtp(0, packet(111, 7, 1, &[])), [(0, 0, 7, 1)], "only one line takes Opus");
    assert_eq!(case.rtp(0, packet(VP8, 8, 1, &[])), [], "two lines take VP8");
    assert_eq!(case.rtp(0, packet(100, 50, 2, &[])), [], "a payload type that was not negotiated");
    assert_eq!(case.rtp(0, packet(VP8, 8, 1, &[(MID, b"?")])), []);
    assert_eq!(case.counters().unknown, 3);
    assert_eq!(case.rtp(1, packet(VP8, 8, 1, &[(MID, b"w")])), [(2, 0, 8, 1)], "a source that replaces another");
}

#[test]
fn the_audio_level_is_read_and_padding_alone_is_passed_on_empty() {
    let mut case = Case::simulcast();
    case.read(0, Packet::Rtp(packet(111, 40, 1, &[(MID, b"a"), (LEVEL, &[0x80 | 37])])));
    assert_eq!(case.packets()[0].audio_level, Some(37));
    let mut padding = packet(VP8, 20, 4, &[(MID, b"v"), (RID, b"q")]);
    padding.payload = Bytes::new();
    case.read(0, Packet::Rtp(padding));
    assert!(case.packets()[0].payload.is_empty());
    let mut probe = packet(RTX, 30, 4, &[(MID, b"v"), (RRID, b"q")]);
    probe.payload = Bytes::new();
    assert_eq!(case.rtp(1, probe), []);
}

#[test]
fn goodbye_ends_a_line_until_something_newer_comes() {
    let mut case = Case::simulcast();
    for ssrc in [20, 21] {
        let rid: &[u8] = if ssrc == 20 { b"q" } else { b"h" };
        case.rtp(0, packet(VP8, ssrc, 4, &[(MID, b"v"), (RID, rid)]));
        case.rtp(0, packet(VP8, ssrc, 7, &[]));
    }
    let goodbye = |sources: &[u32]| Goodbye { sources: sources.to_vec(), reason: Bytes::new() };
    assert!(case.rtcp(1, goodbye(&[20])).is_empty(), "the other layer lives");
    assert!(matches!(case.rtcp(1, goodbye(&[21]))[..], [Received::Ended { line: 1 }]));
    assert!(case.rtcp(1, goodbye(&[21, 77])).is_empty(), "once");
    assert_eq!(case.rtp(2, packet(VP8, 21, 6, &[])), [], "was on its way");
    assert!(case.sent::<TransportLayerNack>(50).is_empty());
    assert_eq!(case.rtp(60, packet(VP8, 21, 8, &[])), [(1, 1, 21, 8)]);
}

#[test]
fn reports_come_through_and_are_answered() {
    let mut case = Case::simulcast();
    case.rtp(0, packet(111, 40, 1, &[(MID, b"a")]));
    let report = RtcpSenderReport { ssrc: 40, ntp_time: 5 << 32, rtp_time: 77, ..Default::default() };
    let received = case.rtcp(10, report);
    let [Received::Report { line: 0, report }] = received[..] else { panic!("one report: {received:?}") };
    assert_eq!((report.ssrc, report.ntp, report.rtp_time, report.kind), (40, 5 << 32, 77, Kind::Audio));
    assert!(case.rtcp(10, RtcpSenderReport { ssrc: 99, ..Default::default() }).is_empty());
    let answers: Vec<rtc::rtcp::receiver_report::ReceiverReport> = case.sent(1_100);
    assert_eq!(answers[0].reports[0].ssrc, 40);
    assert_ne!(answers[0].reports[0].last_sender_report, 0);
}

#[test]
fn keyframe_requests_for_a_layer_are_merged() {
    let mut case = Case::simulcast();
    assert!(!case.receiver.lock().request_keyframe(case.at(0), 1, 1), "nothing of it has come");
    case.rtp(0, packet(VP8, 21, 4, &[(MID, b"v"), (RID, b"h")]));
    for ms in [1, 2, 3] {
        assert!(case.receiver.lock().request_keyframe(case.at(ms), 1, 1));
    }
    assert_eq!(case.sent::<PictureLossIndication>(4).len(), 1);
    assert_eq!(case.receiver.poll_timeout(), Some(case.at(1) + KEYFRAME_GAP));
    assert_eq!(case.sent::<PictureLossIndication>(302).len(), 1);
    assert!(case.sent::<PictureLossIndication>(900).is_empty());
}

#[test]
fn every_packet_counts_for_the_senders_bandwidth_estimate() {
    let mut case = Case::simulcast();
    case.rtp(0, packet(VP8, 20, 4, &[(MID, b"v"), (RID, b"q"), (TWCC, &[0, 1])]));
    case.rtp(5, packet(120, 999, 4, &[(TWCC, &[0, 2])]));
    let feedback: Vec<rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc> = case.sent(150);
    assert_eq!((feedback[0].base_sequence_number, feedback[0].packet_status_count), (1, 2));
}

#[test]
fn sources_are_bounded_and_lines_that_end_are_forgotten() {
    let mut case = Case::new(vec![video(0, "v")]);
    for ssrc in 0..200 {
        assert_eq!(case.rtp(ssrc, packet(VP8, ssrc, 4, &[(MID, b"v")])).len(), 1);
    }
    assert_eq!(case.receiver.lock().streams.len(), MAX_STREAMS);
    case.receiver.lock().configure(vec![], vec![]);
    assert!(case.receiver.lock().streams.is_empty());
    assert_eq!(case.rtp(300, packet(VP8, 199, 5, &[])), []);
}

#[test]
fn copies_of_lost_sound_are_taken_out_of_later_packets_and_not_asked_for() {
    const OPUS: u8 = 111;
    const RED: u8 = 63;
    let codecs = vec![OfferedCodec { red: Some(RED), ..codec(OPUS, Codec::Opus, None, &["nack"]) }];
    let mut case = Case::new(vec![Line { codecs, ..audio(0, "a") }]);
    let sound = |seq: u16| seq.to_be_bytes().to_vec();
    let redundant = |seq: u16, copies: u16| {
        let mut payload = Vec::new();
        for back in (1..=copies).rev() {
            payload.extend((u32::from(0x80 | OPUS) << 24 | (u32::from(back) * 960) << 10 | 2).to_be_bytes());
        }
        payload.push(OPUS);
        (0..=copies).rev().for_each(|back| payload.extend(sound(seq.wrapping_sub(back))));
        let timestamp = u32::from(seq) * 960;
        let header = rtp::Header {
            version: 2,
            payload_type: RED,
            ssrc: 7,
            sequence_number: seq,
            timestamp,
            ..Default::default()
        };
        rtp::Packet { header, payload: payload.into() }
    };
    // Two copies in each; 12, 13 and 15 are lost at first, 20 to 23 are one too many; 13 comes late after all.
    let mut came = Vec::new();
    for seq in [10, 11, 14, 16, 13, 17, 18, 19, 24] {
        case.read(u32::from(seq) * 20, Packet::Rtp(redundant(seq, 2)));
        came.extend(case.packets());
    }
    let seqs: Vec<u16> = came.iter().map(|packet| packet.seq).collect();
    assert_eq!(seqs, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23, 24]);
    for packet in &came {
        assert_eq!((packet.codec, packet.rtp_time), (Codec::Opus, u32::from(packet.seq) * 960));
        assert_eq!(packet.payload, sound(packet.seq));
    }
    assert_eq!((case.counters().recovered, case.counters().duplicates), (5, 1));
    let asked: Vec<TransportLayerNack> = case.sent(24 * 20 + 20);
    assert_eq!(asked[0].nacks.iter().flat_map(|pair| pair.into_iter()).collect::<Vec<_>>(), [20, 21]);
    // Plain Opus goes on in the same stream, and what is no redundant sound is dropped.
    let plain = rtp::Packet { payload: sound(25).into(), ..packet(OPUS, 7, 25, &[]) };
    assert_eq!(case.rtp(600, plain), [(0, 0, 7, 25)]);
    assert_eq!(case.rtp(620, packet(RED, 7, 26, &[])), []);
}
