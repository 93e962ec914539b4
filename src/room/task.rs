//! The task of one room: waits for messages, media events, answers and deadlines, and carries out what the state decides.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reelay_signaling::{
    ClientMessage, ClosedReason, ErrorCode, Join, Moderation, ParticipantId, RecordingEvent, ResumeMedia, RoomName,
    RoomRecording,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::member::{Outbound, SessionKey};
use super::registry::Inner;
use super::state::{About, Awaited, Effect, RoomState};
use super::web::WebRequest;
use super::{Now, RoomEvent, Snapshot, What};
use crate::auth::{Caller, Refusal};
use crate::media::{Command, MediaError, RoomKey};

/// What comes to a room.
#[derive(Debug)]
pub(super) enum Input {
    Enter {
        caller: Caller,
        join: Box<Join>,
        session: (SessionKey, Outbound),
        reply: oneshot::Sender<Result<ParticipantId, Refusal>>,
    },
    Resume {
        token: String,
        media: ResumeMedia,
        session: (SessionKey, Outbound),
        reply: oneshot::Sender<Result<ParticipantId, Refusal>>,
    },
    Message {
        session: SessionKey,
        message: ClientMessage,
        reference: Option<String>,
    },
    Renew {
        session: SessionKey,
        caller: Caller,
        reference: Option<String>,
    },
    Gone {
        session: SessionKey,
    },
    Web(Box<WebRequest>),
    Snapshot(oneshot::Sender<Snapshot>),
    Moderate {
        moderation: Moderation,
        by: Option<String>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    RecordingState {
        recording: RoomRecording,
        recorded: Vec<ParticipantId>,
    },
    ConsentWanted {
        by: Option<String>,
    },
    RecordingEvent(RecordingEvent),
    End {
        reason: ClosedReason,
    },
}

type Answer = (About, Result<String, MediaError>);

struct RoomTask {
    owner: Arc<Inner>,
    state: RoomState,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// Commands that the media plane had no room for; later ones wait behind them.
    backlog: VecDeque<Command>,
}

/// Runs a room until it is empty.
pub(super) async fn run(owner: Arc<Inner>, key: RoomKey, name: RoomName, inputs: mpsc::Receiver<Input>) {
    let guard = Removal { owner: owner.clone(), key, name: name.clone() };
    let state = RoomState::new(key, name, owner.options.clone(), owner.keys.clone());
    let task = RoomTask { owner, state, asked: FuturesUnordered::new(), backlog: VecDeque::new() };
    task.run(inputs).instrument(tracing::info_span!("room", room = key.0)).await;
    drop(guard);
}

impl RoomTask {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let room = self.state.key;
        let (events, mut media_events) = mpsc::channel(MEDIA_EVENTS);
        self.command(Command::OpenRoom { room, events });
        tracing::info!("room opened");
        loop {
            let deadline = self.state.deadline().map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(input) = inputs.recv() => self.on_input(input),
                Some(event) = media_events.recv() => self.state.on_media(Now::read(), event),
                Some((about, answer)) = self.asked.next(), if !self.asked.is_empty() => {
                    self.state.on_answer(Now::read(), about, answer);
                }
                () = sleep_until(deadline) => self.state.on_timeout(Now::read()),
                () = tokio::time::sleep(BACKLOG_PAUSE), if !self.backlog.is_empty() => {}
            }
            self.carry_out().await;
            if self.state.is_empty() && self.owner.end_if_alone(&self.state.name, &inputs) {
                break;
            }
        }
        self.command(Command::CloseRoom { room });
        // Until the media plane has let go of the room it tells what still arrives, and somebody has to hear it.
        tokio::spawn(async move { while media_events.recv().await.is_some() {} });
        self.state.finish();
        self.carry_out().await;
        // A full media plane still has to learn that this room is over.
        while !self.backlog.is_empty() {
            tokio::time::sleep(BACKLOG_PAUSE).await;
            self.flush_backlog();
        }
        tracing::info!("room closed");
    }

    fn on_input(&mut self, input: Input) {
        let now = Now::read();
        let state = &mut self.state;
        // Where a reply fails, its caller has stopped waiting.
        match input {
            Input::Enter { caller, join, session, reply } => {
                let _ = reply.send(state.enter(now, caller, *join, session));
            }
            Input::Resume { token, media, session, reply } => {
                let _ = reply.send(state.resume(now, &token, media, session));
            }
            Input::Message { session, message, reference } => state.on_message(now, session, message, reference),
            Input::Renew { session, caller, reference } => state.renew(now, session, caller, reference),
            Input::Gone { session } => state.on_gone(now, session),
            Input::Web(request) => state.on_web(now, *request),
            Input::Snapshot(reply) => {
                let _ = reply.send(state.snapshot());
            }
            Input::Moderate { moderation, by, reply } => {
                let _ = reply.send(state.moderate(moderation, by.as_deref()));
            }
            Input::RecordingState { recording, recorded } => state.on_recording(recording, &recorded),
            Input::ConsentWanted { by } => state.on_consent_wanted(by.as_deref()),
            Input::RecordingEvent(event) => state.on_recording_event(event),
            Input::End { reason } => state.end(reason, None),
        }
    }

    async fn carry_out(&mut self) {
        self.flush_backlog();
        for effect in std::mem::take(&mut self.state.effects) {
            match effect {
                Effect::Media(command) => self.command(command),
                Effect::Ask(command, awaited, about) => {
                    self.command(command);
                    self.asked.push(Box::pin(async move { (about, awaited.wait().await) }));
                }
                Effect::Await(awaited, about) => {
                    self.asked.push(Box::pin(async move { (about, awaited.wait().await) }));
                }
                Effect::Tell(event) => {
                    if self.owner.observer.send(event).await.is_err() {
                        tracing::debug!("nobody observes the room");
                    }
                }
                Effect::Forget(id) => self.owner.forget_web(&id),
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.backlog.push_back(command);
        self.flush_backlog();
    }

    // In order: a command never overtakes an earlier one of its room.
    fn flush_backlog(&mut self) {
        let room = self.state.key;
        while let Some(command) = self.backlog.pop_front() {
            if let Err(command) = (self.owner.media)(room, command) {
                self.backlog.push_front(*command);
                break;
            }
        }
        if self.backlog.len() > MAX_BACKLOG {
            tracing::error!(waiting = self.backlog.len(), "media plane takes no commands, room ends");
            self.backlog.clear();
            self.state.end(ClosedReason::Dropped, None);
        }
    }
}

impl Awaited {
    async fn wait(self) -> Result<String, MediaError> {
        let lost = |_| {
            Err(MediaError { code: ErrorCode::Overloaded, message: "the media plane did not answer; try again".into() })
        };
        match self {
            Self::Text(answer) => answer.await.unwrap_or_else(lost),
            Self::Observed(answer) => answer.await.map_or_else(lost, |done| match done {
                Ok(()) => Ok(String::new()),
                Err(code) => Err(MediaError { code, message: sentence(code).to_owned() }),
            }),
            Self::Done(answer) => answer.await.map_or_else(lost, |done| done.map(|()| String::new())),
        }
    }
}

fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotRecording => "nothing is being recorded",
        ErrorCode::RecordingOff => "recording is switched off on this server",
        ErrorCode::DiskFull => "the disk of the recordings is full",
        _ => "the recorder refused this",
    }
}

/// Takes the room out of the registry however its task ends.
struct Removal {
    owner: Arc<Inner>,
    key: RoomKey,
    name: RoomName,
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.owner.remove(&self.name, self.key);
        if std::thread::panicking() {
            tracing::error!(room = self.key.0, "the task of a room failed, everybody is let go");
            metrics::counter!("room_task_panics_total").increment(1);
            // Where these fail there is no media plane or no observer any more.
            let _ = (self.owner.media)(self.key, Command::CloseRoom { room: self.key });
            let closed = RoomEvent { room: self.key, name: self.name.clone(), what: What::Closed { ended: false } };
            let observer = self.owner.observer.clone();
            // What is being recorded has to be closed, so a full queue is waited for.
            if let (Err(TrySendError::Full(closed)), Ok(runtime)) =
                (observer.try_send(closed), tokio::runtime::Handle::try_current())
            {
                runtime.spawn(async move { observer.send(closed).await });
            }
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

const MEDIA_EVENTS: usize = 1024;
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);
const MAX_BACKLOG: usize = 4096;
