//! Random input: rows with every type, sent in record batches to several partitions, some late, some not rows at all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use proptest::prelude::*;
use sql::{SourceDefinition, Statement};

pub(crate) const COLUMNS: [(&str, &str); 11] = [
    ("at", "TIMESTAMP"),
    ("i", "BIGINT"),
    ("j", "BIGINT"),
    ("d", "DOUBLE PRECISION"),
    ("e", "DOUBLE PRECISION"),
    ("n", "NUMERIC(12, 3)"),
    ("m", "NUMERIC(38, 10)"),
    ("t", "TEXT"),
    ("u", "TEXT"),
    ("b", "BOOLEAN"),
    ("day", "DATE"),
];

/// A row; each value can be NULL.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// In microseconds.
    pub(crate) at: Option<i64>,
    pub(crate) i: Option<i64>,
    pub(crate) j: Option<i64>,
    pub(crate) d: Option<f64>,
    pub(crate) e: Option<f64>,
    /// In thousandths.
    pub(crate) n: Option<i64>,
    /// In units of 10^-10.
    pub(crate) m: Option<i128>,
    pub(crate) t: Option<String>,
    pub(crate) u: Option<String>,
    pub(crate) b: Option<bool>,
    /// In days.
    pub(crate) day: Option<i32>,
    /// Which of the ways that JSON has to say it.
    pub(crate) style: u8,
}

/// A record.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Row(Box<Row>),
    /// Nothing that the source can decode.
    Broken(&'static str),
    Tombstone,
}

/// A record batch.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) partition: i32,
    /// How far the log's clock goes before it arrives; it can go back.
    pub(crate) clock_step_ms: i64,
    pub(crate) compressed: bool,
    pub(crate) records: Vec<Sent>,
}

/// Everything that is sent, in order.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The order of the source's columns: indices into [`COLUMNS`].
    pub(crate) columns: Vec<usize>,
    pub(crate) partitions: i32,
    pub(crate) appends: Vec<Append>,
}

/// A row in the log.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) row: Row,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) arrival_time_ms: i64,
}

/// Input of up to `appends` record batches.
pub(crate) fn input(appends: usize) -> impl Strategy<Value = Input> {
    let columns = Just((0..COLUMNS.len()).collect::<Vec<_>>()).prop_shuffle();
    (columns, 1..=3_i32, prop::collection::vec(append(), 0..=appends)).prop_map(|(columns, partitions, mut appends)| {
        for append in &mut appends {
            append.partition %= partitions;
        }
        Input { columns, partitions, appends }
    })
}

fn append() -> impl Strategy<Value = Append> {
    let record = prop_oneof![
        30 => row().prop_map(|row| Sent::Row(Box::new(row))),
        1 => prop::sample::select(vec!["", "{\"i\": 1", "[]", "{\"d\": \"much\"}", "{\"at\": \"noon\"}"]).prop_map(Sent::Broken),
        1 => Just(Sent::Tombstone),
    ];
    (0..3, -3..6_i64, any::<bool>(), prop::collection::vec(record, 1..8)).prop_map(
        |(partition, clock_step_ms, compressed, records)| Append { partition, clock_step_ms, compressed, records },
    )
}

/// A row whose values are often the same as another one's, and sometimes extreme.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let numbers = (maybe(integer()), maybe(integer()), maybe(double()), maybe(double()));
    let decimals = (maybe(-999_999_999_999..=999_999_999_999_i64), maybe(large_decimal()));
    let texts = (maybe(text()), maybe(text()));
    let others = (maybe(any::<bool>()), maybe(day()), maybe(time()), any::<u8>());
    (numbers, decimals, texts, others).prop_map(|((i, j, d, e), (n, m), (t, u), (b, day, at, style))| Row {
        at,
        i,
        j,
        d,
        e,
        n,
        m,
        t,
        u,
        b,
        day,
        style,
    })
}

fn maybe<S: Strategy>(values: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.85, values)
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -2..4_i64,
        1 => prop::sample::select(vec![i64::MAX, i64::MIN, i64::MAX - 1, (1 << 53) + 1, -(1 << 53) - 1]),
        1 => any::<i64>(),
    ]
}

/// NaN has one form here: JSON can only say that it is one.
fn double() -> impl Strategy<Value = f64> {
    let special = vec![
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        1e16,
        -1e16,
        1.0,
        f64::EPSILON,
    ];
    prop_oneof![
        4 => (-8..8_i32).prop_map(|tenths| f64::from(tenths) / 10.0),
        3 => prop::sample::select(special),
        2 => any::<u64>().prop_map(|bits| Some(f64::from_bits(bits)).filter(|value| !value.is_nan()).unwrap_or(0.5)),
    ]
}

/// Small enough that a few hundred of them have a sum of 38 digits.
fn large_decimal() -> impl Strategy<Value = i128> {
    prop_oneof![3 => -30_000_000_000..30_000_000_000_i128, 1 => -10_i128.pow(35)..10_i128.pow(35)]
}

fn text() -> impl Strategy<Value = String> {
    let some =
        vec!["", "a", "A", "b", "é", "e\u{301}", "日本", "\u{1F600}", " ", "\"\\/\n\t", "NULL", "\u{0}", "\u{FFFF}"];
    prop_oneof![
        6 => prop::sample::select(some).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| text.chars().take(6).collect()),
    ]
}

/// Days from year 1 to year 9999.
fn day() -> impl Strategy<Value = i32> {
    prop_oneof![6 => 19_700..19_704_i32, 1 => -719_162..2_932_896_i32]
}

/// Within a few hours, so that windows are shared and rows come late; or before the epoch; or at the ends of time.
fn time() -> impl Strategy<Value = i64> {
    let (minute, start) = (60_000_000_i64, 1_704_067_200_000_000_i64);
    prop_oneof![
        6 => (0..240_i64).prop_map(move |minutes| start + minutes * minute),
        2 => (0..14_400_000_000_i64).prop_map(move |after| start + after),
        1 => (-240..1_i64).prop_map(move |minutes| minutes * minute),
        1 => prop::sample::select(vec![-1, 0, 1, -62_135_596_800_000_000, 253_402_300_799_999_999]),
    ]
}

impl Input {
    /// The source that declares the columns.
    pub(crate) fn source(&self) -> SourceDefinition {
        let columns: Vec<_> = self.columns.iter().map(|i| format!("{} {}", COLUMNS[*i].0, COLUMNS[*i].1)).collect();
        let (columns, partitions) = (columns.join(", "), self.partitions);
        let options =
            format!("topic = 's', partitions = {partitions}, event_time = 'at', timestamp_unit = 'milliseconds'");
        let text = format!("CREATE SOURCE s ({columns}) WITH ({options})");
        match sql::parse(&text).unwrap().pop() {
            Some(Statement::CreateSource(source)) => source,
            other => panic!("{other:?}"),
        }
    }
}

impl Row {
    /// The row as a record's value.
    pub(crate) fn json(&self) -> String {
        let style = |bit: u8| self.style >> bit & 1 == 1;
        let double = |value: f64| match value {
            _ if value.is_nan() => "\"NaN\"".to_owned(),
            f64::INFINITY => "\"inf\"".to_owned(),
            f64::NEG_INFINITY => "\"-inf\"".to_owned(),
            _ if style(0) => format!("\"{value:?}\""),
            _ => format!("{value:?}"),
        };
        let time = |us: i64| match us % 1_000 {
            0 if style(1) => (us / 1_000).to_string(),
            _ => {
                let text = timestamp_us_to_datetime(us).unwrap().to_string();
                format!("\"{}\"", if style(2) { text.replace(' ', "T") + "Z" } else { text })
            }
        };
        let decimal = |units: i128, scale: u32| {
            let (sign, units, one) = (if units < 0 { "-" } else { "" }, units.unsigned_abs(), 10_u128.pow(scale));
            let text = format!("{sign}{}.{:0width$}", units / one, units % one, width = scale as usize);
            if style(3) { format!("\"{text}\"") } else { text }
        };
        let text = |text: &String| {
            let json = serde_json::to_string(text).unwrap();
            if style(4) { escaped(&json) } else { json }
        };
        let day = |day: i32| format!("\"{}\"", &date32_to_datetime(day).unwrap().to_string()[..10]);
        let fields = [
            ("at", self.at.map(time)),
            ("i", self.i.map(|value| value.to_string())),
            ("j", self.j.map(|value| value.to_string())),
            ("d", self.d.map(double)),
            ("e", self.e.map(double)),
            ("n", self.n.map(|value| decimal(value.into(), 3))),
            ("m", self.m.map(|value| decimal(value, 10))),
            ("t", self.t.as_ref().map(text)),
            ("u", self.u.as_ref().map(text)),
            ("b", self.b.map(|value| value.to_string())),
            ("day", self.day.map(day)),
            ("undeclared", style(6).then(|| "[{}, 1]".to_owned())),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| match value {
            Some(value) => Some(format!("\"{name}\": {value}")),
            None => style(5).then(|| format!("\"{name}\": null")),
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
    }
}

/// Everything that is not ASCII as escapes, in pairs beyond 16 bits.
fn escaped(json: &str) -> String {
    let escape = |unit: &u16| format!("\\u{unit:04x}");
    let character = |c: char| match c {
        '\0'..='\u{7f}' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(escape).collect(),
    };
    json.chars().map(character).collect()
}

/// Rows with the source's schema.
pub(crate) fn batch(source: &SourceDefinition, placed: &[Placed]) -> RecordBatch {
    macro_rules! column {
        ($array:ty, $field:ident) => {
            placed.iter().map(|placed| placed.row.$field.clone()).collect::<$array>()
        };
    }
    let schema = source.schema();
    let column = |name: &str| -> ArrayRef {
        match name {
            "at" => Arc::new(column!(TimestampMicrosecondArray, at)),
            "i" => Arc::new(column!(Int64Array, i)),
            "j" => Arc::new(column!(Int64Array, j)),
            "d" => Arc::new(column!(Float64Array, d)),
            "e" => Arc::new(column!(Float64Array, e)),
            "n" => {
                let units = placed.iter().map(|placed| placed.row.n.map(i128::from));
                Arc::new(units.collect::<Decimal128Array>().with_precision_and_scale(12, 3).unwrap())
            }
            "m" => Arc::new(column!(Decimal128Array, m).with_precision_and_scale(38, 10).unwrap()),
            "t" => Arc::new(column!(StringArray, t)),
            "u" => Arc::new(column!(StringArray, u)),
            "b" => Arc::new(column!(BooleanArray, b)),
            "day" => Arc::new(column!(Date32Array, day)),
            "_partition" => Arc::new(placed.iter().map(|placed| Some(placed.partition)).collect::<Int32Array>()),
            "_offset" => Arc::new(placed.iter().map(|placed| Some(placed.offset)).collect::<Int64Array>()),
            "_arrival_time" => {
                let arrivals = placed.iter().map(|placed| Some(placed.arrival_time_ms * 1_000));
                Arc::new(arrivals.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            "_key" => Arc::new(placed.iter().map(|placed| Some(key(placed.offset))).collect::<StringArray>()),
            other => panic!("no values for {other}"),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The key of the record at an offset.
pub(crate) fn key(offset: i64) -> String {
    format!("k{}", offset % 3)
}
