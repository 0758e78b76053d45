//! The door: which topics the log takes, and which batches a partition.
//!
//! What must hold: what passes here can be stored, replayed and read by every client without another check of its shape.

use bytes::Bytes;
use model::TopicPartition;

use crate::{
    log::{Error, Result, TopicSettings, TopicSpec},
    record::{BatchDefect, BatchHeader, Compression, check_records, split_batches},
    settings::EventLogSettings,
};

/// An append that passed everything but a look at its records.
pub(crate) struct Admission {
    partition: TopicPartition,
    batches: Vec<(BatchHeader, Bytes)>,
    unfolded_bytes_max: usize,
}

/// Whether a log of these settings, which has so many `partitions`, has room for a topic and can keep what it promises.
///
/// # Errors
/// [`Error::PartitionCount`], [`Error::TooManyPartitions`] or [`Error::TopicSettings`].
pub(crate) fn check_topic(spec: &TopicSpec, settings: &EventLogSettings, partitions: usize) -> Result<()> {
    if !(1..=settings.topic_partitions_max).contains(&spec.partitions) {
        return Err(Error::PartitionCount(spec.partitions));
    }
    let asked = usize::try_from(spec.partitions).unwrap_or(usize::MAX);
    if partitions.saturating_add(asked) > settings.partitions_max {
        let (name, partitions_max) = (spec.name.clone(), settings.partitions_max);
        return Err(Error::TooManyPartitions { name, asked, partitions, partitions_max });
    }
    let (asked, kept) = (spec.settings.message_bytes_max, settings.append_bytes_max);
    // What nobody asked for is refused to nobody, in a log that takes less.
    let is_default = asked <= TopicSettings::default().message_bytes_max;
    if is_default || usize::try_from(asked).is_ok_and(|asked| asked <= kept) {
        return Ok(());
    }
    let reason = format!("batches of {asked} bytes (max.message.bytes) are more than the log takes at once, {kept}");
    Err(Error::TopicSettings { name: spec.name.clone(), reason })
}

impl Admission {
    /// Cuts an append into its batches and checks each from outside.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`], [`Error::DamagedBatch`] or [`Error::BatchTooLarge`].
    pub(crate) fn new(
        partition: &TopicPartition,
        bytes: Bytes,
        topic: &TopicSettings,
        settings: &EventLogSettings,
    ) -> Result<Self> {
        let refuse = |defect| refused(partition, defect);
        let too_large = |bytes, bytes_max| Error::BatchTooLarge { partition: partition.clone(), bytes, bytes_max };
        if bytes.len() > settings.append_bytes_max {
            return Err(too_large(bytes.len(), settings.append_bytes_max));
        }
        let batches = split_batches(bytes).map_err(refuse)?;
        let message_bytes_max = usize::try_from(topic.message_bytes_max).unwrap_or(usize::MAX);
        for (header, batch) in &batches {
            if batch.len() > message_bytes_max {
                return Err(too_large(batch.len(), message_bytes_max));
            }
            if !header.crc_is_valid(batch) {
                return Err(refuse(BatchDefect::Damaged("the checksum is wrong".to_owned())));
            }
            check(header).map_err(|reason| refuse(BatchDefect::Invalid(reason)))?;
        }
        if batches.len() > 1 && batches.iter().any(|(header, _)| header.is_idempotent()) {
            return Err(refuse(BatchDefect::Invalid("an idempotent producer's batch must come alone".to_owned())));
        }
        Ok(Self { partition: partition.clone(), batches, unfolded_bytes_max: settings.unfolded_bytes_max })
    }

    /// Whether its records have to be unfolded to look at them, which takes a while.
    pub(crate) fn is_compressed(&self) -> bool {
        self.batches.iter().any(|(header, _)| header.compression() != Ok(Compression::None))
    }

    /// Looks at the records.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`].
    pub(crate) fn check_records(self) -> Result<Vec<(BatchHeader, Bytes)>> {
        for (header, batch) in &self.batches {
            check_records(header, batch, self.unfolded_bytes_max)
                .map_err(|reason| refused(&self.partition, BatchDefect::Invalid(reason)))?;
        }
        Ok(self.batches)
    }
}

fn refused(partition: &TopicPartition, defect: BatchDefect) -> Error {
    let partition = partition.clone();
    match defect {
        BatchDefect::Damaged(reason) => Error::DamagedBatch { partition, reason },
        BatchDefect::Invalid(reason) => Error::InvalidBatch { partition, reason },
    }
}

fn check(header: &BatchHeader) -> Result<(), String> {
    if header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        return Err(format!("{count} records cannot have a last offset delta of {delta}"));
    }
    if header.is_control() {
        return Err("a control batch may not come from a producer".to_owned());
    }
    if header.is_transactional() {
        return Err("transactions are not supported".to_owned());
    }
    if header.is_log_append_time() {
        return Err("a producer may not say that its timestamps are the log's".to_owned());
    }
    header.compression()?;
    if header.is_idempotent() && (header.producer_epoch < 0 || header.base_sequence < 0) {
        let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
        return Err(format!("producer {id} sent epoch {epoch} and sequence {sequence}"));
    }
    Ok(())
}
