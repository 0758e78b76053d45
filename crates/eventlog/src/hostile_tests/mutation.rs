//! Inputs that were valid once: a seed of the corpus with some changes, the same ones in every run.

use std::path::Path;

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{RngSeed, TestError, TestRunner},
};

/// A change at a place, which is a part of the length.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u32),
    /// Four bytes in which a length can stand.
    Number(Index, u32),
    Insert(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let numbers = select(vec![0, 1, 0x7f, 0xff, 0x100, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]);
    prop_oneof![
        4 => any::<(Index, u8)>().prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (any::<Index>(), 0..8_u32).prop_map(|(at, bit)| Change::Flip(at, bit)),
        4 => (any::<Index>(), numbers).prop_map(|(at, number)| Change::Number(at, number)),
        1 => any::<(Index, u8)>().prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => (any::<Index>(), 1..16_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<Index>(), 1..64_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        let end = |at: usize, count: usize| (at + count).min(length);
        match *change {
            Change::Set(at, byte) => bytes[at.index(length)] = byte,
            Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Change::Number(at, number) => {
                let at = at.index(length);
                let to = end(at, 4);
                bytes[at..to].copy_from_slice(&number.to_be_bytes()[..to - at]);
            }
            Change::Insert(at, byte) => bytes.insert(at.index(length), byte),
            Change::Remove(at, count) => drop(bytes.drain(at.index(length)..end(at.index(length), count))),
            Change::Repeat(at, count) => {
                let repeated = bytes[at.index(length)..end(at.index(length), count)].to_vec();
                bytes.splice(at.index(length)..at.index(length), repeated);
            }
            Change::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// The samples, and what lies in the corpus of this name: inputs of earlier formats, and such as once did harm.
pub(super) fn seeds(corpus: &str, samples: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let folder = Path::new("tests/corpus").join(corpus);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}", folder.display());
    samples.into_iter().chain(paths.iter().map(|path| std::fs::read(path).unwrap())).collect()
}

/// Checks every seed as it is, and so many changed ones; returns the smallest input found for which `check` panics.
pub(super) fn find(seeds: &[Vec<u8>], cases: u32, check: impl Fn(&[u8])) -> Result<(), Vec<u8>> {
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        // Enough to make an input readable; each step of a failing check costs a panic.
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let input = (select(seeds.to_vec()), prop::collection::vec(change(), 0..5))
        .prop_map(|(seed, changes)| changed(&seed, &changes));
    let found = TestRunner::new(config).run(&input, |bytes| {
        check(&bytes);
        Ok(())
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(_, bytes)) => Err(bytes),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// The same, for a check that must hold.
pub(super) fn hold(corpus: &str, samples: Vec<Vec<u8>>, cases: u32, check: impl Fn(&[u8])) {
    let seeds = seeds(corpus, samples);
    seeds.iter().for_each(|seed| check(seed));
    if let Err(bytes) = find(&seeds, cases, check) {
        panic!("put this into tests/corpus/{corpus}, and mend what it does: {bytes:02x?}");
    }
}
