//! The limits of one statement: it ends at its deadline or when it is cancelled, while it is planned and while its
//! rows are read.

use std::{future::Future, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::DataFusionError, execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt, stream};
use model::Metrics;
use sql::{SqlError, sqlstate};
use tokio::{sync::watch, time::Instant};

/// The limits of one statement.
pub(super) struct Guard {
    started: Instant,
    timeout: Duration,
    /// Counts the cancels of the session; a change after this receiver was made concerns this statement.
    cancels: watch::Receiver<u64>,
}

impl Guard {
    /// `timeout` zero is no limit.
    pub(super) fn new(timeout: Duration, cancels: watch::Receiver<u64>) -> Self {
        Self { started: Instant::now(), timeout, cancels }
    }

    /// Runs a part of the statement within its limits.
    pub(super) async fn run<T>(&mut self, part: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        tokio::select! {
            biased;
            ended = self.ended() => Err(ended),
            result = part => result,
        }
    }

    /// Rows within the limits of the statement. The time that the query took is counted when the rows end, however
    /// they do.
    pub(super) fn stream(
        self,
        rows: SendableRecordBatchStream,
        schema: SchemaRef,
        metrics: Metrics,
    ) -> SendableRecordBatchStream {
        let state = Guarded { measured: Measured { started: self.started, metrics }, guard: self, rows };
        let guarded = stream::unfold(Some(state), |state| async {
            let mut state = state?;
            let next = state.next().await?;
            let open = next.is_ok();
            Some((next, open.then_some(state)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, guarded))
    }

    /// Waits for the end that the limits set.
    async fn ended(&mut self) -> SqlError {
        let cancels = &mut self.cancels;
        let cancelled = async {
            // A session that is gone cancels nothing any more.
            if cancels.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (started, timeout) = (self.started, self.timeout);
        let late = async {
            if timeout.is_zero() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(started + timeout).await;
        };
        tokio::select! {
            () = cancelled => SqlError::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request"),
            () = late => SqlError::new(
                sqlstate::QUERY_CANCELED,
                format!("canceling statement due to statement timeout, after {} ms", timeout.as_millis()),
            )
            .with_hint("SET statement_timeout to a longer time, or to 0 for none"),
        }
    }
}

struct Guarded {
    guard: Guard,
    rows: SendableRecordBatchStream,
    measured: Measured,
}

impl Guarded {
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        let Self { guard, rows, measured } = self;
        let next = tokio::select! {
            biased;
            ended = guard.ended() => Some(Err(DataFusionError::External(Box::new(ended)))),
            next = rows.next() => next,
        };
        if matches!(next, Some(Err(_))) {
            measured.metrics.query_failures.inc();
        }
        next
    }
}

/// Counts the time of a query when it is dropped.
struct Measured {
    started: Instant,
    metrics: Metrics,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.query.observe(self.started.elapsed().as_secs_f64());
    }
}
