//! The file line by line: what TOML does not keep of it, the order of the settings and what each one means.

use crate::SHIPPED;

/// A setting as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section that it is in.
    pub section: &'static str,
    /// Its key there.
    pub key: &'static str,
    /// What it means: the comment on its line, empty where there is none.
    pub meaning: &'static str,
}

/// The settings in the order of the file.
pub fn entries() -> impl Iterator<Item = Entry> {
    let mut section = "";
    SHIPPED.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            return None;
        }
        let (key, rest) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
        let meaning = rest.split_once(" # ").map_or("", |(_, meaning)| meaning.trim());
        Some(Entry { section, key, meaning })
    })
}
