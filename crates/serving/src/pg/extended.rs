//! The extended protocol: statements are prepared, bound to parameters, described and executed, whole or in portions.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState,
        portal::{Format, Portal, PortalExecutionState},
        query::ExtendedQueryHandler,
        results::{QueryResponse, Response, Tag},
        stmt::StoredStatement,
        store::{Entry, PortalStore},
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        extendedquery::{
            Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended, Sync,
            TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
        },
        response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus},
    },
};
use sql::{SqlError, sqlstate};

use super::{
    backend::Backend,
    connection::{Connection, OpenPortal},
    error::wire_error,
    parameters,
    respond::{description, portal_rows, respond, tell_unread},
    statement_parser::StatementParser,
};
use crate::sql::{Outcome, Prepared, Unread};

/// What a portal takes besides its name and its parameters.
const PORTAL_BYTES: usize = 1024;

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Prepared;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let statement = StoredStatement::parse(client, &message, self.query_parser()).await?;
        if message.name.is_some() {
            self.count_statement(&name)?;
        }
        match statement {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        client.feed_message(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement_name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        match client.portal_store().get_statement(statement_name) {
            Some(Entry::Value(statement)) => {
                check_bind(&message, &statement.statement).map_err(wire_error)?;
                self.reserve_portal(&message)?;
                client.portal_store().put_portal(Arc::new(Portal::try_new(&message, statement)?));
            }
            Some(Entry::Empty) if message.parameters.is_empty() => {
                client.portal_store().put_empty_portal(message.portal_name.as_deref().unwrap_or(DEFAULT_NAME));
            }
            Some(Entry::Empty) => return Err(wire_error(wrong_count(message.parameters.len(), 0))),
            None => return Err(PgWireError::StatementNotFound(statement_name.to_owned())),
        }
        client.feed_message(PgWireBackendMessage::BindComplete(BindComplete::new())).await
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        // Zero is all; the protocol has no negative counts.
        let rows_max = usize::try_from(message.max_rows).unwrap_or(0);
        client.set_state(PgWireConnectionState::QueryInProgress);
        match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => self.execute_portal(client, &portal, rows_max).await?,
            Some(Entry::Empty) => {
                client.feed_message(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A cursor of SQL is a portal too, as drivers with server-side cursors know.
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = message.name.as_deref()
            && client.portal_store().get_portal(name).is_none()
            && let Some(columns) = self.session.cursor_columns(name)
        {
            let fields = self.fields(&columns, &Format::UnifiedText)?;
            return client.feed_message(PgWireBackendMessage::RowDescription(description(&fields))).await;
        }
        self._on_describe(client, message).await
    }

    async fn on_sync<C>(&self, client: &mut C, _message: Sync) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        // Without a transaction block, what belongs together ends here, and its portals with it.
        if status == TransactionStatus::Idle {
            client.portal_store().clear_portals();
            self.portals.lock().clear();
        } else {
            client.portal_store().rm_portal(DEFAULT_NAME);
            self.portals.lock().remove(DEFAULT_NAME);
        }
        client.send(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status))).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.statement_names.lock().remove(name);
                client.portal_store().rm_statement(name);
            }
            TARGET_TYPE_BYTE_PORTAL => {
                client.portal_store().rm_portal(name);
                self.portals.lock().remove(name);
            }
            other => return Err(PgWireError::InvalidTargetType(other)),
        }
        client.feed_message(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + std::marker::Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Answers are sent as they come, so there is nothing left to hand back.
        self.execute_portal(client, portal, max_rows).await.map(|()| Response::EmptyQuery)
    }
}

impl Connection {
    /// Executes a portal, or goes on with it; `rows_max` zero is all rows.
    async fn execute_portal(
        &self,
        client: &mut impl Backend,
        portal: &Portal<Prepared>,
        rows_max: usize,
    ) -> PgWireResult<()> {
        let state = portal.state();
        let mut state = state.lock().await;
        if let PortalExecutionState::Initial = &*state {
            let prepared = &portal.statement.statement;
            let values = parameters::values(portal, prepared)?;
            *state = PortalExecutionState::Finished;
            match self.outcome(client, prepared, &values).await? {
                Outcome::Rows { schema, stream, tag, unread, .. } if rows_max > 0 => {
                    self.tell_positions(client).await?;
                    if let Some(open) = self.portals.lock().get_mut(&portal.name) {
                        open.unread = unread;
                    }
                    let fields = Arc::new(self.fields(&schema, &portal.result_column_format)?);
                    *state = PortalExecutionState::Suspended(portal_rows(self, stream, &fields, tag));
                }
                outcome => return respond(self, client, outcome, &portal.result_column_format, false).await,
            }
        }
        match &mut *state {
            PortalExecutionState::Suspended(rows) => {
                let unread = self.portals.lock().get(&portal.name).map(|open| open.unread.clone());
                if send_portion(client, rows, rows_max, &unread.unwrap_or_default()).await? {
                    *state = PortalExecutionState::Finished;
                }
                Ok(())
            }
            _ => client.feed_complete(Tag::new("SELECT").with_rows(0)).await,
        }
    }

    /// Takes what the parameters of a portal need from the budget of memory, until it is closed.
    fn reserve_portal(&self, message: &Bind) -> PgWireResult<()> {
        let name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let bytes: usize = message.parameters.iter().flatten().map(|value| value.len()).sum();
        let mut portals = self.portals.lock();
        // The one that had the name goes first.
        portals.remove(name);
        let reservation = self.session.reserve("portals", bytes + name.len() + PORTAL_BYTES).map_err(wire_error)?;
        portals.insert(name.to_owned(), OpenPortal { _memory: reservation, unread: Unread::default() });
        Ok(())
    }

    /// Holds the named statements to their limit.
    fn count_statement(&self, name: &str) -> PgWireResult<()> {
        let mut names = self.statement_names.lock();
        if names.len() >= self.prepared_statements_max && !names.contains(name) {
            let message = format!("there are {} prepared statements, the most a connection may have", names.len());
            let error = SqlError::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message);
            return Err(wire_error(error.with_hint("DEALLOCATE those that are not needed")));
        }
        names.insert(name.to_owned());
        Ok(())
    }
}

/// Sends up to `rows_max` rows, and with the last of them what they leave out; whether they were the last.
async fn send_portion(
    client: &mut impl Backend,
    rows: &mut QueryResponse,
    rows_max: usize,
    unread: &Unread,
) -> PgWireResult<bool> {
    let tag = rows.command_tag().to_owned();
    let mut count = 0;
    while rows_max == 0 || count < rows_max {
        let Some(row) = rows.data_rows().next().await else {
            tell_unread(client, unread).await?;
            client.feed_complete(Tag::new(&tag).with_rows(count)).await?;
            return Ok(true);
        };
        client.feed_message(PgWireBackendMessage::DataRow(row?)).await?;
        count += 1;
    }
    client.feed_message(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?;
    Ok(false)
}

/// Whether the parts of a bind message fit each other and the statement.
fn check_bind(message: &Bind, prepared: &Prepared) -> Result<(), SqlError> {
    let needed = prepared.parameters().len();
    if message.parameters.len() != needed {
        return Err(wrong_count(message.parameters.len(), needed));
    }
    let columns = prepared.columns().map_or(0, |columns| columns.fields().len());
    let fits = |formats: &[i16], count: usize| formats.len() <= 1 || formats.len() == count;
    if !fits(&message.parameter_format_codes, needed) {
        let message = format!("bind message has {} parameter formats", message.parameter_format_codes.len());
        return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, format!("{message} but {needed} parameters")));
    }
    if !fits(&message.result_column_format_codes, columns) {
        let message = format!("bind message has {} result formats", message.result_column_format_codes.len());
        return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, format!("{message} but query has {columns} columns")));
    }
    Ok(())
}

fn wrong_count(given: usize, needed: usize) -> SqlError {
    let message = format!("bind message supplies {given} parameters, but the prepared statement requires {needed}");
    SqlError::new(sqlstate::PROTOCOL_VIOLATION, message)
}
