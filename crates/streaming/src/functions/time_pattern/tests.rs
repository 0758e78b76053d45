//! Times in patterns, as PostgreSQL 15 writes and reads them.

use chrono::{Datelike, NaiveDateTime};

use super::TimePattern;

/// A time, a pattern, and what PostgreSQL makes of them.
const WRITTEN: &[(&str, &str, &str)] = &[
    ("2024-01-05 03:04:05.006007", "YYYY-MM-DD HH24:MI:SS.US", "2024-01-05 03:04:05.006007"),
    ("2024-01-05 03:04:05.006007", r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#, "2024-01-05T03:04:05.006"),
    ("2024-01-05 03:04:05.006007", "yyyy/mm/dd", "2024/01/05"),
    ("2024-01-05 03:04:05.006007", "YY Y YYY Y,YYY", "24 4 024 2,024"),
    ("2024-01-05 03:04:05.006007", "Month|MONTH|month|", "January  |JANUARY  |january  |"),
    ("2024-01-05 03:04:05.006007", "FMMonth DDth, YYYY", "January 05th, 2024"),
    ("2024-01-05 03:04:05.006007", "Mon MON mon", "Jan JAN jan"),
    ("2024-01-05 03:04:05.006007", "Day DAY day|", "Friday    FRIDAY    friday   |"),
    ("2024-01-05 03:04:05.006007", "FMDay Dy DY dy", "Friday Fri FRI fri"),
    ("2024-01-05 03:04:05.006007", "HH12:MI am HH PM a.m.", "03:04 am 03 AM a.m."),
    ("2024-01-05 03:04:05.006007", "D ID DDD Q W WW", "6 5 005 1 1 01"),
    ("2024-01-05 03:04:05.006007", "IYYY-IW-ID IYY IY I", "2024-01-5 024 24 4"),
    ("2024-01-05 03:04:05.006007", "J CC RM rm AD b.c.", "2460315 21 I    i    AD a.d."),
    ("2024-01-05 03:04:05.006007", "SSSS SSSSS FF3 FF1", "11045 11045 006 0"),
    ("2024-01-05 03:04:05.006007", "FMHH24h FMMI FMDD FMMM FMDDD", "3h 4 5 1 5"),
    ("2024-01-05 03:04:05.006007", "DDTH Mon FMDDth", "05TH Jan 5th"),
    ("2024-01-05 03:04:05.006007", "TZ tz OF TZH:TZM", "UTC utc +00 +00:00"),
    ("2024-01-05 03:04:05.006007", "plain text 'x'", "pla4n text 'x'"),
    ("2024-01-05 03:04:05.006007", r#""YYYY is" YYYY \"Q\" Q"#, r#"YYYY is 2024 "1" 1"#),
    ("2023-12-31 23:59:59", "YYYY-MM-DD HH24:MI:SS.US", "2023-12-31 23:59:59.000000"),
    ("2023-12-31 23:59:59", r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#, "2023-12-31T23:59:59.000"),
    ("2023-12-31 23:59:59", "yyyy/mm/dd", "2023/12/31"),
    ("2023-12-31 23:59:59", "YY Y YYY Y,YYY", "23 3 023 2,023"),
    ("2023-12-31 23:59:59", "Month|MONTH|month|", "December |DECEMBER |december |"),
    ("2023-12-31 23:59:59", "FMMonth DDth, YYYY", "December 31st, 2023"),
    ("2023-12-31 23:59:59", "Mon MON mon", "Dec DEC dec"),
    ("2023-12-31 23:59:59", "Day DAY day|", "Sunday    SUNDAY    sunday   |"),
    ("2023-12-31 23:59:59", "FMDay Dy DY dy", "Sunday Sun SUN sun"),
    ("2023-12-31 23:59:59", "HH12:MI am HH PM a.m.", "11:59 pm 11 PM p.m."),
    ("2023-12-31 23:59:59", "D ID DDD Q W WW", "1 7 365 4 5 53"),
    ("2023-12-31 23:59:59", "IYYY-IW-ID IYY IY I", "2023-52-7 023 23 3"),
    ("2023-12-31 23:59:59", "J CC RM rm AD b.c.", "2460310 21 XII  xii  AD a.d."),
    ("2023-12-31 23:59:59", "SSSS SSSSS FF3 FF1", "86399 86399 000 0"),
    ("2023-12-31 23:59:59", "FMHH24h FMMI FMDD FMMM FMDDD", "23h 59 31 12 365"),
    ("2023-12-31 23:59:59", "DDTH Mon FMDDth", "31ST Dec 31st"),
    ("2023-12-31 23:59:59", "TZ tz OF TZH:TZM", "UTC utc +00 +00:00"),
    ("2023-12-31 23:59:59", "plain text 'x'", "pla3n text 'x'"),
    ("2023-12-31 23:59:59", r#""YYYY is" YYYY \"Q\" Q"#, r#"YYYY is 2023 "4" 4"#),
    ("1999-05-01 12:00:00", "YYYY-MM-DD HH24:MI:SS.US", "1999-05-01 12:00:00.000000"),
    ("1999-05-01 12:00:00", r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#, "1999-05-01T12:00:00.000"),
    ("1999-05-01 12:00:00", "yyyy/mm/dd", "1999/05/01"),
    ("1999-05-01 12:00:00", "YY Y YYY Y,YYY", "99 9 999 1,999"),
    ("1999-05-01 12:00:00", "Month|MONTH|month|", "May      |MAY      |may      |"),
    ("1999-05-01 12:00:00", "FMMonth DDth, YYYY", "May 01st, 1999"),
    ("1999-05-01 12:00:00", "Mon MON mon", "May MAY may"),
    ("1999-05-01 12:00:00", "Day DAY day|", "Saturday  SATURDAY  saturday |"),
    ("1999-05-01 12:00:00", "FMDay Dy DY dy", "Saturday Sat SAT sat"),
    ("1999-05-01 12:00:00", "HH12:MI am HH PM a.m.", "12:00 pm 12 PM p.m."),
    ("1999-05-01 12:00:00", "D ID DDD Q W WW", "7 6 121 2 1 18"),
    ("1999-05-01 12:00:00", "IYYY-IW-ID IYY IY I", "1999-17-6 999 99 9"),
    ("1999-05-01 12:00:00", "J CC RM rm AD b.c.", "2451300 20 V    v    AD a.d."),
    ("1999-05-01 12:00:00", "SSSS SSSSS FF3 FF1", "43200 43200 000 0"),
    ("1999-05-01 12:00:00", "FMHH24h FMMI FMDD FMMM FMDDD", "12h 0 1 5 121"),
    ("1999-05-01 12:00:00", "DDTH Mon FMDDth", "01ST May 1st"),
    ("1999-05-01 12:00:00", "TZ tz OF TZH:TZM", "UTC utc +00 +00:00"),
    ("1999-05-01 12:00:00", "plain text 'x'", "pla9n text 'x'"),
    ("1999-05-01 12:00:00", r#""YYYY is" YYYY \"Q\" Q"#, r#"YYYY is 1999 "2" 2"#),
    ("0987-11-23 00:30:00.5", "YYYY-MM-DD HH24:MI:SS.US", "0987-11-23 00:30:00.500000"),
    ("0987-11-23 00:30:00.5", r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#, "0987-11-23T00:30:00.500"),
    ("0987-11-23 00:30:00.5", "yyyy/mm/dd", "0987/11/23"),
    ("0987-11-23 00:30:00.5", "YY Y YYY Y,YYY", "87 7 987 0,987"),
    ("0987-11-23 00:30:00.5", "Month|MONTH|month|", "November |NOVEMBER |november |"),
    ("0987-11-23 00:30:00.5", "FMMonth DDth, YYYY", "November 23rd, 0987"),
    ("0987-11-23 00:30:00.5", "Mon MON mon", "Nov NOV nov"),
    ("0987-11-23 00:30:00.5", "Day DAY day|", "Friday    FRIDAY    friday   |"),
    ("0987-11-23 00:30:00.5", "FMDay Dy DY dy", "Friday Fri FRI fri"),
    ("0987-11-23 00:30:00.5", "HH12:MI am HH PM a.m.", "12:30 am 12 AM a.m."),
    ("0987-11-23 00:30:00.5", "D ID DDD Q W WW", "6 5 327 4 4 47"),
    ("0987-11-23 00:30:00.5", "IYYY-IW-ID IYY IY I", "0987-47-5 987 87 7"),
    ("0987-11-23 00:30:00.5", "J CC RM rm AD b.c.", "2081881 10 XI   xi   AD a.d."),
    ("0987-11-23 00:30:00.5", "SSSS SSSSS FF3 FF1", "1800 1800 500 5"),
    ("0987-11-23 00:30:00.5", "FMHH24h FMMI FMDD FMMM FMDDD", "0h 30 23 11 327"),
    ("0987-11-23 00:30:00.5", "DDTH Mon FMDDth", "23RD Nov 23rd"),
    ("0987-11-23 00:30:00.5", "TZ tz OF TZH:TZM", "UTC utc +00 +00:00"),
    ("0987-11-23 00:30:00.5", "plain text 'x'", "pla7n text 'x'"),
    ("0987-11-23 00:30:00.5", r#""YYYY is" YYYY \"Q\" Q"#, r#"YYYY is 0987 "4" 4"#),
];

/// A text, a pattern, and the time that PostgreSQL reads.
const READ: &[(&str, &str, &str)] = &[
    ("2024-01-05", "YYYY-MM-DD", "2024-01-05 00:00:00"),
    ("2024-01-05 00:00:00.000000", "YYYY-MM-DD HH24:MI:SS.US", "2024-01-05 00:00:00"),
    ("05 Jan 2024", "DD Mon YYYY", "2024-01-05 00:00:00"),
    ("January 5, 2024", "Month DD, YYYY", "2024-01-05 00:00:00"),
    ("20240105", "YYYYMMDD", "2024-01-05 00:00:00"),
    ("240105", "YYMMDD", "2024-01-05 00:00:00"),
    ("05/01/99", "DD/MM/YY", "1999-01-05 00:00:00"),
    ("2024-060", "YYYY-DDD", "2024-02-29 00:00:00"),
    ("2020-W53-7", r#"IYYY-"W"IW-ID"#, "2021-01-03 00:00:00"),
    ("03:04:05 PM", "HH12:MI:SS PM", "0001-01-01 15:04:05 BC"),
    ("12:30 am", "HH:MI am", "0001-01-01 00:30:00 BC"),
    ("2024-01-05T03:04:05.006", r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#, "2024-01-05 03:04:05.006"),
    ("  2024  -  1 - 5", "YYYY-MM-DD", "2024-01-05 00:00:00"),
    ("2024.1.5", "YYYY-MM-DD", "2024-01-05 00:00:00"),
    ("2460315", "J", "2024-01-05 00:00:00"),
    ("2024-01-05 10:00 +02", "YYYY-MM-DD HH24:MI TZH", "2024-01-05 08:00:00"),
    ("1.5", "SS.MS", "0001-01-01 00:00:01.5 BC"),
    ("3600", "SSSS", "0001-01-01 01:00:00 BC"),
];

/// A text, a pattern, and PostgreSQL's code.
const REFUSED: &[(&str, &str, &str)] = &[
    ("2024-13-05", "YYYY-MM-DD", "22008"),
    ("2024-02-30", "YYYY-MM-DD", "22008"),
    ("x", "YYYY", "22007"),
    ("25:00", "HH24:MI", "22008"),
    ("2024 Foo", "YYYY Mon", "22007"),
    ("13:00 pm", "HH12:MI pm", "22007"),
];

fn time(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap()
}

#[test]
fn times_are_written_as_postgresql_writes_them() {
    for (text, pattern, expected) in WRITTEN {
        let zone = pattern.contains("TZ");
        assert_eq!(TimePattern::new(pattern).unwrap().format(&time(text), zone), *expected, "{text} as {pattern}");
    }
}

#[test]
fn times_are_read_as_postgresql_reads_them() {
    for (text, pattern, expected) in READ {
        let read = TimePattern::new(pattern).unwrap().read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = match expected.strip_suffix(" BC") {
            Some(expected) => time(expected).with_year(0).unwrap(),
            None => time(expected),
        };
        assert_eq!(read, expected, "{text} as {pattern}");
    }
    for (text, pattern, code) in REFUSED {
        assert_eq!(TimePattern::new(pattern).unwrap().read(text).unwrap_err().sqlstate, *code, "{text} as {pattern}");
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (pattern, named) in [("TMMonth", "TM"), ("FXYYYY", "FX"), ("IDDD", "IDDD")] {
        let error = TimePattern::new(pattern).unwrap_err();
        assert_eq!(error.sqlstate, "0A000", "{pattern}");
        assert!(error.message.starts_with(named), "{error}");
    }
}
