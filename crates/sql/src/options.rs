//! `WITH (name = value, ...)`: the options of a source or a view.
//!
//! What must hold: an option that is not known is an error that lists the known ones, and an option that a later
//! release brings is an error that says so. Nothing is silently ignored.

use std::time::Duration;

use sqlparser::tokenizer::Token;

use crate::{SqlError, sqlstate};

use super::cursor::Cursor;

/// One option as written.
pub(crate) struct SqlOption {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Where its value is, in characters from 1.
    pub(crate) value_position: usize,
}

impl SqlOption {
    /// The error for a value that this option cannot have.
    pub(crate) fn invalid(&self, why: &str) -> SqlError {
        SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("{:?} is not a value for option \"{}\": {why}", self.value, self.name),
        )
        .at(self.value_position)
    }
}

/// Parses `( name = value [, ...] )`, checking names against `known`; `planned` are names of a later release.
pub(crate) fn parse(
    cursor: &mut Cursor<'_>,
    known: &[&str],
    planned: &[(&str, &str)],
) -> Result<Vec<SqlOption>, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut options: Vec<SqlOption> = Vec::new();
    loop {
        let position = cursor.position();
        let name = cursor.identifier("the name of an option")?;
        if let Some((_, what)) = planned.iter().find(|(planned, _)| *planned == name) {
            let hint = format!("leave it out: without it {what}");
            return Err(SqlError::unsupported(format!("option \"{name}\"")).at(position).with_hint(hint));
        }
        if !known.contains(&name.as_str()) {
            let message = format!("there is no option \"{name}\"");
            let hint = format!("the options are: {}", known.join(", "));
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).at(position).with_hint(hint));
        }
        if options.iter().any(|option| option.name == name) {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("option \"{name}\" is given twice")).at(position));
        }
        cursor.expect_token(&Token::Eq)?;
        let value_position = cursor.position();
        let value = value(cursor)?;
        options.push(SqlOption { name, value, value_position });
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(options)
}

fn value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let value = match cursor.peek() {
        Some(Token::SingleQuotedString(text)) => text.clone(),
        Some(Token::Number(digits, _)) => digits.clone(),
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_lowercase(),
        _ => return Err(cursor.expected("a value: a 'text', a number or a word")),
    };
    cursor.advance();
    Ok(value)
}

/// Reads a length of time such as `1 hour` or `1 hour 30 minutes`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut words = text.split_whitespace();
    let mut total = Duration::ZERO;
    while let Some(amount) = words.next() {
        let amount: u64 = amount.parse().ok()?;
        let milliseconds: u64 = match words.next()?.to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "second" | "seconds" => 1_000,
            "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "week" | "weeks" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(amount.checked_mul(milliseconds)?))?;
    }
    (!total.is_zero()).then_some(total)
}
