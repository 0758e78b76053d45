//! The command line, as data: what can be said, not what is done about it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::Positions;

/// The four streaming architectures (Lambda, Kappa, Event Sourcing, CQRS) as one program.
#[derive(Debug, Parser)]
#[command(name = "fourfold", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print JSON instead of tables, one document a result
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Start here:
  fourfold demo                      all four patterns on one log, with real data
  fourfold dev                       a server on this machine
  psql -h 127.0.0.1 -p 5433          the same SQL from PostgreSQL's clients
  kcat -b 127.0.0.1:9092 -L          the same log from Kafka's clients

Data goes to standard output, everything else to standard error.
With --json data is JSON, and an error is {\"error\": {\"kind\", \"message\", \"hint\", ...}}.
Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + N ended by signal N.";

/// For commands that read or write the log.
#[derive(Debug, Args)]
pub(crate) struct KafkaDoor {
    /// Where the Kafka door of a running server is
    #[arg(long, value_name = "HOST:PORT", env = "FOURFOLD_KAFKA", default_value = "127.0.0.1:9092", global = true)]
    pub(crate) kafka: String,
}

/// For commands that ask the server.
#[derive(Debug, Args)]
pub(crate) struct HttpDoor {
    /// Where the HTTP door of a running server is
    #[arg(long, value_name = "HOST:PORT", env = "FOURFOLD_HTTP", default_value = "127.0.0.1:8080", global = true)]
    #[arg(value_parser = http_address)]
    pub(crate) http: String,
}

// Whoever copies an address from a browser or a log brings the scheme along.
fn http_address(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err("the HTTP door speaks no TLS; write HOST:PORT".to_owned());
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if address.is_empty() || address.contains('/') {
        return Err("write HOST:PORT".to_owned());
    }
    Ok(address.to_owned())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the four patterns on one log, on one month of real flights
    Demo(DemoArguments),
    /// Run a server: everything in one process
    Dev(DevArguments),
    /// Print every setting: the value in force, where it is from, and what it means
    Settings(SettingsArguments),
    /// Create, list, describe or delete topics
    Topic(TopicArguments),
    /// Write lines to a topic, one record a line, and print the position after them
    ///
    /// A value is the bytes of its line without the line feed; a carriage return stays. A line that is not stored is
    /// named, and the others are stored all the same.
    Produce(ProduceArguments),
    /// Print a topic's records
    Tail(TailArguments),
    /// Run SQL: a shell, or -c for one text
    Sql(SqlArguments),
    /// Rebuild a view from the log beside the old one, then swap; or replay a part of the log, or compare, and swap nothing
    Replay(ReplayArguments),
    /// Read or append events
    Events(EventsArguments),
    /// Send a command to an aggregate, and print the position after it
    #[command(name = "command")]
    Send(CommandArguments),
    /// Copy all data to a folder that is empty, while the server goes on; the copy is opened once to see that it is whole
    Backup(BackupArguments),
    /// Say what runs, and how far behind it is; fails when a view has failed
    Status(HttpDoor),
}

/// The parts of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One path: a view folded over the log, rebuilt by replay
    Kappa,
    /// Two paths, one SQL text: batch up to a position, stream after it
    Lambda,
    /// State folded from events: now, and as of an earlier moment
    EventSourcing,
    /// Commands append, queries read, and a position says how stale
    Cqrs,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Which pattern; all four when left out
    pub(crate) part: Option<Part>,
    /// A flights.csv or flights.csv.gz of nycflights13 (the full year, say) instead of the built-in month
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// End after the result instead of staying up for a look around
    #[arg(long)]
    pub(crate) exit: bool,
}

/// `dev`
#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// A settings file; config/default.toml lists the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the data lives [default: ./fourfold-data]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Port of the Kafka door, 0 for a free one [default: 9092]
    #[arg(long, value_name = "PORT")]
    pub(crate) kafka_port: Option<u16>,
    /// Port of the PostgreSQL door, 0 for a free one [default: 5433]
    #[arg(long, value_name = "PORT")]
    pub(crate) pg_port: Option<u16>,
    /// Port of the HTTP door, 0 for a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// Write the doors' addresses as JSON to this file when ready
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// `settings`
#[derive(Debug, Args)]
pub(crate) struct SettingsArguments {
    /// A settings file, as for `dev`
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The view
    pub(crate) view: String,
    /// Build another version beside it, from here: a time, or positions such as topic/0:100
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: Option<String>,
    /// Build another version beside it, up to here: a time, or positions
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
    /// Build another version beside it and print the rows that differ from the version that answers, or from one that is
    /// kept; fails when some do
    #[arg(long, value_name = "VERSION", num_args = 0..=1, conflicts_with_all = ["from", "to"])]
    pub(crate) compare: Option<Option<u64>>,
    /// For how long the version beside it can be read as "VIEW@VERSION" [default: 1 day; not at all with --compare]
    #[arg(long, value_name = "TIME")]
    pub(crate) keep: Option<String>,
    #[command(flatten)]
    pub(crate) door: HttpDoor,
}

impl ReplayArguments {
    /// Whether the view is left as it is, and another version built beside it.
    pub(crate) fn is_beside(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.compare.is_some() || self.keep.is_some()
    }
}

/// `topic ...`
#[derive(Debug, Args)]
pub(crate) struct TopicArguments {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: TopicCommand,
}

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// How many partitions
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
        #[arg(allow_negative_numbers = true)]
        partitions: i32,
        #[command(flatten)]
        door: KafkaDoor,
    },
    /// List all topics
    List(KafkaDoor),
    /// Show a topic's partitions and where they begin and end
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        door: KafkaDoor,
    },
    /// Delete a topic and its records, unless a source reads it or has its dead letters there
    Delete {
        /// Its name
        name: String,
        /// Delete it even though sources use it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        door: HttpDoor,
    },
}

/// `produce`
#[derive(Debug, Args)]
pub(crate) struct ProduceArguments {
    #[command(flatten)]
    pub(crate) door: KafkaDoor,
    #[command(flatten)]
    pub(crate) http: HttpDoor,
    /// The topic
    pub(crate) topic: String,
    /// Read from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What separates key and value in a line, \t for a tab; without it lines have no key
    #[arg(short = 'K', long, value_name = "TEXT", allow_hyphen_values = true, value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// An empty value is none: it deletes the row of its key from a table
    #[arg(short = 'Z', long)]
    pub(crate) null_empty: bool,
}

// A shell passes the two characters on, so they are read here.
fn separator(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an empty text separates nothing; leave it out for lines without a key".to_owned());
    }
    Ok(text.replace("\\t", "\t"))
}

/// `tail`
#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    pub(crate) door: KafkaDoor,
    /// The topic
    pub(crate) topic: String,
    /// Where to begin: beginning, end, or an offset of the partition
    #[arg(long, default_value = "beginning", allow_negative_numbers = true)]
    pub(crate) from: TailStart,
    /// Only this partition, instead of all of them in any order
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) partition: Option<i32>,
    /// Before each value, print topic/partition:offset and the key
    #[arg(long)]
    pub(crate) positions: bool,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    /// Wait for more when the end is reached
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Where `tail` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailStart {
    /// At the first record there is.
    Beginning,
    /// After the last record.
    End,
    /// At an offset of the one partition that is read.
    Offset(i64),
}

impl std::str::FromStr for TailStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ => text
                .parse()
                .ok()
                .filter(|offset| *offset >= 0)
                .map(Self::Offset)
                .ok_or_else(|| format!("{text:?} is none of beginning, end, or an offset")),
        }
    }
}

/// `sql`
#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    #[command(flatten)]
    pub(crate) door: HttpDoor,
    /// Run this text and end
    #[arg(short, long, value_name = "SQL", conflicts_with = "file", allow_hyphen_values = true)]
    pub(crate) command: Option<String>,
    /// Run this file and end
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Wait until what is read has folded at least this position (topic/partition:offset,...)
    #[arg(long, value_name = "POSITION")]
    pub(crate) min_position: Option<Positions>,
}

/// `events ...`
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    pub(crate) door: HttpDoor,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Print the events of a stream ('$all' for every stream)
    Read {
        /// The stream
        stream: String,
        /// The version (for $all: the offset) to begin with
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// At most so many events
        #[arg(short = 'n', long, default_value_t = 1000)]
        count: u32,
    },
    /// Append one event to a stream, and print the position after it
    Append {
        /// The stream
        stream: String,
        /// The event's type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: String,
        /// The event's data, as JSON
        #[arg(long, default_value = "{}", allow_hyphen_values = true)]
        data: String,
        /// What the stream must be: any, no_stream, stream_exists, or its last version
        #[arg(long, default_value = "any")]
        expected: String,
    },
}

/// `command`
#[derive(Debug, Args)]
pub(crate) struct CommandArguments {
    #[command(flatten)]
    pub(crate) door: HttpDoor,
    /// The kind of aggregate
    pub(crate) aggregate: String,
    /// Which one
    pub(crate) id: String,
    /// The command's type
    pub(crate) command_type: String,
    /// The command's data, as JSON
    #[arg(default_value = "{}")]
    pub(crate) data: String,
    /// The command's identity, any text: sent twice, it is done once
    #[arg(long, value_name = "TEXT")]
    pub(crate) command_id: Option<String>,
}

/// `backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    #[command(flatten)]
    pub(crate) door: HttpDoor,
    /// Where the copy is to be, on the server's machine
    pub(crate) target: PathBuf,
    /// Copy this folder, which nobody has open, without a server
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
