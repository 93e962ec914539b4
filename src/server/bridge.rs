//! Carries a room's events to the recorder, and the recorder's wishes and state back to room, media and library.

use reelay_signaling::{ErrorCode, Moderation, RecordingAction, RecordingEvent, RecordingId, TrackId};
use tokio::sync::{mpsc, oneshot};

use crate::audit::{Action, Audit, By, To};
use crate::http::Events;
use crate::media::{Command, Media, RoomKey};
use crate::recording::intake::Intake;
use crate::recording::{Accepted, Input, Recorder, Reply, Update};
use crate::room::{RoomEvent, Rooms, What};

/// Room events to the recorder and the audit log, until the last room handle is gone.
pub(super) async fn rooms_to_recorder(
    mut events: mpsc::Receiver<RoomEvent>,
    (recorder, audit): (Recorder, Audit),
    media: Media,
) {
    while let Some(event) = events.recv().await {
        note(&audit, &event);
        // The recorder closes files with the last packet before this, not with the last that it happened to see.
        if matches!(event.what, What::Left { .. } | What::Recording { .. } | What::Closed { .. }) {
            media.sync(event.room).await;
        }
        if let Some(input) = input_of(event) {
            recorder.tell(input);
        }
    }
}

fn note(audit: &Audit, event: &RoomEvent) {
    let to = |what: Option<String>| To { room: Some(event.name.as_str().to_owned()), recording: None, what };
    match &event.what {
        What::Moderated { moderation, by } => {
            let by = By { name: by.clone(), ..By::default() };
            match moderation {
                Moderation::Mute { participant, source, kind } => {
                    let track = TrackId { participant: participant.clone(), source: *source, kind: *kind };
                    audit.note(Action::Muted, by, to(Some(track.to_string())));
                }
                Moderation::Remove { participant } => {
                    audit.note(Action::Removed, by, to(Some(participant.to_string())));
                }
                Moderation::End => audit.note(Action::Ended, by, to(None)),
            }
        }
        What::RightsChanged { participant, person } => {
            let by = By { who: Some(person.clone()), ..By::default() };
            audit.note(Action::RightsChanged, by, to(Some(participant.to_string())));
        }
        _ => {}
    }
}

/// Updates of the recorder to whom they concern, until the recorder is gone.
pub(super) async fn recorder_to_all(
    mut updates: mpsc::UnboundedReceiver<Update>,
    (rooms, media): (Rooms, Media),
    intake: Intake,
    events: Events,
) {
    while let Some(update) = updates.recv().await {
        match update {
            Update::Room { room, recording, recorded } => rooms.on_recording(room, recording, recorded),
            Update::ConsentWanted { room, by } => rooms.on_consent_wanted(room, by),
            Update::Tap { room, track, tap, from } => command(&media, room, Command::Tap { room, track, tap, from }),
            Update::Untap { room, track } => command(&media, room, Command::Untap { room, track }),
            Update::Keyframe { room, track } => command(&media, room, Command::Keyframe { room, track }),
            Update::Manifest(manifest) => intake.put(manifest),
            Update::Event { recording, room, line } => {
                if let Some(event) = event_of(&recording, &line) {
                    events.happened(&room, &event);
                    rooms.on_recording_event(&room, event);
                }
            }
        }
    }
}

fn command(media: &Media, room: RoomKey, command: Command) {
    if let Err(error) = media.send(room, command) {
        metrics::counter!("recorder_commands_lost_total").increment(1);
        tracing::warn!(room = room.0, %error, "media plane did not take a command of the recorder");
    }
}

/// Lines about people, their tracks and what they say are for replay alone.
fn event_of(recording: &RecordingId, line: &str) -> Option<RecordingEvent> {
    let mut event = serde_json::from_str::<serde_json::Value>(line).ok()?;
    event["event"] = event["type"].take();
    event["id"] = serde_json::json!(recording);
    serde_json::from_value(event).ok()
}

fn input_of(event: RoomEvent) -> Option<Input> {
    let room = event.room;
    Some(match event.what {
        What::Opened => Input::RoomOpened { room, name: event.name },
        What::Joined { participant, person, name, consent, wording } => {
            Input::Joined { room, participant, person, name, consent, wording }
        }
        What::Left { participant, reason } => Input::Left { room, participant, reason },
        What::Declared { participant, source, audio, video } => {
            Input::Declared { room, participant, source, audio, video }
        }
        What::TrackStarted { track, codec, channels } => Input::TrackStarted { room, track, codec, channels },
        What::TrackEnded { track } => Input::TrackEnded { room, track },
        What::Muted { track, muted } => Input::Muted { room, track, muted },
        What::Consent { participant, consent, wording } => Input::Consent { room, participant, consent, wording },
        What::Chat(line) => {
            Input::Chat { room, participant: line.participant, name: line.name, text: line.text, at: line.at }
        }
        What::Speaking(participants) => Input::Speaking { room, participants },
        What::Recording { action, by, answer } => {
            let reply = Some(pass_on(answer));
            match action {
                RecordingAction::Start => Input::Start { room, by, reply },
                RecordingAction::Stop => Input::Stop { room, by, reply },
                RecordingAction::Pause => Input::Pause { room, by, reply },
                RecordingAction::Resume => Input::Resume { room, by, reply },
            }
        }
        What::Closed { ended } => Input::RoomClosed { room, ended },
        What::Watchers(_) | What::Moderated { .. } | What::RightsChanged { .. } => return None,
    })
}

// The room wants to know whether, the recorder also says what.
fn pass_on(answer: oneshot::Sender<Result<(), ErrorCode>>) -> Reply {
    let (reply, accepted) = oneshot::channel::<Result<Accepted, ErrorCode>>();
    tokio::spawn(async move {
        if let Ok(accepted) = accepted.await {
            // An error means that the room is over.
            let _ = answer.send(accepted.map(|_| ()));
        }
    });
    reply
}
