//! No header breaks the reading of `Retry-After`.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use pcsid_watch::domain::retry_after::parse_retry_after;

fuzz_target!(|input: (&str, Option<&str>)| {
    let (value, server_date) = input;
    let pause = parse_retry_after(value, server_date, SystemTime::UNIX_EPOCH);
    // Whole seconds are never undercut.
    if let (Some(pause), Ok(seconds)) = (pause, value.trim().parse::<u64>()) {
        assert!(pause.as_secs() >= seconds);
    }
});
