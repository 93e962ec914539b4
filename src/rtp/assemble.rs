//! Whole video frames from packets in order: what each packet says about its frame, and the bytes of the frame.

use bytes::Bytes;

use super::chain::Links;
use super::{Codec, av1, vp8, vp9};

/// What one packet says about its frame, the same for all codecs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Bytes before the codec's own data.
    pub offset: usize,
    /// The first packet of a frame.
    pub is_start: bool,
    /// The last packet of a frame.
    pub is_end: bool,
    /// The first packet of a keyframe.
    pub is_keyframe: bool,
    /// Belongs to a spatial layer that files do without.
    pub is_enhancement: bool,
    /// How the frame hangs together with others.
    pub links: Links,
}

/// Reads the shape of a packet; `is_new_time` is true when its timestamp differs from the packet before it.
/// `None` when the packet breaks the payload format.
pub fn shape(codec: Codec, payload: &[u8], marker: bool, is_new_time: bool) -> Option<Shape> {
    match codec {
        Codec::Opus => None,
        Codec::Vp8 => {
            let read = vp8::descriptor(payload)?;
            Some(Shape {
                offset: read.length,
                is_start: read.is_start,
                is_end: marker,
                is_keyframe: read.is_start && vp8::is_keyframe(&payload[read.length..]),
                is_enhancement: false,
                links: Links {
                    is_droppable: read.is_droppable,
                    picture_id: read.picture_id,
                    tl0_index: read.tl0_index,
                    temporal_id: read.temporal_id,
                    is_sync: read.is_sync,
                    is_switch: false,
                },
            })
        }
        Codec::Vp9 => {
            let read = vp9::descriptor(payload)?;
            let is_base = read.spatial_id == 0;
            Some(Shape {
                offset: read.length,
                is_start: is_base && read.is_start,
                is_end: is_base && (read.is_end || marker),
                is_keyframe: is_base
                    && read.is_start
                    && !read.is_inter
                    && vp9::keyframe_size(&payload[read.length..]).is_some(),
                is_enhancement: !is_base,
                links: Links {
                    is_droppable: false,
                    picture_id: read.picture_id,
                    tl0_index: read.tl0_index,
                    temporal_id: read.temporal_id,
                    is_sync: false,
                    is_switch: read.is_sync,
                },
            })
        }
        Codec::Av1 => {
            let read = av1::aggregation(payload)?;
            Some(Shape {
                offset: 0,
                is_start: read.starts_sequence || (is_new_time && !read.continues),
                is_end: marker,
                is_keyframe: read.starts_sequence,
                is_enhancement: false,
                links: Links::default(),
            })
        }
    }
}

/// A frame's bytes and what its own header says.
#[derive(Debug)]
pub struct Assembled {
    /// As it goes into a file.
    pub data: Bytes,
    /// Decodable by itself.
    pub is_keyframe: bool,
    /// Of a keyframe.
    pub size: Option<(u16, u16)>,
    /// CodecPrivate that a file of this codec needs.
    pub codec_private: Option<Vec<u8>>,
}

/// Puts the payloads (without descriptors) of a whole frame together. `None` when they are no frame.
pub fn assemble(codec: Codec, parts: &[Bytes]) -> Option<Assembled> {
    if codec == Codec::Av1 {
        let unit = av1::unit(parts)?;
        let size = unit.sequence.as_ref().filter(|_| unit.is_keyframe).map(|sequence| sequence.size);
        return Some(Assembled {
            data: unit.data.into(),
            is_keyframe: unit.is_keyframe,
            size,
            codec_private: unit.sequence.map(|sequence| sequence.codec_private),
        });
    }
    let data = match parts {
        [one] => one.clone(),
        many => many.concat().into(),
    };
    if codec == Codec::Vp8 && !vp8::is_whole(&data) {
        return None;
    }
    let size = match codec {
        Codec::Vp8 => vp8::keyframe_size(&data),
        _ => vp9::keyframe_size(&data),
    };
    Some(Assembled { data, is_keyframe: size.is_some(), size, codec_private: None })
}
