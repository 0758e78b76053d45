//! Comparisons, as PostgreSQL answers them.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, AsArray as _, Decimal128Array, RecordBatch},
        util::pretty::pretty_format_batches,
    },
    prelude::SessionContext,
};

use super::ExactComparison;

/// A condition on `n NUMERIC(10, 2)`, and which of 1.10, 1.11 and NULL it holds for.
const CONDITIONS: &[(&str, [Option<bool>; 3])] = &[
    ("n = '1.10'", [Some(true), Some(false), None]),
    ("n = '1.1000'", [Some(true), Some(false), None]),
    ("n = '1.101'", [Some(false), Some(false), None]),
    ("'1.104' = n", [Some(false), Some(false), None]),
    ("n <> '1.101'", [Some(true), Some(true), None]),
    ("n < '1.101'", [Some(true), Some(false), None]),
    ("n <= '1.1049'", [Some(true), Some(false), None]),
    ("n = '1.10000000000001'", [Some(false), Some(false), None]),
    ("n < '1.10000000000001'", [Some(true), Some(false), None]),
    ("n > '1.1049'", [Some(false), Some(true), None]),
    ("n BETWEEN '1.101' AND '1.11'", [Some(false), Some(true), None]),
    ("n IN ('1.101', '1.111')", [Some(false), Some(false), None]),
    ("n IN ('1.101', '1.11')", [Some(false), Some(true), None]),
    ("n IS DISTINCT FROM '1.101'", [Some(true), Some(true), Some(true)]),
];

#[tokio::test]
async fn a_number_in_a_text_is_compared_by_all_its_digits() {
    let context = SessionContext::new();
    context.add_analyzer_rule(Arc::new(ExactComparison));
    let numbers = Decimal128Array::from(vec![Some(110), Some(111), None]).with_precision_and_scale(10, 2).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([("n", Arc::new(numbers) as _, true)]).unwrap();
    context.register_batch("t", batch).unwrap();
    for (condition, expected) in CONDITIONS {
        let answer =
            context.sql(&format!("SELECT {condition} AS holds FROM t")).await.unwrap().collect().await.unwrap();
        let holds = answer[0].column(0).as_boolean();
        let found: Vec<Option<bool>> =
            (0..holds.len()).map(|row| holds.is_valid(row).then(|| holds.value(row))).collect();
        assert_eq!(found, expected, "{condition}\n{}", pretty_format_batches(&answer).unwrap());
    }
}
