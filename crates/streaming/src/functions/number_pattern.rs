//! PostgreSQL's patterns for numbers, as `to_char` has them.
//!
//! What must hold: what a pattern asks for and is not built is refused by name; a number that does not fit the pattern
//! is shown as `###` and never as another one.

use sql::{SqlError, sqlstate};

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// `9`; `0`, which is written also where the number has no digit.
    Digit {
        always: bool,
    },
    Point,
    /// `,`: written only between digits.
    Group,
    /// `MI`, `PL`, `SG`: the sign in this place.
    Minus,
    Plus,
    Sign,
    Literal(String),
}

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct NumberPattern {
    parts: Vec<Part>,
    /// `FM`: without blanks before it and zeros after it.
    bare: bool,
    /// `PR`: negative numbers in angle brackets.
    brackets: bool,
    /// `S`, before or after the number.
    sign_before: bool,
    sign_after: bool,
    /// Digits before the point, and after it.
    whole_digits: usize,
    fraction_digits: usize,
    /// The places of the first `0` before the point and of the last one, counted from 0 among all digits.
    first_zero: Option<usize>,
    last_zero: Option<usize>,
}

impl NumberPattern {
    pub(super) fn new(text: &str) -> Result<Self, SqlError> {
        let mut pattern = Self::default();
        let (mut rest, mut pointed) = (text, false);
        while let Some(first) = rest.chars().next() {
            let two = rest.get(..2).map(str::to_uppercase).unwrap_or_default();
            let mut length = first.len_utf8();
            let unbuilt = ["RN", "EE", "TH"].contains(&two.as_str()) || matches!(first, 'V' | 'v' | 'L' | 'l');
            if unbuilt {
                let what = if "VvLl".contains(first) { first.to_uppercase().to_string() } else { two };
                return Err(SqlError::unsupported(format!("{what} in the pattern {text:?}")));
            }
            match (two.as_str(), first) {
                ("FM", _) => (pattern.bare, length) = (true, 2),
                ("PR", _) => (pattern.brackets, length) = (true, 2),
                ("MI", _) => (length, ()) = (2, pattern.parts.push(Part::Minus)),
                ("PL", _) => (length, ()) = (2, pattern.parts.push(Part::Plus)),
                ("SG", _) => (length, ()) = (2, pattern.parts.push(Part::Sign)),
                (_, '9' | '0') => pattern.digit(first == '0', pointed),
                (_, '.' | 'D' | 'd') if pointed => return Err(wrong(text, "it has several points")),
                (_, '.' | 'D' | 'd') => {
                    pointed = true;
                    pattern.parts.push(Part::Point);
                }
                (_, ',' | 'G' | 'g') => pattern.parts.push(Part::Group),
                (_, 'S' | 's') if pattern.sign_before || pattern.sign_after => {
                    return Err(wrong(text, "it has several signs"));
                }
                (_, 'S' | 's') if pattern.whole_digits + pattern.fraction_digits == 0 => pattern.sign_before = true,
                (_, 'S' | 's') => pattern.sign_after = true,
                (_, '"') => {
                    let inner = &rest[1..];
                    let end = inner.find('"').unwrap_or(inner.len());
                    pattern.parts.push(Part::Literal(inner[..end].to_owned()));
                    length = (end + 2).min(rest.len());
                }
                _ => pattern.parts.push(Part::Literal(first.to_string())),
            }
            rest = &rest[length..];
        }
        let own_sign = pattern.parts.iter().any(|part| matches!(part, Part::Minus | Part::Plus | Part::Sign));
        if (pattern.sign_before || pattern.sign_after) && (own_sign || pattern.brackets) || pattern.brackets && own_sign
        {
            return Err(wrong(text, "it has several signs"));
        }
        Ok(pattern)
    }

    fn digit(&mut self, always: bool, pointed: bool) {
        let place = self.whole_digits + self.fraction_digits;
        if always {
            if !pointed {
                self.first_zero.get_or_insert(place);
            }
            self.last_zero = Some(place);
        }
        *(if pointed { &mut self.fraction_digits } else { &mut self.whole_digits }) += 1;
        self.parts.push(Part::Digit { always });
    }

    /// How many digits after the point a number is to be rounded to.
    pub(super) fn fraction_digits(&self) -> usize {
        self.fraction_digits
    }

    /// A number in the pattern: its digits before the point without zeros before them, and as many after it as
    /// [`fraction_digits`](Self::fraction_digits) says.
    pub(super) fn format(&self, negative: bool, whole: &str, fraction: &str) -> String {
        let whole = if whole.is_empty() { "0" } else { whole };
        // What rounds to nothing has no sign.
        let negative = negative && (whole != "0" || fraction.bytes().any(|digit| digit != b'0'));
        if whole.len() > self.whole_digits {
            let (whole, fraction) = ("#".repeat(self.whole_digits), "#".repeat(self.fraction_digits));
            return self.written(negative, &whole, &fraction, true);
        }
        self.written(negative, whole, fraction, false)
    }

    fn written(&self, negative: bool, whole: &str, fraction: &str, overflowed: bool) -> String {
        let mut text = String::new();
        let blanks = self.whole_digits - whole.len();
        let has_zero = self.first_zero.is_some();
        // Where a 0 stands before the point alone, it is left out unless the pattern has zeros.
        let hidden_zero = !has_zero && whole == "0" && self.fraction_digits > 0;
        let kept_fraction = self.kept_fraction(fraction, overflowed);
        let mut sign = self.implied_sign(negative);
        let (mut place, mut begun) = (0, false);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Minus if negative => text.push('-'),
                Part::Plus if !negative => text.push('+'),
                Part::Sign => text.push(if negative { '-' } else { '+' }),
                Part::Minus | Part::Plus => self.blank(&mut text),
                Part::Group if begun => text.push(','),
                Part::Group => self.blank(&mut text),
                Part::Point => {
                    text.extend(sign.take());
                    text.push('.');
                    begun = true;
                }
                Part::Digit { .. } => {
                    let forced = self.first_zero.is_some_and(|first| first <= place);
                    let is_whole = place < self.whole_digits;
                    let at_number = place >= blanks || forced;
                    if is_whole && at_number && !hidden_zero {
                        text.extend(sign.take());
                    }
                    if is_whole && place < blanks {
                        if forced {
                            text.push('0');
                            begun = true;
                        } else {
                            self.blank(&mut text);
                        }
                    } else if is_whole && hidden_zero {
                        if self.bare && kept_fraction == 0 {
                            text.extend(sign.take());
                            text.push('0');
                        } else {
                            self.blank(&mut text);
                        }
                    } else if is_whole {
                        text.push_str(&whole[place - blanks..=place - blanks]);
                        begun = true;
                    } else {
                        text.extend(sign.take());
                        let at = place - self.whole_digits;
                        if at < kept_fraction {
                            text.push_str(&fraction[at..=at]);
                        }
                    }
                    place += 1;
                    if place == self.whole_digits + self.fraction_digits {
                        self.close(&mut text, negative);
                    }
                }
            }
        }
        text
    }

    /// The sign that is written before the first digit, where the pattern has none of its own.
    fn implied_sign(&self, negative: bool) -> Option<char> {
        let has = |part: &Part| self.parts.contains(part);
        if self.sign_before {
            return Some(if negative { '-' } else { '+' });
        }
        if self.sign_after || has(&Part::Minus) || has(&Part::Sign) {
            return None;
        }
        match (negative, self.brackets) {
            (true, true) => Some('<'),
            (true, false) => Some('-'),
            (false, _) => (!self.bare).then_some(' '),
        }
    }

    fn close(&self, text: &mut String, negative: bool) {
        match (self.brackets, self.sign_after, negative) {
            (true, _, true) => text.push('>'),
            (true, _, false) => self.blank(text),
            (_, true, true) => text.push('-'),
            (_, true, false) => text.push('+'),
            _ => {}
        }
    }

    fn blank(&self, text: &mut String) {
        if !self.bare {
            text.push(' ');
        }
    }

    /// How many digits after the point are written.
    fn kept_fraction(&self, fraction: &str, overflowed: bool) -> usize {
        if !self.bare || overflowed {
            return fraction.len();
        }
        let significant = fraction.trim_end_matches('0').len();
        let asked = self.last_zero.map_or(0, |last| (last + 1).saturating_sub(self.whole_digits));
        significant.max(asked).min(fraction.len())
    }
}

fn wrong(text: &str, why: &str) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, format!("the pattern {text:?} is no pattern of a number: {why}"))
}

#[cfg(test)]
mod tests;
