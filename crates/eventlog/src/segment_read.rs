//! Reading a segment: by offset, and by time.
//!
//! What must hold: a batch is handed out only if its checksum is right and it stands where it must (the first where
//! the index or the segment's name says, each further one right after the one before); anything else is
//! [`Error::Corrupt`], never a wrong record.

use std::sync::Arc;

use bytes::Bytes;
use model::Offset;

use crate::{
    disk::DiskFile,
    log::{Error, Result, StoredBatch, TimedOffset, io_error},
    record::{BatchHeader, HEADER_BYTES},
    segment::{Segment, read_arrival_entry},
};

/// How much is read beyond what was asked for, to begin between two index entries and end on a whole batch.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// How much a scan by time reads at once.
const SCAN_BYTES: usize = 256 * 1024;

impl Segment {
    /// Whole batches from the one that contains `from`, as many as fit in `bytes_max` but at least one; none when the
    /// segment ends before `from`.
    pub(crate) fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<StoredBatch>> {
        if from >= self.next_offset() {
            return Ok(Vec::new());
        }
        let mut cursor = Cursor::open(self, from, bytes_max.saturating_add(READ_AHEAD_BYTES))?;
        let (mut found, mut bytes): (Vec<(BatchHeader, Bytes)>, usize) = (Vec::new(), 0);
        while let Some((header, batch)) = cursor.next(bytes == 0)? {
            if header.next_offset() <= from {
                continue;
            }
            if bytes > 0 && bytes + batch.len() > bytes_max {
                break;
            }
            if !header.crc_is_valid(&batch) {
                return Err(cursor.corrupt("a batch fails its checksum"));
            }
            bytes += batch.len();
            found.push((header, batch));
        }
        self.with_arrivals(found)
    }

    /// The first record at or after `timestamp_ms`.
    pub(crate) fn offset_at_time(&self, timestamp_ms: i64, from: Offset) -> Result<Option<TimedOffset>> {
        if self.max_timestamp_ms() < timestamp_ms {
            return Ok(None);
        }
        let start = self.time_index_floor(timestamp_ms)?.max(from).max(self.base_offset);
        if start >= self.next_offset() {
            return Ok(None);
        }
        let mut cursor = Cursor::open(self, start, SCAN_BYTES)?;
        while let Some((header, batch)) = cursor.next(true)? {
            if header.max_timestamp_ms < timestamp_ms || header.next_offset() <= from {
                continue;
            }
            if !header.crc_is_valid(&batch) {
                return Err(cursor.corrupt("a batch fails its checksum"));
            }
            let batch = StoredBatch { bytes: batch, arrival_time_ms: 0 };
            if let Some(found) = first_at_or_after(&batch, &header, timestamp_ms, from) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// An offset before which every timestamp is smaller than `timestamp_ms`.
    fn time_index_floor(&self, timestamp_ms: i64) -> Result<Offset> {
        let contents = self.contents.read();
        let entries = contents.time_index.read(&*self.disk)?;
        let split = |entry: [u8; 12]| {
            let (time, relative) = entry.split_at(8);
            let time = time.first_chunk().map_or(i64::MIN, |bytes| i64::from_be_bytes(*bytes));
            (time, relative.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
        };
        let floor = entries.last(|_, entry| Ok(split(entry).0 < timestamp_ms))?;
        Ok(self.base_offset + floor.map_or(0, |(_, entry)| i64::from(split(entry).1)))
    }

    /// A position at which a batch begins that does not lie after `from`, and that batch's last offset.
    fn index_floor(&self, from: Offset) -> Result<Option<(u64, Offset)>> {
        let contents = self.contents.read();
        let entries = contents.index.read(&*self.disk)?;
        let split = |entry: [u8; 8]| {
            let entry = u64::from_be_bytes(entry);
            (self.base_offset + (entry >> 32).cast_signed(), entry & u64::from(u32::MAX))
        };
        let floor = entries.last(|_, entry| Ok(split(entry).0 <= from))?;
        let floor = floor.map(|(_, entry)| split(entry));
        Ok(floor.filter(|(_, position)| *position < contents.log_bytes).map(|(offset, position)| (position, offset)))
    }

    fn with_arrivals(&self, batches: Vec<(BatchHeader, Bytes)>) -> Result<Vec<StoredBatch>> {
        let Some((first, _)) = batches.first() else { return Ok(Vec::new()) };
        let contents = self.contents.read();
        let entries = contents.arrivals.read(&*self.disk)?;
        let read = |index: u64, entry| {
            let bad = || contents.arrivals.corrupt(index, "an arrival time fails its checksum");
            read_arrival_entry(entry).ok_or_else(bad)
        };
        let floor = entries.last(|index, entry| Ok(read(index, entry)?.0 <= first.base_offset))?;
        let (index, entry) = floor.ok_or_else(|| contents.arrivals.corrupt(0, "the first arrival time is missing"))?;
        let mut current = read(index, entry)?.1;
        let mut index = index + 1;
        let get = |index| match index < contents.arrivals.len() {
            true => entries.get(index).and_then(|entry| read(index, entry)).map(Some),
            false => Ok(None),
        };
        let mut next = get(index)?;
        let mut stored = Vec::with_capacity(batches.len());
        for (header, bytes) in batches {
            while let Some((_, arrival)) = next.filter(|(offset, _)| *offset <= header.base_offset) {
                current = arrival;
                index += 1;
                next = get(index)?;
            }
            stored.push(StoredBatch { bytes, arrival_time_ms: current });
        }
        Ok(stored)
    }
}

/// The first record of `batch` at or after `timestamp_ms`. If the records cannot be read, the batch's header decides.
pub(crate) fn first_at_or_after(
    batch: &StoredBatch,
    header: &BatchHeader,
    timestamp_ms: i64,
    from: Offset,
) -> Option<TimedOffset> {
    let Ok(records) = batch.records() else {
        return Some(TimedOffset { offset: header.base_offset.max(from), timestamp_ms: header.max_timestamp_ms });
    };
    let mut later = records.iter().filter(|record| record.timestamp_ms >= timestamp_ms && record.offset >= from);
    later.next().map(|record| TimedOffset { offset: record.offset, timestamp_ms: record.timestamp_ms })
}

/// Walks over batches, reading in windows.
struct Cursor<'a> {
    segment: &'a Segment,
    file: Arc<dyn DiskFile>,
    log_bytes: u64,
    window_bytes: usize,
    window: Bytes,
    /// Where the window begins.
    position: u64,
    /// The offset that the next batch must begin at; `None` for the first after a jump by the index.
    expected: Option<Offset>,
}

impl<'a> Cursor<'a> {
    fn open(segment: &'a Segment, from: Offset, window_bytes: usize) -> Result<Self> {
        let (file, log_bytes) = {
            let contents = segment.contents.read();
            (contents.file.clone(), contents.log_bytes)
        };
        let file = match file {
            Some(file) => file,
            None => segment.disk.open(&segment.log_path).map_err(io_error("open", &segment.log_path))?,
        };
        let floor = segment.index_floor(from)?;
        let (window, position) = (Bytes::new(), floor.map_or(0, |(position, _)| position));
        let expected = floor.is_none().then_some(segment.base_offset);
        let mut cursor = Self { segment, file, log_bytes, window_bytes, window, position, expected };
        if let Some((position, last_offset)) = floor {
            cursor.fill(HEADER_BYTES)?;
            match BatchHeader::parse(&cursor.window) {
                Ok(header) if header.next_offset() - 1 == last_offset => cursor.expected = Some(header.base_offset),
                _ => {
                    let segment = segment.log_path.display();
                    tracing::warn!(%segment, position, "the offset index is wrong here; reading without it");
                    (cursor.window, cursor.position) = (Bytes::new(), 0);
                    cursor.expected = Some(cursor.segment.base_offset);
                }
            }
        }
        Ok(cursor)
    }

    /// The next batch. When it is not in the window, it is fetched only if `beyond_window`.
    fn next(&mut self, beyond_window: bool) -> Result<Option<(BatchHeader, Bytes)>> {
        if self.position + self.window.len() as u64 >= self.log_bytes && self.window.is_empty() {
            return Ok(None);
        }
        if self.window.len() < HEADER_BYTES {
            if !beyond_window {
                return Ok(None);
            }
            self.fill(HEADER_BYTES)?;
        }
        let header = BatchHeader::parse(&self.window).map_err(|reason| self.corrupt(&reason))?;
        let size = header.size_bytes();
        if Some(header.base_offset) != self.expected || header.last_offset_delta < 0 {
            return Err(self.corrupt(&format!("a batch says it begins at offset {}", header.base_offset)));
        }
        if size > self.window.len() {
            if !beyond_window {
                return Ok(None);
            }
            self.fill(size)?;
        }
        self.expected = Some(header.next_offset());
        self.position += size as u64;
        Ok(Some((header, self.window.split_to(size))))
    }

    /// Reads a window of at least `bytes_min` at the current position.
    fn fill(&mut self, bytes_min: usize) -> Result<()> {
        let left = usize::try_from(self.log_bytes - self.position).unwrap_or(usize::MAX);
        if bytes_min > left {
            return Err(self.corrupt("a batch reaches beyond the end of the segment"));
        }
        let mut window = vec![0; self.window_bytes.max(bytes_min).min(left)];
        let read = self.file.read_exact_at(&mut window, self.position);
        read.map_err(io_error("read", &self.segment.log_path))?;
        self.window = window.into();
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> Error {
        let file = self.segment.log_path.display().to_string();
        Error::Corrupt { file, position: self.position, reason: reason.to_owned() }
    }
}
