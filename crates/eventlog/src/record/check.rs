//! What can be seen to be wrong in the records of a batch, before anybody has stored it.
//!
//! The records are walked over once, compressed ones while they are being unfolded: a block is in memory at a time, and
//! nothing is kept of them.
//!
//! What it is not: the reader, which is kinder. A batch that a cluster has compacted may lack records; one that a
//! producer sends may not.
//!
//! What must hold: what passes can be read, and its records have the offsets 0, 1, 2 and so on from the batch's first.

use std::{io::BufRead, ops::RangeInclusive};

use bytes::Bytes;

use super::{BatchHeader, Compression, HEADER_BYTES, reader::record_count};

/// The times that a record may have: the years 1 to 9999. Kafka's -1, for none, is one of them.
const TIMESTAMPS_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Checks the records of a complete batch, which may unfold to at most `unfolded_bytes_max`.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn check_records(header: &BatchHeader, batch: &Bytes, unfolded_bytes_max: usize) -> Result<(), String> {
    let compression = header.compression()?;
    let body = batch.get(HEADER_BYTES..header.size_bytes()).ok_or("it is cut short")?;
    for (name, timestamp_ms) in [("base", header.base_timestamp_ms), ("largest", header.max_timestamp_ms)] {
        check_timestamp(timestamp_ms).map_err(|reason| format!("its {name} timestamp: {reason}"))?;
    }
    // Records are not longer than what they unfold to, so this bounds the loop before anything is unfolded.
    let fits = if compression == Compression::None { body.len() } else { unfolded_bytes_max };
    let count = record_count(header, fits)?;
    if compression == Compression::None {
        return Walk::over(body, usize::MAX).check(header, count);
    }
    Walk::over(compression.unfold(body, unfolded_bytes_max)?, unfolded_bytes_max).check(header, count)
}

fn check_timestamp(timestamp_ms: i64) -> Result<(), String> {
    if TIMESTAMPS_MS.contains(&timestamp_ms) {
        return Ok(());
    }
    Err(format!("a timestamp of {timestamp_ms} ms is outside the years 1 to 9999"))
}

/// A place in the records that moves on.
struct Walk<R> {
    source: R,
    /// How much of the record is left; without end between records.
    left: usize,
    /// How much may still be unfolded.
    unfolded_left: usize,
}

impl<R: BufRead> Walk<R> {
    fn over(source: R, unfolded_left: usize) -> Self {
        Self { source, left: usize::MAX, unfolded_left }
    }

    fn check(mut self, header: &BatchHeader, count: usize) -> Result<(), String> {
        for index in 0..count {
            let checked = i32::try_from(index).map_err(|_| "there are too many records".to_owned());
            let checked = checked.and_then(|offset_delta| self.record(header, offset_delta));
            checked.map_err(|reason| format!("record {index}: {reason}"))?;
        }
        self.left = usize::MAX;
        if self.shown()?.is_empty() { Ok(()) } else { Err("there are bytes after the last record".to_owned()) }
    }

    fn record(&mut self, header: &BatchHeader, expected_offset_delta: i32) -> Result<(), String> {
        self.left = usize::MAX;
        self.left = self.length("its length")?;
        self.pass(1)?; // Attributes: none are defined.
        let timestamp_delta = self.varlong()?;
        let timestamp_ms = header.base_timestamp_ms.checked_add(timestamp_delta);
        check_timestamp(timestamp_ms.unwrap_or(if timestamp_delta < 0 { i64::MIN } else { i64::MAX }))?;
        let offset_delta = self.varint()?;
        if offset_delta != expected_offset_delta {
            return Err(format!("its offset delta is {offset_delta}, not {expected_offset_delta}"));
        }
        self.optional("its key's length")?;
        self.optional("its value's length")?;
        let headers = self.length("its header count")?;
        if headers > self.left / 2 {
            return Err(format!("{headers} headers do not fit in {} bytes", self.left));
        }
        for _ in 0..headers {
            let name = self.length("the length of a header's name")?;
            self.pass(name)?;
            self.optional("the length of a header's value")?;
        }
        if self.left == 0 { Ok(()) } else { Err("it is shorter than its length".to_owned()) }
    }

    /// A length, then as many bytes; -1 stands for nothing at all.
    fn optional(&mut self, what: &str) -> Result<(), String> {
        match self.varint()? {
            -1 => Ok(()),
            length => self.pass(not_negative(length, what)?),
        }
    }

    fn length(&mut self, what: &str) -> Result<usize, String> {
        not_negative(self.varint()?, what)
    }

    /// The bytes that come next, as far as they are in memory; none at the end.
    fn shown(&mut self) -> Result<&[u8], String> {
        let shown = self.source.fill_buf();
        let shown = shown.map_err(|error| format!("the records cannot be decompressed: {error}"))?;
        Ok(shown.get(..self.left.min(shown.len())).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) -> Result<(), String> {
        self.source.consume(count);
        self.left = if self.left == usize::MAX { self.left } else { self.left - count };
        let left = self.unfolded_left.checked_sub(count);
        self.unfolded_left = left.ok_or("the records unfold to more than they may")?;
        Ok(())
    }

    fn pass(&mut self, length: usize) -> Result<(), String> {
        if self.left != usize::MAX && length > self.left {
            return Err(format!("it needs {length} bytes, {} are left", self.left));
        }
        let mut rest = length;
        while rest > 0 {
            let count = self.shown()?.len().min(rest);
            if count == 0 {
                return Err(format!("it needs {length} bytes, {} are left", length - rest));
            }
            self.consume(count)?;
            rest -= count;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<i32, String> {
        i32::try_from(self.varlong()?).map_err(|_| "a number is too large".to_owned())
    }

    fn varlong(&mut self) -> Result<i64, String> {
        let (mut value, mut length) = (0_u64, 0);
        loop {
            let shown = self.shown()?;
            let (mut count, mut ended) = (0, false);
            for byte in shown.iter().take(10 - length) {
                value |= u64::from(byte & 0x7f) << (7 * (length + count));
                count += 1;
                ended = byte & 0x80 == 0;
                if ended {
                    break;
                }
            }
            length += count;
            self.consume(count)?;
            if ended {
                // Zigzag: the lowest bit is the sign.
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
            if count == 0 || length == 10 {
                return Err("a number does not end".to_owned());
            }
        }
    }
}

fn not_negative(length: i32, what: &str) -> Result<usize, String> {
    usize::try_from(length).map_err(|_| format!("{what} is {length}"))
}
