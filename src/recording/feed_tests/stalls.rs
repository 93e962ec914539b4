//! Lines and senders that stand still for seconds, and then bring all at once.

use super::*;

/// R14 as `reelay check` has it: no sound is missing between two blocks, and sound played without its times is in step.
fn check_sound(blocks: &[Block], what: &str) {
    let mut ends: Option<(i64, i64)> = None;
    for block in blocks.iter().filter(|block| block.kind == Kind::Audio) {
        let start = block.time_ms as i64 * 1_000;
        let (by_time, played) = ends.unwrap_or((start, start));
        let hole = start - by_time.max(played);
        assert!(hole < 10_000, "{what}: {hole} µs are missing before {} ms", block.time_ms);
        assert!((played - start).abs() <= 42_000, "{what}: off by {} µs at {} ms", played - start, block.time_ms);
        ends = Some((start + block.duration_us, played + block.duration_us));
    }
}

fn delayed(arrival: &mut Arrival, by_us: i64) {
    let by = Duration::from_micros(by_us as u64);
    arrival.at_us += by_us;
    match &mut arrival.item {
        TapItem::Packet(packet) => packet.arrival += by,
        TapItem::Report(report) => report.arrival += by,
        _ => {}
    }
}

#[test]
fn a_line_that_stands_still_and_brings_all_at_once_leaves_no_hole_in_the_sound() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut call = Call::both();
        let mut lists = vec![
            audio().send(0, 25 * SECOND, call.zero, &steady, seed),
            video().send(0, 25 * SECOND, call.zero, &steady, seed + 1),
        ];
        for _ in 0..random.random_range(1..4) {
            let from = random.random_range(0..20 * SECOND);
            let to = from + random.random_range(SECOND / 2..8 * SECOND);
            // One of the tracks alone, or both.
            let which = random.random_range(0..3);
            for (_, list) in lists.iter_mut().enumerate().filter(|(n, _)| *n != which) {
                for arrival in list.iter_mut().filter(|arrival| (from..to).contains(&arrival.at_us)) {
                    delayed(arrival, to - arrival.at_us);
                }
            }
        }
        call.run(&merged(lists), 28 * SECOND);
        let (blocks, feed) = call.finish();
        check_sound(&blocks, &format!("seed {seed}"));
        // Closer together, ffmpeg would take the next pause for a break of time.
        let pictures = real(&blocks, Kind::Video);
        assert!(pictures.windows(2).all(|pair| pair[1].time_ms - pair[0].time_ms >= 4), "seed {seed}");
        assert_eq!(pictures.len() as u64 + feed.timeline().undecodable, 751, "seed {seed}");
    }
}

#[test]
fn a_sender_that_stands_still_for_any_time_leaves_no_hole_in_the_sound() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut call = Call::both();
        let mut lists: Vec<Vec<Arrival>> = vec![Vec::new(), Vec::new()];
        let (mut at, mut late, mut sent) = (0, 0, [65_000_u16, 65_000]);
        for _ in 0..4 {
            let to = at + random.random_range(2 * SECOND..6 * SECOND) / 20_000 * 20_000;
            for (n, source) in [audio(), video()].into_iter().enumerate() {
                let source = Source { first_seq: sent[n], every: 1, ..source };
                // Media time stands still while the wall clock goes on.
                let mut some = source.send(at, to, call.zero, &|at| steady(at + late), seed);
                let packets = some.iter().filter(|arrival| matches!(arrival.item, TapItem::Packet(_))).count();
                sent[n] = sent[n].wrapping_add(packets as u16);
                some.iter_mut().for_each(|arrival| delayed(arrival, late));
                lists[n].append(&mut some);
            }
            (at, late) = (to, late + random.random_range(SECOND / 5..6 * SECOND));
        }
        call.run(&merged(lists), at + late + 3 * SECOND);
        let (blocks, _) = call.finish();
        check_sound(&blocks, &format!("seed {seed}"));
    }
}

#[test]
fn sound_after_a_line_stood_still_is_where_it_belongs() {
    for (n, stall_ms) in [500, 1_500, 2_500, 3_000, 4_000, 9_000].into_iter().enumerate() {
        // What was sent meanwhile comes at once, later by being sent again, or never.
        for kept in 0..3 {
            let mut call = Call::both();
            let (from, to) = (6 * SECOND, 6 * SECOND + stall_ms * 1_000);
            let mut lists = vec![
                audio().send(0, 25 * SECOND, call.zero, &steady, n as u64),
                Source { every: 30, ..video() }.send(0, 25 * SECOND, call.zero, &steady, n as u64 + 9),
            ];
            for list in &mut lists {
                list.retain(|arrival| kept < 2 || !(from..to).contains(&arrival.at_us));
                for (n, arrival) in list.iter_mut().enumerate().filter(|(_, at)| (from..to).contains(&at.at_us)) {
                    let again_us = if kept == 1 { 100_000 + n as i64 % 7 * 60_000 } else { 0 };
                    delayed(arrival, to + again_us - arrival.at_us);
                }
                list.sort_by_key(|arrival| arrival.at_us);
            }
            call.run(&merged(lists), 28 * SECOND);
            let asked = call.keyframes_wanted.iter().any(|at| (to..to + 600_000).contains(at));
            assert!(kept < 2 || stall_ms < 4_000 || asked, "{stall_ms} ms, {kept}: {:?}", call.keyframes_wanted);
            let (blocks, feed) = call.finish();
            let what = format!("{stall_ms} ms, {kept}: {:?} {:?}", feed.timeline(), feed.clock());
            check_sound(&blocks, &what);
            for kind in [Kind::Audio, Kind::Video] {
                let after = |block: &&&Block| true_us(block) > to + 2 * SECOND;
                for block in real(&blocks, kind).iter().filter(after) {
                    assert!((-20.0..60.0).contains(&error_ms(block)), "{} ms off, {what}", error_ms(block));
                }
            }
        }
    }
}
