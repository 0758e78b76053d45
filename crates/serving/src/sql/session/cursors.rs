//! Cursors in a session.

use std::sync::Arc;

use datafusion::{
    common::ScalarValue, execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::stream;
use sql::{SqlError, sqlstate};

use super::{Inner, execution::Read};
use crate::sql::{
    Outcome, Prepared,
    cursor::{Declaration, Fetch, OpenCursor},
};

impl Inner {
    pub(super) async fn declare(
        &self,
        declaration: &Declaration,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        self.refuse_unwritten(&declaration.query)?;
        if !declaration.hold && self.transaction.lock().is_none() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(SqlError::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message)
                .with_hint("BEGIN first, or declare it WITH HOLD"));
        }
        let Read { schema, stream, positions, unread } =
            self.guard().run(Box::pin(self.read(&declaration.query, prepared, parameters))).await?;
        let cursor = OpenCursor::new(stream, schema, positions, unread, declaration.hold);
        self.cursors.lock().open(&declaration.name, cursor, self.service.settings.cursors_max)?;
        Ok(Outcome::done("DECLARE CURSOR"))
    }

    pub(super) async fn fetch(&self, fetch: &Fetch) -> Result<Outcome, SqlError> {
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
        let unread = cursor.unread_at_end();
        self.note_positions(&positions);
        self.cursors.lock().put_back(&fetch.name, cursor);
        let stream = guard.stream(rows?, Arc::clone(&schema), self.service.metrics.clone());
        Ok(Outcome::Rows { schema, stream, positions, tag: "FETCH", unread })
    }
}
