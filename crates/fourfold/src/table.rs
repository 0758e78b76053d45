//! Rows laid out under their column names, for people.
//!
//! What must hold: a row is one line, whatever its cells hold.

use serde_json::Value;

/// Lays rows out as a table under their column names.
pub(crate) fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.chain(columns.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [line(columns), line(&rule)].into_iter().chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// A JSON value as it should stand in a table's cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The beginning of a long text, on one line.
pub(crate) fn shortened(text: &str, characters_max: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(characters_max) {
        None => words,
        Some(_) => words.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

// Line breaks and the like are written as escapes.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    //! Layout, on hand-made rows.

    use super::{count, shortened, table};

    #[test]
    fn a_row_is_one_line_whatever_its_cells_hold() {
        let columns = ["name", "note"].map(str::to_owned);
        let rows = [["a", "two\nlines"], ["bcdef", "\u{1b}[31mred"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table(&columns, &rows),
            "name   note\n-----  -------------\na      two\\nlines\nbcdef  \\u{1b}[31mred"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_a_short_one_is_not() {
        for (text, expected) in [("a  b\n c", "a b c"), ("123456789", "123456789"), ("1234 67890", "1234 678…")] {
            assert_eq!(shortened(text, 9), expected);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            (count(0, "row"), count(1, "row"), count(2, "row")),
            ("0 rows".into(), "1 row".into(), "2 rows".into())
        );
    }
}
