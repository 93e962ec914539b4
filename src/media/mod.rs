//! The media plane: one thread and one UDP socket a shard, every packet handled without waiting.
//! Knows rooms and tracks as keys; knows nothing of names, rights, disks or HTTP.

mod admit;
mod api;
mod cache;
mod counters;
mod descriptor;
mod facade;
mod flood;
mod interceptors;
mod keyframe;
mod layers;
mod leg;
mod link;
mod nack;
pub mod outbox;
mod packet;
mod peer;
mod peer_plan;
mod receiver;
mod redundancy;
mod rewrite;
mod room_shard;
mod router;
mod sdp_answer;
mod sdp_in;
mod sdp_section;
mod shard;
pub mod socket;
mod speaking;
mod tap;
mod taps;
mod viewers;

pub use crate::rtp::Codec;
pub use api::{
    Command, DeclaredTrack, Event, LegKey, LinkState, MediaAddresses, MediaError, PeerKey, RoomKey, ShardStats,
};
pub use facade::{Media, MediaThreads, Options, StartError};
pub use outbox::{Outbox, Route};
pub use packet::InboundPacket;
pub use peer::PeerLimits;
pub use tap::{SenderReport, TAP_LIMIT_BYTES, Tap, TapBudget, TapFrom, TapItem, TapKey, TapMessage, TapPacket};
