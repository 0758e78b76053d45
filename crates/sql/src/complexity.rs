//! How much one statement may ask of those who read it.
//!
//! Parsers, planners and compiled expressions walk statements by recursion, and sqlparser reads what stands in a call
//! or a `CASE` twice, so that calls in calls cost twice as much with every level. This is counted on the tokens, before
//! anything walks them.
//!
//! What it is not: a check of the grammar. What is counted wrongly in a text that is no SQL does not matter.
//!
//! What must hold: every statement comes by here first, whichever door it came through and also when it is read back
//! from where it was stored; a statement that passes can be parsed, planned and dropped on the stacks that it meets.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, Word},
};

use crate::{SqlError, sqlstate};

use super::{character_at, cursor::PlacedToken};

/// How deeply brackets and `CASE` may be nested.
const NESTING_MAX: usize = 50;

/// `AND` and `OR`.
const CONNECTIVES_MAX: usize = 1_000;

/// `=`, `<`, `LIKE` and the like.
const COMPARISONS_MAX: usize = 1_000;

/// All other operators.
const OPERATORS_MAX: usize = 1_000;

/// What is put together to one set of rows: tables, subqueries, the parts of a `UNION`.
const RELATIONS_MAX: usize = 500;

/// What one list may have that is not a list of values: the columns of a result, of a `GROUP BY` or `ORDER BY`, the
/// arguments of a call. Planners look at each of them for each of them. PostgreSQL has this number for results.
const ITEMS_MAX: usize = 1_664;

/// Names of one chain such as `schema.view.column` that are no operators.
const QUALIFIERS_MAX: usize = 4;

/// How often tokens may be read again, all together.
const READ_AGAIN_MAX: usize = 100_000;

/// Refuses a statement that is too deep, too long a chain of operators, or too costly to parse.
pub(super) fn check(text: &str, statement: &[PlacedToken]) -> Result<(), SqlError> {
    let mut counts = Counts::default();
    for placed in statement {
        counts.add(&placed.token);
        if let Some((message, hint)) = counts.excess() {
            return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, message)
                .at(character_at(text, placed.start))
                .with_hint(hint));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    before: Before,
    level: Level,
    /// What the level stands in, the statement itself first.
    outer: Vec<Level>,
    connectives: usize,
    comparisons: usize,
    operators: usize,
    relations: usize,
    /// The longest list.
    items: usize,
    /// Dots in the chain of names that is being read.
    qualifiers: usize,
    /// Readings of tokens beyond the first.
    read_again: usize,
}

/// What stands before a token.
#[derive(Clone, Copy, Default)]
struct Before {
    /// The word before it, where that is one.
    keyword: Option<Keyword>,
    /// The word before that, where both are words.
    keyword_before: Option<Keyword>,
    /// Whether an operand has ended, so that an operator or a clause comes next.
    operand_ended: bool,
    /// The same before the word.
    operand_ended_before: bool,
}

#[derive(Clone, Copy, Default)]
struct Level {
    kind: LevelKind,
    /// Whether a list of tables is being read.
    in_from: bool,
    /// Commas of the list that is being read.
    commas: usize,
    /// Whether that is a list of values, which may be long.
    of_values: bool,
    /// How often the parser reads again what stands here.
    readings_again: usize,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum LevelKind {
    #[default]
    Statement,
    Bracket,
    /// The parameters of a type, in angle brackets.
    Type,
    Case,
    /// `INTERVAL INTERVAL`, which the parser reads as deep as it goes.
    Interval,
}

impl Counts {
    fn add(&mut self, token: &Token) {
        self.read_again = self.read_again.saturating_add(self.level.readings_again);
        self.qualifiers = match token {
            Token::Period => self.qualifiers + 1,
            Token::Word(_) => self.qualifiers,
            _ => 0,
        };
        match token {
            Token::LParen => {
                let of_values = matches!(self.before.keyword, Some(Keyword::IN | Keyword::VALUES));
                self.open(LevelKind::Bracket, self.before.readings_of_parenthesis());
                self.level.of_values = of_values;
            }
            Token::LBracket => {
                self.operators += 1;
                let readings = if self.before.keyword == Some(Keyword::ARRAY) { 2 } else { 1 };
                self.open(LevelKind::Bracket, readings);
                self.level.of_values = true;
            }
            Token::LBrace => self.open(LevelKind::Bracket, 1),
            Token::RParen | Token::RBracket | Token::RBrace => self.close_bracket(),
            Token::Lt if matches!(self.before.keyword, Some(Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP)) => {
                self.open(LevelKind::Type, 1);
            }
            Token::Gt if self.level.kind == LevelKind::Type => self.close(),
            Token::Comma => {
                self.relations += usize::from(self.level.in_from);
                self.level.commas += 1;
                if !self.level.of_values {
                    self.items = self.items.max(self.level.commas + 1);
                }
            }
            Token::Period => self.operators += usize::from(self.qualifiers > QUALIFIERS_MAX),
            Token::Word(word) => self.add_word(word),
            Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => {
                self.comparisons += 1;
            }
            token if is_value(token) => {}
            _ => self.operators += 1,
        }
        self.before = self.before.followed_by(token);
    }

    fn add_word(&mut self, word: &Word) {
        use Keyword as K;
        match word.keyword {
            K::AND | K::OR => self.connectives += 1,
            K::IS
            | K::NOTNULL
            | K::IN
            | K::LIKE
            | K::ILIKE
            | K::SIMILAR
            | K::RLIKE
            | K::REGEXP
            | K::BETWEEN
            | K::OVERLAPS => self.comparisons += 1,
            K::INTERVAL if self.before.keyword == Some(K::INTERVAL) => self.open(LevelKind::Interval, 1),
            K::NOT | K::COLLATE | K::AT | K::INTERVAL | K::XOR | K::DIV | K::PRIOR | K::OPERATOR => self.operators += 1,
            K::UNION | K::INTERSECT | K::EXCEPT | K::JOIN | K::TABLE => {
                self.relations += 1;
                self.begin_list(self.level.in_from);
            }
            K::VALUES => {
                self.relations += 1;
                self.begin_list(self.level.in_from);
                self.level.of_values = true;
            }
            K::SELECT => {
                self.relations += 1;
                self.begin_list(false);
            }
            K::FROM => self.begin_list(true),
            K::WHERE | K::GROUP | K::HAVING | K::ORDER | K::WINDOW | K::LIMIT => self.begin_list(false),
            K::CASE => {
                self.operators += 1;
                self.open(LevelKind::Case, 2);
            }
            // A column may be called `end`.
            K::END if self.level.kind == LevelKind::Case && !self.before.expects_operand() => self.close(),
            _ => {}
        }
    }

    fn begin_list(&mut self, in_from: bool) {
        self.level.in_from = in_from;
        self.level.commas = 0;
        self.level.of_values = false;
    }

    fn open(&mut self, kind: LevelKind, readings: usize) {
        let readings = self.level.readings_again.saturating_add(1).saturating_mul(readings);
        self.outer.push(self.level);
        self.level = Level { kind, readings_again: readings - 1, ..Level::default() };
    }

    fn close(&mut self) {
        self.level = self.outer.pop().unwrap_or_default();
    }

    /// Closes the bracket that was opened last, and with it what was left open within.
    fn close_bracket(&mut self) {
        let mut opened = std::iter::once(&self.level).chain(self.outer.iter().rev());
        if let Some(within) = opened.position(|level| level.kind == LevelKind::Bracket) {
            (0..=within).for_each(|_| self.close());
        }
    }

    /// What there is too much of, and what to do about it.
    fn excess(&self) -> Option<(String, &'static str)> {
        let limits = [
            (self.outer.len(), NESTING_MAX, "levels of brackets and CASE", "take it apart with WITH"),
            (self.connectives, CONNECTIVES_MAX, "times AND or OR", "use IN (...) for a list of values"),
            (self.comparisons, COMPARISONS_MAX, "comparisons", "use IN (...) for a list of values"),
            (self.operators, OPERATORS_MAX, "operators", "use a function such as concat(...) for a long chain"),
            (self.relations, RELATIONS_MAX, "tables and subqueries", "take it apart into several statements"),
            (self.items, ITEMS_MAX, "items in one list", "only IN (...), VALUES and ARRAY[...] may have more"),
        ];
        let over = limits.into_iter().find(|(count, most, ..)| count > most);
        over.map(|(_, most, what, hint)| (format!("the statement has more than {most} {what}"), hint)).or_else(|| {
            let too_deep = self.read_again > READ_AGAIN_MAX;
            too_deep
                .then(|| ("the statement has too much within calls within calls".to_owned(), "take it apart with WITH"))
        })
    }
}

impl Before {
    fn followed_by(self, token: &Token) -> Self {
        use Keyword as K;
        let keyword = match token {
            Token::Word(word) => Some(word.keyword),
            _ => None,
        };
        let operand_ended = match (token, keyword) {
            (_, Some(keyword)) => matches!(keyword, K::NoKeyword | K::END | K::NULL | K::TRUE | K::FALSE),
            (Token::RParen | Token::RBracket | Token::RBrace, _) => true,
            // Where no operand has ended it is not the operator, but stands for all columns.
            (Token::Mul, _) => !self.operand_ended,
            (token, _) => is_value(token),
        };
        Self { keyword, keyword_before: self.keyword, operand_ended, operand_ended_before: self.operand_ended }
    }

    /// How often the parser reads what stands in a parenthesis. This was measured.
    fn readings_of_parenthesis(self) -> usize {
        use Keyword as K;
        match self.keyword {
            None => 1,
            // Calls with a grammar of their own, which are read as plain calls when that fails.
            Some(
                K::CAST
                | K::TRY_CAST
                | K::SAFE_CAST
                | K::CONVERT
                | K::SUBSTRING
                | K::SUBSTR
                | K::CEIL
                | K::FLOOR
                | K::OVERLAY
                | K::POSITION
                | K::INTERVAL
                | K::CURRENT_DATE
                | K::CURRENT_TIME
                | K::CURRENT_TIMESTAMP
                | K::LOCALTIME
                | K::LOCALTIMESTAMP,
            ) => 4,
            Some(K::NOT | K::EXISTS) => 1,
            Some(keyword) if self.operand_ended_before && stands_between_operands(keyword) => 1,
            Some(K::WHEN) if self.keyword_before == Some(K::CASE) => 1,
            // A call. Where an operand is expected, any word can be the name of a function.
            Some(_) => 2,
        }
    }

    /// Whether an operand must follow: then `END` is a name.
    fn expects_operand(self) -> bool {
        use Keyword as K;
        match self.keyword {
            Some(keyword) => {
                let other = matches!(keyword, K::CASE | K::NOT | K::SELECT | K::DISTINCT | K::ALL | K::COLLATE);
                other || stands_between_operands(keyword)
            }
            None => !self.operand_ended,
        }
    }
}

/// Keywords with something to calculate or to read from on both sides.
fn stands_between_operands(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::AND
            | K::OR
            | K::IN
            | K::WHEN
            | K::THEN
            | K::ELSE
            | K::WHERE
            | K::HAVING
            | K::ON
            | K::FROM
            | K::JOIN
            | K::AS
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::BETWEEN
            | K::LIKE
            | K::ILIKE
            | K::BY
            | K::USING
            | K::OVER
            | K::FILTER
    )
}

fn is_value(token: &Token) -> bool {
    use Token as T;
    matches!(
        token,
        T::Word(_)
            | T::Number(..)
            | T::Placeholder(_)
            | T::SingleQuotedString(_)
            | T::DoubleQuotedString(_)
            | T::DollarQuotedString(_)
            | T::NationalStringLiteral(_)
            | T::EscapedStringLiteral(_)
            | T::UnicodeStringLiteral(_)
            | T::HexStringLiteral(_)
            | T::SingleQuotedByteStringLiteral(_)
    )
}
