//! How fast one core decodes JSON records and folds them: rows per second, for a few views.
//!
//! `cargo run --release -p streaming --example fold_rate [records]`

use std::time::Duration;

use eventlog::{Compression, Record, RecordBatchBuilder, StoredBatch};
use model::{Clock as _, SystemClock};
use sql::Statement;
use streaming::{Fold, SourceDecoder, ViewPlan};

const SOURCE: &str =
    "CREATE SOURCE flights (carrier TEXT, origin TEXT, delay DOUBLE PRECISION, miles BIGINT, departed TIMESTAMP)";
const VIEWS: &[&str] = &[
    "SELECT carrier, delay FROM flights WHERE delay > 15",
    "SELECT carrier, count(*) AS n, sum(miles) AS miles FROM flights GROUP BY carrier",
    "SELECT carrier, avg(delay) AS mean FROM flights GROUP BY carrier",
    "SELECT carrier, origin, window_start, count(*) AS n, avg(delay) AS mean, max(delay) AS worst
     FROM TUMBLE(flights, departed, INTERVAL '1 hour') GROUP BY carrier, origin, window_start",
    "SELECT origin, last_value(delay) AS latest FROM flights GROUP BY origin",
];
const RECORDS_PER_BATCH: u64 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u64 = std::env::args().nth(1).map_or(Ok(500_000), |count| count.parse())?;
    let Some(Statement::CreateSource(source)) = sql::parse(SOURCE)?.pop() else { return Err("no source".into()) };
    let batches: Vec<StoredBatch> = (0..records / RECORDS_PER_BATCH).map(batch).collect();
    let mut decoder = SourceDecoder::new(&source)?;
    let started = SystemClock.instant();
    let mut rows = Vec::new();
    for batch in &batches {
        rows.push(decoder.decode(0, std::slice::from_ref(batch), 0, i64::MAX)?.rows);
    }
    report("decode", records, started.elapsed());
    for query in VIEWS {
        let text = format!("CREATE MATERIALIZED VIEW v AS {query}");
        let Some(Statement::CreateView(view)) = sql::parse(&text)?.pop() else { return Err("no view".into()) };
        let plan = ViewPlan::new(&view, std::slice::from_ref(&source))?;
        let (mut fold, started) = (Fold::new(&plan)?, SystemClock.instant());
        for rows in &rows {
            fold.apply(rows, None)?;
            fold.drain_changes()?;
        }
        let groups = fold.group_count();
        let what = query.split_whitespace().collect::<Vec<_>>().join(" ");
        report(&format!("fold and drain, {groups} groups: {what}"), records, started.elapsed());
    }
    Ok(())
}

/// Records that look like flights, the same in every run.
fn batch(number: u64) -> StoredBatch {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for i in number * RECORDS_PER_BATCH..(number + 1) * RECORDS_PER_BATCH {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let value = format!(
            r#"{{"carrier": "C{}", "origin": "A{}", "delay": {}.{}, "miles": {}, "departed": "2024-01-{:02}T{:02}:{:02}:00Z"}}"#,
            mixed % 14,
            (mixed >> 4) % 300,
            (mixed >> 13) % 200,
            mixed % 100,
            (mixed >> 9) % 3_000,
            i / 20_000 % 28 + 1,
            i / 800 % 24,
            mixed % 60,
        );
        builder.push(Record { value: Some(value.into()), ..Record::default() });
    }
    let base_offset = i64::try_from(number * RECORDS_PER_BATCH).unwrap_or(0);
    let mut bytes = builder.build().to_vec();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    StoredBatch { bytes: bytes.into(), arrival_time_ms: base_offset }
}

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn report(what: &str, records: u64, took: Duration) {
    println!("{:>12.0} rows/s  {what}", records as f64 / took.as_secs_f64());
}
