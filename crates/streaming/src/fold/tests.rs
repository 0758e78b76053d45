//! Folds against plain DataFusion, in any batching and any merge order.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::{filter_record_batch, take_record_batch},
};

use super::{FailedRow, Fold};
use crate::{
    Error, ViewPlan,
    testing::{Random, all_rows, flights, lines, log_of_flights, oracle, sorted, view},
};

/// A view, and the same question for plain DataFusion. Where they differ: windows, and the order of first and last.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "SELECT carrier, count(*) AS n, count(delay), sum(flight), sum(delay), avg(delay) FROM flights GROUP BY carrier",
        "",
    ),
    (
        "SELECT count(*), sum(fare), avg(fare), min(fare), max(fare), avg(flight), sum(miles) FROM flights",
        "SELECT count(*), sum(fare), round(CAST(sum(fare) AS DECIMAL(38, 18)) / count(fare), 16), min(fare), max(fare),
         avg(flight), sum(miles) FROM flights",
    ),
    (
        "SELECT carrier, window_start, window_end, count(*) AS n, max(delay) AS worst
         FROM TUMBLE(flights, departed, INTERVAL '1 hour') GROUP BY carrier, window_start, window_end",
        "SELECT carrier, date_bin(INTERVAL '1 hour', departed) AS ws, date_bin(INTERVAL '1 hour', departed) + INTERVAL '1 hour',
         count(*), max(delay) FROM flights GROUP BY carrier, ws",
    ),
    (
        "SELECT upper(carrier) AS code, flight % 7 AS shard, max(delay) - min(delay) AS spread, avg(delay) * 2 AS twice
         FROM flights WHERE NOT cancelled AND delay > -50 GROUP BY upper(carrier), flight % 7
         HAVING count(*) > 3 AND sum(delay) > 100",
        "",
    ),
    (
        "SELECT day, count(*) FILTER (WHERE cancelled) AS c, sum(delay) FILTER (WHERE fare > 400) AS s,
         min(carrier) FILTER (WHERE NOT cancelled) AS m FROM flights GROUP BY day",
        "",
    ),
    ("SELECT min(carrier), max(carrier), min(day), max(day), min(departed), max(cancelled), min(cancelled) FROM flights", ""),
    (
        "SELECT carrier, first_value(flight) AS f, last_value(delay) AS l, last_value(fare) FILTER (WHERE fare > 10) AS x
         FROM flights GROUP BY carrier",
        "SELECT carrier, first_value(flight ORDER BY _arrival_time, _partition, _offset),
         last_value(delay ORDER BY _arrival_time, _partition, _offset),
         last_value(fare ORDER BY _arrival_time, _partition, _offset) FILTER (WHERE fare > 10) FROM flights GROUP BY carrier",
    ),
    (
        "SELECT last_value(carrier) IGNORE NULLS AS l FROM flights",
        "SELECT last_value(carrier ORDER BY _arrival_time, _partition, _offset) FILTER (WHERE carrier IS NOT NULL) FROM flights",
    ),
    ("SELECT count(*) AS n FROM flights GROUP BY carrier, cancelled", ""),
    (
        "SELECT carrier, count(DISTINCT day) AS days, sum(DISTINCT miles) AS m, avg(DISTINCT delay) AS d,
         count(DISTINCT flight) FILTER (WHERE cancelled) AS f, bool_and(cancelled) AS a, bool_or(cancelled) AS o
         FROM flights GROUP BY carrier",
        "",
    ),
    ("SELECT DISTINCT carrier, day FROM flights WHERE delay > 100", ""),
    ("SELECT upper(c) AS code, n % 3 AS shard FROM (SELECT DISTINCT carrier AS c, flight AS n FROM flights) AS t WHERE n > 5", ""),
    ("SELECT carrier, delay * 2 AS twice, fare FROM flights WHERE delay > 500", ""),
    ("SELECT *, _key AS k FROM flights WHERE flight = 7", ""),
    ("WITH late AS (SELECT * FROM flights WHERE delay > 0) SELECT carrier, count(*) AS n FROM late GROUP BY carrier", ""),
    ("SELECT carrier, n FROM (SELECT carrier, count(*) AS n FROM flights GROUP BY carrier) AS t WHERE n > 20", ""),
    ("SELECT count(*) AS n, sum(delay) AS s, max(miles) AS m FROM flights WHERE flight < 0", ""),
    ("SELECT carrier, 1 + count(*) AS n FROM flights WHERE flight < 0 GROUP BY carrier", ""),
];

async fn input() -> RecordBatch {
    all_rows(log_of_flights(900, 7).await, &flights()).await
}

fn plan(query: &str) -> ViewPlan {
    ViewPlan::new(&view(query), &[flights()]).unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

/// The rows in random order, in pieces of random size.
fn pieces(rows: &RecordBatch, random: &mut Random) -> Vec<RecordBatch> {
    let mut order: Vec<u64> = (0..rows.num_rows() as u64).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i + 1));
    }
    let shuffled = take_record_batch(rows, &arrow::array::UInt64Array::from(order)).unwrap();
    let (mut pieces, mut start) = (Vec::new(), 0);
    while start < shuffled.num_rows() {
        let length = (random.below(200) + 1).min(shuffled.num_rows() - start);
        pieces.push(shuffled.slice(start, length));
        start += length;
    }
    pieces
}

fn one_shot(plan: &ViewPlan, rows: &RecordBatch) -> Fold {
    let mut fold = Fold::new(plan).unwrap();
    fold.apply(rows, None).unwrap();
    fold
}

/// Rows with how often each is there, as whoever takes changes keeps them.
#[derive(Default)]
struct Kept(BTreeMap<String, i64>);

impl Kept {
    fn take(&mut self, fold: &mut Fold) {
        let change = fold.drain_changes().unwrap();
        for row in 0..change.row_count() {
            let line = lines(&change.rows().slice(row, 1), change.rows().num_columns()).remove(0);
            *self.0.entry(line).or_default() += change.weights().value(row);
        }
        self.0.retain(|_, weight| *weight != 0);
        assert!(self.0.values().all(|weight| *weight == 1), "each row of a view is there once: {:?}", self.0);
    }

    fn lines(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

#[tokio::test]
async fn answers_are_those_of_datafusion() {
    let rows = input().await;
    for (query, question) in QUESTIONS {
        let plan = plan(query);
        let answer = one_shot(&plan, &rows).rows().unwrap();
        let expected = oracle(&rows, if question.is_empty() { query } else { question }).await;
        assert_eq!(lines(&answer, expected.num_columns()), lines(&expected, expected.num_columns()), "{query}");
        for (found, wanted) in answer.schema().fields().iter().zip(expected.schema().fields()) {
            // A sum that DataFusion lets wrap around is a number that holds any.
            let is_wider_sum = (found.data_type(), wanted.data_type())
                == (&arrow::datatypes::DataType::Decimal128(38, 0), &arrow::datatypes::DataType::Int64);
            let wanted = dataflow::plain_text(wanted.data_type());
            assert!(is_wider_sum || *found.data_type() == wanted, "{query}: {found}, not {wanted}");
        }
    }
}

#[tokio::test]
async fn any_batching_any_order_and_any_changes_give_the_same_rows() {
    let rows = input().await;
    for (i, (query, _)) in QUESTIONS.iter().enumerate() {
        let plan = plan(query);
        let expected = one_shot(&plan, &rows);
        let (expected_rows, width) = (expected.rows().unwrap(), plan.output_schema().fields().len());
        for seed in 0..5 {
            let mut random = Random(seed * 100 + i as u64);
            let (mut fold, mut kept) = (Fold::new(&plan).unwrap(), Kept::default());
            for piece in pieces(&rows, &mut random) {
                fold.apply(&piece, None).unwrap();
                if random.below(3) == 0 {
                    kept.take(&mut fold);
                }
            }
            kept.take(&mut fold);
            assert_eq!(lines(&fold.rows().unwrap(), width), lines(&expected_rows, width), "{query}");
            assert_eq!(kept.lines(), lines(&expected_rows, width), "{query}");
            assert_eq!(fold.drain_changes().unwrap().row_count(), 0, "a drain leaves nothing");
            assert_eq!(fold.group_count(), expected.group_count(), "{query}");
        }
    }
}

#[tokio::test]
async fn any_split_and_merge_of_states_gives_the_same_state() {
    let rows = input().await;
    for (i, (query, _)) in QUESTIONS.iter().enumerate() {
        let plan = plan(query);
        let expected = one_shot(&plan, &rows);
        let keys = plan.state_key_count();
        for seed in 0..5 {
            let mut random = Random(seed * 1_000 + i as u64);
            let mut parts: Vec<Fold> = (0..=random.below(4)).map(|_| Fold::new(&plan).unwrap()).collect();
            for piece in pieces(&rows, &mut random) {
                let part = random.below(parts.len());
                parts[part].apply(&piece, None).unwrap();
            }
            while parts.len() > 1 {
                let (from, last) = (random.below(parts.len() - 1), parts.len() - 1);
                let states = parts[last].all_state().unwrap();
                parts[from].merge_state(&states).unwrap();
                parts.pop();
            }
            let merged = &mut parts[0];
            let (found, wanted) = (merged.all_state().unwrap(), expected.all_state().unwrap());
            assert_eq!(sorted(&found, keys), sorted(&wanted, keys), "{query}");
            let width = plan.output_schema().fields().len();
            assert_eq!(lines(&merged.rows().unwrap(), width), lines(&expected.rows().unwrap(), width), "{query}");
        }
    }
}

#[tokio::test]
async fn restoring_dirty_states_in_order_restores_the_fold() {
    let rows = input().await;
    for (i, (query, _)) in QUESTIONS.iter().enumerate() {
        let plan = plan(query);
        let width = plan.output_schema().fields().len();
        let expected = lines(&one_shot(&plan, &rows).rows().unwrap(), width);
        let mut random = Random(i as u64);
        let (mut fold, mut segments) = (Fold::new(&plan).unwrap(), Vec::new());
        for piece in pieces(&rows, &mut random) {
            fold.apply(&piece, None).unwrap();
            if random.below(3) > 0 {
                continue;
            }
            segments.push(fold.drain_dirty_state().unwrap());
            assert_eq!(fold.drain_dirty_state().unwrap().num_rows(), 0, "a drain leaves nothing");
            if random.below(2) == 0 {
                fold = Fold::new(&plan).unwrap();
                for segment in &segments {
                    fold.restore_state(segment).unwrap();
                }
                let mut kept = Kept::default();
                kept.take(&mut fold);
                assert_eq!(kept.lines(), lines(&fold.rows().unwrap(), width), "what was restored is shown: {query}");
                assert_eq!(fold.dirty_state().unwrap().num_rows(), 0, "what was restored is safe");
            }
        }
        assert_eq!(lines(&fold.rows().unwrap(), width), expected, "{query}");
    }
}

#[tokio::test]
async fn rows_that_are_taken_back_leave_nothing_behind() {
    let rows = input().await;
    let linear = |query: &&(&str, &str)| ["min(", "max(", "_value("].iter().all(|word| !query.0.contains(word));
    let mut random = Random(3);
    for (query, _) in QUESTIONS.iter().filter(linear) {
        let plan = plan(query);
        let width = plan.output_schema().fields().len();
        let stays: BooleanArray = (0..rows.num_rows()).map(|_| Some(random.below(3) == 0)).collect();
        let expected = one_shot(&plan, &filter_record_batch(&rows, &stays).unwrap());
        let back = filter_record_batch(&rows, &arrow::compute::not(&stays).unwrap()).unwrap();
        let (mut fold, mut kept) = (one_shot(&plan, &rows), Kept::default());
        kept.take(&mut fold);
        for piece in pieces(&back, &mut random) {
            fold.apply(&piece, Some(&Int64Array::from_value(-1, piece.num_rows()))).unwrap();
            kept.take(&mut fold);
        }
        assert_eq!(lines(&fold.rows().unwrap(), width), lines(&expected.rows().unwrap(), width), "{query}");
        assert_eq!(kept.lines(), lines(&expected.rows().unwrap(), width), "{query}");
        assert_eq!(fold.group_count(), expected.group_count(), "{query}");
        let keys = plan.state_key_count();
        assert_eq!(sorted(&fold.all_state().unwrap(), keys), sorted(&expected.all_state().unwrap(), keys), "{query}");
    }
}

#[tokio::test]
async fn a_row_that_leaves_and_comes_back_is_there_once() {
    let rows = input().await.slice(0, 1);
    let plan = plan("SELECT flight FROM flights");
    let shown = one_shot(&plan, &rows).rows().unwrap();
    // Weights of the same row, in batches; the sum decides.
    for batches in [
        vec![vec![1]],
        vec![vec![1], vec![-1, 1]],
        vec![vec![1], vec![1, -1]],
        vec![vec![1], vec![-1], vec![1]],
        vec![vec![1], vec![-1], vec![1], vec![-1]],
        vec![vec![1, -1]],
    ] {
        let (mut fold, mut kept, mut states) = (Fold::new(&plan).unwrap(), Kept::default(), Vec::new());
        for (i, weights) in batches.iter().enumerate() {
            let same = take_record_batch(&rows, &arrow::array::UInt64Array::from(vec![0; weights.len()])).unwrap();
            fold.apply(&same, Some(&Int64Array::from(weights.clone()))).unwrap();
            if i == 0 {
                kept.take(&mut fold);
                states.push(fold.drain_dirty_state().unwrap());
            }
        }
        kept.take(&mut fold);
        states.push(fold.drain_dirty_state().unwrap());
        let is_there = batches.iter().flatten().sum::<i64>() == 1;
        let expected = if is_there { lines(&shown, 3) } else { Vec::new() };
        assert_eq!(lines(&fold.rows().unwrap(), 3), expected, "{batches:?}");
        assert_eq!(kept.lines(), expected, "{batches:?}");
        let mut restored = Fold::new(&plan).unwrap();
        states.iter().for_each(|states| restored.restore_state(states).unwrap());
        assert_eq!(lines(&restored.rows().unwrap(), 3), expected, "{batches:?}");
    }
    let twice = take_record_batch(&rows, &arrow::array::UInt64Array::from(vec![0, 0])).unwrap();
    let refused = Fold::new(&plan).unwrap().apply(&twice, Some(&Int64Array::from(vec![1, 1])));
    assert!(matches!(refused, Err(Error::Shape { .. })));
}

#[tokio::test]
async fn both_zeros_are_one_group() {
    let rows = input().await.slice(0, 2);
    let mut columns = rows.columns().to_vec();
    columns[2] = Arc::new(arrow::array::Float64Array::from(vec![-0.0, 0.0]));
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    for query in [
        "SELECT delay, count(*) AS n FROM flights GROUP BY delay",
        "SELECT delay, day, count(*) AS n FROM flights GROUP BY delay, day",
    ] {
        let expected = oracle(&rows, query).await;
        let mut fold = Fold::new(&plan(query)).unwrap();
        for row in 0..2 {
            fold.apply(&rows.slice(row, 1), None).unwrap();
        }
        let width = expected.num_columns();
        assert_eq!(lines(&fold.rows().unwrap(), width), lines(&expected, width), "{query}");
    }
}

#[tokio::test]
async fn a_weight_counts_a_row_as_often() {
    let rows = input().await;
    let plan = plan(
        "SELECT carrier, count(*), sum(delay), sum(fare), avg(delay), sum(miles), max(delay) FROM flights GROUP BY carrier",
    );
    let mut expected = Fold::new(&plan).unwrap();
    for _ in 0..3 {
        expected.apply(&rows, None).unwrap();
    }
    let mut fold = Fold::new(&plan).unwrap();
    fold.apply(&rows, Some(&Int64Array::from_value(3, rows.num_rows()))).unwrap();
    fold.apply(&rows, Some(&Int64Array::from_value(0, rows.num_rows()))).unwrap();
    let keys = plan.state_key_count();
    assert_eq!(sorted(&fold.all_state().unwrap(), keys), sorted(&expected.all_state().unwrap(), keys));
}

#[tokio::test]
async fn a_retraction_that_reaches_a_compact_state_is_refused_by_name() {
    let rows = input().await;
    let plan = plan("SELECT carrier, count(*) AS n, max(delay) AS worst FROM flights GROUP BY carrier");
    let mut fold = one_shot(&plan, &rows);
    let before = fold.all_state().unwrap();
    let first = rows.slice(0, 1);
    let carrier = first.column(0).as_string::<i32>();
    let carrier = if carrier.is_null(0) { "" } else { carrier.value(0) };
    match fold.apply(&first, Some(&Int64Array::from(vec![-1]))) {
        Err(Error::Operator(dataflow::Error::Retraction { aggregate, group })) => {
            assert_eq!(aggregate, "max");
            assert_eq!(group, format!("({carrier})"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fold.all_state().unwrap(), before);
}

#[tokio::test]
async fn having_takes_a_group_out_again() {
    let rows = input().await;
    let plan =
        plan("SELECT carrier, sum(delay) AS s FROM flights WHERE carrier = 'AA' GROUP BY carrier HAVING count(*) = 1");
    let (mut fold, mut kept) = (Fold::new(&plan).unwrap(), Kept::default());
    let carriers = rows.column(0).as_string::<i32>();
    let wanted: Vec<usize> =
        (0..rows.num_rows()).filter(|row| carriers.is_valid(*row) && carriers.value(*row) == "AA").collect();
    fold.apply(&rows.slice(wanted[0], 1), None).unwrap();
    kept.take(&mut fold);
    assert_eq!(kept.0.len(), 1);
    fold.apply(&rows.slice(wanted[1], 1), None).unwrap();
    kept.take(&mut fold);
    assert_eq!(kept.0.len(), 0);
    assert_eq!((fold.rows().unwrap().num_rows(), fold.group_count()), (0, 1));
}

#[tokio::test]
async fn an_aggregate_over_nothing_has_a_row_from_the_start() {
    let plan = plan("SELECT count(*) AS n, sum(delay) AS s, max(fare) AS m FROM flights");
    let (mut fold, mut kept) = (Fold::new(&plan).unwrap(), Kept::default());
    kept.take(&mut fold);
    assert_eq!(kept.lines(), ["0 | NULL | NULL"]);
    assert_eq!(plan.key_columns(), &[] as &[usize]);
}

#[tokio::test]
async fn a_fold_takes_only_the_columns_that_it_reads() {
    let rows = input().await;
    for (query, _) in QUESTIONS {
        let plan = plan(query);
        let width = plan.output_schema().fields().len();
        let narrow = rows.project(&plan.source_columns()).unwrap();
        let (narrow, whole) = (one_shot(&plan, &narrow), one_shot(&plan, &rows));
        assert_eq!(lines(&narrow.rows().unwrap(), width), lines(&whole.rows().unwrap(), width), "{query}");
    }
    let plan = plan("SELECT carrier, count(*) FROM flights GROUP BY carrier");
    let without = rows.project(&[1]).unwrap();
    assert!(matches!(Fold::new(&plan).unwrap().apply(&without, None), Err(Error::Shape { .. })));
}

#[tokio::test]
async fn states_of_another_plan_are_refused() {
    let rows = input().await;
    let counted = one_shot(&plan("SELECT carrier, count(*) FROM flights GROUP BY carrier"), &rows);
    let mut summed = Fold::new(&plan("SELECT carrier, sum(delay) FROM flights GROUP BY carrier")).unwrap();
    let states = counted.all_state().unwrap();
    assert!(matches!(summed.merge_state(&states), Err(Error::Operator(dataflow::Error::Shape { .. }))));
    assert!(matches!(summed.restore_state(&states), Err(Error::Operator(dataflow::Error::Shape { .. }))));
}

#[tokio::test]
async fn memory_is_counted() {
    let rows = input().await;
    for (query, _) in QUESTIONS.iter().filter(|(query, _)| !query.contains("< 0")) {
        let plan = plan(query);
        let (empty, full) = (Fold::new(&plan).unwrap(), one_shot(&plan, &rows));
        assert!(full.memory_bytes() >= empty.memory_bytes() && full.memory_bytes() > 0, "{query}");
    }
}

/// A view, the view over the rows that do not fail, and which rows fail.
const FAILURES: &[(&str, &str, &str)] = &[
    (
        "SELECT carrier, count(*) AS n, sum(100 / (miles % 3)) AS s, last_value(flight) AS l FROM flights GROUP BY carrier",
        "SELECT carrier, count(*), sum(100 / (miles % 3)), last_value(flight ORDER BY _arrival_time, _partition, _offset)
         FROM flights WHERE miles % 3 <> 0 GROUP BY carrier",
        "miles % 3 = 0",
    ),
    (
        "SELECT 100 / (miles % 5) AS k, count(*) AS n FROM flights WHERE 1000 / (flight % 4) > 400 GROUP BY 1",
        "SELECT 100 / (miles % 5), count(*) FROM flights WHERE flight % 4 BETWEEN 1 AND 2 AND miles % 5 <> 0 GROUP BY 1",
        "flight % 4 = 0 OR (flight % 4 < 3 AND miles % 5 = 0)",
    ),
    // One in forty, so that most batches are whole.
    (
        "SELECT carrier, flight / (flight - 11) AS q FROM flights",
        "SELECT carrier, flight / (flight - 11) FROM flights WHERE flight <> 11",
        "flight = 11",
    ),
    // All but those without a carrier.
    (
        "SELECT CAST(carrier AS INT) AS c, count(*) AS n FROM flights GROUP BY 1",
        "SELECT CAST(NULL AS INT), count(*) FROM flights WHERE carrier IS NULL",
        "carrier IS NOT NULL",
    ),
    ("SELECT max(CAST(miles * 1000000 AS INT)) AS m FROM flights", "SELECT max(miles * 1000000) FROM flights WHERE miles <= 2147", "miles > 2147"),
    (
        "SELECT count(*) AS n FROM flights WHERE regexp_like(carrier, CASE flight % 6 WHEN 1 THEN '(' ELSE 'A' END)",
        "SELECT count(*) FROM flights WHERE flight % 6 <> 1 AND carrier LIKE '%A%'",
        "flight % 6 = 1 AND carrier IS NOT NULL",
    ),
    // What is not looked at does not fail.
    (
        "SELECT sum(100 / (miles % 3)) FILTER (WHERE miles % 3 <> 0 AND carrier = 'AA') AS s FROM flights",
        "SELECT sum(100 / nullif(miles % 3, 0)) FROM flights WHERE carrier = 'AA'",
        "false",
    ),
    (
        "SELECT count(*) AS n FROM flights WHERE miles % 3 <> 0 AND 100 / (miles % 3) > 50 OR flight = 3",
        "SELECT count(*) FROM flights WHERE miles % 3 = 1 OR flight = 3",
        "false",
    ),
    (
        "SELECT sum(CASE WHEN flight % 2 = 0 THEN 0 ELSE 6 / (flight % 2) END) AS s FROM flights",
        "SELECT sum(6 * (flight % 2)) FROM flights",
        "false",
    ),
];

#[tokio::test]
async fn rows_that_fail_are_left_out_the_same_ones_in_any_batching() {
    let rows = input().await;
    let mut random = Random(101);
    for (view, question, failing) in FAILURES {
        let plan = plan(view);
        let expected = oracle(&rows, question).await;
        let failing =
            lines(&oracle(&rows, &format!("SELECT _partition, _offset FROM flights WHERE {failing}")).await, 2);
        let single: Vec<RecordBatch> = (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect();
        for pieces in [vec![rows.clone()], single, pieces(&rows, &mut random), pieces(&rows, &mut random)] {
            let (mut fold, mut kept, mut failed) = (Fold::new(&plan).unwrap(), Kept::default(), Vec::new());
            for piece in &pieces {
                let left_out = fold.apply(piece, None).unwrap();
                assert!(left_out.is_sorted_by_key(|failed| failed.row));
                assert!(left_out.iter().all(|failed| failed.reason.starts_with("cannot evaluate ")), "{left_out:?}");
                let place =
                    |failed: &FailedRow| lines(&piece.project(&[8, 9]).unwrap().slice(failed.row, 1), 2).remove(0);
                failed.extend(left_out.iter().map(place));
                kept.take(&mut fold);
            }
            failed.sort();
            assert_eq!(failed, failing, "{view}");
            let width = expected.num_columns();
            assert_eq!(lines(&fold.rows().unwrap(), width), lines(&expected, width), "{view}");
            assert_eq!(kept.lines(), lines(&fold.rows().unwrap(), plan.output_schema().fields().len()), "{view}");
        }
    }
}

#[tokio::test]
async fn a_failing_row_is_left_out_with_any_weight() {
    let rows = input().await;
    let plan = plan("SELECT carrier, sum(100 / (miles % 3)) AS s FROM flights GROUP BY carrier");
    let mut fold = Fold::new(&plan).unwrap();
    let alone = fold.apply(&rows, None).unwrap();
    let weights = |of: &dyn Fn(usize) -> i64| Int64Array::from_iter_values((0..rows.num_rows()).map(of));
    // Rows of weight 0 are not there, and so cannot fail; the others keep their numbers.
    let some = fold.apply(&rows, Some(&weights(&|row| i64::from(row % 2 == 1) * 2))).unwrap();
    assert_eq!(some, alone.iter().filter(|failed| failed.row % 2 == 1).cloned().collect::<Vec<_>>());
    let taken_back = fold.apply(&rows, Some(&weights(&|row| -1 - 2 * i64::from(row % 2 == 1)))).unwrap();
    assert_eq!((taken_back, fold.group_count()), (alone, 0));
}

#[tokio::test]
async fn what_cannot_be_computed_of_a_group_is_null_until_it_can() {
    let rows = input().await;
    for (view, question) in [
        (
            "SELECT carrier, count(*) AS n, 1000 / (CAST(sum(miles) AS BIGINT) % 2) AS q, max(delay) + 1 AS m FROM flights GROUP BY carrier",
            "SELECT carrier, count(*), 1000 / nullif(sum(miles) % 2, 0), max(delay) + 1 FROM flights GROUP BY carrier",
        ),
        (
            "SELECT flight, 6 / (count(*) % 3) AS q, 6 / (count(*) % 3) + 1 AS r FROM flights GROUP BY flight
             HAVING 6 / (count(*) % 2) = 6",
            "SELECT flight, 6 / nullif(count(*) % 3, 0), 6 / nullif(count(*) % 3, 0) + 1 FROM flights GROUP BY flight
             HAVING count(*) % 2 = 1",
        ),
        (
            "SELECT carrier, avg(CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))) AS a FROM flights
             GROUP BY carrier",
            "SELECT carrier, NULL FROM flights GROUP BY carrier",
        ),
    ] {
        let plan = plan(view);
        let (mut fold, mut kept) = (Fold::new(&plan).unwrap(), Kept::default());
        let (mut folded, mut failed) = (0, 0);
        for piece in pieces(&rows, &mut Random(103)) {
            assert!(fold.apply(&piece, None).unwrap().is_empty());
            folded += piece.num_rows();
            kept.take(&mut fold);
            failed += usize::from(fold.take_failure().is_some());
            assert!(fold.take_failure().is_none(), "told once");
            assert_eq!(kept.lines(), lines(&fold.rows().unwrap(), plan.output_schema().fields().len()), "{view}");
        }
        let expected = oracle(&rows, question).await;
        assert_eq!(folded, rows.num_rows());
        assert_eq!(failed > 0, view.contains(" / "), "{view}");
        assert_eq!(kept.lines(), lines(&expected, expected.num_columns()), "{view}");
    }
}

#[tokio::test]
async fn every_time_has_a_window() {
    // 1000-01-01, 1969-12-31 23:59:59, 3000-01-01 00:30, and two within one hour.
    let times =
        [-30_610_224_000_000_000, -1_000_000, 32_503_681_800_000_000, 1_709_208_000_000_000, 1_709_208_001_000_000];
    let rows = input().await.slice(0, times.len());
    let mut columns = rows.columns().to_vec();
    let departed = rows.schema().index_of("departed").unwrap();
    columns[departed] = Arc::new(arrow::array::TimestampMicrosecondArray::from(times.to_vec()));
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let windows = |size: &str| {
        let query = format!(
            "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(flights, departed, INTERVAL '{size}')
             GROUP BY window_start, window_end"
        );
        lines(&one_shot(&plan(&query), &rows).rows().unwrap(), 3)
    };
    let hours = windows("1 hour");
    assert_eq!(hours.len(), 4, "{hours:?}");
    for expected in ["1000-01-01T00:00:00", "1969-12-31T23:00:00", "3000-01-01T00:00:00", "3000-01-01T01:00:00"] {
        assert!(hours.iter().any(|line| line.contains(expected)), "{expected} in {hours:?}");
    }
    let centuries = windows("100 years");
    assert!(centuries.iter().any(|line| line.contains("0970-01-01") && line.contains("1070-01-01")), "{centuries:?}");
}
