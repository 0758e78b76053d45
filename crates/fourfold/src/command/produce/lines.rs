//! [`Lines`]: input taken apart at its line feeds.
//!
//! What must hold: a line is bytes, not text; one that is too long costs no more memory than one that is not.

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The lines of an input.
pub(super) struct Lines<R> {
    input: R,
    bytes_max: usize,
    number: u64,
}

/// One line, without its line feed.
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Its length.
    pub(super) bytes: usize,
    /// `None` when it is longer than allowed.
    pub(super) content: Option<Vec<u8>>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Lines of at most `bytes_max` bytes.
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, number: 0 }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Line>> {
        let number = self.number + 1;
        let (mut bytes, mut content) = (0, Vec::new());
        loop {
            let piece = self.input.fill_buf().await.with_context(|| format!("cannot read line {number}"))?;
            if piece.is_empty() && bytes == 0 {
                return Ok(None);
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = &piece[..end.unwrap_or(piece.len())];
            bytes += part.len();
            // What is past the limit is counted and let go.
            if bytes <= self.bytes_max {
                content.extend_from_slice(part);
            }
            let is_last = end.is_some() || piece.is_empty();
            let consumed = part.len() + usize::from(end.is_some());
            self.input.consume(consumed);
            if is_last {
                self.number = number;
                return Ok(Some(Line { number, bytes, content: (bytes <= self.bytes_max).then_some(content) }));
            }
        }
    }
}
