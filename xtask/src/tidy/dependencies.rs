//! Rules about the whole dependency tree.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Findings;
use crate::lanes::LIGHT;
use crate::paths::Paths;
use crate::process;

// Two versions of one of these would not understand each other's values, and would double the build.
const ONE_VERSION: &[&str] =
    &["arrow", "arrow-array", "datafusion", "object_store", "parquet", "sqlparser", "tonic", "tokio"];
const HEAVY: &[&str] = &["arrow", "datafusion", "deltalake"];

/// Nothing that a light crate reaches, its tests included, is heavy.
pub(crate) fn light(metadata: &Value) -> Result<Findings> {
    let names = names(metadata);
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata has no tree")?;
    let uses: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| {
            let used = node["dependencies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            (node["id"].as_str().unwrap_or_default(), used)
        })
        .collect();
    let mut findings = Findings::new();
    for krate in LIGHT {
        let own = metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut waiting: Vec<&str> = own.filter(|id| names.get(id) == Some(krate)).collect();
        if waiting.is_empty() {
            findings.push(format!("{krate}: is not in the workspace"));
        }
        let mut reached = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if reached.insert(id) {
                waiting.extend(uses.get(id).into_iter().flatten());
            }
        }
        let reached: BTreeSet<&str> = reached.iter().filter_map(|id| names.get(id).copied()).collect();
        let heavy = reached.iter().filter(|name| HEAVY.iter().any(|heavy| name.split('-').next() == Some(heavy)));
        findings.extend(heavy.map(|name| format!("{krate} reaches {name}")));
    }
    Ok(findings)
}

/// At most one version each.
pub(crate) fn versions(metadata: &Value) -> Findings {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (name, version) = (package["name"].as_str(), package["version"].as_str());
        versions.entry(name.unwrap_or_default()).or_default().insert(version.unwrap_or_default());
    }
    let several =
        ONE_VERSION.iter().filter_map(|name| Some((name, versions.get(name)?))).filter(|(_, found)| found.len() > 1);
    several
        .map(|(name, found)| {
            format!("{name} is there in versions {}", found.iter().copied().collect::<Vec<_>>().join(", "))
        })
        .collect()
}

/// `cargo run` and `cargo test --workspace` want the same features of every dependency. A test that wants one more
/// would make a newcomer build that crate, and all above it, twice.
pub(crate) fn one_build(paths: &Paths) -> Result<Findings> {
    let run = features(paths, &["--package", "fourfold", "--edges", "normal,build"])?;
    let test = features(paths, &["--workspace", "--edges", "normal,build,dev"])?;
    let mut findings = Findings::new();
    for (package, wanted) in &run {
        if let Some(more) = test.get(package).filter(|also| !also.is_subset(wanted)) {
            let more: Vec<&str> = more.difference(wanted).map(String::as_str).collect();
            findings.push(format!(
                "{package}: tests want {}; name it in [workspace.dependencies] or do without",
                more.join(", ")
            ));
        }
    }
    Ok(findings)
}

// A package, and the sets of features that it is built with (a build script's may differ from the product's).
fn features(paths: &Paths, arguments: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut cargo = paths.cargo();
    cargo.args(["tree", "--prefix", "none", "--format", "{p}|{f}"]).args(arguments);
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in process::capture(&mut cargo)?.lines() {
        if let Some((package, wanted)) = line.trim_end().trim_end_matches(" (*)").split_once('|') {
            features.entry(package.to_owned()).or_default().insert(format!("[{wanted}]"));
        }
    }
    Ok(features)
}

fn names(metadata: &Value) -> BTreeMap<&str, &str> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?))).collect()
}
