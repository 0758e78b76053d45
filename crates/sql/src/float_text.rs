//! Floats as PostgreSQL writes them: the shortest digits that are read as the same float, with an exponent where the number
//! is very large or very small (`float8out` and `float4out` with `extra_float_digits` of 1 or more).

/// From how many digits before the point there is an exponent.
const DOUBLE_DIGITS: i32 = 15;
const REAL_DIGITS: i32 = 6;
/// How many zeros there are after the point at most, without an exponent.
const ZEROS_MAX: i32 = 3;

/// A `DOUBLE PRECISION` as text: `1`, `0.5`, `1e+20`, `Infinity`, `NaN`.
pub fn double_text(value: f64) -> String {
    text(&format!("{value:e}"), || value.to_string(), DOUBLE_DIGITS)
}

/// A `REAL` as text.
pub fn real_text(value: f32) -> String {
    text(&format!("{value:e}"), || value.to_string(), REAL_DIGITS)
}

fn text(scientific: &str, plain: impl Fn() -> String, digits: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // What has no exponent is no number.
        return scientific.replace("inf", "Infinity");
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-ZEROS_MAX - 1..digits).contains(&exponent) {
        return plain();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    //! What PostgreSQL 15 answers.

    use super::{double_text, real_text};

    #[test]
    fn a_float_is_written_as_postgresql_writes_it() {
        for (value, double, real) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-1.5, "-1.5", "-1.5"),
            (100_000.0, "100000", "100000"),
            (1e14, "100000000000000", "1e+14"),
            (1e15, "1e+15", "1e+15"),
            (-1e22, "-1e+22", "-1e+22"),
            (999_999_999_999_999.0, "999999999999999", "1e+15"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17", "1.2345679e+17"),
            (12_345_678.9, "12345678.9", "1.2345679e+07"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_01, "1e-05", "1e-05"),
            (0.1, "0.1", "0.1"),
            (5e-324, "5e-324", "0"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "Infinity", "Infinity"),
            (f64::NEG_INFINITY, "-Infinity", "-Infinity"),
        ] {
            assert_eq!((double_text(value).as_str(), real_text(value as f32).as_str()), (double, real));
        }
    }
}
