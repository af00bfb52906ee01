//! What a server is refused for, and what is waited for.

use sqlx::Connection as _;

use crate::cluster::{Cluster, Pooler};
use crate::helpers::{Reply, Server, Setup, VAT, can, eventually, http_client};

#[tokio::test]
async fn a_database_of_another_program_is_refused_untouched() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.server().psql("CREATE TABLE somebody_elses (id int)");
    for arguments in [&["add", "--vat", VAT, "act-1"][..], &["run"], &["config", "check"]] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}");
        assert!(ran.stderr.contains("tables of another program"), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(setup.server().psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "1");
}

#[tokio::test]
async fn a_standby_is_refused() {
    let primary = Cluster::start("max_connections=20");
    let standby = primary.start_standby("max_connections=20");
    let database = primary.new_database();
    let setup = Setup::new("http://127.0.0.1:9", "");
    for url in [database.on(&standby).url] {
        for arguments in [&["add", "--vat", VAT, "act-1"][..], &["run"], &["config", "check"]] {
            let said = refusal(&setup, &url, arguments);
            assert!(said.contains("it is a standby"), "{arguments:?}: {said}");
        }
    }
}

/// A server tells its version by functions, which a schema that is searched first can answer for it.
#[tokio::test]
async fn a_server_that_is_too_old_or_another_product_is_refused() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let server = setup.server();
    server.psql("CREATE SCHEMA liar");
    for (product, number, expected) in [
        ("PostgreSQL 13.11 on x86_64", "130011", "it is PostgreSQL 13: version 14 or newer is needed"),
        ("CockroachDB CCL v23.1.0", "130000", "it is CockroachDB"),
    ] {
        server.psql(&format!(
            "CREATE OR REPLACE FUNCTION liar.version() RETURNS text LANGUAGE sql AS $$ SELECT '{product}' $$;
             CREATE OR REPLACE FUNCTION liar.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT '{number}' $$;
             ALTER DATABASE {} SET search_path = liar, pg_catalog, public",
            server.name
        ));
        let said = refusal(&setup, &setup.database_url(), &["run"]);
        assert!(said.contains(expected), "{said}");
    }
}

/// With PgBouncer itself, where it is installed.
#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    for (mode, is_refused) in [("transaction", true), ("statement", true), ("session", false)] {
        // Some poolers are told to take parameters for granted that they don't know.
        for ignored in ["", "extra_float_digits"] {
            let Some(pooler) = Pooler::start(Cluster::shared(), mode, ignored) else {
                can(false, "start PgBouncer");
                return;
            };
            let url = setup
                .database_url()
                .replace(&format!(":{}/", Cluster::shared().port), &format!(":{}/", pooler.port));
            let ran = setup
                .command(&["add", "--vat", VAT, "act-1"])
                .env("PCSID_WATCH__DATABASE__URL", &url)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            match is_refused {
                true => assert!(
                    ran.status.code() == Some(1) && said.contains("it is a pooler in"),
                    "{mode}: {said}"
                ),
                false => assert!(ran.status.success(), "{mode}: {said}"),
            }
        }
    }
}

/// What a command says that fails on this database.
fn refusal(setup: &Setup, url: &str, arguments: &[&str]) -> String {
    let ran = setup.command(arguments).env("PCSID_WATCH__DATABASE__URL", url).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(ran.stderr).unwrap()
}

#[tokio::test]
async fn an_older_schema_is_said_and_left_to_the_next_start() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    setup.server().psql("DELETE FROM _sqlx_migrations");
    let said = setup.ok(&["config", "check"]);
    assert!(said.contains("a database of an older version"), "{said}");
    assert_eq!(setup.server().psql("SELECT count(*) FROM _sqlx_migrations"), "0");
}

#[tokio::test]
async fn commands_that_read_create_no_tables() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    for arguments in [&["list"][..], &["report", "summary"], &["db", "check"], &["retry", "act-1"]] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}");
        assert!(ran.stderr.contains("it holds nothing yet"), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(setup.server().psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    let ran = setup.run(&["add", "--vat", VAT, "act-1"]);
    assert!(ran.stderr.contains("did not exist: a new one is created"), "{}", ran.stderr);
    setup
        .server()
        .psql("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)");
    let ran = setup.run(&["list"]);
    assert!(ran.code == 1 && ran.stderr.contains("it is of an older version"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    setup.server().psql("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1");
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("has schema 9999, this version knows up to"), "{}", ran.stderr);
}

#[tokio::test]
async fn missing_rights_are_said_with_the_grant_that_gives_them() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let server = setup.server();
    server.psql("DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    server.psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let clerk = setup.database_url().replace("watch@", "clerk@");
    let run = |arguments: &[&str]| {
        let output = setup.command(arguments).env("PCSID_WATCH__DATABASE__URL", &clerk).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&["add", "--vat", VAT, "act-1"]);
    assert!(said.contains("GRANT USAGE, CREATE ON SCHEMA public TO clerk"), "{said}");
    setup.add(VAT, &["act-1"]);
    let said = run(&["list"]);
    let grants = said.split_once("run: ").unwrap().1.lines().next().unwrap();
    assert!(grants.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk"));
    server.psql(grants);
    assert_eq!(run(&["add", "--vat", VAT, "act-2"]).matches("error").count(), 0);
    assert!(run(&["list"]).is_empty());
    assert_eq!(setup.state("act-2").await, "PENDING");
}

#[tokio::test]
async fn a_password_in_the_url_or_an_unknown_parameter_is_refused_and_not_repeated() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    for (url, expected) in [
        (setup.database_url().replace("watch@", "watch:s3cret-word@"), "database.password_file"),
        (format!("{}?password=s3cret-word", setup.database_url()), "`password` is unknown"),
    ] {
        let ran =
            setup.command(&["config", "check"]).env("PCSID_WATCH__DATABASE__URL", url).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(
            said.contains("database.url") && said.contains(expected) && !said.contains("s3cret"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_server_without_fsync_is_refused() {
    let cluster = Cluster::start("fsync=off");
    let setup = Setup::new("http://127.0.0.1:9", "");
    let url = cluster.new_database().url;
    let ran = setup.command(&["run"]).env("PCSID_WATCH__DATABASE__URL", url).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stderr).contains("fsync = off"));
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_comes_back_after_a_crash() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let cluster = Cluster::start("max_connections=50");
    let database = cluster.new_database();
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__DATABASE__URL", &database.url);
    setup.add(VAT, &["act-1"]);
    cluster.crash();
    let check = setup.run(&["config", "check"]);
    assert_eq!(check.code, 1);
    assert!(
        check.stderr.contains("can't be reached") && check.stderr.contains(&database.url),
        "{}",
        check.stderr
    );

    let daemon = setup.start().await;
    let ready = format!("{}/readyz", daemon.url());
    let client = http_client();
    let answer = client.get(&ready).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("can't be reached"));
    let lines =
        |daemon: &crate::helpers::Daemon| daemon.stderr().matches("nothing is polled or sent").count();
    assert_eq!(lines(&daemon), 1, "{}", daemon.stderr());
    assert_eq!(client.get(format!("{}/healthz", daemon.url())).send().await.unwrap().status(), 200);

    cluster.launch("max_connections=50");
    let is_ready = || async { (client.get(&ready).send().await.unwrap().status() == 200).then_some(()) };
    eventually("it is ready", is_ready).await;
    eventually("it polls", || async { (upstream.n_seen() > 3).then_some(()) }).await;

    cluster.crash();
    eventually("it is not ready", || async {
        (client.get(&ready).send().await.unwrap().status() == 503).then_some(())
    })
    .await;
    cluster.launch("max_connections=50");
    eventually("it is ready again", is_ready).await;
    upstream.answer(|_| Reply::succeeded());
    eventually("it concludes", || async {
        daemon.stdout().contains("pcsid.generation.succeeded").then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_start_that_stood_still_in_a_transaction_is_tried_again() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let server = setup.server();
    let mut others = sqlx::PgConnection::connect(&server.url).await.unwrap();
    // The lock that writers take.
    sqlx::query("SELECT pg_advisory_lock(1346589527, 0)").execute(&mut others).await.unwrap();
    let daemon = setup.spawn();
    let waiting = "SELECT coalesce(min(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let pid =
        eventually("it waits for the lock", || async { Some(server.psql(waiting)).filter(|pid| pid != "0") })
            .await;
    daemon.signal("-STOP");
    others.close().await.unwrap();
    // The server ends the connection of one that has the lock and says nothing.
    eventually("its connection is ended", || async {
        let there = server.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"));
        (there == "0").then_some(())
    })
    .await;
    daemon.signal("-CONT");
    setup.reaches("act-1", "SUCCEEDED").await;
    daemon.stop().await;
}
