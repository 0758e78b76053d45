//! The columns of a lake table that say where a row comes from.

/// The column with a row's partition.
pub(crate) const PARTITION_COLUMN: &str = "_partition";
/// The column with a row's offset.
pub(crate) const OFFSET_COLUMN: &str = "_offset";
/// The columns whose bounds go into the Delta log: those that follow the order of arrival, so that bounds exclude
/// files. Bounds of other columns exclude little, and a value that has no text form (a year beyond 262143) would
/// refuse its whole commit.
pub(crate) const STATISTICS: [&str; 3] = [PARTITION_COLUMN, OFFSET_COLUMN, "_arrival_time"];
