//! Lines of a test program, and what they add up to.

use super::*;

#[test]
fn results_are_summed_and_failures_named() {
    let mut counts = Counts::default();
    let lines = [
        ("running 3 tests", true),
        ("test a::b ... ok", false),
        ("test a::c ... FAILED", true),
        ("", false),
        ("test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s", true),
        ("test crates/x.rs - y (line 3) ... ok", false),
        ("test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s", true),
    ];
    for (line, shown) in lines {
        assert_eq!(counts.take(line), shown, "{line}");
    }
    assert_eq!(counts, Counts { passed: 42, failed: 1, failures: vec!["test a::c".to_owned()] });
}
