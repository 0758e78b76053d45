//! Columns that sources and tables get while views read them.
//!
//! What must hold: a view goes on with the columns that its sources had when it was defined, until it is defined anew: nothing of
//! it is built again, and no record is left out for a value that it does not read. What a table shows has all of its columns:
//! it is built again beside the old one, with the views over it, which keep theirs.

use model::{Access, Error, Principal, Resource, Result, principal::authorise};
use serving::sql::Defined;
use sql::{AddedColumn, SourceDefinition, SqlError, ViewDefinition, sql_error, sqlstate};

use super::Deployment;

impl Deployment {
    /// Adds a column to a source or table.
    ///
    /// # Errors
    /// [`SqlError`] with the place in the statement: when there is no such source, or the column is there.
    pub(crate) async fn add_column(&self, principal: &Principal, added: &AddedColumn) -> Result<Defined, SqlError> {
        let _one_at_a_time = self.defining.lock().await;
        let done = |notices: Vec<String>| Defined {
            tag: if added.says_table { "ALTER TABLE" } else { "ALTER SOURCE" }.to_owned(),
            notices,
        };
        let failed = |error: Error| sql_error(&error);
        let Some(source) = self.source_to_alter(added)? else {
            return Ok(done(vec![format!("relation \"{}\" does not exist, skipping", added.relation)]));
        };
        authorise(principal, Access::Alter, Resource::Topic(source.topic.as_str())).map_err(failed)?;
        let with_column = match source.with_column(added) {
            Err(error) if added.if_not_exists && source.columns.field_with_name(&added.name).is_ok() => {
                return Ok(done(vec![format!("{}, skipping", error.message)]));
            }
            with_column => with_column?,
        };
        if with_column.is_table() {
            authorise(principal, Access::Alter, Resource::View(&source.name)).map_err(failed)?;
            return self.replace_table(with_column).await.map(done).map_err(failed);
        }
        self.catalogue.put_source(&with_column.name, &with_column.text).map_err(failed)?;
        self.sources.write().insert(with_column.name.clone(), with_column);
        Ok(done(Vec::new()))
    }

    /// The source that a statement means; `None` where it may be missing, and is.
    fn source_to_alter(&self, added: &AddedColumn) -> Result<Option<SourceDefinition>, SqlError> {
        let AddedColumn { relation, relation_position, .. } = added;
        let refused = |code, message: String, hint: &str| {
            Err(SqlError::new(code, message).at(*relation_position).with_hint(hint))
        };
        match self.sources.read().get(relation) {
            Some(source) if source.is_table() && !added.says_table => {
                let hint = format!("ALTER TABLE {relation} ADD COLUMN adds one to a table");
                refused(sqlstate::WRONG_OBJECT_TYPE, format!("\"{relation}\" is a table"), &hint)
            }
            Some(source) => Ok(Some(source.clone())),
            None if self.running.read().contains_key(relation) => {
                let hint = "CREATE OR REPLACE MATERIALIZED VIEW gives it other columns";
                refused(sqlstate::WRONG_OBJECT_TYPE, format!("\"{relation}\" is a materialized view"), hint)
            }
            None if added.if_exists => Ok(None),
            None => {
                let message = format!("relation \"{relation}\" does not exist");
                refused(sqlstate::UNDEFINED_TABLE, message, "SHOW SOURCES lists what there is")
            }
        }
    }

    /// Builds what a table shows with its new columns, and the views that read it, beside what there is; then swaps.
    async fn replace_table(&self, table: SourceDefinition) -> Result<Vec<String>> {
        let mut sources = self.sources();
        sources.iter_mut().filter(|source| source.name == table.name).for_each(|source| *source = table.clone());
        let mut view = ViewDefinition::of_table(&table);
        view.fix_columns(&sources);
        let mut definitions = self.definitions();
        definitions.insert(view.name.clone(), view);
        let groups = self.groups(&definitions, [table.name.as_str()], &sources)?;
        let (target, mut notices) = self.change_with(Some(table), groups, &[], None).await?;
        notices.push(format!("the table was built anew by replay up to {target}, with the views that read it"));
        Ok(notices)
    }
}
