//! Threads: whether there can be enough of them, and the one for calls that block.

use std::num::NonZero;
use std::sync::RwLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads besides the first one and those that serve HTTP, of which there is one for each core: the log's, the database's,
/// and those that block. Work does without the others.
const OTHER_THREADS: usize = 4;

/// Starts as many threads as are needed at least, and ends them: later, libraries panic or wait for ever if they can't
/// start one.
///
/// # Errors
/// If the system allows no more.
pub fn try_threads() -> std::io::Result<()> {
    let n_cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        let _closed = gate.write();
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, || drop(gate.read())).map(drop);
        (0..n_cores + OTHER_THREADS).try_for_each(start)
    })
}

/// A runtime that has a thread for calls that block, and keeps it: lookups of names, writes to standard output, what
/// takes long to compute. Without any, tokio panics or lets the call wait for ever where the system allows no more.
///
/// # Errors
/// If the system allows no more threads or files.
pub fn runtime(builder: &mut Builder) -> std::io::Result<Runtime> {
    let runtime = builder.thread_keep_alive(Duration::MAX).enable_all().build()?;
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}
