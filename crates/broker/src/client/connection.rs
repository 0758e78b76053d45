//! One connection to a broker: requests out, answers in, in order, several at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::{Api, Frame, RequestHeader, Text, VersionRange, Writer, api_versions};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::error::ClientError;
use super::settings::ClientSettings;
use crate::connection::write_pieces;
use crate::error::ConnectionError;
use crate::request_reader::{FrameLimits, RequestReader};

/// How many requests may wait for their answers; a caller beyond that waits.
const IN_FLIGHT_MAX: usize = 64;

/// A request on its way out.
struct Outgoing {
    api: Api,
    version: i16,
    frame: Frame,
    /// `None` for a request that is not answered.
    answer: Option<AnswerSender>,
}

type AnswerSender = oneshot::Sender<Result<Bytes, ClientError>>;

/// A handle to a connection; the connection closes with the last handle.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    outgoing: mpsc::Sender<Outgoing>,
    served: Arc<Vec<(i16, VersionRange)>>,
    client_id: Text,
}

/// The answer to a request that was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: i16,
    answered: oneshot::Receiver<Result<Bytes, ClientError>>,
}

impl Connection {
    /// Connects, and asks the broker what it speaks.
    pub(crate) async fn open(address: &str, settings: &ClientSettings) -> Result<Self, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable { address: address.to_owned(), reason };
        let stream = timeout(settings.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable(format!("no answer within {:?}", settings.connect_timeout)))?
            .map_err(|error| unreachable(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        let (outgoing, received) = mpsc::channel(IN_FLIGHT_MAX);
        // It ends by itself with the last handle, when what was given to it is written: requests that are not answered
        // must not be lost with whoever sent them.
        tokio::spawn(run(stream, received, settings.clone()));
        let client_id = Text::from_string(settings.client_id.clone());
        let mut connection = Self { outgoing, served: Arc::new(Vec::new()), client_id };
        let served = connection.ask_versions(settings.request_timeout).await;
        connection.served = Arc::new(served.map_err(|error| match error {
            ClientError::Malformed(reason) => ClientError::NotKafka { address: address.to_owned(), reason },
            error => error,
        })?);
        Ok(connection)
    }

    /// Whether the connection was lost.
    pub(crate) fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// The highest version of an API that both sides speak, not above `max`.
    pub(crate) fn version(&self, api: Api, max: i16) -> Result<i16, ClientError> {
        let ours = api.versions();
        let served = self.served.iter().find(|(key, _)| *key == api.key()).map(|(_, range)| *range);
        let theirs = served.ok_or(ClientError::NotServed(api.name()))?;
        let version = ours.max.min(theirs.max).min(max);
        if version < ours.min.max(theirs.min) {
            return Err(ClientError::NotServed(api.name()));
        }
        Ok(version)
    }

    /// Sends a request, and returns when it is on its way; requests leave in the order of the calls.
    pub(crate) async fn send(
        &self,
        api: Api,
        version: i16,
        body: impl FnOnce(&mut Writer) -> kafka_wire::Result<()>,
    ) -> Result<Answer, ClientError> {
        let (answer, answered) = oneshot::channel();
        self.put(api, version, Some(answer), body).await?;
        Ok(Answer { version, answered })
    }

    /// Sends a request that the broker will not answer.
    pub(crate) async fn send_unanswered(
        &self,
        api: Api,
        version: i16,
        body: impl FnOnce(&mut Writer) -> kafka_wire::Result<()>,
    ) -> Result<(), ClientError> {
        self.put(api, version, None, body).await
    }

    async fn put(
        &self,
        api: Api,
        version: i16,
        answer: Option<AnswerSender>,
        body: impl FnOnce(&mut Writer) -> kafka_wire::Result<()>,
    ) -> Result<(), ClientError> {
        // Answers come in order, so the correlation id need not tell them apart.
        let header = RequestHeader { api, version, correlation_id: 0, client_id: Some(self.client_id.clone()) };
        let frame = header.encode(body)?;
        let outgoing = Outgoing { api, version, frame, answer };
        self.outgoing.send(outgoing).await.map_err(|_| ClientError::Disconnected("it is closed".to_owned()))
    }

    async fn ask_versions(&self, patience: Duration) -> Result<Vec<(i16, VersionRange)>, ClientError> {
        const VERSION: i16 = 3;
        let ask = |version: i16| async move {
            let answer = self
                .send(Api::ApiVersions, version, |writer| {
                    api_versions::encode_request(writer, version);
                    Ok(())
                })
                .await?;
            answer.body("what it speaks", patience).await
        };
        let body = ask(VERSION).await?;
        // A broker that does not know the version answers with error 35 in version 0.
        if body.first_chunk::<2>().is_some_and(|code| i16::from_be_bytes(*code) == 35) {
            return Ok(api_versions::decode_response(0, ask(0).await?)?.1);
        }
        let (code, served) = api_versions::decode_response(VERSION, body)?;
        ClientError::check(code, || "to say what it speaks".to_owned(), None)?;
        Ok(served)
    }
}

impl Answer {
    /// The answer's body.
    pub(crate) async fn body(self, what: &'static str, patience: Duration) -> Result<Bytes, ClientError> {
        match timeout(patience, self.answered).await {
            Err(_) => Err(ClientError::TimedOut { what, waited: patience }),
            Ok(Err(_)) => Err(ClientError::Disconnected("it was closed before the answer".to_owned())),
            Ok(Ok(answer)) => answer,
        }
    }
}

/// Carries requests out and answers in until either side is gone.
async fn run(stream: TcpStream, mut outgoing: mpsc::Receiver<Outgoing>, settings: ClientSettings) {
    let (read_half, mut writer) = stream.into_split();
    let limits = FrameLimits { bytes_max: settings.answer_bytes_max, transfer_timeout: settings.request_timeout };
    // One answer is read at a time, so its own limit is the limit of all.
    let mut reader = RequestReader::new(read_half, Arc::new(Semaphore::new(settings.answer_bytes_max)), limits);
    let mut waiting: VecDeque<(Api, i16, AnswerSender)> = VecDeque::new();
    let reason = loop {
        tokio::select! {
            answer = reader.next() => match answer {
                Ok(Some(answer)) => {
                    let Some((api, version, asked)) = waiting.pop_front() else {
                        break ClientError::Disconnected("the broker answered what nobody asked".to_owned());
                    };
                    let body = RequestHeader::response_body(api, version, answer.bytes);
                    // Whoever asked may have given up.
                    let _ = asked.send(body.map(|(_, body)| body).map_err(ClientError::from));
                }
                Ok(None) => break ClientError::Disconnected("the broker closed it".to_owned()),
                Err(ConnectionError::RequestSize(bytes, bytes_max)) => {
                    break ClientError::Malformed(format!("it would have {bytes} bytes, over the limit of {bytes_max}"));
                }
                Err(error) => break ClientError::Disconnected(error.to_string()),
            },
            request = outgoing.recv(), if waiting.len() < IN_FLIGHT_MAX => match request {
                Some(Outgoing { api, version, frame, answer }) => {
                    waiting.extend(answer.map(|answer| (api, version, answer)));
                    match timeout(settings.request_timeout, write_pieces(&mut writer, frame.pieces)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => break ClientError::Disconnected(error.to_string()),
                        Err(_) => break ClientError::Disconnected("the broker does not take requests".to_owned()),
                    }
                }
                None => return,
            },
        }
    };
    outgoing.close();
    for (_, _, asked) in waiting {
        let _ = asked.send(Err(reason.clone()));
    }
}
