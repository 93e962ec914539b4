//! Order under reordering and loss, with frames that say who they are.

use std::time::Duration;

use super::*;
use proptest::prelude::*;

const STEP: Duration = Duration::from_millis(1);

/// A VP8 flow: frame `n` has `packets` packets, its bytes name it; a keyframe each `every` frames.
struct Vp8Flow {
    every: u32,
    layers: bool,
}

impl Vp8Flow {
    fn frame(&self, n: u32, packets: usize) -> Vec<Vec<u8>> {
        let is_key = n.is_multiple_of(self.every);
        let mut body: Vec<u8> = vec![u8::from(!is_key), 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
        body.extend(n.to_be_bytes());
        body.resize(14.max(packets * 10), 0xee);
        let chunk = body.len().div_ceil(packets);
        body.chunks(chunk).enumerate().map(|(i, part)| [self.descriptor(n, i == 0), part.to_vec()].concat()).collect()
    }

    /// Two temporal layers: even frames are the base, odd ones refer to it alone.
    fn descriptor(&self, n: u32, is_first: bool) -> Vec<u8> {
        let start = if is_first { 0x10 } else { 0 };
        let id = (n & 0x7fff) as u16 | 0x8000;
        if !self.layers {
            return vec![0x80 | start, 0x80, (id >> 8) as u8, id as u8];
        }
        let (tid, sync) = if n.is_multiple_of(2) { (0, 0) } else { (0x40, 0x20) };
        vec![0x80 | start, 0xe0, (id >> 8) as u8, id as u8, (n / 2) as u8, tid | sync]
    }

    fn packets(&self, first_seq: u16, frames: u32, start: Instant) -> Vec<Packet> {
        let mut seq = first_seq;
        let mut packets = Vec::new();
        for n in 0..frames {
            let parts = self.frame(n, 1 + (n as usize * 7) % 4);
            let last = parts.len() - 1;
            for (i, payload) in parts.into_iter().enumerate() {
                packets.push(Packet {
                    seq,
                    rtp_time: 4_294_000_000_u32.wrapping_add(n * 3000),
                    marker: i == last,
                    arrival: start + STEP * (n * 33 + i as u32),
                    level: None,
                    payload: payload.into(),
                });
                seq = seq.wrapping_add(1);
            }
        }
        packets
    }
}

fn frames_of(order: &mut Order) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(released) = order.poll() {
        if let Released::Frame(frame) = released {
            frames.push(frame);
        }
    }
    frames
}

fn number(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.data[10..14].try_into().expect("it has four bytes"))
}

fn run(packets: Vec<Packet>, codec: Codec) -> (Vec<Frame>, Order) {
    let mut order = Order::new(codec, OrderLimits::default());
    let mut frames = Vec::new();
    let mut now = packets[0].arrival;
    for packet in packets {
        now = now.max(packet.arrival);
        order.push(packet);
        order.on_timeout(now);
        frames.extend(frames_of(&mut order));
    }
    order.flush(now);
    frames.extend(frames_of(&mut order));
    (frames, order)
}

#[test]
fn frames_come_out_whole_in_order_and_equal_over_the_wrap() {
    let flow = Vp8Flow { every: 100, layers: false };
    let (frames, order) = run(flow.packets(65_400, 300, Instant::now()), Codec::Vp8);
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
    for frame in &frames {
        let sent: Vec<u8> = flow
            .frame(number(frame), 1 + (number(frame) as usize * 7) % 4)
            .iter()
            .flat_map(|p| p[4..].to_vec())
            .collect();
        assert_eq!(frame.data, sent);
        assert_eq!(frame.time.0 - frames[0].time.0, i64::from(number(frame)) * 3000);
    }
    assert_eq!(frames[0].size, Some((320, 180)));
    assert_eq!(order.counters(), OrderCounters::default());
}

#[test]
fn hole_is_waited_for_and_then_only_a_keyframe_follows() {
    let flow = Vp8Flow { every: 50, layers: false };
    let start = Instant::now();
    let mut packets = flow.packets(10, 200, start);
    let victim =
        packets.iter().position(|p| p.rtp_time == 4_294_000_000_u32.wrapping_add(30 * 3000)).expect("it is there");
    let missing = packets.remove(victim);
    // Comes 1.9 s late: nothing is lost.
    let mut repaired = packets.clone();
    let at = missing.arrival + STEP * 1_900;
    let index = repaired.iter().position(|p| p.arrival > at).expect("the flow is longer");
    repaired.insert(index, Packet { arrival: at, ..missing });
    let (frames, order) = run(repaired, Codec::Vp8);
    assert_eq!(frames.len(), 200);
    assert_eq!((order.counters().missing, order.counters().repaired, order.counters().lost), (1, 1, 0));
    // Never comes.
    let (frames, order) = run(packets, Codec::Vp8);
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), (0..30).chain(50..200).collect::<Vec<_>>());
    assert_eq!((order.counters().lost, order.counters().skipped), (1, 19));
    assert_eq!(frames[30].lost_before, 1);
}

#[test]
fn lost_upper_layer_is_skipped_and_the_base_goes_on() {
    let flow = Vp8Flow { every: 1000, layers: true };
    let mut packets = flow.packets(10, 100, Instant::now());
    packets.retain(|p| p.rtp_time != 4_294_000_000_u32.wrapping_add(31 * 3000));
    let (frames, order) = run(packets, Codec::Vp8);
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), (0..31).chain(32..100).collect::<Vec<_>>());
    assert!(!order.needs_keyframe());
    let mut packets = flow.packets(10, 100, Instant::now());
    packets.retain(|p| p.rtp_time != 4_294_000_000_u32.wrapping_add(32 * 3000));
    let (frames, order) = run(packets, Codec::Vp8);
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
    assert!(order.needs_keyframe());
}

#[test]
fn padding_and_duplicates_are_no_loss() {
    let flow = Vp8Flow { every: 1000, layers: false };
    let mut packets = flow.packets(10, 50, Instant::now());
    let last = packets[packets.len() - 1].clone();
    for i in 1..=3 {
        packets.push(Packet { seq: last.seq.wrapping_add(i), payload: Bytes::new(), ..last.clone() });
    }
    packets.push(last.clone());
    let more = flow.packets(last.seq.wrapping_add(4), 3, last.arrival);
    packets.extend(more.into_iter().map(|p| Packet { rtp_time: p.rtp_time.wrapping_add(50 * 3000), ..p }));
    let (frames, order) = run(packets, Codec::Vp8);
    assert_eq!(frames.len(), 53);
    assert_eq!(order.counters(), OrderCounters { duplicates: 1, ..OrderCounters::default() });
}

#[test]
fn sender_that_begins_anew_is_followed() {
    let flow = Vp8Flow { every: 20, layers: false };
    let start = Instant::now();
    let mut packets = flow.packets(50_000, 40, start);
    packets.extend(flow.packets(30_000, 60, start + Duration::from_secs(3)));
    let (frames, order) = run(packets, Codec::Vp8);
    assert_eq!(order.counters().restarts, 1);
    assert_eq!(frames.iter().filter(|frame| frame.epoch == 1).map(number).last(), Some(59));
}

#[test]
fn timestamps_that_jump_begin_a_new_epoch_without_losing_a_frame() {
    let mut packets = opus_packets(100, Instant::now());
    for packet in &mut packets[50..] {
        packet.rtp_time = packet.rtp_time.wrapping_add(500_000_000);
    }
    let (frames, order) = run(packets, Codec::Opus);
    assert_eq!(frames.len(), 100);
    assert_eq!(frames.iter().filter(|frame| frame.epoch == 1).count(), 50);
    assert_eq!(order.counters(), OrderCounters { restarts: 1, ..OrderCounters::default() });
}

fn opus_packets(count: u32, start: Instant) -> Vec<Packet> {
    (0..count)
        .map(|n| Packet {
            seq: 65_530_u16.wrapping_add(n as u16),
            rtp_time: n * 960,
            marker: false,
            arrival: start + STEP * (20 * n),
            level: None,
            payload: [&[0x78], &n.to_be_bytes()[..]].concat().into(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn audio_survives_reordering_and_names_what_is_lost(seed in prop::collection::vec((0_u32..1_500, 0_u8..20), 200)) {
        let start = Instant::now();
        let packets = opus_packets(200, start);
        // Each packet is delayed by up to 1.5 s, one in twenty never comes. The first and last are kept.
        let mut sent: Vec<Packet> = Vec::new();
        let mut lost = 0;
        for (n, (packet, (delay, luck))) in packets.into_iter().zip(seed).enumerate() {
            if luck == 0 && n > 0 && n < 199 {
                lost += 1;
                continue;
            }
            let delay = if n == 0 { 0 } else { delay };
            sent.push(Packet { arrival: packet.arrival + STEP * delay, ..packet });
        }
        sent.sort_by_key(|packet| packet.arrival);
        let count = sent.len();
        let mut all: Vec<Bytes> = sent.iter().map(|p| p.payload.clone()).collect();
        all.sort();
        let (frames, order) = run(sent, Codec::Opus);
        prop_assert_eq!(frames.iter().map(|f| f.data.clone()).collect::<Vec<_>>(), all);
        prop_assert_eq!(frames.len(), count);
        prop_assert_eq!(frames.iter().map(|f| f.lost_before).sum::<u64>(), lost);
        prop_assert_eq!(order.counters().lost, lost);
    }

    #[test]
    fn torn_video_never_comes_out(lost in prop::collection::hash_set(0_usize..700, 0..60), layers: bool) {
        let flow = Vp8Flow { every: 40, layers };
        let packets = flow.packets(9, 280, Instant::now());
        let kept: Vec<Packet> = packets.iter().enumerate().filter(|(i, _)| !lost.contains(i)).map(|(_, p)| p.clone()).collect();
        prop_assume!(!kept.is_empty());
        let (frames, _) = run(kept, Codec::Vp8);
        let mut decodable = false;
        let mut last = None;
        for frame in &frames {
            let n = number(frame);
            let whole: Vec<u8> = flow.frame(n, 1 + (n as usize * 7) % 4).iter().flat_map(|p| p[if layers { 6 } else { 4 }..].to_vec()).collect();
            prop_assert_eq!(&frame.data[..], &whole[..]);
            let follows = last.is_some_and(|last| n == last + 1 || (layers && n == last + 2 && n.is_multiple_of(2)));
            decodable = frame.is_keyframe || (decodable && follows);
            prop_assert!(decodable, "frame {} after {:?}", n, last);
            last = Some(n);
        }
    }

    #[test]
    fn no_flow_panics_or_grows(packets in prop::collection::vec((any::<u16>(), any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..300)) {
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1] {
            let start = Instant::now();
            let limits = OrderLimits { max_bytes: 2_000, ..OrderLimits::default() };
            let mut order = Order::new(codec, limits);
            for (i, (seq, rtp_time, marker, payload)) in packets.iter().cloned().enumerate() {
                let arrival = start + STEP * i as u32;
                order.push(Packet { seq, rtp_time, marker, arrival, level: None, payload: payload.into() });
                prop_assert!(order.bytes <= 2_000 + 200);
            }
            order.flush(start + STEP * 10_000);
            prop_assert!(!order.is_waiting());
        }
    }
}
