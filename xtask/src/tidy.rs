//! The rules that this repository checks about itself: layering, one version of the heavy crates, and house style.
//!
//! Each rule is a function from the facts to the places that break it. A rule that no machine checks drifts; so what
//! STYLE.md and ARCHITECTURE.md promise is here wherever it can be.

mod dependencies;
mod documents;
mod layers;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths::{Paths, cargo};
use crate::process;
use crate::report::Report;
use crate::settings_page;

/// What a rule found wrong: one line a place.
pub(crate) type Findings = Vec<String>;

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// Checks every rule.
pub(crate) fn run(report: &mut Report, paths: &Paths) -> Result<()> {
    let files = files(&paths.root)?;
    let metadata = metadata(&paths.root, &[])?;
    let rules: &[(&str, Findings)] = &[
        ("every .rs file opens with //!", sources::opens_with_a_document(&files)),
        ("no production file is over its length", sources::lengths(&files)),
        ("settings have no other default than the file's", sources::settings_defaults(&files)),
        ("no banned word", sources::banned_words(&files)),
        ("no unsafe code", sources::unsafe_code(&files)),
        ("only the binary reads the environment", sources::environment(&files)),
        ("a module is a file of its name", sources::module_files(&files)),
        ("every .rs file is part of a crate", sources::orphans(&files)),
        ("no path or host of one machine", documents::machine_paths(&files)),
        ("one title a markdown file", documents::titles(&files)),
        ("every decision is in the index", documents::decisions(&files)),
        ("every pattern's page is its module's documentation", documents::pattern_pages(&files)),
        ("docs/settings.md is what config/default.toml gives", settings_page::current(&files)),
        ("the README shows the demo's output", documents::demo_output(&files)),
        ("every planted bug fits the sources", planted(&paths.root, &files)),
        ("every relative link leads somewhere", documents::links(&files)),
        ("crates are named for what they are", layers::names(&metadata)),
        ("dependencies point down", layers::edges(&metadata)),
        ("a heavy crate is named by its owner alone", layers::owners(&metadata)),
        ("every crate takes the workspace's lints", layers::lints(&files)),
        ("the light crates build without DataFusion", dependencies::light(&metadata)?),
        ("one version of each heavy crate", dependencies::versions(&metadata)),
        ("both README commands share one build", dependencies::one_build(paths)?),
    ];
    for (rule, findings) in rules {
        match findings.as_slice() {
            [] => report.pass(rule),
            found => report.fail(rule, &found.join("\n")),
        }
    }
    Ok(())
}

// A bug that cannot be planted any more shows nothing about the harness.
fn planted(root: &Path, files: &[Source]) -> Findings {
    let patches =
        files.iter().filter(|file| file.path.starts_with("tests/crash/planted/") && file.path.ends_with(".patch"));
    let fits = |patch: &&Source| {
        let mut git = std::process::Command::new("git");
        process::capture(git.current_dir(root).args(["apply", "--check", &patch.path]))
    };
    patches.filter_map(|patch| fits(&patch).err().map(|error| format!("{}: {error:#}", patch.path))).collect()
}

/// `cargo metadata` of the checkout at `root`.
pub(crate) fn metadata(root: &Path, arguments: &[&str]) -> Result<Value> {
    let mut cargo = cargo();
    cargo.current_dir(root).args(["metadata", "--format-version", "1"]).args(arguments);
    serde_json::from_str(&process::capture(&mut cargo)?).context("cargo metadata did not write JSON")
}

// Tracked files, and new ones that are not ignored.
fn files(root: &Path) -> Result<Vec<Source>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = process::capture(&mut git).context("tidy asks git which files belong to the repository")?;
    let mut files = Vec::new();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let path: PathBuf = root.join(name);
        // Deleted but not yet committed, or not text: nothing to check.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files.push(Source { path: name.to_owned(), text });
    }
    if files.is_empty() {
        bail!("git lists no files in {}", root.display());
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
