//! What the tests of "one SQL text, one answer" share: random input, random questions, and the answer that plain
//! DataFusion gives over all of the input at once.
//!
//! What it is not: it uses nothing of the product but the source's schema. Values are written to JSON here and built as
//! Arrow columns here, windows are computed by integer division, and sums of floats by long addition.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(dead_code, reason = "not every test file uses everything")]

pub(crate) mod exact;
pub(crate) mod input;
pub(crate) mod life;
pub(crate) mod log;
pub(crate) mod oracle;
pub(crate) mod question;
pub(crate) mod rows;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// The same `cases` each time, or as many new ones as `PROPTEST_CASES` says. What fails is kept beside the test and
/// tried first.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = default.cases != 256;
    ProptestConfig {
        cases: if is_set { default.cases } else { cases },
        rng_seed: if is_set { default.rng_seed } else { RngSeed::Fixed(2013) },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        // `PROPTEST_MAX_SHRINK_ITERS=0` is for those who only want to know whether something fails.
        max_shrink_iters: default.max_shrink_iters.min(500),
        ..default
    }
}

/// Runs one case.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}
