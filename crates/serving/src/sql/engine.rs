//! Where statements are planned and where queries compute: threads of their own, so that a query that is busy for
//! seconds keeps no connection waiting, not even the one that asks to cancel it.
//!
//! What must hold: a query that computes takes no thread from planning, so however long queries compute, statements are
//! read, rows are found by their keys and variables are set.

use std::{any::Any, fmt, future::Future, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{ExecutionPlan, execute_stream, stream::RecordBatchStreamAdapter},
};
use futures::{StreamExt, stream};
use model::{Error, Result};
use streaming::SqlError;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinHandle,
};

use super::error::sqlstate;

/// Batches that wait for a slow reader, a query.
const BATCHES_WAITING_MAX: usize = 2;

/// The stack of a thread: DataFusion walks statements and plans by recursion.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Threads that plan: planning is short.
const PLANNING_THREADS: usize = 2;

/// The threads that plan and those that compute.
#[derive(Debug)]
pub(super) struct Engine {
    planning: Threads,
    computing: Threads,
}

impl Engine {
    pub(super) fn new(computing_threads: usize) -> Result<Self> {
        Ok(Self {
            planning: Threads::start("plan", PLANNING_THREADS)?,
            computing: Threads::start("query", computing_threads)?,
        })
    }

    /// Does something short, such as planning. It is given up when the returned future is dropped; a panic becomes an error.
    pub(super) async fn run<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<EngineFailure> + Send + 'static,
    {
        let mut task = self.planning.spawn(work)?;
        (&mut task.0).await.unwrap_or_else(|ended| Err(failed(ended).into()))
    }

    /// Computes a plan, ahead of whoever reads the returned stream by a few batches. Dropping it ends the computing.
    pub(super) fn compute(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let schema: SchemaRef = plan.schema();
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let task: Task<(), DataFusionError> = self.computing.spawn(async move {
            let mut rows = execute_stream(plan, context)?;
            while let Some(batch) = rows.next().await {
                let ended = batch.is_err();
                if sender.send(batch).await.is_err() || ended {
                    break;
                }
            }
            Ok(())
        })?;
        let batches = stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async {
            if let Some(batch) = receiver.recv().await {
                return Some((batch, (receiver, task)));
            }
            // The task says whether it came to the end.
            let error = match (&mut task.take()?.0).await {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => error,
                Err(ended) => failed(ended).into(),
            };
            Some((Err::<RecordBatch, _>(error), (receiver, None)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Some threads with room for deep recursion.
struct Threads(Option<Runtime>);

impl Threads {
    fn start(name: &str, threads: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Error::internal("cannot start the threads of queries").with_source(e))?;
        Ok(Self(Some(runtime)))
    }

    fn spawn<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Task<T, E>, EngineFailure>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match &self.0 {
            Some(runtime) => Ok(Task(runtime.spawn(work))),
            None => Err(EngineFailure(SqlError::new(sqlstate::ADMIN_SHUTDOWN, "the server is stopping"))),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not waited for: the last owner may itself be a task.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

/// A task that is given up with its handle.
struct Task<T, E>(JoinHandle<Result<T, E>>);

impl<T, E> Drop for Task<T, E> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The engine's own failure, as opposed to that of the work.
pub(super) struct EngineFailure(SqlError);

impl From<EngineFailure> for SqlError {
    fn from(failure: EngineFailure) -> Self {
        failure.0
    }
}

impl From<EngineFailure> for DataFusionError {
    fn from(failure: EngineFailure) -> Self {
        Self::External(Box::new(failure.0))
    }
}

/// A panic of the query engine ends the statement and not the connection: what it was reading is dropped with it.
fn failed(ended: tokio::task::JoinError) -> EngineFailure {
    let reason = match ended.try_into_panic() {
        Ok(panic) => reason(&*panic),
        Err(_) => "it was given up".to_owned(),
    };
    let error = SqlError::new(sqlstate::INTERNAL_ERROR, format!("the query engine failed: {reason}"))
        .with_hint("this is a defect; a query that needs less memory, or a simpler one, may pass");
    EngineFailure(error)
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason was given".to_owned())
}
