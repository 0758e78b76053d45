//! A deployment in a data folder, for the tests of this crate.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{array::AsArray as _, datatypes::Int64Type};
use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder};
use futures::TryStreamExt as _;
use lakehouse::{CaptureSettings, LakeLocation};
use model::{MemoryBudget, Metrics, Positions, Principal, SystemClock, TopicPartition};
use object_store::local::LocalFileSystem;
use serving::{
    sql::Definitions as _,
    views::{Relation, Views},
};
use streaming::{DeadLetters, ViewTaskSettings};

use crate::{Deployment, LambdaSettings, PatternSettings, Resources, incarnation::Incarnation};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Keys and numbers: the rows of a view with the columns `k` and `n`.
pub(crate) type Counts = BTreeMap<String, i64>;

/// Log, lake, catalogue and views in one folder.
pub(crate) struct Product {
    pub(crate) directory: PathBuf,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) resources: Resources,
    pub(crate) views: Arc<Views>,
    pub(crate) deployment: Arc<Deployment>,
}

impl Product {
    pub(crate) async fn open(directory: &Path) -> Self {
        let log = EventLogSettings { wal_file_bytes: 1 << 20, ..EventLogSettings::shipped() };
        Self::open_with(directory, log, PatternSettings::shipped().view_task).await
    }

    /// With a log and view tasks that work in another way.
    pub(crate) async fn open_with(directory: &Path, settings: EventLogSettings, view_task: ViewTaskSettings) -> Self {
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        let log_directory = directory.join("log");
        let log = EmbeddedLog::open(&log_directory, settings, Arc::clone(&clock) as _, metrics.clone()).await.unwrap();
        let checkpoints = directory.join("checkpoints");
        std::fs::create_dir_all(&checkpoints).unwrap();
        let capture = CaptureSettings { commit_interval: Duration::from_millis(20), ..CaptureSettings::shipped() };
        let settings = PatternSettings {
            lambda: LambdaSettings { epoch_interval: Duration::from_millis(20) },
            capture,
            view_task,
        };
        let resources = Resources {
            state_memory: MemoryBudget::new(u64::MAX),
            log: Arc::clone(&log) as _,
            dead_letters: DeadLetters::new(Arc::clone(&log) as _, Arc::clone(&clock) as _, metrics.clone()),
            checkpoints: Arc::new(LocalFileSystem::new_with_prefix(checkpoints).unwrap()),
            lake: LakeLocation::directory(directory.join("lake")),
            clock,
            metrics: metrics.clone(),
            settings,
            threads: tokio::runtime::Handle::current(),
        };
        let views = Views::new(metrics);
        let catalogue = directory.join("catalogue.redb");
        let deployment = Deployment::open(&catalogue, resources.clone(), Arc::clone(&views)).await.unwrap();
        Self { directory: directory.to_owned(), log, resources, views, deployment }
    }

    /// Opens what a crash now would leave.
    pub(crate) async fn after_a_crash(&self, directory: &Path) -> Self {
        self.copy_to(directory);
        Self::open(directory).await
    }

    /// Copies everything as it is at one moment.
    pub(crate) fn copy_to(&self, directory: &Path) {
        // A file may go between its listing and its copying; a crash is one moment, so the copy begins again.
        while let Err(error) = copy(&self.directory, directory) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            std::fs::remove_dir_all(directory).unwrap();
        }
    }

    /// Carries out one statement and returns its notices, or the message it failed with.
    pub(crate) async fn execute(&self, text: &str) -> Result<Vec<String>, String> {
        let statement = sql::parse(text).unwrap().remove(0);
        let defined = self.deployment.define(&Principal::anonymous(), statement).await;
        defined.map(|defined| defined.notices).map_err(|error| error.to_string())
    }

    /// Appends one record a key to partition 0 of a topic, and returns where it ends.
    pub(crate) async fn append(&self, topic: &str, keys: &[&str]) -> Positions {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        for key in keys {
            let value = Some(format!("{{\"k\": \"{key}\"}}").into());
            builder.push(Record { offset: 0, timestamp_ms: 1, key: None, value, headers: vec![] });
        }
        let partition = TopicPartition::new(topic.parse().unwrap(), 0);
        let appended = self.log.append(&partition, builder.build(), Acks::Durable).await.unwrap();
        Positions::from_iter([(partition, appended.next_offset)])
    }

    /// What a view answers once it has folded everything before `at_least`.
    pub(crate) async fn counts(&self, view: &str, at_least: &Positions) -> Counts {
        counts(&*self.views.get(view).unwrap(), at_least).await
    }

    /// A topic as it is now.
    pub(crate) fn incarnation(&self, topic: &str) -> Incarnation {
        let topic = self.log.topic(topic).unwrap();
        Incarnation::new(&self.resources.log, vec![(topic.name.clone(), topic.id)])
    }

    /// What `SHOW VIEWS` says of a view.
    pub(crate) fn state(&self, view: &str) -> String {
        let states = self.deployment.view_states();
        states.into_iter().find(|state| state.name == view).unwrap_or_else(|| panic!("no view {view}")).state
    }

    /// Whether there is something at this path below the data folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.directory.join(path).exists()
    }

    pub(crate) async fn stop(self) {
        self.deployment.stop().await.unwrap();
        self.log.close().await.unwrap();
    }
}

/// What a relation answers once it has folded everything before `at_least`.
pub(crate) async fn counts(relation: &dyn Relation, at_least: &Positions) -> Counts {
    relation.frontier().wait_for(at_least, TIMEOUT).await.unwrap();
    let snapshot = relation.snapshot().await.unwrap();
    let batches: Vec<_> = snapshot.rows().unwrap().stream(None).unwrap().try_collect().await.unwrap();
    let rows = batches.iter().flat_map(|batch| {
        let keys = batch.column(0).as_string::<i32>();
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        (0..batch.num_rows()).map(|row| (keys.value(row).to_owned(), numbers.value(row)))
    });
    rows.collect()
}

pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
