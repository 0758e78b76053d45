//! `information_schema`, with `columns` as PostgreSQL has it: tools choose by its names of types.
//!
//! What it is not: complete. The other tables are DataFusion's own; `columns` lists views and sources alone.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field},
};
use arrow_pg::datatypes::into_pg_type;
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProviderList, MemTable, SchemaProvider, TableProvider, information_schema::InformationSchemaProvider,
    },
    datasource::TableType,
    error::Result,
};

use super::catalog::{CATALOG, PG_CATALOG, Relations, SCHEMA};

const COLUMNS: &str = "columns";

#[derive(Debug)]
pub(super) struct InformationSchema {
    relations: Relations,
    own: InformationSchemaProvider,
}

impl InformationSchema {
    pub(super) fn new(relations: Relations, catalogs: Arc<dyn CatalogProviderList>) -> Self {
        Self { relations, own: InformationSchemaProvider::new(catalogs) }
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.own.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !name.eq_ignore_ascii_case(COLUMNS) {
            return self.own.table(name).await;
        }
        let rows = columns(&self.relations)?;
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.own.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.own.table_exist(name)
    }
}

/// A column of a view or source.
struct Column {
    relation: String,
    number: i32,
    field: Arc<Field>,
    /// PostgreSQL's own name of its type, as in `int8`.
    type_name: String,
}

fn columns(relations: &Relations) -> Result<RecordBatch> {
    let mut found = Vec::new();
    for relation in relations.names() {
        let Some((schema, _)) = relations.describe(&relation) else { continue };
        for (number, field) in (1..).zip(schema.fields()) {
            let type_name = into_pg_type(field.data_type()).map_or_else(|_| "text".to_owned(), |t| t.name().to_owned());
            found.push(Column { relation: relation.clone(), number, field: Arc::clone(field), type_name });
        }
    }
    let texts = |of: &dyn Fn(&Column) -> Option<String>| -> ArrayRef {
        Arc::new(found.iter().map(of).collect::<StringArray>())
    };
    let numbers =
        |of: &dyn Fn(&Column) -> Option<i32>| -> ArrayRef { Arc::new(found.iter().map(of).collect::<Int32Array>()) };
    let same = |text: &'static str| texts(&|_| Some(text.to_owned()));
    let precision = |column: &Column| numeric_precision(column.field.data_type());
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("table_catalog", same(CATALOG), false),
        ("table_schema", same(SCHEMA), false),
        ("table_name", texts(&|column| Some(column.relation.clone())), false),
        ("column_name", texts(&|column| Some(column.field.name().clone())), false),
        ("ordinal_position", numbers(&|column| Some(column.number)), false),
        ("column_default", texts(&|_| None), true),
        ("is_nullable", texts(&|column| Some(yes_or_no(column.field.is_nullable()))), false),
        ("data_type", texts(&|column| Some(data_type(&column.type_name))), false),
        ("character_maximum_length", numbers(&|_| None), true),
        ("character_octet_length", numbers(&|_| None), true),
        ("numeric_precision", numbers(&|column| precision(column).map(|found| found.digits)), true),
        ("numeric_precision_radix", numbers(&|column| precision(column).map(|found| found.radix)), true),
        ("numeric_scale", numbers(&|column| precision(column)?.scale), true),
        ("datetime_precision", numbers(&|column| datetime_precision(column.field.data_type())), true),
        ("interval_type", texts(&|_| None), true),
        ("udt_catalog", same(CATALOG), false),
        ("udt_schema", same(PG_CATALOG), false),
        ("udt_name", texts(&|column| Some(column.type_name.clone())), false),
        ("is_identity", same("NO"), false),
        ("is_generated", same("NEVER"), false),
        ("is_updatable", same("NO"), false),
    ])?)
}

fn yes_or_no(yes: bool) -> String {
    if yes { "YES" } else { "NO" }.to_owned()
}

/// What PostgreSQL calls a type where it shows it: `integer`, `text[]`.
pub(super) fn type_name(arrow: &DataType) -> String {
    let own = into_pg_type(arrow).map_or_else(|_| "text".to_owned(), |t| t.name().to_owned());
    match own.strip_prefix('_') {
        Some(element) => format!("{}[]", data_type(element)),
        None => data_type(&own),
    }
}

/// The standard's name of a type, from PostgreSQL's own.
fn data_type(type_name: &str) -> String {
    let standard = match type_name {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "varchar" => "character varying",
        "time" => "time without time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        other if other.starts_with('_') => "ARRAY",
        other => other,
    };
    standard.to_owned()
}

/// How exact a number is.
struct NumericPrecision {
    digits: i32,
    radix: i32,
    scale: Option<i32>,
}

fn numeric_precision(data_type: &DataType) -> Option<NumericPrecision> {
    let binary = |digits, scale| Some(NumericPrecision { digits, radix: 2, scale });
    match data_type {
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => binary(16, Some(0)),
        DataType::UInt16 | DataType::Int32 => binary(32, Some(0)),
        DataType::UInt32 | DataType::Int64 => binary(64, Some(0)),
        DataType::Float32 => binary(24, None),
        DataType::Float64 => binary(53, None),
        DataType::Decimal128(digits, scale) => {
            Some(NumericPrecision { digits: i32::from(*digits), radix: 10, scale: Some(i32::from(*scale)) })
        }
        _ => None,
    }
}

fn datetime_precision(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Date32 | DataType::Date64 => Some(0),
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => Some(6),
        _ => None,
    }
}
