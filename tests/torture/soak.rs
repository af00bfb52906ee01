//! Hours of work at once: memory and open files stay what they were.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::effort::{assert_no_defect, cycles};
use crate::helpers::{PATIENCE, Reply, Server, Setup, VAT, webhook};
use crate::ledger::assert_whole;

/// Activities that are added at a time.
const BATCH: u64 = 100;

/// Activities that are watched at a time, give or take a batch.
const WATCHED: i64 = 400;

/// How much more resident memory the last third may take than the first. Pools and caches settle, and the allocator
/// gives back when it likes; what is lost for good adds up with the work.
const MEMORY_MAY_GROW_BY: u64 = 6 << 20;

/// How many more files may be open at a time: each of the 24 requests that may be in flight may be on a new connection
/// while its former one has not been closed yet. Connections that were lost for good would be hundreds.
const FILES_MAY_GROW_BY: usize = 48;

/// The most of each third.
#[derive(Debug, Clone, Copy, Default)]
struct Peak {
    memory: u64,
    n_files: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_open_files_stay_flat_over_much_work() {
    let n_batches = cycles(90);
    let polls = Mutex::new(HashMap::<String, u32>::new());
    let n_asked = AtomicU64::new(0);
    let upstream = Server::start(move |seen| {
        let mut polls = polls.lock().unwrap();
        // Trouble takes paths of its own, and makes new connections.
        match n_asked.fetch_add(1, Ordering::SeqCst) % 100 {
            0 => return Reply::Close,
            1 => return Reply::new(502, "bad gateway"),
            2 => return Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()),
            3 => return Reply::new(200, "<html>"),
            _ => {}
        }
        let n_polls = polls.entry(seen.activity_id().to_owned()).or_default();
        *n_polls += 1;
        match *n_polls {
            0..3 => Reply::in_progress(),
            _ => {
                let is_failed =
                    polls.remove(seen.activity_id()).is_some() && seen.activity_id().ends_with('7');
                if is_failed { Reply::failed() } else { Reply::succeeded() }
            }
        }
    })
    .await;
    let n_sent = AtomicU64::new(0);
    let receiver = Server::start(move |_| match n_sent.fetch_add(1, Ordering::SeqCst) % 100 {
        0 => Reply::Close,
        1 => Reply::new(500, "out of order"),
        2 => Reply::new(200, "").with_header("connection", "close"),
        _ => Reply::new(200, "thanks"),
    })
    .await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver))
        .variable("PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT", "16")
        // Few arenas, so that memory is what is used and not what threads happen to have kept.
        .variable("MALLOC_ARENA_MAX", "2");
    let mut daemon = setup.start().await;
    let began_at = Instant::now();
    let mut peaks = [Peak::default(); 3];
    let mut progress = (0, Instant::now());
    let mut n_added = 0;
    loop {
        let n_watched = setup
            .number("SELECT count(*) FROM report_activities WHERE state IN ('PENDING', 'IN_PROGRESS')")
            .await;
        let third = (n_added * 3 / n_batches).min(2) as usize;
        if n_added < n_batches && n_watched < WATCHED {
            let csv: String = (0..BATCH).map(|n| format!("{VAT},act-{n_added}-{n}\n")).collect();
            std::fs::write(setup.path("batch.csv"), format!("vat,activity_id\n{csv}")).unwrap();
            setup.ok(&["import", "batch.csv"]);
            n_added += 1;
        } else if n_added == n_batches && n_watched == 0 {
            break;
        }
        let peak = &mut peaks[third];
        peak.memory = peak.memory.max(resident_memory(daemon.pid()));
        peak.n_files = peak.n_files.max(n_open_files(daemon.pid()));
        let n_seen = upstream.n_seen() + receiver.n_seen();
        if n_seen > progress.0 {
            progress = (n_seen, Instant::now());
        }
        assert!(progress.1.elapsed() < PATIENCE, "nothing happens: {}", daemon.stderr());
        assert!(daemon.ended().is_none(), "{}", daemon.stderr());
        // Each look opens the database anew.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    println!(
        "{} activities, {} polls, {} deliveries in {:.1?}; {peaks:?}",
        n_batches * BATCH,
        upstream.n_seen(),
        receiver.n_seen(),
        began_at.elapsed()
    );
    let [first, _, last] = peaks;
    assert!(last.memory <= first.memory + MEMORY_MAY_GROW_BY, "{peaks:?}");
    assert!(last.n_files <= first.n_files + FILES_MAY_GROW_BY, "{peaks:?}");
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
    assert_no_defect(&daemon);
    assert_whole(&setup).await;
    let n_events = setup.number("SELECT count(*) FROM report_events").await;
    assert_eq!(n_events, i64::try_from(n_batches * BATCH).unwrap());
}

/// In bytes.
fn resident_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn n_open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
