//! A PostgreSQL server of the tests' own, in a temporary folder, as a user that is not root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition may take to come true. Far beyond what it takes, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A running server. It ends, and its folder goes, when the test's process does.
pub struct Cluster {
    pub port: u16,
    folder: PathBuf,
}

/// One database on it.
#[derive(Clone)]
pub struct ServerDatabase {
    pub url: String,
    port: u16,
    pub name: String,
}

static SHARED: OnceLock<Cluster> = OnceLock::new();
static N_DATABASES: AtomicUsize = AtomicUsize::new(0);

impl Cluster {
    /// The one that all tests of this process share.
    pub fn shared() -> &'static Cluster {
        SHARED.get_or_init(|| Cluster::start("max_connections=300"))
    }

    /// Makes a cluster and starts its server.
    pub fn start(settings: &str) -> Self {
        let cluster = Self { port: free_port(), folder: new_folder() };
        run(as_user("initdb")
            .args(["-U", "watch", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(cluster.folder.join("data")));
        cluster.launch(settings);
        cluster
    }

    /// Starts a standby that has whatever this one says that it has committed.
    #[allow(dead_code, reason = "only some tests need one")]
    pub fn start_standby(&self, settings: &str) -> Self {
        let standby = Self { port: free_port(), folder: new_folder() };
        let port = self.port.to_string();
        run(as_user("pg_basebackup")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "watch", "-R", "-X", "stream", "-c", "fast", "-D"])
            .arg(standby.folder.join("data")));
        standby.launch(settings);
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.ask("SELECT pg_reload_conf()");
        self.await_standby();
        standby
    }

    /// Waits until the standby has all that this one has.
    #[allow(dead_code, reason = "only some tests need one")]
    pub fn await_standby(&self) {
        let deadline = Instant::now() + PATIENCE;
        let standbys =
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
        while self.ask(standbys) != "1" {
            assert!(Instant::now() < deadline, "no standby: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a standby the primary.
    #[allow(dead_code, reason = "only some tests need one")]
    pub fn promote(&self) {
        run(as_user("pg_ctl").args(["-w", "promote", "-D"]).arg(self.folder.join("data")));
    }

    fn ask(&self, statement: &str) -> String {
        let (is_done, said) = ask(self.port, "postgres", statement);
        assert!(is_done, "{statement}: {said}");
        said
    }

    /// Starts the server, and a shell that ends it with this process.
    pub fn launch(&self, settings: &str) {
        let mut server = as_user("postgres");
        server.arg("-D").arg(self.folder.join("data"));
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={}", self.port),
            &format!("unix_socket_directories={}", self.folder.display()),
        ]
        .into_iter()
        .chain(settings.split_whitespace())
        {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut child =
            server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let guard = format!(
            "while kill -0 {} 2>/dev/null && kill -0 {} 2>/dev/null; do sleep 0.5; done; \
             kill -0 {} 2>/dev/null || {{ kill -QUIT \"$(head -1 '{}/data/postmaster.pid')\"; sleep 1; rm -rf '{}'; }}",
            std::process::id(),
            child.id(),
            std::process::id(),
            self.folder.display(),
            self.folder.display(),
        );
        let mut guard = Command::new("sh")
            .args(["-c", &guard])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ask(self.port, "postgres", "SELECT 1").0 {
            assert!(
                child.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "no server: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        // Reaped when they end, so that they don't seem to live on.
        std::thread::spawn(move || child.wait());
        std::thread::spawn(move || guard.wait());
    }

    /// Kills the server as a crash does: nothing is flushed, and it recovers when it is started again.
    pub fn crash(&self) {
        run(as_user("pg_ctl").args(["-m", "immediate", "-w", "stop", "-D"]).arg(self.folder.join("data")));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// An empty database.
    pub fn new_database(&self) -> ServerDatabase {
        let name = format!("test_{}", N_DATABASES.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("CREATE DATABASE {name}"));
        self.database(name)
    }

    fn database(&self, name: String) -> ServerDatabase {
        let url = format!("postgres://watch@127.0.0.1:{}/{name}", self.port);
        ServerDatabase { url, port: self.port, name }
    }
}

impl ServerDatabase {
    /// The one of this name on another server.
    #[allow(dead_code, reason = "only some tests have several servers")]
    pub fn on(&self, cluster: &Cluster) -> Self {
        cluster.database(self.name.clone())
    }

    /// What a statement answers, as `psql` prints it.
    pub fn psql(&self, statement: &str) -> String {
        let (is_done, said) = ask(self.port, &self.name, statement);
        assert!(is_done, "{statement}: {said}");
        said
    }

    /// The rows of a query in SQLite's words, each one JSON value called `r`.
    pub fn rows(&self, query: &str) -> Vec<Value> {
        let query = in_words_of_postgres(query)
            .replace("json_array(", "jsonb_build_array(")
            .replace("json_object(", "jsonb_build_object(")
            .replace("json_quote(", "to_jsonb(");
        let text = self.psql(&format!("SELECT coalesce(jsonb_agg(q.r), '[]') FROM (SELECT {query}) q"));
        serde_json::from_str(&text).unwrap()
    }
}

/// The few words of the tests' queries that differ.
pub fn in_words_of_postgres(query: &str) -> String {
    query
        .replace(
            "julianday(next_poll_at)",
            "(extract(epoch FROM next_poll_at::timestamptz)::numeric / 86400)",
        )
        .replace(
            "julianday(last_polled_at)",
            "(extract(epoch FROM last_polled_at::timestamptz)::numeric / 86400)",
        )
        .replace(
            "julianday(next_attempt_at)",
            "(extract(epoch FROM next_attempt_at::timestamptz)::numeric / 86400)",
        )
        .replace(
            "julianday(last_attempt_at)",
            "(extract(epoch FROM last_attempt_at::timestamptz)::numeric / 86400)",
        )
        .replace(
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
        )
        .replace("payload ->> '$.data.activity_id'", "payload::jsonb #>> '{data,activity_id}'")
        .replace("sum(poll_count > 0)", "sum((poll_count > 0)::int)")
        .replace("consecutive_errors >= 3", "(consecutive_errors >= 3)::int")
        .replace("length(meaning) > 9", "(length(meaning) > 9)::int")
        .replace("length(remedy_ar) > 9", "(length(remedy_ar) > 9)::int")
}

/// PgBouncer before a server; ended when dropped.
#[allow(dead_code, reason = "only some tests need one")]
pub struct Pooler {
    pub port: u16,
    child: std::process::Child,
}

#[allow(dead_code, reason = "only some tests need one")]
impl Pooler {
    /// `None` where the program is not there.
    pub fn start(cluster: &Cluster, mode: &str, ignored: &str) -> Option<Self> {
        let path = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| Path::new(path).exists())?;
        let (folder, port) = (new_folder(), free_port());
        let configuration = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nignore_startup_parameters = {ignored}\n",
            cluster.port
        );
        std::fs::write(&configuration, text.replace("* = host", "* = user=watch host")).unwrap();
        let child = as_user_of_path(Path::new(path))
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self { port, child };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "no pooler");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pooler)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a statement was done, and what was answered.
fn ask(port: u16, database: &str, statement: &str) -> (bool, String) {
    let port = port.to_string();
    let asked = Command::new(program("psql"))
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "watch",
            "-v",
            "ON_ERROR_STOP=1",
            "-XAtqc",
            statement,
            database,
        ])
        .output()
        .unwrap();
    let said = if asked.status.success() { asked.stdout } else { asked.stderr };
    (asked.status.success(), String::from_utf8_lossy(&said).trim_end().to_owned())
}

/// Where a program of PostgreSQL is: Debian keeps most of them off the path, by version.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.map(|version| version.unwrap().path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    let path = folders.iter().rev().map(|folder| folder.join(name)).find(|path| path.exists());
    path.unwrap_or_else(|| PathBuf::from(name))
}

/// A program as a user that is not root, which PostgreSQL refuses.
fn as_user(name: &str) -> Command {
    as_user_of_path(&program(name))
}

fn as_user_of_path(path: &Path) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user(), "--regid", user(), "--clear-groups"]).arg(path);
    command.current_dir("/");
    command
}

fn user() -> &'static str {
    match std::fs::read_to_string("/etc/passwd")
        .unwrap_or_default()
        .lines()
        .any(|line| line.starts_with("postgres:"))
    {
        true => "postgres",
        false => "nobody",
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn new_folder() -> PathBuf {
    let nth = N_DATABASES.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("pcsid-watch-postgres-{}-{nth}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    if is_root() {
        run(Command::new("chown").arg(user()).arg(&folder));
    }
    folder
}

/// A port that is free, and below those that systems give to connections: one of them could take it before the server
/// does.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(20_000..32_768)).find(is_free).unwrap()
}
