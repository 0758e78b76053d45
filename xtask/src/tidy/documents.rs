//! Rules about markdown, and about what no file may name.

use super::{Findings, Source};

// Split, so that this list does not find itself.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tm", "p/team"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("deb.debian", ".org"),
];

/// The repository is the same on every machine.
pub(crate) fn machine_paths(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (i, line) in file.text.lines().enumerate() {
            for found in MACHINE.iter().filter(|found| line.contains(**found)) {
                findings.push(format!("{}:{}: names {found:?}", file.path, i + 1));
            }
        }
    }
    findings
}

/// Exactly one `# Title`, and it comes first.
pub(crate) fn titles(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in markdown(files) {
        let titles = prose(&file.text).filter(|line| line.starts_with("# ")).count();
        if titles != 1 || !file.text.starts_with("# ") {
            findings.push(format!("{}: {titles} titles; a page has one, on its first line", file.path));
        }
    }
    findings
}

/// Decisions are numbered without gaps, and the index links each.
pub(crate) fn decisions(files: &[Source]) -> Findings {
    let index = files.iter().find(|file| file.path == "docs/adr/README.md").map_or("", |file| file.text.as_str());
    let pages = files.iter().filter_map(|file| file.path.strip_prefix("docs/adr/")).filter(|name| *name != "README.md");
    let mut pages: Vec<&str> = pages.collect();
    pages.sort_unstable();
    let mut findings = Findings::new();
    for (i, page) in pages.iter().enumerate() {
        if !page.starts_with(&format!("{:04}-", i + 1)) {
            findings.push(format!("docs/adr/{page}: decision {} should be here", i + 1));
        }
        if !index.contains(&format!("({page})")) {
            findings.push(format!("docs/adr/{page}: docs/adr/README.md does not link it"));
        }
    }
    findings
}

/// The pages of the patterns are shown where their code is.
pub(crate) fn pattern_pages(files: &[Source]) -> Findings {
    let code: Vec<&Source> = files.iter().filter(|file| file.path.starts_with("crates/patterns/src/")).collect();
    let pages = files.iter().filter_map(|file| file.path.strip_prefix("docs/patterns/"));
    let included = |page: &str| code.iter().any(|file| file.text.contains(&format!("docs/patterns/{page}\")")));
    pages
        .filter(|page| *page != "README.md" && !included(page))
        .map(|page| format!("docs/patterns/{page}: no module of crates/patterns includes it"))
        .collect()
}

/// `[text](path)` leads to a file or folder of the repository.
pub(crate) fn links(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in markdown(files) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in prose(&file.text).flat_map(targets) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let wanted = resolve(folder, path);
            let exists =
                |candidate: &Source| candidate.path == wanted || candidate.path.starts_with(&format!("{wanted}/"));
            if !files.iter().any(exists) {
                findings.push(format!("{}: the link to {target} leads nowhere", file.path));
            }
        }
    }
    findings
}

/// The README shows what the demo prints: all four patterns, and no placeholder.
pub(crate) fn demo_output(files: &[Source]) -> Findings {
    let readme = files.iter().find(|file| file.path == "README.md").map_or("", |file| file.text.as_str());
    let block =
        readme.split_once("<!-- demo-output: begin").and_then(|(_, rest)| rest.split_once("<!-- demo-output: end"));
    match block.map(|(block, _)| block.matches("same answer").count()) {
        Some(4..) => Findings::new(),
        Some(_) => vec!["README.md: paste what `cargo run -- demo --exit` prints between the two marks".to_owned()],
        None => vec!["README.md: the marks around the demo's output are gone".to_owned()],
    }
}

fn markdown(files: &[Source]) -> impl Iterator<Item = &Source> {
    files.iter().filter(|file| file.path.ends_with(".md"))
}

// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}
