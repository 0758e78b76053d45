//! The settings of topics that Kafka has, as a table: which are kept here without changing anything, and which would
//! change what a topic does and are refused.
//!
//! What must hold: a value is accepted if Kafka would accept it and it is not one that asks for something that is not
//! done here; what was accepted is shown again as it was asked for.

use std::collections::BTreeMap;

use eventlog::TopicSettings;

/// The types of values, as numbered on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Which values may be asked for.
enum Values {
    /// Whole numbers from here to there.
    Between(i64, i64),
    /// From 0 to 1.
    Share,
    Boolean,
    /// These alone: another one would change what the topic does.
    Only(&'static [&'static str]),
    Text,
}

/// A setting that is kept, and changes nothing.
pub(super) struct Kept {
    pub(super) name: &'static str,
    /// The broker's setting that is its default in Kafka.
    pub(super) broker_name: &'static str,
    pub(super) value_type: ValueType,
    pub(super) default: &'static str,
    values: Values,
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const NEVER: &str = "9223372036854775807";
/// The longest text, in bytes; numbers are shorter.
const TEXT_BYTES_MAX: usize = 1_000;

const fn kept(
    name: &'static str,
    broker_name: &'static str,
    value_type: ValueType,
    default: &'static str,
    values: Values,
) -> Kept {
    Kept { name, broker_name, value_type, default, values }
}

use ValueType::{Boolean, Double, Int, List, Long, String as Text};
use Values::{Between, Only, Share};

/// Kafka 4.1's, but for those that [`TopicSettings`] has fields for. Names, types, defaults and bounds are of
/// <https://kafka.apache.org/documentation/#topicconfigs>.
#[rustfmt::skip]
pub(super) const KEPT: &[Kept] = &[
    kept("cleanup.policy", "log.cleanup.policy", List, "delete", Only(&["delete"])),
    kept("compression.gzip.level", "compression.gzip.level", Int, "-1", Between(-1, 9)),
    kept("compression.lz4.level", "compression.lz4.level", Int, "9", Between(1, 17)),
    kept("compression.type", "compression.type", Text, "producer", Only(&["producer", "uncompressed"])),
    kept("compression.zstd.level", "compression.zstd.level", Int, "3", Between(-131_072, 22)),
    kept("delete.retention.ms", "log.cleaner.delete.retention.ms", Long, "86400000", Between(0, LONG_MAX)),
    kept("file.delete.delay.ms", "log.segment.delete.delay.ms", Long, "60000", Between(0, LONG_MAX)),
    kept("flush.messages", "log.flush.interval.messages", Long, NEVER, Between(1, LONG_MAX)),
    kept("flush.ms", "log.flush.interval.ms", Long, NEVER, Between(0, LONG_MAX)),
    kept("follower.replication.throttled.replicas", "", List, "", Values::Text),
    kept("index.interval.bytes", "log.index.interval.bytes", Int, "4096", Between(0, INT_MAX)),
    kept("leader.replication.throttled.replicas", "", List, "", Values::Text),
    kept("local.retention.bytes", "log.local.retention.bytes", Long, "-2", Between(-2, LONG_MAX)),
    kept("local.retention.ms", "log.local.retention.ms", Long, "-2", Between(-2, LONG_MAX)),
    kept("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", Long, NEVER, Between(1, LONG_MAX)),
    kept("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", Long, NEVER, Only(&[NEVER])),
    kept("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", Long, NEVER, Only(&[NEVER])),
    kept("message.timestamp.type", "log.message.timestamp.type", Text, "CreateTime", Only(&["CreateTime"])),
    kept("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Double, "0.5", Share),
    kept("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", Long, "0", Between(0, LONG_MAX)),
    kept("min.insync.replicas", "min.insync.replicas", Int, "1", Between(1, INT_MAX)),
    kept("preallocate", "log.preallocate", Boolean, "false", Values::Boolean),
    kept("remote.log.copy.disable", "", Boolean, "false", Values::Boolean),
    kept("remote.log.delete.on.disable", "", Boolean, "false", Values::Boolean),
    kept("remote.storage.enable", "", Boolean, "false", Only(&["false"])),
    kept("segment.bytes", "log.segment.bytes", Int, "1073741824", Between(14, INT_MAX)),
    kept("segment.index.bytes", "log.index.size.max.bytes", Int, "10485760", Between(4, INT_MAX)),
    kept("segment.jitter.ms", "log.roll.jitter.ms", Long, "0", Between(0, LONG_MAX)),
    kept("segment.ms", "log.roll.ms", Long, "604800000", Between(1, LONG_MAX)),
    kept("unclean.leader.election.enable", "unclean.leader.election.enable", Boolean, "false", Values::Boolean),
];

/// The settings of a topic for which these were asked, over what a topic has when nobody asks.
///
/// # Errors
/// What is wrong, naming the setting.
pub(super) fn read<'a>(
    asked: impl Iterator<Item = (&'a str, &'a str)>,
    defaults: TopicSettings,
) -> Result<TopicSettings, String> {
    let mut settings = defaults;
    for (name, value) in asked {
        let value = value.trim();
        match name {
            "retention.ms" => settings.retention_ms = limit(name, value)?,
            "retention.bytes" => settings.retention_bytes = limit(name, value)?,
            "max.message.bytes" => {
                let bytes = value.parse().ok().filter(|bytes| i64::from(*bytes) <= INT_MAX);
                settings.message_bytes_max =
                    bytes.ok_or_else(|| format!("max.message.bytes={value} is not a number of bytes"))?;
            }
            _ => {
                let kept = KEPT.iter().find(|kept| kept.name == name);
                let kept = kept.ok_or_else(|| format!("there is no topic setting {name}"))?;
                settings.others.insert(name.to_owned(), kept.accept(value)?);
            }
        }
    }
    let lag = |name: &str, default: i64| number(&settings.others, name).unwrap_or(default);
    if lag("min.compaction.lag.ms", 0) > lag("max.compaction.lag.ms", LONG_MAX) {
        return Err("min.compaction.lag.ms is over max.compaction.lag.ms".to_owned());
    }
    Ok(settings)
}

fn number(settings: &BTreeMap<String, String>, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

fn limit(name: &str, value: &str) -> Result<Option<i64>, String> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit) if limit >= 0 => Ok(Some(limit)),
        _ => Err(format!("{name}={value} is neither a number from 0 nor -1 for no limit")),
    }
}

impl Kept {
    /// The value as it is kept.
    fn accept(&self, value: &str) -> Result<String, String> {
        let name = self.name;
        match self.values {
            Between(min, max) => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("{name}={value} is not a whole number from {min} to {max}")),
            },
            Share => match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(value.to_owned()),
                _ => Err(format!("{name}={value} is not a number from 0 to 1")),
            },
            Values::Boolean => match value.to_ascii_lowercase() {
                value if value == "true" || value == "false" => Ok(value),
                _ => Err(format!("{name}={value} is neither true nor false")),
            },
            Only(values) if values.contains(&value) => Ok(value.to_owned()),
            Only(values) => Err(format!("{name}={value} is not served; {} is", values.join(" or "))),
            Values::Text if value.len() <= TEXT_BYTES_MAX => Ok(value.to_owned()),
            Values::Text => Err(format!("{name} is over {TEXT_BYTES_MAX} bytes long")),
        }
    }
}

#[cfg(test)]
mod tests;
