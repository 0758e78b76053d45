//! The table of served APIs: key, name, versions, and from which version on a message is flexible.
//!
//! What must hold: the set is consistent with one Kafka release, as clients infer features from it (a Produce maximum
//! of 11 together with a Fetch maximum of 12 means a broker without topic ids on the data path). Produce and JoinGroup
//! are advertised from 0 although older Produce versions are answered with `UNSUPPORTED_VERSION`: librdkafka before
//! 2.11.1 looks for one single version (KAFKA-18659).

use std::fmt::Write;

/// The versions of an API that are served, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl VersionRange {
    /// Whether `version` lies in the range.
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

macro_rules! apis {
    ($($name:ident $key:literal: $min:literal..=$max:literal, flexible from $flexible:literal, $note:literal;)*) => {
        /// An API that is served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Api {
            $(#[doc = concat!("`", stringify!($name), "`, key ", stringify!($key), ".")] $name,)*
        }

        impl Api {
            /// Every API that is served, by key.
            pub const ALL: &'static [Api] = &[$(Api::$name,)*];

            /// The API with this key.
            pub fn from_key(key: i16) -> Option<Api> {
                match key {
                    $($key => Some(Api::$name),)*
                    _ => None,
                }
            }

            /// The key on the wire.
            pub fn key(self) -> i16 {
                match self { $(Api::$name => $key,)* }
            }

            /// Kafka's name for it.
            pub fn name(self) -> &'static str {
                match self { $(Api::$name => stringify!($name),)* }
            }

            /// The versions that are advertised.
            pub fn versions(self) -> VersionRange {
                match self { $(Api::$name => VersionRange { min: $min, max: $max },)* }
            }

            /// The first version with compact strings and tagged fields.
            pub fn flexible_from(self) -> i16 {
                match self { $(Api::$name => $flexible,)* }
            }

            fn note(self) -> &'static str {
                match self { $(Api::$name => $note,)* }
            }
        }
    };
}

apis! {
    Produce 0: 0..=11, flexible from 9, "0-2 are advertised for librdkafka before 2.11.1 and answered with UNSUPPORTED_VERSION; no transactions";
    Fetch 1: 4..=12, flexible from 12, "no fetch sessions (session id 0); read_committed equals read_uncommitted";
    ListOffsets 2: 1..=7, flexible from 6, "earliest, latest, largest timestamp, by timestamp";
    Metadata 3: 0..=12, flexible from 9, "creates topics when the request and the settings allow it";
    OffsetCommit 8: 2..=8, flexible from 8, "durable before the answer";
    OffsetFetch 9: 1..=8, flexible from 6, "";
    FindCoordinator 10: 0..=4, flexible from 3, "groups only; for a transaction 53 up to version 2, then 35, with the reason";
    JoinGroup 11: 0..=9, flexible from 6, "classic groups, with static membership";
    Heartbeat 12: 0..=4, flexible from 4, "";
    LeaveGroup 13: 0..=5, flexible from 4, "";
    SyncGroup 14: 0..=5, flexible from 4, "";
    DescribeGroups 15: 0..=5, flexible from 5, "";
    ListGroups 16: 0..=4, flexible from 3, "";
    ApiVersions 18: 0..=4, flexible from 3, "an unknown version is answered in version 0";
    CreateTopics 19: 2..=7, flexible from 5, "retention.ms, retention.bytes, max.message.bytes; Kafka's other topic settings are kept and shown, those that would change what a topic does are refused by name";
    DeleteTopics 20: 1..=6, flexible from 4, "by name or id";
    InitProducerId 22: 0..=4, flexible from 2, "idempotent producers; a transactional id is refused";
    DescribeConfigs 32: 1..=4, flexible from 4, "topics and the broker, with synonyms and documentation; all read-only";
    DeleteGroups 42: 0..=2, flexible from 2, "";
    DescribeCluster 60: 0..=1, flexible from 0, "";
}

impl Api {
    /// Whether messages of this version use compact strings and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// Whether response headers of this version have tagged fields. Never for `ApiVersions`, so that a client can
    /// read the answer before it knows what the server speaks.
    pub fn has_flexible_response_header(self, version: i16) -> bool {
        self != Api::ApiVersions && self.is_flexible(version)
    }
}

/// The table as it stands in `docs/kafka-api.md`.
pub fn table_markdown() -> String {
    let mut text = String::from(
        "# Kafka APIs\n\n\
         What the Kafka door answers. This file is generated from the table in `crates/kafka-wire/src/api.rs`; a test\n\
         compares the two (`UPDATE_DOCS=1 cargo test -p kafka-wire` writes it anew).\n\n\
         | Key | API | Versions | Flexible from | Notes |\n|---:|---|---|---:|---|\n",
    );
    for api in Api::ALL {
        let VersionRange { min, max } = api.versions();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {min}-{max} | {} | {} |",
            api.key(),
            api.name(),
            api.flexible_from(),
            api.note()
        );
    }
    text.push_str(
        "\nA request for any other API, or for another version, closes the connection, as Kafka does; `ApiVersions` in an\n\
         unknown version is answered with error 35 and the table in version 0.\n\
         \n## Errors that say why\n\n\
         | When | Code |\n|---|---|\n\
         | a batch whose checksum is wrong | `CORRUPT_MESSAGE` (2): the producer sends it again |\n\
         | a record that cannot be read back because its segment is damaged | `CORRUPT_MESSAGE` (2): in Java `poll` \
         throws, librdkafka reports an error of the partition, and the application decides whether to seek behind it; the server's \
         log says once where it is, with topic, partition, offset and file |\n\
         | a batch for a partition that is [set apart](formats/recovery.md) because records of it are missing | \
         `POLICY_VIOLATION` (44): clients do not send it again; from version 8 on with the file, the reason and what to do \
         |\n\
         | the disk is full, or the log has stopped | `KAFKA_STORAGE_ERROR` (56): clients try again |\n\
         | transactions | `UNSUPPORTED_VERSION` (35); to FindCoordinator up to version 2, which librdkafka asks, \
         `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` (53), the only code with which it shows the reason |\n\
         | a topic setting that would change what the topic does, or is none | `INVALID_CONFIG` (40), naming it |\n\
         | the deletion of a topic that a source reads, or has its dead letters in | `POLICY_VIOLATION` (44), naming the \
         sources from version 5 on; the server's log names them too. `fourfold topic delete --force` deletes it |\n\
         | a topic with which the log would have more partitions than `log.partitions_max` | `POLICY_VIOLATION` (44), naming \
         the setting |\n\
         | an offset with which groups would have committed more than `kafka.offsets_max` or, in notes, \
         `kafka.offset_notes_bytes_max` | `POLICY_VIOLATION` (44): consumers report it; the server's log names the setting |\n\
         | an item that would make the answer too large | `POLICY_VIOLATION` (44): ask for less at once |\n\
         | a consumer group, or its members' metadata, over its limit | `GROUP_MAX_SIZE_REACHED` (81) |\n\
         | all groups together over their limit | `COORDINATOR_NOT_AVAILABLE` (15): clients try again |\n\
         \n## How long committed offsets are kept\n\n\
         As in Kafka (KIP-211): `kafka.offsets_retention_ms` (a week) after the last member of a group has left, and those \
         of a\nconsumer that is in no group so long after they were committed. It is looked at every \
         `kafka.offsets_check_interval_ms`; time\ngoes on while the server is down, but the first look comes one interval \
         after its start. Unlike Kafka, a group with members keeps\nthe offsets of topics that it no longer reads, and a \
         retention time in OffsetCommit 2-4 is not heeded.\n",
    );
    text
}
