//! Webhooks by the Standard Webhooks specification (standardwebhooks.com): signing and sending.

mod send;
mod sign;

pub use send::{Attempt, Disposition, Sender, SenderError};
pub use sign::{Secrets, VerifyError, WebhookSecretError, verify};
