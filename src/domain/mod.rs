//! The pure core: what activities are, what answers mean and what follows from them.
//!
//! Nothing here does I/O, waits, reads a clock or draws a random number: time and randomness (`luck`) are arguments. It
//! uses no other module of the program.

pub mod activity;
pub mod backoff;
pub mod catalogue;
pub mod certificate;
pub mod classify;
pub mod decide;
pub mod event;
pub mod gate;
pub mod lifecycle;
pub mod lines;
pub mod next_step;
pub mod preflight;
pub mod quota;
pub mod redact;
pub mod report;
pub mod retry_after;
pub mod routing;
pub mod rules;
pub mod serving;
pub mod text;
pub mod time;
pub mod turns;
pub mod zone;
