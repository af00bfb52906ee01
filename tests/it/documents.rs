//! The documentation is true: its commands are run, its queries asked.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use sqlx::Row;

use crate::helpers::{Daemon, OTHER_VAT, Reply, Server, Setup, VAT, can, eventually, program};

pub fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// A command of a console block with what the block says that it prints.
#[derive(Debug, Default)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn commands(block: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut here_document = false;
    for line in block.lines() {
        if let Some(last) = shown.last_mut().filter(|last| last.command.ends_with('\\')) {
            last.command.push_str(&format!("\n{line}"));
            continue;
        }
        match (line.strip_prefix("$ "), here_document) {
            (Some(command), false) => {
                here_document = command.contains("<<");
                shown.push(Shown { command: command.to_owned(), output: Vec::new() });
            }
            (_, true) => {
                let last = shown.last_mut().unwrap();
                last.command.push_str(&format!("\n{line}"));
                here_document = line != "END";
            }
            (None, false) => {
                if let Some(last) = shown.last_mut().filter(|_| line.trim() != "…") {
                    last.output.push(line.to_owned());
                }
            }
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_of_the_readme_works_as_shown() {
    let folder = tempfile::TempDir::new().unwrap();
    // Others may be running at the documented ports.
    let (port, http_port) = (free_port(), free_port());
    let readme = document("README.md")
        .replace("8089", &port)
        .replace("8088", &http_port)
        .replace("curl -s ", "curl --noproxy '*' --fail -s ")
        .replace("pcsid-watch sandbox &", &format!("pcsid-watch sandbox --listen 127.0.0.1:{port} &"));
    let program_folder = std::path::Path::new(program().get_program()).parent().unwrap().to_owned();
    let path = format!("{}:{}", program_folder.display(), std::env::var("PATH").unwrap());
    let mut variables = vec![("PATH".to_owned(), path)];
    let mut running = Vec::new();
    let mut n_run = 0;
    for Shown { command, output } in blocks(&readme, "console").into_iter().flat_map(commands) {
        if command.starts_with("cargo ") || command.starts_with("export PATH") {
            continue;
        }
        n_run += 1;
        if let Some((name, value)) = command.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
            variables.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let mut bash = Command::new("bash");
        bash.current_dir(folder.path())
            .envs(variables.iter().cloned())
            .env("PCSID_WATCH__HTTP__LISTEN", format!("127.0.0.1:{http_port}"));
        if let Some(background) = command.strip_suffix('&') {
            bash.arg("-c").arg(format!("exec {background}"));
            running.push(Daemon::spawn(bash));
            continue;
        }
        bash.arg("-c").arg(&command).stdin(Stdio::null());
        // A reader takes seconds from one command to the next, in which the device fails.
        eventually(&format!("`{command}` prints what is shown"), || {
            let ran = bash.output().unwrap();
            let said = String::from_utf8(ran.stdout).unwrap();
            let is_shown =
                output.iter().all(|line| said.lines().any(|said| said.trim_end() == line.trim_end()));
            assert!(ran.status.success(), "`{command}`: {}", String::from_utf8_lossy(&ran.stderr));
            // What registers says something else the second time.
            assert!(is_shown || !command.contains(" add "), "`{command}` printed {said}");
            async move { is_shown.then_some(()) }
        })
        .await;
    }
    assert!(n_run >= 12, "only {n_run} commands were found");
}

#[test]
fn the_explanation_that_is_shown_is_what_is_printed() {
    let page = document("docs/explanations.md");
    let shown = commands(blocks(&page, "console")[0]).remove(0);
    let arguments = shown.command.strip_prefix("pcsid-watch ").unwrap().split(' ');
    let ran = program().args(arguments).env("COLUMNS", "100").output().unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(printed.trim_end(), shown.output.join("\n"));
}

#[test]
fn the_number_of_rules_is_the_one_that_is_told() {
    let n_rules = document("src/domain/catalogue/rules.toml").matches("\n[[rules]]\n").count();
    let told = format!("The program knows {n_rules} codes");
    assert!(document("docs/explanations.md").contains(&told), "{told}");
}

#[test]
fn the_picture_of_the_demo_is_what_it_prints() {
    // Ports, times, counts and, with them, widths differ; nothing else does.
    let shape = |line: &str| -> String {
        let plain = line.trim_end().chars().map(|ch| if ch.is_ascii_digit() { '0' } else { ch });
        let mut shape = String::new();
        for ch in plain {
            if !("0 ─".contains(ch) && shape.ends_with(ch)) {
                shape.push(ch);
            }
        }
        shape
    };
    let ran = program().arg("demo").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let printed = String::from_utf8(ran.stdout).unwrap();
    let shapes: BTreeSet<String> = printed.lines().map(shape).collect();
    let readme = document("README.md");
    let picture =
        blocks(&readme, "text").into_iter().find(|block| block.contains("A sandbox of ClearTax")).unwrap();
    let shown: Vec<&str> = picture.lines().filter(|line| line.trim() != "…").collect();
    assert!(shown.len() > 15);
    for line in shown {
        assert!(shapes.contains(&shape(line)), "the README shows\n{line}\nwhich is not in\n{printed}");
    }
}

fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_the_http_page_are_answered() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "failed-till-7" => Reply::in_progress(),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    let page = document("docs/http.md");
    let mut n_run = 0;
    for Shown { command, .. } in blocks(&page, "console").into_iter().flat_map(commands) {
        n_run += 1;
        let command = command
            .replace("http://127.0.0.1:8088", &daemon.url())
            .replace("curl -s", "curl --noproxy '*' --fail-with-body -s");
        let ran = Command::new("bash").arg("-c").arg(&command).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && said.starts_with('{'), "`{command}`: {said}");
    }
    assert_eq!(n_run, 9);
    daemon.stop().await;
}

#[test]
fn the_http_page_names_every_metric_and_every_problem() {
    let page = document("docs/http.md");
    let monitor = document("src/monitor/counters.rs") + &document("src/monitor/exposition.rs");
    let (monitor, _) = monitor.split_once("#[cfg(test)]").unwrap();
    let registered = monitor.split("register(").skip(1).chain(monitor.split("gauge(").skip(1));
    let names: Vec<&str> = registered.filter_map(|rest| rest.trim_start().split('"').nth(1)).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    {
        assert!(page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}_total`")), "{name}");
    }
    let problem = document("src/api/problem.rs");
    let kinds: Vec<&str> = problem
        .split("Self::new(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix("StatusCode::"))
        .filter_map(|rest| rest.split('"').nth(1))
        .collect();
    assert!(kinds.len() > 12, "{kinds:?}");
    for kind in kinds {
        assert!(page.contains(&format!("`{kind}`")), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_reports_can_be_asked() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        "open" => Reply::in_progress(),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "good", "bad", "open", "--device-id", "till 1"]);
    setup.ok(&["add", "--vat", OTHER_VAT, "bad", "--device-id", "صندوق"]);
    let daemon = setup.start().await;
    eventually("all but one have concluded", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE concluded_at IS NOT NULL").await == 3)
            .then_some(())
    })
    .await;
    daemon.stop().await;
    let reports = document("docs/reports.md");
    let queries = blocks(&reports, "sql");
    assert!(queries.len() >= 12, "{}", queries.len());
    let reader = setup.reader().await;
    let mut n_with_rows = 0;
    for query in queries {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&reader).await;
        let rows = rows.unwrap_or_else(|err| panic!("{err}: {query}"));
        n_with_rows += usize::from(rows.first().is_some_and(|row| !row.is_empty()));
    }
    assert!(n_with_rows >= 8, "only {n_with_rows} have an answer for a database with something in it");
}

/// The names of all members, with the way to them.
fn members(value: &serde_json::Value, way: &str, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, member) in object {
                let way = format!("{way}.{name}");
                members(member, &way, found);
                found.insert(way);
            }
        }
        serde_json::Value::Array(array) => array.iter().for_each(|member| members(member, way, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_events_have_the_members_of_events() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "good", "bad"]);
    let daemon = setup.start().await;
    eventually("both events are written", || async { (daemon.events().len() == 2).then_some(()) }).await;
    let page = document("docs/webhooks.md");
    let examples: Vec<serde_json::Value> =
        blocks(&page, "json").into_iter().map(|block| serde_json::from_str(block).unwrap()).collect();
    for event in daemon.events() {
        let example = examples.iter().find(|example| example["type"] == event["type"]).unwrap();
        let [shown, sent] = [example, &event].map(|value| {
            let mut found = BTreeSet::new();
            members(value, "", &mut found);
            found
        });
        assert_eq!(shown, sent);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_s_commands_of_the_operations_page_work_as_shown() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let page = document("docs/operations.md");
    let mut n_run = 0;
    for Shown { command, .. } in blocks(&page, "console").into_iter().flat_map(commands) {
        // The others are about a machine with systemd: deploy/check/package runs all of them there.
        let Some(arguments) = command.strip_prefix("runuser -u pcsid-watch -- pcsid-watch ") else {
            continue;
        };
        n_run += 1;
        let arguments = arguments.replace("/var/backups/pcsid-watch", &setup.folder().display().to_string());
        let arguments = arguments.split(" > ").next().unwrap().split(' ').collect::<Vec<_>>();
        setup.ok(&arguments);
    }
    assert!(n_run >= 12, "only {n_run} commands were found");
    daemon.stop().await;
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_exist_and_every_alert_is_tested_and_explained() {
    let page = document("docs/http.md");
    let exists = |name: &str| {
        let plain =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        page.contains(&format!("`{name}`")) || page.contains(&format!("`{plain}`"))
    };
    let alerts = document("deploy/monitoring/alerts.yml");
    let mut n_named = 0;
    for text in [
        &alerts,
        &document("deploy/monitoring/dashboard.json"),
        &document("deploy/monitoring/alerts.test.yml"),
    ] {
        for rest in text.split("pcsid_watch_").skip(1) {
            let name: String = rest.chars().take_while(|ch| ch.is_ascii_lowercase() || *ch == '_').collect();
            assert!(exists(&name), "{name}");
            n_named += 1;
        }
    }
    assert!(n_named > 60, "{n_named}");
    let (tests, operations) = (document("deploy/monitoring/alerts.test.yml"), document("docs/operations.md"));
    let names: Vec<&str> =
        alerts.split("- alert: ").skip(1).map(|rest| rest.lines().next().unwrap_or_default()).collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
        assert!(operations.contains(&format!("`{name}`")), "{name} is not explained");
        let anchor = name.to_ascii_lowercase();
        assert!(
            alerts.contains(&format!("runbook_url: docs/operations.md#{anchor}\n")),
            "{name} has no runbook"
        );
        assert!(operations.contains(&format!("<a id=\"{anchor}\">")), "{name}'s runbook leads nowhere");
    }
}

#[test]
fn the_address_of_the_runbooks_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["update", "alerts.yml"] {
        std::fs::copy(format!("deploy/monitoring/{file}"), folder.path().join(file)).unwrap();
    }
    for address in ["https://git.example.com/main/", "https://wiki.example.com/x"] {
        let done = std::process::Command::new(folder.path().join("update")).arg(address).status().unwrap();
        assert!(done.success());
        for file in ["alerts.yml", "prometheus-rule.yaml"] {
            let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
            let wanted = format!("runbook_url: {}/docs/operations.md#", address.trim_end_matches('/'));
            assert_eq!(text.matches("runbook_url: ").count(), text.matches(&wanted).count(), "{file}");
        }
    }
}

/// A PostgreSQL server of the test's own, where one is installed.
struct Postgres {
    folder: tempfile::TempDir,
    server: std::process::Child,
}

impl Postgres {
    async fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).max()?;
        let folder = tempfile::TempDir::new().unwrap();
        // It refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        let run = |program: &str| {
            if !is_root {
                return Command::new(programs.join(program));
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--pdeathsig", "KILL"]);
            command.arg(programs.join(program));
            command
        };
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
        }
        let data = folder.path().join("data");
        let made =
            run("initdb").args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(&data).output().ok()?;
        if !made.status.success() {
            return None;
        }
        let mut server = run("postgres");
        server
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path());
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let postgres = Self { folder, server };
        eventually("PostgreSQL answers", || async {
            let mut psql = Command::new("psql");
            let ran = psql.envs(postgres.variables()).args(["-c", "SELECT 1"]).output().unwrap();
            ran.status.success().then_some(())
        })
        .await;
        Some(postgres)
    }

    fn variables(&self) -> [(&str, String); 3] {
        let folder = self.folder.path().display().to_string();
        [("PGHOST", folder), ("PGUSER", "postgres".to_owned()), ("PGDATABASE", "postgres".to_owned())]
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipes_do_what_they_say() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "[log]\nformat = \"json\"\n");
    setup.ok(&["add", "--vat", VAT, "good", "--device-id", "صندوق ١"]);
    setup.ok(&["add", "--vat", OTHER_VAT, "bad", "--device-id", "till 1"]);
    let daemon = setup.start().await;
    setup.reaches("good", "SUCCEEDED").await;
    setup.reaches("bad", "FAILED").await;
    eventually("both events are written", || async { (daemon.events().len() == 2).then_some(()) }).await;
    std::fs::write(setup.path("events.jsonl"), daemon.stdout()).unwrap();
    std::fs::write(setup.path("pcsid-watch.log"), daemon.stderr()).unwrap();
    if setup.database() != setup.path("pcsid-watch.db") {
        std::os::unix::fs::symlink(setup.database(), setup.path("pcsid-watch.db")).unwrap();
    }
    let postgres = Postgres::start().await;
    let has = |name: &str| match name {
        "psql" => postgres.is_some(),
        name => Command::new(name).arg("--version").output().is_ok(),
    };
    let recipes = document("docs/recipes.md").replace("http://127.0.0.1:8088", &daemon.url());
    let programs = std::path::Path::new(program().get_program()).parent().unwrap().to_owned();
    let mut n_passed_over = 0;
    let shown = blocks(&recipes, "console").into_iter().flat_map(commands).collect::<Vec<_>>();
    for Shown { command, .. } in &shown {
        let mut needed = ["jq", "sqlite3", "psql", "curl"].into_iter().filter(|name| command.contains(name));
        if !needed.all(|name| can(has(name), &format!("run a recipe with {name}"))) {
            n_passed_over += 1;
            continue;
        }
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &command.replace("curl -s", "curl --noproxy '*' --fail -s")])
            .current_dir(setup.folder())
            .env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
            .env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml"));
        if let Some(postgres) = &postgres {
            bash.envs(postgres.variables());
        }
        let ran = bash.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "`{command}`: {}", String::from_utf8_lossy(&ran.stderr));
        // What goes nowhere else tells of the failed device or of what failed.
        let is_written = command.contains(" > ") || command.contains("psql -q") || command.contains(" mv ");
        let tells = [OTHER_VAT, "bad", "failed"].into_iter().any(|word| said.contains(word));
        assert!(is_written || tells, "`{command}`: {said}");
    }
    assert!(shown.len() >= 12 && n_passed_over < shown.len(), "{} of {}", n_passed_over, shown.len());
    let read = |name: &str| std::fs::read_to_string(setup.path(name)).unwrap();
    assert!(
        read("devices-for-excel.csv").starts_with("\u{feff}vat,device_id"),
        "{}",
        read("devices-for-excel.csv")
    );
    assert!(
        read("devices.csv").contains("صندوق ١")
            && read("rules.csv").trim_start_matches('\u{feff}').starts_with("rule,")
    );
    let reader = setup.reader().await;
    for query in blocks(&recipes, "sql") {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&reader).await.unwrap();
        assert!(!rows.is_empty(), "{query}");
    }
    reader.close().await;
    daemon.stop().await;
}
