//! Opus packets (RFC 6716 §3.1): how long they are and how many channels, from the TOC; and silence of any length.

/// What the table-of-contents byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toc {
    /// Samples per channel of the whole packet at 48 kHz: 120 to 5,760.
    pub samples: u32,
    /// 1 or 2.
    pub channels: u8,
}

/// Reads the TOC. `None` for an empty packet, or one whose frame count breaks the rules (R5: 120 ms at most).
pub fn toc(packet: &[u8]) -> Option<Toc> {
    let first = *packet.first()?;
    let config = first >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    let channels = if first & 4 == 0 { 1 } else { 2 };
    (frames > 0 && samples <= MAX_SAMPLES).then_some(Toc { samples, channels })
}

/// True when the frames fill the packet as its framing says (RFC 6716 §3.2, R1 to R7): no decoder takes another.
pub fn is_whole(packet: &[u8]) -> bool {
    let Some((first, rest)) = packet.split_first() else { return false };
    let fits = match first & 3 {
        0 => Some(rest.len() <= MAX_FRAME),
        1 => Some(rest.len().is_multiple_of(2) && rest.len() / 2 <= MAX_FRAME),
        2 => length(rest).map(|(len, rest)| len <= rest.len() && rest.len() - len <= MAX_FRAME),
        _ => many_fit(rest),
    };
    fits.unwrap_or(false)
}

/// Code 3: a count byte, padding, and frames of one length or of their own.
fn many_fit(packet: &[u8]) -> Option<bool> {
    let (&count, mut rest) = packet.split_first()?;
    let frames = usize::from(count & 0x3f);
    let mut padding = 0;
    if count & 0x40 != 0 {
        loop {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            padding += usize::from(byte.min(254));
            if byte < 255 {
                break;
            }
        }
    }
    let mut left = rest.len().checked_sub(padding)?;
    if frames == 0 {
        return None;
    }
    if count & 0x80 == 0 {
        return Some(left.is_multiple_of(frames) && left / frames <= MAX_FRAME);
    }
    for _ in 1..frames {
        let (len, tail) = length(rest)?;
        left = left.checked_sub(rest.len() - tail.len() + len)?;
        rest = tail;
    }
    Some(left <= MAX_FRAME)
}

/// The length of a frame (§3.2.1), and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [first @ 0..=251, rest @ ..] => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] => Some((usize::from(*second) * 4 + usize::from(*first), rest)),
        _ => None,
    }
}

/// One silent packet: 20 ms, or one of the shorter lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Samples at 48 kHz: 960, 480, 240 or 120.
    pub samples: u32,
    /// The packet.
    pub data: &'static [u8],
}

/// The longest silent packet that fits into `samples`; `None` below 2.5 ms.
pub fn silence(samples: i64) -> Option<Silence> {
    SILENCES.into_iter().find(|silence| i64::from(silence.samples) <= samples)
}

// CELT, fullband, mono, one frame, digital silence: the packet of DTX that every decoder takes.
const SILENCES: [Silence; 4] = [
    Silence { samples: 960, data: &[0xf8, 0xff, 0xfe] },
    Silence { samples: 480, data: &[0xf0, 0xff, 0xfe] },
    Silence { samples: 240, data: &[0xe8, 0xff, 0xfe] },
    Silence { samples: 120, data: &[0xe0, 0xff, 0xfe] },
];

/// Bytes of one frame.
const MAX_FRAME: usize = 1_275;
/// 120 ms.
const MAX_SAMPLES: u32 = 5_760;

/// Browsers send Opus at 48 kHz on the wire whatever they captured (RFC 7587 §4.1).
pub const CLOCK_HZ: u32 = 48_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(packet: &[u8], expected: Option<(u32, u8)>) {
        assert_eq!(toc(packet).map(|t| (t.samples, t.channels)), expected, "{packet:x?}");
    }

    #[test]
    fn length_and_channels_come_from_the_toc() {
        check(&[0xf8, 0xff, 0xfe], Some((960, 1)));
        check(&[0xfc], Some((960, 2)));
        check(&[0x78], Some((960, 1)));
        check(&[0x08], Some((960, 1)));
        check(&[0x18], Some((2880, 1)));
        check(&[0xfb, 0x06], Some((5760, 1)));
        check(&[0xfb, 0x07], None);
        check(&[0xfb, 0x00], None);
        check(&[0xfb], None);
        check(&[], None);
    }

    #[test]
    fn frames_have_to_fill_the_packet() {
        let check = |packet: &[u8], expected: bool| assert_eq!(is_whole(packet), expected, "{packet:x?}");
        // Two frames of one length; two of their own; three with padding; three of their own lengths.
        check(&[0xf9, 1, 2], true);
        check(&[0xf9, 1, 2, 3], false);
        check(&[0xfa, 2, 1, 2, 3], true);
        check(&[0xfa, 9, 1, 2, 3], false);
        check(&[0xfa, 253], false);
        check(&[0xfb, 0x43, 2, 1, 1, 1, 0, 0], true);
        check(&[0xfb, 0x43, 9, 1, 1, 1, 0, 0], false);
        check(&[0xfb, 0x83, 1, 0, 7, 7, 7], true);
        check(&[0xfb, 0x83, 4, 4, 7, 7, 7], false);
        check(&[0xfb, 0x00], false);
        check(&[&[0xf8][..], &[0; 1276]].concat(), false);
        check(&[0xf8], true);
        check(&[], false);
    }

    #[test]
    fn silent_packets_are_as_long_as_they_say() {
        for silence in SILENCES {
            assert_eq!(toc(silence.data).map(|t| t.samples), Some(silence.samples));
        }
        assert_eq!(silence(119), None);
        assert_eq!(silence(1_000).map(|s| s.samples), Some(960));
    }

    proptest! {
        #[test]
        fn no_packet_panics(packet: Vec<u8>) {
            let _ = (toc(&packet), is_whole(&packet));
        }
    }
}
