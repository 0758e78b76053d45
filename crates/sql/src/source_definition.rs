//! A source: a topic with declared columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use model::{TopicName, TopicPartition};

use crate::timestamp_utc;

/// The partition a row came from.
pub const PARTITION: &str = "_partition";
/// The offset a row came from.
pub const OFFSET: &str = "_offset";
/// When the log received the row's record.
pub const ARRIVAL_TIME: &str = "_arrival_time";
/// The record's key.
pub const KEY: &str = "_key";
/// Whether a record of a table deletes the row of its key.
pub const DELETED: &str = "_deleted";

/// How the records of a topic are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// The value is one JSON object.
    Json,
    /// A CloudEvent in Kafka's binary mode: attributes in headers, the value one JSON object.
    Event,
    /// A change of a row in another database: Debezium's envelope as JSON. Of tables alone.
    Debezium,
}

/// What the numbers of `TIMESTAMP` columns count, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl TimestampUnit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// How many places after the point a number of this unit has before it counts microseconds.
    pub fn places(self) -> i32 {
        match self {
            Self::Seconds => 6,
            Self::Milliseconds => 3,
            Self::Microseconds => 0,
            Self::Nanoseconds => -3,
        }
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

impl std::fmt::Display for TimestampUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic with a declared schema.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDefinition {
    /// Its name in SQL.
    pub name: String,
    /// The declared columns, all of which can be NULL.
    pub columns: SchemaRef,
    /// Of a table, the columns that identify a row: its last record counts, and one without a value deletes it. None otherwise.
    pub key: Vec<usize>,
    /// How many of the columns, the last ones, were added after it was created.
    pub added_columns: usize,
    /// The topic; by default of the source's own name.
    pub topic: TopicName,
    /// How many partitions the topic gets when it is created.
    pub partitions: i32,
    /// How records are written.
    pub format: SourceFormat,
    /// The column that says when an event happened.
    pub event_time: Option<String>,
    /// What numbers in `TIMESTAMP` columns count; undeclared, they are milliseconds where that is plausible.
    pub timestamp_unit: Option<TimestampUnit>,
    /// The statement, and those behind it that have added columns.
    pub text: String,
}

impl SourceDefinition {
    /// Declared columns, then `_partition INT, _offset BIGINT, _arrival_time TIMESTAMPTZ, _key TEXT`, for tables `_deleted BOOLEAN`,
    /// and for events `stream_name TEXT, stream_version BIGINT, event_type TEXT, event_id TEXT, effective_time TIMESTAMPTZ`.
    pub fn schema(&self) -> SchemaRef {
        let declared = self.columns.fields().iter().map(Arc::clone);
        let metadata = self.metadata_fields().into_iter().map(Arc::new);
        Arc::new(Schema::new(declared.chain(metadata).collect::<Vec<_>>()))
    }

    /// The columns that the log and the format add.
    pub fn metadata_fields(&self) -> Vec<Field> {
        let mut fields = vec![
            Field::new(PARTITION, DataType::Int32, false),
            Field::new(OFFSET, DataType::Int64, false),
            Field::new(ARRIVAL_TIME, timestamp_utc(), false),
            Field::new(KEY, DataType::Utf8, true),
        ];
        if self.is_table() {
            fields.push(Field::new(DELETED, DataType::Boolean, false));
        }
        if self.format == SourceFormat::Event {
            fields.extend([
                Field::new("stream_name", DataType::Utf8, false),
                Field::new("stream_version", DataType::Int64, true),
                Field::new("event_type", DataType::Utf8, false),
                Field::new("event_id", DataType::Utf8, true),
                Field::new("effective_time", timestamp_utc(), true),
            ]);
        }
        fields
    }

    /// Whether the last record of each key counts, and not every record.
    pub fn is_table(&self) -> bool {
        !self.key.is_empty()
    }

    /// A partition of the source's topic.
    pub fn topic_partition(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }
}
