//! [`StatementParser`]: prepares the statements of one connection for the extended protocol.

use std::sync::Arc;

use async_trait::async_trait;
use pgwire::{
    api::{ClientInfo, Type, portal::Format, results::FieldInfo, stmt::QueryParser},
    error::PgWireResult,
};
use sql::{SqlError, sqlstate};

use super::{error::wire_error, fields, parameters};
use crate::sql::{Prepared, Session};

/// Prepares statements for one connection.
pub(super) struct StatementParser(pub(super) Arc<Session>);

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let statements = self.0.parse(sql).map_err(wire_error)?;
        let statement = match statements.as_slice() {
            [] => return Ok(None),
            [statement] => statement,
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(wire_error(SqlError::new(sqlstate::SYNTAX_ERROR, message)));
            }
        };
        let types: Vec<_> = types.iter().map(|pg_type| pg_type.as_ref().and_then(parameters::arrow_type)).collect();
        self.0.prepare(statement, &types).await.map(Some).map_err(wire_error)
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        parameters::pg_types(statement)
    }

    fn get_result_schema(&self, statement: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let Some(columns) = statement.columns() else { return Ok(Vec::new()) };
        fields::fields(columns, format.unwrap_or(&Format::UnifiedText), None)
    }
}
