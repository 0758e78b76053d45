//! What a loss of power leaves: chosen by a generator with a seed, so that a test that failed fails again.

use super::Survivors;

/// Decides what survives.
pub(crate) struct Dice {
    survivors: Survivors,
    state: u64,
}

impl Dice {
    pub(crate) fn new(survivors: Survivors) -> Self {
        let state = match survivors {
            Survivors::Random(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            Survivors::Nothing | Survivors::Everything => 1,
        };
        Self { survivors, state }
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub(super) fn keep(&mut self) -> bool {
        match self.survivors {
            Survivors::Nothing => false,
            Survivors::Everything => true,
            Survivors::Random(_) => self.roll(2) == 0,
        }
    }

    pub(super) fn prefix(&mut self, length: usize) -> usize {
        match self.survivors {
            Survivors::Nothing => 0,
            Survivors::Everything => length,
            Survivors::Random(_) => usize::try_from(self.roll(length as u64 + 1)).unwrap(),
        }
    }
}
