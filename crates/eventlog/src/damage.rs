//! What of the log was found damaged, for whoever has to be told.

use model::TopicPartition;

/// Something that was found damaged since the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What of the log it is.
    pub part: DamagedPart,
    /// The partition, where it is one alone.
    pub partition: Option<TopicPartition>,
    /// The file.
    pub file: String,
    /// What is wrong, and what was done about it.
    pub reason: String,
}

/// What of the log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedPart {
    /// The write-ahead log: acknowledged changes may be lost.
    WriteAheadLog,
    /// Records of a partition, which takes no writes until they are there again.
    Records,
    /// Arrival times, which were estimated.
    ArrivalTimes,
}
