//! WHIP and WHEP.

use reelay_signaling::{ErrorCode, Kind, LeaveReason, ServerMessage, Source, TrackId};
use tokio::sync::oneshot;

use super::super::state::{About, Effect};
use super::super::*;
use super::world::*;
use crate::auth::Caller;
use crate::media::{Event, LinkState, MediaError};

fn web(world: &mut World, action: WebAction) -> oneshot::Receiver<Result<SdpAnswer, Refusal>> {
    let (reply, answer) = oneshot::channel();
    world.room.on_web(world.now, WebRequest { caller: Caller::open(), credential: None, action, reply });
    answer
}

fn answer_web(world: &mut World, sdp: &str) {
    let about = world.effects().into_iter().find_map(|effect| match effect {
        Effect::Ask(_, _, about @ About::Web { .. }) => Some(about),
        _ => None,
    });
    world.room.on_answer(world.now, about.unwrap(), Ok(sdp.into()));
}

#[test]
fn whip_publisher_is_a_participant_with_a_name_of_its_own() {
    let mut world = World::new();
    let mut ana = world.join("Ana");
    ana.read();
    let publish = |id: &str| WebAction::Publish { id: id.into(), name: Some("obs".into()), offer: "offer".into() };
    let mut answer = web(&mut world, publish("one"));
    assert!(ana.read().is_empty(), "nobody knows before the answer");
    answer_web(&mut world, "m=video 9 X 96\r\n");
    let first = answer.try_recv().unwrap().unwrap();
    assert!(matches!(&ana.read()[0], ServerMessage::ParticipantJoined { participant } if participant.name == "obs"));
    let taken = web(&mut world, publish("two")).try_recv().unwrap().unwrap_err();
    assert_eq!(taken.code, ErrorCode::NameTaken);
    let trickle = |etag: &str| WebAction::Trickle {
        id: "one".into(),
        etag: etag.into(),
        fragment: Fragment::parse("a=candidate:1 1 udp 1 192.0.2.1 5000 typ host"),
    };
    assert!(web(&mut world, trickle(&first.etag)).try_recv().unwrap().is_ok());
    let stale = web(&mut world, trickle("\"other\"")).try_recv().unwrap().unwrap_err();
    assert_eq!(stale.code, ErrorCode::PreconditionFailed);
    assert!(web(&mut world, WebAction::Delete { id: "one".into() }).try_recv().unwrap().is_ok());
    assert!(matches!(&ana.read()[0], ServerMessage::ParticipantLeft { .. }));
    assert_eq!(world.room.members.len(), 1);
}

#[test]
fn whip_publisher_that_is_refused_leaves_no_trace() {
    let mut world = World::new();
    let mut ana = world.join("Ana");
    ana.read();
    let action = WebAction::Publish { id: "one".into(), name: None, offer: "offer".into() };
    let mut answer = web(&mut world, action);
    let about = world.effects().into_iter().find_map(|effect| match effect {
        Effect::Ask(_, _, about) => Some(about),
        _ => None,
    });
    let error = MediaError { code: ErrorCode::NoCommonCodec, message: "VP8, VP9, AV1".into() };
    world.room.on_answer(world.now, about.unwrap(), Err(error));
    assert_eq!(answer.try_recv().unwrap().unwrap_err().code, ErrorCode::NoCommonCodec);
    assert!(ana.read().is_empty());
    assert_eq!(world.room.members.len(), 1);
}

#[test]
fn whep_follows_who_publishes_longest() {
    let mut world = World::new();
    let view = || WebAction::View { id: "v".into(), wanted: Wanted::Anybody, offer: "offer".into() };
    let nobody = web(&mut world, view()).try_recv().unwrap().unwrap_err();
    assert_eq!(nobody.code, ErrorCode::NobodyPublishes);
    let (ana, bo) = (world.join("Ana"), world.join("Bo"));
    let bos = world.publish(&bo);
    world.publish(&ana);
    world.effects();
    let mut answer = web(&mut world, view());
    let effects = std::mem::take(&mut world.room.effects);
    let set = |effects: &[Effect]| match media(effects).last() {
        Some(Command::SetTracks { tracks, .. }) => tracks.iter().map(|track| track.participant.clone()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(set(&effects), [bo.id.clone(), bo.id.clone()]);
    world.room.effects = effects;
    answer_web(&mut world, "answer");
    assert!(answer.try_recv().unwrap().is_ok());
    let track = |kind| TrackId { participant: bo.id.clone(), source: Source::Camera, kind };
    world.room.on_media(world.now, Event::TrackEnded { peer: bos, track: track(Kind::Video) });
    let effects = world.effects();
    let followed = media(&effects).iter().any(
        |command| matches!(command, Command::SetTracks { tracks, .. } if tracks.len() == 2 && tracks.iter().all(|t| t.participant == ana.id)),
    );
    assert!(followed, "the next one with a camera moves in");
}

#[test]
fn whip_publisher_whose_connection_is_lost_may_restart_for_a_while() {
    let mut world = World::new();
    let mut ana = world.join("Ana");
    let action = WebAction::Publish { id: "one".into(), name: None, offer: "offer".into() };
    let _answer = web(&mut world, action);
    let peer = world.room.members[1].peer.unwrap();
    answer_web(&mut world, "m=video 9 X 96\r\n");
    let state = |world: &mut World, state| world.room.on_media(world.now, Event::PeerState { peer, state });
    state(&mut world, LinkState::Failed);
    world.pass(Duration::from_secs(29));
    state(&mut world, LinkState::Connected);
    world.pass(Duration::from_secs(60));
    ana.read();
    state(&mut world, LinkState::Disconnected);
    assert!(matches!(&ana.read()[0], ServerMessage::ParticipantUpdated { participant } if participant.away));
    world.pass(Duration::from_secs(30));
    assert!(matches!(&ana.read()[0], ServerMessage::ParticipantLeft { reason: LeaveReason::Lost, .. }));
    let effects = world.effects();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Forget(id) if id == "one")));
    assert!(media(&effects).iter().any(|command| matches!(command, Command::ClosePeer { .. })));
}
