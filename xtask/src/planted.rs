//! Bugs planted on purpose: a harness that has never seen a failure has shown nothing.
//!
//! A bug is a patch, `planted/NAME.patch` beside the harness, applied to a copy of the sources below the target folder. No
//! switch for it is in the product.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::clients;
use crate::paths::{Paths, cargo};
use crate::process;

/// The bugs of the harness in the folder `tests/HARNESS` that `wanted` names: one, or `all` that there are.
pub(crate) fn names(paths: &Paths, harness: &str, wanted: &str) -> Result<Vec<String>> {
    if wanted != "all" {
        return Ok(vec![wanted.to_owned()]);
    }
    let folder = patches(paths, harness);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = entry.context("cannot list the planted bugs")?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".patch")).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// A copy of the sources with the bug `name`.
pub(crate) fn tree(paths: &Paths, harness: &str, name: &str) -> Result<PathBuf> {
    let patch = patches(paths, harness).join(name).with_extension("patch");
    anyhow::ensure!(patch.is_file(), "there is no {}", patch.display());
    let tree = clients::fresh(paths, &format!("planted-{name}"))?;
    copy_sources(&paths.root, &tree)?;
    apply(&patch, &tree)?;
    name_the_version(&tree, name)?;
    Ok(tree)
}

/// Cargo in such a copy, with the same target folder, so that only our own crates are compiled again.
pub(crate) fn cargo_in(tree: &Path, paths: &Paths) -> Command {
    let mut cargo = cargo();
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", &paths.target);
    cargo
}

/// Builds the product with the bug `name` and says where the binary is.
pub(crate) fn build(paths: &Paths, harness: &str, name: &str, profile: &str) -> Result<PathBuf> {
    let tree = tree(paths, harness, name)?;
    process::run(cargo_in(&tree, paths).args(["build", "--package", "fourfold", "--profile", profile]))?;
    let built = paths.target.join(if profile == "dev" { "debug" } else { profile }).join("fourfold");
    let kept = tree.join("fourfold-planted");
    std::fs::copy(&built, &kept).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(kept)
}

fn patches(paths: &Paths, harness: &str) -> PathBuf {
    paths.root.join("tests").join(harness).join("planted")
}

fn copy_sources(root: &Path, tree: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for name in process::capture(&mut git)?.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), tree.join(name));
        // Listed but deleted in the work tree.
        if !from.is_file() {
            continue;
        }
        let folder = to.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

/// Gives the copy a version of its own. Cargo would otherwise take its crates for those of the checkout, and one's build
/// for the other's: the bug would end up in the product, or the product's build be tested for the bug.
fn name_the_version(tree: &Path, name: &str) -> Result<()> {
    let manifest = tree.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).context("cannot read the copy's Cargo.toml")?;
    let line = text.lines().find(|line| line.starts_with("version = \"")).context("Cargo.toml has no version")?;
    let planted = text.replacen(line, &format!("version = \"0.0.0-planted-{name}\""), 1);
    std::fs::write(&manifest, planted).context("cannot write the copy's Cargo.toml")
}

fn apply(patch: &Path, tree: &Path) -> Result<()> {
    let mut git = Command::new("git");
    // The copy may lie below the checkout; git must not take it for a part of that.
    git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree)).current_dir(tree);
    process::capture(git.args(["apply", "--whitespace=nowarn"]).arg(patch))
        .context("the patch does not fit any more")
        .map(drop)
}
