//! From the log's batches to events.

use std::sync::Arc;

use eventlog::{EventLog, Record, StoredBatch};
use model::{Offset, TopicPartition};
use parking_lot::Mutex;

use crate::{Error, RecordedEvent, Result, cache::BoundedCache, record};

// A stream's events that lie closer than this are read in one go.
const NEIGHBOUR_DISTANCE: Offset = 256;
// How many bytes a record is taken to need, when the size of a read is chosen.
const RECORD_BYTES: usize = 1024;

/// Reads the store's partition.
pub(crate) struct Reader {
    log: Arc<dyn EventLog>,
    partition: TopicPartition,
    read_bytes: usize,
    // Unpacked batches by base offset.
    batches: Mutex<BoundedCache<Offset, Arc<Batch>>>,
}

/// A batch with its records unpacked.
pub(crate) struct Batch {
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
    /// The records, or why they cannot be read.
    pub(crate) records: Result<Vec<Record>, String>,
}

impl Batch {
    fn of(stored: &StoredBatch) -> Self {
        // Markers of transactions are the log's own, not records.
        let is_control = stored.header().is_ok_and(|header| header.is_control());
        let records = if is_control { Ok(Vec::new()) } else { stored.records().map_err(|error| error.to_string()) };
        Self { base_offset: stored.base_offset(), next_offset: stored.next_offset(), records }
    }

    fn record(&self, offset: Offset) -> Option<&Record> {
        let records = self.records.as_ref().ok()?;
        records.binary_search_by_key(&offset, |record| record.offset).ok().and_then(|at| records.get(at))
    }
}

impl Reader {
    /// A reader of `partition` that reads `read_bytes` at once and caches `cache_bytes`.
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        partition: TopicPartition,
        read_bytes: usize,
        cache_bytes: usize,
    ) -> Self {
        Self { log, partition, read_bytes, batches: Mutex::new(BoundedCache::new(cache_bytes)) }
    }

    /// The batches from the one that contains `from`, up to the first gap; none at the log's end. Sequential reads do not
    /// use the cache.
    ///
    /// A gap right at `from` is an error: the topic is never thinned out, so records that are not there were lost.
    pub(crate) async fn batches(&self, from: Offset) -> Result<Vec<Batch>> {
        let read = self.log.read(&self.partition, from, self.read_bytes).await?;
        let mut next = from;
        let mut batches = Vec::with_capacity(read.batches.len());
        for stored in &read.batches {
            let base_offset = stored.base_offset();
            if base_offset > next {
                if !batches.is_empty() {
                    break;
                }
                return Err(Error::Corrupt(format!("offsets {next} to {} are missing", base_offset - 1)));
            }
            next = stored.next_offset();
            batches.push(Batch::of(stored));
        }
        Ok(batches)
    }

    /// The first offset behind `from`, and before `end`, at which reading can go on; `end` when there is none.
    pub(crate) async fn readable_after(&self, from: Offset, end: Offset) -> Result<Offset> {
        // So far every offset is tried: a batch between two damaged ones is not missed. Farther than that, where a file is
        // damaged as a whole, the border is looked for by halves.
        const TRIED_ONE_BY_ONE: Offset = 4096;
        let mut bad = from;
        while bad + 1 < end && bad - from < TRIED_ONE_BY_ONE {
            if let Some(found) = self.readable_at(bad + 1).await? {
                return Ok(found.min(end));
            }
            bad += 1;
        }
        let mut step = TRIED_ONE_BY_ONE;
        let mut good = loop {
            let probe = bad.saturating_add(step);
            if probe >= end {
                break end;
            }
            match self.readable_at(probe).await? {
                Some(found) => break found.min(end),
                None => (bad, step) = (probe, step.saturating_mul(2)),
            }
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            match self.readable_at(middle).await? {
                Some(found) if found < good => good = found.max(middle),
                Some(_) => good = middle,
                None => bad = middle,
            }
        }
        Ok(good)
    }

    /// The first offset at or after this one that a read of it gives, if it can be read.
    async fn readable_at(&self, offset: Offset) -> Result<Option<Offset>> {
        match self.log.read(&self.partition, offset, 1).await {
            Ok(read) => Ok(read.batches.first().map(|batch| batch.base_offset().max(offset))),
            Err(eventlog::Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The events at these offsets, which are in ascending order and known to be events: all of them, or the first
    /// few that fill `bytes_max`.
    pub(crate) async fn events(&self, offsets: &[Offset], bytes_max: usize) -> Result<Vec<RecordedEvent>> {
        let mut events = Vec::with_capacity(offsets.len());
        let mut bytes = 0;
        let mut rest = offsets;
        while let [offset, ..] = *rest
            && bytes < bytes_max
        {
            let batch = match self.cached(offset) {
                Some(batch) => batch,
                None => self.load(rest).await?,
            };
            let in_batch = rest.partition_point(|offset| *offset < batch.next_offset);
            for offset in &rest[..in_batch] {
                if bytes >= bytes_max {
                    break;
                }
                let event = self.event(&batch, *offset)?;
                bytes += event.weight_bytes();
                events.push(event);
            }
            rest = &rest[in_batch..];
        }
        Ok(events)
    }

    /// The record at this offset.
    pub(crate) async fn record(&self, offset: Offset) -> Result<Record> {
        let batch = match self.cached(offset) {
            Some(batch) => batch,
            None => self.load(&[offset]).await?,
        };
        batch.record(offset).cloned().ok_or_else(|| {
            Error::Corrupt(format!("the record at offset {offset} of {} cannot be read", self.partition))
        })
    }

    fn event(&self, batch: &Batch, offset: Offset) -> Result<RecordedEvent> {
        let decoded = batch.record(offset).ok_or("it is not there any more").and_then(record::decode);
        decoded.map_err(|reason| {
            Error::Corrupt(format!("the event at offset {offset} of {} cannot be read: {reason}", self.partition))
        })
    }

    fn cached(&self, offset: Offset) -> Option<Arc<Batch>> {
        let (_, batch) = self.batches.lock().at_or_before(&offset)?;
        (offset < batch.next_offset).then_some(batch)
    }

    /// Reads the batch that contains the first of these offsets, and into the cache those of its neighbours.
    async fn load(&self, offsets: &[Offset]) -> Result<Arc<Batch>> {
        let first = offsets.first().copied().unwrap_or(0);
        let apart = offsets.windows(2).position(|pair| pair[1] - pair[0] > NEIGHBOUR_DISTANCE);
        let last = offsets.get(apart.unwrap_or(offsets.len() - 1)).copied().unwrap_or(first);
        let wanted = usize::try_from(last - first).unwrap_or(usize::MAX).saturating_mul(RECORD_BYTES);
        let read = self.log.read(&self.partition, first, wanted.min(self.read_bytes)).await?;
        let mut found = None;
        for stored in &read.batches {
            let batch = Arc::new(Batch::of(stored));
            if (batch.base_offset..batch.next_offset).contains(&first) {
                found = Some(Arc::clone(&batch));
            }
            // Unpacked records cost about as much again as the bytes that they share.
            self.batches.lock().insert(batch.base_offset, batch, 2 * stored.bytes.len());
        }
        found.ok_or_else(|| Error::Corrupt(format!("offset {first} of {} is not there any more", self.partition)))
    }
}
