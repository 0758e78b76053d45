//! The decision what of an epoch is still to be committed; pure, no I/O.
//!
//! delta-rs stores `txn` versions but never compares them, so that a repeated commit would be stored twice. This is
//! the comparison.
//!
//! What must hold: rows below the committed offset are never committed again, and no offset is skipped.

use model::{Epoch, Offset, Positions, TopicPartition};

/// What to do with an epoch, given what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Everything in it is committed: do nothing.
    Covered,
    /// Commit the rows at or after `floor`, and with them the offsets `to`.
    Commit {
        /// Per partition of the epoch, the first offset that is not committed yet.
        floor: Positions,
        /// The partitions that move, with the offset they move to.
        to: Positions,
    },
    /// Something between the committed offset and the epoch is missing.
    Gap {
        /// Where.
        partition: TopicPartition,
        /// The offset up to which everything is committed.
        committed: Offset,
        /// Where the epoch begins.
        from: Offset,
    },
}

/// Compares an epoch with what is committed.
pub(crate) fn decide(committed: &Positions, epoch: &Epoch) -> Decision {
    for (partition, from) in epoch.from.iter() {
        let committed = committed.next_offset(partition);
        if from > committed {
            return Decision::Gap { partition: partition.clone(), committed, from };
        }
    }
    let moves = |(partition, to): &(&TopicPartition, Offset)| *to > committed.next_offset(partition);
    let to: Positions = epoch.to.iter().filter(moves).map(|(partition, to)| (partition.clone(), to)).collect();
    if to.is_empty() {
        return Decision::Covered;
    }
    let floor = epoch.to.iter().map(|(partition, _)| (partition.clone(), committed.next_offset(partition))).collect();
    Decision::Commit { floor, to }
}

#[cfg(test)]
mod tests;
