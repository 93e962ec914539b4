//! Redundant audio (RED, RFC 2198): the primary packet and older copies in one payload.

/// One block of a RED payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Payload type of the block.
    pub payload_type: u8,
    /// How many ticks before the packet's own time; 0 for the primary, which comes last.
    pub before_ticks: u32,
    /// The payload.
    pub data: &'a [u8],
}

/// Splits a RED payload, oldest block first. Empty when the payload breaks the format.
pub fn split(payload: &[u8]) -> Vec<Block<'_>> {
    read(payload).unwrap_or_default()
}

fn read(payload: &[u8]) -> Option<Vec<Block<'_>>> {
    let mut headers = Vec::new();
    let mut at = 0;
    while payload.get(at)? & 0x80 != 0 {
        let header = payload.get(at..at + 4)?;
        let bits = u32::from_be_bytes([0, header[1], header[2], header[3]]);
        headers.push((header[0] & 0x7f, bits >> 10, (bits & 0x3ff) as usize));
        if headers.len() > MAX_BLOCKS {
            return None;
        }
        at += 4;
    }
    let primary = payload.get(at)? & 0x7f;
    at += 1;
    let mut blocks = Vec::with_capacity(headers.len() + 1);
    for (payload_type, before_ticks, length) in headers {
        blocks.push(Block { payload_type, before_ticks, data: payload.get(at..at + length)? });
        at += length;
    }
    blocks.push(Block { payload_type: primary, before_ticks: 0, data: payload.get(at..)? });
    Some(blocks)
}

const MAX_BLOCKS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn primary_and_copy_are_told_apart() {
        let payload = [0x80 | 111, 0x0f, 0x00, 0x02, 111, 1, 2, 3, 4, 5];
        let blocks = split(&payload);
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0], Block { payload_type: 111, before_ticks: 960, data: &[1, 2] });
        assert_eq!(blocks[1], Block { payload_type: 111, before_ticks: 0, data: &[3, 4, 5] });
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = split(&payload);
        }
    }
}
