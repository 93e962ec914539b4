//! The UDP socket of a shard: dual-stack, on all addresses, in batches, with the address that each datagram came to.
//! Knows nothing of what the datagrams hold.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::outbox::{Route, Wire};

/// One UDP port, shared by everything that a shard serves.
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    is_dual: bool,
    port: u16,
    send_errors: AtomicU64,
}

impl Socket {
    /// Binds `port` (0: any free one) on all addresses, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
    ///
    /// # Errors
    /// When the port is taken or sockets are not to be had.
    pub fn bind(port: u16) -> io::Result<Arc<Self>> {
        let (io, is_dual) = match bind_dual(port) {
            Ok(io) => (io, true),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => (bind_v4(port)?, false),
        };
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        // More than the system allows is cut down silently; a failure leaves the default.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&io), BUFFER_BYTES);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&io), BUFFER_BYTES);
        let port = io.local_addr()?.port();
        Ok(Arc::new(Self { io, state, is_dual, port, send_errors: AtomicU64::new(0) }))
    }

    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether IPv6 works on it too.
    pub fn is_dual(&self) -> bool {
        self.is_dual
    }

    /// Datagrams that the system refused to send, for any reason but a full buffer.
    pub fn send_errors(&self) -> u64 {
        self.send_errors.load(Ordering::Relaxed)
    }

    /// The socket, for a poll set.
    pub fn io(&self) -> &UdpSocket {
        &self.io
    }

    /// Reads one batch and gives each datagram, with its way back and the time by `clock`, to `take`. Returns that time:
    /// read once, after the batch is here. One read before would be too early by as long as the thread then had to wait
    /// for its turn, and a recorder goes by the packet that took the least time.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits.
    pub fn recv(
        &self,
        buffers: &mut RecvBuffers,
        clock: impl FnOnce() -> Instant,
        mut take: impl FnMut(Instant, Route, &mut [u8]),
    ) -> io::Result<Instant> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = {
            let mut slices: Vec<IoSliceMut<'_>> =
                buffers.bytes.chunks_exact_mut(SLOT_BYTES).map(IoSliceMut::new).collect();
            self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut metas)?
        };
        let now = clock();
        for (meta, slot) in metas.iter().zip(buffers.bytes.chunks_exact_mut(SLOT_BYTES)).take(count) {
            if meta.len == 0 || meta.len > slot.len() {
                continue;
            }
            let route = Route { to: unmapped(meta.addr), from: meta.dst_ip.map(|ip| ip.to_canonical()) };
            // One slot holds several datagrams of `stride` bytes when the kernel merged them (GRO).
            for datagram in slot[..meta.len].chunks_mut(meta.stride.max(1)) {
                take(now, route, datagram);
            }
        }
        Ok(now)
    }

    fn destination(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if self.is_dual => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            other => other,
        }
    }
}

/// Room for one batch.
pub struct RecvBuffers {
    bytes: Vec<u8>,
}

impl Default for RecvBuffers {
    fn default() -> Self {
        Self { bytes: vec![0; SLOT_BYTES * BATCH_SIZE] }
    }
}

/// The sending side of a [`Socket`]: GSO where it works, single datagrams where it does not.
pub struct SocketWire {
    socket: Arc<Socket>,
    state: UdpSocketState,
    /// For routes that the system may refuse, from loopback to elsewhere: a refusal there must not cost the others GSO.
    odd: UdpSocketState,
    gso_lost: Option<Instant>,
}

impl SocketWire {
    /// A wire over `socket`.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn new(socket: Arc<Socket>) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket.io))?;
        let odd = UdpSocketState::new(UdpSockRef::from(&socket.io))?;
        Ok(Self { socket, state, odd, gso_lost: None })
    }

    fn may_segment(&mut self) -> bool {
        if self.state.max_gso_segments() > 1 {
            return true;
        }
        // One datagram larger than the path's MTU, or an address that went away, also switches GSO off: try again later.
        let now = Instant::now();
        let since = *self.gso_lost.get_or_insert(now);
        if now.duration_since(since) >= GSO_RETRY {
            self.gso_lost = None;
            if let Ok(state) = UdpSocketState::new(UdpSockRef::from(&self.socket.io)) {
                self.state = state;
            }
        }
        self.state.max_gso_segments() > 1
    }

    fn transmit(&self, route: Route, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let destination = self.socket.destination(route.to);
        let mut transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: route.from };
        let io = || UdpSockRef::from(&self.socket.io);
        let state = if is_odd(route) { &self.odd } else { &self.state };
        match state.try_send(io(), &transmit) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(_) if segment_size.is_none() && transmit.src_ip.is_some() => {
                // The address that the client knew may be gone; the system picks another.
                transmit.src_ip = None;
                state.try_send(io(), &transmit)
            }
            Err(error) => Err(error),
        }
    }
}

impl Wire for SocketWire {
    fn send(&mut self, route: Route, bytes: &[u8], segment: usize) -> io::Result<()> {
        let is_run = bytes.len() > segment;
        if is_run && !is_odd(route) && self.may_segment() {
            match self.transmit(route, bytes, Some(segment)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {} // Once more, one by one.
            }
        }
        for (index, datagram) in bytes.chunks(segment).enumerate() {
            match self.transmit(route, datagram, None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && index == 0 => return Err(error),
                // In the middle of a run the rest is lost rather than sent twice.
                Err(_) => {
                    self.socket.send_errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}

/// Addresses of this machine that a client may reach: every one that is up, loopback included, link-local left out.
pub fn local_addresses() -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;
    let mut found: Vec<IpAddr> = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let is_up = interface.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let Some(address) = interface.address.filter(|_| is_up) else { continue };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => continue,
        };
        if is_usable(ip) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    // Real addresses first: Firefox never checks a loopback one.
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    found
}

/// Whether a client could send to this address at all.
pub fn is_usable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()),
    }
}

fn is_odd(route: Route) -> bool {
    route.from.is_some_and(|from| from.is_loopback() != route.to.ip().is_loopback())
}

fn bind_dual(port: u16) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_only_v6(false)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket.into())
}

fn bind_v4(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const SLOT_BYTES: usize = 65_536;
// Half a second of 100 Mbit/s; the system's own limit usually cuts it.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
const GSO_RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::super::outbox::{Flushed, Outbox};
    use super::*;

    fn receive(socket: &Socket, wanted: usize) -> Vec<(Route, Vec<u8>)> {
        let mut buffers = RecvBuffers::default();
        let mut got = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while got.len() < wanted && Instant::now() < deadline {
            let read = socket.recv(&mut buffers, Instant::now, |_, route, bytes| got.push((route, bytes.to_vec())));
            if read.is_err() {
                std::thread::yield_now();
            }
        }
        got
    }

    fn exchange(ip: IpAddr) {
        let (a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        let mut outbox = Outbox::new(Box::new(SocketWire::new(a.clone()).unwrap()));
        let route = Route { to: SocketAddr::new(ip, b.port()), from: Some(ip) };
        for byte in 0..20u8 {
            outbox.datagram(route, |buf| buf.resize(buf.len() + if byte == 19 { 100 } else { 1100 }, byte));
        }
        assert_eq!(outbox.flush(), Flushed::All);
        let got = receive(&b, 20);
        let sizes: Vec<usize> = got.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(sizes, [vec![1100; 19], vec![100]].concat());
        assert!(got.iter().enumerate().all(|(i, (_, bytes))| bytes[0] == i as u8));
        assert_eq!(got[0].0, Route { to: SocketAddr::new(ip, a.port()), from: Some(ip) });
    }

    #[test]
    fn a_run_arrives_as_datagrams_with_plain_addresses() {
        exchange(Ipv4Addr::LOCALHOST.into());
    }

    #[test]
    fn a_datagram_is_dated_after_it_was_read() {
        let (a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        let mut wire = SocketWire::new(a).unwrap();
        wire.send(Route { to: (Ipv4Addr::LOCALHOST, b.port()).into(), from: None }, b"hello", 5).unwrap();
        let (mut is_taken, mut dates, later) = (false, Vec::new(), Instant::now() + Duration::from_secs(9));
        let clock = |is_taken: &mut bool| {
            *is_taken = b.io().peek_from(&mut [0; 9]).is_err();
            later
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while dates.is_empty() && Instant::now() < deadline {
            let mut buffers = RecvBuffers::default();
            let _ = b.recv(&mut buffers, || clock(&mut is_taken), |now, _, _| dates.push(now));
        }
        assert_eq!((is_taken, dates), (true, vec![later]));
    }

    #[test]
    fn ipv6_works_where_the_machine_has_it() {
        if local_addresses().contains(&Ipv6Addr::LOCALHOST.into()) {
            exchange(Ipv6Addr::LOCALHOST.into());
        }
    }

    #[test]
    fn an_address_that_is_not_ours_does_not_stop_the_datagram() {
        let (a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        let mut wire = SocketWire::new(a).unwrap();
        let route = Route { to: (Ipv4Addr::LOCALHOST, b.port()).into(), from: Some([203, 0, 113, 9].into()) };
        wire.send(route, b"hello", 5).unwrap();
        assert_eq!(receive(&b, 1)[0].1, b"hello");
    }

    #[test]
    fn loopback_is_among_the_addresses_and_comes_last() {
        let all = local_addresses();
        assert!(all.contains(&Ipv4Addr::LOCALHOST.into()));
        let first_loopback = all.iter().position(|ip| ip.is_loopback()).unwrap();
        assert!(all[first_loopback..].iter().all(|ip| ip.is_loopback()));
    }

    #[test]
    fn a_port_that_is_taken_is_an_error() {
        let taken = Socket::bind(0).unwrap();
        assert_eq!(Socket::bind(taken.port()).err().map(|e| e.kind()), Some(io::ErrorKind::AddrInUse));
    }
}
