//! [`KeyedStates`]: partial states of groups, found by the group's key; [`GroupKeys`]: the keys as bytes.
//!
//! What it is not: a fold. It merges nothing; a state that is put takes the place of the one with its key.
//!
//! What must hold: two keys have the same bytes exactly when a fold takes them for one group (arrow's row format of
//! normal keys: NULL is a key like others).

use std::{hash::BuildHasher as _, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    datatypes::DataType,
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::ScalarValue;
use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Error, Result};
use streaming::{ViewPlan, normal_key};

/// How the keys of a view's groups become bytes.
pub(crate) struct GroupKeys {
    types: Vec<DataType>,
    converter: RowConverter,
}

/// Partial states, one a group.
pub(crate) struct KeyedStates {
    keys: Arc<GroupKeys>,
    parts: Vec<Part>,
    places: HashTable<Place>,
    hasher: DefaultHashBuilder,
}

struct Part {
    states: RecordBatch,
    keys: Rows,
}

#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    part: u32,
    row: u32,
}

impl GroupKeys {
    /// The keys of the plan's groups.
    pub(crate) fn new(plan: &ViewPlan) -> Result<Arc<Self>> {
        let fields = plan.state_schema().fields().iter().take(plan.state_key_count());
        let types: Vec<DataType> = fields.map(|field| field.data_type().clone()).collect();
        // Where nothing groups there is one group: its key is a constant.
        let encoded = if types.is_empty() { vec![DataType::Boolean] } else { types.clone() };
        let converter = RowConverter::new(encoded.into_iter().map(SortField::new).collect()).map_err(failed)?;
        Ok(Arc::new(Self { types, converter }))
    }

    /// The bytes of one key, its values cast to the types of the group's key.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) when there are more or fewer values than the key has, or of other types.
    pub(crate) fn encode(&self, key: &[ScalarValue]) -> Result<Box<[u8]>> {
        if key.len() != self.types.len() {
            return Err(Error::invalid(format!("the key has {} columns, not {}", self.types.len(), key.len())));
        }
        let columns = key.iter().zip(&self.types).map(|(value, data_type)| value.cast_to(data_type)?.to_array());
        let columns = columns.collect::<datafusion::error::Result<Vec<_>>>();
        let columns = columns.map_err(|e| Error::invalid("a key value is of the wrong type").with_source(e))?;
        Ok(self.rows(&columns, 1)?.row(0).data().into())
    }

    fn rows(&self, columns: &[ArrayRef], row_count: usize) -> Result<Rows> {
        let constant: [ArrayRef; 1] = [Arc::new(BooleanArray::from(vec![false; row_count]))];
        let normal: Vec<ArrayRef> = columns.iter().map(normal_key).collect();
        let columns = if self.types.is_empty() { constant.as_slice() } else { &normal };
        self.converter.convert_columns(columns).map_err(failed)
    }
}

impl KeyedStates {
    /// The states in `batches`, which have the plan's state schema.
    pub(crate) fn new(keys: &Arc<GroupKeys>, batches: impl IntoIterator<Item = RecordBatch>) -> Result<Self> {
        let mut states = Self {
            keys: Arc::clone(keys),
            parts: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        for batch in batches {
            states.put(batch)?;
        }
        Ok(states)
    }

    /// Puts states, each key once, in the place of those with the same keys.
    pub(crate) fn put(&mut self, states: RecordBatch) -> Result<()> {
        if states.num_rows() == 0 {
            return Ok(());
        }
        let number = |count: usize| u32::try_from(count).map_err(|_| Error::internal("too many states to number them"));
        let (part, row_count) = (number(self.parts.len())?, number(states.num_rows())?);
        let keys = self.keys.rows(&states.columns()[..self.keys.types.len()], states.num_rows())?;
        let parts = &self.parts;
        self.places.reserve(states.num_rows(), |place| place.hash);
        for (row, key) in (0..row_count).zip(&keys) {
            let place = Place { hash: self.hasher.hash_one(key.data()), part, row };
            let is_same = |other: &Place| other.hash == place.hash && key_at(parts, other) == Some(key.data());
            match self.places.find_mut(place.hash, is_same) {
                Some(old) => *old = place,
                None => drop(self.places.insert_unique(place.hash, place, |place| place.hash)),
            }
        }
        self.parts.push(Part { states, keys });
        Ok(())
    }

    /// The state of the group with this key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<RecordBatch> {
        let hash = self.hasher.hash_one(key);
        let place = self.places.find(hash, |place| place.hash == hash && key_at(&self.parts, place) == Some(key))?;
        Some(self.parts[place.part as usize].states.slice(place.row as usize, 1))
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How much memory they hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.states.get_array_memory_size() + part.keys.size());
        parts.sum::<usize>() + self.places.allocation_size()
    }

    /// How many states are held that others have replaced.
    pub(crate) fn replaced(&self) -> usize {
        self.batches().map(RecordBatch::num_rows).sum::<usize>() - self.len()
    }

    /// Everything that was put; the states of every group once, as long as nothing was replaced.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.parts.iter().map(|part| &part.states)
    }
}

fn key_at<'a>(parts: &'a [Part], place: &Place) -> Option<&'a [u8]> {
    parts.get(place.part as usize).map(|part| part.keys.row(place.row as usize).data())
}

fn failed(error: ArrowError) -> Error {
    Error::internal("cannot read the keys of groups").with_source(error)
}
