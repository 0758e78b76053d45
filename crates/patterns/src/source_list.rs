//! The answer to `SHOW SOURCES`: what is defined, and how the sources fare with their records.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use model::{Error, Result};
use sql::SourceDefinition;
use streaming::{LetterCount, RejectedBy};

use crate::deployment::Deployment;

/// One source.
struct Shown {
    source: SourceDefinition,
    rejected: Vec<LetterCount>,
    warning: Option<String>,
}

/// All sources of a deployment.
pub(crate) async fn show(deployment: &Deployment) -> Result<RecordBatch> {
    let mut sources = Vec::new();
    for source in deployment.sources() {
        let letters = &deployment.resources.dead_letters;
        let mut rejected = letters.counts(&source.topic).await?;
        // Other sources may read the topic too.
        rejected.retain(|count| match &count.by {
            RejectedBy::Source(name) => *name == source.name,
            RejectedBy::View(name) => reads(deployment, name, &source),
        });
        let unfit = deployment.topic_of(&source).err().map(|error| error.to_string());
        let warning = unfit.or_else(|| letters.warning(&source));
        sources.push(Shown { source, rejected, warning });
    }
    let text = |get: &dyn Fn(&Shown) -> Option<String>| -> ArrayRef {
        Arc::new(sources.iter().map(get).collect::<StringArray>())
    };
    let number =
        |get: &dyn Fn(&Shown) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(sources.iter().map(get))) };
    let rows = RecordBatch::try_from_iter([
        ("source", text(&|shown| Some(shown.source.name.clone()))),
        ("topic", text(&|shown| Some(shown.source.topic.to_string()))),
        ("partitions", number(&|shown| i64::from(shown.source.partitions))),
        ("rejected_records", number(&|shown| total(&shown.rejected))),
        ("rejected_by", text(&|shown| by_whom(&shown.rejected))),
        ("warning", text(&|shown| shown.warning.clone())),
        ("definition", text(&|shown| Some(shown.source.text.clone()))),
    ]);
    rows.map_err(|error| Error::internal("cannot list the sources").with_source(error))
}

fn reads(deployment: &Deployment, view: &str, source: &SourceDefinition) -> bool {
    let running = deployment.running();
    running.iter().any(|found| found.stored.name == view && found.reads(&source.name))
}

fn total(rejected: &[LetterCount]) -> i64 {
    let records: u64 = rejected.iter().map(|count| count.records).sum();
    i64::try_from(records).unwrap_or(i64::MAX)
}

/// Who rejects, and why, as in `source readings: syntax 2, value 1; view shares: expression 4`.
fn by_whom(rejected: &[LetterCount]) -> Option<String> {
    let mut whom: BTreeMap<&RejectedBy, Vec<String>> = BTreeMap::new();
    for count in rejected {
        whom.entry(&count.by).or_default().push(format!("{} {}", count.class, count.records));
    }
    let parts: Vec<String> = whom.iter().map(|(by, classes)| format!("{by}: {}", classes.join(", "))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
