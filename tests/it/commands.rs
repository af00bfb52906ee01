//! What the command line accepts, refuses and says.

use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::helpers::{OTHER_VAT, Ran, Reply, Server, Setup, VAT, eventually, program, webhook};

const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_vats_that_could_leave_their_place_are_refused_and_nothing_is_stored() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["good"]);
    let too_long = "x".repeat(65);
    for bad in ["", " ", "../../admin", "a/b", "a b", "a\r\nx-evil: 1", "ü", "a%2f", too_long.as_str()] {
        for arguments in [
            vec!["add", "--vat", VAT, "fine", bad],
            vec!["add", "--vat", bad, "fine"],
            vec!["show", bad],
            vec!["cancel", bad],
            vec!["poll", bad],
            vec!["retry", bad],
            vec!["show", "good", "--vat", bad],
        ] {
            let ran = setup.run(&arguments);
            assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("is not usable: it must be 1 to"), "{arguments:?}: {}", ran.stderr);
            assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        }
    }
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_twice_changes_nothing() {
    let setup = Setup::new(NOWHERE, "");
    setup.ok(&["add", "--vat", VAT, "act-1", "--reference", "first"]);
    let again = setup.ok(&["add", "--vat", VAT, "act-1", "act-1", "act-2", "--reference", "second"]);
    assert_eq!(
        again.lines().collect::<Vec<_>>(),
        [
            "act-1 of VAT 310122393500003 was known already, nothing changed",
            "act-1 of VAT 310122393500003 was known already, nothing changed",
            "act-2 of VAT 310122393500003 is watched from now on",
        ]
    );
    let rows = setup.rows("json_array(activity_id, reference) AS r FROM report_activities ORDER BY 1").await;
    assert_eq!(rows, [json!(["act-1", "first"]), json!(["act-2", "second"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vat_of_another_shape_is_taken_with_a_warning() {
    let setup = Setup::new(NOWHERE, "");
    let ran = setup.run(&["add", "--vat", "GROUP-7", "act-1"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("warning: VAT GROUP-7 is not 15 digits"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_all_rows_or_none() {
    let setup = Setup::new(NOWHERE, "");
    let file = setup.path("import.csv");
    let name = file.to_str().unwrap();
    std::fs::write(
        &file,
        format!("\u{feff}vat,activity_id,reference\r\n{VAT},a,\"جدة, ١\"\r\n{VAT},../b,x\r\n{OTHER_VAT},c,\"two\r\nlines\"\r\n{VAT},d\r\n"),
    )
    .unwrap();
    let ran = setup.run(&["import", name]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.is_empty());
    for line in
        ["line 3: activity id `../b`", "line 4: reference `two\\r\\nlines`", "line 6: it has 2 fields"]
    {
        assert!(ran.stderr.contains(line), "{line} is missing in:\n{}", ran.stderr);
    }
    assert!(!setup.database().exists() || setup.number("SELECT count(*) FROM report_activities").await == 0);

    std::fs::write(
        &file,
        format!("\u{feff}vat,activity_id,reference\r\n{VAT},a,\"جدة, ١\"\r\n{OTHER_VAT},c,\r\n"),
    )
    .unwrap();
    assert_eq!(setup.ok(&["import", name]), "2 activities are watched from now on, 0 were known already\n");
    let rows =
        setup.rows("json_array(vat, activity_id, reference) AS r FROM report_activities ORDER BY 1").await;
    assert_eq!(rows, [json!([VAT, "a", "جدة, ١"]), json!([OTHER_VAT, "c", null])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_reads_standard_input() {
    let setup = Setup::new(NOWHERE, "");
    let mut child = setup
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("activity_id,vat\nact-1,{VAT}\n").as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
    let missing = setup.run(&["import", "no-such-file.csv"]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("no-such-file.csv can't be read"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_reports_come_whole_and_in_order() {
    // More than a slice has.
    const N: usize = 1_100;
    let setup = Setup::new(NOWHERE, "")
        .variable("PCSID_WATCH__SCHEDULE__STALLED_AFTER", "1ms")
        .variable("COLUMNS", "400");
    let rows = |row: &dyn Fn(usize) -> String| (0..N).map(row).collect::<String>();
    let activities = rows(&|n| format!("{VAT},act-{n},till {}\n", n % 1_050));
    std::fs::write(setup.path("a.csv"), format!("vat,activity_id,device_id\n{activities}")).unwrap();
    setup.ok(&["import", "a.csv"]);
    let certificates = rows(&|n| format!("{VAT},till {n},2031-01-{:02}\n", n % 28 + 1));
    std::fs::write(setup.path("c.csv"), format!("vat,device_id,expires_at\n{certificates}")).unwrap();
    setup.ok(&["import", "--certificates", "c.csv"]);
    // A thousand rows are a table, and the next ones another, so that memory does not grow with what is asked for.
    for command in [&["list"][..], &["report", "overdue"]] {
        for (limit, n_rows) in [("1050", 1_050), ("5000", N)] {
            let printed = setup.ok(&[command, &["--limit", limit]].concat());
            let n_tables = printed.lines().filter(|line| line.starts_with('─')).count();
            assert_eq!((printed.matches("act-").count(), n_tables), (n_rows, 2), "{printed:.2000}");
            assert_eq!(printed.contains("Only the first 1,050 rows"), n_rows < N, "{printed:.2000}");
        }
    }
    let few = setup.ok(&["list", "--limit", "1050", "--format", "json"]);
    assert_eq!(few.matches("\"activity_id\"").count(), 1_050);
    for (name, n_rows) in [("overdue", N), ("devices", 1_050), ("renewals", N)] {
        let report = |limit: &[&str], format| {
            setup.ok(&[&["report", name, "--within", "5000d", "--format", format], limit].concat())
        };
        let whole = report(&[], "csv");
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(lines.len(), n_rows + 1, "{name}");
        assert_eq!(
            report(&["--limit", "1020"], "csv").lines().collect::<Vec<_>>(),
            lines[..=1_020],
            "{name}"
        );
        let field = |line: &str, name: &str| {
            let at = lines[0].split(',').position(|column| column == name).unwrap();
            line.split(',').nth(at).unwrap().to_owned()
        };
        let key = |line: &&str| match name {
            "overdue" => (format!("{:0>8}", field(line, "activity_id")), String::new()),
            "devices" => ((field(line, "attempts") != "2").to_string(), field(line, "device_id")),
            _ => (field(line, "expires_at"), field(line, "device_id")),
        };
        assert!(lines[1..].is_sorted_by_key(key), "{name}: {whole:.2000}");
        let objects: Vec<serde_json::Value> = serde_json::from_str(&report(&[], "json")).unwrap();
        assert_eq!(objects.len(), n_rows, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_whole_and_many_dead_deliveries_are_sent_again() {
    // Lists are read a thousand rows at a time, and dead deliveries are made due two thousand at a time.
    const N: usize = 1_100;
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(503, "")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    // The list begins with the latest: the only letters that need a mark come last.
    let rows: String =
        (0..N).map(|n| format!("{VAT},act-{n},{}\n", if n == 0 { "جدة" } else { "till" })).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id,device_id\n{rows}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let daemon = setup.start().await;
    eventually("all have concluded", || async {
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == N as i64).then_some(())
    })
    .await;
    daemon.stop().await;
    setup
        .execute("UPDATE deliveries SET status = 'dead', next_attempt_at = NULL WHERE status = 'pending'")
        .await;
    setup
        .execute(
            "INSERT INTO deliveries (event, sink, status, tried_from)
             SELECT event, 'former', 'dead', tried_from FROM deliveries WHERE sink = 'erp'",
        )
        .await;
    for command in ["list", "deliveries"] {
        for format in ["json", "csv"] {
            let whole = setup.ok(&[command, "--format", format]);
            assert!(
                whole == setup.ok(&[command, "--format", format, "--limit", "1000000"]),
                "{command} {format}"
            );
        }
    }
    let csv = setup.ok(&["list", "--format", "csv"]);
    assert!(csv.starts_with('\u{feff}') && csv.lines().count() == N + 1 && csv.contains("جدة"));
    let deliveries: Vec<Value> =
        serde_json::from_str(&setup.ok(&["deliveries", "--format", "json", "--status", "dead"])).unwrap();
    assert_eq!(deliveries.len(), 2 * N);
    let done = setup.ok(&["deliveries", "redeliver", "--dead"]);
    assert!(done.contains("2,200"), "{done}");
    let n_with = async |status: &str| {
        setup.number(&format!("SELECT count(*) FROM report_deliveries WHERE status = '{status}'")).await
    };
    assert_eq!((n_with("pending").await, n_with("dead").await), (2 * N as i64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_and_print_in_three_formats() {
    let setup = Setup::new(NOWHERE, "");
    std::fs::write(setup.path("none.csv"), "vat,activity_id\n").unwrap();
    setup.ok(&["import", "none.csv"]);
    assert_eq!(setup.ok(&["list", "--format", "json"]).trim(), "[]");
    assert!(setup.ok(&["list", "--format", "csv"]).starts_with("vat,activity_id,device_id,reference,state,"));
    setup.add(VAT, &["a", "b", "c"]);
    setup.ok(&["add", "--vat", OTHER_VAT, "d", "--device-id", "جدة"]);
    setup.ok(&["cancel", "b"]);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let text = setup.ok(&[&["list", "--format", "json"], arguments].concat());
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        rows.iter().map(|row| row["activity_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]), ["d", "c", "b", "a"]);
    assert_eq!(ids(&["--state", "PENDING"]), ["d", "c", "a"]);
    assert_eq!(ids(&["--state", "cancelled"]), ["b"]);
    assert_eq!(ids(&["--vat", VAT, "--limit", "2"]), ["c", "b"]);
    assert_eq!(setup.run(&["list", "--state", "DONE"]).code, 2);
    let csv = setup.ok(&["list", "--format", "csv", "--vat", VAT]);
    assert_eq!(csv.lines().count(), 4);
    let arabic = setup.ok(&["list", "--format", "csv"]);
    assert!(arabic.starts_with('\u{feff}') && arabic.contains("جدة"), "Excel needs the mark to see Arabic");
    assert_eq!(ids(&["--state", "cancelled", "--state", "pending", "--limit", "3"]), ["d", "c", "b"]);
    let table = setup.ok(&["list", "--limit", "2"]);
    assert!(table.contains("Activity id") && table.contains("first 2 rows"), "{table}");
    assert!(table.contains("Riyadh time (UTC+3)"), "{table}");
    let mut wide = setup.command(&["list", "--lang", "ar"]);
    let table = Ran::from(wide.env("COLUMNS", "300").output().unwrap()).stdout;
    assert!(
        table.contains("معرّف النشاط") && table.contains("في الانتظار") && !table.contains("PENDING"),
        "{table}"
    );
}

#[test]
fn help_and_complaints_are_in_the_readers_language() {
    let setup = Setup::new(NOWHERE, "");
    let by_setting = |arguments: &[&str]| {
        let mut command = setup.command(arguments);
        Ran::from(command.env("PCSID_WATCH__UI__LANGUAGE", "ar").output().unwrap())
    };
    for arguments in [
        ["--lang", "ar", "list", "--help"],
        ["list", "--help", "--lang", "ar"],
        ["list", "-h", "--lang=ar", "-h"],
    ] {
        let help = setup.ok(&arguments);
        assert!(help.contains("عرض الأنشطة، الأحدث إضافة أولًا"), "{help}");
        assert!(
            help.contains("الاستعمال: pcsid-watch list [OPTIONS]") && help.contains("--limit <LIMIT>"),
            "{help}"
        );
        for english in ["Usage", "Options", "Only", "Print", "possible values", "default:"] {
            assert!(!help.contains(english), "{english}: {help}");
        }
    }
    let help = by_setting(&["help", "report"]).stdout;
    assert!(help.contains("- overdue: الأنشطة التي لم تنتهِ منذ أكثر من schedule.stalled_after"), "{help}");
    assert!(setup.ok(&["report", "--help"]).contains("Usage: pcsid-watch report"));

    for (arguments, said) in [
        (
            &["list", "--limit", "many"][..],
            "القيمة `many` لا تصلح لـ `--limit <LIMIT>`: يجب أن تكون عددًا صحيحًا",
        ),
        (&["list", "--limit", "0"], "القيمة `0` لا تصلح لـ `--limit <LIMIT>`: 0 ليس ضمن"),
        (&["list", "--state", "DONE"], "القيم الممكنة: PENDING, IN_PROGRESS"),
        (&["lst"], "لا يوجد أمر كهذا: `lst`"),
        (&["show"], "مدخلات مطلوبة ناقصة: <ACTIVITY_ID>"),
        (&["show", "x", "--bogus"], "لا يوجد خيار كهذا هنا: `--bogus`"),
        (&["show", "x", "y"], "مدخل زائد: `y`"),
        (&["deliveries", "redeliver", "x", "--dead"], "لا يجتمع"),
    ] {
        let ran = by_setting(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("error:") && !ran.stderr.contains("Usage"), "{}", ran.stderr);
    }
    for (arguments, said) in [
        (&["add", "--vat", "3/", "x"][..], "الرقم الضريبي `3/` لا يصلح"),
        (&["add", "--vat", VAT, "a/b"], "معرّف النشاط `a/b` لا يصلح"),
        (&["add", "--vat", VAT, "a", "--device-id", "a\u{7}"], "معرّف الجهاز `a\\u{7}` لا يصلح"),
        (&["webhook", "test", "erp"], "لا يوجد webhook باسم `erp`"),
        (&["db", "backup", "token"], "`token` موجود من قبل"),
    ] {
        let ran = by_setting(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    // A daemon's last words belong to its log.
    assert!(by_setting(&["run", "--bogus"]).stderr.contains("unexpected argument"));
    setup.configure(&format!("{}[log]\nformat = \"json\"\n", setup.configuration()));
    let mut command = setup.command(&["--config", "pcsid-watch.toml", "run", "--bogus"]);
    let ran = Ran::from(command.env_remove("PCSID_WATCH_CONFIG").output().unwrap());
    let line: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert!(line["message"].as_str().is_some_and(|said| said.contains("--bogus")), "{line}");

    let mut broken = setup.command(&["list", "--lang", "ar"]);
    let ran = Ran::from(broken.env("PCSID_WATCH__SCHEDULE__JITTER", "2").output().unwrap());
    assert_eq!(ran.code, 2);
    let said = "schedule.jitter: القيمة 2 لا تصلح: يجب أن تكون 0 أو أكثر ودون 1";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_two_vats_has_to_be_told_apart() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["same"]);
    setup.add(OTHER_VAT, &["same"]);
    let ran = setup.run(&["cancel", "same"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("registered for several VATs (310122393500003, 399999999900003): name one with --vat")
    );
    setup.ok(&["cancel", "same", "--vat", OTHER_VAT]);
    let states = setup.rows("json_array(vat, state) AS r FROM report_activities ORDER BY vat").await;
    assert_eq!(states, [json!([VAT, "PENDING"]), json!([OTHER_VAT, "CANCELLED"])]);
    assert_eq!(setup.run(&["show", "unknown"]).code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_stays_with_its_upstream_until_it_is_adopted() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["act-1"]);
    let other = "http://127.0.0.1:10/elsewhere";
    setup.configure(&setup.configuration().replace(NOWHERE, other));
    for arguments in
        [vec!["add", "--vat", VAT, "act-2"], vec!["run"], vec!["poll", "act-1"], vec!["retry", "act-1"]]
    {
        let ran = setup.run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(NOWHERE) && ran.stderr.contains(other), "both are named: {}", ran.stderr);
        assert!(ran.stderr.contains("pcsid-watch db adopt"), "{}", ran.stderr);
    }
    setup.ok(&["list"]);
    assert!(
        setup.ok(&["db", "adopt"]).contains(&format!("belonged to {NOWHERE} and belongs to {other} now"))
    );
    setup.add(VAT, &["act-2"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vat_that_no_credential_serves_is_refused_at_intake() {
    let more = format!("[[credentials]]\nname = \"only\"\ntoken = \"t\"\nvats = [\"{VAT}\"]\n");
    let setup = Setup::new(NOWHERE, &more);
    setup.add(VAT, &["act-1"]);
    let ran = setup.run(&["add", "--vat", OTHER_VAT, "act-2"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("VAT 399999999900003 is served by no credential"), "{}", ran.stderr);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_ours_are_refused_untouched() {
    if crate::helpers::on_postgres() {
        // A server has no file.
        return;
    }
    let setup = Setup::new(NOWHERE, "");
    let file = setup.database();
    let foreign = setup.path("foreign.db");
    let made = std::process::Command::new("sqlite3")
        .arg(&foreign)
        .arg("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('x')")
        .status();
    let mut cases = vec![(
        b"this is a letter, not a database, and long enough to be read as one".repeat(20),
        "not a readable SQLite database",
    )];
    if made.is_ok_and(|status| status.success()) {
        cases.push((std::fs::read(&foreign).unwrap(), "is a database of another program"));
    }
    for (bytes, sentence) in cases {
        std::fs::write(&file, &bytes).unwrap();
        for arguments in [vec!["run"], vec!["add", "--vat", VAT, "act-1"], vec!["list"]] {
            let ran = setup.run(&arguments);
            assert_eq!(ran.code, 1, "{arguments:?}");
            assert!(ran.stderr.contains(sentence), "{arguments:?}: {}", ran.stderr);
        }
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_to_a_server_is_no_copy_to_a_file() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["act-1"]);
    let target = setup.path("copy.db");
    let ran = setup.run(&["db", "copy", "--to", &format!("sqlite://{}", target.display())]);
    assert_eq!(ran.code, 2);
    let said = if setup.is_on_server() { "database.url: `db copy`" } else { "--to: `db copy`" };
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(!target.exists());
}

#[test]
fn a_demo_without_a_folder_says_so() {
    let setup = Setup::new(NOWHERE, "");
    let mut command = setup.command(&["demo"]);
    let ran = Ran::from(command.env("TMPDIR", setup.path("nowhere")).output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("can't be created") && ran.stderr.contains("TMPDIR"), "{}", ran.stderr);
}

#[test]
fn the_program_says_what_it_can_do() {
    let help = Ran::from(program().arg("--help").output().unwrap());
    assert_eq!(help.code, 0);
    for command in ["run", "demo", "sandbox", "add", "import", "list", "show", "report", "config", "db"] {
        assert!(help.stdout.contains(command), "{command}");
    }
    let version = Ran::from(program().arg("--version").output().unwrap());
    assert_eq!(version.stdout, format!("pcsid-watch {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(Ran::from(program().output().unwrap()).code, 2);
    assert_eq!(Ran::from(program().arg("frobnicate").output().unwrap()).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_and_is_taken_beside_a_running_daemon() {
    if crate::helpers::on_postgres() {
        // A server has no file.
        return;
    }
    let upstream = crate::helpers::Server::start(|_| crate::helpers::Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    setup.ok(&["db", "backup", "copy.db"]);
    // SQLite would take it for an address.
    setup.ok(&["db", "backup", "file:copy.db"]);
    let copies = ["copy.db", "file:copy.db"].map(|name| std::fs::metadata(setup.path(name)).unwrap().len());
    assert_eq!(copies[0], copies[1]);
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.db");
    let refused = Ran::from(setup.command(&["db", "backup"]).arg(odd).output().unwrap());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("not UTF-8"), "{}", refused.stderr);
    let names = std::fs::read_dir(setup.folder()).unwrap().map(|file| file.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("odd")));
    let again = setup.run(&["db", "backup", "copy.db"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("`copy.db` exists already"), "{}", again.stderr);
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
    let restored = Setup::new(&upstream.url(), "").with_database(&setup.path("copy.db"));
    let listed = restored.ok(&["list", "--format", "json"]);
    assert!(listed.contains("\"SUCCEEDED\""), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_found_out() {
    if crate::helpers::on_postgres() {
        // A server has no file.
        return;
    }
    let setup = Setup::new(NOWHERE, "");
    let ids: Vec<String> = (0..400).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut bytes = std::fs::read(setup.database()).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle..middle + 4_096].fill(0x5a);
    std::fs::write(setup.database(), bytes).unwrap();
    let ran = setup.run(&["db", "check"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("damaged"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_what_is_old_with_all_its_history_and_nothing_else() {
    let upstream = crate::helpers::Server::start(|seen| match seen.activity_id() {
        "open" => crate::helpers::Reply::in_progress(),
        _ => crate::helpers::Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["old", "open"]);
    let daemon = setup.start().await;
    setup.reaches("old", "FAILED").await;
    crate::helpers::eventually("it is announced", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'delivered'").await == 1)
            .then_some(())
    })
    .await;
    daemon.stop().await;
    assert!(setup.ok(&["db", "prune"]).starts_with("0 concluded activities"));
    let short = setup
        .command(&["db", "prune"])
        .env("PCSID_WATCH__RETENTION__CONCLUDED_AFTER", "1ms")
        .output()
        .unwrap();
    assert!(Ran::from(short).stdout.starts_with("1 concluded activities"));
    let left = setup.rows("json_quote(activity_id) AS r FROM report_activities").await;
    assert_eq!(left, ["open"]);
    for view in
        ["report_checks", "report_check_errors", "report_errors", "report_events", "report_deliveries"]
    {
        assert_eq!(setup.number(&format!("SELECT count(*) FROM {view}")).await, 0, "{view}");
    }
}

#[test]
fn each_shell_gets_its_completions() {
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef pcsid-watch"), ("fish", "complete -c pcsid-watch")]
    {
        let ran = Ran::from(program().args(["completions", shell]).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(mark) && ran.stdout.contains("redeliver"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_the_terminal_and_leave_nothing_out() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&[
        "add",
        "--vat",
        VAT,
        "628f37b61ed71a6638b848e4",
        "--device-id",
        "صندوق ١، جدة",
        "--reference",
        "PO-4711",
    ]);
    let daemon = setup.start().await;
    setup.reaches("628f37b61ed71a6638b848e4", "FAILED").await;
    daemon.stop().await;
    for columns in [None, Some("60"), Some("100"), Some("160")] {
        let widest = columns.map_or(100, |columns| columns.parse::<usize>().unwrap());
        for language in ["en", "ar"] {
            for (arguments, parts) in [
                (vec!["list"], vec!["628f37b61ed71a6638b848e4", VAT, "PO-4711"]),
                (vec!["report", "rules"], vec!["BR-KSA-17"]),
                (vec!["report", "summary"], vec![VAT]),
                (vec!["deliveries"], vec!["628f37b61ed71a6638b848e4"]),
                (vec!["show", "628f37b61ed71a6638b848e4"], vec!["BR-KSA-17", "PO-4711"]),
                (vec!["explain", "BR-KSA-17"], vec!["BR-KSA-17"]),
            ] {
                let mut command = setup.command(&[arguments.clone(), vec!["--lang", language]].concat());
                if let Some(columns) = columns {
                    command.env("COLUMNS", columns);
                }
                let ran = Ran::from(command.output().unwrap());
                assert_eq!(ran.code, 0, "{}", ran.stderr);
                for line in ran.stdout.lines() {
                    // A letter takes a cell; marks, which take none, make a line seem wider at most.
                    let width = line
                        .chars()
                        .filter(|c| !matches!(c, '\u{64b}'..='\u{652}' | '\u{200e}' | '\u{200f}'))
                        .count();
                    assert!(width <= widest, "{arguments:?} {language} at {widest}: {line}");
                }
                for part in parts {
                    assert!(
                        ran.stdout.contains(part),
                        "{arguments:?} {language} lacks {part}:\n{}",
                        ran.stdout
                    );
                }
            }
        }
    }
    let rules = setup.ok(&["report", "rules"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(rules.contains("What to do"), "the remedy is the answer: {rules}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_that_nothing_happens_until_a_daemon_runs() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let said = "no daemon runs on this database";
    for arguments in [vec!["add", "--vat", VAT, "act-1"], vec!["poll", "act-1"]] {
        let ran = setup.run(&arguments);
        assert!(ran.code == 0 && ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let daemon = setup.start().await;
    for arguments in [vec!["add", "--vat", VAT, "act-2"], vec!["poll", "act-1"]] {
        let ran = setup.run(&arguments);
        assert!(ran.code == 0 && !ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_as_excel_writes_it_in_arabic_is_imported() {
    let setup = Setup::new(NOWHERE, "");
    let file = setup.path("excel.csv");
    // The heading and the device in Windows-1256.
    let bytes = [
        b"VAT;Branch;ACTIVITY_ID;Device ID\r\n310122393500003;1;act-1;".as_slice(),
        &[0xcc, 0xcf, 0xc9],
        b"\r\n",
    ];
    std::fs::write(&file, bytes.concat()).unwrap();
    let ran = setup.run(&["import", file.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("1 activity is watched from now on"), "{}", ran.stdout);
    for said in ["Windows-1256", "not used: Branch"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    let rows = setup.rows("json_array(activity_id, device_id) AS r FROM report_activities").await;
    assert_eq!(rows, [json!(["act-1", "جدة"])]);
}

#[test]
fn too_few_threads_are_named() {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let as_another: &[&str] = match is_root {
        // The limit does not bind root.
        true => &["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"],
        false => &["env"],
    };
    let run = |script: &str| {
        let mut command = std::process::Command::new(as_another[0]);
        command.args(&as_another[1..]).args(["bash", "-c", script, "bash"]);
        command.arg(program().get_program()).args(["explain", "BR-KSA-37"]).current_dir("/").output()
    };
    let runs = run("exec \"$@\"").is_ok_and(|ran| ran.status.success());
    if !crate::helpers::can(runs, "run a program as another user") {
        return;
    }
    let ran = run("ulimit -u 1; exec \"$@\"").unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("too few threads can be started"), "{said}");
}

#[test]
fn what_steers_a_terminal_in_an_argument_is_shown_and_not_sent_to_it() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let odd = "a\u{1b}[31m\u{202e}b\u{85}";
    for arguments in [
        &["deliveries", "redeliver", odd][..],
        &["deliveries", "redeliver", "--webhook", odd, "--dead"],
        &["webhook", "test", odd],
        &["import", odd],
        &["preflight", odd],
        &["--config", odd, "list"],
        &["db", "backup", &format!("missing/{odd}")],
        &["show", odd],
        &["list", "--state", odd],
        &["list", "--vat", odd],
        &["add", "--vat", odd, odd],
        &[odd],
    ] {
        let ran = setup.run(arguments);
        assert!(matches!(ran.code, 1 | 2), "{arguments:?}: {}", ran.stderr);
        let is_sent = |c: char| matches!(c, '\u{1b}' | '\u{85}' | '\u{202e}');
        assert!(
            !ran.stderr.contains(is_sent) && !ran.stdout.contains(is_sent),
            "{arguments:?}: {:?}",
            ran.stderr
        );
    }
}
