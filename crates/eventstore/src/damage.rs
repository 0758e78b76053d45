//! [`Damage`]: a run of offsets whose records are there no more, or cannot be read.
//!
//! A damaged event takes its stream with it, and nothing else: the stream is refused, since without the event neither its
//! version nor its state is what it was. Whose event it was is told by what is left of its batch, if that agrees with
//! itself. Where it does not, no stream may take events whose last one is older than the damage: the lost event may be
//! its own.

use std::ops::Range;

use bytes::Bytes;
use eventlog::StoredBatch;
use model::Offset;

use crate::{Error, StreamName, record};

/// A run of offsets that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offsets.
    pub offsets: Range<Offset>,
    /// What is wrong with them.
    pub reason: String,
    /// The streams whose events they are, in order of their names; `None` where that cannot be told.
    pub streams: Option<Vec<StreamName>>,
}

/// Whether an error says that stored records are damaged, and not that the store or the log failed.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt(_) => true,
        Error::Log(error) => matches!(**error, eventlog::Error::Corrupt { .. }),
        _ => false,
    }
}

/// The streams whose events are in what is left of a batch, which must be all of `offsets`; `None` where it does not
/// agree with itself.
pub(crate) fn streams_in(bytes: Bytes, offsets: &Range<Offset>) -> Option<Vec<StreamName>> {
    let batch = StoredBatch { bytes, arrival_time_ms: 0 };
    if batch.header().is_err() || batch.base_offset() > offsets.start || batch.next_offset() != offsets.end {
        return None;
    }
    let records = batch.records().ok()?;
    // The name stands in each record twice. One flipped bit cannot change both.
    let mut streams: Vec<StreamName> = records.iter().map(record::stream_told_twice).collect::<Option<_>>()?;
    streams.sort_unstable();
    streams.dedup();
    Some(streams)
}
