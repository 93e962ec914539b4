//! The sidecar `.idx`: one row per finished cluster, appended while the file grows. A cache of what the file says: a repair
//! rebuilds it, and a reader stops at the first row that is torn.
//!
//! A row is 40 bytes, little-endian: `t_ms u64, offset u64, key_offset u64, len u32, key_len u32, flags u32, check u32`.

use std::path::{Path, PathBuf};

/// One cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// The cluster's Timestamp.
    pub t_ms: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, head included.
    pub len: u32,
    /// Where the data of its first video keyframe begins in the file; 0 if it has none.
    pub key_offset: u64,
    /// Length of that data.
    pub key_len: u32,
    /// Bits of [`flags`].
    pub flags: u32,
}

/// What a row says about its cluster.
pub mod flags {
    /// Begins with a video keyframe: a player can start here.
    pub const KEYFRAME: u32 = 1;
    /// That keyframe was put in by the recorder (camera off, muted, late).
    pub const FILL: u32 = 2;
    /// Holds audio that the recorder put in for lost or muted packets.
    pub const FILLED_AUDIO: u32 = 4;
    /// Was begun without a keyframe because the one before grew too long.
    pub const FORCED: u32 = 8;
    /// Holds audio.
    pub const AUDIO: u32 = 16;
    /// Holds video.
    pub const VIDEO: u32 = 32;
}

/// Bytes of a row.
pub const ROW_LEN: usize = 40;

impl Row {
    /// The bytes of the row.
    pub fn encode(&self) -> [u8; ROW_LEN] {
        let mut bytes = [0; ROW_LEN];
        bytes[..8].copy_from_slice(&self.t_ms.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.key_offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.len.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        let check = checksum(&bytes[..36]);
        bytes[36..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads a row; `None` if it is torn or no row.
    pub fn decode(bytes: &[u8; ROW_LEN]) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        (u32_at(36) == checksum(&bytes[..36])).then(|| Self {
            t_ms: u64_at(0),
            offset: u64_at(8),
            key_offset: u64_at(16),
            len: u32_at(24),
            key_len: u32_at(28),
            flags: u32_at(32),
        })
    }

    /// First byte behind the cluster.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len.into())
    }

    fn is_sound(&self) -> bool {
        let key_end = self.key_offset.saturating_add(self.key_len.into());
        self.offset > 0
            && self.len > 0
            && (self.key_len == 0 || (self.key_offset > self.offset && key_end <= self.end()))
    }
}

/// The rows of a sidecar, up to the first one that is torn, out of order, or points outside of its cluster.
pub fn read(bytes: &[u8]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(bytes.len() / ROW_LEN);
    for chunk in bytes.as_chunks::<ROW_LEN>().0 {
        let Some(row) = Row::decode(chunk).filter(Row::is_sound) else { break };
        if rows.last().is_some_and(|last| row.offset < last.end() || row.t_ms < last.t_ms) {
            break;
        }
        rows.push(row);
    }
    rows
}

/// The sidecar of a file: `a.webm` and `a.webm.part` both have `a.idx`.
pub fn path_of(file: &Path) -> PathBuf {
    super::final_path(file).with_extension("idx")
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        (0..5_u32)
            .map(|i| Row {
                t_ms: u64::from(i) * 2000,
                offset: 69_632 + u64::from(i) * 1000,
                len: 1000,
                key_offset: 69_632 + u64::from(i) * 1000 + 20,
                key_len: 300,
                flags: flags::KEYFRAME | flags::VIDEO,
            })
            .collect()
    }

    fn encoded() -> Vec<u8> {
        rows().iter().flat_map(Row::encode).collect()
    }

    #[test]
    fn rows_come_back() {
        assert_eq!(read(&encoded()), rows());
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn reading_stops_at_a_torn_row() {
        let bytes = encoded();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), rows()[..cut / ROW_LEN]);
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x10;
            assert_eq!(read(&flipped), rows()[..cut / ROW_LEN]);
        }
    }

    #[test]
    fn rows_out_of_order_or_out_of_place_end_the_list() {
        let check = |change: fn(&mut Row)| {
            let mut bad = rows();
            change(&mut bad[3]);
            assert_eq!(read(&bad.iter().flat_map(Row::encode).collect::<Vec<_>>()).len(), 3);
        };
        check(|row| row.offset -= 1);
        check(|row| row.t_ms = 3999);
        check(|row| row.len = 0);
        check(|row| row.key_offset = row.offset);
        check(|row| row.key_len = 981);
        check(|row| row.key_offset = u64::MAX);
    }

    #[test]
    fn sidecar_keeps_its_name_when_the_file_is_renamed() {
        assert_eq!(path_of(Path::new("/r/p1-camera-1.webm.part")), Path::new("/r/p1-camera-1.idx"));
        assert_eq!(path_of(Path::new("/r/p1-camera-1.webm")), Path::new("/r/p1-camera-1.idx"));
    }
}
