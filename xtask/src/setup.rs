//! What the tests need from outside: Debian packages, Python packages, npm packages.
//!
//! What must hold: everything but Debian's packages goes below the target folder; versions are the ones checked in; a
//! second run finds the first one's work and does nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths::Paths;
use crate::process;

// A program, and the Debian packages that bring it.
const DEBIAN: &[(&str, &[&str])] = &[
    ("git", &["git"]),
    ("kcat", &["kcat"]),
    ("psql", &["postgresql-client"]),
    ("curl", &["curl"]),
    ("python3", &["python3", "python3-venv"]),
    ("node", &["nodejs"]),
    ("npm", &["npm"]),
];

/// The clients' tools, ready to be used.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// A Python that has the packages of `tests/clients/requirements.txt`.
    pub(crate) python: PathBuf,
    /// The folder with `node_modules` of `tests/clients/package.json`.
    pub(crate) node: PathBuf,
}

/// Where the tools are, or will be.
pub(crate) fn tools(paths: &Paths) -> Result<Tools> {
    Ok(Tools { python: paths.own("python")?.join("bin/python"), node: paths.own("node")? })
}

/// Installs what is missing of Debian's packages, when allowed to.
pub(crate) fn debian() -> Result<()> {
    let missing = DEBIAN.iter().filter(|(program, _)| !process::exists(program));
    install(&missing.flat_map(|(_, packages)| packages.iter().copied()).collect::<Vec<_>>())
}

/// Installs PostgreSQL's server where there is none, when allowed to.
pub(crate) fn postgresql() -> Result<()> {
    let is_there = process::exists("initdb") || Path::new("/usr/lib/postgresql").is_dir();
    if is_there { Ok(()) } else { install(&["postgresql"]) }
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    if !rustix::process::geteuid().is_root() || !process::exists("apt-get") {
        bail!("missing programs; install them first: {wanted} (on Debian: sudo apt-get install {wanted})");
    }
    println!("installing {wanted}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        apt
    };
    process::capture(apt().arg("update"))?;
    process::capture(apt().args(["install", "-y", "--no-install-recommends"]).args(packages)).map(drop)
}

/// Makes the Python environment.
pub(crate) fn python(paths: &Paths) -> Result<()> {
    let environment = paths.own("python")?;
    let wanted = paths.root.join("tests/clients/requirements.txt");
    once(&environment.join("fourfold-requirements.txt"), &[&wanted], || {
        if environment.exists() {
            std::fs::remove_dir_all(&environment).context("cannot remove the old Python environment")?;
        }
        process::capture(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            .context("cannot make a Python environment (on Debian: apt-get install python3-venv)")?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        process::capture(pip.arg("--requirement").arg(&wanted)).map(drop)
    })
}

/// Installs the npm packages.
pub(crate) fn node(paths: &Paths) -> Result<()> {
    let folder = paths.own("node")?;
    let wanted = ["package.json", "package-lock.json"].map(|name| paths.root.join("tests/clients").join(name));
    once(&folder.join("fourfold-packages.json"), &[&wanted[0], &wanted[1]], || {
        for file in &wanted {
            let name = file.file_name().context("a file has a name")?;
            std::fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&folder);
        process::capture(&mut npm).map(drop)
    })
}

// Does the work unless `mark` says that it was done for the same inputs.
fn once(mark: &Path, inputs: &[&Path], work: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut wanted = String::new();
    for input in inputs {
        wanted += &std::fs::read_to_string(input).with_context(|| format!("cannot read {}", input.display()))?;
    }
    if std::fs::read_to_string(mark).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    std::fs::write(mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}
