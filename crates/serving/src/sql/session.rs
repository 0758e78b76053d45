//! [`Session`]: the state of one connection, and the way of a statement through it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SessionStateBuilder, session_state::SessionState},
    logical_expr::LogicalPlan,
    physical_plan::{execute_stream, stream::RecordBatchStreamAdapter},
    sql::sqlparser::ast,
};
use futures::stream;
use model::{Access, Positions, Principal, Resource, principal::authorise};
use parking_lot::Mutex;
use streaming::{Show, SqlError, Statement};
use tokio::sync::watch;

use super::{
    Defined, Effect, Outcome, Prepared, SqlService, StatementText,
    catalog::PinnedSchema,
    column_names,
    cursor::{Cursors, Declaration, Fetch, OpenCursor},
    error::{datafusion_error, sql_error, sqlstate},
    functions,
    guard::Guard,
    parser, planner,
    point_read::{Lookup, PointRead},
    statement::{self, Action},
    transaction::{Isolation, Transaction},
    variables::{Assignment, POSITIONS, Variables},
};

/// One connection's variables, transaction, cursors and snapshots.
///
/// It runs one statement at a time; [`Session::cancel`] may be called from elsewhere meanwhile.
pub struct Session {
    service: Arc<SqlService>,
    principal: Principal,
    public: Arc<PinnedSchema>,
    state: SessionState,
    variables: Arc<Mutex<Variables>>,
    transaction: Mutex<Option<Transaction>>,
    cursors: Mutex<Cursors>,
    cancels: watch::Sender<u64>,
}

impl Session {
    pub(super) fn new(service: Arc<SqlService>, principal: Principal) -> Self {
        let public = Arc::new(PinnedSchema::new(service.relations.clone(), principal.clone()));
        let variables = Arc::new(Mutex::new(Variables::default()));
        let mut state = SessionStateBuilder::new_from_existing(service.describing.clone())
            .with_session_id(uuid::Uuid::new_v4().to_string())
            .with_catalog_list(service.session_catalogs(Arc::clone(&public)))
            .build();
        let current_setting = functions::current_setting(Arc::clone(&variables), service.settings.clone());
        if let Err(error) = datafusion::execution::FunctionRegistry::register_udf(&mut state, Arc::new(current_setting))
        {
            tracing::error!(%error, "a session has no function current_setting");
        }
        Self {
            service,
            principal,
            public,
            state,
            variables,
            transaction: Mutex::default(),
            cursors: Mutex::default(),
            cancels: watch::Sender::new(0),
        }
    }

    /// Takes a text apart into its statements; none for an empty text.
    ///
    /// # Errors
    /// [`SqlError`] when one of them cannot be read.
    pub fn parse(&self, text: &str) -> Result<Vec<StatementText>, SqlError> {
        Ok(parser::split(text)?.into_iter().map(StatementText).collect())
    }

    /// Understands one statement; `parameter_types` are the types that the client names for `$1`, `$2`, ...
    ///
    /// # Errors
    /// [`SqlError`] with the place in the whole text.
    pub async fn prepare(
        &self,
        statement: &StatementText,
        parameter_types: &[Option<DataType>],
    ) -> Result<Prepared, SqlError> {
        let StatementText(piece) = statement;
        let action = statement::read(piece)?;
        let mut prepared = Prepared {
            text: Arc::from(piece.text.as_str()),
            action: Arc::new(action),
            parameters: Arc::from([]),
            columns: None,
            point_read: None,
        };
        let guarded = async { self.describe(&mut prepared, parameter_types).await };
        self.guard().run(guarded).await.map_err(|error| error.shifted(piece.characters_before))?;
        Ok(prepared)
    }

    /// Executes a statement; `parameters` are the values of `$1`, `$2`, ...
    ///
    /// # Errors
    /// [`SqlError`]; also the rows may end with one, as `DataFusionError::External`, see [`Session::error`].
    pub async fn execute(&self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        if parameters.len() != prepared.parameters.len() {
            let message =
                format!("{} parameters are given where {} are needed", parameters.len(), prepared.parameters.len());
            return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, message));
        }
        let outcome = self.act(prepared, parameters).await;
        if outcome.is_err() {
            self.service.metrics.query_failures.inc();
        }
        outcome
    }

    /// Parses, prepares and executes a text with exactly one statement; parameters keep the types they have.
    ///
    /// # Errors
    /// [`SqlError`], also for no statement or more than one.
    pub async fn query(&self, text: &str, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        let statements = self.parse(text)?;
        let [statement] = statements.as_slice() else {
            let message = format!("{} statements are given where one is needed", statements.len());
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).with_hint("send them one by one"));
        };
        let types: Vec<Option<DataType>> = parameters.iter().map(|value| Some(value.data_type())).collect();
        let prepared = self.prepare(statement, &types).await?;
        self.execute(&prepared, parameters).await
    }

    /// Cancels the statement that runs now, also while its rows are being read; nothing where none runs.
    pub fn cancel(&self) {
        self.cancels.send_modify(|cancels| *cancels = cancels.wrapping_add(1));
    }

    /// What ended the rows of an [`Outcome`].
    pub fn error(&self, error: &DataFusionError) -> SqlError {
        datafusion_error(error, "", &[])
    }

    /// What the last answer reflected that came from a view or source; as text, as `SHOW fourfold.positions` has it.
    pub fn positions(&self) -> String {
        let shown = self.variables.lock().show(POSITIONS, &self.service.settings);
        shown.map_or_else(|_| String::new(), |(_, value)| value)
    }

    /// Who uses the session.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The columns of an open cursor.
    pub fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.lock().schema(name).ok()
    }

    /// The variables whose values PostgreSQL tells its clients.
    pub fn reported_variables(&self) -> Vec<(&'static str, String)> {
        self.variables.lock().reported(&self.service.settings)
    }

    /// Sets a variable as `SET` does; for what a client says when it connects.
    ///
    /// # Errors
    /// [`SqlError`] for a name or value that does not exist.
    pub fn set_variable(&self, name: &str, value: &str) -> Result<(), SqlError> {
        self.variables.lock().set(name, Some(value), &self.service.settings).map(|_| ())
    }

    fn guard(&self) -> Guard {
        let timeout = self.variables.lock().statement_timeout(&self.service.settings);
        Guard::new(timeout, self.cancels.subscribe())
    }

    fn failed(&self, error: &DataFusionError, text: &str) -> SqlError {
        datafusion_error(error, text, &self.service.relations.names())
    }
}

/// Understanding a statement.
impl Session {
    async fn describe(&self, prepared: &mut Prepared, given: &[Option<DataType>]) -> Result<(), SqlError> {
        let action = Arc::clone(&prepared.action);
        prepared.columns = match &*action {
            Action::Query(tree) => {
                if let Some((point_read, parameters)) = self.point_read(tree, given) {
                    prepared.parameters = Arc::from(parameters);
                    let columns = Arc::clone(&point_read.columns);
                    prepared.point_read = Some(Arc::new(point_read));
                    Some(columns)
                } else {
                    let (columns, parameters) = self.describe_tree(tree, given, &prepared.text).await?;
                    prepared.parameters = Arc::from(parameters);
                    Some(columns)
                }
            }
            Action::Copy { query, .. } => {
                let (_, parameters) = self.describe_tree(query, given, &prepared.text).await?;
                prepared.parameters = Arc::from(parameters);
                None
            }
            Action::Declare(declaration) => {
                let (_, parameters) = self.describe_tree(&declaration.query, given, &prepared.text).await?;
                prepared.parameters = Arc::from(parameters);
                None
            }
            Action::List(show) => Some(self.list(*show).await?.schema()),
            Action::ExplainDefinition(_) => Some(text_rows("QUERY PLAN", &[])?.schema()),
            Action::ShowVariable(name) => Some(self.show_variable(name)?.schema()),
            Action::ShowAllVariables => Some(self.show_all()?.schema()),
            // The cursor may be declared later, by the time the statement is executed.
            Action::Fetch(fetch) => self.cursors.lock().schema(&fetch.name).ok(),
            _ => None,
        };
        Ok(())
    }

    fn point_read(&self, tree: &ast::Statement, given: &[Option<DataType>]) -> Option<(PointRead, Vec<DataType>)> {
        let point_read = PointRead::recognise(tree, &self.service.relations.views)?;
        let parameters = point_read.parameters(given)?;
        Some((point_read, parameters))
    }

    async fn describe_tree(
        &self,
        tree: &ast::Statement,
        given: &[Option<DataType>],
        text: &str,
    ) -> Result<(SchemaRef, Vec<DataType>), SqlError> {
        let described = planner::describe(&self.service.describing, tree, given).await;
        let (plan, parameters) = described.map_err(|error| self.failed(&error, text))?;
        refuse_writes(&plan)?;
        Ok((column_names::rename(tree, columns_of(&plan)), parameters))
    }
}

/// Executing a statement.
impl Session {
    async fn act(&self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        match &*prepared.action {
            Action::Query(tree) => self.run_query(prepared, tree, parameters).await,
            Action::Copy { query, options } => {
                let mut guard = self.guard();
                let rows = guard.run(self.read(query, prepared, parameters)).await?;
                let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
                Ok(Outcome::Copy { schema: rows.schema, stream, positions: rows.positions, options: options.clone() })
            }
            Action::Define(definition) => self.define(definition.clone()).await,
            Action::ExplainDefinition(definition) => {
                let lines = self.service.definitions().explain(&self.principal, definition.clone()).await?;
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

    async fn run_query(
        &self,
        prepared: &Prepared,
        tree: &ast::Statement,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        let mut guard = self.guard();
        let tag = if matches!(tree, ast::Statement::Explain { .. }) { "EXPLAIN" } else { "SELECT" };
        if let Some(point_read) = &prepared.point_read
            && !self.keeps_snapshots()
            && let Some(rows) = guard.run(self.get(point_read, parameters)).await?
        {
            let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
            return Ok(Outcome::Rows { schema: rows.schema, stream, positions: rows.positions, tag });
        }
        let rows = guard.run(self.read(tree, prepared, parameters)).await?;
        if prepared.columns.as_ref().is_some_and(|columns| !same_types(columns, &rows.schema)) {
            let error = SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
            return Err(error.with_hint("the view was replaced by one with other columns: prepare the statement anew"));
        }
        let stream = guard.stream(rows.stream, Arc::clone(&rows.schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema: rows.schema, stream, positions: rows.positions, tag })
    }

    /// Reads one row by its key; `None` where DataFusion has to answer.
    async fn get(&self, point_read: &PointRead, parameters: &[ScalarValue]) -> Result<Option<Read>, SqlError> {
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
    async fn read(
        &self,
        tree: &ast::Statement,
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
        let read = async {
            let plan = planner::plan(&state, tree, &prepared.parameters, parameters).await?;
            let schema = column_names::rename(tree, columns_of(&plan));
            let plan = state.create_physical_plan(&plan).await?;
            let stream = column_names::rename_rows(execute_stream(plan, state.task_ctx())?, &schema);
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

    async fn define(&self, definition: Statement) -> Result<Outcome, SqlError> {
        let Defined { tag, notices } = self.service.definitions().define(&self.principal, definition).await?;
        Ok(Outcome::Done { tag, notices, effect: Effect::None })
    }

    async fn list(&self, show: Show) -> Result<RecordBatch, SqlError> {
        authorise(&self.principal, Access::Describe, Resource::Server).map_err(|error| sql_error(&error))?;
        self.service.definitions().show(&self.principal, show).await.map_err(|error| sql_error(&error))
    }

    fn note_positions(&self, positions: &Positions) {
        self.variables.lock().record(POSITIONS, positions.to_string());
    }
}

/// Cursors.
impl Session {
    async fn declare(
        &self,
        declaration: &Declaration,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        if !declaration.hold && self.transaction.lock().is_none() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(SqlError::new("25P01", message).with_hint("BEGIN first, or declare it WITH HOLD"));
        }
        let Read { schema, stream, positions } =
            self.guard().run(self.read(&declaration.query, prepared, parameters)).await?;
        let cursor = OpenCursor::new(stream, schema, positions, declaration.hold);
        self.cursors.lock().open(&declaration.name, cursor, self.service.settings.cursors_max)?;
        Ok(Outcome::done("DECLARE CURSOR"))
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Outcome, SqlError> {
        let mut guard = self.guard();
        let mut cursor = self.cursors.lock().take(&fetch.name)?;
        let rows: Result<SendableRecordBatchStream, SqlError> = match fetch.count {
            None => Ok(cursor.rest()),
            Some(count) => {
                let next = async { cursor.next(count).await.map_err(|error| self.failed(&error, "")) };
                guard.run(next).await.map(|batches| {
                    let batches = stream::iter(batches.into_iter().map(Ok));
                    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&cursor.schema), batches)) as _
                })
            }
        };
        let (schema, positions) = (Arc::clone(&cursor.schema), cursor.positions.clone());
        self.note_positions(&positions);
        self.cursors.lock().put_back(&fetch.name, cursor);
        let stream = guard.stream(rows?, Arc::clone(&schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema, stream, positions, tag: "FETCH" })
    }
}

/// Variables and transactions.
impl Session {
    fn show_variable(&self, name: &str) -> Result<RecordBatch, SqlError> {
        if name.eq_ignore_ascii_case("session_authorization") {
            return text_rows("session_authorization", &[self.principal.name().to_owned()]);
        }
        let mut shown = self.variables.lock().show(name, &self.service.settings)?;
        if let ("transaction_isolation", Some(transaction)) = (shown.0, &*self.transaction.lock()) {
            shown.1 = transaction.isolation.name().to_owned();
        }
        text_rows(shown.0, &[shown.1])
    }

    fn show_all(&self) -> Result<RecordBatch, SqlError> {
        let all = self.variables.lock().all(&self.service.settings);
        let names: ArrayRef = Arc::new(all.iter().map(|(name, _)| Some(*name)).collect::<StringArray>());
        let values: ArrayRef = Arc::new(all.iter().map(|(_, value)| Some(value.as_str())).collect::<StringArray>());
        RecordBatch::try_from_iter([("name", names), ("setting", values)]).map_err(|e| internal(&e))
    }

    fn set(&self, assignments: &[Assignment]) -> Result<Outcome, SqlError> {
        let (mut notices, mut effect) = (Vec::new(), Effect::None);
        let mut transaction = self.transaction.lock();
        for assignment in assignments {
            if assignment.name.eq_ignore_ascii_case("transaction_isolation") {
                let isolation = Isolation::parse(assignment.value.as_deref().unwrap_or("read committed"))?;
                if let Some(transaction) = &mut *transaction {
                    transaction.isolation = isolation;
                }
                continue;
            }
            let value = assignment.value.as_deref();
            if assignment.local && transaction.is_none() {
                notices.push("SET LOCAL can only be used in transaction blocks, it has no effect here".to_owned());
                continue;
            }
            let changed = self.variables.lock().set(&assignment.name, value, &self.service.settings)?;
            if let (true, Some(transaction)) = (assignment.local, &mut *transaction) {
                let (name, _) = self.variables.lock().show(&assignment.name, &self.service.settings)?;
                transaction.local.push(name);
            }
            notices.extend(changed.notice);
            if let Some((name, value)) = changed.reported {
                effect = Effect::Reported { name, value };
            }
        }
        Ok(Outcome::Done { tag: "SET".to_owned(), notices, effect })
    }

    fn reset(&self, name: Option<&str>) -> Result<Outcome, SqlError> {
        let mut effect = Effect::None;
        match name {
            None => *self.variables.lock() = Variables::default(),
            Some(name) => {
                let changed = self.variables.lock().set(name, None, &self.service.settings)?;
                if let Some((name, value)) = changed.reported {
                    effect = Effect::Reported { name, value };
                }
            }
        }
        Ok(Outcome::with_effect("RESET", effect))
    }

    fn set_isolation(&self, isolation: Isolation, session: bool) -> Outcome {
        if session {
            self.variables.lock().record("default_transaction_isolation", isolation.name().to_owned());
            return Outcome::done("SET");
        }
        let mut notices = Vec::new();
        match &mut *self.transaction.lock() {
            Some(transaction) => transaction.isolation = isolation,
            None => notices.push("SET TRANSACTION can only be used in transaction blocks".to_owned()),
        }
        Outcome::Done { tag: "SET".to_owned(), notices, effect: Effect::None }
    }

    fn begin(&self, isolation: Option<Isolation>) -> Outcome {
        let mut transaction = self.transaction.lock();
        if transaction.is_some() {
            let notices = vec!["there is already a transaction in progress".to_owned()];
            return Outcome::Done { tag: "BEGIN".to_owned(), notices, effect: Effect::None };
        }
        let variables = self.variables.lock().clone();
        let isolation = isolation.unwrap_or_else(|| variables.default_isolation());
        *transaction = Some(Transaction { isolation, variables_before: variables, local: Vec::new() });
        self.public.release();
        Outcome::with_effect("BEGIN", Effect::TransactionStarted)
    }

    fn end_transaction(&self, tag: &'static str) -> Outcome {
        let Some(transaction) = self.transaction.lock().take() else {
            let notices = vec!["there is no transaction in progress".to_owned()];
            return Outcome::Done { tag: tag.to_owned(), notices, effect: Effect::TransactionEnded };
        };
        self.public.release();
        self.cursors.lock().close_of_transaction();
        let mut variables = self.variables.lock();
        if tag == "ROLLBACK" {
            *variables = transaction.variables_before;
        } else {
            for name in transaction.local {
                variables.restore(name, &transaction.variables_before);
            }
        }
        Outcome::with_effect(tag, Effect::TransactionEnded)
    }

    fn in_transaction(&self, tag: &'static str) -> Result<Outcome, SqlError> {
        if self.transaction.lock().is_none() {
            let message = format!("{tag} can only be used in transaction blocks");
            return Err(SqlError::new("25P01", message));
        }
        Ok(Outcome::done(tag))
    }

    fn discard(&self, all: bool) -> Outcome {
        if !all {
            return Outcome::done("DISCARD");
        }
        *self.variables.lock() = Variables::default();
        self.cursors.lock().close_all();
        self.public.release();
        Outcome::with_effect("DISCARD ALL", Effect::Discarded)
    }

    fn keeps_snapshots(&self) -> bool {
        self.transaction.lock().as_ref().is_some_and(|transaction| transaction.isolation.keeps_snapshots())
    }
}

/// Rows that are being read.
struct Read {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    positions: Positions,
}

fn columns_of(plan: &LogicalPlan) -> SchemaRef {
    Arc::clone(plan.schema().inner())
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

fn same_types(left: &SchemaRef, right: &SchemaRef) -> bool {
    left.fields().len() == right.fields().len()
        && left.fields().iter().zip(right.fields()).all(|(l, r)| l.data_type() == r.data_type())
}

fn text_rows(column: &str, lines: &[String]) -> Result<RecordBatch, SqlError> {
    let lines: ArrayRef = Arc::new(lines.iter().map(|line| Some(line.as_str())).collect::<StringArray>());
    RecordBatch::try_from_iter([(column, lines)]).map_err(|error| internal(&error))
}

fn rows_outcome(rows: RecordBatch, tag: &'static str) -> Result<Outcome, SqlError> {
    let schema = rows.schema();
    let stream = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter([Ok(rows)]));
    Ok(Outcome::Rows { schema, stream: Box::pin(stream), positions: Positions::new(), tag })
}

fn internal(error: &dyn std::error::Error) -> SqlError {
    SqlError::new(sqlstate::INTERNAL_ERROR, error.to_string())
}
