//! [`Captures`]: one capture a source, however many views want its lake table.
//!
//! What must hold: the records of one incarnation of a topic, in one set of columns, are in one table: a source that gets a
//! column has another one for the views that are defined from then on. A table that is
//! in the way of another is set aside and never deleted: it may hold what the log has no more. So is one that has
//! captured beyond the end of the log: what comes at those offsets next is captured too.

use std::{collections::BTreeMap, sync::Arc};

use lakehouse::{Capture, LakeLocation, LakeTable};
use model::{Error, ErrorKind, Result};
use sql::SourceDefinition;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{captured::Captured, extent::Extent, resources::Resources};

/// The captures that run.
pub(crate) struct Captures {
    resources: Resources,
    running: Mutex<BTreeMap<SourceColumns, CapturedSource>>,
}

/// The name of a source, and how many columns had been added to it.
type SourceColumns = (String, usize);

struct CapturedSource {
    topic_id: Uuid,
    table: Arc<LakeTable>,
    capture: Capture,
    note: Option<String>,
}

impl Captures {
    pub(crate) fn new(resources: &Resources) -> Self {
        Self { resources: resources.clone(), running: Mutex::default() }
    }

    /// The lake's side of a source, whose capture is started when it does not run.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the table there is of another incarnation of the topic, or has
    /// other columns; [`set_aside_misfit`](Self::set_aside_misfit) helps.
    pub(crate) async fn capture_of(&self, source: &SourceDefinition) -> Result<Captured> {
        let topic_id = self.topic_id(source)?;
        let mut running = self.running.lock().await;
        self.stop_outdated(&mut running, source, topic_id).await;
        if let Some(captured) = running.get(&columns_of(source)) {
            return Ok(captured.lake_side());
        }
        let (table, note) = self.open_believable(source, topic_id).await?;
        let settings = self.resources.settings.capture.clone();
        let (log, dead_letters) = (Arc::clone(&self.resources.log), Arc::clone(&self.resources.dead_letters));
        let (metrics, threads) = (self.resources.metrics.clone(), &self.resources.threads);
        let capture =
            Capture::spawn(log, dead_letters, source.clone(), Arc::clone(&table), settings, metrics, threads)?;
        let captured = CapturedSource { topic_id, table, capture, note };
        let side = captured.lake_side();
        running.insert(columns_of(source), captured);
        Ok(side)
    }

    /// Opens the table of a source; one that the log does not bear out is set aside first, which the sentence says.
    async fn open_believable(
        &self,
        source: &SourceDefinition,
        topic_id: Uuid,
    ) -> Result<(Arc<LakeTable>, Option<String>)> {
        let location = self.location(&columns_of(source));
        let table = open(&location, source, topic_id).await?;
        let extent = Extent::of(self.resources.log.as_ref(), std::slice::from_ref(source))?;
        let what = format!("what was captured of source {}", source.name);
        let disbelief = match extent.disbelief(&what, &table.positions()) {
            Some(reason) => Some(reason),
            None => table.contradiction()?,
        };
        let Some(reason) = disbelief else { return Ok((table, None)) };
        drop(table);
        let note = format!("{reason}; the table was set aside as {}", location.set_aside().await?);
        tracing::warn!(source = source.name, note, "the capture of a source begins again");
        Ok((open(&location, source, topic_id).await?, Some(note)))
    }

    /// Sets the table of a source aside when it is of another incarnation of the topic or has other columns; answers
    /// where it is then, as a sentence.
    ///
    /// # Errors
    /// When the table can be neither opened nor set aside.
    pub(crate) async fn set_aside_misfit(&self, source: &SourceDefinition) -> Result<Option<String>> {
        let topic_id = self.topic_id(source)?;
        let mut running = self.running.lock().await;
        self.stop_outdated(&mut running, source, topic_id).await;
        let location = self.location(&columns_of(source));
        if running.contains_key(&columns_of(source)) || !location.has_table().await? {
            return Ok(None);
        }
        match open(&location, source, topic_id).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let aside = location.set_aside().await?;
                Ok(Some(format!("{error}; it was set aside as {aside}, and a new table begins")))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the capture of a source that was dropped; answers what becomes of its table, as a sentence.
    pub(crate) async fn end(&self, source: &str, added_columns: usize) -> Result<Option<String>> {
        let mut running = self.running.lock().await;
        let mut stay = Vec::new();
        for columns in (0..=added_columns).map(|added_columns| (source.to_owned(), added_columns)) {
            if let Some(captured) = running.remove(&columns) {
                stop(source, captured).await;
            }
            let location = self.location(&columns);
            if location.has_table().await? {
                stay.push(location.to_string());
            }
        }
        Ok((!stay.is_empty()).then(|| {
            format!(
                "what was captured of source {source} stays in {}; a source with the same name, topic and \
                 columns goes on with it",
                stay.join(" and ")
            )
        }))
    }

    /// Refuses to begin the table of a source that has got columns, where the one of its columns before has what the log has
    /// no more: that cannot be read with the new ones.
    ///
    /// # Errors
    /// [`Unsupported`](model::ErrorKind::Unsupported) then, and what the file system says.
    pub(crate) async fn check_expired(&self, source: &SourceDefinition) -> Result<()> {
        let (name, added_columns) = columns_of(source);
        let log = &self.resources.log;
        let starts = (0..source.partitions).map(|partition| log.bounds(&source.topic_partition(partition)));
        let starts = starts.collect::<eventlog::Result<Vec<_>>>()?;
        if starts.iter().all(|bounds| bounds.log_start_offset == 0)
            || self.location(&(name.clone(), added_columns)).has_table().await?
        {
            return Ok(());
        }
        for before in (0..added_columns).map(|added_columns| (name.clone(), added_columns)) {
            if self.location(&before).has_table().await? {
                let message = format!(
                    "source {name} was captured without the columns that it has got since, and the log has lost records of that: they \
                     cannot be captured with them"
                );
                return Err(Error::unsupported(message)
                    .with_hint("leave WITH (batch = ...) out: a view without a batch layer folds what the log has"));
            }
        }
        Ok(())
    }

    /// Commits what was read, and ends all captures.
    ///
    /// # Errors
    /// The first thing that failed; all are ended all the same. One that had ended by itself has been told.
    pub(crate) async fn stop(&self) -> Result<()> {
        let mut outcome = Ok(());
        for ((source, _), captured) in std::mem::take(&mut *self.running.lock().await) {
            if captured.capture.has_ended() {
                stop(&source, captured).await;
            } else {
                outcome = outcome.and(captured.capture.stop().await.map(drop));
            }
        }
        outcome
    }

    async fn stop_outdated(
        &self,
        running: &mut BTreeMap<SourceColumns, CapturedSource>,
        source: &SourceDefinition,
        topic_id: Uuid,
    ) {
        let columns = columns_of(source);
        if running.get(&columns).is_some_and(|captured| captured.topic_id != topic_id)
            && let Some(captured) = running.remove(&columns)
        {
            stop(&source.name, captured).await;
        }
    }

    fn topic_id(&self, source: &SourceDefinition) -> Result<Uuid> {
        let topic = self.resources.log.topic(source.topic.as_str());
        topic.map(|topic| topic.id).ok_or_else(|| Error::not_found(format!("there is no topic {}", source.topic)))
    }

    fn location(&self, (source, added_columns): &SourceColumns) -> LakeLocation {
        let sources = self.resources.lake.child("sources");
        match added_columns {
            0 => sources.child(source),
            // No name of a source has such a character.
            added_columns => sources.child(&format!("{source}-{added_columns}")),
        }
    }
}

impl CapturedSource {
    fn lake_side(&self) -> Captured {
        Captured { table: Arc::clone(&self.table), progress: self.capture.progress(), note: self.note.clone() }
    }
}

fn columns_of(source: &SourceDefinition) -> SourceColumns {
    (source.name.clone(), source.added_columns)
}

// What it could not commit is in the log, or gone with its topic.
async fn stop(source: &str, captured: CapturedSource) {
    if let Err(error) = captured.capture.stop().await {
        tracing::warn!(source, %error, "a capture that ended had failed");
    }
}

async fn open(location: &LakeLocation, source: &SourceDefinition, topic_id: Uuid) -> Result<Arc<LakeTable>> {
    let table = LakeTable::open_or_create(location, source).await?;
    table.bind(topic_id).await?;
    Ok(table)
}
