//! The simple protocol: a text of statements, answered one after the other.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::Sink;
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, PgWireConnectionState,
        portal::Format,
        query::{SimpleQueryHandler, send_ready_for_query},
        results::Response,
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, response::EmptyQueryResponse, simplequery::Query},
};
use sql::{SqlError, sqlstate};

use super::{backend::Backend, connection::Connection, error::wire_error, respond::respond};
use crate::sql::Prepared;

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        self.answer(client, &query.query).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Answers are sent as they come, so there is nothing left to hand back.
        self.answer(client, query).await.map(|()| Vec::new())
    }
}

impl Connection {
    async fn answer(&self, client: &mut impl Backend, text: &str) -> PgWireResult<()> {
        let statements = self.session.parse(text).map_err(wire_error)?;
        if statements.is_empty() {
            return client.feed_message(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await;
        }
        for statement in &statements {
            let prepared = self.session.prepare(statement, &[]).await.map_err(wire_error)?;
            self.execute(client, &prepared, &[], &Format::UnifiedText, true).await?;
        }
        Ok(())
    }

    /// Executes a statement and sends everything that it results in.
    pub(super) async fn execute(
        &self,
        client: &mut impl Backend,
        prepared: &Prepared,
        parameters: &[datafusion::common::ScalarValue],
        format: &Format,
        describe: bool,
    ) -> PgWireResult<()> {
        let outcome = self.outcome(client, prepared, parameters).await?;
        respond(self, client, outcome, format, describe).await
    }

    /// Executes a statement as far as the state of the transaction allows.
    pub(super) async fn outcome(
        &self,
        client: &impl Backend,
        prepared: &Prepared,
        parameters: &[datafusion::common::ScalarValue],
    ) -> PgWireResult<crate::sql::Outcome> {
        if !client.transaction_failed() {
            return self.session.execute(prepared, parameters).await.map_err(wire_error);
        }
        if !prepared.ends_transaction() {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            let error = SqlError::new(sqlstate::IN_FAILED_TRANSACTION, message).with_hint("ROLLBACK ends it");
            return Err(wire_error(error));
        }
        // Whatever it is called, the end of a failed transaction is a rollback.
        self.session.query("ROLLBACK", &[]).await.map_err(wire_error)
    }
}
