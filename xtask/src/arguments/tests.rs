//! What the command line means, as a table.

use super::*;

fn check(line: &str, expected: &Option<Command>) {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    assert_eq!(&parse(&arguments).ok(), expected, "{line}");
}

#[test]
fn commands_are_read() {
    check("", &Some(Command::Help));
    check("test", &Some(Command::Test));
    check("test now", &None);
    check("tset", &None);
    check("clients psql kcat", &Some(Command::Clients(vec!["psql".to_owned(), "kcat".to_owned()])));
}

#[test]
fn crash_options_are_read() {
    let settings = |kills, seed, profile: &str, planted: Option<&str>| {
        Some(Command::Crash(CrashSettings {
            kills,
            seed,
            profile: profile.to_owned(),
            planted: planted.map(str::to_owned),
            ..CrashSettings::default()
        }))
    };
    check("crash --seed 7", &settings(50, 7, "release", None));
    check("crash --kills 3 --seed 7 --profile dev --planted x", &settings(3, 7, "dev", Some("x")));
    check("crash --planted x --seed 7", &settings(10, 7, "release", Some("x")));
    let views = CrashSettings { kills: 200, seed: 7, views: true, ..CrashSettings::default() };
    check("crash --views --seed 7", &Some(Command::Crash(views)));
    let binary = CrashSettings { seed: 7, binary: Some("x".into()), ..CrashSettings::default() };
    check("crash --seed 7 --binary x", &Some(Command::Crash(binary)));
    check("crash --kills", &None);
    check("crash --kills many", &None);
    check("crash --profile fast", &None);
    check("crash --speed 3", &None);
}

#[test]
fn same_answer_options_are_read() {
    check("test same-answer", &Some(Command::SameAnswer(SameAnswerSettings::default())));
    let (binary, seed) = (Some("x".into()), Some(7));
    let settings = SameAnswerSettings { cases: 3, rounds: 4, seed, binary, planted: Some("all".to_owned()) };
    check(
        "test same-answer --cases 3 --rounds 4 --seed 7 --planted all --binary x",
        &Some(Command::SameAnswer(settings)),
    );
    check("test same-answer --cases", &None);
    check("test same-answer --kills 3", &None);
}

#[test]
fn abuse_options_are_read() {
    let settings = |change: fn(&mut AbuseSettings)| {
        let mut settings = AbuseSettings::default();
        change(&mut settings);
        Some(Command::Abuse(settings))
    };
    check("abuse", &settings(|_| ()));
    check("abuse --sample", &settings(|settings| settings.sample = true));
    check(
        "abuse --self-check --only kafka --latency-ms 300",
        &settings(|settings| {
            (settings.self_check, settings.only, settings.latency_ms) = (true, "kafka".to_owned(), 300);
        }),
    );
    check(
        "abuse --profile dev --binary x",
        &settings(|settings| {
            (settings.profile, settings.binary) = ("dev".to_owned(), Some("x".into()));
        }),
    );
    check("abuse --latency-ms soon", &None);
    check("abuse --profile fast", &None);
    check("abuse --only", &None);
    check("abuse --harder", &None);
}
