//! Publishing, receiving, and coming back.

use std::time::Duration;

use reelay_signaling::{
    ClientMessage, ClosedReason, ErrorCode, Kind, LeaveReason, PublishTrack, ResumeMedia, ServerMessage, Source,
    TrackId,
};

use super::super::state::Effect;
use super::super::*;
use super::world::*;
use crate::media::{Event, LegKey, LinkState};

#[test]
fn others_receive_a_track_from_its_first_packet_and_never_their_own() {
    let mut world = World::new();
    let (ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    let effects = world.effects();
    assert!(!media(&effects).iter().any(|command| matches!(command, Command::OpenLeg { .. })), "no track, no leg");
    bo.read();
    let peer = world.publish(&ana);
    let effects = world.effects();
    let legs: Vec<_> = media(&effects).into_iter().filter(|c| matches!(c, Command::OpenLeg { .. })).collect();
    assert_eq!(legs.len(), 1, "for Bo only");
    let last = media(&effects).into_iter().rfind(|c| matches!(c, Command::SetTracks { .. }));
    let Some(Command::SetTracks { tracks, .. }) = last else { panic!() };
    let kinds: Vec<_> = tracks.iter().map(|track| track.kind).collect();
    assert_eq!(kinds, [Kind::Audio, Kind::Video]);
    assert!(bo.read().iter().any(
        |message| matches!(message, ServerMessage::ParticipantUpdated { participant } if participant.tracks.len() == 2)
    ));
    let track = TrackId { participant: ana.id.clone(), source: Source::Camera, kind: Kind::Video };
    world.room.on_media(world.now, Event::TrackEnded { peer, track });
    let effects = world.effects();
    assert!(matches!(media(&effects)[..], [Command::SetTracks { tracks, .. }] if tracks.len() == 1));
    assert!(matches!(told(&effects)[..], [What::TrackEnded { .. }]));
}

#[test]
fn declared_sources_are_those_that_the_answer_leaves_open() {
    let mut world = World::new();
    let ana = world.join("Ana");
    world.effects();
    let track = |mid: &str, source, kind| PublishTrack { mid: mid.into(), source, kind };
    let tracks = vec![track("0", Source::Camera, Kind::Audio), track("1", Source::Screen(1), Kind::Video)];
    world.say(&ana, ClientMessage::Publish { sdp: "offer".into(), tracks, media: ResumeMedia::Kept });
    let Some(Effect::Ask(_, _, about)) = world.effects().pop() else { panic!() };
    let answer = "m=audio 9 X 111\r\na=mid:0\r\nm=video 0 X 96\r\na=mid:1\r\n".to_owned();
    world.room.on_answer(world.now, about, Ok(answer));
    let effects = world.effects();
    assert!(matches!(told(&effects)[..], [What::Declared { source: Source::Camera, audio: true, video: false, .. }]));
}

#[test]
fn bad_publishes_are_refused() {
    let mut world = World::with(|options| options.limits.sdp_bytes = crate::config::Size(100));
    let mut ana = world.join("Ana");
    ana.read();
    let track = |mid: &str, source, kind| PublishTrack { mid: mid.into(), source, kind };
    let camera = track("0", Source::Camera, Kind::Audio);
    let mut check = |sdp: &str, tracks: Vec<PublishTrack>, code| {
        world.say(&ana, ClientMessage::Publish { sdp: sdp.into(), tracks, media: ResumeMedia::Kept });
        assert_eq!(ana.errors(), [code]);
    };
    check("o", vec![], ErrorCode::BadRequest);
    check("o", vec![camera.clone(), camera.clone()], ErrorCode::BadRequest);
    check("o", vec![camera.clone(), track("1", Source::Camera, Kind::Audio)], ErrorCode::BadRequest);
    check("o", vec![track("", Source::Camera, Kind::Audio)], ErrorCode::BadRequest);
    check(&"x".repeat(101), vec![camera.clone()], ErrorCode::TooLarge);
    world.say(&ana, ClientMessage::Publish { sdp: "x".repeat(100), tracks: vec![camera], media: ResumeMedia::Kept });
    assert!(ana.errors().is_empty());
}

#[test]
fn offers_count_from_one_in_each_connection_and_answers_find_theirs() {
    let mut world = World::new();
    let (ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    world.publish(&ana);
    let effects = world.effects();
    let leg = media(&effects).iter().find_map(|c| if let Command::OpenLeg { leg, .. } = c { Some(*leg) } else { None });
    let leg: LegKey = leg.unwrap();
    bo.read();
    world.room.on_media(world.now, Event::Offer { leg, id: 40, sdp: "first".into(), tracks: Vec::new() });
    world.room.on_media(world.now, Event::Offer { leg, id: 41, sdp: "second".into(), tracks: Vec::new() });
    let id = |message: &ServerMessage| if let ServerMessage::Offer { id, .. } = message { Some(*id) } else { None };
    assert_eq!(bo.read().iter().filter_map(id).collect::<Vec<_>>(), [1, 2]);
    world.say(&bo, ClientMessage::Answer { id: 2, sdp: "answer".into() });
    let effects = world.effects();
    assert!(matches!(media(&effects)[..], [Command::LegAnswer { id: 41, .. }]));
    // The connection breaks; the next one counts from one again.
    world.room.on_media(world.now, Event::LegState { leg, state: LinkState::Closed });
    assert_eq!(bo.errors(), [ErrorCode::SessionNotFound]);
    world.say(&bo, ClientMessage::Restart { media: ResumeMedia::Kept });
    let effects = world.effects();
    let Some(Command::OpenLeg { leg, .. }) = media(&effects).first() else { panic!() };
    world.room.on_media(world.now, Event::Offer { leg: *leg, id: 7, sdp: "new".into(), tracks: Vec::new() });
    assert_eq!(bo.read().iter().filter_map(id).collect::<Vec<_>>(), [1]);
}

#[test]
fn connections_that_failed_for_good_are_replaced_and_the_stay_goes_on() {
    let mut world = World::new();
    let (ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    let old = world.publish(&ana);
    world.effects();
    bo.read();
    let track = PublishTrack { mid: "0".into(), source: Source::Camera, kind: Kind::Audio };
    let sdp = String::from("offer of another connection");
    world.say(&ana, ClientMessage::Publish { sdp, tracks: vec![track], media: ResumeMedia::New });
    let effects = world.effects();
    let commands = media(&effects);
    assert!(commands.iter().any(|c| matches!(c, Command::ClosePeer { peer, .. } if *peer == old)));
    assert!(commands.iter().any(|c| matches!(c, Command::Publish { peer, .. } if *peer != old)));
    assert!(matches!(told(&effects)[..], [What::TrackEnded { .. }, What::TrackEnded { .. }]));
    world.room.on_media(world.now, Event::PeerState { peer: old, state: LinkState::Closed });
    assert!(world.effects().is_empty(), "the end of the old one is no news");
    let new = world.publish(&ana);
    world.effects();
    assert_ne!(new, old);
    let open = |effects: &[Effect]| {
        let leg = |command: &&Command| if let Command::OpenLeg { leg, .. } = command { Some(*leg) } else { None };
        media(effects).iter().find_map(leg)
    };
    world.say(&bo, ClientMessage::Restart { media: ResumeMedia::New });
    let effects = world.effects();
    assert!(media(&effects).iter().any(|command| matches!(command, Command::CloseLeg { .. })));
    let leg = open(&effects).unwrap();
    world.room.on_media(world.now, Event::Offer { leg, id: 9, sdp: "new".into(), tracks: Vec::new() });
    assert!(bo.read().iter().any(|message| matches!(message, ServerMessage::Offer { id: 1, .. })), "counts from one");
}

#[test]
fn lost_socket_comes_back_within_thirty_seconds_with_everything_kept() {
    let mut world = World::new();
    let (mut ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    world.publish(&ana);
    let token = ana.resume_token();
    world.effects();
    bo.read();
    world.room.on_gone(world.now, ana.session);
    world.pass(Duration::from_secs(29));
    let away = |bo: &mut Client| {
        bo.read()
            .iter()
            .map(|message| match message {
                ServerMessage::ParticipantUpdated { participant } => (participant.id.clone(), participant.away),
                message => panic!("{message:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(away(&mut bo), [(ana.id.clone(), true)]);
    let mut back = world.resume(&token, ResumeMedia::Kept).unwrap();
    assert_eq!(back.id, ana.id);
    let ServerMessage::Joined(joined) = back.read().remove(0) else { panic!() };
    assert!(joined.resumed && joined.resume != token && joined.participants.len() == 2);
    assert!(media(&world.effects()).is_empty(), "connections stay");
    assert_eq!(world.resume(&token, ResumeMedia::Kept).err(), Some(ErrorCode::ResumeExpired), "single use");
    world.pass(Duration::from_secs(60));
    assert_eq!(away(&mut bo), [(ana.id.clone(), false)]);
}

#[test]
fn lost_socket_is_gone_after_thirty_seconds() {
    let mut world = World::new();
    let (mut ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    let token = ana.resume_token();
    bo.read();
    world.room.on_gone(world.now, ana.session);
    assert_eq!(world.room.deadline(), Some(world.now.at + Duration::from_secs(30)));
    bo.read();
    world.pass(Duration::from_secs(30));
    assert!(matches!(&bo.read()[0], ServerMessage::ParticipantLeft { reason: LeaveReason::Lost, .. }));
    assert_eq!(world.resume(&token, ResumeMedia::Kept).err(), Some(ErrorCode::ResumeExpired));
}

#[test]
fn reload_closes_the_old_connections_and_keeps_the_stay() {
    let mut world = World::new();
    let (mut ana, _bo) = (world.join("Ana"), world.join("Bo"));
    let peer = world.publish(&ana);
    world.effects();
    let token = ana.resume_token();
    let back = world.resume(&token, ResumeMedia::New).unwrap();
    assert_eq!(ana.closed(), Some(ClosedReason::Replaced), "the old socket still lived");
    let effects = world.effects();
    assert!(media(&effects).iter().any(|c| matches!(c, Command::ClosePeer { peer: closed, .. } if *closed == peer)));
    assert!(matches!(told(&effects)[..], [What::TrackEnded { .. }, What::TrackEnded { .. }]));
    let track = TrackId { participant: ana.id.clone(), source: Source::Camera, kind: Kind::Audio };
    world.room.on_media(world.now, Event::TrackEnded { peer, track });
    assert!(told(&world.effects()).is_empty(), "the echo of the old connection is ignored");
    assert_ne!(world.publish(&back), peer);
    assert_eq!(back.id, ana.id);
}

#[test]
fn offer_that_a_lost_socket_missed_comes_again() {
    let mut world = World::new();
    let (ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    let token = bo.resume_token();
    world.room.on_gone(world.now, bo.session);
    world.publish(&ana);
    let effects = world.effects();
    let leg = media(&effects).iter().find_map(|c| if let Command::OpenLeg { leg, .. } = c { Some(*leg) } else { None });
    let offer = Event::Offer { leg: leg.unwrap(), id: 1, sdp: "offer".into(), tracks: Vec::new() };
    world.room.on_media(world.now, offer);
    let mut back = world.resume(&token, ResumeMedia::Kept).unwrap();
    assert!(matches!(&back.read()[1], ServerMessage::Offer { id: 1, .. }));
}

#[test]
fn who_is_connected_and_sends_nothing_is_left_alone_and_who_never_connects_is_told() {
    let mut world = World::new();
    let (mut ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    let offer = |world: &mut World, client: &Client| {
        let track = PublishTrack { mid: "0".into(), source: Source::Camera, kind: Kind::Audio };
        world
            .say(client, ClientMessage::Publish { sdp: "offer".into(), tracks: vec![track], media: ResumeMedia::Kept });
        world.room.members.iter().find(|member| member.id == client.id).unwrap().peer.unwrap()
    };
    let (anas, bos) = (offer(&mut world, &ana), offer(&mut world, &bo));
    let state = |world: &mut World, peer, state| world.room.on_media(world.now, Event::PeerState { peer, state });
    state(&mut world, anas, LinkState::Connected);
    state(&mut world, bos, LinkState::Failed);
    state(&mut world, bos, LinkState::Closed);
    world.pass(Duration::from_secs(24 * 3600));
    assert_eq!((ana.errors(), bo.errors()), (vec![], vec![ErrorCode::NoConnection]));
    assert_eq!(world.room.members.len(), 2);
    let again = offer(&mut world, &bo);
    assert_ne!(again, bos);
    state(&mut world, again, LinkState::Connected);
    state(&mut world, again, LinkState::Closed);
    assert_eq!(bo.errors(), [], "what stood and broke later is no new failure");
}
