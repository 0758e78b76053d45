//! [`Capture`]: the task that carries a source's records from the log into its lake table.
//!
//! What it is not: a holder of Positions. Where it goes on after a crash is what the table says, so that there is
//! nothing to keep in step.
//!
//! What must hold: what is read and not yet committed is bounded; an error of the log or of the storage delays the
//! capture and is shown, and loses nothing.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use eventlog::EventLog;
use model::{Epoch, ErrorKind, Metrics, Positions};
use serde::Deserialize;
use sql::SourceDefinition;
use streaming::{DeadLetters, ReaderSettings, SourceBatch, SourceReader};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{LakeTable, MaintenanceSettings};

const STOP_ATTEMPTS_MAX: u32 = 3;

/// How a capture works.
#[derive(Clone, Debug, Deserialize)]
pub struct CaptureSettings {
    /// A commit is made once this many rows wait for it.
    pub commit_rows_max: usize,
    /// A commit is made once the rows that wait for it take this much memory, in bytes.
    pub commit_bytes_max: usize,
    /// A commit is made at the latest this long after the first of its rows was read.
    #[serde(rename = "commit_interval_ms", deserialize_with = "settings::milliseconds")]
    pub commit_interval: Duration,
    /// How long to wait after a first failure; doubled with each further one.
    #[serde(rename = "retry_delay_ms", deserialize_with = "settings::milliseconds")]
    pub retry_delay: Duration,
    /// The longest wait after a failure.
    #[serde(rename = "retry_delay_ms_max", deserialize_with = "settings::milliseconds")]
    pub retry_delay_max: Duration,
    /// After how many commits the table is maintained; 0 never.
    pub maintenance_interval_commits: u64,
    /// What maintenance does.
    #[serde(flatten)]
    pub maintenance: MaintenanceSettings,
    /// How the log is read.
    #[serde(flatten)]
    pub reader: ReaderSettings,
}

impl CaptureSettings {
    /// As shipped: the section `lake` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("lake")
    }
}

/// How far a capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureProgress {
    /// Everything before this is in the table.
    pub positions: Positions,
    /// How many rows were committed since the capture started.
    pub committed_rows: u64,
    /// What the last attempt failed with; `None` while all is well.
    pub failure: Option<String>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    progress: watch::Receiver<CaptureProgress>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<model::Result<Positions>>,
}

impl Capture {
    /// Starts to carry records of `source` into `table`, from where the table stands, on `threads`. What cannot be decoded goes
    /// to `dead_letters`, which are the log's.
    ///
    /// # Errors
    /// Those of opening the source.
    pub fn spawn(
        log: Arc<dyn EventLog>,
        dead_letters: Arc<DeadLetters>,
        source: SourceDefinition,
        table: Arc<LakeTable>,
        settings: CaptureSettings,
        metrics: Metrics,
        threads: &Handle,
    ) -> model::Result<Self> {
        let positions = table.positions();
        let progress = CaptureProgress { positions: positions.clone(), ..CaptureProgress::default() };
        let (progress, watched) = watch::channel(progress);
        let (stop, stopped) = oneshot::channel();
        let Some(topic) = log.topic(source.topic.as_str()) else {
            return Err(model::Error::not_found(format!("topic {} of source {}", source.topic, source.name)));
        };
        let reader = open(&log, &dead_letters, &source, &positions, &settings)?;
        let waiting = Waiting::from(positions);
        let label = [("table", table.definition().name.clone())];
        let run = Run {
            log,
            dead_letters,
            source,
            table,
            settings,
            metrics,
            label,
            reader,
            waiting,
            progress,
            topic_id: topic.id,
            bound: false,
            failures: 0,
            commits: 0,
        };
        Ok(Self { progress: watched, stop, task: threads.spawn(run.work(stopped)) })
    }

    /// How far the capture is.
    pub fn progress(&self) -> watch::Receiver<CaptureProgress> {
        self.progress.clone()
    }

    /// Whether it has ended by itself: nothing is captured any more, and its progress says why.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Commits what was read, and ends the capture.
    ///
    /// # Errors
    /// What the last commit failed with, after some attempts; what was not committed is still in the log.
    pub async fn stop(self) -> model::Result<Positions> {
        // A task that has ended does not listen any more; its result is below.
        let _ = self.stop.send(());
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(model::Error::internal("the capture task ended abnormally").with_source(error)),
        }
    }
}

// Everything that can happen to a capture.
enum Event {
    Bound(model::Result<()>),
    Read(streaming::Result<Option<SourceBatch>>),
    CommitDue,
    Stop,
}

// What was read and is not committed yet.
struct Waiting {
    from: Positions,
    to: Positions,
    rows: Vec<RecordBatch>,
    row_count: usize,
    bytes: usize,
    // When to commit: set by the first row, moved by a failure.
    due: Option<Instant>,
}

impl Waiting {
    fn from(positions: Positions) -> Self {
        Self { from: positions.clone(), to: positions, rows: Vec::new(), row_count: 0, bytes: 0, due: None }
    }

    fn push(&mut self, batch: SourceBatch) {
        self.to.advance_all(&batch.positions);
        if batch.rows.num_rows() > 0 {
            self.row_count += batch.rows.num_rows();
            self.bytes += batch.rows.get_array_memory_size();
            self.rows.push(batch.rows);
        }
    }

    fn is_full(&self, settings: &CaptureSettings) -> bool {
        self.row_count >= settings.commit_rows_max || self.bytes >= settings.commit_bytes_max
    }
}

struct Run {
    log: Arc<dyn EventLog>,
    dead_letters: Arc<DeadLetters>,
    source: SourceDefinition,
    table: Arc<LakeTable>,
    settings: CaptureSettings,
    metrics: Metrics,
    label: [(&'static str, String); 1],
    reader: SourceReader,
    waiting: Waiting,
    progress: watch::Sender<CaptureProgress>,
    topic_id: Uuid,
    // Whether the table has been tied to the topic.
    bound: bool,
    // In a row.
    failures: u32,
    commits: u64,
}

impl Run {
    async fn work(mut self, mut stopped: oneshot::Receiver<()>) -> model::Result<Positions> {
        let mut read_after = Instant::now();
        loop {
            match self.next_event(&mut stopped, read_after).await {
                Event::Bound(Ok(())) => self.bound = true,
                // Records of another topic must not come between those that are there.
                Event::Bound(Err(error)) if error.kind() == ErrorKind::Conflict => {
                    self.failed("bind to its topic", &error);
                    return Err(error);
                }
                Event::Bound(Err(error)) => read_after = self.failed("bind to its topic", &error),
                // After the rows were read: since ids do not come back, they are of the topic with this id.
                Event::Read(Ok(Some(batch))) if self.is_same_topic() => self.take(batch).await,
                Event::Read(Ok(Some(_))) => {
                    let gone = model::Error::conflict(format!("topic {} was deleted", self.source.topic));
                    read_after = self.failed("read", &gone);
                    let read = self.waiting.to.clone();
                    self.read_from(&read);
                }
                // The reader has no end, so that this is a topic that was deleted.
                Event::Read(Ok(None)) => return self.finish().await,
                Event::Read(Err(error)) => {
                    read_after = self.failed("read", &error.into());
                    let read = self.waiting.to.clone();
                    self.read_from(&read);
                }
                Event::CommitDue => self.commit_or_wait().await,
                Event::Stop => return self.finish().await,
            }
        }
    }

    async fn next_event(&mut self, stopped: &mut oneshot::Receiver<()>, read_after: Instant) -> Event {
        let due = self.waiting.due;
        let has_room = !self.waiting.is_full(&self.settings);
        let (reader, table, topic_id, bound) = (&mut self.reader, &self.table, self.topic_id, self.bound);
        let read = async {
            sleep_until(read_after).await;
            if bound { Event::Read(reader.next().await) } else { Event::Bound(table.bind(topic_id).await) }
        };
        tokio::select! {
            biased;
            _ = stopped => Event::Stop,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::CommitDue,
            event = read, if has_room => event,
        }
    }

    async fn take(&mut self, batch: SourceBatch) {
        self.waiting.push(batch);
        if self.waiting.due.is_none() && self.waiting.to != self.waiting.from {
            self.waiting.due = Some(Instant::now() + self.settings.commit_interval);
        }
        // After a failure the next attempt has its time, however much waits.
        if self.failures == 0 && self.waiting.is_full(&self.settings) {
            self.commit_or_wait().await;
        }
    }

    async fn commit_or_wait(&mut self) {
        if let Err(error) = self.commit().await {
            let retry = self.failed("commit", &error);
            self.waiting.due = Some(retry);
            if error.kind() == ErrorKind::Conflict {
                self.start_over();
            }
        }
    }

    async fn commit(&mut self) -> model::Result<()> {
        let epoch = Epoch::new(self.waiting.from.clone(), self.waiting.to.clone())?;
        let outcome = self.table.commit(self.waiting.rows.clone(), &epoch).await?;
        self.waiting = Waiting::from(epoch.to);
        self.failures = 0;
        self.metrics.lake_committed_records.get_or_create(&self.label).inc_by(outcome.rows);
        if !outcome.skipped {
            self.commits += 1;
            self.metrics.lake_commits.get_or_create(&self.label).inc();
        }
        self.progress.send_modify(|progress| {
            progress.positions = outcome.positions;
            progress.committed_rows += outcome.rows;
            progress.failure = None;
        });
        let interval = self.settings.maintenance_interval_commits;
        if !outcome.skipped && interval > 0 && self.commits.is_multiple_of(interval) {
            self.maintain().await;
        }
        Ok(())
    }

    // Rows are safe without it, so that a failure is only reported; the next interval tries again.
    async fn maintain(&mut self) {
        let maintained = match self.table.maintain(&self.settings.maintenance).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => match self.table.mend(&self.log, &self.source).await {
                Ok(mended) if mended.files > 0 => self.table.maintain(&self.settings.maintenance).await,
                mended => mended.and(Err(error)),
            },
            maintained => maintained,
        };
        match maintained {
            Ok(done) => tracing::debug!(table = %self.label[0].1, ?done, "maintained a lake table"),
            Err(error) => tracing::warn!(table = %self.label[0].1, %error, "cannot maintain a lake table"),
        }
    }

    fn is_same_topic(&self) -> bool {
        self.log.topic(self.source.topic.as_str()).is_some_and(|topic| topic.id == self.topic_id)
    }

    // Reads from `from` on with another reader; answers whether there is one. A reader of a topic that was deleted never
    // reads again, and if the topic was created again, it has another id.
    fn read_from(&mut self, from: &Positions) -> bool {
        let Some(topic) = self.log.topic(self.source.topic.as_str()) else { return false };
        let Ok(reader) = open(&self.log, &self.dead_letters, &self.source, from, &self.settings) else {
            return false;
        };
        self.reader = reader;
        self.bound = self.bound && self.topic_id == topic.id;
        self.topic_id = topic.id;
        true
    }

    // The table is not where this task left it (it was restored, say): go on from where it is. What waits is given up
    // only together with the reader that has passed it.
    fn start_over(&mut self) {
        let positions = self.table.positions();
        if self.read_from(&positions) {
            self.waiting = Waiting::from(positions);
        }
    }

    // Counts and shows a failure; answers when to try again.
    fn failed(&mut self, doing: &str, error: &model::Error) -> Instant {
        let doubled = self.settings.retry_delay.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(table = %self.label[0].1, doing, %error, "the capture waits before it tries again");
        self.progress.send_modify(|progress| progress.failure = Some(error.to_string()));
        Instant::now() + doubled.min(self.settings.retry_delay_max)
    }

    async fn finish(mut self) -> model::Result<Positions> {
        // Whoever stops waits: however long it has failed before, it is tried again soon.
        self.failures = 0;
        let mut attempt = 1;
        while self.waiting.to != self.waiting.from {
            match self.commit().await {
                Ok(()) => {}
                Err(error) if attempt < STOP_ATTEMPTS_MAX => {
                    sleep_until(self.failed("commit", &error)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.table.positions())
    }
}

fn open(
    log: &Arc<dyn EventLog>,
    dead_letters: &Arc<DeadLetters>,
    source: &SourceDefinition,
    from: &Positions,
    settings: &CaptureSettings,
) -> model::Result<SourceReader> {
    let (log, dead_letters) = (Arc::clone(log), Arc::clone(dead_letters));
    Ok(SourceReader::open(log, dead_letters, source, from.clone(), None, settings.reader.clone())?)
}

#[cfg(test)]
mod tests;
