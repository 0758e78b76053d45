//! The door as clients see it: byte by byte, and through the unmodified psql where it is installed.

mod portals;

use std::{process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use super::{PgServer, PgSettings, start};
use crate::{fixture::Fixture, sql::SqlSettings};

async fn open(settings: PgSettings) -> (Fixture, PgServer) {
    let fixture = Fixture::with_settings(SqlSettings { statement_timeout: Duration::ZERO, ..SqlSettings::shipped() });
    let server = start(PgSettings { port: 0, ..settings }, Arc::clone(&fixture.sql)).await;
    (fixture, server.unwrap())
}

/// A connection without a client library.
struct Wire {
    stream: TcpStream,
    pid_and_secret: Vec<u8>,
    /// The status of the transaction that was told last.
    status: u8,
}

/// A message: its type and its body.
type Message = (u8, Vec<u8>);

impl Wire {
    async fn raw(server: &PgServer) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        Self { stream, pid_and_secret: Vec::new(), status: 0 }
    }

    async fn startup(&mut self) {
        self.startup_with(b"application_name\0test\0").await;
    }

    /// Begins with more parameters than the usual ones.
    async fn startup_with(&mut self, parameters: &[u8]) {
        let body = [&196_608_i32.to_be_bytes()[..], b"user\0me\0database\0any\0", parameters, b"\0"].concat();
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[&length[..], &body].concat()).await.unwrap();
    }

    async fn connect(server: &PgServer) -> Self {
        let mut wire = Self::raw(server).await;
        wire.startup().await;
        let greeting = wire.until_ready().await;
        let key = greeting.iter().find(|(kind, _)| *kind == b'K').expect("a key to cancel with");
        wire.pid_and_secret = key.1.clone();
        let version = b"server_version\x0015.0\0".to_vec();
        assert!(greeting.contains(&(b'S', version)), "{greeting:?}");
        wire
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[&[kind][..], &length, body].concat()).await.unwrap();
    }

    async fn query(&mut self, text: &str) -> Vec<Message> {
        self.send(b'Q', &[text.as_bytes(), b"\0"].concat()).await;
        self.until_ready().await
    }

    /// Prepares and binds the nameless statement; `formats` are those of the result.
    async fn parse_and_bind(&mut self, text: &str, parameters: &[&str], formats: &[i16]) {
        self.send(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat()).await;
        let mut bind = b"\0\0\0\0".to_vec();
        bind.extend(i16::try_from(parameters.len()).unwrap().to_be_bytes());
        for parameter in parameters {
            bind.extend(i32::try_from(parameter.len()).unwrap().to_be_bytes());
            bind.extend(parameter.as_bytes());
        }
        bind.extend(i16::try_from(formats.len()).unwrap().to_be_bytes());
        bind.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
        self.send(b'B', &bind).await;
    }

    /// Prepares and binds the nameless statement with one parameter of a type, in its binary form.
    async fn bind_binary(&mut self, text: &str, oid: u32, value: &[u8]) {
        self.send(b'P', &[b"\0", text.as_bytes(), b"\0\0\x01", &oid.to_be_bytes()].concat()).await;
        let length = i32::try_from(value.len()).unwrap().to_be_bytes();
        self.send(b'B', &[b"\0\0\0\x01\0\x01\0\x01", &length[..], value, b"\0\0"].concat()).await;
    }

    async fn execute(&mut self, rows_max: i32) {
        self.send(b'E', &[b"\0", &rows_max.to_be_bytes()[..]].concat()).await;
    }

    async fn sync(&mut self) -> Vec<Message> {
        self.send(b'S', b"").await;
        self.until_ready().await
    }

    /// The next message; `None` when the server has closed the connection.
    async fn receive(&mut self) -> Option<Message> {
        let receiving = async {
            let kind = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((kind, body))
        };
        tokio::time::timeout(Duration::from_secs(30), receiving).await.expect("an answer in time")
    }

    async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            if message.0 == b'Z' {
                self.status = message.1[0];
                break;
            }
            messages.push(message);
        }
        messages
    }
}

fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

/// The code of the error among the messages.
fn code(messages: &[Message]) -> String {
    let error = messages.iter().find(|(kind, _)| *kind == b'E').unwrap_or_else(|| panic!("no error in {messages:?}"));
    let fields = error.1.split(|byte| *byte == 0);
    let code = fields.into_iter().find_map(|field| field.strip_prefix(b"C"));
    String::from_utf8(code.unwrap().to_vec()).unwrap()
}

/// The values of all data rows; `None` for NULL.
fn values(messages: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    let row = |body: &[u8]| {
        let (mut values, mut rest) = (Vec::new(), &body[2..]);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let value = usize::try_from(i32::from_be_bytes(*length)).ok().map(|length| after[..length].to_vec());
            rest = &after[value.as_ref().map_or(0, Vec::len)..];
            values.push(value);
        }
        values
    };
    messages.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| row(body)).collect()
}

#[tokio::test]
async fn the_simple_protocol_answers_statement_by_statement() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    // The Positions come before the rows that reflect them, and only when they have changed.
    let cases = [
        ("SELECT total FROM totals WHERE carrier = 'AA'", "STDC"),
        ("SELECT total FROM totals ORDER BY 1", "TDDDC"),
        ("SELECT count(*) FROM hours", "STDC"),
        ("SELECT 1; SHOW timezone; SET jit = off", "TDCTDCC"),
        ("", "I"),
        (" ; ; ", "I"),
        ("-- nothing\n", "I"),
        ("SELECT 1; SELECT nope", "TDCE"),
        ("SET application_name = 'x'", "SC"),
        ("SET timezone = 'Asia/Tokyo'", "NSC"),
        ("COPY (SELECT carrier, total FROM totals WHERE total < 30 ORDER BY 1) TO STDOUT", "SHdcC"),
        ("BEGIN; DECLARE c CURSOR FOR SELECT * FROM hours; FETCH 2 FROM c; COMMIT", "CCSTDDCC"),
    ];
    for (text, expected) in cases {
        let answer = wire.query(text).await;
        assert_eq!(kinds(&answer), expected, "{text}");
        assert_eq!(wire.status, b'I', "{text}");
    }
    let copied = wire.query("COPY totals TO STDOUT WITH (FORMAT csv, HEADER)").await;
    let text: Vec<u8> = copied.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.clone()).collect();
    assert_eq!(String::from_utf8(text).unwrap(), "carrier,total\n,30\nAA,10\nDL,20\n");
    server.stop().await;
    assert_eq!(wire.receive().await, None, "a server that stops closes its connections");
}

#[tokio::test]
async fn the_extended_protocol_binds_describes_and_hands_out_portions() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    for sql in [
        "SELECT hour, flights FROM hours WHERE carrier = $1 AND hour = $2",
        "SELECT hour, flights FROM hours WHERE carrier = $1 AND hour = $2 AND true",
    ] {
        wire.parse_and_bind(sql, &["AA", "7"], &[1]).await;
        wire.send(b'D', b"S\0").await;
        wire.execute(0).await;
        let answer = wire.sync().await;
        assert_eq!(kinds(&answer).replace('S', ""), "12tTDC", "{sql}");
        // int4 7, int8 28
        let expected = vec![vec![Some(7_i32.to_be_bytes().to_vec()), Some(28_i64.to_be_bytes().to_vec())]];
        assert_eq!(values(&answer), expected, "{sql}");
        let parameters = answer.iter().find(|(kind, _)| *kind == b't').unwrap();
        assert_eq!(parameters.1, [&[0, 2][..], &25_i32.to_be_bytes(), &23_i32.to_be_bytes()].concat(), "text, int4");
    }
    let sql = "SELECT hour FROM hours WHERE carrier = 'AA' AND hour < $1 ORDER BY 1";
    wire.parse_and_bind(sql, &["5"], &[]).await;
    for rows_max in [2, 2, 2, 2] {
        wire.execute(rows_max).await;
    }
    let answer = wire.sync().await;
    assert_eq!(kinds(&answer), "12DDsDDsDCC");
    let hours: Vec<_> = values(&answer).concat();
    assert_eq!(hours, [b"0", b"1", b"2", b"3", b"4"].map(|hour| Some(hour.to_vec())));
    // The portal went with the sync.
    wire.execute(1).await;
    assert_eq!(code(&wire.sync().await), "26000");
}

#[tokio::test]
async fn bad_messages_end_in_errors_and_the_connection_goes_on() {
    let (_fixture, server) = open(PgSettings { prepared_statements_max: 2, ..PgSettings::shipped() }).await;
    let mut wire = Wire::connect(&server).await;
    let two_columns = "SELECT carrier, total FROM totals WHERE total > $1";
    type Case<'a> = (&'a str, &'a [&'a str], &'a [i16], i32, &'a str);
    let cases: &[Case<'_>] = &[
        (two_columns, &[], &[], 0, "08P01"),
        (two_columns, &["1", "2"], &[], 0, "08P01"),
        (two_columns, &["1"], &[0, 0, 0], 0, "08P01"),
        (two_columns, &["many"], &[], 0, "22P02"),
        ("SELECT nope FROM totals", &[], &[], 0, "42703"),
        ("SELECT 1; SELECT 2", &[], &[], 0, "42601"),
        ("INSERT INTO totals VALUES (1)", &[], &[], 0, "42809"),
        ("SELECT 1 / total FROM totals", &[], &[1, 1], 0, "08P01"),
    ];
    for (sql, parameters, formats, rows_max, expected) in cases {
        wire.parse_and_bind(sql, parameters, formats).await;
        wire.execute(*rows_max).await;
        let answer = wire.sync().await;
        assert_eq!(code(&answer), *expected, "{sql} {parameters:?} {formats:?}");
        assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC", "after {sql}");
    }
    // A negative count of rows is all of them; what is no count of anything else is an error.
    wire.parse_and_bind(two_columns, &["0"], &[]).await;
    wire.execute(-1).await;
    assert_eq!(kinds(&wire.sync().await).replace('S', ""), "12DDDC");
    wire.send(b'D', b"X\0").await;
    assert!(!code(&wire.sync().await).is_empty());
    let mut wire = Wire::connect(&server).await;
    for (name, expected) in [("a", "1"), ("b", "1"), ("a", "1"), ("c", "E")] {
        wire.send(b'P', &[name.as_bytes(), b"\0SELECT 1\0\0\0"].concat()).await;
        assert_eq!(kinds(&wire.sync().await), expected, "statement {name}");
    }
    assert_eq!(kinds(&wire.query("DEALLOCATE a; DEALLOCATE ALL").await), "CC");
    assert_eq!(code(&wire.query("DEALLOCATE a").await), "26000");
}

#[tokio::test]
async fn hostile_bytes_cost_their_sender_an_error_or_the_connection_and_nobody_else() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut steady = Wire::connect(&server).await;
    let openings: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0, 0, 0, 0, 0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0xff; 64],
        &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3],
        &[0, 0, 0, 9, 0, 3, 0, 0, 0xff],
    ];
    for opening in openings {
        let mut wire = Wire::raw(&server).await;
        wire.stream.write_all(opening).await.unwrap();
        // The client leaves its side open: it is the server that ends the connection.
        while wire.receive().await.is_some() {}
        assert_eq!(kinds(&steady.query("SELECT 1").await), "TDC", "after {opening:?}");
    }
    // What is answered with an error leaves the connection as it was; what is no message at all ends it.
    let bodies: &[(u8, &[u8], bool)] = &[
        (b'B', b"\0\0\0\x01", false),
        (b'B', b"\0\0\x7f\xff\0\0\0\0", false),
        (b'B', b"\0\0\0\0\x7f\xff\0\0", false),
        (b'P', b"\0SELECT 1\0\x7f\xff", false),
        (b'P', b"\0SELECT '\xff'\0\0\0", false),
        (b'E', b"\0", false),
        (b'd', b"no copy", false),
        (b'z', b"what", true),
    ];
    for (kind, body, ends) in bodies {
        let mut wire = Wire::connect(&server).await;
        wire.send(*kind, body).await;
        if *ends {
            assert_eq!(code(&wire.until_ready().await), "08P01", "{}", char::from(*kind));
            assert_eq!(wire.receive().await, None, "{}", char::from(*kind));
        } else {
            wire.sync().await;
            assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC", "{}", char::from(*kind));
        }
        assert_eq!(kinds(&steady.query("SELECT 1").await), "TDC", "after {}", char::from(*kind));
    }
}

#[tokio::test]
async fn an_array_that_announces_more_than_it_has_is_refused() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    // Arrays of text, varchar, int2, int4, int8, float4, float8, numeric, bool, timestamp, timestamptz, date, interval.
    let arrays = [
        (1009, 25),
        (1015, 1043),
        (1005, 21),
        (1007, 23),
        (1016, 20),
        (1021, 700),
        (1022, 701),
        (1231, 1700),
        (1000, 16),
        (1115, 1114),
        (1185, 1184),
        (1182, 1082),
        (1187, 1186),
    ];
    for (array, element) in arrays {
        let announced = [1, 0, element, i32::MAX, 1].map(i32::to_be_bytes).concat();
        for value in [&announced[..], &announced[..17], &announced[..3], b""] {
            wire.bind_binary("SELECT $1", array, value).await;
            wire.execute(0).await;
            let answer = wire.sync().await;
            assert_eq!(code(&answer), "08P01", "{array} {value:?}");
        }
        let two_nulls = [1, 0, element, 2, 1, -1, -1].map(i32::to_be_bytes).concat();
        wire.bind_binary("SELECT $1 IS NULL", array, &two_nulls).await;
        wire.execute(0).await;
        assert_eq!(values(&wire.sync().await), [[Some(b"f".to_vec())]], "{array}");
    }
}

#[tokio::test]
async fn a_client_begins_with_the_parameters_that_postgresql_takes() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let cases: &[(&[u8], Option<&str>)] = &[
        (b"client_encoding\0'utf-8'\0", None),
        (b"client_encoding\0UNICODE\0DateStyle\0ISO\0IntervalStyle\0iso_8601\0", None),
        (b"options\0-c statement_timeout=5s --search-path=public\0extra_float_digits\x002\0", None),
        (b"replication\0off\0_pq_.anything\0x\0", None),
        (b"client_encoding\0LATIN1\0", Some("22023")),
        (b"no_such_parameter\x001\0", Some("42704")),
        (b"options\0-c no_such_parameter=1\0", Some("42704")),
        (b"DateStyle\0SQL\0", Some("22023")),
        (b"replication\0database\0", Some("0A000")),
    ];
    for (parameters, refused) in cases {
        let mut wire = Wire::raw(&server).await;
        wire.startup_with(parameters).await;
        let parameters = String::from_utf8_lossy(parameters);
        let Some(refused) = refused else {
            let greeting = wire.until_ready().await;
            assert!(greeting.contains(&(b'S', b"client_encoding\0UTF8\0".to_vec())), "{parameters}: {greeting:?}");
            continue;
        };
        let mut answers = Vec::new();
        while let Some(answer) = wire.receive().await {
            answers.push(answer);
        }
        assert_eq!(
            (kinds(&answers).as_str(), code(&answers).as_str()),
            ("E", *refused),
            "{parameters}: nothing is ready"
        );
        for field in [&b"SFATAL\0"[..], b"VFATAL\0"] {
            assert!(answers[0].1.windows(field.len()).any(|found| found == field), "{parameters}: {answers:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_loses_its_place() {
    let settings =
        PgSettings { connections_max: 1, write_stall_timeout: Duration::from_millis(200), ..PgSettings::shipped() };
    let (_fixture, server) = open(settings).await;
    let mut unread = Wire::connect(&server).await;
    unread.send(b'Q', b"SELECT a.carrier, b.carrier FROM hours a, hours b\0").await;
    assert_eq!(code(&first_answer(&server).await), "53300");
    let freed = async { while !kinds(&first_answer(&server).await).starts_with('R') {} };
    tokio::time::timeout(Duration::from_secs(30), freed).await.expect("the place is free again");
}

/// What the server says to one more client.
async fn first_answer(server: &PgServer) -> Vec<Message> {
    let mut wire = Wire::raw(server).await;
    wire.startup().await;
    wire.until_ready().await
}

#[tokio::test]
async fn a_failed_transaction_takes_its_end_alone() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    for (text, expected, status) in [
        ("BEGIN", "", b'T'),
        ("SELECT nope", "42703", b'E'),
        ("SELECT 1", "25P02", b'E'),
        ("SET jit = off", "25P02", b'E'),
        ("COMMIT", "", b'I'),
        ("BEGIN", "", b'T'),
        ("SELECT 1", "", b'T'),
        ("ROLLBACK", "", b'I'),
    ] {
        let answer = wire.query(text).await;
        let found = if kinds(&answer).contains('E') { code(&answer) } else { String::new() };
        assert_eq!((found.as_str(), wire.status), (expected, status), "{text}");
        if text == "COMMIT" {
            assert_eq!(answer, [(b'C', b"ROLLBACK\0".to_vec())], "the end of a failed transaction is a rollback");
        }
    }
}

#[tokio::test]
async fn a_cancel_request_finds_its_connection_by_its_secret() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    let endless = "SELECT count(*) FROM hours a JOIN hours b ON a.flights + b.flights > 3 \
                   JOIN hours c ON b.flights + c.flights > 3";
    wire.send(b'Q', &[endless.as_bytes(), b"\0"].concat()).await;
    let mut wrong = wire.pid_and_secret.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let (server, stream) = (&server, &wire.stream);
    let cancel_and_listen = async |key: &[u8]| {
        let mut canceller = Wire::raw(server).await;
        let request = [&80_877_102_i32.to_be_bytes()[..], key].concat();
        let length = i32::try_from(request.len() + 4).unwrap().to_be_bytes();
        canceller.stream.write_all(&[&length[..], &request].concat()).await.unwrap();
        assert_eq!(canceller.receive().await, None);
        tokio::time::timeout(Duration::from_millis(10), stream.peek(&mut [0])).await.is_ok()
    };
    for _ in 0..10 {
        assert!(!cancel_and_listen(&wrong).await, "nothing but the right secret cancels");
    }
    // The statement may not have begun: then there is nothing to cancel yet.
    let cancelled = async { while !cancel_and_listen(&wire.pid_and_secret).await {} };
    tokio::time::timeout(Duration::from_secs(30), cancelled).await.expect("the right secret cancels");
    assert_eq!(code(&wire.until_ready().await), "57014");
    assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC");
}

#[tokio::test]
async fn a_client_that_says_nothing_for_longer_than_its_session_lets_it_is_sent_away() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    for (text, expected) in [
        ("SET idle_session_timeout = 100", "57P05"),
        ("BEGIN; SET idle_in_transaction_session_timeout = '100ms'", "25P03"),
    ] {
        let mut idle = Wire::connect(&server).await;
        idle.query(text).await;
        let last = idle.receive().await.expect("it is told why");
        assert_eq!(code(&[last]), expected, "{text}");
        assert!(idle.receive().await.is_none(), "{text}: the connection goes on");
    }
    // Each counts where it belongs alone, and 0 is no limit.
    for text in ["SET idle_in_transaction_session_timeout = 1", "BEGIN; SET idle_session_timeout = 1", "SELECT 1"] {
        let mut idle = Wire::connect(&server).await;
        idle.query(text).await;
        let silence = tokio::time::timeout(Duration::from_millis(50), idle.stream.read_u8()).await;
        assert!(silence.is_err(), "{text} ended the connection");
        assert_eq!(values(&idle.query("SELECT 1").await).len(), 1);
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (_fixture, server) = open(PgSettings { connections_max: 1, ..PgSettings::shipped() }).await;
    let first = Wire::connect(&server).await;
    assert_eq!(code(&first_answer(&server).await), "53300");
    drop(first);
    let freed = async { while !kinds(&first_answer(&server).await).starts_with('R') {} };
    tokio::time::timeout(Duration::from_secs(30), freed).await.expect("the place is given to another");
}

#[tokio::test]
async fn connections_that_never_begin_take_no_place_and_end() {
    let startup_timeout = Duration::from_millis(300);
    let (_fixture, server) = open(PgSettings { connections_max: 1, startup_timeout, ..PgSettings::shipped() }).await;
    let mut half_open = Vec::new();
    for sent in [&b""[..], b"\0", b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x20\0\x03"].repeat(10) {
        let mut wire = Wire::raw(&server).await;
        wire.stream.write_all(sent).await.unwrap();
        half_open.push(wire);
    }
    let mut wire = Wire::connect(&server).await;
    for mut ended in half_open {
        let mut rest = Vec::new();
        let ending = ended.stream.read_to_end(&mut rest);
        tokio::time::timeout(Duration::from_secs(30), ending).await.expect("it ends").unwrap();
    }
    assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC", "one that began stays");
}

#[tokio::test]
async fn a_message_that_is_none_is_answered_with_an_error() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let mut wire = Wire::connect(&server).await;
    wire.send(b'Q', b"SELECT 1").await;
    assert_eq!(code(&wire.until_ready().await), "08P01");
    wire.send(b'Q', b"SELECT '\xff'\0").await;
    assert_eq!(code(&wire.until_ready().await), "22021");
    let bodies: &[(u8, &[u8])] = &[
        (b'P', b"\0select $1\0\xff\xff"),
        (b'P', b""),
        (b'B', b"\0\0\0\0\0\x01\0\0\0\x09a\0\0"),
        (b'B', b"\0\0"),
        (b'D', b""),
        (b'C', b"S"),
        (b'E', b"\0\0"),
    ];
    for (kind, body) in bodies {
        wire.send(*kind, body).await;
        // Passed over until the next Sync.
        wire.send(b'E', b"").await;
        let answers = wire.sync().await;
        assert_eq!((code(&answers).as_str(), answers.len()), ("08P01", 1), "{}", char::from(*kind));
        assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC");
    }
    // A Sync that is none ends what it should have ended.
    wire.send(b'P', b"").await;
    wire.send(b'S', b"x").await;
    let answers = wire.until_ready().await;
    assert_eq!(code(&answers), "08P01");
    assert_eq!(kinds(&wire.query("SELECT 1").await), "TDC");
    for fatal in [&b"~\0\0\0\x04"[..], b"Q\0\0\0\0", b"Q\x7f\xff\xff\xff", b"F\0\0\0\x04", b"D\0\0\x27\x11"] {
        let mut wire = Wire::connect(&server).await;
        wire.stream.write_all(fatal).await.unwrap();
        assert_eq!(code(&wire.until_ready().await), "08P01", "{fatal:?}");
        assert_eq!(wire.receive().await, None);
    }
    for opening in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\0\0\0\x08\0\0\0\0", b"\xff\xff\xff\xff\0\x03\0\0"] {
        let mut wire = Wire::raw(&server).await;
        wire.stream.write_all(opening).await.unwrap();
        let answers = wire.until_ready().await;
        assert!(["08P01", "0A000"].contains(&code(&answers).as_str()), "{answers:?}");
    }
}

/// What psql prints for its commands and for statements.
#[tokio::test]
async fn psql_finds_its_way() {
    let (_fixture, server) = open(PgSettings::shipped()).await;
    let cases: &[(&str, &[&str])] = &[
        (r"\d", &["public|departures|table|", "public|hours|view|", "public|totals|view|"]),
        (r"\dt", &["public|departures|table|"]),
        (r"\dv", &["public|hours|view|", "public|totals|view|"]),
        (r"\d hours", &["carrier|text||", "hour|integer||", "flights|bigint||"]),
        (r"\d departures", &["carrier|text||", "delay|bigint||", "_offset|bigint||", "_arrival_time|timestamp"]),
        (r"\d+ hours", &["flights|bigint||"]),
        (r"\dt+", &["public|departures|table|"]),
        (r"\dn", &["public|"]),
        (r"\dn+", &["public|"]),
        (r"\dp", &["public|hours|view|"]),
        (r"\df", &[""]),
        (r"\l", &["fourfold|"]),
        (r"\l+", &["fourfold|"]),
        (r"\du", &["anonymous|"]),
        (r"\d nothing_like_it", &["Did not find any relation named \"nothing_like_it\"."]),
        ("SELECT carrier, total FROM totals ORDER BY total", &["AA|10\nDL|20\n|30\n"]),
        ("SELECT flights FROM hours WHERE carrier = 'UA' AND hour = 5", &["22\n"]),
        ("SHOW VIEWS", &["views\n"]),
        ("SELECT flihgts FROM hours", &["ERROR:  column \"flihgts\" does not exist", "LINE 1", "       ^", "HINT:"]),
        ("SELECT 1 FROM huors", &["ERROR:  relation \"huors\" does not exist", "HINT:  perhaps you meant \"hours\""]),
        (r"\copy (SELECT total FROM totals WHERE carrier = 'AA') TO STDOUT", &["10\n"]),
        ("SELECT version()", &["PostgreSQL 15.0 (Fourfold"]),
        (r"\conninfo", &["You are connected to database \"fourfold\" as user \"me\""]),
    ];
    for (command, expected) in cases {
        let port = server.local_addr().port().to_string();
        let arguments = ["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", "me", "-d", "fourfold", "-c", command];
        let psql = Command::new("psql").args(arguments).stdin(Stdio::null()).output().await;
        let output = psql.expect("psql is installed; as root on Debian, cargo xtask test installs it");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        for part in *expected {
            assert!(printed.contains(part), "{command} printed {printed:?} without {part:?}");
        }
    }
}
