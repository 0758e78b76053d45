//! What is said of a server that does not start.

use super::{Error, unstarted};

#[test]
fn whoever_starts_on_a_full_disk_is_told_to_start_again() {
    let full = || eventlog::Error::DiskFull { doing: "write data/log/checkpoint".to_owned() };
    let running = Error::from(full());
    assert_eq!(running.hint(), Some("free space on it; the log goes on by itself"));
    let unstarted_on = |error: eventlog::Error| unstarted(error.into());
    assert_eq!(unstarted_on(full()).hint(), Some("free space on it, then start again"));
    assert_eq!(unstarted_on(full()).message(), running.message());
    let other = eventlog::Error::Stopped("a sync failed".to_owned());
    assert_eq!(unstarted_on(other).hint(), Some("see the server's log; restart it to recover"));
}
