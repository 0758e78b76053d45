//! [`Extent`]: what the log holds of some topics at one moment, and what that says about what was folded from it.
//!
//! What must hold: Positions beyond the end speak of records that the log does not have. Nothing that was folded from
//! those is believed: the next records get the same offsets, and would be taken for folded.

use eventlog::EventLog;
use model::{Error, Positions, Result};
use serving::views::Building;
use sql::SourceDefinition;

/// Where the log of some topics begins and ends.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    start: Positions,
    end: Positions,
}

impl Extent {
    /// Of the topics of `sources`, now.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when a topic is gone.
    pub(crate) fn of(log: &dyn EventLog, sources: &[SourceDefinition]) -> Result<Self> {
        let (mut start, mut end) = (Positions::new(), Positions::new());
        for source in sources {
            let topic = log.topic(source.topic.as_str());
            let topic = topic.ok_or_else(|| Error::not_found(format!("there is no topic {}", source.topic)))?;
            for partition in topic.topic_partitions() {
                let bounds = log.bounds(&partition)?;
                start.advance(partition.clone(), bounds.log_start_offset);
                end.advance(partition, bounds.high_watermark);
            }
        }
        Ok(Self { start, end })
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> &Positions {
        &self.end
    }

    /// Why what was folded up to `positions` is not to be believed, as a sentence; `None` when it is. `what` names it.
    pub(crate) fn disbelief(&self, what: &str, positions: &Positions) -> Option<String> {
        let beyond = positions.iter().find(|(partition, next)| *next > self.end.next_offset(partition));
        beyond.map(|(partition, next)| {
            let end = self.end.next_offset(partition);
            format!("{what} ended at {partition}:{next}, and the log ends at {end}: it has lost records")
        })
    }

    /// Refuses a part of the log, from one place to another, that is not all there.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) with the partition, and what it has.
    pub(crate) fn require_between(&self, from: &Positions, to: &Positions) -> Result<()> {
        let misplaced = |partition: &model::TopicPartition, what: &str, offset: i64| {
            Err(Error::invalid(format!("there is nothing to replay {what} {partition}:{offset}")).with_hint(format!(
                "the log of it is from {} to {}",
                self.start.next_offset(partition),
                self.end.next_offset(partition)
            )))
        };
        for (partition, first) in from.iter() {
            if first < self.start.next_offset(partition) || first > to.next_offset(partition) {
                return misplaced(partition, "from", first);
            }
        }
        match to.iter().find(|(partition, next)| *next > self.end.next_offset(partition)) {
            Some((partition, next)) => misplaced(partition, "up to", next),
            None => Ok(()),
        }
    }

    /// Whether `captured` has records after `from` that the log has no more, and nothing less than `from`.
    pub(crate) fn needs(&self, captured: &Positions, from: &Positions) -> bool {
        let is_lost = |(partition, next): (&model::TopicPartition, i64)| {
            let from = from.next_offset(partition);
            from < self.start.next_offset(partition) && from < next
        };
        captured.covers(from) && captured.iter().any(is_lost)
    }

    /// What a view that stands at `from` has to fold before it answers: all that is here now.
    pub(crate) fn building(&self, from: &Positions) -> Building {
        let mut first = self.start.clone();
        first.advance_all(from);
        Building::new(first, self.end.clone())
    }
}
