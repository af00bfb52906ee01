//! Servers that send without end where an answer should be.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::helpers::{Reply, Server, Setup, VAT, WEBHOOK_SECRET, eventually, http_client, webhook};

/// Sends interim answers (1xx) for as long as the other side reads, but an honest answer about `honest`.
fn flood() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |mut stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        if request.contains("honest") {
            let body = include_str!("../fixtures/succeeded.json");
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            return stream.write_all((head + body).as_bytes());
        }
        let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n".repeat(1_000);
        loop {
            stream.write_all(&hints)?;
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends with an error once the other side has had enough.
            thread::spawn(move || answer(stream));
        }
    });
    address
}

/// The HTTP library reads interim answers for as long as they come, so each of these requests lasts for all of its
/// time. HTTP has other threads, and so have connections to a server that does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_floods_keeps_no_probe_waiting_and_ends_no_poll() {
    let setup = Setup::new(&format!("http://{}", flood()), "")
        .variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "3s")
        // A probe has to be answered while they flood.
        .variable("PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT", "8");
    let floods: Vec<_> = (1..=3).map(|n| format!("flood-{n}")).collect();
    setup.add(VAT, &floods.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    for _ in 0..50 {
        let alive = http_client().get(daemon.url() + "/healthz").send().await.unwrap();
        assert_eq!(alive.status(), 200);
    }
    for id in &floods {
        let error = eventually(&format!("{id} is given up"), || async {
            let error = format!("coalesce(last_error, '') FROM report_activities WHERE activity_id = '{id}'");
            setup.lines(&format!("SELECT {error}")).await.pop().filter(|error| !error.is_empty())
        })
        .await;
        assert_eq!(error, "no_reply: no complete answer within 3s (upstream.request_timeout)");
    }
    setup.add(VAT, &["honest"]);
    setup.reaches("honest", "SUCCEEDED").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_floods_delays_no_poll_and_no_other_receiver() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let honest = Server::start(|_| Reply::new(204, "")).await;
    // Its requests end only with the daemon.
    let hooks = format!(
        "{}[[webhooks]]\nname = \"flood\"\nurl = \"http://{}/flood\"\nsecret = \"{WEBHOOK_SECRET}\"\ntimeout = \"1h\"\n",
        webhook("honest", &honest),
        flood()
    );
    let setup = Setup::new(&upstream.url(), &hooks);
    let first: Vec<_> = (0..8).map(|n| format!("first-{n}")).collect();
    setup.add(VAT, &first.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    // All the requests that it may have at the same time are under way, and it floods them.
    for n in 0..10 {
        let id = format!("later-{n}");
        setup.add(VAT, &[&id]);
        setup.reaches(&id, "SUCCEEDED").await;
    }
    let delivered = "SELECT count(*) FROM report_deliveries WHERE sink = 'honest' AND status = 'delivered'";
    eventually("the honest one has everything", || async {
        (setup.number(delivered).await == 18).then_some(())
    })
    .await;
    daemon.stop().await;
}
