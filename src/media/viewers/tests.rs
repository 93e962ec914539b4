//! The whole way to viewers over a seeded network in virtual time.

use super::simulation::*;
use super::*;

#[test]
fn audio_and_video_arrive_whole_and_in_order() {
    let mut sim = Simulation::new(1);
    let (audio, video) = (track(1, Kind::Audio), track(1, Kind::Video));
    sim.open(&[audio.clone(), video.clone()]);
    assert_eq!(sim.offers[0].2, [("0".to_owned(), audio.clone()), ("1".to_owned(), video.clone())]);
    assert!(!sim.checked.is_empty() && sim.checked.iter().all(|source| *source == sim.client.address));
    let mut publishers = [Publisher::new(&sim, &audio, 65_530), Publisher::new(&sim, &video, 65_500)];
    publish(&mut sim, &mut publishers, 2000);
    let ssrcs = ssrcs(&sim.offers[0].1);
    let heard = counters(&sim, ssrcs[0], 0);
    assert_eq!(heard, (heard[0]..heard[0] + heard.len() as u32).collect::<Vec<_>>());
    assert!(heard.len() >= 99, "{}", heard.len());
    let seen = counters(&sim, ssrcs[1], 5);
    assert_eq!(seen, (seen[0]..seen[0] + seen.len() as u32).collect::<Vec<_>>());
    assert!(seen.len() >= 177, "{}", seen.len());
    assert_eq!(sim.client.tracks.len(), 2);
}

#[test]
fn video_is_whole_after_repairs_when_three_percent_are_lost() {
    for seed in 10..13 {
        let mut sim = Simulation::new(seed);
        let video = track(1, Kind::Video);
        sim.open(std::slice::from_ref(&video));
        (sim.loss, sim.jitter_ms) = (0.03, 10);
        let mut publishers = [Publisher::new(&sim, &video, 100)];
        publish(&mut sim, &mut publishers, 5000);
        sim.loss = 0.0;
        // The viewer only sees that something is missing when more comes.
        publish(&mut sim, &mut publishers, 1000);
        sim.run(200);
        let seen = counters(&sim, ssrcs(&sim.offers[0].1)[0], 5);
        assert!(seen.len() >= 530, "seed {seed}: {} packets", seen.len());
        assert_eq!(seen, (seen[0]..seen[0] + seen.len() as u32).collect::<Vec<_>>(), "seed {seed}");
        let counted = sim.viewers.counters();
        assert!(counted.repaired > 5, "seed {seed}: {counted:?}");
    }
}

#[test]
fn a_new_viewer_asks_for_a_keyframe_at_once() {
    let mut sim = Simulation::new(2);
    let video = track(1, Kind::Video);
    let mut publishers = [Publisher::new(&sim, &video, 7)];
    publish(&mut sim, &mut publishers, 500);
    sim.open(std::slice::from_ref(&video));
    assert_eq!(sim.keyframes_asked.len(), 1);
    assert_eq!((&sim.keyframes_asked[0].1, sim.keyframes_asked[0].2), (&video, 0));
}

#[test]
fn slots_out_of_sight_are_not_sent_and_come_back_without_a_gap() {
    let mut sim = Simulation::new(3);
    let video = track(1, Kind::Video);
    sim.open(std::slice::from_ref(&video));
    let mut publishers = [Publisher::new(&sim, &video, 7)];
    publish(&mut sim, &mut publishers, 500);
    let ssrc = ssrcs(&sim.offers[0].1)[0];
    sim.viewers.want(sim.now, KEY, Some(&[]));
    publish(&mut sim, &mut publishers, 100);
    let before = sim.client.packets[&ssrc].len();
    publish(&mut sim, &mut publishers, 1000);
    assert_eq!(sim.client.packets[&ssrc].len(), before);
    sim.viewers.want(sim.now, KEY, Some(&["0".to_owned()]));
    publish(&mut sim, &mut publishers, 500);
    let seen = counters(&sim, ssrc, 5);
    assert!(seen.len() > before + 30);
    let jump = seen.windows(2).position(|pair| pair[1] != pair[0] + 1).unwrap();
    assert_eq!(seen[jump + 1] % 3, 0, "begins with the first packet of a keyframe");
    assert_eq!(sim.offers.len(), 1);
}

#[test]
fn one_offer_is_in_flight_and_changes_are_folded_into_the_next() {
    let mut sim = Simulation::new(4);
    let (a, b, c) = (track(1, Kind::Video), track(2, Kind::Video), track(3, Kind::Video));
    sim.open(std::slice::from_ref(&a));
    sim.answers = false;
    sim.viewers.set_tracks(sim.now, KEY, &[a.clone(), b.clone()], &mut sim.outbox);
    sim.viewers.set_tracks(sim.now, KEY, &[b.clone(), c.clone()], &mut sim.outbox);
    sim.run(100);
    assert_eq!(sim.offers.len(), 2);
    sim.answers = true;
    let (id, sdp, _) = sim.offers[1].clone();
    sim.give_answer(id, &sdp);
    sim.run(100);
    assert_eq!(sim.offers.len(), 3);
    assert_eq!(sim.offers[2].2, [("0".to_owned(), c.clone()), ("1".to_owned(), b.clone())]);
    let mut publishers = [Publisher::new(&sim, &b, 7), Publisher::new(&sim, &c, 9)];
    publish(&mut sim, &mut publishers, 500);
    let ssrcs = ssrcs(&sim.offers[2].1);
    assert!(sim.client.packets.contains_key(&ssrcs[0]) && sim.client.packets.contains_key(&ssrcs[2]));
    assert!(sim.results.iter().all(Result::is_ok), "{:?}", sim.results);
}

#[test]
fn an_unanswered_offer_closes_the_leg() {
    let mut sim = Simulation::new(5);
    sim.answers = false;
    sim.viewers.open(sim.now, KEY).unwrap();
    sim.run(11_000);
    assert!(sim.states.is_empty(), "without tracks there is no offer to answer");
    sim.viewers.set_tracks(sim.now, KEY, &[track(1, Kind::Audio)], &mut sim.outbox);
    sim.run(9_900);
    assert!(sim.states.is_empty());
    sim.run(500);
    assert_eq!(sim.states, [LinkState::Closed]);
    assert_eq!(sim.viewers.len(), 0);
}

#[test]
fn a_restart_keeps_the_media_flowing() {
    let mut sim = Simulation::new(6);
    let audio = track(1, Kind::Audio);
    sim.open(std::slice::from_ref(&audio));
    let mut publishers = [Publisher::new(&sim, &audio, 7)];
    publish(&mut sim, &mut publishers, 300);
    assert_eq!(sim.viewers.restart(sim.now, KEY, None, &mut sim.outbox), Ok(String::new()));
    publish(&mut sim, &mut publishers, 3000);
    assert_eq!(sim.offers.len(), 2);
    assert_ne!(ice_ufrag(&sim.offers[0].1), ice_ufrag(&sim.offers[1].1));
    assert_eq!(ssrcs(&sim.offers[0].1), ssrcs(&sim.offers[1].1));
    // `rtc` lets nothing in until its new pair stands; browsers do.
    let heard = sim.client.packets[&ssrcs(&sim.offers[0].1)[0]].len();
    assert!(heard >= 140, "{heard}");
    assert_eq!(sim.states, [LinkState::Connected]);
}

fn ice_ufrag(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap()
}

#[test]
fn a_silent_viewer_is_disconnected_then_failed_and_a_closed_one_gone() {
    let mut sim = Simulation::new(7);
    sim.open(&[track(1, Kind::Audio)]);
    sim.loss = 1.0;
    sim.run(10_500);
    assert_eq!(sim.states, [LinkState::Connected, LinkState::Disconnected]);
    sim.run(20_000);
    assert_eq!(sim.states.last(), Some(&LinkState::Failed));
    sim.run(60_000);
    assert_eq!(sim.states.last(), Some(&LinkState::Closed));
    assert_eq!(sim.viewers.len(), 0);
}

#[test]
fn an_answer_with_a_foreign_certificate_opens_nothing() {
    let mut sim = Simulation::new(8);
    sim.answers = false;
    let audio = track(1, Kind::Audio);
    sim.viewers.open(sim.now, KEY).unwrap();
    sim.viewers.set_tracks(sim.now, KEY, std::slice::from_ref(&audio), &mut sim.outbox);
    sim.events();
    let (id, sdp, _) = sim.offers[0].clone();
    let answer = sim.client.answer(sim.now, &sdp);
    sim.run(3000);
    assert!(sim.client.is_connected, "the handshake runs without the answer");
    assert!(sim.states.is_empty());
    let at = answer.find("sha-256 ").unwrap() + 8;
    let mut forged = answer.clone();
    forged.replace_range(at..at + 2, if &answer[at..at + 2] == "00" { "01" } else { "00" });
    let refused = sim.viewers.answer(sim.now, KEY, id, &forged, &mut sim.outbox).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BadSdp);
    sim.events();
    assert_eq!(sim.states, [LinkState::Closed]);
}

#[test]
fn an_answer_in_the_servers_role_is_refused() {
    let mut sim = Simulation::new(9);
    sim.answers = false;
    sim.viewers.open(sim.now, KEY).unwrap();
    sim.viewers.set_tracks(sim.now, KEY, &[track(1, Kind::Audio)], &mut sim.outbox);
    sim.events();
    let (id, sdp, _) = sim.offers[0].clone();
    let answer = sim.client.answer(sim.now, &sdp);
    let passive = answer.replace("a=setup:active", "a=setup:passive");
    let refused = sim.viewers.answer(sim.now, KEY, id, &passive, &mut sim.outbox).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DtlsRole);
    let short = &answer[..answer.find("m=audio").unwrap()];
    assert_eq!(sim.viewers.answer(sim.now, KEY, id, short, &mut sim.outbox).unwrap_err().code, ErrorCode::BadSdp);
    assert_eq!(sim.viewers.answer(sim.now, KEY, 77, &answer, &mut sim.outbox).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn layers_come_and_go_under_loss_without_a_hole_for_the_viewer() {
    let mut sim = Simulation::new(20);
    let video = track(1, Kind::Video);
    sim.open(std::slice::from_ref(&video));
    (sim.loss, sim.jitter_ms) = (0.02, 15);
    let low = Publisher::new(&sim, &video, 65_000);
    let mut high = Publisher::new(&sim, &video, 30_000);
    high.layer = 1;
    let mut both = [low, high];
    for round in 0..4 {
        publish(&mut sim, &mut both, 1500);
        // The upper layer is gone for a while and comes back, every other time from another encoder.
        publish(&mut sim, &mut both[..1], 3000);
        both[1].next = sim.now;
        both[1].wants_keyframe = false;
        if round % 2 == 1 {
            both[1].ssrc += 1;
            both[1].rtp_time = both[1].rtp_time.wrapping_mul(7);
        }
    }
    sim.loss = 0.0;
    publish(&mut sim, &mut both, 1500);
    sim.run(500);
    let ssrc = ssrcs(&sim.offers[0].1)[0];
    // Fails on any gap in the sequence numbers.
    let seen = counters(&sim, ssrc, 5);
    assert!(seen.len() > 1200, "{}", seen.len());
    let first = sim.client.order.iter().find(|(of, _)| *of == ssrc).unwrap().1;
    let packets = &sim.client.packets[&ssrc];
    let mut in_order: Vec<_> = packets.values().collect();
    in_order.sort_by_key(|packet| packet.header.sequence_number.wrapping_sub(first) as i16);
    for pair in in_order.windows(2) {
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!(step < 90_000, "time goes on: {step}");
    }
}
