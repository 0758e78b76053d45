//! [`Cursor`]: a walk over the batches of a segment, in windows.
//!
//! What must hold: each batch begins right after the one before, at the offset that is due; anything else is
//! [`Error::Corrupt`].

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use model::Offset;

use crate::{
    disk::DiskFile,
    log::{Error, Result, io_error},
    record::{BatchHeader, HEADER_BYTES},
};

use super::{
    Segment,
    entry::read_index_entry,
    entry_file::{IndexKind, Unusable},
};

/// Walks over batches, reading in windows.
pub(super) struct Cursor<'a> {
    log_path: &'a Path,
    /// What is missing behind the last byte.
    missing: Option<&'a str>,
    file: Arc<dyn DiskFile>,
    log_bytes: u64,
    window_bytes: usize,
    window: Bytes,
    /// Where the window begins.
    position: u64,
    /// The offset that the next batch must begin at.
    expected: Offset,
}

impl<'a> Cursor<'a> {
    /// Begins with the segment's first batch.
    pub(super) fn at_start(segment: &'a Segment, file: Arc<dyn DiskFile>, log_bytes: u64, window_bytes: usize) -> Self {
        let missing = segment.unsound.as_ref().map(|unsound| unsound.reason.as_str());
        let (log_path, expected) = (segment.log_path.as_path(), segment.base_offset);
        Self { log_path, missing, file, log_bytes, window_bytes, window: Bytes::new(), position: 0, expected }
    }

    /// Begins at byte `position` of a file, with the batch that must begin at offset `expected`.
    pub(super) fn over(
        log_path: &'a Path,
        file: Arc<dyn DiskFile>,
        log_bytes: u64,
        window_bytes: usize,
        (position, expected): (u64, Offset),
    ) -> Self {
        Self { log_path, missing: None, file, log_bytes, window_bytes, window: Bytes::new(), position, expected }
    }

    /// Begins at or before the batch that contains `from`.
    pub(super) fn open(segment: &'a Segment, from: Offset, window_bytes: usize) -> Result<Self, Unusable> {
        let (file, log_bytes) = {
            let contents = segment.contents.read();
            (contents.file.clone(), contents.log_bytes)
        };
        let file = match file {
            Some(file) => file,
            None => {
                segment.disk.open(&segment.log_path).map_err(|error| unreadable("open", &segment.log_path, error))?
            }
        };
        if let Some(unsound) = &segment.unsound {
            // Its indexes lead beyond its end.
            return Ok(Self::at_start(segment, file, unsound.log_bytes, window_bytes));
        }
        let mut cursor = Self::at_start(segment, file, log_bytes, window_bytes);
        let Some((position, last_offset)) = segment.index_floor(from)? else { return Ok(cursor) };
        let wrong = || {
            Unusable::Damaged(IndexKind::Offsets, format!("an entry points to byte {position}, where its batch is not"))
        };
        if position.saturating_add(HEADER_BYTES as u64) > log_bytes {
            return Err(wrong());
        }
        cursor.position = position;
        cursor.fill(HEADER_BYTES)?;
        let header = BatchHeader::parse(&cursor.window).map_err(|_| wrong())?;
        if header.next_offset() - 1 != last_offset {
            return Err(wrong());
        }
        cursor.expected = header.base_offset;
        Ok(cursor)
    }

    /// Like [`next`](Self::next); a batch that reaches beyond `from` must have the right checksum.
    pub(super) fn next_checked(&mut self, beyond_window: bool, from: Offset) -> Result<Option<(BatchHeader, Bytes)>> {
        let next = self.next(beyond_window)?;
        if next.as_ref().is_some_and(|(header, batch)| header.next_offset() > from && !header.crc_is_valid(batch)) {
            return Err(self.corrupt("a batch fails its checksum"));
        }
        Ok(next)
    }

    /// The next batch. When it is not in the window, it is fetched only if `beyond_window`.
    pub(super) fn next(&mut self, beyond_window: bool) -> Result<Option<(BatchHeader, Bytes)>> {
        if self.position + self.window.len() as u64 >= self.log_bytes && self.window.is_empty() {
            return self.missing.map_or(Ok(None), |reason| Err(self.corrupt(reason)));
        }
        if self.window.len() < HEADER_BYTES {
            if !beyond_window {
                return Ok(None);
            }
            self.fill(HEADER_BYTES)?;
        }
        let header = BatchHeader::parse(&self.window).map_err(|reason| self.corrupt(&reason))?;
        let size = header.size_bytes();
        if header.base_offset != self.expected || header.last_offset_delta < 0 {
            return Err(self.corrupt(&format!("a batch says it begins at offset {}", header.base_offset)));
        }
        if size > self.window.len() {
            if !beyond_window {
                return Ok(None);
            }
            self.fill(size)?;
        }
        self.expected = header.next_offset();
        self.position += size as u64;
        Ok(Some((header, self.window.split_to(size))))
    }

    /// Where the next batch begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Reads a window of at least `bytes_min` at the current position.
    fn fill(&mut self, bytes_min: usize) -> Result<()> {
        let left = usize::try_from(self.log_bytes - self.position).unwrap_or(usize::MAX);
        if bytes_min > left {
            return Err(self.corrupt(self.missing.unwrap_or("a batch reaches beyond the end of the segment")));
        }
        let mut window = vec![0; self.window_bytes.max(bytes_min).min(left)];
        let read = self.file.read_exact_at(&mut window, self.position);
        read.map_err(|error| unreadable("read", self.log_path, error))?;
        self.window = window.into();
        Ok(())
    }

    pub(super) fn corrupt(&self, reason: &str) -> Error {
        Error::corrupt(self.log_path, self.position, reason.to_owned())
    }
}

impl Segment {
    /// A position at which a batch begins that does not lie after `from`, and that batch's last offset.
    fn index_floor(&self, from: Offset) -> Result<Option<(u64, Offset)>, Unusable> {
        let contents = self.contents.read();
        let entries = contents.index.read(&*self.disk)?;
        let split = |entry| read_index_entry(self.base_offset, entry);
        let floor = entries.last(|entry| Ok(split(entry).1 <= from))?;
        Ok(floor.map(|(_, entry)| split(entry)))
    }
}

/// A file that is gone or shorter than it was is damaged: asking again would not help.
fn unreadable(doing: &'static str, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::corrupt(path, 0, "the file is missing".to_owned()),
        io::ErrorKind::UnexpectedEof => Error::corrupt(path, 0, "the file is shorter than it was".to_owned()),
        _ => io_error(doing, path)(error),
    }
}
