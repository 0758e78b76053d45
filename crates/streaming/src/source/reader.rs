//! The log as a run of row batches.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{Int64Array, RecordBatch};
use eventlog::{EventLog, StoredBatch};
use futures::{FutureExt, future::select_all};
use model::{Offset, Positions, TopicPartition};
use serde::Deserialize;
use sql::{OFFSET, SourceDefinition};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    DeadLetters, RejectedRecord, SourceDecoder,
    dead_letter::{Checked, Rejecter, dead_letter_topic},
    decoder_hash,
    reason::{Reason, ReasonClass},
    unmatched::Unmatched,
};
use crate::{
    error::{Error, Result},
    fold::EvaluatedRows,
    halves::FailedRow,
    view_state::{FirstRows, RowPlan},
};

/// What the rows come to, about, that a view evaluates at once.
const EVALUATED_BYTES: usize = 4 * 1024 * 1024;
/// How many rows are evaluated before anything is known of them, and how fast they may become more.
const ROWS_AT_FIRST: usize = 16;
const ROWS_GROWTH: usize = 8;

/// How a reader reads.
#[derive(Clone, Debug, Deserialize)]
pub struct ReaderSettings {
    /// How much of one partition is read at a time, in bytes of the log.
    pub read_bytes_max: usize,
}

impl ReaderSettings {
    /// As shipped: the section `views` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("views")
    }
}

/// Rows of one partition, with the Positions after them.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// The partition they come from.
    pub partition: i32,
    /// The rows, with the source's schema; can be empty.
    pub rows: RecordBatch,
    /// How many records could not be decoded; they are in the dead-letter topic.
    pub rejected_records: u64,
    /// Where the reader stands after them.
    pub positions: Positions,
    /// Where the reader stood before them.
    before: Positions,
    /// What was read, for the records that a view rejects later.
    stored: Arc<[StoredBatch]>,
}

impl SourceBatch {
    /// Takes the first rows away, with the Positions after them.
    fn take_first(&mut self, row_count: usize, topic_partition: &TopicPartition) -> Result<Self> {
        let left = self.rows.num_rows() - row_count;
        let mut first = self.clone();
        self.rejected_records = 0;
        self.rows = self.rows.slice(row_count, left);
        if left > 0 {
            first.rows = first.rows.slice(0, row_count);
            let last = offsets(&first.rows)?.value(row_count - 1);
            first.positions = first.before.clone();
            first.positions.advance(topic_partition.clone(), last + 1);
            self.before = first.positions.clone();
        }
        Ok(first)
    }
}

/// The first rows of a batch, as a view sees them.
pub struct Evaluated<R = EvaluatedRows> {
    /// The rows, without those that could not be evaluated.
    pub rows: R,
    /// What they take in memory.
    pub bytes: usize,
    /// How many there are.
    pub record_count: u64,
    /// How many records before them and of them were left out.
    pub rejected_records: u64,
    /// Where the reader stands after them.
    pub positions: Positions,
    /// Whether the batch has more.
    pub has_more: bool,
}

/// Reads a source from given Positions, one partition after the other, as much of each at a time.
pub struct SourceReader {
    log: Arc<dyn EventLog>,
    dead_letters: Arc<DeadLetters>,
    topic_id: Uuid,
    decoder: SourceDecoder,
    /// The source, as one who rejects.
    rejecter: Rejecter,
    /// What it has found of the source's columns.
    unmatched: Unmatched,
    settings: ReaderSettings,
    partitions: Vec<Partition>,
    /// The partition that is looked at next.
    turn: usize,
    positions: Positions,
    until: Option<Positions>,
    /// How many rows are evaluated at once.
    rows_at_once: usize,
}

struct Partition {
    topic_partition: TopicPartition,
    /// Where the reader began.
    first: Offset,
    next: Offset,
    /// Where to stop; `None` goes on for ever.
    end: Option<Offset>,
    high_watermark: watch::Receiver<Offset>,
}

impl Partition {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

impl SourceReader {
    /// A reader of `source` that begins at `from` and ends at `until`, or never. Partitions that `until` does not name
    /// are not read then. `dead_letters` are the log's.
    ///
    /// # Errors
    /// [`Error::Log`] when the topic does not exist.
    pub fn open(
        log: Arc<dyn EventLog>,
        dead_letters: Arc<DeadLetters>,
        source: &SourceDefinition,
        from: Positions,
        until: Option<Positions>,
        settings: ReaderSettings,
    ) -> Result<Self> {
        let unknown = || eventlog::Error::UnknownPartition(source.topic.to_string());
        let topic = log.topic(source.topic.as_str()).ok_or_else(unknown)?;
        // Now, and not when the first bad record is there.
        dead_letter_topic(&source.topic)?;
        let partitions = topic.topic_partitions().map(|topic_partition| {
            Ok(Partition {
                first: from.next_offset(&topic_partition),
                next: from.next_offset(&topic_partition),
                end: until.as_ref().map(|until| until.next_offset(&topic_partition)),
                high_watermark: log.watch(&topic_partition)?,
                topic_partition,
            })
        });
        let partitions = partitions.collect::<Result<Vec<_>>>()?;
        let decoder = SourceDecoder::new(source)?;
        Ok(Self {
            log,
            dead_letters,
            topic_id: topic.id,
            decoder,
            rejecter: Rejecter::Source { name: source.name.clone(), decoder: decoder_hash(source) },
            unmatched: Unmatched::default(),
            settings,
            partitions,
            turn: 0,
            positions: from,
            until,
            rows_at_once: ROWS_AT_FIRST,
        })
    }

    /// The next batch of rows, waiting for one when there is none yet; `None` once `until` is reached. Dropping the
    /// future before it is ready loses nothing.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read, or the dead-letter topic cannot be written.
    pub async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            if let Some(index) = self.next_readable() {
                if let Some(batch) = self.read(index).await? {
                    return Ok(Some(batch));
                }
            } else if self.partitions.iter().all(Partition::is_done) {
                return Ok(None);
            } else {
                self.wait().await?;
            }
        }
    }

    /// Takes the first rows away from `batch`, which this reader gave, and evaluates them: as many as come to about
    /// four MiB, since a short record can become a long row. Records that the view cannot evaluate are in the
    /// dead-letter topic, durably, when this returns. `source` is this one's number in the plan.
    ///
    /// # Errors
    /// [`Error::Log`] when the dead-letter topic cannot be written; [`Error::Shape`] when the plan is one of another
    /// source.
    pub async fn evaluate<P: RowPlan>(
        &mut self,
        plan: &P,
        source: usize,
        batch: &mut SourceBatch,
    ) -> Result<Evaluated<P::Rows>> {
        let of_batch = |partition: &Partition| partition.topic_partition.partition == batch.partition;
        let index = self.partitions.iter().position(of_batch).unwrap_or(0);
        let looked_at = batch.rows.slice(0, batch.rows.num_rows().min(self.rows_at_once));
        let FirstRows { rows, row_count, failed, bytes } = plan.evaluate(source, &looked_at, EVALUATED_BYTES)?;
        self.rows_at_once = rows_at_once(self.rows_at_once, row_count, bytes);
        let first = batch.take_first(row_count, &self.partitions[index].topic_partition)?;
        if !failed.is_empty() {
            let rejecter = Rejecter::View { name: plan.name().to_owned(), plan: plan.hash() };
            self.reject(index, rejecter, failed_records(&first, &failed)?).await?;
        }
        Ok(Evaluated {
            rows,
            bytes,
            record_count: (first.rows.num_rows() - failed.len()) as u64,
            rejected_records: first.rejected_records + failed.len() as u64,
            positions: first.positions,
            has_more: batch.rows.num_rows() > 0,
        })
    }

    /// Where the reader stands.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Where the reader ends.
    pub fn until(&self) -> Option<&Positions> {
        self.until.as_ref()
    }

    /// How many offsets lie between the reader and the end of the log (or its own end).
    pub fn lag_records(&self) -> i64 {
        let lag = |partition: &Partition| {
            let high_watermark = *partition.high_watermark.borrow();
            (partition.end.unwrap_or(high_watermark) - partition.next).max(0)
        };
        self.partitions.iter().map(lag).sum()
    }

    /// The partition whose turn it is, of those that have something to read.
    fn next_readable(&mut self) -> Option<usize> {
        let count = self.partitions.len();
        let order = (0..count).map(|i| (self.turn + i) % count);
        let partitions = &mut self.partitions;
        let index = order.into_iter().find(|index| {
            let partition = &mut partitions[*index];
            // Marks the watermark as seen, so that `wait` waits for a newer one.
            let high_watermark = *partition.high_watermark.borrow_and_update();
            !partition.is_done() && high_watermark > partition.next
        })?;
        self.turn = index + 1;
        Some(index)
    }

    async fn wait(&mut self) -> Result<()> {
        let waiting = self.partitions.iter_mut().filter(|partition| !partition.is_done());
        let moved = waiting.map(|partition| {
            let topic_partition = &partition.topic_partition;
            partition
                .high_watermark
                .changed()
                .map(move |changed| changed.map_err(|_| topic_partition.to_string()))
                .boxed()
        });
        let (moved, _, _) = select_all(moved).await;
        moved.map_err(|topic_partition| eventlog::Error::UnknownPartition(topic_partition).into())
    }

    async fn read(&mut self, index: usize) -> Result<Option<SourceBatch>> {
        let (topic_partition, from, end) = {
            let partition = &self.partitions[index];
            (partition.topic_partition.clone(), partition.next, partition.end)
        };
        let batches = match self.log.read(&topic_partition, from, self.settings.read_bytes_max).await {
            Ok(read) => read.batches,
            Err(eventlog::Error::OffsetOutOfRange { start, .. }) if start > from => {
                tracing::warn!(%topic_partition, from, start, "records have expired before they were read");
                let before = self.positions.clone();
                self.move_to(index, start);
                let rows = self.decoder.decode(topic_partition.partition, &[], start, start)?.rows;
                let (partition, positions) = (topic_partition.partition, self.positions.clone());
                // A batch without rows: whoever waits for the end of a log that has nothing left gets there.
                let stored = Arc::default();
                return Ok(Some(SourceBatch { partition, rows, rejected_records: 0, positions, before, stored }));
            }
            Err(error) => return Err(error.into()),
        };
        self.decode(index, &topic_partition, batches, from, end.unwrap_or(Offset::MAX)).await
    }

    async fn decode(
        &mut self,
        index: usize,
        topic_partition: &TopicPartition,
        stored: Vec<StoredBatch>,
        from: Offset,
        to: Offset,
    ) -> Result<Option<SourceBatch>> {
        if stored.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(topic_partition.partition, &stored, from, to)?;
        if decoded.next_offset <= from {
            let reason = format!("{topic_partition} gave no record at or after offset {from}");
            return Err(Error::Shape { what: "the log's answer", reason });
        }
        let rejected_records = decoded.rejected.len() as u64;
        self.unmatched.then(decoded.unmatched);
        self.dead_letters.found(&self.rejecter, &self.unmatched);
        // Before the reader moves on: a bad record is in the log's other topic first.
        self.reject(index, self.rejecter.clone(), decoded.rejected).await?;
        let before = self.positions.clone();
        self.move_to(index, decoded.next_offset);
        let (partition, positions) = (topic_partition.partition, self.positions.clone());
        let (rows, stored) = (decoded.rows, stored.into());
        Ok(Some(SourceBatch { partition, rows, rejected_records, positions, before, stored }))
    }

    async fn reject(&mut self, index: usize, by: Rejecter, rejected: Vec<RejectedRecord>) -> Result<()> {
        let Partition { topic_partition, first, .. } = &self.partitions[index];
        let checked = Checked { by, topic_partition: topic_partition.clone(), topic_id: self.topic_id };
        self.dead_letters.keep(checked, *first, rejected).await
    }

    fn move_to(&mut self, index: usize, next: Offset) {
        let partition = &mut self.partitions[index];
        partition.next = next;
        self.positions.advance(partition.topic_partition.clone(), next);
    }
}

/// How many rows to evaluate next, after `row_count` of them came to so many bytes; `before` is how many it was to be.
fn rows_at_once(before: usize, row_count: usize, bytes: usize) -> usize {
    let fitting = EVALUATED_BYTES.saturating_mul(row_count).checked_div(bytes).unwrap_or(usize::MAX);
    // Step by step: how large the next rows become is not known before they are there.
    fitting.clamp(1, before.max(row_count.saturating_mul(ROWS_GROWTH)))
}

fn offsets(rows: &RecordBatch) -> Result<&Int64Array> {
    let offsets = rows.column_by_name(OFFSET).and_then(|column| column.as_any().downcast_ref());
    offsets.ok_or_else(|| Error::Shape { what: "a batch", reason: "it has no offsets".to_owned() })
}

/// The records behind rows that a view cannot evaluate.
fn failed_records(batch: &SourceBatch, failed: &[FailedRow]) -> Result<Vec<RejectedRecord>> {
    let offsets = offsets(&batch.rows)?;
    let mut rejected: BTreeMap<Offset, RejectedRecord> = BTreeMap::new();
    for failed in failed {
        let offset = offsets.value(failed.row);
        let reason = Reason::new(ReasonClass::Expression, failed.reason.clone());
        rejected.insert(offset, RejectedRecord { offset, key: None, value: None, headers: Vec::new(), reason });
    }
    for stored in batch.stored.iter() {
        if rejected.range(stored.base_offset()..stored.next_offset()).next().is_none() {
            continue;
        }
        // They could be read when they were decoded.
        for record in stored.records()? {
            if let Some(rejected) = rejected.get_mut(&record.offset) {
                (rejected.key, rejected.value, rejected.headers) = (record.key, record.value, record.headers);
            }
        }
    }
    Ok(rejected.into_values().collect())
}
