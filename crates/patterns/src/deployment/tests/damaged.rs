//! Bits that flip in the files of the lake: the right answer or a refusal that names the file, and never another value.

use std::path::{Path, PathBuf};

use eventlog::EventLog as _;

use super::{
    COUNT, TENFOLD, both_patterns, create, expected,
    lost::{forgetful, new_forgetful},
    walk,
};
use crate::fixture::{Counts, Product};

/// How many places of a file are tried.
const PLACES: u64 = 12;

fn parquet_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = walk(directory);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}

/// Flips one bit of a file, another one for each seed.
fn flip(file: &Path, seed: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    // Knuth's multiplier spreads the seeds.
    let place = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 8;
    let (index, bit) = (place as usize / 8 % bytes.len(), place % 8);
    bytes[index] ^= 1 << bit;
    std::fs::write(file, bytes).unwrap();
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_of_a_batch_stops_its_view_by_name_until_it_is_refreshed() {
    let directory = tempfile::tempdir().unwrap();
    let (product, end) = both_patterns(&directory.path().join("first")).await;
    for seed in 0..PLACES {
        let copied = directory.path().join(format!("copy-{seed}"));
        product.copy_to(&copied);
        let file = parquet_files(&copied.join("lake/batch/v")).remove(0);
        flip(&file, seed);
        let damaged = Product::open(&copied).await;
        assert_eq!(damaged.counts("k", &end).await, expected(2, 1));
        let state = damaged.state("v");
        assert!(state.starts_with("failed: ") && state.contains(name(&file)), "{seed}: {state}");
        damaged.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        assert_eq!(damaged.counts("v", &end).await, expected(2, 1), "{seed}");
        damaged.stop().await;
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_of_what_was_captured_is_mended_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (product, mut end) = both_patterns(&directory.path().join("first")).await;
    // Several files, of which others are whole.
    for _ in 0..3 {
        end = product.append("s", &["a", "b", "a"]).await;
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    }
    for seed in 0..PLACES {
        let copied = directory.path().join(format!("copy-{seed}"));
        product.copy_to(&copied);
        let files = parquet_files(&copied.join("lake/sources/s"));
        assert!(files.len() >= 3, "{files:?}");
        // All of them, or one alone between others.
        let damaged = if seed % 4 == 0 { &files[..] } else { &files[seed as usize % files.len()..][..1] };
        damaged.iter().for_each(|file| flip(file, seed));
        if seed % 3 == 0 {
            std::fs::remove_file(&damaged[0]).unwrap();
        }
        let damaged = Product::open(&copied).await;
        assert_eq!(damaged.counts("v", &end).await, damaged.counts("k", &end).await, "{seed}");
        let end = damaged.append("s", &["b"]).await;
        let report = damaged.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        assert!(report[0].ends_with("0 merge conflicts"), "{seed}: {report:?}");
        assert_eq!(damaged.counts("v", &end).await, damaged.counts("k", &end).await, "{seed}");
        // It was mended on disk, and a view that begins reads it.
        damaged.execute(&create(COUNT).replace(" v ", " w ")).await.unwrap();
        damaged.execute("REFRESH MATERIALIZED VIEW w").await.unwrap();
        assert_eq!(damaged.counts("w", &end).await, damaged.counts("k", &end).await, "{seed}");
        damaged.stop().await;
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_has_no_more_is_refused_by_name_and_the_last_batch_stays() {
    let directory = tempfile::tempdir().unwrap();
    let product = new_forgetful(&directory.path().join("first")).await;
    let partition = "s/0".parse().unwrap();
    let mut records = 0;
    while product.log.bounds(&partition).unwrap().log_start_offset == 0 {
        product.append("s", &["a", "b", "a"].repeat(20)).await;
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        records += 20;
    }
    let all: Counts = expected(2 * records, records);
    let end = product.append("s", &["b"]).await;
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    let all: Counts = all.into_iter().map(|(key, n)| (key.clone(), n + i64::from(key == "b"))).collect();
    product.stop().await;

    let files = parquet_files(&directory.path().join("first/lake/sources/s"));
    for (file, seed) in files.iter().zip(0..) {
        flip(file, seed);
    }
    let product = forgetful(&directory.path().join("first")).await;
    assert_eq!(product.counts("v", &end).await, all);
    for _ in 0..2 {
        let refused = product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap_err();
        assert!(refused.contains("cannot be captured anew: it is of s/0 from 0 to"), "{refused}");
        assert!(files.iter().any(|file| refused.contains(name(file))), "{refused}");
    }
    assert_eq!(product.counts("v", &end).await, all);
    // A version that would begin with what the lake has is refused, and the one that is there goes on.
    let other = product.execute(&create(TENFOLD)).await;
    assert!(other.is_err(), "{other:?}");
    assert_eq!(product.counts("v", &end).await, all);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_disagrees_with_the_speed_layer_is_refused_and_the_last_one_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (product, _) = both_patterns(directory.path()).await;
    product.stop().await;
    // A file that the Delta log does not name any more: its rows are gone without a trace.
    let mut forgotten = 0;
    for entry in walk(&directory.path().join("lake/sources/s/_delta_log")) {
        // As somebody would have written it who keeps no checksums.
        let text = std::fs::read_to_string(&entry).unwrap().replace("fourfold.entryCrc32c", "none");
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("{\"add\"")).collect();
        forgotten += text.lines().count() - kept.len();
        std::fs::write(entry, kept.join("\n")).unwrap();
    }
    assert!(forgotten > 0);

    let product = Product::open(directory.path()).await;
    let end = product.append("s", &["b"]).await;
    assert_eq!(product.counts("v", &end).await, expected(2, 2));
    let before = product.state("v");
    let refused = product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap_err();
    assert!(refused.contains("disagree in") && refused.contains("not put in place"), "{refused}");
    assert_eq!((product.counts("v", &end).await, product.state("v")), (expected(2, 2), before));
    // Dropped and created again, it is folded from the log.
    product.execute("DROP MATERIALIZED VIEW v").await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    assert_eq!(product.counts("v", &end).await, expected(2, 2));
    product.stop().await;
}
