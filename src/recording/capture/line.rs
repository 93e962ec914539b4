//! The lines of a capture. Pure.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use reelay_signaling::{Consent, Kind, LeaveReason, ParticipantId, RecordingId, RoomName, Source, TrackId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::media::{Codec, RoomKey, SenderReport, TapItem, TapPacket};
use crate::recording::api::{ConsentPolicy, Input, Options, StartPolicy, Tracks};

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format, 1.
    pub reelay_capture: u32,
    /// Wall clock at time 0, in milliseconds since 1970.
    pub zero_unix_ms: i64,
    start: StartPolicy,
    tracks: Tracks,
    consent: ConsentPolicy,
    linger_ms: u64,
    reorder_wait_ms: u64,
}

/// Nanoseconds since time 0, and what happened then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line(pub u64, pub What);

/// What the recorder received.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The room opened.
    Opened(RoomName),
    /// The room closed; true when the call was ended for all.
    Closed(bool),
    /// Somebody came.
    Joined(ParticipantId, Consent, Option<String>),
    /// Somebody went.
    Left(ParticipantId, LeaveReason),
    /// A source may send sound, and pictures.
    Declared(ParticipantId, Source, bool, bool),
    /// The first packet of a track, with its channels.
    Started(TrackId, Codec, u8),
    /// A track ended.
    Ended(TrackId),
    /// A track was switched off or on.
    Muted(TrackId, bool),
    /// An answer to the question for consent.
    Consent(ParticipantId, Consent, String),
    /// Who speaks.
    Speaking(Vec<ParticipantId>),
    /// Somebody wants to record.
    Start,
    /// … or not.
    Stop,
    /// … or not now.
    Pause,
    /// … or again.
    Resume,
    /// All recordings are closed.
    CloseAll,
    /// A recording got this id.
    Begun(RecordingId),
    /// A packet.
    Packet(CapturedPacket),
    /// A sender report: SSRC, NTP and RTP time, and how many nanoseconds before it had arrived.
    Report(TrackId, u32, u64, u32, i64),
    /// So many packets found no room in the queue of a track's source.
    Overflow(TrackId, u64),
    /// The flow of a track ended.
    FlowEnded(TrackId),
    /// What waits was written.
    Tick,
    /// What happens each second.
    Second(u64),
}

/// A packet as it came through a tap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CapturedPacket {
    track: TrackId,
    codec: Codec,
    ssrc: u32,
    seq: u16,
    rtp: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    marker: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<u8>,
    /// How many nanoseconds before it had arrived; below 0 when the clock was read before.
    ago: i64,
    #[serde(with = "payload")]
    data: Bytes,
}

impl Head {
    /// What decides beside what happens.
    pub fn new(options: &Options, zero_unix_ms: i64) -> Self {
        Self {
            reelay_capture: VERSION,
            zero_unix_ms,
            start: options.start,
            tracks: options.tracks,
            consent: options.consent,
            linger_ms: options.linger.as_millis() as u64,
            reorder_wait_ms: options.reorder_wait.as_millis() as u64,
        }
    }

    /// The same options, with recordings elsewhere.
    pub fn options(&self, dir: impl Into<std::path::PathBuf>) -> Options {
        Options {
            start: self.start,
            tracks: self.tracks,
            consent: self.consent,
            linger: Duration::from_millis(self.linger_ms),
            reorder_wait: Duration::from_millis(self.reorder_wait_ms),
            min_free_bytes: 0,
            ..Options::new(dir)
        }
    }

    /// As text, without the line feed.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Line {
    /// As text, without the line feed.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl What {
    /// What happened in a room; chat stays out.
    pub fn of(input: &Input) -> Option<(RoomKey, Self)> {
        let line = match input {
            Input::RoomOpened { room, name } => (*room, Self::Opened(name.clone())),
            Input::RoomClosed { room, ended } => (*room, Self::Closed(*ended)),
            Input::Joined { room, participant, consent, wording, .. } => {
                (*room, Self::Joined(participant.clone(), *consent, wording.clone()))
            }
            Input::Left { room, participant, reason } => (*room, Self::Left(participant.clone(), *reason)),
            Input::Declared { room, participant, source, audio, video } => {
                (*room, Self::Declared(participant.clone(), *source, *audio, *video))
            }
            Input::TrackStarted { room, track, codec, channels } => {
                (*room, Self::Started(track.clone(), *codec, *channels))
            }
            Input::TrackEnded { room, track } => (*room, Self::Ended(track.clone())),
            Input::Muted { room, track, muted } => (*room, Self::Muted(track.clone(), *muted)),
            Input::Consent { room, participant, consent, wording } => {
                (*room, Self::Consent(participant.clone(), *consent, wording.clone()))
            }
            Input::Speaking { room, participants } => (*room, Self::Speaking(participants.clone())),
            Input::Start { room, .. } => (*room, Self::Start),
            Input::Stop { room, .. } => (*room, Self::Stop),
            Input::Pause { room, .. } => (*room, Self::Pause),
            Input::Resume { room, .. } => (*room, Self::Resume),
            Input::Chat { .. } | Input::CloseAll { .. } => return None,
        };
        Some(line)
    }

    /// What a tap delivered.
    pub fn of_item(now: Instant, source: &(ParticipantId, Source), item: &TapItem) -> Self {
        let track = |kind| TrackId { participant: source.0.clone(), source: source.1, kind };
        let ago = |arrival: Instant| match now.checked_duration_since(arrival) {
            Some(ago) => ago.as_nanos() as i64,
            None => -(arrival.duration_since(now).as_nanos() as i64),
        };
        match item {
            TapItem::Packet(packet) => Self::Packet(CapturedPacket {
                track: track(packet.kind),
                codec: packet.codec,
                ssrc: packet.ssrc,
                seq: packet.seq,
                rtp: packet.rtp_time,
                marker: packet.marker,
                level: packet.audio_level,
                ago: ago(packet.arrival),
                data: packet.payload.clone(),
            }),
            TapItem::Report(report) => {
                Self::Report(track(report.kind), report.ssrc, report.ntp, report.rtp_time, ago(report.arrival))
            }
            TapItem::Overflow { packets } => Self::Overflow(track(Kind::Audio), *packets),
            TapItem::Ended(kind) => Self::FlowEnded(track(*kind)),
        }
    }

    /// The way back: what came through which tap; `None` when it was something else.
    pub fn item(&self, now: Instant) -> Option<(&TrackId, TapItem)> {
        let arrival = |ago: i64| {
            let distance = Duration::from_nanos(ago.unsigned_abs());
            if ago < 0 { now.checked_add(distance) } else { now.checked_sub(distance) }.unwrap_or(now)
        };
        match self {
            Self::Packet(packet) => {
                let item = TapItem::Packet(TapPacket {
                    kind: packet.track.kind,
                    codec: packet.codec,
                    ssrc: packet.ssrc,
                    seq: packet.seq,
                    rtp_time: packet.rtp,
                    marker: packet.marker,
                    arrival: arrival(packet.ago),
                    audio_level: packet.level,
                    payload: packet.data.clone(),
                });
                Some((&packet.track, item))
            }
            Self::Report(track, ssrc, ntp, rtp_time, ago) => {
                let (ssrc, ntp, rtp_time) = (*ssrc, *ntp, *rtp_time);
                let report = SenderReport { kind: track.kind, ssrc, ntp, rtp_time, arrival: arrival(*ago) };
                Some((track, TapItem::Report(report)))
            }
            Self::Overflow(track, packets) => Some((track, TapItem::Overflow { packets: *packets })),
            Self::FlowEnded(track) => Some((track, TapItem::Ended(track.kind))),
            _ => None,
        }
    }

    /// The way back: what happened in the room; `None` when it was something else.
    pub fn input(self, room: RoomKey) -> Option<Input> {
        let (by, reply) = (None, None);
        Some(match self {
            Self::Opened(name) => Input::RoomOpened { room, name },
            Self::Closed(ended) => Input::RoomClosed { room, ended },
            Self::Joined(participant, consent, wording) => {
                let (person, name) = (participant.to_string(), participant.to_string());
                Input::Joined { room, participant, person, name, consent, wording }
            }
            Self::Left(participant, reason) => Input::Left { room, participant, reason },
            Self::Declared(participant, source, audio, video) => {
                Input::Declared { room, participant, source, audio, video }
            }
            Self::Started(track, codec, channels) => Input::TrackStarted { room, track, codec, channels },
            Self::Ended(track) => Input::TrackEnded { room, track },
            Self::Muted(track, muted) => Input::Muted { room, track, muted },
            Self::Consent(participant, consent, wording) => Input::Consent { room, participant, consent, wording },
            Self::Speaking(participants) => Input::Speaking { room, participants },
            Self::Start => Input::Start { room, by, reply },
            Self::Stop => Input::Stop { room, by, reply },
            Self::Pause => Input::Pause { room, by, reply },
            Self::Resume => Input::Resume { room, by, reply },
            _ => return None,
        })
    }
}

/// Of the format.
pub const VERSION: u32 = 1;

mod payload {
    use super::*;

    pub(super) fn serialize<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(data))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD_NO_PAD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}
