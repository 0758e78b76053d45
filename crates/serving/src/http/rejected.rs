//! How an answer that has no place for it in its body says what it leaves out of the sources that it read.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use model::Error;

use super::problem::Result;
use crate::sql::Unread;

/// As for Positions: clients give up on headers somewhere above 8 KiB.
const REJECTED_HEADER_BYTES_MAX: usize = 4096;
/// By the source: how many of its records could not be read.
const REJECTED_HEADER: HeaderName = HeaderName::from_static("fourfold-rejected");

/// Adds the header.
///
/// # Errors
/// [`Unsupported`](model::ErrorKind::Unsupported) where the sources are too many, or have names that no header can hold.
pub(super) fn with_rejected(mut response: Response, unread: &Unread) -> Result<Response> {
    let text = serde_json::to_string(&unread.records()).unwrap_or_default();
    let value = HeaderValue::from_bytes(text.as_bytes()).ok();
    let value = value.filter(|value| (1..=REJECTED_HEADER_BYTES_MAX).contains(&value.len())).ok_or_else(|| {
        Error::unsupported("what is left out of the sources does not fit a header, and CSV has no other place for it")
            .with_hint("accept application/json or application/x-ndjson")
    })?;
    response.headers_mut().insert(REJECTED_HEADER, value);
    Ok(response)
}
