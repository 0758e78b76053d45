//! How much a statement reads once every name that `WITH` gives is replaced by what it stands for.
//!
//! That is what the planner does. A few lines, each of which reads the one before twice, then are a plan that nobody can
//! walk.
//!
//! What it is not: a resolver of names. A name is compared without case and outlives its statement's part, so that too
//! much may be counted, and never too little.

use std::collections::HashMap;

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, Word},
};

use crate::{SqlError, sqlstate};

use super::{character_at, cursor::PlacedToken};

/// Tables and subqueries.
const RELATIONS_MAX: usize = 2_000;

/// Refuses a statement that reads too much.
pub(super) fn check(text: &str, statement: &[PlacedToken]) -> Result<(), SqlError> {
    let mut reading = Reading::default();
    let mut before = None;
    for placed in statement {
        reading.add(before, &placed.token);
        before = Some(&placed.token);
        if reading.level.relations > RELATIONS_MAX {
            let message = format!("the statement reads more than {RELATIONS_MAX} tables and subqueries");
            return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, message)
                .at(character_at(text, placed.start))
                .with_hint("what WITH names counts as often as it is read: read it once, or make it a view"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reading {
    /// What each name reads.
    names: HashMap<String, usize>,
    level: Level,
    outer: Vec<Level>,
    /// The word before the parenthesis that was closed last: `name` in `name (column) AS (...)`.
    closed: Option<String>,
    /// What stands before the last `AS`.
    named: Option<String>,
}

#[derive(Default)]
struct Level {
    in_from: bool,
    relations: usize,
    /// The word before its parenthesis.
    word_before: Option<String>,
    /// The name that `WITH` gives it.
    name: Option<String>,
}

impl Reading {
    fn add(&mut self, before: Option<&Token>, token: &Token) {
        match token {
            Token::Word(word) => self.add_word(before, word),
            Token::LParen => {
                let is_named = matches!(keyword(before), Some(Keyword::AS | Keyword::MATERIALIZED));
                let inner = Level {
                    word_before: word(before),
                    name: if is_named { self.named.take() } else { None },
                    ..Level::default()
                };
                self.outer.push(std::mem::replace(&mut self.level, inner));
            }
            Token::RParen => {
                let Some(outer) = self.outer.pop() else { return };
                let inner = std::mem::replace(&mut self.level, outer);
                self.level.relations = self.level.relations.saturating_add(inner.relations);
                self.closed = inner.word_before;
                if let Some(name) = inner.name {
                    let known = self.names.entry(name).or_default();
                    *known = inner.relations.max(*known);
                }
            }
            _ => {}
        }
    }

    fn add_word(&mut self, before: Option<&Token>, word_here: &Word) {
        use Keyword as K;
        let is_relation = match before {
            Some(Token::Word(before)) => matches!(before.keyword, K::FROM | K::JOIN | K::TABLE),
            Some(Token::Comma) => self.level.in_from,
            Some(Token::LParen) => self.outer.last().is_some_and(|outer| outer.in_from),
            _ => false,
        };
        if is_relation {
            let read = self.names.get(&word_here.value.to_lowercase()).copied().unwrap_or(0);
            self.level.relations = self.level.relations.saturating_add(read).saturating_add(1);
        }
        match word_here.keyword {
            K::SELECT => {
                self.level.relations = self.level.relations.saturating_add(1);
                self.level.in_from = false;
            }
            K::FROM => self.level.in_from = true,
            K::WHERE | K::GROUP | K::HAVING | K::ORDER | K::WINDOW | K::LIMIT => self.level.in_from = false,
            K::AS if matches!(before, Some(Token::RParen)) => self.named = self.closed.take(),
            K::AS => self.named = word(before),
            _ => {}
        }
    }
}

fn keyword(token: Option<&Token>) -> Option<Keyword> {
    match token {
        Some(Token::Word(word)) => Some(word.keyword),
        _ => None,
    }
}

/// A word as it is compared here.
fn word(token: Option<&Token>) -> Option<String> {
    match token {
        Some(Token::Word(word)) => Some(word.value.to_lowercase()),
        _ => None,
    }
}
