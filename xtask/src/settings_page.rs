//! docs/settings.md: every setting on one page, written from `config/default.toml`.

use crate::tidy::{Findings, Source};

/// Where the page is.
pub(crate) const PAGE: &str = "docs/settings.md";
/// What it is written from.
pub(crate) const DEFAULTS: &str = "config/default.toml";

const HEAD: &str = "\
# Settings

Written from [config/default.toml](../config/default.toml) by `cargo xtask settings-page`. A setting `section.key` is
overridden by a file (`fourfold dev --config FILE`), by the environment (`FOURFOLD_SECTION_KEY`) or by a flag, the later
winning. `fourfold settings` prints what is in force and where it is from.
";

/// The page.
pub(crate) fn page(defaults: &str) -> String {
    let mut page = HEAD.to_owned();
    for line in defaults.lines().filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            page.push_str(&format!("\n## {section}\n\n| Setting | Default | Meaning |\n|---|---|---|\n"));
        } else if let Some((key, rest)) = line.split_once(" = ") {
            let (value, meaning) = rest.split_once(" # ").unwrap_or((rest, ""));
            page.push_str(&format!("| `{key}` | `{}` | {} |\n", value.trim(), meaning.trim().replace('|', "\\|")));
        }
    }
    page
}

/// The page is what the file gives.
pub(crate) fn current(files: &[Source]) -> Findings {
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    if text(PAGE) == page(text(DEFAULTS)) {
        return Findings::new();
    }
    vec![format!("{PAGE} is not what {DEFAULTS} gives: run `cargo xtask settings-page`")]
}
