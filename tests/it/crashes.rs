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
