//! The door: which batches a partition takes.
//!
//! What must hold: what passes here can be stored, replayed and read without another check of its shape.

use bytes::Bytes;
use model::TopicPartition;

use crate::{
    log::{Error, Result, TopicSettings},
    record::{BatchHeader, check_record_count, split_batches},
};

/// Cuts an append into its batches and checks each.
///
/// # Errors
/// [`Error::InvalidBatch`] or [`Error::BatchTooLarge`].
pub(crate) fn admit(
    partition: &TopicPartition,
    bytes: Bytes,
    settings: &TopicSettings,
    append_bytes_max: usize,
) -> Result<Vec<(BatchHeader, Bytes)>> {
    let invalid = |reason| Error::InvalidBatch { partition: partition.clone(), reason };
    let too_large = |bytes, bytes_max| Error::BatchTooLarge { partition: partition.clone(), bytes, bytes_max };
    if bytes.len() > append_bytes_max {
        return Err(too_large(bytes.len(), append_bytes_max));
    }
    let batches = split_batches(bytes).map_err(invalid)?;
    let message_bytes_max = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
    for (header, batch) in &batches {
        if batch.len() > message_bytes_max {
            return Err(too_large(batch.len(), message_bytes_max));
        }
        check(header, batch).map_err(invalid)?;
    }
    if batches.len() > 1 && batches.iter().any(|(header, _)| header.is_idempotent()) {
        return Err(invalid("an idempotent producer's batch must come alone".to_owned()));
    }
    Ok(batches)
}

fn check(header: &BatchHeader, batch: &Bytes) -> Result<(), String> {
    if !header.crc_is_valid(batch) {
        return Err("the checksum is wrong".to_owned());
    }
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
    check_record_count(header, batch)?;
    if header.is_idempotent() && (header.producer_epoch < 0 || header.base_sequence < 0) {
        let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
        return Err(format!("producer {id} sent epoch {epoch} and sequence {sequence}"));
    }
    Ok(())
}
