//! What people and programs read again and again must not cost more with every activity: no statement behind it may
//! read a table that grows from one end to the other. SQLite says how it would go about each, and the program which it
//! executes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use crate::helpers::{Daemon, Reply, Server, Setup, VAT, eventually, http_client, on_postgres, webhook};

/// Tables that grow with activities, events and certificates.
const GROWING: [&str; 14] = [
    "activities",
    "schedules",
    "transitions",
    "checks",
    "check_errors",
    "errors",
    "error_rules",
    "final_answers",
    "events",
    "deliveries",
    "attempts",
    "certificates",
    "search_texts",
    "tally_devices",
];

/// None of these may walk over a growing table.
const FOUND_BY_KEY: [&str; 15] = [
    "/metrics",
    "/readyz",
    "/",
    "/renewals",
    "/v1/activities?state=FAILED",
    "/v1/activities?state=PENDING&state=IN_PROGRESS",
    "/v1/activities?vat=310122393500003",
    "/v1/activities?vat=310122393500003&state=SUCCEEDED",
    "/v1/activities?device_id=till",
    "/v1/activities?reference=PO-1",
    "/v1/activities/bad",
    "/v1/deliveries?status=pending",
    "/v1/deliveries?status=dead",
    "/v1/events?type=pcsid.generation.failed",
    "/v1/renewals.ics",
];

/// These begin at one end of what they list, and go no further than the slice is long.
const LISTED: [&str; 4] = ["/v1/activities", "/v1/events", "/v1/deliveries", "/activities"];
const WALKS_OF_LISTS: [&str; 3] =
    ["SCAN a USING COVERING INDEX activities_by_registration", "SCAN d", "SCAN e"];

/// What the daemon has executed, by its log from so many bytes on.
fn statements(log: &str, from: usize) -> BTreeSet<String> {
    let lines = log.get(from..).unwrap_or_default().lines();
    let executed = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let statements = executed.filter_map(|line| {
        let of_library = line.get("library")?;
        // A short statement is its own summary.
        ["db.statement", "summary"]
            .iter()
            .filter_map(|field| of_library.get(*field)?.as_str())
            .map(|text| text.trim().to_owned())
            .find(|text| !text.is_empty())
    });
    statements.filter(|statement| statement.starts_with("SELECT") || statement.starts_with("WITH")).collect()
}

/// Steps of a statement's plan that read a growing table or an index of it from one end.
async fn walks(reader: &SqlitePool, views: &BTreeMap<String, String>, statement: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(reader).await;
    let steps: Vec<String> = rows.unwrap().iter().map(|row| row.get::<String, _>("detail")).collect();
    // The plan names tables as the statement does, or the view behind it.
    let texts = std::iter::once(statement)
        .chain(views.iter().filter(|(view, _)| statement.contains(*view)).map(|(_, sql)| sql.as_str()));
    let words: Vec<&str> = texts
        .flat_map(|text| text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')')))
        .filter(|word| !word.is_empty() && *word != "AS")
        .collect();
    let of_growing = words.windows(2).filter(|pair| GROWING.contains(&pair[0]));
    let names: BTreeSet<&str> = of_growing.flat_map(|pair| [pair[0], pair[1]]).chain(GROWING).collect();
    let is_walk = |step: &String| {
        step.strip_prefix("SCAN ").is_some_and(|of| names.contains(of.split(' ').next().unwrap_or_default()))
    };
    steps.into_iter().filter(is_walk).collect()
}

async fn executed_for(setup: &Setup, requests: &[&str]) -> BTreeSet<String> {
    let daemon: Daemon = setup.start().await;
    let url = daemon.url();
    let ready = format!("{url}/readyz");
    eventually("it is ready", || async {
        http_client().get(&ready).send().await.unwrap().status().is_success().then_some(())
    })
    .await;
    let from = daemon.stderr().len();
    for request in requests {
        let answer = http_client().get(format!("{url}{request}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{request}: {}", answer.text().await.unwrap());
    }
    statements(&daemon.stop().await, from)
}

#[tokio::test]
async fn nothing_that_is_read_again_and_again_walks_over_what_grows() {
    if on_postgres() {
        return;
    }
    let server = Server::start(|seen| match seen.activity_id() {
        "" => Reply::new(500, "no"),
        "good" => Reply::succeeded(),
        "bad" => Reply::failed(),
        _ => Reply::in_progress(),
    })
    .await;
    let log = "[log]\nformat = \"json\"\nlevel = \"info,sqlx::query=debug\"\n";
    let setup = Setup::new(&server.url(), &format!("{}{log}", webhook("erp", &server)));
    setup.ok(&["add", "--vat", VAT, "--device-id", "till", "--reference", "PO-1", "bad"]);
    setup.add(VAT, &["good", "open"]);
    let daemon = setup.start().await;
    setup.reaches("good", "SUCCEEDED").await;
    setup.reaches("bad", "FAILED").await;
    daemon.stop().await;

    let reader = setup.reader().await;
    let views = sqlx::query("SELECT name, sql FROM sqlite_schema WHERE type = 'view'");
    let views = views.fetch_all(&reader).await.unwrap();
    let views: BTreeMap<String, String> =
        views.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1))).collect();
    // The test itself must see one where there is one.
    let all = "SELECT count(*) FROM report_events WHERE payload <> ''";
    assert_eq!(walks(&reader, &views, all).await, ["SCAN e"]);
    for (requests, allowed) in [(&FOUND_BY_KEY[..], &[][..]), (&LISTED[..], &WALKS_OF_LISTS[..])] {
        let executed = executed_for(&setup, requests).await;
        assert!(executed.len() >= requests.len(), "{executed:#?}");
        for statement in executed {
            for walk in walks(&reader, &views, &statement).await {
                assert!(allowed.contains(&walk.as_str()), "{walk}: {statement}");
                assert!(statement.contains("LIMIT"), "{walk} to the end: {statement}");
            }
        }
    }
}
