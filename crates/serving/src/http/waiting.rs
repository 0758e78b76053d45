//! Waiting until the log has reached the Positions that a read demands.

use axum::http::StatusCode;
use eventlog::EventLog;
use model::{Error, ErrorKind, Positions};
use tokio::time::{Instant, timeout_at};

use super::{
    parameters::Demand,
    problem::{Problem, Result},
};

/// Waits until every partition in the demand can be read that far.
pub(super) async fn wait_for_log(log: &dyn EventLog, demand: &Demand) -> Result<()> {
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

/// Gives a wait that a view or a store gave up its status here.
pub(super) fn as_waiting(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Unavailable => Problem::with_status(StatusCode::GATEWAY_TIMEOUT, error),
        _ => error.into(),
    }
}
