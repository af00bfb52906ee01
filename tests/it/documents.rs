//! The documentation is true: its commands are run, its queries asked.

use std::process::{Command, Stdio};

use sqlx::Row;

use crate::helpers::{Daemon, OTHER_VAT, Reply, Server, Setup, VAT, eventually, program};

fn document(name: &str) -> String {
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
    // Another sandbox may be running at the documented port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let readme = document("README.md")
        .replace("8089", &port)
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
            .env("PCSID_WATCH__HTTP__LISTEN", "127.0.0.1:0");
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
