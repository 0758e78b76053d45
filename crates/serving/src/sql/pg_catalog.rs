//! `pg_catalog`: the library's tables, with the columns that it has wrong put right.
//!
//! What it is not: another catalogue. The rows are the library's; here functions that types name become their numbers
//! (`typreceive`, as `regproc`), one-letter columns become PostgreSQL's `"char"`, and `pg_settings` has the session's
//! variables.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int32Type, Schema},
};
use arrow_pg::datatypes::{PG_CHAR_KEY, PG_OID_ALIAS_KEY};
use async_trait::async_trait;
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider},
    datasource::TableType,
    error::Result,
};
use futures::FutureExt;
use parking_lot::Mutex;

use super::{settings::SqlSettings, variables::Variables};

const SETTINGS: &str = "pg_settings";

/// Columns of one letter.
const LETTERS: &[&str] = &["typtype", "typcategory", "typdelim", "typalign", "typstorage"];

/// Columns that name a function: those of `pg_type` and `pg_range` that clients look at.
pub(super) const FUNCTIONS: &[&str] = &[
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typanalyze",
    "typsubscript",
    "rngcanonical",
    "rngsubdiff",
];

/// Names and numbers of what PostgreSQL has from the beginning; users add none.
#[derive(Debug, Default)]
pub(super) struct Names {
    types: HashMap<String, i32>,
    functions: HashMap<String, i32>,
    function_names: HashMap<i32, String>,
}

impl Names {
    /// The number of a type, by any of its names: `int4`, `integer`, `integer[]`, `pg_catalog.int4`.
    pub(super) fn type_oid(&self, name: &str) -> Option<i32> {
        let name = name.trim();
        if let Some(element) = name.strip_suffix("[]") {
            let element = self.type_name(element)?;
            return self.types.get(&format!("_{element}")).copied();
        }
        self.types.get(&self.type_name(name)?).copied()
    }

    /// PostgreSQL's own name of a type.
    fn type_name(&self, name: &str) -> Option<String> {
        let lower = name.trim().to_lowercase();
        let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
        let own = match lower {
            "boolean" => "bool",
            "smallint" => "int2",
            "integer" | "int" => "int4",
            "bigint" => "int8",
            "real" => "float4",
            "double precision" | "float" => "float8",
            "decimal" => "numeric",
            "character varying" => "varchar",
            "character" => "bpchar",
            "time without time zone" => "time",
            "time with time zone" => "timetz",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            "bit varying" => "varbit",
            other => other.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(other),
        };
        self.types.contains_key(own).then(|| own.to_owned())
    }

    /// The number of a function by its name.
    pub(super) fn function_oid(&self, name: &str) -> Option<i32> {
        let name = name.split('(').next().unwrap_or(name).trim();
        self.functions.get(name.strip_prefix("pg_catalog.").unwrap_or(name)).copied()
    }

    /// What PostgreSQL shows for the number of a function.
    pub(super) fn function_name(&self, oid: i32) -> String {
        match self.function_names.get(&oid) {
            Some(name) => name.clone(),
            None if oid == 0 => "-".to_owned(),
            None => oid.to_string(),
        }
    }
}

/// The tables, mended once for all sessions.
#[derive(Debug)]
pub(super) struct PgCatalog {
    own: Arc<dyn SchemaProvider>,
    mended: BTreeMap<String, Arc<dyn TableProvider>>,
    pub(super) names: Arc<Names>,
}

impl PgCatalog {
    pub(super) fn new(own: Arc<dyn SchemaProvider>) -> Result<Self> {
        let mut names = Names::default();
        for (oid, name) in names_of(&*own, "pg_type", "typname") {
            names.types.entry(name).or_insert(oid);
        }
        for (oid, name) in names_of(&*own, "pg_proc", "proname") {
            names.function_names.insert(oid, name.clone());
            names.functions.entry(name).or_insert(oid);
        }
        let mut mended = BTreeMap::new();
        for table in ["pg_type", "pg_range"] {
            if let Some(rows) = rows_of(&*own, table) {
                let rows = rows.iter().map(|rows| mend(rows, &names)).collect::<Result<Vec<_>>>()?;
                let Some(schema) = rows.first().map(RecordBatch::schema) else { continue };
                mended.insert(table.to_owned(), Arc::new(MemTable::try_new(schema, vec![rows])?) as _);
            }
        }
        Ok(Self { own, mended, names: Arc::new(names) })
    }
}

/// The tables as one session sees them.
#[derive(Debug)]
pub(super) struct SessionPgCatalog {
    pub(super) shared: Arc<PgCatalog>,
    pub(super) variables: Arc<Mutex<Variables>>,
    pub(super) settings: SqlSettings,
}

#[async_trait]
impl SchemaProvider for SessionPgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.shared.own.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name.eq_ignore_ascii_case(SETTINGS) {
            let rows = settings(&self.variables.lock().all(&self.settings))?;
            return Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)));
        }
        match self.shared.mended.get(&name.to_ascii_lowercase()) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.shared.own.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.shared.own.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shared.own.table_exist(name)
    }
}

/// The rows of one of the library's fixed tables.
fn rows_of(schema: &dyn SchemaProvider, table: &str) -> Option<Vec<RecordBatch>> {
    // They are in memory, so nothing is waited for.
    let table = schema.table(table).now_or_never()?.ok()??;
    let table = (&*table as &dyn Any).downcast_ref::<MemTable>()?;
    let mut rows = Vec::new();
    for partition in &table.batches {
        rows.extend(partition.try_read().ok()?.iter().cloned());
    }
    Some(rows)
}

fn names_of(schema: &dyn SchemaProvider, table: &str, column: &str) -> Vec<(i32, String)> {
    let rows = rows_of(schema, table).unwrap_or_default();
    let mut names = Vec::new();
    for rows in &rows {
        let oids = rows.column_by_name("oid").and_then(|oids| oids.as_primitive_opt::<Int32Type>());
        let texts = rows.column_by_name(column).and_then(|texts| texts.as_string_opt::<i32>());
        if let (Some(oids), Some(texts)) = (oids, texts) {
            names.extend(oids.iter().zip(texts).filter_map(|(oid, text)| Some((oid?, text?.to_owned()))));
        }
    }
    names
}

fn mend(rows: &RecordBatch, names: &Names) -> Result<RecordBatch> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        let Some(texts) = column.as_string_opt::<i32>() else { return (Arc::clone(field), Arc::clone(column)) };
        if FUNCTIONS.contains(&field.name().as_str()) {
            let oids = texts.iter().map(|name| name.map(|name| names.function_oid(name).unwrap_or(0)));
            let column: ArrayRef = Arc::new(oids.collect::<Int32Array>());
            return (tagged(field, DataType::Int32, PG_OID_ALIAS_KEY, "regproc"), column);
        }
        if LETTERS.contains(&field.name().as_str()) {
            return (tagged(field, DataType::Utf8, PG_CHAR_KEY, "char"), Arc::clone(column));
        }
        (Arc::clone(field), Arc::clone(column))
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn tagged(field: &Field, data_type: DataType, key: &str, value: &str) -> Arc<Field> {
    let metadata = HashMap::from([(key.to_owned(), value.to_owned())]);
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata))
}

/// `pg_settings`: the variables and what they are set to.
fn settings(variables: &[(&'static str, String)]) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&(&'static str, String)) -> Option<String>| -> ArrayRef {
        Arc::new(variables.iter().map(of).collect::<StringArray>())
    };
    let same = |text: &'static str| texts(&|_| Some(text.to_owned()));
    let none = || texts(&|_| None);
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("name", texts(&|(name, _)| Some((*name).to_owned())), false),
        ("setting", texts(&|(_, value)| Some(value.clone())), true),
        ("unit", none(), true),
        ("category", same("Client Connection Defaults"), true),
        ("short_desc", none(), true),
        ("extra_desc", none(), true),
        ("context", same("user"), true),
        ("vartype", same("string"), true),
        ("source", same("session"), true),
        ("min_val", none(), true),
        ("max_val", none(), true),
        ("boot_val", none(), true),
        ("reset_val", none(), true),
        ("sourcefile", none(), true),
    ])?)
}
