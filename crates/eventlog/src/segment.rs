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
//! What must hold: only the mover appends; offsets are contiguous within a segment; a dirty segment keeps its file
//! open until it is synced, because a write error is reported only to those who hold the file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use model::Offset;
use parking_lot::RwLock;

use crate::{
    disk::{Disk, DiskFile},
    log::{Result, io_error},
    partition::TailBatch,
    segment_index::{EntryFile, truncate_to},
};

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

pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    pub(crate) log_path: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) contents: RwLock<Contents>,
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
    first_arrival_ms: i64,
    last_arrival_ms: i64,
    bytes_since_index: u64,
    /// Open while there is something to sync.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
}

impl Segment {
    /// An empty segment; its file is made now.
    pub(crate) fn create(disk: Arc<dyn Disk>, directory: &Path, base_offset: Offset) -> Result<Self> {
        let log_path = path_of(directory, base_offset, "log");
        let file = disk.create(&log_path).map_err(io_error("create", &log_path))?;
        let contents = Contents {
            next_offset: base_offset,
            log_bytes: 0,
            index: EntryFile::new(path_of(directory, base_offset, "index")),
            time_index: EntryFile::new(path_of(directory, base_offset, "timeindex")),
            arrivals: EntryFile::new(path_of(directory, base_offset, "arrivals")),
            max_timestamp_ms: -1,
            max_timestamp_offset: base_offset,
            time_indexed_ms: -1,
            first_arrival_ms: 0,
            last_arrival_ms: 0,
            bytes_since_index: 0,
            file: Some(file),
        };
        Ok(Self { base_offset, log_path, disk, contents: RwLock::new(contents) })
    }

    /// The segment that a checkpoint speaks of; what was written after the checkpoint is cut off.
    pub(crate) fn recover(disk: Arc<dyn Disk>, directory: &Path, extent: &SegmentExtent) -> Result<Self> {
        let base_offset = extent.base_offset;
        let log_path = path_of(directory, base_offset, "log");
        truncate_to(&*disk, &log_path, extent.log_bytes)?;
        let path = |kind| path_of(directory, base_offset, kind);
        let contents = Contents {
            next_offset: extent.next_offset,
            log_bytes: extent.log_bytes,
            index: EntryFile::recover(&*disk, path("index"), extent.index_entries)?,
            time_index: EntryFile::recover(&*disk, path("timeindex"), extent.time_index_entries)?,
            arrivals: EntryFile::recover(&*disk, path("arrivals"), extent.arrival_entries)?,
            max_timestamp_ms: extent.max_timestamp_ms,
            max_timestamp_offset: extent.max_timestamp_offset,
            time_indexed_ms: extent.max_timestamp_ms,
            first_arrival_ms: extent.first_arrival_ms,
            last_arrival_ms: extent.last_arrival_ms,
            bytes_since_index: 0,
            file: None,
        };
        Ok(Self { base_offset, log_path, disk, contents: RwLock::new(contents) })
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
            contents.add(self.base_offset, batch, index_interval_bytes);
        }
        Ok(())
    }

    /// Ends the segment: the time index gets its last entry, as Kafka does it.
    pub(crate) fn seal(&self) {
        self.contents.write().index_time(self.base_offset);
    }

    /// Makes everything durable except the files' names, and says how far it goes and whether there are new names.
    pub(crate) fn persist(&self) -> Result<(SegmentExtent, bool)> {
        // Only the mover changes a segment, so nothing moves between the sync and the extent.
        let file = self.contents.read().file.clone();
        if let Some(file) = file {
            file.sync().map_err(io_error("sync", &self.log_path))?;
        }
        let mut contents = self.contents.write();
        contents.file = None;
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
        ["log", "index", "timeindex", "arrivals"].map(|kind| self.log_path.with_extension(kind)).into()
    }
}

impl Contents {
    fn add(&mut self, segment_base: Offset, batch: &TailBatch, index_interval_bytes: u32) {
        let header = &batch.header;
        let last_offset = header.next_offset() - 1;
        let relative = |offset: Offset| u32::try_from(offset - segment_base).unwrap_or(u32::MAX).to_be_bytes();
        if self.log_bytes == 0 {
            self.first_arrival_ms = batch.arrival_time_ms;
        }
        if self.log_bytes == 0 || batch.arrival_time_ms != self.last_arrival_ms {
            self.arrivals.push(arrival_entry(header.base_offset, batch.arrival_time_ms));
            self.last_arrival_ms = batch.arrival_time_ms;
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
        self.bytes_since_index += batch.bytes.len() as u64;
        self.log_bytes += batch.bytes.len() as u64;
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

/// An entry of `.arrivals`: from `offset` on, batches arrived at `arrival_time_ms`.
fn arrival_entry(offset: Offset, arrival_time_ms: i64) -> [u8; 20] {
    let body: [u8; 16] = joined(offset.to_be_bytes(), arrival_time_ms.to_be_bytes());
    joined(body, crc32c::crc32c(&body).to_be_bytes())
}

/// Reads what [`arrival_entry`] made; `None` when its checksum is wrong.
pub(crate) fn read_arrival_entry(entry: [u8; 20]) -> Option<(Offset, i64)> {
    let (body, checksum) = entry.split_last_chunk()?;
    let (offset, arrival) = body.split_first_chunk()?;
    (crc32c::crc32c(body) == u32::from_be_bytes(*checksum))
        .then_some((i64::from_be_bytes(*offset), i64::from_be_bytes(*arrival.first_chunk()?)))
}

fn joined<const A: usize, const B: usize, const N: usize>(first: [u8; A], second: [u8; B]) -> [u8; N] {
    std::array::from_fn(|i| if i < A { first[i] } else { second[i - A] })
}

/// The base offset that a file's name speaks of.
pub(crate) fn path_of(directory: &Path, base_offset: Offset, kind: &str) -> PathBuf {
    directory.join(format!("{base_offset:020}.{kind}"))
}
