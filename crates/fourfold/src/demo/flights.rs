//! The demo's data: departures from New York in 2013 (data set `nycflights13`, public domain).
//!
//! What it is not: a general CSV reader. It knows the columns of that file and says which row it cannot read.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use arrow::array::{Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{NaiveDate, NaiveDateTime};
use flate2::read::GzDecoder;
use serde::Serialize;

const JANUARY: &[u8] = include_bytes!("../../data/flights-2013-01.csv.gz");

/// One scheduled departure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Flight {
    pub(crate) carrier: String,
    pub(crate) flight: i32,
    pub(crate) tailnum: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// Scheduled departure, local time.
    pub(crate) scheduled: NaiveDateTime,
    /// Minutes late at departure; absent when the flight was cancelled.
    pub(crate) dep_delay: Option<i32>,
    /// Minutes late at arrival; absent when it never arrived as planned.
    pub(crate) arr_delay: Option<i32>,
    /// Minutes in the air.
    pub(crate) air_time: Option<i32>,
    /// Miles.
    pub(crate) distance: i32,
}

impl Flight {
    /// What distinguishes this departure from all others: carrier, number, origin, and scheduled time.
    pub(crate) fn id(&self) -> String {
        format!("{}{}-{}-{}", self.carrier, self.flight, self.origin, self.scheduled.format("%Y%m%d%H%M"))
    }
}

/// The built-in month, or the file that the user named (plain or gzip), in the file's order.
pub(crate) fn load(file: Option<&Path>) -> Result<Vec<Flight>> {
    match file {
        None => parse(GzDecoder::new(JANUARY)).context("the built-in flights"),
        Some(path) => read(path).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<Flight>> {
    let mut file = BufReader::new(File::open(path)?);
    // A file says what it is better than its name does.
    match file.fill_buf()? {
        [0x1f, 0x8b, ..] => parse(GzDecoder::new(file)),
        [b'P', b'K', 3, 4, ..] => bail!("it is a zip archive; unpack it and name the flights.csv in it"),
        _ => parse(file),
    }
}

#[derive(serde::Deserialize)]
struct Row {
    year: i32,
    month: u32,
    day: u32,
    dep_delay: String,
    arr_delay: String,
    sched_dep_time: u32,
    carrier: String,
    flight: i32,
    tailnum: String,
    origin: String,
    dest: String,
    air_time: String,
    distance: i32,
}

fn parse(csv: impl Read) -> Result<Vec<Flight>> {
    let mut flights = Vec::new();
    let mut reader = csv::Reader::from_reader(csv);
    let names = reader.headers()?.clone();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = record.deserialize::<Row>(Some(&names)).map_err(|error| without_place(&error));
        flights.push(row.and_then(flight).with_context(|| format!("line {line}"))?);
    }
    if flights.is_empty() {
        bail!("it has no flights");
    }
    Ok(flights)
}

// The reader names a line of its own counting beside ours, so only what is wrong is kept of its message.
fn without_place(error: &csv::Error) -> anyhow::Error {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => anyhow!("{}", err.kind()),
        _ => anyhow!("{error}"),
    }
}

fn flight(row: Row) -> Result<Flight> {
    let (hour, minute) = (row.sched_dep_time / 100, row.sched_dep_time % 100);
    let scheduled = NaiveDate::from_ymd_opt(row.year, row.month, row.day)
        .and_then(|date| date.and_hms_opt(hour, minute, 0))
        .with_context(|| format!("{}-{}-{} {hour}:{minute} is not a time", row.year, row.month, row.day))?;
    Ok(Flight {
        scheduled,
        carrier: row.carrier,
        flight: row.flight,
        tailnum: known(&row.tailnum).map(str::to_owned),
        origin: row.origin,
        dest: row.dest,
        dep_delay: minutes(&row.dep_delay)?,
        arr_delay: minutes(&row.arr_delay)?,
        air_time: minutes(&row.air_time)?,
        distance: row.distance,
    })
}

// The file writes NA, or nothing, for what is not known.
fn known(text: &str) -> Option<&str> {
    (!text.is_empty() && text != "NA").then_some(text)
}

fn minutes(text: &str) -> Result<Option<i32>> {
    let Some(text) = known(text) else { return Ok(None) };
    let minutes: f64 = text.parse().with_context(|| format!("{text:?} is not a number of minutes"))?;
    Ok(Some(minutes as i32))
}

/// The same flights as Arrow, for the oracle: made straight from the file, past log, JSON and views.
pub(crate) fn to_arrow(flights: &[Flight]) -> Result<RecordBatch> {
    let text = |get: fn(&Flight) -> &str| Arc::new(StringArray::from_iter_values(flights.iter().map(get)));
    let number = |get: fn(&Flight) -> Option<i32>| Arc::new(flights.iter().map(get).collect::<Int32Array>());
    let scheduled: TimestampMillisecondArray =
        flights.iter().map(|flight| Some(flight.scheduled.and_utc().timestamp_millis())).collect();
    Ok(RecordBatch::try_new(
        schema(),
        vec![
            text(|flight| &flight.carrier),
            text(|flight| &flight.origin),
            text(|flight| &flight.dest),
            Arc::new(scheduled),
            number(|flight| flight.dep_delay),
            number(|flight| flight.arr_delay),
            number(|flight| Some(flight.distance)),
        ],
    )?)
}

fn schema() -> SchemaRef {
    let field = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("carrier", DataType::Utf8),
        field("origin", DataType::Utf8),
        field("dest", DataType::Utf8),
        field("scheduled", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("dep_delay", DataType::Int32),
        field("arr_delay", DataType::Int32),
        field("distance", DataType::Int32),
    ]))
}

#[cfg(test)]
mod tests;
