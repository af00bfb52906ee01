//! A process that polls: the daemon's release binary with a database of its own, or the bare loop that it is held
//! against.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pcsid_watch::clock;
use pcsid_watch::store::{Address, Store};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use crate::cluster::ServerDatabase;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Activities that one statement writes.
const CHUNK: u64 = 100_000;

fn to_webhook(url: &str) -> String {
    format!(
        "[events]\nlog = false\n[[webhooks]]\nname = \"erp\"\nurl = \"{url}/hook\"\nsecret = \"{SECRET}\"\n"
    )
}

/// A folder with a configuration and a database.
pub struct Setup {
    folder: tempfile::TempDir,
    /// The database, where it is not a file in the folder.
    server: Option<ServerDatabase>,
}

impl Setup {
    /// For this upstream, without a quota, and with `schedule` in its section.
    pub async fn new(url: &str, schedule: &str) -> Self {
        Self::with_quota(url, schedule, 0).await
    }

    /// The same with so many requests a minute.
    pub async fn with_quota(url: &str, schedule: &str, per_minute: u32) -> Self {
        Self::on(url, schedule, per_minute, &to_webhook(url), None).await
    }

    /// As [`Setup::new`], on a server.
    pub async fn on_server(url: &str, schedule: &str, server: ServerDatabase) -> Self {
        Self::on(url, schedule, 0, &to_webhook(url), Some(server)).await
    }

    /// Without a quota, and with the log instead of a webhook.
    pub async fn with_log(url: &str, schedule: &str) -> Self {
        Self::on(url, schedule, 0, "[events]\nlog = true\n", None).await
    }

    async fn on(
        url: &str,
        schedule: &str,
        per_minute: u32,
        sinks: &str,
        server: Option<ServerDatabase>,
    ) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let database = match &server {
            Some(server) => server.url.clone(),
            None => format!("sqlite://{}/bench.db", folder.path().display()),
        };
        let text = format!(
            "[database]\nurl = \"{database}\"\n[upstream]\nbase_url = \"{url}\"\n{sinks}\
             [[credentials]]\nname = \"bench\"\ntoken = \"a-token-of-no-use\"\nrequests_per_minute = {per_minute}\n\
             [http]\nlisten = \"\"\n[log]\nlevel = \"error\"\n[schedule]\n{schedule}\n"
        );
        std::fs::write(folder.path().join("bench.toml"), text).unwrap();
        Store::open(&Address::parse(&database, None, None).unwrap(), Vec::new()).await.unwrap().close().await;
        Self { folder, server }
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.folder.path().join("bench.db")).connect().await.unwrap()
    }

    /// Adds activities that are due in so long, spread evenly over VATs: new ones, or such as upstream has said of what
    /// it says again. Written beside the program, which adds ten thousand at a time: this is about millions.
    pub async fn fill(&self, n_activities: u64, n_vats: u64, are_new: bool, due_in: Duration) {
        let now = clock::wall_now().as_millis();
        let due_at = now + i64::try_from(due_in.as_millis()).unwrap();
        let vat = match self.server {
            Some(_) => "'31' || lpad(n::text, 12, '0') || '3'",
            None => "printf('31%012d3', n)",
        };
        let mut statements = vec![format!(
            "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {n_vats} - 1)
             INSERT INTO vats (vat, credential, next_due_at) SELECT {vat}, 'bench', {due_at} FROM n"
        )];
        for from in (0..n_activities).step_by(usize::try_from(CHUNK).unwrap()) {
            let until = n_activities.min(from + CHUNK);
            statements.push(format!(
                "WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {until} - 1)
                 INSERT INTO activities (vat_id, activity_id, state, registered_at, watched_from)
                 SELECT n % {n_vats} + 1, 'activity-' || n, 'PENDING', {now}, {now} FROM n"
            ));
        }
        if !are_new {
            statements.push(
                "UPDATE activities SET state = 'IN_PROGRESS', upstream_status = 'IN_PROGRESS', total_count = 6,
                 success_count = 0, failure_count = 0, upstream_created_at = 1779783286512,
                 upstream_updated_at = 1779783286512"
                    .to_owned(),
            );
        }
        statements.push(format!(
            "INSERT INTO schedules (id, vat_id, next_poll_at, interval_ms) SELECT id, vat_id, {due_at}, 1 FROM activities"
        ));
        if let Some(server) = &self.server {
            statements.push("VACUUM ANALYZE".to_owned());
            statements.push("CHECKPOINT".to_owned());
            statements.iter().for_each(|statement| drop(server.psql(statement)));
            return;
        }
        statements.insert(0, "PRAGMA synchronous = OFF".to_owned());
        // Triggers count on a server; on SQLite the program counts what it writes by itself.
        statements.push("DELETE FROM tally_states".to_owned());
        statements.push(
            "INSERT INTO tally_states SELECT vat_id, state, count(*) FROM activities GROUP BY 1, 2"
                .to_owned(),
        );
        statements.push("PRAGMA wal_checkpoint(TRUNCATE)".to_owned());
        let mut connection = self.connect().await;
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    /// Adds activities by the command.
    pub fn add(&self, ids: &[String]) {
        let output = self.command().args(["add", "--vat", "310122393500003"]).args(ids).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Polls that the database knows of.
    pub async fn n_recorded(&self) -> u64 {
        let query = "SELECT sum(poll_count) FROM schedules";
        if let Some(server) = &self.server {
            return server.psql(query).parse().unwrap();
        }
        let mut connection = self.connect().await;
        let row = sqlx::query(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        u64::try_from(row.get::<i64, _>(0)).unwrap()
    }

    /// Deliveries that were made.
    pub async fn n_delivered(&self) -> u64 {
        let mut connection = self.connect().await;
        let row = sqlx::query("SELECT coalesce(sum(n), 0) FROM tally_deliveries WHERE status = 'delivered'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        u64::try_from(row.get::<i64, _>(0)).unwrap()
    }

    /// The daemon on it.
    pub fn daemon(&self) -> Process {
        Process::spawn(self.command().arg("run"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcsid-watch"));
        command.env("PCSID_WATCH_CONFIG", self.folder.path().join("bench.toml"));
        command
    }
}

/// A running process; ended when dropped.
pub struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// This program again, as [`bare_loop`] against `url`.
    pub fn bare(url: &str) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()).args(["bare-loop", url]))
    }

    /// CPU time so far, of the threads that it has now. The scheduler counts it in nanoseconds; `stat` would have it by
    /// the ticks of a clock, which miss what runs shortly.
    pub fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let ns = threads.map(|thread| {
            let counted =
                std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            counted.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(ns.sum())
    }

    /// Resident memory in MiB: `VmRSS` now, `VmHWM` at its peak.
    pub fn memory_mib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Stops it as a service manager does, and waits for its end.
    pub fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same client library and as many requests at a time as the daemon's default, answers parsed, nothing recorded.
pub async fn bare_loop(url: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for slot in 0..64 {
        let client = client.clone();
        let url = format!("{url}/onboarding/activity-{slot}/pcsid-status");
        tokio::spawn(async move {
            loop {
                let request =
                    client.get(&url).header("x-cleartax-auth-token", "t").header("vat", "310122393500003");
                let body = request.send().await.unwrap().bytes().await.unwrap();
                let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
            }
        });
    }
    std::future::pending().await
}
