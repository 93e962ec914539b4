//! Reads EBML that may be anything: cut, damaged or made to harm. No panic, no recursion, memory bounded by the caller.

use std::io;

/// Bytes that can be read at any offset.
pub trait Source {
    /// Reads some bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for &[u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// The head of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// With its length marker, as the specification writes it.
    pub id: u32,
    /// `None` is "unknown".
    pub size: Option<u64>,
    /// Bytes of ID and size.
    pub len: u64,
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// The bytes end inside of it.
    Short,
    /// No ID or no size begins like this.
    Invalid,
}

impl Head {
    /// Reads the head at the beginning of `bytes`.
    ///
    /// # Errors
    /// Too few bytes, or none that could be a head.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let first = *bytes.first().ok_or(HeadError::Short)?;
        let id_len = first.leading_zeros() as usize + 1;
        if id_len > 4 {
            return Err(HeadError::Invalid);
        }
        let id = big_endian(bytes.get(..id_len).ok_or(HeadError::Short)?);
        let (size, size_len) = vint(&bytes[id_len..])?;
        Ok(Self { id: id as u32, size, len: (id_len + size_len) as u64 })
    }
}

/// A size or track number and its length; all ones is `None`.
///
/// # Errors
/// Too few bytes, or a first byte of zero.
pub fn vint(bytes: &[u8]) -> Result<(Option<u64>, usize), HeadError> {
    let first = *bytes.first().ok_or(HeadError::Short)?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Err(HeadError::Invalid);
    }
    let value = big_endian(bytes.get(..len).ok_or(HeadError::Short)?) & ((1 << (7 * len)) - 1);
    Ok(((value != (1 << (7 * len)) - 1).then_some(value), len))
}

/// An unsigned integer of up to 8 bytes; of longer ones the last 8.
pub fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A float of 4 or 8 bytes; anything else is 0.
pub fn float(bytes: &[u8]) -> f64 {
    match bytes.len() {
        4 => f32::from_bits(big_endian(bytes) as u32).into(),
        8 => f64::from_bits(big_endian(bytes)),
        _ => 0.0,
    }
}

/// A child of a master that is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child<'a> {
    /// Its ID.
    pub id: u32,
    /// Its data.
    pub body: &'a [u8],
    /// Offset of its head in the master's data.
    pub at: usize,
}

/// The children in a master's data, as far as they are well formed.
#[derive(Debug, Clone)]
pub struct Children<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Children<'a> {
    /// Of this data.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// True if what was iterated so far left nothing that is no element.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Child<'a>;

    fn next(&mut self) -> Option<Child<'a>> {
        let rest = &self.bytes[self.at..];
        let head = Head::parse(rest).ok()?;
        let (from, size) = (head.len as usize, usize::try_from(head.size?).ok()?);
        let body = rest.get(from..from.checked_add(size)?)?;
        let at = self.at;
        self.at += from + size;
        Some(Child { id: head.id, body, at })
    }
}

/// A part of a source in memory that moves along.
pub struct Window<S> {
    source: S,
    buffer: Vec<u8>,
    start: u64,
}

impl<S: Source> Window<S> {
    /// Over a source.
    pub fn new(source: S) -> Self {
        Self { source, buffer: Vec::new(), start: 0 }
    }

    /// The bytes at `offset`: `want` of them (at most [`WINDOW_LEN`]), or more, or fewer at the end of the source.
    ///
    /// # Errors
    /// The disk's.
    pub fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let from = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let in_buffer =
            from.filter(|from| *from <= self.buffer.len() && self.buffer.len() - from >= want.min(WINDOW_LEN));
        if let Some(from) = in_buffer {
            return Ok(&self.buffer[from..]);
        }
        self.buffer.resize(WINDOW_LEN, 0);
        let mut filled = 0;
        while filled < WINDOW_LEN {
            match self.source.read_at(offset.saturating_add(filled as u64), &mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read.min(WINDOW_LEN - filled),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        self.start = offset;
        Ok(&self.buffer)
    }

    /// Exactly the bytes from `offset` on, `len` of them, or `None` if the source ends before.
    ///
    /// # Errors
    /// The disk's.
    pub fn exactly(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        Ok(self.at(offset, len)?.get(..len))
    }
}

/// How much a [`Window`] reads at once.
pub const WINDOW_LEN: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_or_refused() {
        let head = |id, size, len| Ok(Head { id, size, len });
        assert_eq!(Head::parse(&[0xA3, 0x87, 1]), head(0xA3, Some(7), 2));
        assert_eq!(Head::parse(&[0xA3, 0xFF]), head(0xA3, None, 2));
        assert_eq!(Head::parse(&[0x1F, 0x43, 0xB6, 0x75, 1, 0, 0, 0, 0, 0, 0, 9]), head(0x1F43_B675, Some(9), 12));
        assert_eq!(Head::parse(&[]), Err(HeadError::Short));
        assert_eq!(Head::parse(&[0x1F, 0x43]), Err(HeadError::Short));
        assert_eq!(Head::parse(&[0xA3, 0x01, 0]), Err(HeadError::Short));
        assert_eq!(Head::parse(&[0x08, 0, 0, 0, 0, 0]), Err(HeadError::Invalid));
        assert_eq!(Head::parse(&[0xA3, 0]), Err(HeadError::Invalid));
    }

    #[test]
    fn children_stop_at_what_is_no_element() {
        let bytes = [0x42, 0x86, 0x81, 1, 0xEC, 0x82, 0, 0, 0xA3, 0x85, 1];
        let mut children = Children::of(&bytes);
        assert_eq!(children.by_ref().map(|child| child.at).collect::<Vec<_>>(), [0, 4]);
        assert!(!children.is_at_end());
    }

    #[test]
    fn window_reads_across_its_ends() {
        let bytes: Vec<u8> = (0..WINDOW_LEN * 2 + 10).map(|i| (i % 251) as u8).collect();
        let mut window = Window::new(&bytes[..]);
        for offset in [0, 5, WINDOW_LEN - 3, WINDOW_LEN * 2, 7, WINDOW_LEN * 2 + 8] {
            assert_eq!(window.at(offset as u64, 2).unwrap()[..2], bytes[offset..offset + 2]);
        }
        assert_eq!(window.at(bytes.len() as u64 - 1, 9).unwrap().len(), 1);
        assert_eq!(window.at(u64::MAX, 9).unwrap().len(), 0);
    }
}
