//! Numbers as written, at so many places.

use super::{Misfit, is_zero, scaled};

#[test]
fn a_number_is_exact_or_refused() {
    use Misfit::{Fraction, NotANumber, TooLarge};
    let cases: &[(&str, i32, Result<i128, Misfit>)] = &[
        ("0", 0, Ok(0)),
        ("-0", 0, Ok(0)),
        ("0e99999999999999999999", 0, Ok(0)),
        ("2.0", 0, Ok(2)),
        ("2e0", 0, Ok(2)),
        ("20e-1", 0, Ok(2)),
        ("1e2", 0, Ok(100)),
        ("1.5e1", 0, Ok(15)),
        ("2.9", 0, Err(Fraction)),
        ("1e-1", 0, Err(Fraction)),
        ("1.5", 0, Err(Fraction)),
        ("1.990", 2, Ok(199)),
        ("1.999", 2, Err(Fraction)),
        ("-1.99", 2, Ok(-199)),
        ("1.00000000000000000000000000000000000000000000000000", 0, Ok(1)),
        ("1.00000000000000000000000000000000000000000000000001", 0, Err(Fraction)),
        ("9223372036854775807", 0, Ok(9_223_372_036_854_775_807)),
        ("99999999999999999999999999999999999999", 0, Ok(10_i128.pow(38) - 1)),
        ("1000000000000000000000000000000000000000000", 0, Err(TooLarge)),
        ("1e400", 0, Err(TooLarge)),
        ("1e-400", 0, Err(Fraction)),
        ("1e99999999999999999999", 0, Err(TooLarge)),
        ("1e-99999999999999999999", 0, Err(Fraction)),
        ("123456000", -3, Ok(123_456)),
        ("123456789", -3, Err(Fraction)),
        ("+7", 0, Ok(7)),
        ("007", 0, Ok(7)),
        (".5", 1, Ok(5)),
        ("5.", 0, Ok(5)),
        ("", 0, Err(NotANumber)),
        ("-", 0, Err(NotANumber)),
        (".", 0, Err(NotANumber)),
        ("e1", 0, Err(NotANumber)),
        ("1e", 0, Err(NotANumber)),
        ("1e+", 0, Err(NotANumber)),
        ("1.2.3", 0, Err(NotANumber)),
        ("1 2", 0, Err(NotANumber)),
        ("0x1", 0, Err(NotANumber)),
        ("--1", 0, Err(NotANumber)),
    ];
    for (text, places, expected) in cases {
        assert_eq!(scaled(text, *places), *expected, "{text} with {places} places");
    }
    assert!(is_zero("-0.00e5") && !is_zero("0.01e-400"));
}
