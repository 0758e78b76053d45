//! What becomes of arrival times when some of their entries are lost.

use std::path::Path;

use super::*;
use crate::{RecordBatchBuilder, record::Record};

/// A batch of one record.
fn batch(base_offset: Offset, timestamp_ms: i64) -> BatchHeader {
    let mut builder = RecordBatchBuilder::default();
    builder.push(Record { timestamp_ms, ..Record::default() });
    BatchHeader { base_offset, ..BatchHeader::parse(&builder.build()).unwrap() }
}

/// Ten batches that were sent at 100, 110, 120 ..., in a segment that begins at offset 50 with arrivals from 105 to 195.
/// An estimate stands as its negative in what is expected.
fn check(known: &[Option<(Offset, i64)>], expected: [i64; 10]) {
    let known: Vec<_> = known.iter().map(|entry| entry.map(|(offset, ms)| (offset, Arrival::known(ms)))).collect();
    let signed = |arrival: Arrival| if arrival.is_estimate { -arrival.time_ms } else { arrival.time_ms };
    let mut contents = Contents::empty(Path::new("50.log"), 50);
    (contents.first_arrival_ms, contents.last_arrival_ms) = (105, 195);
    let mut arrivals = Arrivals::new(50, &contents, &known);
    let found: Vec<i64> = (0..10).map(|i| signed(arrivals.of(&batch(50 + i, 100 + 10 * i)))).collect();
    assert_eq!(found, expected, "{known:?}");
}

#[test]
fn what_is_left_is_kept_and_the_rest_lies_between() {
    let whole = [Some((50, 105)), Some((53, 135)), Some((56, 165)), Some((59, 195))];
    check(&whole, [105, 105, 105, 135, 135, 135, 165, 165, 165, 195]);
    let [a, b, c, d] = whole;
    check(&[], [-105, -110, -120, -130, -140, -150, -160, -170, -180, -190]);
    check(&[None, b, c, d], [-105, -110, -120, 135, 135, 135, 165, 165, 165, 195]);
    check(&[a, None, c, d], [105, -110, -120, -130, -140, -150, 165, 165, 165, 195]);
    check(&[a, None, None, d], [105, -110, -120, -130, -140, -150, -160, -170, -180, 195]);
    check(&[a, b, c], [105, 105, 105, 135, 135, 135, 165, -170, -180, -190]);
    check(&[a, b, None], [105, 105, 105, 135, -140, -150, -160, -170, -180, -190]);
}

#[test]
fn estimates_do_not_leave_the_bounds() {
    // The records say 100 to 190; the neighbours say otherwise.
    let late = [Some((50, 150)), None, Some((58, 160)), Some((59, 195))];
    check(&late, [150, -150, -150, -150, -150, -150, -160, -160, 160, 195]);
    let early = [Some((50, 90)), None, Some((58, 95)), Some((59, 195))];
    check(&early, [90, -95, -95, -95, -95, -95, -95, -95, 95, 195]);
}
