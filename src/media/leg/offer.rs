//! The offers that we write for our own pages: a list of slots, one m-line each, never removed. Every rule here
//! was measured in browsers; the tests name those that break silently.

use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use reelay_signaling::{ErrorCode, Kind, TrackId};

use super::LegShared;
use super::ice::Credentials;
use super::sdp::{Description, MAX_SECTIONS, bad, fail};
use crate::media::router::{SlotCodec, SlotStream};
use crate::media::{Codec, MediaError};

/// The slots of a leg and what the client knows of them.
#[derive(Debug)]
pub struct Offering {
    session: u64,
    version: u64,
    slots: Vec<Slot>,
    /// Every SSRC of this leg's life: one that comes back plays as a frozen picture in Chromium, or not at all.
    used: Vec<u32>,
    in_flight: Option<InFlight>,
    is_due: bool,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    content: Option<Content>,
    is_agreed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    track: TrackId,
    ssrc: u32,
    rtx_ssrc: u32,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    /// The SSRC of each slot, as offered.
    offered: Vec<Option<u32>>,
}

/// What becomes of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotChange {
    /// The client has agreed: send this track.
    Open {
        /// Which slot.
        slot: usize,
        /// Its track.
        track: TrackId,
        /// How.
        stream: SlotStream,
    },
    /// Another track goes on under the same numbers.
    Move {
        /// Which slot.
        slot: usize,
        /// Its track from now on.
        track: TrackId,
    },
    /// Nothing is to be seen in the slot until the next `Move`.
    Pause {
        /// Which slot.
        slot: usize,
    },
    /// Send nothing more in this slot, ever, under these numbers.
    Stop {
        /// Which slot.
        slot: usize,
    },
}

/// An offer on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// To be named in the answer.
    pub id: u64,
    /// The text.
    pub sdp: String,
    /// mid and track of each live slot.
    pub tracks: Vec<(String, TrackId)>,
}

impl Offering {
    /// No slots, no offer.
    pub fn new(rng: &mut StdRng) -> Self {
        // Chromium reads the session id as a signed 64-bit number.
        let session = rng.random::<u64>() >> 2;
        Self { session, version: 0, slots: Vec::new(), used: Vec::new(), in_flight: None, is_due: false }
    }

    /// Which tracks to carry from now on. Those that are carried already keep their slots, new ones take free slots
    /// of their kind or new ones, up to [`MAX_SECTIONS`].
    pub fn set_tracks(&mut self, tracks: &[TrackId], rng: &mut StdRng) -> Vec<SlotChange> {
        let mut changes = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let is_gone = slot.content.as_ref().is_some_and(|content| !tracks.contains(&content.track));
            if is_gone {
                slot.content = None;
                self.is_due = true;
                if std::mem::take(&mut slot.is_agreed) {
                    changes.push(SlotChange::Stop { slot: at });
                }
            }
        }
        for track in tracks {
            let is_carried = |slot: &Slot| slot.content.as_ref().is_some_and(|content| content.track == *track);
            if self.slots.iter().any(is_carried) {
                continue;
            }
            let is_free = |slot: &Slot| slot.kind == track.kind && slot.content.is_none();
            let at = match self.slots.iter().position(is_free) {
                Some(at) => at,
                None if self.slots.len() < MAX_SECTIONS => {
                    self.slots.push(Slot { kind: track.kind, content: None, is_agreed: false });
                    self.slots.len() - 1
                }
                None => continue,
            };
            let (ssrc, rtx_ssrc) = (self.fresh_ssrc(rng), self.fresh_ssrc(rng));
            self.slots[at].content = Some(Content { track: track.clone(), ssrc, rtx_ssrc });
            self.is_due = true;
        }
        changes
    }

    /// New transport lines are to be told to the client, whatever offer may be on its way.
    pub fn renew(&mut self) {
        if !self.slots.is_empty() {
            self.in_flight = None;
            self.is_due = true;
        }
    }

    /// The next offer, when one is due and none is on its way.
    pub fn poll_offer(&mut self, ice: &Credentials, shared: &LegShared) -> Option<Offer> {
        if !self.is_due || self.in_flight.is_some() || self.slots.is_empty() {
            return None;
        }
        self.is_due = false;
        self.version += 1;
        let ssrc = |slot: &Slot| slot.content.as_ref().map(|content| content.ssrc);
        self.in_flight = Some(InFlight { id: self.version, offered: self.slots.iter().map(ssrc).collect() });
        let live = |(at, slot): (usize, &Slot)| Some((at.to_string(), slot.content.as_ref()?.track.clone()));
        Some(Offer {
            id: self.version,
            sdp: self.write(ice, shared),
            tracks: self.slots.iter().enumerate().filter_map(live).collect(),
        })
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Takes the answer to offer `id`: which slots may flow. An answer to an offer that a later one has replaced
    /// changes nothing.
    ///
    /// # Errors
    /// `bad-sdp` when it does not fit the offer.
    pub fn answer(
        &mut self,
        id: u64,
        answer: &Description<'_>,
        rng: &mut StdRng,
    ) -> Result<Vec<SlotChange>, MediaError> {
        let Some(offer) = self.in_flight.take_if(|offer| offer.id == id) else {
            let is_old = (1..=self.version).contains(&id);
            return if is_old { Ok(Vec::new()) } else { Err(fail(ErrorCode::BadRequest, "there is no such offer")) };
        };
        if answer.sections.len() != offer.offered.len() {
            let message =
                format!("the answer has {} m-lines, {} were offered", answer.sections.len(), offer.offered.len());
            return Err(bad(message));
        }
        let (mut changes, mut refused) = (Vec::new(), Vec::new());
        for (at, (section, offered)) in answer.sections.iter().zip(&offer.offered).enumerate() {
            let slot = &mut self.slots[at];
            // What the answer says about a slot that has changed since says nothing about what it carries now.
            let Some(content) = slot.content.as_ref().filter(|content| Some(content.ssrc) == *offered) else {
                continue;
            };
            let codecs = agreed_codecs(slot.kind, &section.formats);
            let is_agreed = answer.receives(section) && !codecs.is_empty();
            match (slot.is_agreed, is_agreed) {
                (false, true) => {
                    let stream = SlotStream { ssrc: content.ssrc, rtx_ssrc: content.rtx_ssrc, codecs };
                    changes.push(SlotChange::Open { slot: at, track: content.track.clone(), stream });
                }
                (true, false) => {
                    changes.push(SlotChange::Stop { slot: at });
                    refused.push(at);
                }
                _ => {}
            }
            slot.is_agreed = is_agreed;
        }
        for at in refused {
            // Should the client take the slot again, then under numbers that were never used.
            let (ssrc, rtx_ssrc) = (self.fresh_ssrc(rng), self.fresh_ssrc(rng));
            if let Some(content) = &mut self.slots[at].content {
                (content.ssrc, content.rtx_ssrc) = (ssrc, rtx_ssrc);
            }
        }
        Ok(changes)
    }

    /// Whose media has this SSRC.
    pub fn find(&self, ssrc: u32) -> Option<(usize, &TrackId)> {
        let contents = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.content.as_ref()?)));
        contents.into_iter().find(|(_, content)| content.ssrc == ssrc).map(|(at, content)| (at, &content.track))
    }

    fn fresh_ssrc(&mut self, rng: &mut StdRng) -> u32 {
        loop {
            let ssrc = rng.random();
            if ssrc != 0 && !self.used.contains(&ssrc) {
                self.used.push(ssrc);
                return ssrc;
            }
        }
    }

    fn write(&self, ice: &Credentials, shared: &LegShared) -> String {
        let mut sdp = String::with_capacity(700 + self.slots.len() * 900);
        let mids: String = (0..self.slots.len()).map(|at| format!(" {at}")).collect();
        // Transport lines at session level: in the first section only, Firefox refuses the offer, and Chromium plays
        // nobody but the first publisher. Without a=ice-lite Firefox never connects.
        push(
            &mut sdp,
            format_args!(
                "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\na=ice-lite\r\n\
             a=msid-semantic: WMS *\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:actpass\r\n",
                self.session, self.version, ice.ufrag, ice.pwd, shared.fingerprint,
            ),
        );
        for (at, slot) in self.slots.iter().enumerate() {
            write_slot(&mut sdp, at, slot);
            if at == 0 {
                for candidate in shared.candidates().iter() {
                    push(&mut sdp, format_args!("a={candidate}\r\n"));
                }
                sdp.push_str("a=end-of-candidates\r\n");
            }
        }
        sdp
    }
}

fn write_slot(sdp: &mut String, at: usize, slot: &Slot) {
    let formats = formats(slot.kind);
    let types = formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]).flatten();
    let types: String = types.map(|payload_type| format!(" {payload_type}")).collect();
    let direction = if slot.content.is_some() { "sendonly" } else { "inactive" };
    push(
        sdp,
        format_args!(
            "m={} 9 UDP/TLS/RTP/SAVPF{types}\r\nc=IN IP4 0.0.0.0\r\na=mid:{at}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            slot.kind,
        ),
    );
    formats.iter().for_each(|format| write_codec(sdp, format));
    let Some(Content { track, ssrc, rtx_ssrc }) = &slot.content else { return };
    let cname = &track.participant;
    if slot.kind == Kind::Video {
        push(sdp, format_args!("a=ssrc-group:FID {ssrc} {rtx_ssrc}\r\n"));
    }
    push(sdp, format_args!("a=msid:{cname}.{source} {cname}.{source}.{}\r\n", track.kind, source = track.source));
    // The media first: Chromium takes the first a=ssrc of a section for the picture.
    push(sdp, format_args!("a=ssrc:{ssrc} cname:{cname}\r\n"));
    if slot.kind == Kind::Video {
        push(sdp, format_args!("a=ssrc:{rtx_ssrc} cname:{cname}\r\n"));
    }
}

/// Writes `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of a codec and its retransmissions.
pub(super) fn write_codec(sdp: &mut String, format: &SlotCodec) {
    let (payload_type, name, hz) = (format.payload_type, format.codec.name(), format.codec.clock_hz());
    let channels = if format.codec == Codec::Opus { "/2" } else { "" };
    push(sdp, format_args!("a=rtpmap:{payload_type} {name}/{hz}{channels}\r\n"));
    let parameters = match format.codec {
        Codec::Opus => "minptime=10;useinbandfec=1;stereo=1",
        Codec::Vp8 => "",
        Codec::Vp9 => "profile-id=0",
        Codec::Av1 => "level-idx=5;profile=0;tier=0",
    };
    if !parameters.is_empty() {
        push(sdp, format_args!("a=fmtp:{payload_type} {parameters}\r\n"));
    }
    if format.codec.kind() == Kind::Video {
        for feedback in ["ccm fir", "nack", "nack pli"] {
            push(sdp, format_args!("a=rtcp-fb:{payload_type} {feedback}\r\n"));
        }
    }
    if let Some(rtx) = format.rtx {
        push(sdp, format_args!("a=rtpmap:{rtx} rtx/{hz}\r\na=fmtp:{rtx} apt={payload_type}\r\n"));
    }
}

pub(super) fn push(sdp: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = sdp.write_fmt(text);
}

fn agreed_codecs(kind: Kind, answered: &[&str]) -> Vec<SlotCodec> {
    let has = |payload_type: u8| answered.iter().any(|format| format.parse() == Ok(payload_type));
    let agreed = formats(kind).iter().filter(|format| has(format.payload_type));
    agreed.map(|format| SlotCodec { rtx: format.rtx.filter(|&rtx| has(rtx)), ..*format }).collect()
}

fn formats(kind: Kind) -> &'static [SlotCodec] {
    match kind {
        Kind::Audio => &[SlotCodec { codec: Codec::Opus, payload_type: 111, rtx: None }],
        Kind::Video => &[
            SlotCodec { codec: Codec::Vp8, payload_type: 96, rtx: Some(97) },
            SlotCodec { codec: Codec::Vp9, payload_type: 98, rtx: Some(99) },
            SlotCodec { codec: Codec::Av1, payload_type: 100, rtx: Some(101) },
        ],
    }
}
