//! Clients that others wrote, unmodified, against one running server.
//!
//! Each file `tests/clients/*_test.py`, `*_test.mjs` and `*.sh` is one test: it is told where the doors are by
//! environment, says what failed, and ends with 0 when all was well.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::paths::Paths;
use crate::process::Running;
use crate::report::Report;
use crate::server::Server;
use crate::setup::{self, Tools};

const LIMIT: Duration = Duration::from_secs(180);

/// Runs the clients whose name contains one of `names` (all when there are none).
pub(crate) fn run(report: &mut Report, paths: &Paths, names: &[String]) -> Result<()> {
    let binary = build(paths, "dev")?;
    let tools = setup::tools(paths)?;
    let folder = fresh(paths, "clients")?;
    let mut server = Server::start(&binary, &folder, None)?;
    for file in files(&paths.root.join("tests/clients"))? {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let outcome = client(&file, &name, &tools, &server, &folder);
        report.outcome(&format!("client {name}"), outcome.and_then(|()| server.check()));
    }
    report.outcome("fourfold dev stops cleanly when asked", server.stop());
    Ok(())
}

/// Builds the binary and says where it is.
pub(crate) fn build(paths: &Paths, profile: &str) -> Result<PathBuf> {
    crate::process::run(paths.cargo().args(["build", "--package", "fourfold", "--profile", profile]))?;
    Ok(paths.target.join(if profile == "dev" { "debug" } else { profile }).join("fourfold"))
}

/// The program at `given`, or one that is built.
pub(crate) fn binary(paths: &Paths, given: Option<&Path>, profile: &str) -> Result<PathBuf> {
    match given {
        Some(binary) => std::path::absolute(binary).context("cannot tell where the program is"),
        None => build(paths, profile),
    }
}

/// An empty folder of that name.
pub(crate) fn fresh(paths: &Paths, name: &str) -> Result<PathBuf> {
    let folder = paths.own(name)?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    paths.own(name)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context("cannot list the clients")?.path();
        let name = path.to_string_lossy();
        if [".sh", "_test.py", "_test.mjs"].iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn client(file: &Path, name: &str, tools: &Tools, server: &Server, folder: &Path) -> Result<()> {
    let mut command = match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => {
            let mut python = Command::new(&tools.python);
            python.arg(file).env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1");
            python
        }
        Some("mjs") => {
            // Node looks for packages beside and above the file that imports them.
            let copy = tools.node.join(name);
            std::fs::copy(file, &copy).with_context(|| format!("cannot copy {name}"))?;
            let mut node = Command::new("node");
            node.arg(copy);
            node
        }
        _ => {
            let mut bash = Command::new("bash");
            bash.arg(file);
            bash
        }
    };
    server.addresses.tell(&mut command, &server.data);
    command.current_dir(folder);
    Running::start(name, &mut command, &folder.join(format!("{name}.log")))?.wait(LIMIT)
}
