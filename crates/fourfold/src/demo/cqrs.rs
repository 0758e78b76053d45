//! CQRS: a command is rejected by a named rule, another is accepted and answers with its position, and the read model
//! is queried with that position and shows it.

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::AsArray as _;
use model::{Clock as _, Positions, SystemClock};
use serde_json::{Value, json};

use super::latency::Latencies;
use super::stage::Stage;
use super::{Finding, oracle};

const SOURCE: &str = "\
CREATE SOURCE flight_events (carrier TEXT, origin TEXT, dest TEXT, delay_minutes INT)
WITH (topic = 'events', partitions = 1, format = 'event')";

const BOARD: &str = "\
CREATE MATERIALIZED VIEW airport_board AS
SELECT stream_name AS flight, max(carrier) AS carrier, max(origin) AS origin, max(dest) AS dest,
       last_value(event_type) AS last_event,
       max(delay_minutes) FILTER (WHERE event_type = 'FlightDeparted') AS departure_delay,
       max(delay_minutes) FILTER (WHERE event_type = 'FlightArrived') AS arrival_delay
FROM flight_events GROUP BY stream_name";

const READ_MODEL: &str = "\
SELECT carrier, origin, dest, last_event, departure_delay, arrival_delay
FROM airport_board WHERE flight NOT LIKE 'flight-DEMO%'";

const ORACLE: &str = "\
SELECT carrier, origin, dest,
       CASE WHEN dep_delay IS NULL THEN 'FlightCancelled'
            WHEN arr_delay IS NULL THEN 'FlightDeparted' ELSE 'FlightArrived' END AS last_event,
       dep_delay AS departure_delay, CASE WHEN dep_delay IS NULL THEN NULL ELSE arr_delay END AS arrival_delay
FROM flights";

// Round trips for the latency figure: command, then a query that demands its position.
const ROUND_TRIPS: usize = 200;

/// Shows the pattern.
pub(crate) async fn show(stage: &mut Stage<'_>) -> Result<Finding> {
    stage.tell(
        "CQRS: commands append and never read a view, queries read views and never append. A position joins them",
    )?;
    let fleet = stage.fleet().await?;
    stage.define(SOURCE).await?;
    stage.define(BOARD).await?;
    stage.tell(format!("  the view airport_board folds the events of {} flights", fleet.flights.len()))?;
    let departed = fleet.flights.iter().find(|flight| flight.dep_delay.is_some()).context("no flight departed")?;
    show_rejection(stage, &departed.id()).await?;
    let positions = show_acceptance(stage).await?;
    let latencies = round_trips(stage).await?;
    stage.tell(format!(
        "  command to visible in a query with its position, {ROUND_TRIPS} times: {}",
        latencies.summary()
    ))?;
    let (rows, _) = stage.query(READ_MODEL, &positions).await?;
    let same_rows = oracle::same_answer(&rows, &oracle::answer(&fleet.flights, ORACLE).await?)?;
    let figures = json!({ "flights": fleet.flights.len(), "round_trips": ROUND_TRIPS, "command_to_visible_ms": latencies.to_json() });
    let look = vec![
        stage.kcat("events"),
        stage.psql("SELECT * FROM airport_board ORDER BY flight LIMIT 5"),
        stage.curl("/v1/streams/flight-DEMO1"),
    ];
    Ok(Finding { same_rows, figures, look })
}

async fn show_rejection(stage: &Stage<'_>, id: &str) -> Result<()> {
    match stage.command(id, "depart", json!({ "delay_minutes": 0 })).await {
        Err(error) => {
            let rule = error.rule().map(str::to_owned).with_context(|| format!("not a rejection: {error}"))?;
            stage.tell(format!("  command depart {id}, again -> rejected by rule {rule}"))
        }
        Ok(_) => bail!("a flight departed twice"),
    }
}

async fn show_acceptance(stage: &Stage<'_>) -> Result<Positions> {
    let positions = schedule(stage, "DEMO1").await?;
    let shown = board_entry(stage, "DEMO1", &positions).await?;
    stage.tell(format!("  command schedule DEMO1 -> accepted at position {positions}"))?;
    stage.tell(format!("  query for DEMO1 that waits until its view has folded this position -> {shown}"))?;
    Ok(positions)
}

async fn round_trips(stage: &Stage<'_>) -> Result<Latencies> {
    let mut latencies = Vec::with_capacity(ROUND_TRIPS);
    for i in 0..ROUND_TRIPS {
        let id = format!("DEMO-{i}");
        let started = SystemClock.instant();
        let positions = schedule(stage, &id).await?;
        let shown = board_entry(stage, &id, &positions).await?;
        latencies.push(started.elapsed());
        ensure!(shown == "FlightScheduled", "the board shows {shown} for a scheduled flight");
    }
    Ok(Latencies::new(latencies))
}

async fn schedule(stage: &Stage<'_>, id: &str) -> Result<Positions> {
    let itinerary: Value =
        json!({ "carrier": "FF", "origin": "JFK", "dest": "BOS", "scheduled": "2013-02-01T09:00:00" });
    Ok(stage.command(id, "schedule", itinerary).await?.positions)
}

async fn board_entry(stage: &Stage<'_>, id: &str, at_least: &Positions) -> Result<String> {
    let sql = format!("SELECT last_event FROM airport_board WHERE flight = 'flight-{id}'");
    let (rows, _) = stage.query(&sql, at_least).await?;
    let row = rows.iter().find(|batch| batch.num_rows() == 1).context("the board does not show the flight")?;
    Ok(arrow::compute::cast(row.column(0), &arrow::datatypes::DataType::Utf8)?.as_string::<i32>().value(0).to_owned())
}
