//! [`Merge`]: two runs becoming one, a little at a time.
//!
//! What must hold: what it has done is never done again, and until it is done the two runs stand for what they have.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{CHUNK_ROWS, Chunk, Layout, Place, Run, row_comparator};
use crate::{
    change::Weights,
    error::{Error, Result},
    rows::interleave_rows,
};

/// Two runs that are being merged; the first is the older.
#[derive(Debug)]
pub(crate) struct Merge {
    inputs: [Arc<Run>; 2],
    at: [Place; 2],
    chunks: Vec<Arc<Chunk>>,
}

/// The rows of one chunk to be.
#[derive(Default)]
struct Output<'a> {
    sources: Vec<&'a RecordBatch>,
    rows: Vec<(usize, usize)>,
    words: Vec<u64>,
    row_hashes: Vec<u64>,
    weights: Vec<i64>,
}

impl Merge {
    pub(crate) fn new(older: Arc<Run>, newer: Arc<Run>) -> Self {
        Self { inputs: [older, newer], at: [Place::default(); 2], chunks: Vec::new() }
    }

    /// The runs that are merged.
    pub(crate) fn inputs(&self) -> &[Arc<Run>; 2] {
        &self.inputs
    }

    /// What it takes besides its inputs.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes()).sum()
    }

    /// Merges about `fuel` rows; the run when it is done.
    pub(crate) fn work(&mut self, layout: &Layout, fuel: &mut usize) -> Result<Option<Run>> {
        while *fuel > 0 {
            let inputs = self.inputs.clone();
            let mut output = Output::default();
            let read = self.fill(layout, [&inputs[0], &inputs[1]], &mut output)?;
            *fuel = fuel.saturating_sub(read.max(1));
            if !output.rows.is_empty() {
                self.chunks.push(Arc::new(output.chunk(layout)?));
            }
            if read == 0 {
                return Ok(Some(Run::of_chunks(std::mem::take(&mut self.chunks))));
            }
        }
        Ok(None)
    }

    /// Takes rows for one chunk, from both runs in order; how many were read.
    fn fill<'a>(&mut self, layout: &Layout, inputs: [&'a Arc<Run>; 2], output: &mut Output<'a>) -> Result<usize> {
        let mut read = 0;
        loop {
            let chunks = [0, 1].map(|side| inputs[side].chunks.get(self.at[side].chunk));
            let sources = chunks.map(|chunk| chunk.map(|chunk| output.source(&chunk.rows)));
            let mut rows = self.at.map(|place| place.row);
            let before = rows[0] + rows[1];
            match chunks {
                [Some(old), Some(new)] => {
                    let same = if layout.is_retracting { Some(row_comparator(&old.rows, &new.rows)?) } else { None };
                    let sources = sources.map(Option::unwrap_or_default);
                    while rows[0] < old.words.len() && rows[1] < new.words.len() && output.rows.len() < CHUNK_ROWS {
                        let (left, right) = (old.order(rows[0]), new.order(rows[1]));
                        if left == right && same.as_ref().is_some_and(|same| same(rows[0], rows[1])) {
                            let weight = old.weights.value(rows[0]) + new.weights.value(rows[1]);
                            output.push(old, sources[0], rows[0], weight);
                            rows = [rows[0] + 1, rows[1] + 1];
                        } else if left <= right {
                            output.push(old, sources[0], rows[0], old.weights.value(rows[0]));
                            rows[0] += 1;
                        } else {
                            output.push(new, sources[1], rows[1], new.weights.value(rows[1]));
                            rows[1] += 1;
                        }
                    }
                }
                [Some(chunk), None] => rows[0] = output.push_rest(chunk, sources[0].unwrap_or_default(), rows[0]),
                [None, Some(chunk)] => rows[1] = output.push_rest(chunk, sources[1].unwrap_or_default(), rows[1]),
                [None, None] => return Ok(read),
            }
            read += rows[0] + rows[1] - before;
            for side in [0, 1] {
                let ended = chunks[side].is_some_and(|chunk| rows[side] == chunk.words.len());
                self.at[side] = if ended {
                    Place { chunk: self.at[side].chunk + 1, row: 0 }
                } else {
                    Place { chunk: self.at[side].chunk, row: rows[side] }
                };
            }
            if output.rows.len() >= CHUNK_ROWS {
                return Ok(read);
            }
        }
    }
}

impl<'a> Output<'a> {
    fn source(&mut self, rows: &'a RecordBatch) -> usize {
        match self.sources.iter().position(|source| std::ptr::eq(*source, rows)) {
            Some(known) => known,
            None => {
                self.sources.push(rows);
                self.sources.len() - 1
            }
        }
    }

    #[inline]
    fn push(&mut self, chunk: &Chunk, source: usize, row: usize, weight: i64) {
        if weight == 0 {
            return;
        }
        let (word, row_hash) = chunk.order(row);
        self.rows.push((source, row));
        self.words.push(word);
        self.row_hashes.push(row_hash);
        self.weights.push(weight);
    }

    /// Takes what is left of a chunk, as far as there is room; where it came to.
    fn push_rest(&mut self, chunk: &Chunk, source: usize, from: usize) -> usize {
        let to = chunk.words.len().min(from + CHUNK_ROWS - self.rows.len());
        (from..to).for_each(|row| self.push(chunk, source, row, chunk.weights.value(row)));
        to
    }

    fn chunk(self, layout: &Layout) -> Result<Chunk> {
        let rows = interleave_rows(&self.sources, &self.rows).map_err(Error::arrow("merge rows"))?;
        let row_hashes = if layout.is_retracting { self.row_hashes } else { Vec::new() };
        Ok(Chunk::new(layout, self.words, row_hashes, rows, Weights::of(self.weights)))
    }
}
