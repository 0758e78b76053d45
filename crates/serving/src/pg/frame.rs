//! Messages as bytes: where one ends, and whether its body is what its kind says.
//!
//! pgwire takes it for granted that a body is whole. What it is given has been checked here.
//!
//! What it is not: a decoder. It looks at lengths and ends; values are pgwire's.
//!
//! What must hold: a frame that passes can be decoded without reading beyond its end; nothing is kept of a message that
//! announces more than it may have.

use pgwire::messages::startup::{GssEncRequest, SslRequest};
use sql::{SqlError, sqlstate};

/// The longest message with which a connection may begin, as in PostgreSQL.
const STARTUP_BYTES_MAX: usize = 10_000;

/// The longest statement or set of values; values that are bound are the largest.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest of all other messages, as in PostgreSQL.
const SMALL_MESSAGE_BYTES_MAX: usize = 10_000;

const CANCEL_CODE: u32 = 80_877_102;

/// Whether a first message asks for encryption.
pub(super) fn asks_for_encryption(opening: &[u8]) -> bool {
    SslRequest::is_ssl_request_packet(opening) || GssEncRequest::is_gss_enc_request_packet(opening)
}

/// How many bytes at the front of `received` are the first message of a connection; `None` until all have come.
///
/// # Errors
/// When it is none: nothing that comes after it can be read.
pub(super) fn opening_length(received: &[u8]) -> Result<Option<usize>, SqlError> {
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(violation(format!("invalid length of startup packet: {length}")));
    }
    let Some(opening) = rest.get(..length - 4) else { return Ok(None) };
    let mut body = Body(opening);
    let code = body.number().unwrap_or_default();
    let whole = if code == CANCEL_CODE {
        // The number of the connection, and a secret.
        (8..=260).contains(&body.0.len())
    } else if asks_for_encryption(received) {
        body.0.is_empty()
    } else if code >> 16 == 3 {
        body.pairs()
    } else {
        let (major, minor) = (code >> 16, code & 0xffff);
        return Err(
            SqlError::unsupported(format!("version {major}.{minor} of the protocol")).with_hint("use version 3")
        );
    };
    if whole { Ok(Some(length)) } else { Err(violation("invalid startup packet layout".to_owned())) }
}

/// How many bytes at the front of `received` are a message; `None` until all have come.
///
/// # Errors
/// When there is no such message: nothing that comes after it can be read.
pub(super) fn message_length(received: &[u8]) -> Result<Option<usize>, SqlError> {
    let Some((kind, rest)) = received.split_first() else { return Ok(None) };
    if !b"QPBDECSHXdcf".contains(kind) {
        return Err(violation(format!("invalid frontend message type {kind}")));
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    let bytes_max = if b"QPBd".contains(kind) { MESSAGE_BYTES_MAX } else { SMALL_MESSAGE_BYTES_MAX };
    if !(4..=bytes_max).contains(&length) {
        let message = format!("a message announces {length} bytes, the most is {bytes_max}");
        return Err(violation(message));
    }
    Ok((rest.len() >= length - 4).then_some(length + 1))
}

/// Checks the body of a whole message.
///
/// # Errors
/// When it ends too early or too late, or a statement is no text. The next message can be read all the same.
pub(super) fn check(message: &[u8]) -> Result<(), SqlError> {
    let (Some(kind), Some(body)) = (message.first(), message.get(5..)) else { return Err(malformed('?')) };
    // A name and a statement, or the statement alone.
    let texts = match kind {
        b'P' => 2,
        b'Q' => 1,
        _ => 0,
    };
    if body.split(|byte| *byte == 0).take(texts).any(|text| std::str::from_utf8(text).is_err()) {
        let message = "invalid byte sequence for encoding \"UTF8\"";
        return Err(SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message));
    }
    let mut body = Body(body);
    let whole = match kind {
        b'Q' | b'f' => body.text(),
        b'P' => body.text() && body.text() && body.list(4),
        b'B' => body.text() && body.text() && body.list(2) && body.values() && body.list(2),
        b'C' | b'D' => matches!(body.take(1), Some(b"S" | b"P")) && body.text(),
        b'E' => body.text() && body.take(4).is_some(),
        b'd' => return Ok(()),
        _ => true,
    };
    if whole && body.0.is_empty() { Ok(()) } else { Err(malformed(char::from(*kind))) }
}

/// What is left of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn count(&mut self) -> Option<usize> {
        self.take(2)?.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
    }

    /// A text up to its zero.
    fn text(&mut self) -> bool {
        let end = self.0.iter().position(|byte| *byte == 0);
        end.is_some_and(|end| self.take(end + 1).is_some())
    }

    /// A count, and as many elements of so many bytes.
    fn list(&mut self, element_bytes: usize) -> bool {
        self.count().is_some_and(|count| self.take(count * element_bytes).is_some())
    }

    /// A count, and as many values with their lengths; the length -1 is NULL.
    fn values(&mut self) -> bool {
        let Some(count) = self.count() else { return false };
        (0..count).all(|_| match self.number() {
            None => false,
            Some(u32::MAX) => true,
            Some(length) => self.take(length as usize).is_some(),
        })
    }

    /// Names and values, each a text, up to an empty name at the end.
    fn pairs(&mut self) -> bool {
        while self.0.first().is_some_and(|first| *first != 0) {
            if !(self.text() && self.text()) {
                return false;
            }
        }
        self.0 == [0]
    }
}

fn malformed(kind: char) -> SqlError {
    violation(format!("invalid message format: the body of a message of type {kind} does not have the length it needs"))
}

fn violation(message: String) -> SqlError {
    SqlError::new(sqlstate::PROTOCOL_VIOLATION, message)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use pgwire::messages::{DecodeContext, PgWireFrontendMessage};

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn a_message_is_as_long_as_its_parts() {
        let cases: &[(u8, &[u8], bool)] = &[
            (b'Q', b"SELECT 1\0", true),
            (b'Q', b"SELECT 1", false),
            (b'Q', b"SELECT 1\0 more\0", false),
            (b'P', b"\0SELECT $1\0\0\x01\0\0\0\x17", true),
            (b'P', b"\0SELECT $1\0\xff\xff", false),
            (b'P', b"\0SELECT $1\0\0", false),
            (b'P', b"", false),
            (b'B', b"\0\0\0\0\0\x02\xff\xff\xff\xff\0\0\0\x01a\0\0", true),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09a\0\0", false),
            (b'B', b"\0\0\0\0\0\x01\x80\0\0\0a\0\0", false),
            (b'B', b"\0\0\0\0\0\0\0\x01\0", false),
            (b'D', b"Sname\0", true),
            (b'D', b"Xname\0", false),
            (b'D', b"", false),
            (b'C', b"P\0", true),
            (b'C', b"P", false),
            (b'E', b"\0\0\0\0\0", true),
            (b'E', b"\0\0\0", false),
            (b'S', b"", true),
            (b'S', b"x", false),
            (b'd', b"anything", true),
            (b'f', b"why\0", true),
        ];
        for (kind, body, whole) in cases {
            let message = message(*kind, body);
            assert_eq!(message_length(&message), Ok(Some(message.len())));
            assert_eq!(check(&message).is_ok(), *whole, "{} {body:?}", char::from(*kind));
            for end in 0..message.len() {
                assert_eq!(message_length(&message[..end]), Ok(None));
            }
        }
        for refused in [&b"~\0\0\0\x04"[..], b"p\0\0\0\x04", b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"B\x01\0\0\x01"] {
            assert!(message_length(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_connection_begins_with_one_of_a_few_messages() {
        let opening = |body: &[u8]| [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat();
        let cases: &[(&[u8], bool)] = &[
            (b"\0\x03\0\0user\0me\0\0", true),
            (b"\0\x03\0\x02\0", true),
            (b"\0\x03\0\0user\0me\0", false),
            (b"\0\x03\0\0user\0\0", false),
            (b"\0\x03\0\0user", false),
            (b"\0\x03\0\0", false),
            (b"\0\x02\0\0\0", false),
            (b"\0\0\0\0", false),
            (b"\x04\xd2\x16\x2f", true),
            (b"\x04\xd2\x16\x2f\0", false),
            (b"\x04\xd2\x16\x30", true),
            (b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02", true),
            (b"\x04\xd2\x16\x2e\0\0\0\x01", false),
        ];
        for (body, whole) in cases {
            let message = opening(body);
            match opening_length(&message) {
                Ok(length) => assert_eq!((length, *whole), (Some(message.len()), true), "{body:?}"),
                Err(error) => assert!(!whole, "{body:?}: {error}"),
            }
            for end in 0..message.len() {
                assert_eq!(opening_length(&message[..end]), Ok(None), "{body:?}");
            }
        }
        for refused in [&b"\0\0\0\x07"[..], b"GET / HTTP/1.0\r\n", b"\xff\xff\xff\xff", b"\x16\x03\x01\x02"] {
            assert!(opening_length(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_passes_can_be_decoded() {
        let parts: &[&[u8]] = &[
            b"\0",
            b"S",
            b"P",
            b"x\0",
            b"\0\0",
            b"\0\x01",
            b"\xff\xff",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x01a",
            b"\0\0\0\0",
        ];
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        let (mut random, mut decoded) = (1_u64, 0);
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % below
        };
        for _ in 0..50_000 {
            let kind = b"QPBDECSHXdcf"[next(12)];
            let body: Vec<u8> = (0..next(8)).flat_map(|_| parts[next(parts.len())]).copied().collect();
            let message = message(kind, &body);
            if check(&message).is_ok() {
                decoded += 1;
                let mut bytes = BytesMut::from(message.as_slice());
                assert!(PgWireFrontendMessage::decode(&mut bytes, &context).unwrap().is_some(), "{message:?}");
            }
        }
        assert!(decoded > 5_000, "{decoded} of the messages passed");
    }
}
