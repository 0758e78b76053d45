//! What names mean: `public` holds the views and sources, `pg_catalog` and `information_schema` describe them.
//!
//! There are two forms of `public`. [`DescribedSchema`] knows columns and reads nothing: statements are prepared
//! against it, and the catalogue tables list it. [`PinnedSchema`] belongs to a session: the first use of a name in a
//! query waits for the demanded Positions and pins a snapshot, and every further use is that snapshot.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
        TableProvider,
    },
    datasource::{TableType, empty::EmptyTable},
    error::{DataFusionError, Result},
};
use model::{Access, Positions, Principal, Resource, TopicName, principal::authorise};
use parking_lot::Mutex;
use sql::{SqlError, sql_error, sqlstate};
use streaming::SourceTable;

use super::{Definitions, Unread, error::refused_read};
use crate::views::{Relation, Snapshot, Views, admitted, require_concerned, require_partitions};

/// The one catalogue ("database").
pub(super) const CATALOG: &str = "fourfold";
/// The one schema of views and sources.
pub(super) const SCHEMA: &str = "public";
pub(super) const PG_CATALOG: &str = "pg_catalog";
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// The relations that names of `public` may mean.
#[derive(Clone, Debug)]
pub(super) struct Relations {
    pub(super) views: Arc<Views>,
    pub(super) definitions: Arc<dyn Definitions>,
}

impl Relations {
    /// The names of views and sources, sorted; a view hides a source of the same name.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.views.names();
        names.extend(self.definitions.sources().into_iter().map(|source| source.name));
        names.sort();
        names.dedup();
        names
    }

    /// The columns of a name and whether it is a view. What a table shows is served as a view is.
    pub(super) fn describe(&self, name: &str) -> Option<(SchemaRef, TableType)> {
        let source = self.definitions.sources().into_iter().find(|source| source.name == name);
        if let Some(view) = self.views.get(name) {
            let is_table = source.is_some_and(|source| source.is_table());
            return Some((view.schema(), if is_table { TableType::Base } else { TableType::View }));
        }
        Some((source?.schema(), TableType::Base))
    }
}

/// A catalogue list with one catalogue whose `public` is `schema`.
pub(super) fn catalog_list(schema: Arc<dyn SchemaProvider>) -> Result<Arc<dyn CatalogProviderList>> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, schema)?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

/// `public` with its columns alone.
#[derive(Debug)]
pub(super) struct DescribedSchema {
    pub(super) relations: Relations,
    pub(super) use_of: DescriptionUse,
}

/// What descriptions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DescriptionUse {
    /// Catalogue tables: they list views that cannot be read too.
    Listing,
    /// Statements: one that reads such a view is told why it cannot.
    Preparing,
}

#[async_trait]
impl SchemaProvider for DescribedSchema {
    fn table_names(&self) -> Vec<String> {
        self.relations.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.use_of == DescriptionUse::Preparing
            && let Some(refusal) = self.relations.views.get(name).and_then(|view| view.refusal())
        {
            return Err(DataFusionError::External(Box::new(refusal)));
        }
        let described = self.relations.describe(name);
        Ok(described.map(|(schema, _)| Arc::new(EmptyTable::new(schema)) as Arc<dyn TableProvider>))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.relations.describe(name).map(|(_, table_type)| table_type))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.describe(name).is_some()
    }
}

/// `public` as the queries of one session read it.
pub(super) struct PinnedSchema {
    relations: Relations,
    principal: Principal,
    pins: Mutex<Pins>,
    /// Asked before a view is waited for.
    admit: OnceLock<Admit>,
}

type Admit = Box<dyn Fn() -> model::Result<()> + Send + Sync>;

/// What the running query demands and what it has pinned.
#[derive(Debug, Default)]
struct Pins {
    demanded: Positions,
    timeout: Duration,
    pinned: BTreeMap<String, Pinned>,
    /// Snapshots of views that move on together with one that is pinned, taken at the same moment.
    beside: BTreeMap<String, Snapshot>,
}

impl Pins {
    fn clear(&mut self) {
        self.pinned.clear();
        self.beside.clear();
    }
}

#[derive(Clone, Debug)]
struct Pinned {
    snapshot: Snapshot,
    topics: Vec<TopicName>,
    /// A source is read to the end of the log whatever is demanded.
    is_view: bool,
}

impl PinnedSchema {
    pub(super) fn new(relations: Relations, principal: Principal) -> Self {
        Self { relations, principal, pins: Mutex::default(), admit: OnceLock::new() }
    }

    /// Has `admit` asked before a view is waited for, unless another one is.
    pub(super) fn admit_waits(&self, admit: Admit) {
        let _ = self.admit.set(admit);
    }

    /// Waits for a view as [`Views::wait_for`] does.
    pub(super) async fn reached(
        &self,
        name: &str,
        demanded: &Positions,
        timeout: Duration,
    ) -> Result<Arc<dyn Relation>, SqlError> {
        let reached = self.relations.views.wait_for(name, demanded, timeout);
        let admit = || self.admit.get().map_or(Ok(()), |admit| admit()).map_err(|error| crowded(&error));
        admitted(reached, admit).await?.map_err(refused_read)
    }

    /// Begins a query: names are pinned anew, unless snapshots are to be kept from the query before.
    pub(super) fn begin(&self, demanded: Positions, timeout: Duration, keep_snapshots: bool) {
        let mut pins = self.pins.lock();
        (pins.demanded, pins.timeout) = (demanded, timeout);
        if !keep_snapshots {
            pins.clear();
        }
    }

    /// Gives up the snapshots.
    pub(super) fn release(&self) {
        self.pins.lock().clear();
    }

    /// What everything that is pinned reflects together; `None` where nothing is pinned.
    pub(super) fn positions(&self) -> Option<Positions> {
        let pins = self.pins.lock();
        if pins.pinned.is_empty() {
            return None;
        }
        let reflected = pins.pinned.values().map(|pinned| (pinned.snapshot.positions(), pinned.topics.as_slice()));
        Some(least(reflected))
    }

    /// Refuses a demand that none of what is pinned could meet, where a view is among it.
    pub(super) fn require_concerned(&self) -> model::Result<()> {
        let pins = self.pins.lock();
        let names: Vec<&str> =
            pins.pinned.iter().filter(|(_, pinned)| pinned.is_view).map(|(name, _)| name.as_str()).collect();
        let reader = match names.as_slice() {
            [] => return Ok(()),
            [name] => format!("view {name}"),
            names => format!("the query over views {}", names.join(", ")),
        };
        require_concerned(&reader, pins.pinned.values().flat_map(|pinned| &pinned.topics), &pins.demanded)
    }

    /// What the query that was planned last will leave out of the sources that it reads.
    pub(super) fn unread(&self) -> Unread {
        let pins = self.pins.lock();
        let sources = pins.pinned.iter().filter_map(|(name, pinned)| {
            let table = pinned.snapshot.table();
            let table: &dyn Any = table.as_ref();
            Some((name.clone(), table.downcast_ref::<SourceTable>()?.take_unread()))
        });
        Unread::new(sources)
    }

    async fn pin(&self, name: &str) -> Result<Option<Snapshot>, SqlError> {
        let (demanded, timeout) = {
            let pins = self.pins.lock();
            if let Some(pinned) = pins.pinned.get(name) {
                return Ok(Some(pinned.snapshot.clone()));
            }
            (pins.demanded.clone(), pins.timeout)
        };
        let pinned = if self.relations.views.get(name).is_some() {
            authorise(&self.principal, Access::Read, Resource::View(name)).map_err(|error| sql_error(&error))?;
            let relation = self.reached(name, &demanded, timeout).await?;
            let snapshot = self.snapshot(name, &*relation).await.map_err(|error| sql_error(&error))?;
            Pinned { snapshot, topics: relation.topics().to_vec(), is_view: true }
        } else {
            let pinned = self.pin_source(name, &demanded).await.map_err(|error| sql_error(&error))?;
            let Some(pinned) = pinned else { return Ok(None) };
            pinned
        };
        let snapshot = pinned.snapshot.clone();
        self.pins.lock().pinned.insert(name.to_owned(), pinned);
        Ok(Some(snapshot))
    }

    /// A view as it is, or as it was when another of its group was pinned: a query sees a group at one moment.
    async fn snapshot(&self, name: &str, relation: &dyn Relation) -> model::Result<Snapshot> {
        let beside = self.pins.lock().beside.get(name).cloned();
        if let Some(snapshot) = beside {
            return Ok(snapshot);
        }
        let mut together: BTreeMap<String, Snapshot> = relation.snapshots_together().into_iter().collect();
        let Some(snapshot) = together.get(name).cloned() else { return relation.snapshot().await };
        self.pins.lock().beside.append(&mut together);
        Ok(snapshot)
    }

    async fn pin_source(&self, name: &str, demanded: &Positions) -> model::Result<Option<Pinned>> {
        let definitions = &self.relations.definitions;
        let Some(source) = definitions.sources().into_iter().find(|source| source.name == name) else {
            return Ok(None);
        };
        authorise(&self.principal, Access::Read, Resource::Topic(source.topic.as_str()))?;
        let Some(snapshot) = definitions.source_table(name).await? else { return Ok(None) };
        // A source is read from the log itself, so what is not there now was never acknowledged.
        let concerned = demanded.of_topic(source.topic.as_str());
        require_partitions(&format!("source {name}"), &concerned, |_| Some(source.partitions))?;
        if !snapshot.positions().covers(&concerned) {
            let message = format!("the topic of source {name} ends at {}, before {concerned}", snapshot.positions());
            return Err(model::Error::unavailable(message));
        }
        Ok(Some(Pinned { snapshot, topics: vec![source.topic], is_view: false }))
    }
}

impl fmt::Debug for PinnedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedSchema").field("pins", &self.pins).finish_non_exhaustive()
    }
}

/// There is no place to wait.
fn crowded(error: &model::Error) -> SqlError {
    SqlError { sqlstate: sqlstate::TOO_MANY_CONNECTIONS, ..sql_error(error) }
}

#[async_trait]
impl SchemaProvider for PinnedSchema {
    fn table_names(&self) -> Vec<String> {
        self.relations.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let snapshot = self.pin(name).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(snapshot.map(|snapshot| snapshot.table()))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.relations.describe(name).map(|(_, table_type)| table_type))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.describe(name).is_some()
    }
}

/// What several relations reflect together: for a partition of a topic that more than one reads, the least.
fn least<'a>(relations: impl Iterator<Item = (&'a Positions, &'a [TopicName])>) -> Positions {
    let relations: Vec<_> = relations.collect();
    let mut least = Positions::new();
    for (positions, _) in &relations {
        for (partition, _) in positions.iter() {
            let readers = relations.iter().filter(|(own, topics)| {
                topics.contains(&partition.topic) || own.iter().any(|(p, _)| p.topic == partition.topic)
            });
            let offset = readers.map(|(own, _)| own.next_offset(partition)).min().unwrap_or(0);
            least.advance(partition.clone(), offset);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_of_one_topic_reflect_what_the_slower_one_does() {
        let topics = |names: &[&str]| names.iter().map(|name| TopicName::new(name).unwrap()).collect::<Vec<_>>();
        // Relations as (positions, topics), and what all of them together reflect.
        type Case<'a> = (&'a [(&'a str, &'a [&'a str])], &'a str);
        let cases: &[Case<'_>] = &[
            (&[], ""),
            (&[("a/0:5,a/1:7", &["a"])], "a/0:5,a/1:7"),
            (&[("a/0:5,a/1:7", &["a"]), ("a/0:9,a/1:2", &["a"])], "a/0:5,a/1:2"),
            (&[("a/0:5", &["a"]), ("b/0:3", &["b"])], "a/0:5,b/0:3"),
            // One that has read nothing of a topic holds it at the start, one that does not read it does not.
            (&[("a/0:5", &["a"]), ("", &["a"])], ""),
            (&[("a/0:5", &["a"]), ("", &["b"])], "a/0:5"),
        ];
        for (relations, expected) in cases {
            let relations: Vec<(Positions, Vec<TopicName>)> =
                relations.iter().map(|(text, names)| (text.parse().unwrap(), topics(names))).collect();
            let least = least(relations.iter().map(|(positions, names)| (positions, names.as_slice())));
            assert_eq!(least, expected.parse().unwrap(), "{relations:?}");
        }
    }
}
