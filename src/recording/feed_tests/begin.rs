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
