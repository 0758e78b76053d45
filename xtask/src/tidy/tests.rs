//! Each rule sees what it is there to see.

use serde_json::json;

use super::*;

fn file(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn check(rule: fn(&[Source]) -> Findings, path: &str, text: &str, expected: usize) {
    let found = rule(&[file(path, text)]);
    assert_eq!(found.len(), expected, "{path}: {text:?} gave {found:?}");
}

#[test]
fn a_file_says_first_what_it_is() {
    check(sources::opens_with_a_document, "a.rs", "//! A file.\n", 0);
    check(sources::opens_with_a_document, "a.rs", "#![doc = include_str!(\"a.md\")]\n", 0);
    check(sources::opens_with_a_document, "a.rs", "use std::io;\n", 1);
    check(sources::opens_with_a_document, "a.md", "text", 0);
}

#[test]
fn long_files_are_seen_unless_they_are_tests() {
    let long = "//! Long.\n".repeat(501);
    check(sources::lengths, "crates/a/src/b.rs", &long, 1);
    check(sources::lengths, "crates/a/src/b/tests.rs", &long, 0);
    check(sources::lengths, "crates/a/tests/b.rs", &long, 0);
}

#[test]
fn a_module_is_a_file_of_its_name() {
    check(sources::module_files, "crates/a/src/b/mod.rs", "//! B.\n", 1);
    check(sources::module_files, "crates/a/src/b.rs", "//! B.\n", 0);
    check(sources::module_files, "crates/a/tests/support/mod.rs", "//! B.\n", 0);
}

#[test]
fn banned_words_are_whole_words() {
    check(sources::banned_words, "a.rs", concat!("// FIX", "ME: later"), 1);
    check(sources::banned_words, "a.rs", concat!("    todo", "!()"), 1);
    check(sources::banned_words, "a.rs", concat!("let PREX", "XX = 1;"), 0);
}

#[test]
fn unsafe_code_is_seen_but_not_talk_of_it() {
    check(sources::unsafe_code, "a.rs", concat!("let x = unsafe", " { y };"), 1);
    check(sources::unsafe_code, "a.rs", concat!("#[allow(unsafe", "_code)]"), 1);
    check(sources::unsafe_code, "a.rs", "// no unsafe { } here", 0);
}

#[test]
fn only_the_binary_reads_the_environment() {
    let read = concat!("let x = std::env", "::var(\"X\");");
    check(sources::environment, "crates/broker/src/a.rs", read, 1);
    check(sources::environment, "crates/fourfold/src/a.rs", read, 0);
    check(sources::environment, "crates/broker/src/a/tests.rs", read, 0);
}

#[test]
fn settings_have_no_other_default_than_the_file() {
    let default = "impl Default for BrokerSettings {";
    check(sources::settings_defaults, "crates/broker/src/settings.rs", default, 1);
    check(sources::settings_defaults, "crates/eventlog/src/log.rs", "impl Default for TopicSettings {", 0);
    check(sources::settings_defaults, "crates/broker/src/a.rs", "impl Default for Broker {", 0);
}

#[test]
fn the_page_of_settings_is_what_the_file_gives() {
    let defaults = "[kafka]\nport = 9092   # 0 takes a free one\n";
    let page = settings_page::page(defaults);
    assert!(page.ends_with(
        "## kafka\n\n| Setting | Default | Meaning |\n|---|---|---|\n| `port` | `9092` | 0 takes a free one |\n"
    ));
    let files = |page: &str| [file(settings_page::DEFAULTS, defaults), file(settings_page::PAGE, page)];
    assert_eq!(settings_page::current(&files(&page)).len(), 0);
    assert_eq!(settings_page::current(&files("")).len(), 1);
}

#[test]
fn a_file_without_a_mod_is_an_orphan() {
    let parent = file("crates/a/src/lib.rs", "//! A.\nmod b;\n");
    let found = sources::orphans(&[parent, file("crates/a/src/b.rs", ""), file("crates/a/src/c.rs", "")]);
    assert_eq!(found.len(), 1, "{found:?}");
    let nested = [file("crates/a/src/b.rs", "mod tests;"), file("crates/a/src/b/tests.rs", "")];
    assert!(sources::orphans(&nested).iter().all(|found| !found.contains("b/tests.rs")));
}

#[test]
fn a_page_has_one_title_on_its_first_line() {
    check(documents::titles, "a.md", "# A\n\n```sh\n# a comment\n```\n", 0);
    check(documents::titles, "a.md", "# A\n# B\n", 1);
    check(documents::titles, "a.md", "text\n# A\n", 1);
}

#[test]
fn links_lead_somewhere() {
    let found = |target: &str| {
        let page = file("docs/a.md", &format!("# A\n[x]({target})"));
        documents::links(&[page, file("README.md", "# R\n")]).len()
    };
    assert_eq!(found("../README.md"), 0);
    assert_eq!(found("../README.md#part"), 0);
    assert_eq!(found("https://example.org/x"), 0);
    assert_eq!(found("README.md"), 1);
}

#[test]
fn decisions_are_linked_and_numbered() {
    let index = file("docs/adr/README.md", "# Decisions\n[1](0001-a.md)");
    let found = documents::decisions(&[index, file("docs/adr/0001-a.md", ""), file("docs/adr/0003-b.md", "")]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn the_readme_shows_four_answers() {
    let readme = |lines: usize| {
        format!("<!-- demo-output: begin -->\n{}<!-- demo-output: end -->", "same answer\n".repeat(lines))
    };
    check(documents::demo_output, "README.md", &readme(4), 0);
    check(documents::demo_output, "README.md", &readme(0), 1);
    check(documents::demo_output, "README.md", "# R", 1);
}

#[test]
fn machine_paths_are_seen() {
    check(documents::machine_paths, "a.md", concat!("see /wo", "rk/main"), 1);
    check(documents::machine_paths, "a.md", "see crates/model", 0);
}

fn workspace(name: &str, dependency: &str) -> Value {
    json!({
        "workspace_members": ["a", "m"],
        "packages": [
            { "id": "a", "name": name, "manifest_path": format!("/x/{name}/Cargo.toml"), "dependencies": [{ "name": dependency }] },
            { "id": "m", "name": "patterns", "manifest_path": "/x/patterns/Cargo.toml", "dependencies": [] },
        ],
    })
}

#[test]
fn edges_point_down_and_owners_own() {
    assert_eq!(layers::edges(&workspace("streaming", "patterns")).len(), 1);
    assert_eq!(layers::edges(&workspace("fourfold", "patterns")).len(), 0);
    assert_eq!(layers::edges(&workspace("unheard-of", "serde")).len(), 1);
    assert_eq!(layers::owners(&workspace("broker", "kafka-protocol")).len(), 1);
    assert_eq!(layers::owners(&workspace("kafka-wire", "kafka-protocol")).len(), 0);
    assert_eq!(layers::names(&workspace("stream-utils", "serde")).len(), 1);
}

#[test]
fn a_second_version_is_seen() {
    let one = |version: &str| json!({ "id": version, "name": "arrow", "version": version });
    assert_eq!(dependencies::versions(&json!({ "packages": [one("59.0.0"), one("58.0.0")] })).len(), 1);
    assert_eq!(dependencies::versions(&json!({ "packages": [one("59.0.0")] })).len(), 0);
}

#[test]
fn a_light_crate_that_reaches_datafusion_is_seen() {
    let node = |id: &str, uses: &[&str]| json!({ "id": id, "dependencies": uses });
    let names = lanes_and("datafusion-sql");
    let ids: Vec<Value> = names.iter().map(|name| json!({ "id": name, "name": name })).collect();
    let mut nodes: Vec<Value> = names.iter().map(|name| node(name, &[])).collect();
    nodes[0] = node("model", &["datafusion-sql"]);
    let metadata = json!({ "workspace_members": crate::lanes::LIGHT, "packages": ids, "resolve": { "nodes": nodes } });
    let found = dependencies::light(&metadata).expect("a tree");
    assert_eq!(found, ["model reaches datafusion-sql"]);
}

fn lanes_and(more: &'static str) -> Vec<&'static str> {
    crate::lanes::LIGHT.iter().copied().chain([more]).collect()
}
