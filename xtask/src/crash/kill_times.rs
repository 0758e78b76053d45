//! When to kill: random, but the same again for the same seed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const AFTER_READY_MS: std::ops::Range<u64> = 200..1500;
const IN_RECOVERY_MS: std::ops::Range<u64> = 1..80;
// One kill in so many is followed by one during the recovery.
const IN_RECOVERY_ONE_IN: u64 = 4;

/// A seed that nobody chose.
pub(crate) fn random_seed() -> u64 {
    // The standard library seeds each hasher from the system's randomness.
    RandomState::new().hash_one(0) % 1_000_000_000
}

/// The kill times of a run: a SplitMix64 generator (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug)]
pub(crate) struct KillTimes(u64);

impl KillTimes {
    /// The times that `seed` decides.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// How long to let a ready server run.
    pub(crate) fn after_ready(&mut self) -> Duration {
        self.within(AFTER_READY_MS)
    }

    /// Now and then: how long to let a recovering server run.
    pub(crate) fn in_recovery(&mut self) -> Option<Duration> {
        let chosen = self.next().is_multiple_of(IN_RECOVERY_ONE_IN);
        let after = self.within(IN_RECOVERY_MS);
        chosen.then_some(after)
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
