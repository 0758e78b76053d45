//! Reading the protocol's primitive types from untrusted bytes.
//!
//! What must hold: every length is checked against the bytes that remain before anything is cut or allocated, and there
//! are not more items in all than are worth the memory that small ones take.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::{Result, Text, WireError};

/// How many array items and tagged fields a request may have in total.
const REQUEST_ITEMS_MAX: usize = 200_000;
/// The same of an answer, which comes from a server that was chosen.
const ANSWER_ITEMS_MAX: usize = 10_000_000;

/// A cursor over one message.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    flexible: bool,
    items_max: usize,
    items: usize,
}

impl Reader {
    /// A reader of a request; `flexible` chooses compact lengths and tagged fields.
    pub fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, items_max: REQUEST_ITEMS_MAX, items: 0 }
    }

    /// A reader of an answer.
    pub fn of_answer(bytes: Bytes, flexible: bool) -> Self {
        Self { items_max: ANSWER_ITEMS_MAX, ..Self::new(bytes, flexible) }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the message has compact lengths and tagged fields.
    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// What is left, unread.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    /// The end of the message: nothing may follow.
    ///
    /// # Errors
    /// [`WireError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.bytes.len())) }
    }

    /// The next `count` bytes, shared.
    pub fn take(&mut self, field: &'static str, count: usize) -> Result<Bytes> {
        self.require(field, count)?;
        Ok(self.bytes.split_to(count))
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, field: &'static str, count: usize) -> Result<()> {
        self.require(field, count)?;
        self.bytes.advance(count);
        Ok(())
    }

    /// A byte as a truth value.
    pub fn bool(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.i8(field)? != 0)
    }

    /// One signed byte.
    pub fn i8(&mut self, field: &'static str) -> Result<i8> {
        self.require(field, 1)?;
        Ok(self.bytes.get_i8())
    }

    /// Two bytes, big-endian.
    pub fn i16(&mut self, field: &'static str) -> Result<i16> {
        self.require(field, 2)?;
        Ok(self.bytes.get_i16())
    }

    /// Four bytes, big-endian.
    pub fn i32(&mut self, field: &'static str) -> Result<i32> {
        self.require(field, 4)?;
        Ok(self.bytes.get_i32())
    }

    /// Eight bytes, big-endian.
    pub fn i64(&mut self, field: &'static str) -> Result<i64> {
        self.require(field, 8)?;
        Ok(self.bytes.get_i64())
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid> {
        self.require(field, 16)?;
        Ok(Uuid::from_u128(self.bytes.get_u128()))
    }

    /// An unsigned number of one to five bytes.
    pub fn unsigned_varint(&mut self, field: &'static str) -> Result<u32> {
        let mut value: u64 = 0;
        for shift in (0..35).step_by(7) {
            self.require(field, 1)?;
            let byte = self.bytes.get_u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| WireError::Invalid { field, reason: "a varint is over 32 bits".to_owned() });
            }
        }
        Err(WireError::Invalid { field, reason: "a varint is longer than five bytes".to_owned() })
    }

    /// A string that must be there.
    pub fn string(&mut self, field: &'static str) -> Result<Text> {
        self.nullable_string(field)?.ok_or_else(|| null(field))
    }

    /// A string, or null.
    pub fn nullable_string(&mut self, field: &'static str) -> Result<Option<Text>> {
        let length = if self.flexible { self.compact_length(field)? } else { self.length(field, true)? };
        let Some(length) = length else { return Ok(None) };
        let bytes = self.take(field, length)?;
        Text::from_utf8(bytes).map(Some).map_err(|_| WireError::Invalid { field, reason: "it is not UTF-8".to_owned() })
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>> {
        let length = if self.flexible { self.compact_length(field)? } else { self.length(field, false)? };
        length.map(|length| self.take(field, length)).transpose()
    }

    /// The length of an array whose items take at least `item_bytes_min` (1 or more) bytes each, or null.
    pub fn array_length(&mut self, field: &'static str, item_bytes_min: usize) -> Result<Option<usize>> {
        let length = if self.flexible { self.compact_length(field)? } else { self.length(field, false)? };
        if let Some(length) = length {
            self.require(field, length.saturating_mul(item_bytes_min.max(1)))?;
            self.count(field, length)?;
        }
        Ok(length)
    }

    /// An array that must be there, each item read by `item`.
    pub fn array<T>(
        &mut self,
        field: &'static str,
        item_bytes_min: usize,
        item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(field, item_bytes_min, item)?.ok_or_else(|| null(field))
    }

    /// An array or null, each item read by `item`.
    pub fn nullable_array<T>(
        &mut self,
        field: &'static str,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(length) = self.array_length(field, item_bytes_min)? else { return Ok(None) };
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    /// Passes over the tagged fields at the end of a structure; nothing in a version that has none.
    pub fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.unsigned_varint("tagged fields")?;
        self.require("tagged fields", (count as usize).saturating_mul(2))?;
        self.count("tagged fields", count as usize)?;
        for _ in 0..count {
            self.unsigned_varint("tag")?;
            let length = self.unsigned_varint("tagged field")?;
            self.skip("tagged field", length as usize)?;
        }
        Ok(())
    }

    fn count(&mut self, field: &'static str, items: usize) -> Result<()> {
        self.items = self.items.saturating_add(items);
        if self.items > self.items_max {
            let reason = format!("the message has more than {} items", self.items_max);
            return Err(WireError::Invalid { field, reason });
        }
        Ok(())
    }

    fn length(&mut self, field: &'static str, short: bool) -> Result<Option<usize>> {
        let length = if short { i32::from(self.i16(field)?) } else { self.i32(field)? };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| WireError::Invalid { field, reason: format!("its length is {length}") }),
        }
    }

    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>> {
        Ok((self.unsigned_varint(field)? as usize).checked_sub(1))
    }

    fn require(&self, field: &'static str, count: usize) -> Result<()> {
        match count.checked_sub(self.bytes.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(WireError::Truncated { field, missing }),
        }
    }
}

fn null(field: &'static str) -> WireError {
    WireError::Invalid { field, reason: "it must not be null".to_owned() }
}
