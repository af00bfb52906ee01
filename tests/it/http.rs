//! The JSON API, probes and metrics, over real sockets.

use std::collections::BTreeSet;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use pcsid_watch::domain::event::EventKind;

use crate::helpers::{
    Daemon, OTHER_VAT, Reply, Server, Setup, VAT, WEBHOOK_SECRET, eventually, http_client, webhook,
};

async fn get(daemon: &Daemon, path: &str) -> Response {
    http_client().get(daemon.url() + path).send().await.unwrap()
}

async fn post(daemon: &Daemon, path: &str, body: &Value) -> Response {
    http_client().post(daemon.url() + path).json(body).send().await.unwrap()
}

async fn json_of(daemon: &Daemon, path: &str) -> Value {
    let response = get(daemon, path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

/// A problem document's status and the last word of its type; it must be one, whole.
async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status, "{body}");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{body}");
    (status, body["type"].as_str().unwrap().strip_prefix("urn:pcsid-watch:problem:").unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_is_registered_followed_cancelled_and_retried_over_http() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    let new = json!({"vat": VAT, "activity_id": "slow-1", "device_id": "till ٧", "reference": "PO-1"});
    let created = post(&daemon, "/v1/activities", &new).await;
    assert_eq!(created.status(), 201);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = created.json().await.unwrap();
    assert_eq!(body["device_id"], "till ٧");
    // The daemon may have been faster than the answer.
    assert!(body["state"] == "PENDING" || body["state"] == "IN_PROGRESS", "{body}");

    // Once more, with other labels: no error, and nothing changes.
    let again = json!({"vat": VAT, "activity_id": "slow-1", "device_id": "another"});
    let known = post(&daemon, "/v1/activities", &again).await;
    assert_eq!(known.status(), 200);
    assert_eq!(known.json::<Value>().await.unwrap()["device_id"], "till ٧");

    eventually("it is in progress", || async {
        (json_of(&daemon, &location).await["state"] == "IN_PROGRESS").then_some(())
    })
    .await;
    let cancelled = post(&daemon, "/v1/activities/slow-1/cancel", &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
    assert_eq!(cancelled.json::<Value>().await.unwrap()["state"], "CANCELLED");
    let wrong = post(&daemon, "/v1/activities/slow-1/poll", &Value::Null).await;
    assert_eq!(problem(wrong).await, (409, "wrong-state".to_owned()));
    eventually("the event is out", || async { (daemon.events().len() == 1).then_some(()) }).await;

    upstream.answer(|_| Reply::in_progress());
    assert_eq!(post(&daemon, "/v1/activities/slow-1/retry", &Value::Null).await.status(), 200);
    // What was to be done about its end is over.
    assert_eq!(setup.number("SELECT count(*) FROM activities WHERE next_step_owner IS NOT NULL").await, 0);
    upstream.answer(|_| Reply::failed());
    let history = eventually("it failed", || async {
        let history = json_of(&daemon, "/v1/activities/slow-1").await;
        (history["state"] == "FAILED").then_some(history)
    })
    .await;
    // The same as the command line tells, which has the views' names.
    let shown = setup.show("slow-1");
    for (of_row, of_view) in [
        ("/state", "/state"),
        ("/counts/total", "/total_count"),
        ("/polls", "/poll_count"),
        ("/transitions", "/transitions"),
        ("/checks/1/name", "/checks/1/check_name"),
        ("/next_step/en", "/next_step"),
        ("/checks/1/errors/0/meaning/ar", "/checks/1/errors/0/meaning_ar"),
        ("/events/0/id", "/events/0/event_id"),
    ] {
        assert_eq!(history.pointer(of_row).unwrap(), shown.pointer(of_view).unwrap(), "{of_row}");
    }
    assert_eq!(history["checks"][1]["errors"][0]["rule"], "BR-KSA-17");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vat_of_an_unusual_shape_is_taken_with_a_warning_that_names_the_rule() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let odd = json!({"vat": "GROUP-7", "activity_id": "act-1"});
    let one = post(&daemon, "/v1/activities", &odd).await;
    assert_eq!(one.status(), 201);
    let warnings = one.json::<Value>().await.unwrap()["warnings"].clone();
    assert!(
        warnings[0].as_str().is_some_and(|text| text.contains("GROUP-7") && text.contains("BR-KSA-40")),
        "{warnings}"
    );
    let many = json!([odd, {"vat": VAT, "activity_id": "act-2"}, {"vat": "GROUP-7", "activity_id": "act-3"}]);
    let many: Value = post(&daemon, "/v1/activities", &many).await.json().await.unwrap();
    assert_eq!((&many["new"], many["warnings"].as_array().map(Vec::len)), (&json!(2), Some(1)));
    let usual = json!({"vat": VAT, "activity_id": "act-4"});
    let usual: Value = post(&daemon, "/v1/activities", &usual).await.json().await.unwrap();
    assert_eq!(usual.get("warnings"), None);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_asked_for_comes_at_once() {
    let upstream = Server::by_id().await;
    let schedule = "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"1h\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    setup.add(VAT, &["slow-1"]);
    let daemon = setup.start().await;
    setup.reaches("slow-1", "IN_PROGRESS").await;
    assert_eq!(post(&daemon, "/v1/activities/slow-1/poll", &Value::Null).await.status(), 200);
    eventually("it is asked for again", || async { (upstream.n_seen() == 2).then_some(()) }).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_activities_come_in_one_request_or_not_at_all() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let item = |n: usize| json!({"vat": VAT, "activity_id": format!("act-{n}")});
    let mut items: Vec<Value> = (0..10_000).map(item).collect();
    let n_known =
        async || json_of(&daemon, "/v1/activities?limit=1").await["items"].as_array().unwrap().len();

    items[7_000] = json!({"vat": VAT, "activity_id": "a/b"});
    items[9_000] = json!({"vat": 3, "activity_id": "c"});
    let refused = post(&daemon, "/v1/activities", &json!(items)).await;
    assert_eq!(refused.status(), 422);
    let body: Value = refused.json().await.unwrap();
    let pointers: Vec<&str> =
        body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/7000/activity_id", "/9000/vat"]);
    assert_eq!(n_known().await, 0);

    (items[7_000], items[9_000]) = (item(7_000), item(9_000));
    items.push(item(10_000));
    assert_eq!(problem(post(&daemon, "/v1/activities", &json!(items)).await).await.0, 422);
    assert_eq!(n_known().await, 0);

    items.pop();
    let taken = post(&daemon, "/v1/activities", &json!(items)).await;
    assert_eq!(taken.status(), 201);
    let body: Value = taken.json().await.unwrap();
    assert_eq!((&body["new"], &body["known"]), (&json!(10_000), &json!(0)));
    assert_eq!(body["items"][9_999], json!({"vat": VAT, "activity_id": "act-9999", "outcome": "new"}));
    let again = post(&daemon, "/v1/activities", &json!(items)).await;
    assert_eq!(again.status(), 200);
    assert_eq!(setup.number("SELECT activities FROM report_vats").await, 10_000);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_with_a_reason_and_changes_nothing() {
    let more = format!(
        "[[credentials]]\nname = \"one\"\ntoken = \"one-token-0001\"\nrequests_per_minute = 0\nvats = [\"{VAT}\"]\n"
    );
    let setup = Setup::new("http://127.0.0.1:9", &more);
    let daemon = setup.start().await;
    let client = http_client();
    let url = daemon.url() + "/v1/activities";
    let json_type = ("content-type", "application/json");
    for (request, expected) in [
        (client.post(&url).header(json_type.0, json_type.1).body("{"), (400, "bad-body")),
        (client.post(&url).header(json_type.0, json_type.1).body("[".repeat(100_000)), (400, "bad-body")),
        (client.post(&url).header(json_type.0, json_type.1).body("[1]"), (422, "invalid")),
        (client.post(&url).header("content-type", "text/csv").body("vat"), (415, "not-json")),
        (client.post(&url).body("{}"), (415, "not-json")),
        (client.post(&url).header(json_type.0, json_type.1).body(" ".repeat(9 << 20)), (413, "too-large")),
        (client.post(&url).json(&json!({"vat": VAT, "activity_id": "a", "x": 1})), (422, "invalid")),
        (client.post(&url).json(&json!({"vat": VAT})), (422, "invalid")),
        (client.post(&url).json(&json!({"vat": VAT, "activity_id": "a\r\nx: y"})), (422, "invalid")),
        (client.post(&url).json(&json!({"vat": OTHER_VAT, "activity_id": "a"})), (409, "unserved-vat")),
        (client.post(&url).json(&json!([[VAT, "a", "device", "reference"]])), (422, "invalid")),
        (client.get(format!("{url}/%ff")), (400, "bad-parameter")),
        (client.get(format!("{url}?state=DONE")), (400, "bad-parameter")),
        (client.get(format!("{url}?limit=0")), (400, "bad-parameter")),
        (client.get(format!("{url}?limit=1001")), (400, "bad-parameter")),
        (client.get(format!("{url}?limit=1&limit=2")), (400, "bad-parameter")),
        (client.get(format!("{url}?colour=red")), (400, "bad-parameter")),
        (client.get(format!("{url}?cursor=zz")), (400, "bad-parameter")),
        (client.get(format!("{url}?registered_from=yesterday")), (400, "bad-parameter")),
        (client.get(format!("{url}?vat=%00")), (400, "bad-parameter")),
        (client.get(format!("{url}/unknown")), (404, "unknown-activity")),
        (client.get(format!("{url}/..%2f..%2fetc")), (400, "bad-parameter")),
        (client.post(format!("{url}/unknown/cancel")), (404, "unknown-activity")),
        (client.post(format!("{}/v1/events/unknown/redeliver", daemon.url())), (404, "unknown-event")),
        (client.get(format!("{}/v1/nothing", daemon.url())), (404, "no-such-path")),
        (client.delete(&url), (405, "method-not-allowed")),
    ] {
        let said = format!("{request:?}");
        let (status, kind) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, kind.as_str()), expected, "{}", said.chars().take(300).collect::<String>());
    }
    for (body, pointer, detail) in [
        (json!({"vat": 3, "activity_id": "a"}), "/vat", "`3` is not usable: it must be text in quotes."),
        (
            json!([{"vat": VAT, "activity_id": ["a"]}]),
            "/0/activity_id",
            "a list is not usable: it must be text in quotes.",
        ),
        (json!({"vat": null, "activity_id": "a"}), "/vat", "null is not usable: it must be text in quotes."),
        (
            json!({"vat": VAT, "activity_id": "a", "reference": true}),
            "/reference",
            "`true` is not usable: it must be text in quotes.",
        ),
        (json!("a"), "", "An activity is an object with `vat` and `activity_id`."),
    ] {
        let refused = client.post(&url).json(&body).send().await.unwrap().json::<Value>().await.unwrap();
        assert_eq!(refused["errors"], json!([{"pointer": pointer, "detail": detail}]), "{body}");
    }
    assert_eq!(json_of(&daemon, "/v1/activities").await["items"], json!([]));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_two_vats_has_to_be_told_apart() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["slow-1"]);
    setup.add(OTHER_VAT, &["slow-1"]);
    let daemon = setup.start().await;
    let ambiguous = get(&daemon, "/v1/activities/slow-1").await;
    assert_eq!(problem(ambiguous).await, (409, "ambiguous-activity".to_owned()));
    let one = json_of(&daemon, &format!("/v1/activities/slow-1?vat={OTHER_VAT}")).await;
    assert_eq!(one["vat"], OTHER_VAT);
    daemon.stop().await;
}

/// Follows `Link` from slice to slice and answers with all items.
async fn walk(daemon: &Daemon, path: &str) -> Vec<Value> {
    let (mut path, mut items) = (path.to_owned(), Vec::new());
    loop {
        let response = get(daemon, &path).await;
        assert_eq!(response.status(), 200, "{path}");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let body: Value = response.json().await.unwrap();
        items.extend(body["items"].as_array().unwrap().clone());
        assert_eq!(body["has_more"], link.is_some());
        match link {
            None => return items,
            Some(link) => {
                path = link.strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
                assert!(path.contains(body["next_cursor"].as_str().unwrap()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_slices_that_hold_each_row_once() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "");
    let ids = |kind: &str, n: usize| (0..n).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
    for (vat, kind, n) in [(VAT, "good", 12), (OTHER_VAT, "bad", 7), (VAT, "slow", 4)] {
        setup.add(vat, &ids(kind, n).iter().map(String::as_str).collect::<Vec<_>>());
    }
    setup.ok(&["add", "--vat", VAT, "odd-0", "--device-id", "till 7", "--reference", "PO 1&2"]);
    let daemon = setup.start().await;
    eventually("all have come to what they come to", || async {
        let settled = "SELECT count(*) FROM report_activities WHERE state <> 'PENDING' AND (concluded_at IS NOT NULL OR activity_id LIKE 'slow-%')";
        (setup.number(settled).await == 24).then_some(())
    })
    .await;

    let id =
        |item: &Value| format!("{}/{}", item["vat"].as_str().unwrap(), item["activity_id"].as_str().unwrap());
    let all = walk(&daemon, "/v1/activities?limit=5").await;
    assert_eq!(all.len(), 24);
    assert_eq!(all.iter().map(id).collect::<BTreeSet<_>>().len(), 24);
    assert_eq!(all[0]["activity_id"], "odd-0", "the latest registered comes first");
    for (filter, n) in [
        (format!("vat={OTHER_VAT}"), 7),
        ("state=SUCCEEDED".to_owned(), 12),
        ("state=SUCCEEDED&state=FAILED".to_owned(), 19),
        ("state=FAILED&state=FAILED&state=FAILED".to_owned(), 7),
        (format!("state=FAILED&vat={VAT}"), 0),
        ("device_id=till%207".to_owned(), 1),
        ("reference=PO+1%262".to_owned(), 1),
        ("registered_from=2020-01-01T00:00:00Z".to_owned(), 24),
        ("registered_until=2020-01-01T00:00:00Z".to_owned(), 0),
        ("concluded_from=2020-01-01T00:00:00%2B03:00".to_owned(), 20),
    ] {
        assert_eq!(walk(&daemon, &format!("/v1/activities?limit=3&{filter}")).await.len(), n, "{filter}");
    }

    let events = walk(&daemon, "/v1/events?limit=6").await;
    assert_eq!(events.len(), 20);
    assert_eq!(events.iter().map(|event| event["id"].to_string()).collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(walk(&daemon, "/v1/events?limit=2&type=pcsid.activity.rejected").await.len(), 1);
    assert_eq!(walk(&daemon, &format!("/v1/events?limit=2&vat={OTHER_VAT}")).await.len(), 7);
    assert_eq!(walk(&daemon, "/v1/events?activity_id=good-3").await.len(), 1);
    assert_eq!(walk(&daemon, "/v1/deliveries?limit=6").await.len(), 20);
    assert_eq!(walk(&daemon, "/v1/deliveries?status=dead").await.len(), 0);
    let event_id = events[0]["id"].as_str().unwrap();
    assert_eq!(walk(&daemon, &format!("/v1/deliveries?sink=log&event_id={event_id}")).await.len(), 1);

    // The end of the feed is where the next look goes on.
    let end = json_of(&daemon, "/v1/events?limit=1000").await;
    let cursor = end["next_cursor"].as_str().unwrap();
    let later = json_of(&daemon, &format!("/v1/events?cursor={cursor}")).await;
    assert_eq!((&later["items"], &later["next_cursor"]), (&json!([]), &end["next_cursor"]));
    post(&daemon, "/v1/activities/slow-0/cancel", &Value::Null).await;
    let later = json_of(&daemon, &format!("/v1/events?cursor={cursor}")).await;
    assert_eq!(later["items"][0]["type"], "pcsid.activity.cancelled");
    assert_eq!(later["items"].as_array().unwrap().len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_again_under_its_id() {
    let (upstream, receiver) = (Server::by_id().await, Server::start(|_| Reply::new(200, "")).await);
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["good-1"]);
    let daemon = setup.start().await;
    eventually("it is delivered", || async { (receiver.n_seen() == 1).then_some(()) }).await;
    let id = receiver.seen()[0].headers["webhook-id"].clone();
    let path = format!("/v1/events/{id}/redeliver");
    assert_eq!(problem(post(&daemon, &format!("{path}?webhook=nobody"), &Value::Null).await).await.0, 404);
    let redelivered = post(&daemon, &format!("{path}?webhook=erp"), &Value::Null).await;
    assert_eq!(redelivered.json::<Value>().await.unwrap(), json!({"redelivered": 1}));
    eventually("it is delivered again", || async { (receiver.n_seen() == 2).then_some(()) }).await;
    assert_eq!(receiver.seen()[1].headers["webhook-id"], id);
    assert_eq!(receiver.seen()[1].body, receiver.seen()[0].body);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_only_the_probes_answer() {
    let setup =
        Setup::new("http://127.0.0.1:9", "[http]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"http-token\"\n");
    assert_eq!(setup.run(&["run"]).code, 2, "a token that can't be read refuses the start");
    std::fs::write(setup.path("http-token"), "first-token\n").unwrap();
    let daemon = setup.start().await;
    let client = http_client();
    let ask = async |path: &str, token: Option<&str>| {
        let request = client.get(daemon.url() + path);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    };
    for path in ["/v1/activities", "/v1/events", "/v1/nothing", "/metrics", "/openapi.json", "/"] {
        for token in [None, Some("first-toke"), Some("")] {
            let refused = ask(path, token).await;
            let challenges: Vec<_> = refused.headers().get_all("www-authenticate").iter().cloned().collect();
            assert_eq!(challenges.len(), 2, "{path}");
            assert_eq!(problem(refused).await, (401, "unauthorized".to_owned()), "{path}");
        }
    }
    for path in ["/v1/activities", "/metrics", "/openapi.json", "/"] {
        assert_eq!(ask(path, Some("first-token")).await.status(), 200, "{path}");
    }
    let as_browsers_do = client.get(daemon.url() + "/").basic_auth("operator", Some("first-token"));
    assert_eq!(as_browsers_do.send().await.unwrap().status(), 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path, None).await.status(), 200, "{path}");
    }

    std::fs::write(setup.path("http-token"), "second-token\n").unwrap();
    eventually("the new token is good", || async {
        (ask("/v1/activities", Some("second-token")).await.status() == 200).then_some(())
    })
    .await;
    assert_eq!(ask("/v1/activities", Some("first-token")).await.status(), 401);
    let log = daemon.stop().await;
    assert!(!log.contains("first-token") && !log.contains("second-token"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_and_other_sites_pages_are_refused() {
    let more = "[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"pcsid.example.com\"]\n";
    let setup = Setup::new("http://127.0.0.1:9", more);
    let daemon = setup.start().await;
    let client = http_client();
    let ask = async |method: Method, header: (&str, &str)| {
        let request = client.request(method, daemon.url() + "/v1/activities").header(header.0, header.1);
        request.json(&json!([])).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(Method::GET, ("host", "evil.example")).await, 421);
    assert_eq!(ask(Method::GET, ("host", "pcsid.example.com")).await, 200);
    assert_eq!(ask(Method::POST, ("origin", "https://evil.example")).await, 403);
    assert_eq!(ask(Method::POST, ("origin", &daemon.url())).await, 200);
    assert_eq!(ask(Method::POST, ("sec-fetch-site", "cross-site")).await, 403);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_a_closed_set_is_there_from_the_start() {
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new("http://127.0.0.1:9", &webhook("erp", &receiver));
    let daemon = setup.start().await;
    let response = http_client().get(daemon.url() + "/metrics").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = response.text().await.unwrap();
    for (name, n) in [
        ("polls_total", 12),
        ("answers_total", 2),
        ("checks_total", 6 * 3),
        ("check_errors_total", 4),
        ("conclusions_total", 5),
        ("deliveries_total", 2 * 3),
        ("delivery_duration_seconds_count", 2),
    ] {
        let series: Vec<&str> =
            metrics.lines().filter(|line| line.starts_with(&format!("pcsid_watch_{name}{{"))).collect();
        assert_eq!(series.len(), n, "{name}: {series:?}");
        assert!(series.iter().all(|line| line.ends_with(" 0")), "{series:?}");
    }
    if cfg!(target_os = "linux") {
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"] {
            assert!(metrics.contains(&format!("\nprocess_{name} ")), "{name} is not in\n{metrics}");
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_have_an_address_of_their_own() {
    let (upstream, receiver) = (Server::by_id().await, Server::start(|_| Reply::new(200, "")).await);
    let more = format!(
        "{}[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"http-token\"\nmetrics_listen = \"127.0.0.1:0\"\n",
        webhook("erp", &receiver)
    );
    let setup = Setup::new(&upstream.url(), &more);
    setup.add(VAT, &["good-1", "bad-1", "slow-1"]);
    let daemon = setup.start().await;
    let metrics = eventually("two conclusions are counted and delivered", || async {
        let text =
            http_client().get(daemon.probe_url() + "/metrics").send().await.unwrap().text().await.unwrap();
        let is_done = |line: &str| text.lines().any(|have| have == line);
        (is_done("pcsid_watch_deliveries_total{sink=\"erp\",outcome=\"delivered\"} 2")
            && is_done("pcsid_watch_undelivered_events{sink=\"erp\",outcome=\"pending\"} 0")
            && is_done("pcsid_watch_activities{state=\"IN_PROGRESS\"} 1"))
        .then_some(text)
    })
    .await;
    for line in [
        "pcsid_watch_ready 1.0",
        "pcsid_watch_activities{state=\"SUCCEEDED\"} 1",
        "pcsid_watch_conclusions_total{state=\"FAILED\"} 1",
        "pcsid_watch_conclusions_total{state=\"EXPIRED\"} 0",
        "pcsid_watch_checks_total{check=\"StandardTaxInvoiceCredit\",outcome=\"FAILED\"} 1",
        "pcsid_watch_polls_total{verdict=\"succeeded\"} 1",
        "pcsid_watch_detection_lag_seconds_count 2",
        "pcsid_watch_credential_held{credential=\"main\"} 0",
        "pcsid_watch_vats_held 0.0",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    assert!(
        metrics.contains("# TYPE pcsid_watch_polls_total counter\n") && !metrics.contains("# EOF"),
        "{metrics}"
    );
    let asked =
        http_client().get(daemon.probe_url() + "/metrics").header("accept", "application/openmetrics-text");
    let response = asked.send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let open_metrics = response.text().await.unwrap();
    assert!(open_metrics.contains("# TYPE pcsid_watch_polls counter\n") && open_metrics.ends_with("# EOF\n"));
    assert!(!metrics.contains(VAT), "metrics are read by more people than may see whose they are");
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/v1/activities", 404), ("/", 404)] {
        let response = http_client().get(daemon.probe_url() + path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_at_the_start_and_an_empty_one_is_none() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("[http]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    let setup = Setup::new("http://127.0.0.1:9", &more);
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 1);
    let expected = format!("http.listen: {} can't be listened on", taken.local_addr().unwrap());
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);

    setup.configure(&setup.configuration().replace(&taken.local_addr().unwrap().to_string(), ""));
    let daemon = setup.start().await;
    assert!(!daemon.stderr().contains("the status page"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_dawdle_are_cut_off_and_hold_nobody_up() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let address = daemon.url().strip_prefix("http://").unwrap().to_owned();
    let mut dawdling = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
        dawdling.push(stream);
    }
    // More of them than are served at the same time: who comes after them is served once the first are cut off.
    assert_eq!(get(&daemon, "/healthz").await.status(), 200);
    let mut left = Vec::new();
    dawdling[0].read_to_end(&mut left).await.unwrap();
    assert!(left.is_empty() || left.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&left));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_whose_bodies_do_not_arrive_keep_no_turn_from_others() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let address = daemon.url().strip_prefix("http://").unwrap().to_owned();
    let mut dawdling = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/preflight HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is asked for as soon as the daemon begins to read it.
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 100");
        dawdling.push(stream);
    }
    assert_eq!(get(&daemon, "/activities.csv").await.status(), 200);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_every_operation_and_the_rows_as_they_are() {
    let upstream = Server::by_id().await;
    let setup =
        Setup::new(&upstream.url(), &format!("[http]\nlisten = \"127.0.0.1:0\"\n# {WEBHOOK_SECRET}\n"));
    setup.add(VAT, &["bad-1"]);
    let daemon = setup.start().await;
    setup.reaches("bad-1", "FAILED").await;
    let document = json_of(&daemon, "/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{activity_id}", "bad-1").replace("{event_id}", "unknown");
        let refused = http_client().delete(daemon.url() + &path).send().await.unwrap();
        let allowed: BTreeSet<String> = refused.headers()["allow"]
            .to_str()
            .unwrap()
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_ascii_lowercase)
            .collect();
        let documented: BTreeSet<String> = operations.as_object().unwrap().keys().cloned().collect();
        assert_eq!(documented, allowed, "{path}");
    }
    let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let required = |schema: &str| {
        let listed = document["components"]["schemas"][schema]["required"].as_array().unwrap();
        listed.iter().map(|key| key.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let history = json_of(&daemon, "/v1/activities/bad-1").await;
    assert_eq!(keys(&history), required("History"));
    for (path, schema) in
        [("/v1/activities", "Activity"), ("/v1/events", "ActivityEvent"), ("/v1/deliveries", "Delivery")]
    {
        assert_eq!(keys(&json_of(&daemon, path).await["items"][0]), required(schema), "{schema}");
    }

    // What an event tells is described by its type, and has the same names there and in /v1.
    let data = json_of(&daemon, "/v1/events").await["items"][0]["data"].clone();
    assert_eq!(keys(&data), required("ActivityEventData"));
    let failed = |of: &Value| {
        let checks = of["checks"].as_array().unwrap();
        checks.iter().find(|check| check["outcome"] == "FAILED").unwrap().clone()
    };
    for (event, row, schema) in [
        (&data, &history, "ActivityEventData"),
        (&data["counts"], &history["counts"], "Counts"),
        (&failed(&data), &failed(&history), "EventCheck"),
        (&failed(&data)["errors"][0], &failed(&history)["errors"][0], "EventCheckError"),
        (&failed(&data)["errors"][0]["meaning"], &failed(&history)["errors"][0]["meaning"], "Text"),
        (&data["errors"][0], &history["errors"][0], "EventError"),
        (&data["next_step"], &history["next_step"], "NextStep"),
    ] {
        let (of_event, of_row) = (keys(event), keys(row));
        for name in required(schema) {
            assert!(of_event.contains(&name) && of_row.contains(&name), "{schema}.{name}: {event} {row}");
        }
    }
    let listed = json_of(&daemon, "/v1/events").await["items"][0].clone();
    assert_eq!(keys(&history["events"][0]), ["id", "type", "timestamp"]);
    assert_eq!(history["events"][0]["id"], listed["id"]);

    // Each type of event is a webhook, and fields may be added everywhere but in what clients send.
    let types = document["components"]["schemas"]["EventType"]["enum"].as_array().unwrap();
    let webhooks: BTreeSet<&str> =
        document["webhooks"].as_object().unwrap().keys().map(String::as_str).collect();
    let sent = EventKind::ALL.map(EventKind::label).into_iter().chain(["pcsid.test"]);
    assert_eq!(webhooks, sent.collect());
    assert!(types.iter().all(|label| webhooks.contains(label.as_str().unwrap())));
    assert_eq!(document.to_string().matches("\"additionalProperties\":false").count(), 1, "NewActivity");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_of_events_skips_nothing_after_everything_was_pruned() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "[retention]\nconcluded_after = \"1ms\"\n");
    setup.add(VAT, &["good-1", "good-2", "good-3"]);
    let daemon = setup.start().await;
    eventually("three events are delivered", || async {
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == 3).then_some(())
    })
    .await;
    let cursor = json_of(&daemon, "/v1/events").await["next_cursor"].as_str().unwrap().to_owned();
    setup.ok(&["db", "prune"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_events").await, 0);
    setup.add(VAT, &["good-4"]);
    let later = eventually("the next one is in the feed", || async {
        let later = json_of(&daemon, &format!("/v1/events?cursor={cursor}")).await;
        (later["items"] != json!([])).then_some(later)
    })
    .await;
    assert_eq!(later["items"][0]["data"]["activity_id"], "good-4");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_answered_with_what_it_made_of_the_activity_and_not_with_what_came_after() {
    // Upstream refuses at once, so that the poller is as fast as can be.
    let upstream = Server::start(|_| Reply::refused()).await;
    let schedule = "[schedule]\ninitial_interval = \"1ms\"\nmax_interval = \"1ms\"\nreject_after = 1\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    let daemon = setup.start().await;
    let (client, url) = (http_client(), daemon.url());
    for n in 0..60 {
        let id = format!("act-{n}");
        let added = client.post(format!("{url}/v1/activities")).json(&json!({"vat": VAT, "activity_id": id}));
        let added = added.send().await.unwrap();
        assert_eq!(added.status(), 201);
        let added: Value = added.json().await.unwrap();
        assert_eq!((&added["state"], &added["polls"]), (&json!("PENDING"), &json!(0)), "{added}");
        setup.reaches(&id, "REJECTED").await;
        let retried = client.post(format!("{url}/v1/activities/{id}/retry")).send().await.unwrap();
        let retried: Value = retried.json().await.unwrap();
        assert_eq!(
            (&retried["state"], &retried["concluded_at"]),
            (&json!("PENDING"), &json!(null)),
            "{retried}"
        );
    }
    daemon.stop().await;
}

/// Whether a text holds what turns the order of a line around, or steers a terminal.
fn is_harmful(text: &str) -> bool {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().any(|c| turns(c) || (c.is_control() && !matches!(c, '\n' | '\r' | '\t')))
}

/// Status and body of a request whose path is sent as it is.
async fn answered(daemon: &Daemon, method: &str, path: &[u8]) -> (u16, String) {
    let host = daemon.url().strip_prefix("http://").unwrap().to_owned();
    let head = format!(" HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let mut stream = TcpStream::connect(&host).await.unwrap();
    stream.write_all(&[method.as_bytes(), b" ", path, head.as_bytes()].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_characters_in_paths_and_parameters_are_refused_and_repeated_nowhere() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__LOG__LEVEL", "debug");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    let long = "a".repeat(10_240);
    let odd: Vec<&[u8]> = vec![
        b"..%2F..%2Fact-1",
        b"act-1%00",
        b"%E2%80%AEact-1",
        b"\xe2\x80\xaeact-1",
        b"%D8%9Cact-1",
        b"act-1%0d%0aX-Evil:%201",
        b"act-1%1b%5b2J",
        b"%C2%85",
        b"%FF%FE",
        b"%61%63%74%2D%31%25%30%30",
        b"act%252D1",
        b"act-1%20",
        b"%",
        b"%zz",
        b"%u0061",
        long.as_bytes(),
    ];
    let places: [(&str, &str, &str); 8] = [
        ("GET", "/v1/activities/", ""),
        ("POST", "/v1/activities/", "/poll"),
        ("POST", "/v1/activities/", "/cancel"),
        ("POST", "/v1/activities/", "/retry"),
        ("POST", "/v1/events/", "/redeliver"),
        ("GET", "/activities/", ""),
        ("GET", "/v1/activities?vat=", ""),
        ("GET", "/v1/activities?cursor=", ""),
    ];
    for odd in odd {
        for (method, before, after) in places {
            let path = [before.as_bytes(), odd, after.as_bytes()].concat();
            let (status, body) = answered(&daemon, method, &path).await;
            let path = String::from_utf8_lossy(&path).chars().take(60).collect::<String>();
            assert!((400..500).contains(&status), "{method} {path}: {status} {body}");
            assert!(!is_harmful(&body), "{method} {path}: {body:?}");
            if body.starts_with('{') {
                assert!(body.len() < 1_000, "{method} {path}: {body}");
            }
        }
    }
    // What can't be seen is left out of a search, for it comes along from where a text was copied.
    for field in ["q", "rule"] {
        let path = format!("/activities?{field}=%E2%80%AEact%D8%9C-1%C2%85%1B");
        let (status, body) = answered(&daemon, "GET", path.as_bytes()).await;
        assert_eq!(status, 200, "{path}");
        assert!(!is_harmful(&body), "{path}");
        assert!(body.contains(&format!("name=\"{field}\"")) && body.contains("value=\"act-1\""), "{body}");
    }
    for path in
        ["/v1/deliveries?sink=%00", "/v1/activities?reference=%00&device_id=%00", "/deliveries?webhook=%00"]
    {
        let (status, body) = answered(&daemon, "GET", path.as_bytes()).await;
        assert!(status < 500 && !is_harmful(&body), "{path}: {status} {body:?}");
    }
    let details =
        json!({"DeviceDetails": {"EgsSerialNumber": "1-a|2-b|3-\0", "CommonName": "\0"}, "Vat": "3\0"});
    let checked = post(&daemon, "/v1/preflight", &details).await;
    assert_eq!(checked.status(), 200, "{}", checked.text().await.unwrap());
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
    assert_eq!(setup.number("SELECT count(*) FROM report_transitions").await, 1);
    assert_eq!(setup.state("act-1").await, "IN_PROGRESS");
    let log = daemon.stop().await;
    assert!(!is_harmful(&log), "{log:?}");
    assert!(!log.contains("ERROR"), "{log}");
}
