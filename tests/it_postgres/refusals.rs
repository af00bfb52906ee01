//! What a server is refused for, and what is waited for.

use crate::cluster::Cluster;
use crate::helpers::{Reply, Server, Setup, VAT, eventually, http_client};

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
    assert!(
        said.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk"),
        "{said}"
    );
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
