//! Frames: a length, a header, a body.

use bytes::{Bytes, BytesMut};

use crate::{Api, Reader, Result, Text, WireError, Writer};

/// What stands before the body of a request.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// The API.
    pub api: Api,
    /// Its version, which may be outside the range that is served: look before decoding the body.
    pub version: i16,
    /// The client's number for this request.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Text>,
}

impl RequestHeader {
    /// Cuts a request (without its length) into header and body.
    ///
    /// # Errors
    /// [`WireError`] when the API is not in the table, or the header is malformed.
    pub fn decode(request: Bytes) -> Result<(Self, Bytes)> {
        let mut reader = Reader::new(request, false);
        let key = reader.i16("api key")?;
        let version = reader.i16("api version")?;
        let correlation_id = reader.i32("correlation id")?;
        let api = Api::from_key(key).ok_or_else(|| WireError::Invalid {
            field: "api key",
            reason: format!("API {key} (version {version}) is not served"),
        })?;
        let header = |client_id| Self { api, version, correlation_id, client_id };
        if !api.versions().contains(version) {
            // The header's own version follows from the API's, so nothing more can be read.
            return Ok((header(None), Bytes::new()));
        }
        // The client id kept its old encoding in the flexible header.
        let client_id = reader.nullable_string("client id")?;
        let mut reader = Reader::new(reader.into_rest(), api.is_flexible(version));
        reader.tags()?;
        Ok((header(client_id), reader.into_rest()))
    }

    /// The header and `body` as a request.
    pub fn encode(&self, body: impl FnOnce(&mut Writer) -> Result<()>) -> Result<Frame> {
        let mut writer = Writer::new(false);
        writer.i16(self.api.key());
        writer.i16(self.version);
        writer.i32(self.correlation_id);
        writer.nullable_string(self.client_id.as_deref());
        writer.set_flexible(self.api.is_flexible(self.version));
        writer.tags();
        body(&mut writer)?;
        Ok(Frame::new(writer))
    }

    /// The response to this request, with `body`.
    pub fn response(&self, body: impl FnOnce(&mut Writer) -> Result<()>) -> Result<Frame> {
        let mut writer = Writer::new(self.api.has_flexible_response_header(self.version));
        writer.i32(self.correlation_id);
        writer.tags();
        writer.set_flexible(self.api.is_flexible(self.version));
        body(&mut writer)?;
        Ok(Frame::new(writer))
    }

    /// Cuts the response to this request (without its length) down to its body.
    pub fn response_body(api: Api, version: i16, response: Bytes) -> Result<(i32, Bytes)> {
        let mut reader = Reader::of_answer(response, api.has_flexible_response_header(version));
        let correlation_id = reader.i32("correlation id")?;
        reader.tags()?;
        Ok((correlation_id, reader.into_rest()))
    }
}

/// A message ready to send: its length and its pieces.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The pieces, the first of which begins with the length.
    pub pieces: Vec<Bytes>,
}

impl Frame {
    fn new(writer: Writer) -> Self {
        let mut pieces = writer.into_pieces();
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let mut first = BytesMut::with_capacity(4 + pieces.first().map_or(0, Bytes::len));
        first.extend_from_slice(&(length as u32).to_be_bytes());
        if let Some(piece) = pieces.first_mut() {
            first.extend_from_slice(piece);
            *piece = first.freeze();
        }
        Self { pieces }
    }

    /// How many bytes it takes on the wire.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// All pieces in one, for tests and small messages.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.length());
        self.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }
}
