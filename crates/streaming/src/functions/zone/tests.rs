//! Times in zones, as PostgreSQL 15 has them.

use super::{moved, zone_of};

fn micros(time: &str) -> i64 {
    chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_micros()
}

#[test]
fn a_time_moves_to_a_zone_and_back() {
    // UTC, the zone, the local time there.
    let cases = [
        ("2024-03-10 12:00", "America/New_York", "2024-03-10 08:00"),
        ("2024-03-10 06:59", "America/New_York", "2024-03-10 01:59"),
        ("2024-07-01 00:30", "Asia/Kolkata", "2024-07-01 06:00"),
        ("2024-07-01 00:30", "utc", "2024-07-01 00:30"),
        // Shown twice: the second one.
        ("2024-11-03 06:30", "America/New_York", "2024-11-03 01:30"),
    ];
    for (utc, zone, local) in cases {
        let found = zone_of(zone).unwrap();
        assert_eq!(moved(micros(utc), found, true), Ok(micros(local)), "{utc} to {zone}");
        assert_eq!(moved(micros(local), found, false), Ok(micros(utc)), "{local} from {zone}");
    }
    // Shown first, and shown by no clock.
    let new_york = zone_of("America/New_York").unwrap();
    assert_eq!(moved(micros("2024-11-03 05:30"), new_york, true), Ok(micros("2024-11-03 01:30")));
    assert_eq!(moved(micros("2024-03-10 02:30"), new_york, false), Ok(micros("2024-03-10 07:30")));
}

#[test]
fn a_zone_that_is_not_known_is_refused() {
    for (zone, code) in [("Middle/Earth", "22023"), ("+02:00", "0A000"), ("-5", "0A000")] {
        assert_eq!(zone_of(zone).unwrap_err().sqlstate, code, "{zone}");
    }
}
