//! No text breaks the splitting of errors, and none is lost: a text that says something gives an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcsid_watch::domain::catalogue::Catalogue;
use pcsid_watch::domain::rules::split;

fuzz_target!(|text: &str| {
    for error in split(text, Catalogue::builtin().codes()) {
        assert!(!error.message.is_empty());
        assert!(error.rule.is_none_or(|rule| !rule.is_empty()));
    }
});
