//! View tasks through kills at every step, against plain DataFusion.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{Acks, EventLog, TopicSpec};
use futures::stream::BoxStream;
use model::{MemoryBudget, Metrics, Positions, TopicName, TopicPartition};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};

use tokio::runtime::Handle;

use super::{ViewTask, ViewTaskHandle, ViewTaskSettings};
use crate::{
    Change, CheckpointStore, Error, ReaderSettings, StateMemory, ViewPlan,
    testing::{
        MemoryLog, Random, all_rows, append_flights, batch, dead_letters, end_of, flights, letters, lines,
        log_of_flights, oracle, record, view,
    },
};

const QUERY: &str =
    "SELECT carrier, count(*) AS n, sum(delay) AS s, avg(fare) AS a, max(departed) AS m, last_value(flight) AS l
    FROM flights WHERE miles > 100 GROUP BY carrier HAVING count(*) > 2";
const ORACLE: &str = "SELECT carrier, count(*), sum(delay),
    round(CAST(sum(fare) AS DECIMAL(38, 18)) / count(fare), 16), max(departed),
    last_value(flight ORDER BY _arrival_time, _partition, _offset)
    FROM flights WHERE miles > 100 GROUP BY carrier HAVING count(*) > 2";
const ROWS: &str = "SELECT carrier, delay, fare FROM flights WHERE delay > 100";

/// The view as someone sees it who takes its changes.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Shown>>);

// Rows with how often each is there, and what they reflect.
type Shown = (BTreeMap<String, i64>, Positions);

impl Seen {
    fn take(&self, plan: &ViewPlan, change: &Change, positions: &Positions) {
        let mut seen = self.0.lock().unwrap();
        assert!(positions.covers(&seen.1), "Positions move forward");
        seen.1.clone_from(positions);
        for row in 0..change.row_count() {
            let line = lines(&change.rows().slice(row, 1), plan.output_schema().fields().len()).remove(0);
            *seen.0.entry(line).or_default() += change.weights().value(row);
        }
        seen.0.retain(|_, weight| *weight != 0);
    }

    fn lines(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        assert!(seen.0.values().all(|weight| *weight == 1), "each row of a view is there once");
        seen.0.keys().cloned().collect()
    }
}

fn plan(query: &str) -> Arc<ViewPlan> {
    Arc::new(ViewPlan::new(&view(query), &[flights()]).unwrap())
}

struct Setup {
    plan: Arc<ViewPlan>,
    log: Arc<MemoryLog>,
    store: Arc<dyn ObjectStore>,
    until: Option<Positions>,
    interval: Duration,
    state_bytes_max: u64,
}

impl Setup {
    async fn start(&self, seen: &Seen) -> crate::Result<ViewTaskHandle> {
        let task = ViewTask {
            plan: Arc::clone(&self.plan),
            log: Arc::clone(&self.log) as _,
            dead_letters: dead_letters(&(Arc::clone(&self.log) as _)),
            checkpoints: Some(CheckpointStore::new(Arc::clone(&self.store), "views/v")),
            start: Positions::new(),
            until: self.until.clone(),
            settings: ViewTaskSettings {
                checkpoint_interval: self.interval,
                reader: ReaderSettings { read_bytes_max: 2_000 },
            },
            metrics: Metrics::default(),
            memory: StateMemory::new("v", &MemoryBudget::new(self.state_bytes_max)),
            threads: Handle::current(),
        };
        let (plan, seen) = (Arc::clone(&self.plan), seen.clone());
        task.spawn(move |changes, positions| {
            seen.take(&plan, &changes[0], positions);
            Ok(())
        })
        .await
    }
}

async fn wait_until(handle: &ViewTaskHandle, positions: &Positions) {
    handle.progress().wait_for(|progress| progress.positions.covers(positions)).await.unwrap();
}

#[tokio::test]
async fn a_view_follows_the_log() {
    let log = log_of_flights(300, 21).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let setup = Setup {
        plan: plan(QUERY),
        log: Arc::clone(&log),
        store,
        until: None,
        interval: Duration::from_secs(3_600),
        state_bytes_max: u64::MAX,
    };
    let seen = Seen::default();
    let handle = setup.start(&seen).await.unwrap();
    let mut random = Random(22);
    for _ in 0..5 {
        let end = end_of(log.as_ref(), "flights");
        wait_until(&handle, &end).await;
        let rows = all_rows(Arc::clone(&log) as _, &flights()).await;
        let expected = oracle(&rows, ORACLE).await;
        assert_eq!(seen.lines(), lines(&expected, 6));
        append_flights(&log, 100, &mut random).await;
    }
    let progress = handle.progress().borrow().clone();
    assert_eq!((progress.checkpointed, progress.target, progress.rejected_records), (Positions::new(), None, 0));
    let end = end_of(log.as_ref(), "flights");
    wait_until(&handle, &end).await;
    assert_eq!(handle.stop().await.unwrap(), end);
    // The last checkpoint holds everything: nothing is read again.
    let again = Seen::default();
    let handle = setup.start(&again).await.unwrap();
    assert_eq!(handle.progress().borrow().checkpointed, end);
    wait_until(&handle, &end).await;
    assert_eq!(handle.stop().await.unwrap(), end);
    assert_eq!(again.lines(), seen.lines());
}

#[tokio::test]
async fn a_replay_stops_at_its_end_and_reports_how_far_it_is() {
    let log = log_of_flights(400, 31).await;
    let end = end_of(log.as_ref(), "flights");
    let rows = all_rows(Arc::clone(&log) as _, &flights()).await;
    append_flights(&log, 200, &mut Random(32)).await;
    for (query, question) in [(QUERY, ORACLE), (ROWS, ROWS)] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let setup = Setup {
            plan: plan(query),
            log: Arc::clone(&log),
            store,
            until: Some(end.clone()),
            interval: Duration::from_secs(3_600),
            state_bytes_max: u64::MAX,
        };
        let seen = Seen::default();
        let handle = setup.start(&seen).await.unwrap();
        let progress = handle.progress();
        assert_eq!(progress.borrow().target, Some(end.clone()));
        assert_eq!(handle.wait().await.unwrap(), end);
        assert_eq!((progress.borrow().folded_records, progress.borrow().positions.clone()), (400, end.clone()));
        let expected = oracle(&rows, question).await;
        let width = expected.num_columns();
        let shown: Vec<String> =
            seen.lines().iter().map(|line| line.split(" | ").take(width).collect::<Vec<_>>().join(" | ")).collect();
        let mut shown = shown;
        shown.sort();
        assert_eq!(shown, lines(&expected, width), "{query}");
    }
}

/// A store that loses power: from the chosen write on, nothing arrives any more, or it fails.
struct Failing {
    inner: InMemory,
    /// How many writes still arrive.
    writes_left: AtomicUsize,
    writes: AtomicUsize,
    /// Whether, of the writes that would arrive, every third one fails.
    stumbles: bool,
    /// Whether the first write that does not arrive leaves half of its bytes, under its name.
    tears: bool,
}

impl Failing {
    fn after(writes: usize, tears: bool, inner: InMemory) -> Self {
        Self { inner, writes_left: AtomicUsize::new(writes), writes: AtomicUsize::new(0), stumbles: false, tears }
    }

    fn allows(&self) -> bool {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        if self.stumbles && number % 3 == 1 {
            return false;
        }
        self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn broken() -> object_store::Error {
        object_store::Error::Generic { store: "failing", source: "no power".into() }
    }
}

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        if self.allows() {
            return self.inner.put_opts(path, payload, options).await;
        }
        // A manifest is written atomically: it never tears. A segment may be there in part.
        if self.tears && path.filename() != Some("manifest.json") {
            let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
            self.inner.put_opts(path, bytes[..bytes.len() / 2].to_vec().into(), options).await?;
        }
        Err(Self::broken())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(Self::broken())
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        // A delete is a write like any other.
        if self.allows() {
            self.inner.delete_stream(paths)
        } else {
            Box::pin(futures::stream::once(async { Err(Self::broken()) }))
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Runs the view over all of the log with a checkpoint after every batch, and returns how many writes that took.
async fn run_with_power_for(
    writes: usize,
    tears: bool,
    log: &Arc<MemoryLog>,
    query: &str,
    disk: InMemory,
) -> (usize, InMemory) {
    let failing = Arc::new(Failing::after(writes, tears, disk));
    let store: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
    let until = Some(end_of(log.as_ref(), "flights"));
    let setup = Setup {
        plan: plan(query),
        log: Arc::clone(log),
        store,
        until,
        interval: Duration::ZERO,
        state_bytes_max: u64::MAX,
    };
    let _ = setup.start(&Seen::default()).await.unwrap().wait().await;
    (failing.writes.load(Ordering::SeqCst), failing.inner.fork())
}

#[tokio::test]
async fn killed_at_any_write_of_a_checkpoint_the_view_comes_back_the_same() {
    let log = log_of_flights(800, 41).await;
    let rows = all_rows(Arc::clone(&log) as _, &flights()).await;
    for (query, question) in [(QUERY, ORACLE), (ROWS, ROWS)] {
        let expected = oracle(&rows, question).await;
        let width = expected.num_columns();
        let (writes, _) = run_with_power_for(usize::MAX, false, &log, query, InMemory::new()).await;
        assert!(writes > 40, "{writes} writes are enough to kill at, with compactions among them");
        for killed_at in 0..=writes {
            let tears = killed_at % 2 == 0;
            let (_, disk) = run_with_power_for(killed_at, tears, &log, query, InMemory::new()).await;
            // And once more, somewhere on the way of the second life.
            let (_, disk) = run_with_power_for(killed_at / 3, !tears, &log, query, disk).await;
            let store: Arc<dyn ObjectStore> = Arc::new(disk);
            let until = Some(end_of(log.as_ref(), "flights"));
            let setup = Setup {
                plan: plan(query),
                log: Arc::clone(&log),
                store,
                until,
                interval: Duration::from_secs(3_600),
                state_bytes_max: u64::MAX,
            };
            let seen = Seen::default();
            let end = setup.start(&seen).await.unwrap().wait().await.unwrap();
            assert_eq!(end, end_of(log.as_ref(), "flights"));
            let mut shown: Vec<String> =
                seen.lines().iter().map(|line| line.split(" | ").take(width).collect::<Vec<_>>().join(" | ")).collect();
            shown.sort();
            assert_eq!(shown, lines(&expected, width), "{query}, killed at write {killed_at}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_no_state() {
    let log = log_of_flights(300, 51).await;
    let failing = Arc::new(Failing::after(0, false, InMemory::new()));
    let store: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
    let setup = Setup {
        plan: plan(QUERY),
        log: Arc::clone(&log),
        store,
        until: None,
        interval: Duration::ZERO,
        state_bytes_max: u64::MAX,
    };
    let seen = Seen::default();
    let handle = setup.start(&seen).await.unwrap();
    let end = end_of(log.as_ref(), "flights");
    wait_until(&handle, &end).await;
    assert!(failing.writes.load(Ordering::SeqCst) > 3, "checkpoints were tried");
    assert_eq!(handle.progress().borrow().checkpointed, Positions::new(), "nothing could be written");
    failing.writes_left.store(usize::MAX, Ordering::SeqCst);
    handle.progress().wait_for(|progress| progress.checkpointed == end).await.unwrap();
    handle.stop().await.unwrap();
    let again = Seen::default();
    setup.start(&again).await.unwrap().stop().await.unwrap();
    assert_eq!(again.lines(), seen.lines());
}

#[tokio::test]
async fn a_store_that_stumbles_leaves_whole_checkpoints() {
    let log = log_of_flights(600, 55).await;
    for tears in [false, true] {
        let failing = Arc::new(Failing { stumbles: true, ..Failing::after(usize::MAX, tears, InMemory::new()) });
        let store: Arc<dyn ObjectStore> = Arc::clone(&failing) as _;
        let setup = Setup {
            plan: plan(QUERY),
            log: Arc::clone(&log),
            store,
            until: None,
            interval: Duration::ZERO,
            state_bytes_max: u64::MAX,
        };
        let seen = Seen::default();
        let handle = setup.start(&seen).await.unwrap();
        let end = end_of(log.as_ref(), "flights");
        handle.progress().wait_for(|progress| progress.checkpointed == end).await.unwrap();
        handle.stop().await.unwrap();
        assert!(failing.writes.load(Ordering::SeqCst) > 30, "many writes, every third one failed");
        let again = Seen::default();
        setup.start(&again).await.unwrap().stop().await.unwrap();
        assert_eq!(again.lines(), seen.lines());
    }
}

#[tokio::test]
async fn a_state_over_what_all_views_may_have_ends_its_task_and_is_not_loaded_again() {
    let log = log_of_flights(300, 57).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let of = |state_bytes_max| Setup {
        plan: plan(ROWS),
        log: Arc::clone(&log),
        store: Arc::clone(&store),
        until: None,
        interval: Duration::ZERO,
        state_bytes_max,
    };
    let is_told = |error: &Error| {
        assert!(matches!(error, Error::StateTooLarge { bytes, .. } if *bytes > 100), "{error}");
        assert!(error.to_string().contains("over the 100 bytes that views may take of memory.budget_bytes"), "{error}");
    };
    let ended = of(100).start(&Seen::default()).await.unwrap().wait().await;
    is_told(&ended.unwrap_err());
    let whole = of(u64::MAX).start(&Seen::default()).await.unwrap();
    wait_until(&whole, &end_of(log.as_ref(), "flights")).await;
    whole.stop().await.unwrap();
    is_told(&of(100).start(&Seen::default()).await.map(drop).unwrap_err());
}

#[tokio::test]
async fn what_a_task_fails_with_is_told() {
    let log = log_of_flights(50, 61).await;
    let task = |log: &Arc<MemoryLog>| ViewTask {
        plan: plan(QUERY),
        log: Arc::clone(log) as _,
        dead_letters: dead_letters(&(Arc::clone(log) as _)),
        checkpoints: None,
        start: Positions::new(),
        until: None,
        settings: ViewTaskSettings::shipped(),
        metrics: Metrics::default(),
        memory: StateMemory::new("v", &MemoryBudget::new(u64::MAX)),
        threads: Handle::current(),
    };
    let refused = task(&log).spawn(|_, _| Err(model::Error::conflict("not now"))).await.unwrap().wait().await;
    assert!(matches!(refused, Err(Error::Emit(error)) if error.message() == "not now"));
    let missing = task(&MemoryLog::new()).spawn(|_, _| Ok(())).await;
    assert!(matches!(missing.map(drop), Err(Error::Log(eventlog::Error::UnknownPartition(_)))));
}

#[tokio::test]
async fn bad_records_are_counted_and_do_not_stop_a_view() {
    let log = log_of_flights(20, 71).await;
    let place = TopicPartition::new(TopicName::new("flights").unwrap(), 1);
    log.append(&place, batch(vec![record("k", "not JSON"), record("k", "{}")]), Acks::Durable).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let until = Some(end_of(log.as_ref(), "flights"));
    let setup = Setup {
        plan: plan("SELECT count(*) AS n FROM flights"),
        log,
        store,
        until,
        interval: Duration::from_secs(9),
        state_bytes_max: u64::MAX,
    };
    let seen = Seen::default();
    let handle = setup.start(&seen).await.unwrap();
    let progress = handle.progress();
    handle.wait().await.unwrap();
    assert_eq!((progress.borrow().folded_records, progress.borrow().rejected_records), (21, 1));
    assert_eq!(seen.lines(), ["21"]);
}

/// A failing view, the view over the records that do not fail, and which records do.
const FAILING: &[(&str, &str, &str)] = &[
    (
        "SELECT carrier, count(*) AS n, sum(1000 / (miles % 7)) AS s FROM flights GROUP BY carrier",
        "SELECT carrier, count(*), sum(1000 / (miles % 7)) FROM flights WHERE miles % 7 <> 0 GROUP BY carrier",
        "miles % 7 = 0",
    ),
    (
        "SELECT carrier, delay FROM flights WHERE 100 / (flight % 5) > 30",
        "SELECT carrier, delay FROM flights WHERE flight % 5 <> 0 AND 100 / nullif(flight % 5, 0) > 30",
        "flight % 5 = 0",
    ),
    // Every record fails that has a carrier.
    (
        "SELECT CAST(carrier AS INT) AS c, count(*) AS n FROM flights GROUP BY 1",
        "SELECT NULL, count(*) FROM flights WHERE carrier IS NULL",
        "carrier IS NOT NULL",
    ),
];

#[tokio::test]
async fn records_that_cannot_be_evaluated_are_left_out_and_kept_once_whatever_happens() {
    let mut random = Random(91);
    for (query, question, failing) in FAILING {
        let log = log_of_flights(700, random.next()).await;
        let rows = all_rows(Arc::clone(&log) as _, &flights()).await;
        let expected = oracle(&rows, question).await;
        let width = expected.num_columns();
        let failing = format!("SELECT _partition, _offset FROM flights WHERE {failing}");
        let failing = lines(&oracle(&rows, &failing).await, 2);
        assert!(failing.len() > 50);
        // Restarts from a checkpoint, restarts from the beginning, and at last a new version that is replayed.
        let mut store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for life in 0..12 {
            let end = end_of(log.as_ref(), "flights");
            let end: Positions = match life {
                10.. => end,
                _ => end.iter().map(|(place, end)| (place.clone(), random.below(end as usize + 1) as i64)).collect(),
            };
            if random.below(3) == 0 || life == 11 {
                store = Arc::new(InMemory::new());
            }
            let interval = if random.below(2) == 0 { Duration::ZERO } else { Duration::from_secs(3_600) };
            let setup = Setup {
                plan: plan(query),
                log: Arc::clone(&log),
                store: Arc::clone(&store),
                until: Some(end),
                interval,
                state_bytes_max: u64::MAX,
            };
            let seen = Seen::default();
            let handle = setup.start(&seen).await.unwrap();
            let progress = handle.progress();
            handle.wait().await.unwrap();
            if life == 11 {
                let progress = progress.borrow().clone();
                assert_eq!(progress.rejected_records, failing.len() as u64, "{query}");
                assert_eq!(progress.folded_records, 700 - failing.len() as u64, "{query}");
            }
            if life >= 10 {
                let mut shown: Vec<String> = seen
                    .lines()
                    .iter()
                    .map(|line| line.split(" | ").take(width).collect::<Vec<_>>().join(" | "))
                    .collect();
                shown.sort();
                assert_eq!(shown, lines(&expected, width), "{query}");
            }
        }
        let letters = letters(log.as_ref(), "flights").await;
        let mut places: Vec<_> =
            letters.iter().map(|l| format!("{} | {}", l["ff_partition"], l["ff_offset"])).collect();
        places.sort();
        assert_eq!(places, failing, "{query}");
        let hash = plan(query).hash();
        assert!(letters.iter().all(|l| l["ff_view"] == "v" && l["ff_plan"] == hash && l["ff_topic"] == "flights"));
        assert!(letters.iter().all(|l| l["ff_reason"].starts_with("cannot evaluate ")), "{:?}", letters[0]);
        assert!(letters.iter().all(|l| l["value"].starts_with('{') && l["key"] == "k"));
    }
}

#[tokio::test]
async fn the_task_does_not_pass_a_record_that_failed_and_could_not_be_kept() {
    let log = log_of_flights(40, 97).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let setup = |interval| Setup {
        plan: plan("SELECT sum(1 / (miles - miles)) AS x FROM flights"),
        log: Arc::clone(&log),
        store: Arc::clone(&store),
        until: Some(end_of(log.as_ref(), "flights")),
        interval,
        state_bytes_max: u64::MAX,
    };
    log.refuse(Some(TopicName::new("flights.dead-letter").unwrap()));
    let handle = setup(Duration::ZERO).start(&Seen::default()).await.unwrap();
    let progress = handle.progress();
    assert!(matches!(handle.wait().await, Err(Error::Log(_))));
    assert_eq!(progress.borrow().positions, Positions::new());
    log.refuse(None);
    setup(Duration::ZERO).start(&Seen::default()).await.unwrap().wait().await.unwrap();
    assert_eq!(letters(log.as_ref(), "flights").await.len(), 40);
}

#[tokio::test]
async fn a_task_that_nobody_holds_stops() {
    let log = log_of_flights(20, 81).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let setup = Setup {
        plan: plan(QUERY),
        log,
        store,
        until: None,
        interval: Duration::from_secs(9),
        state_bytes_max: u64::MAX,
    };
    let handle = setup.start(&Seen::default()).await.unwrap();
    let mut progress = handle.progress();
    drop(handle);
    // The channel closes when the task ends.
    while progress.changed().await.is_ok() {}
}

#[tokio::test]
async fn short_records_that_become_long_rows_are_folded_a_few_at_a_time() {
    const RECORDS: usize = 60;
    let log = MemoryLog::new();
    let topic = TopicName::new("flights").unwrap();
    log.create_topic(TopicSpec::new(topic.clone(), 3)).await.unwrap();
    let records = (0..RECORDS).map(|n| record("k", &format!(r#"{{"carrier": "{n:010}"}}"#))).collect();
    log.append(&TopicPartition::new(topic, 1), batch(records), Acks::Durable).await.unwrap();
    let start = |state_bytes_max: u64, changes: &Arc<Mutex<Vec<(usize, usize)>>>| {
        let task = ViewTask {
            plan: plan("SELECT repeat(carrier, 100000) AS long FROM flights"),
            log: Arc::clone(&log) as _,
            dead_letters: dead_letters(&(Arc::clone(&log) as _)),
            checkpoints: None,
            start: Positions::new(),
            until: Some(end_of(log.as_ref(), "flights")),
            settings: ViewTaskSettings::shipped(),
            metrics: Metrics::default(),
            memory: StateMemory::new("v", &MemoryBudget::new(state_bytes_max)),
            threads: Handle::current(),
        };
        let changes = Arc::clone(changes);
        task.spawn(move |all, _| {
            let change = &all[0];
            let rows = change.row_count();
            changes.lock().unwrap().push((rows, change.rows().get_array_memory_size()));
            Ok(())
        })
    };
    // The first rows are evaluated before it is known how long they become.
    let at_once_bytes_max = 17 << 20;
    let changes = Arc::default();
    let end = start(u64::MAX, &changes).await.unwrap().wait().await.unwrap();
    assert_eq!(end, end_of(log.as_ref(), "flights"));
    let seen = std::mem::take(&mut *changes.lock().unwrap());
    assert_eq!(seen.iter().map(|(rows, _)| rows).sum::<usize>(), RECORDS);
    assert!(seen.iter().all(|(_, bytes)| *bytes <= at_once_bytes_max), "{seen:?}");
    // What does not fit is not made.
    let error = start(20 << 20, &changes).await.unwrap().wait().await.unwrap_err();
    assert!(matches!(error, Error::StateTooLarge { .. }), "{error}");
    let seen = changes.lock().unwrap();
    assert!(seen.iter().map(|(_, bytes)| bytes).sum::<usize>() <= 20 << 20, "{seen:?}");
}
