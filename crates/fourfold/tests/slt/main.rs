//! The files of `tests/slt`, each against a server of its own: what users type, and what they are answered.
//!
//! What it is: a program that `cargo test` runs and `cargo xtask test` counts, one test a file. Words among its
//! arguments choose the files whose names contain one of them.
//!
//! What it is not: the sqllogictest crate, whose format the files keep to. That crate wants other features of
//! dependencies that the product has, and `cargo test` would then build those twice.
//!
//! What must hold: a file that is not understood fails; each difference is named with its file and line.

mod script;
mod server;
mod session;
mod trial;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

use trial::Difference;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/slt");

#[expect(clippy::print_stdout, reason = "it talks as Rust's own test programs do")]
fn main() -> ExitCode {
    // Those that begin with a dash are for the harness that this is not.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let (mut passed, mut failed) = (0, 0);
    let mut tell = |name: &str, outcome: Result<()>| match outcome {
        Ok(()) => {
            println!("test {name} ... ok");
            passed += 1;
        }
        Err(error) => {
            println!("test {name} ... FAILED\n{error:#}\n");
            failed += 1;
        }
    };
    if is_wanted("the runner itself") {
        tell("the runner itself", finds_what_is_wrong());
    }
    match files() {
        Ok(files) => {
            for (name, file) in files.iter().filter(|(name, _)| is_wanted(name)) {
                tell(name, holds(file, name));
            }
        }
        Err(error) => tell("tests/slt", Err(error)),
    }
    println!("\ntest result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files in the order of their names, each with the name that it is reported under.
fn files() -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(FOLDER).with_context(|| format!("cannot list {FOLDER}"))? {
        let path = entry.context("cannot list the files")?.path();
        if path.extension().is_some_and(|extension| extension == "slt") {
            files.push((format!("tests/slt/{}", path.file_name().unwrap_or_default().to_string_lossy()), path));
        }
    }
    ensure!(!files.is_empty(), "there is no .slt file in {FOLDER}");
    files.sort();
    Ok(files)
}

fn holds(file: &Path, name: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let differences: Vec<String> = trial::run(&text)
        .with_context(|| name.to_owned())?
        .iter()
        .map(|Difference { line, told }| format!("{name}:{line}: {told}"))
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// A runner that finds nothing would let every file pass.
fn finds_what_is_wrong() -> Result<()> {
    let differences = trial::run(include_str!("wrong.slt"))?;
    let lines: Vec<usize> = differences.iter().map(|difference| difference.line).collect();
    let text = include_str!("wrong.slt");
    let marked: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| line.starts_with("# wrong")).map(|(n, _)| n + 1).collect();
    ensure!(
        !marked.is_empty() && lines == marked,
        "wrong are the records at {marked:?}, found are {lines:?}: {differences:?}"
    );
    for unreadable in ["SELECT 1\n", "# said\nquery\nSELECT 1\n----\n1\n", "# said\nstatement maybe\nSELECT 1\n"] {
        ensure!(script::parse(unreadable).is_err(), "{unreadable:?} was understood");
    }
    Ok(())
}
