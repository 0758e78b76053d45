//! [`BatchTable`]: the results of the batch runs of one version of a view, a Delta table of their own.
//!
//! A batch version is the partial states of all groups of a view, folded from everything below its Positions H. It
//! replaces the version before in one commit, which carries H (as `txn` actions and as text), the hash of the plan
//! that made it, and the columns as Arrow knows them. docs/formats/lake.md is the format.
//!
//! What must hold: whoever loads it gets states and H of the same run; a run never replaces one of the same plan that
//! had seen more.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use arrow::record_batch::RecordBatch;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, MetadataExt, StructType, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::FutureExt;
use model::{ErrorKind, Positions};
use serde::Deserialize;

use crate::checked_files::{CheckedRoot, TableChecksums};
use crate::commit_attempts::CommitAttempts;
use crate::error::{LakeError, REFRESH_HINT, Result, is_commit_conflict};
use crate::stored_schema::{NaiveTimestamps, StoredSchema};
use crate::table::{POSITIONS_KEY, quiet_commit};
use crate::{LakeLocation, maintenance, staged_files};

const PLAN_HASH_KEY: &str = "fourfold.planHash";
const ROWS_KEY: &str = "fourfold.rows";
const COLUMNS_KEY: &str = "fourfold.columns";
// Other commits than ours are those of a vacuum, two at a time.
const FOREIGN_COMMITS_MAX: u64 = 1_000;
const MAINTENANCE_INTERVAL_COMMITS: u64 = 10;

/// One version of a view's batch result.
#[derive(Clone, Debug)]
pub struct BatchVersion {
    /// The version of the Delta table.
    pub version: u64,
    /// H: everything before this is folded in, and nothing after it.
    pub positions: Positions,
    /// The hash of the plan that made the states.
    pub plan_hash: String,
    /// The states of all groups, with the plan's state schema.
    pub states: Vec<RecordBatch>,
}

/// The table with the batch results of a view.
#[derive(Clone, Debug)]
pub struct BatchTable {
    view: String,
    location: LakeLocation,
}

// What a commit of ours says about its version.
#[derive(Clone, Debug)]
struct Header {
    version: u64,
    positions: Positions,
    plan_hash: String,
    columns: SchemaRef,
    // How many states it has.
    rows: Option<u64>,
}

impl BatchTable {
    /// The table of `view` at `location`, which the first commit creates.
    pub fn new(view: &str, location: LakeLocation) -> Self {
        Self { view: view.to_owned(), location }
    }

    /// Replaces the batch result by the states of a run over everything below `positions`. Repeating the commit
    /// of a run is harmless.
    ///
    /// # Errors
    /// `Conflict` when a run of the same plan is in place that `positions` does not cover; `Unsupported` when a state
    /// column has no exact counterpart in Delta Lake; `Unavailable` when the storage fails.
    pub async fn commit(
        &self,
        plan_hash: &str,
        positions: &Positions,
        states: Vec<RecordBatch>,
    ) -> model::Result<BatchVersion> {
        let view = &self.view;
        let Some(columns) = states.first().map(RecordBatch::schema) else {
            return Err(model::Error::invalid(format!(
                "the run of view {view} has no states, not even an empty batch"
            )));
        };
        if plan_hash.is_empty() {
            return Err(model::Error::invalid(format!("the run of view {view} has no plan hash")));
        }
        let rows = Some(states.iter().map(|states| states.num_rows() as u64).sum());
        let (positions, plan_hash) = (positions.clone(), plan_hash.to_owned());
        let header = Header { version: 0, positions, plan_hash, columns, rows };
        let version = self.replace(&header, &states).await?;
        let Header { positions, plan_hash, .. } = header;
        Ok(BatchVersion { version, positions, plan_hash, states })
    }

    /// The newest batch result; `None` when there is none.
    ///
    /// # Errors
    /// `Corrupt` when the table contradicts itself or is not as it was written; `Unavailable` when the storage fails.
    pub async fn load(&self) -> model::Result<Option<BatchVersion>> {
        // Damage that no checksum tells may be such as the library that reads the file does not expect.
        let loaded = AssertUnwindSafe(self.load_newest()).catch_unwind().await.unwrap_or_else(|_| {
            let reason = "reading it ended abnormally".to_owned();
            Err(LakeError::Damaged { table: format!("batch view {}", self.view), reason })
        });
        loaded.map_err(|error| match model::Error::from(error) {
            error if error.kind() == ErrorKind::Corrupt => error.with_hint(REFRESH_HINT),
            error => error,
        })
    }

    async fn load_newest(&self) -> Result<Option<BatchVersion>> {
        let mut table = self.location.table().await?;
        let Some(header) = newest(&mut table, &self.view).await? else { return Ok(None) };
        let states = read(&mut table, &self.view, &header).await?;
        let Header { version, positions, plan_hash, .. } = header;
        Ok(Some(BatchVersion { version, positions, plan_hash, states }))
    }

    /// Deletes the table, if there is one. Nobody may be writing to it.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails; what is left is no table any more, and deleting it again ends it.
    pub async fn remove(&self) -> model::Result<()> {
        self.location.remove().await
    }

    async fn replace(&self, header: &Header, states: &[RecordBatch]) -> Result<u64> {
        let view = &self.view;
        let schema = stored_schema(view, &header.columns)?;
        let mut table = self.location.table().await?;
        let mut attempts = CommitAttempts::new(format!("batch view {view}"));
        loop {
            match newest(&mut table, view).await? {
                Some(current) if current.plan_hash == header.plan_hash => {
                    if current.positions == header.positions {
                        return Ok(current.version);
                    }
                    if !header.positions.covers(&current.positions) {
                        let (committed, given) = (current.positions, header.positions.clone());
                        return Err(LakeError::StaleBatch { view: view.clone(), committed, given });
                    }
                }
                Some(_) => {}
                None if table.version().is_none() => create(&mut table, view, &schema).await?,
                None => {}
            }
            match commit_version(&mut table, &schema, header, states).await {
                Ok(version) => {
                    maintain_when_due(&table, view, version).await;
                    return Ok(version);
                }
                Err(LakeError::Delta { source, .. }) if is_commit_conflict(&source) => {
                    attempts.conflicted(table.version().unwrap_or_default())?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn stored_schema(view: &str, columns: &SchemaRef) -> Result<StoredSchema> {
    StoredSchema::with_legal_names(&format!("batch view {view}"), columns, NaiveTimestamps::AsCount)
}

async fn create(table: &mut DeltaTable, view: &str, schema: &StoredSchema) -> Result<()> {
    let created = table
        .create()
        .with_table_name(view)
        .with_comment(format!("Partial states of the batch layer of view {view}, by Fourfold"))
        .with_columns(schema.delta_columns()?)
        .with_configuration([
            // States are read whole; bounds would exclude nothing.
            ("delta.dataSkippingNumIndexedCols", Some("0")),
            ("delta.deletedFileRetentionDuration", Some("interval 1 days")),
        ])
        .with_commit_properties(quiet_commit(Vec::new()))
        .await;
    let failed = || LakeError::delta(format!("create the table of batch view {view}"));
    match created {
        Ok(_) => {}
        // Another process created it.
        Err(_) if table.verify_deltatable_existence().await.unwrap_or(false) => {}
        Err(error) => return Err(failed()(error)),
    }
    table.load().await.map_err(failed())
}

// One commit: all files of the version before out, the new ones in, and what the version is.
async fn commit_version(
    table: &mut DeltaTable,
    schema: &StoredSchema,
    header: &Header,
    states: &[RecordBatch],
) -> Result<u64> {
    let url = table.table_url().to_string();
    let failed = || LakeError::delta(format!("commit to {url}"));
    let files = staged_files::stage(table, schema, &[], states).await?;
    let state = table.snapshot().map_err(failed())?;
    let mut actions = Vec::new();
    if schema.check(&state.schema()).is_err() {
        let columns = StructType::try_new(schema.delta_columns()?).map_err(|error| failed()(error.into()))?;
        actions.push(Action::Metadata(
            state.metadata().clone().with_schema(&columns).map_err(|error| failed()(error.into()))?,
        ));
    }
    actions.extend(state.log_data().iter().map(|file| Action::Remove(file.remove_action(true))));
    actions.extend(files.into_iter().map(Action::Add));
    let facts = HashMap::from([
        (POSITIONS_KEY.to_owned(), header.positions.to_string().into()),
        (PLAN_HASH_KEY.to_owned(), header.plan_hash.clone().into()),
        (ROWS_KEY.to_owned(), header.rows.into()),
        (COLUMNS_KEY.to_owned(), columns_to_text(&header.columns)?.into()),
    ]);
    let transactions = header.positions.iter().map(|(partition, next)| Transaction::new(partition, next)).collect();
    let committed = CommitBuilder::from(quiet_commit(transactions))
        .with_actions(actions)
        .with_app_metadata(facts)
        .build(
            Some(state),
            table.log_store(),
            DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: None, predicate: None },
        )
        .await
        .map_err(failed())?;
    table.state = Some(committed.snapshot());
    Ok(committed.version())
}

// What the newest commit of ours says. Afterwards the table is loaded, unless it does not exist.
async fn newest(table: &mut DeltaTable, view: &str) -> Result<Option<Header>> {
    let failed = || LakeError::delta(format!("read the table of batch view {view}"));
    if !table.verify_deltatable_existence().await.map_err(failed())? {
        return Ok(None);
    }
    table.update_state().await.map_err(failed())?;
    let newest = table.version().unwrap_or(0);
    for version in (newest.saturating_sub(FOREIGN_COMMITS_MAX)..=newest).rev() {
        let Some(entry) = table.log_store().read_commit_entry(version).await.map_err(failed())? else {
            break;
        };
        if let Some(header) = parse_header(&entry, version, view)? {
            return Ok(Some(header));
        }
        if version == 0 {
            // Created, and nothing committed yet.
            return Ok(None);
        }
    }
    let reason = "its log does not say which run made it".to_owned();
    Err(LakeError::Damaged { table: format!("batch view {view}"), reason })
}

// The lines of a log entry that matter here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogLine {
    commit_info: Option<HashMap<String, serde_json::Value>>,
    txn: Option<LogTransaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogTransaction {
    app_id: String,
    version: i64,
}

fn parse_header(entry: &[u8], version: u64, view: &str) -> Result<Option<Header>> {
    let damaged = |reason: String| LakeError::Damaged {
        table: format!("batch view {view}"),
        reason: format!("log entry {version}: {reason}"),
    };
    let mut info = HashMap::new();
    let mut transactions = Positions::new();
    for line in entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: LogLine = serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
        info.extend(line.commit_info.unwrap_or_default());
        if let Some(txn) = line.txn
            && let Ok(partition) = txn.app_id.parse()
            && txn.version >= 0
        {
            transactions.advance(partition, txn.version);
        }
    }
    let text = |key: &str| info.get(key).and_then(|value| value.as_str());
    let Some(plan_hash) = text(PLAN_HASH_KEY) else {
        return Ok(None);
    };
    let positions: Positions =
        text(POSITIONS_KEY).unwrap_or_default().parse().map_err(|error: model::Error| damaged(error.to_string()))?;
    if positions != transactions {
        return Err(damaged(format!("its positions are {positions}, its transactions {transactions}")));
    }
    let columns = columns_from_text(text(COLUMNS_KEY).unwrap_or_default()).map_err(damaged)?;
    let rows = info.get(ROWS_KEY).and_then(serde_json::Value::as_u64);
    Ok(Some(Header { version, positions, plan_hash: plan_hash.to_owned(), columns, rows }))
}

async fn read(table: &mut DeltaTable, view: &str, header: &Header) -> Result<Vec<RecordBatch>> {
    let doing = || format!("read the states of batch view {view}");
    if table.version() != Some(header.version) {
        table.load_version(header.version).await.map_err(LakeError::delta(doing()))?;
    }
    let schema = stored_schema(view, &header.columns)?;
    let unchecked_files = TableChecksums::of(table)?.unchecked_files;
    if unchecked_files > 0 {
        tracing::warn!(view, unchecked_files, "a batch that has no checksum is not checked");
    }
    let provider = table.table_provider().await.map_err(LakeError::query(doing()))?;
    let root = CheckedRoot::of(table)?;
    let frame = root.session().read_table(provider).map_err(LakeError::query(doing()))?;
    let stored = frame.collect().await.map_err(|error| root.failed(doing(), error))?;
    let rows: usize = stored.iter().map(RecordBatch::num_rows).sum();
    if header.rows.is_some_and(|stated| stated != rows as u64) {
        let reason = format!("it has {rows} rows, and says {}", header.rows.unwrap_or_default());
        return Err(LakeError::Damaged { table: format!("batch view {view}"), reason });
    }
    stored.iter().filter(|batch| batch.num_rows() > 0).map(|batch| schema.decode(batch)).collect()
}

// Old versions cost space, not correctness, so that a failure is only reported.
async fn maintain_when_due(table: &DeltaTable, view: &str, version: u64) {
    if !version.is_multiple_of(MAINTENANCE_INTERVAL_COMMITS) {
        return;
    }
    let properties = CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
    let vacuumed: Result<(), DeltaTableError> =
        table.clone().vacuum().with_commit_properties(properties).await.map(|_| ());
    let result = match vacuumed {
        Ok(()) => maintenance::checkpoint(table).await,
        Err(error) => Err(LakeError::delta(format!("delete old files of batch view {view}"))(error)),
    };
    if let Err(error) = result {
        tracing::warn!(view, %error, "cannot maintain a batch view");
    }
}

// An Arrow schema as text: the hexadecimal digits of an empty Arrow stream.
fn columns_to_text(columns: &SchemaRef) -> Result<String> {
    let failed = || LakeError::arrow("describe the columns of a batch view");
    let mut writer = StreamWriter::try_new(Vec::new(), columns).map_err(failed())?;
    writer.finish().map_err(failed())?;
    let bytes = writer.into_inner().map_err(failed())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn columns_from_text(text: &str) -> Result<SchemaRef, String> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16);
    let bytes: Result<Vec<u8>, _> = text.as_bytes().chunks(2).map(digits).collect();
    let bytes = bytes.map_err(|error| format!("its columns are not readable: {error}"))?;
    let reader = StreamReader::try_new(bytes.as_slice(), None);
    reader.map(|reader| Arc::clone(&reader.schema())).map_err(|error| format!("its columns are not readable: {error}"))
}

#[cfg(test)]
mod tests;
