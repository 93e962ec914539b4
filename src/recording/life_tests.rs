//! The life of recordings by its actions: who is heard when, what ends it, what consent does.

use reelay_signaling::LeaveReason;

use super::*;

const ROOM: RoomKey = RoomKey(7);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    life: Life,
    now: Instant,
    done: Vec<Action>,
}

impl World {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new("unused");
        change(&mut options);
        let mut world = Self { life: Life::new(&options), now: Instant::now(), done: Vec::new() };
        world.tell(Input::RoomOpened { room: ROOM, name: name() });
        world
    }

    fn tell(&mut self, input: Input) {
        self.life.on_input(self.now, &input);
        self.collect();
    }

    fn command(&mut self, input: Input) -> Result<bool, ErrorCode> {
        let result = self.life.command(self.now, &input);
        self.collect();
        result
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.life.on_timeout(self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(action) = self.life.poll() {
            self.done.push(action);
        }
    }

    fn join(&mut self, n: u64, consent: Consent) -> ParticipantId {
        let participant = ParticipantId::from_random(n);
        self.tell(Input::Joined {
            room: ROOM,
            participant: participant.clone(),
            person: format!("person-{n}"),
            name: format!("Name {n}"),
            consent,
            wording: None,
        });
        participant
    }

    fn leave(&mut self, participant: &ParticipantId) {
        self.tell(Input::Left { room: ROOM, participant: participant.clone(), reason: LeaveReason::Left });
    }

    fn publish(&mut self, participant: &ParticipantId, source: Source, kind: Kind) -> TrackId {
        let track = TrackId { participant: participant.clone(), source, kind };
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        self.tell(Input::TrackStarted { room: ROOM, track: track.clone(), codec, channels: 2 });
        track
    }

    fn consent(&mut self, participant: &ParticipantId, consent: Consent) {
        let (participant, wording) = (participant.clone(), "v1".into());
        self.tell(Input::Consent { room: ROOM, participant, consent, wording });
    }

    fn start(&mut self) -> Result<bool, ErrorCode> {
        self.command(Input::Start { room: ROOM, by: Some("Ann".into()), reply: None })
    }

    fn stop(&mut self) -> Result<bool, ErrorCode> {
        self.command(Input::Stop { room: ROOM, by: None, reply: None })
    }

    fn count(&self, is_it: impl Fn(&Action) -> bool) -> usize {
        self.done.iter().filter(|action| is_it(action)).count()
    }

    fn begun(&self) -> usize {
        self.count(|action| matches!(action, Action::Begin { .. }))
    }

    fn closed(&self) -> Vec<&'static str> {
        let reason = |action: &Action| match action {
            Action::Close { reason, .. } => Some(*reason),
            _ => None,
        };
        self.done.iter().filter_map(reason).collect()
    }

    fn taps(&self) -> usize {
        self.count(|action| matches!(action, Action::Tap(..)))
    }

    fn untaps(&self) -> usize {
        self.count(|action| matches!(action, Action::Untap(..)))
    }

    fn events(&self, kind: &str) -> Vec<&Value> {
        let mut events = Vec::new();
        for action in &self.done {
            if let Action::Event(_, line) = action
                && line["type"] == kind
            {
                events.push(line);
            }
        }
        events
    }

    /// Everything that could reach the disk, as text.
    fn written(&self) -> String {
        let is_for_disk = |action: &&Action| matches!(action, Action::Event(..) | Action::Person(..) | Action::Tap(..));
        format!("{:?}", self.done.iter().filter(is_for_disk).collect::<Vec<_>>())
    }
}

fn name() -> RoomName {
    "team".parse().expect("a room name")
}

#[test]
fn auto_begins_with_the_first_track_and_stays_stopped_until_somebody_starts() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    assert_eq!(world.begun(), 0);
    world.publish(&ann, Source::Camera, Kind::Audio);
    world.publish(&ann, Source::Camera, Kind::Video);
    assert_eq!((world.begun(), world.taps()), (1, 2));
    assert_eq!(world.start(), Ok(false), "it runs already");
    assert_eq!(world.stop(), Ok(false));
    assert_eq!((world.closed(), world.untaps()), (vec!["stopped"], 2));
    assert_eq!(world.stop(), Err(ErrorCode::NotRecording));
    let bob = world.join(2, Consent::NotAsked);
    world.publish(&bob, Source::Camera, Kind::Audio);
    assert_eq!(world.begun(), 1, "stopped by hand lasts");
    assert_eq!(world.start(), Ok(true));
    assert_eq!((world.begun(), world.taps()), (2, 5));
    assert_eq!(world.life.recorded(ROOM).len(), 2);
}

#[test]
fn manual_waits_for_a_person_and_off_never_begins() {
    let mut world = World::new(|options| options.start = StartPolicy::Manual);
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!(world.begun(), 0);
    assert_eq!(world.start(), Ok(true));
    assert_eq!(world.taps(), 1);
    let mut world = World::new(|options| options.start = StartPolicy::Off);
    let ann = world.join(1, Consent::Agreed);
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!((world.start(), world.begun()), (Err(ErrorCode::RecordingOff), 0));
}

#[test]
fn sound_alone_taps_no_picture() {
    let mut world = World::new(|options| options.tracks = Tracks::Audio);
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Video);
    assert_eq!(world.begun(), 0, "a picture does not begin a recording of sound");
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!((world.begun(), world.taps()), (1, 1));
}

#[test]
fn two_who_drop_for_forty_seconds_come_back_into_the_same_recording() {
    let mut world = World::new(|_| {});
    let (ann, bob) = (world.join(1, Consent::NotAsked), world.join(2, Consent::NotAsked));
    world.publish(&ann, Source::Camera, Kind::Audio);
    world.publish(&bob, Source::Camera, Kind::Audio);
    world.leave(&ann);
    world.leave(&bob);
    world.pass(40 * SECOND);
    let ann = world.join(3, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!((world.begun(), world.closed().len(), world.taps()), (1, 0, 3));
    world.pass(100 * SECOND);
    assert_eq!(world.closed().len(), 0);
    world.leave(&ann);
    world.pass(59 * SECOND);
    assert_eq!(world.closed().len(), 0);
    world.pass(2 * SECOND);
    assert_eq!(world.closed(), ["ended"]);
}

#[test]
fn recording_outlives_its_room_for_the_linger_and_goes_on_in_the_next() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    world.tell(Input::RoomClosed { room: ROOM, ended: false });
    world.pass(30 * SECOND);
    let next = RoomKey(8);
    world.tell(Input::RoomOpened { room: next, name: name() });
    let (wanted, _) = world.life.wanted(next);
    assert!(matches!(wanted, Wanted::On(_)));
    let back = ParticipantId::from_random(9);
    world.tell(Input::Joined {
        room: next,
        participant: back,
        person: "p".into(),
        name: "A".into(),
        consent: Consent::NotAsked,
        wording: None,
    });
    world.pass(100 * SECOND);
    assert_eq!((world.begun(), world.closed().len()), (1, 0));
    world.tell(Input::RoomClosed { room: next, ended: true });
    assert_eq!(world.closed(), ["ended"], "the end for all is no linger");
}

#[test]
fn with_required_consent_nothing_of_a_person_is_written_before_they_agreed() {
    let mut world = World::new(|options| options.consent = ConsentPolicy::Required);
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!((world.begun(), world.taps()), (1, 0));
    assert_eq!(world.count(|action| matches!(action, Action::AskConsent(..))), 1);
    world.tell(Input::Chat {
        room: ROOM,
        participant: ann.clone(),
        name: "Name 1".into(),
        text: "secret".into(),
        at: "now".into(),
    });
    world.tell(Input::Speaking { room: ROOM, participants: vec![ann.clone()] });
    world.tell(Input::Muted {
        room: ROOM,
        track: TrackId { participant: ann.clone(), source: Source::Camera, kind: Kind::Audio },
        muted: true,
    });
    let written = world.written();
    for secret in ["Name 1", "secret", "person-1", ann.as_str()] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
    world.consent(&ann, Consent::Agreed);
    assert_eq!((world.taps(), world.life.recorded(ROOM)), (1, vec![ann.clone()]));
    assert_eq!(world.events("consent")[0]["wording"], "v1");
    assert_eq!(world.events("joined").len(), 1);
    let bob = world.join(2, Consent::NotAsked);
    assert_eq!(world.count(|action| matches!(action, Action::AskConsent(..))), 2, "the newcomer is asked, too");
    world.publish(&bob, Source::Camera, Kind::Audio);
    world.consent(&bob, Consent::Declined);
    assert_eq!(world.taps(), 1);
    assert!(!world.written().contains("Name 2"), "who declined is listed without a name");
}

#[test]
fn withdrawing_ends_the_hearing_at_once_and_agreeing_again_goes_on() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    world.consent(&ann, Consent::Declined);
    assert_eq!((world.untaps(), world.life.recorded(ROOM).len()), (1, 0));
    assert_eq!(world.count(|action| matches!(action, Action::Withdraw(..))), 1);
    world.publish(&ann, Source::Camera, Kind::Video);
    assert_eq!(world.taps(), 1, "a new track of theirs is not heard either");
    world.consent(&ann, Consent::Agreed);
    assert_eq!(world.taps(), 3);
    assert_eq!(world.events("consent").len(), 2);
}

#[test]
fn pause_and_resume_are_one_each_and_chat_meanwhile_is_forgotten() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    let pause = || Input::Pause { room: ROOM, by: None, reply: None };
    let resume = || Input::Resume { room: ROOM, by: None, reply: None };
    assert_eq!(world.command(pause()), Err(ErrorCode::NotRecording));
    world.publish(&ann, Source::Camera, Kind::Audio);
    assert_eq!((world.command(pause()), world.command(pause())), (Ok(false), Ok(false)));
    let chat = |text: &str| Input::Chat {
        room: ROOM,
        participant: ParticipantId::from_random(1),
        name: "Ann".into(),
        text: text.into(),
        at: "now".into(),
    };
    world.tell(chat("aside"));
    assert_eq!((world.command(resume()), world.command(resume())), (Ok(false), Ok(false)));
    world.tell(chat("hello"));
    assert_eq!(world.count(|action| matches!(action, Action::Pause(_))), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Resume(_))), 1);
    assert_eq!(world.events("chat").iter().map(|line| &line["text"]).collect::<Vec<_>>(), ["hello"]);
}

#[test]
fn screen_that_ended_is_closed_after_a_moment_and_a_camera_is_not() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    let camera = world.publish(&ann, Source::Camera, Kind::Video);
    let screen = world.publish(&ann, Source::Screen(1), Kind::Video);
    for track in [&camera, &screen] {
        world.tell(Input::TrackEnded { room: ROOM, track: track.clone() });
    }
    let ended = |world: &World| world.count(|action| matches!(action, Action::EndSource(..)));
    world.pass(4 * SECOND);
    assert_eq!(ended(&world), 0);
    world.pass(2 * SECOND);
    assert_eq!(ended(&world), 1);
    world.pass(60 * SECOND);
    assert_eq!(ended(&world), 1);
    world.publish(&ann, Source::Screen(1), Kind::Video);
    assert_eq!((world.taps(), world.untaps()), (3, 1), "it is heard anew, into a new file");
    world.leave(&ann);
    assert_eq!(ended(&world), 3);
}

#[test]
fn closing_all_ends_every_recording_and_begins_none() {
    let mut world = World::new(|_| {});
    let ann = world.join(1, Consent::NotAsked);
    world.publish(&ann, Source::Camera, Kind::Audio);
    world.tell(Input::CloseAll { done: tokio::sync::oneshot::channel().0 });
    assert_eq!(world.closed(), ["shutdown"]);
    world.publish(&ann, Source::Camera, Kind::Video);
    assert_eq!(world.begun(), 1);
}

#[test]
fn what_is_unknown_changes_nothing() {
    let mut world = World::new(|_| {});
    let nobody = ParticipantId::from_random(99);
    world.done.clear();
    world.publish(&nobody, Source::Camera, Kind::Audio);
    world.leave(&nobody);
    world.consent(&nobody, Consent::Agreed);
    let elsewhere = RoomKey(1234);
    world.tell(Input::RoomClosed { room: elsewhere, ended: true });
    assert_eq!(world.command(Input::Start { room: elsewhere, by: None, reply: None }), Err(ErrorCode::RoomNotFound));
    assert!(world.done.is_empty(), "{:?}", world.done);
}
