//! Subqueries that answer with one value and look at the query around them.
//!
//! DataFusion plans them where they aggregate and meet the outer query in equalities; the library would replace them by
//! NULL. Those that can be planned are set aside before the library comes, and put back after it.

use std::{collections::BTreeSet, ops::ControlFlow};

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableFactor},
    parser::ParserError,
};
use sql::{Tree, visit_expressions, visit_expressions_mut};

use super::{expression, parse_query};

/// The call that stands for a subquery while it is set aside; its argument is which.
const MARK: &str = "fourfold_set_aside";

const AGGREGATES: &[&str] =
    &["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_and", "bool_or", "every"];

/// Takes the subqueries out, each rewritten by itself.
pub(super) fn set_aside(statement: &mut Statement) -> Result<Vec<Expr>, ParserError> {
    let mut kept = Vec::new();
    let walked = visit_expressions_mut(statement, |expr| {
        let Expr::Subquery(query) = &*expr else { return ControlFlow::Continue(()) };
        if let Some(base_type) = base_type_by_recursion(query) {
            *expr = base_type;
            return ControlFlow::Continue(());
        }
        if !can_be_planned(query) {
            return ControlFlow::Continue(());
        }
        let rewritten = aggregated(query).and_then(|query| parse_query(&Statement::Query(Box::new(query))));
        let mut rewritten = match rewritten {
            Ok(Statement::Query(query)) => Expr::Subquery(query),
            Ok(_) => return ControlFlow::Continue(()),
            Err(error) => return ControlFlow::Break(error),
        };
        match expression(&format!("{MARK}({})", kept.len())) {
            Ok(mark) => *expr = mark,
            Err(error) => return ControlFlow::Break(error),
        }
        // Those within it come first.
        put_back(&mut rewritten, &kept);
        kept.push(rewritten);
        ControlFlow::Continue(())
    });
    match walked {
        ControlFlow::Continue(()) => Ok(kept),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Puts the subqueries where they were.
pub(super) fn put_back(tree: &mut impl Tree, kept: &[Expr]) {
    if kept.is_empty() {
        return;
    }
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions_mut(tree, |expr| {
        if let Expr::Function(function) = &*expr
            && function.name.to_string() == MARK
            && let Some(index) = function.args.to_string().trim_matches(['(', ')']).parse::<usize>().ok()
            && let Some(subquery) = kept.get(index)
        {
            *expr = subquery.clone();
        }
        ControlFlow::Continue(())
    });
}

/// Whether all that a subquery has to do with the query around it are equalities in its `WHERE`.
fn can_be_planned(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if !plain || query.order_by.is_some() || select.projection.len() != 1 || select.having.is_some() {
        return false;
    }
    let Some(own) = own_names(select) else { return false };
    let Some(condition) = &select.selection else { return false };
    let mut conditions = Vec::new();
    conjuncts(condition, &mut conditions);
    let (outer, inner): (Vec<&Expr>, Vec<&Expr>) = conditions.into_iter().partition(|part| looks_outside(*part, &own));
    // What stands elsewhere is the subquery's own.
    let mut rest = select.clone();
    rest.selection = None;
    !outer.is_empty()
        && outer.iter().all(|part| matches!(part, Expr::BinaryOp { op: BinaryOperator::Eq, .. }))
        && !inner.iter().any(|part| has_subquery(part))
        && !looks_outside(&*rest, &own)
}

/// By what names a query knows its tables; `None` where one of them is more than a table.
fn own_names(select: &Select) -> Option<BTreeSet<String>> {
    let mut own = BTreeSet::new();
    let tables = select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
    for table in tables {
        let TableFactor::Table { name, alias, args: None, .. } = table else { return None };
        own.insert(match alias {
            Some(alias) => alias.name.value.to_lowercase(),
            None => last(name)?.value.to_lowercase(),
        });
    }
    (!own.is_empty()).then_some(own)
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last()?.as_ident()
}

fn conjuncts<'a>(expr: &'a Expr, found: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, found);
            conjuncts(right, found);
        }
        Expr::Nested(inner) => conjuncts(inner, found),
        other => found.push(other),
    }
}

/// Whether a column is named that belongs to another table.
fn looks_outside(tree: &impl Tree, own: &BTreeSet<String>) -> bool {
    visit_expressions(tree, |expr| match expr {
        Expr::CompoundIdentifier(parts)
            if parts.first().is_some_and(|table| !own.contains(&table.value.to_lowercase())) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn has_subquery(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// The same query with its value in an aggregate: PostgreSQL refuses more than one row, so the least is the value.
fn aggregated(query: &Query) -> Result<Query, ParserError> {
    let mut query = query.clone();
    let SetExpr::Select(select) = &mut *query.body else { return Ok(query) };
    let Some(SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }) =
        select.projection.first_mut()
    else {
        return Ok(query);
    };
    let is_aggregate = |expr: &Expr| {
        matches!(expr, Expr::Function(function) if last(&function.name)
            .is_some_and(|name| AGGREGATES.contains(&name.value.to_lowercase().as_str())))
    };
    if !is_aggregate(value) {
        *value = expression(&format!("min({value})"))?;
    }
    Ok(query)
}

/// `WITH RECURSIVE typebases ...`, by which asyncpg goes from a domain down to its base type. No domain here is over
/// another one, so it is one step.
fn base_type_by_recursion(query: &Query) -> Option<Expr> {
    let with = query.with.as_ref().filter(|with| with.recursive)?;
    let [table] = with.cte_tables.as_slice() else { return None };
    let SetExpr::SetOperation { left, .. } = &*table.query.body else { return None };
    let SetExpr::Select(first) = &**left else { return None };
    let (
        Some(SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(column), .. }),
        Some(Expr::BinaryOp { op: BinaryOperator::Eq, right, .. }),
    ) = (first.projection.first(), &first.selection)
    else {
        return None;
    };
    let Expr::CompoundIdentifier(outer) = &**right else { return None };
    let column = column.last().filter(|column| column.value == "typbasetype")?;
    Some(Expr::CompoundIdentifier(vec![outer.first()?.clone(), column.clone()]))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn subqueries_are_set_aside_where_they_can_be_planned() {
        let cases = [
            ("SELECT (SELECT a FROM pg_range r WHERE r.b = t.b) FROM pg_type t", 1),
            ("SELECT (SELECT a FROM pg_range WHERE b = t.b AND c > 1) FROM pg_type t", 1),
            ("SELECT 1 FROM pg_type t WHERE t.c = (SELECT count(*) FROM pg_range r WHERE r.b = t.b)", 1),
            ("SELECT (SELECT a FROM pg_range r WHERE r.b < t.b) FROM pg_type t", 0),
            ("SELECT (SELECT a FROM pg_range r WHERE r.b = t.b AND t.c) FROM pg_type t", 0),
            ("SELECT (SELECT t.a FROM pg_range r WHERE r.b = t.b) FROM pg_type t", 0),
            ("SELECT (SELECT a FROM pg_range r WHERE r.b = t.b LIMIT 1) FROM pg_type t", 0),
            ("SELECT (SELECT a FROM pg_range r WHERE r.b = 1) FROM pg_type t", 0),
        ];
        for (text, expected) in cases {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0);
            let before = statement.clone();
            let kept = set_aside(&mut statement).unwrap();
            assert_eq!(kept.len(), expected, "{text}");
            assert_eq!(statement == before, expected == 0, "{text}");
            put_back(&mut statement, &kept);
            assert!(!statement.to_string().contains(MARK), "{text}");
        }
    }
}
