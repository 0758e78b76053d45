//! At most how much a call makes, and how much it has to do for it, by function.
//!
//! What must hold: an estimate is never too small, and too large by no more than a few bytes a character or an element,
//! where that matters.

use regex::Regex;

use super::{
    VALUE_BYTES_MAX,
    argument::{ELEMENT_BYTES, Row},
};

/// Something about a call, from the arguments in a row.
pub(super) type Estimate = fn(&Row<'_>) -> u64;

/// A function with at most how many bytes it makes and at most how many steps it takes.
pub(super) struct Estimates {
    pub(super) name: &'static str,
    pub(super) bytes: Estimate,
    /// What grows faster than the arguments and the value do together.
    pub(super) work: Estimate,
}

const fn linear(name: &'static str, bytes: Estimate) -> Estimates {
    Estimates { name, bytes, work: |_| 0 }
}

const fn costly(name: &'static str, bytes: Estimate, work: Estimate) -> Estimates {
    Estimates { name, bytes, work }
}

/// The text of a number, a time or a truth value, beyond the bytes that it has in an array.
const WRITTEN_BYTES: u64 = 16;

/// A number, a truth value.
const SMALL: Estimate = |_| 16;

pub(super) const FUNCTIONS: &[Estimates] = &[
    // Texts.
    linear("repeat", |row| row.bytes(0).saturating_mul(row.count(1))),
    linear("lpad", padded),
    linear("rpad", padded),
    linear("replace", replaced),
    linear("concat", all),
    linear("concat_ws", |row| {
        let separators = row.bytes(0).saturating_mul(row.len() as u64);
        (1..row.len()).fold(separators, |sum, index| row.bytes(index).saturating_add(sum))
    }),
    linear("encode", |row| row.bytes(0).saturating_mul(2).saturating_add(4)),
    linear("decode", all),
    linear("translate", |row| if row.text(2).is_none_or(str::is_ascii) { row.bytes(0) } else { 4 * row.bytes(0) }),
    linear("upper", other_case),
    linear("lower", other_case),
    linear("initcap", other_case),
    linear("overlay", all),
    linear("reverse", all),
    linear("left", all),
    linear("right", all),
    linear("substr", all),
    linear("substr_index", all),
    linear("split_part", all),
    linear("find_in_set", SMALL),
    linear("md5", |_| 64),
    linear("sha224", |_| 64),
    linear("sha256", |_| 64),
    linear("sha384", |_| 64),
    linear("sha512", |_| 64),
    linear("digest", |_| 64),
    costly("levenshtein", SMALL, |row| row.bytes(0).saturating_mul(row.bytes(1))),
    costly("strpos", SMALL, |row| row.bytes(0).saturating_mul(row.bytes(1)) / 8),
    costly("btrim", all, trimmed),
    costly("ltrim", all, trimmed),
    costly("rtrim", all, trimmed),
    costly("regexp_replace", matches_replaced, matched),
    costly("regexp_like", SMALL, matched),
    costly("regexp_match", |row| row.bytes(0).saturating_add(ELEMENT_BYTES).saturating_mul(groups(row)), matched),
    costly("regexp_count", SMALL, matched),
    costly("regexp_instr", SMALL, matched),
    // Lists.
    linear("array_to_string", |row| {
        let beside = row.bytes(1).saturating_add(row.bytes(2)).saturating_add(WRITTEN_BYTES);
        row.bytes(0).saturating_add(row.elements_max(0).saturating_mul(beside))
    }),
    linear("string_to_array", parted),
    linear("array_repeat", |row| row.bytes(0).saturating_add(ELEMENT_BYTES).saturating_mul(row.count(1))),
    linear("array_resize", |row| {
        let filled = row.bytes(2).saturating_add(ELEMENT_BYTES).saturating_mul(row.count(1));
        row.bytes(0).saturating_add(filled)
    }),
    linear("array_replace_n", elements_replaced),
    linear("array_replace_all", elements_replaced),
    linear("range", |row| row.steps().saturating_mul(ELEMENT_BYTES)),
    linear("generate_series", |row| row.steps().saturating_mul(ELEMENT_BYTES)),
    linear("make_array", all),
    linear("array_append", all),
    linear("array_prepend", all),
    linear("array_concat", all),
    linear("array_union", all),
    linear("arrays_zip", all),
    linear("flatten", all),
    linear("map", all),
    linear("struct", all),
    linear("named_struct", all),
    costly("array_has_all", SMALL, compared),
    costly("array_has_any", SMALL, compared),
];

/// All arguments, each as one element.
pub(super) fn all(row: &Row<'_>) -> u64 {
    (0..row.len()).fold(0, |sum, index| row.bytes(index).saturating_add(ELEMENT_BYTES).saturating_add(sum))
}

/// Some letters have up to three in the other case.
fn other_case(row: &Row<'_>) -> u64 {
    if row.text(0).is_none_or(str::is_ascii) { row.bytes(0) } else { row.bytes(0).saturating_mul(3) }
}

/// `lpad(text, length, fill)`: so many characters.
fn padded(row: &Row<'_>) -> u64 {
    if row.is_null() {
        return 0;
    }
    let is_ascii = [0, 2].into_iter().all(|index| row.text(index).is_none_or(str::is_ascii));
    row.count(1).saturating_mul(if is_ascii { 1 } else { 4 })
}

/// `replace(text, from, to)`: looked for only where it matters.
fn replaced(row: &Row<'_>) -> u64 {
    let (text, from, to) = (row.bytes(0), row.bytes(1), row.bytes(2));
    let at_most = text.saturating_add((text / from.max(1) + 1).saturating_mul(to));
    match (row.text(0), row.text(1)) {
        (Some(text), Some(from)) if at_most > VALUE_BYTES_MAX => {
            let found = text.matches(from).count() as u64;
            row.bytes(0).saturating_add(found.saturating_mul(to))
        }
        _ => at_most,
    }
}

/// `string_to_array(text, delimiter)`: looked for only where it matters. Without a delimiter each character is a part.
fn parted(row: &Row<'_>) -> u64 {
    let at_most = row.bytes(0).saturating_add((row.bytes(0) + 1).saturating_mul(ELEMENT_BYTES));
    match (row.text(0), row.text(1)) {
        (Some(text), Some(delimiter)) if at_most > VALUE_BYTES_MAX && !delimiter.is_empty() => {
            let parts = text.matches(delimiter).count() as u64 + 1;
            row.bytes(0).saturating_add(parts.saturating_mul(ELEMENT_BYTES))
        }
        _ => at_most,
    }
}

/// `regexp_replace(text, pattern, to, flags)`: matches are counted only where it matters.
fn matches_replaced(row: &Row<'_>) -> u64 {
    let (text, to) = (row.bytes(0), row.bytes(2));
    // A reference gives a part of the match; matches do not overlap, so each gives the text once at most.
    let references = row.text(2).map_or(0, |to| to.matches(['\\', '$']).count() as u64);
    let kept = text.saturating_add(text.saturating_mul(references));
    let flags = row.text(3).unwrap_or_default();
    if !flags.contains('g') {
        return kept.saturating_add(to);
    }
    let at_most = kept.saturating_add((text + 1).saturating_mul(to));
    let (Some(text), Some(pattern), true) = (row.text(0), row.text(1), at_most > VALUE_BYTES_MAX) else {
        return at_most;
    };
    // What is too much to be looked for is refused without a look.
    if matched(row) > super::VALUE_WORK_MAX {
        return at_most;
    }
    let flags = flags.replace('g', "");
    let pattern = if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") };
    // A pattern that cannot be read is refused by the function itself.
    let found = Regex::new(&pattern).map_or(0, |pattern| pattern.find_iter(text).count() as u64);
    kept.saturating_add(found.saturating_mul(to))
}

/// `array_replace_all(array, from, to)`.
fn elements_replaced(row: &Row<'_>) -> u64 {
    let replacement = row.bytes(2).saturating_add(ELEMENT_BYTES);
    row.bytes(0).saturating_add(row.elements_max(0).saturating_mul(replacement))
}

/// `btrim(text, characters)`: each character of the text is looked for among those.
fn trimmed(row: &Row<'_>) -> u64 {
    row.bytes(0).saturating_mul(row.bytes(1)) / 8
}

/// `array_has_all(one, other)`: each element is looked for among the others.
fn compared(row: &Row<'_>) -> u64 {
    row.elements_max(0).saturating_mul(row.elements_max(1))
}

/// `regexp_match(text, pattern)`: a part of the text for each group.
fn groups(row: &Row<'_>) -> u64 {
    row.text(1).map_or(1, |pattern| pattern.matches('(').count() as u64 + 1)
}

/// A regular expression is in several of its states at once, in the worst case in all of them; eight take as long as
/// one step of the other functions. To make it takes time too.
fn matched(row: &Row<'_>) -> u64 {
    let states = row.text(1).map_or(0, states_max);
    row.bytes(0).saturating_mul(states) / 8 + states.saturating_mul(64)
}

/// About how many states a pattern has: each character one, a class a few, and what is counted as often as it is
/// counted. A pattern that is none may have any.
fn states_max(pattern: &str) -> u64 {
    const CLASS: u64 = 4;
    // What stands in each open group, and the part that was read last: a count belongs to it.
    let (mut open, mut sum, mut last): (Vec<u64>, u64, u64) = (Vec::new(), 1, 0);
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                let class = rest.next().is_some_and(char::is_alphabetic);
                (sum, last) = (sum.saturating_add(last), if class { CLASS } else { 1 });
            }
            '[' => {
                let mut first = true;
                while let Some(inner) = rest.next() {
                    if inner == ']' && !first {
                        break;
                    }
                    first = first && inner == '^';
                    if inner == '\\' {
                        rest.next();
                    }
                }
                (sum, last) = (sum.saturating_add(last), CLASS);
            }
            '(' => {
                open.push(sum.saturating_add(last));
                (sum, last) = (1, 0);
            }
            ')' => {
                let inner = sum.saturating_add(last);
                (sum, last) = (open.pop().unwrap_or(1), inner);
            }
            '{' => {
                let counts: String = std::iter::from_fn(|| rest.next_if(|c| *c != '}')).collect();
                let count = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max().unwrap_or(1);
                last = last.saturating_mul(count.max(1));
            }
            _ => (sum, last) = (sum.saturating_add(last), 1),
        }
    }
    open.iter().fold(sum.saturating_add(last), |sum, outer| sum.saturating_add(*outer))
}
