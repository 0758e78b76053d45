//! [`StoppedView`]: a view that is defined and cannot run; whoever reads it is told why.
//!
//! What it is not: a view that failed while it ran. That one goes on answering with what it has folded.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use model::{Error, Positions, Result, TopicName};
use serving::views::{Frontier, Relation, Snapshot};
use streaming::PlannedView;

use crate::wiring::Wiring;

/// A view without rows and without an answer.
#[derive(Debug)]
pub(crate) struct StoppedView {
    name: String,
    schema: SchemaRef,
    key_columns: Vec<usize>,
    topics: Vec<TopicName>,
    reason: Error,
    /// Failed from the beginning.
    frontier: Frontier,
}

impl StoppedView {
    /// A view that did not start because of `reason`.
    pub(crate) fn new(plan: &PlannedView, reason: Error) -> Arc<Self> {
        Arc::new(Self {
            name: plan.name().to_owned(),
            schema: Arc::clone(plan.output_schema()),
            key_columns: plan.key_columns().to_vec(),
            topics: plan.sources().iter().map(|source| source.topic.clone()).collect(),
            frontier: failed(plan.name(), &reason),
            reason,
        })
    }

    /// A view of which nothing is known but its name, because it cannot be planned.
    pub(crate) fn without_plan(name: &str, reason: Error) -> Arc<Self> {
        let schema = Arc::new(Schema::empty());
        let frontier = failed(name, &reason);
        Arc::new(Self { name: name.to_owned(), schema, key_columns: Vec::new(), topics: Vec::new(), reason, frontier })
    }

    fn refused(&self) -> Error {
        let error = Error::new(self.reason.kind(), format!("view {} is stopped: {}", self.name, self.reason));
        match self.reason.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[async_trait]
impl Wiring for Arc<StoppedView> {
    fn relation(&self) -> Arc<dyn Relation> {
        Arc::clone(self) as _
    }

    fn pattern(&self) -> &'static str {
        "none"
    }

    fn state(&self) -> String {
        "stopped".to_owned()
    }

    async fn stop(&self) -> Result<()> {
        Ok(())
    }
}

fn failed(name: &str, reason: &Error) -> Frontier {
    let frontier = Frontier::new(name, Positions::new());
    frontier.fail(reason.to_string());
    frontier
}

#[async_trait]
impl Relation for StoppedView {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    fn refusal(&self) -> Option<Error> {
        Some(self.refused())
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Err(self.refused())
    }

    async fn get(&self, _: &[ScalarValue]) -> Result<(Option<RecordBatch>, Positions)> {
        Err(self.refused())
    }

    fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}
