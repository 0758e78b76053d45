//! Which form of rows a client wants: `Accept`, as RFC 9110 has it.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use model::Error;

use super::{
    Server,
    problem::{Problem, Result},
};

/// A form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON document, held in memory until it is whole.
    Json,
    /// One JSON object a line, streamed.
    NdJson,
    /// A header line and a line a row, streamed.
    Csv,
}

impl Format {
    /// In the order in which we choose where the client does not mind.
    const ALL: [Self; 3] = [Self::Json, Self::NdJson, Self::Csv];

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn matches(self, media_range: &str) -> bool {
        let names: &[&str] = match self {
            Self::Json => &["application/json", "application/*", "*/*"],
            Self::NdJson => &["application/x-ndjson", "application/jsonl", "application/*", "*/*"],
            Self::Csv => &["text/csv", "text/*", "*/*"],
        };
        names.contains(&media_range)
    }

    /// The best that the client accepts; JSON where it does not say.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self> {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).filter_map(read_range).collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let quality = |format: Self| {
            // The range that names the format most closely decides: `*/*;q=0.1` says little about text/csv.
            let matching = ranges.iter().filter(|(range, _)| format.matches(range));
            let stars = |range: &str| range.bytes().filter(|byte| *byte == b'*').count();
            matching.min_by_key(|(range, _)| stars(range)).map_or(0.0, |(_, quality)| *quality)
        };
        let mut best = None;
        for format in Self::ALL {
            let quality = quality(format);
            if quality > 0.0 && best.is_none_or(|(_, least)| quality > least) {
                best = Some((format, quality));
            }
        }
        best.map(|(format, _)| format).ok_or_else(|| {
            let error = Error::invalid("none of the accepted types can be had")
                .with_hint("accept application/json, application/x-ndjson or text/csv");
            Problem::with_status(StatusCode::NOT_ACCEPTABLE, error)
        })
    }
}

/// `text/csv;q=0.5` -> `("text/csv", 0.5)`.
pub(super) fn read_range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
    Some((range, quality.unwrap_or(0.0)))
}

impl FromRequestParts<Arc<Server>> for Format {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Server>) -> Result<Self> {
        Self::accepted(&parts.headers)
    }
}
