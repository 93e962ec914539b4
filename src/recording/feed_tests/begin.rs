//! The first seconds of a call.

use super::*;

#[test]
fn call_that_begins_with_a_keyframe_is_not_asked_for_another() {
    let mut call = Call::both();
    let arrivals = merged(vec![
        audio().send(0, 4 * SECOND, call.zero, &steady, 21),
        video().send(0, 4 * SECOND, call.zero, &steady, 22),
    ]);
    call.run(&arrivals, 4 * SECOND);
    assert!(call.keyframes_wanted.is_empty(), "{:?}", call.keyframes_wanted);
}

#[test]
fn pictures_that_wait_for_their_place_come_before_black_ones() {
    for begins_ms in [100, 400, 700, 900, 1_100, 1_400, 2_300] {
        let mut call = Call::both();
        let begins = begins_ms * 1_000;
        let arrivals = merged(vec![
            audio().send(0, 8 * SECOND, call.zero, &steady, 51),
            video().send(begins, 8 * SECOND, call.zero, &steady, 52),
        ]);
        call.run(&arrivals, 9 * SECOND);
        let (blocks, feed) = call.finish();
        for block in real(&blocks, Kind::Video) {
            assert!(error_ms(block).abs() < 60.0, "{begins_ms}: {} ms at {}", error_ms(block), block.time_ms);
        }
        assert_eq!(feed.timeline().clamps, 0, "{begins_ms}");
    }
}

#[test]
fn first_packets_that_are_late_cost_no_sound_later() {
    let mut call = Call::both();
    let mut lists = vec![
        audio().send(0, 60 * SECOND, call.zero, &steady, 61),
        video().send(0, 60 * SECOND, call.zero, &steady, 62),
    ];
    for arrival in lists.iter_mut().flatten().filter(|arrival| arrival.at_us < 1_200_000) {
        arrival.at_us += 55_000;
        if let TapItem::Packet(packet) = &mut arrival.item {
            packet.arrival += Duration::from_millis(55);
        }
    }
    let arrivals = merged(lists);
    call.run(&arrivals, 62 * SECOND);
    let (blocks, feed) = call.finish();
    assert_eq!((real(&blocks, Kind::Audio).len(), feed.timeline().surplus), (3_000, 0));
    let last = |kind| error_ms(real(&blocks, kind).last().expect("there is one"));
    assert!((last(Kind::Audio) - last(Kind::Video)).abs() < 20.0);
    assert!(sound_lag_ms(&blocks).abs() <= 25.0, "{}", sound_lag_ms(&blocks));
}

#[test]
fn one_track_that_begins_late_by_its_line_is_in_step_from_the_first_reports_on() {
    for (late, by_ms) in [(Kind::Audio, 450), (Kind::Video, 450), (Kind::Audio, 90), (Kind::Video, 70)] {
        let mut call = Call::both();
        let mut lists = vec![
            Source { report_us: SECOND, ..audio() }.send(0, 20 * SECOND, call.zero, &steady, 63),
            video().send(0, 20 * SECOND, call.zero, &steady, 64),
        ];
        for arrival in lists[late as usize].iter_mut().filter(|arrival| arrival.at_us < 1_300_000) {
            let by = Duration::from_millis(by_ms);
            arrival.at_us += by.as_micros() as i64;
            match &mut arrival.item {
                TapItem::Packet(packet) => packet.arrival += by,
                // The first reports come late enough to find both placed.
                TapItem::Report(report) => report.ntp = 0,
                _ => {}
            }
        }
        call.run(&merged(lists), 22 * SECOND);
        let (blocks, _) = call.finish();
        let sound = real(&blocks, Kind::Audio);
        for picture in real(&blocks, Kind::Video).iter().filter(|block| true_us(block) > 4 * SECOND) {
            let Some(near) = sound.iter().find(|block| true_us(block) >= true_us(picture)) else { continue };
            let apart = error_ms(picture) - error_ms(near);
            assert!(apart.abs() < 45.0, "{late:?} {by_ms}: {apart} ms at {}", picture.time_ms);
        }
    }
}
