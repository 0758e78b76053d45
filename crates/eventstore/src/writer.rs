//! The writer: the only task that appends to the store's partition.
//!
//! It takes every append that waits, decides about all of them in a [`Draft`], writes the accepted ones as *one*
//! record batch, and answers when that batch is durable. So concurrent appends share a sync, and one append is
//! always whole in one batch. Only one batch is in flight; what arrives meanwhile makes the next.
//!
//! What must hold: the index never holds an event that is not durable, and nobody is answered before that.
//! When an append to the log fails, its draft is dropped, and before the next one the log is read up to its end:
//! if the failed batch is there after all, its events are taken in as what they are.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{Acks, Appended, Compression, RecordBatchBuilder};
use model::Offset;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Error, ExpectedVersion, NewEvent, RecordedEvent, Result, StreamName,
    draft::{Decision, Draft, Proposal},
    index::Versions,
    record::{self, Placement},
    store::Shared,
};

/// What the writer is asked.
pub(crate) enum Request {
    /// Append events.
    Append(Append),
    /// Finish what waits, then stop.
    Close(oneshot::Sender<()>),
}

/// One append that waits.
pub(crate) struct Append {
    pub(crate) proposal: Proposal,
    /// At most how many bytes its records take.
    pub(crate) bytes_max: usize,
    pub(crate) answer: oneshot::Sender<Result<Committed>>,
}

/// Where an append's events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) versions: Versions,
    /// The offset of the first event; the others follow it without a gap.
    pub(crate) base_offset: Offset,
    /// The offset after the last event.
    pub(crate) next_offset: Offset,
    /// When they were recorded; not told for a duplicate.
    pub(crate) recorded_time_ms: Option<i64>,
}

/// The writer's task.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Tells how far the index goes.
    pub(crate) indexed: watch::Sender<Offset>,
}

impl Writer {
    /// Runs until the store is closed or dropped.
    pub(crate) async fn run(mut self) {
        let mut held = None;
        loop {
            let request = match held.take() {
                Some(append) => Request::Append(append),
                None => match self.requests.recv().await {
                    Some(request) => request,
                    None => return,
                },
            };
            match request {
                Request::Append(first) => {
                    // Those who were just answered have their next append ready in a moment: let them into this commit.
                    tokio::task::yield_now().await;
                    let (appends, closing) = self.gather(first, &mut held);
                    self.commit(appends).await;
                    if let Some(closed) = closing {
                        return self.close(held, closed);
                    }
                }
                Request::Close(closed) => return self.close(held, closed),
            }
        }
    }

    /// The appends of one commit: the first, and those that wait, as far as the batch has room. The one for which
    /// there is none is held for the next commit.
    fn gather(&mut self, first: Append, held: &mut Option<Append>) -> (Vec<Append>, Option<oneshot::Sender<()>>) {
        let mut bytes = first.bytes_max;
        let mut appends = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Append(append) if bytes + append.bytes_max > self.shared.settings.batch_bytes => {
                    *held = Some(append);
                    break;
                }
                Request::Append(append) => {
                    bytes += append.bytes_max;
                    appends.push(append);
                }
                Request::Close(closed) => return (appends, Some(closed)),
            }
        }
        (appends, None)
    }

    /// Dropping the receiver answers whoever still waits with [`Error::Closed`].
    fn close(self, held: Option<Append>, closed: oneshot::Sender<()>) {
        drop(held);
        drop(self);
        // Whoever asked may have gone.
        let _ = closed.send(());
    }

    async fn commit(&self, appends: Vec<Append>) {
        if let Err(error) = self.catch_up().await {
            return refuse_all(appends.into_iter().map(|append| append.answer), &error);
        }
        let plan = self.plan(appends);
        let Some(batch) = plan.batch else { return };
        match self.shared.log.append(&self.shared.partition, batch, Acks::Durable).await {
            Ok(appended) => self.settle(plan.planned, appended).await,
            Err(error) => {
                tracing::warn!(%error, partition = %self.shared.partition, "events could not be appended");
                refuse_all(plan.planned.into_iter().map(|planned| planned.answer), &error.into());
            }
        }
    }

    /// Decides about all appends; those that need nothing of this commit are answered at once.
    fn plan(&self, appends: Vec<Append>) -> Plan {
        let index = self.shared.index.read();
        // Recorded times never decrease, whatever the clock does.
        let recorded_time_ms = self.shared.clock.now_ms().max(index.recorded_time_ms());
        let mut draft = Draft::new(&index);
        let mut builder = RecordBatchBuilder::new(Compression::None);
        let mut planned = Vec::with_capacity(appends.len());
        for Append { proposal, answer, .. } in appends {
            let depends_on_commit = draft.touches(&proposal.stream);
            let outcome = match draft.decide(&proposal) {
                Decision::Append(versions) => {
                    let at = builder.record_count();
                    self.encode(&proposal, versions, recorded_time_ms, &mut builder);
                    Outcome::Append { versions, at: Offset::from(at), recorded_time_ms }
                }
                Decision::Duplicate(versions) => Outcome::Duplicate(versions),
                Decision::Refuse(error) => Outcome::Refuse(error),
            };
            let item = Planned { proposal, outcome, answer };
            match item.outcome {
                Outcome::Duplicate(versions) if !depends_on_commit => {
                    let committed = committed_before(&index, &item.proposal.stream, versions);
                    answer_with(item.answer, committed);
                }
                Outcome::Refuse(error) if !depends_on_commit => answer_with(item.answer, Err(error)),
                _ => planned.push(item),
            }
        }
        let batch = (!builder.is_empty()).then(|| builder.build());
        Plan { planned, batch }
    }

    fn encode(&self, proposal: &Proposal, versions: Versions, recorded_time_ms: i64, builder: &mut RecordBatchBuilder) {
        for (event, version) in proposal.events.iter().zip(versions.first..) {
            let placement = Placement {
                stream: &proposal.stream,
                version,
                recorded_time_ms,
                command_id: proposal.command_id.as_ref(),
                source: &self.shared.source,
            };
            builder.push(record::encode(event, &placement));
        }
    }

    /// Takes the durable batch into the index, and answers.
    async fn settle(&self, planned: Vec<Planned>, appended: Appended) {
        // Records that others put before the batch come first.
        if let Err(error) = self.take_in(appended.base_offset).await {
            return refuse_all(planned.into_iter().map(|planned| planned.answer), &error);
        }
        let mut answers = Vec::with_capacity(planned.len());
        let mut events_appended = 0;
        {
            let mut index = self.shared.index.write();
            for Planned { proposal, outcome, answer } in planned {
                let committed = match outcome {
                    Outcome::Append { versions, at, recorded_time_ms } => {
                        let base_offset = appended.base_offset + at;
                        let events = recorded(proposal, versions, base_offset, recorded_time_ms);
                        events_appended += events.len() as u64;
                        take_in_own(&mut index, &events).map(|()| Committed {
                            versions,
                            base_offset,
                            next_offset: base_offset + events.len() as Offset,
                            recorded_time_ms: Some(recorded_time_ms),
                        })
                    }
                    Outcome::Duplicate(versions) => committed_before(&index, &proposal.stream, versions),
                    Outcome::Refuse(error) => Err(error),
                };
                answers.push((answer, committed));
            }
            index.advance(appended.next_offset);
        }
        self.shared.metrics.event_appends.inc_by(events_appended);
        self.indexed.send_replace(appended.next_offset);
        for (answer, committed) in answers {
            answer_with(answer, committed);
        }
    }

    /// Takes in everything that is durable.
    async fn catch_up(&self) -> Result<()> {
        let end = self.shared.log.bounds(&self.shared.partition)?.high_watermark;
        self.take_in(end).await
    }

    async fn take_in(&self, end: Offset) -> Result<()> {
        if self.shared.index.read().next_offset() < end {
            self.shared.take_in(end).await?;
            self.indexed.send_replace(end);
        }
        Ok(())
    }
}

struct Plan {
    /// The appends that are answered once the batch is durable.
    planned: Vec<Planned>,
    batch: Option<Bytes>,
}

struct Planned {
    proposal: Proposal,
    outcome: Outcome,
    answer: oneshot::Sender<Result<Committed>>,
}

enum Outcome {
    /// Append; the first record is number `at` of the batch.
    Append { versions: Versions, at: Offset, recorded_time_ms: i64 },
    /// Answer with the events that are there.
    Duplicate(Versions),
    /// Answer with the error.
    Refuse(Error),
}

/// The events of an append as they were recorded.
pub(crate) fn recorded(
    proposal: Proposal,
    versions: Versions,
    base_offset: Offset,
    recorded_time_ms: i64,
) -> Vec<RecordedEvent> {
    let Proposal { stream, events, command_id, .. } = proposal;
    let place = |((event, version), offset): ((NewEvent, u64), Offset)| RecordedEvent {
        stream: stream.clone(),
        version,
        event_id: event.event_id,
        event_type: event.event_type,
        data: event.data,
        metadata: event.metadata,
        recorded_time_ms,
        effective_time_ms: event.effective_time_ms.unwrap_or(recorded_time_ms),
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        command_id: command_id.clone(),
        offset,
    };
    events.into_iter().zip(versions.first..).zip(base_offset..).map(place).collect()
}

fn take_in_own(index: &mut crate::index::Index, events: &[RecordedEvent]) -> Result<()> {
    // All are offered, so that the index sees what a rebuild would see.
    let refused = events.iter().filter(|event| !index.apply(event)).count();
    match events.first() {
        Some(first) if refused > 0 => Err(Error::ForeignWriter { stream: first.stream.clone(), offset: first.offset }),
        _ => Ok(()),
    }
}

fn committed_before(index: &crate::index::Index, stream: &StreamName, versions: Versions) -> Result<Committed> {
    let places = index.offset(stream, versions.first).zip(index.offset(stream, versions.last));
    let (base_offset, last) = places.ok_or_else(|| Error::WrongVersion {
        stream: stream.clone(),
        expected: ExpectedVersion::Exact(versions.last),
        actual: index.version(stream),
    })?;
    Ok(Committed { versions, base_offset, next_offset: last + 1, recorded_time_ms: None })
}

fn answer_with(answer: oneshot::Sender<Result<Committed>>, committed: Result<Committed>) {
    // Whoever asked may have gone; the events stay.
    let _ = answer.send(committed);
}

fn refuse_all(answers: impl Iterator<Item = oneshot::Sender<Result<Committed>>>, error: &Error) {
    for answer in answers {
        answer_with(answer, Err(error.clone()));
    }
}
