//! JSON objects to columns.
//!
//! arrow-json decodes a run of records at once; a record that it cannot decode is found by splitting the run, so that
//! good records cost one pass and a bad one costs no more than itself and its neighbours.
//!
//! Fields that are not declared are ignored; fields that are missing are NULL; a number where text is declared becomes
//! its text. A timestamp is an RFC 3339 text (also with a space for the `T`, also without a zone: UTC then) or
//! a whole number of milliseconds since the epoch. Digits of a NUMERIC beyond its scale are cut off.
//!
//! What must hold: records cannot run into each other; each is fed by itself and has to give exactly one object.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray},
    compute::{concat_batches, kernels::cast_utils::string_to_datetime},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
    json::{ReaderBuilder, reader::Decoder},
};
use chrono::Utc;

use super::escapes::without_pairs;
use crate::error::{Error, Result};

/// How many records are decoded at once.
const RUN_RECORDS: usize = 8_192;
const REASON_CHARACTERS_MAX: usize = 300;

/// A record that was not decoded: its place among those given, and why.
pub(super) type Rejection = (usize, String);

/// Decodes JSON objects into the columns of a schema.
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    /// The schema with text in the place of timestamps, which arrow-json reads by another rule.
    raw_schema: SchemaRef,
    decoder: Decoder,
}

impl JsonDecoder {
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let raw = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Timestamp(_, _) => Field::new(field.name(), DataType::Utf8, true),
            other => Field::new(field.name(), other.clone(), true),
        });
        let raw_schema = Arc::new(Schema::new(raw.collect::<Vec<_>>()));
        let decoder = new_decoder(&raw_schema)?;
        Ok(Self { schema, raw_schema, decoder })
    }

    /// Decodes `values`; the rows are those that were not rejected, in order.
    pub(super) fn decode(&mut self, values: &[&[u8]]) -> Result<(RecordBatch, Vec<Rejection>)> {
        let (mut batches, mut rejected) = (Vec::new(), Vec::new());
        for (i, run) in values.chunks(RUN_RECORDS).enumerate() {
            self.decode_run(run, i * RUN_RECORDS, &mut batches, &mut rejected)?;
        }
        let raw = match batches.as_slice() {
            [one] => one.clone(),
            several => concat_batches(&self.raw_schema, several).map_err(Error::arrow("gather decoded rows"))?,
        };
        self.finish(&raw, values.len(), rejected)
    }

    /// Decodes a run of at most [`RUN_RECORDS`] records, the first of which is number `first`.
    fn decode_run(
        &mut self,
        run: &[&[u8]],
        first: usize,
        batches: &mut Vec<RecordBatch>,
        rejected: &mut Vec<Rejection>,
    ) -> Result<()> {
        let mut pending = vec![(first, run)];
        while let Some((first, run)) = pending.pop() {
            if run.is_empty() {
                continue;
            }
            match self.feed(run) {
                Err((bad, reason)) => {
                    self.decoder = new_decoder(&self.raw_schema)?;
                    rejected.push((first + bad, reason));
                    // Those before are whole objects, but may still have a field of the wrong type.
                    pending.push((first + bad + 1, &run[bad + 1..]));
                    pending.push((first, &run[..bad]));
                }
                Ok(()) => match self.decoder.flush() {
                    Ok(Some(batch)) => batches.push(batch),
                    Ok(None) => {}
                    Err(error) => {
                        self.decoder = new_decoder(&self.raw_schema)?;
                        if let [_] = run {
                            rejected.push((first, reason_of(&error)));
                        } else {
                            let (left, right) = run.split_at(run.len() / 2);
                            pending.push((first + left.len(), right));
                            pending.push((first, left));
                        }
                    }
                },
            }
        }
        Ok(())
    }

    /// Feeds records one by one; the error says which one is not exactly one object.
    fn feed(&mut self, run: &[&[u8]]) -> Result<(), Rejection> {
        for (i, value) in run.iter().enumerate() {
            let value = value.trim_ascii();
            if value.first() != Some(&b'{') {
                return Err((i, "the value is not a JSON object".to_owned()));
            }
            let value = without_pairs(value);
            let fed = self.decoder.decode(&value).map_err(|error| (i, reason_of(&error)))?;
            if self.decoder.has_partial_record() {
                return Err((i, "the JSON object is cut off".to_owned()));
            }
            if fed < value.len() || self.decoder.len() != i + 1 {
                return Err((i, "the value is more than one JSON object".to_owned()));
            }
        }
        Ok(())
    }

    /// Reads the timestamps, and drops the rows that have a wrong one.
    fn finish(
        &self,
        raw: &RecordBatch,
        record_count: usize,
        mut rejected: Vec<Rejection>,
    ) -> Result<(RecordBatch, Vec<Rejection>)> {
        rejected.sort_by_key(|(record, _)| *record);
        let mut bad_rows: Vec<(usize, String)> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(raw.num_columns());
        for (column, field) in raw.columns().iter().zip(self.schema.fields()) {
            columns.push(match (field.data_type(), column.as_any().downcast_ref::<StringArray>()) {
                (DataType::Timestamp(TimeUnit::Microsecond, zone), Some(texts)) => {
                    let parsed = timestamps(texts, field.name(), &mut bad_rows);
                    Arc::new(parsed.with_timezone_opt(zone.clone()))
                }
                _ => ArrayRef::clone(column),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(raw.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(Error::arrow("build decoded rows"))?;
        if bad_rows.is_empty() {
            return Ok((rows, rejected));
        }
        bad_rows.sort_by_key(|(row, _)| *row);
        bad_rows.dedup_by_key(|(row, _)| *row);
        let keep: arrow::array::BooleanArray = (0..rows.num_rows())
            .map(|row| Some(bad_rows.binary_search_by_key(&row, |(bad, _)| *bad).is_err()))
            .collect();
        let rows = arrow::compute::filter_record_batch(&rows, &keep).map_err(Error::arrow("filter decoded rows"))?;
        // Row numbers count the records that were not rejected before.
        let accepted = accepted(record_count, &rejected);
        rejected.extend(bad_rows.into_iter().map(|(row, reason)| (accepted[row], reason)));
        rejected.sort_by_key(|(record, _)| *record);
        Ok((rows, rejected))
    }
}

/// The records of `0..record_count` that were not rejected; `rejected` is in order.
pub(super) fn accepted(record_count: usize, rejected: &[Rejection]) -> Vec<usize> {
    let mut rejected = rejected.iter().map(|(record, _)| *record).peekable();
    (0..record_count).filter(|record| rejected.next_if_eq(record).is_none()).collect()
}

/// A timestamp as text, in microseconds since the epoch.
pub(super) fn timestamp_us(text: &str) -> Option<i64> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return milliseconds.checked_mul(1_000);
    }
    string_to_datetime(&Utc, text).ok().map(|time| time.timestamp_micros())
}

fn timestamps(texts: &StringArray, name: &str, bad_rows: &mut Vec<(usize, String)>) -> TimestampMicrosecondArray {
    let values = texts.iter().enumerate().map(|(row, text)| {
        let text = text?;
        let parsed = timestamp_us(text);
        if parsed.is_none() {
            let shown: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
            bad_rows.push((row, format!("column {name}: {shown:?} is not a timestamp")));
        }
        parsed
    });
    values.collect::<PrimitiveArray<TimestampMicrosecondType>>()
}

fn new_decoder(schema: &SchemaRef) -> Result<Decoder> {
    // One more than a run: the decoder stops at its batch size, and two objects in the last record must be seen.
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(RUN_RECORDS + 1)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(Error::arrow("decode JSON"))
}

/// What is wrong, in a few words: arrow-json repeats the whole value.
fn reason_of(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Json error: ").unwrap_or(&text);
    match text.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
