//! `ApiVersions`: what the server speaks.

use bytes::Bytes;

use crate::{Api, ErrorCode, Reader, Result, VersionRange, Writer};

/// Checks a request; its fields (the client's name and version) are not used.
pub fn decode_request(version: i16, body: Bytes) -> Result<()> {
    let mut reader = Reader::new(body, Api::ApiVersions.is_flexible(version));
    if version >= 3 {
        reader.string("client software name")?;
        reader.string("client software version")?;
    }
    reader.tags()?;
    reader.finish()
}

/// Writes a request.
pub fn encode_request(writer: &mut Writer, version: i16) {
    if version >= 3 {
        writer.string("fourfold");
        writer.string(env!("CARGO_PKG_VERSION"));
    }
    writer.tags();
}

/// Writes the table, with `error` (for an unknown version, in which case `version` must be 0).
pub fn encode_response(writer: &mut Writer, version: i16, error: Option<ErrorCode>) {
    writer.i16(error.map_or(0, |error| error.code()));
    writer.array(Api::ALL, |writer, api| {
        writer.i16(api.key());
        writer.i16(api.versions().min);
        writer.i16(api.versions().max);
        writer.tags();
    });
    if version >= 1 {
        writer.i32(0);
    }
    writer.tags();
}

/// Reads what a server speaks: its error code, and the ranges by key.
pub fn decode_response(version: i16, body: Bytes) -> Result<(i16, Vec<(i16, VersionRange)>)> {
    let mut reader = Reader::of_answer(body, Api::ApiVersions.is_flexible(version));
    let error = reader.i16("error code")?;
    let ranges = reader.array("api keys", 6, |reader| {
        let key = reader.i16("api key")?;
        let range = VersionRange { min: reader.i16("min version")?, max: reader.i16("max version")? };
        reader.tags()?;
        Ok((key, range))
    })?;
    Ok((error, ranges))
}
