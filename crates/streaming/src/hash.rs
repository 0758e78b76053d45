//! A hash of what a view computes, or of what a source decodes.
//!
//! FNV-1a with 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), because it is the same in every build and on
//! every machine; it guards against forgetting to rebuild, not against an attacker.

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// The hash of some texts in order, as 32 hexadecimal digits.
pub(crate) fn hash(parts: &[&str]) -> String {
    let mut hash = OFFSET_BASIS;
    // The separator keeps ["ab", "c"] and ["a", "bc"] apart: it is no part of a text of UTF-8.
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0xff])) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }
    format!("{hash:032x}")
}
