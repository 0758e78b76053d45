//! [`Elements`]: values as they come, before they are read.

use std::borrow::Cow;

use sql::SqlError;

/// The bytes of values, one after the other; `None` for NULL.
pub(super) type Elements<'a> = Box<dyn Iterator<Item = Result<Option<Cow<'a, [u8]>>, SqlError>> + 'a>;
