//! `SELECT columns FROM view WHERE key = value`: one row by its key, without planning.
//!
//! What must hold: a statement is taken only when the answer is exactly what DataFusion would give. Whatever is in
//! doubt (another clause, a value that the key's type cannot hold, a float) is left to DataFusion.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{common::ScalarValue, sql::sqlparser::ast};

use super::{
    catalog::{CATALOG, SCHEMA},
    parser::identifier,
    placeholder::placeholder,
};
use crate::views::{Relation, Views};

/// A read of one row by its key.
#[derive(Debug)]
pub(super) struct PointRead {
    pub(super) relation: String,
    /// The columns of the relation when the statement was prepared.
    relation_schema: SchemaRef,
    /// The result's columns, as indices into the relation's.
    projection: Vec<usize>,
    pub(super) columns: SchemaRef,
    /// In the order of the key columns.
    key: Vec<KeyValue>,
    key_types: Vec<DataType>,
    limited_to_none: bool,
}

#[derive(Debug)]
enum KeyValue {
    /// `$n`, counted from 0.
    Parameter(usize),
    Literal(ScalarValue),
}

impl PointRead {
    /// Recognises a point read of a view that is served now.
    pub(super) fn recognise(tree: &ast::Statement, views: &Views) -> Option<Self> {
        let ast::Statement::Query(query) = tree else { return None };
        let ast::SetExpr::Select(select) = &*query.body else { return None };
        let [from] = select.from.as_slice() else { return None };
        let ast::TableFactor::Table { name, alias, .. } = &from.relation else { return None };
        let selection = select.selection.as_ref()?;
        let limit = match &query.limit_clause {
            None => None,
            Some(ast::LimitClause::LimitOffset { limit: Some(limit), offset: None, .. }) => Some(limit_of(limit)?),
            Some(_) => return None,
        };
        if !is_plain(query, select, name, alias.as_ref(), selection, limit) {
            return None;
        }
        let relation_name = relation_name(name)?;
        let relation = views.get(&relation_name)?;
        let qualifier = alias.as_ref().map_or_else(|| relation_name.clone(), |alias| identifier(&alias.name));
        let scope = Scope { qualifier, schema: relation.schema() };
        let key = scope.key(selection, &*relation)?;
        let (projection, columns) = scope.projection(&select.projection)?;
        let key_types = relation.key_columns().iter().map(|index| scope.schema.field(*index).data_type().clone());
        Some(Self {
            relation: relation_name,
            projection,
            columns,
            key,
            key_types: key_types.collect(),
            relation_schema: scope.schema,
            limited_to_none: limit == Some(0),
        })
    }

    /// The types of the parameters: each is of a key column's type.
    pub(super) fn parameters(&self, given: &[Option<DataType>]) -> Option<Vec<DataType>> {
        let numbered = self.key.iter().zip(&self.key_types).filter_map(|(value, data_type)| match value {
            KeyValue::Parameter(index) => Some((*index, data_type)),
            KeyValue::Literal(_) => None,
        });
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_by_key(|(index, _)| *index);
        // A number that is missing or is used twice is left to DataFusion.
        let in_order = numbered.iter().enumerate().all(|(place, (index, _))| place == *index);
        let given = |index: usize| given.get(index).cloned().flatten().filter(|data_type| *data_type != DataType::Null);
        in_order.then(|| numbered.into_iter().map(|(index, own)| given(index).unwrap_or_else(|| own.clone())).collect())
    }

    /// The key to look up. `None` where DataFusion has to answer.
    pub(super) fn key(&self, relation: &dyn Relation, parameters: &[ScalarValue]) -> Option<Lookup> {
        let schema = relation.schema();
        if !Arc::ptr_eq(&schema, &self.relation_schema) && schema != self.relation_schema {
            return None;
        }
        let mut key = Vec::with_capacity(self.key.len());
        for (value, data_type) in self.key.iter().zip(&self.key_types) {
            let value = match value {
                KeyValue::Parameter(index) => parameters.get(*index)?,
                KeyValue::Literal(value) => value,
            };
            // NULL equals nothing, not even NULL.
            if value.is_null() {
                return Some(Lookup::Nothing);
            }
            key.push(lossless(value, data_type)?);
        }
        Some(if self.limited_to_none { Lookup::Nothing } else { Lookup::Key(key) })
    }

    /// The result's columns of a row of the relation.
    pub(super) fn project(&self, row: &RecordBatch) -> Option<RecordBatch> {
        let columns = self.projection.iter().map(|index| row.columns().get(*index).map(Arc::clone));
        RecordBatch::try_new(Arc::clone(&self.columns), columns.collect::<Option<_>>()?).ok()
    }
}

/// What to look up.
pub(super) enum Lookup {
    /// The row with this key.
    Key(Vec<ScalarValue>),
    /// There can be no such row.
    Nothing,
}

/// Whether the statement has no clause besides the ones that are understood here. Written out again, those give the
/// statement; one more of whatever kind would not.
fn is_plain(
    query: &ast::Query,
    select: &ast::Select,
    name: &ast::ObjectName,
    alias: Option<&ast::TableAlias>,
    selection: &ast::Expr,
    limit: Option<u64>,
) -> bool {
    let items: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    let alias = alias.map_or_else(String::new, |alias| format!(" {alias}"));
    let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
    let plain = format!("SELECT {} FROM {name}{alias} WHERE {selection}{limit}", items.join(", "));
    query.to_string() == plain
}

fn limit_of(limit: &ast::Expr) -> Option<u64> {
    let ast::Expr::Value(value) = limit else { return None };
    let ast::Value::Number(number, false) = &value.value else { return None };
    number.parse().ok()
}

/// The relation's name where it is one of `public`.
fn relation_name(name: &ast::ObjectName) -> Option<String> {
    let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(identifier)).collect::<Option<_>>()?;
    match parts.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == SCHEMA => Some(name.clone()),
        [catalog, schema, name] if catalog == CATALOG && schema == SCHEMA => Some(name.clone()),
        _ => None,
    }
}

/// What a column's name may mean.
struct Scope {
    qualifier: String,
    schema: SchemaRef,
}

impl Scope {
    fn column(&self, expr: &ast::Expr) -> Option<usize> {
        let name = match expr {
            ast::Expr::Identifier(name) => name,
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, name] if identifier(qualifier) == self.qualifier => name,
                _ => return None,
            },
            _ => return None,
        };
        self.schema.index_of(&identifier(name)).ok()
    }

    /// The values of all key columns, each given exactly once.
    fn key(&self, selection: &ast::Expr, relation: &dyn Relation) -> Option<Vec<KeyValue>> {
        let mut equalities = Vec::new();
        self.equalities(selection, &mut equalities)?;
        let key_columns = relation.key_columns();
        if key_columns.is_empty() || equalities.len() != key_columns.len() {
            return None;
        }
        let value_of = |column: &usize| {
            let place = equalities.iter().position(|(own, _)| own == column)?;
            Some(equalities.swap_remove(place).1)
        };
        key_columns.iter().map(value_of).collect()
    }

    fn equalities(&self, expr: &ast::Expr, found: &mut Vec<(usize, KeyValue)>) -> Option<()> {
        match expr {
            ast::Expr::Nested(inner) => self.equalities(inner, found),
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
                self.equalities(left, found)?;
                self.equalities(right, found)
            }
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
                let equality = match (self.column(left), self.column(right)) {
                    (Some(column), None) => (column, value(right)?),
                    (None, Some(column)) => (column, value(left)?),
                    _ => return None,
                };
                found.push(equality);
                Some(())
            }
            _ => None,
        }
    }

    fn projection(&self, items: &[ast::SelectItem]) -> Option<(Vec<usize>, SchemaRef)> {
        if let [ast::SelectItem::Wildcard(options)] = items
            && options.to_string().is_empty()
        {
            return Some(((0..self.schema.fields().len()).collect(), Arc::clone(&self.schema)));
        }
        let (mut indices, mut fields): (Vec<usize>, Vec<Field>) = (Vec::new(), Vec::new());
        for item in items {
            let (expr, alias) = match item {
                ast::SelectItem::UnnamedExpr(expr) => (expr, None),
                ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(identifier(alias))),
                _ => return None,
            };
            let index = self.column(expr)?;
            let field = self.schema.field(index);
            let name = alias.unwrap_or_else(|| field.name().clone());
            // DataFusion refuses a name that is used twice.
            if fields.iter().any(|other| *other.name() == name) {
                return None;
            }
            fields.push(field.clone().with_name(name));
            indices.push(index);
        }
        Some((indices, Arc::new(Schema::new(fields))))
    }
}

fn value(expr: &ast::Expr) -> Option<KeyValue> {
    if let Some(index) = placeholder(expr) {
        return Some(KeyValue::Parameter(index.ok()? - 1));
    }
    let ast::Expr::Value(value) = expr else { return None };
    Some(KeyValue::Literal(match &value.value {
        ast::Value::Number(number, false) => ScalarValue::Int64(Some(number.parse().ok()?)),
        ast::Value::SingleQuotedString(text) => ScalarValue::Utf8(Some(text.clone())),
        ast::Value::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        _ => return None,
    }))
}

/// The value in the key's type, where nothing is lost and equality means the same in both.
pub(super) fn lossless(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    let own = value.data_type();
    if data_type.is_floating() || own.is_floating() {
        return None;
    }
    if own == *data_type {
        return Some(value.clone());
    }
    let cast = value.cast_to(data_type).ok().filter(|cast| !cast.is_null())?;
    // A text may be written in more than one way for one point in time; for the rest the way back is the proof.
    let text_of_time = data_type.is_temporal() && matches!(own, DataType::Utf8);
    let returns = || cast.cast_to(&own).is_ok_and(|back| back == *value);
    (text_of_time || returns()).then_some(cast)
}
