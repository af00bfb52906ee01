//! `demo`: the whole program on one terminal, without any account.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::reader::Reader;
use super::run::on_signals;
use super::table::draw;
use super::{CliError, CliResult, LanguageArg};
use crate::clock;
use crate::daemon;
use crate::domain::activity::{ActivityId, Registration};
use crate::domain::catalogue::Language;
use crate::sandbox::{self, Sandbox};
use crate::settings::{LogFormat, LogSettings, Settings};
use crate::shutdown::{Hangup, Shutdown};
use crate::store::{ActivityFilter, ActivityRef, Cell, ReportView, Store, Table};
use crate::telemetry;

/// How long the demo may take before it fails.
const PATIENCE: Duration = Duration::from_secs(55);

/// How often the table is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// Two VATs and a dozen devices that end in every possible way; the ids choose the sandbox's scripts.
const ACTIVITIES: [(&str, &str, &str); 13] = [
    ("310122393500003", "success-after-3-polls", "till 1, Riyadh"),
    ("310122393500003", "success-after-2s", "till 2, Riyadh"),
    ("310122393500003", "standard-only-after-1s", "back office, Riyadh"),
    ("310122393500003", "failed-after-2-polls", "till 3, Riyadh"),
    ("310122393500003", "no-pcsid-after-1s", "till 4, Riyadh"),
    ("310122393500003", "rejected", "till 5, Riyadh"),
    ("310122393500003", "never", "till 6, Riyadh"),
    ("399999999900003", "failed-200", "جدة، صندوق ١"),
    ("399999999900003", "unavailable", "جدة، صندوق ٢"),
    ("399999999900003", "dropped", "جدة، صندوق ٣"),
    ("399999999900003", "gateway", "جدة، صندوق ٤"),
    ("399999999900003", "garbage", "جدة، صندوق ٥"),
    ("399999999900003", "never-cancelled", "جدة، صندوق ٦"),
];

/// The activity that an operator cancels while the demo runs.
const CANCELLED: &str = "never-cancelled";

pub(super) async fn demo(lang: Option<LanguageArg>) -> CliResult {
    let _log = telemetry::init(&LogSettings { format: LogFormat::Text, level: "error".to_owned() });
    let signals = on_signals(Hangup::Stop)?;
    let folder = Scratch::new()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|err| {
        CliError::failed(format!("no port of 127.0.0.1 can be listened on, and the demo needs one: {err}"))
    })?;
    let upstream = format!("http://{}", listener.local_addr()?);
    let mut settings = Settings::from_sources(None, &configuration(&folder, &upstream), [])?;
    settings.language = LanguageArg::or(lang, settings.language);
    let reader = Reader::new(&settings);

    let shutdown = Shutdown::default();
    let stop = shutdown.stop.clone();
    let sandbox =
        tokio::spawn(sandbox::serve(listener, Sandbox::new(), async move { stop.cancelled().await }));
    writeln!(std::io::stdout(), "{}\n", reader.words.demo_begin(ACTIVITIES.len() as u64, &upstream))?;

    let store = Store::open(&settings.database, settings.routes()).await?;
    register(&store, &settings).await?;
    let (daemon_settings, daemon_shutdown) = (settings.clone(), shutdown.clone());
    let mut daemon = tokio::spawn(async move { daemon::run(&daemon_settings, daemon_shutdown).await });

    let watched = tokio::select! {
        watched = watch(&store, &reader) => watched,
        () = signals.stop.cancelled() => Err(CliError::failed("the demo was interrupted")),
        ended = &mut daemon => Err(match ended {
            Ok(Err(err)) => err.into(),
            _ => CliError::failed("the daemon of the demo ended early"),
        }),
    };
    shutdown.stop.cancel();
    if !daemon.is_finished() {
        // The demo's own result counts; how the daemon ended does not matter.
        let _ = daemon.await;
    }
    let _ = sandbox.await;
    watched?;
    let printed = print_report(&store, &reader).await;
    store.close().await;
    printed
}

/// A temporary folder, removed when the demo ends.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, CliError> {
        let folder = std::env::temp_dir().join(format!("pcsid-watch-demo-{}", uuid::Uuid::now_v7()));
        match std::fs::create_dir(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(err) => Err(CliError::failed(format!(
                "`{}` can't be created: {err}; name another folder with TMPDIR",
                folder.display()
            ))),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system clears its temporary folder anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The usual configuration, but faster, and without events on standard output.
fn configuration(folder: &Scratch, upstream: &str) -> String {
    format!(
        r#"
        [database]
        url = "sqlite://{}/demo.db"
        [upstream]
        base_url = "{upstream}"
        [[credentials]]
        name = "demo"
        token = "any-token-will-do"
        requests_per_minute = 0
        [schedule]
        initial_interval = "300ms"
        max_interval = "1s"
        stalled_after = "4s"
        give_up_after = "8s"
        [events]
        log = false
        [http]
        listen = "127.0.0.1:0"
        "#,
        folder.0.display()
    )
}

async fn register(store: &Store, settings: &Settings) -> CliResult {
    let registrations = ACTIVITIES
        .iter()
        .map(|(vat, id, device)| Registration::parse(vat, id, Some(device), None))
        .collect::<Result<Vec<_>, _>>()?;
    let initial_interval = settings.policy.backoff.initial_interval();
    let base_url = &settings.upstream.base_url;
    store
        .intake()
        .register(&registrations, base_url, &settings.serving(), initial_interval, clock::wall_now())
        .await?;
    Ok(())
}

/// Shows the activities until all have concluded: a table that is redrawn on a terminal, a line for each
/// change elsewhere.
async fn watch(store: &Store, reader: &Reader) -> CliResult {
    let is_terminal = std::io::stdout().is_terminal();
    let began_at = Instant::now();
    let mut n_drawn_lines = 0;
    let mut seen: Vec<String> = Vec::new();
    let mut is_cancelled = false;
    loop {
        let table = store.reports().list_activities(&ActivityFilter::default()).await?.table;
        let states = column(&table, "state");
        if is_terminal {
            n_drawn_lines = redraw(table, n_drawn_lines, reader)?;
        } else {
            print_changes(&table, &mut seen, reader)?;
        }
        if states.iter().all(|state| !matches!(state.as_str(), "PENDING" | "IN_PROGRESS")) {
            return Ok(());
        }
        if began_at.elapsed() > PATIENCE {
            return Err(CliError::failed("the demo did not end within its time; is the machine very busy?"));
        }
        if !is_cancelled && began_at.elapsed() > Duration::from_secs(3) {
            let activity = ActivityRef { activity_id: ActivityId::parse(CANCELLED)?, vat: None };
            store.intake().cancel(&activity, clock::wall_now()).await?;
            is_cancelled = true;
        }
        tokio::time::sleep(REDRAW_EVERY).await;
    }
}

const SHOWN: [&str; 5] = ["activity_id", "vat", "state", "poll_count", "last_error"];

fn redraw(mut table: Table, n_drawn_lines: usize, reader: &Reader) -> std::io::Result<usize> {
    let mut out = std::io::stdout().lock();
    // One line for each row, so that the table fits the screen on which it is redrawn.
    let last_error = table.position("last_error");
    for cell in table.rows.iter_mut().filter_map(|row| row.get_mut(last_error?)) {
        if let Cell::Text(text) = cell {
            text.truncate(text.find(':').unwrap_or(text.len()));
        }
    }
    let drawn = draw(&table, &SHOWN, reader);
    if n_drawn_lines > 0 {
        // Moves up to the first line of the former table and clears what follows.
        write!(out, "\u{1b}[{n_drawn_lines}A\u{1b}[J")?;
    }
    writeln!(out, "{drawn}")?;
    out.flush()?;
    Ok(drawn.lines().count())
}

fn print_changes(table: &Table, seen: &mut Vec<String>, reader: &Reader) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let (ids, vats, states) = (column(table, "activity_id"), column(table, "vat"), column(table, "state"));
    for ((id, vat), state) in ids.iter().zip(&vats).zip(&states).rev() {
        let line = format!("{:<12} {id} · {}", reader.state(state), reader.words.vat_named(vat));
        if !seen.contains(&line) {
            writeln!(out, "{line}")?;
            seen.push(line);
        }
    }
    out.flush()
}

fn column(table: &Table, name: &str) -> Vec<String> {
    let at = table.position(name);
    let cell = |row: &Vec<Cell>| match at.and_then(|at| row.get(at)) {
        Some(Cell::Text(text)) => text.clone(),
        _ => String::new(),
    };
    table.rows.iter().map(cell).collect()
}

async fn print_report(store: &Store, reader: &Reader) -> CliResult {
    let words = reader.words;
    let mut out = std::io::stdout().lock();
    for (title, report) in [
        (words.demo_summary(), ReportView::Summary),
        (words.demo_checks(), ReportView::Checks),
        (words.rules_title(), ReportView::Rules),
    ] {
        let mut table = store.reports().report(report, None).await?;
        if report == ReportView::Checks {
            table = matrix(&table);
        }
        let shown: &[&str] = match (report, words.language()) {
            (ReportView::Rules, Language::English) => {
                &["rule", "check_name", "activities", "owner", "meaning", "remedy"]
            }
            (ReportView::Rules, Language::Arabic) => {
                &["rule", "check_name", "activities", "owner", "meaning_ar", "remedy_ar"]
            }
            _ => &[],
        };
        writeln!(out, "\n{title}\n{}", draw(&table, shown, reader))?;
    }
    writeln!(out, "\n{}", words.demo_end("config/pcsid-watch.toml", "pcsid-watch run"))?;
    Ok(out.flush()?)
}

/// The report on checks with a row for each check and a column for each VAT.
fn matrix(report: &Table) -> Table {
    let vats = column(report, "vat");
    let mut matrix = Table::new(&["check_name"], Vec::new());
    for (vat, row) in vats.iter().zip(&report.rows) {
        let [_, check, succeeded, failed, not_reported] = row.as_slice() else { continue };
        if !matrix.columns.contains(vat) {
            matrix.columns.push(vat.clone());
        }
        let count = |cell: &Cell| match cell {
            Cell::Integer(count) => *count,
            _ => 0,
        };
        let counts = format!("{} ✔  {} ✘  {} –", count(succeeded), count(failed), count(not_reported));
        match matrix.rows.iter_mut().find(|row| row.first() == Some(check)) {
            Some(row) => row.push(Cell::Text(counts)),
            None => matrix.rows.push(vec![check.clone(), Cell::Text(counts)]),
        }
    }
    matrix
}
