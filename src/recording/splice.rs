//! Bytes that come partly from memory and partly from files, read at any place as if they were one file: clips and
//! exports are served like this, so nothing is copied and a broken download goes on where it stopped.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file that exists only as a list of its pieces. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Splice {
    pieces: Vec<(u64, Piece)>,
    len: u64,
}

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Arc<[u8]>),
    File { file: Arc<File>, at: u64, len: u64 },
}

impl Splice {
    /// A whole file, or the first `len` bytes of it.
    pub fn of_file(file: File, len: u64) -> Self {
        Self::whole(&Arc::new(file), len)
    }

    /// The first `len` bytes of a file that others read too.
    pub fn whole(file: &Arc<File>, len: u64) -> Self {
        let mut splice = Self::default();
        splice.push_file(file, 0, len);
        splice
    }

    /// Adds bytes at the end.
    pub fn push_bytes(&mut self, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        self.push(bytes.len() as u64, Piece::Bytes(bytes));
    }

    /// Adds `len` bytes of a file, from `at` on.
    pub fn push_file(&mut self, file: &Arc<File>, at: u64, len: u64) {
        self.push(len, Piece::File { file: file.clone(), at, len });
    }

    /// Adds all of another one.
    pub fn push_splice(&mut self, other: &Self) {
        for (_, piece) in &other.pieces {
            self.push(piece.len(), piece.clone());
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` from `at` on; fewer bytes only at the end.
    ///
    /// # Errors
    /// The disk's, and when a file has become shorter.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let mut index = self.pieces.partition_point(|(start, piece)| start + piece.len() <= at);
        while filled < buffer.len() {
            let Some((start, piece)) = self.pieces.get(index) else { break };
            let inside = at + filled as u64 - start;
            let wanted = (piece.len() - inside).min((buffer.len() - filled) as u64) as usize;
            let target = &mut buffer[filled..filled + wanted];
            match piece {
                Piece::Bytes(bytes) => target.copy_from_slice(&bytes[inside as usize..inside as usize + wanted]),
                Piece::File { file, at, .. } => file.read_exact_at(target, at + inside)?,
            }
            filled += wanted;
            index += 1;
        }
        Ok(filled)
    }

    fn push(&mut self, len: u64, piece: Piece) {
        if len > 0 {
            self.pieces.push((self.len, piece));
            self.len += len;
        }
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn any_range_is_what_the_whole_has_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let mut inner = Splice::default();
        inner.push_bytes(*b"ab");
        inner.push_file(&file, 3, 4);
        let mut splice = Splice::default();
        splice.push_bytes(*b"");
        splice.push_splice(&inner);
        splice.push_bytes(*b"c");
        splice.push_file(&file, 9, 1);
        let whole = b"ab3456c9";
        assert_eq!(splice.len(), whole.len() as u64);
        for from in 0..=whole.len() {
            for to in from..=whole.len() {
                let mut buffer = vec![0; to - from];
                assert_eq!(splice.read_at(from as u64, &mut buffer).unwrap(), to - from);
                assert_eq!(buffer, whole[from..to]);
            }
        }
        assert_eq!(splice.read_at(7, &mut [0; 9]).unwrap(), 1);
        assert_eq!(splice.read_at(u64::MAX, &mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let splice = Splice::of_file(tempfile::tempfile().unwrap(), 5);
        assert!(splice.read_at(0, &mut [0; 5]).is_err());
    }
}
