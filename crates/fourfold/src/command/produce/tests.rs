//! Tests of lines and of what becomes of them.

use tokio::io::BufReader;

use super::lines::Lines;
use super::{Form, record};

const LINE_BYTES_MAX: usize = 8;

async fn read(input: &[u8]) -> Vec<(u64, usize, Option<Vec<u8>>)> {
    // A buffer that is smaller than a line, so that lines come in pieces.
    let mut lines = Lines::new(BufReader::with_capacity(3, input), LINE_BYTES_MAX);
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        read.push((line.number, line.bytes, line.content));
    }
    read
}

#[tokio::test]
async fn a_line_is_its_bytes() {
    let line = |number, bytes: &[u8]| (number, bytes.len(), Some(bytes.to_vec()));
    for (input, expected) in [
        (&b""[..], vec![]),
        (b"a\nbc\n", vec![line(1, b"a"), line(2, b"bc")]),
        (b"a\nbc", vec![line(1, b"a"), line(2, b"bc")]),
        (b"\n\n", vec![line(1, b""), line(2, b"")]),
        (b"crlf\r\n", vec![line(1, b"crlf\r")]),
        (b"\xff\xfe\n\x00\n", vec![line(1, b"\xff\xfe"), line(2, b"\x00")]),
        (b"12345678\n123456789\nz\n", vec![line(1, b"12345678"), (2, 9, None), line(3, b"z")]),
        (b"123456789", vec![(1, 9, None)]),
    ] {
        assert_eq!(read(input).await, expected, "{input:?}");
    }
}

#[test]
fn a_separator_divides_key_and_value() {
    for (line, separator, key, value) in [
        (&b"k:v:w"[..], Some(":"), Some(&b"k"[..]), &b"v:w"[..]),
        (b"k:v", None, None, b"k:v"),
        (b"kv", Some(":"), None, b"kv"),
        (b"\xff--\xfe", Some("--"), Some(b"\xff"), b"\xfe"),
        (b":v", Some(":"), Some(b""), b"v"),
        (b"", Some(":"), None, b""),
    ] {
        let record = record(line, &Form { key_separator: separator, null_empty: false });
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (key, Some(value)), "{line:?}");
    }
}

#[test]
fn an_empty_value_can_be_none() {
    let form = |null_empty| Form { key_separator: Some(":"), null_empty };
    assert_eq!(record(b"k:", &form(true)).value, None);
    assert_eq!(record(b"k:", &form(false)).value.as_deref(), Some(&b""[..]));
    assert_eq!(record(b"k:v", &form(true)).value.as_deref(), Some(&b"v"[..]));
}
