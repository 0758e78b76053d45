//! The few functions of PostgreSQL that clients call when they connect and that nobody else brings.

use std::sync::Arc;

use arrow::{
    array::{AsArray, StringArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    execution::{FunctionRegistry, context::SessionContext},
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};
use model::Principal;
use parking_lot::Mutex;

use super::{
    settings::SqlSettings,
    variables::{SERVER_VERSION, Variables},
};

/// Registers what is the same for every session.
pub(super) fn register(context: &SessionContext, settings: &SqlSettings) {
    context.register_udf(pg_size_pretty());
    // A session has its own; this one gives statements the function's type while they are prepared.
    context.register_udf(current_setting(Arc::default(), settings.clone()));
    let version = format!("PostgreSQL {SERVER_VERSION} (Fourfold {})", env!("CARGO_PKG_VERSION"));
    let constants = [
        ("version", vec![], ScalarValue::from(version)),
        ("session_user", vec![], ScalarValue::from(Principal::anonymous().name())),
        ("pg_is_in_recovery", vec![], ScalarValue::from(false)),
        ("pg_postmaster_start_time", vec![], ScalarValue::Utf8(None)),
        ("pg_my_temp_schema", vec![], ScalarValue::from(0_i32)),
        ("obj_description", vec![DataType::Int64, DataType::Utf8], ScalarValue::Utf8(None)),
        ("shobj_description", vec![DataType::Int64, DataType::Utf8], ScalarValue::Utf8(None)),
        ("col_description", vec![DataType::Int64, DataType::Int64], ScalarValue::Utf8(None)),
        ("pg_get_viewdef", vec![DataType::Int64, DataType::Boolean], ScalarValue::Utf8(None)),
        ("pg_get_indexdef", vec![DataType::Int64, DataType::Int64, DataType::Boolean], ScalarValue::Utf8(None)),
        ("pg_function_is_visible", vec![DataType::Int64], ScalarValue::from(true)),
        ("pg_type_is_visible", vec![DataType::Int64], ScalarValue::from(true)),
        ("pg_get_function_result", vec![DataType::Int64], ScalarValue::Utf8(None)),
        ("pg_get_function_arguments", vec![DataType::Int64], ScalarValue::Utf8(None)),
        // What a view takes is in the metrics.
        ("pg_database_size", vec![DataType::Utf8], ScalarValue::Int64(None)),
        ("pg_table_size", vec![DataType::Int64], ScalarValue::Int64(None)),
        ("txid_current", vec![], ScalarValue::from(1_i64)),
    ];
    for (name, arguments, value) in constants {
        if context.udf(name).is_err() || ["version", "session_user"].contains(&name) {
            context.register_udf(constant(name, arguments, value));
        }
    }
}

fn constant(name: &str, arguments: Vec<DataType>, value: ScalarValue) -> ScalarUDF {
    let data_type = value.data_type();
    let answer = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    create_udf(name, arguments, data_type, Volatility::Stable, answer)
}

/// `pg_size_pretty(bytes)`: `10 kB`, and so on by 1024, rounded, while there would be five digits.
fn pg_size_pretty() -> ScalarUDF {
    let answer = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let texts: StringArray = arrays
            .first()
            .into_iter()
            .flat_map(|array| array.as_primitive::<Int64Type>())
            .map(|bytes| bytes.map(size_text))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    create_udf("pg_size_pretty", vec![DataType::Int64], DataType::Utf8, Volatility::Immutable, Arc::new(answer))
}

fn size_text(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    const BELOW: u64 = 10 * 1024;
    let (mut size, mut unit) = (bytes.unsigned_abs(), 0);
    while size >= BELOW && unit + 1 < UNITS.len() {
        size = (size + 512) / 1024;
        unit += 1;
    }
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{size} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// `current_setting(name)` of one session.
pub(super) fn current_setting(variables: Arc<Mutex<Variables>>, settings: SqlSettings) -> ScalarUDF {
    let answer = move |arguments: &[ColumnarValue]| {
        let Some(ColumnarValue::Scalar(name)) = arguments.first() else {
            return Err(DataFusionError::NotImplemented("current_setting of a column".to_owned()));
        };
        let name = name.try_as_str().flatten().unwrap_or_default();
        let shown =
            variables.lock().show(name, &settings).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Scalar(ScalarValue::from(shown.1)))
    };
    create_udf("current_setting", vec![DataType::Utf8], DataType::Utf8, Volatility::Stable, Arc::new(answer))
}
