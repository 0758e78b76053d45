//! Rust's own tests, counted.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::report::Report;

/// Runs a `cargo test`, shows what is not ok, and adds its counts to the report.
pub(crate) fn run(report: &mut Report, cargo: &mut Command) -> Result<()> {
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let out = child.stdout.take().context("cargo test has no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(out).lines() {
        let line = line.context("cannot read what cargo test says")?;
        if counts.take(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    let seen = counts.failed;
    report.add(counts.passed, counts.failed, counts.failures);
    if !status.success() && seen == 0 {
        // Nothing failed by name: it did not build, or a test program died.
        report.fail("cargo test", &format!("ended with {status}, see above"));
    }
    Ok(())
}

/// What the lines of a test program add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Counts {
    /// Counts a line, and says whether it is worth showing.
    fn take(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
            return true;
        }
        let Some(test) = line.strip_prefix("test ") else { return !line.trim().is_empty() };
        if let Some(name) = test.strip_suffix(" ... FAILED") {
            self.failures.push(format!("test {name}"));
        }
        !test.ends_with(" ... ok")
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before.rsplit([' ', ';', '.']).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
