//! PostgreSQL's codes for what can go wrong, all that are used here.
//!
//! Source: PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".

/// The message does not fit the protocol.
pub const PROTOCOL_VIOLATION: &str = "08P01";
/// Not built.
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
/// A row would be written twice by one statement.
pub const CARDINALITY_VIOLATION: &str = "21000";
/// A value that cannot be stored.
pub const DATA_EXCEPTION: &str = "22000";
/// A number does not fit its type.
pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
/// A value is needed.
pub const NULL_VALUE_NOT_ALLOWED: &str = "22004";
/// A text is no date or time.
pub const INVALID_DATETIME_FORMAT: &str = "22007";
/// A date or time does not fit its type.
pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
/// Division by zero.
pub const DIVISION_BY_ZERO: &str = "22012";
/// Bytes that are no text.
pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
/// A setting or option cannot have this value.
pub const INVALID_PARAMETER_VALUE: &str = "22023";
/// A text is no value of the type.
pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
/// Bytes are no value of the type.
pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
/// A key column is NULL.
pub const NOT_NULL_VIOLATION: &str = "23502";
/// There is a row of this key.
pub const UNIQUE_VIOLATION: &str = "23505";
/// Nothing can be written in this transaction.
pub const READ_ONLY: &str = "25006";
/// There is no transaction.
pub const NO_ACTIVE_SQL_TRANSACTION: &str = "25P01";
/// The transaction failed earlier and only a rollback is left.
pub const IN_FAILED_TRANSACTION: &str = "25P02";
/// A client said nothing in a transaction for longer than it may.
pub const IDLE_IN_TRANSACTION_TIMEOUT: &str = "25P03";
/// No such prepared statement.
pub const INVALID_STATEMENT_NAME: &str = "26000";
/// Something depends on what is to be dropped.
pub const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
/// No such cursor.
pub const INVALID_CURSOR_NAME: &str = "34000";
/// No such database.
pub const INVALID_CATALOG_NAME: &str = "3D000";
/// Wrong in syntax or meaning, and nothing more exact is known.
pub const SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION: &str = "42000";
/// Not allowed.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// Not SQL.
pub const SYNTAX_ERROR: &str = "42601";
/// A name that is not allowed.
pub const INVALID_NAME: &str = "42602";
/// A column that cannot be named here.
pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
/// Two columns of one name.
pub const DUPLICATE_COLUMN: &str = "42701";
/// Two columns could be meant.
pub const AMBIGUOUS_COLUMN: &str = "42702";
/// No such column.
pub const UNDEFINED_COLUMN: &str = "42703";
/// No such setting or type.
pub const UNDEFINED_OBJECT: &str = "42704";
/// The thing is there already.
pub const DUPLICATE_OBJECT: &str = "42710";
/// A column outside an aggregate and outside GROUP BY.
pub const GROUPING_ERROR: &str = "42803";
/// Types do not go together.
pub const DATATYPE_MISMATCH: &str = "42804";
/// No such function.
pub const UNDEFINED_FUNCTION: &str = "42883";
/// A thing of another kind is needed.
pub const WRONG_OBJECT_TYPE: &str = "42809";
/// No such view or source.
pub const UNDEFINED_TABLE: &str = "42P01";
/// The name is taken.
pub const DUPLICATE_CURSOR: &str = "42P03";
/// The type of a parameter cannot be told.
pub const INDETERMINATE_DATATYPE: &str = "42P18";
/// Out of memory.
pub const OUT_OF_MEMORY: &str = "53200";
/// Too many connections.
pub const TOO_MANY_CONNECTIONS: &str = "53300";
/// A limit of the settings is reached.
pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
/// Larger than a limit.
pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
/// Too long or too deep.
pub const STATEMENT_TOO_COMPLEX: &str = "54001";
/// More columns than the protocol can carry.
pub const TOO_MANY_COLUMNS: &str = "54011";
/// What is read is still being made.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
/// A setting that cannot be changed now.
pub const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";
/// Waited in vain; a retry may help.
pub const NOT_AVAILABLE: &str = "55P03";
/// Cancelled, or took longer than the statement timeout.
pub const QUERY_CANCELED: &str = "57014";
/// The server is stopping.
pub const ADMIN_SHUTDOWN: &str = "57P01";
/// A client said nothing for longer than it may.
pub const IDLE_SESSION_TIMEOUT: &str = "57P05";
/// A business rule said no.
pub const RAISED: &str = "P0001";
/// A bug, or a failure of the machine.
pub const INTERNAL_ERROR: &str = "XX000";
/// Stored data failed a check.
pub const DATA_CORRUPTED: &str = "XX001";
