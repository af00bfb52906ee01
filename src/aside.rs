//! A thread for tasks that must not have their turns among those of the daemon's work.

use std::sync::mpsc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime. It ends when this is dropped, and its tasks with it.
#[derive(Debug)]
pub struct Aside {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Aside {
    /// Starts the thread; `None` if the system allows no more threads.
    pub fn start(name: &str) -> Option<Self> {
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
        Some(Self { handle: told.recv().ok()?, _stop: stop })
    }

    /// Its runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
