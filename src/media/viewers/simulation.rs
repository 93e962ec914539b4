//! Legs and router against `rtc`'s own PeerConnection, over a network in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reelay_signaling::{ParticipantId, Source};
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrackId;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::*;
use crate::media::Codec;

pub const SERVER: &str = "10.0.0.1:7342";
pub const KEY: LegKey = LegKey(1);

/// When it arrives, a number to keep the order, whether it goes to the client, and its bytes.
type OnTheWay = (Instant, u64, bool, Vec<u8>);
/// Number, SDP, and what each mid carries.
type Offered = (u64, String, Vec<(String, TrackId)>);

/// One viewer, one room, and what lies between them.
pub struct Simulation {
    pub now: Instant,
    pub viewers: Viewers,
    pub outbox: Outbox,
    pub client: Client,
    pub queue: BinaryHeap<Reverse<OnTheWay>>,
    pub sent: u64,
    pub rng: StdRng,
    pub loss: f64,
    pub jitter_ms: u64,
    pub keyframes_asked: Vec<(Instant, TrackId, u8)>,
    pub states: Vec<LinkState>,
    pub checked: Vec<SocketAddr>,
    pub offers: Vec<Offered>,
    /// Whether offers are answered at once.
    pub answers: bool,
    pub results: Vec<Result<(), MediaError>>,
}

pub struct Client {
    pub pc: RTCPeerConnection,
    pub address: SocketAddr,
    pub is_connected: bool,
    /// Packets by SSRC, then by sequence number.
    pub packets: HashMap<u32, BTreeMap<u16, rtc::rtp::Packet>>,
    pub order: Vec<(u32, u16)>,
    pub tracks: Vec<MediaStreamTrackId>,
}

impl Client {
    pub fn new(now: Instant) -> Self {
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
        let settings = SettingEngineBuilder::new()
            .with_answering_dtls_role(RTCDtlsRole::Client)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .build(now)
            .unwrap();
        let address: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        pc.add_local_candidate(RTCIceCandidateInit {
            candidate: "candidate:1 1 udp 2130706431 10.0.0.2 5000 typ host".to_owned(),
            ..Default::default()
        })
        .unwrap();
        Self { pc, address, is_connected: false, packets: HashMap::new(), order: Vec::new(), tracks: Vec::new() }
    }

    pub fn answer(&mut self, now: Instant, offer: &str) -> String {
        let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
        self.pc.set_remote_description(now, offer).unwrap();
        let answer = self.pc.create_answer(None).unwrap();
        let text = answer.sdp.clone();
        self.pc.set_local_description(now, answer).unwrap();
        text
    }

    pub fn collect(&mut self) {
        while let Some(event) = self.pc.poll_event() {
            if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                self.is_connected = state == RTCPeerConnectionState::Connected;
            }
        }
        while let Some(message) = self.pc.poll_read() {
            if let RTCMessage::RtpPacket(track, packet) = message.message {
                if !self.tracks.contains(&track) {
                    self.tracks.push(track);
                }
                let (ssrc, seq) = (packet.header.ssrc, packet.header.sequence_number);
                self.order.push((ssrc, seq));
                self.packets.entry(ssrc).or_default().insert(seq, packet);
            }
        }
    }
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let shared = LegShared::with_rng(&[SERVER.parse().unwrap()], StdRng::seed_from_u64(seed)).unwrap();
        Self {
            now,
            viewers: Viewers::new(now, shared),
            outbox: Outbox::detached(),
            client: Client::new(now),
            queue: BinaryHeap::new(),
            sent: 0,
            rng: StdRng::seed_from_u64(seed ^ 99),
            loss: 0.0,
            jitter_ms: 0,
            keyframes_asked: Vec::new(),
            states: Vec::new(),
            checked: Vec::new(),
            offers: Vec::new(),
            answers: true,
            results: Vec::new(),
        }
    }

    /// Puts a datagram on the wire, or loses it.
    pub fn transmit(&mut self, to_client: bool, bytes: Vec<u8>) {
        if self.rng.random::<f64>() < self.loss {
            return;
        }
        let jitter = if self.jitter_ms > 0 { self.rng.random_range(0..self.jitter_ms) } else { 0 };
        let due = self.now + Duration::from_millis(5 + jitter);
        self.sent += 1;
        self.queue.push(Reverse((due, self.sent, to_client, bytes)));
    }

    /// Lets everything happen that is due now.
    pub fn turn(&mut self) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.0 <= self.now) {
            let Some(Reverse((_, _, to_client, mut bytes))) = self.queue.pop() else { break };
            if to_client {
                let transport = TransportContext {
                    local_addr: self.client.address,
                    peer_addr: SERVER.parse().unwrap(),
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                };
                let message = BytesMut::from(&bytes[..]);
                let _ = self.client.pc.handle_read(TaggedBytesMut { now: self.now, transport, message });
            } else {
                let route = Route { to: self.client.address, from: None };
                self.viewers.on_datagram(self.now, KEY, route, &mut bytes, &mut self.outbox);
            }
        }
        if self.viewers.poll_timeout().is_some_and(|due| self.now >= due) {
            self.viewers.on_timeout(self.now, &mut self.outbox);
        }
        if self.client.pc.poll_timeout().is_some_and(|due| self.now >= due) {
            let _ = self.client.pc.handle_timeout(self.now);
        }
        self.client.collect();
        self.events();
        for (route, bytes) in self.outbox.drain() {
            assert_eq!(route.to, self.client.address);
            self.transmit(true, bytes);
        }
        while let Some(transmit) = self.client.pc.poll_write() {
            self.transmit(false, transmit.message.to_vec());
        }
    }

    pub fn events(&mut self) {
        while let Some(event) = self.viewers.poll_event() {
            match event {
                ViewersEvent::Room(Event::Offer { id, sdp, tracks, .. }) => {
                    self.offers.push((id, sdp.clone(), tracks));
                    if self.answers {
                        self.give_answer(id, &sdp);
                    }
                }
                ViewersEvent::Room(Event::LegState { state, .. }) => self.states.push(state),
                ViewersEvent::Room(_) | ViewersEvent::Ufrags { .. } => {}
                ViewersEvent::AddressChecked { source, .. } => self.checked.push(source),
                ViewersEvent::Keyframe { track, layer } => self.keyframes_asked.push((self.now, track, layer)),
            }
        }
    }

    pub fn give_answer(&mut self, id: u64, offer: &str) {
        let answer = self.client.answer(self.now, offer);
        if std::env::var("SDP").is_ok() {
            println!("{offer}\n{answer}");
        }
        let result = self.viewers.answer(self.now, KEY, id, &answer, &mut self.outbox);
        self.results.push(result);
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            self.turn();
            self.now += Duration::from_millis(1);
        }
        self.turn();
    }

    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now + Duration::from_secs(20);
        while !done(self) {
            assert!(
                self.now < end,
                "{what} did not happen in 20 s; {} sent, {:?} {:?}",
                self.sent,
                self.states,
                self.checked
            );
            self.turn();
            self.now += Duration::from_millis(1);
        }
    }

    pub fn open(&mut self, tracks: &[TrackId]) {
        self.viewers.open(self.now, KEY).unwrap();
        self.viewers.set_tracks(self.now, KEY, tracks, &mut self.outbox);
        self.run_until("connection", |s| s.client.is_connected && s.states.contains(&LinkState::Connected));
        assert_eq!(self.results, [Ok(())]);
    }
}

/// Publishes VP8-like frames of three packets and Opus-like packets; every payload names its number.
pub struct Publisher {
    pub track: TrackId,
    pub layer: u8,
    pub ssrc: u32,
    pub seq: u16,
    pub rtp_time: u32,
    pub picture: u16,
    pub sent: u32,
    pub next: Instant,
    pub wants_keyframe: bool,
}

impl Publisher {
    pub fn new(sim: &Simulation, track: &TrackId, seq: u16) -> Self {
        Self {
            track: track.clone(),
            layer: 0,
            ssrc: 1000 + u32::from(seq),
            seq,
            rtp_time: u32::MAX - 50_000,
            picture: 32_760,
            sent: 0,
            next: sim.now,
            wants_keyframe: true,
        }
    }

    pub fn packet(&mut self, now: Instant, marker: bool, payload: Vec<u8>) -> InboundPacket {
        let is_audio = self.track.kind == Kind::Audio;
        let packet = InboundPacket {
            track: self.track.clone(),
            layer: self.layer,
            ssrc: self.ssrc,
            codec: if is_audio { Codec::Opus } else { Codec::Vp8 },
            seq: self.seq,
            rtp_time: self.rtp_time,
            marker,
            audio_level: is_audio.then_some(30),
            arrival: now,
            payload: Bytes::from(payload),
        };
        self.seq = self.seq.wrapping_add(1);
        packet
    }

    /// The packets that are due.
    pub fn poll(&mut self, now: Instant) -> Vec<InboundPacket> {
        if now < self.next {
            return Vec::new();
        }
        if self.track.kind == Kind::Audio {
            self.next += Duration::from_millis(20);
            let payload = self.sent.to_be_bytes().to_vec();
            self.sent += 1;
            let packet = self.packet(now, false, payload);
            self.rtp_time = self.rtp_time.wrapping_add(960);
            return vec![packet];
        }
        self.next += Duration::from_millis(33);
        let is_key = std::mem::take(&mut self.wants_keyframe);
        let packets = (0..3)
            .map(|part| {
                let first = if part == 0 { 0x90 } else { 0x80 };
                let [high, low] = (self.picture | 0x8000).to_be_bytes();
                let mut payload = vec![first, 0x80, high, low, u8::from(!is_key)];
                payload.extend(self.sent.to_be_bytes());
                payload.resize(1000 + part, 7);
                self.sent += 1;
                self.packet(now, part == 2, payload)
            })
            .collect();
        self.picture = (self.picture + 1) & 0x7fff;
        self.rtp_time = self.rtp_time.wrapping_add(2970);
        packets
    }
}

pub fn publish(sim: &mut Simulation, publishers: &mut [Publisher], ms: u64) {
    for _ in 0..ms {
        for publisher in publishers.iter_mut() {
            let wish = |asked: &(Instant, TrackId, u8)| asked.1 == publisher.track && asked.2 == publisher.layer;
            if let Some(at) = sim.keyframes_asked.iter().position(wish) {
                sim.keyframes_asked.remove(at);
                publisher.wants_keyframe = true;
            }
            for packet in publisher.poll(sim.now) {
                sim.viewers.on_packet(sim.now, &packet, &mut sim.outbox);
            }
        }
        sim.run(1);
    }
}

pub fn track(n: u64, kind: Kind) -> TrackId {
    TrackId { participant: ParticipantId::from_random(n), source: Source::Camera, kind }
}

pub fn ssrcs(offer: &str) -> Vec<u32> {
    let lines = offer.lines().filter_map(|line| line.strip_prefix("a=ssrc:"));
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// The counter that the publisher has put into each packet of an SSRC, in order of sequence numbers.
pub fn counters(sim: &Simulation, ssrc: u32, at: usize) -> Vec<u32> {
    let Some(packets) = sim.client.packets.get(&ssrc) else { return Vec::new() };
    let first = sim.client.order.iter().find(|(of, _)| *of == ssrc).unwrap().1;
    let mut sorted: Vec<_> = packets.iter().map(|(&seq, packet)| (seq.wrapping_sub(first) as i16, packet)).collect();
    sorted.sort_by_key(|(seq, _)| *seq);
    for pair in sorted.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, 1, "a gap in the viewer's numbers");
    }
    let number = |packet: &rtc::rtp::Packet| u32::from_be_bytes(packet.payload[at..at + 4].try_into().unwrap());
    sorted.into_iter().map(|(_, packet)| number(packet)).collect()
}
