//! What the doors' parts need of a client, whatever pgwire's type for it.

use std::{fmt::Debug, future::Future};

use futures::{Sink, SinkExt};
use pgwire::{
    api::{ClientInfo, ClientPortalStore, results::Tag, store::PortalStore},
    error::{ErrorInfo, PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, response::TransactionStatus, startup::ParameterStatus},
};

/// A client that messages are sent to.
pub(super) trait Backend: Send {
    /// Puts a message into the buffer, which is sent when it is full or flushed.
    fn feed_message(&mut self, message: PgWireBackendMessage) -> impl Future<Output = PgWireResult<()>> + Send;

    /// Tells the value of a parameter.
    fn feed_parameter(&mut self, name: &str, value: String) -> impl Future<Output = PgWireResult<()>> + Send {
        let status = ParameterStatus::new(name.to_owned(), value);
        self.feed_message(PgWireBackendMessage::ParameterStatus(status))
    }

    /// Tells something that is no error.
    fn feed_notice(&mut self, notice: String) -> impl Future<Output = PgWireResult<()>> + Send {
        let mut notice = ErrorInfo::new("NOTICE".to_owned(), "00000".to_owned(), notice);
        notice.severity_nonlocalized = Some(notice.severity.clone());
        self.feed_message(PgWireBackendMessage::NoticeResponse(notice.into()))
    }

    /// Ends a statement with its command tag.
    fn feed_complete(&mut self, tag: Tag) -> impl Future<Output = PgWireResult<()>> + Send {
        self.feed_message(PgWireBackendMessage::CommandComplete(tag.into()))
    }

    /// Forgets a prepared statement.
    fn forget_statement(&self, name: &str);

    /// Closes all portals, as the end of a transaction does.
    fn close_portals(&self);

    /// Whether the transaction waits for its rollback.
    fn transaction_failed(&self) -> bool;

    /// Notes where the transaction is.
    fn set_transaction(&mut self, status: TransactionStatus);
}

impl<C> Backend for C
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::PortalStore: PortalStore,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    async fn feed_message(&mut self, message: PgWireBackendMessage) -> PgWireResult<()> {
        Ok(self.feed(message).await?)
    }

    fn forget_statement(&self, name: &str) {
        self.portal_store().rm_statement(name);
    }

    fn close_portals(&self) {
        self.portal_store().clear_portals();
    }

    fn transaction_failed(&self) -> bool {
        self.transaction_status() == TransactionStatus::Error
    }

    fn set_transaction(&mut self, status: TransactionStatus) {
        self.set_transaction_status(status);
    }
}
