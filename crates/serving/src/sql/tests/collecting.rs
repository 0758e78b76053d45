//! Aggregates that collect, and the one budget of memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use model::{MemoryBudget, Metrics, Principal};

use super::rows;
use crate::{
    fixture::Fixture,
    sql::{SqlService, SqlSettings},
};

const BUDGET_BYTES: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_queries_that_collect_at_once_hold_no_more_than_the_budget() {
    let fixture = Fixture::new();
    let (views, definitions) = (Arc::clone(&fixture.views), Arc::clone(&fixture.definitions) as _);
    let memory = MemoryBudget::new(BUDGET_BYTES);
    let sql = SqlService::with_memory(memory.clone(), views, definitions, SqlSettings::shipped(), Metrics::default());
    let sql = sql.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let watching = {
        let (memory, ended) = (memory.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut most = 0;
            while !ended.load(Ordering::Acquire) {
                most = most.max(memory.reserved_bytes());
                std::thread::yield_now();
            }
            most
        })
    };
    // 300 MB in values of 100 MB, and of 1 MB; 9 MB in values of 1 MB, of which all six have room at any moment.
    for (rows_read, groups, allowed) in
        [(3000, 3, &["54000", "53200"][..]), (3000, 300, &["53200"]), (90, 9, &["1000000"])]
    {
        for collected in ["array_to_string(array_agg(repeat('a', 100000)), '')", "string_agg(repeat('a', 100000), '')"]
        {
            let text = format!(
                "SELECT max(length(y)) FROM (SELECT {collected} AS y FROM generate_series(1, {rows_read}) AS g (x) \
                 GROUP BY x % {groups}) AS q"
            );
            let asking = (0..6).map(|_| async {
                let session = sql.session(Principal::anonymous());
                match rows(&session, &text, &[]).await {
                    Ok((rows, _)) => rows.concat(),
                    Err(error) => error.sqlstate.to_owned(),
                }
            });
            for answer in join_all(asking).await {
                assert!(allowed.contains(&answer.as_str()), "{text}: {answer}");
            }
            // What the threads still drop.
            let given_back = async {
                while memory.reserved_bytes() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(30), given_back).await;
            assert!(in_time.is_ok(), "{text} keeps {} bytes", memory.reserved_bytes());
        }
    }
    ended.store(true, Ordering::Release);
    let most = watching.join().unwrap();
    assert!((BUDGET_BYTES / 4..=BUDGET_BYTES).contains(&most), "{most} bytes");
}

#[tokio::test]
async fn the_rows_that_a_window_holds_are_reserved() {
    let fixture = Fixture::new();
    // All following rows of 3,000 of 10 kB each; a sort beneath it can do with less.
    let text = "SELECT max(length(x)), max(c) FROM (SELECT x, count(*) OVER (ORDER BY i \
                ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS c FROM (SELECT i, repeat('a', 10000 + i % 2) AS x \
                FROM generate_series(1, 3000) AS s (i)) AS r) AS q";
    for (budget_bytes, expected) in [(16 << 20, "53200"), (512 << 20, "10001 3000")] {
        let (views, definitions) = (Arc::clone(&fixture.views), Arc::clone(&fixture.definitions) as _);
        let memory = MemoryBudget::new(budget_bytes);
        let settings = SqlSettings::shipped();
        let sql = SqlService::with_memory(memory, views, definitions, settings, Metrics::default()).unwrap();
        let answer = match rows(&sql.session(Principal::anonymous()), text, &[]).await {
            Ok((rows, _)) => rows.concat(),
            Err(error) => error.sqlstate.to_owned(),
        };
        assert_eq!(answer, expected, "of {budget_bytes} bytes");
    }
}
