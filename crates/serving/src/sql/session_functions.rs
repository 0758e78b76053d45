//! Functions that have to do with the session in which they are called: its variables, locks and number.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use arrow::datatypes::DataType;
use datafusion::{
    common::ScalarValue,
    error::DataFusionError,
    logical_expr::{ColumnarValue, ScalarUDF, Signature, TypeSignature, Volatility, expr_fn::SimpleScalarUDF},
};
use parking_lot::Mutex;
use sql::{SqlError, sqlstate};

use super::{
    advisory_locks::{Key, Mode, SessionLocks},
    assignment::Assignment,
    settings::SqlSettings,
    transaction::{Transaction, assign},
    variables::Variables,
};

/// What the functions look at.
#[derive(Clone)]
pub(super) struct SessionFunctions {
    pub(super) variables: Arc<Mutex<Variables>>,
    pub(super) transaction: Arc<Mutex<Option<Transaction>>>,
    pub(super) locks: Arc<SessionLocks>,
    pub(super) backend_pid: Arc<AtomicI32>,
    pub(super) settings: SqlSettings,
}

/// Answers from the arguments.
type Answer = fn(&SessionFunctions, &[ScalarValue]) -> Result<ScalarValue, SqlError>;

impl SessionFunctions {
    /// For the types of the functions alone.
    pub(super) fn without_session(settings: SqlSettings) -> Self {
        Self {
            variables: Arc::default(),
            transaction: Arc::default(),
            locks: Arc::default(),
            backend_pid: Arc::default(),
            settings,
        }
    }

    /// The functions, to be registered.
    pub(super) fn all(&self) -> Vec<ScalarUDF> {
        use DataType::{Boolean, Int32, Int64, Utf8};
        let exactly = |types: &[DataType]| TypeSignature::Exact(types.to_vec());
        let key = || vec![exactly(&[Int64]), exactly(&[Int64, Int64])];
        let one_or_two = vec![exactly(&[Utf8]), exactly(&[Utf8, Boolean])];
        vec![
            self.function("current_setting", one_or_two, Utf8, Volatility::Stable, current_setting),
            self.function("set_config", vec![exactly(&[Utf8, Utf8, Boolean])], Utf8, Volatility::Volatile, set_config),
            self.function("pg_backend_pid", vec![TypeSignature::Nullary], Int32, Volatility::Stable, |own, _| {
                Ok(own.backend_pid.load(Ordering::Relaxed).into())
            }),
            self.function("pg_advisory_lock", key(), Utf8, Volatility::Volatile, |own, arguments| {
                own.locks.lock(lock_key(arguments)?, Mode::Exclusive).map(|()| "".into())
            }),
            self.function("pg_advisory_lock_shared", key(), Utf8, Volatility::Volatile, |own, arguments| {
                own.locks.lock(lock_key(arguments)?, Mode::Shared).map(|()| "".into())
            }),
            self.function("pg_try_advisory_lock", key(), Boolean, Volatility::Volatile, |own, arguments| {
                own.locks.try_lock(lock_key(arguments)?, Mode::Exclusive).map(Into::into)
            }),
            self.function("pg_try_advisory_lock_shared", key(), Boolean, Volatility::Volatile, |own, arguments| {
                own.locks.try_lock(lock_key(arguments)?, Mode::Shared).map(Into::into)
            }),
            self.function("pg_advisory_unlock", key(), Boolean, Volatility::Volatile, |own, arguments| {
                Ok(own.locks.unlock(lock_key(arguments)?, Mode::Exclusive).into())
            }),
            self.function("pg_advisory_unlock_shared", key(), Boolean, Volatility::Volatile, |own, arguments| {
                Ok(own.locks.unlock(lock_key(arguments)?, Mode::Shared).into())
            }),
            self.function(
                "pg_advisory_unlock_all",
                vec![TypeSignature::Nullary],
                Utf8,
                Volatility::Volatile,
                |own, _| {
                    own.locks.unlock_all();
                    Ok("".into())
                },
            ),
        ]
    }

    fn function(
        &self,
        name: &'static str,
        signatures: Vec<TypeSignature>,
        answers: DataType,
        volatility: Volatility,
        answer: Answer,
    ) -> ScalarUDF {
        let own = self.clone();
        let invoke = move |arguments: &[ColumnarValue]| {
            let values = arguments.iter().map(|argument| match argument {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(_) => Err(DataFusionError::NotImplemented(format!("{name} of a column"))),
            });
            let values = values.collect::<Result<Vec<_>, _>>()?;
            let answered = answer(&own, &values).map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(ColumnarValue::Scalar(answered))
        };
        let signature = Signature::one_of(signatures, volatility);
        SimpleScalarUDF::new_with_signature(name, signature, answers, Arc::new(invoke)).into()
    }
}

/// `current_setting(name [, missing_ok])`.
fn current_setting(own: &SessionFunctions, arguments: &[ScalarValue]) -> Result<ScalarValue, SqlError> {
    let Some(name) = text(arguments, 0) else { return Ok(ScalarValue::Utf8(None)) };
    let missing_ok = matches!(arguments.get(1), Some(ScalarValue::Boolean(Some(true))));
    match own.variables.lock().show(name, &own.settings) {
        Ok((_, value)) => Ok(value.into()),
        Err(_) if missing_ok => Ok(ScalarValue::Utf8(None)),
        Err(error) => Err(error),
    }
}

/// `set_config(name, value, is_local)`: as `SET` and `SET LOCAL`, NULL for the default.
fn set_config(own: &SessionFunctions, arguments: &[ScalarValue]) -> Result<ScalarValue, SqlError> {
    let Some(name) = text(arguments, 0) else {
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, "set_config needs the name of a parameter"));
    };
    let assignment = Assignment {
        name: name.to_owned(),
        value: text(arguments, 1).map(str::to_owned),
        local: matches!(arguments.get(2), Some(ScalarValue::Boolean(Some(true)))),
    };
    let mut transaction = own.transaction.lock();
    let mut variables = own.variables.lock();
    if assignment.local && transaction.is_none() {
        // The transaction ends with the statement, and the value with it.
        let mut apart = variables.clone();
        assign(&mut apart, None, &assignment, &own.settings)?;
        return Ok(apart.show(name, &own.settings)?.1.into());
    }
    assign(&mut variables, transaction.as_mut(), &assignment, &own.settings)?;
    Ok(variables.show(name, &own.settings)?.1.into())
}

fn text(arguments: &[ScalarValue], index: usize) -> Option<&str> {
    arguments.get(index)?.try_as_str().flatten()
}

fn lock_key(arguments: &[ScalarValue]) -> Result<Key, SqlError> {
    let number = |index: usize| match arguments.get(index) {
        Some(ScalarValue::Int64(Some(number))) => Ok(*number),
        _ => Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, "an advisory lock needs a number")),
    };
    if arguments.len() < 2 {
        return number(0).map(Key::One);
    }
    let small = |index: usize| {
        let too_large = || SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
        i32::try_from(number(index)?).map_err(|_| too_large())
    };
    Ok(Key::Two(small(0)?, small(1)?))
}
