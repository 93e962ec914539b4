//! What the router sends to whom, packet by packet.

use bytes::Bytes;

use super::*;
use crate::media::Codec;

/// What a viewer got, in order.
#[derive(Default)]
struct Sent {
    packets: Vec<(usize, Vec<u8>)>,
    reports: Vec<(usize, Report)>,
}

impl Downlink for Sent {
    fn rtp(&mut self, leg: usize, _kind: Kind, packet: &[u8]) {
        self.packets.push((leg, packet.to_vec()));
    }

    fn report(&mut self, leg: usize, report: &Report) {
        self.reports.push((leg, *report));
    }
}

impl Sent {
    /// (SSRC, payload type, sequence number, timestamp, payload) of what has come since the last call.
    fn take(&mut self) -> Vec<(u32, u8, u16, u32, Vec<u8>)> {
        let read = |(_, p): (usize, Vec<u8>)| {
            let word = |at: usize| u32::from_be_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]]);
            (word(8), p[1] & 0x7f, u16::from_be_bytes([p[2], p[3]]), word(4), p[12..].to_vec())
        };
        self.packets.drain(..).map(read).collect()
    }

    fn seqs(&mut self) -> Vec<u16> {
        self.take().into_iter().map(|packet| packet.2).collect()
    }
}

struct Feed {
    router: Router,
    sent: Sent,
    now: Instant,
}

impl Feed {
    fn new() -> Self {
        Self { router: Router::default(), sent: Sent::default(), now: Instant::now() }
    }

    fn subscribe(&mut self, id: &TrackId) -> SubscriptionKey {
        self.router.subscribe(self.now, 5, id, stream(id.kind))
    }

    fn after(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.router.on_timeout(self.now, &mut self.sent);
    }

    fn asked(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.router.poll_keyframe()).map(|(_, layer)| layer).collect()
    }

    /// One packet of one VP8 frame.
    fn video(&mut self, layer: u8, ssrc: u32, seq: u16, rtp_time: u32, is_key: bool) {
        let payload = vec![0x90, 0xe0, 0x80 | layer, seq as u8, seq as u8, 0x20, u8::from(!is_key), 1, 2, 3];
        self.packet(layer, ssrc, seq, rtp_time, payload, true);
    }

    fn packet(&mut self, layer: u8, ssrc: u32, seq: u16, rtp_time: u32, payload: Vec<u8>, marker: bool) {
        let packet = InboundPacket {
            track: id(1, Kind::Video),
            layer,
            ssrc,
            codec: Codec::Vp8,
            seq,
            rtp_time,
            marker,
            audio_level: None,
            arrival: self.now,
            payload: Bytes::from(payload),
        };
        self.router.on_packet(self.now, &packet, &mut self.sent);
    }

    fn audio(&mut self, of: u64, seq: u16, rtp_time: u32) {
        let packet = InboundPacket {
            track: id(of, Kind::Audio),
            layer: 0,
            ssrc: 9,
            codec: Codec::Opus,
            seq,
            rtp_time,
            marker: false,
            audio_level: Some(20),
            arrival: self.now,
            payload: Bytes::from_static(b"opus"),
        };
        self.router.on_packet(self.now, &packet, &mut self.sent);
    }

    fn report(&mut self, of: &TrackId, ssrc: u32, seconds: u64, rtp_time: u32) {
        let report = SenderReport { kind: of.kind, ssrc, ntp: seconds << 32, rtp_time, arrival: self.now };
        self.router.on_report(self.now, of, report, &mut self.sent);
    }
}

fn id(n: u64, kind: Kind) -> TrackId {
    TrackId { participant: ParticipantId::from_random(n), source: Source::Camera, kind }
}

fn stream(kind: Kind) -> SlotStream {
    let codec = match kind {
        Kind::Audio => SlotCodec { codec: Codec::Opus, payload_type: 109, rtx: None },
        Kind::Video => SlotCodec { codec: Codec::Vp8, payload_type: 120, rtx: Some(124) },
    };
    SlotStream { ssrc: 0xaaaa, rtx_ssrc: 0xbbbb, codecs: vec![codec] }
}

#[test]
fn a_viewer_begins_with_a_keyframe_under_its_own_numbers() {
    let mut feed = Feed::new();
    feed.video(0, 1, 100, 5000, true);
    assert!(feed.sent.take().is_empty());
    feed.subscribe(&id(1, Kind::Video));
    assert_eq!(feed.asked(), [0]);
    feed.video(0, 1, 101, 8000, false);
    assert!(feed.sent.take().is_empty());
    feed.video(0, 1, 102, 11_000, true);
    feed.video(0, 1, 103, 14_000, false);
    let sent = feed.sent.take();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].0, sent[0].1, sent[0].3), (0xaaaa, 120, 11_000));
    assert_eq!(sent[1].2, sent[0].2.wrapping_add(1));
    assert!(sent[0].2 < 0x4000);
}

#[test]
fn losses_on_the_way_in_stay_visible_and_late_packets_fill_them() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    feed.video(0, 1, 65_534, 0, true);
    feed.video(0, 1, 1, 9000, false);
    feed.video(0, 1, 0, 6000, false);
    feed.video(0, 1, 0, 6000, false);
    feed.video(0, 1, 65_535, 3000, false);
    let seqs = feed.sent.seqs();
    let first = seqs[0];
    assert_eq!(seqs.iter().map(|seq| seq.wrapping_sub(first)).collect::<Vec<_>>(), [0, 3, 2, 1]);
    assert_eq!(feed.router.counters().dropped_duplicates, 1);
}

#[test]
fn frames_wait_for_their_end_but_not_for_long() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    feed.packet(0, 1, 10, 0, vec![0x10, 0, 1, 2], false);
    feed.packet(0, 1, 11, 0, vec![0x00, 0, 1, 2], false);
    assert!(feed.sent.take().is_empty());
    feed.packet(0, 1, 12, 0, vec![0x00, 0, 1], true);
    assert_eq!(feed.sent.take().len(), 3);
    feed.packet(0, 1, 13, 3000, vec![0x00, 0, 1], false);
    let due = feed.router.poll_timeout().unwrap();
    assert_eq!(due, feed.now + track::FRAME_WAIT);
    feed.router.on_timeout(due, &mut feed.sent);
    assert_eq!(feed.sent.take().len(), 1);
    feed.packet(0, 1, 14, 3000, vec![0x00, 0, 1], false);
    feed.packet(0, 1, 15, 6000, vec![0x00, 0, 1], false);
    assert_eq!(feed.sent.take().len(), 1, "the next frame pushes the one before it out");
}

#[test]
fn packets_of_a_frame_become_equally_long() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    for (seq, size) in [(1, 100), (2, 99), (3, 101), (4, 50)] {
        let mut payload = vec![0x10, 0];
        payload.resize(size, 7);
        feed.packet(0, 1, seq, 0, payload, seq == 4);
    }
    let raw: Vec<Vec<u8>> = feed.sent.packets.drain(..).map(|(_, packet)| packet).collect();
    assert_eq!(raw.iter().map(Vec::len).collect::<Vec<_>>(), [113, 113, 113, 62]);
    assert_eq!((raw[0][0], *raw[0].last().unwrap()), (0xa0, 1));
    assert_eq!((raw[1][0], *raw[1].last().unwrap()), (0xa0, 2));
    assert_eq!(raw[2][0], 0x80);
}

#[test]
fn what_is_lost_is_sent_again_as_it_was() {
    let mut feed = Feed::new();
    let viewer = feed.subscribe(&id(1, Kind::Video));
    feed.video(0, 1, 7, 1000, true);
    feed.video(0, 1, 8, 4000, false);
    let sent = feed.sent.take();
    feed.router.on_nack(feed.now, viewer, &[sent[1].2, sent[1].2, sent[1].2.wrapping_add(50)], &mut feed.sent);
    let again = feed.sent.take();
    assert_eq!(again.len(), 1, "asked twice at once, sent once");
    assert_eq!((again[0].0, again[0].1, again[0].3), (0xbbbb, 124, 4000));
    let mut expected = sent[1].2.to_be_bytes().to_vec();
    expected.extend(&sent[1].4);
    assert_eq!(again[0].4, expected);
    let counters = feed.router.counters();
    assert_eq!((counters.nacked, counters.repaired, counters.limited), (3, 1, 1));
    feed.after(1200);
    feed.video(0, 1, 9, 7000, false);
    feed.sent.take();
    feed.router.on_nack(feed.now, viewer, &[sent[1].2], &mut feed.sent);
    assert!(feed.sent.take().is_empty(), "older than a second");
}

#[test]
fn a_viewer_that_asks_for_everything_again_is_limited() {
    let mut feed = Feed::new();
    let viewer = feed.subscribe(&id(1, Kind::Video));
    for seq in 0..500 {
        feed.video(0, 1, seq, u32::from(seq) * 30, seq == 0);
    }
    let seqs = feed.sent.seqs();
    feed.router.on_nack(feed.now, viewer, &seqs, &mut feed.sent);
    assert_eq!(feed.sent.take().len(), 200);
    assert_eq!(feed.router.counters().limited, 300);
}

#[test]
fn a_higher_layer_is_joined_at_its_keyframe_and_left_when_it_dies() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    feed.video(0, 1, 100, 0, true);
    assert_eq!(feed.asked(), Vec::<u8>::new(), "a keyframe came before anybody had to ask");
    feed.video(1, 2, 900, 70_000, false);
    assert_eq!(feed.asked(), [1]);
    feed.after(33);
    feed.video(0, 1, 101, 2970, false);
    feed.after(33);
    feed.video(1, 2, 901, 75_940, true);
    feed.video(0, 1, 102, 5940, false);
    feed.after(33);
    feed.video(1, 2, 902, 78_910, false);
    let sent = feed.sent.take();
    let first = sent[0].2;
    assert_eq!(sent.iter().map(|p| p.2.wrapping_sub(first)).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(sent.iter().map(|p| p.3).collect::<Vec<_>>(), [0, 2970, 5940, 8910]);
    let pictures: Vec<u16> = sent.iter().map(|p| u16::from_be_bytes([p.4[2], p.4[3]]) & 0x7fff).collect();
    assert_eq!(pictures, [100, 101, 102, 103]);
    assert_eq!(sent.iter().map(|p| p.4[4]).collect::<Vec<_>>(), [100, 101, 102, 103]);

    for step in 0..10 {
        feed.after(33);
        feed.video(0, 1, 103 + step, 8910 + u32::from(step) * 2970, false);
    }
    assert!(feed.sent.take().is_empty());
    feed.after(250);
    assert_eq!(feed.asked(), [0]);
    feed.video(0, 1, 200, 300_000, true);
    assert_eq!(feed.sent.seqs(), [first.wrapping_add(4)]);
}

#[test]
fn layers_are_aligned_by_the_publishers_own_clock() {
    let mut feed = Feed::new();
    let video = id(1, Kind::Video);
    feed.subscribe(&video);
    feed.video(0, 1, 100, 1000, true);
    feed.report(&video, 1, 50, 1000);
    feed.video(1, 2, 900, 500_000, false);
    feed.report(&video, 2, 50, 500_000);
    feed.after(45);
    // The arrival says 45 ms, the publisher 33.
    feed.video(1, 2, 901, 502_970, true);
    assert_eq!(feed.sent.take().last().unwrap().3, 3970);
}

#[test]
fn a_new_ssrc_of_a_layer_goes_on_with_its_keyframe() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    feed.video(0, 1, 100, 0, true);
    feed.after(33);
    feed.video(0, 7, 5, 900_000, false);
    assert_eq!(feed.asked(), [0]);
    feed.after(33);
    feed.video(0, 7, 6, 902_970, true);
    let sent = feed.sent.take();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[1].2, sent[1].3), (sent[0].2 + 1, 5940));
}

#[test]
fn a_late_first_packet_of_a_keyframe_brings_its_followers_along() {
    let mut feed = Feed::new();
    feed.subscribe(&id(1, Kind::Video));
    feed.packet(0, 1, 49, 0, vec![0x10, 1, 1], true);
    feed.packet(0, 1, 51, 3000, vec![0x00, 0, 1, 2], false);
    feed.packet(0, 1, 52, 3000, vec![0x00, 0, 1, 2], true);
    assert!(feed.sent.take().is_empty());
    feed.packet(0, 1, 50, 3000, vec![0x10, 0, 1, 2], false);
    feed.after(2);
    let seqs = feed.sent.seqs();
    assert_eq!(seqs.iter().map(|seq| seq - seqs[0]).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn another_track_goes_on_in_the_same_slot() {
    let mut feed = Feed::new();
    let viewer = feed.subscribe(&id(1, Kind::Audio));
    feed.audio(1, 10, 48_000);
    feed.router.move_to(feed.now, viewer, &id(2, Kind::Audio));
    feed.after(20);
    feed.audio(1, 11, 48_960);
    feed.audio(2, 5000, 7);
    feed.router.detach(viewer);
    feed.audio(2, 5001, 967);
    feed.router.move_to(feed.now, viewer, &id(1, Kind::Audio));
    feed.after(20);
    feed.audio(1, 12, 49_920);
    let sent = feed.sent.take();
    let first = sent[0].2;
    assert_eq!(sent.iter().map(|p| p.2.wrapping_sub(first)).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(sent.iter().map(|p| p.3).collect::<Vec<_>>(), [48_000, 48_960, 49_920]);
}

#[test]
fn reports_follow_the_publisher_into_the_viewers_numbers() {
    let mut feed = Feed::new();
    let audio = id(1, Kind::Audio);
    feed.subscribe(&audio);
    feed.audio(1, 10, 48_000);
    assert!(feed.sent.reports.is_empty());
    feed.report(&audio, 9, 100, 48_000);
    let (leg, first) = feed.sent.reports.pop().unwrap();
    assert_eq!((leg, first.ssrc, first.ntp, first.rtp_time), (5, 0xaaaa, 100 << 32, 48_000));
    assert_eq!((first.packets, first.octets), (1, 4));
    feed.after(500);
    assert!(feed.sent.reports.is_empty());
    feed.after(500);
    let (_, next) = feed.sent.reports.pop().unwrap();
    assert_eq!((next.ntp, next.rtp_time), (101 << 32, 96_000));
    feed.report(&audio, 9, 101, 96_000);
    assert!(feed.sent.reports.is_empty(), "only the first one is passed on at once");
}

#[test]
fn a_blocked_track_is_silent_and_comes_back_with_a_keyframe() {
    let mut feed = Feed::new();
    let video = id(1, Kind::Video);
    feed.subscribe(&video);
    feed.video(0, 1, 1, 0, true);
    feed.router.block(feed.now, &video, true);
    feed.video(0, 1, 2, 3000, true);
    feed.router.block(feed.now, &video, false);
    assert_eq!(feed.asked(), [0]);
    feed.video(0, 1, 3, 6000, false);
    feed.video(0, 1, 4, 9000, true);
    let seqs = feed.sent.seqs();
    assert_eq!((seqs.len(), seqs[1] - seqs[0]), (2, 1));
}

#[test]
fn nothing_is_left_of_what_has_ended() {
    let mut feed = Feed::new();
    let (audio, video) = (id(1, Kind::Audio), id(1, Kind::Video));
    let viewers = [feed.subscribe(&audio), feed.subscribe(&video)];
    feed.audio(1, 1, 0);
    feed.video(0, 1, 1, 0, true);
    viewers.into_iter().for_each(|viewer| feed.router.unsubscribe(viewer));
    feed.router.end_track(&audio);
    feed.router.end_track(&video);
    feed.after(5000);
    assert!(feed.router.tracks.iter().all(Option::is_none));
    assert!(feed.router.by_id.is_empty() && feed.router.reports.is_empty());
    assert_eq!(feed.router.poll_timeout(), None);
}

#[test]
fn one_viewer_cannot_keep_a_publisher_busy_with_keyframes() {
    let mut feed = Feed::new();
    let viewer = feed.subscribe(&id(1, Kind::Video));
    feed.video(0, 1, 1, 0, true);
    let mut asked = 0;
    for step in 0..200 {
        feed.router.on_keyframe_wanted(feed.now, viewer);
        if !feed.asked().is_empty() {
            asked += 1;
            feed.video(0, 1, 2 + step, 0, true);
        }
        feed.after(50);
    }
    assert!((10..=12).contains(&asked), "{asked} in ten seconds");
}
