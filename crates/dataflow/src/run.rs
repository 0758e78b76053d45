//! [`Run`]: rows that no longer change, sorted by the hash of their key.
//!
//! A run is a list of *chunks*, each a few thousand rows as Arrow columns with the hashes beside them. Hashes are spread
//! evenly, so that a run sorted by them is its own index: where one stands can be guessed.
//!
//! What must hold: words never decrease along a run; where rows can be taken back they are sorted by the hash of the
//! whole row within a word, and equal rows are one, with the sum of their weights, which is not 0.

mod merge;

use std::{cmp::Ordering, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, DynComparator, RecordBatch, UInt32Array, make_comparator},
    compute::SortOptions,
    datatypes::SchemaRef,
};

pub(crate) use merge::Merge;

use crate::{
    change::{Change, Weights, gather},
    error::{Error, Result},
    hash::hash_rows,
    normal::normal_key,
    rows::take_rows,
};

/// Rows of a chunk: enough to be fast, few enough to be copied in a moment.
pub(crate) const CHUNK_ROWS: usize = 16 * 1024;

/// How rows are arranged.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The rows.
    pub schema: SchemaRef,
    /// The columns that rows are found by.
    pub key: Vec<usize>,
    /// Whether rows can be taken back. Where they only come, equal rows stay beside each other, and rows of one key in the
    /// order in which they came.
    pub is_retracting: bool,
}

/// Neighbouring rows of a run.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The hash of each row's key.
    pub(crate) words: Vec<u64>,
    /// The hash of each row, where rows can be taken back; else none.
    row_hashes: Vec<u64>,
    pub(crate) rows: RecordBatch,
    /// The columns of the key in the form in which they are compared.
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) weights: Weights,
}

impl Chunk {
    fn new(layout: &Layout, words: Vec<u64>, row_hashes: Vec<u64>, rows: RecordBatch, weights: Weights) -> Self {
        let keys = keys_of(layout, &rows);
        Self { words, row_hashes, rows, keys, weights }
    }

    /// The order of a row in its run.
    fn order(&self, row: usize) -> (u64, u64) {
        (self.words[row], self.row_hashes.get(row).copied().unwrap_or(0))
    }

    fn bytes(&self) -> usize {
        let words = (self.words.capacity() + self.row_hashes.capacity()) * size_of::<u64>();
        let weights = self.weights.column().map_or(0, Array::get_array_memory_size);
        words + weights + self.rows.get_array_memory_size()
    }
}

/// The columns of the key, as they are compared.
pub(crate) fn keys_of(layout: &Layout, rows: &RecordBatch) -> Vec<ArrayRef> {
    layout.key.iter().map(|column| normal_key(rows.column(*column))).collect()
}

/// Rows sorted by the hash of their key.
#[derive(Debug)]
pub struct Run {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    row_count: usize,
    bytes: usize,
}

impl Run {
    fn of_chunks(chunks: Vec<Arc<Chunk>>) -> Self {
        let row_count = chunks.iter().map(|chunk| chunk.words.len()).sum();
        let bytes = chunks.iter().map(|chunk| chunk.bytes()).sum();
        Self { chunks, row_count, bytes }
    }

    /// The rows of a change, copied and sorted.
    ///
    /// # Errors
    /// [`Error::Arrow`] when a column cannot be a key or compared.
    pub fn new(layout: &Layout, change: &Change) -> Result<Self> {
        let rows = change.rows();
        let words = hash_rows(&keys_of(layout, rows), rows.num_rows())?;
        let hashes =
            if layout.is_retracting { hash_rows(rows.columns(), rows.num_rows())? } else { vec![0; rows.num_rows()] };
        let mut order: Vec<(u64, u64, u32)> = Vec::with_capacity(words.len());
        order.extend(words.iter().zip(&hashes).enumerate().map(|(row, (word, hash))| (*word, *hash, row as u32)));
        order.sort_unstable();
        let weights = match (layout.is_retracting, change.weights()) {
            // The same row can come twice.
            (true, weights) => Some(consolidate(rows, weights, &mut order)?),
            (false, Weights::Ones) => None,
            (false, Weights::Column(weights)) => {
                Some(order.iter().map(|(_, _, row)| weights.value(*row as usize)).collect())
            }
        };
        let mut chunks = Vec::with_capacity(order.len().div_ceil(CHUNK_ROWS));
        for (number, part) in order.chunks(CHUNK_ROWS).enumerate() {
            let numbers = UInt32Array::from_iter_values(part.iter().map(|(_, _, row)| *row));
            let rows = take_rows(rows, &numbers).map_err(Error::arrow("sort rows"))?;
            let weights = weights.as_ref().map_or(Weights::Ones, |weights: &Vec<i64>| {
                Weights::of(weights[number * CHUNK_ROWS..][..part.len()].to_vec())
            });
            let words = part.iter().map(|(word, _, _)| *word).collect();
            let hashes =
                if layout.is_retracting { part.iter().map(|(_, hash, _)| *hash).collect() } else { Vec::new() };
            chunks.push(Arc::new(Chunk::new(layout, words, hashes, rows, weights)));
        }
        Ok(Self::of_chunks(chunks))
    }

    /// How many rows it has, whatever their weights.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its rows, as changes of a few thousand rows.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        self.chunks.iter().map(|chunk| Change::trusted(chunk.rows.clone(), chunk.weights.clone()))
    }

    /// The pieces in which the rows with a word lie, from `from` on, which moves to the first of them.
    pub(crate) fn seek(&self, word: u64, from: &mut Place) -> Pieces<'_> {
        while let Some(chunk) = self.chunks.get(from.chunk) {
            if chunk.words.last().is_some_and(|last| *last >= word) {
                from.row = lower_bound(&chunk.words, from.row, word);
                break;
            }
            // Most chunks are passed over whole.
            let passed =
                self.chunks[from.chunk..].partition_point(|chunk| chunk.words.last().is_none_or(|last| *last < word));
            *from = Place { chunk: from.chunk + passed.max(1), row: 0 };
        }
        Pieces { run: self, word, at: *from }
    }
}

/// What changes come to together: each row once, with the sum of its weights, where rows can be taken back; else all rows.
///
/// # Errors
/// [`Error::Arrow`] when rows cannot be compared or gathered.
pub fn net(layout: &Layout, changes: Vec<Change>) -> Result<Change> {
    let nothing = || Change::of_rows(RecordBatch::new_empty(Arc::clone(&layout.schema)));
    let Some(change) = gather(&layout.schema, changes)? else { return Ok(nothing()) };
    if !layout.is_retracting {
        return Ok(change);
    }
    let run = Run::new(layout, &change)?;
    Ok(gather(&layout.schema, run.changes().collect())?.unwrap_or_else(nothing))
}

/// A place in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    chunk: usize,
    row: usize,
}

/// Where the rows of one word lie.
pub(crate) struct Pieces<'a> {
    run: &'a Run,
    word: u64,
    at: Place,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a Arc<Chunk>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.run.chunks.get(self.at.chunk)?;
        let same = chunk.words[self.at.row..].iter().take_while(|word| **word == self.word).count();
        if same == 0 {
            return None;
        }
        let piece = self.at.row..self.at.row + same;
        self.at = if piece.end == chunk.words.len() {
            Place { chunk: self.at.chunk + 1, row: 0 }
        } else {
            Place { chunk: self.at.chunk, row: piece.end }
        };
        Some((chunk, piece))
    }
}

/// The first row from `from` on whose word is not less: guessed, since words are spread evenly, then sought around.
fn lower_bound(words: &[u64], from: usize, word: u64) -> usize {
    let (first, last) = match (words.get(from), words.last()) {
        (Some(first), Some(last)) if *first < word => (*first, *last),
        _ => return from,
    };
    let span = (words.len() - 1 - from) as u128;
    let share = u128::from(word.min(last) - first) * span / u128::from((last - first).max(1));
    let guess = from + usize::try_from(share).unwrap_or(0);
    let (mut low, mut high, mut step) = (from, words.len(), 8);
    if words[guess] < word {
        low = guess + 1;
        while low + step < words.len() && words[low + step] < word {
            low += step + 1;
            step *= 2;
        }
        high = high.min(low + step + 1);
    } else {
        high = guess + 1;
        while guess > from + step && words[guess - step] >= word {
            high = guess - step + 1;
            step *= 2;
        }
        low = low.max(guess.saturating_sub(step)).max(from);
    }
    low + words[low..high.min(words.len())].partition_point(|found| *found < word)
}

/// Sums the weights of equal rows, which follow each other in `order` (but for others of the same hash), and leaves the first
/// of each where the sum is not 0.
fn consolidate(rows: &RecordBatch, weights: &Weights, order: &mut Vec<(u64, u64, u32)>) -> Result<Vec<i64>> {
    let same = row_comparator(rows, rows)?;
    let mut sums: Vec<i64> = Vec::with_capacity(order.len());
    let mut kept: Vec<(u64, u64, u32)> = Vec::with_capacity(order.len());
    for entry in order.iter() {
        let weight = weights.value(entry.2 as usize);
        match (kept.last(), sums.last_mut()) {
            (Some(last), Some(sum))
                if (last.0, last.1) == (entry.0, entry.1) && same(last.2 as usize, entry.2 as usize) =>
            {
                *sum += weight;
            }
            _ => {
                kept.push(*entry);
                sums.push(weight);
            }
        }
    }
    let mut left = sums.iter();
    kept.retain(|_| left.next().is_some_and(|sum| *sum != 0));
    sums.retain(|sum| *sum != 0);
    *order = kept;
    Ok(sums)
}

/// Whether a row of one batch is the same as a row of another.
pub(crate) fn row_comparator(left: &RecordBatch, right: &RecordBatch) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    column_comparator(left.columns(), right.columns())
}

/// Whether some columns of a row are the same as those of a row elsewhere; NULL is NULL.
pub(crate) fn column_comparator(
    left: &[ArrayRef],
    right: &[ArrayRef],
) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    let comparators = left.iter().zip(right).map(|(left, right)| {
        make_comparator(left, right, SortOptions::default()).map_err(Error::arrow("compare rows"))
    });
    let comparators: Vec<DynComparator> = comparators.collect::<Result<_>>()?;
    Ok(move |left: usize, right: usize| comparators.iter().all(|compare| compare(left, right) == Ordering::Equal))
}

#[cfg(test)]
mod tests;
