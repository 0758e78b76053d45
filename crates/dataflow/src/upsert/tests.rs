//! The last record of each key, against a map, in any order and any cut.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::SchemaRef,
};

use super::{Upsert, UpsertColumns};
use crate::{Change, Operator, StatePart, Weights, random::Random, zset::ZSet};

/// A key, an offset, and a value; none deletes.
type Record = (usize, i64, Option<i64>);

fn records(records: &[Record]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(records.iter().map(|(key, _, _)| Some(format!("device-{key}"))).collect::<StringArray>())),
        ("value", Arc::new(records.iter().map(|(_, _, value)| *value).collect::<Int64Array>())),
        (
            "arrival",
            Arc::new(TimestampMicrosecondArray::from_iter_values(records.iter().map(|(_, offset, _)| offset / 3))),
        ),
        ("partition", Arc::new(Int32Array::from_iter_values(records.iter().map(|(_, offset, _)| (offset % 3) as i32)))),
        ("offset", Arc::new(Int64Array::from_iter_values(records.iter().map(|(_, offset, _)| *offset)))),
        ("deletes", Arc::new(records.iter().map(|(_, _, value)| Some(value.is_none())).collect::<BooleanArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn upsert() -> Upsert {
    let schema: SchemaRef = records(&[]).schema();
    Upsert::new(UpsertColumns { schema, key: vec![0], place: [2, 3, 4], deletes: 5 })
}

#[test]
fn the_last_record_of_each_key_is_out_whatever_the_order() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut all: Vec<Record> = (0..150)
            .map(|offset| (random.below(8), offset, (random.below(4) > 0).then(|| random.below(3) as i64)))
            .collect();
        if seed % 2 == 0 {
            // Partitions are read in any order.
            for i in (1..all.len()).rev() {
                all.swap(i, random.below(i + 1));
            }
        }
        let (mut upsert, mut out, mut seen) = (upsert(), ZSet::default(), 0);
        let mut written = Vec::new();
        while seen < all.len() {
            let next = (seen + random.below(20)).min(all.len());
            let middle = seen + random.below(next - seen + 1);
            for part in [&all[seen..middle], &all[middle..next]] {
                upsert.push(0, Change::of_rows(records(part))).unwrap();
            }
            seen = next;
            upsert
                .finish(&mut |change| {
                    out.add(&change);
                    Ok(())
                })
                .unwrap();
            if random.below(4) == 0 {
                written.extend(upsert.dirty_parts().unwrap());
                upsert = super::tests::upsert();
                written.iter().for_each(|part: &StatePart| upsert.restore(&part.name, &part.rows).unwrap());
            }
            let mut last: BTreeMap<usize, Record> = BTreeMap::new();
            for record in &all[..seen] {
                let kept = last.entry(record.0).or_insert(*record);
                if record.1 > kept.1 {
                    *kept = *record;
                }
            }
            let there: Vec<Record> = last.into_values().filter(|(_, _, value)| value.is_some()).collect();
            out.assert_is(&records(&there));
        }
        // What is read again changes nothing.
        upsert.push(0, Change::of_rows(records(&all))).unwrap();
        upsert.finish(&mut |change| panic!("{change:?} went out")).unwrap();
    }
}

#[test]
fn a_log_takes_nothing_back() {
    let weights = Weights::Column(vec![-1].into());
    let taken_back = Change::new(records(&[(1, 1, Some(1))]), weights).unwrap();
    assert!(upsert().push(0, taken_back).is_err());
}
