//! Windows written as table functions, turned into plain SQL.
//!
//! `TUMBLE(source, time, INTERVAL '1 hour')` becomes a subquery over the source that adds `window_start` and
//! `window_end` with `tumble_start` and `tumble_end`. From there on it is a projection like any other: no operator
//! knows the syntax, and a batch engine runs the same plan.
//!
//! What must hold: a window is `[start, end)`, aligned to the epoch.

use std::ops::ControlFlow;

use arrow::{
    compute::kernels::cast_utils::parse_interval_month_day_nano,
    datatypes::{DataType, Field},
};
use sql::{
    SourceDefinition, SqlError, byte_of_location, character_at, rewrite, sqlstate, syntax_error, visit_mut,
    without_table_keyword,
};
use sqlparser::{
    ast::{
        Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, Query,
        TableAlias, TableFactor, Value, VisitorMut,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::Span,
};

const USAGE: &str = "write TUMBLE(source, time_column, INTERVAL '1 hour')";

/// Parses a query and replaces the window functions in it.
pub(super) fn parse_query(text: &str, sources: &[SourceDefinition]) -> Result<Box<Query>, SqlError> {
    let standard = without_table_keyword(text)?;
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&standard).and_then(|mut parser| parser.parse_query());
    let mut query = parsed.map_err(|error| syntax_error(&error, text))?;
    rewrite(query.as_mut())?;
    match visit_mut(query.as_mut(), Rewriter { text, sources }) {
        ControlFlow::Continue(()) => Ok(query),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter<'a> {
    text: &'a str,
    sources: &'a [SourceDefinition],
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        match self.rewrite(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Rewriter<'_> {
    fn rewrite(&self, factor: &mut TableFactor) -> Result<(), SqlError> {
        let TableFactor::Table { name, alias, args: Some(arguments), .. } = factor else { return Ok(()) };
        let Some(ObjectNamePart::Identifier(function)) = name.0.last() else { return Ok(()) };
        match function.value.to_lowercase().as_str() {
            "tumble" => {}
            "hop" | "session" | "slide" | "cumulate" => {
                let error = SqlError::unsupported(format!("window function {}", function.value.to_uppercase()));
                return Err(self.at(error, function.span).with_hint("use TUMBLE"));
            }
            _ => {
                let error = SqlError::unsupported(format!("table function {function}"));
                return Err(self.at(error, function.span).with_hint("a view reads a source, or TUMBLE over a source"));
            }
        }
        let (source, time, size) = self.arguments(function, &arguments.args)?;
        *factor = TableFactor::Derived {
            lateral: false,
            subquery: windowed(&source, &time, &size)?,
            alias: Some(alias.take().unwrap_or_else(|| TableAlias {
                explicit: true,
                name: source,
                columns: Vec::new(),
                at: None,
            })),
            sample: None,
        };
        Ok(())
    }

    fn arguments(&self, function: &Ident, arguments: &[FunctionArg]) -> Result<(Ident, Ident, Expr), SqlError> {
        let usage = || {
            self.at(SqlError::new(sqlstate::SYNTAX_ERROR, "TUMBLE has other arguments"), function.span).with_hint(USAGE)
        };
        let expressions = arguments.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        });
        let expressions = expressions.collect::<Option<Vec<_>>>().ok_or_else(usage)?;
        let (source, time, size) = match expressions.as_slice() {
            [Expr::Identifier(source), Expr::Interval(size)] => (source.clone(), self.event_time(source)?, size),
            [Expr::Identifier(source), time, Expr::Interval(size)] => {
                (source.clone(), column(time).ok_or_else(usage)?, size)
            }
            _ => return Err(usage()),
        };
        self.check_time(&source, &time)?;
        self.check_size(size)?;
        Ok((source, time, Expr::Interval(size.clone())))
    }

    /// Windows are made of points in time; a column that is not there is named by DataFusion, with those that are.
    fn check_time(&self, source: &Ident, time: &Ident) -> Result<(), SqlError> {
        let source = self.sources.iter().find(|known| known.name == folded(source));
        let schema = source.map(SourceDefinition::schema);
        let field = schema.as_ref().and_then(|schema| schema.field_with_name(&folded(time)).ok());
        match field.map(Field::data_type) {
            None | Some(DataType::Timestamp(_, _) | DataType::Date32) => Ok(()),
            Some(_) => {
                let message = format!("column \"{}\" is not a timestamp, so it has no windows", folded(time));
                Err(self.at(SqlError::new(sqlstate::DATATYPE_MISMATCH, message), time.span).with_hint(USAGE))
            }
        }
    }

    /// A window lasts some whole microseconds, or some months.
    fn check_size(&self, size: &Interval) -> Result<(), SqlError> {
        let Expr::Value(literal) = &*size.value else { return Ok(()) };
        let Value::SingleQuotedString(text) = &literal.value else { return Ok(()) };
        let unit = size.leading_field.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
        // What cannot be read is refused where every interval is read.
        let Ok(length) = parse_interval_month_day_nano(&format!("{text}{unit}")) else { return Ok(()) };
        let (months, days, nanoseconds) = (length.months, length.days, length.nanoseconds);
        let forwards = months >= 0 && days >= 0 && nanoseconds >= 0 && (months > 0 || days > 0 || nanoseconds > 0);
        let mixed = months > 0 && (days > 0 || nanoseconds > 0);
        if forwards && !mixed && nanoseconds % 1_000 == 0 {
            return Ok(());
        }
        let error =
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("a window of '{text}{unit}' is not possible"));
        let hint = "write a length of time above zero, such as INTERVAL '1 hour', or of months alone";
        Err(self.at(error, literal.span).with_hint(hint))
    }

    fn event_time(&self, name: &Ident) -> Result<Ident, SqlError> {
        let folded = folded(name);
        let Some(source) = self.sources.iter().find(|source| source.name == folded) else {
            let error = SqlError::new(sqlstate::UNDEFINED_TABLE, format!("there is no source \"{folded}\""));
            return Err(self.at(error, name.span));
        };
        match &source.event_time {
            Some(time) => Ok(Ident::with_quote('"', time)),
            None => {
                let message = format!("source \"{folded}\" has no event_time, so TUMBLE needs a time column");
                Err(self.at(SqlError::new(sqlstate::SYNTAX_ERROR, message), name.span).with_hint(USAGE))
            }
        }
    }

    fn at(&self, error: SqlError, span: Span) -> SqlError {
        if span == Span::empty() {
            return error;
        }
        error.at(character_at(self.text, byte_of_location(self.text, span.start)))
    }
}

fn folded(name: &Ident) -> String {
    sql::folded(&name.value, name.quote_style.is_some())
}

/// A column, plain or as `DESCRIPTOR(column)`.
fn column(expression: &Expr) -> Option<Ident> {
    match expression {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("descriptor") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))] => Some(name.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn windowed(source: &Ident, time: &Ident, size: &Expr) -> Result<Box<Query>, SqlError> {
    let text = format!(
        "SELECT *, tumble_start({size}, {time}) AS window_start, tumble_end({size}, {time}) AS window_end FROM {source}"
    );
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let mut query = parsed.map_err(|error| syntax_error(&error, &text))?;
    // The identifiers of the user's text keep their places, so that an unknown column is reported where it stands.
    let _: ControlFlow<()> = visit_mut(query.as_mut(), Placed { source, time });
    Ok(query)
}

struct Placed<'a> {
    source: &'a Ident,
    time: &'a Ident,
}

impl VisitorMut for Placed<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let Some(ObjectNamePart::Identifier(name)) = relation.0.last_mut() {
            name.span = self.source.span;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expression {
            name.span = if name.value == self.time.value { self.time.span } else { Span::empty() };
        }
        ControlFlow::Continue(())
    }
}
