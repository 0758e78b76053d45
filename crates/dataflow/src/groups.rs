//! The groups of a view: keys in, numbers out.
//!
//! Keys are kept once, in arrow's row format, one after the other; a group's number is its place there. A group whose
//! rows were all taken back keeps its number, for its key may come back.
//!
//! What must hold: keys that SQL calls equal are one group. The row format tells floats apart bit by bit, so that keys
//! are made [normal](crate::normal_key) first.

use arrow::{
    array::ArrayRef,
    datatypes::DataType,
    row::{RowConverter, Rows, SortField},
};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use crate::{
    error::{Error, Result},
    normal::{normal_key, plain},
};

/// The keys that were seen.
pub(crate) struct GroupTable {
    types: Vec<DataType>,
    /// `None` when nothing groups: there is one group then.
    keys: Option<Keys>,
}

struct Keys {
    converter: RowConverter,
    rows: Rows,
    table: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
}

impl GroupTable {
    /// No groups yet, with keys of these types; one group when there are none.
    pub(crate) fn new(types: Vec<DataType>) -> Result<Self> {
        if types.is_empty() {
            return Ok(Self { types, keys: None });
        }
        let fields = types.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields).map_err(Error::arrow("group rows"))?;
        let rows = converter.empty_rows(0, 0);
        let keys = Keys { converter, rows, table: HashTable::new(), hasher: DefaultHashBuilder::default() };
        Ok(Self { types, keys: Some(keys) })
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.as_ref().map_or(1, |keys| keys.rows.num_rows())
    }

    /// The group of each row, new ones numbered on.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<u32>> {
        let Some(keys) = &mut self.keys else { return Ok(vec![0; row_count]) };
        let columns =
            columns.iter().zip(&self.types).map(|(column, data_type)| Ok(normal_key(&plain(column, data_type)?)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = keys.converter.convert_columns(&columns).map_err(Error::arrow("group rows"))?;
        let mut groups = Vec::with_capacity(row_count);
        for row in &rows {
            let hash = keys.hasher.hash_one(row.data());
            let known = &keys.rows;
            let found = keys.table.find(hash, |(h, group)| *h == hash && known.row(*group as usize) == row);
            groups.push(match found {
                Some((_, group)) => *group,
                None => {
                    let group = u32::try_from(keys.rows.num_rows()).ok().filter(|group| *group < u32::MAX);
                    let group = group.ok_or_else(|| Error::Shape {
                        what: "the number of groups",
                        reason: "there are more than 4,294,967,294".to_owned(),
                    })?;
                    keys.rows.push(row);
                    keys.table.insert_unique(hash, (hash, group), |(h, _)| *h);
                    group
                }
            });
        }
        Ok(groups)
    }

    /// The key columns of some groups.
    pub(crate) fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(keys) = &self.keys else { return Ok(Vec::new()) };
        let rows = groups.iter().map(|group| keys.rows.row(*group as usize));
        keys.converter.convert_rows(rows).map_err(Error::arrow("read the keys of groups"))
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.rows.size() + keys.table.allocation_size() + keys.converter.size())
    }
}
