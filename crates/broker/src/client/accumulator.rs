//! Batches on their way, as decisions: which to send now, with which sequence, and what an answer means for them.
//!
//! What must hold:
//! - a batch keeps its sequence for as long as the broker may have stored it, so a repetition is recognised;
//! - batches of one partition are sent, and repeated, in the order of their sequences;
//! - after a batch was given up the sequences have a hole, so everything goes on under a new identity, but only when no
//!   batch of unknown fate is left under the old one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use eventlog::{Compression, Record, RecordBatchBuilder};
use kafka_wire::ErrorCode;
use model::{Offset, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::error::ClientError;
use super::requests::ProducerIdentity;
use super::settings::ProducerSettings;

/// How a batch fared.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The first record's offset.
    pub(super) result: Result<Offset, ClientError>,
    /// When that was known.
    pub(super) at: Instant,
}

/// Records for one partition that are sent together.
#[derive(Debug)]
pub(super) struct Batch {
    builder: RecordBatchBuilder,
    outcome: watch::Sender<Option<Outcome>>,
    permit: Option<OwnedSemaphorePermit>,
    created: Instant,
    /// The first record's sequence, once it was sent.
    sequence: Option<i32>,
}

/// Where a record went.
pub(super) struct Pushed {
    pub(super) index: i32,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
    pub(super) is_new_batch: bool,
    pub(super) is_full: bool,
}

/// A batch that is being sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) partition: TopicPartition,
    batch: Batch,
}

#[derive(Debug, Default)]
struct PartitionQueue {
    /// Batches in order; those at the front may have been sent before.
    waiting: VecDeque<Batch>,
    in_flight: usize,
    next_sequence: i32,
    /// A batch failed while others were in flight: those come back before anything is sent.
    must_drain: bool,
    /// The broker has confirmed a batch of this identity, so that it notices when one is missing.
    is_known: bool,
}

/// All batches of a producer.
#[derive(Debug)]
pub(super) struct Accumulator {
    compression: Compression,
    linger: Duration,
    batch_bytes_max: usize,
    buffered_bytes_max: usize,
    delivery_timeout: Duration,
    identity: Option<ProducerIdentity>,
    needs_identity: bool,
    partitions: BTreeMap<TopicPartition, PartitionQueue>,
    /// Everything created until then is sent without lingering.
    flush_until: Option<Instant>,
    failed_batches: usize,
    rotation: usize,
}

impl Accumulator {
    pub(super) fn new(settings: &ProducerSettings, identity: Option<ProducerIdentity>) -> Self {
        Self {
            compression: settings.compression,
            linger: settings.linger,
            batch_bytes_max: settings.batch_bytes_max,
            buffered_bytes_max: settings.buffered_bytes_max,
            delivery_timeout: settings.delivery_timeout,
            identity,
            needs_identity: false,
            partitions: BTreeMap::new(),
            flush_until: None,
            failed_batches: 0,
            rotation: 0,
        }
    }

    pub(super) fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    pub(super) fn buffered_bytes_max(&self) -> usize {
        self.buffered_bytes_max
    }

    pub(super) fn failed_batches(&self) -> usize {
        self.failed_batches
    }

    /// Adds a record to its partition's last batch, or to a new one.
    pub(super) fn push(
        &mut self,
        partition: &TopicPartition,
        record: Record,
        permit: OwnedSemaphorePermit,
        now: Instant,
    ) -> Pushed {
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.clone(), PartitionQueue::default());
        }
        let (compression, bytes_max) = (self.compression, self.batch_bytes_max);
        let Some(queue) = self.partitions.get_mut(partition) else { unreachable!("it was just inserted") };
        let is_open = |batch: &&mut Batch| batch.sequence.is_none() && batch.builder.size_bytes() < bytes_max;
        let is_new_batch = queue.waiting.back_mut().filter(is_open).is_none();
        if is_new_batch {
            queue.waiting.push_back(Batch {
                builder: RecordBatchBuilder::new(compression),
                outcome: watch::channel(None).0,
                permit: None,
                created: now,
                sequence: None,
            });
        }
        let Some(batch) = queue.waiting.back_mut() else { unreachable!("a batch is there or was just added") };
        match &mut batch.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        let index = batch.builder.record_count();
        batch.builder.push(record);
        let is_full = batch.builder.size_bytes() >= bytes_max;
        Pushed { index, outcome: batch.outcome.subscribe(), is_new_batch, is_full }
    }

    /// Nothing that is queued now lingers.
    pub(super) fn flush(&mut self) {
        self.flush_until = Some(Instant::now());
    }

    /// Whether a new identity is needed, and may be taken now.
    pub(super) fn wants_identity(&self) -> bool {
        let is_unknown =
            |queue: &PartitionQueue| queue.in_flight > 0 || queue.waiting.iter().any(|b| b.sequence.is_some());
        self.needs_identity && !self.partitions.values().any(is_unknown)
    }

    /// Goes on under a new identity, which counts from 0.
    pub(super) fn set_identity(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
        self.needs_identity = false;
        for queue in self.partitions.values_mut() {
            (queue.next_sequence, queue.is_known) = (0, false);
        }
    }

    /// Takes the batches for the next request, at most one a partition; empty when nothing is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Sent, Bytes)> {
        let count = self.partitions.len();
        self.rotation = self.rotation.wrapping_add(1);
        let first = self.rotation.checked_rem(count).unwrap_or(0);
        let mut due = Vec::new();
        let mut bytes = 0;
        let (identity, needs_identity) = (self.identity, self.needs_identity);
        let policy =
            DuePolicy { linger: self.linger, bytes_max: self.batch_bytes_max, flush_until: self.flush_until, now };
        // Beginning elsewhere each time, so that no partition waits for ever behind busy ones.
        let order: Vec<TopicPartition> = self.partitions.keys().cycle().skip(first).take(count).cloned().collect();
        for partition in order {
            let Some(queue) = self.partitions.get_mut(&partition) else { continue };
            if !queue.is_due(&policy, needs_identity) {
                continue;
            }
            let Some(mut batch) = queue.waiting.pop_front() else { continue };
            if let Some(ProducerIdentity { id, epoch }) = identity {
                let sequence = *batch.sequence.get_or_insert_with(|| {
                    let sequence = queue.next_sequence;
                    queue.next_sequence = add_to_sequence(sequence, batch.builder.record_count());
                    sequence
                });
                batch.builder.producer(id, epoch, sequence);
            }
            queue.in_flight += 1;
            let built = batch.builder.build();
            bytes += built.len();
            due.push((Sent { partition, batch }, built));
            // One request carries about as much as one large batch, so that answers keep coming.
            if bytes >= policy.bytes_max.max(1024 * 1024) {
                break;
            }
        }
        due
    }

    /// When [`take_due`](Self::take_due) should be asked again, if nothing else happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.partitions.values().filter_map(|queue| queue.waiting.front().map(|b| b.created + self.linger)).min()
    }

    /// The answer for a batch: how many batches are done with it.
    pub(super) fn answered(&mut self, sent: Sent, result: Result<Offset, ClientError>, now: Instant) -> usize {
        let Sent { partition, batch } = sent;
        let expires = batch.created + self.delivery_timeout;
        let queue = self.partitions.entry(partition).or_default();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let verdict = verdict(&result, queue.must_drain || self.needs_identity);
        if queue.in_flight == 0 {
            queue.must_drain = false;
        }
        match verdict {
            Verdict::Done => queue.is_known = true,
            Verdict::Again if now < expires => {
                queue.must_drain = queue.in_flight > 0;
                queue.put_back(batch);
                return 0;
            }
            Verdict::AgainWithoutSequence if now < expires => {
                // The broker refused it because an earlier one is missing, so it is certainly not stored.
                queue.must_drain = queue.in_flight > 0;
                if self.needs_identity {
                    queue.put_back_unsent(batch);
                } else {
                    queue.put_back(batch);
                }
                return 0;
            }
            Verdict::Again | Verdict::AgainWithoutSequence | Verdict::GivenUp => {
                self.failed_batches += 1;
                self.needs_identity = self.identity.is_some();
                queue.must_drain = queue.in_flight > 0;
            }
        }
        batch.finish(result, now);
        1
    }

    /// Gives up what has waited too long; how many batches that is.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        let timeout = self.delivery_timeout;
        for queue in self.partitions.values_mut() {
            while queue.waiting.front().is_some_and(|batch| batch.created + timeout <= now) {
                let Some(batch) = queue.waiting.pop_front() else { break };
                self.needs_identity |= batch.sequence.is_some();
                batch.finish(Err(ClientError::TimedOut { what: "a batch", waited: timeout }), now);
                expired += 1;
            }
        }
        self.failed_batches += expired;
        expired
    }
}

/// When a batch is sent.
struct DuePolicy {
    linger: Duration,
    bytes_max: usize,
    flush_until: Option<Instant>,
    now: Instant,
}

impl PartitionQueue {
    fn is_due(&self, policy: &DuePolicy, needs_identity: bool) -> bool {
        let Some(front) = self.waiting.front() else { return false };
        // Whatever comes first from a producer that the broker does not know is taken, also the second batch while the first
        // one is lost on the way: which could not be stored any more.
        let is_first_under_way = !self.is_known && self.in_flight > 0;
        if self.must_drain || is_first_under_way || (needs_identity && front.sequence.is_none()) {
            return false;
        }
        let is_full = self.waiting.len() > 1 || front.builder.size_bytes() >= policy.bytes_max;
        let is_flushed = policy.flush_until.is_some_and(|until| front.created <= until);
        front.sequence.is_some() || is_full || is_flushed || front.created + policy.linger <= policy.now
    }

    /// Back to its place: sent batches stand before unsent ones, in the order of their creation, which is that of
    /// their sequences.
    fn put_back(&mut self, batch: Batch) {
        let at = self.waiting.partition_point(|other| other.sequence.is_some() && other.created < batch.created);
        let at = match (batch.sequence, self.waiting.get(at).and_then(|other| other.sequence)) {
            // Two made at the same instant: the sequence tells (it wraps, so compare by distance).
            (Some(own), Some(other)) if own.wrapping_sub(other) > 0 => at + 1,
            _ => at,
        };
        self.waiting.insert(at.min(self.waiting.len()), batch);
    }

    /// To be numbered anew: behind those of unknown fate, which must be settled before there are new numbers.
    fn put_back_unsent(&mut self, mut batch: Batch) {
        batch.sequence = None;
        let at = self.waiting.partition_point(|other| other.sequence.is_some() || other.created < batch.created);
        self.waiting.insert(at, batch);
    }
}

impl Batch {
    fn finish(self, result: Result<Offset, ClientError>, at: Instant) {
        // Nobody may be waiting for it.
        self.outcome.send_replace(Some(Outcome { result, at }));
    }
}

enum Verdict {
    Done,
    /// Its fate is unknown, or it was refused for a while: the same again.
    Again,
    /// Refused for a hole before it.
    AgainWithoutSequence,
    GivenUp,
}

fn verdict(result: &Result<Offset, ClientError>, after_failure: bool) -> Verdict {
    match result {
        Ok(_) => Verdict::Done,
        // Another of the partition's batches failed before: this one came too early, and goes again after it.
        Err(ClientError::Refused { code: ErrorCode::OutOfOrderSequenceNumber, .. }) if after_failure => {
            Verdict::AgainWithoutSequence
        }
        // Stored before, and too long ago for the broker to say where.
        Err(ClientError::Refused { code: ErrorCode::DuplicateSequenceNumber, .. }) => Verdict::Done,
        Err(ClientError::Refused { code, .. }) if code.is_retriable() => Verdict::Again,
        Err(ClientError::Refused { .. } | ClientError::NotServed(_) | ClientError::Closed) => Verdict::GivenUp,
        Err(_) => Verdict::Again,
    }
}

/// Sequences go from 0 to 2^31 - 1, and then from 0 again.
fn add_to_sequence(sequence: i32, count: i32) -> i32 {
    // The sum of two that are not negative, without its sign bit.
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests;
