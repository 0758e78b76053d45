//! Serves a few views from memory, to try clients on: `cargo run -p serving --example serve_views -- 5433`.
//!
//! `flights_by_carrier` and `hours` stand still; `clock` has one row that changes ten times a second.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
        RecordBatch, StringArray, TimestampMillisecondArray,
    },
    datatypes::Int64Type,
};
use async_trait::async_trait;
use model::{Metrics, Offset, Positions, Principal, Result, TopicName, TopicPartition};
use serving::{
    pg::{self, PgSettings},
    sql::{Defined, Definitions, SqlService, SqlSettings, WriteClaim},
    views::{Snapshot, View, Views},
};
use sql::{Show, SourceDefinition, SqlError, Statement};
use streaming::{Change, RowRecord};

#[tokio::main]
async fn main() -> Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(5433);
    let views = Views::new(Metrics::default());
    publish(&views, "flights_by_carrier", &carriers()?, &[0], 1_000)?;
    publish(&views, "hours", &hours(100_000)?, &[0, 1], 100_000)?;
    let clock = publish(&views, "clock", &tick(0)?, &[0], 0)?;

    let definitions = Arc::new(Fixed { views: Arc::clone(&views) });
    let sql = SqlService::new(views, definitions, SqlSettings::shipped(), Metrics::default())?;
    let settings = PgSettings { port, ..PgSettings::shipped() };
    let server = pg::start(settings, sql).await?;
    tracing::info!("psql -h 127.0.0.1 -p {}", server.local_addr().port());

    let mut interval = tokio::time::interval(Duration::from_millis(100));
    for ticks in 1.. {
        interval.tick().await;
        clock.apply(&Change::of_rows(tick(ticks)?), &positions(ticks)?)?;
    }
    server.stop().await;
    Ok(())
}

fn publish(views: &Views, name: &str, rows: &RecordBatch, key: &[usize], offset: Offset) -> Result<Arc<View>> {
    let view = Arc::new(View::new(name, rows.schema(), key, vec![TopicName::new("flights")?])?);
    view.apply(&Change::of_rows(rows.clone()), &positions(offset)?)?;
    views.publish(name, Arc::clone(&view) as _);
    Ok(view)
}

fn positions(offset: Offset) -> Result<Positions> {
    Ok(Positions::from([(TopicPartition::new(TopicName::new("flights")?, 0), offset)]))
}

/// One row of each type that a view can have.
fn carriers() -> Result<RecordBatch> {
    let routes: ListArray = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, None]);
    let delay = Decimal128Array::from(vec![Some(1_234), None, Some(-50)]).with_precision_and_scale(10, 2);
    batch(vec![
        ("carrier", Arc::new(StringArray::from(vec!["AA", "DL", "UA"]))),
        ("flights", Arc::new(Int64Array::from(vec![120_i64, 90, 75]))),
        ("gates", Arc::new(Int32Array::from(vec![Some(12), None, Some(7)]))),
        ("share", Arc::new(Float64Array::from(vec![0.42, 0.32, 0.26]))),
        ("mean_delay", Arc::new(delay.map_err(|e| model::Error::internal(e.to_string()))?)),
        ("on_time", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("since", Arc::new(Date32Array::from(vec![0, 10_000, 20_000]))),
        ("last_departure", Arc::new(TimestampMillisecondArray::from(vec![0, 1_700_000_000_123, 1_700_000_000_000]))),
        ("last_arrival", Arc::new(TimestampMillisecondArray::from(vec![0, 1_700_000_000_123, 1]).with_timezone("UTC"))),
        ("routes", Arc::new(routes)),
    ])
}

fn hours(count: i32) -> Result<RecordBatch> {
    let carrier = |index: i32| ["AA", "DL", "UA", "WN"][usize::try_from(index % 4).unwrap_or_default()];
    batch(vec![
        ("carrier", Arc::new((0..count).map(|index| Some(carrier(index))).collect::<StringArray>())),
        ("hour", Arc::new((0..count).map(|index| index / 4).collect::<Int32Array>())),
        ("flights", Arc::new((0..count).map(|index| i64::from(index % 97)).collect::<Int64Array>())),
    ])
}

fn tick(ticks: i64) -> Result<RecordBatch> {
    batch(vec![
        ("name", Arc::new(StringArray::from(vec!["clock"]))),
        ("ticks", Arc::new(Int64Array::from(vec![ticks]))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|e| model::Error::internal(e.to_string()))
}

/// Definitions that are made in the program and cannot be changed.
#[derive(Debug)]
struct Fixed {
    views: Arc<Views>,
}

#[async_trait]
impl Definitions for Fixed {
    async fn define(&self, _: &Principal, _: Statement) -> Result<Defined, SqlError> {
        Err(SqlError::unsupported("a definition").with_hint("this example serves what it is built with"))
    }

    async fn explain(&self, _: &Principal, _: Statement) -> Result<Vec<String>, SqlError> {
        Err(SqlError::unsupported("a definition"))
    }

    async fn show(&self, _: &Principal, show: Show) -> Result<RecordBatch> {
        let names = if show == Show::Views { self.views.names() } else { Vec::new() };
        batch(vec![("name", Arc::new(StringArray::from(names)))])
    }

    fn sources(&self) -> Vec<SourceDefinition> {
        Vec::new()
    }

    async fn source_table(&self, _: &str) -> Result<Option<Snapshot>> {
        Ok(None)
    }

    async fn claim(&self, _: &Principal, name: &str) -> Result<WriteClaim> {
        Err(model::Error::invalid(format!("nothing is written to {name} here")))
    }

    async fn write(&self, _: &WriteClaim, _: Vec<RowRecord>) -> Result<Positions> {
        Err(model::Error::internal("nothing is written here"))
    }
}
