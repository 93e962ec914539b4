//! What differs between legs: who writes the m-lines.

use super::offer::Offering;
use super::whep::{self, Whep};

pub(super) enum Mode {
    Own(Offering),
    Whep(Whep),
}

impl Mode {
    /// The slot of an SSRC.
    pub fn slot(&self, ssrc: u32) -> Option<usize> {
        match self {
            Self::Own(offering) => offering.find(ssrc).map(|(slot, _)| slot),
            Self::Whep(whep) => whep.find(ssrc),
        }
    }

    /// The name of an SSRC's owner in reports.
    pub fn cname(&self, ssrc: u32) -> &str {
        match self {
            Self::Own(offering) => offering.find(ssrc).map_or("", |(_, track)| track.participant.as_str()),
            Self::Whep(_) => whep::CNAME,
        }
    }
}
