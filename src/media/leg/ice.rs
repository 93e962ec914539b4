//! The answering half of ICE (RFC 8445 §2.5, "lite"): checks with the right password are answered, from wherever
//! they come, and the last one that was nominated says where the viewer is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message};
use rtc::stun::xoraddr::XorMappedAddress;

/// A name and a password that checks are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name; it is also how a datagram finds its leg.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// Answers checks.
#[derive(Debug)]
pub struct IceLite {
    current: Credentials,
    /// From before the last restart, and until when they hold.
    previous: Option<(Credentials, Instant)>,
}

/// A check that was made with the right password.
#[derive(Debug)]
pub struct Checked {
    /// The client says that it will use this pair.
    pub is_nominated: bool,
    /// To be sent back.
    pub response: Vec<u8>,
}

impl IceLite {
    /// Begins with random credentials.
    pub fn new(rng: &mut StdRng) -> Self {
        Self { current: Credentials::random(rng), previous: None }
    }

    /// What goes into SDP.
    pub fn credentials(&self) -> &Credentials {
        &self.current
    }

    /// The names that are answered.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous.iter().map(|(credentials, _)| credentials.ufrag.as_str());
        std::iter::once(self.current.ufrag.as_str()).chain(previous)
    }

    /// New credentials; the present ones hold for a while, since checks with them are under way.
    pub fn restart(&mut self, now: Instant, rng: &mut StdRng) {
        let before = std::mem::replace(&mut self.current, Credentials::random(rng));
        self.previous = Some((before, now + OVERLAP));
    }

    /// Forgets old credentials. Returns true if the names have changed.
    pub fn on_timeout(&mut self, now: Instant) -> bool {
        self.previous.take_if(|(_, until)| now >= *until).is_some()
    }

    /// Answers a check, or returns `None` for everything that is none or has the wrong password.
    pub fn on_datagram(&self, from: SocketAddr, data: &[u8], crypto: &dyn RTCCrypto) -> Option<Checked> {
        let mut request = Message { raw: data.to_vec(), ..Message::default() };
        request.decode().ok()?;
        if request.typ != BINDING_REQUEST || request.get(ATTR_MESSAGE_INTEGRITY).ok()?.len() != INTEGRITY_BYTES {
            return None;
        }
        let username = request.get(ATTR_USERNAME).ok()?;
        let ours = username.split(|&b| b == b':').next()?;
        let previous = self.previous.as_ref().map(|(credentials, _)| credentials);
        let used = std::iter::once(&self.current).chain(previous).find(|known| known.ufrag.as_bytes() == ours)?;
        MessageIntegrity::check(&mut request, used.pwd.as_bytes(), crypto).ok()?;

        let mut response = Message::new();
        response.transaction_id = request.transaction_id;
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(used.pwd.clone(), crypto);
        let address = XorMappedAddress { ip: from.ip(), port: from.port() };
        // `build` resets the message, so the transaction comes back in as the first part of it.
        response
            .build(&[
                Box::new(BINDING_SUCCESS),
                Box::new(request.transaction_id),
                Box::new(address),
                Box::new(integrity),
                Box::new(FINGERPRINT),
            ])
            .ok()?;
        Some(Checked { is_nominated: request.contains(ATTR_USE_CANDIDATE), response: response.raw })
    }
}

impl Credentials {
    fn random(rng: &mut StdRng) -> Self {
        let mut text = |length| (0..length).map(|_| ICE_CHARS[rng.random_range(0..ICE_CHARS.len())] as char).collect();
        Self { ufrag: text(UFRAG_CHARS), pwd: text(PWD_CHARS) }
    }
}

const ICE_CHARS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const UFRAG_CHARS: usize = 12;
const PWD_CHARS: usize = 24;
const INTEGRITY_BYTES: usize = 20;
const OVERLAP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rtc::stun::message::{Setter, TransactionId};
    use rtc::stun::textattrs::TextAttribute;

    use super::*;

    fn check_request(credentials: &Credentials, pwd: &str, nominate: bool) -> Vec<u8> {
        let provider = rtc::crypto::default_provider().unwrap();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), provider.crypto());
        let mut parts: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId([7; 12])),
            Box::new(TextAttribute::new(ATTR_USERNAME, format!("{}:them", credentials.ufrag))),
        ];
        if nominate {
            parts.push(Box::new(rtc::stun::attributes::RawAttribute {
                typ: ATTR_USE_CANDIDATE,
                length: 0,
                value: vec![],
            }));
        }
        parts.push(Box::new(integrity));
        parts.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&parts).unwrap();
        message.raw.clone()
    }

    #[test]
    fn only_the_right_password_is_answered_and_the_old_one_for_a_while() {
        let provider = rtc::crypto::default_provider().unwrap();
        let from: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut ice = IceLite::new(&mut rng);
        let first = ice.credentials().clone();
        let answers = |ice: &IceLite, data: &[u8]| ice.on_datagram(from, data, provider.crypto());
        let good = check_request(&first, &first.pwd, true);
        let checked = answers(&ice, &good).unwrap();
        assert!(checked.is_nominated);
        let mut response = Message { raw: checked.response, ..Message::default() };
        response.decode().unwrap();
        assert_eq!((response.typ, response.transaction_id), (BINDING_SUCCESS, TransactionId([7; 12])));
        MessageIntegrity::check(&mut response, first.pwd.as_bytes(), provider.crypto()).unwrap();
        assert!(!answers(&ice, &check_request(&first, &first.pwd, false)).unwrap().is_nominated);
        assert!(answers(&ice, &check_request(&first, "wrong", true)).is_none());
        for cut in 0..good.len() {
            assert!(answers(&ice, &good[..cut]).is_none());
        }

        let now = Instant::now();
        ice.restart(now, &mut rng);
        assert!(answers(&ice, &good).is_some());
        assert_eq!(ice.ufrags().count(), 2);
        assert!(!ice.on_timeout(now + OVERLAP / 2));
        assert!(ice.on_timeout(now + OVERLAP));
        assert!(answers(&ice, &good).is_none());
        let second = ice.credentials().clone();
        assert!(answers(&ice, &check_request(&second, &second.pwd, true)).is_some());
    }
}
