//! An exact sum of floating-point numbers.
//!
//! Adding doubles rounds, so the sum depends on the order; a view would then depend on how its input was batched. Here
//! the sum is kept as one long integer in units of 2^-1074 (the smallest double), in digits of 32 bits that carry late:
//! a digit is held in 64 bits, so 2^30 numbers can be added before a carry has to be passed on. The sum is rounded
//! once, when it is read. (After Radford Neal, <https://arxiv.org/abs/1505.05571>.)
//!
//! Most sums need few neighbouring digits: those are kept in a small window, and only a sum of very different
//! magnitudes takes the whole range.
//!
//! What must hold: equal multisets of numbers give equal bytes, whatever their order, batches and merges, and taking a
//! number back is the exact inverse of adding it; infinities and NaN are counted, so they too can be taken back.

use num_bigint::{BigInt, BigUint, Sign};

/// The exponent of the unit: that of the smallest double.
pub(crate) const UNIT_EXPONENT: i64 = -1074;

const DIGIT_BITS: u32 = 32;
const DIGIT_MASK: u64 = 0xffff_ffff;
/// 2^-1074 to 2^1024, and room for 2^63 numbers of that size.
const DIGITS: usize = 70;
const WINDOW_DIGITS: usize = 5;
/// Adding a number changes at most this many digits.
const SPAN: usize = 3;
const ADDITIONS_MAX: u32 = 1 << 30;
/// A window's top digit takes the carries; beyond this it has to be spread out.
const TOP_DIGIT_MAX: i64 = 1 << 61;
const FORMAT_VERSION: u8 = 1;
const NEGATIVE: u8 = 1;
const SPECIAL: u8 = 2;

/// An exact sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExactSum {
    window: [i64; WINDOW_DIGITS],
    /// The digit that the window begins at; meaningless before the first number.
    first: u16,
    used: bool,
    /// Additions since the last carry.
    additions: u32,
    rest: Option<Box<Rest>>,
}

/// What few sums need.
#[derive(Clone, Debug)]
struct Rest {
    digits: [i64; DIGITS],
    special: Special,
}

/// How many of each there are, less those taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Special {
    nan: i64,
    infinity: i64,
    negative_infinity: i64,
}

impl ExactSum {
    /// Adds `value` `weight` times.
    pub(crate) fn add(&mut self, value: f64, weight: i64) {
        if !value.is_finite() {
            let special = &mut self.rest().special;
            let count = if value.is_nan() {
                &mut special.nan
            } else if value > 0.0 {
                &mut special.infinity
            } else {
                &mut special.negative_infinity
            };
            *count = count.wrapping_add(weight);
            return;
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as u32;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, position) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let negative = value.is_sign_negative() != (weight < 0);
        match weight.unsigned_abs() {
            _ if mantissa == 0 => {}
            0 => {}
            1 => self.add_at(mantissa, position, negative),
            times => {
                let product = u128::from(mantissa) * u128::from(times);
                self.add_at(product as u64, position, negative);
                self.add_at((product >> 64) as u64, position + 64, negative);
            }
        }
    }

    /// Adds everything that `other` has.
    pub(crate) fn merge(&mut self, other: &ExactSum) {
        let (mut digits, special) = (other.digits(), other.special());
        carry(&mut digits);
        if digits.iter().any(|digit| *digit != 0) {
            self.spread();
            let mine = &mut self.rest().digits;
            for (mine, theirs) in mine.iter_mut().zip(digits) {
                *mine += theirs;
            }
            self.additions += 1;
            self.carry();
            self.gather();
        }
        if special != Special::default() {
            let mine = &mut self.rest().special;
            mine.nan = mine.nan.wrapping_add(special.nan);
            mine.infinity = mine.infinity.wrapping_add(special.infinity);
            mine.negative_infinity = mine.negative_infinity.wrapping_add(special.negative_infinity);
        }
    }

    /// The sum, rounded to the nearest double, ties to even.
    pub(crate) fn value(&self) -> f64 {
        let special = self.special();
        match (special.nan > 0, special.infinity > 0, special.negative_infinity > 0) {
            (true, _, _) | (_, true, true) => return f64::NAN,
            (_, true, _) => return f64::INFINITY,
            (_, _, true) => return f64::NEG_INFINITY,
            _ => {}
        }
        self.with_magnitude(|negative, first, digits| {
            let rounded = round(first, digits);
            if negative { -rounded } else { rounded }
        })
    }

    /// The sum in units of 2^-1074; `None` where a number that is not finite is in it.
    pub(crate) fn to_integer(&self) -> Option<BigInt> {
        if self.special() != Special::default() {
            return None;
        }
        Some(self.with_magnitude(|negative, first, digits| {
            let digits = digits.iter().map(|digit| *digit as u32).collect();
            let sign = if negative { Sign::Minus } else { Sign::Plus };
            BigInt::from_biguint(sign, BigUint::new(digits) << (first * DIGIT_BITS as usize))
        }))
    }

    /// The sum as bytes: equal sums are equal bytes. Version (1 byte), flags (1: negative, 2: special numbers), the
    /// number of the first digit that is not 0 (2 bytes), then with flag 2 the counts of NaN, infinity and negative
    /// infinity (8 bytes each), then the digits from there to the last that is not 0 (4 bytes each); all little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let special = self.special();
        let has_special = special != Special::default();
        self.with_magnitude(|negative, first, digits| {
            let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
            let end = digits.iter().rposition(|digit| *digit != 0).map_or(start, |last| last + 1);
            let first = if start == end { 0 } else { first + start };
            let flags = if negative { NEGATIVE } else { 0 } | if has_special { SPECIAL } else { 0 };
            let mut bytes = vec![FORMAT_VERSION, flags];
            bytes.extend((first as u16).to_le_bytes());
            if has_special {
                for count in [special.nan, special.infinity, special.negative_infinity] {
                    bytes.extend(count.to_le_bytes());
                }
            }
            bytes.extend(digits[start..end].iter().flat_map(|digit| (*digit as u32).to_le_bytes()));
            bytes
        })
    }

    /// Reads [`to_bytes`](Self::to_bytes).
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (header, mut rest) = bytes.split_first_chunk::<4>().ok_or("an exact sum has at least 4 bytes")?;
        let [version, flags, first @ ..] = *header;
        if version != FORMAT_VERSION || flags & !(NEGATIVE | SPECIAL) != 0 {
            return Err(format!("version {version} with flags {flags} of an exact sum is not known"));
        }
        let mut sum = Self::default();
        if flags & SPECIAL != 0 {
            let mut counts = [0_i64; 3];
            for count in &mut counts {
                let (bytes, after) = rest.split_first_chunk::<8>().ok_or("an exact sum ends too early")?;
                (*count, rest) = (i64::from_le_bytes(*bytes), after);
            }
            let [nan, infinity, negative_infinity] = counts;
            sum.rest().special = Special { nan, infinity, negative_infinity };
        }
        let (digits, remainder) = rest.as_chunks::<4>();
        let first = usize::from(u16::from_le_bytes(first));
        if !remainder.is_empty() || first + digits.len() > DIGITS {
            return Err(format!("{} bytes cannot be the digits of an exact sum", rest.len()));
        }
        let targets = sum.rest().digits[first..].iter_mut();
        for (target, digit) in targets.zip(digits) {
            let digit = i64::from(u32::from_le_bytes(*digit));
            *target = if flags & NEGATIVE != 0 { -digit } else { digit };
        }
        sum.gather();
        Ok(sum)
    }

    /// Memory beside the struct itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.rest.is_some() { size_of::<Rest>() } else { 0 }
    }

    /// Adds `mantissa * 2^position` in units of 2^-1074.
    #[inline]
    fn add_at(&mut self, mantissa: u64, position: u32, negative: bool) {
        let digit = (position / DIGIT_BITS) as usize;
        let shifted = u128::from(mantissa) << (position % DIGIT_BITS);
        let parts = [
            (shifted as u64 & DIGIT_MASK) as i64,
            ((shifted >> 32) as u64 & DIGIT_MASK) as i64,
            ((shifted >> 64) as u64 & DIGIT_MASK) as i64,
        ];
        if !self.used {
            // One digit of room on each side.
            self.first = digit.saturating_sub(1).min(DIGITS - WINDOW_DIGITS) as u16;
            self.used = true;
        }
        let first = usize::from(self.first);
        let target = if digit >= first && digit + SPAN <= first + WINDOW_DIGITS {
            &mut self.window[digit - first..]
        } else {
            &mut self.rest().digits[digit.min(DIGITS - 1)..]
        };
        for (target, part) in target.iter_mut().zip(parts) {
            *target += if negative { -part } else { part };
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_MAX {
            self.carry();
        }
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_with(|| Box::new(Rest { digits: [0; DIGITS], special: Special::default() }))
    }

    /// Passes carries on, so that additions can go on.
    fn carry(&mut self) {
        carry(&mut self.window);
        if self.window[WINDOW_DIGITS - 1].abs() > TOP_DIGIT_MAX {
            self.spread();
        }
        if let Some(rest) = &mut self.rest {
            carry(&mut rest.digits);
        }
        self.additions = 0;
    }

    /// Moves the window's digits to the whole range.
    fn spread(&mut self) {
        if self.used {
            let first = usize::from(self.first);
            let window = std::mem::take(&mut self.window);
            for (target, digit) in self.rest().digits[first..].iter_mut().zip(window) {
                *target += digit;
            }
        }
    }

    /// Moves the whole range back to a window where that is possible: a merged sum is mostly a small one.
    fn gather(&mut self) {
        let Some(rest) = &self.rest else { return };
        if self.window != [0; WINDOW_DIGITS] || rest.special != Special::default() {
            return;
        }
        let first = rest.digits.iter().position(|digit| *digit != 0).unwrap_or(0);
        let last = rest.digits.iter().rposition(|digit| *digit != 0).unwrap_or(0);
        if last - first < WINDOW_DIGITS {
            let start = first.min(DIGITS - WINDOW_DIGITS);
            self.window.copy_from_slice(&rest.digits[start..start + WINDOW_DIGITS]);
            (self.first, self.used, self.rest) = (start as u16, true, None);
        }
    }

    fn special(&self) -> Special {
        self.rest.as_ref().map_or_else(Special::default, |rest| rest.special)
    }

    /// All digits, not carried.
    fn digits(&self) -> [i64; DIGITS] {
        let mut digits = self.rest.as_ref().map_or([0; DIGITS], |rest| rest.digits);
        if self.used {
            for (target, digit) in digits[usize::from(self.first)..].iter_mut().zip(self.window) {
                *target += digit;
            }
        }
        digits
    }

    /// Calls `read` with the sign, the number of the first digit given, and the digits of the absolute value.
    fn with_magnitude<T>(&self, read: impl FnOnce(bool, usize, &[i64]) -> T) -> T {
        if self.rest.is_some() {
            let mut digits = self.digits();
            let negative = make_absolute(&mut digits);
            return read(negative, 0, &digits);
        }
        // The top digit holds its carries: two more digits are room for them.
        let mut digits = [0; WINDOW_DIGITS + 2];
        digits[..WINDOW_DIGITS].copy_from_slice(&self.window);
        let negative = make_absolute(&mut digits);
        read(negative, usize::from(self.first), &digits)
    }
}

/// Brings all digits but the last into `0..2^32`; the last one keeps the sign.
fn carry(digits: &mut [i64]) {
    let mut carried = 0;
    let last = digits.len() - 1;
    for digit in &mut digits[..last] {
        let total = *digit + carried;
        *digit = total & DIGIT_MASK as i64;
        carried = total >> DIGIT_BITS;
    }
    digits[last] += carried;
}

/// Carries, and takes the absolute value; says whether it was negative.
fn make_absolute(digits: &mut [i64]) -> bool {
    carry(digits);
    let negative = digits.last().is_some_and(|last| *last < 0);
    if negative {
        digits.iter_mut().for_each(|digit| *digit = -*digit);
        carry(digits);
    }
    negative
}

/// The nearest double to the number whose digits from number `first` on are `digits`, ties to even.
fn round(first: usize, digits: &[i64]) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    // The upper three digits hold the 53 bits and the one that decides; of the rest only counts whether it is 0.
    let digit = |below: usize| if below > top { 0 } else { digits[top - below] as u128 };
    let upper = digit(0) << 64 | digit(1) << 32 | digit(2);
    let rest = top >= 3 && digits[..top - 2].iter().any(|digit| *digit != 0);
    let upper_bits = 128 - upper.leading_zeros();
    // In bits from 2^-1074 on; `upper` begins two digits below the top one, which may be below the first bit of all.
    let bits = (first + top) as u32 * DIGIT_BITS + upper_bits - 2 * DIGIT_BITS;
    // The bits of a number below 2^53 units are the bits of the double, subnormal or not.
    let dropped = bits.saturating_sub(53);
    let kept = bits - dropped;
    let below = upper_bits - kept;
    let mantissa = (upper >> below) as u64;
    let remainder = upper & ((1 << below) - 1);
    let half = if below == 0 { 0 } else { 1 << (below - 1) };
    let is_above_half = remainder > half || (remainder == half && rest);
    let is_tie = remainder == half && !rest;
    let round_up = dropped > 0 && (is_above_half || (is_tie && mantissa & 1 != 0));
    let encoded = (u64::from(dropped) << 52) + mantissa + u64::from(round_up);
    if encoded >> 52 >= 0x7ff { f64::INFINITY } else { f64::from_bits(encoded) }
}

#[cfg(test)]
mod tests;
