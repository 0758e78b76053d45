//! Numbers are compared by all of their digits, however they come.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array};
use datafusion::common::ScalarValue;
use model::Principal;

use super::{Fixture, rows};
use crate::fixture::{batch, publish};

#[tokio::test]
async fn a_number_with_more_digits_than_a_column_finds_no_other_number() {
    let fixture = Fixture::new();
    let prices = Decimal128Array::from(vec![110, 111]).with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("price", Arc::new(prices)), ("sold", Arc::new(Int64Array::from(vec![1, 2])))];
    publish(&fixture.views, "prices", &batch(columns), &[0], "flights/0:90");
    let session = fixture.sql.session(Principal::anonymous());
    for (condition, expected) in [
        ("price = 1.10", &["1"][..]),
        ("price = '1.10'", &["1"]),
        ("price = '1.1000'", &["1"]),
        ("price = 1.101", &[]),
        ("price = '1.101'", &[]),
        ("price = '1.10000000000001'", &[]),
        ("price > '1.101' AND price < '1.112'", &["2"]),
        ("price IN ('1.101', '1.11')", &["2"]),
        ("price = '1.101'::numeric", &[]),
    ] {
        let found = rows(&session, &format!("SELECT sold FROM prices WHERE {condition}"), &[]).await.unwrap().0;
        assert_eq!(found, expected, "{condition}");
    }
    for (digits, places, expected) in [(110, 2, &["1"][..]), (1100, 3, &["1"]), (1101, 3, &[]), (1_104, 3, &[])] {
        let number = ScalarValue::Decimal128(Some(digits), 38, places);
        let found =
            rows(&session, "SELECT sold FROM prices WHERE price = $1", std::slice::from_ref(&number)).await.unwrap().0;
        assert_eq!(found, expected, "{number}");
    }
}
