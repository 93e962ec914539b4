//! The small clip of `tests/data`, as frames and packets.

use std::path::Path;

/// A frame of `clip.ivf` or a packet of `clip.ogg`.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Time since the clip's beginning.
    pub time_ms: u64,
    /// VP8 frame or Opus packet.
    pub data: Vec<u8>,
    /// Decodable on its own.
    pub keyframe: bool,
}

/// How long the clip is.
pub const CLIP_MS: u64 = 3000;

/// VP8, 320×180, 30 frames a second.
pub fn video() -> Vec<Frame> {
    ivf(&read("clip.ivf"))
}

/// The frames of an IVF file, 30 a second.
pub fn ivf(file: &[u8]) -> Vec<Frame> {
    let mut rest = &file[32..];
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(12) {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let index = u64::from_le_bytes(head[4..].try_into().unwrap());
        let (data, tail) = tail.split_at(len);
        frames.push(Frame { time_ms: index * 1000 / 30, data: data.to_vec(), keyframe: data[0] & 1 == 0 });
        rest = tail;
    }
    frames
}

/// Opus packets of 20 ms.
pub fn audio() -> Vec<Frame> {
    ogg(&read("clip.ogg"))
}

/// The packets of an Ogg file, 50 a second.
pub fn ogg(file: &[u8]) -> Vec<Frame> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let segments = rest[26] as usize;
        let (head, mut body) = rest.split_at(27 + segments);
        for lace in &head[27..] {
            let (part, tail) = body.split_at(*lace as usize);
            open.extend_from_slice(part);
            body = tail;
            if *lace < 255 {
                packets.push(std::mem::take(&mut open));
            }
        }
        rest = body;
    }
    let sound = packets.into_iter().skip(2).enumerate();
    sound.map(|(i, data)| Frame { time_ms: i as u64 * 20, data, keyframe: true }).collect()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}
