//! One partition, as readers, the writer and the flusher share it: the tail in memory, the segments on disk, and the
//! bounds that readers see.
//!
//! A batch enters the tail when it is durable in the write-ahead log, is copied to a segment by the flusher, and leaves
//! the tail later, when the memory is needed. So every committed batch is always in one of the two, or in both.
//!
//! What must hold: the writer alone commits, the flusher alone changes segments; the high watermark moves after the
//! batch is in the tail; a batch leaves the tail only after it can be read from a segment.

use std::{
    collections::VecDeque,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use model::{Offset, TopicPartition};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    damage::{Damage, DamagedPart},
    disk::Disk,
    log::{Bounds, Error, ReadResult, Result, StoredBatch, TimedOffset, TopicSettings, io_error, sync_error},
    open_segments::OpenSegments,
    partition_directory::directory_name,
    record::BatchHeader,
    segment::{Arrival, Segment, SegmentExtent, first_at_or_after},
    settings::EventLogSettings,
    tail::TailBatch,
};

pub(crate) struct Partition {
    pub(crate) name: TopicPartition,
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    log_start: AtomicI64,
    high_watermark: AtomicI64,
    /// Gone when the topic is deleted or the log closed.
    watch: Mutex<Option<watch::Sender<Offset>>>,
    tail: RwLock<VecDeque<TailBatch>>,
    /// In order of their offsets.
    segments: RwLock<Vec<Arc<Segment>>>,
    deleted: AtomicBool,
    /// Names that were made since the last checkpoint and are not synced.
    names_unsynced: AtomicBool,
    /// The file whose records are missing, and what is wrong with it.
    quarantine: Option<(String, String)>,
}

impl Partition {
    /// A partition of a new topic; nothing is made on disk before the first batch is moved.
    pub(crate) fn new(disk: Arc<dyn Disk>, topics: &Path, name: TopicPartition, topic_id: Uuid) -> Self {
        Self::with_segments(disk, topics, (name, topic_id), (0, 0), Vec::new())
    }

    /// A partition with segments that were there before. When one of them is unsound it takes no writes.
    pub(crate) fn with_segments(
        disk: Arc<dyn Disk>,
        topics: &Path,
        (name, topic_id): (TopicPartition, Uuid),
        (log_start, next_offset): (Offset, Offset),
        segments: Vec<Arc<Segment>>,
    ) -> Self {
        let directory = topics.join(directory_name(&name, topic_id));
        let describe = |segment: &Arc<Segment>| {
            let unsound = segment.unsound.as_ref()?;
            Some((segment.log_path.display().to_string(), unsound.reason.clone()))
        };
        let quarantine = segments.iter().find_map(describe);
        Self {
            name,
            directory,
            disk,
            log_start: AtomicI64::new(log_start),
            high_watermark: AtomicI64::new(next_offset),
            watch: Mutex::new(Some(watch::Sender::new(next_offset))),
            tail: RwLock::default(),
            segments: RwLock::new(segments),
            deleted: AtomicBool::new(false),
            names_unsynced: AtomicBool::new(false),
            quarantine,
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        // The start first: it never overtakes a high watermark that was read after it.
        let log_start_offset = self.log_start.load(Ordering::Acquire);
        Bounds { log_start_offset, high_watermark: self.high_watermark.load(Ordering::Acquire) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What was found damaged.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        let damage = |part, file: &str, reason: &str| Damage {
            part,
            partition: Some(self.name.clone()),
            file: file.to_owned(),
            reason: reason.to_owned(),
        };
        let records = self.quarantine.iter().map(|(file, reason)| damage(DamagedPart::Records, file, reason));
        let mut found: Vec<_> = records.collect();
        for segment in &*self.segments.read() {
            let file = segment.log_path.with_extension("arrivals").display().to_string();
            found.extend(segment.arrivals_lost().map(|reason| damage(DamagedPart::ArrivalTimes, &file, &reason)));
        }
        found
    }

    /// An error when it takes no writes.
    pub(crate) fn check_writable(&self) -> Result<()> {
        let Some((file, reason)) = &self.quarantine else { return Ok(()) };
        Err(Error::Quarantined { partition: self.name.clone(), reason: format!("{file}: {reason}") })
    }

    /// The offsets whose arrival times are estimates.
    pub(crate) fn estimated_arrivals(&self) -> Result<Vec<Range<Offset>>> {
        let segments = self.segments.read().clone();
        let mut estimated: Vec<Range<Offset>> = Vec::new();
        for segment in segments {
            for range in segment.estimated_arrivals()? {
                match estimated.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => estimated.push(range),
                }
            }
        }
        Ok(estimated)
    }

    /// Whether something beside its segments had to be made anew.
    pub(crate) fn was_repaired(&self) -> bool {
        self.segments.read().iter().any(|segment| segment.was_repaired())
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// A receiver of the high watermark; `None` when nothing will move it any more.
    pub(crate) fn watch(&self) -> Option<watch::Receiver<Offset>> {
        self.watch.lock().as_ref().map(watch::Sender::subscribe)
    }

    /// Lets those who watch the high watermark go.
    pub(crate) fn end_watch(&self) {
        self.watch.lock().take();
    }

    /// The topic is gone: nobody waits for more, and nothing more is moved.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        self.end_watch();
        self.tail.write().clear();
    }

    // ---- the writer's side

    /// Shows durable batches to readers.
    pub(crate) fn commit(&self, batches: impl IntoIterator<Item = TailBatch>, next_offset: Offset) {
        self.tail.write().extend(batches);
        self.set_high_watermark(next_offset);
    }

    fn set_high_watermark(&self, next_offset: Offset) {
        self.high_watermark.store(next_offset, Ordering::Release);
        if let Some(watch) = &*self.watch.lock() {
            watch.send_replace(next_offset);
        }
    }

    // ---- the readers' side

    /// See [`EventLog::read`](crate::EventLog::read).
    pub(crate) fn read(&self, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        let bounds = self.bounds();
        let Bounds { log_start_offset: start, high_watermark: end } = bounds;
        if !(start..=end).contains(&from) {
            return Err(Error::OffsetOutOfRange { partition: self.name.clone(), offset: from, start, end });
        }
        let empty = from == end;
        let read = || self.read_batches(from, bytes_max).map_err(|error| error.of_records(&self.name, from));
        let batches = if empty { Vec::new() } else { read()? };
        Ok(ReadResult { batches, bounds })
    }

    /// See [`EventLog::read_damaged`](crate::EventLog::read_damaged). What is in memory is not damaged.
    pub(crate) fn read_damaged(&self, offset: Offset) -> Result<Option<Bytes>> {
        self.segments_from(offset).first().map_or(Ok(None), |segment| segment.read_damaged(offset))
    }

    /// What a read can answer without touching the disk; `None` when it cannot.
    pub(crate) fn read_from_memory(&self, from: Offset, bytes_max: usize) -> Option<ReadResult> {
        let bounds = self.bounds();
        if from == bounds.high_watermark && from >= bounds.log_start_offset {
            return Some(ReadResult { batches: Vec::new(), bounds });
        }
        let in_range = (bounds.log_start_offset..bounds.high_watermark).contains(&from);
        let batches = in_range.then(|| self.read_tail(from, bytes_max, false))??;
        Some(ReadResult { batches, bounds })
    }

    fn read_batches(&self, from: Offset, bytes_max: usize) -> Result<Vec<StoredBatch>> {
        if let Some(batches) = self.read_tail(from, bytes_max, false) {
            return Ok(batches);
        }
        let (mut found, mut bytes): (Vec<StoredBatch>, usize) = (Vec::new(), 0);
        for segment in self.segments_from(from) {
            let more = match segment.read(from, bytes_max - bytes) {
                // Whoever reads on behind what was found will be told.
                Err(Error::Corrupt { .. }) if !found.is_empty() => break,
                more => more?,
            };
            // A segment always gives one batch; after the first, it counts only if it fits.
            let fits = |batch: &StoredBatch| found.is_empty() || bytes + batch.bytes.len() <= bytes_max;
            if !more.first().is_none_or(fits) {
                break;
            }
            bytes += more.iter().map(|batch| batch.bytes.len()).sum::<usize>();
            found.extend(more);
            // The next segment comes only after all of this one: a batch that did not fit must not be jumped over.
            let ended = found.last().is_none_or(|last| last.next_offset() >= segment.next_offset());
            if bytes >= bytes_max || !ended {
                break;
            }
        }
        if found.is_empty() {
            // What `from` stood for was lost to damage and lay at the end of the segments: read on behind the gap.
            found = self.read_tail(from, bytes_max, true).unwrap_or_default();
        }
        Ok(found)
    }

    /// From the tail; `None` when `from` lies before it, unless `over_gap`.
    fn read_tail(&self, from: Offset, bytes_max: usize, over_gap: bool) -> Option<Vec<StoredBatch>> {
        let tail = self.tail.read();
        let first = tail.front()?.header.base_offset;
        if from < first && !over_gap {
            return None;
        }
        let start = tail.partition_point(|batch| batch.header.next_offset() <= from);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for batch in tail.range(start..) {
            if bytes > 0 && bytes + batch.bytes.len() > bytes_max {
                break;
            }
            bytes += batch.bytes.len();
            found.push(batch.stored());
        }
        Some(found)
    }

    fn segments_from(&self, from: Offset) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let start = segments.partition_point(|segment| segment.next_offset() <= from);
        segments.iter().skip(start).map(Arc::clone).collect()
    }

    /// See [`EventLog::offset_at_time`](crate::EventLog::offset_at_time).
    pub(crate) fn offset_at_time(&self, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        let mut from = self.bounds().log_start_offset;
        loop {
            for segment in self.segments_from(from) {
                // Read before the search: batches that come while it runs are searched in the next round.
                let next_offset = segment.next_offset();
                let found = segment.offset_at_time(timestamp_ms, from);
                if let Some(found) = found.map_err(|error| error.of_records(&self.name, from))? {
                    return Ok(Some(found));
                }
                from = from.max(next_offset);
            }
            if let Some(later) = self.tail_at_or_after(timestamp_ms, from) {
                let first = |batch: &TailBatch| first_at_or_after(&batch.stored(), &batch.header, timestamp_ms, from);
                return Ok(later.iter().find_map(first));
            }
        }
    }

    /// The batches from `from` on that reach `timestamp_ms`; `None` when some may have gone to a segment meanwhile.
    fn tail_at_or_after(&self, timestamp_ms: i64, from: Offset) -> Option<Vec<TailBatch>> {
        // While the tail is held nothing can leave it, so what no segment has now is in it.
        let tail = self.tail.read();
        let is_later =
            |batch: &&TailBatch| batch.header.next_offset() > from && batch.header.max_timestamp_ms >= timestamp_ms;
        self.segments_from(from).is_empty().then(|| tail.iter().filter(is_later).cloned().collect())
    }

    // ---- the flusher's side

    /// Copies committed batches, which follow those moved before, into segments. What the segments have already, because
    /// an attempt was broken off, is not copied again.
    pub(crate) fn move_to_segments(
        &self,
        batches: &[TailBatch],
        settings: &EventLogSettings,
        open: &mut OpenSegments,
    ) -> Result<()> {
        let moved_to = self.segments.read().last().map_or(0, |last| last.next_offset());
        let moved = batches.partition_point(|batch| batch.header.next_offset() <= moved_to);
        let mut rest = batches.get(moved..).unwrap_or_default();
        while let Some(first) = rest.first() {
            let active = self.segments.read().last().map(Arc::clone);
            let active = active.filter(|segment| segment.unsound.is_none() && fits(segment, 0, first, settings));
            let segment = match active {
                Some(segment) => segment,
                None => self.begin_segment(first.header.base_offset)?,
            };
            open.will_write(&segment)?;
            let (mut count, mut bytes, mut next_offset) = (0, 0, first.header.base_offset);
            for batch in rest {
                let contiguous = batch.header.base_offset == next_offset;
                if count > 0 && !(contiguous && fits_size(&segment, bytes, batch, settings)) {
                    break;
                }
                (count, bytes, next_offset) = (count + 1, bytes + batch.bytes.len(), batch.header.next_offset());
            }
            let (now, later) = rest.split_at(count);
            segment.append(now, settings.index_interval_bytes)?;
            rest = later;
        }
        Ok(())
    }

    fn begin_segment(&self, base_offset: Offset) -> Result<Arc<Segment>> {
        if let Some(active) = self.segments.read().last() {
            active.seal();
        }
        self.disk.create_directory(&self.directory).map_err(io_error("create", &self.directory))?;
        self.note_new_names();
        let segment = Arc::new(Segment::create(Arc::clone(&self.disk), &self.directory, base_offset)?);
        self.segments.write().push(Arc::clone(&segment));
        Ok(segment)
    }

    fn note_new_names(&self) {
        self.names_unsynced.store(true, Ordering::Release);
    }

    /// Counts in a batch that stands in the segments already, and whose frame in the write-ahead log may be lost.
    pub(crate) fn adopt(&self, header: &BatchHeader, arrival: Arrival, index_interval_bytes: u32) {
        let segments = self.segments.read();
        let behind = segments.partition_point(|segment| segment.base_offset <= header.base_offset);
        let mut before = segments.iter().take(behind).rev();
        let (Some(segment), earlier) = (before.next(), before.next()) else { return };
        if let Some(earlier) = earlier.filter(|_| segment.log_bytes() == 0) {
            earlier.seal();
        }
        segment.adopt(header, arrival, index_interval_bytes);
    }

    /// Makes durable what was adopted from the segment that begins at `from` on.
    pub(crate) fn end_adoption(&self, from: Offset) -> Result<()> {
        for segment in self.segments.read().iter().filter(|segment| segment.base_offset >= from) {
            segment.end_adoption()?;
        }
        self.note_new_names();
        self.disk.sync_directory(&self.directory).map_err(sync_error(&self.directory))
    }

    /// Recovery moves batches before there is a tail; readers may see them from here on.
    pub(crate) fn recovered_to(&self, next_offset: Offset) {
        self.set_high_watermark(next_offset);
    }

    /// Frees the memory of batches before `next_offset`, which were moved.
    pub(crate) fn evict_tail(&self, next_offset: Offset) {
        let mut tail = self.tail.write();
        while tail.front().is_some_and(|batch| batch.header.next_offset() <= next_offset) {
            tail.pop_front();
        }
        if tail.is_empty() {
            *tail = VecDeque::new();
        }
    }

    /// Whether [`retire`](Self::retire) would find something.
    pub(crate) fn has_expired(&self, settings: &TopicSettings, now_ms: i64) -> bool {
        // What is in quarantine stays as it is until somebody has looked after it.
        self.quarantine.is_none() && expired(&self.segments.read(), settings, now_ms) > 0
    }

    /// Takes away the segments that retention does not keep and moves the log's start behind them. Their files may be
    /// removed when a checkpoint that does not name them is durable.
    pub(crate) fn retire(&self, settings: &TopicSettings, now_ms: i64) -> Vec<PathBuf> {
        if self.quarantine.is_some() {
            return Vec::new();
        }
        let mut segments = self.segments.write();
        let count = expired(&segments, settings, now_ms);
        let retired: Vec<_> = segments.drain(..count).collect();
        if let Some(last) = retired.last() {
            self.log_start.fetch_max(last.next_offset(), Ordering::AcqRel);
            drop(segments);
            self.evict_tail(last.next_offset());
        }
        retired.iter().flat_map(|segment| segment.paths()).collect()
    }

    /// Makes segments and their names durable, except the name of the partition's own directory.
    pub(crate) fn persist(&self) -> Result<Vec<SegmentExtent>> {
        let segments = self.segments.read().clone();
        let mut names_made = self.names_unsynced.load(Ordering::Acquire);
        let mut extents = Vec::with_capacity(segments.len());
        for segment in segments {
            let (extent, made) = segment.persist()?;
            names_made |= made;
            extents.push(extent);
        }
        if names_made {
            self.disk.sync_directory(&self.directory).map_err(sync_error(&self.directory))?;
            self.names_unsynced.store(false, Ordering::Release);
        }
        Ok(extents)
    }
}

/// How many of the oldest segments retention does not keep.
fn expired(segments: &[Arc<Segment>], settings: &TopicSettings, now_ms: i64) -> usize {
    let mut bytes: u64 = segments.iter().map(|segment| segment.log_bytes()).sum();
    let mut count = 0;
    for (index, segment) in segments.iter().enumerate() {
        // Age counts from arrival, not from the producer's timestamps: history that is loaded today is kept.
        let too_old = settings.retention_ms.is_some_and(|kept_ms| {
            segment.log_bytes() > 0 && segment.last_arrival_ms().saturating_add(kept_ms) < now_ms
        });
        let is_last = index + 1 == segments.len();
        let kept_bytes = settings.retention_bytes.map(|kept| u64::try_from(kept).unwrap_or(0));
        let too_much = !is_last && kept_bytes.is_some_and(|kept| bytes - segment.log_bytes() >= kept);
        if !too_old && !too_much {
            break;
        }
        bytes -= segment.log_bytes();
        count += 1;
    }
    count
}

fn fits(segment: &Segment, bytes: usize, batch: &TailBatch, settings: &EventLogSettings) -> bool {
    let aged = segment.log_bytes() > 0
        && batch.arrival_time_ms.saturating_sub(segment.first_arrival_ms()) > settings.segment_age_ms_max;
    let contiguous = segment.next_offset() == batch.header.base_offset;
    contiguous && !aged && fits_size(segment, bytes, batch, settings)
}

fn fits_size(segment: &Segment, bytes: usize, batch: &TailBatch, settings: &EventLogSettings) -> bool {
    let size = segment.log_bytes() + (bytes + batch.bytes.len()) as u64;
    let empty = segment.log_bytes() == 0 && bytes == 0;
    // Kafka's indexes count offsets and bytes in 31 bits.
    let in_size = size <= u64::from(settings.segment_bytes.min(i32::MAX.unsigned_abs()));
    let in_range = batch.header.next_offset() - segment.base_offset <= i64::from(i32::MAX);
    empty || (in_size && in_range)
}
