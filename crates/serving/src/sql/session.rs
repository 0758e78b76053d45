//! [`Session`]: the state of one connection, and the way of a statement through it.
//!
//! A statement is read, planned and computed on the engine's threads, which have the stack that deeply nested
//! statements need; a read by key runs where it is asked for.

mod cursors;
mod execution;
mod preparation;
mod variables;
mod writing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    execution::{FunctionRegistry, SessionStateBuilder, session_state::SessionState},
};
use model::{MemoryReservation, Positions, Principal};
use parking_lot::Mutex;
use sql::{Readable, SqlError, datafusion_error, sqlstate};
use tokio::sync::watch;

use super::{
    Outcome, Prepared, SqlService, StatementText,
    advisory_locks::SessionLocks,
    catalog::PinnedSchema,
    cursor::Cursors,
    guard::Guard,
    parser,
    pg_catalog::SessionPgCatalog,
    session_functions::SessionFunctions,
    transaction::Transaction,
    variables::{POSITIONS, Variables},
};

/// One connection's variables, transaction, cursors and snapshots.
///
/// It runs one statement at a time; [`Session::cancel`] may be called from elsewhere meanwhile.
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<SqlService>,
    principal: Principal,
    public: Arc<PinnedSchema>,
    state: SessionState,
    variables: Arc<Mutex<Variables>>,
    transaction: Arc<Mutex<Option<Transaction>>>,
    locks: Arc<SessionLocks>,
    /// The number by which clients know the session.
    backend_pid: Arc<AtomicI32>,
    cursors: Mutex<Cursors>,
    cancels: watch::Sender<u64>,
}

impl Session {
    pub(super) fn new(service: Arc<SqlService>, principal: Principal) -> Self {
        Self { inner: Arc::new(Inner::new(service, principal)) }
    }

    /// Takes a text apart into its statements; none for an empty text.
    ///
    /// # Errors
    /// [`SqlError`] when one of them cannot be read.
    pub fn parse(&self, text: &str) -> Result<Vec<StatementText>, SqlError> {
        let bytes_max = self.inner.service.settings.statement_bytes_max;
        if text.len() > bytes_max {
            let message = format!("the statement has {} bytes, the most is {bytes_max}", text.len());
            return Err(
                SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint("use parameters for long values")
            );
        }
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
        let preparing = Box::pin(self.inner.prepare(&statement.0, parameter_types));
        let prepared = self.inner.guard().run(preparing).await;
        self.counted(prepared)
    }

    /// Executes a statement; `parameters` are the values of `$1`, `$2`, ...
    ///
    /// # Errors
    /// [`SqlError`]; also the rows may end with an error, which [`Session::error`] reads.
    pub async fn execute(&self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Outcome, SqlError> {
        if parameters.len() != prepared.parameters.len() {
            let message =
                format!("{} parameters are given where {} are needed", parameters.len(), prepared.parameters.len());
            return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, message));
        }
        // On the heap: what it takes to plan a query is too much for the stack of a connection's task.
        let outcome = Box::pin(self.inner.act(prepared, parameters)).await;
        self.counted(outcome).map_err(|error| error.shifted(prepared.characters_before))
    }

    fn counted<T>(&self, outcome: Result<T, SqlError>) -> Result<T, SqlError> {
        outcome.inspect_err(|_| {
            self.inner.service.metrics.query_failures.inc();
        })
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
        self.inner.cancels.send_modify(|cancels| *cancels = cancels.wrapping_add(1));
    }

    /// How long the client may say nothing from now on, and what it is told when it does; `None` for ever.
    pub fn idle_timeout(&self) -> Option<(Duration, SqlError)> {
        let in_transaction = self.inner.transaction.lock().is_some();
        let timeout = self.inner.variables.lock().idle_timeout(in_transaction)?;
        let (code, which) = if in_transaction {
            (sqlstate::IDLE_IN_TRANSACTION_TIMEOUT, "idle-in-transaction")
        } else {
            (sqlstate::IDLE_SESSION_TIMEOUT, "idle-session")
        };
        Some((timeout, SqlError::new(code, format!("terminating connection due to {which} timeout"))))
    }

    /// What ended the rows of an [`Outcome`].
    pub fn error(&self, error: &DataFusionError) -> SqlError {
        datafusion_error(error, "", Readable::Relations(&[]))
    }

    /// What the last answer reflected that came from a view or source; as text, as `SHOW fourfold.positions` has it.
    pub fn positions(&self) -> String {
        self.variable(POSITIONS)
    }

    /// Who uses the session.
    pub fn principal(&self) -> &Principal {
        &self.inner.principal
    }

    /// The columns of an open cursor.
    pub fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.inner.cursors.lock().schema(name).ok()
    }

    /// The variables whose values PostgreSQL tells its clients.
    pub fn reported_variables(&self) -> Vec<(&'static str, String)> {
        self.inner.variables.lock().reported(&self.inner.service.settings)
    }

    /// What a variable is set to; empty where there is none of the name.
    pub fn variable(&self, name: &str) -> String {
        let shown = self.inner.variables.lock().show(name, &self.inner.service.settings);
        shown.map_or_else(|_| String::new(), |(_, value)| value)
    }

    /// Takes memory for what is kept for the client; `name` says what that is.
    ///
    /// # Errors
    /// 53200 when the budget has not as much.
    pub fn reserve(&self, name: &'static str, bytes: usize) -> Result<MemoryReservation, SqlError> {
        self.inner.service.memory.reserve(name, bytes as u64).map_err(|error| SqlError::from(&error))
    }

    /// Notes the number by which the client knows the session, as `pg_backend_pid()` has it.
    pub fn set_backend_pid(&self, pid: i32) {
        self.inner.backend_pid.store(pid, Ordering::Relaxed);
    }

    /// Sets a variable as `SET` does; for what a client says when it connects.
    ///
    /// # Errors
    /// [`SqlError`] for a name or value that does not exist.
    pub fn set_variable(&self, name: &str, value: &str) -> Result<(), SqlError> {
        self.inner.variables.lock().set(name, Some(value), &self.inner.service.settings).map(|_| ())
    }

    /// Whoever has to wait for a view asks `admit` first, which can refuse: for a door whose waiters have places. It is told
    /// once.
    pub fn admit_waits(&self, admit: impl Fn() -> model::Result<()> + Send + Sync + 'static) {
        self.inner.public.admit_waits(Box::new(admit));
    }

    /// Demands that what follows is answered from views that have folded at least `min_position`, and says how long to
    /// wait for them, if not as long as the settings have it. Nothing is demanded by an empty position.
    ///
    /// # Errors
    /// Those of [`set_variable`](Self::set_variable).
    pub fn demand(&self, min_position: &Positions, timeout: Option<Duration>) -> Result<(), SqlError> {
        // Also without a position: a view that is still being built is waited for as long.
        if let Some(timeout) = timeout {
            self.set_variable("fourfold.min_position_timeout_ms", &timeout.as_millis().to_string())?;
        }
        if min_position.is_empty() {
            return Ok(());
        }
        self.set_variable("fourfold.min_position", &min_position.to_string())
    }
}

impl Inner {
    fn new(service: Arc<SqlService>, principal: Principal) -> Self {
        let public = Arc::new(PinnedSchema::new(service.relations.clone(), principal.clone()));
        let functions = SessionFunctions {
            locks: service.advisory_locks.session(),
            ..SessionFunctions::without_session(service.settings.clone())
        };
        let pg_catalog = SessionPgCatalog {
            shared: Arc::clone(&service.pg_catalog),
            variables: Arc::clone(&functions.variables),
            settings: service.settings.clone(),
        };
        let mut state = SessionStateBuilder::new_from_existing(service.describing.clone())
            .with_session_id(functions.locks.number().to_string())
            .with_catalog_list(service.session_catalogs(Arc::clone(&public), Arc::new(pg_catalog)))
            .build();
        for function in functions.all() {
            if let Err(error) = state.register_udf(Arc::new(function)) {
                tracing::error!(%error, "a session has not all functions of its own");
            }
        }
        let SessionFunctions { variables, transaction, locks, backend_pid, .. } = functions;
        Self {
            service,
            principal,
            public,
            state,
            variables,
            transaction,
            locks,
            backend_pid,
            cursors: Mutex::default(),
            cancels: watch::Sender::new(0),
        }
    }

    fn guard(&self) -> Guard {
        let timeout = self.variables.lock().statement_timeout(&self.service.settings);
        Guard::new(timeout, self.cancels.subscribe())
    }

    fn failed(&self, error: &DataFusionError, text: &str) -> SqlError {
        datafusion_error(error, text, Readable::Relations(&self.service.relations.names()))
    }
}
