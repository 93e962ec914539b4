//! A picture of AV1 as a file: the boxes of an AVIF around the bytes of a keyframe (AV1 Image File Format 1.1). Pure.

use crate::rtp::av1::sequence_in;

/// A temporal unit with a keyframe, as a file has it, as an AVIF; `None` when it is none.
pub(super) fn avif(unit: &[u8]) -> Option<Vec<u8>> {
    // The forbidden bit of an OBU; a frame of VP9 has it.
    if unit.first()? & 0x80 != 0 {
        return None;
    }
    let sequence = sequence_in(unit)?;
    let codec: [u8; 4] = sequence.codec_private.get(..4)?.try_into().ok()?;
    let (width, height) = (u32::from(sequence.size.0), u32::from(sequence.size.1));
    let len = u32::try_from(unit.len()).ok()?;
    let ftyp = boxed(b"ftyp", &[b"avif", &[0; 4], b"avif", b"mif1", b"miaf"]);
    // Where the picture is does not change how long the box is that says it.
    let data_at = ftyp.len() + meta(0, len, width, height, codec).len() + HEAD_LEN;
    let meta = meta(u32::try_from(data_at).ok()?, len, width, height, codec);
    Some([ftyp, meta, boxed(b"mdat", &[unit])].concat())
}

fn meta(data_at: u32, len: u32, width: u32, height: u32, codec: [u8; 4]) -> Vec<u8> {
    let handler = full(b"hdlr", 0, &[&[0; 4], b"pict", &[0; 12], &[0]]);
    let main = full(b"pitm", 0, &[&ITEM]);
    // Offsets and lengths of four bytes; one item in one piece.
    let place =
        full(b"iloc", 0, &[&[0x44, 0], &[0, 1], &ITEM, &[0; 2], &[0, 1], &data_at.to_be_bytes(), &len.to_be_bytes()]);
    let about = full(b"infe", 2, &[&ITEM, &[0; 2], b"av01", &[0]]);
    let items = full(b"iinf", 0, &[&[0, 1], &about]);
    let size = full(b"ispe", 0, &[&width.to_be_bytes(), &height.to_be_bytes()]);
    // The third byte of `av1C` says what a sample is.
    let depth = match codec[2] & 0x60 {
        0x60 => 12,
        0x40 => 10,
        _ => 8,
    };
    let (grey, colors) = ([1, depth], [3, depth, depth, depth]);
    let channels: &[u8] = if codec[2] & 0x10 != 0 { &grey } else { &colors };
    let samples = full(b"pixi", 0, &[channels]);
    let properties = boxed(b"ipco", &[&size, &samples, &boxed(b"av1C", &[&codec])]);
    // The item has all three; without the codec's it cannot be shown.
    let which = full(b"ipma", 0, &[&[0, 0, 0, 1], &ITEM, &[3, 1, 2, 0x80 | 3]]);
    full(b"meta", 0, &[&handler, &main, &place, &items, &boxed(b"iprp", &[&properties, &which])])
}

/// A box with its length and name.
fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let len = HEAD_LEN + parts.iter().map(|part| part.len()).sum::<usize>();
    // A keyframe is far shorter than four gigabytes.
    let mut out = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    out.extend_from_slice(name);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A box with a version.
fn full(name: &[u8; 4], version: u8, parts: &[&[u8]]) -> Vec<u8> {
    boxed(name, &[&[version, 0, 0, 0], &parts.concat()])
}

const HEAD_LEN: usize = 8;
const ITEM: [u8; 2] = [0, 1];

#[cfg(test)]
mod tests {
    use super::*;

    // 16×16 of red by libaom, and the file around it that browsers and ffmpeg show.
    const UNIT: &[u8] = include_bytes!("golden/red.obu");
    const FILE: &[u8] = include_bytes!("golden/red.avif");

    #[test]
    fn picture_is_boxes_around_a_keyframe() {
        assert_eq!(avif(UNIT).unwrap(), FILE);
    }

    #[test]
    fn what_is_no_av1_is_no_picture() {
        for bad in [&[][..], &[0x82, 0x49, 0x83, 0x42, 0, 0], &UNIT[..5], &[0x12, 0], &[0x32, 0xFF, 0xFF]] {
            assert_eq!(avif(bad), None, "{bad:?}");
        }
    }
}
