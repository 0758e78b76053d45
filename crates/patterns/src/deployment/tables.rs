//! Tables: a source of which the last record of each key counts, and a view of the same name that shows those.
//!
//! What must hold: both are there or neither is, after a crash too; a table is dropped as one, and not by its parts.

use model::{Error, Result};
use sql::{SourceDefinition, ViewDefinition};

use super::Deployment;
use crate::catalogue::StoredView;

impl Deployment {
    /// Creates a table, and its topic where that is missing.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the name is taken.
    pub async fn create_table(&self, table: SourceDefinition) -> Result<Vec<String>> {
        let _one_at_a_time = self.defining.lock().await;
        let (name, view) = (table.name.clone(), ViewDefinition::of_table(&table));
        self.begin_source(table).await?;
        match self.define_view(view).await {
            Ok(notices) => Ok(notices),
            Err(error) => {
                if let Err(error) = self.end_source(&name).await {
                    tracing::warn!(table = name, %error, "a table that was not created has left its source");
                }
                Err(error)
            }
        }
    }

    /// Drops a table with its state, and with `cascade` the views that read it; the topic and its records stay.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound), and [`Conflict`](model::ErrorKind::Conflict) naming a view that reads it.
    pub async fn drop_table(&self, name: &str, cascade: bool) -> Result<Vec<String>> {
        let _one_at_a_time = self.defining.lock().await;
        if !self.is_table(name) {
            return Err(Error::not_found(format!("there is no table {name}")));
        }
        let mut notices = self.end_view(name, cascade).await?;
        notices.extend(self.end_source(name).await?);
        Ok(notices)
    }

    /// Whether a name is that of a table.
    pub(crate) fn is_table(&self, name: &str) -> bool {
        self.sources.read().get(name).is_some_and(SourceDefinition::is_table)
    }

    /// Refuses what is meant for a source or view and names a table.
    pub(super) fn is_no_table(&self, name: &str) -> Result<()> {
        if !self.is_table(name) {
            return Ok(());
        }
        Err(Error::conflict(format!("{name} is a table")).with_hint(format!("DROP TABLE {name} drops it")))
    }

    /// The views of tables that a crash has left without one.
    pub(super) fn views_of_tables(&self, stored: &[StoredView]) -> Vec<StoredView> {
        let sources = self.sources.read();
        let lone =
            sources.values().filter(|source| source.is_table() && !stored.iter().any(|view| view.name == source.name));
        let view = |source: &SourceDefinition| {
            let id = self.topic_of(source).map(|topic| topic.id).unwrap_or_default();
            StoredView {
                name: source.name.clone(),
                version: 1,
                topic_ids: [(source.topic.to_string(), id)].into(),
                text: source.text.clone(),
                added_columns: [(source.name.clone(), source.added_columns)].into(),
                built: false,
            }
        };
        lone.map(view).collect()
    }
}
