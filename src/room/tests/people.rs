//! Who comes in, what they may do, what they are told.

use std::time::Duration;

use reelay_signaling::{
    ClientMessage, ClosedReason, Consent, ErrorCode, Kind, LeaveReason, Moderation, PublishTrack, ResumeMedia, Role,
    RoomRecording, ServerMessage, Source,
};

use super::super::*;
use super::world::*;
use crate::auth::{Caller, Grant, Scope};

#[test]
fn newcomer_gets_the_room_and_the_others_get_the_newcomer() {
    let mut world = World::new();
    let mut ana = world.join("  Ana ");
    let mut bo = world.join("Bo");
    let ServerMessage::Joined(joined) = &bo.read()[0] else { panic!() };
    let names: Vec<_> = joined.participants.iter().map(|p| (p.name.as_str(), p.host)).collect();
    assert_eq!(names, [("Ana", true), ("Bo", false)]);
    assert_eq!(joined.participant, bo.id);
    assert!(!joined.grants.moderate && joined.grants.record && !joined.grants.admin);
    let seen = ana.read();
    assert!(matches!(&seen[0], ServerMessage::Joined(joined) if joined.grants.moderate));
    assert!(matches!(&seen[1], ServerMessage::ParticipantJoined { participant } if participant.id == bo.id));
    let effects = world.effects();
    assert!(matches!(told(&effects)[..], [What::Opened, What::Joined { .. }, What::Joined { .. }]));
}

#[test]
fn names_are_checked() {
    let mut world = World::new();
    for bad in ["", "   ", &"x".repeat(65), "a\0b", "a\nb", "\u{202e}evil"] {
        let refused = world.enter_as(Caller::open(), bad, Role::Join).err();
        assert_eq!(refused, Some(ErrorCode::BadName), "{bad:?}");
    }
    for good in ["x", &"会".repeat(64), "<script>alert(1)</script>", "Zoë 🎥"] {
        assert!(world.enter_as(Caller::open(), good, Role::Join).is_ok(), "{good:?}");
    }
}

#[test]
fn room_is_full_at_its_limit_and_watchers_have_their_own() {
    let mut world = World::with(|options| {
        options.limits.participants_per_room = 2;
        options.limits.watchers_per_room = 1;
    });
    let bo = (world.join("Ana"), world.join("Bo")).1;
    assert_eq!(world.enter_as(Caller::open(), "Cy", Role::Join).err(), Some(ErrorCode::RoomFull));
    let mut watcher = world.enter_as(Caller::open(), "", Role::Watch).unwrap();
    assert_eq!(world.enter_as(Caller::open(), "", Role::Watch).err(), Some(ErrorCode::LimitReached));
    let ServerMessage::Joined(joined) = watcher.read().remove(0) else { panic!() };
    assert_eq!((joined.participants.len(), joined.watchers, joined.role), (2, 1, Role::Watch));
    world.say(&bo, ClientMessage::Leave);
    assert!(world.enter_as(Caller::open(), "Cy", Role::Join).is_ok());
}

#[test]
fn rights_decide_who_enters_and_what_they_may() {
    let mut world = World::new();
    assert_eq!(world.enter_as(keyed(&[Grant::Watch]), "Ana", Role::Join).err(), Some(ErrorCode::Forbidden));
    assert_eq!(world.enter_as(keyed(&[Grant::Join]), "", Role::Watch).err(), Some(ErrorCode::Forbidden));
    let mut guest = world.enter_as(keyed(&[Grant::Join]), "Gil", Role::Join).unwrap();
    let mut host = world.enter_as(keyed(&[Grant::Join, Grant::Moderate]), "Hana", Role::Join).unwrap();
    guest.read();
    let track = PublishTrack { mid: "0".into(), source: Source::Camera, kind: Kind::Audio };
    world.say(&guest, ClientMessage::Publish { sdp: String::new(), tracks: vec![track], media: ResumeMedia::Kept });
    world.say(&guest, ClientMessage::Recording { action: reelay_signaling::RecordingAction::Start });
    world.say(&guest, ClientMessage::Moderate(Moderation::End));
    assert_eq!(guest.errors(), [ErrorCode::Forbidden; 3]);
    world.say(&host, ClientMessage::Moderate(Moderation::Remove { participant: guest.id.clone() }));
    assert!(host.errors().is_empty());
    assert_eq!(guest.closed(), Some(ClosedReason::Removed));
    let mut off = World::with(|options| options.watch = Watch::Off);
    assert_eq!(off.enter_as(Caller::open(), "", Role::Watch).err(), Some(ErrorCode::WatchOff));
    let mut open = World::with(|options| options.watch = Watch::Open);
    assert!(open.enter_as(Caller::nobody(), "", Role::Watch).is_ok());
    assert!(open.enter_as(Caller::nobody(), "Nob", Role::Join).is_err());
}

#[test]
fn host_passes_on_when_the_host_leaves_an_open_room() {
    let mut world = World::new();
    let ana = world.join("Ana");
    let mut bo = world.join("Bo");
    bo.read();
    world.say(&ana, ClientMessage::Leave);
    let seen = bo.read();
    assert!(matches!(&seen[0], ServerMessage::ParticipantLeft { reason: LeaveReason::Left, .. }));
    assert!(matches!(&seen[1], ServerMessage::ParticipantUpdated { participant } if participant.host));
    let mut cy = world.join("Cy");
    world.say(&bo, ClientMessage::Moderate(Moderation::End));
    assert_eq!(cy.closed(), Some(ClosedReason::Ended));
    assert!(world.room.is_empty());
    world.room.finish();
    let effects = world.effects();
    assert!(matches!(told(&effects).last(), Some(What::Closed { ended: true })));
}

#[test]
fn slow_client_is_dropped_and_nobody_else_notices() {
    let mut world = World::with(|options| options.limits.send_queue = 16);
    let mut slow = world.join("Slow");
    let mut ana = world.join("Ana");
    for n in 0..40 {
        world.say(&ana, ClientMessage::Chat { text: format!("line {n}") });
        ana.read();
    }
    assert_eq!(slow.closed(), Some(ClosedReason::Dropped));
    assert!(slow.read().len() <= 16);
    world.room.on_gone(world.now, slow.session);
    assert_eq!(world.room.members.len(), 2, "and may still come back");
    assert_eq!(ana.closed(), None);
}

#[test]
fn chat_goes_to_all_and_late_comers_see_the_last_fifty_lines() {
    let mut world = World::new();
    let mut ana = world.join("Ana");
    for n in 0..60 {
        world.say(&ana, ClientMessage::Chat { text: format!("line {n}") });
    }
    let lines = ana.read().iter().filter(|message| matches!(message, ServerMessage::Chat(_))).count();
    assert_eq!(lines, 60);
    let mut bo = world.join("Bo");
    let ServerMessage::Joined(joined) = bo.read().remove(0) else { panic!() };
    assert_eq!((joined.chat.len(), joined.chat[0].text.as_str()), (50, "line 10"));
    assert_eq!(joined.chat[0].at, "2027-01-15T08:00:00Z");
    world.say(&ana, ClientMessage::Chat { text: "字".repeat(2_000) });
    assert!(ana.errors().is_empty());
    world.say(&ana, ClientMessage::Chat { text: "字".repeat(2_001) });
    world.say(&ana, ClientMessage::Chat { text: "  ".into() });
    assert_eq!(ana.errors(), [ErrorCode::TooLarge, ErrorCode::BadRequest]);
}

#[test]
fn hosts_mute_holds_in_the_forwarding_until_its_owner_switches_on() {
    let mut world = World::new();
    let (host, mut bo) = (world.join("Hana"), world.join("Bo"));
    world.publish(&bo);
    world.effects();
    bo.read();
    let mute = Moderation::Mute { participant: bo.id.clone(), source: Source::Camera, kind: Kind::Audio };
    world.say(&host, ClientMessage::Moderate(mute));
    assert!(matches!(&bo.read()[0], ServerMessage::MuteRequested { by, .. } if by == "Hana"));
    assert!(matches!(media(&world.effects())[..], [Command::Block { blocked: true, .. }]));
    world.say(&bo, ClientMessage::Mute { source: Source::Camera, kind: Kind::Audio, muted: false });
    let effects = world.effects();
    assert!(matches!(media(&effects)[..], [Command::Block { blocked: false, .. }]));
    assert!(matches!(told(&effects)[..], [What::Muted { muted: false, .. }]));
}

#[test]
fn consent_is_told_and_asked_of_those_who_were_not() {
    let mut world = World::new();
    let (mut ana, mut bo) = (world.join("Ana"), world.join("Bo"));
    world.say(&ana, ClientMessage::Consent { answer: Consent::Agreed, wording: "1".into() });
    ana.read();
    bo.read();
    world.room.on_consent_wanted(Some("Ana"));
    assert!(ana.read().is_empty());
    assert!(matches!(&bo.read()[0], ServerMessage::ConsentRequested { by: Some(by) } if by == "Ana"));
    world.say(&bo, ClientMessage::Consent { answer: Consent::NotAsked, wording: "1".into() });
    assert_eq!(bo.errors(), [ErrorCode::BadRequest]);
    world.room.on_recording(RoomRecording::default(), std::slice::from_ref(&ana.id));
    let seen = bo.read();
    assert!(matches!(&seen[0], ServerMessage::Recording(_)));
    assert!(matches!(&seen[1], ServerMessage::ParticipantUpdated { participant } if participant.recorded));
}

#[test]
fn token_that_ends_ends_the_session() {
    let mut world = World::new();
    let mut caller = keyed(&[Grant::Join]);
    caller.expires = Some(world.now.wall + Duration::from_secs(60));
    let mut ana = world.enter_as(caller, "Ana", Role::Join).unwrap();
    world.pass(Duration::from_secs(59));
    assert_eq!(ana.closed(), None);
    world.pass(Duration::from_secs(1));
    assert_eq!(ana.closed(), Some(ClosedReason::Expired));
    assert!(world.room.is_empty());
}

#[test]
fn token_is_renewed_before_its_end_and_its_new_grants_act_at_once() {
    let mut world = World::new();
    let until = |world: &World, seconds: u64| Some(world.now.wall + Duration::from_secs(seconds));
    let token = |grants: &[Grant], sub: &str, expires| Caller { expires, subject: Some(sub.into()), ..keyed(grants) };
    let all = [Grant::Join, Grant::Publish, Grant::Subscribe, Grant::Moderate];
    let expires = until(&world, 600);
    let mut ana = world.enter_as(token(&all, "ana", expires), "Ana", Role::Join).unwrap();
    let mut bo = world.enter_as(token(&all[..3], "bo", None), "Bo", Role::Join).unwrap();
    world.publish(&ana);
    world.publish(&bo);
    world.pass(Duration::from_secs(539));
    ana.read();
    world.pass(Duration::from_secs(1));
    assert_eq!(ana.read(), [ServerMessage::Expiring { in_ms: 60_000 }]);
    world.pass(Duration::from_secs(1));
    let mut refuse = |caller: Caller| {
        world.room.renew(world.now, ana.session, caller, Some("r".into()));
        assert_eq!(ana.errors(), [ErrorCode::Forbidden]);
    };
    refuse(token(&all, "bo", None));
    refuse(token(&all[1..], "ana", None));
    refuse(Caller { scope: Scope::Room("other".parse().unwrap()), ..token(&all, "ana", None) });
    world.effects();
    bo.read();
    let renewed = token(&all[..1], "ana", until(&world, 600));
    world.room.renew(world.now, ana.session, renewed, None);
    let said = ana.read();
    let is_answer = |message: &ServerMessage| matches!(message, ServerMessage::Renewed { grants, in_ms: Some(600_000) } if grants.join && !grants.publish);
    assert!(said.iter().any(is_answer), "{said:?}");
    let effects = world.effects();
    let closed = media(&effects);
    assert!(closed.iter().any(|command| matches!(command, Command::ClosePeer { .. })), "{closed:?}");
    assert!(closed.iter().any(|command| matches!(command, Command::CloseLeg { .. })), "{closed:?}");
    let is_shown = |message: &ServerMessage| matches!(message, ServerMessage::ParticipantUpdated { participant } if !participant.host && participant.tracks.is_empty());
    assert!(bo.read().iter().any(is_shown));
    world.say(&ana, ClientMessage::Moderate(reelay_signaling::Moderation::End));
    assert_eq!(ana.errors(), [ErrorCode::Forbidden]);
    world.pass(Duration::from_secs(599));
    assert!(ana.read().iter().any(|message| matches!(message, ServerMessage::Expiring { .. })), "warned once more");
    assert_eq!(ana.closed(), None);
    world.pass(Duration::from_secs(1));
    assert_eq!(ana.closed(), Some(ClosedReason::Expired));
}
