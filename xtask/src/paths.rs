//! Where things are: the checkout, and the target folder that everything made goes to.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

/// The folders of a run.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Paths {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = PathBuf::from(manifest).parent().context("xtask lies in no folder")?.to_owned();
        let metadata = crate::tidy::metadata(&root, &["--no-deps"])?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into();
        Ok(Self { root, target })
    }

    /// A folder for this tool's own things, made if missing.
    pub(crate) fn own(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// A `cargo` that runs in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }
}

/// The cargo that started this tool, as if called by hand.
///
/// Cargo tells this tool about its package by environment. Some build scripts of others look at those variables; were
/// they passed on, `cargo run` and this tool would each undo the other's build of everything above such a crate.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_this_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_about_this_package(name: &str) -> bool {
    let whole = ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    let begins = ["CARGO_BIN_EXE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
    whole.contains(&name) || begins.iter().any(|begin| name.starts_with(begin))
}
