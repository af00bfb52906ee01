//! The status page and its forms, as a browser meets them.

use reqwest::Response;

use crate::helpers::{Daemon, OTHER_VAT, Reply, Server, Setup, VAT, eventually, http_client, webhook};

async fn upstream() -> Server {
    Server::start(|seen| match seen.activity_id().split('-').next().unwrap() {
        "good" => Reply::succeeded(),
        "bad" => Reply::failed(),
        "odd" => Reply::new(
            400,
            r#"{"ErrorList":[{"ErrorCode":"<b>","ErrorMessage":"<script>alert(1)</script> \u202e رفض","ErrorSource":"X"}]}"#,
        ),
        _ => Reply::in_progress(),
    })
    .await
}

async fn get(daemon: &Daemon, path: &str) -> (u16, String) {
    let response = http_client().get(daemon.url() + path).send().await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    let status = response.status().as_u16();
    let page = response.text().await.unwrap();
    assert!(!page.contains("<script") && !page.contains("style=\""), "{path}");
    (status, page)
}

fn form_token(page: &str) -> String {
    let field = page.split("name=\"form_token\" value=\"").nth(1).expect("a form with a token");
    field.split('"').next().unwrap().to_owned()
}

/// Sends a form and does not follow where it leads.
async fn send(daemon: &Daemon, path: &str, fields: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request =
        client.post(daemon.url() + path).header("content-type", "application/x-www-form-urlencoded");
    request.body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_show_what_happened_with_everything_from_elsewhere_escaped() {
    let upstream = upstream().await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    let (status, empty) = get(&daemon, "/").await;
    assert!(status == 200 && empty.contains("pcsid-watch add"), "{empty}");

    setup.ok(&["add", "--vat", VAT, "bad-1", "--device-id", "<i>جدة</i>", "--reference", "a\"b"]);
    setup.add(VAT, &["good-1", "odd-1", "slow-1"]);
    setup.add(OTHER_VAT, &["slow-1"]);
    for (id, state) in [("bad-1", "FAILED"), ("good-1", "SUCCEEDED"), ("odd-1", "REJECTED")] {
        setup.reaches(id, state).await;
    }
    let (_, overview) = get(&daemon, "/").await;
    for shown in ["BR-KSA-17", "All is well", "bad-1", &format!("/activities/bad-1?vat={VAT}")] {
        assert!(overview.contains(shown), "{shown}");
    }

    let (_, activity) = get(&daemon, &format!("/activities/bad-1?vat={VAT}")).await;
    for shown in ["BR-KSA-17", "&lt;i&gt;", "SimplifiedTaxInvoiceDebit", "pcsid.generation.failed"] {
        assert!(activity.contains(shown), "{shown}");
    }
    assert!(!activity.contains("<i>"));
    let (_, rejected) = get(&daemon, &format!("/activities/odd-1?vat={VAT}")).await;
    assert!(rejected.contains("&lt;script&gt;alert(1)"), "{rejected}");
    assert!(!rejected.contains('\u{202e}'), "a mark that reorders what follows it");

    let (_, choice) = get(&daemon, "/activities/slow-1").await;
    assert!(choice.contains(VAT) && choice.contains(OTHER_VAT), "{choice}");
    for (search, n) in [
        ("", 5),
        ("?q=bad-1", 1),
        ("?q=%3Ci%3E%D8%AC%D8%AF%D8%A9%3C%2Fi%3E", 1),
        (&format!("?q={OTHER_VAT}"), 1),
        ("?q=&state=SUCCEEDED", 1),
        ("?q=AD-1", 1),
        ("?q=%D8%AC%D8%AF%D9%87", 1),
        ("?q=bad+%D9%A1", 1),
        ("?state=WAITING", 2),
        ("?state=FAILED&rule=br-ksa-17", 1),
        ("?rule=BR-KSA-999", 0),
        ("?state=FAILED&owner=zatca", 0),
        (&format!("?vat={}&sort=oldest", OTHER_VAT.replace('3', "%D9%A3")), 1),
        ("?from=2020-01-01&sort=ended", 3),
        ("?until=2020-01-01", 0),
        ("?q=nothing", 0),
    ] {
        let (status, list) = get(&daemon, &format!("/activities{search}")).await;
        assert_eq!((status, list.matches("<tr").count().saturating_sub(1)), (200, n), "{search}");
    }
    let csv = http_client().get(daemon.url() + "/activities.csv?state=FAILED").send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = csv.text().await.unwrap();
    assert!(csv.lines().count() == 2 && csv.contains("bad-1") && csv.contains(",FAILED,"), "{csv}");
    for (path, status) in [
        ("/activities/nobody", 404),
        ("/activities/a%20b", 400),
        ("/?colour=red", 400),
        ("/activities?state=DONE", 400),
        ("/activities?from=yesterday", 400),
        ("/activities?sort=colour", 400),
    ] {
        let (said, page) = get(&daemon, path).await;
        assert!(said == status && page.contains("<h1"), "{path}: {said}");
    }
    let style = http_client().get(daemon.url() + "/style.css").send().await.unwrap();
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_too_long_is_refused_by_a_page_that_says_what_to_do() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    assert!(get(&daemon, "/preflight").await.1.contains("<textarea"));
    let long = "x".repeat(64 * 1024);
    for path in ["/preflight?lang=ar", "/activities/x/poll?lang=ar"] {
        let response = send(&daemon, path, &[("text", &long)]).await;
        assert_eq!(response.status(), 413);
        let page = response.text().await.unwrap();
        assert!(page.contains("النموذج أطول من ") && page.contains("pcsid-watch preflight FILE"), "{page}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_act_once_and_only_from_our_own_forms() {
    let upstream = upstream().await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["slow-1"]);
    let daemon = setup.start().await;
    setup.reaches("slow-1", "IN_PROGRESS").await;
    let page = format!("/activities/slow-1?vat={VAT}");
    let token = form_token(&get(&daemon, &page).await.1);

    for fields in [vec![("vat", VAT)], vec![("vat", VAT), ("form_token", ""), ("form_token", "x")]] {
        let refused = send(&daemon, "/activities/slow-1/cancel", &fields).await;
        assert_eq!(refused.status(), 403);
        assert!(refused.text().await.unwrap().contains("reload the page"));
    }
    let client = http_client();
    let foreign =
        client.post(daemon.url() + "/activities/slow-1/cancel").header("origin", "https://evil.example");
    assert_eq!(foreign.body(format!("form_token={token}&vat={VAT}")).send().await.unwrap().status(), 403);
    assert_eq!(setup.state("slow-1").await, "IN_PROGRESS");

    let fields = [("form_token", token.as_str()), ("vat", VAT)];
    for (action, said, state) in [
        ("poll", "due", "IN_PROGRESS"),
        ("cancel", "cancelled", "CANCELLED"),
        ("retry", "retried", "IN_PROGRESS"),
    ] {
        let done = send(&daemon, &format!("/activities/slow-1/{action}"), &fields).await;
        assert_eq!(done.status(), 303, "{action}");
        let to = done.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(to, format!("/activities/slow-1?vat={VAT}&said={said}"));
        assert_eq!(get(&daemon, &to).await.0, 200);
        setup.reaches("slow-1", state).await;
    }
    let wrong = send(&daemon, "/activities/slow-1/retry", &fields).await;
    assert_eq!(wrong.status(), 409);
    assert!(wrong.text().await.unwrap().contains("only one that was rejected"));

    let id = eventually("its cancellation is announced", || async {
        daemon.events().first().map(|event| event["id"].as_str().unwrap().to_owned())
    })
    .await;
    let again = [("form_token", token.as_str()), ("vat", VAT), ("activity_id", "slow-1"), ("webhook", "log")];
    assert_eq!(send(&daemon, &format!("/events/{id}/redeliver"), &again).await.status(), 303);
    eventually("the line comes again", || async { (daemon.events().len() == 2).then_some(()) }).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_the_language_that_was_asked_for_on_every_page() {
    let upstream = upstream().await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["bad-1"]);
    let daemon = setup.start().await;
    setup.reaches("bad-1", "FAILED").await;
    for path in
        ["/", "/activities", "/deliveries", "/activities/bad-1", "/activities/nobody", "/nowhere-here"]
    {
        let request =
            http_client().get(daemon.url() + path).header("accept-language", "ar-SA,ar;q=0.9,en;q=0.8");
        let page = request.send().await.unwrap().text().await.unwrap();
        let is_page = page.starts_with("<!DOCTYPE html>");
        assert!(!is_page || page.contains("<html lang=\"ar\" dir=\"rtl\">"), "{path}: {page}");
        assert_eq!(is_page, path != "/nowhere-here", "{path}");
    }
    let (_, page) = get(&daemon, "/?lang=ar").await;
    assert!(page.contains("الرياض") && page.contains("UTC+3"), "{page}");
    let refreshing = http_client().get(daemon.url() + "/?refresh=on").send().await.unwrap();
    assert_eq!(refreshing.headers()["refresh"], "15");
    let kept = refreshing.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let again = http_client().get(daemon.url()).header("cookie", kept).send().await.unwrap();
    assert!(again.headers().contains_key("refresh"));
    assert!(!http_client().get(daemon.url()).send().await.unwrap().headers().contains_key("refresh"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_delivered_comes_first_and_can_be_sent_again_at_once() {
    let upstream = upstream().await;
    let receiver = Server::start(|_| Reply::new(410, "gone")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["bad-1"]);
    let daemon = setup.start().await;
    let page = eventually("its delivery is given up", || async {
        let (_, page) = get(&daemon, "/deliveries").await;
        page.contains("data-status=\"dead\"").then_some(page)
    })
    .await;
    let (dead, delivered) = (page.find("data-status=\"dead\""), page.find("data-status=\"delivered\""));
    assert!(dead < delivered && page.contains("Not delivered") && page.contains("bad-1"), "{page}");
    let fields = [("form_token", form_token(&page)), ("webhook", "erp".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let stranger = send(&daemon, "/deliveries/redeliver", &[("webhook", "erp")]).await;
    assert_eq!(stranger.status(), 403);
    receiver.answer(|_| Reply::new(200, ""));
    let done = send(&daemon, "/deliveries/redeliver", &fields).await;
    assert_eq!(
        (done.status().as_u16(), done.headers()["location"].to_str().unwrap()),
        (303, "/deliveries?said=redelivered")
    );
    eventually("it is delivered", || async {
        let (_, page) = get(&daemon, "/deliveries?status=delivered&sink=erp").await;
        page.contains("bad-1").then_some(())
    })
    .await;
    daemon.stop().await;
}
