//! Rules about which crate may know which: the layers as tables.
//!
//! Think twice before an edge is added here. Dependencies point down, and a wire or an engine belongs to one crate.

use serde_json::Value;

use super::{Findings, Source};

// Each crate, and which of ours it may use. Bottom up.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("settings", &[]),
    ("kafka-wire", &["model"]),
    ("eventlog", &["model", "settings"]),
    ("broker", &["eventlog", "kafka-wire", "model", "settings"]),
    ("eventstore", &["eventlog", "model", "settings"]),
    ("dataflow", &[]),
    ("sql", &["model"]),
    ("streaming", &["dataflow", "eventlog", "model", "settings", "sql"]),
    ("lakehouse", &["eventlog", "model", "settings", "sql", "streaming"]),
    ("serving", &["eventlog", "eventstore", "model", "settings", "sql", "streaming"]),
    ("patterns", &["eventlog", "eventstore", "lakehouse", "model", "serving", "settings", "sql", "streaming"]),
    (
        "fourfold",
        &[
            "broker",
            "eventlog",
            "eventstore",
            "lakehouse",
            "model",
            "patterns",
            "serving",
            "settings",
            "sql",
            "streaming",
        ],
    ),
    ("xtask", &[]),
];

// A crate of others, and the only ones of ours that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("arrow-pg", &["serving"]),
    ("axum", &["serving"]),
    ("clap", &["fourfold"]),
    ("datafusion", &["sql", "streaming", "lakehouse", "serving", "patterns", "fourfold", "sim"]),
    ("datafusion-pg-catalog", &["serving"]),
    ("deltalake", &["lakehouse"]),
    ("deltalake-core", &["lakehouse"]),
    ("indicatif", &["fourfold"]),
    ("kafka-protocol", &["kafka-wire"]),
    ("pgwire", &["serving"]),
    ("redb", &["patterns"]),
    ("sqlparser", &["sql", "streaming"]),
    ("tonic", &["serving"]),
];

const NAMES_BANNED: &[&str] = &["common", "core", "helpers", "misc", "shared", "types", "util", "utils"];

/// No drawers, and a crate's folder has its name.
pub(crate) fn names(metadata: &Value) -> Findings {
    let mut findings = Findings::new();
    for package in packages(metadata) {
        let name = text(&package["name"]);
        if name.split('-').any(|part| NAMES_BANNED.contains(&part)) {
            findings.push(format!("{name}: name a crate for the one thing that it is"));
        }
        if !text(&package["manifest_path"]).ends_with(&format!("/{name}/Cargo.toml")) {
            findings.push(format!("{name}: its folder has another name"));
        }
    }
    findings
}

/// Which of ours uses which of ours, tests included.
pub(crate) fn edges(metadata: &Value) -> Findings {
    let ours: Vec<&str> = packages(metadata).map(|package| text(&package["name"])).collect();
    let mut findings = Findings::new();
    for package in packages(metadata) {
        let name = text(&package["name"]);
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("{name}: a new crate needs its line in the table of xtask/src/tidy/layers.rs"));
            continue;
        };
        for used in dependencies(package).filter(|used| ours.contains(used) && *used != name && !allowed.contains(used))
        {
            findings.push(format!("{name} may not use {used}"));
        }
    }
    findings
}

/// Which of ours names which of others'.
pub(crate) fn owners(metadata: &Value) -> Findings {
    let mut findings = Findings::new();
    for package in packages(metadata) {
        let name = text(&package["name"]);
        for (owned, owners) in OWNERS.iter().filter(|(_, owners)| !owners.contains(&name)) {
            if dependencies(package).any(|used| used == *owned) {
                findings.push(format!("{name} names {owned}, which belongs to {}", owners.join(", ")));
            }
        }
    }
    findings
}

/// A crate without the workspace's lints escapes half of STYLE.md.
pub(crate) fn lints(files: &[Source]) -> Findings {
    let ours =
        |path: &str| path.ends_with("/Cargo.toml") && (path.starts_with("crates/") || path.starts_with("xtask/"));
    let without = files.iter().filter(|file| ours(&file.path) && !file.text.contains("[lints]\nworkspace = true"));
    without.map(|file| format!("{}: add `[lints]` with `workspace = true`", file.path)).collect()
}

/// The packages of this workspace.
fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members = metadata["workspace_members"].as_array().map_or(&[][..], Vec::as_slice);
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    packages.iter().filter(|package| members.contains(&package["id"]))
}

fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    package["dependencies"].as_array().into_iter().flatten().map(|dependency| text(&dependency["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
