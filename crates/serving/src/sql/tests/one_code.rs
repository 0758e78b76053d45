//! A mistake has one code, whether it stands in a query or in a view's definition.

use arrow::datatypes::{DataType, Field, Schema};
use model::{Principal, TopicName};
use sql::{SourceDefinition, SourceFormat, Statement};

use super::{Fixture, error};

/// A query of `totals (carrier TEXT, total BIGINT)` with a mistake, and PostgreSQL's code for it.
const MISTAKES: &[(&str, &str)] = &[
    ("SELECT carrier FROM nothing_like_it", "42P01"),
    ("SELECT carier FROM totals", "42703"),
    ("SELECT nosuch(carrier) FROM totals", "42883"),
    ("SELECT round(carrier) FROM totals", "42883"),
    ("SELECT carrier + total FROM totals", "42883"),
    ("SELECT carrier, sum(total) FROM totals", "42803"),
    ("SELECT carrier FROM totals WHERE sum(total) > 1", "42803"),
    ("SELECT carrier FROM totals WHERE total", "42804"),
    ("SELECT carrier FROM totals TABLESAMPLE BERNOULLI (10)", "0A000"),
    ("SELECT carrier FROM totals GROUP", "42601"),
    ("SELECT carrier FROM", "42601"),
];

#[tokio::test]
async fn a_mistake_has_one_code_in_a_query_and_in_a_view() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let columns = [Field::new("carrier", DataType::Utf8, true), Field::new("total", DataType::Int64, true)];
    let source = SourceDefinition {
        name: "totals".to_owned(),
        columns: Schema::new(columns.to_vec()).into(),
        key: Vec::new(),
        added_columns: 0,
        topic: TopicName::new("totals").unwrap(),
        partitions: 1,
        format: SourceFormat::Json,
        event_time: None,
        timestamp_unit: None,
        text: String::new(),
    };
    for (query, code) in MISTAKES {
        let in_view = sql::parse(&format!("CREATE MATERIALIZED VIEW v AS {query}")).and_then(|statements| {
            let [Statement::CreateView(view)] = statements.as_slice() else { panic!("{query}") };
            streaming::ViewPlan::new(view, std::slice::from_ref(&source))
        });
        assert_eq!(in_view.map(|_| ()).unwrap_err().sqlstate, *code, "in a view: {query}");
        assert_eq!(error(&session, query).await.sqlstate, *code, "{query}");
    }
}
