//! After any loss a frame comes out only if all frames that it refers to came out. The test keeps the references itself.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Flow {
    /// Bits of the picture id: 0, 7 or 15.
    Vp8 {
        layers: u32,
        id_bits: u32,
    },
    /// With an enhancement layer that files do without.
    Vp9 {
        layers: u32,
        is_flexible: bool,
        is_spatial: bool,
    },
    Av1,
}

/// One frame: what it refers to, and its payloads.
struct Sent {
    layer: u32,
    is_key: bool,
    refs: Vec<u32>,
    payloads: Vec<Vec<u8>>,
    /// How many of these are the frame's own.
    own: usize,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Flow {
    fn codec(self) -> Codec {
        match self {
            Self::Vp8 { .. } => Codec::Vp8,
            Self::Vp9 { .. } => Codec::Vp9,
            Self::Av1 => Codec::Av1,
        }
    }

    fn layers(self) -> u32 {
        match self {
            Self::Vp8 { layers, .. } | Self::Vp9 { layers, .. } => layers,
            Self::Av1 => 1,
        }
    }

    fn frames(self, count: u32, key_every: u32, random: &mut Random) -> Vec<Sent> {
        let pattern: &[u32] = [&[0][..], &[0, 1], &[0, 2, 1, 2]][self.layers() as usize - 1];
        let top = self.layers() - 1;
        // The newest frame of each layer that others may refer to.
        let mut newest: [Option<u32>; 3] = [None; 3];
        let mut base_count = 250_u8;
        let mut frames: Vec<Sent> = Vec::new();
        for n in 0..count {
            let layer = pattern[n as usize % pattern.len()];
            let is_key = n % key_every == 0;
            let is_vp8 = matches!(self, Self::Vp8 { .. });
            let is_flexible = matches!(self, Self::Vp9 { is_flexible: true, .. });
            let is_droppable = !is_key && is_vp8 && layer == top && random.one_in(3);
            let is_sync = is_vp8 && layer > 0 && random.one_in(3);
            let is_switch = matches!(self, Self::Vp9 { .. }) && random.one_in(4);
            let mut refs: Vec<u32> = match (is_key, is_flexible) {
                (true, _) => Vec::new(),
                (false, true) => (1..=3)
                    .filter(|back| *back <= n % key_every && (*back == 1 || random.one_in(2)))
                    .map(|back| n - back)
                    .collect(),
                (false, false) if is_sync => newest[0].into_iter().collect(),
                (false, false) => newest[..=layer as usize].iter().flatten().copied().collect(),
            };
            refs.dedup();
            if is_key {
                newest = [Some(n); 3];
            } else if !is_droppable {
                newest[layer as usize] = Some(n);
            }
            if is_switch {
                newest[layer as usize + 1..].fill(None);
            }
            base_count = base_count.wrapping_add(u8::from(layer == 0));
            let count = 1 + random.below(4) as usize * random.below(2) as usize;
            let body = self.body(n, is_key, count);
            let chunks: Vec<&[u8]> = body.chunks(body.len().div_ceil(count)).collect();
            let last = chunks.len() - 1;
            let mut payloads = Vec::new();
            for (i, chunk) in chunks.iter().enumerate() {
                let head = match self {
                    Self::Vp8 { id_bits, .. } => {
                        let mut head = vec![0x80 | u8::from(is_droppable) << 5 | u8::from(i == 0) << 4, 0];
                        push_id(&mut head, n, id_bits);
                        head[1] |= if id_bits > 0 { 0x80 } else { 0 };
                        if top > 0 {
                            head[1] |= 0x60;
                            head.extend([base_count, (layer as u8) << 6 | u8::from(is_sync) << 5]);
                        }
                        head
                    }
                    Self::Vp9 { .. } => {
                        let flags = u8::from(!is_key) << 6 | u8::from(is_flexible) << 4;
                        let mut head = vec![0xa0 | flags | u8::from(i == 0) << 3 | u8::from(i == last) << 2];
                        push_id(&mut head, n, 15);
                        head.push((layer as u8) << 5 | u8::from(is_switch) << 4);
                        if !is_flexible {
                            head.push(base_count);
                        } else {
                            let more = |at: usize| u8::from(at + 1 < refs.len());
                            head.extend(refs.iter().enumerate().map(|(at, of)| ((n - of) as u8) << 1 | more(at)));
                        }
                        head
                    }
                    Self::Av1 => vec![0x10 | u8::from(i > 0) << 7 | u8::from(i < last) << 6],
                };
                payloads.push([&head[..], chunk].concat());
            }
            if let Self::Av1 = self
                && is_key
            {
                payloads.insert(0, [&[0x18][..], &SEQUENCE].concat());
            }
            let own = payloads.len();
            if let Self::Vp9 { is_spatial: true, .. } = self {
                let mut upper = vec![0xa0 | 0x40 | u8::from(is_flexible) << 4 | 0x0c];
                push_id(&mut upper, n, 15);
                upper.push((layer as u8) << 5 | 1 << 1 | 1);
                upper.push(if is_flexible { 1 << 1 } else { base_count });
                upper.extend([0x86, 1, 2, 3]);
                payloads.push(upper);
            }
            frames.push(Sent { layer, is_key, refs, payloads, own });
        }
        frames
    }

    /// A frame that ends with its number.
    fn body(self, n: u32, is_key: bool, packets: usize) -> Vec<u8> {
        let mut body = match (self, is_key) {
            (Self::Vp8 { .. }, _) => vec![u8::from(!is_key), 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00],
            (Self::Vp9 { .. }, true) => vec![0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0, 0x16, 0x70, 0],
            (Self::Vp9 { .. }, false) => vec![0x86; 10],
            (Self::Av1, _) => vec![0x30, if is_key { 0x10 } else { 0x30 }],
        };
        body.resize(body.len() + packets * 12, 0xee);
        body.extend(n.to_be_bytes());
        body
    }
}

fn push_id(head: &mut Vec<u8>, n: u32, bits: u32) {
    match bits {
        0 => {}
        7 => head.push((n & 0x7f) as u8),
        _ => head.extend(((n & 0x7fff) as u16 | 0x8000).to_be_bytes()),
    }
}

/// Sends the frames, without the packets that `is_lost` names, and judges what comes out. Returns the numbers of it.
fn judge(
    flow: Flow,
    frames: &[Sent],
    random: &mut Random,
    mut is_lost: impl FnMut(u32, &mut Random) -> bool,
) -> HashSet<u32> {
    let mut order = Order::new(flow.codec(), OrderLimits::default());
    let (mut seq, start) = (65_000_u16, Instant::now());
    let mut arrived: HashSet<u32> = HashSet::new();
    let mut out: HashSet<u32> = HashSet::new();
    let mut is_waiting = true;
    let mut take = |order: &mut Order| {
        while let Some(released) = order.poll() {
            let Released::Frame(frame) = released else {
                is_waiting = true;
                continue;
            };
            let tail = frame.data[frame.data.len() - 4..].try_into().expect("four bytes");
            let n = u32::from_be_bytes(tail);
            let sent = &frames[n as usize];
            assert_eq!(frame.is_keyframe, sent.is_key, "{flow:?}: {n}");
            assert!(sent.is_key || !is_waiting, "{flow:?}: {n} after a break");
            let missing: Vec<_> = sent.refs.iter().filter(|of| !out.contains(of)).collect();
            assert!(missing.is_empty(), "{flow:?}: {n} without {missing:?}");
            is_waiting = false;
            out.insert(n);
        }
    };
    let mut now = start;
    for (n, sent) in (0_u32..).zip(frames) {
        now = start + Duration::from_millis(u64::from(n) * 33);
        let padding = random.one_in(20).then(Vec::new);
        let mut is_whole = true;
        for (i, payload) in sent.payloads.iter().chain(&padding).enumerate() {
            seq = seq.wrapping_add(1);
            if is_lost(n, random) {
                is_whole &= i >= sent.own;
                continue;
            }
            let marker = i + 1 == sent.payloads.len();
            let payload = payload.clone().into();
            order.push(Packet { seq, rtp_time: n.wrapping_mul(3000), marker, arrival: now, level: None, payload });
        }
        if is_whole {
            arrived.insert(n);
        }
        order.on_timeout(now);
        take(&mut order);
    }
    order.flush(now);
    take(&mut order);
    // Whoever does without a whole frame of the base knows that only a keyframe helps.
    let last = out.iter().max().copied().unwrap_or(0);
    let is_left_out = |n: &u32| *n > last && frames[*n as usize].layer == 0;
    if arrived.iter().any(is_left_out) {
        assert!(order.is_broken(), "{flow:?}: nothing comes after {last}, and nobody asks");
    }
    out
}

fn flows() -> impl Strategy<Value = Flow> {
    let vp8 = (1_u32..=3, prop::sample::select(vec![0_u32, 7, 15]))
        .prop_map(|(layers, id_bits)| Flow::Vp8 { layers, id_bits });
    let vp9 = (1_u32..=3, any::<bool>(), any::<bool>()).prop_map(|(layers, is_flexible, is_spatial)| Flow::Vp9 {
        layers,
        is_flexible,
        is_spatial,
    });
    prop_oneof![4 => vp8, 3 => vp9, 1 => Just(Flow::Av1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_frame_comes_out_without_those_that_it_refers_to(
        flow in flows(), seed in 1..u64::MAX, one_in in prop::sample::select(vec![8_u64, 30, 100, 300]),
        bursts in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let frames = flow.frames(700, 240, &mut random);
        let mut burst = 0_u64;
        judge(flow, &frames, &mut random, |_, random| {
            if burst == 0 && bursts && random.one_in(150) {
                burst = [2, 10, 127, 128, 129, 256][random.below(6) as usize];
            }
            burst = burst.saturating_sub(1);
            burst > 0 || random.one_in(one_in)
        });
    }
}

/// Where ids come round, so many frames are missing that the next one seems to follow.
#[test]
fn counters_that_came_round_are_not_believed() {
    for (flow, gap) in [
        (Flow::Vp8 { layers: 1, id_bits: 7 }, 128),
        (Flow::Vp8 { layers: 2, id_bits: 0 }, 512),
        (Flow::Vp9 { layers: 2, is_flexible: false, is_spatial: false }, 512),
    ] {
        let mut random = Random(7);
        let frames = flow.frames(1000, u32::MAX, &mut random);
        let came = judge(flow, &frames, &mut random, |n, _| n > 200 && n <= 200 + gap);
        assert_eq!(came.len(), 201, "{flow:?}");
    }
}

/// What is lost of upper layers does not stop the base, and upper layers are used again once they are whole.
#[test]
fn loss_of_an_upper_layer_costs_no_picture_of_the_base() {
    for flow in [
        Flow::Vp8 { layers: 3, id_bits: 15 },
        Flow::Vp8 { layers: 2, id_bits: 7 },
        Flow::Vp9 { layers: 3, is_flexible: false, is_spatial: true },
    ] {
        let mut random = Random(11);
        let frames = flow.frames(480, u32::MAX, &mut random);
        let is_hit = |n: u32| n % 80 == 3 || n % 112 == 6;
        let came = judge(flow, &frames, &mut random, |n, _| frames[n as usize].layer > 0 && is_hit(n));
        let is_base = |n: &u32| frames[*n as usize].layer == 0;
        assert_eq!(came.iter().filter(|n| is_base(n)).count(), (0..480).filter(is_base).count(), "{flow:?}");
        assert!(came.len() > 300, "{flow:?}: {}", came.len());
    }
}

/// Of SVT-AV1, 320×180.
const SEQUENCE: [u8; 13] = [0x0a, 0x0b, 0, 0, 0, 4, 0x3c, 0xfe, 0xcd, 0xbf, 0xf8, 0, 0x40];
