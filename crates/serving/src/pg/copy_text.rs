//! Rows as `COPY TO STDOUT` sends them: as text, or in the frame of its binary form.
//!
//! The values come in PostgreSQL's text form, as a data row: a length of four bytes (-1 for NULL) and as many bytes, a
//! value each.

use crate::sql::{CopyFormat, CopyOptions};

/// How the binary form begins: a signature, no flags, nothing more.
pub(super) const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// How it ends: a row of -1 values.
pub(super) const BINARY_END: &[u8] = &[0xff, 0xff];

/// Appends one row of the binary form: how many values, and the data row.
pub(super) fn append_binary_row(text: &mut Vec<u8>, row: &[u8], columns: i16) {
    text.extend_from_slice(&columns.to_be_bytes());
    text.extend_from_slice(row);
}

/// Appends one row and a line break; `false` when `row` is not a data row.
pub(super) fn append_row(line: &mut Vec<u8>, mut row: &[u8], options: &CopyOptions) -> bool {
    let mut first = true;
    while !row.is_empty() {
        let Some((length, rest)) = row.split_first_chunk::<4>() else { return false };
        if !std::mem::take(&mut first) {
            line.push(delimiter(options));
        }
        row = match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                let Some((value, rest)) = rest.split_at_checked(length) else { return false };
                append_value(line, value, options);
                rest
            }
            Err(_) => {
                line.extend_from_slice(options.null.as_bytes());
                rest
            }
        };
    }
    line.push(b'\n');
    true
}

/// Appends the names of the columns and a line break.
pub(super) fn append_header<'a>(line: &mut Vec<u8>, names: impl Iterator<Item = &'a str>, options: &CopyOptions) {
    for (index, name) in names.enumerate() {
        if index > 0 {
            line.push(delimiter(options));
        }
        append_value(line, name.as_bytes(), options);
    }
    line.push(b'\n');
}

fn append_value(line: &mut Vec<u8>, value: &[u8], options: &CopyOptions) {
    match options.format {
        CopyFormat::Text | CopyFormat::Binary => append_escaped(line, value, delimiter(options)),
        CopyFormat::Csv => append_quoted(line, value, options),
    }
}

fn append_escaped(line: &mut Vec<u8>, value: &[u8], delimiter: u8) {
    for byte in value {
        let escape = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            own if *own == delimiter => delimiter,
            own => {
                line.push(*own);
                continue;
            }
        };
        line.extend_from_slice(&[b'\\', escape]);
    }
}

/// A value is quoted where it would be read as something else: also where it is written as NULL is, or is `\.`, which
/// ends the data.
fn append_quoted(line: &mut Vec<u8>, value: &[u8], options: &CopyOptions) {
    let quote = u8::try_from(options.quote).unwrap_or(b'"');
    let special = |byte: &u8| [b'\n', b'\r', quote, delimiter(options)].contains(byte);
    if !value.iter().any(special) && value != options.null.as_bytes() && value != b"\\." {
        line.extend_from_slice(value);
        return;
    }
    line.push(quote);
    for byte in value {
        if *byte == quote {
            line.push(quote);
        }
        line.push(*byte);
    }
    line.push(quote);
}

fn delimiter(options: &CopyOptions) -> u8 {
    u8::try_from(options.delimiter).unwrap_or(b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_they_are_read_back() {
        let text =
            CopyOptions { format: CopyFormat::Text, delimiter: '\t', null: "\\N".into(), quote: '"', header: false };
        let csv =
            CopyOptions { format: CopyFormat::Csv, delimiter: ',', null: String::new(), quote: '"', header: false };
        let cases: [(&[Option<&str>], &str, &str); 4] = [
            (&[Some("a"), None, Some("")], "a\t\\N\t\n", "a,,\"\"\n"),
            (&[Some("a\tb\\c\nd")], "a\\tb\\\\c\\nd\n", "\"a\tb\\c\nd\"\n"),
            (&[Some("a,b"), Some("say \"so\"")], "a,b\tsay \"so\"\n", "\"a,b\",\"say \"\"so\"\"\"\n"),
            (&[Some("\\."), Some("ü")], "\\\\.\tü\n", "\"\\.\",ü\n"),
        ];
        for (values, as_text, as_csv) in cases {
            let mut row = Vec::new();
            for value in values {
                let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
                row.extend_from_slice(&length.to_be_bytes());
                row.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
            for (options, expected) in [(&text, as_text), (&csv, as_csv)] {
                let mut line = Vec::new();
                assert!(append_row(&mut line, &row, options));
                assert_eq!(String::from_utf8(line).unwrap(), expected);
            }
            let mut line = Vec::new();
            assert!(!append_row(&mut line, &row[..row.len() - 1], &text), "a row that ends early is refused");
        }
    }
}
