//! The program under conditions that no machine is spared for ever: killed at any moment and at every boundary,
//! disks that fail, power that goes, and hours of work. See docs/torture.md.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the verdict"
)]

#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "what only the run on a server uses")]
mod cluster;
#[path = "../it/helpers.rs"]
#[expect(dead_code, reason = "the tests of the whole program share it and use more of it")]
mod helpers;

mod boundaries;
mod effort;
mod kills;
mod ledger;
mod model;
#[cfg(feature = "postgres")]
mod postgres;
mod power_loss;
#[cfg(feature = "postgres")]
mod proxy;
mod soak;
mod storage;
mod strace;
mod world;
