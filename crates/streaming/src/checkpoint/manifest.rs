//! The manifest of a view's checkpoints: where the view stood, and which segments hold its state.
//!
//! A JSON document `{"crc32c": n, "body": {...}}`; the checksum is that of the body, written without white space. See
//! `docs/formats/checkpoint.md`.

use model::Positions;
use serde::{Deserialize, Serialize};

/// The version of the format: one state of one part, or several parts, each with its name.
const ONE_PART: u32 = 1;
const NAMED_PARTS: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    crc32c: u32,
    body: Body,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    version: u32,
    plan_hash: String,
    positions: String,
    next_segment: u64,
    segments: Vec<Segment>,
}

/// A checkpoint, without the states themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) plan_hash: String,
    pub(super) positions: Positions,
    /// The number of the next segment: numbers are not used twice.
    pub(super) next_segment: u64,
    /// Oldest first, of each part.
    pub(super) segments: Vec<Segment>,
}

/// A file of states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Which part of the state; a state of one part has no name for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) part: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) crc32c: u32,
}

impl Manifest {
    /// The manifest as a document.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let has_names = self.segments.iter().any(|segment| !segment.part.is_empty());
        let body = Body {
            version: if has_names { NAMED_PARTS } else { ONE_PART },
            plan_hash: self.plan_hash.clone(),
            positions: self.positions.to_string(),
            next_segment: self.next_segment,
            segments: self.segments.clone(),
        };
        let document = Document { crc32c: checksum(&body)?, body };
        serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())
    }

    /// Reads a document, and checks it.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let Document { crc32c, body } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if ![ONE_PART, NAMED_PARTS].contains(&body.version) {
            return Err(format!("version {} is not known", body.version));
        }
        let found = checksum(&body)?;
        if found != crc32c {
            return Err(format!("its checksum is {found:08x} instead of {crc32c:08x}"));
        }
        if let Some(segment) = body.segments.iter().find(|segment| !is_plain(&segment.name)) {
            return Err(format!("{:?} is not the name of a segment", segment.name));
        }
        let positions = body.positions.parse().map_err(|error: model::Error| error.to_string())?;
        Ok(Self { plan_hash: body.plan_hash, positions, next_segment: body.next_segment, segments: body.segments })
    }
}

fn checksum(body: &Body) -> Result<u32, String> {
    serde_json::to_vec(body).map(|bytes| crc32c::crc32c(&bytes)).map_err(|error| error.to_string())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && !name.starts_with('.')
}
