//! The broker's own errors, and the one mapping from the log's errors to Kafka's codes.

use kafka_wire::{ErrorCode, WireError};

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The client sent something that is not a request.
    #[error("a request of {0} bytes is over the limit of {1}, or its length is negative")]
    RequestSize(i64, usize),
    /// The bytes are not a request that is served.
    #[error("a request is malformed or not served: {0}")]
    Wire(#[from] WireError),
    /// The client stopped in the middle of a request, or does not take its answers.
    #[error("the client was too slow: {0}")]
    Slow(&'static str),
    /// The answer would be too large, even alone.
    #[error(
        "an answer would take {0} bytes, over the limit of {1}: ask for less at once, or raise kafka.answer_bytes_max"
    )]
    AnswerSize(usize, usize),
    /// Answers that clients do not read take all the room there is.
    #[error("there was no room for an answer: {0} bytes of answers wait for clients that do not read them")]
    AnswersWait(usize),
    /// An unanswered produce request (`acks=0`) failed: closing is the only way to tell.
    #[error("a produce request without an answer failed: {0}")]
    Unanswered(String),
    /// All places are taken, and of those with nothing to do it has had nothing for longest.
    #[error("it was silent, and another client needed its place")]
    GaveWay,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
    /// The network failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Kafka's code for an append that the log refused, and the reason; what to do too, where somebody has to do something.
pub(crate) fn append_refusal(error: eventlog::Error) -> (ErrorCode, String) {
    let (code, needs_help) = (error_code(&error), matches!(error, eventlog::Error::Quarantined { .. }));
    let error = model::Error::from(error);
    match error.hint().filter(|_| needs_help) {
        Some(hint) => (code, format!("{error}; {hint}")),
        None => (code, error.to_string()),
    }
}

/// Kafka's code for an error of the log.
pub(crate) fn error_code(error: &eventlog::Error) -> ErrorCode {
    use eventlog::Error as Log;
    match error {
        Log::UnknownPartition(_) => ErrorCode::UnknownTopicOrPartition,
        Log::TopicExists(_) => ErrorCode::TopicAlreadyExists,
        Log::PartitionCount(_) => ErrorCode::InvalidPartitions,
        // As Kafka refuses too many partitions at once: it is not tried again, and its message is shown.
        Log::TooManyPartitions { .. } => ErrorCode::PolicyViolation,
        Log::TopicSettings { .. } => ErrorCode::InvalidConfig,
        Log::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        // Kafka's code for a checksum or framing that does not hold; a producer sends the batch again.
        Log::DamagedBatch { .. } | Log::UnreadableBatch { .. } => ErrorCode::CorruptMessage,
        // This one is not sent again: it would be refused again.
        Log::InvalidBatch { .. } => ErrorCode::InvalidRecord,
        Log::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
        Log::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        Log::ProducerFenced { .. } => ErrorCode::InvalidProducerEpoch,
        // A producer tries again, which is right where the disk is full for a while.
        Log::DiskFull { .. } | Log::TooManyOpenFiles { .. } => ErrorCode::KafkaStorageError,
        // Of all codes the one that reaches the application: in Java `poll` throws, librdkafka hands it on as an error of
        // the partition. KAFKA_STORAGE_ERROR is repeated in silence by both.
        Log::Corrupt { .. } => ErrorCode::CorruptMessage,
        // Sent again it is refused again, until somebody puts the records back. No code says that; this one is not repeated by
        // any client, and its message is shown. KAFKA_STORAGE_ERROR is repeated in silence.
        Log::Quarantined { .. } => ErrorCode::PolicyViolation,
        Log::Stopped(_) | Log::DirectoryInUse(_) | Log::Io { .. } => ErrorCode::KafkaStorageError,
    }
}
