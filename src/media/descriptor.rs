//! The few bits of a payload descriptor that forwarding needs: where a keyframe begins, and where the picture
//! numbers are that must stay continuous when a viewer is moved to another layer or source. Decodes nothing.

use super::Codec;

/// What was found at the front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// The first packet of a keyframe.
    pub starts_keyframe: bool,
    /// The picture id.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX.
    pub tl0: Option<Tl0>,
}

/// Position and value of a picture id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// Byte in the payload.
    pub at: u8,
    /// 15 bits in two bytes, else 7 bits in one.
    pub is_long: bool,
    /// As the publisher counts.
    pub value: u16,
}

/// Position and value of TL0PICIDX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tl0 {
    /// Byte in the payload.
    pub at: u8,
    /// As the publisher counts.
    pub value: u8,
}

impl Descriptor {
    /// Reads the front of `payload`; what does not fit the format gives an empty descriptor.
    pub fn read(codec: Codec, payload: &[u8]) -> Self {
        let read = match codec {
            Codec::Opus => None,
            Codec::Vp8 => vp8(payload),
            Codec::Vp9 => vp9(payload),
            Codec::Av1 => av1(payload),
        };
        read.unwrap_or_default()
    }
}

impl PictureId {
    /// Writes the number that a viewer gets, `offset` further on.
    pub fn write(self, payload: &mut [u8], offset: u16) {
        let value = self.value.wrapping_add(offset);
        let at = usize::from(self.at);
        match payload.get_mut(at..at + 2) {
            Some(bytes) if self.is_long => bytes.copy_from_slice(&(value | 0x8000).to_be_bytes()),
            _ => payload[at] = (value & 0x7f) as u8,
        }
    }
}

impl Tl0 {
    /// Writes the number that a viewer gets, `offset` further on.
    pub fn write(self, payload: &mut [u8], offset: u8) {
        payload[usize::from(self.at)] = self.value.wrapping_add(offset);
    }
}

// RFC 7741 §4.2 and §4.3.
fn vp8(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut at = 1;
    let (mut picture_id, mut tl0) = (None, None);
    if first & 0x80 != 0 {
        let flags = *payload.get(1)?;
        at = 2;
        if flags & 0x80 != 0 {
            let id = read_picture_id(payload, at)?;
            at += if id.is_long { 2 } else { 1 };
            picture_id = Some(id);
        }
        if flags & 0x40 != 0 {
            tl0 = Some(Tl0 { at: at as u8, value: *payload.get(at)? });
            at += 1;
        }
        if flags & 0x30 != 0 {
            at += 1;
        }
    }
    let starts_partition = first & 0x10 != 0 && first & 0x07 == 0;
    let starts_keyframe = starts_partition && payload.get(at)? & 0x01 == 0;
    Some(Descriptor { starts_keyframe, picture_id, tl0 })
}

// RFC 9628 §4.2.
fn vp9(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut at = 1;
    let (mut picture_id, mut tl0, mut spatial_id) = (None, None, 0);
    if first & 0x80 != 0 {
        let id = read_picture_id(payload, at)?;
        at += if id.is_long { 2 } else { 1 };
        picture_id = Some(id);
    }
    if first & 0x20 != 0 {
        spatial_id = payload.get(at)? >> 1 & 0x07;
        at += 1;
        if first & 0x10 == 0 {
            tl0 = Some(Tl0 { at: at as u8, value: *payload.get(at)? });
        }
    }
    let starts_keyframe = first & 0x40 == 0 && first & 0x08 != 0 && spatial_id == 0;
    Some(Descriptor { starts_keyframe, picture_id, tl0 })
}

// AV1 RTP payload §4.4: N says that a coded video sequence begins, Z that a fragment goes on.
fn av1(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    Some(Descriptor { starts_keyframe: first & 0x08 != 0 && first & 0x80 == 0, ..Descriptor::default() })
}

fn read_picture_id(payload: &[u8], at: usize) -> Option<PictureId> {
    let high = *payload.get(at)?;
    let is_long = high & 0x80 != 0;
    let value = if is_long { u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]) } else { u16::from(high) };
    Some(PictureId { at: at as u8, is_long, value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vp8_keyframes_and_numbers_are_found() {
        let key = [0x90, 0xe0, 0x81, 0x02, 0x07, 0x20, 0x10, 0, 0];
        let read = Descriptor::read(Codec::Vp8, &key);
        assert!(read.starts_keyframe);
        assert_eq!(read.picture_id, Some(PictureId { at: 2, is_long: true, value: 0x102 }));
        assert_eq!(read.tl0, Some(Tl0 { at: 4, value: 7 }));
        let mut delta = key;
        delta[6] |= 1;
        assert!(!Descriptor::read(Codec::Vp8, &delta).starts_keyframe);
        let mut second_packet = key;
        second_packet[0] = 0x80;
        assert!(!Descriptor::read(Codec::Vp8, &second_packet).starts_keyframe);
        assert!(Descriptor::read(Codec::Vp8, &[0x10, 0x00]).starts_keyframe);
    }

    #[test]
    fn written_numbers_wrap_in_their_width() {
        let mut key = [0x90, 0xe0, 0xff, 0xff, 0xff, 0x20, 0x10];
        let read = Descriptor::read(Codec::Vp8, &key);
        read.picture_id.unwrap().write(&mut key, 1);
        read.tl0.unwrap().write(&mut key, 1);
        assert_eq!(key[2..5], [0x80, 0x00, 0x00]);
        let mut short = [0x90, 0x80, 0x7f, 0x10];
        Descriptor::read(Codec::Vp8, &short).picture_id.unwrap().write(&mut short, 1);
        assert_eq!(short[2], 0);
    }

    #[test]
    fn vp9_and_av1_keyframes_are_found() {
        assert!(Descriptor::read(Codec::Vp9, &[0x8c, 0x80, 0x01, 0]).starts_keyframe);
        assert!(!Descriptor::read(Codec::Vp9, &[0xcc, 0x80, 0x01, 0]).starts_keyframe);
        assert!(!Descriptor::read(Codec::Vp9, &[0xac, 0x80, 0x01, 0x02, 9, 0]).starts_keyframe);
        assert_eq!(Descriptor::read(Codec::Vp9, &[0xac, 0x01, 0x00, 9, 0]).tl0, Some(Tl0 { at: 3, value: 9 }));
        assert!(Descriptor::read(Codec::Av1, &[0x18, 0]).starts_keyframe);
        assert!(!Descriptor::read(Codec::Av1, &[0x10, 0]).starts_keyframe);
    }

    proptest! {
        #[test]
        fn nothing_from_the_network_panics(payload in proptest::collection::vec(any::<u8>(), 0..12), offset: u16) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                let read = Descriptor::read(codec, &payload);
                let mut copy = payload.clone();
                if let Some(id) = read.picture_id { id.write(&mut copy, offset) }
                if let Some(tl0) = read.tl0 { tl0.write(&mut copy, offset as u8) }
                prop_assert_eq!(Descriptor::read(codec, &copy).starts_keyframe, read.starts_keyframe);
            }
        }
    }
}
