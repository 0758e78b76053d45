//! The account of a run: steps with headings and times, what passed, what failed, and the closing line.
//!
//! What must hold: every failure is counted and named again at the end, and the last line is
//! `N passed, N failed`.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

/// Counts and names.
pub(crate) struct Report {
    started: Instant,
    passed: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Report {
    /// An empty account.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), passed: 0, failed: 0, failures: Vec::new() }
    }

    /// Runs one step under a heading. An error is one failure of that name; the run goes on after it.
    pub(crate) fn step(&mut self, title: &str, step: impl FnOnce(&mut Self) -> Result<()>) {
        println!("\n== {title}");
        let (started, passed, failed) = (Instant::now(), self.passed, self.failed);
        if let Err(error) = step(self) {
            self.fail(title, &format!("{error:#}"));
        }
        let (passed, failed) = (self.passed - passed, self.failed - failed);
        println!("-- {title}: {passed} ok, {failed} not ok, {:.1} s", started.elapsed().as_secs_f64());
    }

    /// One thing held.
    pub(crate) fn pass(&mut self, name: &str) {
        println!("ok   {name}");
        self.passed += 1;
    }

    /// One thing did not hold.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        println!("FAIL {name}");
        for line in why.lines() {
            println!("     {line}");
        }
        self.failed += 1;
        self.failures.push(format!("{name}: {}", why.lines().next().unwrap_or_default()));
    }

    /// Takes a line of a program that compares: `ok NAME`, `FAIL NAME: why`, or a figure. Whether it was one of the first two.
    pub(crate) fn told(&mut self, line: &str, when: &str) -> bool {
        if let Some(name) = line.strip_prefix("ok ") {
            self.pass(&format!("{name}{when}"));
        } else if let Some(failure) = line.strip_prefix("FAIL ") {
            let (name, why) = failure.split_once(": ").unwrap_or((failure, ""));
            self.fail(&format!("{name}{when}"), why);
        } else {
            println!("     {line}");
            return false;
        }
        true
    }

    /// Whether anything did not hold.
    pub(crate) fn has_failures(&self) -> bool {
        self.failed > 0
    }

    /// One thing held or did not.
    pub(crate) fn outcome(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.pass(name),
            Err(error) => self.fail(name, &format!("{error:#}")),
        }
    }

    /// Adds what another test runner counted; `failures` names what it saw fail.
    pub(crate) fn add(&mut self, passed: usize, failed: usize, failures: Vec<String>) {
        self.passed += passed;
        self.failed += failed;
        self.failures.extend(failures);
    }

    /// Names the failures again, prints the closing line, and says with which code to end.
    pub(crate) fn close(self) -> ExitCode {
        if !self.failures.is_empty() {
            println!("\nfailed:");
            for failure in &self.failures {
                println!("  {failure}");
            }
        }
        println!("\nin {:.0} s", self.started.elapsed().as_secs_f64());
        println!("{} passed, {} failed", self.passed, self.failed);
        // A run that tested nothing has shown nothing.
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
