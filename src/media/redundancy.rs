//! Redundant audio (RED, RFC 2198): what a packet says itself, and the copies of earlier packets that close a hole. Pure.

use bytes::Bytes;

use crate::rtp::red;

/// A packet that never came, out of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its sequence number.
    pub seq: u16,
    /// Its timestamp.
    pub rtp_time: u32,
    /// Its payload.
    pub payload: Bytes,
}

/// Copies of earlier packets, oldest first: how many ticks earlier, and the payload.
pub type Copies = Vec<(u32, Bytes)>;

/// The packet's own payload, and the copies in it. `None` when it breaks the format, or its own is not of type `sound`.
pub fn unwrap(payload: &Bytes, sound: u8) -> Option<(Bytes, Copies)> {
    let mut blocks = red::split(payload);
    let own = blocks.pop().filter(|block| block.payload_type == sound && !block.data.is_empty())?;
    let is_copy = |block: &&red::Block<'_>| block.payload_type == sound && !block.data.is_empty();
    let copies = blocks.iter().filter(is_copy).map(|block| (block.before_ticks, payload.slice_ref(block.data)));
    Some((payload.slice_ref(own.data), copies.collect()))
}

/// The copies that lie between the newest packet so far and this one, both as sequence number and timestamp. A copy has
/// no number of its own: they are the last ones before this packet.
pub fn in_hole(before: (u16, u32), now: (u16, u32), copies: Copies) -> Vec<Copy> {
    let missing = now.0.wrapping_sub(before.0).wrapping_sub(1);
    let passed = now.1.wrapping_sub(before.1);
    let newer: Copies = copies.into_iter().filter(|(ticks, _)| (1..passed).contains(ticks)).collect();
    let Ok(count) = u16::try_from(newer.len()) else { return Vec::new() };
    if count > missing || passed > u32::MAX / 2 {
        return Vec::new();
    }
    let place = |(n, (ticks, payload)): (u16, (u32, Bytes))| Copy {
        seq: now.0.wrapping_sub(count - n),
        rtp_time: now.1.wrapping_sub(ticks),
        payload,
    };
    (0..count).zip(newer).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload as RFC 2198 has it.
    fn red(copies: &[(u32, &[u8])], own: &[u8]) -> Bytes {
        let mut payload = Vec::new();
        for (ticks, data) in copies {
            let head = u32::from(0x80 | 111_u8) << 24 | ticks << 10 | data.len() as u32;
            payload.extend(head.to_be_bytes());
        }
        payload.push(111);
        copies.iter().for_each(|(_, data)| payload.extend_from_slice(data));
        payload.extend_from_slice(own);
        payload.into()
    }

    #[test]
    fn copies_go_where_packets_are_missing() {
        let payload = red(&[(1920, b"a"), (960, b"b")], b"c");
        let (own, copies) = unwrap(&payload, 111).unwrap();
        assert_eq!(own, &b"c"[..]);
        let copy = |seq, rtp_time, payload: &'static [u8]| Copy { seq, rtp_time, payload: Bytes::from_static(payload) };
        let hole = |seq, rtp_time| in_hole((seq, rtp_time), (1, 960), copies.clone());
        assert_eq!(hole(0, 0), []);
        assert_eq!(hole(65_535, u32::MAX - 959), [copy(0, 0, b"b")]);
        let both = [copy(65_535, u32::MAX - 959, b"a"), copy(0, 0, b"b")];
        assert_eq!(hole(65_534, u32::MAX - 1919), both);
        assert_eq!(hole(65_500, u32::MAX - 90_000), both, "more is missing than there are copies");
        assert_eq!(hole(0, u32::MAX - 90_000), [], "no number is free between them");
        assert_eq!(hole(65_500, 5_000), [], "time goes back");
    }

    #[test]
    fn what_is_no_sound_is_left() {
        assert_eq!(unwrap(&red(&[(960, b"b")], b"c"), 96), None);
        assert_eq!(unwrap(&red(&[], b""), 111), None);
        assert_eq!(unwrap(&Bytes::new(), 111), None);
        assert_eq!(unwrap(&red(&[(960, b"")], b"c"), 111), Some((Bytes::from_static(b"c"), vec![])));
    }
}
