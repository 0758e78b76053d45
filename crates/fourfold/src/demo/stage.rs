//! What the parts of the demo share: the server, the flights in their order of arrival, and the ways to define, feed
//! and ask.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use eventstore::{CommandError, CommandOutcome};
use futures::TryStreamExt as _;
use model::{Positions, Principal};
use serde_json::Value;
use serving::sql::Outcome;
use serving::views::Views;

use super::feed::{Fed, Feed, Pace};
use super::fleet::{self, Fleet};
use super::flights::Flight;
use crate::output::{print, say};
use crate::server::Server;

/// The share of the flights that is fed at full speed, in percent.
pub(crate) const MAIN_SHARE: usize = 80;
/// The share up to which a paced feed is measured.
pub(crate) const MEASURED_SHARE: usize = 85;
/// The share up to which paced feeds go on.
pub(crate) const PACED_SHARE: usize = 90;
/// All flights.
pub(crate) const WHOLE: usize = 100;

const PARTITIONS: i32 = 4;
// Events per second of a paced feed; a build without optimisation is asked for less.
const PACE: f64 = if cfg!(debug_assertions) { 5_000.0 } else { 20_000.0 };

const FLIGHTS: &str = "\
CREATE SOURCE flights (carrier TEXT, flight INT, tailnum TEXT, origin TEXT, dest TEXT, scheduled TIMESTAMP,
                       dep_delay INT, arr_delay INT, air_time INT, distance INT)
WITH (topic = 'flights', partitions = 4, format = 'json', event_time = 'scheduled')";

/// The demo's stage.
pub(crate) struct Stage<'a> {
    server: &'a Server,
    feed: Feed,
    fleet: Option<Arc<Fleet>>,
    as_json: bool,
}

impl<'a> Stage<'a> {
    /// Defines the source and connects to the Kafka door.
    pub(crate) async fn open(server: &'a Server, flights: Vec<Flight>, as_json: bool) -> Result<Self> {
        let feed = Feed::open(&server.kafka_address().to_string(), "flights", PARTITIONS, flights).await?;
        let stage = Self { server, feed, fleet: None, as_json };
        stage.define(FLIGHTS).await?;
        Ok(stage)
    }

    pub(crate) fn server(&self) -> &'a Server {
        self.server
    }

    /// Tells a line of the report: on standard output, unless that is for JSON.
    pub(crate) fn tell(&self, line: impl AsRef<str>) -> Result<()> {
        if self.as_json {
            say(line);
            return Ok(());
        }
        print(line)
    }

    /// The command that asks `sql` of this server.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let pg = self.server.pg_address();
        format!("psql -h {} -p {} -c \"{sql}\"", pg.ip(), pg.port())
    }

    /// The command that shows a few records of a topic.
    pub(crate) fn kcat(&self, topic: &str) -> String {
        format!("kcat -b {} -t {topic} -C -c 3", self.server.kafka_address())
    }

    /// The command that gets a path.
    pub(crate) fn curl(&self, path: &str) -> String {
        // Quoted, for shells that take ? for a pattern.
        format!("curl 'http://{}{path}'", self.server.http_address())
    }

    /// How many flights there are in all.
    pub(crate) fn flight_count(&self) -> usize {
        self.feed.flights().len()
    }

    pub(crate) fn views(&self) -> &Arc<Views> {
        self.server.views()
    }

    /// Events per second of a paced feed.
    pub(crate) fn pace(&self) -> f64 {
        PACE
    }

    /// Runs a statement that defines something; returns its notices.
    pub(crate) async fn define(&self, sql: &str) -> Result<Vec<String>> {
        match self.ask(sql, &Positions::new()).await? {
            Outcome::Done { notices, .. } => Ok(notices),
            _ => Ok(Vec::new()),
        }
    }

    /// Answers a query from views that have folded at least `at_least`.
    pub(crate) async fn query(&self, sql: &str, at_least: &Positions) -> Result<(Vec<RecordBatch>, Positions)> {
        match self.ask(sql, at_least).await? {
            Outcome::Rows { stream, positions, .. } => Ok((stream.try_collect().await?, positions)),
            other => anyhow::bail!("{sql} gave no rows but {other:?}"),
        }
    }

    async fn ask(&self, sql: &str, at_least: &Positions) -> Result<Outcome> {
        let session = self.server.sql().session(Principal::anonymous());
        session.demand(at_least, None)?;
        Ok(session.query(sql, &[]).await?)
    }

    /// Shows a query's rows.
    pub(crate) async fn show_rows(&self, sql: &str) -> Result<()> {
        let (rows, _) = self.query(sql, &Positions::new()).await?;
        for line in pretty_format_batches(&rows)?.to_string().lines() {
            self.tell(format!("    {line}"))?;
        }
        Ok(())
    }

    /// Feeds flights until `percent` of them have been sent; `view` is watched for them to become visible.
    pub(crate) async fn feed(&mut self, percent: usize, pace: Pace, view: Option<&str>) -> Result<Fed> {
        let view = view.map(|name| self.server.views().get(name).with_context(|| format!("there is no view {name}")));
        self.feed.until(percent, pace, view.transpose()?).await
    }

    /// The flights that have been sent.
    pub(crate) fn sent_flights(&self) -> &[Flight] {
        self.feed.sent()
    }

    /// The flights that were brought to life by commands; the first call does it.
    pub(crate) async fn fleet(&mut self) -> Result<Arc<Fleet>> {
        if let Some(fleet) = &self.fleet {
            return Ok(Arc::clone(fleet));
        }
        let fleet = Arc::new(Fleet::fly(self.server, self.feed.flights()).await?);
        self.fleet = Some(Arc::clone(&fleet));
        Ok(fleet)
    }

    /// The states of the fleet, folded from its events.
    pub(crate) async fn fleet_states(&self, fleet: &Fleet) -> Result<RecordBatch> {
        fleet.states(self.server).await
    }

    /// Sends one command to a flight.
    pub(crate) async fn command(&self, id: &str, command: &str, data: Value) -> Result<CommandOutcome, CommandError> {
        fleet::command(self.server.aggregates(), id, command, &data).await
    }
}
