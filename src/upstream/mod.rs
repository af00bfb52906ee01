//! Talking to ClearTax: one request, bounded in bytes and time, and the tokens it is made with.

mod client;
mod token;

pub use client::{Client, ClientError, LongBody};
pub use token::{Token, TokenError, Tokens};
