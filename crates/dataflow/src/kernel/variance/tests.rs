//! Variances that floats alone would get wrong, and random ones in any split.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;

use super::{Form, Variance, nearest};
use crate::{
    kernel::{Input, Kernel},
    random::Random,
};
use num_bigint::BigUint;

const VAR_POP: Form = Form { is_sample: false, is_root: false };
const VAR_SAMP: Form = Form { is_sample: true, is_root: false };
const STDDEV_SAMP: Form = Form { is_sample: true, is_root: true };

fn add(kernel: &mut Variance, values: &[f64], weight: i64) {
    let (groups, weights) = (vec![0; values.len()], vec![weight; values.len()]);
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let input = Input { groups: &groups, values: Some(values), filter: None, weights: Some(&weights), places: None };
    kernel.update(&input).unwrap();
}

fn value(kernel: &Variance) -> Option<f64> {
    let value = kernel.evaluate(&[0]).unwrap();
    value.as_primitive::<Float64Type>().iter().next().unwrap()
}

fn of(form: Form, values: &[f64]) -> Option<f64> {
    let mut kernel = Variance::new(form);
    kernel.resize(1);
    add(&mut kernel, values, 1);
    value(&kernel)
}

#[test]
fn a_variance_is_the_nearest_double() {
    let cases: [(Form, &[f64], Option<f64>); 16] = [
        (VAR_POP, &[], None),
        (VAR_POP, &[3.5], Some(0.0)),
        (VAR_SAMP, &[3.5], None),
        (VAR_POP, &[1.0, 2.0, 3.0, 4.0], Some(1.25)),
        (VAR_SAMP, &[1.0, 2.0, 3.0, 4.0], Some(5.0 / 3.0)),
        (STDDEV_SAMP, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], Some((32.0_f64 / 7.0).sqrt())),
        // Where the squares of the deviations are far below the squares.
        (VAR_POP, &[1e9, 1e9 + 1.0, 1e9 + 2.0], Some(2.0 / 3.0)),
        (VAR_SAMP, &[1e15 + 0.5, 1e15 + 1.0, 1e15 + 1.5], Some(0.25)),
        (VAR_POP, &[0.1, 0.1, 0.1], Some(0.0)),
        (VAR_POP, &[-0.0, 0.0], Some(0.0)),
        // Squares that are no doubles.
        (VAR_POP, &[1e200, 1e200], Some(0.0)),
        (VAR_POP, &[1e200, -1e200], Some(f64::INFINITY)),
        (VAR_POP, &[f64::MAX, f64::MAX], Some(0.0)),
        (VAR_POP, &[5e-324, 5e-324], Some(0.0)),
        (VAR_POP, &[1e-160, -1e-160], Some(1e-160 * 1e-160)),
        (VAR_POP, &[1.0, f64::INFINITY], Some(f64::NAN)),
    ];
    for (form, values, expected) in cases {
        let found = of(form, values);
        assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{form:?} {values:?}: {found:?}");
    }
}

#[test]
fn what_was_taken_back_and_how_it_was_split_leaves_no_trace() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut number = || {
            let exponent = random.below(40) as i32 * 30 - 600;
            (random.below(2_000_001) as f64 - 1e6) * 2_f64.powi(if seed % 3 == 0 { exponent } else { 0 })
        };
        let values: Vec<f64> = (0..30).map(|_| number()).collect();
        let gone: Vec<f64> = (0..20).map(|_| number()).collect();
        let whole = of(VAR_SAMP, &values);
        let mut kernel = Variance::new(VAR_SAMP);
        kernel.resize(1);
        add(&mut kernel, &gone, 1);
        let mut other = Variance::new(VAR_SAMP);
        other.resize(1);
        add(&mut other, &values[..12], 1);
        add(&mut kernel, &values[12..], 1);
        add(&mut kernel, &gone, -1);
        kernel.merge(&[0], &other.state(&[0]).unwrap()).unwrap();
        assert_eq!(value(&kernel).map(f64::to_bits), whole.map(f64::to_bits), "seed {seed}");
        let naive = {
            let mean = values.iter().sum::<f64>() / 30.0;
            values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 29.0
        };
        let found = whole.unwrap();
        assert!(found == naive || (found - naive).abs() <= naive * 1e-9, "seed {seed}: {found} {naive}");
    }
}

#[test]
fn a_quotient_is_rounded_once() {
    for (dividend, divisor, exponent, expected) in [
        (1_u64, 3_u64, 0, 1.0 / 3.0),
        (2, 3, 0, 2.0 / 3.0),
        (u64::MAX, 1, 0, u64::MAX as f64),
        ((1 << 53) + 1, 1, 0, 9_007_199_254_740_992.0),
        ((1 << 54) + 3, 2, 0, 9_007_199_254_740_994.0),
        (1, 1, -1074, 5e-324),
        (1, 2, -1074, 0.0),
        (3, 2, -1074, 1e-323),
        (1, 1, 1023, 8.98846567431158e307),
        (1, 1, 1024, f64::INFINITY),
        (1, 1, -3000, 0.0),
    ] {
        let found = nearest(&BigUint::from(dividend), &BigUint::from(divisor), exponent);
        assert_eq!(found.to_bits(), f64::to_bits(expected), "{dividend} / {divisor} * 2^{exponent}: {found:e}");
    }
}
