//! What keeps a table quick to open and to read: larger files, fewer of them, and a short log.
//!
//! Files are merged here and not by delta-rs' own `optimize`: since <https://github.com/delta-io/delta-rs/pull/3982>, two
//! of those at the same time may both replace the same files, and every row in them is then there twice.
//!
//! What must hold: no row is added, lost or changed, and no Positions move; files are replaced only if all of them are
//! still there in the very version that the commit follows.

use std::collections::HashSet;

use deltalake_core::checkpoints;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::StreamExt;
use serde::Deserialize;

use crate::checked_files::CheckedRoot;
use crate::error::{LakeError, Result, is_commit_conflict};
use crate::staged_files;
use crate::stored_schema::StoredSchema;

const COMMIT_ATTEMPTS_MAX: u32 = 20;

/// What maintenance does.
#[derive(Clone, Debug, Deserialize)]
pub struct MaintenanceSettings {
    /// Files smaller than half of this are merged into files of about this size, in bytes.
    #[serde(rename = "maintenance_file_bytes")]
    pub file_bytes: u64,
    /// How many files are merged into one at most.
    #[serde(rename = "maintenance_merge_files_max")]
    pub merge_files_max: usize,
    /// Whether files that no version of the last week needs are deleted, among them those of commits that never
    /// happened.
    #[serde(rename = "maintenance_vacuum")]
    pub vacuum: bool,
}

impl MaintenanceSettings {
    /// As shipped: the section `lake` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("lake")
    }
}

/// What maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// How many small files were merged.
    pub files_merged: u64,
    /// How many files they were merged into.
    pub files_written: u64,
    /// How many files were deleted.
    pub files_deleted: u64,
}

// Files to be replaced by one.
struct Merge {
    old: Vec<Remove>,
    rows: u64,
}

pub(crate) async fn run(
    mut table: DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    settings: &MaintenanceSettings,
) -> Result<Maintenance> {
    let url = table.table_url().to_string();
    let failed = || LakeError::delta(format!("maintain the table at {url}"));
    table.update_state().await.map_err(failed())?;
    let mut done = Maintenance::default();
    for merge in plan(&table, settings).map_err(failed())? {
        let new = rewrite(&table, schema, statistics, &merge).await?;
        let counts = (merge.old.len() as u64, new.len() as u64);
        if replace(&mut table, merge.old, new, settings.file_bytes).await.map_err(failed())? {
            done.files_merged += counts.0;
            done.files_written += counts.1;
        }
    }
    if settings.vacuum {
        let properties =
            CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
        let vacuum = table.clone().vacuum().with_mode(VacuumMode::Full).with_commit_properties(properties);
        let (vacuumed, metrics) = vacuum.await.map_err(failed())?;
        done.files_deleted = metrics.files_deleted.len() as u64;
        table = vacuumed;
    }
    table.update_state().await.map_err(failed())?;
    checkpoint(&table).await?;
    Ok(done)
}

/// Writes a checkpoint of the Delta log, and deletes log entries older than the table keeps (30 days).
pub(crate) async fn checkpoint(table: &DeltaTable) -> Result<()> {
    let failed = || LakeError::delta(format!("write a checkpoint of {}", table.table_url()));
    checkpoints::create_checkpoint(table, None).await.map_err(failed())?;
    checkpoints::cleanup_metadata(table, None).await.map_err(failed())?;
    Ok(())
}

// Which files to merge: small ones, until they make a large one.
fn plan(table: &DeltaTable, settings: &MaintenanceSettings) -> Result<Vec<Merge>, DeltaTableError> {
    let mut merges = Vec::new();
    let mut merge = Merge { old: Vec::new(), rows: 0 };
    let mut bytes = 0;
    for file in table.snapshot()?.log_data().iter() {
        let size = u64::try_from(file.size()).unwrap_or(0);
        // Files whose rows cannot be counted beforehand stay as they are: the count is the check below.
        let Some(rows) = file.num_records().filter(|_| file.deletion_vector_descriptor().is_none()) else { continue };
        if size >= settings.file_bytes / 2 {
            continue;
        }
        merge.old.push(file.remove_action(false));
        merge.rows += rows as u64;
        bytes += size;
        if bytes >= settings.file_bytes || merge.old.len() >= settings.merge_files_max {
            merges.push(std::mem::replace(&mut merge, Merge { old: Vec::new(), rows: 0 }));
            bytes = 0;
        }
    }
    merges.push(merge);
    merges.retain(|merge| merge.old.len() > 1);
    Ok(merges)
}

// Writes the rows of some files as new files.
async fn rewrite(table: &DeltaTable, schema: &StoredSchema, statistics: &[&str], merge: &Merge) -> Result<Vec<Add>> {
    let url = table.table_url().to_string();
    let failed = || LakeError::query(format!("read small files of the table at {url}"));
    let paths = merge.old.iter().map(|file| file.path.clone());
    // Unchecked, damage would get a checksum of its own.
    let root = CheckedRoot::of(table)?;
    let provider = table.table_provider().with_file_paths(paths).await.map_err(failed())?;
    let rows = root.session().read_table(provider).map_err(failed())?;
    let rows = rows.execute_stream().await.map_err(failed())?;
    let rows = rows.map(|batch| batch.map_err(|error| root.failed(format!("read data files of {url}"), error)));
    let mut files = staged_files::stage_stored(table, schema, statistics, rows).await?;
    let written = row_count(&files);
    if written != Some(merge.rows) {
        let (old, rows) = (merge.old.len(), merge.rows);
        let reason = format!("{old} files should have {rows} rows, {} were read", written.unwrap_or_default());
        return Err(LakeError::Damaged { table: url, reason });
    }
    files.iter_mut().for_each(|file| file.data_change = false);
    Ok(files)
}

/// How many rows files have that were written just now.
pub(crate) fn row_count(files: &[Add]) -> Option<u64> {
    let rows = files.iter().map(|file| Some(file.get_stats().ok()??.num_records));
    rows.map(|rows| u64::try_from(rows?).ok()).sum()
}

/// Replaces files by others with the same rows; answers whether it did.
pub(crate) async fn replace(
    table: &mut DeltaTable,
    old: Vec<Remove>,
    new: Vec<Add>,
    file_bytes: u64,
) -> Result<bool, DeltaTableError> {
    let mut actions: Vec<Action> = old.iter().cloned().map(Action::Remove).collect();
    actions.extend(new.into_iter().map(Action::Add));
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let active: HashSet<String> = table.snapshot()?.log_data().iter().map(|file| file.path().to_string()).collect();
        if !old.iter().all(|file| active.contains(&file.path)) {
            // Somebody else replaced some of them. The new files are garbage now.
            return Ok(false);
        }
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        let target_size = i64::try_from(file_bytes).unwrap_or(i64::MAX);
        let commit = CommitBuilder::from(properties).with_actions(actions.clone()).build(
            Some(table.snapshot()?),
            table.log_store(),
            DeltaOperation::Optimize { predicate: None, target_size },
        );
        match commit.await {
            Ok(committed) => {
                table.state = Some(committed.snapshot());
                return Ok(true);
            }
            Err(error) if is_commit_conflict(&error) => table.update_state().await?,
            Err(error) => return Err(error),
        }
    }
    // Others commit all the time; the next maintenance tries again.
    Ok(false)
}
