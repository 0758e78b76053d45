//! `REPLAY MATERIALIZED VIEW name [FROM 'place'] [TO 'place'] [COMPARE [VERSION n]] [WITH (keep = '1 day')]`.
//!
//! What must hold: what is compared is compared where the other version stands, so that it has no places of its own.

use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use model::Positions;
use sqlparser::tokenizer::Token;

use super::{cursor::Cursor, options};
use crate::{SqlError, sqlstate};

const OPTIONS: &[&str] = &["keep"];
const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// A version of a view that is to be built from the log beside the one that answers, which goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The view.
    pub view: String,
    /// Where in the log it begins; at its beginning when left out.
    pub from: Option<Place>,
    /// Where it ends; at the log's end when left out.
    pub to: Option<Place>,
    /// What its rows are compared with, if anything.
    pub compare: Option<Compared>,
    /// How long it can be read.
    pub keep: Option<Duration>,
}

/// A place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In each partition that is named before this offset.
    Positions(Positions),
    /// In each partition before the first record whose timestamp is this or later, in milliseconds since 1970.
    Time(i64),
}

/// What a replayed version is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The version that answers now.
    Current,
    /// One that is kept.
    Version(u64),
}

/// After `REPLAY MATERIALIZED VIEW`.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Replay, SqlError> {
    let view = cursor.relation_name("the name of a view")?;
    let mut replay = Replay { view, from: None, to: None, compare: None, keep: None };
    let places = cursor.position();
    if cursor.eat(&["from"]) {
        replay.from = Some(place(cursor)?);
    }
    if cursor.eat(&["to"]) {
        replay.to = Some(place(cursor)?);
    }
    if cursor.eat(&["compare"]) {
        if replay.from.is_some() || replay.to.is_some() {
            let error = SqlError::new(sqlstate::SYNTAX_ERROR, "COMPARE has no FROM and no TO").at(places);
            return Err(error.with_hint("both versions have all records before the place where the other one stands"));
        }
        let compared = if cursor.eat(&["version"]) { Compared::Version(version(cursor)?) } else { Compared::Current };
        replay.compare = Some(compared);
    }
    if cursor.eat(&["with"]) {
        for option in options::parse(cursor, OPTIONS, &[])? {
            let time = options::duration(&option.value.to_lowercase());
            replay.keep = Some(time.ok_or_else(|| option.invalid("write a length of time such as '1 day'"))?);
        }
    }
    cursor.expect_end()?;
    Ok(replay)
}

fn place(cursor: &mut Cursor<'_>) -> Result<Place, SqlError> {
    let position = cursor.position();
    let Some(Token::SingleQuotedString(text)) = cursor.peek() else {
        return Err(cursor.expected("a place in the log, in quotes"));
    };
    cursor.advance();
    if let Ok(nanoseconds) = string_to_timestamp_nanos(text) {
        return Ok(Place::Time(nanoseconds.div_euclid(NANOSECONDS_PER_MILLISECOND)));
    }
    match text.parse::<Positions>() {
        Ok(positions) if !positions.is_empty() => Ok(Place::Positions(positions)),
        _ => {
            let message = format!("{text:?} is no place in the log");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                .at(position)
                .with_hint("write a time such as '2024-01-31 12:00:00', or positions such as 'topic/0:100,topic/1:90'"))
        }
    }
}

fn version(cursor: &mut Cursor<'_>) -> Result<u64, SqlError> {
    let number = match cursor.peek() {
        Some(Token::Number(digits, _)) => digits.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| cursor.expected("the number of a version"))?;
    cursor.advance();
    Ok(number)
}

#[cfg(test)]
mod tests {
    //! What is read, and what is refused.

    use super::{Compared, Place, Replay};
    use crate::{Statement, parse};

    fn check(text: &str, expected: Result<Replay, &str>) {
        let found = match parse(text) {
            Ok(statements) => match statements.as_slice() {
                [Statement::ReplayView(replay)] => Ok(replay.clone()),
                other => panic!("{text}: {other:?}"),
            },
            Err(error) => Err(error.message),
        };
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn clauses_are_read_in_their_order() {
        let plain = Replay { view: "v".to_owned(), from: None, to: None, compare: None, keep: None };
        let day = Some(std::time::Duration::from_secs(86_400));
        check("REPLAY MATERIALIZED VIEW v", Ok(plain.clone()));
        check("replay materialized view \"v\" with (keep = '1 day')", Ok(Replay { keep: day, ..plain.clone() }));
        let from = Some(Place::Time(1_700_000_000_500));
        let to = Some(Place::Positions("t/0:5,t/1:7".parse().unwrap()));
        check(
            "REPLAY MATERIALIZED VIEW v FROM '2023-11-14 22:13:20.5' TO 't/0:5,t/1:7'",
            Ok(Replay { from, to, ..plain.clone() }),
        );
        check(
            "REPLAY MATERIALIZED VIEW v COMPARE WITH (keep = '1 day')",
            Ok(Replay { compare: Some(Compared::Current), keep: day, ..plain.clone() }),
        );
        check(
            "REPLAY MATERIALIZED VIEW v COMPARE VERSION 3",
            Ok(Replay { compare: Some(Compared::Version(3)), ..plain }),
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        check("REPLAY MATERIALIZED VIEW v FROM 'noon'", Err("\"noon\" is no place in the log"));
        check("REPLAY MATERIALIZED VIEW v FROM ''", Err("\"\" is no place in the log"));
        check("REPLAY MATERIALIZED VIEW v TO '2024-01-01' COMPARE", Err("COMPARE has no FROM and no TO"));
        check(
            "REPLAY MATERIALIZED VIEW v WITH (keep = 'long')",
            Err("\"long\" is not a value for option \"keep\": write a length of time such as '1 day'"),
        );
        check(
            "REPLAY MATERIALIZED VIEW v COMPARE VERSION x",
            Err("syntax error: expected the number of a version, found x"),
        );
        check(
            "REPLAY MATERIALIZED VIEW v TO 't/0:1' FROM 't/0:0'",
            Err("syntax error: expected the end of the statement, found FROM"),
        );
    }
}
