//! Exact sums do not depend on order or grouping.

use super::ExactSum;
use crate::random::Random;

fn sum_of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value, 1));
    sum
}

/// Doubles of every size and sign, with runs that cancel.
fn any_doubles(random: &mut Random, count: usize) -> Vec<f64> {
    let mut values = Vec::new();
    while values.len() < count {
        let value = match random.below(4) {
            0 => f64::from_bits(random.next()),
            1 => (random.next() as i64) as f64 * 1e-3,
            2 => f64::from_bits(random.next() & 0x000f_ffff_ffff_ffff),
            _ => values.get(random.below(values.len().max(1))).map_or(1.5, |value: &f64| -value),
        };
        if value.is_finite() {
            values.push(value);
        }
    }
    values
}

#[test]
fn known_sums() {
    let cases: &[(&[f64], f64)] = &[
        (&[], 0.0),
        (&[-0.0], 0.0),
        (&[1e100, 1.0, -1e100], 1.0),
        (&[0.1; 10], 1.0),
        (&[1e308, 1e308, -1e308], 1e308),
        (&[f64::MAX, f64::MAX], f64::INFINITY),
        (&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 3.0], 3.0),
        (&[-f64::MAX, -f64::MAX], f64::NEG_INFINITY),
        (&[5e-324, 5e-324], 1e-323),
        (&[f64::MIN_POSITIVE, -5e-324], 2.225073858507201e-308),
        (&[9007199254740992.0, 1.0], 9007199254740992.0),
        (&[9007199254740992.0, 1.0, 5e-324], 9007199254740994.0),
        (&[9007199254740994.0, 1.0], 9007199254740996.0),
        (&[1.0, f64::INFINITY], f64::INFINITY),
        (&[f64::NEG_INFINITY, 1.0], f64::NEG_INFINITY),
    ];
    for (values, expected) in cases {
        assert_eq!(sum_of(values).value(), *expected, "{values:?}");
    }
    assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
    assert!(sum_of(&[f64::NAN, 1.0]).value().is_nan());
}

#[test]
fn a_sum_of_integers_is_the_sum_of_integers() {
    let mut random = Random(1);
    for _ in 0..50 {
        let integers: Vec<i64> = (0..random.below(400)).map(|_| random.next() as i64 >> random.below(60)).collect();
        let exact: i128 = integers.iter().map(|integer| *integer as f64 as i128).sum();
        let doubles: Vec<f64> = integers.iter().map(|integer| *integer as f64).collect();
        assert_eq!(sum_of(&doubles).value(), exact as f64);
    }
}

#[test]
fn order_batches_and_merges_do_not_matter() {
    let mut random = Random(2);
    for _ in 0..60 {
        let count = random.below(300) + 1;
        let values = any_doubles(&mut random, count);
        let expected = sum_of(&values);
        let mut parts = vec![ExactSum::default(); random.below(5) + 1];
        let mut shuffled = values.clone();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, random.below(i + 1));
        }
        for value in shuffled {
            let part = random.below(parts.len());
            parts[part].add(value, 1);
        }
        let mut merged = ExactSum::default();
        parts.iter().for_each(|part| merged.merge(part));
        assert_eq!(merged.to_bytes(), expected.to_bytes());
        assert_eq!(merged.value().to_bits(), expected.value().to_bits());
        let read = ExactSum::from_bytes(&expected.to_bytes()).unwrap();
        assert_eq!((read.to_bytes(), read.value().to_bits()), (expected.to_bytes(), expected.value().to_bits()));
    }
}

#[test]
fn taking_back_is_the_inverse_and_a_weight_is_a_repetition() {
    let mut random = Random(3);
    for _ in 0..40 {
        let values = any_doubles(&mut random, 60);
        let mut sum = sum_of(&values);
        values[20..].iter().for_each(|value| sum.add(*value, -1));
        assert_eq!(sum.to_bytes(), sum_of(&values[..20]).to_bytes());
        let weight = random.below(9) as i64 - 4;
        let (mut weighted, mut repeated) = (ExactSum::default(), ExactSum::default());
        for value in &values {
            weighted.add(*value, weight);
            (0..weight.abs()).for_each(|_| repeated.add(*value, weight.signum()));
        }
        assert_eq!(weighted.to_bytes(), repeated.to_bytes());
        let mut huge = ExactSum::default();
        huge.add(values[0], i64::MAX);
        huge.add(values[0], -i64::MAX);
        assert_eq!(huge.to_bytes(), ExactSum::default().to_bytes());
    }
    let mut sum = sum_of(&[1.0, f64::NAN, f64::INFINITY]);
    sum.add(f64::NAN, -1);
    sum.add(f64::INFINITY, -1);
    assert_eq!(sum.to_bytes(), sum_of(&[1.0]).to_bytes());
}

#[test]
fn small_sums_stay_small() {
    let mut random = Random(4);
    let values: Vec<f64> = (0..1_000).map(|_| random.below(100_000) as f64 / 100.0).collect();
    let mut sum = sum_of(&values);
    sum.merge(&sum_of(&values));
    assert_eq!(sum.heap_bytes(), 0);
    let read = ExactSum::from_bytes(&sum.to_bytes()).unwrap();
    assert_eq!(read.heap_bytes(), 0);
}

#[test]
fn bytes_that_are_no_sum_are_refused() {
    let good = sum_of(&[1.5, 1e200]).to_bytes();
    assert!(ExactSum::from_bytes(&good).is_ok());
    let too_far = [1, 0, 70, 0, 1, 0, 0, 0];
    let cases: [&[u8]; 6] = [&[], &[1, 0, 0], &[2, 0, 0, 0], &[1, 8, 0, 0], &good[..good.len() - 1], &too_far];
    for bytes in cases {
        assert!(ExactSum::from_bytes(bytes).is_err(), "{bytes:?}");
    }
    assert!(ExactSum::from_bytes(&[1, 2, 0, 0, 1, 2]).is_err());
}

#[test]
fn carries_are_passed_on_before_a_digit_overflows() {
    let mut sum = ExactSum::default();
    // As if 2^30 numbers had been added since the last carry: the next one passes the carries on.
    sum.add(1.0, 1);
    sum.additions = super::ADDITIONS_MAX - 1;
    sum.add(1.0, 1);
    assert_eq!((sum.additions, sum.value()), (0, 2.0));
    let mut large = ExactSum::default();
    large.add(1.0, i64::MAX);
    large.add(-1.0, i64::MAX - 5);
    assert_eq!(large.value(), 5.0);
}

#[test]
fn a_sum_of_two_is_the_addition_of_the_processor() {
    let mut random = Random(5);
    for i in 0..20_000 {
        let values = any_doubles(&mut random, 2);
        let (first, mut second) = (values[0], values[1]);
        if i % 2 == 0 {
            // Near each other, so that rounding is at stake.
            let exponent = (first.to_bits() >> 52 & 0x7ff).saturating_sub(random.below(56) as u64);
            second = f64::from_bits(second.to_bits() & 0x800f_ffff_ffff_ffff | exponent.min(0x7fe) << 52);
        }
        let expected = first + second;
        let found = sum_of(&[first, second]).value();
        assert!(found == expected, "{first:e} + {second:e} is {expected:e}, not {found:e}");
        // A tie, and a tie broken from far below.
        let half = f64::from_bits((first.abs().to_bits() >> 52).saturating_sub(53) << 52);
        assert!(sum_of(&[first, half]).value() == first + half, "{first:e} + {half:e}");
    }
}
