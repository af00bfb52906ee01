//! How the HTTP clients look up a host's name: by the system, on a thread for each lookup.
//!
//! The HTTP library's own way takes the runtime's threads for calls that block. A lookup may hang, and where the system
//! allows no more of these threads, all else that blocks would wait for it.

use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

/// Lookups of one client at the same time. One may hang longer than the request that wants it; others wait meanwhile,
/// within their own timeouts.
const MOST_LOOKUPS: usize = 16;

/// Looks up names.
pub(super) struct Names(Arc<Semaphore>);

impl Default for Names {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LOOKUPS)))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let lookups = Arc::clone(&self.0);
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let (tell, told) = oneshot::channel();
            let look_up = move || {
                // The client puts in the port.
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(permit);
                let _ = tell.send(found);
            };
            std::thread::Builder::new().name("lookup".to_owned()).spawn(look_up).map_err(no_thread)?;
            Ok(Box::new(told.await??) as Addrs)
        })
    }
}

fn no_thread(err: io::Error) -> io::Error {
    io::Error::other(format!(
        "no thread can be started for it; this user or service may have no more (`ulimit -u`, TasksMax): {err}"
    ))
}
