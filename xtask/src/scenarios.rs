//! `cargo xtask scenarios`: documents that are run against the built binary, as a newcomer would type them.
//!
//! Each `tests/scenarios/*.md` is prose with blocks. A heading `## ...` begins a scenario on an empty data folder. A
//! block ```` ```sh ```` is typed into one bash for the whole scenario; a block ```` ```text ```` after it is what it shows. In what it
//! shows, `<any>` stands for any part of a line, and a line `...` for any lines.
//!
//! What must hold: a block of commands without what it shows is still run; what is shown has to fit as a whole.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clients::{build, fresh};
use crate::paths::Paths;
use crate::process::Running;
use crate::report::Report;

const LIMIT: Duration = Duration::from_secs(240);
const PRELUDE: &str = include_str!("scenarios/prelude.sh");
const MARK: &str = "@@ end of block";

/// One scenario: its heading, and its blocks in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scenario {
    title: String,
    blocks: Vec<Block>,
}

/// Commands, and what they show.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    commands: String,
    shown: Option<String>,
}

/// Runs the scenarios whose heading or file contains one of `names` (all when there are none).
pub(crate) fn run(report: &mut Report, paths: &Paths, names: &[String]) -> Result<()> {
    let binary = build(paths, "dev")?;
    for file in documents(&paths.root.join("tests/scenarios"))? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (number, scenario) in parse(&text).into_iter().enumerate() {
            let title = format!("{name}: {}", scenario.title);
            if names.is_empty() || names.iter().any(|wanted| title.contains(wanted.as_str())) {
                let folder = fresh(paths, &format!("scenario-{name}-{number}"))?;
                report.outcome(&title, play(&scenario, &binary, &folder));
            }
        }
    }
    Ok(())
}

fn documents(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry.context("cannot list the scenarios")?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    Ok(paths)
}

/// Takes a document apart.
fn parse(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            scenarios.push(Scenario { title: title.to_owned(), blocks: Vec::new() });
        }
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let inner: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let Some(scenario) = scenarios.last_mut() else { continue };
        match (kind, scenario.blocks.last_mut()) {
            ("sh", _) => scenario.blocks.push(Block { commands: inner.join("\n"), shown: None }),
            ("text", Some(block)) => block.shown = Some(inner.join("\n")),
            _ => {}
        }
    }
    scenarios
}

fn play(scenario: &Scenario, binary: &Path, folder: &Path) -> Result<()> {
    let mut script = PRELUDE.to_owned();
    for block in &scenario.blocks {
        script.push_str(&format!("\n{}\necho '{MARK}'\n", block.commands));
    }
    let (file, log) = (folder.join("scenario.sh"), folder.join("shown.log"));
    std::fs::write(&file, script).context("cannot write the scenario's script")?;
    let mut bash = Command::new("bash");
    bash.arg(&file).env("FOURFOLD_BINARY", binary).env("FOURFOLD_FOLDER", folder).current_dir(folder);
    Running::start(&scenario.title, &mut bash, &log)?.wait(LIMIT)?;
    let shown = std::fs::read(&log).context("cannot read what was shown")?;
    compare(scenario, &String::from_utf8_lossy(&shown))
}

fn compare(scenario: &Scenario, shown: &str) -> Result<()> {
    let pieces: Vec<&str> = shown.split(MARK).collect();
    for (block, piece) in scenario.blocks.iter().zip(&pieces) {
        let Some(expected) = &block.shown else { continue };
        let found: Vec<&str> = piece.trim_matches('\n').lines().map(str::trim_end).collect();
        let lines: Vec<&str> = expected.lines().map(str::trim_end).collect();
        if !fits(&lines, &found) {
            bail!("$ {}\n--- expected\n{expected}\n--- shown\n{}", block.commands, found.join("\n"));
        }
    }
    if pieces.len() <= scenario.blocks.len() {
        bail!("the scenario ended before its last block: {}", pieces.last().unwrap_or(&""));
    }
    Ok(())
}

// Whether lines are what is expected, where `...` stands for any lines.
fn fits(expected: &[&str], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((&"...", rest)) => (0..=found.len()).any(|skipped| fits(rest, &found[skipped..])),
        Some((line, rest)) => {
            found.split_first().is_some_and(|(first, others)| line_fits(line, first) && fits(rest, others))
        }
    }
}

// Whether a line is what is expected, where `<any>` stands for any part of it.
fn line_fits(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("<any>");
    let Some(mut rest) = found.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests;
