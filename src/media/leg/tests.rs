//! The SDP that legs write and read, without a network.

use rand::SeedableRng;
use reelay_signaling::{ParticipantId, Source};

use super::*;
use crate::media::Codec;

fn shared() -> Arc<LegShared> {
    let addresses = ["192.0.2.1:7342".parse().unwrap(), "[2001:db8::1]:7342".parse().unwrap()];
    LegShared::with_rng(&addresses, StdRng::seed_from_u64(7)).unwrap()
}

fn track(n: u64, kind: Kind) -> TrackId {
    TrackId { participant: ParticipantId::from_random(n), source: Source::Camera, kind }
}

fn offer(leg: &mut Leg) -> Offer {
    let found = std::iter::from_fn(|| leg.poll_event()).find_map(|event| match event {
        LegEvent::Offer(offer) => Some(offer),
        _ => None,
    });
    found.expect("an offer is due")
}

/// Compares with a file; `UPDATE_GOLDEN=1` writes it.
fn check_golden(name: &str, sdp: &str, shared: &LegShared) {
    let path = format!("{}/src/media/leg/golden/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    let text = sdp.replace(&shared.fingerprint, "sha-256 FINGERPRINT").replace("\r\n", "\n");
    assert_eq!(sdp.lines().count(), sdp.matches("\r\n").count(), "every line ends with CRLF");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
}

/// An answer that agrees to everything, as a browser would write it.
fn answer(offer: &str, fingerprint: &str) -> String {
    let mut text =
        format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:{fingerprint}\r\na=setup:active\r\n");
    for line in offer.lines() {
        match line {
            "a=sendonly" => text.push_str("a=recvonly\r\n"),
            line if line.starts_with("m=") || line.starts_with("a=mid:") || line == "a=inactive" => {
                text.push_str(line);
                text.push_str("\r\n");
            }
            _ => {}
        }
    }
    text
}

const FINGERPRINT: &str = "sha-256 00:11";

fn ssrcs(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()).collect()
}

#[test]
fn offers_are_as_browsers_were_seen_to_take_them() {
    let (now, shared) = (Instant::now(), shared());
    let mut outbox = Outbox::detached();
    let mut leg = Leg::new(now, shared.clone(), LegMode::Own).unwrap();
    let (a, b, c) = (track(1, Kind::Video), track(1, Kind::Audio), track(2, Kind::Video));
    leg.set_tracks(now, &[a, b.clone()]);
    let first = offer(&mut leg);
    check_golden("offer-first", &first.sdp, &shared);
    leg.answer(now, first.id, &answer(&first.sdp, FINGERPRINT), &mut outbox).unwrap();

    leg.set_tracks(now, std::slice::from_ref(&b));
    let without = offer(&mut leg);
    check_golden("offer-inactive", &without.sdp, &shared);
    assert_eq!(without.tracks, [("1".to_owned(), b.clone())]);
    leg.answer(now, without.id, &answer(&without.sdp, FINGERPRINT), &mut outbox).unwrap();

    leg.set_tracks(now, &[b.clone(), c.clone()]);
    let recycled = offer(&mut leg);
    check_golden("offer-recycled", &recycled.sdp, &shared);
    assert_eq!(recycled.tracks, [("0".to_owned(), c), ("1".to_owned(), b)]);
}

#[test]
fn no_ssrc_is_used_twice_and_slots_never_go() {
    let (now, shared) = (Instant::now(), shared());
    let mut outbox = Outbox::detached();
    let mut leg = Leg::new(now, shared, LegMode::Own).unwrap();
    let mut seen: Vec<String> = Vec::new();
    let mut slots = 0;
    for round in 0..40 {
        let tracks: Vec<TrackId> = (0..round * 7 % 9).map(|n| track(round * 100 + n, Kind::Video)).collect();
        leg.set_tracks(now, &tracks);
        let Some(LegEvent::Offer(offer)) = std::iter::from_fn(|| leg.poll_event()).last() else { continue };
        let new = ssrcs(&offer.sdp);
        assert_eq!(new.len(), 2 * tracks.len());
        for ssrc in new {
            assert!(!seen.iter().any(|old| old == ssrc), "{ssrc} again");
            seen.push(ssrc.to_owned());
        }
        let now_slots = offer.sdp.matches("\r\nm=").count();
        assert!(now_slots >= slots);
        slots = now_slots;
        leg.answer(now, offer.id, &answer(&offer.sdp, FINGERPRINT), &mut outbox).unwrap();
    }
    assert_eq!(slots, 8);
}

#[test]
fn sixty_four_slots_fit_and_no_more_are_made() {
    let (now, shared) = (Instant::now(), shared());
    let mut leg = Leg::new(now, shared, LegMode::Own).unwrap();
    let tracks: Vec<TrackId> = (0..70).map(|n| track(n, Kind::Video)).collect();
    leg.set_tracks(now, &tracks);
    let offer = offer(&mut leg);
    assert_eq!(offer.tracks.len(), 64);
    assert!(offer.sdp.len() < sdp::MAX_BYTES, "{}", offer.sdp.len());
}

#[test]
fn the_answer_is_read_slot_by_slot() {
    let now = Instant::now();
    let mut rng = StdRng::seed_from_u64(1);
    let shared = shared();
    let ice = IceLite::new(&mut rng);
    let mut offering = Offering::new(&mut rng);
    offering.set_tracks(
        &[track(1, Kind::Video), track(2, Kind::Video), track(3, Kind::Audio), track(4, Kind::Video)],
        &mut rng,
    );
    let first = offering.poll_offer(ice.credentials(), &shared).unwrap();
    let text = "v=0\r\ns=-\r\na=setup:active\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 100 101\r\na=mid:0\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:2\r\na=inactive\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 35\r\na=mid:3\r\n";
    let changes = offering.answer(first.id, &Description::read(text).unwrap(), &mut rng).unwrap();
    let [SlotChange::Open { slot: 0, stream, .. }] = &changes[..] else { panic!("{changes:?}") };
    let codecs: Vec<_> = stream.codecs.iter().map(|codec| (codec.codec, codec.payload_type, codec.rtx)).collect();
    assert_eq!(codecs, [(Codec::Vp8, 96, None), (Codec::Av1, 100, Some(101))]);

    // Given up by the client and taken again: under fresh numbers, since the old ones have been used with this key.
    let all = answer(&first.sdp, FINGERPRINT);
    offering.renew();
    let second = offering.poll_offer(ice.credentials(), &shared).unwrap();
    let none = all.replace("a=recvonly", "a=inactive");
    let changes = offering.answer(second.id, &Description::read(&none).unwrap(), &mut rng).unwrap();
    assert_eq!(changes, [SlotChange::Stop { slot: 0 }]);
    offering.renew();
    let third = offering.poll_offer(ice.credentials(), &shared).unwrap();
    let changes = offering.answer(third.id, &Description::read(&all).unwrap(), &mut rng).unwrap();
    let [SlotChange::Open { slot: 0, stream: again, .. }, ..] = &changes[..] else { panic!("{changes:?}") };
    assert_ne!((again.ssrc, again.rtx_ssrc), (stream.ssrc, stream.rtx_ssrc));
    assert!(third.sdp.contains(&format!("a=ssrc:{} ", again.ssrc)));
    assert_eq!(offering.answer(second.id, &Description::read(&all).unwrap(), &mut rng), Ok(Vec::new()));
    let _ = now;
}

const WHEP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\na=setup:actpass\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 109\r\na=mid:a\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102 120 124\r\na=mid:v\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
    a=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=fmtp:124 apt=120\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";

#[test]
fn whep_answers_keep_the_clients_names_and_numbers() {
    let (now, shared) = (Instant::now(), shared());
    let mut leg = Leg::new(now, shared.clone(), LegMode::Whep(WHEP)).unwrap();
    check_golden("whep-answer", &leg.whep_answer().unwrap(), &shared);
    assert_eq!((leg.slot_of("a"), leg.slot_of("v"), leg.slot_of("x")), (Some(0), Some(1), None));
    let before: Vec<String> = leg.ufrags().map(str::to_owned).collect();
    let same = leg.restart(now, Some("a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.9 5 typ host\r\n")).unwrap();
    assert_eq!(same, "");
    let fragment = leg.restart(now, Some("a=ice-ufrag:efgh\r\na=ice-pwd:0123456789012345678901\r\n")).unwrap();
    check_golden("whep-fragment", &fragment, &shared);
    let after: Vec<String> = leg.ufrags().map(str::to_owned).collect();
    assert_eq!((after.len(), &after[1]), (2, &before[0]));
}

fn refused(offer: &str) -> MediaError {
    Leg::new(Instant::now(), shared(), LegMode::Whep(offer)).map(|_| ()).unwrap_err()
}

#[test]
fn whep_offers_that_cannot_be_served_are_refused_with_a_reason() {
    let no_codec = refused(&WHEP.replace("VP8/90000", "H265/90000"));
    assert_eq!(no_codec.code, ErrorCode::NoCommonCodec);
    assert!(no_codec.message.contains("VP8, VP9 and AV1"), "{no_codec}");
    assert_eq!(refused(&WHEP.replace("actpass", "passive")).code, ErrorCode::DtlsRole);
    assert_eq!(refused(&WHEP.replace("m=application", "m=video")).code, ErrorCode::BadSdp);
    assert_eq!(refused(&WHEP.replace("mid:v", "mid:a")).code, ErrorCode::BadSdp);
    assert_eq!(refused(&WHEP.replace("mid:v", "mid:<b>")).code, ErrorCode::BadSdp);
    assert_eq!(refused(&WHEP.replace("a=fingerprint:sha-256 00:11\r\n", "")).code, ErrorCode::BadSdp);
    assert_eq!(refused("v=0\r\n").code, ErrorCode::BadSdp);
    assert_eq!(refused("").code, ErrorCode::BadSdp);
    assert_eq!(refused(&"v".repeat(sdp::MAX_BYTES + 1)).code, ErrorCode::TooLarge);
    assert_eq!(refused(&format!("{WHEP}{}", "m=audio 0 X 0\r\n".repeat(64))).code, ErrorCode::TooLarge);
}

proptest::proptest! {
    #[test]
    fn no_offer_and_no_answer_panics(at in 0usize..900, cut in 0usize..40, put in "\\PC{0,12}") {
        let mut text = WHEP.to_owned();
        let from = at.min(text.len());
        let to = (from + cut).min(text.len());
        text.replace_range(from..to, &put);
        let leg = Leg::new(Instant::now(), shared(), LegMode::Whep(&text));
        if let Ok(leg) = leg {
            let answer = leg.whep_answer().unwrap();
            proptest::prop_assert!(Description::read(&answer).is_ok());
        }
    }
}
