//! [`Sources`]: the sources of a view, read side by side.
//!
//! What must hold: each is read from its own Positions; whoever has a batch knows which source it is of; a busy source keeps
//! no other from its turn.

use std::sync::Arc;

use eventlog::EventLog;
use futures::{FutureExt, future::select_all};
use model::Positions;
use sql::SourceDefinition;

use crate::{
    error::Result,
    source::{DeadLetters, Evaluated, ReaderSettings, SourceBatch, SourceReader},
    view_state::RowPlan,
};

/// Readers, one for each source.
pub(crate) struct Sources {
    readers: Vec<SourceReader>,
    /// Which have come to their end.
    ended: Vec<bool>,
    /// The reader that is looked at first.
    turn: usize,
    positions: Positions,
}

/// Rows of one source.
pub(crate) struct Arrived {
    /// Which.
    pub(crate) source: usize,
    pub(crate) batch: SourceBatch,
}

impl Sources {
    /// Readers of all `sources` from `from` to `until`, or for ever.
    ///
    /// # Errors
    /// [`Error::Log`](crate::Error::Log) when a topic does not exist.
    pub(crate) fn open(
        log: &Arc<dyn EventLog>,
        dead_letters: &Arc<DeadLetters>,
        sources: &[SourceDefinition],
        from: &Positions,
        until: Option<&Positions>,
        settings: &ReaderSettings,
    ) -> Result<Self> {
        let readers = sources.iter().map(|source| {
            let (log, dead_letters) = (Arc::clone(log), Arc::clone(dead_letters));
            SourceReader::open(log, dead_letters, source, from.clone(), until.cloned(), settings.clone())
        });
        let readers = readers.collect::<Result<Vec<_>>>()?;
        Ok(Self { ended: vec![false; readers.len()], readers, turn: 0, positions: from.clone() })
    }

    /// The next rows of any source, waiting for some; `None` once all have come to their end. Dropping the future before it is
    /// ready loses nothing.
    ///
    /// # Errors
    /// [`Error::Log`](crate::Error::Log) when the log cannot be read, or the dead-letter topic cannot be written.
    pub(crate) async fn next(&mut self) -> Result<Option<Arrived>> {
        while !self.ended.iter().all(|ended| *ended) {
            let count = self.readers.len();
            let (turn, ended) = (self.turn, &self.ended);
            let mut readers: Vec<_> =
                self.readers.iter_mut().enumerate().filter(|(source, _)| !ended[*source]).collect();
            // The first that is ready is taken: that is another one each time.
            readers.sort_by_key(|(source, _)| (source + count - turn % count) % count);
            let next =
                readers.into_iter().map(|(source, reader)| reader.next().map(move |next| (source, next)).boxed());
            let ((source, batch), _, _) = select_all(next).await;
            self.turn = source + 1;
            match batch? {
                Some(batch) => return Ok(Some(Arrived { source, batch })),
                None => self.ended[source] = true,
            }
        }
        Ok(None)
    }

    /// Evaluates the first of some rows; the Positions are those of all sources after them.
    ///
    /// # Errors
    /// As [`SourceReader::evaluate`].
    pub(crate) async fn evaluate<P: RowPlan>(&mut self, plan: &P, arrived: &mut Arrived) -> Result<Evaluated<P::Rows>> {
        let mut evaluated = self.readers[arrived.source].evaluate(plan, arrived.source, &mut arrived.batch).await?;
        self.positions.advance_all(&evaluated.positions);
        evaluated.positions.clone_from(&self.positions);
        Ok(evaluated)
    }

    /// How many offsets lie between the readers and the end of the log (or their own end).
    pub(crate) fn lag_records(&self) -> i64 {
        self.readers.iter().map(SourceReader::lag_records).sum()
    }
}
