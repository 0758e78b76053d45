//! Reading a segment: by offset, and by time.
//!
//! What must hold: a batch is handed out only if its checksum is right and it stands where it must (the first where
//! the index or the segment's name says, each further one right after the one before); anything else is
//! [`Error::Corrupt`], never a wrong record. What stands before it is handed out.

use std::path::Path;

use bytes::Bytes;
use model::Offset;

use crate::{
    disk::Disk,
    log::{Error, Result, StoredBatch, TimedOffset, io_error},
    record::BatchHeader,
};

use super::{
    Segment,
    cursor::Cursor,
    entry::{read_arrival_entry, read_time_entry},
    entry_file::Unusable,
    repair::Repair,
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
        self.repairing(|| self.try_read(from, bytes_max))
    }

    /// The bytes of the batch that contains `offset`, whatever they are; `None` where its borders cannot be told.
    pub(crate) fn read_damaged(&self, offset: Offset) -> Result<Option<Bytes>> {
        let found = Cursor::open(self, offset, READ_AHEAD_BYTES).and_then(|mut cursor| {
            while let Some((header, batch)) = cursor.next(true)? {
                if header.next_offset() > offset {
                    return Ok(Some(batch));
                }
            }
            Ok(None)
        });
        match found {
            Err(Unusable::Damaged(..) | Unusable::Other(Error::Corrupt { .. })) => Ok(None),
            Err(Unusable::Other(error)) => Err(error),
            Ok(found) => Ok(found),
        }
    }

    /// The first record at or after `timestamp_ms`.
    pub(crate) fn offset_at_time(&self, timestamp_ms: i64, from: Offset) -> Result<Option<TimedOffset>> {
        if self.max_timestamp_ms() < timestamp_ms || from >= self.next_offset() {
            return Ok(None);
        }
        self.repairing(|| self.try_offset_at_time(timestamp_ms, from))
    }

    /// Reads; if something beside the segment turns out to be damaged, makes that anew and reads again.
    fn repairing<T>(&self, read: impl Fn() -> Result<T, Unusable>) -> Result<T> {
        // Each of the files can be found damaged once.
        for _ in 0..3 {
            let seen = self.contents.read().repairs;
            match read() {
                Ok(found) => return Ok(found),
                Err(Unusable::Other(error)) => return Err(error),
                Err(Unusable::Damaged(kind, reason)) => self.repair(kind, Repair::Doubted(seen), &reason)?,
            }
        }
        read().map_err(|unusable| match unusable {
            Unusable::Other(error) => error,
            Unusable::Damaged(kind, reason) => {
                Error::corrupt(&self.log_path.with_extension(kind.extension()), 0, reason)
            }
        })
    }

    fn try_read(&self, from: Offset, bytes_max: usize) -> Result<Vec<StoredBatch>, Unusable> {
        let mut cursor = Cursor::open(self, from, bytes_max.saturating_add(READ_AHEAD_BYTES))?;
        let (mut found, mut bytes): (Vec<(BatchHeader, Bytes)>, usize) = (Vec::new(), 0);
        loop {
            let (header, batch) = match cursor.next_checked(bytes == 0, from) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                // What stands before the damage can be read; whoever reads on will be told.
                Err(Error::Corrupt { .. }) if bytes > 0 => break,
                Err(error) => return Err(error.into()),
            };
            if header.next_offset() <= from {
                continue;
            }
            if bytes > 0 && bytes + batch.len() > bytes_max {
                break;
            }
            bytes += batch.len();
            found.push((header, batch));
        }
        self.with_arrivals(found)
    }

    fn try_offset_at_time(&self, timestamp_ms: i64, from: Offset) -> Result<Option<TimedOffset>, Unusable> {
        let floor = self.time_index_floor(timestamp_ms)?;
        let damaged = || self.contents.read().time_index.damaged("an entry speaks of another batch");
        if floor.is_some_and(|(_, last_offset)| last_offset >= self.next_offset()) {
            return Err(damaged());
        }
        let start = floor.map_or(self.base_offset, |(_, last_offset)| last_offset).max(from).max(self.base_offset);
        let mut cursor = Cursor::open(self, start, SCAN_BYTES)?;
        while let Some((header, batch)) = cursor.next(true)? {
            if header.next_offset() <= start {
                continue;
            }
            // The entry's own batch is the first: it shows whether the entry is right.
            if let Some((floor_ms, last_offset)) = floor.filter(|(_, last_offset)| *last_offset >= header.base_offset)
                && (floor_ms, last_offset) != (header.max_timestamp_ms, header.next_offset() - 1)
            {
                return Err(damaged());
            }
            if header.max_timestamp_ms < timestamp_ms {
                continue;
            }
            if !header.crc_is_valid(&batch) {
                return Err(cursor.corrupt("a batch fails its checksum").into());
            }
            let batch = StoredBatch { bytes: batch, arrival_time_ms: 0 };
            if let Some(found) = first_at_or_after(&batch, &header, timestamp_ms, from) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The time index's last entry before `timestamp_ms`: no record up to its offset is as late as that.
    fn time_index_floor(&self, timestamp_ms: i64) -> Result<Option<(i64, Offset)>, Unusable> {
        let contents = self.contents.read();
        let entries = contents.time_index.read(&*self.disk)?;
        let split = |entry| read_time_entry(self.base_offset, entry);
        let floor = entries.last(|entry| Ok(split(entry).0 < timestamp_ms))?;
        Ok(floor.map(|(_, entry)| split(entry)))
    }

    fn with_arrivals(&self, batches: Vec<(BatchHeader, Bytes)>) -> Result<Vec<StoredBatch>, Unusable> {
        let Some((first, _)) = batches.first() else { return Ok(Vec::new()) };
        let contents = self.contents.read();
        let entries = contents.arrivals.read(&*self.disk)?;
        let read = |entry| {
            let bad = || contents.arrivals.damaged("an arrival time fails its checksum");
            read_arrival_entry(entry).map(|(offset, arrival)| (offset, arrival.time_ms)).ok_or_else(bad)
        };
        let floor = entries.last(|entry| Ok(read(entry)?.0 <= first.base_offset))?;
        let (index, entry) = floor.ok_or_else(|| contents.arrivals.damaged("the first arrival time is missing"))?;
        let mut current = read(entry)?.1;
        let mut index = index + 1;
        let get = |index| match index < contents.arrivals.len() {
            true => entries.get(index).and_then(read).map(Some),
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

/// Walks over the batches of a file, of which the first begins at `from` and must have the offset `expected`, as far as
/// they are sound, and tells each to `found`. Returns where it ended, and why if that is not the file's end.
pub(crate) fn sound_batches(
    disk: &dyn Disk,
    log_path: &Path,
    (from, expected): (u64, Offset),
    mut found: impl FnMut(BatchHeader),
) -> Result<(u64, Option<Error>)> {
    let file = disk.open(log_path).map_err(io_error("open", log_path))?;
    let log_bytes = file.size().map_err(io_error("look at", log_path))?;
    let mut cursor = Cursor::over(log_path, file, log_bytes, SCAN_BYTES, (from, expected));
    loop {
        let position = cursor.position();
        match cursor.next_checked(true, Offset::MIN) {
            Ok(Some((header, _))) => found(header),
            Ok(None) => return Ok((position, None)),
            Err(error @ Error::Corrupt { .. }) => return Ok((position, Some(error))),
            Err(error) => return Err(error),
        }
    }
}
