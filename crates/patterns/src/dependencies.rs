//! [`Dependencies`]: which views read which, by their definitions.
//!
//! What it is not: plans. Names are all that is looked at, so that it is known before anything is planned.
//!
//! What must hold: views that read each other, directly or by way of others, are one group; in a group a view stands after
//! those that it reads.

use std::collections::{BTreeMap, BTreeSet};

use model::{Error, Result};
use sql::{ViewDefinition, relations_read};

/// Views, each with the views that it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependencies {
    reads: BTreeMap<String, BTreeSet<String>>,
}

impl Dependencies {
    /// Of some definitions.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) when a view would read itself by way of others.
    pub(crate) fn of<'a>(definitions: impl IntoIterator<Item = &'a ViewDefinition>) -> Result<Self> {
        let definitions: Vec<&ViewDefinition> = definitions.into_iter().collect();
        let names: BTreeSet<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
        let reads = definitions.iter().map(|definition| {
            // What cannot be parsed any more reads nothing; its plan says why.
            let read = relations_read(&definition.query).unwrap_or_default();
            // A table reads its own records, and not what it shows.
            let is_itself = |name: &String| definition.is_table && *name == definition.name;
            let views = read.into_iter().filter(|name| names.contains(name.as_str()) && !is_itself(name));
            (definition.name.clone(), views.collect())
        });
        let dependencies = Self { reads: reads.collect() };
        match dependencies.reads.keys().find(|name| dependencies.all_read_by(name).contains(*name)) {
            None => Ok(dependencies),
            Some(name) => Err(Error::invalid(format!("view {name} would read itself"))
                .with_hint("a view can read sources, and views that do not read it")),
        }
    }

    /// The views that have to move on together with some, those among them: each after those that it reads.
    pub(crate) fn group_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut group: BTreeSet<String> = BTreeSet::new();
        let mut found: Vec<String> =
            names.into_iter().filter(|name| self.reads.contains_key(*name)).map(str::to_owned).collect();
        while let Some(name) = found.pop() {
            if group.insert(name.clone()) {
                found.extend(self.reads.get(&name).into_iter().flatten().cloned());
                found.extend(self.readers_of(&name).map(str::to_owned));
            }
        }
        self.ordered(&group)
    }

    /// The groups that some views are in, each once.
    pub(crate) fn groups_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for name in names {
            if !groups.iter().flatten().any(|known| known == name) {
                groups.extend(Some(self.group_of([name])).filter(|group| !group.is_empty()));
            }
        }
        groups
    }

    /// The views that read a view, directly or by way of others, each after those that it reads.
    pub(crate) fn dependents_of(&self, name: &str) -> Vec<String> {
        let dependents = self.reads.keys().filter(|reader| self.all_read_by(reader).contains(name));
        self.ordered(&dependents.cloned().collect())
    }

    /// A view and those that it reads, directly or by way of others, each after those that it reads.
    pub(crate) fn with_read(&self, name: &str) -> Vec<String> {
        let mut all = self.all_read_by(name);
        all.insert(name.to_owned());
        self.ordered(&all)
    }

    fn readers_of(&self, name: &str) -> impl Iterator<Item = &str> {
        self.reads.iter().filter(move |(_, read)| read.contains(name)).map(|(reader, _)| reader.as_str())
    }

    /// What a view reads, directly or by way of others.
    fn all_read_by(&self, name: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut found: Vec<&String> = self.reads.get(name).into_iter().flatten().collect();
        while let Some(view) = found.pop() {
            if all.insert(view.clone()) {
                found.extend(self.reads.get(view).into_iter().flatten());
            }
        }
        all
    }

    fn ordered(&self, names: &BTreeSet<String>) -> Vec<String> {
        let mut ordered: Vec<String> = names.iter().cloned().collect();
        // A view reads more than each of those that it reads.
        ordered.sort_by_key(|name| self.all_read_by(name).len());
        ordered
    }
}

#[cfg(test)]
mod tests {
    //! Chains, diamonds and circles.
    #![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

    use sql::Statement;

    use super::*;

    fn views(texts: &[(&str, &str)]) -> Vec<ViewDefinition> {
        let view = |(name, from): &(&str, &str)| {
            let text = format!("CREATE MATERIALIZED VIEW {name} AS SELECT * FROM {from}");
            match sql::parse(&text).unwrap().remove(0) {
                Statement::CreateView(view) => view,
                other => panic!("{other:?}"),
            }
        };
        texts.iter().map(view).collect()
    }

    #[test]
    fn views_that_read_each_other_are_one_group_in_order() {
        let all = [("d", "b JOIN c USING (x)"), ("b", "a"), ("c", "a"), ("a", "s"), ("lone", "s"), ("e", "lone")];
        let dependencies = Dependencies::of(&views(&all)).unwrap();
        assert_eq!(dependencies.group_of(["c"]), ["a", "b", "c", "d"]);
        assert_eq!(dependencies.group_of(["lone"]), ["lone", "e"]);
        assert_eq!(dependencies.groups_of(["d", "e", "a"]).len(), 2);
        assert_eq!(dependencies.dependents_of("a"), ["b", "c", "d"]);
        assert_eq!(dependencies.dependents_of("d"), Vec::<String>::new());
        assert_eq!(dependencies.group_of(["unknown"]), Vec::<String>::new());
    }

    #[test]
    fn a_view_does_not_read_itself() {
        for circle in [&[("a", "a")][..], &[("a", "b"), ("b", "a")], &[("a", "c"), ("b", "a"), ("c", "b")]] {
            assert!(Dependencies::of(&views(circle)).is_err(), "{circle:?}");
        }
    }
}
