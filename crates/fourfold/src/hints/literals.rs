//! The texts of the hints in a source file: as much of Rust's grammar as it takes to find them.
//!
//! A hint is what stands in `with_hint(...)`, after `hint:`, or after `let hint =`: each literal in there, and that of a
//! constant of the same file that is named there.

use std::collections::BTreeMap;

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Each literal of each hint, as it is in the program. What stands in a module of tests does not count.
pub(super) fn hints(source: &str) -> Vec<String> {
    let source = source.split("\nmod tests {").next().unwrap_or_default();
    let tokens = tokens(source);
    let constants = constants(&tokens);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let Some(length) = begins(&tokens[at..]) else { continue };
        for token in expression(&tokens[at + length..]) {
            match token {
                Token::Text(text) => found.push(text.clone()),
                Token::Word(name) => found.extend(constants.get(name.as_str()).map(|text| (*text).to_owned())),
                Token::Sign(_) => {}
            }
        }
    }
    found
}

/// How many tokens say that a hint follows.
fn begins(tokens: &[Token]) -> Option<usize> {
    let word = |at: usize, name: &str| matches!(tokens.get(at), Some(Token::Word(word)) if word == name);
    let sign = |at: usize, wanted: char| tokens.get(at) == Some(&Token::Sign(wanted));
    match () {
        () if word(0, "with_hint") && sign(1, '(') => Some(2),
        () if word(0, "hint") && sign(1, ':') && !sign(2, ':') => Some(2),
        () if word(0, "let") && word(1, "hint") && sign(2, '=') => Some(3),
        () => None,
    }
}

/// What comes before the end of the expression that begins here.
fn expression(tokens: &[Token]) -> &[Token] {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(',' | ';') if depth == 0 => return true,
            _ => {}
        }
        depth < 0
    });
    &tokens[..end.unwrap_or(tokens.len())]
}

/// `const NAME: &str = "text";`
fn constants(tokens: &[Token]) -> BTreeMap<&str, &str> {
    let mut constants = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(name) = token else { continue };
        let is_const = at > 0 && tokens[at - 1] == Token::Word("const".to_owned());
        let value = expression(&tokens[at + 1..]).iter().rev().find_map(|token| match token {
            Token::Text(text) => Some(text.as_str()),
            _ => None,
        });
        if let (true, Some(text)) = (is_const, value) {
            constants.insert(name.as_str(), text);
        }
    }
    constants
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let (token, left) = match first {
            '/' if after.starts_with('/') => (None, rest.split_once('\n').map_or("", |(_, left)| left)),
            '"' => {
                let (text, left) = escaped(after);
                (Some(Token::Text(text)), left)
            }
            'r' if after.starts_with('"') || after.starts_with("#\"") || after.starts_with("##\"") => {
                let (text, left) = raw(after);
                (Some(Token::Text(text)), left)
            }
            '\'' => (None, after_character(after)),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Some(Token::Word(rest[..end].to_owned())), &rest[end..])
            }
            c if c.is_whitespace() => (None, after),
            c => (Some(Token::Sign(c)), after),
        };
        tokens.extend(token);
        rest = left;
    }
    tokens
}

/// The text up to the closing quote, and what comes after it.
fn escaped(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = source.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (text, &source[at + 1..]),
            '\\' => match characters.next() {
                // A line that goes on without its indentation.
                Some((at, '\n')) => {
                    let left = source[at..].trim_start();
                    let (more, left) = escaped(left);
                    return (text + &more, left);
                }
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, other)) => text.push(other),
                None => {}
            },
            c => text.push(c),
        }
    }
    (text, "")
}

/// `"..."`, `#"..."#` after the `r`.
fn raw(source: &str) -> (String, &str) {
    let signs = source.find('"').unwrap_or(0);
    let end = format!("\"{}", &source[..signs]);
    let inner = &source[signs + 1..];
    inner.split_once(&end).map_or((inner.to_owned(), ""), |(text, left)| (text.to_owned(), left))
}

/// After a character, or after the quote of a lifetime.
fn after_character(source: &str) -> &str {
    let mut characters = source.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), Some(c)) => source[1 + c.len_utf8()..].split_once('\'').map_or("", |(_, left)| left),
        (Some(c), Some('\'')) => &source[c.len_utf8() + 1..],
        _ => source,
    }
}
