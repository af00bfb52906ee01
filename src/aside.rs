//! A thread for tasks that must not have their turns among those of the daemon's work.

use std::sync::{OnceLock, mpsc};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime, started when it is first needed. When this is dropped it ends, and its tasks with it.
#[derive(Debug)]
pub struct Aside {
    name: &'static str,
    started: OnceLock<Started>,
}

#[derive(Debug)]
struct Started {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Aside {
    /// A thread of this name, which is not started yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, started: OnceLock::new() }
    }

    /// Its runtime. `None` if the system allows no more threads or files now; the next call tries again.
    pub fn handle(&self) -> Option<&Handle> {
        if self.started.get().is_none() {
            // Another call may have been faster; then this thread ends again.
            let _ = self.started.set(start(self.name)?);
        }
        self.started.get().map(|started| &started.handle)
    }
}

fn start(name: &'static str) -> Option<Started> {
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    // The runtime is made and dropped on that thread: where a task drops one, tokio panics.
    let run = move || {
        if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
            let _ = tell.send(runtime.handle().clone());
            let _ = runtime.block_on(stopped);
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).ok()?;
    Some(Started { handle: told.recv().ok()?, _stop: stop })
}
