//! The WebSocket `/signal`: one task per socket that carries messages between a client and its room.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use reelay_signaling::{
    ClientMessage, ClosedReason, ErrorCode, Join, ParseError, Role, SUBPROTOCOL, ServerMessage, parse,
};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::app::{App, Phase};
use super::caller::ClientAddress;
use super::error::Problem;
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Refusal};
use crate::config::{Limits, Watch};
use crate::room::{Inbox, Outbound, Session, outbound};

/// `GET /signal`: becomes a socket that speaks `reelay.v1`.
pub(super) async fn upgrade(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    socket: WebSocketUpgrade,
) -> Result<Response, Problem> {
    if app.shutdown.phase() == Phase::Stopping {
        return Err(Problem::new(ErrorCode::Draining, "this server stops"));
    }
    let own_place = app.sockets_each.take(address).ok_or_else(|| {
        let limit = app.sockets_each.limit();
        let text = format!("{limit} sockets of this address are open already (limits.sockets_per_address)");
        Problem::new(ErrorCode::LimitReached, text)
    })?;
    let limit = app.config.limits.sockets;
    let place = app.sockets.clone().try_acquire_owned().map_err(|_| {
        Problem::new(ErrorCode::LimitReached, format!("{limit} sockets are open already (limits.sockets)"))
    })?;
    let socket = socket.protocols([SUBPROTOCOL]);
    if socket.selected_protocol().is_none() {
        return Err(Problem::new(ErrorCode::BadRequest, format!("the subprotocol of this socket is '{SUBPROTOCOL}'")));
    }
    // A message that is a little too long gets an answer, one that is much too long ends the socket.
    let hard_limit = app.config.limits.message_bytes.0 as usize * 2;
    let socket = socket.max_message_size(hard_limit).max_frame_size(hard_limit);
    Ok(socket.on_upgrade(move |socket| async move {
        Connection::new(socket, app, address).run().await;
        drop((place, own_place));
    }))
}

struct Connection {
    socket: WebSocket,
    app: App,
    address: Option<IpAddr>,
    pace: Pace,
    last_heard: Instant,
}

impl Connection {
    fn new(socket: WebSocket, app: App, address: Option<IpAddr>) -> Self {
        let pace = Pace::new(&app.config.limits, Instant::now());
        Self { socket, app, address, pace, last_heard: Instant::now() }
    }

    async fn run(mut self) {
        let patience = tokio::time::Instant::now() + self.app.config.limits.join_timeout.0;
        let Some((session, inbox)) = self.admit(patience).await else { return };
        self.carry(&session, inbox).await;
        // Where the room has had the last word it knows; who was dropped keeps the place for a while.
        session.gone().await;
    }

    /// Reads until somebody says who they are; refusals may be tried again within the time.
    async fn admit(&mut self, patience: tokio::time::Instant) -> Option<(Session, Inbox)> {
        loop {
            let Ok(text) = timeout_at(patience, self.next_text()).await else {
                let text = "the first message is 'join' or 'resume', and comes within limits.join_timeout";
                self.refuse(ErrorCode::JoinFirst, text, None).await;
                self.close(close_code::POLICY, "join first").await;
                return None;
            };
            let (message, reference) = match text? {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.refuse(error.code, &error.message, error.reference).await;
                    continue;
                }
            };
            let (out, inbox) = outbound(self.app.config.limits.send_queue);
            let entered = match message {
                ClientMessage::Join(message) => join(&self.app, self.address, message, out).await,
                ClientMessage::Resume { token, media } => self.app.rooms.resume(&token, media, out).await,
                _ => Err(refusal(ErrorCode::JoinFirst, "the first message is 'join' or 'resume'")),
            };
            match entered {
                Ok(session) => return Some((session, inbox)),
                Err(refused) => self.refuse(refused.code, &refused.message, reference).await,
            }
        }
    }

    /// Carries messages both ways until one side ends it.
    async fn carry(&mut self, session: &Session, mut inbox: Inbox) {
        let every = self.app.config.limits.ping_interval.0;
        let mut ping = interval(every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                closed = &mut inbox.closed => {
                    self.last_words(&mut inbox, closed.ok()).await;
                    return;
                }
                message = inbox.messages.recv() => {
                    let Some(message) = message else { continue };
                    if !self.send(&message).await {
                        return;
                    }
                }
                text = self.next_text() => {
                    let Some(text) = text else { return };
                    if !self.on_text(session, text).await {
                        self.send(&ServerMessage::Closed { reason: ClosedReason::Dropped, by: None }).await;
                        self.close(close_code::POLICY, "too fast").await;
                        return;
                    }
                }
                _ = ping.tick() => {
                    let is_silent = self.last_heard.elapsed() > every * 2 + every / 2;
                    if is_silent || !self.write(Message::Ping(Default::default())).await {
                        return;
                    }
                }
            }
        }
    }

    /// False when the client has broken the rules too often.
    async fn on_text(&mut self, session: &Session, text: Result<(ClientMessage, Option<String>), ParseError>) -> bool {
        match self.pace.on_message(Instant::now()) {
            Verdict::Fine => {}
            Verdict::TooFast => {
                let reference = text.ok().and_then(|(_, reference)| reference);
                let message = "too many messages (limits.messages_per_second); this one was dropped";
                self.refuse(ErrorCode::TooFast, message, reference).await;
                return true;
            }
            Verdict::Silent => return true,
            Verdict::Enough => return false,
        }
        match text {
            Ok((message, reference)) => {
                let done = match message {
                    ClientMessage::Renew { token } => {
                        let caller = self.app.auth.caller(Some(&token));
                        caller.and_then(|caller| session.renew(caller.at(self.address), reference.clone()))
                    }
                    message => session.message(message, reference.clone()),
                };
                if let Err(refused) = done {
                    self.refuse(refused.code, &refused.message, reference).await;
                }
            }
            Err(error) => self.refuse(error.code, &error.message, error.reference).await,
        }
        true
    }

    async fn last_words(&mut self, inbox: &mut Inbox, closed: Option<(ClosedReason, Option<String>)>) {
        let is_dropped = matches!(closed, Some((ClosedReason::Dropped, _)));
        if !is_dropped {
            while let Ok(message) = inbox.messages.try_recv() {
                self.send(&message).await;
            }
        }
        let code = match closed {
            Some((ClosedReason::Dropped, _)) => close_code::AGAIN,
            Some((ClosedReason::Stopping, _)) => close_code::RESTART,
            _ => close_code::NORMAL,
        };
        if let Some((reason, by)) = closed {
            self.send(&ServerMessage::Closed { reason, by }).await;
        }
        self.close(code, "").await;
    }

    /// The next message, parsed. `None`: the socket is gone.
    async fn next_text(&mut self) -> Option<Result<(ClientMessage, Option<String>), ParseError>> {
        let limit = self.app.config.limits.message_bytes;
        let fail = |code, message: String| Some(Err(ParseError { code, message, reference: None }));
        loop {
            let message = self.socket.recv().await?.ok()?;
            self.last_heard = Instant::now();
            match message {
                Message::Text(text) if text.len() as u64 > limit.0 => {
                    let message = format!("a message has at most {limit} (limits.message_bytes)");
                    return fail(ErrorCode::TooLarge, message);
                }
                Message::Text(text) => return Some(parse(&text)),
                Message::Binary(_) => return fail(ErrorCode::BadRequest, "messages are text".to_owned()),
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    async fn refuse(&mut self, code: ErrorCode, message: &str, reference: Option<String>) {
        self.send(&ServerMessage::Error { code, message: message.to_owned(), reference }).await;
    }

    async fn send(&mut self, message: &ServerMessage) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.write(Message::Text(text.into())).await,
            Err(error) => {
                tracing::error!(%error, "a message could not be written");
                true
            }
        }
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(timeout(WRITE_TIMEOUT, self.socket.send(message)).await, Ok(Ok(())))
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        self.write(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        // The close is done when the other side has answered it, or has had the time to.
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = timeout(CLOSE_TIMEOUT, rest).await;
    }
}

async fn join(app: &App, address: Option<IpAddr>, message: Join, out: Outbound) -> Result<Session, Refusal> {
    let is_open_watch = message.role == Role::Watch && app.config.room.watch == Watch::Open;
    let caller = match app.auth.caller(message.token.as_deref()) {
        Err(_) if is_open_watch && message.token.is_none() => Caller::nobody(),
        caller => caller?,
    };
    let caller = caller.at(address);
    let watched = (message.role == Role::Watch).then(|| (By::from(&caller), message.room.as_str().to_owned()));
    let session = app.rooms.enter(caller, message, out).await?;
    if let Some((by, room)) = watched {
        app.audit.note(Action::WatchedLive, by, To { room: Some(room), ..To::default() });
    }
    Ok(session)
}

/// How many messages a client may send: a bucket of `burst` that fills at `rate`.
struct Pace {
    rate: f64,
    burst: f64,
    left: f64,
    at: Instant,
    refused: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// Refused, and said so.
    TooFast,
    /// Refused without a word: answers would be a burst of their own.
    Silent,
    /// The socket ends.
    Enough,
}

impl Pace {
    fn new(limits: &Limits, now: Instant) -> Self {
        let burst = f64::from(limits.message_burst);
        Self { rate: f64::from(limits.messages_per_second), burst, left: burst, at: now, refused: 0 }
    }

    fn on_message(&mut self, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.rate).min(self.burst);
        if self.left >= 1.0 {
            self.left -= 1.0;
            self.refused = 0;
            return Verdict::Fine;
        }
        self.refused += 1;
        match self.refused {
            1 => Verdict::TooFast,
            MAX_REFUSED.. => Verdict::Enough,
            _ => Verdict::Silent,
        }
    }
}

fn refusal(code: ErrorCode, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_REFUSED: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_pass_and_floods_end_the_socket() {
        let start = Instant::now();
        let limits = Limits { messages_per_second: 50, message_burst: 200, ..Limits::default() };
        let mut pace = Pace::new(&limits, start);
        assert!((0..200).all(|_| pace.on_message(start) == Verdict::Fine));
        assert_eq!(pace.on_message(start), Verdict::TooFast);
        assert_eq!(pace.on_message(start), Verdict::Silent);
        let later = start + Duration::from_secs(1);
        assert!((0..50).all(|_| pace.on_message(later) == Verdict::Fine));
        assert_eq!(pace.on_message(later), Verdict::TooFast);
        assert!((1..MAX_REFUSED - 1).all(|_| pace.on_message(later) == Verdict::Silent));
        assert_eq!(pace.on_message(later), Verdict::Enough);
    }
}
