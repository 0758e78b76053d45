//! The shapes of the messages off the hot path, as data, and a walk that checks bytes against a shape.
//!
//! What must hold: a message that passes the walk has every byte that its array lengths promise, and no more items
//! than its reader allows, so that decoding it allocates a bounded amount. Source of the shapes: Kafka's message schemas
//! (<https://github.com/apache/kafka/tree/trunk/clients/src/main/resources/common/message>); a test compares them with
//! what `kafka-protocol` writes in every version.

use crate::{Api, Reader, Result, WireError};

/// One field: in which versions, and of which type.
pub(crate) struct Field(i16, i16, Type);

enum Type {
    Fixed(usize),
    String,
    Bytes,
    /// An array of plain values.
    Values(&'static Type),
    /// An array of structures.
    Structs(&'static [Field]),
}

use Type::{Bytes as ByteString, Fixed, String, Structs, Values};

const MAX: i16 = i16::MAX;
const BOOL: Type = Fixed(1);
const INT8: Type = Fixed(1);
const INT16: Type = Fixed(2);
const INT32: Type = Fixed(4);
const INT64: Type = Fixed(8);
const UUID: Type = Fixed(16);

/// The shape of a request; `None` for the APIs with codecs of their own.
#[rustfmt::skip]
pub(crate) fn request(api: Api) -> Option<&'static [Field]> {
    Some(match api {
        Api::Produce | Api::Fetch | Api::Metadata | Api::ApiVersions => return None,
        Api::ListOffsets => &[
            Field(0, MAX, INT32), Field(2, MAX, INT8),
            Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, Structs(&[
                Field(0, MAX, INT32), Field(4, MAX, INT32), Field(0, MAX, INT64),
            ]))])),
        ],
        Api::OffsetCommit => &[
            Field(0, MAX, String), Field(1, MAX, INT32), Field(1, MAX, String), Field(7, MAX, String),
            Field(2, 4, INT64),
            Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, Structs(&[
                Field(0, MAX, INT32), Field(0, MAX, INT64), Field(6, MAX, INT32), Field(0, MAX, String),
            ]))])),
        ],
        Api::OffsetFetch => &[
            Field(0, 7, String), Field(0, 7, Structs(OFFSET_FETCH_TOPIC)),
            Field(8, MAX, Structs(&[Field(8, MAX, String), Field(8, MAX, Structs(OFFSET_FETCH_TOPIC))])),
            Field(7, MAX, BOOL),
        ],
        Api::FindCoordinator => &[Field(0, 3, String), Field(1, MAX, INT8), Field(4, MAX, Values(&String))],
        Api::JoinGroup => &[
            Field(0, MAX, String), Field(0, MAX, INT32), Field(1, MAX, INT32), Field(0, MAX, String),
            Field(5, MAX, String), Field(0, MAX, String),
            Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, ByteString)])),
            Field(8, MAX, String),
        ],
        Api::Heartbeat => &[
            Field(0, MAX, String), Field(0, MAX, INT32), Field(0, MAX, String), Field(3, MAX, String),
        ],
        Api::LeaveGroup => &[
            Field(0, MAX, String), Field(0, 2, String),
            Field(3, MAX, Structs(&[Field(3, MAX, String), Field(3, MAX, String), Field(5, MAX, String)])),
        ],
        Api::SyncGroup => &[
            Field(0, MAX, String), Field(0, MAX, INT32), Field(0, MAX, String), Field(3, MAX, String),
            Field(5, MAX, String), Field(5, MAX, String),
            Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, ByteString)])),
        ],
        Api::DescribeGroups => &[Field(0, MAX, Values(&String)), Field(3, MAX, BOOL)],
        Api::ListGroups => &[Field(4, MAX, Values(&String))],
        Api::CreateTopics => &[
            Field(0, MAX, Structs(&[
                Field(0, MAX, String), Field(0, MAX, INT32), Field(0, MAX, INT16),
                Field(0, MAX, Structs(&[Field(0, MAX, INT32), Field(0, MAX, Values(&INT32))])),
                Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, String)])),
            ])),
            Field(0, MAX, INT32), Field(1, MAX, BOOL),
        ],
        Api::DeleteTopics => &[
            Field(6, MAX, Structs(&[Field(6, MAX, String), Field(6, MAX, UUID)])),
            Field(0, 5, Values(&String)), Field(0, MAX, INT32),
        ],
        Api::InitProducerId => &[
            Field(0, MAX, String), Field(0, MAX, INT32), Field(3, MAX, INT64), Field(3, MAX, INT16),
        ],
        Api::DescribeConfigs => &[
            Field(0, MAX, Structs(&[Field(0, MAX, INT8), Field(0, MAX, String), Field(0, MAX, Values(&String))])),
            Field(1, MAX, BOOL), Field(3, MAX, BOOL),
        ],
        Api::DeleteGroups => &[Field(0, MAX, Values(&String))],
        Api::DescribeCluster => &[Field(0, MAX, BOOL), Field(1, MAX, INT8)],
    })
}

const OFFSET_FETCH_TOPIC: &[Field] = &[Field(0, MAX, String), Field(0, MAX, Values(&INT32))];

/// The shape of a response, of the APIs that our own client uses.
#[rustfmt::skip]
pub(crate) fn response(api: Api) -> Option<&'static [Field]> {
    Some(match api {
        Api::ListOffsets => &[
            Field(2, MAX, INT32),
            Field(0, MAX, Structs(&[Field(0, MAX, String), Field(0, MAX, Structs(&[
                Field(0, MAX, INT32), Field(0, MAX, INT16), Field(1, MAX, INT64), Field(1, MAX, INT64),
                Field(4, MAX, INT32),
            ]))])),
        ],
        Api::CreateTopics => &[
            Field(2, MAX, INT32),
            Field(0, MAX, Structs(&[
                Field(0, MAX, String), Field(7, MAX, UUID), Field(0, MAX, INT16), Field(1, MAX, String),
                Field(5, MAX, INT32), Field(5, MAX, INT16),
                Field(5, MAX, Structs(&[
                    Field(5, MAX, String), Field(5, MAX, String), Field(5, MAX, BOOL), Field(5, MAX, INT8),
                    Field(5, MAX, BOOL),
                ])),
            ])),
        ],
        Api::DeleteTopics => &[
            Field(1, MAX, INT32),
            Field(0, MAX, Structs(&[
                Field(0, MAX, String), Field(6, MAX, UUID), Field(0, MAX, INT16), Field(5, MAX, String),
            ])),
        ],
        Api::InitProducerId => &[
            Field(0, MAX, INT32), Field(0, MAX, INT16), Field(0, MAX, INT64), Field(0, MAX, INT16),
        ],
        _ => return None,
    })
}

/// Walks over a message without allocating.
pub(crate) fn check(shape: Option<&'static [Field]>, api: Api, version: i16, reader: Reader) -> Result<()> {
    let shape = shape.ok_or(WireError::UnsupportedVersion { api: api.name(), version })?;
    let mut walk = Walk { reader, version };
    walk.structure(shape)?;
    walk.reader.finish()
}

struct Walk {
    reader: Reader,
    version: i16,
}

impl Walk {
    fn structure(&mut self, fields: &'static [Field]) -> Result<()> {
        for Field(min, max, kind) in fields {
            if (*min..=*max).contains(&self.version) {
                self.value(kind)?;
            }
        }
        self.reader.tags()
    }

    fn value(&mut self, kind: &'static Type) -> Result<()> {
        match kind {
            Fixed(length) => self.reader.skip("a number", *length),
            String => self.reader.nullable_string("a string").map(drop),
            ByteString => self.reader.nullable_bytes("bytes").map(drop),
            Values(item) => self.array(|walk| walk.value(item)),
            Structs(fields) => self.array(|walk| walk.structure(fields)),
        }
    }

    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let length = self.reader.array_length("an array", 1)?.unwrap_or(0);
        (0..length).try_for_each(|_| item(self))
    }
}
