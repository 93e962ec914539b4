//! Limits how many packets leave for one viewer at an instant: many publishers in step would overflow the socket
//! buffer of a browser (measured in Firefox with 20).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

/// The queue of one viewer; empty but for bursts.
#[derive(Debug)]
pub struct Pacer {
    /// Packets that may leave at once.
    tokens: u32,
    filled: Instant,
    queue: VecDeque<BytesMut>,
    bytes: usize,
    dropped: u64,
}

impl Pacer {
    /// Begins with a full allowance.
    pub fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled: now, queue: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// Returns the packet if it may leave now, else keeps it.
    pub fn push(&mut self, now: Instant, packet: BytesMut) -> Option<BytesMut> {
        self.refill(now);
        if self.queue.is_empty() && self.tokens > 0 {
            self.tokens -= 1;
            return Some(packet);
        }
        if self.bytes + packet.len() > MAX_BYTES {
            self.dropped += 1;
        } else {
            self.bytes += packet.len();
            self.queue.push_back(packet);
        }
        None
    }

    /// The next packet that may leave.
    pub fn pop(&mut self, now: Instant) -> Option<BytesMut> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        let packet = self.queue.pop_front()?;
        self.tokens -= 1;
        self.bytes -= packet.len();
        Some(packet)
    }

    /// When more may leave, while something waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.queue.is_empty()).then(|| self.filled + REFILL)
    }

    /// Packets dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        if elapsed < REFILL {
            return;
        }
        let periods = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(periods.saturating_mul(PER_REFILL)).min(BURST);
        self.filled = now;
    }
}

// The receive buffer that Linux gives a socket holds some 90 packets.
const BURST: u32 = 48;
const REFILL: Duration = Duration::from_millis(1);
const PER_REFILL: u32 = 16;
const MAX_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spread_and_nothing_is_lost_or_reordered() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let mut sent: Vec<u8> =
            (0..100).filter_map(|n| pacer.push(start, BytesMut::from(&[n][..]))).map(|p| p[0]).collect();
        assert_eq!(sent.len(), BURST as usize);
        let mut now = start;
        while let Some(due) = pacer.poll_timeout() {
            now = due;
            while let Some(packet) = pacer.pop(now) {
                sent.push(packet[0]);
            }
        }
        assert_eq!(sent, (0..100).collect::<Vec<u8>>());
        assert_eq!(now, start + Duration::from_millis(4));
    }

    #[test]
    fn no_burst_is_longer_after_a_rest() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let later = start + Duration::from_secs(10);
        let sent = (0..100).filter(|&n| pacer.push(later, BytesMut::from(&[n][..])).is_some()).count();
        assert_eq!(sent, BURST as usize);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        for _ in 0..2000 {
            pacer.push(start, BytesMut::zeroed(1000));
        }
        assert_eq!(pacer.dropped(), 2000 - u64::from(BURST) - (MAX_BYTES / 1000) as u64);
    }
}
