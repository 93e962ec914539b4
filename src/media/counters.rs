//! What a shard counts, under the names that `/metrics` shows.

use super::receiver::ReceiverCounters;
use super::router::RouterCounters;

/// Numbers since the shard began.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Datagrams read.
    pub datagrams_in: u64,
    /// Not STUN, and from a source that no ICE check has proved.
    pub dropped_unverified_source: u64,
    /// STUN that is broken, has a wrong password, or is about nobody here.
    pub dropped_bad_stun: u64,
    /// From a checked source, but neither STUN, DTLS nor SRTP within the sender's limits.
    pub dropped_garbage: u64,
    /// Media packets of tracks that a host has switched off.
    pub dropped_blocked: u64,
    /// Rooms closed after a fault of ours.
    pub room_panics: u64,
    /// Rooms closed because nobody read their events.
    pub rooms_unread: u64,
    /// What viewers asked for, and what they got.
    pub viewers: RouterCounters,
    /// Packets that did not fit into a viewer's queue.
    pub dropped_slow_viewer: u64,
    /// Of publishers that are gone.
    pub received: ReceiverCounters,
}

impl Counters {
    /// Takes over what a publisher counted.
    pub fn add_peer(&mut self, (received, garbage): (ReceiverCounters, u64)) {
        let sum = &mut self.received;
        sum.packets += received.packets;
        sum.bytes += received.bytes;
        sum.recovered += received.recovered;
        sum.duplicates += received.duplicates;
        sum.unknown += received.unknown;
        sum.nacked += received.nacked;
        sum.lost += received.lost;
        sum.keyframe_requests += received.keyframe_requests;
        self.dropped_garbage += garbage;
    }

    /// Takes over what the receiving side of a room counted.
    pub fn add_viewers(&mut self, routed: RouterCounters, dropped: u64, flooded: u64) {
        let sum = &mut self.viewers;
        sum.forwarded += routed.forwarded;
        sum.dropped_duplicates += routed.dropped_duplicates;
        sum.nacked += routed.nacked;
        sum.repaired += routed.repaired;
        sum.limited += routed.limited;
        sum.keyframes_wanted += routed.keyframes_wanted;
        sum.keyframes_asked += routed.keyframes_asked;
        self.dropped_slow_viewer += dropped;
        self.dropped_garbage += flooded;
    }

    /// Name and number of each.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let ReceiverCounters { packets, bytes, recovered, duplicates, unknown, nacked, lost, keyframe_requests } =
            self.received;
        vec![
            ("media_datagrams_in_total", self.datagrams_in),
            ("media_dropped_unverified_source_total", self.dropped_unverified_source),
            ("media_dropped_bad_stun_total", self.dropped_bad_stun),
            ("media_dropped_garbage_total", self.dropped_garbage),
            ("media_dropped_blocked_total", self.dropped_blocked),
            ("room_panics_total", self.room_panics),
            ("media_rooms_unread_total", self.rooms_unread),
            ("media_packets_in_total", packets),
            ("media_bytes_in_total", bytes),
            ("media_packets_recovered_total", recovered),
            ("media_packets_duplicate_total", duplicates),
            ("media_packets_unknown_total", unknown),
            ("media_packets_asked_again_total", nacked),
            ("media_packets_lost_total", lost),
            ("media_keyframe_requests_total", keyframe_requests),
            ("media_packets_out_total", self.viewers.forwarded),
            ("media_dropped_duplicates_total", self.viewers.dropped_duplicates),
            ("media_viewer_nacks_total", self.viewers.nacked),
            ("media_viewer_repairs_total", self.viewers.repaired),
            ("media_dropped_repairs_total", self.viewers.limited),
            ("media_viewer_keyframe_requests_total", self.viewers.keyframes_wanted),
            ("media_dropped_slow_viewer_total", self.dropped_slow_viewer),
        ]
    }
}
