//! How much one client address may have at a time, and how often it may do something. IPv6 counts by its /64.
//! This machine itself is not counted: whoever sits there can do worse, and a proxy there that is not set up as one
//! would make everybody look the same.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Places for each address; clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    limit: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One place; free again when this value goes.
#[derive(Debug)]
pub struct Place(Option<(Places, IpAddr)>);

impl Places {
    /// `limit` places for each address.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// The number of places of an address.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A place for this address; `None` when all of its places are taken.
    pub fn take(&self, address: Option<IpAddr>) -> Option<Place> {
        let Some(key) = address.and_then(key_of) else { return Some(Place(None)) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), key))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, key)) = &self.0 else { return };
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(key);
            }
        }
    }
}

/// How often each address may do something: `limit` times a minute, in a row or spread.
#[derive(Debug)]
pub struct Rates {
    limit: u32,
    seen: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Rates {
    /// `limit` times a minute.
    pub fn new(limit: u32) -> Self {
        Self { limit, seen: Mutex::default() }
    }

    /// How often a minute.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// True if this address may do it once more at `now`.
    pub fn allow(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(key) = address.and_then(key_of) else { return true };
        let burst = f64::from(self.limit);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has waited for a minute has everything back, so forgetting them changes nothing.
        if seen.len() >= MANY {
            seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < MINUTE);
        }
        let (left, at) = seen.entry(key).or_insert((burst, now));
        let passed = now.saturating_duration_since(*at).as_secs_f64() / MINUTE.as_secs_f64();
        *left = (*left + passed * burst).min(burst);
        *at = now;
        let is_allowed = *left >= 1.0;
        if is_allowed {
            *left -= 1.0;
        }
        is_allowed
    }
}

/// Under which name an address is counted; `None` is this machine.
fn key_of(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into()),
        ip => Some(ip),
    }
}

const NETWORK: u128 = !0 << 64;
const MINUTE: Duration = Duration::from_secs(60);
const MANY: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_places_and_no_more() {
        let places = Places::new(2);
        let first = places.take(ip("192.0.2.1"));
        let second = places.take(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(ip("192.0.2.1")).is_none());
        assert!(places.take(ip("192.0.2.2")).is_some(), "another address has its own");
        drop(first);
        let third = places.take(ip("192.0.2.1"));
        assert!(third.is_some() && places.take(ip("192.0.2.1")).is_none());
        drop((second, third));
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is remembered of who left");
    }

    #[test]
    fn a_network_of_version_six_is_one_address_and_this_machine_none() {
        let places = Places::new(1);
        let held = places.take(ip("2001:db8::1")).unwrap();
        assert!(places.take(ip("2001:db8::ffff:2")).is_none());
        assert!(places.take(ip("2001:db8:0:1::1")).is_some());
        drop(held);
        let here: Vec<_> =
            ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"].map(|text| places.take(ip(text))).into();
        assert!(here.iter().all(Option::is_some) && places.take(None).is_some());
    }

    #[test]
    fn a_rate_is_a_row_and_then_one_at_a_time() {
        let rates = Rates::new(6);
        let start = Instant::now();
        assert!((0..6).all(|_| rates.allow(ip("192.0.2.1"), start)));
        assert!(!rates.allow(ip("192.0.2.1"), start));
        assert!(rates.allow(ip("192.0.2.2"), start));
        assert!(!rates.allow(ip("192.0.2.1"), start + Duration::from_secs(9)));
        assert!(rates.allow(ip("192.0.2.1"), start + Duration::from_secs(11)));
        assert!(!rates.allow(ip("192.0.2.1"), start + Duration::from_secs(11)));
        assert!((0..1_000).all(|_| rates.allow(None, start)));
    }
}
