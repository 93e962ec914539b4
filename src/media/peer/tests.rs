//! A publisher in virtual time: deadlines, limits, refusals. Whole calls are in `tests/it/publish.rs`.

use super::super::sdp_in::tests::CHROMIUM;
use super::*;

struct Case {
    shared: LinkShared,
    limits: PeerLimits,
    peer: Peer,
    now: Instant,
}

fn addresses() -> Vec<SocketAddr> {
    vec!["127.0.0.1:7342".parse().unwrap()]
}

fn camera() -> Vec<DeclaredTrack> {
    let declare =
        |kind: &str| DeclaredTrack { mid: None, track: format!("paaaaaaaaaa/camera/{kind}").parse().unwrap() };
    ["audio", "video"].map(declare).to_vec()
}

impl Case {
    fn new() -> Self {
        let (shared, limits) = (LinkShared::new().unwrap(), PeerLimits::default());
        let now = Instant::now();
        let addresses = addresses();
        let context =
            PeerContext { shared: &shared, limits: &limits, addresses: &addresses, candidates: &addresses, port: 7342 };
        let (peer, answer) = Peer::open(now, &context, PeerKey(1), (CHROMIUM, &camera())).unwrap();
        assert!(answer.contains("a=setup:active"));
        Self { shared, limits, peer, now }
    }

    fn renegotiate(&mut self, offer: &str) -> Result<String, MediaError> {
        let addresses = addresses();
        let (shared, limits) = (&self.shared, &self.limits);
        let context = PeerContext { shared, limits, addresses: &addresses, candidates: &addresses, port: 7342 };
        self.peer.renegotiate(self.now, &context, (offer, &camera()))
    }

    /// Lets time pass as the shard does, and gathers what happens.
    fn run(&mut self, time: Duration) -> Vec<PeerAction> {
        let end = self.now + time;
        let mut actions = Vec::new();
        for _ in 0..10_000 {
            let Some(next) = self.peer.poll_timeout().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next) + Duration::from_millis(1);
            self.peer.on_timeout(self.now, &self.limits);
            self.peer.settle(self.now, &self.limits);
            while self.peer.poll_datagram().is_some() {}
            actions.extend(std::iter::from_fn(|| self.peer.poll_action()));
        }
        self.now = end;
        actions
    }

    fn states(&mut self, time: Duration) -> Vec<LinkState> {
        let state = |action| match action {
            PeerAction::Tell(Event::PeerState { state, .. }) => Some(state),
            _ => None,
        };
        self.run(time).into_iter().filter_map(state).collect()
    }
}

#[test]
fn a_connection_that_nobody_checks_is_given_up() {
    let mut case = Case::new();
    assert_eq!(case.states(Duration::from_secs(14)), []);
    assert!(case.peer.is_half_open());
    assert_eq!(case.states(Duration::from_secs(2)), [LinkState::Failed, LinkState::Closed]);
    assert_eq!(case.peer.poll_timeout(), None);
}

#[test]
fn a_connection_without_media_is_closed_when_that_is_asked_for() {
    let mut case = Case::new();
    case.peer.close_idle(case.now, Duration::from_secs(4));
    assert_eq!(case.states(Duration::from_secs(3)), []);
    case.peer.idle.as_mut().unwrap().last = case.now;
    assert_eq!(case.states(Duration::from_secs(3)), [], "a packet has come meanwhile");
    assert_eq!(case.states(Duration::from_secs(2)), [LinkState::Closed]);
}

#[test]
fn closing_says_so_once_and_asks_to_be_removed() {
    let mut case = Case::new();
    case.peer.close();
    case.peer.close();
    let actions: Vec<PeerAction> = std::iter::from_fn(|| case.peer.poll_action()).collect();
    let [PeerAction::Tell(Event::PeerState { state: LinkState::Closed, .. }), PeerAction::Remove] = actions[..] else {
        panic!("{actions:?}")
    };
}

#[test]
fn sources_beyond_the_limit_and_other_garbage_are_dropped() {
    let mut case = Case::new();
    let route = Route { to: "127.0.0.1:9".parse().unwrap(), from: None };
    let mut send = |bytes: &[u8]| {
        let limits = case.limits;
        case.peer.on_datagram(case.now, (route, 7342), &limits, bytes);
        case.peer.counters().1
    };
    for ssrc in 0..256u32 {
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        assert_eq!(send(&packet), 0);
    }
    assert_eq!(send(&[0x80, 96, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9]), 1, "one source too many");
    assert_eq!(send(&[0x80, 200, 0, 1, 0, 0, 0, 7]), 1, "a report of a known one");
    assert_eq!(send(&[0x80, 96, 0]), 2, "short");
    assert_eq!(send(&[]), 3);
    assert_eq!(send(&[100, 1, 2]), 4, "no protocol of ours");
    assert_eq!(case.states(Duration::from_secs(1)), []);
}

#[test]
fn later_offers_may_restart_ice_but_not_change_the_certificate() {
    let mut case = Case::new();
    let before = case.peer.credentials().0.to_owned();
    case.renegotiate(CHROMIUM).unwrap();
    assert_eq!(case.peer.credentials().0, before);
    let answer = case.renegotiate(&CHROMIUM.replace("a=ice-ufrag:abcd", "a=ice-ufrag:efgh")).unwrap();
    assert_ne!(case.peer.credentials().0, before);
    assert!(answer.contains(&format!("a=ice-ufrag:{}", case.peer.credentials().0)));
    let refusal = case.renegotiate(&CHROMIUM.replace("00:11:22", "01:11:22")).unwrap_err();
    assert!(refusal.message.contains("certificate"), "{}", refusal.message);
}

#[test]
fn roles_follow_the_offer() {
    let (shared, limits, addresses) = (LinkShared::new().unwrap(), PeerLimits::default(), addresses());
    let context =
        PeerContext { shared: &shared, limits: &limits, addresses: &addresses, candidates: &addresses, port: 7342 };
    for (offered, answered) in [("active", "passive"), ("passive", "active"), ("actpass", "active")] {
        let offer = CHROMIUM.replace("a=setup:actpass", &format!("a=setup:{offered}"));
        let (_, answer) = Peer::open(Instant::now(), &context, PeerKey(1), (&offer, &camera())).unwrap();
        assert!(answer.contains(&format!("a=setup:{answered}")), "{offered}");
    }
    let lite = CHROMIUM.replace("a=extmap-allow-mixed", "a=ice-lite");
    assert!(Peer::open(Instant::now(), &context, PeerKey(1), (&lite, &camera())).is_ok());
}
