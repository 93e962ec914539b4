//! Which packets of a stream are missing, and when to ask for them again. Pure.
//! Knows one SSRC; unwrapping retransmissions and writing RTCP are `receiver`'s matter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often and how long a missing packet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackOptions {
    /// How far back a packet may be missing, in packets; a power of two.
    pub window: u16,
    /// How long reordering may last before the first request.
    pub patience: Duration,
    /// The shortest and the longest time between requests for the same packet; the measured RTT lies between them.
    pub interval: (Duration, Duration),
    /// Requests for one packet.
    pub requests: u8,
    /// How long one packet is asked for.
    pub lifetime: Duration,
}

impl Default for NackOptions {
    fn default() -> Self {
        Self {
            window: 4096,
            patience: Duration::from_millis(10),
            interval: (Duration::from_millis(20), Duration::from_millis(100)),
            requests: 10,
            lifetime: Duration::from_secs(2),
        }
    }
}

/// What a packet is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The newest so far.
    Newest,
    /// Later than its successors.
    Late,
    /// Here because it was asked for.
    Repaired,
    /// It was here before, or is too old to tell.
    Known,
}

/// The receive log of one SSRC.
#[derive(Debug)]
pub struct NackLog {
    options: NackOptions,
    asks: bool,
    seen: Vec<u64>,
    /// Extended number of the newest packet.
    newest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    /// The successor of the last packet that was too old: if it comes next, the sender began anew (RFC 3550 §A.1).
    restart: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    next: Instant,
    requests: u8,
}

impl NackLog {
    /// A log; one that does not ask only tells duplicates.
    pub fn new(options: NackOptions, asks: bool) -> Self {
        let words = usize::from(options.window).div_ceil(64).max(1);
        Self { options, asks, seen: vec![0; words], newest: None, missing: BTreeMap::new(), restart: None }
    }

    /// Enters a packet.
    pub fn on_packet(&mut self, now: Instant, seq: u16) -> Arrival {
        let Some(newest) = self.newest else {
            // Room below the first packet, so that its late predecessors have numbers too.
            return self.begin((1 << 32) | u64::from(seq));
        };
        let step = i64::from(seq.wrapping_sub(newest as u16) as i16);
        let number = newest.wrapping_add_signed(step);
        let window = u64::from(self.options.window);
        if step > 0 && number - newest >= window {
            // The sender began anew; nobody keeps that many packets to send them again.
            self.missing.clear();
            return self.begin(number);
        }
        if step > 0 {
            for gap in newest + 1..number {
                self.mark(gap, false);
                if self.asks {
                    let entry = Missing { since: now, next: now + self.options.patience, requests: 0 };
                    self.missing.insert(gap, entry);
                }
            }
            self.mark(number, true);
            self.newest = Some(number);
            return Arrival::Newest;
        }
        if newest - number >= window {
            if self.restart == Some(seq) {
                self.missing.clear();
                return self.begin((((newest >> 16) + 2) << 16) | u64::from(seq));
            }
            self.restart = Some(seq.wrapping_add(1));
            return Arrival::Known;
        }
        if self.is_seen(number) {
            return Arrival::Known;
        }
        self.mark(number, true);
        let was_asked = self.missing.remove(&number).is_some_and(|entry| entry.requests > 0);
        if was_asked { Arrival::Repaired } else { Arrival::Late }
    }

    /// Adds the numbers to ask for now to `wanted` and forgets those that are given up. Returns how many were.
    pub fn due(&mut self, now: Instant, rtt: Option<Duration>, wanted: &mut Vec<u16>) -> usize {
        let (shortest, longest) = self.options.interval;
        let interval = rtt.unwrap_or(longest).clamp(shortest, longest);
        let oldest = self.newest.unwrap_or(0).saturating_sub(u64::from(self.options.window) - 1);
        let before = self.missing.len();
        let NackOptions { requests, lifetime, .. } = self.options;
        self.missing.retain(|&number, entry| {
            let is_hopeless = number < oldest || now.saturating_duration_since(entry.since) > lifetime;
            !is_hopeless && (entry.requests < requests || entry.next > now)
        });
        for (&number, entry) in &mut self.missing {
            if entry.next <= now && wanted.len() < MAX_AT_ONCE {
                entry.requests += 1;
                entry.next = now + interval;
                wanted.push(number as u16);
            }
        }
        before - self.missing.len()
    }

    /// Stops asking for what is missing now.
    pub fn forgive(&mut self) {
        self.missing.clear();
    }

    /// When `due` is to be called.
    pub fn next(&self) -> Option<Instant> {
        self.missing.values().map(|entry| entry.next).min()
    }

    fn begin(&mut self, number: u64) -> Arrival {
        // What lies before the beginning is unknown, which is not the same as missing.
        self.seen.fill(0);
        self.mark(number, true);
        self.restart = None;
        self.newest = Some(number);
        Arrival::Newest
    }

    fn mark(&mut self, number: u64, is_seen: bool) {
        let (word, bit) = self.place(number);
        if is_seen { self.seen[word] |= bit } else { self.seen[word] &= !bit }
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.seen[word] & bit != 0
    }

    fn place(&self, number: u64) -> (usize, u64) {
        let slot = (number % (self.seen.len() as u64 * 64)) as usize;
        (slot / 64, 1 << (slot % 64))
    }
}

// 64 pairs of the 17 numbers that one pair can name would be more; a larger hole needs a keyframe, not requests.
const MAX_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Case {
        log: NackLog,
        start: Instant,
    }

    impl Case {
        fn new(seqs: &[u16]) -> Self {
            let mut case = Self { log: NackLog::new(NackOptions::default(), true), start: Instant::now() };
            for &seq in seqs {
                case.log.on_packet(case.start, seq);
            }
            case
        }

        fn due(&mut self, ms: u32) -> Vec<u16> {
            let mut wanted = Vec::new();
            self.log.due(self.start + MS * ms, Some(MS * 30), &mut wanted);
            wanted
        }
    }

    #[test]
    fn a_gap_is_asked_for_after_a_short_wait_and_again_every_round_trip() {
        let mut case = Case::new(&[65_534, 65_535, 2]);
        assert!(case.due(5).is_empty());
        assert_eq!(case.due(10), [0, 1]);
        assert!(case.due(39).is_empty());
        assert_eq!(case.log.on_packet(case.start, 0), Arrival::Repaired);
        assert_eq!(case.due(40), [1]);
        assert_eq!(case.log.on_packet(case.start, 1), Arrival::Repaired);
        assert_eq!((case.due(90), case.log.next()), (vec![], None));
    }

    #[test]
    fn duplicates_are_known_whatever_way_they_come() {
        let mut case = Case::new(&[10, 11, 13]);
        for (seq, expected) in [(11, Arrival::Known), (12, Arrival::Late), (12, Arrival::Known), (13, Arrival::Known)] {
            assert_eq!(case.log.on_packet(case.start, seq), expected);
        }
        assert_eq!(case.log.on_packet(case.start, 9), Arrival::Late, "before the beginning, once");
        assert_eq!(case.log.on_packet(case.start, 9), Arrival::Known);
    }

    #[test]
    fn requests_end_after_ten_and_after_two_seconds() {
        let mut case = Case::new(&[1, 3]);
        let asked = (0..1000).filter(|ms| !case.due(*ms).is_empty()).count();
        assert_eq!(asked, 10);
        assert_eq!(case.log.next(), None);
        let mut slow = Case::new(&[1, 3]);
        assert_eq!((slow.due(1990), slow.due(2001), slow.log.next()), (vec![2], vec![], None));
    }

    #[test]
    fn a_jump_begins_anew_without_asking() {
        let mut case = Case::new(&[1, 20_000]);
        assert!(case.due(50).is_empty());
        assert_eq!(case.log.on_packet(case.start, 20_002), Arrival::Newest);
        assert_eq!(case.due(60), [20_001]);
        assert_eq!(case.log.on_packet(case.start, 3), Arrival::Known);
        assert_eq!(case.log.on_packet(case.start, 4), Arrival::Newest, "two in a row: the sender began anew");
        assert_eq!(case.log.on_packet(case.start, 5), Arrival::Newest);
    }

    #[test]
    fn a_log_that_does_not_ask_still_tells_duplicates() {
        let mut log = NackLog::new(NackOptions::default(), false);
        let now = Instant::now();
        let arrivals = [5, 7, 6, 6].map(|seq| log.on_packet(now, seq));
        assert_eq!(arrivals, [Arrival::Newest, Arrival::Newest, Arrival::Late, Arrival::Known]);
        assert_eq!(log.next(), None);
    }
}
