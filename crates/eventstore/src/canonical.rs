//! The canonical form of a JSON text: two texts that say the same have the same one.
//!
//! Members of objects are in the order of their names (by code points), there is no white space, and strings are
//! escaped no more than they must be. Numbers stay as they are written: `1` and `1.0` are two texts to whoever reads
//! decimals, and a form that took them through a binary number would confuse those with many digits.
//!
//! What it is not: a check. What is given is JSON already, as a [`RawValue`] is.

use serde_json::value::RawValue;

/// Deeper than this no JSON is taken: it is as deep as serde_json reads.
const DEPTH_MAX: usize = 128;

/// The canonical form; `None` when the text is nested more than 128 deep.
pub(crate) fn canonical(json: &RawValue) -> Option<String> {
    let mut reader = Reader { json: json.get(), at: 0 };
    let node = reader.value(0)?;
    let mut text = String::with_capacity(json.get().len());
    node.write(&mut text);
    Some(text)
}

enum Node<'a> {
    /// A number, `true`, `false` or `null`.
    Literal(&'a str),
    /// In quotes, escaped.
    Text(String),
    Array(Vec<Node<'a>>),
    /// Names as texts, in their order.
    Object(Vec<(String, Node<'a>)>),
}

impl Node<'_> {
    fn write(&self, text: &mut String) {
        match self {
            Self::Literal(literal) => text.push_str(literal),
            Self::Text(quoted) => text.push_str(quoted),
            Self::Array(nodes) => {
                text.push('[');
                for (at, node) in nodes.iter().enumerate() {
                    text.push_str(if at == 0 { "" } else { "," });
                    node.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (at, (name, node)) in members.iter().enumerate() {
                    text.push_str(if at == 0 { "" } else { "," });
                    text.push_str(name);
                    text.push(':');
                    node.write(text);
                }
                text.push('}');
            }
        }
    }
}

struct Reader<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Node<'a>> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Some(Node::Text(self.text())),
            _ => Some(Node::Literal(self.literal())),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node<'a>> {
        self.at += 1;
        let mut members = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    let name = self.text();
                    // The colon.
                    self.peek();
                    self.at += 1;
                    members.push((name, self.value(depth + 1)?));
                }
                b'}' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        // A name that comes twice keeps its order: which of the two counts is up to whoever reads.
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        Some(Node::Object(members))
    }

    fn array(&mut self, depth: usize) -> Option<Node<'a>> {
        self.at += 1;
        let mut nodes = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b']' => break,
                b',' => self.at += 1,
                _ => nodes.push(self.value(depth + 1)?),
            }
        }
        self.at += 1;
        Some(Node::Array(nodes))
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied()
    }

    fn text(&mut self) -> String {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let mut escaped = false;
        let closing = |byte: &u8| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        };
        let end = rest.as_bytes().iter().skip(1).position(closing).map_or(rest.len(), |at| at + 2);
        self.at += end;
        let token = rest.get(..end).unwrap_or(rest);
        // An escape that stands for no character (half of a surrogate pair) stays as it is written.
        let read = serde_json::from_str::<String>(token).and_then(|text| serde_json::to_string(&text));
        read.unwrap_or_else(|_| token.to_owned())
    }

    fn literal(&mut self) -> &'a str {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
        let end = rest.as_bytes().iter().position(ends).unwrap_or(rest.len());
        // At least one byte, so that whatever is given, reading it ends.
        self.at += end.max(1);
        rest.get(..end).unwrap_or(rest)
    }
}

#[cfg(test)]
mod tests;
