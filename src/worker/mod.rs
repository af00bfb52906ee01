//! The daemon's tasks: the poller asks, the recorder writes, a dispatcher for each sink sends, the renewer reminds of
//! certificates that end, the pruner removes what is old.
//!
//! The recorder only writes: `outcomes` logs and counts what it wrote, `heartbeat` decides when the daemon's sign of
//! life is due.
//!
//! Each task runs alone and owns its state. They communicate through the database, and send records to the recorder
//! over a bounded channel. The store knows what is claimed and not committed yet.

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
