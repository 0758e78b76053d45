//! Rows that are written over SQL: who may write, and where the records go.
//!
//! What must hold: nobody else writes to a table over SQL while somebody has claimed it, and whoever claims it is told where its
//! log ends; records of one key go to one partition, in order. Clients of Kafka write beside that as they like: the last record
//! of a key counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use eventlog::{
    Acks, Record,
    record::{batches_of, partition_of_key},
};
use futures::future::join_all;
use model::{Access, Error, Positions, Principal, Result, TopicPartition, principal::authorise};
use serving::sql::WriteClaim;
use sql::{SourceDefinition, SourceFormat};
use streaming::RowRecord;

use super::Deployment;

impl Deployment {
    /// Waits for the right to write to a source or table.
    pub(crate) async fn claim_writing(&self, principal: &Principal, name: &str) -> Result<WriteClaim> {
        let held = if self.is_table(name) {
            let lock = Arc::clone(self.write_locks.lock().entry(name.to_owned()).or_default());
            Some(lock.lock_owned().await)
        } else {
            None
        };
        // It may have been dropped meanwhile.
        let target = self.sources.read().get(name).cloned();
        let target = target.ok_or_else(|| Error::not_found(format!("there is no source {name}")))?;
        authorise(principal, Access::Write, self.topic_of(&target)?.resource())?;
        if target.format == SourceFormat::Debezium {
            let message = format!("table {name} follows the changes of another database, and is not written over SQL");
            return Err(Error::invalid(message).with_hint("write to that database"));
        }
        if target.format == SourceFormat::Event {
            return Err(Error::invalid(format!(
                "the records of source {name} are events, which are not written over SQL"
            ))
            .with_hint("append them with POST /v1/streams/{stream}"));
        }
        Ok(WriteClaim { end: self.end_of(&target)?, target, held })
    }

    /// Writes records; on disk when it returns.
    pub(crate) async fn write_records(&self, target: &SourceDefinition, records: Vec<RowRecord>) -> Result<Positions> {
        // It may have got columns since it was claimed: they are NULL.
        let is_there = |source: &SourceDefinition| {
            SourceDefinition { text: target.text.clone(), ..source.as_of(target.added_columns) } == *target
        };
        if !self.sources.read().get(&target.name).is_some_and(is_there) {
            return Err(Error::not_found(format!("{} was dropped", target.name)));
        }
        let topic = self.topic_of(target)?;
        let now_ms = self.resources.clock.now_ms();
        // Rows without a key go to one partition a statement.
        let turn = self.next_partition.fetch_add(1, Ordering::Relaxed) % topic.partitions.max(1).unsigned_abs();
        let mut parts: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for RowRecord { key, value } in records {
            let by_key = key.as_deref().map(|key| partition_of_key(key, topic.partitions));
            let record = Record { timestamp_ms: now_ms, key, value, ..Record::default() };
            parts.entry(by_key.unwrap_or(turn.cast_signed())).or_default().push(record);
        }
        let appends = parts.into_iter().map(|(partition, records)| {
            let partition = TopicPartition::new(topic.name.clone(), partition);
            let batches = batches_of(&records, topic.settings.message_bytes_max);
            async move {
                let appended = self.resources.log.append(&partition, batches, Acks::Durable).await?;
                Ok::<_, Error>((partition, appended.next_offset))
            }
        });
        let (appended, failed): (Vec<_>, Vec<_>) = join_all(appends).await.into_iter().partition(Result::is_ok);
        let positions: Positions = appended.into_iter().flatten().collect();
        match failed.into_iter().find_map(Result::err) {
            None => Ok(positions),
            Some(error) if positions.is_empty() => Err(error),
            Some(error) => {
                Err(error
                    .with_hint(format!("of the rows, those before {positions} were written, and the others were not")))
            }
        }
    }
}
