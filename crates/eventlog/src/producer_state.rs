//! What a partition remembers of idempotent producers: enough to answer a repeated batch with its first answer.
//!
//! The rules are Kafka's. A producer's batches carry consecutive sequence numbers that wrap from `i32::MAX` to 0. The
//! last five batches are kept, because a client has at most five requests in flight. A lower epoch is fenced; a
//! higher one begins again at 0. A producer that is not known (never seen, or forgotten after a long pause) may begin
//! at any number: refusing it would wedge an idle producer for ever, and there is nothing to compare it with.
//!
//! What must hold: [`decide`](ProducerStates::decide) changes nothing; the number of producers is bounded.

use std::collections::{HashMap, VecDeque};

use bytes::BufMut;
use model::Offset;

use crate::{
    fields::Fields,
    record::{BatchHeader, add_to_sequence},
};

/// How many batches of a producer are remembered.
const BATCHES_KEPT: usize = 5;

/// What to do with an idempotent producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    Append,
    /// It was appended before.
    Duplicate { base_offset: Offset, next_offset: Offset, arrival_time_ms: i64 },
    /// A number was skipped, or repeated too late to be remembered.
    OutOfOrder { expected: i32 },
    /// A newer incarnation of the producer has written.
    Fenced { current: i16 },
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: Offset,
    next_offset: Offset,
    arrival_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Oldest first, at least one.
    batches: VecDeque<Remembered>,
}

impl Producer {
    fn last_used_ms(&self) -> i64 {
        self.batches.back().map_or(0, |batch| batch.arrival_time_ms)
    }
}

/// A producer as it was before one batch, and the one that was forgotten for it.
#[derive(Debug)]
pub(crate) struct ProducerBefore {
    id: i64,
    was: Option<Producer>,
    forgotten: Option<(i64, Producer)>,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates(HashMap<i64, Producer>);

impl ProducerStates {
    /// Decides about a batch of an idempotent producer.
    pub(crate) fn decide(&self, header: &BatchHeader) -> Verdict {
        let Some(producer) = self.0.get(&header.producer_id) else { return Verdict::Append };
        if header.producer_epoch < producer.epoch {
            return Verdict::Fenced { current: producer.epoch };
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder { expected: 0 } };
        }
        let same = |batch: &&Remembered| {
            batch.first_sequence == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        if let Some(batch) = producer.batches.iter().find(same) {
            let Remembered { base_offset, next_offset, arrival_time_ms, .. } = *batch;
            return Verdict::Duplicate { base_offset, next_offset, arrival_time_ms };
        }
        let expected = producer.batches.back().map_or(0, |last| add_to_sequence(last.last_sequence, 1));
        if header.base_sequence == expected { Verdict::Append } else { Verdict::OutOfOrder { expected } }
    }

    /// Remembers a batch that was appended; `header` has its final base offset. Beyond `producers_max`, the producer
    /// that was idle for longest is forgotten. Returns what there was before, for [`restore`](Self::restore).
    pub(crate) fn remember(
        &mut self,
        header: &BatchHeader,
        arrival_time_ms: i64,
        producers_max: usize,
    ) -> ProducerBefore {
        let mut before =
            ProducerBefore { id: header.producer_id, was: self.0.get(&header.producer_id).cloned(), forgotten: None };
        let producer = self
            .0
            .entry(header.producer_id)
            .or_insert_with(|| Producer { epoch: header.producer_epoch, batches: VecDeque::new() });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
            arrival_time_ms,
        });
        if self.0.len() > producers_max.max(1) {
            let idle = self.0.iter().filter(|(id, _)| **id != header.producer_id);
            if let Some(id) = idle.min_by_key(|(_, producer)| producer.last_used_ms()).map(|(id, _)| *id) {
                before.forgotten = self.0.remove(&id).map(|producer| (id, producer));
            }
        }
        before
    }

    /// Takes back what [`remember`](Self::remember) did last.
    pub(crate) fn restore(&mut self, before: ProducerBefore) {
        match before.was {
            Some(producer) => self.0.insert(before.id, producer),
            None => self.0.remove(&before.id),
        };
        self.0.extend(before.forgotten);
    }

    /// Forgets producers that wrote nothing since `before_ms`.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.0.retain(|_, producer| producer.last_used_ms() >= before_ms);
    }

    /// Writes everything remembered.
    pub(crate) fn put(&self, out: &mut impl BufMut) {
        out.put_u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (id, producer) in &self.0 {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_u32(u32::try_from(producer.batches.len()).unwrap_or(u32::MAX));
            for batch in &producer.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset);
                out.put_i64(batch.next_offset);
                out.put_i64(batch.arrival_time_ms);
            }
        }
    }

    /// Reads what [`put`](Self::put) wrote.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, String> {
        let mut producers = HashMap::new();
        for _ in 0..fields.count(14)? {
            let (id, epoch) = (fields.i64()?, fields.i16()?);
            let mut batches = VecDeque::new();
            for _ in 0..fields.count(32)? {
                batches.push_back(Remembered {
                    first_sequence: fields.i32()?,
                    last_sequence: fields.i32()?,
                    base_offset: fields.i64()?,
                    next_offset: fields.i64()?,
                    arrival_time_ms: fields.i64()?,
                });
            }
            producers.insert(id, Producer { epoch, batches });
        }
        Ok(Self(producers))
    }
}
