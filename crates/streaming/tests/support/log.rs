//! A log on disk, and what was sent to it.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder, TopicSpec};
use model::{Clock, ManualClock, Metrics, Positions, SystemClock, TopicName, TopicPartition};
use streaming::DeadLetters;
use tempfile::TempDir;

use super::input::{Append, Input, Placed, Sent, key};

/// The log of one case.
pub(crate) struct Log {
    directory: TempDir,
    clock: Arc<ManualClock>,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    /// The rows that were sent, wherever they are in the log.
    pub(crate) placed: Vec<Placed>,
    pub(crate) end: Positions,
}

impl Log {
    /// A log with an empty topic for the input.
    pub(crate) async fn new(input: &Input) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let log = open(&directory, &clock).await;
        log.create_topic(TopicSpec::new(topic(), input.partitions)).await.unwrap();
        let end = (0..input.partitions).map(|partition| (TopicPartition::new(topic(), partition), 0)).collect();
        let dead_letters = dead_letters_of(&log);
        Self { directory, clock, log, dead_letters, placed: Vec::new(), end }
    }

    /// Sends a record batch.
    pub(crate) async fn append(&mut self, append: &Append) {
        self.clock.set(self.clock.now_ms() + append.clock_step_ms);
        let place = TopicPartition::new(topic(), append.partition);
        let first = self.end.next_offset(&place);
        let compression = if append.compressed { Compression::Lz4 } else { Compression::None };
        let mut builder = RecordBatchBuilder::new(compression);
        for (offset, sent) in (first..).zip(&append.records) {
            let value = match sent {
                Sent::Row(row) => Some(Bytes::from(row.json())),
                Sent::Broken(text) => Some(Bytes::from_static(text.as_bytes())),
                Sent::Tombstone => None,
            };
            builder.push(Record { key: Some(key(offset).into()), value, ..Record::default() });
        }
        let appended = self.log.append(&place, builder.build(), Acks::Durable).await.unwrap();
        assert_eq!(appended.base_offset, first);
        for (offset, sent) in (first..).zip(&append.records) {
            if let Sent::Row(row) = sent {
                let (partition, arrival_time_ms) = (append.partition, appended.arrival_time_ms);
                self.placed.push(Placed { row: row.as_ref().clone(), partition, offset, arrival_time_ms });
            }
        }
        self.end.advance(place, appended.next_offset);
    }

    /// The rows before some Positions.
    pub(crate) fn before(&self, positions: &Positions) -> Vec<Placed> {
        let is_before =
            |placed: &&Placed| placed.offset < positions.next_offset(&TopicPartition::new(topic(), placed.partition));
        self.placed.iter().filter(is_before).cloned().collect()
    }

    /// Opens the log again.
    pub(crate) async fn reopen(&mut self) {
        self.log.close().await.unwrap();
        self.log = open(&self.directory, &self.clock).await;
        self.dead_letters = dead_letters_of(&self.log);
    }

    /// The log for whoever reads it.
    pub(crate) fn shared(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as _
    }
}

/// The topic's name.
pub(crate) fn topic() -> TopicName {
    TopicName::new("s").unwrap()
}

fn dead_letters_of(log: &Arc<EmbeddedLog>) -> Arc<DeadLetters> {
    DeadLetters::new(Arc::clone(log) as _, Arc::new(SystemClock), Metrics::default())
}

async fn open(directory: &TempDir, clock: &Arc<ManualClock>) -> Arc<EmbeddedLog> {
    let settings = EventLogSettings::shipped();
    EmbeddedLog::open(directory.path(), settings, Arc::clone(clock) as _, Metrics::default()).await.unwrap()
}
