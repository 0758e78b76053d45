//! The seam through which ids and randomness enter: only [`SystemEntropy`] asks the machine for them.
//!
//! What it is not: for secrets that must not be guessed by who reads the memory; there are none.
//!
//! What must hold: outside this file nothing draws a random id or number; code that needs one is given an [`Entropy`].

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

/// Where ids and random numbers come from.
pub trait Entropy: Send + Sync + 'static {
    /// A random id (version 4) that was never given out before.
    fn uuid(&self) -> Uuid;

    /// Random bits.
    fn bits(&self) -> u32 {
        // The first field of a random id is random throughout.
        self.uuid().as_fields().0
    }
}

/// The machine's source of randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A source that gives the same ids in the same order for the same seed: for tests and the simulator.
#[derive(Debug, Default)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The source with this seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number of splitmix64.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
