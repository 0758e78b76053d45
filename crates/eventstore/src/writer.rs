//! The writer: the only task that appends to the store's partition.
//!
//! It takes everything that waits, decides about all of it in a [`Draft`], writes the events of the accepted appends as
//! *one* record batch and the outcomes of commands without events as another, and answers when they are durable. So
//! concurrent appends share a sync, and one append is always whole in one batch. One commit is in flight; what arrives
//! meanwhile makes the next.
//!
//! What must hold: the index never holds an event that is not durable, and nobody is answered before that.
//! When an append to the log fails, its part of the draft is dropped, and before the next one the log is read up to its
//! end: if the failed batch is there after all, its records are taken in as what they are.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{Acks, Appended, Compression, RecordBatchBuilder};
use model::{Offset, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    Error, ExpectedVersion, NewEvent, RecordedEvent, Result, StreamName,
    draft::{Append, Decision, Draft, Proposal},
    index::{CommandResult, Index, Versions},
    opened::{Opened, no_events},
    outcome::{self, Outcome},
    record::{self, Placement},
};

/// What the writer is asked.
pub(crate) enum Request {
    /// Do something durable.
    Propose(Waiting),
    /// Finish what waits, then stop.
    Close(oneshot::Sender<()>),
}

/// A proposal that waits.
pub(crate) struct Waiting {
    pub(crate) proposal: Proposal,
    /// At most how many bytes its records take.
    pub(crate) bytes_max: usize,
    pub(crate) answer: oneshot::Sender<Result<Done>>,
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Done {
    /// These events are there.
    Events {
        versions: Versions,
        /// The offset after the last one.
        next_offset: Offset,
        /// The events, unless they were there before.
        recorded: Option<Vec<RecordedEvent>>,
    },
    /// It is kept that a command led to no events.
    Nothing {
        /// Where.
        offset: Offset,
        /// Whether it was kept before.
        before: bool,
    },
}

/// The writer's task.
pub(crate) struct Writer {
    pub(crate) opened: Arc<Opened>,
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
                Some(waiting) => Request::Propose(waiting),
                None => match self.requests.recv().await {
                    Some(request) => request,
                    None => return,
                },
            };
            match request {
                Request::Propose(first) => {
                    // Those who were just answered have their next append ready in a moment: let them into this commit.
                    tokio::task::yield_now().await;
                    let (gathered, closing) = self.gather(first, &mut held);
                    self.commit(gathered).await;
                    if let Some(closed) = closing {
                        return self.close(held, closed);
                    }
                }
                Request::Close(closed) => return self.close(held, closed),
            }
        }
    }

    /// The proposals of one commit: the first, and those that wait, as far as a batch has room. The one for which
    /// there is none is held for the next commit.
    fn gather(&mut self, first: Waiting, held: &mut Option<Waiting>) -> (Vec<Waiting>, Option<oneshot::Sender<()>>) {
        let mut bytes = first.bytes_max;
        let mut gathered = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Propose(waiting) if bytes + waiting.bytes_max > self.opened.settings.batch_bytes => {
                    *held = Some(waiting);
                    break;
                }
                Request::Propose(waiting) => {
                    bytes += waiting.bytes_max;
                    gathered.push(waiting);
                }
                Request::Close(closed) => return (gathered, Some(closed)),
            }
        }
        (gathered, None)
    }

    /// Dropping the receiver answers whoever still waits with [`Error::Closed`].
    fn close(self, held: Option<Waiting>, closed: oneshot::Sender<()>) {
        drop(held);
        drop(self);
        // Whoever asked may have gone.
        let _ = closed.send(());
    }

    async fn commit(&self, waiting: Vec<Waiting>) {
        if let Err(error) = self.catch_up().await {
            return refuse_all(waiting.into_iter().map(|waiting| waiting.answer), &error);
        }
        let Plan { planned, events, outcomes } = self.plan(waiting);
        if outcomes.is_some()
            && let Err(error) = self.opened.ready_outcomes().await
        {
            return refuse_all(planned.into_iter().map(|planned| planned.answer), &error);
        }
        let (events, outcomes) = futures::future::join(
            self.append(&self.opened.partition, events),
            self.append(&self.opened.outcomes, outcomes),
        )
        .await;
        self.settle(planned, events, outcomes).await;
    }

    /// Appends a batch, if there is one.
    async fn append(&self, partition: &TopicPartition, batch: Option<Bytes>) -> Result<Option<Appended>> {
        let Some(batch) = batch else { return Ok(None) };
        match self.opened.log.append(partition, batch, Acks::Durable).await {
            Ok(appended) => Ok(Some(appended)),
            Err(error) => {
                tracing::warn!(%error, %partition, "the event store could not append");
                Err(error.into())
            }
        }
    }

    /// Decides about all that waits; what needs nothing of this commit is answered at once.
    fn plan(&self, waiting: Vec<Waiting>) -> Plan {
        let index = self.opened.index.read();
        // Recorded times never decrease, whatever the clock does.
        let recorded_time_ms = self.opened.clock.now_ms().max(index.recorded_time_ms());
        let mut draft = Draft::new(&index, self.opened.settings.streams_max);
        let mut events = RecordBatchBuilder::new(Compression::None);
        let mut outcomes = RecordBatchBuilder::new(Compression::None);
        let mut planned = Vec::with_capacity(waiting.len());
        for Waiting { proposal, answer, .. } in waiting {
            let depends_on_commit = draft.touches(proposal.stream());
            let decision = draft.decide(&proposal);
            let step = match (proposal, decision) {
                (Proposal::Append(append), Decision::Append(versions)) => {
                    let at = Offset::from(events.record_count());
                    self.encode(&append, versions, recorded_time_ms, &mut events);
                    Step::Append { append, versions, at, recorded_time_ms }
                }
                (Proposal::Keep(outcome), Decision::Keep) => {
                    let at = Offset::from(outcomes.record_count());
                    outcomes.push(outcome::encode(&outcome, recorded_time_ms));
                    Step::Keep { outcome, at }
                }
                (proposal, Decision::Duplicate(versions)) => Step::Duplicate(proposal.stream().clone(), versions),
                (proposal, Decision::DuplicateCommand(key)) => Step::DuplicateCommand(proposal.stream().clone(), key),
                (proposal, Decision::Damaged(damage)) => {
                    Step::Refuse(self.opened.damaged(no_events(proposal.stream()), &damage))
                }
                (_, Decision::Refuse(error)) => Step::Refuse(error),
                (Proposal::Append(_), Decision::Keep) | (Proposal::Keep(_), Decision::Append(_)) => {
                    unreachable!("a decision is about its proposal")
                }
            };
            match step {
                Step::Append { .. } | Step::Keep { .. } => planned.push(Planned { step, answer }),
                _ if depends_on_commit => planned.push(Planned { step, answer }),
                step => answer_with(answer, step.done_before(&index)),
            }
        }
        let batch = |builder: RecordBatchBuilder| (!builder.is_empty()).then(|| builder.build());
        Plan { planned, events: batch(events), outcomes: batch(outcomes) }
    }

    fn encode(&self, append: &Append, versions: Versions, recorded_time_ms: i64, builder: &mut RecordBatchBuilder) {
        for (event, version) in append.events.iter().zip(versions.first..) {
            let placement = Placement {
                stream: &append.stream,
                version,
                recorded_time_ms,
                command: append.command.as_ref(),
                source: &self.opened.source,
            };
            builder.push(record::encode(event, &placement));
        }
    }

    /// Takes what is durable into the index, and answers.
    async fn settle(
        &self,
        planned: Vec<Planned>,
        events: Result<Option<Appended>>,
        outcomes: Result<Option<Appended>>,
    ) {
        // Records that others put before the batches come first.
        let events = match events {
            Ok(Some(appended)) => self.take_in(appended.base_offset).await.map(|()| Some(appended)),
            events => events,
        };
        let outcomes = match outcomes {
            Ok(Some(appended)) => self.opened.take_in_outcomes(appended.base_offset).await.map(|()| Some(appended)),
            outcomes => outcomes,
        };
        // What was decided on top of the rest of the commit holds only if all of it is there.
        let failure = [&events, &outcomes].into_iter().find_map(|appended| appended.as_ref().err().cloned());
        let mut answers = Vec::with_capacity(planned.len());
        let mut events_appended = 0;
        {
            let mut index = self.opened.index.write();
            for Planned { step, answer } in planned {
                let done = match (step, &failure) {
                    (Step::Append { append, versions, at, recorded_time_ms }, _) => {
                        base(&events, at).and_then(|base| {
                            let events = recorded(append, versions, base, recorded_time_ms);
                            events_appended += events.len() as u64;
                            take_in_own(&mut index, &events)?;
                            let next_offset = base + events.len() as Offset;
                            Ok(Done::Events { versions, next_offset, recorded: Some(events) })
                        })
                    }
                    (Step::Keep { outcome, at }, _) => base(&outcomes, at).map(|offset| {
                        index.apply_outcome(&outcome, offset);
                        Done::Nothing { offset, before: false }
                    }),
                    (_, Some(failure)) => Err(failure.clone()),
                    (step, None) => step.done_before(&index),
                };
                answers.push((answer, done));
            }
            if let Ok(Some(appended)) = &events {
                index.advance(appended.next_offset);
            }
            if let Ok(Some(appended)) = &outcomes {
                index.advance_outcomes(appended.next_offset);
            }
        }
        self.opened.metrics.event_appends.inc_by(events_appended);
        if let Ok(Some(appended)) = &events {
            self.indexed.send_replace(appended.next_offset);
        }
        for (answer, done) in answers {
            answer_with(answer, done);
        }
    }

    /// Takes in everything that is durable.
    async fn catch_up(&self) -> Result<()> {
        self.take_in(self.opened.log.bounds(&self.opened.partition)?.high_watermark).await?;
        let end = self.opened.outcomes_end();
        if self.opened.index.read().outcomes_next_offset() < end {
            self.opened.take_in_outcomes(end).await?;
        }
        Ok(())
    }

    async fn take_in(&self, end: Offset) -> Result<()> {
        if self.opened.index.read().next_offset() < end {
            self.opened.take_in(end).await?;
            self.indexed.send_replace(end);
        }
        Ok(())
    }
}

struct Plan {
    /// What is answered once the batches are durable.
    planned: Vec<Planned>,
    events: Option<Bytes>,
    outcomes: Option<Bytes>,
}

struct Planned {
    step: Step,
    answer: oneshot::Sender<Result<Done>>,
}

enum Step {
    /// Append; the first record is number `at` of the events' batch.
    Append { append: Append, versions: Versions, at: Offset, recorded_time_ms: i64 },
    /// Keep, as record number `at` of the outcomes' batch.
    Keep { outcome: Outcome, at: Offset },
    /// Answer with the events that are there.
    Duplicate(StreamName, Versions),
    /// Answer with what came of the command that has this key.
    DuplicateCommand(StreamName, Uuid),
    /// Answer with the error.
    Refuse(Error),
}

impl Step {
    /// The answer from what the index has.
    fn done_before(self, index: &Index) -> Result<Done> {
        match self {
            Self::Duplicate(stream, versions) => events_before(index, stream, versions),
            Self::DuplicateCommand(stream, key) => match index.command(&key).map(|command| command.result) {
                Some(CommandResult::Events(versions)) => events_before(index, stream, versions),
                Some(CommandResult::Nothing(offset)) => Ok(Done::Nothing { offset, before: true }),
                // Another writer had taken the versions of its events, so the index has passed over them.
                None => Err(Error::ForeignWriter { stream, offset: index.next_offset() }),
            },
            Self::Refuse(error) => Err(error),
            Self::Append { .. } | Self::Keep { .. } => unreachable!("what is new was not there before"),
        }
    }
}

/// Where a record of a batch is, if the batch is there.
fn base(appended: &Result<Option<Appended>>, at: Offset) -> Result<Offset> {
    match appended {
        Ok(Some(appended)) => Ok(appended.base_offset + at),
        Ok(None) => unreachable!("a batch with a record was appended"),
        Err(error) => Err(error.clone()),
    }
}

/// The events of an append as they were recorded.
fn recorded(append: Append, versions: Versions, base_offset: Offset, recorded_time_ms: i64) -> Vec<RecordedEvent> {
    let Append { stream, events, command, .. } = append;
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
        command_id: command.as_ref().map(|command| command.id.clone()),
        command_digest: command.as_ref().map(|command| command.digest),
        offset,
    };
    events.into_iter().zip(versions.first..).zip(base_offset..).map(place).collect()
}

fn take_in_own(index: &mut Index, events: &[RecordedEvent]) -> Result<()> {
    // All are offered, so that the index sees what a rebuild would see.
    let refused = events.iter().filter(|event| !index.apply(event)).count();
    match events.first() {
        Some(first) if refused > 0 => Err(Error::ForeignWriter { stream: first.stream.clone(), offset: first.offset }),
        _ => Ok(()),
    }
}

fn events_before(index: &Index, stream: StreamName, versions: Versions) -> Result<Done> {
    match index.offset(&stream, versions.last) {
        Some(last) => Ok(Done::Events { versions, next_offset: last + 1, recorded: None }),
        None => {
            let (expected, actual) = (ExpectedVersion::Exact(versions.last), index.version(&stream));
            Err(Error::WrongVersion { stream, expected, actual })
        }
    }
}

fn answer_with(answer: oneshot::Sender<Result<Done>>, done: Result<Done>) {
    // Whoever asked may have gone; what was done stays.
    let _ = answer.send(done);
}

fn refuse_all(answers: impl Iterator<Item = oneshot::Sender<Result<Done>>>, error: &Error) {
    for answer in answers {
        answer_with(answer, Err(error.clone()));
    }
}
