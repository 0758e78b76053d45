//! Files of a lake table that are not as they were written, captured anew from the log.
//!
//! What it is not: a repair of bytes. The rows of a damaged file are read from the log once more, where it still has
//! all of them; otherwise nothing is changed.
//!
//! What must hold: what takes the place of damaged files has exactly the rows that they had: those of the log that lie
//! within the bounds that the files state and are in no other file, and as many as the files state. No record goes to
//! the dead letters again.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, lit, utils};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::ident;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Remove;
use eventlog::EventLog;
use futures::StreamExt;
use model::{Epoch, Offset, TopicPartition};
use object_store::path::Path;
use sql::SourceDefinition;
use streaming::SourceTable;

use crate::checked_files::{CheckedFiles, CheckedRoot, TableChecksums};
use crate::columns::{OFFSET_COLUMN, PARTITION_COLUMN, STATISTICS};
use crate::error::{FileDamage, LakeError, Result};
use crate::{LakeTable, maintenance, rows, staged_files, stated_bounds};

// What the rows of a file weigh in the log's metrics of a merge; it says nothing here.
const TARGET_BYTES: u64 = 0;

/// What was captured anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// How many files were damaged.
    pub files: u64,
    /// How many rows they had.
    pub rows: u64,
}

// The damaged files of one version, and where their rows lie.
struct Damaged {
    first: FileDamage,
    files: Vec<Remove>,
    rows: Option<u64>,
    range: Epoch,
}

impl LakeTable {
    /// Reads every file that has a checksum, and captures those anew that are damaged or gone; later reads have them.
    ///
    /// # Errors
    /// `Corrupt` when the log has not all of their records any more: nothing was changed then. `Unavailable` when the
    /// storage fails.
    pub async fn mend(&self, log: &Arc<dyn EventLog>, source: &SourceDefinition) -> model::Result<Mended> {
        self.refresh().await?;
        let mut table = self.loaded();
        let Some(damaged) = find(&table, source).await? else { return Ok(Mended::default()) };
        let lost = |reason: String| LakeError::Lost { damage: damaged.first.clone(), reason };
        let Some(row_count) = damaged.rows else {
            return Err(lost("the lake does not say how many rows it had".to_owned()).into());
        };
        self.still_there(log, &damaged.range).map_err(lost)?;
        let elsewhere = offsets_elsewhere(&table, &damaged).await?;
        let session = SessionContext::new();
        let of_log = SourceTable::new(Arc::clone(log), source.clone(), damaged.range.clone());
        let failed = || LakeError::query(format!("read the log for {}", self.definition().name));
        let scan = of_log.scan(&session.state(), None, &[], None).await.map_err(failed())?;
        let read = execute_stream(scan, session.task_ctx()).map_err(failed())?;
        let missing = read.map(|rows| elsewhere.missing(self, &rows.map_err(failed())?));
        let mut new = staged_files::stage_rows(&table, self.schema(), &STATISTICS, missing).await?;
        if maintenance::row_count(&new) != Some(row_count) {
            // The log may have deleted some of them meanwhile.
            self.still_there(log, &damaged.range).map_err(lost)?;
            let found = maintenance::row_count(&new).unwrap_or_default();
            return Err(lost(format!("it had {row_count} rows, and the log has {found} of them")).into());
        }
        new.iter_mut().for_each(|file| file.data_change = false);
        let mended = Mended { files: damaged.files.len() as u64, rows: row_count };
        let doing = format!("replace damaged files of {}", self.definition().name);
        let replaced = maintenance::replace(&mut table, damaged.files, new, TARGET_BYTES).await;
        if !replaced.map_err(LakeError::delta(doing))? {
            return Err(model::Error::unavailable("damaged files of the lake were merged by others just now")
                .with_hint("try again"));
        }
        self.refresh().await?;
        tracing::warn!(table = self.definition().name, damage = %damaged.first, ?mended, "captured damaged files anew");
        Ok(mended)
    }

    // Whether the log has everything in `range`, of the topic that was captured.
    fn still_there(&self, log: &Arc<dyn EventLog>, range: &Epoch) -> Result<(), String> {
        let topic = &self.definition().topic;
        let id = log.topic(topic.as_str()).map(|topic| topic.id.to_string());
        if id.is_none() || id != self.bound_topic() {
            return Err(format!("topic {topic} was deleted since"));
        }
        // Positions do not name the partitions that begin at 0.
        for (partition, to) in range.to.iter() {
            let bounds = log.bounds(partition).map_err(|error| error.to_string())?;
            let from = range.from.next_offset(partition);
            if from < bounds.log_start_offset || to > bounds.high_watermark {
                let (start, end) = (bounds.log_start_offset, bounds.high_watermark);
                return Err(format!("it is of {partition} from {from} to {to}, and the log has from {start} to {end}"));
            }
        }
        Ok(())
    }
}

// The files that are not as they were written; `None` when all are.
async fn find(table: &DeltaTable, source: &SourceDefinition) -> Result<Option<Damaged>> {
    let checksums = TableChecksums::of(table)?;
    let failed = || LakeError::delta(format!("read the files of {}", source.name));
    let state = table.snapshot().map_err(failed())?;
    let files: Vec<_> = state.log_data().iter().filter(|file| checksums.has(&file.path())).collect();
    let store = CheckedFiles::new(table.object_store(), checksums);
    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    let (mut first, mut removes, mut rows) = (None, Vec::new(), Some(0));
    for file in files {
        let path = file.path().to_string();
        let damage = match store.read_through(&Path::from(path.as_str())).await {
            Ok(()) => continue,
            Err(object_store::Error::NotFound { .. }) => FileDamage { file: path, reason: "it is gone".to_owned() },
            Err(error) => match FileDamage::behind(&error) {
                Some(damage) => damage,
                None => return Err(failed()(error.into())),
            },
        };
        let Some((partitions, offsets)) = file.stats().as_deref().and_then(stated_bounds::places) else {
            let reason = "the lake does not say which records it had".to_owned();
            return Err(LakeError::Lost { damage, reason });
        };
        for partition in partitions {
            let place = source.topic_partition(partition);
            let least = from.entry(place.clone()).or_insert(offsets.start);
            *least = offsets.start.min(*least);
            let most = to.entry(place).or_insert(offsets.end);
            *most = offsets.end.max(*most);
        }
        rows = rows.and_then(|rows| Some(rows + file.num_records()? as u64));
        first.get_or_insert(damage);
        removes.push(file.remove_action(false));
    }
    let Some(first) = first else { return Ok(None) };
    let range = Epoch::new(from.into_iter().collect(), to.into_iter().collect());
    let range = range.map_err(|error| LakeError::Lost { damage: first.clone(), reason: error.to_string() })?;
    Ok(Some(Damaged { first, files: removes, rows, range }))
}

// The offsets within the range of the damaged files that other files have.
async fn offsets_elsewhere(table: &DeltaTable, damaged: &Damaged) -> Result<Elsewhere> {
    let doing = "read the offsets of a lake table";
    let failed = || LakeError::query(doing);
    let gone: HashSet<&str> = damaged.files.iter().map(|file| file.path.as_str()).collect();
    let state = table.snapshot().map_err(LakeError::delta("read the files of a lake table"))?;
    let mut others: Vec<_> = state.log_data().iter().map(|file| file.path().to_string()).collect();
    others.retain(|path| !gone.contains(path.as_str()));
    let mut elsewhere = Elsewhere::default();
    if others.is_empty() {
        return Ok(elsewhere);
    }
    let root = CheckedRoot::of(table)?;
    let provider = table.table_provider().with_file_paths(others).await.map_err(failed())?;
    let frame = root.session().read_table(provider).map_err(failed())?;
    let frame = frame.filter(within(&damaged.range)).map_err(failed())?;
    let frame = frame.select([ident(PARTITION_COLUMN), ident(OFFSET_COLUMN)]).map_err(failed())?;
    let mut read = frame.execute_stream().await.map_err(failed())?;
    while let Some(batch) = read.next().await {
        let batch = batch.map_err(|error| root.failed(doing, error))?;
        rows::places(&damaged.first.file, &batch)?.for_each(|place| elsewhere.push(place));
    }
    elsewhere.sort();
    Ok(elsewhere)
}

fn within(range: &Epoch) -> Expr {
    let rows_of = |(partition, to): (&TopicPartition, Offset)| {
        let offset = || ident(OFFSET_COLUMN);
        let is_in = offset().gt_eq(lit(range.from.next_offset(partition))).and(offset().lt(lit(to)));
        ident(PARTITION_COLUMN).eq(lit(partition.partition)).and(is_in)
    };
    utils::disjunction(range.to.iter().map(rows_of)).unwrap_or_else(|| lit(false))
}

/// Offsets that are there, as runs: most follow one another.
#[derive(Debug, Default)]
struct Elsewhere {
    runs: BTreeMap<i32, Vec<Range<Offset>>>,
}

impl Elsewhere {
    fn push(&mut self, (partition, offset): (i32, Offset)) {
        let runs = self.runs.entry(partition).or_default();
        match runs.last_mut() {
            Some(last) if last.end == offset => last.end += 1,
            _ => runs.push(offset..offset + 1),
        }
    }

    fn sort(&mut self) {
        self.runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.start));
    }

    fn has(&self, (partition, offset): (i32, Offset)) -> bool {
        let Some(runs) = self.runs.get(&partition) else { return false };
        let after = runs.partition_point(|run| run.start <= offset);
        after.checked_sub(1).is_some_and(|last| runs[last].contains(&offset))
    }

    // The rows that no other file has.
    fn missing(&self, table: &LakeTable, rows: &RecordBatch) -> Result<RecordBatch> {
        let name = &table.definition().name;
        let mask: BooleanArray = rows::places(name, rows)?.map(|place| Some(!self.has(place))).collect();
        filter_record_batch(rows, &mask).map_err(LakeError::arrow(format!("capture damaged files of {name} anew")))
    }
}

#[cfg(test)]
mod tests {
    //! Offsets in any order of files.

    use super::Elsewhere;

    #[test]
    fn what_other_files_have_is_found_in_any_order() {
        let mut elsewhere = Elsewhere::default();
        for place in [(0, 7), (0, 8), (1, 3), (0, 1), (0, 2), (0, 4)] {
            elsewhere.push(place);
        }
        elsewhere.sort();
        let found = |partition| (0..10).filter(|offset| elsewhere.has((partition, *offset))).collect::<Vec<_>>();
        assert_eq!((found(0), found(1), found(2)), (vec![1, 2, 4, 7, 8], vec![3], vec![]));
    }
}
