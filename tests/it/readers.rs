//! What users read, word for word and in both languages: a change shows as a change of a snapshot.

use std::fmt::Write as _;

use crate::helpers::{OTHER_VAT, Server, Setup, VAT, eventually};

/// Points in time with their digits made zeros, so that two runs read alike.
fn timeless(text: &str) -> String {
    const PATTERNS: [&str; 6] = [
        "dddd-dd-ddTdd:dd:dd.dddZ",
        "dddd-dd-dd dd:dd:dd",
        "dddd-dd-dd dd:dd",
        "dddd-dd-dd",
        // Where a narrow column has broken the line.
        "dd:dd:dd",
        "dd:dd",
    ];
    let fits = |rest: &[char], pattern: &str| {
        pattern.chars().enumerate().all(|(at, wanted)| match (rest.get(at), wanted) {
            (Some(found), 'd') => found.is_ascii_digit(),
            (found, wanted) => found == Some(&wanted),
        })
    };
    let chars: Vec<char> = text.chars().collect();
    let (mut timeless, mut at) = (String::new(), 0);
    while let Some(found) = chars.get(at) {
        match PATTERNS.into_iter().find(|pattern| fits(&chars[at..], pattern)) {
            Some(pattern) => {
                timeless.push_str(&pattern.replace('d', "0"));
                at += pattern.len();
            }
            None => {
                timeless.push(*found);
                at += 1;
            }
        }
    }
    timeless
}

/// What these commands print in both languages.
fn printed(setup: &Setup, commands: &[&[&str]]) -> String {
    let mut printed = String::new();
    for command in commands {
        for language in ["en", "ar"] {
            let out = setup.ok(&[command, &["--lang", language][..]].concat());
            writeln!(printed, "$ pcsid-watch {} --lang {language}\n{out}", command.join(" ")).unwrap();
        }
    }
    timeless(&printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_of_activities_reads_as_ever() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "--device-id", "till 1", "--reference", "PO-7", "bad"]);
    let daemon = setup.start().await;
    setup.reaches("bad", "FAILED").await;
    setup.ok(&["add", "--vat", VAT, "--device-id", "till 1", "good"]);
    setup.reaches("good", "SUCCEEDED").await;
    setup.ok(&["add", "--vat", OTHER_VAT, "odd"]);
    setup.reaches("odd", "REJECTED").await;
    eventually("all events are delivered", || async {
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == 3).then_some(())
    })
    .await;
    let events: Vec<String> =
        daemon.events().iter().map(|event| serde_json::to_string_pretty(event).unwrap()).collect();
    daemon.stop().await;
    insta::assert_snapshot!("events", timeless(&events.join("\n")));
    // How often an id was refused until it was rejected, and so how often it was asked for, is settled; when is not.
    insta::assert_snapshot!(
        "activities",
        printed(&setup, &[&["list"], &["show", "bad"], &["show", "good"], &["show", "odd"], &["deliveries"]])
    );
    insta::assert_snapshot!(
        "reports",
        printed(
            &setup,
            &[
                &["report", "summary"],
                &["report", "checks"],
                &["report", "rules"],
                &["report", "devices"],
                &["report", "overdue"],
                &["report", "deliveries"],
                &["report", "renewals"],
            ]
        )
    );
    insta::assert_snapshot!(
        "explanations",
        printed(&setup, &[&["explain", "BR-KSA-37"], &["explain", "BR-CO-15"], &["explain", "not-a-rule"]])
    );
}

#[test]
fn the_help_of_every_command_reads_as_ever() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let commands: &[&[&str]] = &[
        &[],
        &["run"],
        &["demo"],
        &["sandbox"],
        &["add"],
        &["import"],
        &["list"],
        &["show"],
        &["explain"],
        &["evidence"],
        &["preflight"],
        &["report"],
        &["poll"],
        &["cancel"],
        &["retry"],
        &["deliveries"],
        &["deliveries", "redeliver"],
        &["webhook"],
        &["webhook", "test"],
        &["webhook", "verify"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["health"],
        &["db"],
        &["db", "adopt"],
        &["db", "backup"],
        &["db", "check"],
        &["db", "copy"],
        &["db", "prune"],
    ];
    let help: Vec<Vec<&str>> = commands.iter().map(|command| [command, &["--help"][..]].concat()).collect();
    let help: Vec<&[&str]> = help.iter().map(Vec::as_slice).collect();
    insta::assert_snapshot!("help", printed(&setup, &help));
}
