//! What belongs to one connection: its session, its place among the connections, and what its client was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::datatypes::Schema;
use async_trait::async_trait;
use model::{MemoryReservation, Principal};
use parking_lot::Mutex;
use pgwire::{
    api::{cancel::CancelHandler, portal::Format, results::FieldInfo},
    error::PgWireResult,
    messages::cancel::CancelRequest,
    types::format::FormatOptions,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    backend::Backend,
    cancel::{Cancels, Registration},
    fields,
    settings::PgSettings,
    statement_parser::StatementParser,
};
use crate::sql::{BYTEA_OUTPUT, EXTRA_FLOAT_DIGITS, INTERVAL_STYLE, Session, SqlService, Unread};

/// What is kept of a portal for as long as it is open.
pub(super) struct OpenPortal {
    /// What its parameters take.
    pub(super) _memory: MemoryReservation,
    /// What its rows leave out, once it was executed.
    pub(super) unread: Unread,
}

/// What the parts of one connection share.
pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    pub(super) parser: Arc<StatementParser>,
    pub(super) cancels: Arc<Cancels>,
    /// The places of all connections, and how many there are.
    pub(super) places: Arc<Semaphore>,
    pub(super) connections_max: usize,
    /// Its own place, from the moment that the client has said who it is.
    pub(super) place: Mutex<Option<OwnedSemaphorePermit>>,
    pub(super) prepared_statements_max: usize,
    /// The named prepared statements, to hold them to their limit.
    pub(super) statement_names: Mutex<BTreeSet<String>>,
    /// The portals that are open.
    pub(super) portals: Mutex<BTreeMap<String, OpenPortal>>,
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
        places: Arc<Semaphore>,
        settings: &PgSettings,
    ) -> Self {
        let session = Arc::new(sql.session(principal));
        Self {
            parser: Arc::new(StatementParser(Arc::clone(&session))),
            session,
            cancels,
            places,
            connections_max: settings.connections_max,
            place: Mutex::default(),
            prepared_statements_max: settings.prepared_statements_max,
            statement_names: Mutex::default(),
            portals: Mutex::default(),
            positions_told: Mutex::default(),
            registration: Mutex::default(),
        }
    }

    /// How the columns of rows are described and written, as the session's variables have it now.
    pub(super) fn fields(&self, columns: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
        let mut options = FormatOptions::default();
        options.interval_style = self.session.variable(INTERVAL_STYLE);
        options.bytea_output = self.session.variable(BYTEA_OUTPUT);
        options.extra_float_digits = self.session.variable(EXTRA_FLOAT_DIGITS).parse().unwrap_or(1);
        fields::fields(columns, format, Some(Arc::new(options)))
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

#[async_trait]
impl CancelHandler for Connection {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.cancels.cancel(&(request.pid, request.secret_key.to_bytes()));
    }
}
