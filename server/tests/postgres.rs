//! The operations database can be PostgreSQL, for servers that share it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::FakeImage;

use crate::support::{Curl, World, run};

const IMAGE: &str = "debian/trixie/amd64/default";
const PASSWORD: &str = "word-that-nobody-may-see";

/// A PostgreSQL with an empty database, run by a user without rights. It ends with this value.
struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    process: Child,
    port: u16,
}

impl Postgres {
    /// `None` where it is not installed.
    fn start() -> Option<Self> {
        let programs = programs()?;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(directory.path().join("password"), PASSWORD).unwrap();
        if is_root() {
            run(Command::new("chown").args(["-R", "nobody"]).arg(&data)).succeeds();
        }
        let mut initdb = without_rights(programs.join("initdb"));
        initdb.args(["--username=rootcellar", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        initdb.arg("--pwfile").arg(directory.path().join("password")).arg("-D").arg(&data);
        run(initdb.current_dir("/")).succeeds();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = without_rights(programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-k", "", "-h", "127.0.0.1", "-c", "fsync=off", "-p"]).arg(port.to_string());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = server.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let this = Self { directory, programs, process, port };
        let deadline = Instant::now() + Duration::from_mins(1);
        while this.ask("SELECT 1").status != Some(0) {
            let log = || fs::read_to_string(this.directory.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "PostgreSQL is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        this.ask("CREATE DATABASE cellar").succeeds();
        Some(this)
    }

    fn url(&self) -> String {
        format!("postgres://rootcellar:{PASSWORD}@127.0.0.1:{}/cellar", self.port)
    }

    fn ask(&self, sql: &str) -> crate::support::Outcome {
        self.ask_in("postgres", sql)
    }

    fn ask_in(&self, database: &str, sql: &str) -> crate::support::Outcome {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env("PGPASSWORD", PASSWORD).args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", "rootcellar", "-p"]);
        run(psql.arg(self.port.to_string()).args(["-d", database, "-c", sql]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It ends every process of its own before it ends; a killed one would leave them.
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PostgreSQL refuses to run as root.
fn without_rights(program: PathBuf) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

/// Debian keeps the programs of each version apart.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<_> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    versions.retain(|path| ["initdb", "postgres", "psql"].iter().all(|name| path.join(name).is_file()));
    versions.sort();
    versions.pop()
}

/// Starts PostgreSQL, or ends the test with a visible reason.
macro_rules! need_postgres {
    ($postgres:ident) => {
        let Some($postgres) = Postgres::start() else {
            testkit::skip("needs `postgresql`, which is not installed");
            return;
        };
    };
}

#[test]
fn tokens_in_postgresql_are_shared_by_every_server_that_is_told_of_it() {
    need_postgres!(postgres);
    let (world, other) = (World::new(), World::new());
    for world in [&world, &other] {
        world.run(&["keys", "init"]).succeeds();
        world.run(&["publish"]).succeeds();
    }
    let url = postgres.url();
    let token = world.run(&["token", "create", "builder1", "--images", "*", "--database", &url]).succeeds().stdout;
    let again = other.run(&["token", "create", "builder1", "--images", "*", "--database", &url]);
    again.fails_with(1, "there is a token `builder1` already");
    assert!(!world.data().join("operations.sqlite").exists(), "SQLite is used as well");

    let build = world.build(&FakeImage::new(IMAGE));
    let config = world.path("server.toml");
    fs::write(&config, format!("database = \"{url}\"\n")).unwrap();
    let first = world.serve_with(&["--database", &url]);
    let second = other.serve_with(&["--config", config.to_str().unwrap()]);
    let begin =
        |server| Curl::new(server, "POST", "/api/v1/uploads").token(&token).body(&build.join("build.json")).send();
    assert_eq!([begin(&first).status, begin(&second).status], [201, 201]);
    let list = other.run(&["token", "list", "--database", &url]).succeeds().stdout;
    assert!(list.contains("builder1") && !list.contains(token.trim()), "{list}");
    world.run(&["token", "revoke", "builder1", "--database", &url]).succeeds();
    assert_eq!([begin(&first).status, begin(&second).status], [401, 401]);
    // Nobody who reads the database can use a token.
    let rows = postgres.ask_in("cellar", "SELECT * FROM rootcellar_token_v1").succeeds().stdout;
    assert!(rows.contains("builder1") && !rows.contains(&token.trim()[4..]), "{rows}");
}

#[test]
fn many_processes_that_make_the_tables_at_once_do_not_disturb_one_another() {
    need_postgres!(postgres);
    let world = World::new();
    world.run(&["keys", "init"]).succeeds();
    let url = postgres.url();
    let create = |number: usize| {
        let mut command = world.command();
        command.args(["token", "create", &format!("builder{number}"), "--images", "*", "--database", &url]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<Child> = (0..8).map(create).collect();
    let outputs: Vec<Output> = processes.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
    for output in outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(postgres.ask_in("cellar", "SELECT count(*) FROM rootcellar_token_v1").succeeds().stdout.trim(), "8");
}

#[test]
fn a_database_that_is_gone_refuses_uploads_with_503_and_no_password_is_ever_shown() {
    need_postgres!(postgres);
    let world = World::publishing(&[FakeImage::new(IMAGE).serial("20261122_0522")]);
    let url = postgres.url();
    let token = world.run(&["token", "create", "builder1", "--images", "*", "--database", &url]).succeeds().stdout;
    let server = world.serve_with(&["--database", &url]);
    let build = world.build(&FakeImage::new(IMAGE).serial("20261123_0522"));
    let begin = || Curl::new(&server, "POST", "/api/v1/uploads").token(&token).body(&build.join("build.json")).send();
    assert_eq!(begin().status, 201);
    drop(postgres);
    let refused = begin();
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(!refused.body.contains("postgres"), "{}", refused.body);
    // Everything else goes on.
    assert_eq!(Curl::new(&server, "GET", "/streams/v1/index.sjson").send().status, 200);
    let list =
        world.run(&["token", "list", "--database", &url]).fails_with(2, "the operations database does not answer");
    assert!(list.stderr.contains("hint: "), "{list}");
    for text in [server.log(), list.stderr, refused.body] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}
