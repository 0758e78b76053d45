//! Lambda: the same SQL text in batch over the lake up to H and in stream after H, with more flights arriving, some of
//! them late; the answer is merged.

use anyhow::Result;
use serde_json::json;

use super::feed::Pace;
use super::stage::{MAIN_SHARE, PACED_SHARE, Stage, WHOLE};
use super::{Finding, kappa, oracle, rounded};

/// Shows the pattern.
pub(crate) async fn show(stage: &mut Stage<'_>) -> Result<Finding> {
    stage.tell(
        "Lambda: two paths, one SQL text. In batch over the lake up to H, in stream after H, merged when asked",
    )?;
    stage.define(&definition()).await?;
    // What Kappa has fed already is not fed twice.
    stage.feed(MAIN_SHARE, Pace::Free, None).await?;
    let before = stage.feed(PACED_SHARE, Pace::Free, None).await?;
    stage.query("SELECT 1 FROM carrier_hours_lambda LIMIT 1", &before.positions).await?;
    for notice in stage.define("REFRESH MATERIALIZED VIEW carrier_hours_lambda").await? {
        stage.tell(format!("  {notice}"))?;
    }
    let after = stage.feed(WHOLE, Pace::EventsPerSecond(stage.pace()), Some("carrier_hours_lambda")).await?;
    stage.tell(format!(
        "  {} flights after H, {} of them late, at {:.0} events/s: event to visible {}",
        after.events,
        after.late,
        after.rate(),
        after.latencies.summary()
    ))?;
    let (rows, positions) = stage.query("SELECT * FROM carrier_hours_lambda", &after.positions).await?;
    let same_rows = oracle::same_answer(&rows, &oracle::answer(stage.sent_flights(), kappa::ORACLE).await?)?;
    stage.tell(format!("  one query merged both: {positions}"))?;
    let figures = json!({
        "events_after_h": after.events, "late_events": after.late,
        "events_per_second": rounded(after.rate(), 1), "event_to_visible_ms": after.latencies.to_json(),
    });
    let look = vec![
        stage.kcat("flights"),
        stage.psql("SELECT * FROM carrier_hours_lambda ORDER BY hour, carrier LIMIT 5"),
        stage.psql("\\d"),
    ];
    Ok(Finding { same_rows, figures, look })
}

// The very text of the Kappa view, under its own name and with a batch layer.
fn definition() -> String {
    let (_, query) = kappa::CORRECTED.split_once(" AS\n").unwrap_or_default();
    format!("CREATE MATERIALIZED VIEW carrier_hours_lambda WITH (batch = '1 hour') AS\n{query}")
}
