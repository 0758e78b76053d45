//! A stretch of a partition on disk: a `.log` file that is byte-compatible with Kafka's, and what helps to find a
//! place in it.
//!
//! | file | entry | found by |
//! |---|---|---|
//! | `.index` | last offset of a batch less the segment's base `u32`, position of the batch `u32` | offset |
//! | `.timeindex` | largest timestamp so far `i64`, last offset of its batch less the base `u32` | timestamp |
//! | `.arrivals` | offset from which on `i64`, arrival time `i64`, CRC-32C of both `u32` | offset |
//!
//! The first two are Kafka's. Arrival times have no place in a Kafka batch, so they have a file of their own, with an
//! entry whenever the time changes.
//!
//! What must hold: only the flusher appends; offsets are contiguous within a segment; a dirty segment keeps its file
//! open until it is synced (`open_segments` sees to it that those are not too many), because a write error is reported
//! only to those who hold the file.

use std::{
    cell::Cell,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::Offset;
use parking_lot::RwLock;

use crate::{
    disk::{Disk, DiskFile},
    log::{Error, Result, io_error, sync_error},
    record::BatchHeader,
    tail::TailBatch,
};

mod cursor;
mod entry;
mod entry_file;
mod read;
mod repair;

pub(crate) use entry::Arrival;
pub(crate) use read::{first_at_or_after, sound_batches};

use entry::{arrival_entry, joined, read_arrival_entry, read_index_entry, read_time_entry};
use entry_file::{EntryFile, IndexKind};
use repair::Repair;

/// How far a segment goes, as a checkpoint stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentExtent {
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) log_bytes: u64,
    pub(crate) index_entries: u64,
    pub(crate) time_index_entries: u64,
    pub(crate) arrival_entries: u64,
    pub(crate) max_timestamp_ms: i64,
    /// The last offset of the batch with the largest timestamp.
    pub(crate) max_timestamp_offset: Offset,
    pub(crate) first_arrival_ms: i64,
    pub(crate) last_arrival_ms: i64,
}

impl SegmentExtent {
    /// That of a segment without batches.
    pub(crate) fn empty(base_offset: Offset) -> Self {
        Self {
            base_offset,
            next_offset: base_offset,
            log_bytes: 0,
            index_entries: 0,
            time_index_entries: 0,
            arrival_entries: 0,
            max_timestamp_ms: -1,
            max_timestamp_offset: base_offset,
            first_arrival_ms: 0,
            last_arrival_ms: 0,
        }
    }
}

/// What is wrong with the `.log` of a segment that has not what its checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsound {
    /// How much of it there is.
    pub(crate) log_bytes: u64,
    pub(crate) reason: String,
}

pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    pub(crate) log_path: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) contents: RwLock<Contents>,
    /// Its file has not what the checkpoint says. Then nothing of it is changed: whoever puts the file back has all.
    pub(crate) unsound: Option<Unsound>,
}

/// What changes as a segment grows.
pub(crate) struct Contents {
    pub(crate) next_offset: Offset,
    pub(crate) log_bytes: u64,
    pub(crate) index: EntryFile<8>,
    pub(crate) time_index: EntryFile<12>,
    pub(crate) arrivals: EntryFile<20>,
    pub(crate) max_timestamp_ms: i64,
    max_timestamp_offset: Offset,
    /// The largest timestamp that the time index knows.
    time_indexed_ms: i64,
    pub(crate) first_arrival_ms: i64,
    pub(crate) last_arrival_ms: i64,
    /// Whether the last entry of the arrivals is an estimate.
    last_arrival_is_estimate: bool,
    bytes_since_index: u64,
    /// How often one of the files beside the segment was made anew.
    pub(crate) repairs: u32,
    /// Why arrival times had to be estimated since the log was opened.
    pub(crate) arrivals_lost: Option<String>,
    /// Open while there is something to sync.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
}

impl Segment {
    /// An empty segment; its file is made now.
    pub(crate) fn create(disk: Arc<dyn Disk>, directory: &Path, base_offset: Offset) -> Result<Self> {
        let log_path = path_of(directory, base_offset, "log");
        let file = disk.create(&log_path).map_err(io_error("create", &log_path))?;
        let contents = Contents { file: Some(file), ..Contents::empty(&log_path, base_offset) };
        Ok(Self { base_offset, log_path, disk, contents: RwLock::new(contents), unsound: None })
    }

    /// The segment that a checkpoint speaks of; what lies behind `kept_bytes` is cut off, and what helps to find a place
    /// is made anew where it is missing.
    pub(crate) fn recover(
        disk: Arc<dyn Disk>,
        directory: &Path,
        extent: &SegmentExtent,
        kept_bytes: u64,
    ) -> Result<Self> {
        let (base_offset, next_offset) = (extent.base_offset, extent.next_offset);
        let log_path = path_of(directory, base_offset, "log");
        truncate_to(&*disk, &log_path, kept_bytes)?;
        let empty = Contents::empty(&log_path, base_offset);
        let is_inside = |last_offset| last_offset < next_offset;
        let (index, index_is_whole) = empty
            .index
            .recover(&*disk, extent.index_entries, |entry| is_inside(read_index_entry(base_offset, entry).1))?;
        let (time_index, time_index_is_whole) =
            empty
                .time_index
                .recover(&*disk, extent.time_index_entries, |entry| is_inside(read_time_entry(base_offset, entry).1))?;
        let last_is_estimate = Cell::new(false);
        let arrival_is_inside = |entry| {
            let inside = read_arrival_entry(entry).filter(|(offset, _)| *offset < next_offset);
            inside.is_some_and(|(_, arrival)| {
                last_is_estimate.set(arrival.is_estimate);
                true
            })
        };
        let (arrivals, arrivals_are_whole) =
            empty.arrivals.recover(&*disk, extent.arrival_entries, arrival_is_inside)?;
        let contents = Contents {
            index,
            time_index,
            arrivals,
            last_arrival_is_estimate: last_is_estimate.get(),
            ..Contents::of(&log_path, extent)
        };
        let segment = Self { base_offset, log_path, disk, contents: RwLock::new(contents), unsound: None };
        for (kind, is_whole) in [
            (IndexKind::Offsets, index_is_whole),
            (IndexKind::Times, time_index_is_whole),
            (IndexKind::Arrivals, arrivals_are_whole),
        ] {
            if !is_whole {
                segment.repair(kind, Repair::Missing, "entries are missing")?;
            }
        }
        Ok(segment)
    }

    /// The segment that a checkpoint speaks of and that is not there as a whole.
    pub(crate) fn unsound(disk: Arc<dyn Disk>, directory: &Path, extent: &SegmentExtent, unsound: Unsound) -> Self {
        let log_path = path_of(directory, extent.base_offset, "log");
        let contents = RwLock::new(Contents::of(&log_path, extent));
        Self { base_offset: extent.base_offset, log_path, disk, contents, unsound: Some(unsound) }
    }

    /// The offsets whose arrival times are estimates.
    pub(crate) fn estimated_arrivals(&self) -> Result<Vec<Range<Offset>>> {
        let contents = self.contents.read();
        let entries = contents.arrivals.remains(&*self.disk)?;
        let mut estimated = Vec::new();
        let mut begin = None;
        for (offset, arrival) in entries.into_iter().flatten().filter_map(read_arrival_entry) {
            match (begin, arrival.is_estimate) {
                (None, true) => begin = Some(offset),
                (Some(from), false) => {
                    estimated.push(from..offset);
                    begin = None;
                }
                _ => {}
            }
        }
        estimated.extend(begin.map(|from| from..contents.next_offset));
        Ok(estimated)
    }

    /// Why arrival times had to be estimated since the log was opened.
    pub(crate) fn arrivals_lost(&self) -> Option<String> {
        self.contents.read().arrivals_lost.clone()
    }

    /// Whether one of the files beside it was made anew since the log was opened.
    pub(crate) fn was_repaired(&self) -> bool {
        self.contents.read().repairs > 0
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.contents.read().next_offset
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.contents.read().log_bytes
    }

    pub(crate) fn first_arrival_ms(&self) -> i64 {
        self.contents.read().first_arrival_ms
    }

    pub(crate) fn last_arrival_ms(&self) -> i64 {
        self.contents.read().last_arrival_ms
    }

    pub(crate) fn max_timestamp_ms(&self) -> i64 {
        self.contents.read().max_timestamp_ms
    }

    /// Adds batches that follow each other without a gap. They can be read when this returns.
    pub(crate) fn append(&self, batches: &[TailBatch], index_interval_bytes: u32) -> Result<()> {
        let (position, file) = {
            let contents = self.contents.read();
            (contents.log_bytes, contents.file.clone())
        };
        let file = match file {
            Some(file) => file,
            None => self.disk.open(&self.log_path).map_err(io_error("open", &self.log_path))?,
        };
        let joined;
        let bytes = match batches {
            [batch] => &batch.bytes[..],
            _ => {
                joined = batches.iter().map(|batch| &batch.bytes[..]).collect::<Vec<_>>().concat();
                &joined[..]
            }
        };
        file.write_all_at(bytes, position).map_err(io_error("write", &self.log_path))?;
        let mut contents = self.contents.write();
        contents.file = Some(file);
        for batch in batches {
            let arrival = Arrival::known(batch.arrival_time_ms);
            contents.add(self.base_offset, &batch.header, arrival, index_interval_bytes);
        }
        Ok(())
    }

    /// Counts in a batch that stands in the file already, right behind what was counted.
    pub(crate) fn adopt(&self, header: &BatchHeader, arrival: Arrival, index_interval_bytes: u32) {
        self.contents.write().add(self.base_offset, header, arrival, index_interval_bytes);
    }

    /// Makes what was adopted durable. Its file must end there: else the batches were not those that were looked at.
    pub(crate) fn end_adoption(&self) -> Result<()> {
        let file = self.disk.open(&self.log_path).map_err(io_error("open", &self.log_path))?;
        let (counted, found) = (self.log_bytes(), file.size().map_err(io_error("look at", &self.log_path))?);
        if counted != found {
            let reason = format!("the write-ahead log has {counted} bytes of batches for it, the file has {found}");
            return Err(Error::corrupt(&self.log_path, counted.min(found), reason));
        }
        file.sync().map_err(sync_error(&self.log_path))
    }

    /// Ends the segment: the time index gets its last entry, as Kafka does it.
    pub(crate) fn seal(&self) {
        self.contents.write().index_time(self.base_offset);
    }

    /// Whether its file is open because there is something to sync.
    pub(crate) fn is_open(&self) -> bool {
        self.contents.read().file.is_some()
    }

    /// Makes the batches durable and lets go of the file.
    pub(crate) fn close(&self) -> Result<()> {
        // Only the flusher changes a segment, so nothing is written between the sync and the end.
        let file = self.contents.read().file.clone();
        if let Some(file) = file {
            file.sync().map_err(sync_error(&self.log_path))?;
        }
        self.contents.write().file = None;
        Ok(())
    }

    /// Makes everything durable except the files' names, and says how far it goes and whether there are new names.
    pub(crate) fn persist(&self) -> Result<(SegmentExtent, bool)> {
        self.close()?;
        let mut contents = self.contents.write();
        let mut names_made = contents.index.persist(&*self.disk)?;
        names_made |= contents.time_index.persist(&*self.disk)?;
        names_made |= contents.arrivals.persist(&*self.disk)?;
        let extent = SegmentExtent {
            base_offset: self.base_offset,
            next_offset: contents.next_offset,
            log_bytes: contents.log_bytes,
            index_entries: contents.index.len(),
            time_index_entries: contents.time_index.len(),
            arrival_entries: contents.arrivals.len(),
            max_timestamp_ms: contents.max_timestamp_ms,
            max_timestamp_offset: contents.max_timestamp_offset,
            first_arrival_ms: contents.first_arrival_ms,
            last_arrival_ms: contents.last_arrival_ms,
        };
        Ok((extent, names_made))
    }

    /// The files that belong to it.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        KINDS.map(|kind| self.log_path.with_extension(kind)).into()
    }
}

impl Contents {
    /// Those of a segment without batches.
    pub(crate) fn empty(log_path: &Path, base_offset: Offset) -> Self {
        Self::of(log_path, &SegmentExtent::empty(base_offset))
    }

    /// Those that a checkpoint speaks of, with files of entries that are not looked at.
    fn of(log_path: &Path, extent: &SegmentExtent) -> Self {
        Self {
            next_offset: extent.next_offset,
            log_bytes: extent.log_bytes,
            index: EntryFile::new(IndexKind::Offsets, log_path, extent.index_entries),
            time_index: EntryFile::new(IndexKind::Times, log_path, extent.time_index_entries),
            arrivals: EntryFile::new(IndexKind::Arrivals, log_path, extent.arrival_entries),
            max_timestamp_ms: extent.max_timestamp_ms,
            max_timestamp_offset: extent.max_timestamp_offset,
            time_indexed_ms: extent.max_timestamp_ms,
            first_arrival_ms: extent.first_arrival_ms,
            last_arrival_ms: extent.last_arrival_ms,
            last_arrival_is_estimate: false,
            bytes_since_index: 0,
            repairs: 0,
            arrivals_lost: None,
            file: None,
        }
    }

    /// Counts in a batch that follows those before it.
    pub(crate) fn add(
        &mut self,
        segment_base: Offset,
        header: &BatchHeader,
        arrival: Arrival,
        index_interval_bytes: u32,
    ) {
        let last_offset = header.next_offset() - 1;
        let relative = |offset: Offset| u32::try_from(offset - segment_base).unwrap_or(u32::MAX).to_be_bytes();
        if self.log_bytes == 0 {
            self.first_arrival_ms = arrival.time_ms;
        }
        let last = Arrival { time_ms: self.last_arrival_ms, is_estimate: self.last_arrival_is_estimate };
        if self.log_bytes == 0 || arrival != last {
            self.arrivals.push(arrival_entry(header.base_offset, arrival));
            (self.last_arrival_ms, self.last_arrival_is_estimate) = (arrival.time_ms, arrival.is_estimate);
        }
        if header.max_timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = header.max_timestamp_ms;
            self.max_timestamp_offset = last_offset;
        }
        if self.bytes_since_index > u64::from(index_interval_bytes) {
            let position = u32::try_from(self.log_bytes).unwrap_or(u32::MAX).to_be_bytes();
            self.index.push(joined(relative(last_offset), position));
            self.index_time(segment_base);
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += header.size_bytes() as u64;
        self.log_bytes += header.size_bytes() as u64;
        self.next_offset = header.next_offset();
    }

    fn index_time(&mut self, segment_base: Offset) {
        if self.max_timestamp_ms > self.time_indexed_ms {
            self.time_indexed_ms = self.max_timestamp_ms;
            let relative = u32::try_from(self.max_timestamp_offset - segment_base).unwrap_or(u32::MAX);
            self.time_index.push(joined(self.max_timestamp_ms.to_be_bytes(), relative.to_be_bytes()));
        }
    }
}

/// Cuts a segment to the size that a checkpoint knows.
fn truncate_to(disk: &dyn Disk, path: &Path, size: u64) -> Result<()> {
    let file = disk.open(path).map_err(io_error("open", path))?;
    let found = file.size().map_err(io_error("look at", path))?;
    if found < size {
        let reason = format!("the file has {found} bytes, the checkpoint says {size}");
        return Err(Error::corrupt(path, found, reason));
    }
    if found > size {
        file.truncate(size).map_err(io_error("truncate", path))?;
    }
    Ok(())
}

/// The kinds of files that belong to a segment, as their names end.
const KINDS: [&str; 5] = ["log", "index", "timeindex", "arrivals", "arrivals.damaged"];
/// Files that are half made, as their names end.
const HALF_MADE: [&str; 3] = ["index.new", "timeindex.new", "arrivals.new"];

/// The base offset that a file's name speaks of, and its kind; `None` when it is no file of a segment.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, kind) = name.split_once('.')?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_kind = KINDS.contains(&kind) || HALF_MADE.contains(&kind);
    (is_ours && is_kind).then(|| Some((digits.parse().ok()?, kind)))?
}

/// Where a segment's file of a kind is.
pub(crate) fn path_of(directory: &Path, base_offset: Offset, kind: &str) -> PathBuf {
    directory.join(format!("{base_offset:020}.{kind}"))
}
