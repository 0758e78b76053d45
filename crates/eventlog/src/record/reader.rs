//! From a batch's bytes to its records.
//!
//! What must hold: every length is checked against what is left before it is used, and counts are believed only as far
//! as the bytes that are there allow.

use bytes::Bytes;

use super::{BatchHeader, DECOMPRESSED_BYTES_MAX, HEADER_BYTES, Header, Record};

/// The smallest record: its length, attributes, two deltas, two lengths and a header count of one byte each.
const RECORD_BYTES_MIN: usize = 7;

pub(super) fn read_records(header: &BatchHeader, batch: &Bytes) -> Result<Vec<Record>, String> {
    let size = header.size_bytes();
    if size < HEADER_BYTES || size > batch.len() {
        return Err(format!("a batch of {size} bytes is cut short, {} bytes are left", batch.len()));
    }
    let body = header.compression()?.decompress(&batch.slice(HEADER_BYTES..size), DECOMPRESSED_BYTES_MAX)?;
    let count = record_count(header, body.len())?;
    let mut fields = Fields { rest: body };
    let mut records = Vec::with_capacity(count);
    // Compaction leaves gaps; but what comes twice or backwards would be lost or repeated by whoever reads on.
    let mut next_delta = 0;
    for index in 0..count {
        let (delta, record) =
            fields.record(header, next_delta).map_err(|reason| format!("record {index}: {reason}"))?;
        next_delta = delta.saturating_add(1);
        records.push(record);
    }
    if fields.rest.is_empty() { Ok(records) } else { Err("there are bytes after the last record".to_owned()) }
}

/// How many records there are, when so many fit in the bytes of a batch's body.
pub(super) fn record_count(header: &BatchHeader, body_bytes: usize) -> Result<usize, String> {
    let count = usize::try_from(header.record_count).map_err(|_| "the record count is negative".to_owned())?;
    if count > body_bytes / RECORD_BYTES_MIN {
        return Err(format!("{count} records do not fit in {body_bytes} bytes"));
    }
    Ok(count)
}

/// A place in the records' bytes that moves on as fields are taken.
struct Fields {
    rest: Bytes,
}

impl Fields {
    fn record(&mut self, header: &BatchHeader, delta_min: i32) -> Result<(i32, Record), String> {
        let length = self.length()?.ok_or("it has no length")?;
        let mut fields = Fields { rest: self.take(length)? };
        fields.take(1)?; // Attributes: none are defined.
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let timestamp_ms = if header.is_log_append_time() {
            header.max_timestamp_ms
        } else {
            header.base_timestamp_ms.wrapping_add(timestamp_delta)
        };
        if !(delta_min..=header.last_offset_delta).contains(&offset_delta) {
            let last = header.last_offset_delta;
            return Err(format!("an offset delta of {offset_delta} is not one of the next, {delta_min}..={last}"));
        }
        let record = Record {
            offset: header.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp_ms,
            key: fields.bytes()?,
            value: fields.bytes()?,
            headers: fields.headers()?,
        };
        if fields.rest.is_empty() {
            Ok((offset_delta, record))
        } else {
            Err("it is shorter than its length".to_owned())
        }
    }

    fn headers(&mut self) -> Result<Vec<Header>, String> {
        let count = self.length()?.ok_or("its header count is negative")?;
        if count > self.rest.len() / 2 {
            return Err(format!("{count} headers do not fit in {} bytes", self.rest.len()));
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.bytes()?.ok_or("a header has no name")?;
            headers.push(Header { name, value: self.bytes()? });
        }
        Ok(headers)
    }

    /// A length, then as many bytes; a negative length stands for nothing at all.
    fn bytes(&mut self) -> Result<Option<Bytes>, String> {
        self.length()?.map(|length| self.take(length)).transpose()
    }

    fn length(&mut self) -> Result<Option<usize>, String> {
        self.varint().map(|length| usize::try_from(length).ok())
    }

    fn take(&mut self, length: usize) -> Result<Bytes, String> {
        self.check_left(length)?;
        Ok(self.rest.split_to(length))
    }

    fn check_left(&self, length: usize) -> Result<(), String> {
        if length > self.rest.len() {
            return Err(format!("it needs {length} bytes, {} are left", self.rest.len()));
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<i32, String> {
        i32::try_from(self.varlong()?).map_err(|_| "a number is too large".to_owned())
    }

    fn varlong(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                bytes::Buf::advance(&mut self.rest, index + 1);
                // Zigzag: the lowest bit is the sign.
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err("a number does not end".to_owned())
    }
}
