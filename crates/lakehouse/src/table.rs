//! [`LakeTable`]: the Delta table that holds the records of one source, each once.
//!
//! A commit is one Delta version with the rows of an epoch and, for each partition that moved, a `txn` action whose
//! application id is `topic/partition` and whose version is the next offset to read. docs/formats/lake.md is the
//! format.
//!
//! What it is not: a place that reorders, changes or checks values; rows are as the source's decoder made them.
//!
//! What must hold: the rows of a version are exactly those below its Positions that were ever handed over; any writer
//! that follows the same protocol may commit at the same time, and nothing is lost or stored twice.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, MetadataExt, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use model::{Epoch, Positions, TopicName, TopicPartition};
use sql::SourceDefinition;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::checked_files::TableChecksums;
use crate::columns::STATISTICS;
use crate::commit_attempts::CommitAttempts;
use crate::epoch::{Decision, decide};
use crate::error::{LakeError, Result, is_commit_conflict};
use crate::maintenance::{self, Maintenance, MaintenanceSettings};
use crate::stored_schema::{NaiveTimestamps, StoredSchema};
use crate::{LakeLocation, PinnedTable, rows, staged_files, stated_bounds};

/// The key of a commit's Positions, as text, in its commit info.
pub(crate) const POSITIONS_KEY: &str = "fourfold.positions";
// The table property with the id of the topic whose offsets the table speaks of.
const TOPIC_ID_KEY: &str = "fourfold.topicId";
// How many log entries a reader of the table replays at most.
const CHECKPOINT_INTERVAL_COMMITS: u64 = 25;

/// What a table holds: the rows of which source.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// The table's name, for messages.
    pub name: String,
    /// The topic whose records it holds.
    pub topic: TopicName,
    /// How many partitions the topic has.
    pub partitions: i32,
    /// The columns, among them `_partition` and `_offset`.
    pub columns: SchemaRef,
}

impl From<&SourceDefinition> for TableDefinition {
    fn from(source: &SourceDefinition) -> Self {
        Self {
            name: source.name.clone(),
            topic: source.topic.clone(),
            partitions: source.partitions,
            columns: source.schema(),
        }
    }
}

/// The answer to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOutcome {
    /// The table's version, after the commit.
    pub version: u64,
    /// The table's Positions, after the commit.
    pub positions: Positions,
    /// How many rows this commit added.
    pub rows: u64,
    /// Whether everything in the epoch had been committed before, so that nothing was written.
    pub skipped: bool,
}

/// The Delta table of one source.
pub struct LakeTable {
    definition: TableDefinition,
    schema: StoredSchema,
    // One commit at a time in this process; others are held off by the Delta log.
    writing: Mutex<()>,
    current: watch::Sender<Current>,
}

// A version of the table, and the Positions that its `txn` actions say.
#[derive(Clone, Debug)]
struct Current {
    table: DeltaTable,
    version: u64,
    positions: Positions,
}

impl LakeTable {
    /// Opens the table at `location`, or creates it.
    ///
    /// # Errors
    /// `Unsupported` when a column has no exact counterpart in Delta Lake; `Conflict` when the table there has other
    /// columns; `Unavailable` when the storage fails.
    pub async fn open_or_create(
        location: &LakeLocation,
        definition: impl Into<TableDefinition>,
    ) -> model::Result<Arc<Self>> {
        Ok(Self::open(location, definition.into()).await?)
    }

    async fn open(location: &LakeLocation, definition: TableDefinition) -> Result<Arc<Self>> {
        rows::check_columns(&definition)?;
        let schema = StoredSchema::new(&definition.name, &definition.columns, NaiveTimestamps::WithoutZone)?;
        let mut table = location.table().await?;
        let url = table.table_url().to_string();
        let failed = || LakeError::delta(format!("open the table at {url}"));
        if !table.verify_deltatable_existence().await.map_err(failed())? {
            create(&table, &definition, &schema).await?;
        }
        table.load().await.map_err(failed())?;
        let state = table.snapshot().map_err(failed())?;
        schema.check(&state.schema())?;
        if state.table_config().set_transaction_retention_duration.is_some() {
            let reason = "delta.setTransactionRetentionDuration is set, so that it forgets its positions".to_owned();
            return Err(LakeError::Damaged { table: definition.name, reason });
        }
        let unchecked_files = TableChecksums::of(&table)?.unchecked_files;
        if unchecked_files > 0 {
            tracing::warn!(table = definition.name, unchecked_files, "files that have no checksum are not checked");
        }
        let partitions = definition.topic_partitions();
        let current = read_current(table, &definition.name, &partitions).await?;
        let (current, _) = watch::channel(current);
        Ok(Arc::new(Self { definition, schema, writing: Mutex::new(()), current }))
    }

    /// What the table holds.
    pub fn definition(&self) -> &TableDefinition {
        &self.definition
    }

    /// The Positions of the newest version that this process knows; see [`refresh`](Self::refresh).
    pub fn positions(&self) -> Positions {
        self.current.borrow().positions.clone()
    }

    /// The newest version that this process knows.
    pub fn version(&self) -> u64 {
        self.current.borrow().version
    }

    /// Looks for versions that others committed.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails.
    pub async fn refresh(&self) -> model::Result<Positions> {
        let _writing = self.writing.lock().await;
        Ok(self.reload(&Positions::new()).await?.positions)
    }

    /// Why its files and its Positions do not go together, as a sentence: then what it says it has captured is not to be
    /// believed.
    ///
    /// # Errors
    /// `Unavailable` when the table was not loaded.
    pub fn contradiction(&self) -> model::Result<Option<String>> {
        let Current { table, positions, .. } = self.current.borrow().clone();
        let name = &self.definition.name;
        let state = table.snapshot().map_err(LakeError::delta(format!("read the files of {name}")))?;
        let statistics = state.log_data().into_iter().filter_map(|file| file.stats());
        let found =
            statistics.filter_map(|file| stated_bounds::contradiction(&file, &self.definition.topic, &positions));
        Ok(found.map(|what| format!("the lake table of {name} contradicts itself: {what}")).next())
    }

    /// Ties the table to the topic with this id: offsets only mean something within it. A topic that was deleted and
    /// created again has another.
    ///
    /// # Errors
    /// `Conflict` when the table holds the records of a topic with another id; `Unavailable` when the storage fails.
    pub async fn bind(&self, topic_id: Uuid) -> model::Result<()> {
        Ok(self.bind_topic(&topic_id.to_string()).await?)
    }

    /// Commits the rows of an epoch, and where it ends, as one version. Repeating an epoch, or overlapping with what
    /// is committed, is harmless: only what is missing is written.
    ///
    /// # Errors
    /// `Invalid` when the rows are not the epoch's, or not in ascending order of offset; `Conflict` when the epoch
    /// begins beyond the table's Positions; `Unavailable` when the storage fails, in which case the commit may or may
    /// not have happened: repeat it.
    pub async fn commit(&self, rows: Vec<RecordBatch>, epoch: &Epoch) -> model::Result<CommitOutcome> {
        Ok(self.commit_epoch(&rows, epoch).await?)
    }

    /// A table of exactly the rows below `up_to`, or of all rows, at one version: later commits do not change it.
    /// Partitions that `up_to` does not name have no rows.
    ///
    /// # Errors
    /// `Unavailable` when the table has not captured everything below `up_to` yet.
    pub async fn snapshot(&self, up_to: Option<&Positions>) -> model::Result<PinnedTable> {
        let covers = |current: &Current| up_to.is_none_or(|up_to| current.positions.covers(up_to));
        let mut current = self.current.borrow().clone();
        if !covers(&current) {
            let _writing = self.writing.lock().await;
            current = self.reload(&Positions::new()).await?;
        }
        if let Some(wanted) = up_to.filter(|_| !covers(&current)) {
            let table = self.definition.name.clone();
            return Err(LakeError::NotCaptured { table, captured: current.positions, wanted: wanted.clone() }.into());
        }
        let positions = up_to.unwrap_or(&current.positions).of_topic(self.definition.topic.as_str());
        Ok(PinnedTable::new(&current.table, self.schema.clone(), positions, up_to.is_some()).await?)
    }

    /// Merges small files, removes files that no recent version needs, and writes a checkpoint of the Delta log.
    /// No row changes; commits go on at the same time.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails; nothing is lost then.
    pub async fn maintain(&self, settings: &MaintenanceSettings) -> model::Result<Maintenance> {
        let table = self.current.borrow().table.clone();
        let maintenance = maintenance::run(table, &self.schema, &STATISTICS, settings).await?;
        self.refresh().await?;
        Ok(maintenance)
    }

    /// How it is stored.
    pub(crate) fn schema(&self) -> &StoredSchema {
        &self.schema
    }

    /// The newest version that this process knows.
    pub(crate) fn loaded(&self) -> DeltaTable {
        self.current.borrow().table.clone()
    }

    /// The id of the topic that it is tied to.
    pub(crate) fn bound_topic(&self) -> Option<String> {
        let current = self.current.borrow();
        current.table.snapshot().ok()?.metadata().configuration().get(TOPIC_ID_KEY).cloned()
    }

    async fn commit_epoch(&self, given: &[RecordBatch], epoch: &Epoch) -> Result<CommitOutcome> {
        self.check_epoch(given, epoch)?;
        let _writing = self.writing.lock().await;
        let mut staged: Option<(Positions, u64, Vec<Add>)> = None;
        let mut attempts = CommitAttempts::new(self.definition.name.as_str());
        loop {
            let current = self.reload(&epoch.to).await?;
            let (floor, to) = match decide(&current.positions, epoch) {
                Decision::Commit { floor, to } => (floor, to),
                Decision::Covered => {
                    let Current { version, positions, .. } = current;
                    return Ok(CommitOutcome { version, positions, rows: 0, skipped: true });
                }
                Decision::Gap { partition, committed, from } => {
                    return Err(LakeError::Gap { table: self.definition.name.clone(), partition, committed, from });
                }
            };
            // Files that were written for a commit that lost are used again when what they hold is still missing.
            let (row_count, files) = match staged.take().filter(|(staged_floor, ..)| *staged_floor == floor) {
                Some((_, row_count, files)) => (row_count, files),
                None => {
                    let missing = rows::at_or_after(&self.definition, given, &floor)?;
                    let row_count = missing.iter().map(|batch| batch.num_rows() as u64).sum();
                    (row_count, staged_files::stage(&current.table, &self.schema, &STATISTICS, &missing).await?)
                }
            };
            match self.commit_files(&current, &files, &to).await {
                Ok(current) => {
                    self.checkpoint_when_due(&current).await;
                    let Current { version, positions, .. } = current;
                    return Ok(CommitOutcome { version, positions, rows: row_count, skipped: false });
                }
                Err(error) if is_commit_conflict(&error) => {
                    attempts.conflicted(current.version)?;
                    staged = Some((floor, row_count, files));
                }
                Err(error) => return Err(LakeError::delta(format!("commit to {}", self.definition.name))(error)),
            }
        }
    }

    // A checkpoint only makes opening the table quicker, so that its failure does not make a commit fail that happened.
    async fn checkpoint_when_due(&self, current: &Current) {
        if current.version.is_multiple_of(CHECKPOINT_INTERVAL_COMMITS)
            && let Err(error) = maintenance::checkpoint(&current.table).await
        {
            tracing::warn!(table = %self.definition.name, %error, "no checkpoint of the Delta log");
        }
    }

    fn check_epoch(&self, given: &[RecordBatch], epoch: &Epoch) -> Result<()> {
        for (partition, _) in epoch.to.iter() {
            if partition.topic != self.definition.topic {
                let table = self.definition.name.clone();
                return Err(LakeError::ForeignPartition { table, partition: partition.clone() });
            }
        }
        rows::check(&self.definition, given, epoch)
    }

    async fn bind_topic(&self, topic_id: &str) -> Result<()> {
        let _writing = self.writing.lock().await;
        let failed = || LakeError::delta(format!("bind {} to its topic", self.definition.name));
        let mut attempts = CommitAttempts::new(self.definition.name.as_str());
        loop {
            let Current { mut table, positions, version } = self.reload(&Positions::new()).await?;
            let state = table.snapshot().map_err(failed())?;
            match state.metadata().configuration().get(TOPIC_ID_KEY) {
                Some(bound) if bound == topic_id => return Ok(()),
                Some(bound) => {
                    let (table, bound) = (self.definition.name.clone(), bound.clone());
                    return Err(LakeError::OtherTopic { table, bound, given: topic_id.to_owned() });
                }
                None => {}
            }
            let metadata = state.metadata().clone().add_config_key(TOPIC_ID_KEY.to_owned(), topic_id.to_owned());
            let metadata = metadata.map_err(|error| failed()(error.into()))?;
            let properties = HashMap::from([(TOPIC_ID_KEY.to_owned(), topic_id.to_owned())]);
            let commit = CommitBuilder::from(quiet_commit(Vec::new()))
                .with_actions(vec![Action::Metadata(metadata)])
                .build(Some(state), table.log_store(), DeltaOperation::SetTableProperties { properties });
            match commit.await {
                Ok(committed) => {
                    table.state = Some(committed.snapshot());
                    self.current.send_replace(Current { table, version: committed.version(), positions });
                    return Ok(());
                }
                Err(error) if is_commit_conflict(&error) => attempts.conflicted(version)?,
                Err(error) => return Err(failed()(error)),
            }
        }
    }

    async fn commit_files(&self, current: &Current, files: &[Add], to: &Positions) -> Result<Current, DeltaTableError> {
        let mut positions = current.positions.clone();
        positions.advance_all(to);
        let transactions = to.iter().map(|(partition, offset)| Transaction::new(partition, offset)).collect();
        let mut table = current.table.clone();
        let committed = CommitBuilder::from(quiet_commit(transactions))
            .with_actions(files.iter().cloned().map(Action::Add).collect())
            .with_app_metadata(HashMap::from([(POSITIONS_KEY.to_owned(), positions.to_string().into())]))
            .build(
                Some(table.snapshot()?),
                table.log_store(),
                DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
            )
            .await?;
        table.state = Some(committed.snapshot());
        let current = Current { table, version: committed.version(), positions };
        self.current.send_replace(current.clone());
        Ok(current)
    }

    // The newest version; its Positions are read again only when it is not the one known.
    async fn reload(&self, also: &Positions) -> Result<Current> {
        let known = self.current.borrow().clone();
        let mut table = known.table.clone();
        let doing = || format!("read the newest version of {}", self.definition.name);
        table.update_state().await.map_err(LakeError::delta(doing()))?;
        let mut partitions = self.definition.topic_partitions();
        partitions.extend(known.positions.iter().chain(also.iter()).map(|(partition, _)| partition.clone()));
        let unknown = |partition: &TopicPartition| partition.partition >= self.definition.partitions;
        if table.version() == Some(known.version) && !partitions.iter().any(unknown) {
            return Ok(known);
        }
        let current = read_current(table, &self.definition.name, &partitions).await?;
        self.current.send_replace(current.clone());
        Ok(current)
    }
}

impl TableDefinition {
    fn topic_partitions(&self) -> BTreeSet<TopicPartition> {
        (0..self.partitions).map(|partition| TopicPartition::new(self.topic.clone(), partition)).collect()
    }
}

/// A commit that fails when somebody else was faster, so that the caller looks again before it repeats, and that does
/// nothing after the version is written: its success or failure is that of the version alone.
pub(crate) fn quiet_commit(transactions: Vec<Transaction>) -> CommitProperties {
    CommitProperties::default()
        .with_max_retries(0)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
        .with_application_transactions(transactions)
}

async fn create(table: &DeltaTable, definition: &TableDefinition, schema: &StoredSchema) -> Result<()> {
    let statistics = STATISTICS.join(",");
    let created = table
        .create()
        .with_table_name(&definition.name)
        .with_comment(format!("Records of topic {}, captured by Fourfold", definition.topic))
        .with_columns(schema.delta_columns()?)
        .with_configuration([("delta.dataSkippingStatsColumns", Some(statistics.as_str()))])
        .with_commit_properties(quiet_commit(Vec::new()))
        .await;
    match created {
        Ok(_) => Ok(()),
        // Another process created it: the columns are compared when it is loaded.
        Err(_) if table.verify_deltatable_existence().await.unwrap_or(false) => Ok(()),
        Err(error) => Err(LakeError::delta(format!("create the table at {}", table.table_url()))(error)),
    }
}

async fn read_current(table: DeltaTable, name: &str, partitions: &BTreeSet<TopicPartition>) -> Result<Current> {
    let failed = || LakeError::delta(format!("read the positions of {name}"));
    let state = table.snapshot().map_err(failed())?;
    let mut positions = Positions::new();
    for partition in partitions {
        let next = state.transaction_version(table.log_store().as_ref(), partition).await.map_err(failed())?;
        match next {
            Some(next) if next >= 0 => positions.advance(partition.clone(), next),
            Some(next) => {
                let reason = format!("the transaction of {partition} has the version {next}");
                return Err(LakeError::Damaged { table: name.to_owned(), reason });
            }
            None => {}
        }
    }
    let version = state.version();
    Ok(Current { table, version, positions })
}

#[cfg(test)]
pub(crate) mod tests;
