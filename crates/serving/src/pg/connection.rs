//! One connection: its session, and which part of it answers which messages.

use std::{collections::BTreeSet, sync::Arc};

use model::Principal;
use parking_lot::Mutex;
use pgwire::{
    api::{
        ErrorHandler, NoopHandler, PgWireServerHandlers,
        auth::StartupHandler,
        cancel::CancelHandler,
        copy::CopyHandler,
        query::{ExtendedQueryHandler, SimpleQueryHandler},
    },
    error::PgWireResult,
};

use super::{
    backend::Backend,
    cancel::{Cancels, Registration},
    extended::StatementParser,
    server::PgSettings,
};
use crate::sql::{Session, SqlService};

/// What the parts of one connection share.
pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    pub(super) parser: Arc<StatementParser>,
    pub(super) cancels: Arc<Cancels>,
    /// The limit that is reached already; the client is told so and sent away.
    pub(super) refused: Option<usize>,
    pub(super) prepared_statements_max: usize,
    /// The named prepared statements, to hold them to their limit.
    pub(super) statement_names: Mutex<BTreeSet<String>>,
    /// What the client was last told about Positions.
    positions_told: Mutex<String>,
    /// Under which a cancel request finds the session, from the moment that the client is told its key.
    pub(super) registration: Mutex<Option<Registration>>,
}

impl Connection {
    pub(super) fn new(
        sql: &Arc<SqlService>,
        principal: Principal,
        cancels: Arc<Cancels>,
        refused: Option<usize>,
        settings: &PgSettings,
    ) -> Self {
        let session = Arc::new(sql.session(principal));
        Self {
            parser: Arc::new(StatementParser(Arc::clone(&session))),
            session,
            cancels,
            refused,
            prepared_statements_max: settings.prepared_statements_max,
            statement_names: Mutex::default(),
            positions_told: Mutex::default(),
            registration: Mutex::default(),
        }
    }

    /// Tells the client what the rows to come reflect, where that has changed.
    pub(super) async fn tell_positions(&self, client: &mut impl Backend) -> PgWireResult<()> {
        let text = self.session.positions();
        let changed = {
            let mut told = self.positions_told.lock();
            let changed = *told != text;
            told.clone_from(&text);
            changed
        };
        if changed { client.feed_parameter("fourfold.positions", text).await } else { Ok(()) }
    }
}

/// The parts of a connection, as pgwire asks for them.
pub(super) struct Handlers(pub(super) Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn copy_handler(&self) -> Arc<impl CopyHandler> {
        Arc::new(NoopHandler)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(NoopHandler)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.0)
    }
}
