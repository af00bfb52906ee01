//! A database that is taken away. Disks and locks that fail are tried by `tests/torture`.

use crate::helpers::{Reply, Server, Setup, VAT};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_taken_away_beneath_the_daemon_ends_it_with_an_error() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    std::fs::rename(setup.database(), setup.path("elsewhere.db")).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    assert!(daemon.stderr().contains("was removed or replaced while the daemon ran"), "{}", daemon.stderr());
}
