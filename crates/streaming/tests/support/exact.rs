//! Sums and averages by the definition. The sum of doubles: add them as integers, then round once.
//!
//! A double is a whole number of units of 2^-1074. Positive and negative ones are added up apart, in plain binary.

/// 2,098 bits for the largest double, and room for 2^200 of them.
const WORDS: usize = 36;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Magnitude {
    /// Most significant word first, so that the derived order is that of the numbers.
    words: [u64; WORDS],
}

impl Magnitude {
    fn zero() -> Self {
        Self { words: [0; WORDS] }
    }

    /// Adds the magnitude of a finite double.
    fn add(&mut self, value: f64) {
        let bits = value.abs().to_bits();
        let (exponent, fraction) = ((bits >> 52) as usize, bits & ((1 << 52) - 1));
        let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        for bit in (0..53).filter(|bit| mantissa >> bit & 1 == 1) {
            self.add_bit(shift + bit);
        }
    }

    fn add_bit(&mut self, bit: usize) {
        let mut word = WORDS - 1 - bit / 64;
        let mut carry;
        (self.words[word], carry) = self.words[word].overflowing_add(1 << (bit % 64));
        while carry {
            word -= 1;
            (self.words[word], carry) = self.words[word].overflowing_add(1);
        }
    }

    /// What is left of it without a smaller one.
    fn less(&self, smaller: &Magnitude) -> Magnitude {
        let (mut left, mut borrow) = (Magnitude::zero(), false);
        for word in (0..WORDS).rev() {
            let (difference, first) = self.words[word].overflowing_sub(smaller.words[word]);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            (left.words[word], borrow) = (difference, first || second);
        }
        left
    }

    fn bit(&self, bit: usize) -> bool {
        self.words[WORDS - 1 - bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The nearest double, ties to even.
    fn rounded(&self) -> f64 {
        let Some(top) = (0..64 * WORDS).rev().find(|bit| self.bit(*bit)) else { return 0.0 };
        if top < 53 {
            // So few units are the bits of a double as they are.
            return f64::from_bits(self.words[WORDS - 1]);
        }
        let lowest = top.saturating_sub(63);
        let upper = (lowest..=top).rev().fold(0_u64, |upper, bit| upper << 1 | u64::from(self.bit(bit)));
        // The conversion of an integer rounds to the nearest; the last bit stands for everything below it.
        let sticky = (0..lowest).any(|bit| self.bit(bit));
        let upper = (upper | u64::from(sticky)) as f64;
        let units = lowest as i64 - 1074;
        // Both factors and the first product are exact.
        let scaled = upper * power_of_two(-63);
        match units + 63 {
            1024.. => f64::INFINITY,
            power => scaled * power_of_two(power),
        }
    }
}

fn power_of_two(power: i64) -> f64 {
    f64::from_bits(((power + 1023) as u64) << 52)
}

/// The sum of some doubles, rounded once. The sum of zeros is `0.0`, whatever their signs.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let has = |wanted: f64| values.contains(&wanted);
    match (values.iter().any(|value| value.is_nan()), has(f64::INFINITY), has(f64::NEG_INFINITY)) {
        (true, _, _) | (_, true, true) => return f64::NAN,
        (_, true, _) => return f64::INFINITY,
        (_, _, true) => return f64::NEG_INFINITY,
        _ => {}
    }
    let (mut positive, mut negative) = (Magnitude::zero(), Magnitude::zero());
    for value in values {
        if *value > 0.0 { positive.add(*value) } else { negative.add(*value) }
    }
    if positive >= negative { positive.less(&negative).rounded() } else { -negative.less(&positive).rounded() }
}

/// The average of some integers, rounded once: written out in more digits than a double has, and read.
pub(crate) fn average(values: &[i64]) -> f64 {
    let total: i128 = values.iter().copied().map(i128::from).sum();
    let (dividend, divisor) = (total.unsigned_abs(), values.len() as u128);
    let mut text = format!("{}{}.", if total < 0 { "-" } else { "" }, dividend / divisor);
    let mut rest = dividend % divisor;
    for _ in 0..60 {
        rest *= 10;
        text.push(char::from(b'0' + (rest / divisor) as u8));
        rest %= divisor;
    }
    // What follows does not matter, but that something does.
    text.push(if rest == 0 { '0' } else { '1' });
    text.parse().unwrap()
}

/// The average of some decimals with 3 digits after the point, as one with 16, by long division: the digit behind the last
/// one decides.
pub(crate) fn decimal_average(values: &[i128]) -> i128 {
    let total: i128 = values.iter().sum();
    let (dividend, divisor) = (total.unsigned_abs(), values.len() as u128);
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    for _ in 0..13 {
        rest *= 10;
        quotient = quotient * 10 + rest / divisor;
        rest %= divisor;
    }
    let magnitude = (quotient + u128::from(rest * 10 / divisor >= 5)) as i128;
    if total < 0 { -magnitude } else { magnitude }
}

#[test]
fn averages_of_decimals_are_rounded_half_away_from_zero() {
    for (values, expected) in [
        (&[1000, 2000][..], 15_000_000_000_000_000),
        (&[-1, 0, 0], -3_333_333_333_333),
        (&[2, 0, 0], 6_666_666_666_667),
        (&[0], 0),
    ] {
        assert_eq!(decimal_average(values), expected, "{values:?}");
    }
}

#[test]
fn averages_are_rounded_once() {
    let most = i64::MAX;
    for (values, expected) in [
        (&[1, 2][..], 1.5),
        (&[-1, 0, 0], -1.0 / 3.0),
        (&[0], 0.0),
        (&[(1 << 53) + 1, 1], ((1_i64 << 52) + 1) as f64),
        (&[most, most], 9_223_372_036_854_775_807.0),
    ] {
        assert_eq!(average(values), expected, "{values:?}");
    }
}

#[test]
fn sums_are_rounded_once() {
    for (values, expected) in [
        (&[][..], 0.0),
        (&[0.1, 0.2, -0.3], 2.0_f64.powi(-55)),
        (&[1e308, 1e308, -1e308], 1e308),
        (&[f64::MAX, f64::MAX], f64::INFINITY),
        (&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 5e-324], 5e-324),
        (&[1.0, 2.0_f64.powi(-53)], 1.0),
        (&[1.0, 2.0_f64.powi(-53), 5e-324], 1.0 + f64::EPSILON),
        (&[-0.0, -0.0], 0.0),
        (&[2.0_f64.powi(-1022), -5e-324], 2.0_f64.powi(-1022) - 5e-324),
        (&[1e16, 1.0, -1e16], 1.0),
        (&[f64::INFINITY, -1.0], f64::INFINITY),
        (&[f64::NEG_INFINITY, 1e308], f64::NEG_INFINITY),
    ] {
        assert_eq!(sum(values).to_bits(), expected.to_bits(), "{values:?}: {} {expected}", sum(values));
    }
    assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan() && sum(&[f64::NAN]).is_nan());
}
