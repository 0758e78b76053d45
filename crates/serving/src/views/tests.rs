//! Views, snapshots, keys and waiting.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
    util::pretty::pretty_format_batches,
};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use model::{ErrorKind, Metrics, Positions, TopicName};
use streaming::{Change, Weights};

use super::{BuildProgress, Building, ReadRefusal, Relation, View, Views};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("flights", DataType::Int64, true),
        Field::new("carrier", DataType::Utf8, true),
        Field::new("hour", DataType::Int32, true),
    ]))
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn positions(text: &str) -> Positions {
    text.parse().unwrap()
}

/// A view of flights by carrier and hour: the key is not what comes first in the schema.
fn view() -> View {
    View::new("hours", schema(), &[1, 2], vec![topic("flights")]).unwrap()
}

type Row<'a> = (i64, Option<&'a str>, i32, i64);

/// Applies rows of (flights, carrier, hour, weight).
fn apply(view: &View, rows: &[Row<'_>], at: &str) -> model::Result<()> {
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int32Array>()),
        ],
    );
    let weights = Weights::Column(rows.iter().map(|row| Some(row.3)).collect());
    view.apply(&Change::new(batch.unwrap(), weights).unwrap(), &positions(at))
}

/// The rows of a snapshot as text, one a line.
async fn text(snapshot: &super::Snapshot, projection: Option<&[usize]>) -> Vec<String> {
    let rows = snapshot.rows().expect("a view's snapshot has rows");
    let batches: Vec<RecordBatch> = rows.stream(projection).unwrap().try_collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    table.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| cells(line).join(" ")).collect()
}

#[tokio::test]
async fn changes_replace_and_remove_by_key() {
    type Case<'a> = (&'a [&'a [Row<'a>]], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[&[]], &[]),
        (&[&[(1, Some("AA"), 7, 1), (2, Some("UA"), 7, 1)]], &["1 AA 7", "2 UA 7"]),
        (&[&[(1, Some("AA"), 7, 1)], &[(5, Some("AA"), 7, 1)]], &["5 AA 7"]),
        (&[&[(1, Some("AA"), 7, 1)], &[(1, Some("AA"), 7, -1)]], &[]),
        // A row that leaves and comes back in one change stays, in whatever order the two are given.
        (&[&[(1, Some("AA"), 7, 1)], &[(9, Some("AA"), 7, 1), (1, Some("AA"), 7, -1)]], &["9 AA 7"]),
        // Sorted by the key: nulls first, then by carrier, then by hour as a number.
        (
            &[&[(1, Some("B"), 10, 1), (2, Some("B"), 9, 1), (3, None, 1, 1), (4, Some("A"), -1, 1)]],
            &["3  1", "4 A -1", "2 B 9", "1 B 10"],
        ),
    ];
    for (changes, expected) in cases {
        let view = view();
        for rows in *changes {
            apply(&view, rows, "flights/0:1").unwrap();
        }
        let snapshot = view.snapshot().await.unwrap();
        assert_eq!(text(&snapshot, None).await, *expected, "{changes:?}");
        assert_eq!(view.row_count(), Some(expected.len()));
    }
}

#[tokio::test]
async fn a_snapshot_does_not_change_and_knows_its_positions() {
    let view = view();
    apply(&view, &[(1, Some("AA"), 7, 1)], "flights/0:1").unwrap();
    let before = view.snapshot().await.unwrap();
    apply(&view, &[(2, Some("AA"), 7, 1), (3, Some("UA"), 8, 1)], "flights/0:3").unwrap();
    assert_eq!(text(&before, None).await, ["1 AA 7"]);
    assert_eq!(before.positions().to_string(), "flights/0:1");
    let after = view.snapshot().await.unwrap();
    assert_eq!(text(&after, None).await, ["2 AA 7", "3 UA 8"]);
    assert_eq!(after.positions().to_string(), "flights/0:3");
}

#[tokio::test]
async fn a_snapshot_longer_than_a_batch_is_read_whole_and_projected() {
    let view = view();
    let row_count = 3 * 8192;
    let rows: Vec<Row<'_>> = (0..row_count).map(|i| (i64::from(i) * 2, Some("AA"), i, 1)).collect();
    apply(&view, &rows, "flights/0:1").unwrap();
    let snapshot = view.snapshot().await.unwrap();
    let projections: [(&[usize], usize); 4] = [(&[0], 1), (&[2, 0], 2), (&[1], 1), (&[], 0)];
    for (projection, columns) in projections {
        let stream = snapshot.rows().unwrap().stream(Some(projection)).unwrap();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert!(batches.iter().all(|batch| batch.num_columns() == columns && batch.num_rows() <= 8192));
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows.len());
        if projection == [2, 0] {
            let last = batches.last().unwrap();
            let hour = last.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
            let flights = last.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
            assert_eq!(hour.value(last.num_rows() - 1), row_count - 1);
            assert_eq!(flights.value(last.num_rows() - 1), i64::from(row_count - 1) * 2);
        }
    }
}

#[tokio::test]
async fn a_change_of_another_shape_is_refused_and_changes_nothing() {
    let view = view();
    apply(&view, &[(1, Some("AA"), 7, 1)], "flights/0:1").unwrap();
    let carrier: ArrayRef = Arc::new(StringArray::from(vec!["AA"]));
    let stranger = RecordBatch::try_from_iter([("carrier", carrier)]).unwrap();
    let error = view.apply(&Change::of_rows(stranger), &positions("flights/0:2")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(text(&view.snapshot().await.unwrap(), None).await, ["1 AA 7"]);
    assert_eq!(view.positions().to_string(), "flights/0:1");
}

#[tokio::test]
async fn a_point_read_casts_its_key_and_carries_positions() {
    let view = view();
    apply(&view, &[(4, Some("AA"), 7, 1), (5, None, 7, 1)], "flights/0:9").unwrap();
    let found = [
        (vec![ScalarValue::from("AA"), ScalarValue::Int32(Some(7))], Some(4)),
        (vec![ScalarValue::from("AA"), ScalarValue::Int64(Some(7))], Some(4)),
        (vec![ScalarValue::Utf8(None), ScalarValue::from("7")], Some(5)),
        (vec![ScalarValue::from("AA"), ScalarValue::Int32(Some(8))], None),
    ];
    for (key, expected) in found {
        let (row, at) = view.get(&key).await.unwrap();
        let flights = row.map(|row| row.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0));
        assert_eq!(flights, expected, "{key:?}");
        assert_eq!(at.to_string(), "flights/0:9");
    }
    for key in [vec![ScalarValue::from("AA")], vec![ScalarValue::from("AA"), ScalarValue::from("seven")]] {
        assert_eq!(view.get(&key).await.unwrap_err().kind(), ErrorKind::Invalid, "{key:?}");
    }
}

#[tokio::test]
async fn a_view_without_a_key_holds_one_row_and_a_view_of_keys_alone_holds_them() {
    let total = Arc::new(Schema::new(vec![Field::new("total", DataType::Int64, true)]));
    for (key_columns, expected) in [(&[][..], 1), (&[0][..], 2)] {
        let view = View::new("total", Arc::clone(&total), key_columns, vec![]).unwrap();
        for value in [1_i64, 2] {
            let row = RecordBatch::try_new(Arc::clone(&total), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap();
            view.apply(&Change::of_rows(row), &Positions::new()).unwrap();
        }
        assert_eq!(view.row_count(), Some(expected));
        assert_eq!(text(&view.snapshot().await.unwrap(), None).await.last().unwrap(), "2");
    }
}

#[tokio::test]
async fn a_dictionary_column_comes_back_as_one() {
    let carriers: DictionaryArray<Int32Type> = ["AA", "UA"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("carrier", Arc::new(carriers) as ArrayRef)]).unwrap();
    let view = View::new("carriers", batch.schema(), &[0], vec![]).unwrap();
    view.apply(&Change::of_rows(batch.clone()), &Positions::new()).unwrap();
    assert_eq!(text(&view.snapshot().await.unwrap(), None).await, ["AA", "UA"]);
}

#[tokio::test]
async fn waiting_ends_when_the_view_arrives_or_says_where_it_is() {
    let view = Arc::new(view());
    let waiting = tokio::spawn({
        let view = Arc::clone(&view);
        async move { view.frontier().wait_for(&positions("flights/0:2"), Duration::from_secs(5)).await }
    });
    tokio::task::yield_now().await;
    apply(&view, &[], "flights/0:2").unwrap();
    waiting.await.unwrap().unwrap();

    let error = view.frontier().wait_for(&positions("flights/0:3"), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for part in ["hours", "flights/0:3", "flights/0:2", "20 ms"] {
        assert!(error.message().contains(part), "{part} is not in {error}");
    }
}

#[tokio::test]
async fn whoever_waits_on_a_name_is_served_by_the_version_that_replaces_it() {
    let views = Views::new(Metrics::default());
    views.publish("hours", Arc::new(view()));
    let waiting = tokio::spawn({
        let views = Arc::clone(&views);
        async move { views.wait_for("hours", &positions("flights/0:2"), Duration::from_secs(5)).await }
    });
    tokio::task::yield_now().await;
    let rebuilt = Arc::new(view());
    apply(&rebuilt, &[], "flights/0:2").unwrap();
    let old = views.publish("hours", Arc::clone(&rebuilt) as Arc<dyn Relation>).unwrap();
    let served = waiting.await.unwrap().unwrap();
    assert!(std::ptr::addr_eq(Arc::as_ptr(&served), Arc::as_ptr(&rebuilt)));
    assert!(!std::ptr::addr_eq(Arc::as_ptr(&served), Arc::as_ptr(&old)));

    // A topic that the view does not read is none of its business; a name that is not there is an error.
    views.wait_for("hours", &positions("orders/0:99"), Duration::ZERO).await.unwrap();
    let missing = views.wait_for("hour", &positions("flights/0:1"), Duration::ZERO).await.unwrap_err();
    assert_eq!(model::Error::from(missing).kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_being_built_answers_nobody_until_it_is_whole() {
    let views = Views::new(Metrics::default());
    let building = Arc::new(view());
    let (from, target) = (positions("flights/0:100"), positions("flights/0:300,flights/1:100"));
    building.frontier().build(Building::new(from, target).with_note(Some("its checkpoint is gone".to_owned())));
    views.publish("hours", Arc::clone(&building) as Arc<dyn Relation>);
    let read = |demanded: &str, timeout_ms| {
        let (views, demanded) = (Arc::clone(&views), positions(demanded));
        tokio::spawn(async move { views.wait_for("hours", &demanded, Duration::from_millis(timeout_ms)).await })
    };
    // Shares of what is left to fold, whatever the read demands.
    for (at, percent) in [("", 0), ("flights/0:100", 0), ("flights/0:250", 50), ("flights/0:300,flights/1:99", 99)] {
        apply(&building, &[(1, Some("AA"), 7, 1)], at).unwrap();
        for demanded in ["", "flights/0:1", "orders/0:99"] {
            let ReadRefusal::Building { error, progress } = read(demanded, 0).await.unwrap().unwrap_err() else {
                panic!("{demanded:?} at {at:?}")
            };
            assert_eq!(progress.records, 300);
            assert!(error.message().contains(&format!(": {percent}% (")), "{error}");
            assert!(error.message().ends_with("; its checkpoint is gone"), "{error}");
        }
    }
    let waiting = read("", 60_000);
    tokio::task::yield_now().await;
    apply(&building, &[(2, Some("AA"), 7, 1)], "flights/0:301,flights/1:100").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().row_count(), Some(1));
    // What comes later is lag.
    let ReadRefusal::Late(late) = read("flights/0:400", 0).await.unwrap().unwrap_err() else { panic!("it is whole") };
    assert!(late.message().contains("within 0 ms"), "{late}");
    read("", 0).await.unwrap().unwrap();

    let failed = Arc::new(view());
    failed.frontier().build(Building::new(Positions::new(), positions("flights/0:9")));
    failed.frontier().fail("its disk is full".to_owned());
    views.publish("hours", Arc::clone(&failed) as Arc<dyn Relation>);
    let ReadRefusal::Refused(error) = read("", 60_000).await.unwrap().unwrap_err() else { panic!("it has failed") };
    assert!(error.message().contains("before it was built: its disk is full"), "{error}");
}

#[test]
fn an_estimate_follows_the_rate_and_is_left_out_without_one() {
    let progress = |folded_records, elapsed_ms| BuildProgress {
        folded_records,
        records: 1_000,
        elapsed: Duration::from_millis(elapsed_ms),
        note: None,
    };
    for (progress, shown) in [
        (progress(0, 500), "0% (0 of 1000 records)"),
        (progress(250, 2_000), "25% (250 of 1000 records, 125 records/s, 6 s left)"),
        (progress(999, 1_000), "99% (999 of 1000 records, 999 records/s, 1 s left)"),
        (progress(1, 10_000), "0% (1 of 1000 records, 0 records/s, 999 s left)"),
        (BuildProgress { records: 0, ..progress(0, 1) }, "0% (0 of 0 records)"),
    ] {
        assert_eq!(progress.to_string(), shown);
    }
}

#[tokio::test]
async fn whoever_waits_is_told_how_long_or_why_it_is_in_vain() {
    let views = Views::new(Metrics::default());
    views.publish("hours", Arc::new(view()));
    let waiting = |timeout_ms| {
        let views = Arc::clone(&views);
        let wait =
            async move { views.wait_for("hours", &positions("flights/0:2"), Duration::from_millis(timeout_ms)).await };
        tokio::spawn(wait)
    };
    // Whatever is published meanwhile, all that it has waited is told.
    let late = waiting(50);
    let mut beats = tokio::time::interval(Duration::from_millis(4));
    for _ in 0..10 {
        beats.tick().await;
        views.publish("other", Arc::new(view()));
    }
    let late = model::Error::from(late.await.unwrap().unwrap_err());
    assert!(late.message().contains("within 50 ms"), "{late}");

    let failing = Arc::new(view());
    views.publish("hours", Arc::clone(&failing) as Arc<dyn Relation>);
    let vain = waiting(60_000);
    tokio::task::yield_now().await;
    failing.frontier().fail("its disk is full".to_owned());
    let vain = model::Error::from(vain.await.unwrap().unwrap_err());
    assert!(vain.message().contains("its disk is full"), "{vain}");
    // A version that takes its place ends the failure, and what it has reached is not forgotten.
    apply(&failing, &[], "flights/0:2").unwrap();
    waiting(0).await.unwrap().unwrap();
}

#[test]
fn rollback_swaps_and_the_gauge_follows_what_is_served() {
    let metrics = Metrics::default();
    let views = Views::new(metrics.clone());
    let (first, second) = (Arc::new(view()), Arc::new(view()));
    apply(&second, &[(1, Some("AA"), 7, 1)], "flights/0:1").unwrap();
    let gauge = || {
        views.refresh_metrics();
        metrics.view_rows.get_or_create(&[("view", "hours".to_owned())]).get()
    };
    views.publish("hours", first);
    assert_eq!(views.rollback("hours").unwrap_err().kind(), ErrorKind::NotFound);
    views.publish("hours", second);
    assert_eq!(gauge(), 1);
    views.rollback("hours").unwrap();
    assert_eq!(gauge(), 0);
    views.rollback("hours").unwrap();
    assert_eq!(gauge(), 1);
    assert!(views.discard_previous("hours").is_some());
    assert!(views.rollback("hours").is_err());
    assert!(views.remove("hours").is_some());
    assert!(views.names().is_empty());
}
