//! Talking to ClearTax: one request, bounded in bytes and time, and the tokens it is made with.

mod client;
mod token;

pub use client::{Client, ClientError, MIN_REDACTED_BYTES};
pub use token::{TokenError, Tokens};
