//! Servers that send without end where an answer should be.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::helpers::{Reply, Server, Setup, VAT, WEBHOOK_SECRET, eventually, http_client, webhook};

/// A server that sends the bytes of a request's path again and again, for as long as the other side reads. To a path
/// without any it answers as an honest upstream does.
fn flood(bytes_of: fn(&str) -> Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let path = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let Some(bytes) = bytes_of(&path) else {
            let body = include_str!("../fixtures/succeeded.json");
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            return stream.write_all((head + body).as_bytes());
        };
        if bytes == HEAD {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        }
        let many = bytes.repeat(64 * 1024 / bytes.len());
        loop {
            stream.write_all(&many)?;
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

/// The flood that a path names.
fn interim(path: &str) -> Option<&'static [u8]> {
    INTERIM.into_iter().find(|(name, _)| path.contains(name)).map(|(_, bytes)| bytes)
}

const INTERIM: [(&str, &[u8]); 3] = [
    ("hints", b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"),
    ("continue", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("processing", b"HTTP/1.1 102 Processing\r\n\r\n"),
];

const TOO_MANY: &str = "the other side does not come to an answer: more than 64 interim answers (HTTP 1xx) came and no \
                        answer";

/// Part of a head that goes on for ever.
const HEAD: &[u8] = b"x-more: and more and more and more and more and more and more and more and more\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_floods_is_given_up_and_delays_nothing_else() {
    let upstream = format!("http://{}", flood(interim));
    // Nothing of it may come from a timeout.
    let setup = Setup::new(&upstream, "").variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "1h");
    for (name, _) in INTERIM {
        setup.add(VAT, &[&format!("{name}-1"), &format!("{name}-2")]);
    }
    let daemon = setup.start().await;
    for (name, _) in INTERIM {
        for id in [format!("{name}-1"), format!("{name}-2")] {
            let error = eventually(&format!("{id} is given up"), || async {
                let error =
                    format!("coalesce(last_error, '') FROM report_activities WHERE activity_id = '{id}'");
                setup.lines(&format!("SELECT {error}")).await.pop().filter(|error| !error.is_empty())
            })
            .await;
            assert_eq!(error, format!("no_reply: {TOO_MANY}"));
        }
    }
    setup.add(VAT, &["honest"]);
    setup.reaches("honest", "SUCCEEDED").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_flood_are_given_up_and_delay_nothing_else() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let honest = Server::start(|_| Reply::new(204, "")).await;
    let mut hooks = webhook("honest", &honest);
    let hostile = flood(|path| interim(path).or(Some(HEAD)));
    for name in INTERIM.map(|(name, _)| name).into_iter().chain(["head"]) {
        let url = format!("http://{hostile}/{name}");
        hooks += &format!(
            "[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{WEBHOOK_SECRET}\"\ntimeout = \"1h\"\n"
        );
    }
    let setup = Setup::new(&upstream.url(), &hooks);
    setup.add(VAT, &["act-1", "act-2", "act-3"]);
    let daemon = setup.start().await;
    let told = |status: &str| {
        format!("SELECT count(*) FROM report_deliveries WHERE sink = 'honest' AND status = '{status}'")
    };
    eventually("the honest receiver has everything", || async {
        (setup.number(&told("delivered")).await == 3).then_some(())
    })
    .await;
    for (name, _) in INTERIM {
        let error = refusal(&setup, name).await;
        assert_eq!(error, TOO_MANY, "{name}");
    }
    let error = refusal(&setup, "head").await;
    assert_eq!(error, "the connection broke before an answer: message head is too large");
    for _ in 0..20 {
        let alive = http_client().get(daemon.url() + "/healthz").send().await.unwrap();
        assert_eq!(alive.status(), 200);
    }
    daemon.stop().await;
}

/// What is wrong with the deliveries to a sink.
async fn refusal(setup: &Setup, sink: &str) -> String {
    let query = format!(
        "SELECT coalesce(max(last_error), '') FROM report_deliveries WHERE sink = '{sink}' AND status = 'pending'"
    );
    eventually(&format!("{sink} has been given up once"), || async {
        setup.lines(&query).await.pop().filter(|error| !error.is_empty())
    })
    .await
}
