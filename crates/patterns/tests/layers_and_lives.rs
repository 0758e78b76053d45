//! One SQL text, one answer, with everything running: a view that streams, one that is replayed, and one of two layers
//! whose H grows at random moments give what plain DataFusion computes over the whole input at once, bit for bit,
//! through restarts and with rows whose event times are long past.
//!
//! It was shown to catch: a speed layer that begins again at the start of the log after a restart.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../../streaming/tests/support/mod.rs"]
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, compute::concat_batches};
use futures::TryStreamExt as _;
use lakehouse::{CaptureSettings, LakeLocation};
use model::{MemoryBudget, Metrics, Positions, Principal, SystemClock};
use object_store::{ObjectStore, memory::InMemory};
use patterns::{Deployment, LambdaSettings, PatternSettings, Resources};
use proptest::prelude::*;
use serving::{
    sql::{Outcome, SqlService, SqlSettings},
    views::Views,
};
use streaming::{ReaderSettings, ViewTaskSettings};
use support::input::{self, Input, input};
use support::log::Log;
use support::question::{Aggregates, Question, question};
use support::rows::check;
use support::{block_on, cases};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Record batches arrive.
    Append(u8),
    /// The batch layer runs: H grows.
    Batch,
    /// The streamed view is folded again from the start of the log, and swapped.
    Replay,
    Ask,
    /// Everything is stopped and started again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6_u8).prop_map(Step::Append),
        3 => Just(Step::Batch),
        1 => Just(Step::Replay),
        2 => Just(Step::Ask),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 3..12)
}

/// Everything between the log and the doors.
struct Product {
    deployment: Arc<Deployment>,
    sql: Arc<SqlService>,
}

impl Product {
    /// Starts from the catalogue of the life before, which is read as that life left it on disk: whoever answered
    /// questions may have it open still.
    async fn start(
        directory: &Path,
        life: usize,
        log: &Log,
        checkpoints: &Arc<dyn ObjectStore>,
        read_bytes_max: usize,
    ) -> Self {
        let catalogue = |life: usize| directory.join(format!("catalogue-{life}.redb"));
        if life > 0 {
            std::fs::copy(catalogue(life - 1), catalogue(life)).unwrap();
        }
        let metrics = Metrics::default();
        let reader = ReaderSettings { read_bytes_max };
        let settings = PatternSettings {
            lambda: LambdaSettings { epoch_interval: Duration::from_millis(3) },
            view_task: ViewTaskSettings { checkpoint_interval: Duration::from_millis(2), reader: reader.clone() },
            capture: CaptureSettings {
                commit_interval: Duration::from_millis(2),
                reader,
                ..CaptureSettings::shipped()
            },
        };
        let resources = Resources {
            state_memory: MemoryBudget::new(u64::MAX),
            log: log.shared(),
            dead_letters: Arc::clone(&log.dead_letters),
            checkpoints: Arc::clone(checkpoints),
            lake: LakeLocation::directory(directory.join("lake")),
            clock: Arc::new(SystemClock),
            metrics: metrics.clone(),
            settings,
            threads: tokio::runtime::Handle::current(),
        };
        let views = Views::new(metrics.clone());
        let deployment = Deployment::open(&catalogue(life), resources, Arc::clone(&views)).await.unwrap();
        let sql = SqlService::new(views, Arc::clone(&deployment) as _, SqlSettings::shipped(), metrics).unwrap();
        Self { deployment, sql }
    }

    async fn execute(&self, sql: &str, at_least: &Positions) -> Outcome {
        let session = self.sql.session(Principal::anonymous());
        session.demand(at_least, None).unwrap();
        session.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn ask(&self, view: &str, at_least: &Positions) -> RecordBatch {
        match self.execute(&format!("SELECT * FROM {view}"), at_least).await {
            Outcome::Rows { stream, .. } => {
                let schema = stream.schema();
                concat_batches(&schema, &stream.try_collect::<Vec<_>>().await.unwrap()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn run(input: Input, question: Question, steps: Vec<Step>, read_bytes_max: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(&input).await;
    let source = input.source();
    let checkpoints: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut life = 0;
    let mut product = Product::start(directory.path(), life, &log, &checkpoints, read_bytes_max).await;
    let now = Positions::new();
    product.execute(&source.text, &now).await;
    let view = question.view();
    product.execute(&format!("CREATE MATERIALIZED VIEW streamed AS {view}"), &now).await;
    // Only an aggregate has two layers.
    let names = if question.groups() { &["streamed", "layered"][..] } else { &["streamed"] };
    if question.groups() {
        product.execute(&format!("CREATE MATERIALIZED VIEW layered WITH (batch = '1 hour') AS {view}"), &now).await;
    }
    let mut appends = input.appends.iter();
    for step in
        steps.into_iter().chain([Step::Append(u8::MAX), Step::Ask, Step::Batch, Step::Ask, Step::Restart, Step::Ask])
    {
        match step {
            Step::Append(count) => {
                for append in appends.by_ref().take(count.into()) {
                    log.append(append).await;
                }
            }
            Step::Batch if !question.groups() => {}
            Step::Batch => drop(product.execute("REFRESH MATERIALIZED VIEW layered", &now).await),
            Step::Replay => drop(product.execute("REFRESH MATERIALIZED VIEW streamed", &now).await),
            Step::Ask => {
                let rows = input::batch(&source, &log.placed);
                let expected = question.answer(&rows).await;
                for name in names {
                    check(&product.ask(name, &log.end).await, &expected, &format!("{name}: {view}"));
                }
            }
            Step::Restart => {
                product.deployment.stop().await.unwrap();
                log.reopen().await;
                life += 1;
                product = Product::start(directory.path(), life, &log, &checkpoints, read_bytes_max).await;
            }
        }
    }
    product.deployment.stop().await.unwrap();
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn streamed_and_layered_views_give_the_answer_of_datafusion(
        input in input(16),
        question in question(Aggregates::All),
        steps in steps(),
        read_bytes_max in prop_oneof![Just(1_usize), 300..3_000_usize, Just(1 << 20)],
    ) {
        block_on(run(input, question, steps, read_bytes_max));
    }
}
