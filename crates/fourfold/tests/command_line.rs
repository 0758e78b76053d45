//! The program as its users meet it: what it writes to which stream, and how it ends.
//!
//! What it is not: a test of what the server answers. That is tested where it is made.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fourfold");

const FREE_PORTS: [&str; 6] = ["--kafka-port", "0", "--pg-port", "0", "--http-port", "0"];

/// What a command wrote, and how it ended.
struct Ran {
    status: ExitStatus,
    out: Vec<u8>,
    said: String,
}

impl Ran {
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "it said: {}", self.said);
        self
    }

    #[track_caller]
    fn prints(self, expected: impl AsRef<[u8]>) -> Self {
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(shown(&self.out), shown(expected.as_ref()), "it said: {}", self.said);
        self
    }

    #[track_caller]
    fn says(self, expected: &str) -> Self {
        assert!(self.said.contains(expected), "{expected:?} is not in: {}", self.said);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.out)))
    }

    fn error(&self) -> Value {
        let document: Value = serde_json::from_str(&self.said).unwrap_or_else(|e| panic!("{e}: {}", self.said));
        document["error"].clone()
    }
}

fn run_in(folder: &Path, environment: &[(&str, String)], arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).envs(environment.iter().cloned());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A command that fails early reads nothing of it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("the program ends");
    Ran { status: output.status, out: output.stdout, said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn run(arguments: &[&str]) -> Ran {
    run_in(Path::new("."), &[], arguments, b"")
}

/// Where the doors are, as the variables that name them.
type Addresses = Vec<(&'static str, String)>;

/// A server of this test's own, killed when the test ends.
struct Server {
    child: Child,
    addresses: Addresses,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_on(Path::new("data"))
    }

    /// On a data folder of another one.
    fn start_on(data: &Path) -> Self {
        Self::start_with(data, &[("RUST_LOG", "warn")], Stdio::null())
    }

    fn start_with(data: &Path, environment: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (child, addresses) = Self::launch(folder.path(), data, environment, log);
        Self { child, addresses, folder }
    }

    /// On its own data folder, once it has ended.
    fn start_again(&mut self) {
        let launched = Self::launch(self.folder.path(), Path::new("data"), &[], Stdio::null());
        (self.child, self.addresses) = launched;
    }

    fn launch(folder: &Path, data: &Path, environment: &[(&str, &str)], log: impl Into<Stdio>) -> (Child, Addresses) {
        let mut command = Command::new(PROGRAM);
        command.args(["dev", "--json", "--data-dir"]).arg(data).args(FREE_PORTS).current_dir(folder);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("the server says its addresses");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let address = |door: &str| told[door].as_str().expect("an address").to_owned();
        (child, vec![("FOURFOLD_KAFKA", address("kafka")), ("FOURFOLD_HTTP", address("http"))])
    }

    /// Tells it to stop, and waits until it has.
    fn terminate(&mut self) -> ExitStatus {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill is there");
        assert!(told.success());
        self.child.wait().expect("it ends")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    /// Deletes a topic as a Kafka client does.
    fn delete_by_kafka(&self, name: &str) -> model::Result<()> {
        let (_, address) = self.addresses.iter().find(|(name, _)| *name == "FOURFOLD_KAFKA").expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = broker::client::Client::connect(address).await?;
            client.delete_topic(&model::TopicName::new(name)?).await
        })
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        run_in(self.folder.path(), &self.addresses, arguments, input)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("a disk that is full");
    let server = Server::start_with(Path::new("data"), &[("RUST_LOG", "debug")], full);
    server.run(&["topic", "create", "t"]).ends_with(0);
    server.run_with(&["produce", "t"], b"a\n").ends_with(0);
    let listed = server.run(&["topic", "list", "--json"]).ends_with(0);
    assert!(listed.json().to_string().contains("\"t\""), "{}", listed.json());
}

#[test]
fn a_server_that_is_told_to_stop_ends_well_after_a_view_has_failed() {
    let mut server = Server::start();
    let define = "CREATE SOURCE gates (gate TEXT); \
        CREATE MATERIALIZED VIEW v AS SELECT gate, count(*) AS n FROM gates GROUP BY gate";
    server.run(&["sql", "-c", define]).ends_with(0);
    server.run_with(&["produce", "gates"], b"{\"gate\": \"A1\"}\n").ends_with(0);
    server.run(&["topic", "delete", "gates", "--force"]).ends_with(0);
    // Who waits for a view that fails is told so.
    server.run(&["sql", "--min-position", "gates/0:9", "-c", "SELECT count(*) AS n FROM v"]).ends_with(1);
    let deleted = "view v: failed: topic gates was deleted";
    server.run(&["status"]).ends_with(1).says(deleted);
    assert_eq!(server.terminate().code(), Some(0));

    // The topic is not made again, and nobody is kept away for a view that does not get better by waiting.
    let again = Server::start_on(&server.folder.path().join("data"));
    let shown = again.run(&["status", "--json"]).ends_with(1).says(deleted).json();
    let parts = shown["ready"]["parts"].as_array().expect("parts");
    let view = parts.iter().find(|part| part["name"] == "view v").expect("the view");
    let ready = (&shown["ready"]["status"], &view["ready"], &view["degraded"]);
    assert_eq!(ready, (&Value::from("ready"), &Value::from(true), &Value::from(true)), "{shown}");
    let topics = shown["topics"]["topics"].as_array().expect("topics");
    assert!(topics.iter().all(|topic| topic["name"] != "gates"), "{shown}");
    // Of another topic of the name it says so, and begins with that one when it is told to.
    again.run(&["topic", "create", "gates"]).ends_with(0);
    again.run_with(&["produce", "gates"], b"{\"gate\": \"B2\"}\n").ends_with(0);
    again.run(&["status"]).ends_with(1).says("topic gates was deleted and created again");
    again.run(&["sql", "-c", "REFRESH MATERIALIZED VIEW v"]).ends_with(0);
    again.run(&["status"]).ends_with(0);
}

#[test]
fn a_log_that_has_lost_something_is_ready_and_says_so() {
    let mut server = Server::start();
    for topic in ["lost", "kept"] {
        server.run(&["topic", "create", topic]).ends_with(0);
        server.run_with(&["produce", topic], b"a\n").ends_with(0);
    }
    // In order, so that the records are in segments.
    assert_eq!(server.terminate().code(), Some(0));
    let data = server.folder.path().join("data");
    let topics =
        std::fs::read_dir(data.join("log/topics")).expect("the topics").map(|entry| entry.expect("one").path());
    let lost = topics.into_iter().find(|path| path.to_string_lossy().contains("lost-0")).expect("its folder");
    let log = std::fs::read_dir(lost).expect("its files").map(|entry| entry.expect("one").path());
    let log =
        log.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "log")).expect("its log");
    std::fs::remove_file(log).expect("it is there");

    let server = Server::start_on(&data);
    let shown = server.run(&["status", "--json"]).ends_with(0).says("warning: log: damaged: lost/0: ").json();
    let part = &shown["ready"]["parts"][0];
    assert_eq!((&shown["ready"]["status"], &part["degraded"]), (&Value::from("ready"), &Value::from(true)), "{shown}");
    server.run(&["tail", "kept"]).ends_with(0).prints("a\n");
}

#[test]
fn a_backup_of_a_server_that_takes_writes_is_opened_as_a_copy_of_its_own() {
    let server = Server::start();
    let define = "CREATE SOURCE gates (gate TEXT) WITH (partitions = 2); \
        CREATE MATERIALIZED VIEW k AS SELECT gate, count(*) AS n FROM gates GROUP BY gate; \
        CREATE MATERIALIZED VIEW l WITH (batch = '1 hour') AS SELECT gate, count(*) AS n FROM gates GROUP BY gate";
    server.run(&["sql", "-c", define]).ends_with(0);
    let lines = |from: u32| (from..from + 500).map(|n| format!("{{\"gate\": \"A{}\"}}\n", n % 7)).collect::<String>();
    server.run_with(&["produce", "gates"], lines(0).as_bytes()).ends_with(0);
    server.run(&["sql", "-c", "REFRESH MATERIALIZED VIEW l"]).ends_with(0);
    let backup = |name: &str, arguments: &[&str]| server.run(&[&["backup", name, "--json"], arguments].concat());
    let copies: Vec<Value> = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            (1..6).for_each(|round| {
                drop(server.run_with(&["produce", "gates"], lines(round * 500).as_bytes()).ends_with(0));
            });
        });
        let copies = ["first", "second"].map(|name| backup(name, &[]).ends_with(0).json());
        writing.join().expect("all is written");
        copies.into()
    });
    assert_ne!(copies[0]["id"], copies[1]["id"]);
    assert_eq!(copies[0]["copy_of"], copies[1]["copy_of"]);
    backup("first", &[]).ends_with(1).says("is not empty");
    backup("data/inside", &[]).ends_with(1).says("in the data folder itself");
    // The server has it open.
    backup("third", &["--data-dir", "data"]).ends_with(1);
    assert!(!server.folder.path().join("third").exists());

    let sums = "SELECT sum(n) AS n FROM ";
    let count = |server: &Server, view: &str| {
        let shown = server.run(&["sql", "--json", "-c", &format!("{sums}{view}")]).ends_with(0).json();
        shown["rows"][0][0].to_string().trim_matches('"').parse::<u64>().unwrap_or_else(|e| panic!("{e}: {shown}"))
    };
    for (name, copy) in ["first", "second"].iter().zip(&copies) {
        let of_copy =
            |text: &str| text.split(',').map(|p| p.rsplit(':').next()?.parse::<u64>().ok()).sum::<Option<u64>>();
        let records = of_copy(copy["positions"].as_str().expect("positions")).expect("offsets");
        assert!((500..=3_000).contains(&records), "{copy}");
        let copied = Server::start_on(&server.folder.path().join(name));
        copied.run(&["sql", "-c", "REFRESH MATERIALIZED VIEW l"]).ends_with(0);
        assert_eq!([count(&copied, "k"), count(&copied, "l")], [records; 2], "{name}");
        // It goes on by itself.
        copied.run_with(&["produce", "gates"], lines(0).as_bytes()).ends_with(0);
    }
    assert_eq!(count(&server, "k"), 3_000);
}

#[test]
fn a_backup_of_a_folder_that_nobody_has_open_is_whole_and_an_unfinished_one_is_refused() {
    let mut server = Server::start();
    server.run(&["topic", "create", "lines"]).ends_with(0);
    server.run_with(&["produce", "lines"], b"a\nb\n").ends_with(0);
    server.child.kill().and_then(|()| server.child.wait()).expect("it is killed");
    server.run(&["backup", "copy", "--data-dir", "data"]).ends_with(0).says("it is whole");
    server.run(&["backup", "other", "--data-dir", "nowhere"]).ends_with(1).says("no data in nowhere");
    let copied = Server::start_on(&server.folder.path().join("copy"));
    copied.run(&["tail", "lines"]).ends_with(0).prints("a\nb\n");

    let kept = tempfile::tempdir().expect("a folder");
    let data = kept.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("backup.unfinished"), "").expect("a mark");
    let refused = run_in(kept.path(), &[], &[&["dev", "--data-dir", "data"][..], &FREE_PORTS].concat(), b"");
    refused.ends_with(1).says("a backup that was not finished");
    assert_eq!(std::fs::read_dir(&data).expect("the folder").count(), 1, "nothing was made in it");
}

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_that_was_killed_is_never_opened_and_harms_nothing() {
    let mut server = Server::start();
    let data = server.folder.path().join("data");
    server.run(&["topic", "create", "lines"]).ends_with(0);
    server.run_with(&["produce", "lines"], "a line\n".repeat(20_000).as_bytes()).ends_with(0);
    for by_server in [true, false] {
        if !by_server {
            assert_eq!(server.terminate().code(), Some(0));
        }
        // A backup that was quicker than this test is made again.
        let unfinished = (0..100).find_map(|attempt| {
            let target = server.folder.path().join(format!("copy-{by_server}-{attempt}"));
            let mark = target.join("backup.unfinished");
            let mut command = Command::new(PROGRAM);
            command.arg("backup").arg(&target).envs(server.addresses.iter().cloned());
            if !by_server {
                command.arg("--data-dir").arg(&data);
            }
            let mut backup = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            while !mark.exists() && backup.try_wait().expect("it is looked at").is_none() {
                std::thread::yield_now();
            }
            let killed = if by_server { &mut server.child } else { &mut backup };
            killed.kill().and_then(|()| killed.wait()).expect("it is killed");
            backup.wait().expect("it ends");
            let is_unfinished = mark.exists();
            if by_server {
                server.start_again();
            }
            is_unfinished.then_some(target)
        });
        let target = unfinished.expect("a backup that was not finished");
        let before = files(&target);
        let arguments = [&["dev", "--data-dir"][..], &[target.to_str().expect("a path")][..], &FREE_PORTS].concat();
        run(&arguments).ends_with(1).says("a backup that was not finished");
        let again = [&["backup", "elsewhere", "--data-dir"][..], &[target.to_str().expect("a path")][..]].concat();
        run_in(server.folder.path(), &[], &again, b"").ends_with(1).says("a backup that was not finished");
        assert!(files(&target) == before, "nothing was changed in it");
    }
    let whole = ["backup", "whole", "--data-dir", "data"];
    run_in(server.folder.path(), &[], &whole, b"").ends_with(0).says("it is whole");
    assert!(!data.join("backup.links").exists(), "what was left behind is gone");
    let copied = Server::start_on(&server.folder.path().join("whole"));
    let lines = copied.run(&["tail", "lines"]).ends_with(0).out;
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 20_000);
}

#[test]
fn a_backup_of_a_damaged_lake_is_made_and_says_what_became_of_it() {
    let mut server = Server::start();
    let define = "CREATE SOURCE gates (gate TEXT); \
        CREATE MATERIALIZED VIEW l WITH (batch = '1 hour') AS SELECT gate, count(*) AS n FROM gates GROUP BY gate";
    server.run(&["sql", "-c", define]).ends_with(0);
    server.run_with(&["produce", "gates"], b"{\"gate\": \"A1\"}\n{\"gate\": \"A1\"}\n").ends_with(0);
    server.run(&["sql", "-c", "REFRESH MATERIALIZED VIEW l"]).ends_with(0);
    assert_eq!(server.terminate().code(), Some(0));
    let damage = |table: &str| {
        let files = files(&server.folder.path().join("data/lake").join(table));
        let (path, mut bytes) =
            files.into_iter().find(|(path, _)| path.extension() == Some("parquet".as_ref())).expect("one");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("it is damaged");
    };
    let backup = |name: &str| run_in(server.folder.path(), &[], &["backup", name, "--data-dir", "data"], b"");
    backup("good").ends_with(0).says(": it is whole\n");
    damage("batch/l/1");
    damage("sources/gates");
    let said =
        backup("copy").ends_with(0).says("warning: lake/batch/l/1 was left out").says("it is whole but for that");
    said.says("warning: lake/sources/gates was copied as it is, which is damaged: file ");

    let copied = Server::start_on(&server.folder.path().join("copy"));
    copied.run(&["status"]).ends_with(0);
    let count = ["sql", "--json", "--min-position", "gates/0:2", "-c", "SELECT n FROM l"];
    let counted = |server: &Server| server.run(&count).ends_with(0).json().to_string();
    assert!(counted(&copied).contains("[\"2\"]") || counted(&copied).contains("[2]"), "{}", counted(&copied));
    copied.run(&["sql", "-c", "REFRESH MATERIALIZED VIEW l"]).ends_with(0);
    assert!(counted(&copied).contains("[\"2\"]") || counted(&copied).contains("[2]"), "{}", counted(&copied));
}

#[test]
fn wrong_usage_ends_with_2_and_prints_nothing() {
    for arguments in [&["nonsense"][..], &["dev", "--http", "h:1"], &["topic", "create", "t", "--partitions", "-1"]] {
        run(arguments).ends_with(2).prints("");
    }
    run(&["--version"]).ends_with(0).prints(format!("fourfold {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(target_os = "linux")]
#[test]
fn the_allocator_commits_memory_as_it_is_used() {
    let ran = run_in(Path::new("."), &[("MIMALLOC_VERBOSE", "1".to_owned())], &["--version"], b"");
    // Set where the C of the allocator is compiled, in .cargo/config.toml.
    assert!(ran.said.contains("option 'arena_eager_commit': 0"), "{}", ran.said);
}

#[test]
fn what_fails_is_said_once_and_as_json_where_that_is_wanted() {
    // Nobody listens on this port, and nobody may.
    let status = ["status", "--http", "http://127.0.0.1:1"];
    let ran = run(&status).ends_with(1).prints("").says(" hint: start one with: fourfold dev");
    assert_eq!(ran.said.matches("refused").count(), 1, "{}", ran.said);
    let error = run(&[&status[..], &["--json"]].concat()).ends_with(1).prints("").error();
    assert_eq!(error["kind"], "unavailable");
    assert!(error["hint"].is_string(), "{error}");
}

#[test]
fn a_server_that_cannot_listen_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = ["dev", "--data-dir", "data", "--kafka-port", "0", "--http-port", "0", "--pg-port", &port];
    let ran = run_in(folder.path(), &[], &arguments, b"").ends_with(1).prints("").says("--pg-port PORT");
    assert_eq!(ran.said.matches("in use").count(), 1, "{}", ran.said);
    assert!(!folder.path().join("data").exists());
    let slip = [("FOURFOLD_KAFKA_PRT", "1".to_owned())];
    run_in(folder.path(), &slip, &arguments, b"").ends_with(1).says("there is no setting kafka.prt");
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("demo").env("TMPDIR", folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut demo = command.spawn().unwrap();
        let mut said = BufReader::new(demo.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Fourfold runs in") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended before it ran");
        }
        assert_ne!(folder.path().read_dir().unwrap().count(), 0, "it runs elsewhere");
        let sent = Command::new("kill").args(["-s", signal, &demo.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // So that it never waits for somebody to read.
        let rest = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        assert_eq!(demo.wait().unwrap().code(), Some(code), "{signal}");
        rest.join().unwrap().unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn a_demo_without_enough_flights_says_how_many_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("one.csv"),
        "year,month,day,dep_delay,arr_delay,sched_dep_time,carrier,flight,tailnum,origin,dest,air_time,distance\n\
         2013,1,1,2,11,515,UA,1545,N14228,EWR,IAH,227,1400\n",
    )
    .unwrap();
    run_in(folder.path(), &[], &["demo", "--exit", "--data", "one.csv"], b"").ends_with(1).says("at least 10 flights");
    run_in(folder.path(), &[], &["demo", "--exit", "--data", "."], b"")
        .ends_with(1)
        .says("cannot read .: Is a directory");
}

#[test]
fn lines_are_stored_as_they_are_and_the_others_are_named() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--json"]).ends_with(0).prints("{\"partitions\":1,\"topic\":\"t\"}\n");
    server
        .run_with(&["produce", "t"], b"text\n\xff\xfe\r\n")
        .ends_with(0)
        .prints("t/0:2\n")
        .says("2 records are durable");
    server.run(&["tail", "t"]).ends_with(0).prints(b"text\n\xff\xfe\r\n");
    let shown = server.run(&["tail", "t", "--from", "1", "--json"]).ends_with(0).json();
    assert_eq!((&shown["value_base64"], &shown["value"]), (&"//4N".into(), &Value::Null));

    let long = [b"before\n", "x".repeat(1_100_000).as_bytes(), b"\nafter\n"].concat();
    let ran = server.run_with(&["produce", "t"], &long).ends_with(1).prints("t/0:4\n");
    ran.says("line 2 (1100000 bytes): ").says("2 records are durable").says("error: 1 line not stored");
    let ran = server.run_with(&["produce", "t", "--json"], &long).ends_with(1);
    let (told, error) = (ran.json(), ran.error());
    assert_eq!((&told["records"], &told["failed"], &told["failures"][0]["line"]), (&2.into(), &1.into(), &2.into()));
    assert_eq!(error["message"], "1 line not stored");
    server
        .run(&["tail", "t", "--from", "2", "--positions"])
        .prints("t/0:2\t\tbefore\nt/0:3\t\tafter\nt/0:4\t\tbefore\nt/0:5\t\tafter\n");

    // Many that wait together: the one that is refused takes none of the others with it.
    server.run(&["topic", "create", "u"]).ends_with(0);
    let many = "x\n".repeat(3_000);
    let all = [many.as_bytes(), &long, many.as_bytes()].concat();
    let ran = server.run_with(&["produce", "u"], &all).ends_with(1).prints("u/0:6002\n");
    ran.says("line 3002 (").says("6002 records are durable");
    server.run(&["produce", "none"]).ends_with(1).prints("").says("there is no topic none");
}

#[test]
fn tail_says_what_is_not_there_and_ends_quietly_when_nobody_reads() {
    let server = Server::start();
    server.run(&["topic", "create", "two", "--partitions", "2"]).ends_with(0);
    server.run(&["topic", "create", "one"]).ends_with(0);
    server.run_with(&["produce", "one"], "a line\n".repeat(50_000).as_bytes()).ends_with(0);
    server.run(&["tail", "one", "--from", "99999999"]).ends_with(1).prints("").says("the next record will be 50000");
    server.run(&["tail", "two", "--from", "0"]).ends_with(1).prints("").says("--partition NUMBER");
    server.run(&["tail", "two", "--from", "0", "--partition", "1"]).ends_with(0).prints("");
    server.run(&["tail", "two", "--partition", "2"]).ends_with(1).says("topic two has 2 partitions");

    let mut command = Command::new(PROGRAM);
    command.args(["tail", "one"]).envs(server.addresses.iter().cloned()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tail = command.spawn().unwrap();
    drop(tail.stdout.take());
    let ended = tail.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = command.stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(said.starts_with("error: cannot write to standard output: No space left"), "{said}");
}

#[test]
fn a_script_of_statements_runs_to_its_end() {
    let server = Server::start();
    let script = b"select 1 as a; select 2 as b;\n;\nselect nothing; select 3\n as c";
    let ran = server.run_with(&["sql"], script).ends_with(1).says("error: a statement failed").says("(1 row)");
    ran.prints("a\n-\n1\nb\n-\n2\nc\n-\n3\n");
    server.run(&["sql", "-c", "-- nothing"]).ends_with(0).prints("");
    let ran = server.run(&["sql", "--json", "-c", "select nothing"]).ends_with(1).prints("");
    assert!(ran.error()["sqlstate"].is_string(), "{}", ran.said);
}

#[test]
fn a_topic_that_a_source_reads_is_not_deleted_by_accident() {
    let server = Server::start();
    let source = "CREATE SOURCE s (a INT) WITH (topic = 't', partitions = 1, format = 'json')";
    server.run(&["sql", "-c", source]).ends_with(0);
    server.run(&["topic", "create", "unread"]).ends_with(0);
    server.run(&["topic", "delete", "t"]).ends_with(1).prints("").says("is read by source s").says("--force");
    let told = server.run(&["topic", "delete", "t", "--json"]).ends_with(1).error();
    assert_eq!((&told["kind"], &told["sources"]), (&"conflict".into(), &serde_json::json!(["s"])));
    server.run(&["topic", "delete", "nope"]).ends_with(1).says("topic \"nope\" does not exist");
    server.run(&["topic", "delete", "t", "--http", "127.0.0.1:1"]).ends_with(1).says("no server answers");
    // Kafka's own way is refused alike.
    let by_kafka = server.delete_by_kafka("t").unwrap_err().to_string();
    assert!(by_kafka.contains("is read by source s (drop first what needs it (DROP SOURCE s)"), "{by_kafka}");
    server.delete_by_kafka("unread").unwrap();
    // What is deleted is named by one door, so that two can never mean two servers.
    server.run(&["topic", "delete", "t", "--kafka", "127.0.0.1:1"]).ends_with(2).prints("");
    let view = "CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM s GROUP BY a";
    server.run(&["sql", "-c", view]).ends_with(0);
    server.run(&["status"]).ends_with(0);
    server
        .run(&["topic", "delete", "t", "--force", "--json"])
        .ends_with(0)
        .prints("{\"deleted\":true,\"topic\":\"t\"}\n");

    // The view notices with its next read.
    let failed = (0..300).map(|_| server.run(&["status"])).find(|ran| !ran.status.success());
    let ran = failed
        .expect("a view whose topic is gone fails")
        .ends_with(1)
        .says("error: view v: failed: topic t was deleted");
    assert!(ran.out.starts_with(b"views\nview  version") && ran.out.ends_with(b"\n"), "{}", ran.out.escape_ascii());
}

#[test]
fn a_position_can_be_passed_on() {
    let server = Server::start();
    let itinerary = r#"{"carrier":"UA","origin":"EWR","dest":"IAH","scheduled":"2013-01-01T05:15:00"}"#;
    let schedule = ["command", "flight", "F1", "schedule", itinerary];
    server.run(&schedule).ends_with(0).prints("events/0:1\n").says("accepted: FlightScheduled");
    let rejected = server.run(&[&schedule[..], &["--json"]].concat()).ends_with(1).prints("");
    assert!(rejected.error()["rule"].is_string(), "{}", rejected.said);
    assert_eq!(rejected.error()["kind"], "rejected");
    server.run(&["events", "append", "other-1", "--type", "Noted"]).ends_with(0).prints("events/0:2\n");
    server.run(&["events", "read", ""]).ends_with(1).says("an empty text is no stream name");
    let source = "CREATE SOURCE e (carrier TEXT) WITH (topic = 'events', format = 'event')";
    server.run(&["sql", "-c", source]).ends_with(0);
    let kept = server.run(&["topic", "delete", "events"]).ends_with(1).says("it cannot be deleted");
    assert!(!kept.said.contains("--force"), "{}", kept.said);
    let misspelt = ["command", "flight", "F1", "schedul", "{}"];
    server
        .run(&misspelt)
        .ends_with(1)
        .says("aggregate flight has no command schedul")
        .says("perhaps you meant schedule");
    server.run(&["command", "account", "1", "open"]).ends_with(1).says("the aggregates are flight");
    server.run(&["sql", "--min-position", "events/0:2", "-c", "select 1 as a"]).ends_with(0).prints("a\n-\n1\n");
    let view = "CREATE SOURCE s (a INT) WITH (topic = 't', partitions = 1, format = 'json');\n\
                CREATE MATERIALIZED VIEW v AS\nSELECT a, count(*) AS n FROM s GROUP BY a";
    server.run(&["sql", "-c", view]).ends_with(0);
    let status = server.run(&["status"]).ends_with(0);
    let table = String::from_utf8_lossy(&status.out).into_owned();
    assert!(table.starts_with("views\nview  version") && table.contains("\ntopics\n"), "{table}");
    assert!(!table.contains("CREATE"), "{table}");
    let shown = server.run(&["sql", "-c", "SHOW VIEWS"]).ends_with(0);
    assert_eq!(String::from_utf8_lossy(&shown.out).lines().count(), 3);
    let status = server.run(&["status", "--json"]).ends_with(0).json();
    assert_eq!(status["ready"]["status"], "ready");
    let names: Vec<_> = status["ready"]["parts"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
    assert_eq!(names, ["log", "view v"]);
}
