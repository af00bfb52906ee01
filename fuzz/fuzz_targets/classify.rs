//! No answer whatever breaks the classification or puts control characters into what is said about it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcsid_watch::domain::catalogue::Catalogue;
use pcsid_watch::domain::classify::{Answer, Verdict, classify};

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (http_status, body) = input;
    let observation = classify(&Answer::Reply { http_status, retry_after: None, body }, Catalogue::builtin().codes());
    match observation.verdict {
        Verdict::Transient { detail, .. } => {
            assert!(!detail.chars().any(char::is_control));
            assert!(detail.chars().count() < 1_000);
        }
        Verdict::InProgress(_) | Verdict::Succeeded(..) => assert_eq!(http_status, 200),
        Verdict::Failed(..) => assert!(matches!(http_status, 200 | 500)),
        Verdict::Strike(findings) => assert!(http_status == 400 && !findings.errors.is_empty()),
        Verdict::Unauthorized => assert_eq!(http_status, 401),
        Verdict::Forbidden => assert_eq!(http_status, 403),
        Verdict::Throttled { .. } => assert_eq!(http_status, 429),
    }
});
