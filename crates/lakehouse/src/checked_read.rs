//! Reading of a file against its checksum, a range at a time.
//!
//! What must hold: what is answered is what was written; damage is an error that has a [`FileDamage`] as its source.

use std::ops::Range;

use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt, Result};

use crate::checksum::FileChecksum;
use crate::error::FileDamage;

const STORE: &str = "checked files";

/// Reads a range of a file in whole blocks, and checks those.
///
/// # Errors
/// Damage, and those of reading.
pub(crate) async fn get_checked(
    store: &dyn ObjectStore,
    path: &Path,
    options: GetOptions,
    checksum: &FileChecksum,
) -> Result<GetResult> {
    let damaged = |reason: String| {
        let damage = FileDamage { file: path.to_string(), reason };
        Error::Generic { store: STORE, source: damage.into() }
    };
    let bytes = checksum.file_bytes();
    let wanted = match &options.range {
        Some(range) => {
            range.as_range(bytes).map_err(|source| Error::Generic { store: STORE, source: source.into() })?
        }
        None => 0..bytes,
    };
    let covering = checksum.covering(&wanted);
    let has_size = |found: u64| match found == bytes {
        true => Ok(()),
        false => Err(damaged(format!("it has {found} bytes, and had {bytes} when it was written"))),
    };
    let range = (!covering.is_empty()).then_some(GetRange::Bounded(covering.clone()));
    let result = match store.get_opts(path, GetOptions { range, ..options }).await {
        Ok(result) => result,
        Err(Error::NotFound { .. }) => return Err(damaged("it is gone".to_owned())),
        // A file that is too short does not have the range.
        Err(error) => return Err(has_size(store.head(path).await?.size).err().unwrap_or(error)),
    };
    has_size(result.meta.size)?;
    let (meta, attributes) = (result.meta.clone(), result.attributes.clone());
    let read = result.bytes().await?;
    checksum.check(covering.start, &read).map_err(|Range { start, end }| {
        damaged(format!("its bytes {start} to {} are not those that were written", end - 1))
    })?;
    let from_covering = |place: u64| usize::try_from(place - covering.start).unwrap_or(usize::MAX);
    let answer = read.slice(from_covering(wanted.start)..from_covering(wanted.end));
    let payload = GetResultPayload::Stream(stream::once(async { Ok(answer) }).boxed());
    Ok(GetResult { payload, meta, range: wanted, attributes })
}
