//! VP8 in RTP (RFC 7741): the payload descriptor, and what the frame header tells.

/// The payload descriptor of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Length of the descriptor in bytes; the VP8 payload follows.
    pub length: usize,
    /// N: no other frame refers to this one.
    pub is_droppable: bool,
    /// S and partition 0: the first packet of a frame.
    pub is_start: bool,
    /// 7 or 15 bits.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX: counts the frames of the base layer.
    pub tl0_index: Option<u8>,
    /// TID: the temporal layer.
    pub temporal_id: Option<u8>,
    /// Y: refers to the base layer only.
    pub is_sync: bool,
}

/// A picture id and how many bits it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// The number.
    pub value: u16,
    /// 0x7f or 0x7fff.
    pub mask: u16,
}

impl PictureId {
    /// True when `next` is the picture after this one.
    pub fn is_followed_by(self, next: Self) -> bool {
        self.mask == next.mask && self.value.wrapping_add(1) & self.mask == next.value
    }
}

/// Reads the descriptor. `None` when the packet ends within it, or right behind it.
pub fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut read = Descriptor {
        length: 1,
        is_droppable: first & 0x20 != 0,
        is_start: first & 0x10 != 0 && first & 0x07 == 0,
        ..Descriptor::default()
    };
    if first & 0x80 != 0 {
        let extension = *payload.get(1)?;
        read.length = 2;
        if extension & 0x80 != 0 {
            let high = *payload.get(read.length)?;
            read.picture_id = Some(if high & 0x80 != 0 {
                let low = *payload.get(read.length + 1)?;
                read.length += 2;
                PictureId { value: u16::from(high & 0x7f) << 8 | u16::from(low), mask: 0x7fff }
            } else {
                read.length += 1;
                PictureId { value: u16::from(high), mask: 0x7f }
            });
        }
        if extension & 0x40 != 0 {
            read.tl0_index = Some(*payload.get(read.length)?);
            read.length += 1;
        }
        if extension & 0x30 != 0 {
            let byte = *payload.get(read.length)?;
            read.length += 1;
            if extension & 0x20 != 0 {
                read.temporal_id = Some(byte >> 6);
                read.is_sync = byte & 0x20 != 0;
            }
        }
    }
    (payload.len() > read.length).then_some(read)
}

/// True when the VP8 data (behind the descriptor) begins a keyframe: P is 0 and the start code is there.
pub fn is_keyframe(frame: &[u8]) -> bool {
    keyframe_size(frame).is_some()
}

/// True when the frame is as long as its first partition at least, and one that says to be a keyframe has the start code
/// (RFC 6386 §9.1): no decoder takes another.
pub fn is_whole(frame: &[u8]) -> bool {
    let Some(&[first, second, third]) = frame.get(..3) else { return false };
    let partition = u32::from_le_bytes([first, second, third, 0]) >> 5;
    let head = if first & 1 == 0 { 10 } else { 3 };
    frame.len() >= head + partition as usize && (first & 1 != 0 || is_keyframe(frame))
}

/// Width and height of a keyframe, 14 bits each; `None` for all other frames, and for one without a size.
pub fn keyframe_size(frame: &[u8]) -> Option<(u16, u16)> {
    let header = frame.get(..10)?;
    if header[0] & 1 != 0 || header[3..6] != [0x9d, 0x01, 0x2a] {
        return None;
    }
    let size = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    Some((size(6), size(8))).filter(|(width, height)| *width > 0 && *height > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn descriptor_with_everything_is_read() {
        // X R N S PID=0 | I L T K | 15-bit picture id | TL0PICIDX | TID=2 Y KEYIDX
        let payload = [0xb0, 0xf0, 0x92, 0x34, 0x07, 0xa5, 0xff];
        let read = descriptor(&payload).expect("it is whole");
        assert_eq!(read.length, 6);
        assert!(read.is_droppable && read.is_start && read.is_sync);
        assert_eq!(read.picture_id, Some(PictureId { value: 0x1234, mask: 0x7fff }));
        assert_eq!((read.tl0_index, read.temporal_id), (Some(7), Some(2)));
        for cut in 0..payload.len() {
            assert_eq!(descriptor(&payload[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn size_is_read_from_keyframes_only() {
        let keyframe = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0xc1];
        assert_eq!(keyframe_size(&keyframe), Some((0x280, 0x168)));
        let mut delta = keyframe;
        delta[0] |= 1;
        assert_eq!(keyframe_size(&delta), None);
        let mut torn = keyframe;
        torn[4] = 0;
        assert!(!is_keyframe(&torn));
        let empty = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 0x40, 0x68, 0xc1];
        assert!(!is_keyframe(&empty));
    }

    #[test]
    fn frame_shorter_than_its_first_partition_is_not_whole() {
        // 40 bytes behind the 3 of a frame, and behind the 10 of a keyframe.
        for (head, is_inter) in [(3, 1), (10, 0)] {
            let tag = (40_u32 << 5 | is_inter).to_le_bytes();
            let key = [0x9d, 0x01, 0x2a, 64, 0, 48, 0];
            let frame = [&tag[..3], &key[..head - 3], &[0; 40]].concat();
            assert!(is_whole(&frame) && !is_whole(&frame[..frame.len() - 1]), "{head}");
        }
        assert!(!is_whole(&[1, 0]));
    }

    #[test]
    fn picture_ids_wrap_by_their_own_length() {
        let id = |value, mask| PictureId { value, mask };
        assert!(id(0x7fff, 0x7fff).is_followed_by(id(0, 0x7fff)));
        assert!(id(0x7f, 0x7f).is_followed_by(id(0, 0x7f)));
        assert!(!id(0x7f, 0x7fff).is_followed_by(id(0, 0x7fff)));
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = descriptor(&payload);
            let _ = keyframe_size(&payload);
        }
    }
}
