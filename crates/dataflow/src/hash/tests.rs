//! Test vectors: a hash that changes would lose what is stored by it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray};

use super::hash_rows;

fn hash(columns: &[ArrayRef]) -> u64 {
    hash_rows(columns, 1).unwrap()[0]
}

#[test]
fn hashes_are_those_of_xxh3() {
    // XXH3_64bits of the bytes, from the reference implementation's own vectors and `xxhsum -H3`.
    let text: ArrayRef = Arc::new(StringArray::from(vec![""]));
    assert_eq!(hash(&[text]), 0x2d06_8005_38d3_94c2);
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    assert_eq!(hash(&[null]), super::NOTHING);
    assert_eq!(hash(&[]), super::NOTHING);
}

#[test]
fn the_layout_of_a_text_and_of_a_null_does_not_matter() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["AA"]));
    let view: ArrayRef = Arc::new(StringViewArray::from(vec!["AA"]));
    assert_eq!(hash(&[plain]), hash(&[view]));
    let first: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7)]));
    let second: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    assert_eq!(hash_rows(&[first], 2).unwrap()[1], hash(&[second]));
}

#[test]
fn columns_are_told_apart_by_their_order() {
    let one: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let two: ArrayRef = Arc::new(Int32Array::from(vec![2]));
    assert_ne!(hash(&[Arc::clone(&one), Arc::clone(&two)]), hash(&[two, one]));
    let yes: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    assert_ne!(hash(&[Arc::clone(&yes), Arc::clone(&float)]), hash(&[float, yes]));
}

#[test]
fn a_chain_of_columns_has_its_value() {
    let carrier: ArrayRef = Arc::new(StringArray::from(vec!["AA"]));
    let hour: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    assert_eq!(hash(&[Arc::clone(&carrier)]), 0x84d6_25ed_b705_5eac);
    assert_eq!(hash(&[Arc::clone(&hour)]), 0x57ae_4481_1628_c14c);
    assert_eq!(hash(&[carrier, hour]), 0x8f29_1c21_5ee1_9663);
}
