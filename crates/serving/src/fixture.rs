//! Views and a source in memory, for the tests of this crate.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use async_trait::async_trait;
use model::{Metrics, Positions, Principal, Result, TopicName};
use parking_lot::Mutex;
use sql::{Show, SourceDefinition, SourceFormat, SqlError, Statement};
use streaming::{Change, RowRecord};

use crate::{
    sql::{Defined, Definitions, SqlService, SqlSettings, WriteClaim},
    views::{Snapshot, View, Views},
};

/// `hours(carrier, hour, flights)` with the key (carrier, hour) at `flights/0:100`, `totals(carrier, total)` with the
/// key (carrier) at `flights/0:90`, and the source `departures(carrier, delay)` of topic `flights` that ends at 120.
pub(crate) struct Fixture {
    pub(crate) views: Arc<Views>,
    pub(crate) hours: Arc<View>,
    pub(crate) definitions: Arc<Fixed>,
    pub(crate) metrics: Metrics,
    pub(crate) sql: Arc<SqlService>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_settings(SqlSettings::shipped())
    }

    pub(crate) fn with_settings(settings: SqlSettings) -> Self {
        let metrics = Metrics::default();
        let views = Views::new(metrics.clone());
        let hours = publish(&views, "hours", &hours(), &[0, 1], "flights/0:100");
        publish(&views, "totals", &totals(), &[0], "flights/0:90");
        let definitions = Arc::new(Fixed::default());
        let sql = SqlService::new(Arc::clone(&views), Arc::clone(&definitions) as _, settings, metrics.clone());
        Self { views, hours, definitions, metrics, sql: sql.unwrap() }
    }
}

/// 4 carriers in 10,000 hours; flights = 4 * hour + the carrier's place.
fn hours() -> RecordBatch {
    let carriers = ["AA", "DL", "UA", "WN"];
    let rows = || (0..10_000_i32).flat_map(|hour| (0..4_i32).map(move |carrier| (hour, carrier)));
    batch(vec![
        (
            "carrier",
            Arc::new(rows().map(|(_, c)| Some(carriers[usize::try_from(c).unwrap()])).collect::<StringArray>()),
        ),
        ("hour", Arc::new(rows().map(|(hour, _)| Some(hour)).collect::<Int32Array>())),
        ("flights", Arc::new(rows().map(|(hour, c)| Some(i64::from(4 * hour + c))).collect::<Int64Array>())),
    ])
}

fn totals() -> RecordBatch {
    batch(vec![
        ("carrier", Arc::new(StringArray::from(vec![Some("AA"), Some("DL"), None]))),
        ("total", Arc::new(Int64Array::from(vec![Some(10), Some(20), Some(30)]))),
    ])
}

pub(crate) fn publish(views: &Views, name: &str, rows: &RecordBatch, key: &[usize], at: &str) -> Arc<View> {
    let view = Arc::new(View::new(name, rows.schema(), key, vec![TopicName::new("flights").unwrap()]).unwrap());
    view.apply(&Change::of_rows(rows.clone()), &at.parse().unwrap()).unwrap();
    views.publish(name, Arc::clone(&view) as _);
    view
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// One source, and a list of what was defined.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) defined: Mutex<Vec<Statement>>,
}

#[async_trait]
impl Definitions for Fixed {
    async fn define(&self, _: &Principal, statement: Statement) -> Result<Defined, SqlError> {
        self.defined.lock().push(statement);
        Ok(Defined { tag: "CREATE MATERIALIZED VIEW".to_owned(), notices: vec!["it is being built".to_owned()] })
    }

    async fn explain(&self, _: &Principal, _: Statement) -> Result<Vec<String>, SqlError> {
        Ok(vec!["create".to_owned(), "fold".to_owned()])
    }

    async fn show(&self, _: &Principal, show: Show) -> Result<RecordBatch> {
        Ok(batch(vec![("name", Arc::new(StringArray::from(vec![format!("{show:?}").to_lowercase()])))]))
    }

    fn sources(&self) -> Vec<SourceDefinition> {
        let columns = [Field::new("carrier", DataType::Utf8, true), Field::new("delay", DataType::Int64, true)];
        vec![SourceDefinition {
            name: "departures".to_owned(),
            columns: Arc::new(Schema::new(columns.to_vec())),
            key: Vec::new(),
            added_columns: 0,
            topic: TopicName::new("flights").unwrap(),
            partitions: 1,
            format: SourceFormat::Json,
            event_time: None,
            timestamp_unit: None,
            text: String::new(),
        }]
    }

    async fn source_table(&self, name: &str) -> Result<Option<Snapshot>> {
        let Some(source) = self.sources().into_iter().find(|source| source.name == name) else { return Ok(None) };
        let positions: Positions = "flights/0:120".parse()?;
        Snapshot::from_batches(source.schema(), Vec::new(), positions).map(Some)
    }

    async fn claim(&self, _: &Principal, name: &str) -> Result<WriteClaim> {
        Err(model::Error::invalid(format!("nothing is written to {name} here")))
    }

    async fn write(&self, _: &WriteClaim, _: Vec<RowRecord>) -> Result<Positions> {
        Err(model::Error::internal("nothing is written here"))
    }
}
