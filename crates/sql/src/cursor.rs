//! A text of SQL as tokens, each with its place in the text.
//!
//! What it is not: a grammar. It tokenises with sqlparser and offers the few steps (`eat`, `expect`, `identifier`)
//! that the statements of our own need.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, Tokenizer},
};

use crate::{SqlError, sqlstate};

const NAME_BYTES_MAX: usize = 63;

/// One token that is neither white space nor a comment.
#[derive(Clone, Debug)]
pub struct PlacedToken {
    /// The token.
    pub token: Token,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
}

/// Tokenises `text`.
pub fn tokenize(text: &str) -> Result<Vec<PlacedToken>, SqlError> {
    let lines = line_starts(text);
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|error| {
        let byte = byte_at(text, &lines, error.location);
        SqlError::new(sqlstate::SYNTAX_ERROR, error.message.to_lowercase()).at(character_at(text, byte))
    })?;
    let mut walk = Walk { text, lines: &lines, line: 0, column: 0, byte: 0 };
    let placed = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).map(|t| {
        let start = walk.byte_at(t.span.start);
        PlacedToken { token: t.token, start, end: walk.byte_at(t.span.end).max(start) }
    });
    Ok(placed.collect())
}

/// Finds the bytes of places that come one after the other, each from the one before: a long line is walked once.
struct Walk<'a> {
    text: &'a str,
    lines: &'a [usize],
    /// The place that was found last, counted from 0.
    line: usize,
    column: usize,
    byte: usize,
}

impl Walk<'_> {
    fn byte_at(&mut self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        if line != self.line || column < self.column {
            let Some(start) = self.lines.get(line).copied() else { return self.text.len() };
            (self.line, self.column, self.byte) = (line, 0, start);
        }
        let rest = self.text.get(self.byte..).unwrap_or_default();
        let found = rest.char_indices().nth(column - self.column);
        self.byte = found.map_or(self.text.len(), |(i, _)| self.byte + i);
        self.column = column;
        self.byte
    }
}

/// The byte at which a line and column (both from 1) lie.
pub fn byte_of_location(text: &str, location: Location) -> usize {
    byte_at(text, &line_starts(text), location)
}

/// The character (from 1) that begins at or after a byte.
pub fn character_at(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(start, _)| *start < byte).count() + 1
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect()
}

fn byte_at(text: &str, lines: &[usize], location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
    let Some(start) = lines.get(line).copied() else { return text.len() };
    text[start..].char_indices().nth(column).map_or(text.len(), |(i, _)| start + i)
}

/// A walk over the tokens of one statement.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    tokens: &'a [PlacedToken],
    next: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, tokens: &'a [PlacedToken]) -> Self {
        Self { text, tokens, next: 0 }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }

    /// The tokens not walked over yet.
    pub(crate) fn rest(&self) -> &'a [PlacedToken] {
        self.tokens.get(self.next..).unwrap_or_default()
    }

    /// Whether all of `words` come next, in any case.
    pub(crate) fn is_next(&self, words: &[&str]) -> bool {
        let is_word_at =
            |(i, word): (usize, &&str)| self.tokens.get(self.next + i).is_some_and(|p| is_word(&p.token, word));
        words.iter().enumerate().all(is_word_at)
    }

    /// Walks over all of `words` when they come next, in any case.
    pub(crate) fn eat(&mut self, words: &[&str]) -> bool {
        let matches = self.is_next(words);
        if matches {
            self.next += words.len();
        }
        matches
    }

    pub(crate) fn eat_token(&mut self, token: &Token) -> bool {
        let matches = self.peek() == Some(token);
        if matches {
            self.next += 1;
        }
        matches
    }

    pub(crate) fn expect(&mut self, word: &str) -> Result<(), SqlError> {
        if self.eat(&[word]) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat_token(token) { Ok(()) } else { Err(self.expected(&format!("\"{token}\""))) }
    }

    pub(crate) fn expect_end(&self) -> Result<(), SqlError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// An identifier: folded to lower case, as PostgreSQL does, unless it is quoted.
    pub(crate) fn identifier(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = folded(&word.value, word.quote_style.is_some());
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// The name of a source or a view: it also becomes a part of paths, so it is kept plain.
    pub(crate) fn relation_name(&mut self, what: &str) -> Result<String, SqlError> {
        let position = self.position();
        let name = self.identifier(what)?;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || name.is_empty() || name.len() > NAME_BYTES_MAX || name.as_bytes()[0].is_ascii_digit() {
            let message = format!("{name:?} cannot be the name of a source or view");
            return Err(SqlError::new(sqlstate::INVALID_NAME, message)
                .at(position)
                .with_hint("use 1 to 63 lower-case letters, digits and underscores, a letter or underscore first"));
        }
        Ok(name)
    }

    /// The name of a view, or of a version of one: `"view@version"`.
    pub(crate) fn view_or_version_name(&mut self) -> Result<String, SqlError> {
        let is_version = |name: &str| {
            let version = name.split_once('@').map(|(_, version)| version);
            version.is_some_and(|version| !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit()))
        };
        match self.peek() {
            Some(Token::Word(word)) if is_version(&word.value) => self.identifier("the name of a view"),
            _ => self.relation_name("the name of a view"),
        }
    }

    /// The next token's place, in characters from 1.
    pub(crate) fn position(&self) -> usize {
        let byte = match (self.tokens.get(self.next), self.tokens.last()) {
            (Some(placed), _) => placed.start,
            (None, Some(last)) => last.end,
            (None, None) => 0,
        };
        character_at(self.text, byte)
    }

    /// A syntax error at the next token.
    pub(crate) fn expected(&self, what: &str) -> SqlError {
        let found = match self.peek() {
            Some(token) => format!("found {token}"),
            None => "found the end of the statement".to_owned(),
        };
        SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error: expected {what}, {found}")).at(self.position())
    }
}

/// Whether a token is this word, unquoted and in any case.
pub fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// A name as it is meant: in lower case, unless it was quoted.
pub fn folded(name: &str, quoted: bool) -> String {
    if quoted { name.to_owned() } else { name.to_lowercase() }
}
