//! Walks over syntax trees, compiled once.
//!
//! sqlparser compiles its walk over every node there is anew for each visitor type, which is a quarter of a megabyte each
//! time. Here each walk is over a visitor that is called through a pointer.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, Select, Statement, TableFactor, Visit, VisitMut, Visitor, VisitorMut};

/// A part of a statement that can be walked.
pub trait Tree {
    /// Calls `visitor` for each node, until it breaks.
    fn walk(&self, visitor: &mut dyn Visitor<Break = ()>);

    /// The same, to change the nodes.
    fn walk_mut(&mut self, visitor: &mut dyn VisitorMut<Break = ()>);
}

macro_rules! trees {
    ($($tree:ty),*) => {$(
        impl Tree for $tree {
            fn walk(&self, visitor: &mut dyn Visitor<Break = ()>) {
                // Whoever breaks knows it.
                let _: ControlFlow<()> = self.visit(&mut Reading(visitor));
            }

            fn walk_mut(&mut self, visitor: &mut dyn VisitorMut<Break = ()>) {
                let _: ControlFlow<()> = self.visit(&mut Changing(visitor));
            }
        }
    )*};
}

trees!(Statement, Query, Select, Expr);

/// Calls `each` for every expression, outer ones first, until it breaks.
pub fn visit_expressions<E>(tree: &impl Tree, each: impl FnMut(&Expr) -> ControlFlow<E>) -> ControlFlow<E> {
    let mut stopping = Stopping { inner: Expressions(each), found: None };
    tree.walk(&mut stopping);
    stopping.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Calls `each` for every expression, inner ones first, until it breaks.
pub fn visit_expressions_mut<E>(tree: &mut impl Tree, each: impl FnMut(&mut Expr) -> ControlFlow<E>) -> ControlFlow<E> {
    visit_mut(tree, Expressions(each))
}

/// Lets `visitor` change a tree until it breaks. Of its methods those for queries, tables, names of tables and
/// expressions are called.
pub fn visit_mut<V: VisitorMut>(tree: &mut impl Tree, visitor: V) -> ControlFlow<V::Break> {
    let mut stopping = Stopping { inner: visitor, found: None };
    tree.walk_mut(&mut stopping);
    stopping.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// The one visitor that reads.
struct Reading<'a>(&'a mut dyn Visitor<Break = ()>);

impl Visitor for Reading<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.0.pre_visit_expr(expr)
    }
}

/// The one visitor that changes.
struct Changing<'a>(&'a mut dyn VisitorMut<Break = ()>);

impl VisitorMut for Changing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.pre_visit_query(query)
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        self.0.pre_visit_relation(relation)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.pre_visit_table_factor(factor)
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.pre_visit_expr(expr)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.post_visit_expr(expr)
    }
}

/// A function of expressions.
struct Expressions<F>(F);

impl<E, F: FnMut(&Expr) -> ControlFlow<E>> Visitor for Expressions<F> {
    type Break = E;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<E> {
        self.0(expr)
    }
}

impl<E, F: FnMut(&mut Expr) -> ControlFlow<E>> VisitorMut for Expressions<F> {
    type Break = E;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<E> {
        self.0(expr)
    }
}

/// A visitor, and what it stopped for.
struct Stopping<V, B> {
    inner: V,
    found: Option<B>,
}

impl<V, B> Stopping<V, B> {
    fn stop(found: &mut Option<B>, flow: ControlFlow<B>) -> ControlFlow<()> {
        match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(reason) => {
                *found = Some(reason);
                ControlFlow::Break(())
            }
        }
    }
}

impl<V: Visitor> Visitor for Stopping<V, V::Break> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.pre_visit_expr(expr))
    }
}

impl<V: VisitorMut> VisitorMut for Stopping<V, V::Break> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.pre_visit_query(query))
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.pre_visit_relation(relation))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.pre_visit_table_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.pre_visit_expr(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        Self::stop(&mut self.found, self.inner.post_visit_expr(expr))
    }
}

#[cfg(test)]
mod tests {
    //! The walk is sqlparser's, and ends where it is told to.

    use std::ops::ControlFlow;

    use sqlparser::{ast, dialect::PostgreSqlDialect, parser::Parser};

    use super::{visit_expressions, visit_expressions_mut};

    const QUERIES: &[&str] = &[
        "SELECT a + 1, f(b, (SELECT c FROM t WHERE d = e)) FROM x JOIN y ON x.i = y.i WHERE a IN (1, 2) ORDER BY g",
        "WITH w AS (SELECT 1 AS o) SELECT CASE WHEN p THEN q END FROM w GROUP BY r HAVING count(*) > 2 LIMIT 3",
        "INSERT INTO t (a) VALUES (1 + 2)",
    ];

    #[test]
    fn every_expression_is_visited_in_sqlparsers_order() {
        for query in QUERIES {
            let mut tree = Parser::parse_sql(&PostgreSqlDialect {}, query).unwrap().remove(0);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let _: ControlFlow<()> = visit_expressions(&tree, |expr| {
                ours.push(expr.to_string());
                ControlFlow::Continue(())
            });
            let _: ControlFlow<()> = ast::visit_expressions(&tree, |expr| {
                theirs.push(expr.to_string());
                ControlFlow::Continue(())
            });
            assert!(!ours.is_empty());
            assert_eq!(ours, theirs, "{query}");
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let _: ControlFlow<()> = visit_expressions_mut(&mut tree, |expr| {
                ours.push(expr.to_string());
                ControlFlow::Continue(())
            });
            let _: ControlFlow<()> = ast::visit_expressions_mut(&mut tree, |expr| {
                theirs.push(expr.to_string());
                ControlFlow::Continue(())
            });
            assert_eq!(ours, theirs, "{query}");
        }
    }

    #[test]
    fn a_walk_ends_with_what_it_broke_for() {
        let tree = Parser::parse_sql(&PostgreSqlDialect {}, QUERIES[0]).unwrap().remove(0);
        let mut visited = 0;
        let found = visit_expressions(&tree, |expr| {
            visited += 1;
            if expr.to_string() == "1" { ControlFlow::Break(7) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(found, ControlFlow::Break(7));
        assert_eq!(visited, 3, "a + 1, a, 1");
    }
}
