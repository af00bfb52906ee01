//! The stand-in for ClearTax and the demo, as an integrator uses them.

use std::process::Stdio;

use crate::helpers::{Daemon, Ran, Setup, VAT, eventually, http_client, program};

/// Starts `pcsid-watch sandbox` on a free port and answers with its address.
async fn sandbox() -> (Daemon, String) {
    let mut command = program();
    command.args(["sandbox", "--listen", "127.0.0.1:0"]);
    let daemon = Daemon::spawn(command);
    let url = eventually("the sandbox listens", || async {
        let stderr = daemon.stderr();
        let rest = stderr.split("base_url = \"").nth(1)?;
        Some(rest.split('"').next()?.to_owned())
    })
    .await;
    (daemon, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_dawdle_hold_up_nobody_else() {
    let (sandbox, url) = sandbox().await;
    let address: std::net::SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    // More than it bears: some say nothing, some ask for much and read nothing of it.
    let idle: Vec<std::net::TcpStream> = (0..600_u32)
        .map(|n| {
            use std::io::Write as _;
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
            if n % 2 == 0 {
                let _ = stream.write_all("GET / HTTP/1.1\r\nhost: sandbox\r\n\r\n".repeat(50).as_bytes());
            }
            stream
        })
        .collect();
    for _ in 0..10 {
        let page = http_client().get(&url).send().await.unwrap();
        assert_eq!(page.status(), 200);
    }
    drop(idle);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_ends_as_it_says() {
    let (sandbox, url) = sandbox().await;
    let setup = Setup::new(&url, "[upstream]\nrequest_timeout = \"400ms\"\n");
    setup.configure(
        &setup
            .configuration()
            .replace(
                &format!("base_url = \"{url}\""),
                &format!("base_url = \"{url}/middle-east/ksa/einvoicing\"\nrequest_timeout = \"500ms\""),
            )
            .replace("[upstream]\nrequest_timeout = \"400ms\"\n", ""),
    );
    let endings = [
        (
            "SUCCEEDED",
            vec![
                "success",
                "success-after-3-polls",
                "success-after-300ms",
                "standard-only",
                "unauthorized",
                "forbidden-1-times",
                "not-yet-known",
                "throttled-100ms",
                "unavailable-100ms",
                "server-error",
                "gateway",
                "redirect",
                "hang-1-times",
                "dropped",
                "garbage",
                "oversized",
                "unknown-status",
                "other-type",
                "628f37b61ed71a6638b848e4",
            ],
        ),
        ("FAILED", vec!["failed", "failed-200", "no-pcsid", "failed-after-2-polls"]),
        ("REJECTED", vec!["rejected"]),
    ];
    for (_, ids) in &endings {
        setup.add(VAT, ids);
    }
    setup.add(VAT, &["never"]);
    let daemon = setup.start().await;
    for (state, ids) in &endings {
        for id in ids {
            setup.reaches(id, state).await;
        }
    }
    assert_eq!(setup.state("never").await, "IN_PROGRESS");
    daemon.stop().await;
    let mut sandbox = sandbox;
    sandbox.signal("-INT");
    assert_eq!(sandbox.exit_code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_lists_the_scripts_and_never_the_token() {
    let (_sandbox, url) = sandbox().await;
    let client = http_client();
    let asked = client
        .get(format!("{url}/onboarding/success/pcsid-status"))
        .header("x-cleartax-auth-token", "very-secret")
        .header("vat", VAT)
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), 200);
    let page = client.get(&url).send().await.unwrap().text().await.unwrap();
    for script in ["success", "failed", "rejected", "never", "throttled", "dropped"] {
        assert!(page.contains(script), "{script}");
    }
    assert!(page.contains(VAT) && !page.contains("very-secret"));
}

#[test]
fn an_address_in_use_is_refused_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Ran::from(program().args(["sandbox", "--listen", &address]).output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(&format!("{address} can't be listened on")), "{}", ran.stderr);
}

#[test]
fn the_demo_ends_in_every_way_and_well() {
    let folder = tempfile::TempDir::new().unwrap();
    let ran =
        Ran::from(program().arg("demo").current_dir(folder.path()).stdin(Stdio::null()).output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for state in ["PCSID issued", "Failed", "ID refused", "Timed out", "Stopped"] {
        assert!(ran.stdout.contains(&format!("{state} ")), "{state} is missing in:\n{}", ran.stdout);
    }
    for part in ["How they ended", "Standard credit note", "BR-KSA-"] {
        assert!(ran.stdout.contains(part), "{part} is missing in:\n{}", ran.stdout);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}
