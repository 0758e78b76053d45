//! `INSERT`, `UPDATE` and `DELETE` as queries for the rows that are to be written.
//!
//! What it is not: it reads no table and writes no record. Whoever carries a [`Write`] out runs its query over what the table shows,
//! with all that was written before in it, and appends what comes of it.
//!
//! What must hold: every clause is carried out or refused by name.

use std::{cmp::Ordering, collections::BTreeSet, ops::ControlFlow};

use sqlparser::{
    ast::{
        Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName,
        ObjectNamePart, OnConflictAction, OnInsert, Parens, Query, SetExpr, Statement, TableFactor, TableObject,
        TableWithJoins, Update, Values,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use crate::{
    SourceDefinition, SqlError, folded, relations_read, rewrite, sqlstate, syntax_error, tree::visit_expressions_mut,
    type_name,
};

/// The last column of a write's query where conflicts matter: whether a row of the key is there.
const EXISTS: &str = "_exists";

/// What is written where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The query for the rows: all columns of the target, or those of its key where rows are deleted; then, where conflicts
    /// matter, whether a row of the key is there.
    pub query: String,
    /// What the statement itself reads: not the rows that it only meets by their key.
    pub reads: BTreeSet<String>,
    /// What is done with the rows.
    pub verb: Verb,
    /// What becomes of a row whose key is there.
    pub conflict: Conflict,
}

/// What is done with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// They are new.
    Insert,
    /// They take the place of others.
    Update,
    /// They are gone.
    Delete,
}

/// What becomes of a row whose key is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is what is meant: there is no column [`EXISTS`].
    Meant,
    /// Nothing is written, and that is an error.
    Refused,
    /// It is passed over.
    PassedOver,
    /// It is written.
    Replaced,
}

/// A statement that writes, before its target is known.
#[derive(Clone, Debug)]
pub struct WriteStatement {
    target: String,
    statement: Statement,
}

impl WriteStatement {
    /// Reads `INSERT`, `UPDATE` or `DELETE`.
    ///
    /// # Errors
    /// [`SqlError`] when it is none, or has what is not built.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|error| syntax_error(&error, text))?;
        let Ok([mut statement]) = <[Statement; 1]>::try_from(parsed) else {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: one statement is expected"));
        };
        rewrite(&mut statement)?;
        let target = match &statement {
            Statement::Insert(insert) => match &insert.table {
                TableObject::TableName(name) => name_of(name),
                other => return Err(SqlError::unsupported(format!("INSERT INTO {other}"))),
            },
            Statement::Update(update) => table_of(&update.table)?,
            Statement::Delete(delete) => match &delete.from {
                FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => match tables.as_slice() {
                    [table] => table_of(table)?,
                    _ => return Err(SqlError::unsupported("DELETE from several tables")),
                },
            },
            _ => return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "INSERT, UPDATE or DELETE is expected")),
        };
        Ok(Self { target, statement })
    }

    /// The source or table that is written.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Its first word.
    pub fn verb(&self) -> &'static str {
        match &self.statement {
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            _ => "DELETE",
        }
    }

    /// The rows that are to be written into `target`, as a query.
    ///
    /// # Errors
    /// [`SqlError`] for columns that the target has not, and for what it does not take.
    pub fn write(&self, target: &SourceDefinition) -> Result<Write, SqlError> {
        match &self.statement {
            Statement::Insert(insert) => inserted(insert, target),
            Statement::Update(update) => updated(update, target),
            Statement::Delete(delete) => deleted(delete, target),
            _ => Err(SqlError::new(sqlstate::INTERNAL_ERROR, "a statement that writes nothing")),
        }
    }
}

fn inserted(insert: &Insert, target: &SourceDefinition) -> Result<Write, SqlError> {
    refuse("RETURNING", insert.returning.is_some())?;
    refuse("an alias of what is inserted into", insert.table_alias.is_some())?;
    let Some(source) = &insert.source else { return Err(SqlError::unsupported("INSERT without VALUES or a query")) };
    let mut given = match insert.columns.as_slice() {
        [] => (0..target.columns.fields().len()).collect(),
        columns => columns.iter().map(|name| column_of(target, &name_of(name))).collect::<Result<Vec<_>, _>>()?,
    };
    let source = match values_of(source) {
        Some(values) => values_as_columns(values, target, &mut given, insert.columns.is_empty())?,
        None => source.to_string(),
    };
    let reads = relations_read(&source)?;
    if given.iter().collect::<BTreeSet<_>>().len() < given.len() {
        return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, "a column is inserted into twice"));
    }
    let names: Vec<String> = given.iter().map(|column| quoted(target, *column)).collect();
    let cast = |column: usize| {
        let value =
            if given.contains(&column) { format!("given.{}", quoted(target, column)) } else { "NULL".to_owned() };
        format!("{} AS {}", typed(target, column, &value), quoted(target, column))
    };
    let all: Vec<String> = (0..target.columns.fields().len()).map(cast).collect();
    let rows = format!("SELECT {} FROM ({source}) AS given ({})", all.join(", "), names.join(", "));
    if !target.is_table() {
        refuse("ON CONFLICT of a source, whose records are all kept,", insert.on.is_some())?;
        return Ok(Write { query: rows, reads, verb: Verb::Insert, conflict: Conflict::Meant });
    }
    let (conflict, values) = on_conflict(insert.on.as_ref(), target)?;
    let table = quote(&target.name);
    let keys: Vec<String> = target.key.iter().map(|column| quoted(target, *column)).collect();
    let meets: Vec<String> = keys.iter().map(|key| format!("{table}.{key} = excluded.{key}")).collect();
    let exists = format!("{table}.{} IS NOT NULL", keys[0]);
    let shown = values.iter().enumerate().map(|(column, value)| {
        let name = quoted(target, column);
        match value {
            None => format!("excluded.{name} AS {name}"),
            Some(value) => {
                let value = typed(target, column, value);
                format!("CASE WHEN {exists} THEN {value} ELSE excluded.{name} END AS {name}")
            }
        }
    });
    let query = format!(
        "SELECT {}, {exists} AS {} FROM ({rows}) AS excluded LEFT JOIN {table} ON {}",
        shown.collect::<Vec<_>>().join(", "),
        quote(EXISTS),
        meets.join(" AND ")
    );
    Ok(Write { query, reads, verb: Verb::Insert, conflict })
}

/// The rows of a query that is nothing but `VALUES`.
fn values_of(query: &Query) -> Option<&Values> {
    match query {
        Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } => match &**body {
            SetExpr::Values(values) => Some(values),
            _ => None,
        },
        _ => None,
    }
}

/// `VALUES` of which each value is of the type of its column, as it would be by itself. Without a list of columns the first
/// ones are meant.
fn values_as_columns(
    values: &Values,
    target: &SourceDefinition,
    given: &mut Vec<usize>,
    may_be_fewer: bool,
) -> Result<String, SqlError> {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    if may_be_fewer && width < given.len() {
        given.truncate(width);
    }
    let row = |row: &Parens<Vec<Expr>>| {
        if row.content.len() != width {
            let message = "VALUES lists must all be the same length";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        let value = |(value, column): (&Expr, &usize)| match value {
            // There are no defaults but NULL.
            Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default") => {
                typed(target, *column, "NULL")
            }
            value => typed(target, *column, &value.to_string()),
        };
        let values: Vec<String> = row.content.iter().zip(given.iter()).map(value).collect();
        Ok(format!("({})", values.join(", ")))
    };
    match width.cmp(&given.len()) {
        Ordering::Greater => {
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, "INSERT has more expressions than target columns"))
        }
        Ordering::Less => Err(SqlError::new(sqlstate::SYNTAX_ERROR, "INSERT has more target columns than expressions")),
        Ordering::Equal => {
            let rows = values.rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("VALUES {}", rows.join(", ")))
        }
    }
}

/// What becomes of rows whose key is there, and what each column is then; `None` is the value that is inserted.
fn on_conflict(on: Option<&OnInsert>, target: &SourceDefinition) -> Result<(Conflict, Vec<Option<String>>), SqlError> {
    let inserted = vec![None; target.columns.fields().len()];
    let conflict = match on {
        None => return Ok((Conflict::Refused, inserted)),
        Some(OnInsert::OnConflict(conflict)) => conflict,
        Some(_) => return Err(SqlError::unsupported("ON DUPLICATE KEY")),
    };
    match &conflict.conflict_target {
        None => {}
        Some(ConflictTarget::Columns(columns)) => {
            let named: BTreeSet<usize> = columns
                .iter()
                .map(|name| column_of(target, &folded(&name.value, name.quote_style.is_some())))
                .collect::<Result<_, _>>()?;
            if named != target.key.iter().copied().collect() {
                let message = "there is no unique constraint on the columns of ON CONFLICT but the primary key";
                return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
            }
        }
        Some(ConflictTarget::OnConstraint(_)) => return Err(SqlError::unsupported("ON CONFLICT ON CONSTRAINT")),
    }
    let update = match &conflict.action {
        OnConflictAction::DoNothing => return Ok((Conflict::PassedOver, inserted)),
        OnConflictAction::DoUpdate(update) => update,
    };
    refuse("WHERE of DO UPDATE", update.selection.is_some())?;
    let set = assigned(&update.assignments, target)?;
    let kept = |column: usize| format!("{}.{}", quote(&target.name), quoted(target, column));
    let values = set.into_iter().enumerate().map(|(column, value)| Some(value.unwrap_or_else(|| kept(column))));
    Ok((Conflict::Replaced, values.collect()))
}

fn updated(update: &Update, target: &SourceDefinition) -> Result<Write, SqlError> {
    only_tables("UPDATE", target)?;
    refuse("RETURNING", update.returning.is_some())?;
    refuse("UPDATE with FROM", update.from.is_some())?;
    refuse("ORDER BY or LIMIT of UPDATE", !update.order_by.is_empty() || update.limit.is_some())?;
    let set = assigned(&update.assignments, target)?;
    let shown = set.iter().enumerate().map(|(column, value)| {
        let name = quoted(target, column);
        match value {
            None => name,
            Some(value) => format!("{} AS {name}", typed(target, column, value)),
        }
    });
    let (shown, table) = (shown.collect::<Vec<_>>().join(", "), quote(&target.name));
    let query = format!("SELECT {shown} FROM {table}{}", condition(update.selection.as_ref()));
    Ok(Write { reads: relations_read(&query)?, query, verb: Verb::Update, conflict: Conflict::Meant })
}

fn deleted(delete: &Delete, target: &SourceDefinition) -> Result<Write, SqlError> {
    only_tables("DELETE", target)?;
    refuse("RETURNING", delete.returning.is_some())?;
    refuse("DELETE with USING", delete.using.is_some())?;
    refuse("ORDER BY or LIMIT of DELETE", !delete.order_by.is_empty() || delete.limit.is_some())?;
    let keys: Vec<String> = target.key.iter().map(|column| quoted(target, *column)).collect();
    let query =
        format!("SELECT {} FROM {}{}", keys.join(", "), quote(&target.name), condition(delete.selection.as_ref()));
    Ok(Write { reads: relations_read(&query)?, query, verb: Verb::Delete, conflict: Conflict::Meant })
}

/// What each column is set to, if it is. Columns without a qualifier are those of the table.
fn assigned(assignments: &[Assignment], target: &SourceDefinition) -> Result<Vec<Option<String>>, SqlError> {
    let mut values: Vec<Option<String>> = vec![None; target.columns.fields().len()];
    for assignment in assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(SqlError::unsupported("SET of several columns in parentheses"));
        };
        let column = column_of(target, &name_of(name))?;
        if target.key.contains(&column) {
            let error =
                SqlError::unsupported(format!("SET of {}, which is of the primary key,", quoted(target, column)));
            return Err(error.with_hint("delete the row, and insert one with the other key"));
        }
        let mut value = assignment.value.clone();
        let _: ControlFlow<()> = visit_expressions_mut(&mut value, |expression| {
            if let Expr::Identifier(name) = expression {
                *expression = Expr::CompoundIdentifier(vec![Ident::with_quote('"', &target.name), name.clone()]);
            }
            ControlFlow::Continue(())
        });
        if values[column].replace(value.to_string()).is_some() {
            let message = format!("column {} is set twice", quoted(target, column));
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
    }
    Ok(values)
}

fn condition(selection: Option<&Expr>) -> String {
    selection.map_or_else(String::new, |condition| format!(" WHERE {condition}"))
}

fn typed(target: &SourceDefinition, column: usize, value: &str) -> String {
    format!("CAST({value} AS {})", type_name(target.columns.field(column).data_type()))
}

fn only_tables(verb: &str, target: &SourceDefinition) -> Result<(), SqlError> {
    if target.is_table() {
        return Ok(());
    }
    let error = SqlError::unsupported(format!("{verb} of source {}", target.name));
    Err(error.with_hint("the records of a source stay; rows of a CREATE TABLE can be changed"))
}

fn refuse(what: &str, is_there: bool) -> Result<(), SqlError> {
    if is_there { Err(SqlError::unsupported(what)) } else { Ok(()) }
}

fn column_of(target: &SourceDefinition, name: &str) -> Result<usize, SqlError> {
    target.columns.index_of(name).map_err(|_| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.name);
        let names: Vec<&str> = target.columns.fields().iter().map(|field| field.name().as_str()).collect();
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message).with_hint(format!("the columns are: {}", names.join(", ")))
    })
}

fn table_of(table: &TableWithJoins) -> Result<String, SqlError> {
    match (&table.relation, table.joins.as_slice()) {
        (TableFactor::Table { name, alias: None, args: None, .. }, []) => Ok(name_of(name)),
        _ => Err(SqlError::unsupported("UPDATE or DELETE of anything but a table by its name")),
    }
}

fn name_of(name: &ObjectName) -> String {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(name)) => folded(&name.value, name.quote_style.is_some()),
        _ => name.to_string(),
    }
}

fn quoted(target: &SourceDefinition, column: usize) -> String {
    quote(target.columns.field(column).name())
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
