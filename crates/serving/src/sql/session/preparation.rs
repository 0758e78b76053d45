//! Understanding a statement: what it asks for, its parameters and its columns.

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{logical_expr::LogicalPlan, sql::sqlparser::ast};
use sql::{SqlError, WriteStatement, sqlstate, visit_expressions};
use streaming::Evaluation;

use super::{Inner, execution::columns_of, variables::text_rows};
use crate::sql::{
    Prepared,
    action::Action,
    column_names,
    engine::Lane,
    parameter_types,
    parser::{self, Piece},
    planner,
    point_read::PointRead,
    statement,
};

/// A longer text is not read on the short lane: reading takes time too.
const SHORT_TEXT_BYTES_MAX: usize = 2048;

impl Inner {
    /// Reads a short text where no long one is in its way, and stays there if nothing long comes of it.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        piece: &Piece,
        given: &[Option<DataType>],
    ) -> Result<Prepared, SqlError> {
        let work = |lane: Lane| {
            let (inner, piece, given) = (Arc::clone(self), piece.clone(), given.to_vec());
            Box::pin(async move { inner.prepare_on(lane, &piece, &given).await })
        };
        let engine = &self.service.engine;
        if piece.text.len() <= SHORT_TEXT_BYTES_MAX
            && let Some(prepared) = engine.run(Lane::Short, work(Lane::Short)).await?
        {
            return Ok(prepared);
        }
        let prepared = engine.run(Lane::Long, work(Lane::Long)).await?;
        prepared.ok_or_else(|| SqlError::new(sqlstate::INTERNAL_ERROR, "a statement was not prepared"))
    }

    /// Understands a statement; `None` where it does not belong on this lane.
    async fn prepare_on(
        &self,
        lane: Lane,
        piece: &Piece,
        given: &[Option<DataType>],
    ) -> Result<Option<Prepared>, SqlError> {
        let action = statement::read(piece)?;
        if lane == Lane::Short && !self.is_short(&action, given) {
            return Ok(None);
        }
        let mut prepared = Prepared {
            text: Arc::from(piece.text.as_str()),
            characters_before: piece.characters_before,
            action: Arc::new(action),
            parameters: Arc::from([]),
            oids: Arc::from([]),
            columns: None,
            point_read: None,
            lane,
        };
        self.describe(&mut prepared, given).await.map_err(|error| error.shifted(piece.characters_before))?;
        Ok(Some(prepared))
    }

    /// Whether it takes a moment to describe and to plan, however it is meant.
    fn is_short(&self, action: &Action, given: &[Option<DataType>]) -> bool {
        match action {
            Action::Query(tree) => reads_nothing(tree) || self.point_read(tree, given).is_some(),
            Action::Copy { .. } | Action::Declare(_) | Action::Write(_) => false,
            _ => true,
        }
    }

    pub(super) async fn describe(&self, prepared: &mut Prepared, given: &[Option<DataType>]) -> Result<(), SqlError> {
        let action = Arc::clone(&prepared.action);
        prepared.columns = match &*action {
            Action::Query(tree) => {
                if let Some((point_read, parameters)) = self.point_read(tree, given) {
                    prepared.parameters = Arc::from(parameters);
                    let columns = Arc::clone(&point_read.columns);
                    prepared.point_read = Some(Arc::new(point_read));
                    Some(columns)
                } else {
                    Some(self.describe_tree(tree, given, prepared).await?)
                }
            }
            Action::Copy { query, .. } => {
                self.describe_tree(query, given, prepared).await?;
                None
            }
            Action::Declare(declaration) => {
                self.describe_tree(&declaration.query, given, prepared).await?;
                None
            }
            Action::Write(statement) => {
                self.describe_write(statement, given, prepared).await?;
                None
            }
            Action::List(show) => Some(self.list(*show).await?.schema()),
            Action::Replay(replay) => self.columns_of_replay(replay),
            Action::ExplainDefinition(_) => Some(text_rows("QUERY PLAN", &[])?.schema()),
            Action::ShowVariable(name) => Some(self.show_variable(name)?.schema()),
            Action::ShowAllVariables => Some(self.show_all()?.schema()),
            // The cursor may be declared later, by the time the statement is executed.
            Action::Fetch(fetch) => self.cursors.lock().schema(&fetch.name).ok(),
            _ => None,
        };
        Ok(())
    }

    pub(super) fn point_read(
        &self,
        tree: &ast::Statement,
        given: &[Option<DataType>],
    ) -> Option<(PointRead, Vec<DataType>)> {
        let point_read = PointRead::recognise(tree, &self.service.relations.views)?;
        let parameters = point_read.parameters(given)?;
        Some((point_read, parameters))
    }

    /// The parameters of a write are those of its query.
    async fn describe_write(
        &self,
        statement: &WriteStatement,
        given: &[Option<DataType>],
        prepared: &mut Prepared,
    ) -> Result<(), SqlError> {
        let name = statement.target();
        let target = self.service.definitions().sources().into_iter().find(|source| source.name == name);
        let target = target.ok_or_else(|| self.cannot_be_written(name))?;
        let query = statement.write(&target)?.query;
        let described = self.describe_tree(&parser::tree(&query)?, given, prepared).await;
        // Places are those of the query, which nobody wrote.
        described.map(drop).map_err(SqlError::without_position)
    }

    fn cannot_be_written(&self, name: &str) -> SqlError {
        match self.service.relations.views.get(name) {
            Some(_) => {
                SqlError::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot change materialized view \"{name}\""))
                    .with_hint("it follows what it reads by itself: write to a table or source that it reads")
            }
            None => SqlError::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
                .with_hint("CREATE TABLE or CREATE SOURCE declares what can be written"),
        }
    }

    pub(super) async fn describe_tree(
        &self,
        tree: &ast::Statement,
        given: &[Option<DataType>],
        prepared: &mut Prepared,
    ) -> Result<SchemaRef, SqlError> {
        // The arguments of table functions are computed here.
        let mut describing = self.service.describing.clone();
        Evaluation::new(self.service.memory.clone()).attach(describing.config_mut().options_mut());
        let (given, oids) = parameter_types::told(&describing, tree, given).await;
        let described = planner::describe(&describing, tree, &given).await;
        let (plan, parameters) = described.map_err(|error| self.failed(&error, &prepared.text))?;
        refuse_writes(&plan)?;
        prepared.parameters = Arc::from(parameters);
        prepared.oids = Arc::from(oids);
        Ok(column_names::rename(tree, &columns_of(&plan)))
    }
}

/// Whether a query is one of expressions alone, as `SELECT 1` is.
fn reads_nothing(tree: &ast::Statement) -> bool {
    let ast::Statement::Query(query) = tree else { return false };
    let ast::SetExpr::Select(select) = &*query.body else { return false };
    let reads = visit_expressions(tree, |expr| match expr {
        ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    query.with.is_none() && select.from.is_empty() && reads.is_continue()
}

/// DataFusion plans more than queries.
fn refuse_writes(plan: &LogicalPlan) -> Result<(), SqlError> {
    match plan {
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            Err(SqlError::unsupported("this statement"))
        }
        _ => Ok(()),
    }
}
