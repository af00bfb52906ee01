//! The views, and the ready queries, on PostgreSQL.

use sqlx::sqlite::SqlitePool;

use crate::helpers::{Reply, Server, Setup, VAT, eventually};

/// Names and columns of the views in the newest SQLite schema.
async fn sqlite_columns() -> Vec<String> {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let file = setup.path("views.db");
    let url = format!("sqlite://{}", file.display());
    let added =
        setup.command(&["add", "--vat", VAT, "x"]).env("PCSID_WATCH__DATABASE__URL", &url).status().unwrap();
    assert!(added.success());
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query_scalar(
        "SELECT v.name || '.' || c.name FROM sqlite_schema v JOIN pragma_table_info(v.name) c
         WHERE v.type = 'view' ORDER BY v.name, c.cid",
    )
    .fetch_all(&pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_views_and_their_columns_are_those_of_sqlite() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["x"]);
    let columns = setup.server().psql(
        "SELECT string_agg(c.table_name || '.' || c.column_name, E'\\n' ORDER BY c.table_name COLLATE \"C\", c.ordinal_position)
         FROM information_schema.columns c JOIN information_schema.views v USING (table_schema, table_name)
         WHERE c.table_schema = 'public'",
    );
    let columns: Vec<&str> = columns.lines().collect();
    assert_eq!(columns, sqlite_columns().await);
}

#[tokio::test]
async fn every_ready_query_runs() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        "open" => Reply::in_progress(),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "good", "bad", "open", "--device-id", "till 1"]);
    let daemon = setup.start().await;
    eventually("two have concluded", || async { (daemon.events().len() == 2).then_some(()) }).await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/postgres.md")).unwrap();
    let queries: Vec<&str> =
        page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(queries.len() >= 10);
    let n_with_rows = queries.iter().filter(|query| !setup.server().psql(query).is_empty()).count();
    assert!(n_with_rows >= 7, "only {n_with_rows} have an answer for a database with something in it");
    daemon.stop().await;
}
