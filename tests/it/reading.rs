//! Commands that only read: they invent no database, leave nothing behind, and need no right to write.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::helpers::{Ran, Reply, Server, Setup, VAT, can};
use crate::nobody::{can_be_nobody, command_of_nobody};

const NOWHERE: &str = "http://127.0.0.1:9";

/// Commands that refuse a database that is not there.
const COMMANDS: [&[&str]; 14] = [
    &["list"],
    &["show", "act-1"],
    &["evidence", "act-1"],
    &["report", "summary"],
    &["deliveries"],
    &["deliveries", "redeliver", "--dead"],
    &["poll", "act-1"],
    &["cancel", "act-1"],
    &["retry", "act-1"],
    &["db", "check"],
    &["db", "backup", "copy.db"],
    &["db", "prune"],
    &["db", "adopt"],
    &["db", "copy", "--to", "postgres://nobody@127.0.0.1:9/none"],
];

fn names(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn commands_refuse_a_database_that_is_not_there_and_leave_no_file() {
    let setup = Setup::new(NOWHERE, "");
    let before = names(setup.folder());
    let refused = |sentence: &str| {
        for arguments in COMMANDS {
            let ran = setup.run(arguments);
            assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(sentence), "{arguments:?}: {}", ran.stderr);
            assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}: {}", ran.stderr);
            let mut after = names(setup.folder());
            after.remove("test.db");
            assert_eq!(after, before, "{arguments:?}");
        }
    };
    refused("does not exist");
    assert!(!setup.database().exists());
    std::fs::write(setup.database(), "").unwrap();
    refused("is an empty file (0 bytes)");
    for arguments in [&["run"][..], &["add", "--vat", VAT, "act-1"]] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("is an empty file (0 bytes)"), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(std::fs::metadata(setup.database()).unwrap().len(), 0);
    // A database without a table: its header alone.
    std::fs::remove_file(setup.database()).unwrap();
    let made = Command::new("sqlite3").arg(setup.database()).arg("PRAGMA user_version = 7").status();
    if made.is_ok_and(|status| status.success()) {
        refused("holds nothing yet");
        std::fs::remove_file(setup.database()).unwrap();
    }
    std::fs::create_dir(setup.database()).unwrap();
    refused("is a folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_creates_a_database_says_so() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    assert!(daemon.stderr().contains("did not exist: a new one is created"), "{}", daemon.stderr());
    daemon.stop().await;
    let again = setup.start().await;
    assert!(!again.stderr().contains("did not exist"), "{}", again.stderr());
    again.stop().await;

    let setup = Setup::new(NOWHERE, "");
    let ran = setup.run(&["add", "--vat", VAT, "act-1"]);
    assert!(
        ran.stderr.contains("warning: database") && ran.stderr.contains("did not exist"),
        "{}",
        ran.stderr
    );
    assert!(!setup.run(&["add", "--vat", VAT, "act-2"]).stderr.contains("did not exist"));
    let beside = names(setup.folder());
    assert!(!beside.iter().any(|name| name.starts_with("test.db.")), "{beside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_reads_leaves_nothing_beside_a_stopped_daemons_database() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["act-1"]);
    let before = names(setup.folder());
    let bytes = std::fs::read(setup.database()).unwrap();
    for arguments in [&["list"][..], &["show", "act-1"], &["report", "summary"], &["db", "check"]] {
        setup.ok(arguments);
        assert_eq!(names(setup.folder()), before, "{arguments:?}");
    }
    assert_eq!(std::fs::read(setup.database()).unwrap(), bytes);
}

/// A command as another user, who may read and not write; `None` where this user may not become one.
fn as_nobody(setup: &Setup, arguments: &[&str]) -> Option<Ran> {
    let output = command_of_nobody(setup, arguments).output().ok()?;
    let ran = Ran::from(output);
    (!ran.stderr.starts_with("setpriv:")).then_some(ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_of_what_another_user_reads_may_be_in_any_script() {
    let setup = Setup::new(NOWHERE, "");
    let folder = setup.path("قاعدة ١ %20#");
    std::fs::create_dir(&folder).unwrap();
    for folder in [setup.folder(), &folder] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(setup.path("token"), PermissionsExt::from_mode(0o644)).unwrap();
    let database = folder.join("w.db");
    setup.configure(
        &setup
            .configuration()
            .replace(&setup.database().display().to_string(), &database.display().to_string()),
    );
    setup.add(VAT, &["act-1"]);
    if !can_be_nobody(&setup) {
        return;
    }
    let _daemon = setup.start().await;
    let ran = as_nobody(&setup, &["list"]).unwrap();
    assert!(ran.code == 0 && ran.stdout.contains("act-1"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_needs_no_right_to_write() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(setup.folder(), 0o755);
    mode(&setup.path("token"), 0o644);
    let reads = |what: &str, is_there: bool| {
        let before = names(setup.folder());
        for arguments in [&["list"][..], &["show", "act-1"], &["report", "summary"], &["db", "check"]] {
            let ran = as_nobody(&setup, arguments)?;
            assert_eq!(ran.code, 0, "{what}, {arguments:?}: {}", ran.stderr);
            let sees = ran.stdout.contains("act-1") || !matches!(arguments[0], "list" | "show");
            assert!(sees == is_there || arguments[0] == "db", "{what}, {arguments:?}: {}", ran.stdout);
        }
        assert_eq!(names(setup.folder()), before, "{what}");
        Some(())
    };
    if !can_be_nobody(&setup) {
        return;
    }
    reads("the daemon is stopped", true).unwrap();
    // A folder that everybody may write to: what is made there would keep the daemon out.
    mode(setup.folder(), 0o777);
    reads("the folder is everybody's", true).unwrap();
    mode(setup.folder(), 0o755);
    let mut daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    reads("the daemon runs", true).unwrap();
    daemon.kill_9();
    assert!(setup.path("test.db-wal").exists());
    reads("the daemon was killed", true).unwrap();
    // Somebody has taken the index away: only who may write can read the rest.
    std::fs::remove_file(setup.path("test.db-shm")).unwrap();
    let ran = as_nobody(&setup, &["list"]).unwrap();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("start the daemon, or run the command once as the owner"), "{}", ran.stderr);
    setup.ok(&["list"]);
    reads("its owner has read it", true).unwrap();
    // What is only for its owner's eyes is refused in a sentence.
    mode(&setup.database(), 0o600);
    let ran = as_nobody(&setup, &["list"]).unwrap();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("can't be opened"), "{}", ran.stderr);
}

/// Who may not write reads the file as one that does not change, and learns afterwards that it did.
#[test]
fn what_changed_while_it_was_printed_is_said_after_the_rows() {
    let setup = Setup::new(NOWHERE, "");
    let vats: String = (0..3_000).map(|n| format!("3{n:013}3,act-{n}\n")).collect();
    std::fs::write(setup.path("many.csv"), format!("vat,activity_id\n{vats}")).unwrap();
    setup.ok(&["import", "many.csv"]);
    std::fs::set_permissions(setup.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(setup.path("token"), PermissionsExt::from_mode(0o644)).unwrap();
    if !can_be_nobody(&setup) {
        return;
    }
    for (n, arguments) in [
        &["report", "summary", "--format", "json"][..],
        &["report", "summary", "--limit", "100000"],
        &["list", "--format", "csv"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut reading = command_of_nobody(&setup, arguments);
        let mut reading = reading.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut rows = reading.stdout.take().unwrap();
        // Far more than a pipe holds is still to come.
        let mut first = [0; 1];
        rows.read_exact(&mut first).unwrap();
        setup.add(VAT, &[&format!("late-{n}")]);
        let mut rest = String::new();
        rows.read_to_string(&mut rest).unwrap();
        let ran = Ran::from(reading.wait_with_output().unwrap());
        assert!(rest.len() > 100_000, "{arguments:?}");
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("was written while it was read"), "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_is_the_owners() {
    let setup = Setup::new(NOWHERE, "");
    let owner = 65_534;
    let is_given = std::os::unix::fs::chown(setup.folder(), Some(owner), Some(owner)).is_ok();
    if !can(is_given, "give a folder to another user") {
        return;
    }
    setup.add(VAT, &["act-1"]);
    assert_eq!(std::fs::metadata(setup.database()).unwrap().uid(), owner);
    setup.ok(&["list"]);
    setup.ok(&["db", "backup", "copy.db"]);
    for name in names(setup.folder()).iter().filter(|name| name.contains(".db")) {
        assert_eq!(std::fs::metadata(setup.path(name)).unwrap().uid(), owner, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_mount_is_read() {
    let setup = Setup::new(NOWHERE, "");
    let (disk, seen) = (setup.path("disk"), setup.path("seen"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&seen).unwrap();
    let setup = setup.with_database(&disk.join("test.db"));
    setup.add(VAT, &["act-1"]);
    let mounted = Command::new("mount").args(["-o", "bind,ro"]).args([&disk, &seen]).output();
    if !can(mounted.is_ok_and(|output| output.status.success()), "mount a file system") {
        return;
    }
    let _ = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&seen).status();
    let setup = setup.with_database(&seen.join("test.db"));
    let listed = setup.run(&["list"]);
    let checked = setup.run(&["db", "check"]);
    let added = setup.run(&["add", "--vat", VAT, "act-2"]);
    assert!(Command::new("umount").arg(&seen).status().unwrap().success());
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert!(listed.stdout.contains("act-1"));
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert_eq!(added.code, 1);
    assert!(added.stderr.contains("is mounted read-only"), "{}", added.stderr);
}

#[test]
fn what_keeps_a_file_from_being_written_is_named() {
    let setup = Setup::new(NOWHERE, "");
    setup.add(VAT, &["act-1"]);
    let ran = setup.run(&["db", "backup", "no-such-folder/copy.db"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("`no-such-folder/copy.db` can't be written: its folder does not exist"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("code:"), "{}", ran.stderr);
    let elsewhere = setup.path("missing").join("test.db");
    let setup = setup.with_database(&elsewhere);
    let ran = setup.run(&["add", "--vat", VAT, "act-1"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("can't be opened: its folder does not exist"), "{}", ran.stderr);
}

#[test]
fn a_full_disk_is_named_as_the_cause() {
    let setup = Setup::new(NOWHERE, "");
    let disk = setup.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).output();
    if !can(mounted.is_ok_and(|output| output.status.success()), "mount a file system") {
        return;
    }
    setup.add(VAT, &["act-1"]);
    let backup = setup.run(&["db", "backup", disk.join("copy.db").to_str().unwrap()]);
    let setup = setup.with_database(&disk.join("test.db"));
    let started = setup.run(&["run"]);
    let left = names(&disk);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(started.code, 1);
    assert!(started.stderr.contains("the disk is full"), "{}", started.stderr);
    assert_eq!(backup.code, 1);
    assert!(backup.stderr.contains("copy.db` can't be written: the disk is full"), "{}", backup.stderr);
    assert_eq!(left, BTreeSet::new(), "half a database is of no use");
}
