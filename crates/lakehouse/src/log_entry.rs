//! The checksum of an entry of a Delta log: CRC-32C over all of its bytes, in the `commitInfo` that it begins with.
//!
//! Delta leaves `commitInfo` to whoever writes, and does not order the lines of an entry: other readers pass the checksum
//! over. As a part of the entry it is written with it, or not at all.
//!
//! What must hold: an entry of which any bit has turned over, or which was cut off, is not taken for whole, nor for one
//! that never had a checksum.

const OPENING: &[u8] = br#"{"commitInfo":{"#;
const PREFIX: &[u8] = br#"{"commitInfo":{"fourfold.entryCrc32c":""#;
const DIGITS: usize = 8;
// What stands for the digits while the sum is taken.
const BLANK: &[u8] = b"00000000";
// A beginning with so many other bytes is a damaged one. The members that writers begin `commitInfo` with are farther away.
const DAMAGED_BYTES_MAX: usize = 8;

/// The entry with its checksum; as it is when it has no `commitInfo`.
pub(crate) fn with_checksum(entry: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = entry.split(|byte| *byte == b'\n').collect();
    let Some(at) = lines.iter().position(|line| line.starts_with(OPENING)) else { return entry.to_vec() };
    let info = &lines.remove(at)[OPENING.len()..];
    let separator: &[u8] = if info.starts_with(b"}") { b"\"" } else { b"\"," };
    let mut whole = [PREFIX, BLANK, separator, info].concat();
    for line in lines {
        whole.push(b'\n');
        whole.extend_from_slice(line);
    }
    let digits = format!("{:08x}", crc32c::crc32c(&whole));
    whole[PREFIX.len()..][..DIGITS].copy_from_slice(digits.as_bytes());
    whole
}

/// Whether an entry is as it was written; one that has no checksum is said to be.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(entry: &[u8]) -> Result<(), String> {
    let Some(rest) = entry.strip_prefix(PREFIX) else { return check_beginning(entry) };
    let (stated, rest) = rest.split_at_checked(DIGITS).ok_or("it ends within its checksum")?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(PREFIX), BLANK);
    let found = format!("{:08x}", crc32c::crc32c_append(sum, rest));
    match found.as_bytes() == stated {
        true => Ok(()),
        false => Err(format!("its checksum is {found} instead of {}", stated.escape_ascii())),
    }
}

// Of an entry that does not begin with a checksum.
fn check_beginning(entry: &[u8]) -> Result<(), String> {
    if PREFIX.starts_with(entry) {
        return Err(format!("it ends after {} bytes", entry.len()));
    }
    let differing = entry.iter().zip(PREFIX).filter(|(found, expected)| found != expected).count();
    if entry.len() >= PREFIX.len() && differing <= DAMAGED_BYTES_MAX {
        return Err("the beginning with its checksum cannot be read".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Entries with each of their bits turned over, cut off anywhere, and those of others.

    use super::{check, with_checksum};

    const ENTRY: &str = concat!(
        r#"{"txn":{"appId":"flights/0","version":17}}"#,
        "\n",
        r#"{"commitInfo":{"timestamp":1750000000000,"note":"{\"commitInfo\":{\"fourfold.entryCrc32c\":\""}}"#,
        "\n",
        r#"{"add":{"path":"a.parquet","tags":{"fourfold.crc32c":"9/1048576:e3069283"}}}"#,
    );

    #[test]
    fn what_is_not_as_it_was_written_is_found() {
        for entry in [ENTRY, r#"{"commitInfo":{}}"#] {
            let whole = with_checksum(entry.as_bytes());
            check(&whole).unwrap();
            let lines = std::str::from_utf8(&whole).unwrap().lines().map(serde_json::from_str::<serde_json::Value>);
            let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
            assert_eq!(lines.len(), entry.lines().count());
            assert_eq!(lines[0]["commitInfo"]["fourfold.entryCrc32c"].as_str().unwrap().len(), 8);
            for bit in 0..whole.len() * 8 {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(check(&damaged).is_err(), "bit {bit}");
            }
            for length in 0..whole.len() {
                assert!(check(&whole[..length]).is_err(), "cut off after {length} bytes");
            }
        }
    }

    #[test]
    fn entries_without_a_checksum_pass() {
        let other = r#"{"protocol":{"minReaderVersion":1}}"#;
        for entry in [ENTRY, other, r#"{"commitInfo":{"timestamp":1750000000000}}"#, r#"{"commitInfo":{}}"#] {
            check(entry.as_bytes()).unwrap();
        }
        assert_eq!(with_checksum(other.as_bytes()), other.as_bytes());
    }
}
