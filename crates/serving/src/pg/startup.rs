//! How a connection begins: the client says what it wants, the server says what it is.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::Sink;
use pgwire::{
    api::{
        ClientInfo, METADATA_DATABASE, METADATA_USER,
        auth::{
            ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
            save_startup_parameters_to_metadata,
        },
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, PgWireFrontendMessage},
};
use sql::{SqlError, sqlstate};

use super::{connection::Connection, error::fatal_error};

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else { return Ok(()) };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = format!("sorry, too many clients already: the limit is {}", self.connections_max);
            return Err(fatal_error(SqlError::new(sqlstate::TOO_MANY_CONNECTIONS, message)));
        };
        *self.place.lock() = Some(place);
        for (name, value) in settings_of(&startup.parameters).map_err(fatal_error)? {
            self.session.set_variable(&name, &value).map_err(fatal_error)?;
        }
        let registration = self.cancels.register(client, &self.session);
        *self.registration.lock() = Some(registration);
        finish_authentication(client, &ReportedParameters(self)).await
    }
}

/// What PostgreSQL tells its clients about the session.
struct ReportedParameters<'a>(&'a Connection);

impl ServerParameterProvider for ReportedParameters<'_> {
    fn server_parameters<C>(&self, _client: &C) -> Option<HashMap<String, String>>
    where
        C: ClientInfo,
    {
        let session = &self.0.session;
        let mut parameters: HashMap<String, String> =
            session.reported_variables().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        parameters.insert("session_authorization".to_owned(), session.principal().name().to_owned());
        Some(parameters)
    }
}

/// The variables among the startup parameters, also those within `options`.
fn settings_of<'a>(
    parameters: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<(String, String)>, SqlError> {
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            METADATA_USER | METADATA_DATABASE => {}
            "replication" if ["false", "off", "0", "no"].contains(&value.as_str()) => {}
            "replication" => {
                return Err(SqlError::unsupported("the replication protocol").with_hint("consume the topic"));
            }
            "options" => settings.extend(options(value)?),
            name if name.starts_with("_pq_.") => {}
            name => settings.push((name.to_owned(), value.clone())),
        }
    }
    Ok(settings)
}

/// `-c name=value --name=value`, a backslash before a blank that belongs to the value.
fn options(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            blank if blank.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            other => word.push(other),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    let (mut settings, mut words) = (Vec::new(), words.into_iter());
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().unwrap_or_default(),
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => return Err(SqlError::unsupported(format!("the option {word}"))),
        };
        let Some((name, value)) = setting.split_once('=') else {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("the option {setting:?} has no value")));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_postgresql_does() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cases = [
            ("", Some(vec![])),
            ("-c statement_timeout=5s", Some(vec![pair("statement_timeout", "5s")])),
            ("--search-path=a-b", Some(vec![pair("search_path", "a-b")])),
            ("-cjit=off  --extra-float_digits=3", Some(vec![pair("jit", "off"), pair("extra_float_digits", "3")])),
            (r"-c DateStyle=ISO,\ MDY", Some(vec![pair("DateStyle", "ISO, MDY")])),
            ("-c", None),
            ("-x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(options(text).ok(), expected, "{text}");
        }
    }
}
