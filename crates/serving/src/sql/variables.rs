//! The variables of a session: `SET`, `SHOW`, `RESET`.
//!
//! What must hold: a value that would be ignored is refused or warned about, never swallowed.

use std::{collections::BTreeMap, time::Duration};

use datafusion::sql::sqlparser::ast::{self, ContextModifier, Set};
use model::Positions;
use sql::{SqlError, nearest, sqlstate};

use super::{
    action::Action,
    assignment::Assignment,
    isolation::{Isolation, Modes},
    settings::SqlSettings,
};

/// What later queries have to reflect.
pub(super) const MIN_POSITION: &str = "fourfold.min_position";
const MIN_POSITION_TIMEOUT_MS: &str = "fourfold.min_position_timeout_ms";
/// What the last query reflected.
pub(super) const POSITIONS: &str = "fourfold.positions";
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const IDLE_TIMEOUT: &str = "idle_session_timeout";
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "idle_in_transaction_session_timeout";
/// How intervals are written as text.
pub(crate) const INTERVAL_STYLE: &str = "IntervalStyle";
/// How bytes are written as text.
pub(crate) const BYTEA_OUTPUT: &str = "bytea_output";
/// How many digits of fractions are written.
pub(crate) const EXTRA_FLOAT_DIGITS: &str = "extra_float_digits";
const DEFAULT_ISOLATION: &str = "default_transaction_isolation";
const ISOLATION: &str = "transaction_isolation";
pub(super) const DEFAULT_READ_ONLY: &str = "default_transaction_read_only";
pub(super) const READ_ONLY: &str = "transaction_read_only";

/// How the values of a variable are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any text: it changes nothing that is answered here.
    Text,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// Milliseconds, or a number with a unit.
    Duration,
    Positions,
    Isolation,
    /// UTF-8, by any of its names.
    Encoding,
    /// The order of day, month and year; the output is always ISO.
    DateStyle,
    /// A whole number from one to another.
    Integer(i32, i32),
    /// Times are always answered in UTC.
    TimeZone,
    /// Only to be shown.
    ReadOnly,
}

struct Definition {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Whether PostgreSQL tells its clients of a change.
    reported: bool,
}

const fn variable(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition { name, default, kind, reported: false }
}

const fn reported(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition { name, default, kind, reported: true }
}

const BOOLEAN: Kind = Kind::OneOf(&["on", "off", "true", "false", "1", "0", "yes", "no"]);

/// The longest name of a client, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// The longest value of any other variable that is a text.
const TEXT_BYTES_MAX: usize = 8 * 1024;

#[rustfmt::skip]
const DEFINITIONS: &[Definition] = &[
    variable(MIN_POSITION, "", Kind::Positions),
    variable(MIN_POSITION_TIMEOUT_MS, "", Kind::Duration),
    variable(POSITIONS, "", Kind::ReadOnly),
    variable(STATEMENT_TIMEOUT, "", Kind::Duration),
    variable(DEFAULT_ISOLATION, "read committed", Kind::Isolation),
    variable(ISOLATION, "read committed", Kind::Isolation),
    reported("application_name", "", Kind::Text),
    reported("client_encoding", "UTF8", Kind::Encoding),
    reported("DateStyle", "ISO, MDY", Kind::DateStyle),
    reported(INTERVAL_STYLE, "postgres", Kind::OneOf(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"])),
    reported("TimeZone", "UTC", Kind::TimeZone),
    reported("standard_conforming_strings", "on", Kind::OneOf(&["on", "true", "1"])),
    reported("server_version", SERVER_VERSION, Kind::ReadOnly),
    reported("server_encoding", "UTF8", Kind::ReadOnly),
    reported("integer_datetimes", "on", Kind::ReadOnly),
    reported("in_hot_standby", "off", Kind::ReadOnly),
    reported("is_superuser", "off", Kind::ReadOnly),
    reported(DEFAULT_READ_ONLY, "off", BOOLEAN),
    variable("server_version_num", SERVER_VERSION_NUMBER, Kind::ReadOnly),
    variable(READ_ONLY, "off", Kind::ReadOnly),
    variable("max_identifier_length", "63", Kind::ReadOnly),
    variable("max_index_keys", "32", Kind::ReadOnly),
    variable("search_path", "public", Kind::Text),
    variable(BYTEA_OUTPUT, "hex", Kind::OneOf(&["hex", "escape"])),
    variable(EXTRA_FLOAT_DIGITS, "1", Kind::Integer(-15, 3)),
    variable("client_min_messages", "notice", Kind::Text),
    variable("lc_messages", "C", Kind::Text),
    variable("lc_collate", "C", Kind::ReadOnly),
    variable("lc_ctype", "C", Kind::ReadOnly),
    variable("lc_monetary", "C", Kind::Text),
    variable("lc_numeric", "C", Kind::Text),
    variable("lc_time", "C", Kind::Text),
    variable("lock_timeout", "0", Kind::Text),
    variable(IDLE_IN_TRANSACTION_TIMEOUT, "0", Kind::Duration),
    variable(IDLE_TIMEOUT, "0", Kind::Duration),
    variable("row_security", "on", BOOLEAN),
    variable("synchronize_seqscans", "on", BOOLEAN),
    variable("check_function_bodies", "on", BOOLEAN),
    variable("default_transaction_deferrable", "off", BOOLEAN),
    variable("jit", "off", BOOLEAN),
    variable("xmloption", "content", Kind::Text),
    variable("work_mem", "4MB", Kind::Text),
    variable("geqo", "on", BOOLEAN),
    variable("enable_seqscan", "on", BOOLEAN),
    variable("plan_cache_mode", "auto", Kind::OneOf(&["auto", "force_generic_plan", "force_custom_plan"])),
    variable("escape_string_warning", "on", BOOLEAN),
    variable("backslash_quote", "safe_encoding", Kind::Text),
    variable("array_nulls", "on", Kind::OneOf(&["on", "true", "1", "yes"])),
    variable("transform_null_equals", "off", Kind::OneOf(&["off", "false", "0", "no"])),
    variable("quote_all_identifiers", "off", BOOLEAN),
    variable("default_tablespace", "", Kind::Text),
    variable("default_table_access_method", "heap", Kind::Text),
    variable("synchronous_commit", "on", Kind::Text),
    variable("max_parallel_workers_per_gather", "0", Kind::Integer(0, 1024)),
    variable("client_connection_check_interval", "0", Kind::Duration),
    variable("tcp_keepalives_idle", "0", Kind::Integer(0, i32::MAX)),
    variable("tcp_keepalives_interval", "0", Kind::Integer(0, i32::MAX)),
    variable("tcp_keepalives_count", "0", Kind::Integer(0, i32::MAX)),
    variable("tcp_user_timeout", "0", Kind::Duration),
];

/// The version that clients are told: what is spoken here is PostgreSQL 15's protocol and dialect.
pub(crate) const SERVER_VERSION: &str = "15.0";
const SERVER_VERSION_NUMBER: &str = "150000";

/// What a `SET` changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) notice: Option<String>,
    /// Name and value, where PostgreSQL reports it.
    pub(super) reported: Option<(&'static str, String)>,
}

/// The values that differ from the defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<&'static str, String>);

impl Variables {
    /// The name as it is defined, and what it is set to.
    pub(super) fn show(&self, name: &str, settings: &SqlSettings) -> Result<(&'static str, String), SqlError> {
        let definition = find(name)?;
        Ok((definition.name, self.value(definition, settings)))
    }

    /// All names with their values, in the order of the definitions.
    pub(super) fn all(&self, settings: &SqlSettings) -> Vec<(&'static str, String)> {
        DEFINITIONS.iter().map(|definition| (definition.name, self.value(definition, settings))).collect()
    }

    /// Those that PostgreSQL reports to its clients.
    pub(super) fn reported(&self, settings: &SqlSettings) -> Vec<(&'static str, String)> {
        let reported = DEFINITIONS.iter().filter(|definition| definition.reported);
        reported.map(|definition| (definition.name, self.value(definition, settings))).collect()
    }

    /// Gives a variable a value, or its default.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, settings: &SqlSettings) -> Result<Changed, SqlError> {
        let definition = find(name)?;
        let mut changed = Changed::default();
        match value {
            None => {
                self.0.remove(definition.name);
            }
            Some(value) => {
                let (value, notice) = check(definition, value)?;
                changed.notice = notice;
                self.0.insert(definition.name, value);
            }
        }
        if definition.reported {
            changed.reported = Some((definition.name, self.value(definition, settings)));
        }
        Ok(changed)
    }

    /// Takes one value from `other`.
    pub(super) fn restore(&mut self, name: &'static str, other: &Self) {
        match other.0.get(name) {
            Some(value) => self.0.insert(name, value.clone()),
            None => self.0.remove(name),
        };
    }

    /// Sets what only the session itself may set.
    pub(super) fn record(&mut self, name: &'static str, value: String) {
        self.0.insert(name, value);
    }

    pub(super) fn statement_timeout(&self, settings: &SqlSettings) -> Duration {
        self.duration(STATEMENT_TIMEOUT).unwrap_or(settings.statement_timeout)
    }

    pub(super) fn min_position_timeout(&self, settings: &SqlSettings) -> Duration {
        self.duration(MIN_POSITION_TIMEOUT_MS).unwrap_or(settings.min_position_timeout)
    }

    /// How long the session may say nothing, in a transaction or outside one; `None` for ever.
    pub(super) fn idle_timeout(&self, in_transaction: bool) -> Option<Duration> {
        let name = if in_transaction { IDLE_IN_TRANSACTION_TIMEOUT } else { IDLE_TIMEOUT };
        self.duration(name).filter(|timeout| !timeout.is_zero())
    }

    pub(super) fn min_position(&self) -> Positions {
        self.0.get(MIN_POSITION).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn default_isolation(&self) -> Isolation {
        self.0.get(DEFAULT_ISOLATION).and_then(|name| Isolation::parse(name).ok()).unwrap_or_default()
    }

    pub(super) fn default_read_only(&self) -> bool {
        self.0
            .get(DEFAULT_READ_ONLY)
            .is_some_and(|value| ["on", "true", "1", "yes"].contains(&value.to_lowercase().as_str()))
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        self.0.get(name).and_then(|text| parse_duration(text))
    }

    fn value(&self, definition: &Definition, settings: &SqlSettings) -> String {
        if let Some(value) = self.0.get(definition.name) {
            return value.clone();
        }
        match definition.name {
            STATEMENT_TIMEOUT => settings.statement_timeout.as_millis().to_string(),
            MIN_POSITION_TIMEOUT_MS => settings.min_position_timeout.as_millis().to_string(),
            _ => definition.default.to_owned(),
        }
    }
}

fn find(name: &str) -> Result<&'static Definition, SqlError> {
    let found = DEFINITIONS.iter().find(|definition| definition.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let error =
            SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""));
        match nearest(name, DEFINITIONS.iter().map(|definition| definition.name)) {
            Some(near) => error.with_hint(format!("perhaps you meant \"{near}\"; SHOW ALL lists what there is")),
            None => error.with_hint("SHOW ALL lists what there is"),
        }
    })
}

/// Checks a value; returns it as it is kept, and what the user should know about it.
fn check(definition: &Definition, value: &str) -> Result<(String, Option<String>), SqlError> {
    let name = definition.name;
    let invalid = |hint: String| {
        let shown: String = value.chars().take(100).collect();
        let message = format!("invalid value for parameter \"{name}\": \"{shown}\"");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint)
    };
    let (trimmed, mut notice) = (value.trim(), None);
    let mut kept = trimmed.to_owned();
    match definition.kind {
        // Longer names are cut, as PostgreSQL does.
        Kind::Text if name == "application_name" => {
            let end = (0..=NAME_BYTES_MAX.min(kept.len())).rev().find(|end| kept.is_char_boundary(*end));
            kept.truncate(end.unwrap_or_default());
        }
        Kind::Text if kept.len() > TEXT_BYTES_MAX => {
            return Err(SqlError::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("the value of parameter \"{name}\" has more than {TEXT_BYTES_MAX} bytes"),
            ));
        }
        Kind::Text => {}
        Kind::OneOf(values) => match values.iter().find(|allowed| allowed.eq_ignore_ascii_case(trimmed)) {
            // A switch is on or off, however it was said.
            Some(&("true" | "yes" | "1")) if values.contains(&"on") => "on".clone_into(&mut kept),
            Some(&("false" | "no" | "0")) if values.contains(&"off") => "off".clone_into(&mut kept),
            Some(allowed) => (*allowed).clone_into(&mut kept),
            None => return Err(invalid(format!("it can be {}", values.join(", ")))),
        },
        Kind::Duration if parse_duration(value).is_some() => {}
        Kind::Duration => {
            return Err(invalid("write milliseconds, or a number with ms, s, min or h; 0 is no limit".to_owned()));
        }
        Kind::Isolation => {
            Isolation::parse(value)?;
        }
        Kind::Positions => {
            value.parse::<Positions>().map_err(|error| invalid(error.hint().unwrap_or_default().to_owned()))?;
        }
        Kind::Encoding if is_utf8(value) => "UTF8".clone_into(&mut kept),
        Kind::Encoding => return Err(invalid("texts are UTF8 here".to_owned())),
        Kind::DateStyle => {
            let order = date_order(value).ok_or_else(|| {
                invalid("dates are written in ISO; the order of day, month and year can be MDY, DMY or YMD".to_owned())
            })?;
            kept = format!("ISO, {order}");
        }
        Kind::Integer(least, most) => match trimmed.parse::<i32>() {
            Ok(number) if (least..=most).contains(&number) => kept = number.to_string(),
            _ => return Err(invalid(format!("it can be a whole number from {least} to {most}"))),
        },
        Kind::TimeZone => {
            if !["utc", "etc/utc", "gmt", "z", "0", "+00:00"].contains(&trimmed.to_lowercase().as_str()) {
                let message = "times are answered in UTC, whatever the time zone";
                notice = Some(format!("{message}; \"{value}\" is only noted"));
            }
        }
        Kind::ReadOnly => {
            return Err(SqlError::new(
                sqlstate::CANT_CHANGE_RUNTIME_PARAM,
                format!("parameter \"{name}\" cannot be changed"),
            ));
        }
    }
    Ok((kept, notice))
}

/// Whether an encoding's name is one of UTF-8's: PostgreSQL looks at letters and digits alone.
fn is_utf8(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode"].contains(&letters.to_ascii_lowercase().as_str())
}

/// The order that a date style names; `None` where it asks for more than ISO.
fn date_order(style: &str) -> Option<&'static str> {
    style.split(',').try_fold("MDY", |order, word| match word.trim().to_ascii_lowercase().as_str() {
        "iso" => Some(order),
        "mdy" | "us" | "noneuro" | "noneuropean" => Some("MDY"),
        "dmy" | "euro" | "european" => Some("DMY"),
        "ymd" => Some("YMD"),
        _ => None,
    })
}

/// Milliseconds, or a number with a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "" | "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(milliseconds))
}

/// What a `SET` asks for.
pub(super) fn read_set(set: Set, text: &str) -> Result<Action, SqlError> {
    let one = |name: String, value, local| Ok(Action::Set(vec![Assignment { name, value, local }]));
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = scope == Some(ContextModifier::Local);
            one(name_of(&variable), value_of(&values), local)
        }
        Set::SetTimeZone { local, value } => one("TimeZone".to_owned(), value_of(&[value]), local),
        Set::SetNames { charset_name, .. } => one("client_encoding".to_owned(), Some(charset_name.value), false),
        Set::SetNamesDefault {} => one("client_encoding".to_owned(), None, false),
        Set::SetTransaction { modes, snapshot: None, session } => {
            Ok(Action::SetModes { modes: Modes::of(&modes)?, session })
        }
        Set::SetRole { .. } | Set::SetSessionAuthorization(_) => Err(SqlError::unsupported("SET ROLE")),
        _ => Err(SqlError::unsupported(format!("{text:?}"))),
    }
}

/// What a `SHOW` asks for.
pub(super) fn read_show(words: &[ast::Ident]) -> Action {
    let words: Vec<&str> = words.iter().map(|word| word.value.as_str()).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["all"] => Action::ShowAllVariables,
        ["time", "zone"] => Action::ShowVariable("TimeZone".to_owned()),
        ["transaction", "isolation", "level"] => Action::ShowVariable(ISOLATION.to_owned()),
        ["session", "authorization"] => Action::ShowVariable("session_authorization".to_owned()),
        _ => Action::ShowVariable(words.join(".")),
    }
}

/// What a `RESET` asks for.
pub(super) fn read_reset(text: &str) -> Action {
    let name = text.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let name = name.trim_end_matches(';').trim().replace('"', "");
    match name.to_lowercase().as_str() {
        "all" => Action::ResetVariable(None),
        "time zone" => Action::ResetVariable(Some("TimeZone".to_owned())),
        _ => Action::ResetVariable(Some(name)),
    }
}

fn name_of(variable: &ast::ObjectName) -> String {
    let parts = variable.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str());
    parts.collect::<Vec<_>>().join(".")
}

/// The value as text; `None` for `DEFAULT`.
fn value_of(values: &[ast::Expr]) -> Option<String> {
    let text = |value: &ast::Expr| match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        ast::Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    };
    let joined = values.iter().map(text).collect::<Vec<_>>().join(", ");
    (!joined.eq_ignore_ascii_case("default")).then_some(joined)
}
