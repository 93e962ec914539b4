//! The datagrams that one turn of the media loop wants to send, laid out so that those of equal size
//! to one destination leave as a single GSO run. Does not know sockets: a [`Wire`] carries the runs away.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Where a datagram goes, and from which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The other side.
    pub to: SocketAddr,
    /// Our address; `None` lets the system choose.
    pub from: Option<IpAddr>,
}

/// What carries runs of datagrams away.
pub trait Wire: Send {
    /// Sends `bytes`, which hold one datagram per `segment` bytes (the last may be shorter), to `route`.
    ///
    /// # Errors
    /// Only `WouldBlock`, and then nothing of the run was sent; anything else is the wire's to count.
    fn send(&mut self, route: Route, bytes: &[u8], segment: usize) -> io::Result<()>;
}

/// Collects datagrams and hands them to its wire in runs.
pub struct Outbox {
    wire: Option<Box<dyn Wire>>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// How many runs at the front are already sent.
    sent: usize,
    blocked: bool,
    dropped: u64,
    datagrams: u64,
    datagram_bytes: u64,
}

struct Run {
    route: Route,
    start: usize,
    end: usize,
    segment: usize,
    count: usize,
    is_closed: bool,
}

/// Whether everything went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    All,
    /// The socket is full; try again when it is writable.
    Blocked,
}

impl Outbox {
    /// An outbox that sends by itself whenever [`FLUSH_BYTES`] are waiting, and at [`Outbox::flush`].
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire: Some(wire), ..Self::detached() }
    }

    /// An outbox that sends nothing; its content is read with [`Outbox::drain`]. For simulations.
    pub fn detached() -> Self {
        Self {
            wire: None,
            bytes: Vec::with_capacity(2 * FLUSH_BYTES),
            runs: Vec::new(),
            sent: 0,
            blocked: false,
            dropped: 0,
            datagrams: 0,
            datagram_bytes: 0,
        }
    }

    /// Adds the datagram that `fill` appends to the buffer. `fill` must only append: what is in the buffer
    /// before belongs to other datagrams. Appending nothing adds no datagram.
    pub fn datagram(&mut self, route: Route, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() >= FLUSH_BYTES && !self.blocked {
            self.flush();
        }
        if self.bytes.len() >= LIMIT_BYTES {
            self.dropped += 1;
            return;
        }
        let start = self.bytes.len();
        fill(&mut self.bytes);
        debug_assert!(self.bytes.len() >= start, "a datagram may only be appended");
        let size = self.bytes.len().saturating_sub(start);
        if size == 0 {
            return;
        }
        self.datagrams += 1;
        self.datagram_bytes += size as u64;
        if let Some(run) = self.runs.last_mut().filter(|run| run.takes(route, size)) {
            run.end += size;
            run.count += 1;
            run.is_closed = size < run.segment;
            return;
        }
        self.runs.push(Run { route, start, end: start + size, segment: size, count: 1, is_closed: false });
    }

    /// Sends what waits, unless the socket was full before; then [`Outbox::resume`] comes first.
    pub fn flush(&mut self) -> Flushed {
        let Some(wire) = &mut self.wire else { return Flushed::All };
        if self.blocked {
            return Flushed::Blocked;
        }
        while let Some(run) = self.runs.get(self.sent) {
            if wire.send(run.route, &self.bytes[run.start..run.end], run.segment).is_err() {
                self.blocked = true;
                self.forget_sent();
                return Flushed::Blocked;
            }
            self.sent += 1;
        }
        self.clear();
        Flushed::All
    }

    /// The socket has room again.
    pub fn resume(&mut self) -> Flushed {
        self.blocked = false;
        self.flush()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Datagrams put in since the beginning.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Their bytes.
    pub fn datagram_bytes(&self) -> u64 {
        self.datagram_bytes
    }

    /// Datagrams refused since the beginning because [`LIMIT_BYTES`] were waiting for a full socket.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes everything out, one entry a datagram.
    pub fn drain(&mut self) -> Vec<(Route, Vec<u8>)> {
        let split = |run: &Run| {
            let datagrams = self.bytes[run.start..run.end].chunks(run.segment);
            datagrams.map(|datagram| (run.route, datagram.to_vec())).collect::<Vec<_>>()
        };
        let all = self.runs[self.sent..].iter().flat_map(split).collect();
        self.clear();
        all
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.sent = 0;
        if self.bytes.capacity() > LIMIT_BYTES / 4 {
            self.bytes.shrink_to(2 * FLUSH_BYTES);
        }
    }

    fn forget_sent(&mut self) {
        let Some(first) = self.runs.get(self.sent).map(|run| run.start) else { return };
        self.bytes.drain(..first);
        self.runs.drain(..self.sent);
        self.sent = 0;
        for run in &mut self.runs {
            run.start -= first;
            run.end -= first;
        }
    }
}

impl Run {
    fn takes(&self, route: Route, size: usize) -> bool {
        !self.is_closed
            && self.route == route
            && size <= self.segment
            && self.count < MAX_SEGMENTS
            && self.end - self.start + size <= MAX_RUN_BYTES
    }
}

/// How many bytes may gather before they are sent; larger batches cost latency and gain nothing.
pub const FLUSH_BYTES: usize = 32 * 1024;
/// How much may wait for a full socket before datagrams are dropped.
pub const LIMIT_BYTES: usize = 4 * 1024 * 1024;
// UDP_MAX_SEGMENTS of Linux, and room for the IP header in the 64 KiB of a run.
const MAX_SEGMENTS: usize = 64;
const MAX_RUN_BYTES: usize = 60_000;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Recorder {
        runs: Arc<Mutex<Vec<(Route, usize, usize)>>>,
        room: Arc<Mutex<usize>>,
    }

    impl Wire for Recorder {
        fn send(&mut self, route: Route, bytes: &[u8], segment: usize) -> io::Result<()> {
            let mut room = self.room.lock().unwrap();
            if *room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *room -= 1;
            self.runs.lock().unwrap().push((route, bytes.len(), segment));
            Ok(())
        }
    }

    fn route(port: u16) -> Route {
        Route { to: SocketAddr::from(([127, 0, 0, 1], port)), from: None }
    }

    fn check(datagrams: &[(u16, usize)], expected: &[(u16, usize, usize)]) {
        let wire = Recorder::default();
        *wire.room.lock().unwrap() = usize::MAX;
        let mut outbox = Outbox::new(Box::new(wire.clone()));
        for &(port, size) in datagrams {
            outbox.datagram(route(port), |buf| buf.resize(buf.len() + size, 7));
        }
        assert_eq!(outbox.flush(), Flushed::All);
        let expected: Vec<_> = expected.iter().map(|&(port, len, segment)| (route(port), len, segment)).collect();
        assert_eq!(*wire.runs.lock().unwrap(), expected);
    }

    #[test]
    fn equal_sizes_to_one_route_are_one_run_that_a_shorter_one_ends() {
        check(&[(1, 100), (1, 100), (1, 40), (1, 40), (2, 40)], &[(1, 240, 100), (1, 40, 40), (2, 40, 40)]);
        check(&[(1, 40), (1, 100), (1, 0)], &[(1, 40, 40), (1, 100, 100)]);
        check(&[(1, 10); 65], &[(1, 640, 10), (1, 10, 10)]);
        check(&[(1, 25_000); 3], &[(1, 50_000, 25_000), (1, 25_000, 25_000)]);
    }

    #[test]
    fn a_full_socket_keeps_the_rest_in_order_and_drops_beyond_the_limit() {
        let wire = Recorder::default();
        *wire.room.lock().unwrap() = 1;
        let mut outbox = Outbox::new(Box::new(wire.clone()));
        for port in 1..=3 {
            outbox.datagram(route(port), |buf| buf.extend_from_slice(&[port as u8; 10]));
        }
        assert_eq!(outbox.flush(), Flushed::Blocked);
        assert_eq!(outbox.len(), 20);
        outbox.datagram(route(4), |buf| buf.resize(buf.len() + LIMIT_BYTES, 4));
        outbox.datagram(route(5), |buf| buf.push(5));
        assert_eq!((outbox.dropped(), outbox.flush()), (1, Flushed::Blocked));
        *wire.room.lock().unwrap() = 9;
        assert_eq!(outbox.resume(), Flushed::All);
        let ports: Vec<u16> = wire.runs.lock().unwrap().iter().map(|run| run.0.to.port()).collect();
        assert_eq!(ports, [1, 2, 3, 4]);
    }

    #[test]
    fn a_detached_outbox_gives_back_single_datagrams() {
        let mut outbox = Outbox::detached();
        for byte in [1u8, 2, 3] {
            outbox.datagram(route(9), |buf| buf.extend_from_slice(&[byte; 4]));
        }
        let all = outbox.drain();
        assert_eq!(all.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(outbox.is_empty());
    }
}
