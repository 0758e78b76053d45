//! Requests of any version over a plain socket.

#![allow(dead_code, reason = "each test uses a part")]
use bytes::{Buf, Bytes, BytesMut};
use kafka_wire::cold::{Decodable, Encodable};
use kafka_wire::{Api, RequestHeader, Text, cold};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
}

pub(crate) fn text(value: &str) -> Text {
    Text::from_string(value.to_owned())
}

impl Wire {
    pub(crate) async fn connect(address: &str) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Sends a request and reads its answer, to the last byte.
    pub(crate) async fn ask<A: Decodable>(&mut self, api: Api, version: i16, request: &impl Encodable) -> A {
        self.send(api, version, 7, request).await;
        let answer = self.receive().await.unwrap_or_else(|| panic!("{api:?} {version} closed the connection"));
        let (id, mut body) = RequestHeader::response_body(api, version, answer).unwrap();
        assert_eq!(id, 7);
        let answer = A::decode(&mut body, version).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert!(body.is_empty(), "{api:?} {version}: {} bytes too many", body.len());
        answer
    }

    pub(crate) async fn send(&mut self, api: Api, version: i16, correlation_id: i32, request: &impl Encodable) {
        let header = RequestHeader { api, version, correlation_id, client_id: Some(text("wire")) };
        let frame = header.encode(|writer| cold::encode(writer, api, version, request)).unwrap();
        self.stream.write_all(&frame.to_bytes()).await.unwrap();
    }

    /// The next answer; `None` when the connection is closed.
    pub(crate) async fn receive(&mut self) -> Option<Bytes> {
        let length = self.stream.read_u32().await.ok()?;
        let mut answer = BytesMut::zeroed(length as usize);
        self.stream.read_exact(&mut answer).await.ok()?;
        Some(answer.freeze())
    }

    /// The correlation id of the next answer.
    pub(crate) async fn receive_id(&mut self) -> i32 {
        self.receive().await.expect("the connection is closed").get_i32()
    }
}
