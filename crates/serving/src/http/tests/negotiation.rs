//! `Accept`.

use axum::http::{HeaderMap, HeaderValue, header};

use super::super::negotiation::Format;

#[test]
fn the_best_accepted_form_is_chosen() {
    let cases = [
        ("", Some(Format::Json)),
        ("*/*", Some(Format::Json)),
        ("text/csv", Some(Format::Csv)),
        ("text/*", Some(Format::Csv)),
        ("application/x-ndjson", Some(Format::NdJson)),
        ("application/*", Some(Format::Json)),
        ("text/csv;q=0.5, application/x-ndjson", Some(Format::NdJson)),
        ("text/csv, */*;q=0.1", Some(Format::Csv)),
        ("application/json;q=0, */*", Some(Format::NdJson)),
        ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
        ("TEXT/CSV; charset=utf-8", Some(Format::Csv)),
        ("text/html", None),
        ("application/json;q=0", None),
    ];
    for (accept, expected) in cases {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        assert_eq!(Format::accepted(&headers).ok(), expected, "{accept}");
    }
}
