//! Executing a statement.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::ScalarValue, error::DataFusionError, execution::SendableRecordBatchStream, logical_expr::LogicalPlan,
    physical_plan::stream::RecordBatchStreamAdapter, sql::sqlparser::ast,
};
use futures::stream;
use model::{Access, Positions, Resource, principal::authorise};
use streaming::{Show, SqlError, Statement};

use super::{
    Inner,
    variables::{rows_outcome, text_rows},
};
use crate::sql::{
    Defined, Effect, Outcome, Prepared, column_names,
    error::{sql_error, sqlstate},
    planner,
    point_read::{Lookup, PointRead},
    statement::Action,
    variables::POSITIONS,
};

impl Inner {
    pub(super) async fn act(&self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        match &*prepared.action {
            Action::Query(tree) => self.run_query(prepared, tree, parameters).await,
            Action::Copy { query, options } => {
                let mut guard = self.guard();
                let rows = guard.run(Box::pin(self.read(query, prepared, parameters))).await?;
                let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
                Ok(Outcome::Copy { schema: rows.schema, stream, positions: rows.positions, options: options.clone() })
            }
            Action::Define(definition) => self.define(definition.clone()).await,
            Action::ExplainDefinition(definition) => {
                let (definitions, principal) = (Arc::clone(self.service.definitions()), self.principal.clone());
                let definition = definition.clone();
                let explaining = async move { definitions.explain(&principal, definition).await };
                let lines = self.service.engine.run(explaining).await?;
                rows_outcome(text_rows("QUERY PLAN", &lines)?, "EXPLAIN")
            }
            Action::List(show) => rows_outcome(self.list(*show).await?, "SHOW"),
            Action::ShowVariable(name) => rows_outcome(self.show_variable(name)?, "SHOW"),
            Action::ShowAllVariables => rows_outcome(self.show_all()?, "SHOW"),
            Action::Set(assignments) => self.set(assignments),
            Action::ResetVariable(name) => self.reset(name.as_deref()),
            Action::SetIsolation { isolation, session } => Ok(self.set_isolation(*isolation, *session)),
            Action::Begin(isolation) => Ok(self.begin(*isolation)),
            Action::Commit => Ok(self.end_transaction("COMMIT")),
            Action::Rollback => Ok(self.end_transaction("ROLLBACK")),
            Action::Savepoint(tag) => self.in_transaction(tag),
            Action::RollbackToSavepoint => self.in_transaction("ROLLBACK"),
            Action::Discard { all } => Ok(self.discard(*all)),
            Action::Deallocate(name) => {
                let tag = if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" };
                Ok(Outcome::with_effect(tag, Effect::Deallocated(name.clone())))
            }
            Action::Declare(declaration) => self.declare(declaration, prepared, parameters).await,
            Action::Fetch(fetch) => self.fetch(fetch).await,
            Action::CloseCursor(Some(name)) => {
                self.cursors.lock().close(name)?;
                Ok(Outcome::done("CLOSE CURSOR"))
            }
            Action::CloseCursor(None) => {
                self.cursors.lock().close_all();
                Ok(Outcome::done("CLOSE CURSOR ALL"))
            }
        }
    }

    pub(super) async fn run_query(
        &self,
        prepared: &Prepared,
        tree: &Arc<ast::Statement>,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        let mut guard = self.guard();
        let tag = if matches!(&**tree, ast::Statement::Explain { .. }) { "EXPLAIN" } else { "SELECT" };
        if let Some(point_read) = &prepared.point_read
            && !self.keeps_snapshots()
            && let Some(rows) = guard.run(self.get(point_read, parameters)).await?
        {
            let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
            return Ok(Outcome::Rows { schema: rows.schema, stream, positions: rows.positions, tag });
        }
        let rows = guard.run(Box::pin(self.read(tree, prepared, parameters))).await?;
        if prepared.columns.as_ref().is_some_and(|columns| !same_types(columns, &rows.schema)) {
            let error = SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
            return Err(error.with_hint("the view was replaced by one with other columns: prepare the statement anew"));
        }
        let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema: rows.schema, stream, positions: rows.positions, tag })
    }

    /// Reads one row by its key; `None` where DataFusion has to answer.
    pub(super) async fn get(
        &self,
        point_read: &PointRead,
        parameters: &[ScalarValue],
    ) -> Result<Option<Read>, SqlError> {
        let name = &point_read.relation;
        authorise(&self.principal, Access::Read, Resource::View(name)).map_err(|error| sql_error(&error))?;
        let (demanded, timeout) = {
            let variables = self.variables.lock();
            (variables.min_position(), variables.min_position_timeout(&self.service.settings))
        };
        let views = &self.service.relations.views;
        let relation = match views.get(name) {
            Some(relation) if demanded.is_empty() => relation,
            Some(_) => views.wait_for(name, &demanded, timeout).await.map_err(|error| sql_error(&error))?,
            None => return Ok(None),
        };
        let (row, positions) = match point_read.key(&*relation, parameters) {
            None => return Ok(None),
            Some(Lookup::Nothing) => {
                let snapshot = relation.snapshot().await.map_err(|error| sql_error(&error))?;
                (None, snapshot.positions().clone())
            }
            Some(Lookup::Key(key)) => relation.get(&key).await.map_err(|error| sql_error(&error))?,
        };
        let row = match row {
            Some(row) => match point_read.project(&row) {
                Some(row) => Some(row),
                None => return Ok(None),
            },
            None => None,
        };
        self.note_positions(&positions);
        let schema = Arc::clone(&point_read.columns);
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter(row.map(Ok)));
        Ok(Some(Read { schema, stream: Box::pin(stream), positions }))
    }

    /// Reads through DataFusion, over snapshots that are pinned now.
    pub(super) async fn read(
        &self,
        tree: &Arc<ast::Statement>,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<Read, SqlError> {
        {
            let variables = self.variables.lock();
            let timeout = variables.min_position_timeout(&self.service.settings);
            self.public.begin(variables.min_position(), timeout, self.keeps_snapshots());
        }
        let mut state = self.state.clone();
        state.mark_start_execution();
        let (tree, types, values) = (Arc::clone(tree), Arc::clone(&prepared.parameters), parameters.to_vec());
        let planning = Box::pin(async move {
            let plan = planner::plan(&state, &tree, &types, &values).await?;
            let schema = column_names::rename(&tree, &columns_of(&plan));
            let plan = state.create_physical_plan(&plan).await?;
            Ok::<_, DataFusionError>((schema, plan, state.task_ctx()))
        });
        let engine = &self.service.engine;
        let read = async {
            let (schema, plan, context) = engine.run(planning).await?;
            let stream = column_names::rename_rows(engine.compute(plan, context)?, &schema);
            Ok((schema, stream))
        };
        let (schema, stream) = read.await.map_err(|error: DataFusionError| self.failed(&error, &prepared.text))?;
        let reflected = self.public.positions();
        if !self.keeps_snapshots() {
            // The plan holds what it reads; the session need not.
            self.public.release();
        }
        if let Some(positions) = &reflected {
            self.note_positions(positions);
        }
        Ok(Read { schema, stream, positions: reflected.unwrap_or_default() })
    }

    pub(super) async fn define(&self, definition: Statement) -> Result<Outcome, SqlError> {
        let (definitions, principal) = (Arc::clone(self.service.definitions()), self.principal.clone());
        let defining = Box::pin(async move { definitions.define(&principal, definition).await });
        let Defined { tag, notices } = self.service.engine.run(defining).await?;
        Ok(Outcome::Done { tag, notices, effect: Effect::None })
    }

    pub(super) async fn list(&self, show: Show) -> Result<RecordBatch, SqlError> {
        authorise(&self.principal, Access::Describe, Resource::Server).map_err(|error| sql_error(&error))?;
        self.service.definitions().show(&self.principal, show).await.map_err(|error| sql_error(&error))
    }

    pub(super) fn note_positions(&self, positions: &Positions) {
        self.variables.lock().record(POSITIONS, positions.to_string());
    }
}

/// Rows that are being read.
pub(super) struct Read {
    pub(super) schema: SchemaRef,
    pub(super) stream: SendableRecordBatchStream,
    pub(super) positions: Positions,
}

pub(super) fn columns_of(plan: &LogicalPlan) -> SchemaRef {
    Arc::clone(plan.schema().inner())
}

fn same_types(left: &SchemaRef, right: &SchemaRef) -> bool {
    left.fields().len() == right.fields().len()
        && left.fields().iter().zip(right.fields()).all(|(l, r)| l.data_type() == r.data_type())
}
