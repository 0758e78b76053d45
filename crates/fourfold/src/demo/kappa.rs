//! Kappa: a view moves while events arrive; then its corrected definition is built by replay beside it and swapped in,
//! while a reader keeps reading.

mod chain;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use model::{Clock as _, SystemClock};
use serde_json::json;
use serving::views::Views;

use super::feed::Pace;
use super::stage::{MAIN_SHARE, MEASURED_SHARE, Stage};
use super::{Finding, oracle, rounded};

/// The view's first definition: it counts cancelled flights as departures.
pub(crate) const FIRST: &str = "\
CREATE MATERIALIZED VIEW carrier_hours AS
SELECT carrier, window_start AS hour, count(*) AS departures,
       count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
       avg(dep_delay) AS mean_delay, max(dep_delay) AS worst_delay
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour')
GROUP BY carrier, window_start";

/// The corrected one.
pub(crate) const CORRECTED: &str = "\
CREATE OR REPLACE MATERIALIZED VIEW carrier_hours AS
SELECT carrier, window_start AS hour, count(dep_delay) AS departures,
       count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
       avg(dep_delay) AS mean_delay, max(dep_delay) AS worst_delay
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour')
GROUP BY carrier, window_start";

/// The corrected question, put to plain DataFusion.
pub(crate) const ORACLE: &str = "\
SELECT carrier, date_bin(INTERVAL '1 hour', scheduled) AS hour, count(dep_delay) AS departures,
       count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
       avg(dep_delay) AS mean_delay, max(dep_delay) AS worst_delay
FROM flights GROUP BY 1, 2";

/// Shows the pattern.
pub(crate) async fn show(stage: &mut Stage<'_>) -> Result<Finding> {
    stage.tell("Kappa: one path. A view is a fold of the log; to change the view, replay the log")?;
    stage.define(FIRST).await?;
    let fed = stage.feed(MAIN_SHARE, Pace::Free, Some("carrier_hours")).await?;
    stage.tell(format!(
        "  {} flights through Kafka into the view carrier_hours in {:.2} s: {:.0} events/s",
        fed.events,
        fed.elapsed.as_secs_f64(),
        fed.rate()
    ))?;
    let paced = stage.feed(MEASURED_SHARE, Pace::EventsPerSecond(stage.pace()), Some("carrier_hours")).await?;
    stage.tell(format!("  event to visible at {:.0} events/s: {}", paced.rate(), paced.latencies.summary()))?;
    let replaced = replace(stage).await?;
    stage.tell(
        "  its first SQL counted cancelled flights as departures; the corrected one was replayed beside it and",
    )?;
    stage.tell(format!(
        "  swapped in after {:.2} s, while a reader read {} times and never found the view empty",
        replaced.seconds, replaced.reads
    ))?;
    let (rows, positions) = stage.query("SELECT * FROM carrier_hours", &fed.positions).await?;
    stage.show_rows("SELECT * FROM carrier_hours WHERE carrier = 'UA' ORDER BY hour LIMIT 3").await?;
    let same_rows = oracle::same_answer(&rows, &oracle::answer(stage.sent_flights(), ORACLE).await?)?;
    stage.tell(format!("  every answer says how far it has read: {positions}"))?;
    let chained = chain::show(stage).await?;
    stage.tell(
        "  three views that read each other, one of them joined to a table of airports: the first was corrected in",
    )?;
    stage.tell(format!(
        "  {:.2} s while flights came in, and {} reads found all of them at one moment:",
        chained.seconds, chained.reads
    ))?;
    stage.show_rows("SELECT * FROM zones ORDER BY departures DESC LIMIT 3").await?;
    let figures = json!({
        "events": fed.events, "events_per_second": rounded(fed.rate(), 1),
        "event_to_visible_ms": paced.latencies.to_json(), "paced_events_per_second": rounded(paced.rate(), 1),
        "replay_seconds": rounded(replaced.seconds, 6), "reads_during_replay": replaced.reads,
        "chain_replay_seconds": rounded(chained.seconds, 6), "chain_reads_during_replay": chained.reads,
    });
    let look = vec![
        stage.kcat("flights"),
        stage.psql("SELECT * FROM carrier_hours ORDER BY hour, carrier LIMIT 5"),
        stage.psql("\\d"),
    ];
    Ok(Finding { same_rows: same_rows + chained.same_rows, figures, look })
}

struct Replaced {
    seconds: f64,
    reads: u64,
}

async fn replace(stage: &Stage<'_>) -> Result<Replaced> {
    let reads = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_until(Arc::clone(stage.views()), Arc::clone(&reads), Arc::clone(&done)));
    let started = SystemClock.instant();
    let defined = stage.define(CORRECTED).await;
    let seconds = started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let smallest = reader.await.context("the reader")??;
    defined?;
    ensure!(smallest > 0, "the reader found the view empty while it was replaced");
    Ok(Replaced { seconds, reads: reads.load(Ordering::Relaxed) })
}

// Reads the view over and over, through the swap; returns the fewest rows that it ever saw.
async fn read_until(views: Arc<Views>, reads: Arc<AtomicU64>, done: Arc<AtomicBool>) -> Result<usize> {
    let mut fewest = usize::MAX;
    while !done.load(Ordering::Relaxed) {
        let view = views.get("carrier_hours").context("the view was gone")?;
        let rows = view.snapshot().await?.row_count().context("the view does not know its rows")?;
        fewest = fewest.min(rows);
        reads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    Ok(fewest)
}
