//! Writing the protocol's primitive types.
//!
//! What must hold: large byte strings are kept as shared pieces, never copied into the frame.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Byte strings below this size are copied into the frame: a copy is cheaper than one more piece to send.
const COPIED_BYTES_MAX: usize = 4096;

/// A message in the making.
#[derive(Debug)]
pub struct Writer {
    tail: BytesMut,
    pieces: Vec<Bytes>,
    flexible: bool,
}

impl Writer {
    /// A writer of a message body; `flexible` chooses compact lengths and tagged fields.
    pub fn new(flexible: bool) -> Self {
        Self { tail: BytesMut::with_capacity(256), pieces: Vec::new(), flexible }
    }

    /// The message as pieces, in order.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.freeze());
        }
        self.pieces
    }

    /// The buffer at the end of the message, for an encoder that writes by itself.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Switches between header and body, which may differ in being flexible.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// A truth value as a byte.
    pub fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    /// One signed byte.
    pub fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    /// Two bytes, big-endian.
    pub fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    /// Four bytes, big-endian.
    pub fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// Eight bytes, big-endian.
    pub fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_u128(value.as_u128());
    }

    /// An unsigned number of one to five bytes.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// A string. One over the protocol's 32,767 bytes is cut at that length (such names are refused at the door).
    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// A string, or null.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        let value = value.map(|text| &text[..text.floor_char_boundary(i16::MAX as usize)]);
        match (self.flexible, value) {
            (true, None) => self.unsigned_varint(0),
            (true, Some(text)) => self.unsigned_varint(text.len() as u32 + 1),
            (false, None) => self.i16(-1),
            (false, Some(text)) => self.i16(text.len() as i16),
        }
        self.tail.extend_from_slice(value.unwrap_or_default().as_bytes());
    }

    /// Byte strings that lie one after another in the message, as one.
    pub fn bytes<'a>(&mut self, parts: impl Iterator<Item = &'a Bytes> + Clone) {
        let length = parts.clone().map(Bytes::len).sum();
        self.length(Some(length));
        for part in parts {
            if part.len() < COPIED_BYTES_MAX {
                self.tail.extend_from_slice(part);
            } else {
                if !self.tail.is_empty() {
                    self.pieces.push(self.tail.split().freeze());
                }
                self.pieces.push(part.clone());
            }
        }
    }

    /// The length of an array.
    pub fn array_length(&mut self, length: usize) {
        self.length(Some(length));
    }

    /// An array that is null.
    pub fn null_array(&mut self) {
        self.length(None);
    }

    /// An array, each item written by `item`.
    pub fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.length(Some(items.len()));
        for value in items {
            item(self, value);
        }
    }

    /// No tagged fields; nothing in a version that has none.
    pub fn tags(&mut self) {
        if self.flexible {
            self.tail.put_u8(0);
        }
    }

    fn length(&mut self, length: Option<usize>) {
        // What is written here fits: arrays and byte strings are bounded far below by the limits of a frame.
        match (self.flexible, length) {
            (true, None) => self.unsigned_varint(0),
            (true, Some(length)) => self.unsigned_varint(length as u32 + 1),
            (false, None) => self.i32(-1),
            (false, Some(length)) => self.i32(length as i32),
        }
    }
}
