//! [`Captures`]: one capture a source, however many views want its lake table.
//!
//! What must hold: the records of one incarnation of a topic, in one set of columns, are in one table. A table that is
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
    running: Mutex<BTreeMap<String, CapturedSource>>,
}

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
        if let Some(captured) = running.get(&source.name) {
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
        running.insert(source.name.clone(), captured);
        Ok(side)
    }

    /// Opens the table of a source; one that the log does not bear out is set aside first, which the sentence says.
    async fn open_believable(
        &self,
        source: &SourceDefinition,
        topic_id: Uuid,
    ) -> Result<(Arc<LakeTable>, Option<String>)> {
        let location = self.location(&source.name);
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
        let location = self.location(&source.name);
        if running.contains_key(&source.name) || !location.has_table().await? {
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
    pub(crate) async fn end(&self, source: &str) -> Result<Option<String>> {
        if let Some(captured) = self.running.lock().await.remove(source) {
            stop(source, captured).await;
        }
        let location = self.location(source);
        Ok(location.has_table().await?.then(|| {
            format!(
                "what was captured of source {source} stays in {location}; a source with the same name, topic and \
                 columns goes on with it"
            )
        }))
    }

    /// Commits what was read, and ends all captures.
    ///
    /// # Errors
    /// The first thing that failed; all are ended all the same. One that had ended by itself has been told.
    pub(crate) async fn stop(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (source, captured) in std::mem::take(&mut *self.running.lock().await) {
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
        running: &mut BTreeMap<String, CapturedSource>,
        source: &SourceDefinition,
        topic_id: Uuid,
    ) {
        if running.get(&source.name).is_some_and(|captured| captured.topic_id != topic_id)
            && let Some(captured) = running.remove(&source.name)
        {
            stop(&source.name, captured).await;
        }
    }

    fn topic_id(&self, source: &SourceDefinition) -> Result<Uuid> {
        let topic = self.resources.log.topic(source.topic.as_str());
        topic.map(|topic| topic.id).ok_or_else(|| Error::not_found(format!("there is no topic {}", source.topic)))
    }

    fn location(&self, source: &str) -> LakeLocation {
        self.resources.lake.child("sources").child(source)
    }
}

impl CapturedSource {
    fn lake_side(&self) -> Captured {
        Captured { table: Arc::clone(&self.table), progress: self.capture.progress(), note: self.note.clone() }
    }
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
