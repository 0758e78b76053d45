//! That a place is new once, and again when it was forgotten.

use super::*;

#[test]
fn a_place_is_new_once_among_the_last() {
    let reports = DamageReports::default();
    assert!(reports.is_new("a", 0));
    assert!(!reports.is_new("a", 0));
    assert!(reports.is_new("a", 1) && reports.is_new("b", 0), "another place, another file");
    for position in 0..REMEMBERED_MAX as u64 {
        assert!(reports.is_new("c", position));
    }
    assert!(reports.is_new("a", 0), "it was forgotten");
    assert_eq!(reports.places.lock().len(), REMEMBERED_MAX);
}
