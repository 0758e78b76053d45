//! What the files of a table say of the offsets in them, held against the Positions that its transactions say.
//!
//! What it is not: a reading of the rows. The bounds stand in the Delta log.
//!
//! What must hold: a file that has rows at or after the table's Positions is found wherever its bounds say so: those
//! rows would be captured a second time.

use std::ops::{Range, RangeInclusive};

use model::{Offset, Positions, TopicName, TopicPartition};
use serde::Deserialize;

use crate::columns::{OFFSET_COLUMN, PARTITION_COLUMN};

// More than a topic can have.
const PARTITIONS_MAX: i64 = 100_000;

/// The bounds of one file, as the Delta log has them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bounds {
    min_values: serde_json::Map<String, serde_json::Value>,
    max_values: serde_json::Map<String, serde_json::Value>,
}

/// The partitions and the offsets between which the rows of a file with the bounds `statistics` lie.
pub(crate) fn places(statistics: &str) -> Option<(RangeInclusive<i32>, Range<Offset>)> {
    let bounds: Bounds = serde_json::from_str(statistics).ok()?;
    let number = |values: &serde_json::Map<_, serde_json::Value>, column: &str| values.get(column)?.as_i64();
    let partition = |values| i32::try_from(number(values, PARTITION_COLUMN)?).ok();
    let offset = |values| number(values, OFFSET_COLUMN);
    let partitions = partition(&bounds.min_values)?..=partition(&bounds.max_values)?;
    let offsets = offset(&bounds.min_values)?..offset(&bounds.max_values)?.checked_add(1)?;
    (are_possible(&partitions) && offsets.start >= 0 && !offsets.is_empty()).then_some((partitions, offsets))
}

/// Why a file with the bounds `statistics` cannot be part of a table at `positions`, as a sentence.
pub(crate) fn contradiction(statistics: &str, topic: &TopicName, positions: &Positions) -> Option<String> {
    let bounds: Bounds = serde_json::from_str(statistics).ok()?;
    let first = i32::try_from(bounds.min_values.get(PARTITION_COLUMN)?.as_i64()?).ok()?;
    let last = i32::try_from(bounds.max_values.get(PARTITION_COLUMN)?.as_i64()?).ok()?;
    let offset: Offset = bounds.max_values.get(OFFSET_COLUMN)?.as_i64()?;
    // Which of its partitions the offset belongs to is not said: none of them may have got that far.
    let is_beyond = |partition: i32| positions.next_offset(&TopicPartition::new(topic.clone(), partition)) <= offset;
    (are_possible(&(first..=last)) && (first..=last).all(is_beyond)).then(|| {
        let partitions = if first == last { format!("{first}") } else { format!("{first} to {last}") };
        format!("it has the offset {offset} of partition {partitions}, and says that it ends at {positions}")
    })
}

fn are_possible(partitions: &RangeInclusive<i32>) -> bool {
    let (first, last) = (i64::from(*partitions.start()), i64::from(*partitions.end()));
    first >= 0 && first <= last && last - first < PARTITIONS_MAX
}

#[cfg(test)]
mod tests {
    //! Bounds as Delta writes them.

    use super::contradiction;

    #[test]
    fn a_file_beyond_the_positions_of_its_table_is_found() {
        let bounds = |first: i32, last: i32, offset: i64| {
            format!(
                r#"{{"numRecords":3,"minValues":{{"_partition":{first},"_offset":0}},
                    "maxValues":{{"_partition":{last},"_offset":{offset}}},"nullCount":{{}}}}"#
            )
        };
        for (statistics, positions, is_found) in [
            (bounds(0, 0, 9), "t/0:10", false),
            (bounds(0, 0, 10), "t/0:10", true),
            (bounds(0, 0, 0), "", true),
            (bounds(0, 1, 15), "t/0:10,t/1:16", false),
            (bounds(0, 1, 16), "t/0:10,t/1:16", true),
            (bounds(1, 0, 16), "", false),
            (r#"{"numRecords":3}"#.to_owned(), "", false),
            ("{".to_owned(), "", false),
        ] {
            let found = contradiction(&statistics, &"t".parse().unwrap(), &positions.parse().unwrap());
            assert_eq!(found.is_some(), is_found, "{statistics} {positions}: {found:?}");
        }
    }
}
