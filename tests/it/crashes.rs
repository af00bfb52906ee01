//! A daemon that was killed. What many kills at any moment come to is tried by `tests/torture`.

use crate::helpers::{Reply, Server, Setup, VAT, eventually};

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
