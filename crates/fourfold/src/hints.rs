//! Whether what the product hints at is there: paths, parameters, commands, settings, statements and pages.
//!
//! What it is: a test. It reads the hints from the sources of all crates and looks up each name in what defines it: the
//! description of the HTTP door, the command line, `config/default.toml`, the parser of our SQL, the tree.
//!
//! What it is not: a proof. A hint in words, or one that is put together from pieces, is not understood.

mod literals;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use serde_json::Value;

use crate::cli::Cli;

/// Endings by which a name is one of a setting, or of a parameter of the HTTP door.
const ENDINGS: &[&str] = &["_max", "_min", "_ms", "_bytes", "_timeout", "_interval", "_position"];

/// Statements of PostgreSQL, which belong to a session.
const OF_SESSIONS: &[&str] = &["SHOW ALL"];

/// What there is.
struct Things {
    root: PathBuf,
    /// Each path, with its parameters in the query.
    paths: Vec<(String, BTreeSet<String>)>,
    /// Members of the bodies of requests.
    members: BTreeSet<String>,
    /// `section.key`
    settings: BTreeSet<String>,
    command: clap::Command,
}

impl Things {
    fn of_this_tree() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let document: Value = serde_json::from_str(serving::http::OPENAPI).unwrap();
        let settings = fs::read_to_string(root.join("config/default.toml")).unwrap();
        let settings: toml::Table = settings.parse().unwrap();
        let keys = settings
            .iter()
            .flat_map(|(section, keys)| keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}")));
        let mut members = BTreeSet::new();
        names_of_members(&document, &mut members);
        let paths = document["paths"].as_object().unwrap().iter();
        Self {
            paths: paths.map(|(path, methods)| (path.clone(), query_parameters(&document, methods))).collect(),
            members,
            settings: keys.collect(),
            command: Cli::command(),
            root,
        }
    }

    /// What a hint names and is not there.
    fn missing(&self, hint: &str) -> Vec<String> {
        let words: Vec<&str> = hint.split_whitespace().collect();
        let mut missing = Vec::new();
        missing.extend(words.iter().filter(|word| !self.has_path(word)).map(|word| format!("the path {word}")));
        missing.extend(words.iter().filter(|word| !self.has_page(word)).map(|word| format!("the page {word}")));
        missing.extend(names(hint).filter(|name| !self.has_setting(name)).map(|name| format!("the name {name}")));
        missing.extend(self.wrong_commands(&words));
        missing.extend(statements(&words).into_iter().filter(|phrase| !is_statement(phrase)));
        missing
    }

    fn has_path(&self, word: &str) -> bool {
        let word = word.trim_start_matches(['(', '`', '"']);
        let (path, query) = word.split_once('?').unwrap_or((word, ""));
        let path = path.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '}');
        let is_ours = path.starts_with("/v1") || (path.starts_with('/') && path.len() > 1 && path.ends_with(".json"));
        if !is_ours && (!path.is_empty() || query.is_empty()) {
            return true;
        }
        let given = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
        let given: Vec<&str> = given.collect();
        let fits = |(known, parameters): &(String, BTreeSet<String>)| {
            (path.is_empty() || is_path(path, known)) && given.iter().all(|name| parameters.contains(*name))
        };
        self.paths.iter().any(fits)
    }

    fn has_page(&self, word: &str) -> bool {
        let page = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_page = page.ends_with(".md") || page.starts_with("docs/") || page.starts_with("config/");
        !is_page || self.root.join(page).exists()
    }

    /// `section.key`, or a key alone where its ending says that it is one.
    fn has_setting(&self, name: &str) -> bool {
        let sections: BTreeSet<&str> = self.settings.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
        match name.split_once('.') {
            // A parameter of a session.
            Some(("fourfold", parameter)) => {
                matches!(parameter, "min_position" | "min_position_timeout_ms" | "positions")
            }
            Some((section, _)) if sections.contains(section) => self.settings.contains(name),
            Some((_, key)) => !is_key(key),
            None => {
                !is_key(name)
                    || name == "statement_timeout"
                    || self.members.contains(name)
                    || self.settings.iter().any(|setting| setting.ends_with(&format!(".{name}")))
            }
        }
    }

    /// `fourfold COMMAND [COMMAND] --flag`, and flags of whichever command.
    fn wrong_commands(&self, words: &[&str]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut current: Option<&clap::Command> = None;
        for (at, word) in words.iter().enumerate() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
            let follows = at > 0 && words[at - 1] == "fourfold";
            if follows && bare.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                current = self.command.find_subcommand(bare);
                if current.is_none() {
                    wrong.push(format!("the command fourfold {bare}"));
                }
            } else if let Some(command) = current.filter(|command| command.has_subcommands()) {
                current = command.find_subcommand(bare);
                if current.is_none() {
                    wrong.push(format!("the command {} {bare}", command.get_name()));
                }
            } else if let Some(flag) = bare.strip_prefix("--") {
                let flag = flag.split('=').next().unwrap_or_default();
                if !flag.is_empty() && !has_flag(current.unwrap_or(&self.command), flag, current.is_none()) {
                    wrong.push(format!("the flag {bare}"));
                }
            }
            if word.ends_with([',', ';', ':', ')']) {
                current = None;
            }
        }
        wrong
    }
}

fn names_of_members(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                names.extend(properties.keys().cloned());
            }
            if let (Some(Value::String(name)), true) = (members.get("name"), members.contains_key("in")) {
                names.insert(name.clone());
            }
            members.values().for_each(|member| names_of_members(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| names_of_members(item, names)),
        _ => {}
    }
}

fn query_parameters(document: &Value, methods: &Value) -> BTreeSet<String> {
    let parameters = methods.as_object().unwrap().values().filter_map(|method| method["parameters"].as_array());
    let resolved = parameters.flatten().map(|parameter| match parameter["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => parameter,
    });
    resolved
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|p| p["name"].as_str().map(str::to_owned))
        .collect()
}

/// Segment by segment; a variable, here or there, is any text, and the last one of a path may take the rest.
fn is_path(path: &str, known: &str) -> bool {
    let (path, known): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), known.split('/').collect());
    let fits = |(given, known): (&&str, &&str)| given == known || known.starts_with('{');
    let takes_rest = known.last().is_some_and(|last| *last == "{key}");
    (path.len() == known.len() || (takes_rest && path.len() > known.len())) && path.iter().zip(&known).all(fits)
}

/// Names in snake case or with a dot.
fn names(hint: &str) -> impl Iterator<Item = &str> {
    let words = hint.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
    words.map(|word| word.trim_matches('.')).filter(|word| word.contains(['_', '.']) && !word.ends_with(".md"))
}

fn is_key(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn has_flag(command: &clap::Command, flag: &str, anywhere: bool) -> bool {
    let own = command.get_arguments().any(|argument| argument.get_long() == Some(flag)) || flag == "json";
    // Of `--{door}-port`, the piece that a format leaves.
    own || flag.contains('{') || (anywhere && command.get_subcommands().any(|below| has_flag(below, flag, true)))
}

/// Runs of words in capitals that begin as statements of ours do.
fn statements(words: &[&str]) -> Vec<String> {
    let mut statements = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let begin = words[at].trim_start_matches(|c: char| !c.is_alphanumeric());
        if !["CREATE", "DROP", "REFRESH", "SHOW", "ALTER"].contains(&begin) {
            at += 1;
            continue;
        }
        let mut phrase = vec![begin];
        at += 1;
        while let Some(word) = words.get(at) {
            let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
            if bare.len() < 2 || !bare.chars().all(|c| c.is_ascii_uppercase()) {
                break;
            }
            phrase.push(bare);
            at += 1;
            if bare.len() < word.len() {
                break;
            }
        }
        statements.push(phrase.join(" "));
    }
    statements
}

/// Whether our parser takes it, once names are added that a hint leaves out.
fn is_statement(phrase: &str) -> bool {
    let endings = [
        "",
        " x",
        " x ADD COLUMN a INT",
        " a INT",
        " x (a INT)",
        " x (a INT PRIMARY KEY)",
        " x AS SELECT count(*) AS n FROM y",
    ];
    let parses = |ending: &&str| match sql::parse(&format!("{phrase}{ending}")).as_deref() {
        Ok([sql::Statement::Query(_)]) | Err(_) => false,
        Ok(statements) => statements.len() == 1,
    };
    OF_SESSIONS.contains(&phrase) || endings.iter().any(parses)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "target", "hints"].contains(&name.as_str()) {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "hints.rs" {
            found.push(path);
        }
    }
}

#[test]
fn every_hint_names_what_there_is() {
    let things = Things::of_this_tree();
    let mut files = Vec::new();
    sources(&things.root.join("crates"), &mut files);
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        for hint in literals::hints(&fs::read_to_string(&file).unwrap()) {
            count += 1;
            let missing = things.missing(&hint);
            wrong.extend(missing.iter().map(|what| format!("{}: {what} is not there: {hint:?}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Far fewer would say that they are no longer found.
    assert!(count > 120, "{count} hints");
}

#[test]
fn a_hint_that_leads_nowhere_is_found() {
    let things = Things::of_this_tree();
    let cases = [
        ("see /openapi.json for what there is", true),
        ("see /openapi.jsn.json", false),
        ("GET /v1/topics lists them; POST /v1/topics makes one", true),
        ("GET /v1/topic lists them", false),
        ("read it with GET /v1/views/{view}/AA/2013 (and so on)", true),
        ("write /v1/views/{}/{}", true),
        ("write /v1/view/{}/{}", false),
        ("or ?force=true", true),
        ("or /v1/topics/{topic}?force=true.", true),
        ("or ?farce=true", false),
        ("raise kafka.answer_bytes_max", true),
        ("raise kafka.answer_bytes_most", false),
        ("raise `memory.budget_bytes`", true),
        ("raise `memry.budget_bytes`", false),
        ("raise in_flight_bytes_max", true),
        ("raise in_air_bytes_max", false),
        ("wait longer with timeout_ms", true),
        ("wait longer with time_ms", false),
        ("or fourfold topic delete --force", true),
        ("or fourfold topic delete --farce", false),
        ("fourfold topic destroy makes it go", false),
        ("fourfold topics list shows them", false),
        ("start one with: fourfold dev, or name it with --http HOST:PORT", true),
        ("name it with --htp HOST:PORT", false),
        ("REFRESH MATERIALIZED VIEW builds it anew", true),
        ("REFRESH VIEW builds it anew", false),
        ("SHOW VIEWS and SHOW SOURCES list what there is", true),
        ("SHOW VIWES lists them", false),
        ("CREATE OR REPLACE MATERIALIZED VIEW replaces it", true),
        ("CREATE OR REPLACE SOURCE replaces it", false),
        ("drop what reads it first (DROP SOURCE s; DROP SOURCE t)", true),
        ("see docs/sql.md", true),
        ("see docs/sequel.md", false),
    ];
    for (hint, leads) in cases {
        assert_eq!(things.missing(hint).is_empty(), leads, "{hint}: {:?}", things.missing(hint));
    }
}

#[test]
fn hints_are_found_in_source_text() {
    let source = r##"
        const WHERE: &str = "look there"; // with_hint("not this")
        fn f(c: char, hint: &str) { error.with_hint("a \"quoted\" one, \
            over two lines").with_member("not this", '"'); }
        fn g<'a>() { let hint = match x { A => format!("first {n}"), B => "second" }; x("not this") }
        fn h() { Error { hint: Some(r#"raw "text""#.to_owned()), message: "not this" }.with_hint(WHERE) }
    "##;
    let expected = ["a \"quoted\" one, over two lines", "first {n}", "second", "raw \"text\"", "look there"];
    assert_eq!(literals::hints(source), expected);
}
