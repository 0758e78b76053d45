//! One SQL text, one answer: whatever the input, the question, the batching and the moments of death, a view has the
//! rows that plain DataFusion computes over the whole input at once, bit for bit.
//!
//! `support` says what the input and the questions are and how answers are compared. `PROPTEST_CASES=3000` makes the
//! tests thorough.
//!
//! They were shown to catch: a checkpoint that leaves out one touched group; `last_value` by the order in which rows are
//! folded; `min` that overlooks a row that is taken back; a change that does not say which rows left; a sum of floats
//! that drops its lowest digits; a restart that begins one record too late.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use model::{MemoryBudget, Metrics, Positions};
use object_store::{ObjectStore, memory::InMemory};
use proptest::prelude::*;
use proptest::sample::Index;
use sql::SourceDefinition;
use streaming::{
    CheckpointStore, Error, Fold, ReaderSettings, SourceReader, StateMemory, ViewPlan, ViewState, ViewTask,
    ViewTaskSettings,
};
use support::input::{self, Input, Placed, Row, input};
use support::log::Log;
use support::question::{Aggregates, Question, question};
use support::rows::{Kept, check, check_rows, comparable, sorted_states};
use support::{block_on, cases};

/// What happens to a view.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Record batches arrive.
    Append(u8),
    /// The view reads so many times.
    Read(u8),
    /// Whoever serves the view takes what changed.
    Drain,
    Checkpoint,
    /// The answer so far is looked at.
    Look,
    /// Everything that is not on disk is gone.
    Die {
        log_too: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..4_u8).prop_map(Step::Append),
        6 => (1..4_u8).prop_map(Step::Read),
        2 => Just(Step::Drain),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Look),
        2 => prop::bool::weighted(0.2).prop_map(|log_too| Step::Die { log_too }),
    ];
    prop::collection::vec(step, 0..24)
}

/// How much is read at a time: one record batch, some, everything.
fn read_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), 300..3_000_usize, Just(1 << 20)]
}

/// A view in memory.
struct Life {
    fold: Fold,
    kept: Kept,
    reader: SourceReader,
}

struct Subject {
    log: Log,
    source: SourceDefinition,
    plan: ViewPlan,
    question: Question,
    store: Arc<dyn ObjectStore>,
    read_bytes_max: usize,
}

impl Subject {
    async fn new(input: &Input, question: Question, read_bytes_max: usize) -> Self {
        let source = input.source();
        let plan = question.plan(&source);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        Self { log: Log::new(input).await, source, plan, question, store, read_bytes_max }
    }

    fn checkpoints(&self) -> CheckpointStore {
        CheckpointStore::new(Arc::clone(&self.store), "v")
    }

    /// Begins where the last checkpoint is.
    async fn live(&self) -> Life {
        let mut fold = Fold::new(&self.plan).unwrap();
        let restored = self.checkpoints().load(&self.plan.hash()).await.unwrap();
        let from = restored.as_ref().map(|restored| restored.positions.clone()).unwrap_or_default();
        if let Some(restored) = restored {
            fold.restore(&restored.parts).unwrap();
        }
        Life { fold, kept: Kept::default(), reader: self.reader(from) }
    }

    fn reader(&self, from: Positions) -> SourceReader {
        let settings = ReaderSettings { read_bytes_max: self.read_bytes_max };
        let letters = Arc::clone(&self.log.dead_letters);
        SourceReader::open(self.log.shared(), letters, &self.source, from, None, settings).unwrap()
    }

    /// What DataFusion says about the rows before some Positions.
    async fn expected(&self, positions: &Positions) -> RecordBatch {
        let rows = input::batch(&self.source, &self.log.before(positions));
        self.question.answer(&rows).await
    }

    async fn check(&self, life: &Life, what: &str) {
        let expected = self.expected(life.reader.positions()).await;
        check(&life.fold.rows().unwrap(), &expected, &format!("{what}: {}", self.question.view()));
    }
}

impl Life {
    async fn read(&mut self, times: usize) {
        for _ in 0..times {
            if self.reader.lag_records() == 0 {
                return;
            }
            let batch = self.reader.next().await.unwrap().unwrap();
            self.fold.apply(&batch.rows, None).unwrap();
        }
    }

    fn drain(&mut self) {
        let change = self.fold.drain_changes().unwrap();
        self.kept.take(&change);
    }

    async fn checkpoint(&mut self, plan: &ViewPlan, checkpoints: &mut CheckpointStore) {
        let dirty = self.fold.dirty_parts().unwrap();
        checkpoints.publish(&plan.hash(), self.reader.positions(), &dirty).await.unwrap();
        self.fold.forget_dirty();
    }
}

async fn fold_by_steps(input: Input, question: Question, steps: Vec<Step>, read_bytes_max: usize) {
    let mut subject = Subject::new(&input, question, read_bytes_max).await;
    let mut appends = input.appends.iter();
    let mut life = subject.live().await;
    let mut checkpoints = subject.checkpoints();
    for step in steps {
        match step {
            Step::Append(count) => {
                for append in appends.by_ref().take(count.into()) {
                    subject.log.append(append).await;
                }
            }
            Step::Read(times) => life.read(times.into()).await,
            Step::Drain => life.drain(),
            Step::Checkpoint => life.checkpoint(&subject.plan, &mut checkpoints).await,
            Step::Look => subject.check(&life, "on the way").await,
            Step::Die { log_too } => {
                if log_too {
                    subject.log.reopen().await;
                }
                (life, checkpoints) = (subject.live().await, subject.checkpoints());
            }
        }
    }
    for append in appends {
        subject.log.append(append).await;
    }
    life.read(usize::MAX).await;
    life.drain();
    assert_eq!(*life.reader.positions(), subject.log.end);
    subject.check(&life, "at the end").await;

    let width = subject.plan.output_schema().fields().len();
    let rows = comparable(&life.fold.rows().unwrap(), width);
    check_rows(&life.kept.rows(), &rows, "what the changes add up to");
    let mut replayed = Life {
        fold: Fold::new(&subject.plan).unwrap(),
        kept: Kept::default(),
        reader: subject.reader(Positions::new()),
    };
    replayed.read(usize::MAX).await;
    check_rows(&comparable(&replayed.fold.rows().unwrap(), width), &rows, "replayed");
    let states = |fold: &Fold| sorted_states(&fold.all_state().unwrap());
    check_rows(&states(&replayed.fold), &states(&life.fold), "the states, replayed");
}

/// One life of a view's task.
#[derive(Clone, Debug)]
struct TaskLife {
    /// How many record batches arrive before.
    appends: u8,
    /// Where it ends by itself, as a part of what is in each partition.
    until: Vec<Index>,
    /// After how many batches it is killed.
    killed_after: Option<u8>,
    checkpoints_always: bool,
    read_bytes_max: usize,
}

fn lives() -> impl Strategy<Value = Vec<TaskLife>> {
    let until = prop::collection::vec(any::<Index>(), 3);
    let life = (0..6_u8, until, prop::option::of(0..6_u8), any::<bool>(), read_bytes());
    let life = life.prop_map(|(appends, until, killed_after, checkpoints_always, read_bytes_max)| TaskLife {
        appends,
        until,
        killed_after,
        checkpoints_always,
        read_bytes_max,
    });
    prop::collection::vec(life, 0..6)
}

impl Subject {
    /// Runs the view's task; its rows as they were given out, and where it ended unless it was killed.
    async fn run_task(
        &self,
        until: Positions,
        killed_after: Option<u8>,
        checkpoint_interval: Duration,
        read_bytes_max: usize,
    ) -> (Kept, Option<Positions>) {
        let task = ViewTask {
            plan: Arc::new(self.plan.clone()),
            log: self.log.shared(),
            dead_letters: Arc::clone(&self.log.dead_letters),
            checkpoints: Some(self.checkpoints()),
            start: Positions::new(),
            until: Some(until),
            settings: ViewTaskSettings { checkpoint_interval, reader: ReaderSettings { read_bytes_max } },
            memory: StateMemory::new("v", &MemoryBudget::new(u64::MAX)),
            metrics: Metrics::default(),
            threads: tokio::runtime::Handle::current(),
        };
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (taken, mut left) = (Arc::clone(&kept), killed_after);
        let handle = task.spawn(move |changes, _| {
            taken.lock().unwrap().take(&changes[0]);
            match &mut left {
                Some(0) => return Err(model::Error::unavailable("killed")),
                Some(left) => *left -= 1,
                None => {}
            }
            Ok(())
        });
        let ended = match handle.await.unwrap().wait().await {
            Ok(positions) => Some(positions),
            Err(Error::Emit(_)) if killed_after.is_some() => None,
            Err(error) => panic!("{error}"),
        };
        (std::mem::take(&mut kept.lock().unwrap()), ended)
    }
}

async fn live_and_die(input: Input, question: Question, lives: Vec<TaskLife>) {
    let mut subject = Subject::new(&input, question, 1 << 20).await;
    let mut appends = input.appends.iter();
    let mut reached = Positions::new();
    for life in lives {
        for append in appends.by_ref().take(life.appends.into()) {
            subject.log.append(append).await;
        }
        // A task never begins behind what was checkpointed, so its end is not before that either.
        let end = subject.log.end.iter().zip(&life.until).map(|((place, end), part)| {
            let from = reached.next_offset(place);
            (place.clone(), from + part.index((end - from + 1) as usize) as i64)
        });
        let end: Positions = end.collect();
        let interval = if life.checkpoints_always { Duration::ZERO } else { Duration::from_secs(3_600) };
        let (kept, ended) = subject.run_task(end.clone(), life.killed_after, interval, life.read_bytes_max).await;
        let Some(ended) = ended else {
            if let Some(restored) = subject.checkpoints().load(&subject.plan.hash()).await.unwrap() {
                reached = restored.positions;
            }
            continue;
        };
        assert_eq!(ended, end);
        reached = ended;
        let expected = subject.expected(&reached).await;
        let width = expected.num_columns();
        if width == subject.plan.output_schema().fields().len() {
            check_rows(&kept.rows(), &comparable(&expected, width), &format!("in a life: {}", subject.question.view()));
        }
    }
    for append in appends {
        subject.log.append(append).await;
    }
    let end = subject.log.end.clone();
    let (kept, ended) = subject.run_task(end.clone(), None, Duration::ZERO, 700).await;
    assert_eq!(ended, Some(end.clone()));
    // The answer of a fold that saw everything, which the other test compares with DataFusion's.
    let mut whole = Fold::new(&subject.plan).unwrap();
    let expected = subject.expected(&end).await;
    whole.apply(&input::batch(&subject.source, &subject.log.placed), None).unwrap();
    let whole = whole.rows().unwrap();
    check(&whole, &expected, &subject.question.view());
    check_rows(
        &kept.rows(),
        &comparable(&whole, whole.num_columns()),
        &format!("after all lives: {}", subject.question.view()),
    );
}

/// What becomes of a row: the weights with which it comes, one after the other.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Stays,
    Leaves,
    LeavesAndComesBack,
    /// As one row and one more, which is taken back.
    Doubles,
}

impl Fate {
    fn weights(self) -> &'static [i64] {
        match self {
            Fate::Stays => &[1],
            Fate::Leaves => &[1, -1],
            Fate::LeavesAndComesBack => &[1, -1, 1],
            Fate::Doubles => &[2, -1],
        }
    }

    fn is_there(self) -> bool {
        self.weights().iter().sum::<i64>() == 1
    }
}

#[derive(Clone, Debug)]
struct Weighted {
    columns: Vec<usize>,
    rows: Vec<(Row, Fate)>,
    /// Decides in which order rows come, and how many at a time.
    order: Vec<u8>,
    /// Whether a row comes before it is taken back. Otherwise there are moments at which no table could have the rows
    /// that are counted, and so nobody looks until the end.
    in_order: bool,
    /// After which pieces the fold is merged into another, drained, or restored from its states.
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    None,
    Drain,
    /// The dirty states are a segment more.
    Segment,
    /// The fold is lost and restored from the segments.
    Restore,
}

fn weighted() -> impl Strategy<Value = Weighted> {
    let fate = prop_oneof![
        4 => Just(Fate::Stays),
        4 => Just(Fate::Leaves),
        1 => Just(Fate::LeavesAndComesBack),
        1 => Just(Fate::Doubles),
    ];
    let event = prop_oneof![4 => Just(Event::None), 2 => Just(Event::Drain), 2 => Just(Event::Segment), 1 => Just(Event::Restore)];
    let columns = Just((0..input::COLUMNS.len()).collect::<Vec<_>>()).prop_shuffle();
    (
        columns,
        prop::collection::vec((input::row(), fate), 0..40),
        prop::collection::vec(any::<u8>(), 40),
        any::<bool>(),
        prop::collection::vec(event, 12),
    )
        .prop_map(|(columns, rows, order, in_order, events)| Weighted { columns, rows, order, in_order, events })
}

/// Rows and weights in pieces. A place in the log has one row, so that a view that does not group has none twice.
fn pieces(weighted: &Weighted, rows: &RecordBatch, groups: bool) -> Vec<(RecordBatch, Int64Array)> {
    let mut queues: Vec<(u64, Vec<i64>)> = (0..)
        .zip(&weighted.rows)
        .map(|(row, (_, fate))| {
            let weights = if !groups && matches!(fate, Fate::Doubles) { &[1] } else { fate.weights() };
            (row, weights.iter().rev().copied().collect())
        })
        .collect();
    if groups && !weighted.in_order {
        queues =
            queues.into_iter().flat_map(|(row, weights)| weights.into_iter().map(move |w| (row, vec![w]))).collect();
    }
    let mut order = weighted.order.iter().cycle();
    let (mut pieces, mut taken) = (Vec::new(), Vec::new());
    while !queues.is_empty() {
        let index = usize::from(*order.next().unwrap()) % queues.len();
        let (row, weights) = &mut queues[index];
        taken.push((*row, weights.pop().unwrap()));
        if weights.is_empty() {
            queues.swap_remove(index);
        }
        if queues.is_empty() || order.next().unwrap().is_multiple_of(5) {
            let (numbers, weights): (Vec<u64>, Vec<i64>) = std::mem::take(&mut taken).into_iter().unzip();
            pieces.push((take_record_batch(rows, &UInt64Array::from(numbers)).unwrap(), Int64Array::from(weights)));
        }
    }
    pieces
}

fn place(rows: &[Row]) -> Vec<Placed> {
    let place = |(offset, row): (i64, &Row)| Placed {
        row: row.clone(),
        partition: (offset % 3) as i32,
        offset: offset / 3,
        arrival_time_ms: 1_700_000_000_000 + offset / 7,
    };
    (0..).zip(rows).map(place).collect()
}

async fn take_back(weighted: Weighted, question: Question) {
    let input = Input { columns: weighted.columns.clone(), partitions: 3, appends: Vec::new() };
    let source = input.source();
    let plan = question.plan(&source);
    let all: Vec<Row> = weighted.rows.iter().map(|(row, _)| row.clone()).collect();
    let placed = place(&all);
    let staying = placed.iter().zip(&weighted.rows).filter(|(_, (_, fate))| fate.is_there());
    let staying: Vec<Placed> = staying.map(|(placed, _)| placed.clone()).collect();
    let staying = input::batch(&source, &staying);
    let expected = question.answer(&staying).await;
    let all = input::batch(&source, &placed);

    let (mut fold, mut kept, mut segments) = (Fold::new(&plan).unwrap(), Kept::default(), Vec::new());
    let mut unsaved: Vec<(RecordBatch, Int64Array)> = Vec::new();
    let mut events = weighted.events.iter().cycle();
    for (rows, weights) in pieces(&weighted, &all, plan.is_aggregate()) {
        let before = fold.all_state().unwrap();
        match fold.apply(&rows, Some(&weights)) {
            Ok(_) => {}
            // Whoever cannot take a row back says so, and has not taken back a part of it.
            Err(Error::Operator(_)) => {
                assert!(!question.is_of_sums() && weights.values().iter().any(|weight| *weight < 0));
                return check_rows(
                    &sorted_states(&fold.all_state().unwrap()),
                    &sorted_states(&before),
                    &question.view(),
                );
            }
            Err(error) => panic!("{}: {error}", question.view()),
        }
        unsaved.push((rows, weights));
        match events.next().unwrap() {
            Event::None => {}
            Event::Drain if !weighted.in_order => {}
            Event::Drain => kept.take(&fold.drain_changes().unwrap()),
            Event::Segment => {
                segments.push(fold.drain_dirty_state().unwrap());
                unsaved.clear();
            }
            Event::Restore => {
                (fold, kept) = (Fold::new(&plan).unwrap(), Kept::default());
                segments.iter().for_each(|states| fold.restore_state(states).unwrap());
                unsaved.iter().for_each(|(rows, weights)| drop(fold.apply(rows, Some(weights)).unwrap()));
            }
        }
    }
    kept.take(&fold.drain_changes().unwrap());
    let what = question.view();
    check(&fold.rows().unwrap(), &expected, &what);
    let width = plan.output_schema().fields().len();
    check_rows(&kept.rows(), &comparable(&fold.rows().unwrap(), width), &format!("what the changes add up to: {what}"));
    let mut never = Fold::new(&plan).unwrap();
    never.apply(&staying, None).unwrap();
    let states = |fold: &Fold| sorted_states(&fold.all_state().unwrap());
    check_rows(&states(&fold), &states(&never), &format!("the states: {what}"));
}

/// Parts of the rows folded apart, and the states merged in any order.
async fn merge(rows: Vec<(Row, u8)>, question: Question, merges: Vec<Index>) {
    let input = Input { columns: (0..input::COLUMNS.len()).rev().collect(), partitions: 3, appends: Vec::new() };
    let source = input.source();
    let plan = question.plan(&source);
    let placed = place(&rows.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>());
    let all = input::batch(&source, &placed);
    let expected = question.answer(&all).await;
    let mut parts: Vec<Fold> = (0..4).map(|_| Fold::new(&plan).unwrap()).collect();
    for (number, part) in parts.iter_mut().enumerate() {
        let mine: Vec<u64> =
            (0..).zip(&rows).filter(|(_, (_, to))| usize::from(*to) == number).map(|(i, _)| i).collect();
        let mine = take_record_batch(&all, &UInt64Array::from(mine)).unwrap();
        // Only the columns that the plan reads, as a lake gives them.
        part.apply(&mine.project(&plan.source_columns()).unwrap(), None).unwrap();
    }
    for merge in merges {
        let states = parts.swap_remove(merge.index(parts.len())).all_state().unwrap();
        let into = merge.index(parts.len());
        parts[into].merge_state(&states).unwrap();
    }
    check(&parts[0].rows().unwrap(), &expected, &question.view());
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn a_view_gives_the_answer_of_datafusion_however_it_reads_and_dies(
        input in input(30), question in question(Aggregates::All), steps in steps(), read_bytes_max in read_bytes(),
    ) {
        block_on(fold_by_steps(input, question, steps, read_bytes_max));
    }

    #[test]
    fn a_task_gives_the_same_answer_in_many_lives_as_in_one(
        input in input(20), question in question(Aggregates::All), lives in lives(),
    ) {
        block_on(live_and_die(input, question, lives));
    }

    #[test]
    fn a_row_that_is_taken_back_was_never_there(
        weighted in weighted(),
        question in prop_oneof![3 => question(Aggregates::Sums), 1 => question(Aggregates::All)],
    ) {
        block_on(take_back(weighted, question));
    }

    #[test]
    fn parts_that_are_merged_are_the_whole(
        rows in prop::collection::vec((input::row(), 0..4_u8), 0..60),
        question in question(Aggregates::All),
        merges in prop::collection::vec(any::<Index>(), 3),
    ) {
        block_on(merge(rows, question, merges));
    }
}
