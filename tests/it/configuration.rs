//! Settings: what is refused, how it is named, and that no secret is ever shown.

use crate::helpers::{Ran, Reply, Server, Setup, TOKEN, VAT, WEBHOOK_SECRET, eventually, program};

const NOWHERE: &str = "http://127.0.0.1:9";

/// Settings that can't be used are refused by `run`, with code 2 and a sentence that holds these parts.
fn refused(setup: &Setup, configuration: &str, parts: &[&str]) {
    setup.configure(configuration);
    for arguments in [["config", "check"].as_slice(), ["run"].as_slice()] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 2, "{configuration}\n{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "`{part}` is missing in: {}", ran.stderr);
        }
    }
    assert!(!setup.database().exists(), "nothing is created: {configuration}");
}

#[test]
fn what_cannot_work_is_refused_with_file_key_and_rule() {
    let setup = Setup::new(NOWHERE, "");
    let good = setup.configuration();
    let with = |more: &str| format!("{good}\n{more}");
    let replaced = |from: &str, to: &str| good.replace(from, to);
    let file = setup.path("pcsid-watch.toml").display().to_string();
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            replaced("max_interval = \"100ms\"", "max_interval = \"10ms\""),
            vec!["schedule.max_interval: `10ms` is not usable", "schedule.initial_interval, which is 20ms"],
        ),
        (replaced("max_interval", "max_intervall"), vec!["schedule.max_intervall: this key is not known"]),
        (with("[polling]\nfast = true"), vec!["polling: this key is not known"]),
        (with("[events]\nlog = \"perhaps\""), vec!["events.log"]),
        (
            with("[retention]\nconcluded_after = \"soon\""),
            vec!["retention.concluded_after", "soon", "a duration such as"],
        ),
        (replaced("\"20ms\"", "\"0ms\""), vec!["schedule.initial_interval", "from 1ms"]),
        (
            replaced("[schedule]", "[schedule]\nmultiplier = 0.5"),
            vec!["schedule.multiplier: 0.5 is not usable"],
        ),
        (replaced("[schedule]", "[schedule]\nmultiplier = nan"), vec!["schedule.multiplier"]),
        (replaced("[schedule]", "[schedule]\njitter = 1.0"), vec!["schedule.jitter"]),
        (replaced("[schedule]", "[schedule]\nreject_after = 0"), vec!["schedule.reject_after"]),
        (
            replaced("[upstream]", "[upstream]\nmax_in_flight = 0"),
            vec!["upstream.max_in_flight: 0 is not usable"],
        ),
        (format!("{good}\n").replace("sqlite://", "postgres://"), vec!["database.url", "names no user"]),
        (
            format!("{good}\n").replace("sqlite://", "mysql://"),
            vec!["database.url", "sqlite:// or postgres://"],
        ),
        (good.replace(".db\"", ".db?mode=ro\""), vec!["database.url", "parameters after `?`"]),
        (replaced(NOWHERE, "ftp://example.com"), vec!["upstream.base_url", "https://"]),
        (
            replaced(NOWHERE, "https://me:pass-word@example.com"),
            vec!["upstream.base_url", "user name or password"],
        ),
        (with("[log]\nlevel = \"loud\""), vec!["log.level: `loud`"]),
        (with("[log]\nlevel = \"\""), vec!["log.level"]),
        (
            replaced("requests_per_minute = 0", "requests_per_minute = false"),
            vec!["credentials[0].requests_per_minute: `false` is not usable: it must be a whole number"],
        ),
        (
            replaced("requests_per_minute = 0", "requests_per_minute = 0.5"),
            vec!["credentials[0].requests_per_minute"],
        ),
        (
            replaced("requests_per_minute = 0", "requests_per_minute = \"7\""),
            vec!["credentials[0].requests_per_minute"],
        ),
        (replaced("requests_per_minute = 0", "vats = [310122393500003]"), vec!["credentials[0].vats[0]"]),
        (replaced("name = \"main\"", "name = 123"), vec!["credentials[0].name"]),
        (with("[events]\nlog = 7"), vec!["events.log"]),
        (with("[log]\nformat = \"xml\""), vec!["log.format: `xml`", "text or json"]),
        (
            with("[[webhooks]]\nname = \"erp\"\nurl = \"http://example.com/\"\nsecret = \"x\""),
            vec!["webhooks[0].url", "allow_http = true"],
        ),
        (
            with(
                "[[webhooks]]\nname = \"erp\"\nurl = \"https://example.com/\"\nsecret = \"x\"\nevents = [\"pcsid.done\"]",
            ),
            vec!["webhooks[0].events[0]: `pcsid.done` matches no event"],
        ),
        (
            with("[[webhooks]]\nname = \"log\"\nurl = \"https://example.com/\"\nsecret = \"x\""),
            vec!["webhooks[0].name"],
        ),
        (
            with("[[webhooks]]\nname = \"erp\"\nurl = \"https://example.com/\""),
            vec!["webhooks[0]: secret_file is missing"],
        ),
        (
            with("[[credentials]]\nname = \"main\"\ntoken = \"t\"\nvats = [\"3\"]"),
            vec!["credentials[1].name: `main` stands twice"],
        ),
        (
            with("[[credentials]]\nname = \"second\"\ntoken = \"t\""),
            vec!["credentials[1].vats: only one credential"],
        ),
        (replaced("token_file", "token"), vec![]),
    ];
    for (configuration, parts) in cases.iter().take(cases.len() - 1) {
        let mut parts = parts.clone();
        parts.push(&file);
        refused(&setup, configuration, &parts);
    }
}

#[test]
fn http_off_loopback_needs_a_token() {
    let setup = Setup::new(NOWHERE, "[http]\nlisten = \"0.0.0.0:8088\"\n");
    let ran = setup.run(&["config", "check"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("http.listen: `0.0.0.0:8088` is reachable from other machines"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_pipe_or_a_device_takes_neither_time_nor_memory_without_end() {
    let setup = Setup::new("https://127.0.0.1:9", "");
    let pipe = setup.path("pipe").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in ["/dev/zero", &pipe] {
        let ran = setup.run(&["--config", file, "config", "check"]);
        assert_eq!(ran.code, 2, "{file}: {}", ran.stderr);
        let setup = Setup::new("https://127.0.0.1:9", &format!("[catalogue]\nfile = \"{file}\"\n"));
        let ran = setup.variable("PCSID_WATCH__UPSTREAM__CA_FILE", file).run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{file}: {}", ran.stderr);
        let setup = Setup::new("https://127.0.0.1:9", "");
        let ran = setup.variable("PCSID_WATCH__CREDENTIALS__0__TOKEN_FILE", file).run(&["config", "check"]);
        assert!(ran.code == 2 && ran.stderr.contains(file), "{file}: {}", ran.stderr);
    }
}

#[test]
fn a_missing_or_empty_secret_is_refused_at_the_start() {
    let setup = Setup::new(NOWHERE, "");
    std::fs::remove_file(setup.path("token")).unwrap();
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 2);
    let file = setup.path("token").display().to_string();
    for part in ["credential `main` has no usable token", "credentials[].token_file", &file] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    std::fs::write(setup.path("token"), " \n").unwrap();
    assert_eq!(setup.run(&["run"]).code, 2);
    let mut outside = setup.command(&["run"]);
    outside
        .env("PCSID_WATCH__HTTP__TOKEN_FILE", "$CREDENTIALS_DIRECTORY/http")
        .env_remove("CREDENTIALS_DIRECTORY");
    std::fs::write(setup.path("token"), "a-token").unwrap();
    let ran = Ran::from(outside.output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("CREDENTIALS_DIRECTORY is not set"), "{}", ran.stderr);
    std::fs::write(setup.path("token"), "two\nlines").unwrap();
    assert_eq!(setup.run(&["config", "check"]).code, 2);
    // Who only registers needs no token.
    assert_eq!(setup.run(&["add", "--vat", VAT, "act-1"]).code, 0);

    let short = "whsec_c2hvcnQ=";
    let webhook =
        format!("[[webhooks]]\nname = \"erp\"\nurl = \"https://example.com/\"\nsecret = \"{short}\"\n");
    let setup = Setup::new(NOWHERE, &webhook);
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("webhook `erp`") && ran.stderr.contains("24 to 64 bytes"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("c2hvcnQ"), "{}", ran.stderr);
}

#[test]
fn a_daemon_without_credentials_is_refused_but_reading_is_not() {
    let setup = Setup::new(NOWHERE, "");
    setup.configure(&format!("[database]\nurl = \"sqlite://{}\"\n", setup.database().display()));
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("credentials: there is none"), "{}", ran.stderr);
    let with_credentials = Setup::new(NOWHERE, "").with_database(&setup.database());
    with_credentials.add(VAT, &["act-1"]);
    assert!(setup.ok(&["list", "--format", "csv"]).contains("act-1"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let setup = Setup::new(NOWHERE, "")
        .variable("PCSID_WATCH__SCHEDULE__MAX_INTERVAL", "7m")
        .variable("PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT", "9")
        .variable("PCSID_WATCH__CREDENTIALS__0__VATS", "310122393500003 399999999900003")
        .variable("PCSID_WATCH__EVENTS__LOG", "false");
    let shown = setup.ok(&["config", "show", "--format", "csv"]);
    for line in [
        "schedule.max_interval,7m",
        "upstream.max_in_flight,9",
        "events.log,false",
        "schedule.initial_interval,20ms",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "`{line}` is missing in:\n{shown}");
    }
    assert!(shown.contains("310122393500003") && shown.contains("399999999900003"));

    let wrong = Setup::new(NOWHERE, "").variable("PCSID_WATCH__SCHEDULE__MAXINTERVAL", "7m");
    let ran = wrong.run(&["config", "check"]);
    assert_eq!(ran.code, 2);
    let named = "environment variable PCSID_WATCH__SCHEDULE__MAXINTERVAL: schedule.maxinterval: this key is not known";
    assert!(ran.stderr.contains(named), "{}", ran.stderr);
    let wrong = Setup::new(NOWHERE, "").variable("PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT", "0");
    let ran = wrong.run(&["config", "check"]);
    assert!(
        ran.stderr.contains(
            "environment variable PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT: upstream.max_in_flight: 0 is not"
        ),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_environment_alone_is_enough() {
    let setup = Setup::new(NOWHERE, "");
    std::fs::remove_file(setup.path("pcsid-watch.toml")).unwrap();
    let mut command = program();
    command.current_dir(setup.folder());
    command.args(["config", "check"]);
    command.env("PCSID_WATCH__CREDENTIALS__0__NAME", "main");
    command.env("PCSID_WATCH__CREDENTIALS__0__TOKEN", "007");
    let ran = Ran::from(command.output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn the_configuration_file_is_looked_for_where_it_is_documented() {
    let setup = Setup::new(NOWHERE, "");
    let named = setup.configuration();
    std::fs::create_dir(setup.path("config")).unwrap();
    std::fs::write(setup.path("config/pcsid-watch.toml"), "[log]\nformat = \"xml\"\n").unwrap();
    let run = |with: &dyn Fn(&mut std::process::Command)| {
        let mut command = program();
        command.current_dir(setup.folder()).args(["config", "show", "--format", "csv"]);
        with(&mut command);
        Ran::from(command.output().unwrap())
    };
    let default = run(&|_| {});
    assert!(default.stderr.contains("config/pcsid-watch.toml: log.format"), "{}", default.stderr);
    let by_variable = run(&|command| {
        command.env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml"));
    });
    assert_eq!(by_variable.code, 0, "{}", by_variable.stderr);
    std::fs::write(setup.path("third.toml"), named.replace("20ms", "30ms")).unwrap();
    let by_flag = run(&|command| {
        command.env("PCSID_WATCH_CONFIG", "/nowhere").arg("--config").arg(setup.path("third.toml"));
    });
    assert!(by_flag.stdout.contains("schedule.initial_interval,30ms"), "{}", by_flag.stderr);
    let missing = run(&|command| {
        command.arg("--config").arg("/nowhere.toml");
    });
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("`/nowhere.toml` can't be read"), "{}", missing.stderr);
}

#[test]
fn no_secret_is_ever_shown() {
    let webhook = format!(
        "[[webhooks]]\nname = \"erp\"\nurl = \"https://example.com/\"\nsecret = \"{WEBHOOK_SECRET}\"\n"
    );
    let credential = format!("[[credentials]]\nname = \"main\"\ntoken = \"{TOKEN}\"\n");
    let setup = Setup::new(NOWHERE, &format!("{credential}{webhook}"));
    let shown = setup.ok(&["config", "show"]);
    assert!(shown.contains("[redacted]"));
    let mut outputs = vec![shown, setup.ok(&["config", "show", "--format", "json"])];
    let good = setup.configuration();
    for broken in [
        good.replace(&format!("token = \"{TOKEN}\""), &format!("token = [\"{TOKEN}\"]")),
        good.replace(&format!("token = \"{TOKEN}\""), &format!("token = \"{TOKEN}")),
        good.replace(&format!("token = \"{TOKEN}\""), &format!("token: \"{TOKEN}\"")),
        good.replace(
            &format!("secret = \"{WEBHOOK_SECRET}\""),
            &format!("secret = {{ a = \"{WEBHOOK_SECRET}\" }}"),
        ),
        good.replace(&format!("secret = \"{WEBHOOK_SECRET}\""), &format!("secret = \"{WEBHOOK_SECRET}%\"")),
    ] {
        setup.configure(&broken);
        let ran = setup.run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{broken}");
        outputs.push(ran.stdout + &ran.stderr);
    }
    for output in outputs {
        assert!(!output.contains(TOKEN), "{output}");
        assert!(!output.contains(&WEBHOOK_SECRET[6..]), "{output}");
    }
}

#[test]
fn the_sample_file_holds_every_key_and_is_usable() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/pcsid-watch.toml");
    let text = std::fs::read_to_string(sample).unwrap();
    let setup = Setup::new(NOWHERE, "");
    // Uncommented, every key it mentions is one that the program knows.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key.starts_with('[')
                    || key.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) =>
            {
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    std::fs::write(setup.path("rules.toml"), "").unwrap();
    let uncommented =
        uncommented.replace("/etc/pcsid-watch/rules.toml", setup.path("rules.toml").to_str().unwrap());
    setup.configure(&uncommented.replace("token_file = \"/", "token_file = \"/nowhere/"));
    let shown = setup.ok(&["config", "show", "--format", "csv"]);
    setup.configure("[[credentials]]\nname = \"main\"\ntoken = \"t\"\n[[webhooks]]\nname = \"erp\"\nurl = \"https://h/\"\nsecret = \"s\"\n");
    let every = setup.ok(&["config", "show", "--format", "csv"]);
    for key in every.lines().filter_map(|line| line.split(',').next()) {
        let name = key.rsplit('.').next().unwrap();
        if !["token", "secret"].contains(&name) {
            assert!(shown.contains(key), "{key} is not in the sample");
        }
    }
    // As it is shipped it names files of an installation; its values are the defaults.
    let defaults: Vec<&str> = every
        .lines()
        .filter(|line| !line.starts_with("credentials") && !line.starts_with("webhooks"))
        .collect();
    setup.configure(&text);
    let shipped = setup.ok(&["config", "show", "--format", "csv"]);
    for line in defaults {
        assert!(shipped.lines().any(|shown| shown == line), "{line} is not the sample's value");
    }
}

#[test]
fn variables_that_contradict_each_other_are_refused_by_the_same_words_each_time() {
    type Variables = &'static [(&'static str, &'static str)];
    let contradicting: [(Variables, &[&str]); 6] = [
        (
            &[("CREDENTIALS__NAME", "a"), ("CREDENTIALS__0__NAME", "b")],
            &["PCSID_WATCH__CREDENTIALS__NAME: credentials is a list", "PCSID_WATCH__CREDENTIALS__0__NAME"],
        ),
        (
            &[("CREDENTIALS__0__VATS", VAT), ("CREDENTIALS__0__VATS__0", VAT)],
            &["PCSID_WATCH__CREDENTIALS__0__VATS and PCSID_WATCH__CREDENTIALS__0__VATS__0 contradict"],
        ),
        (
            &[("LOG__LEVEL", "info"), ("log__level", "debug")],
            &["PCSID_WATCH__LOG__LEVEL and PCSID_WATCH__log__level contradict each other", "`log.level`"],
        ),
        (
            &[("WEBHOOKS__0__NAME", "a"), ("WEBHOOKS__00__NAME", "b")],
            &["PCSID_WATCH__WEBHOOKS__00__NAME and PCSID_WATCH__WEBHOOKS__0__NAME contradict"],
        ),
        (&[("CREDENTIALS__4000000000__NAME", "a")], &["entries are numbered from 0 without gaps"]),
        (&[("LOG____LEVEL", "debug")], &["PCSID_WATCH__LOG____LEVEL: it names no key"]),
    ];
    for (variables, parts) in contradicting {
        let setup = variables.iter().fold(Setup::new(NOWHERE, ""), |setup, (name, value)| {
            setup.variable(&format!("PCSID_WATCH__{name}"), value)
        });
        let mut texts: Vec<String> = (0..10)
            .map(|_| {
                let ran = setup.run(&["config", "check"]);
                assert_eq!(ran.code, 2, "{variables:?}: {}", ran.stderr);
                ran.stderr.replace(setup.folder().to_str().unwrap(), "")
            })
            .collect();
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
        for part in parts {
            assert!(texts[0].contains(part), "`{part}` is missing in: {}", texts[0]);
        }
    }
}

#[test]
fn a_variable_that_nothing_reads_is_no_secret() {
    for (name, part) in [
        ("PCSID_WATCH_LOG__LEVEL", Some("did you mean PCSID_WATCH__LOG__LEVEL?")),
        ("PCSID_WATCH_UPSTREAM_BASE_URL", Some("did you mean PCSID_WATCH__UPSTREAM__BASE_URL?")),
        ("PCSID_WATCH_DATABASE", Some("two underscores")),
        ("pcsid_watch__log__level", Some("did you mean PCSID_WATCH__LOG__LEVEL?")),
        // What Kubernetes says of a service of that name.
        ("PCSID_WATCH_SERVICE_HOST", None),
        ("PCSID_WATCH_PORT", None),
        ("PCSID_WATCH_PORT_8088_TCP_ADDR", None),
    ] {
        let ran = Setup::new(NOWHERE, "").variable(name, "s3cr3t").run(&["config", "check"]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        match part {
            None => assert_eq!(ran.stderr, "", "{name}"),
            Some(part) => {
                let warns = ran.stderr.contains("warning: environment variable")
                    && ran.stderr.contains(name)
                    && ran.stderr.contains(part);
                assert!(warns && !ran.stderr.contains("s3cr3t"), "{name}: {}", ran.stderr);
            }
        }
    }
    use std::os::unix::ffi::OsStrExt as _;
    let setup = Setup::new(NOWHERE, "");
    let mut command = setup.command(&["config", "check"]);
    let ran = Ran::from(
        command.env("PCSID_WATCH__LOG__LEVEL", std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap(),
    );
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("PCSID_WATCH__LOG__LEVEL is not UTF-8"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_none_is_refused_by_its_variable_and_one_that_is_dead_is_named() {
    let erp = "[[webhooks]]\nname = \"erp\"\nurl = \"http://127.0.0.1:9/\"\n\
               secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";
    let setup = Setup::new("https://upstream.invalid/x", erp);
    setup.add(VAT, &["act-1"]);
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        for value in ["::::", "socks5://user:s3cret-word@proxy:1080", "http://user:s3cret-word@"] {
            for arguments in [["config", "check"].as_slice(), &["run"], &["webhook", "test", "erp"]] {
                let output = setup.command(arguments).env(variable, value).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{variable}: {said}");
                assert!(
                    said.contains(&format!("environment variable {variable} is no address of a proxy")),
                    "{said}"
                );
                assert!(!said.contains("s3cret-word"), "{said}");
            }
        }
    }
    let mut command = setup.command(&["run"]);
    command.env("HTTPS_PROXY", "http://user:s3cret-word@127.0.0.1:9");
    let daemon = crate::helpers::Daemon::spawn(command);
    let named = "no connection to the proxy http://127.0.0.1:9 (HTTPS_PROXY)";
    eventually("it is named", || async { daemon.stderr().contains(named).then_some(()) }).await;
    assert!(!daemon.stderr().contains("s3cret-word"), "{}", daemon.stderr());
    let last_error = "json_quote(last_error) AS r FROM report_activities WHERE last_error IS NOT NULL";
    let stored = eventually("it is stored", || async { setup.rows(last_error).await.pop() }).await;
    assert!(stored.as_str().unwrap().contains(named), "{stored}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_file_descriptors_are_said_at_the_start_and_the_soft_limit_is_raised() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let limited = |limits: &str, arguments: &str| {
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            &format!("ulimit {limits} && exec \"$0\" {arguments}"),
            env!("CARGO_BIN_EXE_pcsid-watch"),
        ]);
        command.env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml")).current_dir(setup.folder());
        command
    };
    // Where a person checks, a service's limit is not known.
    for (arguments, code) in [("run", 2), ("config check", 0)] {
        let output = limited("-n 100", arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains("upstream.max_in_flight: 64 requests at a time need at least 128 file descriptors"),
            "{said}"
        );
        assert!(said.contains("may have 100"), "{said}");
    }
    let daemon = crate::helpers::Daemon::spawn(limited("-Sn 100", "run"));
    eventually("it starts", || async { daemon.stderr().contains(" polls ").then_some(()) }).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{limits}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_speaks_http_2_alone_is_named_as_such() {
    // What such a server answers to anything else: its settings, or that it goes away.
    let upstream = Server::start(|_| Reply::Raw(vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    let last_error = "json_quote(last_error) AS r FROM report_activities WHERE last_error IS NOT NULL";
    let stored = eventually("it is stored", || async { setup.rows(last_error).await.pop() }).await;
    assert!(stored.as_str().unwrap().contains("does not speak HTTP/1.1"), "{stored}");
    daemon.stop().await;
}

#[test]
fn plain_http_to_another_machine_is_warned_of() {
    for (url, is_warned) in [("http://upstream.example.com", true), ("http://127.0.0.1:9", false)] {
        let setup = Setup::new(url, "");
        let ran = setup.run(&["config", "check"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let warning = format!("`{url}` is plain http: anyone on the network path can read the token");
        assert_eq!(ran.stderr.contains(&warning), is_warned, "{}", ran.stderr);
    }
}
