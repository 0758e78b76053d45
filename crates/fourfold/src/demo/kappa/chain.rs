//! Views over views: the first of three that read each other is replaced while flights come in, and all three are at one moment,
//! before, after and in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use arrow::array::AsArray as _;
use futures::TryStreamExt as _;
use model::{Clock as _, Principal, SystemClock};
use serving::sql::{Outcome, SqlService};

use super::super::airports;
use super::super::feed::Pace;
use super::super::oracle;
use super::super::stage::{PACED_SHARE, Stage};

/// What flew where in an hour. Its first definition counts cancelled flights as departures.
const FIRST: &str = "\
CREATE MATERIALIZED VIEW route_hours AS
SELECT dest, date_trunc('hour', scheduled) AS hour, count(*) AS departures, sum(dep_delay) AS delay
FROM flights GROUP BY 1, 2";
const CORRECTED: &str = "\
CREATE OR REPLACE MATERIALIZED VIEW route_hours WITH (keep = '1 hour') AS
SELECT dest, date_trunc('hour', scheduled) AS hour, count(dep_delay) AS departures, sum(dep_delay) AS delay
FROM flights GROUP BY 1, 2";
/// The same by airport and day, with what a table knows of airports.
const AIRPORT_DAYS: &str = "\
CREATE MATERIALIZED VIEW airport_days AS
SELECT coalesce(a.name, r.dest) AS airport, a.zone, date_trunc('day', r.hour) AS day, sum(r.departures) AS departures, sum(r.delay) AS delay
FROM route_hours AS r LEFT JOIN airports AS a ON a.code = r.dest GROUP BY 1, 2, 3";
/// The same by time zone.
const ZONES: &str = "\
CREATE MATERIALIZED VIEW zones AS
SELECT zone, count(DISTINCT airport) AS airports, sum(departures) AS departures, max(delay) AS worst_day
FROM airport_days GROUP BY zone";

/// Whether the first and the last view count the same flights.
const AT_ONE_MOMENT: &str =
    "SELECT (SELECT sum(departures) FROM route_hours) IS NOT DISTINCT FROM (SELECT sum(departures) FROM zones)";
const QUESTION: &str = "SELECT zone, airports, departures, worst_day FROM zones";
const ORACLE: &str = "\
SELECT zone, count(DISTINCT airport), sum(departures), max(delay) FROM (
    SELECT coalesce(a.name, f.dest) AS airport, a.zone, date_trunc('day', f.scheduled) AS day,
           count(f.dep_delay) AS departures, sum(f.dep_delay) AS delay
    FROM flights AS f LEFT JOIN airports AS a ON a.code = f.dest GROUP BY 1, 2, 3
) AS d GROUP BY zone";

/// What was found.
pub(crate) struct Chained {
    pub(crate) seconds: f64,
    pub(crate) reads: u64,
    pub(crate) same_rows: usize,
}

/// Defines the chain, replaces its first view under load, and compares the last one with plain DataFusion.
pub(crate) async fn show(stage: &mut Stage<'_>) -> Result<Chained> {
    stage.define(airports::TABLE).await?;
    stage.define(&airports::insert()?).await?;
    for view in [FIRST, AIRPORT_DAYS, ZONES] {
        stage.define(view).await?;
    }
    let (reads, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let server = stage.server();
    let reader = tokio::spawn(read_until(Arc::clone(server.sql()), Arc::clone(&reads), Arc::clone(&done)));
    let pace = Pace::EventsPerSecond(stage.pace());
    let started = SystemClock.instant();
    let replacing = async {
        let replaced = server.sql().session(Principal::anonymous()).query(CORRECTED, &[]).await;
        (replaced.map(drop), started.elapsed().as_secs_f64())
    };
    let (fed, (replaced, seconds)) = tokio::join!(stage.feed(PACED_SHARE, pace, None), replacing);
    done.store(true, Ordering::Relaxed);
    reader.await.context("the reader")??;
    replaced?;
    let (rows, _) = stage.query(QUESTION, &fed?.positions).await?;
    let tables = [("airports", airports::to_arrow()?)];
    let same_rows = oracle::same_answer(&rows, &oracle::answer_with(stage.sent_flights(), &tables, ORACLE).await?)?;
    Ok(Chained { seconds, reads: reads.load(Ordering::Relaxed), same_rows })
}

// Asks over and over, through the swap, whether the views are at one moment.
async fn read_until(sql: Arc<SqlService>, reads: Arc<AtomicU64>, done: Arc<AtomicBool>) -> Result<()> {
    while !done.load(Ordering::Relaxed) {
        let session = sql.session(Principal::anonymous());
        let Outcome::Rows { stream, .. } = session.query(AT_ONE_MOMENT, &[]).await? else { continue };
        let rows: Vec<_> = stream.try_collect().await?;
        let agrees = rows.iter().all(|batch| batch.column(0).as_boolean().true_count() == batch.num_rows());
        ensure!(agrees, "a reader found the views of the chain at different moments");
        reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
