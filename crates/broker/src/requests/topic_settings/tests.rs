//! What may be asked of a topic.

use super::*;

fn ask(name: &str, value: &str) -> Result<TopicSettings, String> {
    read([(name, value)].into_iter(), TopicSettings::default())
}

#[test]
fn what_changes_nothing_is_kept() {
    for (name, value, kept) in [
        ("segment.bytes", "52428800", "52428800"),
        ("segment.ms", " 100 ", "100"),
        ("min.cleanable.dirty.ratio", "0.01", "0.01"),
        ("min.insync.replicas", "2", "2"),
        ("preallocate", "TRUE", "true"),
        ("cleanup.policy", "delete", "delete"),
        ("compression.type", "uncompressed", "uncompressed"),
        ("message.timestamp.type", "CreateTime", "CreateTime"),
        ("leader.replication.throttled.replicas", "*", "*"),
    ] {
        let settings = ask(name, value).unwrap();
        assert_eq!(settings.others.get(name).map(String::as_str), Some(kept), "{name}");
    }
}

#[test]
fn what_changes_something_is_done_or_refused() {
    assert_eq!(ask("retention.ms", "5").unwrap().retention_ms, Some(5));
    assert_eq!(ask("retention.ms", "-1").unwrap().retention_ms, None);
    assert_eq!(ask("max.message.bytes", "7").unwrap().message_bytes_max, 7);
    for (name, value, reason) in [
        ("cleanup.policy", "compact", "cleanup.policy=compact is not served; delete is"),
        ("cleanup.policy", "compact,delete", "is not served"),
        ("compression.type", "zstd", "compression.type=zstd is not served; producer or uncompressed is"),
        ("message.timestamp.type", "LogAppendTime", "is not served; CreateTime is"),
        ("message.timestamp.after.max.ms", "1000", "is not served"),
        ("remote.storage.enable", "true", "is not served"),
        ("retention.ms", "-2", "neither a number from 0 nor -1"),
        ("retention.bytes", "many", "neither a number from 0 nor -1"),
        ("max.message.bytes", "-1", "not a number of bytes"),
        ("max.message.bytes", "3000000000", "not a number of bytes"),
        ("segment.bytes", "13", "not a whole number from 14 to 2147483647"),
        ("segment.bytes", "3000000000", "not a whole number from 14"),
        ("segment.ms", "0", "not a whole number from 1"),
        ("min.cleanable.dirty.ratio", "1.5", "not a number from 0 to 1"),
        ("min.cleanable.dirty.ratio", "NaN", "not a number from 0 to 1"),
        ("preallocate", "yes", "neither true nor false"),
        ("no.such.setting", "1", "there is no topic setting no.such.setting"),
    ] {
        let error = ask(name, value).unwrap_err();
        assert!(error.contains(reason), "{name}={value}: {error}");
    }
    let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
    assert!(read(lags.into_iter(), TopicSettings::default()).unwrap_err().contains("is over max.compaction.lag.ms"));
}

#[test]
fn the_table_accepts_its_own_defaults() {
    for kept in KEPT {
        let value = kept.accept(kept.default);
        assert_eq!(value.as_deref(), Ok(kept.default), "{}", kept.name);
    }
}
