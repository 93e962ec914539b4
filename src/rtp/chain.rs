//! Which video frames can be decoded after packets were lost, by what the payload descriptors say.

use super::vp8::PictureId;

/// How a frame hangs together with others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links {
    /// No other frame refers to it.
    pub is_droppable: bool,
    /// Counts frames.
    pub picture_id: Option<PictureId>,
    /// Counts frames of the base layer.
    pub tl0_index: Option<u8>,
    /// Temporal layer.
    pub temporal_id: Option<u8>,
    /// Refers to the base layer only.
    pub is_sync: bool,
    /// Frames of higher layers that follow refer to nothing older above its own layer.
    pub is_switch: bool,
}

/// What is known about the frames that a next frame may refer to.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Some frame that others need is missing; only a keyframe helps.
    pub is_broken: bool,
    /// Packets are missing since the last whole frame.
    pub in_doubt: bool,
    /// How many, at least as many as frames.
    lost: u64,
    /// Since then nothing is known of the layers above the base.
    is_fresh: bool,
    /// The frame that a hole tore, when it was one and its first packet was there.
    torn: Option<Links>,
    /// The last whole frame.
    last: Links,
    /// Temporal layers above 0 that are whole since one of them was hit, as bits; `None` while none was.
    safe_layers: Option<u8>,
}

impl Chain {
    /// Before the first keyframe.
    pub fn broken() -> Self {
        Self { is_broken: true, ..Self::default() }
    }

    /// A keyframe came.
    pub fn restarted(links: Links) -> Self {
        Self { last: links, ..Self::default() }
    }

    /// So many packets are given up; `torn` is the frame that they tear, when its first packet was there.
    pub fn on_hole(&mut self, lost: u64, torn: Option<Links>) {
        match torn {
            // Torn twice without a whole frame between: nothing is known for sure.
            Some(_) if self.in_doubt => self.torn = None,
            Some(links) => self.torn = Some(links),
            None if self.in_doubt => {}
            None => self.torn = None,
        }
        self.lost = if self.in_doubt { self.lost + lost } else { lost };
        self.is_fresh = true;
        self.in_doubt = true;
    }

    /// True when a frame that is no keyframe can be decoded with what came before it. Remembers it then.
    pub fn continues_with(&mut self, links: Links) -> bool {
        if self.in_doubt {
            if self.is_next(links) {
                self.in_doubt = false;
            } else if self.is_next_of_base(links) {
                self.in_doubt = false;
                self.safe_layers = Some(0);
            } else if self.is_base_of_last(links) {
                if std::mem::take(&mut self.is_fresh) {
                    self.safe_layers = Some(0);
                }
            } else {
                return false;
            }
        }
        if let Some(safe) = self.safe_layers {
            let layer = links.temporal_id.unwrap_or(0).min(7);
            let below = ((1_u16 << (layer + 1)) - 2) as u8;
            // What nobody refers to makes nothing whole that is missing below it, and is not missed.
            let own = if layer > 0 && !links.is_droppable { 1 << layer } else { 0 };
            if !links.is_sync && safe & below != below {
                self.safe_layers = Some(safe & !own);
                return false;
            }
            let now_safe = if links.is_switch { u8::MAX } else { own };
            self.safe_layers = Some(safe | now_safe);
        }
        self.torn = None;
        self.last = links;
        true
    }

    /// A frame that cannot be decoded may be left out when only its own layer suffers.
    pub fn may_skip(&self, links: Links) -> bool {
        links.temporal_id.is_some_and(|layer| layer > 0) && (!self.in_doubt || self.is_base_of_last(links))
    }

    /// The packets that are missing held no frame, or one that nobody refers to.
    fn is_next(&self, links: Links) -> bool {
        let follows = |a: Links, b: Links| match (a.picture_id, b.picture_id) {
            // Ids of 7 bits come round again after 128 frames.
            (Some(a), Some(b)) => a.is_followed_by(b) && (a.mask > 0x7f || self.lost < 0x40),
            _ => false,
        };
        match self.torn {
            None => follows(self.last, links),
            Some(torn) => torn.is_droppable && follows(self.last, torn) && follows(torn, links),
        }
    }

    /// A frame of the base layer, and the one before it is the last that came.
    fn is_next_of_base(&self, links: Links) -> bool {
        let is_next = matches!((self.last.tl0_index, links.tl0_index), (Some(a), Some(b)) if a.wrapping_add(1) == b);
        is_next && links.temporal_id == Some(0) && self.lost < BASES_COME_ROUND
    }

    /// A frame above the base layer, on the base that came last.
    fn is_base_of_last(&self, links: Links) -> bool {
        let is_same = matches!((self.last.tl0_index, links.tl0_index), (Some(a), Some(b)) if a == b);
        is_same && links.temporal_id.is_some_and(|layer| layer > 0) && self.lost < BASES_COME_ROUND
    }
}

/// TL0PICIDX has 8 bits.
const BASES_COME_ROUND: u64 = 0xff;
