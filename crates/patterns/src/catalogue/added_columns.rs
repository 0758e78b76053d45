//! Which columns of its sources a version of a view reads: how many had been added to each when it was defined.
//!
//! What must hold: what is there is of the current version of a view, or of one that is kept.

use std::{collections::BTreeMap, ops::RangeInclusive};

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::{KEPT, StoredView};

/// By view, version and source. None were added to a source that is not there.
const ADDED: TableDefinition<'_, (&str, u64, &str), u64> = TableDefinition::new("added");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(ADDED)?;
    Ok(())
}

/// Notes it of a version that is current, or kept.
pub(super) fn put(transaction: &WriteTransaction, view: &StoredView) -> Result<(), redb::Error> {
    let mut added = transaction.open_table(ADDED)?;
    let (name, version) = (view.name.as_str(), view.version);
    added.retain_in(of_version(name, version), |_, _| false)?;
    for (source, columns) in view.added_columns.iter().filter(|(_, columns)| **columns > 0) {
        added.insert((name, version, source.as_str()), *columns as u64)?;
    }
    Ok(())
}

/// Forgets it of all versions of a view that are not kept.
pub(super) fn forget_replaced(transaction: &WriteTransaction, view: &str) -> Result<(), redb::Error> {
    let kept = transaction.open_table(KEPT)?;
    let versions = kept.range((view, 0)..=(view, u64::MAX))?.map(|entry| Ok(entry?.0.value().1));
    let versions = versions.collect::<Result<Vec<u64>, redb::Error>>()?;
    let mut added = transaction.open_table(ADDED)?;
    added.retain_in((view, 0, "")..=(view, u64::MAX, LAST), |(_, version, _), _| versions.contains(&version))?;
    Ok(())
}

/// Forgets it of one version.
pub(super) fn forget(transaction: &WriteTransaction, view: &str, version: u64) -> Result<(), redb::Error> {
    transaction.open_table(ADDED)?.retain_in(of_version(view, version), |_, _| false)?;
    Ok(())
}

pub(super) fn of(
    transaction: &ReadTransaction,
    view: &str,
    version: u64,
) -> Result<BTreeMap<String, usize>, redb::Error> {
    let added = transaction.open_table(ADDED)?;
    let entries = added.range(of_version(view, version))?.map(|entry| {
        let (key, columns) = entry?;
        Ok((key.value().2.to_owned(), usize::try_from(columns.value()).unwrap_or(usize::MAX)))
    });
    entries.collect()
}

// No name of a source has a character as high.
const LAST: &str = "\u{10FFFF}";

fn of_version(view: &str, version: u64) -> RangeInclusive<(&str, u64, &str)> {
    (view, version, "")..=(view, version, LAST)
}
