//! One SQL text, one answer: from plain DataFusion over all of the input, from views however their input comes and whatever dies in
//! between, from views that are built anew by replay, and from PostgreSQL.
//!
//! What Rust can see by itself are tests of the crate `streaming` and the `.slt` files, of which every `cargo xtask test` runs
//! some; here they are thorough. `tests/same_answer/run.py` compares the shipped binary with a PostgreSQL of its own.
//!
//! What must hold: a bug that is planted in an operator is found by the tests in Rust alone.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::paths::Paths;
use crate::process::Running;
use crate::report::Report;
use crate::{cargo_tests, clients, planted, script, setup};

/// Its folder below `tests`.
const HARNESS: &str = "same_answer";
const LIMIT: Duration = Duration::from_secs(3600);
/// The tests in Rust.
const TESTS: &[&str] = &["one_answer", "one_graph", "benchmarks"];
/// What a bug is looked for with: one case of each is enough for one that is planted.
const CASES_PLANTED: &str = "20";

/// How thorough, and with which program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SameAnswerSettings {
    /// Of each property, how many random batchings and interleavings.
    pub(crate) cases: u32,
    /// How many rounds of random statements go to PostgreSQL too.
    pub(crate) rounds: u32,
    /// Repeats the statements of an earlier run.
    pub(crate) seed: Option<u64>,
    /// A bug to plant first, or `all` of them; the tests must then find it.
    pub(crate) planted: Option<String>,
    /// A program that is there already, taken in place of a build.
    pub(crate) binary: Option<PathBuf>,
}

impl Default for SameAnswerSettings {
    fn default() -> Self {
        Self { cases: 100, rounds: 60, seed: None, planted: None, binary: None }
    }
}

/// Runs everything, or the tests in Rust with each of the bugs that are to be planted.
pub(crate) fn run(report: &mut Report, paths: &Paths, settings: &SameAnswerSettings) -> Result<()> {
    if let Some(wanted) = &settings.planted {
        for name in planted::names(paths, HARNESS, wanted)? {
            let outcome = find(paths, &name);
            report.outcome(&format!("the planted bug {name} is found"), outcome);
        }
        return Ok(());
    }
    let mut cargo = paths.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]).args(selected(TESTS)).args(selected(&["slt"]));
    cargo_tests::run(report, cargo.env("PROPTEST_CASES", settings.cases.to_string()))?;
    against_postgresql(report, paths, settings)
}

/// Runs the tests with a bug, which have to fail.
fn find(paths: &Paths, name: &str) -> Result<()> {
    println!("\n-- planting {name}");
    let tree = planted::tree(paths, HARNESS, name)?;
    let mut cargo = planted::cargo_in(&tree, paths);
    cargo.args(["test", "--workspace"]).args(selected(TESTS));
    let built = cargo.arg("--no-run").status().context("cannot start cargo test")?;
    ensure!(built.success(), "it does not build");
    let mut cargo = planted::cargo_in(&tree, paths);
    cargo.args(["test", "--workspace"]).args(selected(TESTS)).env("PROPTEST_CASES", CASES_PLANTED);
    // What fails need not be made small.
    cargo.env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let tested = cargo.stdout(Stdio::null()).stderr(Stdio::null()).status().context("cannot start cargo test")?;
    ensure!(!tested.success(), "every test passed");
    Ok(())
}

fn selected<'a>(tests: &'a [&str]) -> impl Iterator<Item = &'a str> {
    tests.iter().flat_map(|test| ["--test", test])
}

fn against_postgresql(report: &mut Report, paths: &Paths, settings: &SameAnswerSettings) -> Result<()> {
    let binary = clients::binary(paths, settings.binary.as_deref(), "dev")?;
    let folder = clients::fresh(paths, "same-answer")?;
    let mut python = Command::new(setup::tools(paths)?.python);
    python.arg(paths.root.join("tests/same_answer/run.py")).arg(format!("--rounds={}", settings.rounds));
    python.args(settings.seed.map(|seed| format!("--seed={seed}"))).current_dir(&folder);
    python.env("PYTHONPATH", paths.root.join("tests/abuse")).env("PYTHONDONTWRITEBYTECODE", "1");
    let log = folder.join("same-answer.log");
    let running = Running::start("tests/same_answer/run.py", python.env("FOURFOLD_BINARY", binary), &log)?;
    script::follow(report, running, LIMIT)
}
