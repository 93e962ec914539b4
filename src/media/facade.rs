//! The media plane as the rest of the server sees it: start it, send it commands, stop it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;
use reelay_signaling::ErrorCode;
use tokio::sync::oneshot;
use tracing::info;

use super::link::LinkShared;
use super::peer::PeerLimits;
use super::shard::Shard;
use super::socket::{Socket, local_addresses};
use super::{Command, MediaAddresses, MediaError, RoomKey, ShardStats};

/// How the media plane is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// UDP port of the first shard, the others follow; 0 takes free ones.
    pub udp_port: u16,
    /// Media threads.
    pub shards: usize,
    /// Addresses to offer to clients; empty: every usable one of this machine.
    pub addresses: Vec<IpAddr>,
    /// The address that a 1:1 NAT gives this machine outside.
    pub external_ip: Option<IpAddr>,
    /// Publishing connections that are being set up, per shard.
    pub half_open_peers: usize,
    /// For each publisher.
    pub peer: PeerLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            udp_port: 7342,
            shards: 1,
            addresses: Vec::new(),
            external_ip: None,
            half_open_peers: 200,
            peer: PeerLimits::default(),
        }
    }
}

/// Why the media plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Taken, most likely by another server.
    #[error("cannot bind UDP port {port}")]
    Bind {
        /// Which.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// No key, no thread, no poll set.
    #[error("cannot start the media thread")]
    System(#[source] anyhow::Error),
}

/// Sends commands to the media threads. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    shards: Arc<[Handle]>,
    addresses: Arc<MediaAddresses>,
}

struct Handle {
    commands: SyncSender<Command>,
    waker: Waker,
}

/// The media threads, to be stopped and waited for by their owner.
pub struct MediaThreads {
    media: Media,
    threads: Vec<JoinHandle<()>>,
}

impl Media {
    /// Binds the ports and starts the threads.
    ///
    /// # Errors
    /// When a port is taken, or the system refuses a thread.
    pub fn start(options: Options) -> Result<(Self, MediaThreads), StartError> {
        let system = |error: io::Error| StartError::System(error.into());
        let shared = LinkShared::new().map_err(StartError::System)?;
        let options = Arc::new(options);
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        let mut known = MediaAddresses { ports: Vec::new(), candidates: Vec::new() };
        for index in 0..options.shards.max(1) {
            let port = match options.udp_port {
                0 => 0,
                first => first.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)),
            };
            let socket = Socket::bind(port).map_err(|source| StartError::Bind { port, source })?;
            known.ports.push(socket.port());
            known.candidates.extend(addresses(&options, &socket).1);
            let (commands, queue) = sync_channel(COMMANDS);
            let (shard, waker) = Shard::new(options.clone(), shared.clone(), socket, queue).map_err(system)?;
            let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || shard.run());
            threads.push(thread.map_err(system)?);
            handles.push(Handle { commands, waker });
        }
        info!(shards = handles.len(), first_port = known.ports[0], "media plane started");
        let media = Self { shards: handles.into(), addresses: Arc::new(known) };
        Ok((media.clone(), MediaThreads { media, threads }))
    }

    /// Gives a command of `room` to the shard that the room lives on.
    ///
    /// # Errors
    /// `overloaded` when the shard has 1,024 commands waiting, `draining` when it has ended.
    pub fn send(&self, room: RoomKey, command: Command) -> Result<(), MediaError> {
        let index = usize::try_from(room.0 % self.shards.len() as u64).unwrap_or(0);
        self.shards[index].send(command)
    }

    /// The same, giving the command back when there is no room for it now. A shard that has ended takes it and
    /// does nothing.
    ///
    /// # Errors
    /// The command, to be tried again.
    pub fn offer(&self, room: RoomKey, command: Command) -> Result<(), Box<Command>> {
        let index = usize::try_from(room.0 % self.shards.len() as u64).unwrap_or(0);
        let shard = &self.shards[index];
        if let Err(TrySendError::Full(command)) = shard.commands.try_send(command) {
            return Err(Box::new(command));
        }
        // A poll set that cannot be woken has ended, and then nobody waits for the command.
        let _ = shard.waker.wake();
        Ok(())
    }

    /// Waits until everything of a room that has arrived by now is with its taps; a busy shard is not waited for.
    pub async fn sync(&self, room: RoomKey) {
        let (reply, answer) = oneshot::channel();
        if self.send(room, Command::Sync { room, reply }).is_ok() {
            let _ = tokio::time::timeout(SYNC_AT_MOST, answer).await;
        }
    }

    /// Where clients reach the shards.
    pub fn addresses(&self) -> &MediaAddresses {
        &self.addresses
    }

    /// Numbers of all shards together; a shard that is too busy to answer is left out.
    pub async fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for shard in self.shards.iter() {
            let (reply, answer) = oneshot::channel();
            if shard.send(Command::Stats { reply }).is_err() {
                continue;
            }
            let Ok(stats) = answer.await else { continue };
            sum.rooms += stats.rooms;
            sum.peers += stats.peers;
            sum.legs += stats.legs;
            sum.tracks += stats.tracks;
            for (name, number) in stats.counters {
                match sum.counters.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known += number,
                    None => sum.counters.push((name, number)),
                }
            }
        }
        sum
    }
}

impl Handle {
    fn send(&self, command: Command) -> Result<(), MediaError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => {
                MediaError { code: ErrorCode::Overloaded, message: "the server has more to do than it can".into() }
            }
            TrySendError::Disconnected(_) => {
                MediaError { code: ErrorCode::Draining, message: "the server is stopping".into() }
            }
        })?;
        // A poll set that cannot be woken has ended, and then nobody waits for the command.
        let _ = self.waker.wake();
        Ok(())
    }
}

impl MediaThreads {
    /// Closes all connections, ends the threads and waits for them.
    pub fn stop(self) {
        for shard in self.media.shards.iter() {
            // Waits for room in the queue, which a living shard makes.
            let _ = shard.commands.send(Command::Stop);
            let _ = shard.waker.wake();
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Our addresses on `socket`: those that ICE works with, and those that clients are told.
pub(super) fn addresses(options: &Options, socket: &Socket) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let port = socket.port();
    let mut ips = if options.addresses.is_empty() { local_addresses() } else { options.addresses.clone() };
    ips.retain(|ip| ip.is_ipv4() || socket.is_dual());
    ips.truncate(MAX_ADDRESSES);
    let local: Vec<SocketAddr> = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let external = options.external_ip.map(|ip| SocketAddr::new(ip, port));
    let told = external.into_iter().chain(local.iter().copied().filter(|address| Some(*address) != external));
    let told = told.collect();
    (local, told)
}

const COMMANDS: usize = 1_024;
const SYNC_AT_MOST: Duration = Duration::from_millis(200);
const MAX_ADDRESSES: usize = 16;
