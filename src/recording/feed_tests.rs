//! Whole calls through the feed in virtual time: drift, steps, loss, holes, pauses, late and missing tracks.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

#[path = "feed_tests/begin.rs"]
mod begin;
#[path = "feed_tests/hours.rs"]
mod hours;
#[path = "feed_tests/stalls.rs"]
mod stalls;

/// A sender in virtual time. True time is microseconds since the call began; every payload carries it.
#[derive(Debug, Clone)]
struct Source {
    kind: Kind,
    ssrc: u32,
    /// How much its media clock is too fast, in parts per million.
    drift_ppm: f64,
    /// Between two frames.
    frame_us: i64,
    /// A keyframe each so many frames.
    every: u64,
    /// From capture to arrival, at least, and how much more at most.
    delay_us: (i64, i64),
    /// Between two sender reports; 0 sends none.
    report_us: i64,
    first_rtp: u32,
    first_seq: u16,
}

/// Something that arrives.
#[derive(Debug, Clone)]
struct Arrival {
    at_us: i64,
    item: TapItem,
}

fn audio() -> Source {
    Source {
        kind: Kind::Audio,
        ssrc: 1,
        drift_ppm: 0.0,
        frame_us: 20_000,
        every: 1,
        delay_us: (20_000, 10_000),
        report_us: 2_000_000,
        first_rtp: u32::MAX - 48_000,
        first_seq: 65_000,
    }
}

fn video() -> Source {
    Source {
        kind: Kind::Video,
        ssrc: 2,
        frame_us: 33_333,
        every: 60,
        delay_us: (60_000, 20_000),
        report_us: 1_000_000,
        first_rtp: u32::MAX - 900_000,
        ..audio()
    }
}

impl Source {
    fn codec(&self) -> Codec {
        if self.kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 }
    }

    fn rtp(&self, true_us: i64) -> u32 {
        let hz = f64::from(self.codec().clock_hz());
        let ticks = true_us as f64 * hz / 1e6 * (1.0 + self.drift_ppm / 1e6);
        self.first_rtp.wrapping_add(ticks.round() as i64 as u32)
    }

    /// Everything sent from `from_us` to `to_us`, by arrival. `wall` is the sender's wall clock at a true time.
    fn send(&self, from_us: i64, to_us: i64, zero: Instant, wall: &dyn Fn(i64) -> i64, seed: u64) -> Vec<Arrival> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut out = Vec::new();
        let mut next_report = from_us + 300_000;
        let mut n = 0_u64;
        let mut true_us = from_us;
        while true_us < to_us {
            let at_us = true_us + self.delay_us.0 + random.random_range(0..=self.delay_us.1);
            let arrival = zero + Duration::from_micros(at_us as u64);
            if self.report_us > 0 && true_us >= next_report {
                next_report += self.report_us;
                let noise = random.random_range(-800..=800);
                let ntp = NtpTime::from_us(wall(true_us) + noise).0;
                let report =
                    SenderReport { kind: self.kind, ssrc: self.ssrc, ntp, rtp_time: self.rtp(true_us), arrival };
                out.push(Arrival { at_us, item: TapItem::Report(report) });
            }
            let packet = TapPacket {
                kind: self.kind,
                codec: self.codec(),
                ssrc: self.ssrc,
                seq: self.first_seq.wrapping_add(n as u16),
                rtp_time: self.rtp(true_us),
                marker: self.kind == Kind::Video,
                arrival,
                audio_level: None,
                payload: self.payload(true_us, n),
            };
            out.push(Arrival { at_us, item: TapItem::Packet(packet) });
            n += 1;
            // The encoder's grid is that of its own clock.
            true_us = from_us + (n as f64 * self.frame_us as f64 / (1.0 + self.drift_ppm / 1e6)).round() as i64;
        }
        out
    }

    fn payload(&self, true_us: i64, n: u64) -> Bytes {
        let stamp = true_us.to_be_bytes();
        if self.kind == Kind::Audio {
            // CELT 20 ms, or SILK 60 ms.
            let toc = if self.frame_us == 60_000 { 0x18 } else { 0xf8 };
            return [&[toc], &stamp[..]].concat().into();
        }
        let is_key = n.is_multiple_of(self.every);
        let head = [0x90, 0x80, (n >> 8) as u8 | 0x80, n as u8];
        let frame = [u8::from(!is_key), 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
        [&head[..], &frame[..], &stamp[..]].concat().into()
    }
}

/// True time of capture that a real block carries.
fn true_us(block: &Block) -> i64 {
    let from = if block.kind == Kind::Audio { 1 } else { 10 };
    i64::from_be_bytes(block.data[from..from + 8].try_into().expect("it has eight bytes"))
}

struct Call {
    feed: Feed,
    zero: Instant,
    now_us: i64,
    step_us: i64,
    blocks: Vec<Block>,
    keyframes_wanted: Vec<i64>,
}

impl Call {
    fn new(shape: Shape) -> Self {
        let zero = Instant::now();
        let feed = Feed::new(shape, Duration::from_secs(2), zero, Cuts::default());
        Self { feed, zero, now_us: 0, step_us: 20_000, blocks: Vec::new(), keyframes_wanted: Vec::new() }
    }

    fn both() -> Self {
        Self::new(Shape { audio: true, video: Some(Codec::Vp8) })
    }

    fn at(&self, us: i64) -> Instant {
        self.zero + Duration::from_micros(us as u64)
    }

    /// Lets arrivals happen, and time pass in steps of 20 ms, until `to_us`.
    fn run(&mut self, arrivals: &[Arrival], to_us: i64) {
        let mut arrivals = arrivals.iter().peekable();
        while self.now_us < to_us {
            self.now_us += self.step_us;
            while let Some(arrival) = arrivals.next_if(|arrival| arrival.at_us <= self.now_us) {
                self.feed.on_item(self.at(arrival.at_us), &mut arrival.item.clone()).expect("it is declared");
            }
            let now = self.at(self.now_us);
            self.feed.on_time(now);
            while let Some(block) = self.feed.poll(now) {
                self.blocks.push(block);
            }
            if self.feed.wants_keyframe(now) {
                self.keyframes_wanted.push(self.now_us);
            }
        }
    }

    fn finish(mut self) -> (Vec<Block>, Feed) {
        self.feed.finish(self.at(self.now_us));
        while let Some(block) = self.feed.drain() {
            self.blocks.push(block);
        }
        check_order(&self.blocks);
        (self.blocks, self.feed)
    }
}

/// R10 and R15: times never decrease, grow within a track, and video begins with a keyframe.
fn check_order(blocks: &[Block]) {
    let mut last = [None; 2];
    let mut any = 0;
    for block in blocks {
        assert!(block.time_ms >= any, "time goes back to {}", block.time_ms);
        assert!(last[block.kind as usize].is_none_or(|last| block.time_ms > last), "two at {}", block.time_ms);
        any = block.time_ms;
        last[block.kind as usize] = Some(block.time_ms);
    }
    let first = blocks.iter().find(|block| block.kind == Kind::Video);
    assert!(first.is_none_or(|block| block.is_keyframe));
}

fn merged(mut lists: Vec<Vec<Arrival>>) -> Vec<Arrival> {
    let mut all: Vec<Arrival> = lists.drain(..).flatten().collect();
    all.sort_by_key(|arrival| arrival.at_us);
    all
}

fn real(blocks: &[Block], kind: Kind) -> Vec<&Block> {
    blocks.iter().filter(|block| block.kind == kind && !block.is_fill).collect()
}

/// File time minus true time, in milliseconds.
fn error_ms(block: &Block) -> f64 {
    block.time_ms as f64 - true_us(block) as f64 / 1000.0
}

/// How the sound of a file runs when a player just plays one packet after the other: its end against its time.
fn sound_lag_ms(blocks: &[Block]) -> f64 {
    let sound: Vec<&Block> = blocks.iter().filter(|block| block.kind == Kind::Audio).collect();
    let played: i64 = sound.iter().map(|block| block.duration_us).sum();
    let (Some(first), Some(last)) = (sound.first(), sound.last()) else { return 0.0 };
    let by_time = (last.time_ms - first.time_ms) as f64 + last.duration_us as f64 / 1000.0;
    by_time - played as f64 / 1000.0
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const NTP_US: i64 = 3_900_000_000 * SECOND;

fn steady(at: i64) -> i64 {
    NTP_US + at
}

/// A/V error at each minute of ten hours, in milliseconds.
fn ten_hours(wall: &dyn Fn(i64) -> i64, audio_ppm: f64, video_ppm: f64) -> Vec<f64> {
    ten_hours_with(wall, audio_ppm, video_ppm, &mut |_, _| {})
}

/// The same after `change` had its way with what arrives.
fn ten_hours_with(
    wall: &dyn Fn(i64) -> i64,
    audio_ppm: f64,
    video_ppm: f64,
    change: &mut dyn FnMut(Kind, &mut Vec<Arrival>),
) -> Vec<f64> {
    let mut call = Call::both();
    call.step_us = 300_000;
    let sound = Source { frame_us: 60_000, drift_ppm: audio_ppm, ..audio() };
    let picture = Source { frame_us: 200_000, drift_ppm: video_ppm, every: 50, ..video() };
    let to = 10 * HOUR;
    let mut lists = vec![sound.send(0, to, call.zero, wall, 1), picture.send(0, to, call.zero, wall, 2)];
    for (kind, list) in [Kind::Audio, Kind::Video].into_iter().zip(&mut lists) {
        change(kind, list);
    }
    let arrivals = merged(lists);
    call.run(&arrivals, to + SECOND);
    let (blocks, feed) = call.finish();
    assert_eq!(feed.counters().audio.lost + feed.counters().video.lost, 0);
    let (sound, picture) = (real(&blocks, Kind::Audio), real(&blocks, Kind::Video));
    assert_eq!(picture.len() as i64, (to as f64 * (1.0 + video_ppm / 1e6) / 200_000.0).ceil() as i64);
    let near = |list: &[&Block], minute: u64| {
        let at = list.partition_point(|block| block.time_ms < minute * 60_000);
        let span = &list[at.saturating_sub(20).min(list.len() - 40)..][..40];
        span.iter().map(|block| error_ms(block)).sum::<f64>() / 40.0
    };
    (1..600).map(|minute| near(&sound, minute) - near(&picture, minute)).collect()
}

fn check_sync(errors: &[f64]) {
    for (minute, error) in (1..).zip(errors) {
        assert!(error.abs() < 20.0, "{error} ms at minute {minute}");
    }
}

#[test]
fn ten_hours_with_wraps_and_drift_stay_in_sync() {
    let errors = ten_hours(&steady, 100.0, -100.0);
    check_sync(&errors);
}

#[test]
fn steps_of_the_senders_wall_clock_do_not_move_sound_against_pictures() {
    let stepped = |at: i64| {
        let step = match at / HOUR {
            0..3 => 0,
            3..6 => HOUR,
            _ => -2 * HOUR,
        };
        steady(at) + step
    };
    let errors = ten_hours(&stepped, -50.0, 80.0);
    check_sync(&errors);
}

#[test]
fn without_loss_everything_is_there_and_nothing_is_filled() {
    let mut call = Call::both();
    let (sound, picture) = (audio(), video());
    let arrivals = merged(vec![
        sound.send(0, 30 * SECOND, call.zero, &steady, 3),
        picture.send(0, 30 * SECOND, call.zero, &steady, 4),
    ]);
    call.run(&arrivals, 31 * SECOND);
    let (blocks, feed) = call.finish();
    assert_eq!((real(&blocks, Kind::Audio).len(), real(&blocks, Kind::Video).len()), (1500, 901));
    assert_eq!(blocks.iter().filter(|block| block.is_fill).count(), 0);
    assert_eq!((feed.timeline().clamps, feed.gaps().len()), (0, 0));
    assert!(sound_lag_ms(&blocks).abs() <= 20.0);
    let spread = |kind| {
        let errors: Vec<f64> = real(&blocks, kind).iter().skip(600).map(|block| error_ms(block)).collect();
        errors.iter().sum::<f64>() / errors.len() as f64
    };
    assert!((spread(Kind::Audio) - spread(Kind::Video)).abs() < 20.0);
}

#[test]
fn lost_and_late_packets_leave_sound_in_its_place() {
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut call = Call::both();
        let mut arrivals = merged(vec![
            audio().send(0, 20 * SECOND, call.zero, &steady, seed),
            video().send(0, 20 * SECOND, call.zero, &steady, seed + 100),
        ]);
        // One in twenty is asked for again and comes up to 1.5 s later; one in ten of those never comes.
        let mut gone = 0;
        arrivals.retain_mut(|arrival| {
            if arrival.at_us < 2 * SECOND
                || !matches!(arrival.item, TapItem::Packet(_))
                || random.random_range(0..20) > 0
            {
                return true;
            }
            let late = random.random_range(50_000..1_500_000);
            arrival.at_us += late;
            if let TapItem::Packet(packet) = &mut arrival.item {
                packet.arrival += Duration::from_micros(late as u64);
            }
            let is_lost = random.random_range(0..10) == 0;
            gone += u64::from(is_lost);
            !is_lost
        });
        arrivals.sort_by_key(|arrival| arrival.at_us);
        call.run(&arrivals, 23 * SECOND);
        let (blocks, feed) = call.finish();
        let counters = feed.counters();
        let late = counters.audio.late + counters.video.late;
        assert!(counters.audio.lost + counters.video.lost <= gone + late, "seed {seed}: {counters:?}");
        assert_eq!(feed.timeline().overlaps, 0, "seed {seed}");
        assert!(sound_lag_ms(&blocks).abs() <= 20.0, "seed {seed}: {}", sound_lag_ms(&blocks));
        for block in real(&blocks, Kind::Audio) {
            assert!((error_ms(block) - error_ms(real(&blocks, Kind::Audio)[0])).abs() < 10.0, "seed {seed}");
        }
    }
}

#[test]
fn every_missing_packet_is_filled_with_exactly_its_length() {
    let mut call = Call::new(Shape { audio: true, video: None });
    let missing: HashSet<i64> = [100, 101, 102, 200, 300, 301].into();
    let arrivals: Vec<Arrival> = audio()
        .send(0, 10 * SECOND, call.zero, &steady, 5)
        .into_iter()
        .enumerate()
        .filter(|(_, arrival)| match &arrival.item {
            TapItem::Packet(packet) => !missing.contains(&i64::from(packet.seq.wrapping_sub(65_000))),
            _ => true,
        })
        .map(|(_, arrival)| arrival)
        .collect();
    call.run(&arrivals, 12 * SECOND);
    let (blocks, feed) = call.finish();
    let fills: Vec<&Block> = blocks.iter().filter(|block| block.is_fill && block.time_ms < 9_900).collect();
    assert_eq!(fills.len(), 6);
    assert!(fills.iter().all(|block| block.data[..] == [0xf8, 0xff, 0xfe]));
    for pair in blocks.windows(2) {
        let step = pair[1].time_ms - pair[0].time_ms;
        assert!((19..=21).contains(&step), "{step} at {}", pair[0].time_ms);
    }
    assert_eq!(feed.gaps().iter().filter(|gap| gap.cause == "loss").count(), 3);
}

#[test]
fn muted_tracks_are_filled_as_time_passes_and_video_comes_back_with_a_keyframe() {
    let mut call = Call::both();
    let (sound, picture) = (audio(), Source { every: 30, ..video() });
    let mut arrivals = merged(vec![
        sound.send(0, 5 * SECOND, call.zero, &steady, 6),
        picture.send(0, 5 * SECOND, call.zero, &steady, 7),
    ]);
    call.run(&arrivals, 5 * SECOND);
    call.feed.set_muted(Kind::Audio, true);
    call.feed.set_muted(Kind::Video, true);
    call.run(&[], 15 * SECOND);
    let silent = call.blocks.len();
    let last = call.blocks.last().map_or(0, |block| block.time_ms);
    assert!(last > 13_000, "fills stand at {last}");
    // Back, in the middle of a group of pictures.
    call.feed.set_muted(Kind::Audio, false);
    call.feed.set_muted(Kind::Video, false);
    let again = |source: Source, n: u64| {
        let rtp = source.rtp(0);
        let back = Source { first_seq: source.first_seq.wrapping_add(n as u16), first_rtp: rtp, ..source };
        back.send(15 * SECOND, 20 * SECOND, call.zero, &steady, 8)
    };
    arrivals = merged(vec![again(sound, 250), again(picture, 151)]);
    // It does not begin with a keyframe.
    arrivals.retain(|arrival| arrival.at_us > 15 * SECOND + 200_000);
    call.run(&arrivals, 20 * SECOND);
    assert!(call.keyframes_wanted.iter().any(|at| (15 * SECOND..16 * SECOND).contains(at)));
    let (blocks, _) = call.finish();
    let fills: Vec<&Block> = blocks.iter().filter(|b| b.kind == Kind::Video && b.is_fill).collect();
    assert!((8..=11).contains(&fills.len()), "{}", fills.len());
    assert!(fills.windows(2).all(|pair| pair[1].time_ms - pair[0].time_ms == 1000));
    let back = blocks[silent..].iter().find(|block| block.kind == Kind::Video && !block.is_fill).expect("it came back");
    assert!(back.is_keyframe);
    assert!(sound_lag_ms(&blocks).abs() <= 20.0, "{}", sound_lag_ms(&blocks));
}

#[test]
fn late_video_begins_with_black_and_is_in_time() {
    let mut call = Call::both();
    let arrivals = merged(vec![
        audio().send(0, 15 * SECOND, call.zero, &steady, 9),
        video().send(8 * SECOND, 15 * SECOND, call.zero, &steady, 10),
    ]);
    call.run(&arrivals, 15 * SECOND);
    let (blocks, _) = call.finish();
    let picture: Vec<&Block> = blocks.iter().filter(|block| block.kind == Kind::Video).collect();
    assert!(picture[0].is_fill && picture[0].time_ms == 0);
    let fills = picture.iter().filter(|block| block.is_fill).count();
    assert!((7..=9).contains(&fills), "{fills}");
    let first = real(&blocks, Kind::Video)[0];
    assert!(first.is_keyframe && (7_950..8_100).contains(&first.time_ms), "{}", first.time_ms);
}

#[test]
fn pause_takes_time_out_of_both_tracks_at_one_instant() {
    let mut call = Call::both();
    let arrivals = merged(vec![
        audio().send(0, 20 * SECOND, call.zero, &steady, 11),
        Source { every: 30, ..video() }.send(0, 20 * SECOND, call.zero, &steady, 12),
    ]);
    call.run(&arrivals, 6 * SECOND);
    let mut cuts = Cuts::default();
    cuts.pause(6 * SECOND);
    call.feed.set_cuts(cuts.clone());
    let rest: Vec<Arrival> = arrivals.iter().filter(|arrival| arrival.at_us > 6 * SECOND).cloned().collect();
    call.run(&rest, 12 * SECOND);
    cuts.resume(12 * SECOND);
    call.feed.set_cuts(cuts);
    let rest: Vec<Arrival> = rest.into_iter().filter(|arrival| arrival.at_us > 12 * SECOND).collect();
    call.run(&rest, 20 * SECOND);
    let (blocks, _) = call.finish();
    assert!(real(&blocks, Kind::Audio).iter().all(|block| !(6 * SECOND..11_900_000).contains(&true_us(block))));
    let last = blocks.last().expect("there are blocks");
    assert!((13_800..14_100).contains(&last.time_ms), "{}", last.time_ms);
    let after = real(&blocks, Kind::Video).into_iter().find(|block| true_us(block) > 11 * SECOND).expect("it goes on");
    assert!(after.is_keyframe);
    assert!((error_ms(after) + 6_000.0 - error_ms(real(&blocks, Kind::Video)[0])).abs() < 40.0);
    assert!(sound_lag_ms(&blocks).abs() <= 25.0);
}

#[test]
fn another_ssrc_goes_on_in_the_same_file() {
    let mut call = Call::both();
    let second = Source { ssrc: 77, first_rtp: 5, first_seq: 9, ..audio() };
    let other = Source { ssrc: 78, first_rtp: 123, first_seq: 60_000, ..video() };
    let arrivals = merged(vec![
        audio().send(0, 5 * SECOND, call.zero, &steady, 13),
        video().send(0, 6 * SECOND, call.zero, &steady, 14),
        second.send(5 * SECOND, 12 * SECOND, call.zero, &steady, 15),
        other.send(6 * SECOND, 12 * SECOND, call.zero, &steady, 16),
    ]);
    call.run(&arrivals, 13 * SECOND);
    let (blocks, feed) = call.finish();
    assert_eq!(feed.counters().ssrc_changes, 2);
    assert_eq!(real(&blocks, Kind::Audio).len(), 600);
    assert_eq!(real(&blocks, Kind::Video).len(), 181 + 181);
    assert!(sound_lag_ms(&blocks).abs() <= 25.0, "{}", sound_lag_ms(&blocks));
}

#[test]
fn capture_that_stood_still_leaves_a_gap_and_not_a_shift() {
    let mut call = Call::new(Shape { audio: true, video: None });
    // The sender's RTP clock stops for 18 s while its wall clock goes on.
    let before = audio().send(0, 10 * SECOND, call.zero, &steady, 17);
    let later = |at: i64| steady(at + 18 * SECOND);
    let mut after = Source { first_seq: 65_000_u16.wrapping_add(500), ..audio() }.send(
        10 * SECOND,
        60 * SECOND,
        call.zero,
        &later,
        18,
    );
    for arrival in &mut after {
        arrival.at_us += 18 * SECOND;
        match &mut arrival.item {
            TapItem::Packet(packet) => packet.arrival += Duration::from_secs(18),
            TapItem::Report(report) => report.arrival += Duration::from_secs(18),
            _ => {}
        }
    }
    call.run(&merged(vec![before, after]), 79 * SECOND);
    let (blocks, feed) = call.finish();
    assert_eq!(feed.clock().jumps, 1, "{:?}", feed.clock());
    let last = real(&blocks, Kind::Audio).last().copied().expect("there is sound");
    assert!((error_ms(last) - 18_000.0).abs() < 50.0, "{}", error_ms(last));
    assert!(sound_lag_ms(&blocks).abs() <= 25.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_flow_breaks_the_order_of_a_file(
        seed: u64,
        items in prop::collection::vec((0_u8..12, any::<u16>(), any::<u32>(), 0_i64..3_000_000), 1..120),
    ) {
        let mut call = Call::both();
        let mut arrivals = merged(vec![
            audio().send(0, 4 * SECOND, call.zero, &steady, seed),
            video().send(0, 4 * SECOND, call.zero, &steady, seed ^ 1),
        ]);
        // Wild packets, reports, ends and overflows in between.
        for (what, seq, rtp_time, at_us) in items {
            let arrival = call.at(at_us);
            let kind = if what % 2 == 0 { Kind::Audio } else { Kind::Video };
            let source = if kind == Kind::Audio { audio() } else { video() };
            let ssrc = if what < 6 { source.ssrc } else { 99 };
            let item = match what {
                0..=7 => TapItem::Packet(TapPacket {
                    kind, codec: source.codec(), ssrc, seq, rtp_time, marker: seq % 3 == 0, arrival, audio_level: None,
                    payload: source.payload(i64::from(rtp_time), u64::from(seq)),
                }),
                8 | 9 => TapItem::Report(SenderReport { kind, ssrc: source.ssrc, ntp: u64::from(rtp_time) << 20, rtp_time, arrival }),
                10 => TapItem::Overflow { packets: 3 },
                _ => TapItem::Ended(kind),
            };
            arrivals.push(Arrival { at_us, item });
        }
        arrivals.sort_by_key(|arrival| arrival.at_us);
        call.run(&arrivals, 6 * SECOND);
        let (blocks, _) = call.finish();
        prop_assert!(blocks.len() < 20_000, "{} blocks", blocks.len());
    }
}

#[test]
fn heavy_loss_freezes_cleanly_and_says_so() {
    let mut random = StdRng::seed_from_u64(31);
    let mut call = Call::both();
    let mut arrivals = merged(vec![
        audio().send(0, 30 * SECOND, call.zero, &steady, 32),
        Source { every: 15, ..video() }.send(0, 30 * SECOND, call.zero, &steady, 33),
    ]);
    let is_packet = |arrival: &Arrival| matches!(arrival.item, TapItem::Packet(_));
    arrivals.retain(|arrival| arrival.at_us < 2 * SECOND || !is_packet(arrival) || random.random_range(0..5) > 0);
    call.run(&arrivals, 33 * SECOND);
    assert!(!call.keyframes_wanted.is_empty());
    let (blocks, feed) = call.finish();
    // Each frame is one packet here, so a step in its time without a keyframe would be a smear.
    let picture = real(&blocks, Kind::Video);
    for pair in picture.windows(2) {
        let is_next = true_us(pair[1]) - true_us(pair[0]) < 40_000;
        assert!(is_next || pair[1].is_keyframe, "a hole before {} ms", pair[1].time_ms);
    }
    let counters = feed.counters();
    assert!(counters.audio.lost > 100 && counters.video.lost > 100 && counters.freezes > 10, "{counters:?}");
    assert!(counters.freeze_us > SECOND && feed.timeline().filled_audio_us > 2 * SECOND);
    assert!(feed.gaps().iter().any(|gap| gap.kind == Kind::Video && gap.cause == "loss"));
    assert!(sound_lag_ms(&blocks).abs() <= 25.0, "{}", sound_lag_ms(&blocks));
}
