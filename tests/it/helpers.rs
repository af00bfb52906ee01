//! What every test of the whole program needs: its own folder and database, a server that answers as told, and
//! the real binary.

use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cluster::{Cluster, ServerDatabase, in_words_of_postgres};

pub const VAT: &str = "310122393500003";
pub const OTHER_VAT: &str = "399999999900003";
pub const TOKEN: &str = "s3cr3t-cleartax-token-for-tests";
pub const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How long a condition may take to come true. Far beyond what it takes, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Seen {
    /// The activity id in `/onboarding/{id}/pcsid-status`.
    pub fn activity_id(&self) -> &str {
        self.path.split("/onboarding/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A proper answer.
    Http { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// A proper answer, later.
    After(Duration, Box<Reply>),
    /// A proper answer, once this is true.
    Once(tokio::sync::watch::Receiver<bool>, Box<Reply>),
    /// These bytes again and again, with a pause between them, until the other side gives up.
    Drip { first: Vec<u8>, again: Vec<u8>, every: Duration },
    /// The connection is closed at once.
    Close,
    /// Nothing, ever.
    Silence,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Reply::Http { status, headers, body: body.into() }
    }

    pub fn with_header(self, name: &str, value: &str) -> Self {
        match self {
            Reply::Http { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Reply::Http { status, headers, body }
            }
            other => other,
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Reply::After(delay, Box::new(self))
    }

    pub fn once(self, released: &tokio::sync::watch::Receiver<bool>) -> Self {
        Reply::Once(released.clone(), Box::new(self))
    }

    pub fn in_progress() -> Self {
        Self::new(
            200,
            r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"IN_PROGRESS","CreatedAt":"2026-05-26T08:14:46.512Z",
                "UpdatedAt":"2026-05-26T08:14:46.512Z","CompletedAt":null,"RequestMetaInfo":{"TotalCount":6,
                "SuccessCount":0,"FailureCount":0},"ResponseInfo":{"ResponseMetaData":null},"ErrorList":[]}"#,
        )
    }

    pub fn succeeded() -> Self {
        Self::new(200, include_str!("../fixtures/succeeded.json"))
    }

    pub fn failed() -> Self {
        Self::new(500, include_str!("../fixtures/failed.json"))
    }

    pub fn refused() -> Self {
        Self::new(
            400,
            r#"{"ErrorList":[{"ErrorCode":"6004","ErrorMessage":"no such activity","ErrorSource":"CLEARTAX"}]}"#,
        )
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A server on a real socket that answers as told, upstream's or a webhook receiver's, and remembers all
/// requests.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Mutex<Handler>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), handler).await
    }

    pub async fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = eventually("the port is free", || async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).ok()?;
            socket.listen(1_024).ok()
        })
        .await;
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Arc::new(handler)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen), Arc::clone(&handler)));
        Self { address, seen, handler, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An upstream that succeeds, fails or refuses by how an id begins (`good`, `bad`, `odd`), up to a hyphen. All others are
    /// in progress.
    pub async fn by_id() -> Self {
        Self::start(|seen| match seen.activity_id().split('-').next().unwrap_or_default() {
            "good" => Reply::succeeded(),
            "bad" => Reply::failed(),
            "odd" => Reply::refused(),
            _ => Reply::in_progress(),
        })
        .await
    }

    /// Answers differently from now on.
    pub fn answer(&self, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Arc::new(handler);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn n_seen_of(&self, activity_id: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.activity_id() == activity_id).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, handler: Arc<Mutex<Handler>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream, Arc::clone(&seen), Arc::clone(&handler)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, handler: Arc<Mutex<Handler>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request.clone());
        let handler = Arc::clone(&handler.lock().unwrap());
        let mut reply = handler(&request);
        loop {
            reply = match reply {
                Reply::After(delay, then) => {
                    tokio::time::sleep(delay).await;
                    *then
                }
                Reply::Once(mut released, then) => {
                    // An end of the test releases it as well.
                    let _ = released.wait_for(|is_released| *is_released).await;
                    *then
                }
                other => {
                    reply = other;
                    break;
                }
            }
        }
        match reply {
            Reply::Http { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let bytes = [head.as_bytes(), b"\r\n", &body].concat();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Drip { first, again, every } => {
                let mut next = first;
                while stream.write_all(&next).await.is_ok() {
                    next.clone_from(&again);
                    tokio::time::sleep(every).await;
                }
                return;
            }
            Reply::Close | Reply::After(..) | Reply::Once(..) => return,
            Reply::Silence => {
                // Until the other side gives up.
                let _ = stream.read(&mut [0]).await;
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ');
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        method: request_line.next()?.to_owned(),
        path: request_line.next()?.to_owned(),
        headers,
        body: bytes[head_end..head_end + length].to_vec(),
        at: Instant::now(),
    })
}

/// Whether this machine can do what a test is about to try. Where it can't, the test is passed over, which is counted in
/// the file that `NOT_TRIED_FILE` names, and is a failure where `NOT_TRIED` says `fails`: nobody must take a test for
/// passed that was never tried.
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
    can(found.is_some(), "give a process another clock, for want of libfaketime");
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

/// The program without any configuration of the machine's.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcsid-watch"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PCSID_WATCH") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running daemon; killed with -9 when dropped.
pub struct Daemon {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// They end with the two streams.
    collecting: Vec<JoinHandle<()>>,
}

impl Daemon {
    pub fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, of_stdout) = collect(child.stdout.take().unwrap());
        let (stderr, of_stderr) = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr, collecting: vec![of_stdout, of_stderr] }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The events on standard output.
    pub fn events(&self) -> Vec<Value> {
        self.stdout()
            .lines()
            .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
            .collect()
    }

    /// Where the status page and the API are, as the daemon says.
    pub fn url(&self) -> String {
        self.listens("the status page and the API are on ")
    }

    /// Where it says that probes and metrics alone are.
    pub fn probe_url(&self) -> String {
        self.listens("probes and metrics are on ").trim_end_matches("/metrics").to_owned()
    }

    fn listens(&self, what: &str) -> String {
        let log = self.stderr();
        let rest = log.split(what).nth(1).unwrap_or_else(|| panic!("it does not listen: {log}"));
        rest.split([' ', '\n', '"']).next().unwrap().trim_end_matches('/').to_owned()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Kills it, and waits until it is gone and all that it printed has been collected.
    pub fn kill_9(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.collect_the_rest();
        status
    }

    fn collect_the_rest(&mut self) {
        self.collecting.drain(..).for_each(|collecting| collecting.join().unwrap());
    }

    /// How it ended, if it has. All that it printed has been collected then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap()?;
        self.collect_the_rest();
        Some(status)
    }

    /// Waits for its end and answers with the exit code.
    pub async fn exit_code(&mut self) -> i32 {
        let daemon = Mutex::new(self);
        let status = eventually("the daemon ends", || async { daemon.lock().unwrap().ended() }).await;
        status.code().unwrap_or(-1)
    }

    /// Stops it as a service manager does; it must end well.
    pub async fn stop(mut self) -> String {
        self.signal("-TERM");
        assert_eq!(self.exit_code().await, 0, "{}", self.stderr());
        self.stderr()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl std::io::Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    let collecting = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = collected.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    (text, collecting)
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
