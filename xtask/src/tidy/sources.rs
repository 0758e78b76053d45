//! Rules about Rust files.

use super::{Findings, Source};

const LENGTH_MAX: usize = 500;

// Files that are longer than they should be, with the length that they may not pass. An entry only ever shrinks; once
// the file is short enough it goes.
const RATCHET: &[(&str, usize)] = &[];

// Files that may hold unsafe code. Each says why at its top.
const UNSAFE: &[&str] = &[];

// Split, so that this list does not find itself.
const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "do it now, or file an issue"),
    (concat!("X", "XX"), "do it now, or file an issue"),
    (concat!("dbg", "!("), "remove it"),
    (concat!("todo", "!("), "write it, or answer with an Unsupported error"),
    (concat!("unimplemented", "!("), "write it, or answer with an Unsupported error"),
    (concat!("#[", "ignore"), "a test that does not run shows nothing"),
];

/// Each file says first what it is; a page of docs/ may say it.
pub(crate) fn opens_with_a_document(files: &[Source]) -> Findings {
    let documented = |file: &&Source| file.text.starts_with("//! ") || file.text.starts_with("#![doc = include_str!(");
    let undocumented = rust(files).filter(|file| !documented(file));
    undocumented.map(|file| format!("{}: line 1 must be `//! ` and what the file is", file.path)).collect()
}

/// Production files stay short enough to be read at once.
pub(crate) fn lengths(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in rust(files).filter(|file| is_production(&file.path)) {
        let length = file.text.lines().count();
        let allowed = RATCHET.iter().find(|(path, _)| *path == file.path).map(|(_, allowed)| *allowed);
        match allowed {
            None if length > LENGTH_MAX => {
                findings.push(format!("{}: {length} lines, split it below {LENGTH_MAX}", file.path));
            }
            Some(allowed) if length > allowed => {
                findings.push(format!("{}: {length} lines, it may only shrink from {allowed}", file.path));
            }
            Some(_) if length <= LENGTH_MAX => {
                findings.push(format!("{}: {length} lines, take it out of the ratchet", file.path));
            }
            _ => {}
        }
    }
    let exists = |path: &str| files.iter().any(|file| file.path == path);
    findings.extend(
        RATCHET
            .iter()
            .filter(|(path, _)| !exists(path))
            .map(|(path, _)| format!("{path}: is gone, take it out of the ratchet")),
    );
    findings
}

/// Nothing that was meant to be temporary.
pub(crate) fn banned_words(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in rust(files) {
        for (number, line) in numbered(&file.text) {
            for (word, instead) in BANNED.iter().filter(|(word, _)| has_word(line, word)) {
                findings.push(format!("{}:{number}: `{word}`: {instead}", file.path));
            }
        }
    }
    findings
}

/// Unsafe code only where it is listed.
pub(crate) fn unsafe_code(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in rust(files).filter(|file| !UNSAFE.contains(&file.path.as_str())) {
        for (number, line) in numbered(&file.text) {
            let code = line.split("//").next().unwrap_or_default();
            let block = [
                concat!("unsafe", " {"),
                concat!("unsafe", " fn"),
                concat!("unsafe", " impl"),
                concat!("(unsafe", "_code"),
            ];
            if block.iter().any(|word| code.contains(word)) {
                findings.push(format!("{}:{number}: unsafe code in a file that is not listed", file.path));
            }
        }
    }
    findings
}

/// Settings are passed in; only the binary reads the environment and the arguments.
pub(crate) fn environment(files: &[Source]) -> Findings {
    let below = |file: &&Source| {
        is_production(&file.path) && file.path.starts_with("crates/") && !file.path.starts_with("crates/fourfold/")
    };
    let reads = [concat!("env", "::var"), concat!("env", "::args"), concat!("env", "::current_dir")];
    let mut findings = Findings::new();
    for file in rust(files).filter(below).filter(|file| !file.path.contains("/examples/")) {
        for (number, line) in numbered(&file.text).filter(|(_, line)| reads.iter().any(|read| line.contains(read))) {
            findings.push(format!("{}:{number}: {}: take it as a setting", file.path, line.trim()));
        }
    }
    findings
}

// Settings of something that users make and that keeps them, not of the product.
const SETTINGS_WITH_DEFAULTS: &[&str] = &["TopicSettings"];

/// A setting's default stands in `config/default.toml` and nowhere else, so that tests run what is delivered.
pub(crate) fn settings_defaults(files: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for file in rust(files).filter(|file| file.path.starts_with("crates/")) {
        for (number, line) in numbered(&file.text) {
            let settings = line.strip_prefix("impl Default for ").and_then(|rest| rest.split_whitespace().next());
            if settings.is_some_and(|name| name.ends_with("Settings") && !SETTINGS_WITH_DEFAULTS.contains(&name)) {
                findings.push(format!("{}:{number}: put the defaults into config/default.toml", file.path));
            }
        }
    }
    findings
}

/// A module is a file of its name, with its parts in a folder beside it; the folders that tests share cannot be.
pub(crate) fn module_files(files: &[Source]) -> Findings {
    let inner = rust(files).filter(|file| file.path.contains("/src/") && file.path.ends_with("/mod.rs"));
    inner.map(|file| format!("{}: name the file as the module, beside its folder", file.path)).collect()
}

/// A file that no `mod` names is not compiled, so nothing in it is true.
pub(crate) fn orphans(files: &[Source]) -> Findings {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let mut findings = Findings::new();
    for file in rust(files) {
        let Some((krate, inner)) = file.path.split_once("/src/") else { continue };
        if matches!(inner, "lib.rs" | "main.rs") || inner.starts_with("bin/") {
            continue;
        }
        let module = inner.trim_end_matches(".rs");
        let (parent, name) = module.rsplit_once('/').map_or(("", module), |(parent, name)| (parent, name));
        let candidates = if parent.is_empty() {
            vec![format!("{krate}/src/lib.rs"), format!("{krate}/src/main.rs")]
        } else {
            vec![format!("{krate}/src/{parent}.rs")]
        };
        let declared = format!("mod {name};");
        let named = candidates.iter().filter_map(|path| text(path)).any(|text| text.contains(&declared));
        if !named {
            findings.push(format!("{}: no `{declared}` in {}", file.path, candidates.join(" or ")));
        }
    }
    findings
}

fn rust(files: &[Source]) -> impl Iterator<Item = &Source> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

fn is_production(path: &str) -> bool {
    !path.ends_with("/tests.rs") && !path.split('/').any(|part| matches!(part, "tests" | "benches" | "bench" | "fuzz"))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

// Found, and not as a part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(in_word);
        let after = line[at + word.len()..].chars().next().is_some_and(in_word) && word.ends_with(in_word);
        !before && !after
    })
}
