//! Compressed bodies, gzip and zstd: answers as `Accept-Encoding` asks for them, requests as `Content-Encoding` says.
//!
//! What must hold: limits are those of the plain bytes, before an answer is compressed and after a request is decoded;
//! an answer that breaks off breaks off compressed too, with all that had been written before; a request is decoded to
//! its last byte or refused.

use std::{io, pin::Pin, sync::Arc};

use async_compression::{
    Level,
    tokio::bufread::{GzipDecoder, GzipEncoder, ZstdDecoder, ZstdEncoder},
    zstd::DParameter,
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, future, stream};
use hyper::body::Body as _;
use model::Error;
use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{
    negotiation::read_range,
    problem::{Problem, Result},
};

/// Below this, in bytes, an answer fits into a packet as it is.
const ANSWER_BYTES_MIN: u64 = 1024;

/// A quick one: answers are compressed once, by the thread that sends them. Quicker ones do little for short rows.
const LEVEL: Level = Level::Precise(3);

/// How much is compressed or decoded at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// The largest window of a request in zstd, as a power of two: what RFC 8878 asks of every decoder, and no more.
const WINDOW_LOG_MAX: u32 = 23;

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    /// In the order in which we choose where the client does not mind.
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn matches(self, coding: &str) -> bool {
        coding == self.name() || (self == Self::Gzip && coding == "x-gzip")
    }

    /// The best that the client accepts; `None` where that is the plain bytes.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let codings: Vec<(String, f32)> = values.flat_map(|value| value.split(',')).filter_map(read_range).collect();
        let quality = |encoding: Self| {
            let named = codings.iter().find(|(coding, _)| encoding.matches(coding));
            let any = || codings.iter().find(|(coding, _)| coding == "*");
            named.or_else(any).map_or(0.0, |(_, quality)| *quality)
        };
        let mut best = None;
        for encoding in Self::ALL {
            let quality = quality(encoding);
            if quality > 0.0 && best.is_none_or(|(_, least)| quality > least) {
                best = Some((encoding, quality));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    fn encoded(self, body: Body) -> Body {
        // An encoder that is given an error loses what it has not yet written: it is given the end, and the error comes
        // after all it writes.
        let failure = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&failure);
        let plain = body.into_data_stream().map_err(io::Error::other).scan((), move |(), piece| {
            let piece = piece.map_err(|error| *kept.lock() = Some(error)).ok();
            future::ready(piece.map(Ok::<_, io::Error>))
        });
        let plain = StreamReader::new(plain);
        let encoder: Pin<Box<dyn AsyncRead + Send>> = match self {
            Self::Zstd => Box::pin(ZstdEncoder::with_quality(plain, LEVEL)),
            Self::Gzip => Box::pin(GzipEncoder::with_quality(plain, LEVEL)),
        };
        let failed = async move {
            // Lets the connection send what was written before it is broken off.
            tokio::task::yield_now().await;
            failure.lock().take().map(Err)
        };
        let pieces = ReaderStream::with_capacity(encoder, PIECE_BYTES);
        Body::from_stream(pieces.chain(stream::once(failed).filter_map(future::ready)))
    }

    fn decoded(self, body: Body) -> Body {
        // What comes after the first member belongs to the body too.
        match self {
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_params(reader(body), &[DParameter::window_log_max(WINDOW_LOG_MAX)]);
                decoder.multiple_members(true);
                streamed(decoder)
            }
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(reader(body));
                decoder.multiple_members(true);
                streamed(decoder)
            }
        }
    }
}

fn reader(body: Body) -> impl AsyncBufRead {
    StreamReader::new(body.into_data_stream().map_err(io::Error::other))
}

fn streamed(reader: impl AsyncRead + Send + 'static) -> Body {
    Body::from_stream(ReaderStream::with_capacity(reader, PIECE_BYTES))
}

/// The middleware that compresses answers.
pub(super) async fn encode_answer(request: Request, next: Next) -> Response {
    let accepted = Encoding::accepted(request.headers());
    let mut response = next.run(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(encoding) = accepted else { return response };
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    Response::from_parts(head, encoding.encoded(body))
}

/// An event stream never is: its events have to leave one by one.
pub(super) fn is_worth_it(response: &Response) -> bool {
    let of_type = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    !response.headers().get(header::CONTENT_TYPE).is_some_and(of_type)
        && !response.headers().contains_key(header::CONTENT_ENCODING)
        && response.body().size_hint().exact().is_none_or(|bytes| bytes >= ANSWER_BYTES_MIN)
}

/// The middleware that decodes requests. The limit of their bodies comes after it.
pub(super) async fn decode_request(request: Request, next: Next) -> Response {
    match decoded(request) {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn decoded(request: Request) -> Result<Request> {
    let (mut head, body) = request.into_parts();
    let codings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    let codings: Vec<String> =
        codings.map(|coding| String::from_utf8_lossy(coding.as_bytes()).to_lowercase()).collect();
    let codings = codings.join(", ");
    if codings.is_empty() || codings == "identity" {
        return Ok(Request::from_parts(head, body));
    }
    let Some(encoding) = Encoding::ALL.into_iter().find(|encoding| encoding.matches(&codings)) else {
        let error = Error::invalid(format!("the body has the content-encoding {codings:?}, which is not known here"))
            .with_hint("send it as it is, or with the header content-encoding: gzip or zstd");
        return Err(Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    };
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Request::from_parts(head, encoding.decoded(body)))
}
