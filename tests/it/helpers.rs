//! What every test of the whole program needs: a folder and database of its own ([`Setup`]), a server that answers as
//! told, and the real binary.

#[path = "helpers/program.rs"]
mod program;
#[path = "helpers/server.rs"]
mod server;

use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;

pub use program::{Daemon, Ran, program};
pub use server::{Reply, Seen, Server};

pub use super::cluster::PATIENCE;
use super::cluster::{Cluster, ServerDatabase, in_words_of_postgres};

pub const VAT: &str = "310122393500003";
pub const OTHER_VAT: &str = "399999999900003";
pub const TOKEN: &str = "s3cr3t-cleartax-token-for-tests";
pub const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Awaits a condition, and fails with `what` if it does not come true.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        // Many a condition opens the database anew.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether this machine can do what a test is about to try. Where it can't, the test is passed over, which is counted
/// in the file that `NOT_TRIED_FILE` names, and is a failure where `NOT_TRIED` says `fails`: nobody must take a test
/// for passed that was never tried.
pub fn can(it_can: bool, what: &str) -> bool {
    if !it_can {
        let line = format!("not tried: this machine can't {what}\n");
        print!("{line}");
        if let Some(file) = std::env::var_os("NOT_TRIED_FILE") {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        assert!(std::env::var_os("NOT_TRIED").is_none_or(|verdict| verdict != "fails"), "{line}");
    }
    it_can
}

/// The library that gives a process another wall clock.
pub fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let found =
        folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|file| file.exists());
    can(found.is_some(), "give a process another clock: libfaketime is missing");
    found
}

/// A folder with a configuration, and the program to run in it.
pub struct Setup {
    folder: TempDir,
    database: PathBuf,
    /// The database on a server, where the tests run on one.
    server: Option<ServerDatabase>,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// A configuration for this upstream with intervals of milliseconds, followed by `more`.
    pub fn new(base_url: &str, more: &str) -> Self {
        let schedule = r#"
            [schedule]
            initial_interval = "20ms"
            max_interval = "100ms"
            "#;
        Self::with(base_url, schedule, more)
    }

    /// As [`Setup::new`], with its own `[schedule]`.
    pub fn with(base_url: &str, schedule: &str, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("test.db");
        let server = on_postgres().then(|| Cluster::shared().new_database());
        let setup = Self { database, folder, server, variables: Vec::new() };
        std::fs::write(setup.path("token"), format!("{TOKEN}\n")).unwrap();
        let credentials = if more.contains("[[credentials]]") {
            String::new()
        } else {
            format!(
                "[[credentials]]\nname = \"main\"\ntoken_file = \"{}\"\nrequests_per_minute = 0\n",
                setup.path("token").display()
            )
        };
        let http = if more.contains("[http]") { "" } else { "[http]\nlisten = \"127.0.0.1:0\"\n" };
        setup.configure(&format!(
            "[database]\nurl = \"{}\"\n[upstream]\nbase_url = \"{base_url}\"\n{credentials}{schedule}\n{http}{more}",
            setup.database_url()
        ));
        setup
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(self.path("pcsid-watch.toml"), text).unwrap();
    }

    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.path("pcsid-watch.toml")).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `database.url`
    pub fn database_url(&self) -> String {
        match &self.server {
            Some(server) => server.url.clone(),
            None => format!("sqlite://{}", self.database.display()),
        }
    }

    /// Whether its database is on a server.
    #[allow(dead_code, reason = "only some tests are for both")]
    pub fn is_on_server(&self) -> bool {
        self.server.is_some()
    }

    /// The database on a server; only where the tests run on one.
    #[allow(dead_code, reason = "the run on SQLite has none")]
    pub fn server(&self) -> &ServerDatabase {
        self.server.as_ref().expect("a test for a server")
    }

    pub fn database(&self) -> PathBuf {
        self.database.clone()
    }

    /// With its database elsewhere.
    pub fn with_database(self, database: &Path) -> Self {
        let variable = format!("sqlite://{}", database.display());
        let setup = Self { database: database.to_owned(), ..self };
        setup.variable("PCSID_WATCH__DATABASE__URL", &variable)
    }

    /// With its database on a server, which is reached by this URL.
    #[allow(dead_code, reason = "only some tests have servers of their own")]
    pub fn on_server(self, server: ServerDatabase, url: &str) -> Self {
        Self { server: Some(server), ..self }.variable("PCSID_WATCH__DATABASE__URL", url)
    }

    /// Runs with this environment variable as well.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program with this configuration and a clean environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.folder.path());
        command.env("PCSID_WATCH_CONFIG", self.path("pcsid-watch.toml"));
        command.envs(self.variables.iter().cloned());
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and answers with what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    pub fn add(&self, vat: &str, ids: &[&str]) {
        self.ok(&[&["add", "--vat", vat], ids].concat());
    }

    /// Starts the daemon and waits until it says that it polls.
    pub async fn start(&self) -> Daemon {
        let daemon = self.spawn();
        eventually("the daemon starts", || async { daemon.stderr().contains(" polls ").then_some(()) }).await;
        daemon
    }

    pub fn spawn(&self) -> Daemon {
        Daemon::spawn(self.command(&["run"]))
    }

    /// A read-only look at the database, as a report's author has.
    pub async fn reader(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(self.database()).read_only(true);
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
    }

    /// The rows of a query as JSON objects.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        if let Some(server) = &self.server {
            return server.rows(query);
        }
        let reader = self.reader().await;
        let sql = format!("SELECT json_group_array(json(r)) FROM (SELECT {query})");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&reader).await.unwrap();
        reader.close().await;
        serde_json::from_str(row.get(0)).unwrap()
    }

    /// Changes the database beside the program.
    pub async fn execute(&self, statement: &str) {
        if let Some(server) = &self.server {
            server.psql(statement);
            return;
        }
        let options = SqliteConnectOptions::new().filename(self.database());
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&writer).await.unwrap();
        writer.close().await;
    }

    /// The lines of a query of one text column, in order.
    pub async fn lines(&self, query: &str) -> Vec<String> {
        let mut lines: Vec<String> = match &self.server {
            Some(server) => server.psql(query).lines().map(str::to_owned).collect(),
            None => {
                let reader = self.reader().await;
                let lines = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()));
                let lines = lines.fetch_all(&reader).await.unwrap();
                reader.close().await;
                lines
            }
        };
        lines.sort();
        lines
    }

    /// One number.
    pub async fn number(&self, query: &str) -> i64 {
        if let Some(server) = &self.server {
            return server.psql(&in_words_of_postgres(query)).parse().unwrap();
        }
        let reader = self.reader().await;
        let number =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&reader).await.unwrap();
        reader.close().await;
        number
    }

    /// An activity's state.
    pub async fn state(&self, activity_id: &str) -> String {
        if let Some(server) = &self.server {
            return server
                .psql(&format!("SELECT state FROM report_activities WHERE activity_id = '{activity_id}'"));
        }
        let reader = self.reader().await;
        let state = sqlx::query_scalar("SELECT state FROM report_activities WHERE activity_id = ?1")
            .bind(activity_id)
            .fetch_one(&reader)
            .await
            .unwrap();
        reader.close().await;
        state
    }

    /// Waits until an activity is in this state.
    pub async fn reaches(&self, activity_id: &str, state: &str) {
        eventually(&format!("{activity_id} is {state}"), || async {
            (self.state(activity_id).await == state).then_some(())
        })
        .await;
    }

    /// `show` of an activity as JSON.
    pub fn show(&self, activity_id: &str) -> Value {
        let all: Value = serde_json::from_str(&self.ok(&["show", activity_id, "--format", "json"])).unwrap();
        all[0].clone()
    }
}

/// Whether this is the run of the suite on PostgreSQL: it is compiled twice, once for each database.
pub fn on_postgres() -> bool {
    env!("CARGO_CRATE_NAME") == "it_postgres"
}

/// A client for what the program serves.
/// Each request has a connection of its own: one that a server closes after a refusal is no other request's trouble.
pub fn http_client() -> reqwest::Client {
    // Another test of the same process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap()
}

/// `[[webhooks]]` for a receiver, with [`WEBHOOK_SECRET`].
pub fn webhook(name: &str, receiver: &Server) -> String {
    format!(
        "[[webhooks]]\nname = \"{name}\"\nurl = \"{}/hook\"\nsecret = \"{WEBHOOK_SECRET}\"\n",
        receiver.url()
    )
}
