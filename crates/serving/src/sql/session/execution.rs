//! Executing a statement.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, session_state::SessionState},
    logical_expr::LogicalPlan,
    physical_plan::stream::RecordBatchStreamAdapter,
    sql::sqlparser::ast,
};
use futures::stream;
use model::{Access, Positions, Resource, principal::authorise};
use sql::{Replay, Show, SqlError, Statement, sql_error, sqlstate};
use streaming::{Evaluation, Stage};

use super::{
    Inner,
    variables::{rows_outcome, text_rows},
};
use crate::{
    sql::{
        Defined, Effect, Outcome, Prepared, Replayed, Unread,
        action::Action,
        column_names, comparison,
        engine::{Failure, Interest, Lane},
        planner,
        point_read::{Lookup, PointRead},
        variables::POSITIONS,
    },
    views::require_concerned,
};

impl Inner {
    pub(super) async fn act(&self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        match &*prepared.action {
            Action::Query(tree) => self.run_query(prepared, tree, parameters).await,
            Action::Write(statement) => self.write(statement, prepared, parameters).await,
            Action::Copy { query, options } => {
                self.refuse_unwritten(query)?;
                let mut guard = self.guard();
                let rows = guard.run(Box::pin(self.read(query, prepared, parameters))).await?;
                let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
                let Read { schema, positions, unread, .. } = rows;
                Ok(Outcome::Copy { schema, stream, positions, options: options.clone(), unread })
            }
            Action::Define(definition) => self.define(definition.clone()).await,
            Action::Replay(replay) => self.replay(replay, prepared.lane).await,
            Action::ExplainDefinition(definition) => {
                let (definitions, principal) = (Arc::clone(self.service.definitions()), self.principal.clone());
                let definition = definition.clone();
                let explaining = async move { definitions.explain(&principal, definition).await };
                let lines = self.service.engine.run(Lane::Long, explaining).await?;
                rows_outcome(text_rows("QUERY PLAN", &lines)?, "EXPLAIN")
            }
            Action::List(show) => rows_outcome(self.list(*show).await?, "SHOW"),
            Action::ShowVariable(name) => rows_outcome(self.show_variable(name)?, "SHOW"),
            Action::ShowAllVariables => rows_outcome(self.show_all()?, "SHOW"),
            Action::Set(assignments) => self.set(assignments),
            Action::ResetVariable(name) => self.reset(name.as_deref()),
            Action::SetModes { modes, session } => Ok(self.set_modes(*modes, *session)),
            Action::Begin(modes) => Ok(self.begin(*modes)),
            Action::Commit => self.commit().await,
            Action::Rollback => Ok(self.end_transaction("ROLLBACK")),
            Action::Savepoint(tag) => self.in_transaction(tag),
            Action::RollbackToSavepoint if self.has_writes() => {
                Err(SqlError::unsupported("ROLLBACK TO SAVEPOINT in a transaction that has written")
                    .with_hint("ROLLBACK takes back all of it"))
            }
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
            Action::Unlisten => Ok(Outcome::done("UNLISTEN")),
        }
    }

    pub(super) async fn run_query(
        &self,
        prepared: &Prepared,
        tree: &Arc<ast::Statement>,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        self.refuse_unwritten(tree)?;
        let mut guard = self.guard();
        let tag = if matches!(&**tree, ast::Statement::Explain { .. }) { "EXPLAIN" } else { "SELECT" };
        if let Some(point_read) = &prepared.point_read
            && !self.keeps_snapshots()
            && let Some(rows) = guard.run(self.get(point_read, parameters)).await?
        {
            let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
            return Ok(Outcome::Rows {
                schema: rows.schema,
                stream,
                positions: rows.positions,
                tag,
                unread: rows.unread,
            });
        }
        let rows = guard.run(Box::pin(self.read(tree, prepared, parameters))).await?;
        if prepared.columns.as_ref().is_some_and(|columns| !same_types(columns, &rows.schema)) {
            let error = SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
            return Err(error.with_hint("the view was replaced by one with other columns: prepare the statement anew"));
        }
        let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema: rows.schema, stream, positions: rows.positions, tag, unread: rows.unread })
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
        if views.get(name).is_none() {
            return Ok(None);
        }
        let relation = self.public.reached(name, &demanded, timeout).await?;
        require_concerned(&format!("view {name}"), relation.topics(), &demanded).map_err(|error| sql_error(&error))?;
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
        Ok(Some(Read { schema, stream: Box::pin(stream), positions, unread: Unread::default() }))
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
        let read = self.planned_and_computed(tree, prepared, parameters).await;
        let (schema, stream) = read.map_err(|error| self.failed(&error, &prepared.text))?;
        self.public.require_concerned().map_err(|error| sql_error(&error))?;
        let (reflected, unread) = (self.public.positions(), self.public.unread());
        if !self.keeps_snapshots() {
            // The plan holds what it reads; the session need not.
            self.public.release();
        }
        if let Some(positions) = &reflected {
            self.note_positions(positions);
        }
        Ok(Read { schema, stream, positions: reflected.unwrap_or_default(), unread })
    }

    /// Plans a statement, and begins to compute its rows.
    pub(super) async fn planned_and_computed(
        &self,
        tree: &Arc<ast::Statement>,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<(SchemaRef, SendableRecordBatchStream), DataFusionError> {
        let (tree, types) = (Arc::clone(tree), Arc::clone(&prepared.parameters));
        let values = parameters.to_vec();
        self.computed(prepared.lane, |state| async move {
            let plan = planner::plan(&state, &tree, &types, &values).await?;
            Ok((column_names::rename(&tree, &columns_of(&plan)), plan))
        })
        .await
    }

    /// Plans on the threads that plan, computes what is constant and costly on those that compute, and begins to compute
    /// the rows, under the names that come with the plan.
    pub(super) async fn computed<P>(
        &self,
        lane: Lane,
        plan: impl FnOnce(Arc<SessionState>) -> P,
    ) -> Result<(SchemaRef, SendableRecordBatchStream), DataFusionError>
    where
        P: Future<Output = Result<(SchemaRef, LogicalPlan), DataFusionError>> + Send + 'static,
    {
        let engine = &self.service.engine;
        let evaluation = Evaluation::new(self.service.memory.clone());
        // Whatever ends the statement, its functions are told.
        let interest = Interest::in_statement(&evaluation);
        let mut state = self.state.clone();
        evaluation.attach(state.config_mut().options_mut());
        state.mark_start_execution();
        let state = Arc::new(state);
        let planning = {
            let (planned, state) = (plan(Arc::clone(&state)), Arc::clone(&state));
            Box::pin(async move {
                let (schema, plan) = planned.await?;
                Ok::<_, Failure>((schema, state.optimize(&plan)?))
            })
        };
        let (schema, mut plan) = engine.run(lane, planning).await?;
        if evaluation.has_deferred() {
            evaluation.enter(Stage::Constants);
            let state = Arc::clone(&state);
            plan = engine.compute_one(async move { planner::with_constants(&state, plan) }).await?;
        }
        evaluation.enter(Stage::Rows);
        let planning = {
            let state = Arc::clone(&state);
            Box::pin(async move {
                let state = planner::with_fitting_batches(&state, &plan)?;
                let plan = state.query_planner().create_physical_plan(&plan, state.as_ref()).await?;
                Ok::<_, Failure>((plan, state.task_ctx()))
            })
        };
        let (plan, context) = engine.run(lane, planning).await?;
        let rows = engine.compute(plan, context, interest);
        Ok((Arc::clone(&schema), column_names::rename_rows(rows, &schema)))
    }

    pub(super) async fn define(&self, definition: Statement) -> Result<Outcome, SqlError> {
        let (definitions, principal) = (Arc::clone(self.service.definitions()), self.principal.clone());
        let defining = Box::pin(async move { definitions.define(&principal, definition).await });
        let Defined { tag, notices } = self.service.engine.carry_out(defining).await?;
        Ok(Outcome::Done { tag, notices, effect: Effect::None })
    }

    /// Replays a view; its answer is how the new version differs, where that is asked for.
    async fn replay(&self, replay: &Replay, lane: Lane) -> Result<Outcome, SqlError> {
        let (definitions, principal) = (Arc::clone(self.service.definitions()), self.principal.clone());
        let asked = replay.clone();
        let replaying = Box::pin(async move { definitions.replay(&principal, asked).await });
        let Replayed { notices, comparison } = self.service.engine.carry_out(replaying).await?;
        let Some(comparison) = comparison else {
            let tag = "REPLAY MATERIALIZED VIEW".to_owned();
            return Ok(Outcome::Done { tag, notices, effect: Effect::None });
        };
        let positions = comparison.snapshots[0].positions().clone();
        let schema = comparison::columns(&comparison.snapshots[0].table().schema());
        let mut guard = self.guard();
        let computed = self.computed(lane, |_| async move { Ok((schema, comparison::plan(&comparison)?)) });
        let computed = async { computed.await.map_err(|error| self.failed(&error, "")) };
        let (schema, stream) = guard.run(Box::pin(computed)).await?;
        self.note_positions(&positions);
        let stream = guard.stream(stream, Arc::clone(&schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema, stream, positions, tag: "REPLAY", unread: Unread::default() })
    }

    /// The columns of its answer, where it has one.
    pub(super) fn columns_of_replay(&self, replay: &Replay) -> Option<SchemaRef> {
        replay.compare?;
        let view = self.service.relations.views.get(&replay.view)?;
        Some(comparison::columns(&view.schema()))
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
    pub(super) unread: Unread,
}

pub(super) fn columns_of(plan: &LogicalPlan) -> SchemaRef {
    Arc::clone(plan.schema().inner())
}

fn same_types(left: &SchemaRef, right: &SchemaRef) -> bool {
    left.fields().len() == right.fields().len()
        && left.fields().iter().zip(right.fields()).all(|(l, r)| l.data_type() == r.data_type())
}
