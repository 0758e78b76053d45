//! One SQL text, one answer, by two roads: the lake below some Positions H and the log after it give together what
//! plain DataFusion computes over the whole input at once, bit for bit, wherever H is.
//!
//! H is at any offset, inside of record batches, commits and row groups; it grows with each batch run, and rows whose
//! event times are long past come after it. The lake is compacted, and everything in memory is lost, now and then.
//!
//! It was shown to catch: a batch run that takes one record too many at H; `last_value` that goes by the order in which
//! layers are merged; a sum of floats that drops its lowest digits.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../../streaming/tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use arrow::array::RecordBatch;
use lakehouse::{BatchTable, BatchVersion, LakeLocation, LakeTable, MaintenanceSettings, batch};
use model::{Epoch, Positions};
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::Index;
use sql::SourceDefinition;
use streaming::{Fold, ReaderSettings, SourceReader, ViewPlan};
use support::input::{self, Input, input};
use support::log::Log;
use support::question::{Aggregates, Question, question};
use support::rows::{check, check_rows, sorted_states};
use support::{block_on, cases, oracle};

#[derive(Clone, Debug)]
enum Step {
    /// Record batches arrive.
    Append(u8),
    /// So many reads are committed to the lake, perhaps twice.
    Capture {
        reads: u8,
        again: bool,
    },
    /// A batch run, up to somewhere between the last one and what was captured.
    Batch(Vec<Index>),
    /// Both layers are merged and looked at.
    Merge,
    Compact,
    /// Everything in memory is gone.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6_u8).prop_map(Step::Append),
        4 => (1..6_u8, prop::bool::weighted(0.2)).prop_map(|(reads, again)| Step::Capture { reads, again }),
        3 => prop::collection::vec(any::<Index>(), 3).prop_map(Step::Batch),
        1 => Just(Step::Merge),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..14)
}

struct Subject {
    log: Log,
    source: SourceDefinition,
    plan: ViewPlan,
    question: Question,
    lake: LakeLocation,
    table: Arc<LakeTable>,
    batch: Option<BatchVersion>,
    read_bytes_max: usize,
}

impl Subject {
    async fn new(input: &Input, question: Question, read_bytes_max: usize) -> Self {
        let source = input.source();
        let lake = LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///lake");
        let table = LakeTable::open_or_create(&lake.child("s"), &source).await.unwrap();
        let plan = question.plan(&source);
        Self { log: Log::new(input).await, source, plan, question, lake, table, batch: None, read_bytes_max }
    }

    async fn restart(&mut self) {
        self.table = LakeTable::open_or_create(&self.lake.child("s"), &self.source).await.unwrap();
        let loaded = self.batches().load().await.unwrap();
        let facts = |batch: &Option<BatchVersion>| batch.as_ref().map(|b| (b.version, b.positions.clone()));
        assert_eq!(facts(&loaded), facts(&self.batch));
        self.batch = loaded;
    }

    fn batches(&self) -> BatchTable {
        BatchTable::new("v", self.lake.child("batch"))
    }

    fn reader(&self, from: Positions) -> SourceReader {
        let settings = ReaderSettings { read_bytes_max: self.read_bytes_max };
        let letters = Arc::clone(&self.log.dead_letters);
        SourceReader::open(self.log.shared(), letters, &self.source, from, None, settings).unwrap()
    }

    async fn capture(&self, reads: u8, again: bool) {
        let from = self.table.positions();
        let mut reader = self.reader(from.clone());
        let rows = read(&mut reader, reads.into()).await;
        let epoch = Epoch::new(from, reader.positions().clone()).unwrap();
        self.table.commit(rows.clone(), &epoch).await.unwrap();
        if again {
            assert!(self.table.commit(rows, &epoch).await.unwrap().skipped);
        }
    }

    fn h(&self) -> Positions {
        self.batch.as_ref().map(|batch| batch.positions.clone()).unwrap_or_default()
    }

    /// Somewhere between the last H and what was captured.
    fn somewhere(&self, parts: &[Index]) -> Positions {
        let (before, captured) = (self.h(), self.table.positions());
        let between = captured.iter().zip(parts).map(|((place, end), part)| {
            let from = before.next_offset(place);
            (place.clone(), from + part.index((end - from + 1) as usize) as i64)
        });
        between.collect()
    }

    async fn run_batch(&mut self, h: Positions) {
        let pinned = self.table.snapshot(Some(&h)).await.unwrap();
        if self.question.is_plain() {
            let found = oracle::answer_over(Arc::new(pinned.clone()), &self.question.oracle()).await.unwrap();
            check(&found, &self.expected(&h).await, &format!("DataFusion over the lake: {}", self.question.oracle()));
        }
        let states = batch::run(&self.plan, &pinned).await.unwrap();
        self.batches().commit(&self.plan.hash(), &h, vec![states]).await.unwrap();
        // What a query merges is what was stored.
        self.batch = self.batches().load().await.unwrap();
        assert_eq!(self.h(), h);
    }

    /// What DataFusion says about the rows before some Positions.
    async fn expected(&self, positions: &Positions) -> RecordBatch {
        let rows = input::batch(&self.source, &self.log.before(positions));
        self.question.answer(&rows).await
    }

    async fn check_merged(&self) {
        let (mut speed, mut reader) = (Fold::new(&self.plan).unwrap(), self.reader(self.h()));
        for rows in read(&mut reader, usize::MAX).await {
            speed.apply(&rows, None).unwrap();
        }
        let mut merged = Fold::new(&self.plan).unwrap();
        for states in self.batch.iter().flat_map(|batch| &batch.states) {
            merged.merge_state(states).unwrap();
        }
        merged.merge_state(&speed.all_state().unwrap()).unwrap();
        let expected = self.expected(&self.log.end).await;
        let what = format!("batch up to {}: {}", self.h(), self.question.view());
        check(&merged.rows().unwrap(), &expected, &what);

        let (mut streamed, mut reader) = (Fold::new(&self.plan).unwrap(), self.reader(Positions::new()));
        for rows in read(&mut reader, usize::MAX).await {
            streamed.apply(&rows, None).unwrap();
        }
        let states = |fold: &Fold| sorted_states(&fold.all_state().unwrap());
        check_rows(&states(&merged), &states(&streamed), &format!("the states, {what}"));
    }
}

async fn read(reader: &mut SourceReader, times: usize) -> Vec<RecordBatch> {
    let mut rows = Vec::new();
    for _ in 0..times {
        if reader.lag_records() == 0 {
            break;
        }
        rows.push(reader.next().await.unwrap().unwrap().rows);
    }
    rows
}

async fn run(input: Input, question: Question, steps: Vec<Step>, read_bytes_max: usize) {
    let mut subject = Subject::new(&input, question, read_bytes_max).await;
    let mut appends = input.appends.iter();
    for step in steps {
        match step {
            Step::Append(count) => {
                for append in appends.by_ref().take(count.into()) {
                    subject.log.append(append).await;
                }
            }
            Step::Capture { reads, again } => subject.capture(reads, again).await,
            Step::Batch(parts) => subject.run_batch(subject.somewhere(&parts)).await,
            Step::Merge => subject.check_merged().await,
            Step::Compact => drop(subject.table.maintain(&MaintenanceSettings::shipped()).await.unwrap()),
            Step::Restart => subject.restart().await,
        }
    }
    for append in appends {
        subject.log.append(append).await;
    }
    subject.check_merged().await;
    subject.capture(u8::MAX, false).await;
    subject.run_batch(subject.table.positions()).await;
    subject.restart().await;
    subject.check_merged().await;
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn the_lake_up_to_h_and_the_log_after_it_give_the_answer_of_datafusion(
        input in input(24),
        question in question(Aggregates::All),
        steps in steps(),
        read_bytes_max in prop_oneof![Just(1_usize), 300..3_000_usize, Just(1 << 20)],
    ) {
        block_on(run(input, question, steps, read_bytes_max));
    }
}
