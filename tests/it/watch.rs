//! Watching over loopback: a real media thread between a publisher and viewers on the crate `webrtc`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reelay::media::{
    Command, DeclaredTrack, Event, LegKey, LinkState, Media, MediaError, MediaThreads, Options, PeerKey, RoomKey,
};
use reelay_signaling::{ErrorCode, TrackId};
use tokio::sync::{mpsc, oneshot};

use crate::publisher::Publisher;
use crate::viewer::Viewer;

const ROOM: RoomKey = RoomKey(1);
const LEG: LegKey = LegKey(1);
const OPUS: u8 = 111;
const VP8: u8 = 96;

struct Stage {
    media: Media,
    threads: Option<MediaThreads>,
    events: mpsc::Receiver<Event>,
}

impl Stage {
    fn new() -> Self {
        let options = Options { udp_port: 0, addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Options::default() };
        let (media, threads) = Media::start(options).unwrap();
        let (sender, events) = mpsc::channel(256);
        media.send(ROOM, Command::OpenRoom { room: ROOM, events: sender }).unwrap();
        Self { media, threads: Some(threads), events }
    }

    fn tell(&self, command: Command) {
        self.media.send(ROOM, command).unwrap();
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, MediaError>>) -> Command,
    ) -> Result<T, MediaError> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply));
        answer.await.unwrap()
    }

    async fn publish(&self, peer: u64, who: &str) -> Publisher {
        let publisher = Publisher::new(peer).await;
        let offer = publisher.offer().await;
        let tracks = ["audio", "video"].map(|kind| DeclaredTrack { mid: None, track: track(who, kind) }).to_vec();
        let peer = PeerKey(peer);
        let answer = self.ask(|reply| Command::Publish { room: ROOM, peer, offer, tracks, reply }).await.unwrap();
        publisher.accept(&answer).await;
        publisher.connected().await;
        publisher
    }

    fn set_tracks(&self, tracks: &[TrackId]) {
        self.tell(Command::SetTracks { room: ROOM, leg: LEG, tracks: tracks.to_vec() });
    }

    async fn offer(&mut self) -> (u64, String, Vec<(String, TrackId)>) {
        match self.event(|event| matches!(event, Event::Offer { .. })).await {
            Event::Offer { id, sdp, tracks, .. } => (id, sdp, tracks),
            other => panic!("{other:?}"),
        }
    }

    async fn answer(&self, id: u64, answer: String) -> Result<(), MediaError> {
        self.ask(|reply| Command::LegAnswer { room: ROOM, leg: LEG, id, answer, reply }).await
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

    async fn leg_is(&mut self, wanted: LinkState) {
        self.event(|event| matches!(event, Event::LegState { state, .. } if *state == wanted)).await;
    }

    async fn counter(&self, name: &str) -> u64 {
        let stats = self.media.stats().await;
        stats.counters.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

fn track(who: &str, kind: &str) -> TrackId {
    format!("{who}/camera/{kind}").parse().unwrap()
}

const ANNA: &str = "paaaaaaaaaa";
const BEN: &str = "pbbbbbbbbbb";

/// Plays until the viewer has seen `packets` of a payload type.
async fn play_until(publisher: &Publisher, viewer: &Viewer, payload_type: u8, packets: usize) {
    let wait = async {
        while viewer.count(payload_type) < packets {
            publisher.play(10).await;
        }
    };
    let seen = || format!("{} of {packets} packets of type {payload_type}", viewer.count(payload_type));
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{}", seen()));
}

fn assert_whole(viewer: &Viewer, payload_type: u8) {
    let seen = viewer.seen(payload_type);
    for pair in seen.windows(2) {
        assert_eq!(pair[1].seq.wrapping_sub(pair[0].seq), 1, "{pair:?}");
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_and_hears_what_is_published() {
    let mut stage = Stage::new();
    let publisher = stage.publish(1, ANNA).await;
    let viewer = Viewer::new().await;
    stage.tell(Command::OpenLeg { room: ROOM, leg: LEG });
    stage.set_tracks(&[track(ANNA, "audio"), track(ANNA, "video")]);
    let (id, offer, tracks) = stage.offer().await;
    assert_eq!(tracks, [("0".to_owned(), track(ANNA, "audio")), ("1".to_owned(), track(ANNA, "video"))]);
    let answer = viewer.answer(&offer).await;
    stage.answer(id, answer).await.unwrap();
    viewer.connected().await;
    stage.leg_is(LinkState::Connected).await;
    play_until(&publisher, &viewer, VP8, 150).await;
    assert!(viewer.count(OPUS) >= 30);
    assert_whole(&viewer, VP8);
    assert_whole(&viewer, OPUS);
    assert_eq!(stage.media.stats().await.legs, 1);
    assert!(stage.counter("media_packets_out_total").await >= 180);

    // A second publisher comes: the same connection carries both.
    let second = stage.publish(2, BEN).await;
    stage.set_tracks(&[track(ANNA, "audio"), track(ANNA, "video"), track(BEN, "audio"), track(BEN, "video")]);
    let (id, offer, tracks) = stage.offer().await;
    assert_eq!(tracks.len(), 4);
    let answer = viewer.answer(&offer).await;
    stage.answer(id, answer).await.unwrap();
    let before = viewer.count(VP8);
    play_until(&second, &viewer, VP8, before + 60).await;

    stage.tell(Command::CloseLeg { room: ROOM, leg: LEG });
    stage.leg_is(LinkState::Closed).await;
    assert_eq!(stage.media.stats().await.legs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whep_viewer_is_moved_to_another_publisher_in_the_same_stream() {
    let mut stage = Stage::new();
    let (anna, ben) = (stage.publish(1, ANNA).await, stage.publish(2, BEN).await);
    let viewer = Viewer::new().await;
    let offer = viewer.offer().await;
    let answer = stage.ask(|reply| Command::OpenWhepLeg { room: ROOM, leg: LEG, offer, reply }).await.unwrap();
    stage.set_tracks(&[track(ANNA, "audio"), track(ANNA, "video")]);
    viewer.accept(&answer).await;
    viewer.connected().await;
    stage.leg_is(LinkState::Connected).await;
    play_until(&anna, &viewer, VP8, 60).await;
    stage.set_tracks(&[track(BEN, "audio"), track(BEN, "video")]);
    let before = viewer.count(VP8);
    play_until(&ben, &viewer, VP8, before + 60).await;
    assert_whole(&viewer, VP8);
    assert_whole(&viewer, OPUS);
    let seen = viewer.seen(VP8);
    assert!(seen.windows(2).all(|pair| pair[1].rtp_time.wrapping_sub(pair[0].rtp_time) < 90_000 * 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_that_are_gone_and_offers_that_cannot_be_served_are_refused() {
    let stage = Stage::new();
    let refused = stage.answer(1, String::new()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::SessionNotFound);
    let offer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-mux\r\n\
        a=ice-ufrag:abcd\r\na=fingerprint:sha-256 00\r\na=setup:actpass\r\n";
    let offer = offer.to_owned();
    let refused = stage.ask(|reply| Command::OpenWhepLeg { room: ROOM, leg: LEG, offer, reply }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NoCommonCodec);
    assert_eq!(stage.media.stats().await.legs, 0);
}
