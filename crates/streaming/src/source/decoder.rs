//! Record batches to rows.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, UInt64Array},
    compute::take_record_batch,
    datatypes::SchemaRef,
};
use bytes::Bytes;
use eventlog::{Record, StoredBatch};
use model::Offset;
use sql::{SourceDefinition, SourceFormat, TimestampUnit};

use super::{
    RejectedRecord,
    change_event::{RowChange, change},
    json::{DecodedJson, JsonDecoder, accepted},
    metadata::{self, ArrivedRecord, Event},
    reason::{Reason, ReasonClass},
    table_records::TableRecords,
    unmatched::Unmatched,
};
use crate::{
    error::{Error, Result},
    hash::hash,
};

/// What decoding gave.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows, in order of offset, with the source's schema.
    pub rows: RecordBatch,
    /// The records that could not be decoded, in order of offset.
    pub rejected: Vec<RejectedRecord>,
    /// The offset after the last record that was looked at.
    pub next_offset: Offset,
    /// The records that had none of the columns.
    pub(crate) unmatched: Unmatched,
}

/// Values of records that are decoded in one go, in bytes; one batch may have more.
const VALUES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Decodes the records of one source.
pub struct SourceDecoder {
    schema: SchemaRef,
    format: SourceFormat,
    /// Of a table.
    table: Option<TableRecords>,
    json: JsonDecoder,
}

impl SourceDecoder {
    /// A decoder for `source`.
    ///
    /// # Errors
    /// [`Error::Arrow`] when Arrow cannot decode one of the declared types.
    pub fn new(source: &SourceDefinition) -> Result<Self> {
        let json = JsonDecoder::new(source)?;
        Ok(Self { schema: source.schema(), format: source.format, table: TableRecords::of(source), json })
    }

    /// Decodes the records of `batches` (of `partition`, in order) whose offsets are in `from..to`; of batches that are
    /// many times larger than they are stored, the first few.
    ///
    /// # Errors
    /// None that a record's content could cause; [`Error::Arrow`] when Arrow fails.
    pub fn decode(&mut self, partition: i32, batches: &[StoredBatch], from: Offset, to: Offset) -> Result<Decoded> {
        let (mut records, mut rejected, mut next_offset) = (Vec::new(), Vec::new(), from);
        let mut values_bytes = 0;
        for batch in batches {
            if values_bytes > VALUES_BYTES_MAX {
                break;
            }
            next_offset = next_offset.max(batch.next_offset().min(to));
            // Control batches mark the ends of transactions: they hold no data.
            if batch.header().is_ok_and(|header| header.is_control()) {
                continue;
            }
            match batch.records() {
                Ok(stored) => {
                    for record in stored.into_iter().filter(|record| (from..to).contains(&record.offset)) {
                        values_bytes += record.value.as_ref().map_or(0, Bytes::len);
                        self.sort_out(record, batch.arrival_time_ms, &mut records, &mut rejected);
                    }
                }
                Err(error) if (from..to).contains(&batch.base_offset()) => rejected.push(RejectedRecord {
                    offset: batch.base_offset(),
                    key: None,
                    value: Some(batch.bytes.clone()),
                    headers: Vec::new(),
                    reason: Reason::new(ReasonClass::Unreadable, format!("the whole batch is unreadable: {error}")),
                }),
                Err(_) => {}
            }
        }
        let (rows, unmatched) = self.rows(partition, &records, &mut rejected)?;
        rejected.sort_by_key(|record| record.offset);
        Ok(Decoded { rows, rejected, next_offset, unmatched })
    }

    /// Puts a record with the good ones, or with the rejected ones when that can be seen without decoding its value.
    fn sort_out(
        &self,
        record: Record,
        arrival_time_ms: i64,
        records: &mut Vec<ArrivedRecord>,
        rejected: &mut Vec<RejectedRecord>,
    ) {
        match self.said(&record) {
            Ok((object, deletes, event)) => {
                records.push(ArrivedRecord { record, arrival_time_ms, object, deletes, event });
            }
            Err(reason) => rejected.push(reject(&record, reason)),
        }
    }

    /// The object of a record that is decoded, whether it deletes, and the attributes of an event.
    fn said(&self, record: &Record) -> Result<(Bytes, bool, Option<Event>), Reason> {
        if self.format == SourceFormat::Debezium {
            return Ok(match change(record)? {
                RowChange::Is(object) => (object, false, None),
                RowChange::Gone(object) => (object, true, None),
            });
        }
        match (&record.value, &self.table) {
            (None, Some(table)) => Ok((table.deleted(record)?, true, None)),
            (None, None) => Err(Reason::new(ReasonClass::NoValue, "the record has no value (a tombstone)")),
            (Some(value), _) => {
                let event = metadata::event(self.format, record);
                Ok((value.clone(), false, event.map_err(|why| Reason::new(ReasonClass::Attribute, why))?))
            }
        }
    }

    fn rows(
        &mut self,
        partition: i32,
        records: &[ArrivedRecord],
        rejected: &mut Vec<RejectedRecord>,
    ) -> Result<(RecordBatch, Unmatched)> {
        let values: Vec<&[u8]> = records.iter().map(|arrived| arrived.object.as_ref()).collect();
        let DecodedJson { rows: mut declared, rejected: bad, unmatched } = self.json.decode(&values)?;
        let mut good: Vec<&ArrivedRecord> = accepted(records.len(), &bad).into_iter().map(|i| &records[i]).collect();
        rejected.extend(bad.into_iter().map(|(i, reason)| reject(&records[i].record, reason)));
        let without_key = self.table.as_ref().map(|table| table.without_key(&declared)).unwrap_or_default();
        if !without_key.is_empty() {
            let kept = accepted(good.len(), &without_key);
            rejected.extend(without_key.into_iter().map(|(i, reason)| reject(&good[i].record, reason)));
            let numbers = UInt64Array::from_iter_values(kept.iter().map(|i| *i as u64));
            declared = take_record_batch(&declared, &numbers).map_err(Error::arrow("leave out rows without a key"))?;
            good = kept.into_iter().map(|i| good[i]).collect();
        }
        let mut columns = declared.columns().to_vec();
        columns.extend(metadata::columns(self.format, self.table.is_some(), partition, &good));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        Ok((rows.map_err(Error::arrow("build the rows of a source"))?, unmatched))
    }
}

fn reject(record: &Record, reason: Reason) -> RejectedRecord {
    RejectedRecord {
        offset: record.offset,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        reason,
    }
}

/// Counts up when a release decodes other records than the one before.
const DECODER_VERSION: u32 = 2;

/// A hash of what decides which records of a source can be decoded: the same across restarts.
pub(crate) fn decoder_hash(source: &SourceDefinition) -> String {
    let columns = source.columns.fields().iter().map(|field| format!("{}:{};", field.name(), field.data_type()));
    let (version, format) = (DECODER_VERSION.to_string(), format!("{:?}", source.format));
    let unit = source.timestamp_unit.map_or("", TimestampUnit::name);
    let columns: String = columns.collect();
    match source.is_table() {
        false => hash(&[&version, &format, &columns, unit]),
        true => hash(&[&version, &format, &columns, unit, &format!("key {:?}", source.key)]),
    }
}
