//! One value of any type a group, in arrow's row format.

use arrow::{
    array::{ArrayRef, new_null_array},
    datatypes::DataType,
    row::{RowConverter, SortField},
};

use crate::{
    error::{Error, Result},
    normal::plain,
};

/// The values; a group can have none.
pub(crate) struct ValueRows {
    data_type: DataType,
    converter: RowConverter,
    /// NULL as a row, for groups without a value.
    null: Box<[u8]>,
    values: Vec<Option<Box<[u8]>>>,
    /// What the values hold, in bytes.
    value_bytes: usize,
}

impl ValueRows {
    /// No groups yet, for values of one type.
    pub(crate) fn new(data_type: &DataType) -> Result<Self> {
        let converter = new_converter(data_type)?;
        let null = converter.convert_columns(&[new_null_array(data_type, 1)]).map_err(Error::arrow("keep values"))?;
        let null = null.row(0).data().into();
        Ok(Self { data_type: data_type.clone(), converter, null, values: Vec::new(), value_bytes: 0 })
    }

    /// A column in the layout that is kept.
    pub(crate) fn plain(&self, column: &ArrayRef) -> Result<ArrayRef> {
        plain(column, &self.data_type)
    }

    /// Makes room for groups.
    pub(crate) fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count, None);
    }

    /// A group's value as a row.
    pub(crate) fn bytes(&self, group: usize) -> Option<&[u8]> {
        self.values[group].as_deref()
    }

    /// Replaces a group's value.
    pub(crate) fn put(&mut self, group: usize, value: &[u8]) {
        self.value_bytes += value.len();
        self.value_bytes -= self.values[group].as_ref().map_or(0, |old| old.len());
        match &mut self.values[group] {
            Some(old) if old.len() == value.len() => old.copy_from_slice(value),
            slot => *slot = Some(value.into()),
        }
    }

    /// Takes a group's value away.
    pub(crate) fn clear(&mut self, group: usize) {
        self.value_bytes -= self.values[group].take().map_or(0, |old| old.len());
    }

    /// The values of some groups.
    pub(crate) fn column(&self, groups: &[u32]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = groups.iter().map(|group| parser.parse(self.bytes(*group as usize).unwrap_or(&self.null)));
        let columns = self.converter.convert_rows(rows).map_err(Error::arrow("read values"))?;
        columns.into_iter().next().ok_or(Error::Shape { what: "a value", reason: "it has no column".to_owned() })
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Box<[u8]>>>() + self.value_bytes
    }
}

/// What encodes values of one type.
pub(crate) fn new_converter(data_type: &DataType) -> Result<RowConverter> {
    RowConverter::new(vec![SortField::new(data_type.clone())]).map_err(Error::arrow("keep values"))
}
