//! Decides which peer or leg a datagram is for, and drops it unless its source has proved itself.
//! Anything but STUN passes only from a source that answered or sent an ICE check with the right password: otherwise one
//! forged ClientHello every 100 ms keeps a call from starting.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_BINDING, Message, TransactionId,
    is_stun_message,
};

/// Where a datagram goes, or why nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<T> {
    /// To this target.
    Pass(T),
    /// To this target: the answer to one of its checks, which took this long.
    Answer(T, Duration),
    /// Not STUN, and from a source that nobody has checked.
    Unverified,
    /// STUN that is broken, has a wrong password, or is about nobody here.
    BadStun,
}

/// The table of a shard. `T` names a peer or a leg.
pub struct Admit<T> {
    crypto: Arc<dyn RTCCryptoProvider>,
    ufrags: HashMap<String, Credential<T>>,
    sources: HashMap<SocketAddr, Source<T>>,
    owned: HashMap<T, VecDeque<SocketAddr>>,
    checks: HashMap<TransactionId, Check<T>>,
    swept: Option<Instant>,
}

struct Credential<T> {
    target: T,
    /// `None`: the target checks for itself and calls [`Admit::checked`].
    pwd: Option<String>,
}

struct Source<T> {
    target: T,
    last: Instant,
}

struct Check<T> {
    target: T,
    to: SocketAddr,
    sent: Instant,
}

impl<T: Copy + Eq + Hash> Admit<T> {
    /// An empty table.
    pub fn new(crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self {
            crypto,
            ufrags: HashMap::new(),
            sources: HashMap::new(),
            owned: HashMap::new(),
            checks: HashMap::new(),
            swept: None,
        }
    }

    /// From now on checks for this user name go to `target`, if they have the password (or if it checks for itself).
    pub fn register(&mut self, ufrag: &str, pwd: Option<&str>, target: T) {
        self.ufrags.insert(ufrag.to_owned(), Credential { target, pwd: pwd.map(str::to_owned) });
    }

    /// Ends that for one user name.
    pub fn unregister(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }

    /// Forgets everything about a target.
    pub fn forget(&mut self, target: T) {
        self.ufrags.retain(|_, credential| credential.target != target);
        for source in self.owned.remove(&target).unwrap_or_default() {
            self.sources.remove(&source);
        }
        self.checks.retain(|_, check| check.target != target);
    }

    /// A target sends a datagram: its own checks are remembered, so that their answers come back.
    pub fn on_send(&mut self, now: Instant, target: T, to: SocketAddr, bytes: &[u8]) {
        let Some(id) = transaction(bytes).filter(|_| bytes[..2] == BINDING_REQUEST) else { return };
        if self.checks.len() >= MAX_CHECKS {
            self.sweep(now);
        }
        if self.checks.len() < MAX_CHECKS {
            self.checks.insert(id, Check { target, to, sent: now });
        }
    }

    /// A target has found a check from `source` to be right.
    pub fn checked(&mut self, now: Instant, source: SocketAddr, target: T) {
        if let Some(known) = self.sources.get_mut(&source) {
            if known.target == target {
                known.last = now;
                return;
            }
            // Whoever has it keeps it while it is in use: a forged source must not take an address from its owner.
            if now.saturating_duration_since(known.last) < OWNERSHIP {
                return;
            }
            if let Some(sources) = self.owned.get_mut(&known.target) {
                sources.retain(|other| *other != source);
            }
        }
        let own = self.owned.entry(target).or_default();
        if own.len() >= MAX_SOURCES
            && let Some(oldest) = own.pop_front()
        {
            self.sources.remove(&oldest);
        }
        own.push_back(source);
        self.sources.insert(source, Source { target, last: now });
    }

    /// Judges a datagram.
    pub fn judge(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Verdict<T> {
        if bytes.first().is_some_and(|first| *first < 4) && is_stun_message(bytes) {
            return self.judge_stun(now, source, bytes);
        }
        match self.sources.get(&source) {
            Some(known) => Verdict::Pass(known.target),
            None => Verdict::Unverified,
        }
    }

    /// Forgets checks that nobody answered; to be called about once a second.
    pub fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.checks.retain(|_, check| now.saturating_duration_since(check.sent) < CHECK_LIFETIME);
    }

    fn judge_stun(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Verdict<T> {
        if bytes.len() > MAX_STUN_BYTES {
            return Verdict::BadStun;
        }
        let mut message = Message { raw: bytes.to_vec(), ..Message::default() };
        if message.decode().is_err() || message.typ.method != METHOD_BINDING {
            return Verdict::BadStun;
        }
        if message.typ.class == CLASS_REQUEST {
            return self.judge_request(now, source, &mut message);
        }
        if message.typ.class == CLASS_SUCCESS_RESPONSE || message.typ.class == CLASS_ERROR_RESPONSE {
            // 96 random bits that only the other end of the check has seen; `rtc` looks at the password once more.
            let is_ours = self.checks.get(&message.transaction_id).is_some_and(|check| check.to == source);
            let Some(check) = self.checks.remove(&message.transaction_id).filter(|_| is_ours) else {
                return Verdict::BadStun;
            };
            if message.typ.class == CLASS_SUCCESS_RESPONSE {
                self.checked(now, source, check.target);
            }
            return Verdict::Answer(check.target, now.saturating_duration_since(check.sent));
        }
        // Indications keep a binding in a NAT alive, no more.
        match self.sources.get(&source) {
            Some(known) => Verdict::Pass(known.target),
            None => Verdict::BadStun,
        }
    }

    fn judge_request(&mut self, now: Instant, source: SocketAddr, message: &mut Message) -> Verdict<T> {
        let name = message.get(ATTR_USERNAME).unwrap_or_default();
        let ufrag = std::str::from_utf8(&name).ok().and_then(|name| name.split(':').next()).unwrap_or_default();
        let Some(credential) = self.ufrags.get(ufrag) else { return Verdict::BadStun };
        let target = credential.target;
        let Some(pwd) = &credential.pwd else { return Verdict::Pass(target) };
        if MessageIntegrity::check(message, pwd.as_bytes(), self.crypto.crypto()).is_err() {
            return Verdict::BadStun;
        }
        self.checked(now, source, target);
        Verdict::Pass(target)
    }
}

fn transaction(bytes: &[u8]) -> Option<TransactionId> {
    let id = bytes.get(8..20)?.try_into().ok()?;
    is_stun_message(bytes).then_some(TransactionId(id))
}

const BINDING_REQUEST: [u8; 2] = [0, 1];
const MAX_STUN_BYTES: usize = 1_500;
/// How many sources one target may have: more than any browser uses, less than an attacker with a password would.
const MAX_SOURCES: usize = 32;
const OWNERSHIP: Duration = Duration::from_secs(15);
const CHECK_LIFETIME: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(1);
const MAX_CHECKS: usize = 65_536;

#[cfg(test)]
mod tests {
    use rtc::stun::attributes::ATTR_USERNAME;
    use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS};
    use rtc::stun::textattrs::Username;

    use super::*;

    const HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn table() -> (Admit<u32>, Instant) {
        let mut admit = Admit::new(rtc::crypto::default_provider().unwrap());
        admit.register("ours", Some("a-good-long-password-1"), 1);
        (admit, Instant::now())
    }

    fn request(user: &str, pwd: &str) -> Vec<u8> {
        let crypto = rtc::crypto::default_provider().unwrap();
        let mut message = Message::new();
        let name = Username::new(ATTR_USERNAME, user.to_owned());
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), crypto.crypto());
        message
            .build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new()), Box::new(name), Box::new(integrity)])
            .unwrap();
        message.raw
    }

    #[test]
    fn only_a_right_check_opens_the_way_and_every_source_counts() {
        let (mut admit, now) = table();
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Unverified);
        assert_eq!(admit.judge(now, source(1), &request("ours:x", "a-bad-long-password-12")), Verdict::BadStun);
        assert_eq!(admit.judge(now, source(1), &request("other:x", "a-good-long-password-1")), Verdict::BadStun);
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Unverified);
        for port in [1, 2] {
            assert_eq!(admit.judge(now, source(port), &request("ours:x", "a-good-long-password-1")), Verdict::Pass(1));
            assert_eq!(admit.judge(now, source(port), HELLO), Verdict::Pass(1));
        }
        admit.forget(1);
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Unverified);
    }

    #[test]
    fn an_answer_counts_only_from_where_the_check_went() {
        let (mut admit, now) = table();
        let check = request("them:ours", "their-long-password-123");
        admit.on_send(now, 1, source(5), &check);
        let mut answer = Message::new();
        let id = transaction(&check).unwrap();
        answer.build(&[Box::new(BINDING_SUCCESS), Box::new(id)]).unwrap();
        let later = now + Duration::from_millis(30);
        assert_eq!(admit.judge(later, source(5), &answer.raw), Verdict::Answer(1, Duration::from_millis(30)));
        assert_eq!(admit.judge(later, source(5), HELLO), Verdict::Pass(1));
        assert_eq!(admit.judge(later, source(5), &answer.raw), Verdict::BadStun, "once");
        admit.on_send(now, 1, source(5), &check);
        assert_eq!(admit.judge(later, source(6), &answer.raw), Verdict::BadStun);
        assert_eq!(admit.judge(later, source(6), HELLO), Verdict::Unverified);
    }

    #[test]
    fn a_forged_source_does_not_take_an_address_from_its_owner() {
        let (mut admit, now) = table();
        admit.register("evil", Some("another-long-password-1"), 2);
        let own = request("ours:x", "a-good-long-password-1");
        let forged = request("evil:x", "another-long-password-1");
        admit.judge(now, source(1), &own);
        admit.judge(now, source(1), &forged);
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Pass(1));
        let later = now + OWNERSHIP;
        admit.judge(later, source(1), &forged);
        assert_eq!(admit.judge(later, source(1), HELLO), Verdict::Pass(2));
    }

    #[test]
    fn sources_and_checks_are_bounded() {
        let (mut admit, now) = table();
        for port in 1..200 {
            admit.checked(now + Duration::from_millis(port.into()), source(port), 1);
        }
        assert_eq!(admit.sources.len(), MAX_SOURCES);
        admit.on_send(now, 1, source(1), &request("a:b", "a-good-long-password-1"));
        admit.sweep(now + CHECK_LIFETIME);
        assert!(admit.checks.is_empty());
    }

    #[test]
    fn a_target_may_check_for_itself() {
        let (mut admit, now) = table();
        admit.register("leg", None, 7);
        assert_eq!(admit.judge(now, source(1), &request("leg:x", "whatever")), Verdict::Pass(7));
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Unverified);
        admit.checked(now, source(1), 7);
        assert_eq!(admit.judge(now, source(1), HELLO), Verdict::Pass(7));
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(0u8.., 0..200), cut in 0usize..120) {
            let (mut admit, now) = table();
            let _ = admit.judge(now, source(1), &bytes);
            let mut check = request("ours:x", "a-good-long-password-1");
            check.truncate(cut);
            check.extend_from_slice(&bytes);
            let _ = admit.judge(now, source(1), &check);
            admit.on_send(now, 1, source(1), &check);
        }
    }
}
