//! The doors of a running server, as the command line uses them: [`kafka`] and [`Http`].
//!
//! What it is not: a client library. Records go through [`broker::client`], everything else through [`Http`].

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use broker::client::Client;
use serde_json::{Map, Value};

use crate::cli::{HttpDoor, KafkaDoor};
use crate::settings::Settings;

/// A client of the Kafka door that the command line names.
pub(crate) async fn kafka(door: &KafkaDoor) -> Result<Client> {
    let settings = Settings::load(None, std::env::vars(), &[])?;
    Ok(Client::connect_with(&door.kafka, settings.client).await?)
}

/// The HTTP door of a running server.
pub(crate) struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    /// The door that the command line names.
    pub(crate) fn new(door: &HttpDoor) -> Self {
        Self { base: format!("http://{}", door.http), client: reqwest::Client::new() }
    }

    /// `GET path`
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        self.answer(self.client.get(format!("{}{path}", self.base)).query(query)).await
    }

    /// `GET path` of an answer that says more by its body than by its status.
    pub(crate) async fn look(&self, path: &str) -> Result<Value> {
        Ok(self.send(self.client.get(format!("{}{path}", self.base))).await?.1)
    }

    /// `POST path` with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.answer(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// `DELETE path`
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, String)]) -> Result<()> {
        self.answer(self.client.delete(format!("{}{path}", self.base)).query(query)).await.map(drop)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        match self.send(request).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => Err(anyhow!(Refusal::new(status.as_u16(), body))),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(reqwest::StatusCode, Value)> {
        let response = request.send().await.map_err(|error| anyhow!(unanswered(&self.base, &error)))?;
        let status = response.status();
        let text = response.text().await.context("the answer broke off")?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

// Of the layers that a request goes through only the last one says something to a person.
fn unanswered(base: &str, error: &reqwest::Error) -> model::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let (what, hint) = if error.is_connect() {
        ("no server answers at", "start one with: fourfold dev, or name it with --http HOST:PORT")
    } else {
        ("no answer came from", "is it the HTTP door? fourfold dev names its doors when it starts")
    };
    model::Error::unavailable(format!("{what} {base}: {cause}")).with_hint(hint)
}

/// An error answer of the server (RFC 9457).
#[derive(Debug)]
pub(crate) struct Refusal {
    message: String,
    members: Map<String, Value>,
}

// What the standard asks for and a person or a program behind the command line has no use for.
const HTTP_MEMBERS: [&str; 4] = ["type", "title", "status", "detail"];

impl Refusal {
    fn new(status: u16, body: Value) -> Self {
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        let message = text("detail").or_else(|| text("title")).map(str::to_owned);
        let message = message.unwrap_or_else(|| format!("the server answered with status {status}: {body}"));
        let members = match body {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self { message, members }
    }

    /// What the server told beside the message.
    pub(crate) fn members(&self) -> impl Iterator<Item = (String, Value)> {
        let told = self.members.iter().filter(|(name, _)| !HTTP_MEMBERS.contains(&name.as_str()));
        told.map(|(name, value)| (name.clone(), value.clone()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Escapes what may not stand in one segment of a URL's path (RFC 3986).
pub(crate) fn path_segment(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~$!'()*+,;=:@".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    //! An error answer, taken apart.

    use serde_json::{Map, json};

    use super::Refusal;

    #[test]
    fn a_rejection_keeps_its_rule() {
        let body =
            json!({ "type": "urn:x", "title": "t", "status": 422, "kind": "rejected", "detail": "no", "rule": "r" });
        let refusal = Refusal::new(422, body);
        assert_eq!(refusal.to_string(), "no");
        assert_eq!(json!(refusal.members().collect::<Map<_, _>>()), json!({ "kind": "rejected", "rule": "r" }));
        assert_eq!(Refusal::new(502, json!("oops")).to_string(), "the server answered with status 502: \"oops\"");
    }
}
