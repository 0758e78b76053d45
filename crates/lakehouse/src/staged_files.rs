//! Parquet files that are written, and not yet named by any commit.
//!
//! Each carries its checksum.
//!
//! What must hold: writing them changes nothing that a reader can see; files that no commit ever names are garbage
//! that a vacuum removes. Nobody else may remove them: a store can report a commit as lost that it has in fact taken.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake_core::DeltaTable;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::Add;
use deltalake_core::table::config::TablePropertiesExt;
use futures::{Stream, StreamExt};

use crate::checked_files::{CheckedFiles, TableChecksums};
use crate::error::{LakeError, Result};
use crate::late_failures::LateFailures;
use crate::stored_schema::StoredSchema;

/// Writes rows beside a table's files; `statistics` names the columns whose bounds go into the Delta log.
pub(crate) async fn stage(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: &[RecordBatch],
) -> Result<Vec<Add>> {
    let rows = rows.iter().filter(|batch| batch.num_rows() > 0).cloned().map(Ok);
    stage_rows(table, schema, statistics, futures::stream::iter(rows)).await
}

/// Writes rows that come one batch after the other, as their source has them.
pub(crate) async fn stage_rows(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: impl Stream<Item = Result<RecordBatch>>,
) -> Result<Vec<Add>> {
    write(table, schema, statistics, rows.map(|rows| schema.encode(&rows?))).await
}

/// Writes rows as another file of the table has them.
pub(crate) async fn stage_stored(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: impl Stream<Item = Result<RecordBatch>>,
) -> Result<Vec<Add>> {
    write(table, schema, statistics, rows.map(|rows| schema.as_stored(&rows?))).await
}

async fn write(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: impl Stream<Item = Result<RecordBatch>>,
) -> Result<Vec<Add>> {
    let url = table.table_url();
    let failed = || LakeError::delta(format!("write data files to {url}"));
    let properties = table.snapshot().map_err(failed())?.table_config();
    let config = WriterConfig::new(
        Arc::clone(schema.stored()),
        Vec::new(),
        None,
        Some(properties.target_file_size()),
        None,
        properties.num_indexed_cols(),
        Some(statistics.iter().map(|column| (*column).to_owned()).collect()),
    );
    let late = Arc::new(LateFailures::new(table.object_store()));
    let store = Arc::new(CheckedFiles::new(Arc::clone(&late) as _, TableChecksums::default()));
    let mut writer = DeltaWriter::new(Arc::clone(&store) as _, config);
    let mut rows = pin!(rows);
    while let Some(batch) = rows.next().await {
        let written = match batch {
            Ok(batch) => writer.write(&batch).await.map_err(failed()),
            Err(error) => Err(error),
        };
        let written = written.and_then(|()| late.check().map_err(|error| failed()(error.into())));
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = writer.abort().await;
            return Err(error);
        }
    }
    let mut files = writer.close().await.map_err(failed())?;
    late.check().map_err(|error| failed()(error.into()))?;
    files.iter_mut().for_each(|file| store.tag(file));
    Ok(files)
}
