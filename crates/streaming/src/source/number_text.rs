//! Decimal numbers as they are written, without a detour over floats.
//!
//! What must hold: the result is the number that was written, exactly, or there is none.

/// Why a number cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The text is not a number.
    NotANumber,
    /// The number has digits beyond the last place.
    Fraction,
    /// The number has too many digits before the last place.
    TooLarge,
}

/// Beyond this an exponent makes no difference.
const EXPONENT_MAX: i64 = 1_000_000_000;

/// A number as `mantissa * 10^exponent`; the mantissa does not end in 0, except that of 0 itself.
struct Number {
    negative: bool,
    /// `None` beyond 128 bits.
    mantissa: Option<u128>,
    exponent: i64,
}

/// `number * 10^places`, when that is a whole number of 128 bits. The text is a number of JSON, or one that PostgreSQL
/// takes: also `+1`, `007`, `.5`, `5.`.
pub(super) fn scaled(text: &str, places: i32) -> Result<i128, Misfit> {
    if places == 0
        && let Some(short) = short_integer(text.as_bytes())
    {
        return Ok(i128::from(short));
    }
    let Number { negative, mantissa, exponent } = parse(text.as_bytes()).ok_or(Misfit::NotANumber)?;
    if mantissa == Some(0) {
        return Ok(0);
    }
    let shift = exponent + i64::from(places);
    if shift < 0 {
        return Err(Misfit::Fraction);
    }
    let factor = u32::try_from(shift).ok().and_then(|shift| 10_u128.checked_pow(shift));
    let magnitude = mantissa.zip(factor).and_then(|(mantissa, factor)| mantissa.checked_mul(factor));
    let magnitude = magnitude.and_then(|magnitude| i128::try_from(magnitude).ok()).ok_or(Misfit::TooLarge)?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// How many digits after the point a number needs; `None` for what is no number.
pub fn digits_after_point(text: &str) -> Option<i32> {
    let Number { mantissa, exponent, .. } = parse(text.trim().as_bytes())?;
    let needed = if mantissa == Some(0) { 0 } else { (-exponent).max(0) };
    Some(i32::try_from(needed).unwrap_or(i32::MAX))
}

/// Whether a number that is written so is 0.
pub(super) fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// Most integers are written with few digits and nothing else.
fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

fn parse(text: &[u8]) -> Option<Number> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let (plain, power) = unsigned.split_at(end);
    let (mut mantissa, mut digit_count, mut zeros, mut fraction, mut in_fraction) =
        (Some(0_u128), 0, 0_u32, 0_i64, false);
    for byte in plain {
        match byte {
            b'.' if !in_fraction => in_fraction = true,
            b'0'..=b'9' => {
                digit_count += 1;
                fraction += i64::from(in_fraction);
                if *byte == b'0' {
                    // Zeros count once another digit follows them.
                    zeros += 1;
                    continue;
                }
                let digit = u128::from(byte - b'0');
                mantissa = match mantissa {
                    Some(0) => Some(digit),
                    Some(some) => {
                        let factor = 10_u128.checked_pow(zeros + 1);
                        factor.and_then(|factor| some.checked_mul(factor)).and_then(|some| some.checked_add(digit))
                    }
                    None => None,
                };
                zeros = 0;
            }
            _ => return None,
        }
    }
    if digit_count == 0 {
        return None;
    }
    let exponent = exponent(power)? - fraction + i64::from(zeros);
    Some(Number { negative, mantissa, exponent })
}

/// What follows the digits: nothing, or `e` and a whole number.
fn exponent(power: &[u8]) -> Option<i64> {
    let [_, rest @ ..] = power else { return Some(0) };
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX);
    let value = digits.iter().fold(0, add);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests;
