//! Where things are in a file of ours. Everything before the first cluster sits at a constant offset, so that a slot can be
//! patched, and a damaged file repaired, without parsing what may be torn.
//!
//! ```text
//!     0  EBML header
//!    36  Segment, 8-byte size (all ones while the file grows)
//!    48  SeekHead: Info, Tracks, and a slot of 21 bytes for the entry of Cues
//!   116  Info: TimestampScale, a slot of 11 bytes for Duration, DateUTC, names, Void
//!   512  Tracks; then Void
//!  4096  index slot: Void, or Cues and the rest as Void
//! 69632  first Cluster
//! ```
//! A flip (a patch that changes what a reader sees) is at most 9 bytes and never crosses a sector of 512 bytes.

/// ID of the EBML header.
pub const EBML: u32 = 0x1A45_DFA3;
/// ID of Segment.
pub const SEGMENT: u32 = 0x1853_8067;
/// ID of SeekHead.
pub const SEEK_HEAD: u32 = 0x114D_9B74;
/// ID of Seek.
pub const SEEK: u32 = 0x4DBB;
/// ID of SeekID.
pub const SEEK_ID: u32 = 0x53AB;
/// ID of SeekPosition.
pub const SEEK_POSITION: u32 = 0x53AC;
/// ID of Info.
pub const INFO: u32 = 0x1549_A966;
/// ID of TimestampScale.
pub const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
/// ID of Duration.
pub const DURATION: u32 = 0x4489;
/// ID of DateUTC.
pub const DATE_UTC: u32 = 0x4461;
/// ID of Tracks.
pub const TRACKS: u32 = 0x1654_AE6B;
/// ID of TrackEntry.
pub const TRACK_ENTRY: u32 = 0xAE;
/// ID of TrackNumber.
pub const TRACK_NUMBER: u32 = 0xD7;
/// ID of TrackUID.
pub const TRACK_UID: u32 = 0x73C5;
/// ID of TrackType.
pub const TRACK_TYPE: u32 = 0x83;
/// ID of FlagLacing.
pub const FLAG_LACING: u32 = 0x9C;
/// ID of CodecID.
pub const CODEC_ID: u32 = 0x86;
/// ID of DefaultDuration.
pub const DEFAULT_DURATION: u32 = 0x23_E383;
/// ID of CodecPrivate.
pub const CODEC_PRIVATE: u32 = 0x63A2;
/// ID of Video.
pub const VIDEO: u32 = 0xE0;
/// ID of PixelWidth.
pub const PIXEL_WIDTH: u32 = 0xB0;
/// ID of PixelHeight.
pub const PIXEL_HEIGHT: u32 = 0xBA;
/// ID of Audio.
pub const AUDIO: u32 = 0xE1;
/// ID of Channels.
pub const CHANNELS: u32 = 0x9F;
/// ID of CodecDelay.
pub const CODEC_DELAY: u32 = 0x56AA;
/// ID of SeekPreRoll.
pub const SEEK_PRE_ROLL: u32 = 0x56BB;
/// ID of Cues.
pub const CUES: u32 = 0x1C53_BB6B;
/// ID of CuePoint.
pub const CUE_POINT: u32 = 0xBB;
/// ID of CueTime.
pub const CUE_TIME: u32 = 0xB3;
/// ID of CueTrackPositions.
pub const CUE_TRACK_POSITIONS: u32 = 0xB7;
/// ID of CueTrack.
pub const CUE_TRACK: u32 = 0xF7;
/// ID of CueClusterPosition.
pub const CUE_CLUSTER_POSITION: u32 = 0xF1;
/// ID of Cluster.
pub const CLUSTER: u32 = 0x1F43_B675;
/// ID of Timestamp, the first child of a cluster.
pub const TIMESTAMP: u32 = 0xE7;
/// ID of SimpleBlock.
pub const SIMPLE_BLOCK: u32 = 0xA3;
/// ID of BlockGroup.
pub const BLOCK_GROUP: u32 = 0xA0;
/// ID of Block.
pub const BLOCK: u32 = 0xA1;
/// ID of BlockDuration.
pub const BLOCK_DURATION: u32 = 0x9B;
/// ID of ReferenceBlock.
pub const REFERENCE_BLOCK: u32 = 0xFB;
/// ID of Void.
pub const VOID: u32 = 0xEC;
/// ID of CRC-32.
pub const CRC_32: u32 = 0xBF;

/// An 8-byte size that means "not known yet".
pub const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
/// Offset of the 8-byte size of Segment.
pub const SEGMENT_SIZE_AT: u64 = 40;
/// Offset that positions in SeekHead and Cues count from.
pub const SEGMENT_DATA_AT: u64 = 48;
/// Offset of the SeekHead entry of Cues.
pub const SEEK_CUES_AT: u64 = 95;
/// Length of a SeekHead entry.
pub const SEEK_LEN: usize = 21;
/// Offset of Info.
pub const INFO_AT: u64 = 116;
/// Length of the head of Info: ID and 2-byte size.
pub const INFO_HEAD_LEN: u64 = 6;
/// Offset of Duration.
pub const DURATION_AT: u64 = 130;
/// Length of Duration.
pub const DURATION_LEN: usize = 11;
/// Offset of Tracks.
pub const TRACKS_AT: u64 = 512;
/// Length of the head of Tracks: ID and 8-byte size.
pub const TRACKS_HEAD_LEN: u64 = 12;
/// Length of the head of a TrackEntry: ID and 8-byte size.
pub const TRACK_ENTRY_HEAD_LEN: u64 = 9;
/// Offset of PixelWidth and PixelHeight (8 bytes together) from the TrackEntry of video.
pub const PICTURE_SIZE_IN_ENTRY: u64 = TRACK_ENTRY_HEAD_LEN + 8;
/// Room for CodecPrivate in an AV1 track, head included.
pub const PRIVATE_LEN: usize = 128;
/// Offset of the room for CodecPrivate from the TrackEntry of an AV1 track.
pub const PRIVATE_IN_ENTRY: u64 = TRACK_ENTRY_HEAD_LEN + 44;
/// Length of DefaultDuration of video. It is behind the room for CodecPrivate, or where that would be.
pub const FRAME_DURATION_LEN: usize = 8;
/// Offset of the index slot.
pub const INDEX_AT: u64 = 4096;
/// Length of the index slot.
pub const INDEX_LEN: usize = 64 * 1024;
/// Offset of the first cluster.
pub const FIRST_CLUSTER_AT: u64 = INDEX_AT + INDEX_LEN as u64;
/// Offset of a cluster's 8-byte size from its start.
pub const CLUSTER_SIZE_IN_CLUSTER: u64 = 4;
/// Length of a cluster's ID and size.
pub const CLUSTER_HEAD_LEN: u64 = 12;
/// What a disk writes whole or not at all.
pub const SECTOR: u64 = 512;

/// TrackNumber of video.
pub const VIDEO_TRACK: u8 = 1;
/// TrackNumber of audio.
pub const AUDIO_TRACK: u8 = 2;

/// BlockDuration of a fill keyframe.
pub const FILL_DURATION_MS: u64 = 1000;

/// True if `len` bytes at `offset` lie in one sector.
pub fn in_one_sector(offset: u64, len: u64) -> bool {
    offset / SECTOR == (offset + len - 1) / SECTOR
}
