//! The few functions of PostgreSQL that clients call when they connect and that nobody else brings.
//!
//! What it is not: those that have to do with one session. They are in [`session_functions`](super::session_functions).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, StringArray},
    datatypes::{DataType, Int32Type, Int64Type},
};
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    execution::{FunctionRegistry, context::SessionContext},
    logical_expr::{
        ColumnarValue, ScalarUDF, Signature, TypeSignature, Volatility, create_udf, expr_fn::SimpleScalarUDF,
    },
};
use model::Principal;
use sql::{SqlError, sqlstate};

use super::{
    information_schema, pg_catalog::Names, session_functions::SessionFunctions, settings::SqlSettings,
    variables::SERVER_VERSION,
};

/// Registers what is the same for every session.
pub(super) fn register(context: &SessionContext, settings: &SqlSettings, names: &Arc<Names>) {
    context.register_udf(pg_size_pretty());
    context.register_udf(pg_typeof());
    for function in names_of_objects(names) {
        context.register_udf(function);
    }
    // A session has its own; these give statements the functions' types while they are prepared.
    for function in SessionFunctions::without_session(settings.clone()).all() {
        context.register_udf(function);
    }
    let version = format!("PostgreSQL {SERVER_VERSION} (Fourfold {})", env!("CARGO_PKG_VERSION"));
    let replaced =
        [("version", ScalarValue::from(version)), ("session_user", ScalarValue::from(Principal::anonymous().name()))];
    for (name, value) in replaced {
        context.register_udf(constant(name, &[0], value));
    }
    for (name, arities, value) in constants() {
        if context.udf(name).is_err() {
            context.register_udf(constant(name, arities, value));
        }
    }
}

/// What is the same whatever it is asked about, with the numbers of arguments that it takes.
fn constants() -> Vec<(&'static str, &'static [usize], ScalarValue)> {
    let (no_text, no_size) = (|| ScalarValue::Utf8(None), || ScalarValue::Int64(None));
    vec![
        ("pg_is_in_recovery", &[0], false.into()),
        ("pg_is_wal_replay_paused", &[0], false.into()),
        ("pg_jit_available", &[0], false.into()),
        ("pg_postmaster_start_time", &[0], no_text()),
        ("pg_client_encoding", &[0], "UTF8".into()),
        // Nobody makes temporary relations, sequences or comments here.
        ("pg_my_temp_schema", &[0], 0_i32.into()),
        ("pg_is_other_temp_schema", &[1], false.into()),
        ("pg_get_serial_sequence", &[2], no_text()),
        ("obj_description", &[1, 2], no_text()),
        ("shobj_description", &[2], no_text()),
        ("col_description", &[2], no_text()),
        ("pg_get_viewdef", &[1, 2], no_text()),
        ("pg_get_indexdef", &[1, 3], no_text()),
        ("pg_get_ruledef", &[1, 2], no_text()),
        ("pg_get_triggerdef", &[1, 2], no_text()),
        ("pg_function_is_visible", &[1], true.into()),
        ("pg_operator_is_visible", &[1], true.into()),
        ("pg_type_is_visible", &[1], true.into()),
        ("pg_get_function_result", &[1], no_text()),
        ("pg_get_function_arguments", &[1], no_text()),
        ("pg_get_function_identity_arguments", &[1], no_text()),
        // What a view takes is in the metrics.
        ("pg_database_size", &[1], no_size()),
        ("pg_table_size", &[1], no_size()),
        ("pg_indexes_size", &[1], no_size()),
        ("pg_tablespace_location", &[1], "".into()),
        ("inet_server_addr", &[0], no_text()),
        ("inet_client_addr", &[0], no_text()),
        ("txid_current", &[0], 1_i64.into()),
        ("txid_current_if_assigned", &[0], no_size()),
    ]
}

fn constant(name: &str, arities: &[usize], value: ScalarValue) -> ScalarUDF {
    let arity = |count: &usize| if *count == 0 { TypeSignature::Nullary } else { TypeSignature::Any(*count) };
    let signature = Signature::one_of(arities.iter().map(arity).collect(), Volatility::Stable);
    let data_type = value.data_type();
    let answer = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    SimpleScalarUDF::new_with_signature(name, signature, data_type, answer).into()
}

/// `pg_typeof(any)`: the name of the type, as PostgreSQL writes it.
fn pg_typeof() -> ScalarUDF {
    let answer = |arguments: &[ColumnarValue]| {
        let data_type = arguments.first().map_or(DataType::Null, ColumnarValue::data_type);
        Ok(ColumnarValue::Scalar(information_schema::type_name(&data_type).into()))
    };
    let signature = Signature::any(1, Volatility::Stable);
    SimpleScalarUDF::new_with_signature("pg_typeof", signature, DataType::Utf8, Arc::new(answer)).into()
}

/// `to_regtype` and the like: from names to numbers and back.
fn names_of_objects(names: &Arc<Names>) -> [ScalarUDF; 5] {
    let (types, strict_types) = (Arc::clone(names), Arc::clone(names));
    let (functions, strict_functions, shown) = (Arc::clone(names), Arc::clone(names), Arc::clone(names));
    let missing = |kind: &str, name: &str| {
        let error = SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("{kind} \"{name}\" does not exist"));
        Err(DataFusionError::External(Box::new(error)))
    };
    [
        to_oid("to_regtype", move |name| Ok(types.type_oid(name))),
        to_oid("regtypein", move |name| match strict_types.type_oid(name) {
            None => missing("type", name),
            found => Ok(found),
        }),
        to_oid("to_regproc", move |name| Ok(functions.function_oid(name))),
        to_oid("regprocin", move |name| match strict_functions.function_oid(name) {
            None => missing("function", name),
            found => Ok(found),
        }),
        create_udf(
            "regprocout",
            vec![DataType::Int32],
            DataType::Utf8,
            Volatility::Stable,
            Arc::new(move |arguments: &[ColumnarValue]| {
                each(arguments, |array| {
                    let oids = array.as_primitive::<Int32Type>().iter();
                    Ok(Arc::new(oids.map(|oid| oid.map(|oid| shown.function_name(oid))).collect::<StringArray>()))
                })
            }),
        ),
    ]
}

/// A function from a name to a number.
fn to_oid(name: &str, oid: impl Fn(&str) -> Result<Option<i32>, DataFusionError> + Send + Sync + 'static) -> ScalarUDF {
    let answer = move |arguments: &[ColumnarValue]| {
        each(arguments, |array| {
            let names = array.as_string::<i32>().iter();
            let oids =
                names.map(|name| name.map_or(Ok(None), &oid)).collect::<Result<Int32Array, DataFusionError>>()?;
            Ok(Arc::new(oids))
        })
    };
    create_udf(name, vec![DataType::Utf8], DataType::Int32, Volatility::Stable, Arc::new(answer))
}

/// Answers for one value or for many, as the argument comes.
fn each(
    arguments: &[ColumnarValue],
    answer: impl Fn(&ArrayRef) -> Result<ArrayRef, DataFusionError>,
) -> Result<ColumnarValue, DataFusionError> {
    match arguments.first() {
        Some(ColumnarValue::Array(array)) => answer(array).map(ColumnarValue::Array),
        Some(ColumnarValue::Scalar(value)) => {
            let answered = answer(&value.to_array()?)?;
            ScalarValue::try_from_array(&answered, 0).map(ColumnarValue::Scalar)
        }
        None => Err(DataFusionError::Plan("an argument is missing".to_owned())),
    }
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
