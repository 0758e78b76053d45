//! Escaped characters of JSON text that take two escapes, such as `\ud869\udf00`.
//!
//! arrow-json reads such a pair as another character when it stands for one beyond U+1FFFF. So pairs become the
//! characters themselves before a record is decoded.
//!
//! What must hold: everything else stays as it is, right or wrong; what is wrong is found by the decoder.

use std::borrow::Cow;

const ESCAPE_LENGTH: usize = 6;

/// A record's value with characters in the place of pairs of escapes.
pub(super) fn without_pairs(value: &[u8]) -> Cow<'_, [u8]> {
    let may_have_pair = |escape: &[u8]| escape.len() > 2 && escape[1] == b'u' && escape[2].eq_ignore_ascii_case(&b'd');
    // Few records have a backslash at all.
    if !value.contains(&b'\\') || !value.windows(3).any(|three| three[0] == b'\\' && may_have_pair(three)) {
        return Cow::Borrowed(value);
    }
    let (mut plain, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some(backslash) = rest.iter().position(|byte| *byte == b'\\') {
        plain.extend_from_slice(&rest[..backslash]);
        rest = &rest[backslash..];
        let length = match pair(rest) {
            Some(character) => {
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                2 * ESCAPE_LENGTH
            }
            // Also the second of two backslashes: it begins no escape.
            None => {
                let length = rest.len().min(2);
                plain.extend_from_slice(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// The character that the two escapes at the start stand for.
fn pair(bytes: &[u8]) -> Option<char> {
    let (high, low) = (unit(bytes)?, unit(bytes.get(ESCAPE_LENGTH..)?)?);
    char::decode_utf16([high, low]).next()?.ok().filter(|character| character.len_utf16() == 2)
}

/// The 16 bits of the escape at the start.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}
