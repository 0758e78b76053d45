//! What is decided before anything is changed.

use super::*;

#[test]
fn checkpoint_and_write_ahead_log_must_fit_together() {
    let check = |covered, files: &[u64], has_partitions, expected: Result<usize, &str>| {
        let found = first_file(Path::new("/log"), covered, files, has_partitions);
        let what = format!("{covered:?} {files:?} {has_partitions}");
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{what}"),
            (Err(error), Err(expected)) => {
                let text = error.to_string();
                assert!(text.contains(expected) && text.contains("nothing was changed"), "{what}: {text}");
            }
            (found, expected) => panic!("{what}: {found:?} instead of {expected:?}"),
        }
    };
    // A new log, and one whose first checkpoint is still to come.
    check(None, &[], false, Ok(0));
    check(None, &[1], false, Ok(0));
    check(None, &[1, 20, 33], true, Ok(0));
    // The checkpoint is gone.
    check(None, &[], true, Err("/log/checkpoint is damaged at byte 0: the file is missing"));
    check(None, &[7, 20], true, Err("begins with frame 7, so there was one"));
    check(None, &[7], false, Err("begins with frame 7, so there was one"));
    // A checkpoint and what comes after it.
    check(Some(6), &[7, 20], true, Ok(0));
    check(Some(6), &[1, 4, 7, 20], true, Ok(2));
    check(Some(9), &[1, 4, 7, 20], true, Ok(2));
    check(Some(0), &[1], false, Ok(0));
    // The write-ahead log is gone, or younger.
    check(Some(6), &[], true, Err("it is empty"));
    check(Some(0), &[], false, Err("it is empty"));
    check(Some(6), &[8, 20], true, Err("it begins with frame 8, so the checkpoint is older"));
}
