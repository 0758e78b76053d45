//! Event Sourcing: flights are aggregates; commands made from the real rows; one flight's state now and as of an
//! earlier moment; its history as its audit trail.

use anyhow::{Context as _, Result};
use eventstore::{AsOf, Direction, StreamName};
use patterns::event_sourcing::FLIGHT;
use serde_json::json;

use super::stage::Stage;
use super::{Finding, oracle, rounded};
use crate::table::cell;

/// What the flights of the fleet are in the end, put to plain DataFusion.
pub(crate) const ORACLE: &str = "\
SELECT carrier, origin, dest,
       CASE WHEN dep_delay IS NULL THEN 'cancelled' WHEN arr_delay IS NULL THEN 'departed' ELSE 'arrived' END AS status,
       dep_delay, CASE WHEN dep_delay IS NULL THEN NULL ELSE arr_delay END AS arr_delay
FROM flights";

/// Shows the pattern.
pub(crate) async fn show(stage: &mut Stage<'_>) -> Result<Finding> {
    stage.tell("Event Sourcing: nothing is overwritten. State is the fold of an aggregate's own events")?;
    let fleet = stage.fleet().await?;
    let rate = fleet.commands as f64 / fleet.elapsed.as_secs_f64();
    stage.tell(format!(
        "  {} commands bring the first {} of {} flights to life (enough to see it)",
        fleet.commands,
        fleet.flights.len(),
        stage.flight_count()
    ))?;
    stage.tell(format!(
        "  in {:.2} s: {rate:.0} commands/s, command to durable {}",
        fleet.elapsed.as_secs_f64(),
        fleet.latencies.summary()
    ))?;
    let example = fleet.flights.iter().find(|flight| flight.arr_delay.is_some()).context("no flight arrived")?.id();
    show_history(stage, &example).await?;
    let found = stage.fleet_states(&fleet).await?;
    let same_rows = oracle::same_answer(&[found], &oracle::answer(&fleet.flights, ORACLE).await?)?;
    let figures = json!({
        "flights": fleet.flights.len(), "commands": fleet.commands,
        "commands_per_second": rounded(rate, 1),
        "command_to_durable_ms": fleet.latencies.to_json(),
    });
    let look = vec![
        stage.kcat("events"),
        stage.curl(&format!("/v1/streams/{FLIGHT}-{example}")),
        stage.curl(&format!("/v1/aggregates/{FLIGHT}/{example}")),
        stage.curl(&format!("/v1/aggregates/{FLIGHT}/{example}?version=0")),
    ];
    Ok(Finding { same_rows, figures, look })
}

async fn show_history(stage: &Stage<'_>, id: &str) -> Result<()> {
    stage.tell(format!("  flight {id}, all that happened:"))?;
    let stream = StreamName::new(&format!("{FLIGHT}-{id}"))?;
    for event in stage.server().event_store().read_stream(&stream, 0, Direction::Forward, 10).await? {
        let data = String::from_utf8_lossy(&event.data).into_owned();
        stage.tell(format!("    {} {} {data}", event.version, event.event_type))?;
    }
    let aggregates = stage.server().aggregates();
    for (moment, as_of) in [("up to now", AsOf::Now), ("up to version 0", AsOf::Version(0))] {
        let at = aggregates.state(FLIGHT, id, as_of).await?.context("the flight has no events")?;
        stage.tell(format!("  folded {moment}: {}", cell(&at.state["status"])))?;
    }
    Ok(())
}
