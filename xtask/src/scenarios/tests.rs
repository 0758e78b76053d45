//! Documents are taken apart and compared as they say.

use super::{Block, Scenario, compare, fits, line_fits, parse};

#[test]
fn a_document_is_scenarios_of_blocks() {
    let text = "# All\n\n```sh\nbefore any scenario\n```\n\n## One\n\nWords.\n\n```sh\na\nb\n```\n\n```text\nshown\n```\n```sh\nc\n```\n## Two\n";
    let block = |commands: &str, shown: Option<&str>| Block { commands: commands.into(), shown: shown.map(Into::into) };
    let one = Scenario { title: "One".into(), blocks: vec![block("a\nb", Some("shown")), block("c", None)] };
    assert_eq!(parse(text), [one, Scenario { title: "Two".into(), blocks: Vec::new() }]);
}

#[test]
fn a_line_fits_with_any_part_left_open() {
    for (expected, found, fitting) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a<any>", "ab", true),
        ("<any>b", "ab", true),
        ("a<any>c<any>e", "abcde", true),
        ("a<any>c<any>e", "abde", false),
        ("<any>", "", true),
    ] {
        assert_eq!(line_fits(expected, found), fitting, "{expected} {found}");
    }
}

#[test]
fn lines_fit_with_any_lines_left_open() {
    for (expected, found, fitting) in [
        (&["a", "...", "c"][..], &["a", "b", "b", "c"][..], true),
        (&["a", "...", "c"], &["a", "c"], true),
        (&["...", "c"], &["a", "d"], false),
        (&["a"], &["a", "b"], false),
        (&[], &["a"], false),
    ] {
        assert_eq!(fits(expected, found), fitting, "{expected:?} {found:?}");
    }
}

#[test]
fn a_scenario_that_ends_early_has_failed() {
    let block = |shown: &str| Block { commands: "x".into(), shown: Some(shown.into()) };
    let scenario = Scenario { title: "S".into(), blocks: vec![block("1"), block("2")] };
    assert!(compare(&scenario, "1\n@@ end of block\n2\n@@ end of block\n").is_ok());
    assert!(compare(&scenario, "1\n@@ end of block\n3\n@@ end of block\n").is_err());
    assert!(compare(&scenario, "1\n@@ end of block\n2\n").is_err());
}
