//! What a query reads, by name: before anybody knows what there is.

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::{
    ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableFactor, VisitorMut},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use crate::{SqlError, folded, syntax_error, tree::visit_mut, view::without_table_keyword};

/// The names of all relations in a query, those in window functions such as `TUMBLE(name, ...)` among them; not those that the
/// query itself defines in `WITH`.
///
/// # Errors
/// [`SqlError`] when it cannot be parsed.
pub fn relations_read(query: &str) -> Result<BTreeSet<String>, SqlError> {
    let standard = without_table_keyword(query)?;
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&standard).and_then(|mut parser| parser.parse_query());
    let mut parsed = parsed.map_err(|error| syntax_error(&error, query))?;
    let mut names = Names::default();
    let _: ControlFlow<()> = visit_mut(parsed.as_mut(), &mut names);
    Ok(names.read.difference(&names.defined).cloned().collect())
}

#[derive(Default)]
struct Names {
    read: BTreeSet<String>,
    defined: BTreeSet<String>,
}

impl VisitorMut for &mut Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let defined = query.with.iter().flat_map(|with| &with.cte_tables).map(|table| name_of(&table.alias.name));
        self.defined.extend(defined);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let Some(ObjectNamePart::Identifier(name)) = relation.0.last() {
            self.read.insert(name_of(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { args: Some(arguments), .. } = factor
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))) = arguments.args.first()
        {
            self.read.insert(name_of(name));
        }
        ControlFlow::Continue(())
    }
}

fn name_of(identifier: &Ident) -> String {
    folded(&identifier.value, identifier.quote_style.is_some())
}

#[cfg(test)]
mod tests {
    //! Names in queries.

    use super::relations_read;

    #[test]
    fn every_relation_of_a_query_is_named_once() {
        let cases = [
            ("SELECT * FROM a", "a"),
            ("SELECT * FROM A JOIN public.b ON a.x = b.x", "a b"),
            ("SELECT * FROM \"A\", a", "A a"),
            ("WITH c AS (SELECT * FROM a) SELECT * FROM c WHERE x IN (SELECT y FROM b)", "a b"),
            ("SELECT (SELECT max(x) FROM b) FROM a WHERE EXISTS (SELECT 1 FROM d)", "a b d"),
            ("SELECT * FROM TUMBLE(a, at, INTERVAL '1 hour')", "a tumble"),
            ("SELECT * FROM tumble(TABLE a, DESCRIPTOR(at), INTERVAL '1 hour')", "a tumble"),
            ("SELECT * FROM a UNION SELECT * FROM b EXCEPT SELECT * FROM (SELECT * FROM c) AS t", "a b c"),
        ];
        for (query, expected) in cases {
            let read = relations_read(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
            assert_eq!(read.into_iter().collect::<Vec<_>>().join(" "), expected, "{query}");
        }
        assert!(relations_read("SELEC").is_err());
    }
}
