//! One ZIP of many things, as a list of pieces: the archive is laid out once, reading everything for its checksums, and
//! then read at any place without a copy on the disk.

use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::splice::Splice;

/// Lays out an archive of `entries` (paths with `/`, contents), stored, not compressed: media does not get smaller.
/// The same entries give the same bytes.
///
/// # Errors
/// The disk's, and names that no archive can hold.
pub fn zip(entries: &[(String, Splice)], at: DateTime) -> io::Result<Splice> {
    let sheet = Sheet::default();
    let mut writer = ZipWriter::new(sheet.clone());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).last_modified_time(at);
    let mut buffer = vec![0; PIECE_BYTES];
    for (name, content) in entries {
        writer.start_file(name.as_str(), options.large_file(content.len() >= LARGE))?;
        sheet.lock().content = Some(content.clone());
        let mut at = 0;
        while at < content.len() {
            let len = content.read_at(at, &mut buffer)?;
            writer.write_all(&buffer[..len])?;
            at += len as u64;
        }
        sheet.lock().end_content()?;
    }
    writer.finish()?;
    let parts = std::mem::take(&mut sheet.lock().parts);
    let mut archive = Splice::default();
    for part in parts {
        match part {
            Part::Bytes(bytes) => archive.push_bytes(bytes),
            Part::Content(content) => archive.push_splice(&content),
        }
    }
    Ok(archive)
}

/// What the archiver writes on: its own bytes are kept, contents are counted only.
#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Layout>>);

#[derive(Default)]
struct Layout {
    parts: Vec<Part>,
    /// While the archiver is fed with it.
    content: Option<Splice>,
    written_of_content: u64,
    at: u64,
}

enum Part {
    Bytes(Vec<u8>),
    Content(Splice),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Content(content) => content.len(),
        }
    }
}

impl Sheet {
    fn lock(&self) -> MutexGuard<'_, Layout> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layout {
    fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    fn end_content(&mut self) -> io::Result<()> {
        let content = self.content.take().unwrap_or_default();
        if std::mem::take(&mut self.written_of_content) != content.len() {
            return Err(io::Error::other("the archive does not hold its contents as they are"));
        }
        self.parts.push(Part::Content(content));
        Ok(())
    }

    /// The archiver's own bytes: added at the end, or put over earlier ones of its own.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut start = 0;
        if self.at == self.len() {
            match self.parts.last_mut() {
                Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
                _ => self.parts.push(Part::Bytes(bytes.to_vec())),
            }
            return Ok(());
        }
        for part in &mut self.parts {
            let end = start + part.len();
            if let Part::Bytes(own) = part
                && self.at >= start
                && self.at + bytes.len() as u64 <= end
            {
                let at = (self.at - start) as usize;
                own[at..at + bytes.len()].copy_from_slice(bytes);
                return Ok(());
            }
            start = end;
        }
        Err(io::Error::other("the archiver wrote where it never was"))
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut layout = self.lock();
        if layout.content.is_some() {
            layout.written_of_content += bytes.len() as u64;
        } else {
            layout.put(bytes)?;
        }
        layout.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sheet {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut layout = self.lock();
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => layout.at.checked_add_signed(by),
            SeekFrom::End(by) => layout.len().checked_add_signed(by),
        };
        layout.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(layout.at)
    }
}

const PIECE_BYTES: usize = 256 * 1024;
/// From here on sizes need ZIP64.
const LARGE: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn archive_is_read_back_and_is_the_same_each_time() {
        let mut media = Splice::default();
        media.push_bytes(vec![7; 300_000]);
        media.push_bytes(*b"end");
        let mut text = Splice::default();
        text.push_bytes("李: hello\n".as_bytes().to_vec());
        let entries = [
            ("a/会议.txt".to_owned(), text),
            ("a/b.webm".to_owned(), media),
            ("a/empty".to_owned(), Splice::default()),
        ];
        let bytes = || {
            let archive = zip(&entries, DateTime::default()).unwrap();
            let mut bytes = vec![0; archive.len() as usize];
            archive.read_at(0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(), bytes());
        let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes())).unwrap();
        for (name, content) in &entries {
            let mut found = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut found).unwrap();
            let mut expected = vec![0; content.len() as usize];
            content.read_at(0, &mut expected).unwrap();
            assert!(found == expected, "{name}");
        }
    }
}
