#![doc = include_str!("../../../../docs/patterns/cqrs.md")]
//!
//! # In code
//! What it is: [`CommandSide`] and [`QuerySide`], the two halves as two types that share nothing but Positions.
//!
//! What must hold: the command side never reads a view, the query side never appends; each type has no field with
//! which it could.

use std::sync::Arc;

use eventstore::{Aggregates, CommandError, CommandOutcome, CommandRequest};
use model::{Positions, Principal, Result};
use serving::sql::{Outcome, SqlService};

/// Decides commands and appends events.
#[derive(Clone)]
pub struct CommandSide {
    aggregates: Arc<Aggregates>,
}

impl CommandSide {
    /// A command side over the deciders of `aggregates`.
    pub fn new(aggregates: Arc<Aggregates>) -> Self {
        Self { aggregates }
    }

    /// Handles one command. The outcome's Positions are what a query must have folded to see it.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] with the rule's name when the decider said no.
    pub async fn handle(
        &self,
        aggregate: &str,
        id: &str,
        command: CommandRequest,
    ) -> Result<CommandOutcome, CommandError> {
        self.aggregates.handle(aggregate, id, command).await
    }
}

/// Answers queries from views.
#[derive(Clone)]
pub struct QuerySide {
    sql: Arc<SqlService>,
}

impl QuerySide {
    /// A query side over the views that `sql` serves.
    pub fn new(sql: Arc<SqlService>) -> Self {
        Self { sql }
    }

    /// Answers `sql` from views that have folded at least `at_least`.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when a view does not get there in time.
    pub async fn query(&self, principal: &Principal, sql: &str, at_least: &Positions) -> Result<Outcome> {
        let session = self.sql.session(principal.clone());
        if !at_least.is_empty() {
            session.set_variable("fourfold.min_position", &at_least.to_string())?;
        }
        Ok(session.query(sql, &[]).await?)
    }
}
