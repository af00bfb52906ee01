//! The log as a machine reads it: `docs/log.schema.json` is true, also of a run that ends badly.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::helpers::{Ran, Reply, Server, Setup, VAT, eventually, webhook};

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The lines, each held against the schema.
fn lines(log: &str) -> Vec<Map<String, Value>> {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    log.lines()
        .map(|line| {
            let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
                panic!("no JSON object: {line}")
            };
            for required in schema["required"].as_array().unwrap() {
                assert!(fields.contains_key(required.as_str().unwrap()), "{line}");
            }
            for (name, value) in &fields {
                let property =
                    properties.get(name).unwrap_or_else(|| panic!("{name} is not described: {line}"));
                let is_right = match (&property["type"], &property["enum"]) {
                    (Value::Null, Value::Array(possible)) => possible.contains(value),
                    (Value::String(kind), _) if kind == "integer" => value.is_i64(),
                    (Value::String(kind), _) if kind == "object" => value.is_object(),
                    (kind, _) => kind == "string" && value.is_string(),
                };
                assert!(is_right, "{name} is not as described: {line}");
            }
            fields
        })
        .collect()
}

fn last_word(ran: &Ran) -> String {
    assert_eq!(ran.stdout, "");
    let lines = lines(&ran.stderr);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    last["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_run_that_ends_badly_is_json() {
    if crate::helpers::on_postgres() {
        // A server has no file.
        return;
    }
    let upstream = Server::start(|request| match request.path.contains("bad") {
        true => Reply::failed(),
        false => Reply::new(503, "down"),
    })
    .await;
    let receiver = Server::start(|_| Reply::new(410, "")).await;
    let more = format!("{}[log]\nformat = \"json\"\nlevel = \"debug\"\n", webhook("erp", &receiver));
    let setup = Setup::new(&upstream.url(), &more);
    setup.add(VAT, &["bad-1", "down-1"]);
    let mut daemon = setup.spawn();
    for (what, field, value) in [
        ("an activity fails", "state", "FAILED"),
        ("its event dies", "sink", "erp"),
        ("an answer is no answer", "verdict", "gateway"),
    ] {
        eventually(what, || async {
            daemon.stderr().contains(&format!("\"{field}\":\"{value}\"")).then_some(())
        })
        .await;
    }
    std::fs::remove_file(setup.database()).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    let lines = lines(&daemon.stderr());
    let about = |message: &str| {
        let found = lines.iter().find(|line| line["message"].as_str().unwrap().contains(message));
        found.unwrap_or_else(|| panic!("{message}: {}", daemon.stderr())).clone()
    };
    assert_eq!(about(" polls ")["upstream"], upstream.url());
    let failed = about("activity bad-1 of VAT");
    assert_eq!((&failed["activity_id"], &failed["vat"]), (&Value::from("bad-1"), &Value::from(VAT)));
    assert_eq!(about("is dead for erp")["sink"], "erp");
    assert!(lines.last().unwrap()["message"].as_str().unwrap().contains("was removed or replaced"));
}

#[test]
fn what_keeps_a_daemon_from_starting_is_json_too() {
    let json = "[log]\nformat = \"json\"\n";
    let setup = Setup::new("http://127.0.0.1:9", json);
    // An address that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let usable = setup.configuration();
    setup.configure(&usable.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\"")));
    let ran = setup.run(&["run"]);
    assert!(ran.code == 1 && last_word(&ran).contains(&address), "{}", ran.stderr);
    // A value, a key and a file that can't be used.
    for unusable in [
        usable.replace("[http]", "[schedule]\nmultiplier = 0.5\n[http]"),
        usable.replace("[http]", "[https]\n[http]"),
        usable.replace("[http]", "[http"),
    ] {
        setup.configure(&unusable);
        let ran = setup.run(&["run"]);
        assert_eq!(ran.code, 2, "{unusable}");
        assert!(last_word(&ran).contains("pcsid-watch.toml"), "{}", ran.stderr);
        // Other commands are called by people.
        assert!(setup.run(&["list"]).stderr.starts_with("pcsid-watch: "));
    }
    // Arguments that can't be used, where the environment says that the log is JSON.
    let setup = Setup::new("http://127.0.0.1:9", "").variable("PCSID_WATCH__LOG__FORMAT", "json");
    let ran = setup.run(&["run", "--now"]);
    assert!(ran.code == 2 && last_word(&ran).contains("--now"), "{}", ran.stderr);
    let ran = setup.variable("PCSID_WATCH__LOG__FORMAT", "text").run(&["run", "--now"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[test]
fn the_schema_describes_each_field_that_is_logged_and_no_other() {
    let mut logged = BTreeSet::from(["timestamp", "level", "message", "library"].map(str::to_owned));
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            for rest in source.split("tracing::").skip(1) {
                let is_line = ["error!(", "warn!(", "info!(", "debug!(", "trace!("]
                    .iter()
                    .find_map(|name| rest.strip_prefix(name));
                // Fields come first, and none of their values is a text in quotes.
                let Some((fields, _)) = is_line.and_then(|rest| rest.split_once('"')) else { continue };
                let names = fields.split(',').map(|field| field.split('=').next().unwrap().trim());
                logged.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
    }
    let schema = schema();
    let described: BTreeSet<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(logged, described);
}
