//! Publishing into a real media thread over loopback: what is sent arrives, whatever the way does to it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use reelay::media::{
    Command, DeclaredTrack, Event, LinkState, Media, MediaError, MediaThreads, Options, PeerKey, RoomKey, Tap, TapFrom,
    TapItem, TapKey, TapMessage, TapPacket,
};
use reelay_signaling::{ErrorCode, Kind, TrackId};
use tokio::sync::{mpsc, oneshot};

use crate::publisher::Publisher;

const ROOM: RoomKey = RoomKey(1);
const PEER: PeerKey = PeerKey(1);

struct Stage {
    media: Media,
    threads: Option<MediaThreads>,
    events: mpsc::Receiver<Event>,
    taps: Receiver<TapMessage>,
}

impl Stage {
    fn new() -> Self {
        let options = Options { udp_port: 0, addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Options::default() };
        let (media, threads) = Media::start(options).unwrap();
        let (sender, events) = mpsc::channel(256);
        media.send(ROOM, Command::OpenRoom { room: ROOM, events: sender }).unwrap();
        let (queue, taps) = channel();
        for (key, kind) in [(1, "audio"), (2, "video")] {
            let tap = Tap::new(TapKey(key), queue.clone()).0;
            media.send(ROOM, Command::Tap { room: ROOM, track: track(kind), tap, from: TapFrom::Now }).unwrap();
        }
        Self { media, threads: Some(threads), events, taps }
    }

    fn port(&self) -> u16 {
        self.media.addresses().ports[0]
    }

    async fn publish(&self, offer: String, tracks: Vec<DeclaredTrack>) -> Result<String, MediaError> {
        let (reply, answer) = oneshot::channel();
        self.media.send(ROOM, Command::Publish { room: ROOM, peer: PEER, offer, tracks, reply }).unwrap();
        answer.await.unwrap()
    }

    async fn connect(&self, publisher: &Publisher) {
        let answer = self.publish(publisher.offer().await, camera()).await.unwrap();
        publisher.accept(&answer).await;
        publisher.connected().await;
    }

    async fn event(&mut self, is_wanted: impl Fn(&Event) -> bool) -> Event {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the room lives");
                if is_wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the event comes in time")
    }

    async fn counter(&self, name: &str) -> u64 {
        let stats = self.media.stats().await;
        stats.counters.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// Waits until a counter has reached `least`.
    async fn counted(&self, name: &str, least: u64) -> u64 {
        let wait = async {
            loop {
                let number = self.counter(name).await;
                if number >= least {
                    return number;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{name} reaches {least}"))
    }

    fn recorded(&self) -> Recorded {
        let mut recorded = Recorded::default();
        for (_, item) in self.taps.try_iter() {
            match item {
                TapItem::Packet(packet) => recorded.packets.entry(packet.kind).or_default().push(packet),
                TapItem::Report(report) => *recorded.reports.entry(report.ssrc).or_default() += 1,
                TapItem::Ended(kind) => recorded.ended.push(kind),
                TapItem::Overflow { .. } => panic!("the tap was full"),
            }
        }
        recorded
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

#[derive(Default)]
struct Recorded {
    packets: HashMap<Kind, Vec<TapPacket>>,
    reports: HashMap<u32, usize>,
    ended: Vec<Kind>,
}

impl Recorded {
    /// Steps from the lowest sequence number, sorted; each once.
    fn steps(&self, kind: Kind) -> Vec<u16> {
        let packets = &self.packets[&kind];
        let first = packets.iter().map(|p| p.seq).min_by_key(|seq| seq.wrapping_sub(packets[0].seq) as i16).unwrap();
        let mut steps: Vec<u16> = packets.iter().map(|packet| packet.seq.wrapping_sub(first)).collect();
        steps.sort_unstable();
        steps
    }
}

fn track(kind: &str) -> TrackId {
    format!("paaaaaaaaaa/camera/{kind}").parse().unwrap()
}

fn camera() -> Vec<DeclaredTrack> {
    ["audio", "video"].map(|kind| DeclaredTrack { mid: None, track: track(kind) }).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_arrives_in_order_and_ends_with_the_connection() {
    let mut stage = Stage::new();
    let publisher = Publisher::new(1).await;
    stage.connect(&publisher).await;
    stage.event(|event| matches!(event, Event::PeerState { state: LinkState::Connected, .. })).await;
    publisher.play(60).await;
    stage.counted("media_packets_in_total", 240).await;
    for _ in 0..2 {
        stage.event(|event| matches!(event, Event::TrackStarted { .. })).await;
    }
    let recorded = stage.recorded();
    for (kind, count) in [(Kind::Audio, 60), (Kind::Video, 180)] {
        assert_eq!(recorded.steps(kind), (0..count).collect::<Vec<u16>>());
        let packets = &recorded.packets[&kind];
        assert!(packets.windows(2).all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1)), "in order");
        assert!(packets.windows(2).all(|pair| pair[1].arrival >= pair[0].arrival));
    }
    publisher.connection.close().await.unwrap();
    stage.event(|event| matches!(event, Event::TrackEnded { .. })).await;
    stage.event(|event| matches!(event, Event::PeerState { state: LinkState::Closed, .. })).await;
    assert_eq!(stage.media.stats().await.peers, 0);
    assert_eq!(stage.recorded().ended.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn media_that_overtakes_the_end_of_the_handshake_is_kept() {
    let stage = Stage::new();
    let publisher = Publisher::new(1).await;
    publisher.link.late_handshake.store(true, Ordering::Relaxed);
    stage.connect(&publisher).await;
    publisher.play(20).await;
    stage.counted("media_packets_in_total", 80).await;
    let recorded = stage.recorded();
    for (kind, count) in [(Kind::Audio, 20), (Kind::Video, 60)] {
        assert_eq!(recorded.steps(kind), (0..count).collect::<Vec<u16>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_percent_loss_leaves_no_hole_and_no_double_in_the_picture() {
    let stage = Stage::new();
    let publisher = Publisher::new(7).await;
    stage.connect(&publisher).await;
    publisher.play(2).await;
    publisher.link.loss.store(50, Ordering::Relaxed);
    publisher.play(300).await;
    publisher.link.loss.store(0, Ordering::Relaxed);
    publisher.play(2).await;
    assert!(publisher.link.lost.load(Ordering::Relaxed) > 30, "the way did lose packets");
    let all = 3 * 304;
    let mut video: Vec<TapPacket> = Vec::new();
    let wait = async {
        while video.len() < all {
            video.extend(stage.recorded().packets.remove(&Kind::Video).unwrap_or_default());
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok();
    let recorded = Recorded { packets: HashMap::from([(Kind::Video, video)]), ..Recorded::default() };
    assert_eq!(recorded.steps(Kind::Video), (0..all as u16).collect::<Vec<u16>>(), "in time: {in_time}");
    assert!(stage.counter("media_packets_recovered_total").await > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_comes_goes_and_comes_back_on_the_same_connection() {
    let mut stage = Stage::new();
    let mut publisher = Publisher::new(1).await;
    stage.connect(&publisher).await;
    publisher.play(5).await;
    let screen: TrackId = "paaaaaaaaaa/screen1/video".parse().unwrap();
    let with = |mids: &[(&str, &TrackId)]| -> Vec<DeclaredTrack> {
        mids.iter().map(|(mid, track)| DeclaredTrack { mid: Some((*mid).into()), track: (*track).clone() }).collect()
    };
    let (audio, video) = (track("audio"), track("video"));
    for _ in 0..2 {
        publisher.share().await;
        let answer =
            stage.publish(publisher.offer().await, with(&[("0", &audio), ("1", &video), ("2", &screen)])).await;
        let answer = answer.unwrap();
        assert_eq!(answer.matches("a=recvonly").count(), 3, "{answer}");
        publisher.accept(&answer).await;
        for _ in 0..3 {
            publisher.screen_picture().await;
        }
        stage.event(|event| matches!(event, Event::TrackStarted { track, .. } if *track == screen)).await;
        publisher.stop_share().await;
        let answer = stage.publish(publisher.offer().await, with(&[("0", &audio), ("1", &video)])).await.unwrap();
        assert_eq!((answer.matches("a=recvonly").count(), answer.matches("m=video 9").count()), (2, 2), "{answer}");
        publisher.accept(&answer).await;
        stage.event(|event| matches!(event, Event::TrackEnded { track, .. } if *track == screen)).await;
    }
    publisher.play(5).await;
    assert_eq!(stage.media.stats().await.tracks, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_opens_dtls_itself_is_answered() {
    let stage = Stage::new();
    let publisher = Publisher::new(1).await;
    let offer = publisher.offer().await.replace("a=setup:actpass", "a=setup:active");
    let answer = stage.publish(offer, camera()).await.unwrap();
    assert!(answer.contains("a=setup:passive"));
    publisher.accept(&answer).await;
    publisher.connected().await;
    publisher.play(5).await;
    stage.counted("media_packets_in_total", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_the_sender_reaches_the_recorder() {
    let stage = Stage::new();
    let publisher = Publisher::new(1).await;
    stage.connect(&publisher).await;
    let wait = async {
        let mut reports = 0;
        while reports < 2 {
            publisher.play(10).await;
            reports += stage.recorded().reports.len();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("reports come");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_goes_on_after_an_ice_restart() {
    let stage = Stage::new();
    let publisher = Publisher::new(1).await;
    let answer = stage.publish(publisher.offer().await, camera()).await.unwrap();
    publisher.accept(&answer).await;
    publisher.connected().await;
    publisher.play(10).await;
    publisher.connection.restart_ice().await.unwrap();
    let again = stage.publish(publisher.offer().await, camera()).await.unwrap();
    let ufrag = |sdp: &str| sdp.lines().find(|line| line.starts_with("a=ice-ufrag")).map(str::to_owned);
    assert_ne!(ufrag(&answer), ufrag(&again));
    publisher.accept(&again).await;
    let before = stage.counter("media_packets_in_total").await;
    let wait = async {
        while stage.counter("media_packets_in_total").await < before + 200 {
            publisher.play(5).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("media flows again");
    let error =
        stage.publish(publisher.offer().await.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:"), camera());
    assert_eq!(error.await.unwrap_err().code, ErrorCode::BadSdp);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_client_hellos_do_not_stop_a_call() {
    let stage = Stage::new();
    let is_over = Arc::new(AtomicBool::new(false));
    let attack = {
        let (is_over, port) = (is_over.clone(), stage.port());
        std::thread::spawn(move || {
            let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
            attacker.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            let mut answers = 0;
            while !is_over.load(Ordering::Relaxed) {
                attacker.send_to(&client_hello(), ("127.0.0.1", port)).unwrap();
                // Waiting for an answer sets the pace: 100 a second.
                answers += usize::from(attacker.recv(&mut [0; 2000]).is_ok());
            }
            answers
        })
    };
    stage.counted("media_dropped_unverified_source_total", 3).await;
    let publisher = Publisher::new(1).await;
    stage.connect(&publisher).await;
    publisher.play(20).await;
    stage.counted("media_packets_in_total", 80).await;
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(attack.join().unwrap(), 0, "an unchecked source is never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_counted_and_the_call_goes_on() {
    let stage = Stage::new();
    let publisher = Publisher::new(1).await;
    stage.connect(&publisher).await;
    publisher.play(5).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = 1u64;
    for length in 0..200 {
        let mut bytes = vec![0u8; length];
        for byte in &mut bytes {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (random >> 40) as u8;
        }
        // Half of them look like STUN.
        if length > 20 && length % 2 == 0 {
            bytes[..8].copy_from_slice(&[0, 1, 0, (length - 20) as u8, 0x21, 0x12, 0xa4, 0x42]);
        }
        stranger.send_to(&bytes, ("127.0.0.1", stage.port())).unwrap();
    }
    publisher.play(5).await;
    stage.counted("media_packets_in_total", 40).await;
    stage.counted("media_dropped_bad_stun_total", 80).await;
    stage.counted("media_dropped_unverified_source_total", 80).await;
    assert_eq!(stage.counter("room_panics_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_room_is_closed_and_the_others_go_on() {
    let stage = Stage::new();
    let (sender, _unread) = mpsc::channel(1);
    let room = RoomKey(2);
    stage.media.send(room, Command::OpenRoom { room, events: sender }).unwrap();
    let publisher = Publisher::new(1).await;
    let (reply, answer) = oneshot::channel();
    let offer = publisher.offer().await;
    stage.media.send(room, Command::Publish { room, peer: PEER, offer, tracks: camera(), reply }).unwrap();
    publisher.accept(&answer.await.unwrap().unwrap()).await;
    publisher.connected().await;
    publisher.play(5).await;
    stage.counted("media_rooms_unread_total", 1).await;
    assert_eq!(stage.media.stats().await.rooms, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong() {
    let stage = Stage::new();
    let offer = Publisher::new(1).await.offer().await;
    let refusal = stage.publish("hello".into(), camera()).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::BadSdp);
    let foreign = offer.replace("VP8", "XP8").replace("VP9", "XP9").replace("AV1", "XV1");
    let refusal = stage.publish(foreign, camera()).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::NoCommonCodec);
    assert!(refusal.message.contains("VP8"), "{}", refusal.message);
    let refusal = stage.publish("v=0\r\n".repeat(40_000), camera()).await.unwrap_err();
    assert!(refusal.message.contains("131072"), "{}", refusal.message);
    assert_eq!(stage.media.stats().await.peers, 0);
    let (reply, answer) = oneshot::channel();
    let room = RoomKey(99);
    stage.media.send(room, Command::Publish { room, peer: PEER, offer, tracks: camera(), reply }).unwrap();
    assert_eq!(answer.await.unwrap().unwrap_err().code, ErrorCode::RoomNotFound);
}

/// A DTLS 1.2 ClientHello as anybody can write it.
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let length = body.len() as u8;
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, length + 12];
    record.extend_from_slice(&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length]);
    record.extend_from_slice(&body);
    record
}
