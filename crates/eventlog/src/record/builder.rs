//! From records to a batch.

use bytes::{Bytes, BytesMut};

use super::{Compression, HEADER_BYTES, Header, Record, header};

/// Builds one batch, as a producer sends it: base offset 0, leader epoch -1.
///
/// ```
/// use eventlog::{Compression, Record, RecordBatchBuilder};
///
/// let mut builder = RecordBatchBuilder::new(Compression::Lz4);
/// builder.push(Record { timestamp_ms: 1, value: Some("hello".into()), ..Record::default() });
/// let batch = builder.build();
/// assert!(eventlog::record::BatchHeader::parse(&batch).is_ok_and(|header| header.crc_is_valid(&batch)));
/// ```
#[derive(Clone, Debug)]
pub struct RecordBatchBuilder {
    compression: Compression,
    /// The records so far, encoded.
    body: Vec<u8>,
    record_count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl Default for RecordBatchBuilder {
    fn default() -> Self {
        Self::new(Compression::None)
    }
}

impl RecordBatchBuilder {
    /// An empty batch whose records will be packed with `compression`.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            body: Vec::new(),
            record_count: 0,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }

    /// Marks the batch as an idempotent producer's; `base_sequence` is the first record's number.
    pub fn producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> &mut Self {
        self.producer_id = producer_id;
        self.producer_epoch = producer_epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Adds a record; its `offset` is ignored, records are numbered from 0.
    #[expect(clippy::needless_pass_by_value, reason = "a record is given away: the caller has no further use for it")]
    pub fn push(&mut self, record: Record) -> &mut Self {
        if self.record_count == 0 {
            self.base_timestamp_ms = record.timestamp_ms;
            self.max_timestamp_ms = record.timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        let timestamp_delta = record.timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let length = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(i64::from(self.record_count))
            + optional_bytes(record.key.as_deref())
            + optional_bytes(record.value.as_deref())
            + headers_bytes(&record.headers);
        put_length(&mut self.body, length);
        self.body.push(0); // Attributes: none are defined.
        put_varlong(&mut self.body, timestamp_delta);
        put_varlong(&mut self.body, i64::from(self.record_count));
        put_optional(&mut self.body, record.key.as_deref());
        put_optional(&mut self.body, record.value.as_deref());
        put_length(&mut self.body, record.headers.len());
        for Header { name, value } in &record.headers {
            put_optional(&mut self.body, Some(name));
            put_optional(&mut self.body, value.as_deref());
        }
        self.record_count += 1;
        self
    }

    /// How many records were added.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether no record was added. A log refuses an empty batch.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The size of the batch if it were built without compression, in bytes.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The batch. One larger than 2 GiB cannot be expressed in the format; its length is then wrong, and a log
    /// refuses it.
    pub fn build(&self) -> Bytes {
        let mut batch = Vec::with_capacity(self.size_bytes());
        batch.resize(HEADER_BYTES, 0);
        match self.compression {
            Compression::None => batch.extend_from_slice(&self.body),
            packed => batch.extend(packed.compress(&self.body).expect("compressing into memory does not fail")),
        }
        let batch_length = i32::try_from(batch.len() - 12).unwrap_or(i32::MAX);
        let fields: [(usize, &[u8]); 11] = [
            (8, &batch_length.to_be_bytes()),
            (12, &(-1_i32).to_be_bytes()),
            (16, &[2]),
            (21, &self.compression.code().to_be_bytes()),
            (23, &(self.record_count - 1).to_be_bytes()),
            (27, &self.base_timestamp_ms.to_be_bytes()),
            (35, &self.max_timestamp_ms.to_be_bytes()),
            (43, &self.producer_id.to_be_bytes()),
            (51, &self.producer_epoch.to_be_bytes()),
            (53, &self.base_sequence.to_be_bytes()),
            (57, &self.record_count.to_be_bytes()),
        ];
        for (at, bytes) in fields {
            batch[at..at + bytes.len()].copy_from_slice(bytes);
        }
        header::seal(&mut batch);
        batch.into()
    }
}

/// Records as a producer sends them: as few batches as `batch_bytes_max` permits, one after the other. A record that is larger
/// alone has a batch of its own.
pub fn batches_of(records: &[Record], batch_bytes_max: u32) -> Bytes {
    // Lengths and varints of a record take less than this; headers likewise.
    const OVERHEAD_BYTES: usize = 64;
    let size = |record: &Record| {
        let headers: usize = record
            .headers
            .iter()
            .map(|header| OVERHEAD_BYTES + header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        OVERHEAD_BYTES + headers + [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum::<usize>()
    };
    let mut batches = BytesMut::new();
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for record in records {
        if !builder.is_empty() && builder.size_bytes() + size(record) > batch_bytes_max as usize {
            batches.extend_from_slice(&builder.build());
            builder = RecordBatchBuilder::new(Compression::None);
        }
        builder.push(record.clone());
    }
    batches.extend_from_slice(&builder.build());
    batches.freeze()
}

fn optional_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| length_bytes(bytes.len()) + bytes.len())
}

fn headers_bytes(headers: &[Header]) -> usize {
    let each = |header: &Header| optional_bytes(Some(&header.name)) + optional_bytes(header.value.as_deref());
    length_bytes(headers.len()) + headers.iter().map(each).sum::<usize>()
}

fn length_bytes(length: usize) -> usize {
    varlong_bytes(i64::try_from(length).unwrap_or(i64::MAX))
}

fn varlong_bytes(value: i64) -> usize {
    let bits = usize::try_from(64 - zigzag(value).leading_zeros()).unwrap_or(64);
    bits.div_ceil(7).max(1)
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varlong(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Small numbers of either sign become small unsigned ones.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
