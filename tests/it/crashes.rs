//! A daemon that was killed. What many kills at any moment come to is tried by `tests/torture`.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _};

use crate::helpers::{Daemon, Reply, Server, Setup, VAT, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_goes_on_where_it_was() {
    let upstream = Server::start(|_| Reply::Silence).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    daemon.kill_9();
    upstream.answer(|_| Reply::succeeded());
    // The lock is gone with the process, and the row is still due.
    let daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_creator_died_is_created_anew() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    for command in [vec!["add", "--vat", VAT, "act-1"], vec!["run"]] {
        let setup = Setup::new(&upstream.url(), "");
        // A new database gets its name once it is whole. This is what is left of one that was not.
        for left in ["test.db.creating", "test.db.creating-journal", "test.db.creating-wal"] {
            std::fs::write(setup.path(left), "SQLite format 3, and no more of it").unwrap();
        }
        assert!(setup.run(&["list"]).stderr.contains("does not exist"));
        if command == ["run"] {
            setup.start().await.stop().await;
        } else {
            setup.ok(&command);
        }
        setup.add(VAT, &["act-1"]);
        assert!(setup.ok(&["db", "check"]).contains("is whole"));
        for file in std::fs::read_dir(setup.folder()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".creating"), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_would_bring_something_back_is_left_to_its_owner() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let mut journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7".to_vec();
    for number in [0_u32, 4_711, 1, 512, 4_096] {
        journal.extend(number.to_be_bytes());
    }
    journal.resize(512, 0);
    std::fs::write(setup.path("test.db-journal"), &journal).unwrap();
    let database = std::fs::read(setup.database()).unwrap();
    assert_eq!(setup.run(&["list"]).code, 1);
    assert_eq!(std::fs::read(setup.database()).unwrap(), database);
    assert_eq!(std::fs::read(setup.path("test.db-journal")).unwrap(), journal);
}

/// How many activities the older database has: enough for its copy to take a moment.
const MANY: i64 = 20_000;

/// Makes a database as an older version left it, with some thousand failures.
async fn make_older_database(setup: &Setup) {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let older = Migrator::with_migrations(vec![
        migration(1, "watch", include_str!("../../migrations/0001_watch.sql")),
        migration(2, "tallies", include_str!("../../migrations/0002_tallies.sql")),
        migration(3, "explanations", include_str!("../../migrations/0003_explanations.sql")),
        migration(4, "turns", include_str!("../../migrations/0004_turns.sql")),
    ]);
    let options = SqliteConnectOptions::new().filename(setup.database()).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).disable_statement_logging();
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    older.run(&writer).await.unwrap();
    let base_url = "http://127.0.0.1:9";
    let rows = format!(
        "INSERT INTO upstream VALUES (1, '{base_url}', 1);
         INSERT INTO vats (id, vat, credential) VALUES (1, '{VAT}', 'main');
         CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) SELECT i FROM n;
         INSERT INTO activities (id, vat_id, activity_id, device_id, state, registered_at, watched_from, concluded_at)
         SELECT i, 1, 'act-' || i, 'till-' || i, 'FAILED', 1790000000000 + i, 1790000000000 + i, 1790000005000 + i FROM n;
         INSERT INTO schedules (id, vat_id, next_poll_at, interval_ms) SELECT i, 1, NULL, 1000 FROM n;
         INSERT INTO transitions SELECT i, 1, 'PENDING', 'FAILED', 1790000005000 + i, 500, 'upstream says FAILED' FROM n;
         INSERT INTO checks (activity, position, outcome, message) SELECT i, 1, 'FAILED', 'BR-KSA-17 : x' FROM n;
         INSERT INTO check_errors (activity, check_position, position, rule, message)
         SELECT i, 1, 1, 'BR-KSA-17', 'BR-KSA-17 : x' FROM n;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&writer).await.unwrap();
    writer.close().await;
}

/// Files beside the database whose names hold this.
fn beside(setup: &Setup, part: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(setup.folder()).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(part))
        .collect()
}

/// Each copy with its final name holds everything.
async fn copies_are_whole(setup: &Setup) -> usize {
    let mut n = 0;
    for name in beside(setup, ".before-migration-from-4-") {
        if !name.contains(".partial-") {
            let options = SqliteConnectOptions::new().filename(setup.path(&name)).read_only(true);
            let mut copy = options.connect().await.unwrap();
            let count =
                sqlx::query_scalar::<_, i64>("SELECT count(*) FROM activities").fetch_one(&mut copy).await;
            assert_eq!(count.ok(), Some(MANY), "{name}");
            copy.close().await.unwrap();
            n += 1;
        }
    }
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_cut_off_leaves_nothing_half_done_and_goes_on() {
    let setup =
        Setup::new("http://127.0.0.1:9", "").variable("PCSID_WATCH__RETENTION__CONCLUDED_AFTER", "3650d");
    make_older_database(&setup).await;
    // While it copies, or afterwards.
    for _ in 0..3 {
        let before = beside(&setup, ".before-migration-from-4-");
        let mut daemon = setup.spawn();
        eventually("it is under way", || async {
            let is_begun = !beside(&setup, ".before-migration-from-4-").is_subset(&before);
            (is_begun || daemon.stderr().contains(" polls ")).then_some(())
        })
        .await;
        daemon.kill_9();
        copies_are_whole(&setup).await;
    }
    // Told to stop, it ends at once and well.
    let mut daemon = setup.spawn();
    eventually("it is under way", || async {
        (daemon.stderr().contains("has schema") || daemon.stderr().contains(" polls ")).then_some(())
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
    let told = daemon.stderr();
    assert!(told.contains("stopped while the database was opened") || told.contains(" polls "), "{told}");
    // Not by reading: nothing is changed by that.
    setup.run(&["list"]);
    setup.start().await.stop().await;
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
    assert_eq!(setup.number("SELECT count(*) FROM report_activities WHERE state = 'FAILED'").await, MANY);
    let n_copies = copies_are_whole(&setup).await;
    assert!((1..=2).contains(&n_copies), "{:?}", beside(&setup, "migration"));
    assert_eq!(beside(&setup, ".partial-"), BTreeSet::new());

    // Neither does a copy by hand leave half of one.
    for signal in ["-TERM", "-INT"] {
        let mut backup = Daemon::spawn(setup.command(&["db", "backup", "copy.db"]));
        // SQLite has begun to write. Before, it would create the file anew, and the next backup would remove it.
        eventually("it is under way", || {
            let has_bytes =
                |name: &String| std::fs::metadata(setup.path(name)).is_ok_and(|file| file.len() > 0);
            let is_under_way = beside(&setup, "copy.db").iter().any(has_bytes);
            async move { is_under_way.then_some(()) }
        })
        .await;
        let _ = std::process::Command::new("kill").args([signal, &backup.pid().to_string()]).status();
        let code = backup.exit_code().await;
        let left = beside(&setup, "copy.db");
        match code {
            0 => assert_eq!(left, BTreeSet::from(["copy.db".to_owned()])),
            code => assert_eq!((code, left), (1, BTreeSet::new()), "{}", backup.stderr()),
        }
        let _ = std::fs::remove_file(setup.path("copy.db"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_says_how_far_it_came_and_can_be_repeated() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["first"]);
    let rows: String = (0..40_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("many.csv"), format!("vat,activity_id\n{rows}")).unwrap();
    let mut import = Daemon::spawn(setup.command(&["import", "many.csv"]));
    eventually("the first rows are there", || async {
        (setup.number("SELECT count(*) FROM report_activities").await > 1).then_some(())
    })
    .await;
    import.signal("-TERM");
    assert_eq!(import.exit_code().await, 1, "{}", import.stderr());
    let known = setup.number("SELECT count(*) FROM report_activities").await - 1;
    let told = import.stderr();
    // Numbers of people have commas.
    let n_told: String = told.split(" of ").next().unwrap().chars().filter(char::is_ascii_digit).collect();
    assert_eq!(n_told, known.to_string(), "{told}");
    assert!(told.contains("import the file again to take the rest"), "{told}");
    setup.ok(&["import", "many.csv"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 40_001);
}

#[test]
fn what_a_killed_backup_left_goes_with_the_next_one_of_its_name() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    // No process can have this number.
    const NOBODY: u32 = i32::MAX as u32;
    let mine = std::process::id();
    let left = |name: String, age_s: u64| {
        let file = std::fs::File::create(setup.path(&name)).unwrap();
        file.set_modified(pcsid_watch::clock::wall_system_time() - Duration::from_secs(age_s)).unwrap();
    };
    left(format!("copy.db.partial-{NOBODY}"), 120);
    left(format!("copy.db.partial-{NOBODY}-journal"), 120);
    left(format!("copy.db.partial-{}", NOBODY - 1), 0);
    left(format!("copy.db.partial-{mine}"), 120);
    left(format!("other.db.partial-{NOBODY}"), 120);
    setup.ok(&["db", "backup", "copy.db"]);
    let expected = [
        format!("copy.db.partial-{mine}"),
        format!("copy.db.partial-{}", NOBODY - 1),
        format!("other.db.partial-{NOBODY}"),
    ];
    assert_eq!(
        beside(&setup, ".partial-"),
        BTreeSet::from(expected),
        "what somebody may still be writing stays"
    );
}
