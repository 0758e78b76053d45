//! A connection to the PostgreSQL door that sends one text and reads what comes back: the simple query protocol
//! (<https://www.postgresql.org/docs/current/protocol-flow.html>), and nothing more of it.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

const PROTOCOL_VERSION: i32 = 3 << 16;
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// What a text was answered with.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The object identifiers of the columns' types; `None` where no rows were announced.
    pub(crate) types: Option<Vec<u32>>,
    /// The rows as text; `None` is NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) notices: Vec<Report>,
    pub(crate) error: Option<Report>,
}

/// An error or a notice.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    /// The character of the text, from 1.
    pub(crate) position: Option<usize>,
    pub(crate) hint: Option<String>,
    pub(crate) detail: Option<String>,
}

/// One connection.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    /// Connects, as anyone.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).context("cannot limit the wait")?;
        let mut session = Self(BufReader::new(stream));
        let mut startup = PROTOCOL_VERSION.to_be_bytes().to_vec();
        startup.extend_from_slice(b"user\0anyone\0database\0fourfold\0\0");
        session.send(None, &startup)?;
        match session.read_answer()?.error {
            None => Ok(session),
            Some(error) => bail!("the connection is refused: {}", error.message),
        }
    }

    /// Sends a text and reads up to the end of its answer.
    pub(crate) fn run(&mut self, text: &str) -> Result<Answer> {
        let mut body = text.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body)?;
        self.read_answer()
    }

    fn send(&mut self, tag: Option<u8>, body: &[u8]) -> Result<()> {
        let length = i32::try_from(body.len() + 4).context("the text is too long")?;
        let mut message: Vec<u8> = tag.into_iter().collect();
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.0.get_mut().write_all(&message).context("the connection is broken")
    }

    fn read_answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let (tag, body) = self.read_message()?;
            let mut body = Body(&body);
            match tag {
                b'Z' => return Ok(answer),
                b'E' => answer.error = Some(body.report()?),
                b'N' => answer.notices.push(body.report()?),
                b'T' => answer.types = Some(body.types()?),
                b'D' => answer.rows.push(body.row()?),
                // How it was authenticated, its key, variables, ends of commands, an empty text.
                b'R' | b'K' | b'S' | b'C' | b'I' => {}
                other => bail!("an unexpected message {:?}", char::from(other)),
            }
        }
    }

    fn read_message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).context("the server ended the connection or is silent")?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length)).context("a negative length")?;
        ensure!((4..=MESSAGE_BYTES_MAX).contains(&length), "a message of {length} bytes");
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).context("the connection is broken")?;
        Ok((tag, body))
    }
}

/// What is left of a message.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn take(&mut self, bytes: usize) -> Result<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).context("a message is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<i64> {
        let sign = if self.0.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
        Ok(self.take(bytes)?.iter().fold(sign, |number, byte| (number << 8) | i64::from(*byte)))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.0.iter().position(|byte| *byte == 0).context("a text without an end")?;
        let text = String::from_utf8(self.take(length)?.to_vec()).context("a text is not UTF-8")?;
        self.take(1)?;
        Ok(text)
    }

    fn types(&mut self) -> Result<Vec<u32>> {
        let count = self.number(2)?;
        let mut types = Vec::new();
        for _ in 0..count {
            self.text()?;
            // The table and the column it is from; after the type its size, its modifier, its form.
            self.take(6)?;
            types.push(u32::try_from(self.number(4)?).context("a type without an identifier")?);
            self.take(8)?;
        }
        Ok(types)
    }

    fn row(&mut self) -> Result<Vec<Option<String>>> {
        let count = self.number(2)?;
        let mut row = Vec::new();
        for _ in 0..count {
            row.push(match usize::try_from(self.number(4)?) {
                Ok(length) => Some(String::from_utf8(self.take(length)?.to_vec()).context("a value is not UTF-8")?),
                Err(_) => None,
            });
        }
        Ok(row)
    }

    fn report(&mut self) -> Result<Report> {
        let mut report = Report::default();
        loop {
            let field = self.number(1)?;
            if field == 0 {
                return Ok(report);
            }
            let text = self.text()?;
            match u8::try_from(field) {
                Ok(b'C') => report.sqlstate = text,
                Ok(b'M') => report.message = text,
                Ok(b'P') => report.position = Some(text.parse().context("a position is no number")?),
                Ok(b'H') => report.hint = Some(text),
                Ok(b'D') => report.detail = Some(text),
                _ => {}
            }
        }
    }
}
