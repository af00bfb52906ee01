//! The daemon's tasks: the poller asks, the recorder writes, a dispatcher for each sink sends, the
//! renewer reminds of certificates that end, the pruner forgets.
//!
//! The recorder writes and nothing else: `outcomes` tells log and metrics of what it wrote, `heartbeat` says when the daemon is to
//! note that it lives.
//!
//! Each runs alone and owns its state. They meet in the database, and records go to the recorder over a bounded
//! channel. What is claimed and not committed yet the store knows.

mod deliver;
mod heartbeat;
mod outcomes;
mod poll;
mod prune;
mod record;
mod renew;

pub use deliver::{Dispatcher, DispatcherParts, LogSink, Sink};
pub use poll::{Poller, PollerParts};
pub use prune::Pruner;
pub use record::{Recorder, RecorderHandle, RecorderParts};
pub use renew::Renewer;
