//! The media thread: waits for datagrams, commands and deadlines, and hands each to its room. Decides nothing itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use reelay_signaling::ErrorCode;
use tracing::{error, warn};

use super::admit::{Admit, Verdict};
use super::counters::Counters;
use super::facade::{Options, addresses};
use super::leg::LegShared;
use super::link::LinkShared;
use super::outbox::{Flushed, Outbox, Route};
use super::peer::PeerContext;
use super::room_shard::{Room, Target, Turn};
use super::socket::{RecvBuffers, Socket, SocketWire};
use super::viewers::Viewers;
use super::{Command, MediaError, PeerKey, RoomKey, ShardStats};

/// A shard that is ready to run on a thread of its own.
pub struct Shard {
    socket: Arc<Socket>,
    buffers: RecvBuffers,
    poll: Poll,
    commands: Receiver<Command>,
    core: Core,
    is_waiting_to_write: bool,
    /// There may be more in the socket: readiness is reported once.
    has_more: bool,
}

/// Everything of a shard but its way to wait.
struct Core {
    options: Arc<Options>,
    shared: LinkShared,
    legs: Arc<LegShared>,
    socket: Arc<Socket>,
    /// Our addresses for ICE, and what answers tell of them.
    addresses: (Vec<SocketAddr>, Vec<SocketAddr>),
    addresses_read: Instant,
    rooms: HashMap<RoomKey, Room>,
    admit: Admit<Target>,
    outbox: Outbox,
    counters: Counters,
    /// Deadlines; one that is not its room's own any more is passed over.
    timers: BinaryHeap<Reverse<(Instant, RoomKey)>>,
    deadlines: HashMap<RoomKey, Instant>,
    touched: Vec<RoomKey>,
}

impl Shard {
    /// Makes a shard on `socket`, and what wakes it.
    ///
    /// # Errors
    /// When the system has no poll set for it.
    pub fn new(
        options: Arc<Options>,
        shared: LinkShared,
        socket: Arc<Socket>,
        commands: Receiver<Command>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let fd = socket.io().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), SOCKET, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let addresses = addresses(&options, &socket);
        let legs = LegShared::new(&addresses.1).map_err(io::Error::other)?;
        let core = Core {
            addresses,
            legs,
            addresses_read: Instant::now(),
            admit: Admit::new(shared.crypto().clone()),
            outbox: Outbox::new(Box::new(SocketWire::new(socket.clone())?)),
            options,
            shared,
            socket: socket.clone(),
            rooms: HashMap::new(),
            counters: Counters::default(),
            timers: BinaryHeap::new(),
            deadlines: HashMap::new(),
            touched: Vec::new(),
        };
        let buffers = RecvBuffers::default();
        Ok((Self { socket, buffers, poll, commands, core, is_waiting_to_write: false, has_more: false }, waker))
    }

    /// Runs until it is told to stop, or until nobody can tell it anything any more.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(8);
        loop {
            let wait = if self.has_more { Some(Duration::ZERO) } else { self.core.wait(Instant::now()) };
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                error!(%error, "media thread cannot wait for its socket");
                return;
            }
            if events.iter().any(|event| event.token() == SOCKET && event.is_writable()) {
                self.core.outbox.resume();
            }
            let is_readable =
                self.has_more || events.iter().any(|event| event.token() == SOCKET && event.is_readable());
            self.has_more = is_readable && self.read();
            if !self.obey() {
                self.core.stop(Instant::now());
                return;
            }
            let now = Instant::now();
            self.core.fire(now);
            self.core.settle(now);
            self.flush();
        }
    }

    /// Reads a few batches; true when there may be more.
    fn read(&mut self) -> bool {
        for _ in 0..BATCHES {
            let core = &mut self.core;
            let take = |now: Instant, route: Route, bytes: &mut [u8]| core.on_datagram(now, route, bytes);
            match self.socket.recv(&mut self.buffers, Instant::now, take) {
                Ok(now) => core.settle(now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // An ICMP error of an earlier datagram; the next read goes on.
                Err(_) => {}
            }
        }
        true
    }

    /// Carries out waiting commands; false when it is time to end.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Ok(command) => {
                    // What arrived before the end of something still belongs to it.
                    if matches!(command, Command::ClosePeer { .. } | Command::CloseRoom { .. } | Command::Sync { .. }) {
                        self.has_more = self.read();
                    }
                    self.core.on_command(Instant::now(), command);
                }
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn flush(&mut self) {
        let is_blocked = self.core.outbox.flush() == Flushed::Blocked;
        if is_blocked == self.is_waiting_to_write {
            return;
        }
        let interest = if is_blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let fd = self.socket.io().as_raw_fd();
        match self.poll.registry().reregister(&mut SourceFd(&fd), SOCKET, interest) {
            Ok(()) => self.is_waiting_to_write = is_blocked,
            Err(error) => warn!(%error, "cannot wait for room in the socket"),
        }
    }
}

impl Core {
    fn on_datagram(&mut self, now: Instant, route: Route, bytes: &mut [u8]) {
        self.counters.datagrams_in += 1;
        let (target, rtt) = match self.admit.judge(now, route.to, bytes) {
            Verdict::Pass(target) => (target, None),
            Verdict::Answer(target, rtt) => (target, Some(rtt)),
            Verdict::Unverified => {
                self.counters.dropped_unverified_source += 1;
                return;
            }
            Verdict::BadStun => {
                self.counters.dropped_bad_stun += 1;
                return;
            }
        };
        self.in_room(now, target.room(), |room, turn| {
            if let Some(rtt) = rtt {
                room.on_rtt(target, rtt);
            }
            room.on_datagram(turn, target, route, bytes);
        });
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::OpenRoom { room, events } => {
                let legs = &self.legs;
                let make = || Room::new(room, events, Viewers::new(now, legs.clone()));
                self.rooms.entry(room).or_insert_with(make);
            }
            Command::CloseRoom { room } => self.close_room(now, room),
            Command::Sync { reply, .. } => {
                let _ = reply.send(());
            }
            Command::Stats { reply } => {
                let _ = reply.send(self.stats());
            }
            Command::Publish { room, peer, reply, offer, tracks } => {
                self.refresh_addresses(now);
                if let Err(refusal) = self.may_publish(room, peer) {
                    let _ = reply.send(Err(refusal));
                    return;
                }
                let command = Command::Publish { room, peer, reply, offer, tracks };
                self.in_room(now, room, |room, turn| room.on_command(turn, command));
            }
            Command::Stop => {}
            command => {
                if matches!(command, Command::OpenLeg { .. } | Command::OpenWhepLeg { .. }) {
                    self.refresh_addresses(now);
                }
                if let Some(room) = command.room() {
                    self.in_room(now, room, |room, turn| room.on_command(turn, command));
                }
            }
        }
    }

    fn may_publish(&self, room: RoomKey, peer: PeerKey) -> Result<(), MediaError> {
        let Some(state) = self.rooms.get(&room) else {
            return Err(MediaError { code: ErrorCode::RoomNotFound, message: "the room is closed".into() });
        };
        if state.has_peer(peer) {
            return Ok(());
        }
        let most = self.options.half_open_peers;
        if self.rooms.values().map(|room| room.peers().1).sum::<usize>() >= most {
            let message = format!(
                "{most} publishing connections are being set up (limits.half_open_peers); try again in a moment"
            );
            return Err(MediaError { code: ErrorCode::LimitReached, message });
        }
        Ok(())
    }

    /// Calls into a room; if that panics the room is closed, and only the room.
    fn in_room(&mut self, now: Instant, key: RoomKey, call: impl FnOnce(&mut Room, &mut Turn<'_>)) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let context = PeerContext {
            shared: &self.shared,
            limits: &self.options.peer,
            addresses: &self.addresses.0,
            candidates: &self.addresses.1,
            port: self.socket.port(),
        };
        let (outbox, admit, counters) = (&mut self.outbox, &mut self.admit, &mut self.counters);
        let mut turn = Turn { now, outbox, admit, counters, context };
        let outcome = catch_unwind(AssertUnwindSafe(|| call(room, &mut turn)));
        if outcome.is_err() {
            self.counters.room_panics += 1;
            error!(room = key.0, "fault in a room's media, the room is closed");
            self.drop_room(key);
            return;
        }
        if !self.touched.contains(&key) {
            self.touched.push(key);
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(key) = self.touched.pop() {
            self.in_room(now, key, |room, turn| room.settle(turn));
            // `in_room` has put it back.
            self.touched.retain(|other| *other != key);
            let Some(room) = self.rooms.get(&key) else { continue };
            if room.is_unread() {
                self.counters.rooms_unread += 1;
                warn!(room = key.0, "a room's events are not read, its media is closed");
                self.close_room(now, key);
                continue;
            }
            match room.poll_timeout() {
                Some(deadline) if self.deadlines.get(&key) != Some(&deadline) => {
                    self.deadlines.insert(key, deadline);
                    self.timers.push(Reverse((deadline, key)));
                }
                Some(_) => {}
                None => {
                    self.deadlines.remove(&key);
                }
            }
        }
    }

    fn fire(&mut self, now: Instant) {
        self.admit.sweep(now);
        while let Some(&Reverse((deadline, key))) = self.timers.peek() {
            if deadline > now {
                break;
            }
            self.timers.pop();
            if self.deadlines.get(&key) == Some(&deadline) {
                self.deadlines.remove(&key);
                self.in_room(now, key, |room, turn| room.on_timeout(turn));
            }
        }
    }

    fn wait(&mut self, now: Instant) -> Option<Duration> {
        while let Some(&Reverse((deadline, key))) = self.timers.peek() {
            if self.deadlines.get(&key) == Some(&deadline) {
                // A little late is better than a little early: an early one would find nothing to do.
                return Some(deadline.saturating_duration_since(now).max(TICK));
            }
            self.timers.pop();
        }
        None
    }

    fn close_room(&mut self, now: Instant, key: RoomKey) {
        self.in_room(now, key, |room, turn| room.close(turn));
        if let Some(room) = self.rooms.remove(&key) {
            room.count(&mut self.counters);
            room.targets().into_iter().for_each(|target| self.admit.forget(target));
        }
        self.deadlines.remove(&key);
    }

    fn drop_room(&mut self, key: RoomKey) {
        self.deadlines.remove(&key);
        let Some(room) = self.rooms.remove(&key) else { return };
        room.tell_failed();
        room.targets().into_iter().for_each(|target| self.admit.forget(target));
        // What is half done may panic once more when it is taken apart.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(room)));
    }

    fn stop(&mut self, now: Instant) {
        let keys: Vec<RoomKey> = self.rooms.keys().copied().collect();
        keys.into_iter().for_each(|key| self.close_room(now, key));
        self.outbox.resume();
    }

    fn stats(&self) -> ShardStats {
        let mut counters = self.counters.clone();
        self.rooms.values().for_each(|room| room.count(&mut counters));
        let mut named = counters.named();
        named.push(("media_datagrams_out_total", self.outbox.datagrams()));
        named.push(("media_bytes_out_total", self.outbox.datagram_bytes()));
        named.push(("media_dropped_send_total", self.outbox.dropped()));
        named.push(("media_send_errors_total", self.socket.send_errors()));
        ShardStats {
            rooms: self.rooms.len(),
            peers: self.rooms.values().map(|room| room.peers().0).sum(),
            legs: self.rooms.values().map(Room::legs).sum(),
            tracks: self.rooms.values().map(Room::live_tracks).sum(),
            counters: named,
        }
    }

    /// Machines change networks: addresses are read again for a new connection, at most every few seconds.
    fn refresh_addresses(&mut self, now: Instant) {
        if now.saturating_duration_since(self.addresses_read) >= ADDRESSES_FRESH {
            self.addresses_read = now;
            self.addresses = addresses(&self.options, &self.socket);
            self.legs.set_addresses(&self.addresses.1);
        }
    }
}

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
const BATCHES: usize = 8;
const TICK: Duration = Duration::from_millis(1);
const ADDRESSES_FRESH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tokio::sync::mpsc;

    use super::super::Event;
    use super::*;

    fn core() -> Core {
        let options = Options { udp_port: 0, half_open_peers: 0, ..Options::default() };
        let socket = Socket::bind(0).unwrap();
        Shard::new(Arc::new(options), LinkShared::new().unwrap(), socket, sync_channel(1).1).unwrap().0.core
    }

    fn open(core: &mut Core, room: RoomKey) -> mpsc::Receiver<Event> {
        let (sender, events) = mpsc::channel(8);
        core.on_command(Instant::now(), Command::OpenRoom { room, events: sender });
        events
    }

    #[test]
    fn a_panic_closes_its_room_and_no_other() {
        let mut core = core();
        let (one, two) = (RoomKey(1), RoomKey(2));
        let (mut events, mut others) = (open(&mut core, one), open(&mut core, two));
        core.in_room(Instant::now(), one, |_, _| panic!("this is a test"));
        assert_eq!(core.counters.room_panics, 1);
        assert_eq!(core.stats().rooms, 1);
        assert_eq!(events.try_recv(), Ok(Event::Failed));
        assert_eq!(others.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        core.settle(Instant::now());
    }

    #[test]
    fn connections_that_are_being_set_up_are_limited() {
        let mut core = core();
        let _events = open(&mut core, RoomKey(1));
        let refusal = core.may_publish(RoomKey(1), PeerKey(1)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::LimitReached);
    }

    #[test]
    fn an_idle_shard_waits_for_ever() {
        let mut core = core();
        let _events = open(&mut core, RoomKey(1));
        core.settle(Instant::now());
        assert_eq!(core.wait(Instant::now()), None);
    }
}
