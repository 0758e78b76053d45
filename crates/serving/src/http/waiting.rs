//! Waiting until the log has reached the Positions that a read demands, and what is answered when a view has not.

use axum::http::StatusCode;
use eventlog::EventLog;
use model::{Error, Positions};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    parameters::Demand,
    problem::{Problem, Result},
};
use crate::views::{BuildProgress, ReadRefusal};

/// Waits until every partition in the demand can be read that far.
pub(super) async fn wait_for_log(log: &dyn EventLog, demand: &Demand) -> Result<()> {
    demand.admitted(reached(log, demand)).await?
}

async fn reached(log: &dyn EventLog, demand: &Demand) -> Result<()> {
    let deadline = Instant::now() + demand.timeout;
    for (partition, offset) in demand.min_position.iter() {
        let mut high_watermark = log.watch(partition)?;
        let waited = timeout_at(deadline, high_watermark.wait_for(|reached| *reached >= offset)).await;
        match waited.map(|outcome| outcome.map(|_| ())) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::not_found(format!("topic {} was deleted", partition.topic)).into()),
            Err(_) => {
                let reached = Positions::from([(partition.clone(), *high_watermark.borrow())]);
                return Err(not_reached(demand, reached));
            }
        }
    }
    Ok(())
}

/// The answer to a demand that was not met in time, with how far it got.
pub(super) fn not_reached(demand: &Demand, reached: Positions) -> Problem {
    let waited_ms = demand.timeout.as_millis();
    let error = Error::unavailable(format!("{} was not reached within {waited_ms} ms", demand.min_position))
        .with_hint("wait longer with timeout_ms, or ask without min_position for what there is");
    Problem::with_status(StatusCode::GATEWAY_TIMEOUT, error).at(reached)
}

/// Gives a read that a view did not answer its status here.
pub(super) fn refused(refusal: ReadRefusal) -> Problem {
    match refusal {
        ReadRefusal::Building { error, progress } => Problem::from(error)
            .with_retry_after(progress.remaining())
            .with_member("building", ShownBuilding::from(&progress).to_json()),
        ReadRefusal::Late(error) => Problem::with_status(StatusCode::GATEWAY_TIMEOUT, error),
        ReadRefusal::Refused(error) => error.into(),
    }
}

/// How far a view is with what it has to fold before it answers.
#[derive(Debug, Serialize)]
pub(super) struct ShownBuilding {
    share: f64,
    folded_records: i64,
    records: i64,
    records_per_second: Option<u64>,
    remaining_seconds: Option<u64>,
    note: Option<String>,
}

impl From<&BuildProgress> for ShownBuilding {
    fn from(progress: &BuildProgress) -> Self {
        Self {
            // Three digits, rounded down: 1 is whole.
            share: (progress.share() * 1000.0).floor() / 1000.0,
            folded_records: progress.folded_records,
            records: progress.records,
            records_per_second: progress.records_per_second(),
            remaining_seconds: progress.remaining().map(|remaining| remaining.as_secs()),
            note: progress.note.clone(),
        }
    }
}

impl ShownBuilding {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
