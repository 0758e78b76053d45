//! Where statements are planned and where queries compute: threads of their own, so that a query that is busy for
//! seconds keeps no connection waiting, not even the one that asks to cancel it.
//!
//! What must hold: a query that computes takes no thread from planning, so however long queries compute, statements are
//! read, rows are found by their keys and variables are set; what can be seen to be short before it is planned waits for
//! nothing that may be long; what may be long yields the processor to everything else; planning that keeps its thread for too long is answered with an error and left behind; the
//! batches that wait for a slow reader are few and reserved.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Array, RecordBatch},
    datatypes::SchemaRef,
};
use datafusion::{
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{ExecutionPlan, execute_stream, stream::RecordBatchStreamAdapter},
};
use futures::{Future, StreamExt, stream};
use model::{MemoryBudget, MemoryReservation, Result};
use sql::{SqlError, sqlstate};
use streaming::Evaluation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::threads::{Task, Threads, Urgency};

/// Batches that wait for a slow reader, a query; and how many bytes of them.
const BATCHES_WAITING_MAX: usize = 2;
const BYTES_WAITING_MAX: u32 = 4 * 1024 * 1024;

/// Threads that plan: planning is short.
const PLANNING_THREADS: usize = 2;
/// Threads for what is shorter still.
const SHORT_THREADS: usize = 2;

/// Which statements wait for one another before they are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those that are seen to be planned in a moment: reads by key, variables, transactions, expressions over nothing.
    Short,
    /// All others.
    Long,
}

/// The threads that plan and those that compute.
#[derive(Debug)]
pub(super) struct Engine {
    planning: Arc<Threads>,
    planning_short: Arc<Threads>,
    computing: Arc<Threads>,
    planning_timeout: Duration,
    memory: MemoryBudget,
}

impl Engine {
    pub(super) fn new(computing_threads: usize, planning_timeout: Duration, memory: MemoryBudget) -> Result<Self> {
        Ok(Self {
            planning: Arc::new(Threads::start("plan", PLANNING_THREADS, Urgency::Yielding)?),
            planning_short: Arc::new(Threads::start("plan short", SHORT_THREADS, Urgency::Ordinary)?),
            computing: Arc::new(Threads::start("query", computing_threads, Urgency::Yielding)?),
            planning_timeout,
            memory,
        })
    }

    /// Does something short, such as planning; it may wait for long, but not compute for long. It is given up when the
    /// returned future is dropped; a panic becomes an error.
    pub(super) async fn run<T, E>(
        &self,
        lane: Lane,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        let threads = if lane == Lane::Short { &self.planning_short } else { &self.planning };
        let mut task = threads.spawn(work);
        let begun = tokio::time::timeout(self.planning_timeout, task.begun()).await;
        if begun.is_err() {
            let message = "all threads that plan are kept by other statements";
            return Err(SqlError::new(sqlstate::TOO_MANY_CONNECTIONS, message)
                .with_hint("try again in a moment")
                .into());
        }
        let mut look_again = self.planning_timeout;
        loop {
            if let Ok(ended) = tokio::time::timeout(look_again, task.ended()).await {
                return ended;
            }
            let kept = task.keeps_thread_since().map_or(Duration::ZERO, |since| since.elapsed());
            if kept >= self.planning_timeout {
                return Err(self.takes_too_long().into());
            }
            look_again = self.planning_timeout.saturating_sub(kept).max(Duration::from_millis(50));
        }
    }

    /// Carries out a definition, which takes as long as it takes.
    pub(super) async fn carry_out<T>(
        &self,
        work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
    ) -> Result<T, SqlError>
    where
        T: Send + 'static,
    {
        let mut task = self.planning.spawn(work);
        task.begun().await;
        task.ended().await
    }

    /// Computes something that is not a plan, on the threads that compute.
    pub(super) async fn compute_one<T>(
        &self,
        work: impl Future<Output = Result<T, DataFusionError>> + Send + 'static,
    ) -> Result<T, DataFusionError>
    where
        T: Send + 'static,
    {
        let mut task = self.computing.spawn::<T, Failure>(async move { work.await.map_err(Failure) });
        task.begun().await;
        task.ended().await.map_err(|failure| failure.0)
    }

    /// Computes a plan, ahead of whoever reads the returned stream by a few batches. Dropping it ends the computing.
    pub(super) fn compute(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
        interest: Interest,
    ) -> SendableRecordBatchStream {
        let schema: SchemaRef = plan.schema();
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let room = Arc::new(Semaphore::new(BYTES_WAITING_MAX as usize));
        let memory = self.memory.clone();
        let task = self.computing.spawn::<(), Failure>(async move {
            let mut rows = execute_stream(plan, context).map_err(Failure)?;
            while let Some(batch) = rows.next().await {
                let batch = match batch {
                    Ok(batch) => Waiting::new(batch, &room, &memory).await.map_err(Failure),
                    Err(error) => Err(Failure(error)),
                };
                let ended = batch.is_err();
                if sender.send(batch).await.is_err() || ended {
                    break;
                }
            }
            Ok(())
        });
        let reading = Reading { receiver, task: Some(task), _interest: interest, last: None };
        let batches = stream::unfold(reading, |mut reading| async {
            let next = reading.next().await?;
            Some((next, reading))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    fn takes_too_long(&self) -> SqlError {
        let message = format!("planning the statement took more than {} ms", self.planning_timeout.as_millis());
        SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, message)
            .with_hint("take it apart into several statements, or use parameters for what is long")
    }
}

/// DataFusion's error, from threads.
pub(super) struct Failure(DataFusionError);

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self(error)
    }
}

impl From<Failure> for DataFusionError {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self(DataFusionError::External(Box::new(error)))
    }
}

/// A batch that waits for its reader.
struct Waiting {
    batch: RecordBatch,
    _room: Option<OwnedSemaphorePermit>,
    reservation: MemoryReservation,
}

impl Waiting {
    async fn new(batch: RecordBatch, room: &Arc<Semaphore>, memory: &MemoryBudget) -> Result<Self, DataFusionError> {
        let bytes = bytes_of(&batch);
        let reserved = memory.reserve("answers", bytes);
        let reservation = reserved.map_err(|error| DataFusionError::External(Box::new(SqlError::from(&error))))?;
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(BYTES_WAITING_MAX);
        // Nobody closes it.
        let room = Arc::clone(room).acquire_many_owned(permits).await.ok();
        Ok(Self { batch, _room: room, reservation })
    }
}

/// What the rows of a batch take, wherever their buffers are shared.
fn bytes_of(batch: &RecordBatch) -> u64 {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0) as u64);
    sizes.sum()
}

/// The reading end of a query.
struct Reading {
    receiver: mpsc::Receiver<Result<Waiting, Failure>>,
    task: Option<Task<(), Failure>>,
    _interest: Interest,
    /// What the batch takes that the reader has in its hands.
    last: Option<MemoryReservation>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        self.last = None;
        self.task.as_mut()?.begun().await;
        if let Some(batch) = self.receiver.recv().await {
            return Some(match batch {
                Ok(waiting) => {
                    self.last = Some(waiting.reservation);
                    Ok(waiting.batch)
                }
                Err(failure) => Err(failure.0),
            });
        }
        // The task says whether it came to the end.
        let mut task = self.task.take()?;
        match task.ended().await {
            Ok(()) => None,
            Err(failure) => Some(Err(failure.0)),
        }
    }
}

/// Somebody waits for the rows of a statement. When it is dropped, the statement's functions stop.
pub(super) struct Interest(Evaluation);

impl Interest {
    pub(super) fn in_statement(evaluation: &Evaluation) -> Self {
        Self(evaluation.clone())
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
