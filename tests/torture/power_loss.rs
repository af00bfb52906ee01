//! Power that goes: what a daemon wrote and flushed is noted down, and cut off at random points. What was flushed is
//! there, of what was not any part is: whole writes, single sectors of them, or nothing, in any order. Whatever remains
//! opens, is whole, and has every event that was sent before.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::effort::{Luck, cycles};
use crate::helpers::{Daemon, Reply, Server, Setup, VAT, eventually, webhook};
use crate::ledger::assert_whole;
use crate::strace;

/// What a disk writes as one.
const SECTOR: usize = 512;

const N_ACTIVITIES: usize = 400;

/// The database and its WAL. The index of the WAL is shared memory and does not outlive the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum File {
    Database,
    Wal,
}

#[derive(Debug)]
enum Step {
    Write {
        file: File,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: File,
        length: usize,
    },
    /// The file was made, so that its folder has a change to flush.
    Created(File),
    /// Flushed is what was written before the flush began.
    Flushed {
        file: File,
        began_at: usize,
    },
    FolderFlushed,
    /// This event begins to leave the daemon.
    Announced(String),
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_was_sent_survives_the_power() {
    if !strace::is_usable() {
        return;
    }
    let n_cuts = cycles(75);
    let luck = Luck::of("every_event_that_was_sent_survives_the_power", 0, n_cuts);
    let mut rng = luck.draw(&["cuts"]);
    let world = Recorded::new().await;
    let Recorded { steps, .. } = &world;
    let announced: Vec<usize> =
        (0..steps.len()).filter(|at| matches!(steps[*at], Step::Announced(_))).collect();
    let n_checkpointed =
        steps.iter().filter(|step| matches!(step, Step::Write { file: File::Database, .. })).count();
    assert!(
        announced.len() >= 2 * N_ACTIVITIES && n_checkpointed > 0,
        "the recording has too little in it: {} sent, {n_checkpointed} pages moved into the file",
        announced.len()
    );

    let mut n_volatile = 0;
    for nth in 0..n_cuts {
        let cut = match rng.bool() {
            true => rng.usize(..=steps.len()),
            // As soon as an event leaves.
            false => rng.choice(&announced).unwrap() + 1,
        };
        let what = format!("cut {nth}, after {cut} of {} steps", steps.len());
        let left = LeftOver::of(&world.before, &steps[..cut], Disk::Honest(&mut rng));
        n_volatile += usize::from(left.had_volatile);
        let setup = world.restore(&left);
        let checked = setup.run(&["db", "check"]);
        assert_eq!(checked.code, 0, "{what}: {}", checked.stderr);
        let stored = stored_events(&setup).await;
        for id in sent(&steps[..cut]) {
            assert_eq!(stored.get(id), Some(&world.events[id]), "{what}: {id}");
        }
        if nth % 50 == 0 {
            world.let_finish(&setup, &what).await;
        }
    }
    println!("{n_cuts} cuts of {} steps, {n_volatile} with writes that were not flushed", steps.len());

    // The trial is one: with a disk that lies about flushing, events are missing.
    let cut = announced.last().unwrap() + 1;
    let setup = world.restore(&LeftOver::of(&world.before, &steps[..cut], Disk::Lying));
    let stored = stored_events(&setup).await;
    assert!(sent(&steps[..cut]).any(|id| !stored.contains_key(id)), "the recording proves nothing");
}

fn sent(steps: &[Step]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|step| match step {
        Step::Announced(id) => Some(id.as_str()),
        _ => None,
    })
}

async fn stored_events(setup: &Setup) -> HashMap<String, String> {
    let rows = setup.rows("json_array(event_id, payload) AS r FROM report_events").await;
    rows.into_iter()
        .map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap().to_owned()))
        .collect()
}

/// A daemon's work from its start to the last delivery, as the disk saw it.
struct Recorded {
    upstream: Server,
    /// The database before.
    before: Vec<u8>,
    steps: Vec<Step>,
    /// What the receiver and the reader of standard output got, by id.
    events: HashMap<String, String>,
}

impl Recorded {
    async fn new() -> Self {
        let polls = std::sync::Mutex::new(HashMap::<String, u32>::new());
        let upstream = Server::start(move |seen| {
            let mut polls = polls.lock().unwrap();
            let n_polls = polls.entry(seen.activity_id().to_owned()).or_default();
            *n_polls += 1;
            if *n_polls > 2 { Reply::failed() } else { Reply::in_progress() }
        })
        .await;
        let receiver = Server::start(|_| Reply::new(200, "")).await;
        let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
        let ids: Vec<String> = (0..N_ACTIVITIES).map(|n| format!("act-{n}")).collect();
        setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!setup.path("test.db-wal").exists(), "the last command has closed the database");
        let before = std::fs::read(setup.database()).unwrap();

        let trace = setup.path("trace");
        let calls = "trace=pwrite64,ftruncate,fsync,fdatasync,openat,unlink,write,writev,sendto";
        let options = ["-o", trace.to_str().unwrap(), "-y", "-xx", "-s", "400000", "-e", calls];
        let mut daemon = Daemon::spawn(strace::traced(setup.command(&["run"]), &options));
        let all_sent = async || {
            (receiver.n_seen() >= N_ACTIVITIES && daemon.stdout().lines().count() >= N_ACTIVITIES)
                .then_some(())
        };
        eventually("all events are sent", all_sent).await;
        daemon.kill_9();
        let mut events = HashMap::new();
        let bodies = receiver.seen().into_iter().map(|seen| String::from_utf8(seen.body).unwrap());
        for text in bodies.chain(daemon.stdout().lines().map(str::to_owned)) {
            let event: Value = serde_json::from_str(&text).unwrap();
            let id = event["id"].as_str().unwrap().to_owned();
            assert_eq!(events.entry(id).or_insert_with(|| text.clone()), &text);
        }
        let steps = read_trace(&trace, setup.folder());
        Self { upstream, before, steps, events }
    }

    /// A folder with what is left over.
    fn restore(&self, left: &LeftOver) -> Setup {
        let setup = Setup::new(&self.upstream.url(), "");
        std::fs::write(setup.database(), &left.database).unwrap();
        if let Some(wal) = &left.wal {
            std::fs::write(setup.path("test.db-wal"), wal).unwrap();
        }
        setup
    }

    /// A daemon on it concludes everything, under the ids that the events had.
    async fn let_finish(&self, setup: &Setup, what: &str) {
        let daemon = setup.start().await;
        eventually("all have concluded", || async {
            let watched = "SELECT count(*) FROM report_activities WHERE state <> 'FAILED'";
            (setup.number(watched).await == 0).then_some(())
        })
        .await;
        daemon.stop().await;
        let stored = stored_events(setup).await;
        assert_eq!(stored.len(), N_ACTIVITIES, "{what}");
        assert!(stored.keys().all(|id| self.events.contains_key(id)), "{what}: new ids");
        assert_whole(setup).await;
    }
}

enum Disk<'a> {
    /// What was flushed is there; of the rest, luck decides.
    Honest(&'a mut fastrand::Rng),
    /// Nothing is there but what was there before.
    Lying,
}

/// What is found when the power is back.
struct LeftOver {
    database: Vec<u8>,
    wal: Option<Vec<u8>>,
    had_volatile: bool,
}

impl LeftOver {
    fn of(before: &[u8], steps: &[Step], disk: Disk<'_>) -> Self {
        let mut contents = HashMap::from([(File::Database, before.to_vec()), (File::Wal, Vec::new())]);
        let Disk::Honest(rng) = disk else {
            return Self { database: before.to_vec(), wal: None, had_volatile: true };
        };
        let mut flushed_until: HashMap<File, usize> = HashMap::new();
        let mut created_at = None;
        let mut folder_flushed_at = None;
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Flushed { file, began_at } => {
                    flushed_until.insert(*file, *began_at);
                }
                // The next one that opens it finds it.
                Step::Created(File::Wal) => created_at = created_at.or(Some(at)),
                Step::FolderFlushed => folder_flushed_at = Some(at),
                _ => {}
            }
        }
        // All, none, a part, sectors of a part, or all up to some point.
        let fate = rng.u8(0..5);
        let last = rng.usize(..=steps.len());
        let mut had_volatile = false;
        for (at, step) in steps.iter().enumerate() {
            let file = match step {
                Step::Write { file, .. } | Step::Truncate { file, .. } => *file,
                _ => continue,
            };
            let is_flushed = flushed_until.get(&file).is_some_and(|until| at < *until);
            had_volatile |= !is_flushed;
            let survives = is_flushed
                || match fate {
                    0 => true,
                    1 => false,
                    4 => at < last,
                    _ => rng.bool(),
                };
            if !survives {
                continue;
            }
            let content = contents.get_mut(&file).unwrap();
            match step {
                Step::Write { offset, bytes, .. } => {
                    let is_torn = !is_flushed && fate == 3;
                    let mut begin = 0;
                    while begin < bytes.len() {
                        // Sectors lie where the disk has them, not where a write begins.
                        let to_border = SECTOR - (offset + begin) % SECTOR;
                        let end = (begin + to_border).min(bytes.len());
                        if !is_torn || rng.bool() {
                            put(content, offset + begin, &bytes[begin..end]);
                        }
                        begin = end;
                    }
                }
                Step::Truncate { length, .. } => content.resize(*length, 0),
                _ => {}
            }
        }
        let is_named = created_at.is_some_and(|created_at| {
            folder_flushed_at.is_some_and(|flushed_at| flushed_at > created_at) || rng.bool()
        });
        let wal = contents.remove(&File::Wal).filter(|_| is_named);
        Self { database: contents.remove(&File::Database).unwrap(), wal, had_volatile }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Reads what strace noted, `-y` and `-xx`: each call with its file, all texts in hexadecimal.
fn read_trace(trace: &Path, folder: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(trace).unwrap();
    let folder = folder.to_str().unwrap();
    let file_of = |path: &str| match path.strip_prefix(folder)? {
        "/test.db" => Some(File::Database),
        "/test.db-wal" => Some(File::Wal),
        _ => None,
    };
    let mut steps = Vec::new();
    // Flushes that have begun, by thread, with the number of steps before them.
    let mut flushes: HashMap<&str, (String, usize)> = HashMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let call = rest.trim_start();
        if call.starts_with("<... fsync resumed>") || call.starts_with("<... fdatasync resumed>") {
            let (path, began_at) = flushes.remove(thread).unwrap();
            // One that the daemon's end overtook has flushed nothing.
            if call.ends_with("= 0") {
                steps.extend(flushed(&path, folder, file_of(&path), began_at));
            }
            continue;
        }
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let path = || between(arguments, "<", ">").map(|path| text_of(&unhex(path)));
        match name {
            "pwrite64" => {
                let Some(file) = path().as_deref().and_then(file_of) else { continue };
                let bytes = unhex(between(arguments, "\"", "\"").unwrap());
                let behind = arguments.rsplit_once('"').unwrap().1;
                let numbers: Vec<usize> =
                    behind.split([',', ')', ' ', '<']).filter_map(|number| number.parse().ok()).collect();
                assert_eq!(bytes.len(), numbers[0], "{line:.200}");
                steps.push(Step::Write { file, offset: numbers[1], bytes });
            }
            "ftruncate" => {
                let Some(file) = path().as_deref().and_then(file_of) else { continue };
                let length = arguments.split_once(">, ").unwrap().1;
                let length = length.split([')', ' ']).next().unwrap().parse().unwrap();
                steps.push(Step::Truncate { file, length });
            }
            "fsync" | "fdatasync" => {
                let path = path().unwrap();
                if call.ends_with("<unfinished ...>") {
                    flushes.insert(thread, (path, steps.len()));
                } else if call.ends_with("= 0") {
                    steps.extend(flushed(&path, folder, file_of(&path), steps.len()));
                }
            }
            "openat" => {
                let opened = text_of(&unhex(between(arguments, "\"", "\"").unwrap()));
                if arguments.contains("O_CREAT") && file_of(&opened) == Some(File::Wal) {
                    steps.push(Step::Created(File::Wal));
                }
            }
            "unlink" => {
                let removed = text_of(&unhex(between(arguments, "\"", "\"").unwrap()));
                assert_eq!(file_of(&removed), None, "a daemon that is killed removes nothing");
            }
            "write" | "writev" | "sendto" => {
                let texts = arguments.split('"').skip(1).step_by(2);
                let sent = text_of(&texts.flat_map(unhex).collect::<Vec<u8>>());
                // Many lines leave together.
                let ids: Vec<&str> = match arguments.starts_with("1<") {
                    true => sent.lines().filter_map(|line| between(line, "{\"id\":\"", "\"")).collect(),
                    false => between(&sent, "webhook-id: ", "\r\n").into_iter().collect(),
                };
                steps.extend(ids.into_iter().map(|id| Step::Announced(id.to_owned())));
            }
            _ => {}
        }
    }
    steps
}

fn flushed(path: &str, folder: &str, file: Option<File>, began_at: usize) -> Option<Step> {
    match file {
        Some(file) => Some(Step::Flushed { file, began_at }),
        None => (path == folder).then_some(Step::FolderFlushed),
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?.1.split_once(end).map(|(inner, _)| inner)
}

/// `\x01\xff` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(4).map(|chunk| std::str::from_utf8(&chunk[2..]).unwrap());
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
