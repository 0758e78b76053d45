//! Parquet files that are written, and not yet named by any commit.
//!
//! What must hold: writing them changes nothing that a reader can see; files that no commit ever names are garbage
//! that a vacuum removes. Nobody else may remove them: a store can report a commit as lost that it has in fact taken.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use deltalake_core::DeltaTable;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::Add;
use deltalake_core::table::config::TablePropertiesExt;
use futures::{Stream, StreamExt};

use crate::error::{LakeError, Result};
use crate::stored_schema::StoredSchema;

/// Writes rows beside a table's files; `statistics` names the columns whose bounds go into the Delta log.
pub(crate) async fn stage(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: &[RecordBatch],
) -> Result<Vec<Add>> {
    let rows = rows.iter().filter(|batch| batch.num_rows() > 0).map(|batch| schema.encode(batch));
    write(table, schema, statistics, futures::stream::iter(rows)).await
}

/// Writes rows as another file of the table has them.
pub(crate) async fn stage_stream(
    table: &DeltaTable,
    schema: &StoredSchema,
    statistics: &[&str],
    rows: SendableRecordBatchStream,
) -> Result<Vec<Add>> {
    let url = table.table_url();
    let stored = |batch: Result<RecordBatch, DataFusionError>| {
        schema.as_stored(&batch.map_err(LakeError::query(format!("read data files of {url}")))?)
    };
    write(table, schema, statistics, rows.map(stored)).await
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
    let mut writer = DeltaWriter::new(table.object_store(), config);
    let mut rows = pin!(rows);
    while let Some(batch) = rows.next().await {
        let written = match batch {
            Ok(batch) => writer.write(&batch).await.map_err(failed()),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = writer.abort().await;
            return Err(error);
        }
    }
    writer.close().await.map_err(failed())
}
