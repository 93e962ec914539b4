//! Puts a [`Receiver`] into `rtc`'s interceptor chain, together with transport-wide feedback and receiver reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;

use super::receiver::Receiver;

/// A [`Receiver`] that a connection and its owner share; both live on one thread.
#[derive(Clone)]
pub struct SharedReceiver(Arc<Mutex<Receiver>>);

impl SharedReceiver {
    /// Wraps a receiver.
    pub fn new(receiver: Receiver) -> Self {
        Self(Arc::new(Mutex::new(receiver)))
    }

    /// The receiver.
    pub fn lock(&self) -> MutexGuard<'_, Receiver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for SharedReceiver {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    /// Media ends here: the owner takes it from [`Receiver::poll`], nothing goes on to the connection's own tracks.
    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        let receiver = &mut *self.lock();
        receiver.twcc.handle_read(message)?;
        let Some(mut message) = receiver.twcc.poll_read() else { return Ok(()) };
        match message.message.packet {
            Packet::Rtp(packet) => {
                let Some(packet) = receiver.on_rtp(message.now, packet) else { return Ok(()) };
                message.message = AttributedPacket::new(Packet::Rtp(packet));
            }
            Packet::Rtcp(packets) => {
                receiver.on_rtcp(message.now, &packets);
                message.message = AttributedPacket::new(Packet::Rtcp(packets));
            }
            _ => return Ok(()),
        }
        receiver.reports.handle_read(message)?;
        receiver.reports.poll_read();
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.lock().passing.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        let receiver = &mut *self.lock();
        if let Some((now, packet)) = receiver.feedback.pop_front() {
            let message = AttributedPacket::new(Packet::Rtcp(vec![packet]));
            return Some(TaggedPacket { now, transport: TransportContext::default(), message });
        }
        let passing = receiver.passing.pop_front();
        passing.or_else(|| receiver.twcc.poll_write()).or_else(|| receiver.reports.poll_write())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Self::Error> {
        let receiver = &mut *self.lock();
        receiver.twcc.handle_timeout(now)?;
        receiver.reports.handle_timeout(now)?;
        receiver.on_timeout(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.lock().next_timeout()
    }
}

impl Interceptor for SharedReceiver {
    // Streams are named by `Receiver::name`, not by the connection.
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
