//! Arrays in both forms, taken apart into their elements.
//!
//! What must hold: an array has no more elements than the bytes that are there can hold; nothing is kept of one before
//! that is known.

use std::borrow::Cow;

use pgwire::api::Type;
use sql::{SqlError, sqlstate};

use super::{
    binary::{incorrect, insufficient, take},
    element::element_type,
    elements::Elements,
    text::{check, invalid},
};

/// More dimensions than any array has, as in PostgreSQL.
const DIMENSIONS_MAX: i32 = 6;

/// The binary form: dimensions, whether there are NULLs, the type of the elements, length and first index of each
/// dimension, then the elements with their lengths; the length -1 is NULL.
pub(super) fn of_binary<'a>(mut bytes: &'a [u8], pg_type: &Type) -> Result<Elements<'a>, SqlError> {
    let dimensions = i32::from_be_bytes(take(&mut bytes)?);
    let has_nulls = i32::from_be_bytes(take(&mut bytes)?);
    let announced = u32::from_be_bytes(take(&mut bytes)?);
    if !(0..=DIMENSIONS_MAX).contains(&dimensions) || !(0..=1).contains(&has_nulls) {
        return Err(incorrect());
    }
    if let Some(expected) = element_type(pg_type)
        && expected.oid() != announced
    {
        let message = format!("binary data has array element type {announced} instead of expected {}", expected.oid());
        return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
    }
    if dimensions > 1 {
        return Err(many_dimensions());
    }
    let mut count = 0;
    if dimensions == 1 {
        count = usize::try_from(i32::from_be_bytes(take(&mut bytes)?)).map_err(|_| incorrect())?;
        let _first_index: [u8; 4] = take(&mut bytes)?;
    }
    // Each element has at least its length.
    if count > bytes.len() / 4 {
        return Err(insufficient());
    }
    let mut remaining = count;
    Ok(Box::new(std::iter::from_fn(move || {
        if remaining == 0 {
            let rest = std::mem::take(&mut bytes);
            return if rest.is_empty() { None } else { Some(Err(incorrect())) };
        }
        remaining -= 1;
        let element = binary_element(&mut bytes);
        if element.is_err() {
            (remaining, bytes) = (0, &[]);
        }
        Some(element)
    })))
}

fn binary_element<'a>(bytes: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, SqlError> {
    let length = i32::from_be_bytes(take(bytes)?);
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| incorrect())?;
    let (element, rest) = bytes.split_at_checked(length).ok_or_else(insufficient)?;
    *bytes = rest;
    Ok(Some(Cow::Borrowed(element)))
}

/// The text form: `{1,2,NULL}`, `{"a b","say \"so\""}`.
pub(super) fn of_text(bytes: &[u8]) -> Result<Elements<'_>, SqlError> {
    let text = check(bytes)?.trim();
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner else {
        return Err(malformed(bytes).with_hint("an array is written {1,2,3}"));
    };
    let mut rest = (!inner.trim().is_empty()).then_some(inner);
    Ok(Box::new(std::iter::from_fn(move || {
        let element = text_element(rest?, bytes);
        rest = element.as_ref().ok().and_then(|(_, rest)| *rest);
        Some(element.map(|(element, _)| element))
    })))
}

/// An element, and what comes after its comma.
type TextElement<'a> = (Option<Cow<'a, [u8]>>, Option<&'a str>);

/// The first element of a list.
fn text_element<'a>(list: &'a str, whole: &[u8]) -> Result<TextElement<'a>, SqlError> {
    let list = list.trim_start();
    let (element, rest) = match list.strip_prefix('"') {
        Some(quoted) => {
            let (element, rest) = quoted_element(quoted).ok_or_else(|| malformed(whole))?;
            (Some(element), rest.trim_start())
        }
        None => {
            let end = list.find([',', '"', '{', '}', '\\']).unwrap_or(list.len());
            let (word, rest) = list.split_at(end);
            let word = word.trim_end();
            match word {
                _ if rest.starts_with('{') => return Err(many_dimensions()),
                "" => return Err(malformed(whole)),
                word if word.eq_ignore_ascii_case("null") => (None, rest),
                word => (Some(Cow::Borrowed(word.as_bytes())), rest),
            }
        }
    };
    match rest.strip_prefix(',') {
        Some(rest) => Ok((element, Some(rest))),
        None if rest.is_empty() => Ok((element, None)),
        None => Err(malformed(whole)),
    }
}

/// What stands before the closing quote, and after it.
fn quoted_element(quoted: &str) -> Option<(Cow<'_, [u8]>, &str)> {
    let end = quoted.find(['"', '\\'])?;
    if quoted[end..].starts_with('"') {
        return Some((Cow::Borrowed(&quoted.as_bytes()[..end]), &quoted[end + 1..]));
    }
    let (mut element, mut characters) = (quoted[..end].to_owned(), quoted[end..].chars());
    loop {
        match characters.next()? {
            '"' => return Some((Cow::Owned(element.into_bytes()), characters.as_str())),
            '\\' => element.push(characters.next()?),
            other => element.push(other),
        }
    }
}

fn malformed(bytes: &[u8]) -> SqlError {
    let mut error = invalid("array", bytes);
    error.message = error.message.replace("invalid input syntax for type array", "malformed array literal");
    error
}

fn many_dimensions() -> SqlError {
    SqlError::unsupported("an array of more than one dimension")
}
