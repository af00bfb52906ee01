//! How long reports take on a database of a million activities: every query of docs/reports.md, the commands' reports,
//! the first and a later slice of each list, and what the status page reads.
//!
//! `cargo bench --bench reports [-- ACTIVITIES]`. It prints the median and the worst of seven runs of each, in
//! milliseconds, and asserts nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a bench a panic is the verdict")]

use std::future::Future;
use std::time::{Duration, Instant};

use pcsid_watch::clock;
use pcsid_watch::domain::activity::State;
use pcsid_watch::domain::catalogue::Owner;
use pcsid_watch::domain::routing::DeliveryStatus;
use pcsid_watch::store::{
    ActivityFilter, ActivityOrder, Address, DeliveryFilter, EventFilter, ReportView, Store, Total,
};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

const RUNS: usize = 7;

/// Activities that one statement writes.
const CHUNK: u64 = 50_000;

/// VATs; a few hundred activities a day in all, a couple of thousand each.
const VATS: u64 = 500;

fn main() {
    let n_activities =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(n_activities));
}

async fn run(n_activities: u64) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("bench.db");
    let store = Store::open(&Address::Sqlite(path.clone()), Vec::new()).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let began_at = Instant::now();
    fill(&pool, n_activities).await;
    let size = std::fs::metadata(&path).unwrap().len() / (1 << 20);
    println!(
        "{n_activities} activities, {VATS} VATs, {size} MiB, filled in {:.0} s\n",
        began_at.elapsed().as_secs_f64()
    );

    println!("{:<72} {:>9} {:>9}", "docs/reports.md", "median", "worst");
    for (question, query) in queries() {
        let query = query.replace("310122393500003", "310000000000073");
        measure(&question, || async {
            sqlx::query(AssertSqlSafe(query.clone())).fetch_all(&pool).await.unwrap().len()
        })
        .await;
    }
    println!("\n{:<72} {:>9} {:>9}", "pcsid-watch report …", "median", "worst");
    let registered_until = clock::wall_now() - Duration::from_secs(3_600);
    for (name, report) in [
        ("summary", ReportView::Summary),
        ("checks", ReportView::Checks),
        ("rules", ReportView::Rules),
        ("overdue", ReportView::Overdue { watched_from: registered_until }),
        ("deliveries", ReportView::Deliveries),
        (
            "renewals",
            ReportView::Renewals { now: clock::wall_now(), within: Duration::from_secs(90 * 86_400) },
        ),
        ("devices", ReportView::Devices),
    ] {
        // As the command asks without `--limit`; there are nearly as many devices as activities.
        let limit = matches!(report, ReportView::Devices).then_some(100);
        measure(name, || async { store.reports().report(report, limit).await.unwrap().rows.len() }).await;
    }

    println!("\n{:<72} {:>9} {:>9}", "a slice of 100", "median", "worst");
    let limit = Some(100);
    let all = ActivityFilter { limit, ..ActivityFilter::default() };
    let first = store.reports().list_activities(&all).await.unwrap();
    let part = |text: &str| Some(text.to_owned());
    let vat = pcsid_watch::domain::activity::Vat::parse("310000000000073").unwrap();
    for (name, filter) in [
        ("activities", all.clone()),
        ("activities, the second slice", ActivityFilter { after: first.last, ..all.clone() }),
        ("activities that succeeded", ActivityFilter { states: vec![State::Succeeded], ..all.clone() }),
        ("activities that were rejected", ActivityFilter { states: vec![State::Rejected], ..all.clone() }),
        ("activities of a VAT", ActivityFilter { vat: Some(vat.clone()), ..all.clone() }),
        (
            "activities of a VAT that failed",
            ActivityFilter { vat: Some(vat.clone()), states: vec![State::Failed], ..all.clone() },
        ),
        (
            "activities that wait",
            ActivityFilter { states: vec![State::Pending, State::InProgress], ..all.clone() },
        ),
        (
            "activities, the latest ended first",
            ActivityFilter { order: ActivityOrder::LatestEnded, ..all.clone() },
        ),
        ("activities with a part of a name", ActivityFilter { search: part("77"), ..all.clone() }),
        (
            "activities with a part that none has",
            ActivityFilter { search: part("no-such-part"), ..all.clone() },
        ),
        (
            "activities of a VAT with a part that none has",
            ActivityFilter { search: part("no-such-part"), vat: Some(vat), ..all.clone() },
        ),
        ("failures that ZATCA must act on", ActivityFilter { owner: Some(Owner::Zatca), ..all.clone() }),
        ("activities with a frequent rule", ActivityFilter { rule: part("BR-KSA-17"), ..all.clone() }),
        ("activities with a rule that none broke", ActivityFilter { rule: part("BR-NONE"), ..all.clone() }),
    ] {
        measure(name, || async { store.reports().list_activities(&filter).await.unwrap().table.rows.len() })
            .await;
        measure("  how many there are in all", || async {
            match store.reports().count_activities(&filter).await.unwrap() {
                Total::Exactly(n) | Total::MoreThan(n) => usize::try_from(n).unwrap(),
            }
        })
        .await;
    }
    let events = EventFilter { limit, ..EventFilter::default() };
    measure("events", || async { store.reports().list_events(&events).await.unwrap().table.rows.len() })
        .await;
    let dead = DeliveryFilter { limit, status: Some(DeliveryStatus::Dead), ..DeliveryFilter::default() };
    measure("deliveries that are dead", || async {
        store.reports().list_deliveries(&dead).await.unwrap().table.rows.len()
    })
    .await;

    println!("\n{:<72} {:>9} {:>9}", "pages and feeds", "median", "worst");
    measure("overview", || async { store.reports().overview(clock::wall_now()).await.unwrap().states.len() })
        .await;
    let zone = pcsid_watch::domain::zone::Zone::default();
    let statistics = async || store.reports().statistics(clock::wall_now(), &zone).await.unwrap().days.len();
    measure("statistics", statistics).await;
    measure("what ends when", || async {
        store.reports().ending(clock::wall_now(), 3 * 3_600_000).await.map(|_| 1).unwrap()
    })
    .await;
    measure("calendar", || async { store.reports().calendar(clock::wall_now(), None).await.unwrap().len() })
        .await;
    store.close().await;
}

async fn measure<F: Future<Output = usize>>(name: &str, mut once: impl FnMut() -> F) {
    let mut times = Vec::with_capacity(RUNS);
    let mut n_rows = 0;
    for _ in 0..RUNS {
        let began_at = Instant::now();
        n_rows = once().await;
        times.push(began_at.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let name: String = name.chars().take(58).collect();
    println!("{:<72} {:>9.1} {:>9.1}", format!("{name} ({n_rows} rows)"), times[RUNS / 2], times[RUNS - 1]);
}

/// The questions in docs/reports.md and their queries.
fn queries() -> Vec<(String, String)> {
    let text = include_str!("../docs/reports.md");
    let mut queries = Vec::new();
    for part in text.split("\n**").skip(1) {
        let question = part.split("**").next().unwrap_or_default().replace('\n', " ");
        let Some(query) = part.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()) else {
            panic!("{question} has no query");
        };
        queries.push((question, query.trim_end().trim_end_matches(';').to_owned()));
    }
    queries
}

/// Activities over four hundred days: 2 in 100 still being watched, 70 succeeded, 24 failed with one to three failing
/// checks, the rest rejected, expired or cancelled.
async fn fill(pool: &SqlitePool, n_activities: u64) {
    let run = async |statement: String| {
        sqlx::query(AssertSqlSafe(statement)).execute(pool).await.unwrap();
    };
    run("PRAGMA synchronous = OFF".to_owned()).await;
    run(format!(
        "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {VATS} - 1)
         INSERT INTO vats (vat, credential) SELECT printf('31%012d3', n), 'main' FROM n"
    ))
    .await;
    let now = clock::wall_now().as_millis();
    let mut from = 1;
    while from <= n_activities {
        let until = (from + CHUNK - 1).min(n_activities);
        let numbers =
            format!("WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {until})");
        let mut transaction = vec![format!(
            "{numbers} INSERT INTO activities
                 (id, vat_id, activity_id, device_id, reference, state, registered_at, watched_from)
             SELECT n, 1 + (n * 7919) % {VATS}, printf('act-%08d', n), printf('till-%d', n * 3 / 4),
                    CASE WHEN n % 10 = 0 THEN printf('PO-%d', n) END, 'PENDING',
                    {now} - 34560000000 / {n_activities} * ({n_activities} - n),
                    {now} - 34560000000 / {n_activities} * ({n_activities} - n)
             FROM n"
        )];
        transaction.push(format!(
            "INSERT INTO search_texts
             SELECT registered_at, id, lower(activity_id || char(10) || coalesce(device_id, '') || char(10) ||
                    coalesce(reference, '') || char(10) || (SELECT vat FROM vats WHERE vats.id = vat_id))
             FROM activities WHERE id BETWEEN {from} AND {until}"
        ));
        transaction.push(format!(
            "INSERT INTO schedules (id, vat_id, next_poll_at, interval_ms, poll_count, last_polled_at)
             SELECT id, vat_id, CASE WHEN id / {VATS} % 100 < 2 THEN {now} + id % 300000 END, 5000, 1 + id % 40, {now}
             FROM activities WHERE id BETWEEN {from} AND {until}"
        ));
        transaction.push(format!(
            "UPDATE activities SET
                 state = CASE WHEN id / {VATS} % 100 < 1 THEN 'PENDING' WHEN id / {VATS} % 100 < 2 THEN 'IN_PROGRESS'
                              WHEN id / {VATS} % 100 < 72 THEN 'SUCCEEDED' WHEN id / {VATS} % 100 < 96 THEN 'FAILED'
                              WHEN id / {VATS} % 100 < 98 THEN 'REJECTED' WHEN id / {VATS} % 100 < 99 THEN 'EXPIRED'
                              ELSE 'CANCELLED' END,
                 next_step_owner = CASE WHEN id / {VATS} % 100 BETWEEN 72 AND 95
                                        THEN CASE WHEN id % 1000 = 0 THEN 'zatca' ELSE 'registration' END END,
                 passed_checks = CASE WHEN id / {VATS} % 100 BETWEEN 2 AND 71 THEN 126 ELSE 0 END,
                 concluded_at = CASE WHEN id / {VATS} % 100 >= 2 THEN
                     registered_at + 5000 + (id * 48271 % 2147483647) % 90000 * ((id * 69621 % 2147483647) % 60) END
             WHERE id BETWEEN {from} AND {until}"
        ));
        transaction.push(format!(
            "INSERT INTO checks (activity, position, outcome, message)
             SELECT a.id, c.position,
                    CASE WHEN (a.id + c.position) % 6 < 1 + a.id % 3 THEN 'FAILED' ELSE 'SUCCEEDED' END,
                    CASE WHEN (a.id + c.position) % 6 < 1 + a.id % 3
                         THEN 'BR-KSA-' || (1 + a.id % 60) || ' : الكمية غير صحيحة for this line' END
             FROM activities a CROSS JOIN check_names c
             WHERE a.id BETWEEN {from} AND {until} AND a.state = 'FAILED'"
        ));
        transaction.push(format!(
            "INSERT INTO check_errors (activity, check_position, position, rule, message)
             SELECT activity, position, 1, 'BR-KSA-' || (1 + activity % 60), 'الكمية غير صحيحة for this line'
             FROM checks WHERE activity BETWEEN {from} AND {until} AND outcome = 'FAILED'"
        ));
        // Ends are spread over the five years that certificates are valid.
        transaction.push(format!(
            "INSERT INTO certificates (vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at)
             SELECT v.vat, a.device_id, a.activity_id, a.concluded_at, e.at, a.concluded_at, e.at - 7776000000
             FROM activities a JOIN vats v ON v.id = a.vat_id
             JOIN (SELECT id, {now} + (id * 48271 % 2147483647) % 1826 * 86400000 AS at FROM activities
                   WHERE id BETWEEN {from} AND {until}) e ON e.id = a.id
             WHERE a.state = 'SUCCEEDED'"
        ));
        transaction.push(format!(
            "INSERT INTO transitions (activity, seq, from_state, to_state, occurred_at, http_status, reason)
             SELECT id, 1, 'PENDING', state, concluded_at, 200, 'upstream reports it' FROM activities
             WHERE id BETWEEN {from} AND {until} AND concluded_at IS NOT NULL"
        ));
        transaction.push(format!(
            "INSERT INTO events (seq, event_id, type, activity, vat, occurred_at, payload)
             SELECT id, printf('00000000-0000-5000-8000-%012x', id),
                    CASE state WHEN 'SUCCEEDED' THEN 'pcsid.generation.succeeded' WHEN 'FAILED' THEN 'pcsid.generation.failed'
                               ELSE 'pcsid.activity.' || lower(state) END,
                    id, (SELECT vat FROM vats WHERE vats.id = vat_id), concluded_at, '{{\"id\":' || id || '}}'
             FROM activities WHERE id BETWEEN {from} AND {until} AND concluded_at IS NOT NULL"
        ));
        transaction.push(format!(
            "INSERT INTO deliveries (event, sink, status, attempts, tried_from, next_attempt_at, delivered_at)
             SELECT seq, sink, status, 1, occurred_at, CASE status WHEN 'pending' THEN {now} END,
                    CASE status WHEN 'delivered' THEN occurred_at END
             FROM (SELECT e.seq, e.occurred_at, s.sink,
                          CASE WHEN s.sink = 'erp' AND e.seq % 2000 = 0 THEN 'dead'
                               WHEN s.sink = 'erp' AND e.seq > {n_activities} - 1000 THEN 'pending' ELSE 'delivered' END AS status
                   FROM events e CROSS JOIN (SELECT 'log' AS sink UNION ALL SELECT 'erp') s
                   WHERE e.seq BETWEEN {from} AND {until})"
        ));
        let mut batch = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for statement in transaction {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *batch).await.unwrap();
        }
        batch.commit().await.unwrap();
        from = until + 1;
    }
    run("UPDATE vats SET next_due_at = (SELECT next_poll_at FROM schedules WHERE vat_id = vats.id
             AND next_poll_at IS NOT NULL ORDER BY next_poll_at LIMIT 1)"
        .to_owned())
    .await;
    // The program counts what it writes by itself.
    for (tally, counts) in [
        (
            "tally_checks",
            "SELECT v.id, n.position, c.outcome, count(*)
             FROM report_checks c JOIN check_names n ON n.name = c.check_name JOIN vats v ON v.vat = c.vat
             WHERE c.outcome <> 'NOT_REPORTED' GROUP BY 1, 2, 3",
        ),
        ("tally_states", "SELECT vat_id, state, count(*) FROM activities GROUP BY 1, 2"),
        (
            "tally_conclusions",
            "SELECT concluded_at / 3600000, state, count(*) FROM activities WHERE concluded_at IS NOT NULL GROUP BY 1, 2",
        ),
        (
            "tally_durations",
            "SELECT strftime('%Y-%m', concluded_at / 1000, 'unixepoch'),
                    CAST(CAST(printf('%.2e', max(concluded_at - registered_at, 0)) AS REAL) AS INTEGER), count(*)
             FROM activities WHERE state = 'SUCCEEDED' GROUP BY 1, 2",
        ),
        ("tally_deliveries", "SELECT sink, status, count(*) FROM deliveries GROUP BY 1, 2"),
        (
            "tally_devices",
            "SELECT vat_id, device_id, count(*), count(*) FILTER (WHERE state = 'SUCCEEDED') FROM activities
             WHERE device_id IS NOT NULL GROUP BY 1, 2",
        ),
    ] {
        run(format!("DELETE FROM {tally}")).await;
        run(format!("INSERT INTO {tally} {counts}")).await;
    }
    run("PRAGMA wal_checkpoint(TRUNCATE)".to_owned()).await;
}
