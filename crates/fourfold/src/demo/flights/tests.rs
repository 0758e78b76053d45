//! Tests of reading the file that a user names.

use std::io::Write as _;

use super::{load, parse};

const HEADER: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n";
const FLIGHT: &str = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01 05:00:00\n";

#[test]
fn a_flight_that_was_cancelled_has_no_delays() {
    let cancelled = FLIGHT.replace(",2,830", ",NA,830").replace(",11,UA", ",,UA");
    let flights = parse(format!("{HEADER}{FLIGHT}{cancelled}").as_bytes()).unwrap();
    let delays: Vec<_> = flights.iter().map(|flight| (flight.dep_delay, flight.arr_delay)).collect();
    assert_eq!(delays, [(Some(2), Some(11)), (None, None)]);
    assert_eq!(flights[0].id(), "UA1545-EWR-201301010515");
}

#[test]
fn what_cannot_be_read_is_named_by_its_line() {
    for (text, expected) in [
        (format!("{HEADER}{FLIGHT}{}", FLIGHT.replace("1545", "x")), "line 3: "),
        (format!("{HEADER}{}", FLIGHT.replace(",515,", ",2599,")), "line 2: 2013-1-1 25:99 is not a time"),
        (format!("{HEADER}{}", FLIGHT.replace(",11,", ",eleven,")), "line 2: \"eleven\" is not a number of minutes"),
        (format!("{HEADER}1,2\n"), "found record with 2 fields"),
        ("a,b\n1,2\n".to_owned(), "line 2: missing field"),
        (HEADER.to_owned(), "it has no flights"),
    ] {
        let error = format!("{:#}", parse(text.as_bytes()).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_file_is_known_by_its_first_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flights.dat");
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(format!("{HEADER}{FLIGHT}").as_bytes()).unwrap();
    std::fs::write(&path, compressed.finish().unwrap()).unwrap();
    assert_eq!(load(Some(&path)).unwrap().len(), 1);
    std::fs::write(&path, b"PK\x03\x04...").unwrap();
    for (path, expected) in [(path.as_path(), "unpack it"), (directory.path(), "Is a directory")] {
        let error = format!("{:#}", load(Some(path)).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
