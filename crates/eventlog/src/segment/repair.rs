//! Making anew what helps to find a place in a segment, when it is missing or damaged.
//!
//! Offset and time index follow from the batches. Arrival times do not: they stand nowhere else once the write-ahead
//! log was taken away. What is left of them is kept as it is, and a batch whose time is lost gets an estimate between
//! the times of its neighbours: its own largest timestamp, moved into those bounds. The damaged file stays beside the
//! segment as `.arrivals.damaged`, and the loss is reported as an error.
//!
//! What must hold: a rebuilt file takes the place of the old one in one step; times that are left are not changed;
//! arrival times do not decrease; a damaged batch does not cost the entries behind it.

use std::io;

use model::Offset;

use crate::{
    log::{Error, Result, io_error},
    record::BatchHeader,
};

use super::{
    Contents, Segment,
    cursor::Cursor,
    entry::{Arrival, arrival_entry, read_arrival_entry},
    entry_file::IndexKind,
};

/// How far apart the entries of a rebuilt index are, in bytes of the segment.
const INDEX_INTERVAL_BYTES: u32 = 4096;
const WINDOW_BYTES: usize = 256 * 1024;

/// When a repair may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Entries are missing: any that can be made are better than none.
    Missing,
    /// Something is wrong, after this many repairs. If the segment itself cannot be walked over, it is that which is
    /// damaged, and its index is left alone.
    Doubted(u32),
}

impl Segment {
    /// Makes the file of `kind` anew.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the batches themselves are damaged, [`Error::Io`].
    pub(crate) fn repair(&self, kind: IndexKind, repair: Repair, reason: &str) -> Result<()> {
        if let Some(unsound) = &self.unsound {
            // Made from what is there, it would be wrong when the whole file is put back.
            return Err(Error::corrupt(&self.log_path, unsound.log_bytes, unsound.reason.clone()));
        }
        let mut contents = self.contents.write();
        if matches!(repair, Repair::Doubted(seen) if seen != contents.repairs) {
            return Ok(()); // Somebody else has done it meanwhile.
        }
        let path = self.log_path.with_extension(kind.extension());
        let known = if kind == IndexKind::Arrivals { self.known_arrivals(&contents)? } else { Vec::new() };
        let (mut rebuilt, walked) = self.walk(&contents, Arrivals::new(self.base_offset, &contents, &known))?;
        if let Err(error) = walked {
            if repair != Repair::Missing && kind != IndexKind::Arrivals {
                return Err(error);
            }
            tracing::error!(file = %path.display(), %error, "the segment is damaged, its index ends there");
            let walked_to = rebuilt.next_offset;
            let behind = known.iter().flatten().filter(|(offset, _)| *offset >= walked_to);
            behind.for_each(|(offset, arrival)| rebuilt.arrivals.push(arrival_entry(*offset, *arrival)));
        }
        match kind {
            IndexKind::Offsets => contents.index.replace(&*self.disk, &rebuilt.index)?,
            IndexKind::Times => contents.time_index.replace(&*self.disk, &rebuilt.time_index)?,
            IndexKind::Arrivals => {
                let kept_in = self.keep_damaged_arrivals()?;
                contents.arrivals.replace(&*self.disk, &rebuilt.arrivals)?;
                tracing::error!(
                    file = %path.display(), reason, kept_in,
                    "arrival times were lost and are estimated from the records' timestamps"
                );
                contents.arrivals_lost = Some(format!("{reason}; what was left is kept in {kept_in}"));
            }
        }
        contents.repairs += 1;
        tracing::warn!(file = %path.display(), reason, "rebuilt from the segment's records");
        Ok(())
    }

    /// Copies `.arrivals` beside it, unless there is a copy of an earlier damage, which knew more.
    fn keep_damaged_arrivals(&self) -> Result<String> {
        let (path, copy) = (self.log_path.with_extension("arrivals"), self.log_path.with_extension("arrivals.damaged"));
        let bytes = match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok("nothing: there was no file".to_owned()),
            read => read.map_err(io_error("read", &path))?,
        };
        if self.disk.open(&copy).is_err() {
            let file = self.disk.create(&copy).map_err(io_error("create", &copy))?;
            file.write_all_at(&bytes, 0).and_then(|()| file.sync()).map_err(io_error("write", &copy))?;
        }
        Ok(copy.display().to_string())
    }

    /// The arrival times that are left; `None` where some are missing.
    fn known_arrivals(&self, contents: &Contents) -> Result<Vec<Option<(Offset, Arrival)>>> {
        let remains = contents.arrivals.remains(&*self.disk)?;
        let here = |(offset, _): &(Offset, Arrival)| (self.base_offset..contents.next_offset).contains(offset);
        Ok(remains.into_iter().map(|entry| entry.and_then(read_arrival_entry).filter(here)).collect())
    }

    /// Walks over all batches and makes entries for them; stops where a batch is damaged.
    fn walk(&self, contents: &Contents, mut arrivals: Arrivals<'_>) -> Result<(Contents, Result<(), Error>)> {
        // By its name: a segment that retention has taken away must not get files again.
        let file = self.disk.open(&self.log_path).map_err(io_error("open", &self.log_path))?;
        let mut cursor = Cursor::at_start(self, file, contents.log_bytes, WINDOW_BYTES);
        let mut rebuilt = Contents::empty(&self.log_path, self.base_offset);
        loop {
            match cursor.next(true) {
                Ok(Some((header, _))) => {
                    rebuilt.add(self.base_offset, &header, arrivals.of(&header), INDEX_INTERVAL_BYTES);
                }
                Ok(None) => return Ok((rebuilt, Ok(()))),
                Err(error @ Error::Corrupt { .. }) => return Ok((rebuilt, Err(error))),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Gives each batch of a segment, in order, the time at which it arrived, from what is left of the entries.
struct Arrivals<'a> {
    /// The entries that are still ahead.
    ahead: &'a [Option<(Offset, Arrival)>],
    /// The batch that `current` was stored for.
    known_at: Offset,
    current: Arrival,
    last_ms: i64,
    /// Whether an entry is missing between the last one and the next.
    is_gap: bool,
}

impl<'a> Arrivals<'a> {
    fn new(base_offset: Offset, contents: &Contents, known: &'a [Option<(Offset, Arrival)>]) -> Self {
        let is_whole = known.first().is_some_and(|entry| entry.is_some_and(|(offset, _)| offset == base_offset));
        Self {
            ahead: known,
            known_at: base_offset,
            current: Arrival { time_ms: contents.first_arrival_ms, is_estimate: !is_whole },
            last_ms: contents.last_arrival_ms,
            is_gap: !is_whole,
        }
    }

    fn of(&mut self, header: &BatchHeader) -> Arrival {
        while let Some((entry, ahead)) = self.ahead.split_first() {
            match entry {
                None => self.is_gap = true,
                Some((offset, _)) if *offset > header.base_offset => break,
                Some((offset, arrival)) => (self.known_at, self.current, self.is_gap) = (*offset, *arrival, false),
            }
            self.ahead = ahead;
        }
        let next_ms = self.ahead.iter().flatten().next().map(|(_, arrival)| arrival.time_ms);
        // The last entry has the last time, or there were more.
        let is_gap = self.is_gap || (next_ms.is_none() && self.current.time_ms != self.last_ms);
        if is_gap && self.known_at != header.base_offset {
            let latest_ms = next_ms.unwrap_or(self.last_ms).max(self.current.time_ms);
            let time_ms = header.max_timestamp_ms.clamp(self.current.time_ms, latest_ms);
            self.current = Arrival { time_ms, is_estimate: true };
        }
        self.current
    }
}

#[cfg(test)]
mod tests;
