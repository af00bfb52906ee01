//! What the sandbox answers: scripts, chosen by the beginning of an ActivityId. Pure: the caller counts the polls and
//! supplies the time.
//!
//! An id is `WORD[-OPTION…][-SUFFIX]`. The word is one of [`Ending`]'s or [`Trouble`]'s. Options are read until one is
//! not known; that and the rest only tell ids of one kind apart. [`SCRIPTS`] documents it all.

use std::time::Duration;

use jiff::Timestamp;

use super::outcome::{Ending, Trouble};
use super::reply::Reply;
use crate::domain::time::parse_duration;

/// One line of the documentation of the scripts.
#[derive(Debug, Clone, Copy)]
pub struct ScriptDoc {
    /// How such an id is built; capitals stand for what the user chooses.
    pub pattern: &'static str,
    /// An id that selects the script.
    pub example: &'static str,
    /// What the sandbox then does.
    pub does: &'static str,
}

const fn doc(pattern: &'static str, example: &'static str, does: &'static str) -> ScriptDoc {
    ScriptDoc { pattern, example, does }
}

/// Every script, as the page lists them. Endings come first, then troubles, then all other ids.
pub const SCRIPTS: &[ScriptDoc] = &[
    doc("success", "success-1", "All six checks pass and the PCSID is generated."),
    doc("standard-only", "standard-only-1", "Success, with only the three standard checks."),
    doc("simplified-only", "simplified-only-1", "Success, with only the three simplified checks."),
    doc("failed", "failed-1", "Two checks fail, with rule codes and Arabic text. HTTP 500, Status FAILED."),
    doc("failed-200", "failed-200-1", "Three checks fail, one without a rule code. HTTP 200, Status FAILED."),
    doc("no-pcsid", "no-pcsid-1", "Status SUCCEEDED and all checks passed, yet PcsidGenerated is FAILED."),
    doc("rejected", "rejected-1", "HTTP 400 with an ErrorList: the id is not known."),
    doc("never", "never-1", "In progress for ever."),
    doc(
        "ENDING-after-N-polls",
        "failed-after-2-polls-a",
        "In progress on the first N polls, then the ending.",
    ),
    doc("ENDING-after-TIME", "success-after-10s-7", "In progress that long, then the ending."),
    doc("unauthorized", "unauthorized-1", "HTTP 401: the token is not accepted."),
    doc("forbidden", "forbidden-1", "HTTP 403: the token's user is not Admin for this VAT."),
    doc("not-yet-known", "not-yet-known-1", "HTTP 400 with an ErrorList, like rejected, but not for good."),
    doc("bad-request", "bad-request-1", "HTTP 400 without an ErrorList."),
    doc("throttled[-TIME]", "throttled-30s-1", "HTTP 429 with Retry-After in seconds."),
    doc("unavailable[-TIME]", "unavailable-30s-1", "HTTP 503 with Retry-After as an HTTP date."),
    doc("server-error", "server-error-1", "HTTP 500 with a body that says nothing about the activity."),
    doc("gateway", "gateway-1", "HTTP 502 with a page of HTML."),
    doc("redirect", "redirect-1", "HTTP 307 to a host that does not exist."),
    doc("slow[-TIME]", "slow-2s-1", "Success, but the answer takes that long to come."),
    doc("hang", "hang-1", "The connection stays open and no answer ever comes."),
    doc("dropped", "dropped-1", "The connection is closed in the middle of the body."),
    doc("garbage", "garbage-1", "HTTP 200 with a page of HTML."),
    doc("oversized", "oversized-1", "HTTP 200 with success and 4 MiB of blanks behind it."),
    doc("unknown-status", "unknown-status-1", "HTTP 200 with a Status that is not documented."),
    doc("other-type", "other-type-1", "HTTP 200 with success of another ActivityType."),
    doc("TROUBLE-N-times", "gateway-3-times-a", "Trouble on the first N polls instead of two, then success."),
    doc("TROUBLE-always", "throttled-always-5s", "Trouble on every poll."),
    doc("any other id", "628f37b61ed71a6638b848e4", "In progress on the first three polls, then success."),
];

/// How often a trouble comes if the id does not say.
const DEFAULT_TIMES: u32 = 2;

/// How long `throttled`, `unavailable` and `slow` last if the id does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// What happens to one activity, poll by poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// In progress until `after`, then `ending` for good.
    Ending {
        /// What the activity ends in.
        ending: Ending,
        /// When it ends.
        after: After,
    },
    /// `trouble` on the first polls, then success.
    Trouble {
        /// What goes wrong.
        trouble: Trouble,
        /// On how many polls; `None` is all of them.
        times: Option<u32>,
        /// What `Retry-After` says, or how long a slow answer takes.
        wait: Duration,
    },
}

/// When an activity stops being in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// After so many polls that were answered "in progress".
    Polls(u32),
    /// So long after the first poll.
    Time(Duration),
}

/// The words that select an ending. A word that begins with another comes before it.
const ENDINGS: [(&str, Ending); 8] = [
    ("success", Ending::Success),
    ("standard-only", Ending::StandardOnly),
    ("simplified-only", Ending::SimplifiedOnly),
    ("failed-200", Ending::FailedAs200),
    ("failed", Ending::Failed),
    ("no-pcsid", Ending::NoPcsid),
    ("rejected", Ending::Rejected),
    ("never", Ending::Never),
];

/// The words that select a trouble.
const TROUBLES: [(&str, Trouble); 16] = [
    ("unauthorized", Trouble::Unauthorized),
    ("forbidden", Trouble::Forbidden),
    ("not-yet-known", Trouble::NotYetKnown),
    ("bad-request", Trouble::BadRequest),
    ("throttled", Trouble::Throttled),
    ("unavailable", Trouble::Unavailable),
    ("server-error", Trouble::ServerError),
    ("gateway", Trouble::Gateway),
    ("redirect", Trouble::Redirect),
    ("slow", Trouble::Slow),
    ("hang", Trouble::Hang),
    ("dropped", Trouble::Dropped),
    ("garbage", Trouble::Garbage),
    ("oversized", Trouble::Oversized),
    ("unknown-status", Trouble::UnknownStatus),
    ("other-type", Trouble::OtherType),
];

impl Script {
    /// The script of an id that begins with no known word.
    pub const DEFAULT: Self = Self::Ending { ending: Ending::Success, after: After::Polls(3) };

    /// The script that `activity_id` selects.
    pub fn for_activity(activity_id: &str) -> Self {
        let ending = || selected(&ENDINGS, activity_id).map(|(ending, rest)| Self::ending(ending, &rest));
        let trouble =
            || selected(&TROUBLES, activity_id).map(|(trouble, rest)| Self::trouble(trouble, &rest));
        ending().or_else(trouble).unwrap_or(Self::DEFAULT)
    }

    fn ending(ending: Ending, rest: &[&str]) -> Self {
        let after = match rest {
            ["after", n, "polls" | "poll", ..] => n.parse().ok().map(After::Polls),
            ["after", time, ..] => duration(time).map(After::Time),
            _ => None,
        };
        Self::Ending { ending, after: after.unwrap_or(After::Polls(0)) }
    }

    fn trouble(trouble: Trouble, mut rest: &[&str]) -> Self {
        let (mut times, mut wait) = (Some(DEFAULT_TIMES), DEFAULT_WAIT);
        loop {
            rest = match rest {
                ["always", tail @ ..] => {
                    times = None;
                    tail
                }
                [n, "times" | "time", tail @ ..] if n.parse::<u32>().is_ok() => {
                    times = n.parse().ok();
                    tail
                }
                [time, tail @ ..] if duration(time).is_some() => {
                    wait = duration(time).unwrap_or(DEFAULT_WAIT);
                    tail
                }
                _ => return Self::Trouble { trouble, times, wait },
            };
        }
    }

    /// The answer to a poll at `now`, after `n_polls_before` earlier ones of which the first is
    /// `since_first` ago.
    pub fn answer(&self, n_polls_before: u32, since_first: Duration, now: Timestamp) -> Reply {
        let first_at = now.checked_sub(since_first).unwrap_or(now);
        match *self {
            Self::Ending { ending, after } => {
                let is_over = match after {
                    After::Polls(n_polls) => n_polls_before >= n_polls,
                    After::Time(time) => since_first >= time,
                };
                if is_over { ending.reply(first_at, now) } else { ending.in_progress(first_at) }
            }
            Self::Trouble { trouble, times, wait } => {
                if times.is_none_or(|times| n_polls_before < times) {
                    trouble.reply(wait, first_at, now)
                } else {
                    Ending::Success.reply(first_at, now)
                }
            }
        }
    }
}

/// What the word that starts `activity_id` stands for, and the parts that follow it.
fn selected<'a, T: Copy>(words: &[(&str, T)], activity_id: &'a str) -> Option<(T, Vec<&'a str>)> {
    words.iter().find_map(|(word, meaning)| {
        let rest = activity_id.strip_prefix(word)?;
        (rest.is_empty() || rest.starts_with('-')).then(|| (*meaning, rest.split('-').skip(1).collect()))
    })
}

/// Reads `250ms`, `10s` or `5m`.
fn duration(text: &str) -> Option<Duration> {
    // So that every sum with a timestamp stays within what can be written as a date.
    const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
    parse_duration(text).filter(|duration| *duration <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_779_786_131, 250_000_000);

    /// The replies to `n` polls, four seconds apart.
    fn replies(activity_id: &str, n: u32) -> Vec<Reply> {
        let script = Script::for_activity(activity_id);
        (0..n).map(|n_before| script.answer(n_before, Duration::from_secs(4) * n_before, NOW)).collect()
    }

    #[test]
    fn every_documented_example_behaves_as_documented() {
        let ok = "200 succeeded";
        let going = "200 in progress";
        let expected = [
            ("success-1", [ok, ok, ok, ok]),
            ("standard-only-1", ["200 succeeded, standard only"; 4]),
            ("simplified-only-1", ["200 succeeded, simplified only"; 4]),
            ("failed-1", ["500 failed"; 4]),
            ("failed-200-1", ["200 failed"; 4]),
            ("no-pcsid-1", ["200 succeeded without a PCSID"; 4]),
            ("rejected-1", ["400 refused"; 4]),
            ("never-1", [going; 4]),
            ("failed-after-2-polls-a", [going, going, "500 failed", "500 failed"]),
            ("success-after-10s-7", [going, going, going, ok]),
            ("unauthorized-1", ["401 refused", "401 refused", ok, ok]),
            ("forbidden-1", ["403 refused", "403 refused", ok, ok]),
            ("not-yet-known-1", ["400 refused", "400 refused", ok, ok]),
            ("bad-request-1", ["400 no ErrorList", "400 no ErrorList", ok, ok]),
            ("throttled-30s-1", ["429 refused", "429 refused", ok, ok]),
            ("unavailable-30s-1", ["503 unavailable", "503 unavailable", ok, ok]),
            ("server-error-1", ["500 no Status", "500 no Status", ok, ok]),
            ("gateway-1", ["502 HTML", "502 HTML", ok, ok]),
            ("redirect-1", ["307 redirect", "307 redirect", ok, ok]),
            ("slow-2s-1", ["200 succeeded, late", "200 succeeded, late", ok, ok]),
            ("hang-1", ["no answer", "no answer", ok, ok]),
            ("dropped-1", ["200 cut short", "200 cut short", ok, ok]),
            ("garbage-1", ["200 HTML", "200 HTML", ok, ok]),
            ("oversized-1", ["200 oversized", "200 oversized", ok, ok]),
            ("unknown-status-1", ["200 unknown Status", "200 unknown Status", ok, ok]),
            ("other-type-1", ["200 other ActivityType", "200 other ActivityType", ok, ok]),
            ("gateway-3-times-a", ["502 HTML", "502 HTML", "502 HTML", ok]),
            ("throttled-always-5s", ["429 refused"; 4]),
            ("628f37b61ed71a6638b848e4", [going, going, going, ok]),
        ];
        assert_eq!(SCRIPTS.iter().map(|doc| doc.example).collect::<Vec<_>>(), expected.map(|(id, _)| id));
        for (id, expected) in expected {
            let summaries: Vec<String> = replies(id, 4).iter().map(Reply::summary).collect();
            assert_eq!(summaries, expected, "{id}");
        }
    }

    #[test]
    fn every_word_is_documented_and_selects_itself() {
        let is_documented =
            |word: &str| SCRIPTS.iter().any(|doc| doc.pattern.trim_end_matches("[-TIME]") == word);
        for (word, ending) in ENDINGS {
            assert!(is_documented(word), "{word}");
            assert_eq!(
                Script::for_activity(word),
                Script::Ending { ending, after: After::Polls(0) },
                "{word}"
            );
        }
        for (word, trouble) in TROUBLES {
            assert!(is_documented(word), "{word}");
            let expected = Script::Trouble { trouble, times: Some(DEFAULT_TIMES), wait: DEFAULT_WAIT };
            assert_eq!(Script::for_activity(word), expected, "{word}");
        }
    }

    #[test]
    fn options_are_read_in_any_order_and_the_rest_is_a_suffix() {
        let success = |after| Script::Ending { ending: Ending::Success, after };
        let hang = |times, wait| Script::Trouble { trouble: Trouble::Hang, times, wait };
        let ms = Duration::from_millis;
        for (id, expected) in [
            ("success-after-3-polls", success(After::Polls(3))),
            ("success-after-1-poll-x", success(After::Polls(1))),
            ("success-after-300ms", success(After::Time(ms(300)))),
            ("success-after-2m-x", success(After::Time(ms(120_000)))),
            ("success-after-all", success(After::Polls(0))),
            ("success-after-9-lives", success(After::Polls(0))),
            ("success-9-after-9s", success(After::Polls(0))),
            ("success-after-99999999999s", success(After::Polls(0))),
            ("hang-always-30s-x", hang(None, ms(30_000))),
            ("hang-30s-always", hang(None, ms(30_000))),
            ("hang-1-time-5ms", hang(Some(1), ms(5))),
            ("hang-7", hang(Some(2), ms(1000))),
            ("hang-x-always", hang(Some(2), ms(1000))),
            ("successful", Script::DEFAULT),
            ("SUCCESS", Script::DEFAULT),
            ("success_1", Script::DEFAULT),
            ("", Script::DEFAULT),
            ("8f14e45f-ceea-467f-a8a5-5f1d1c1a2b3c", Script::DEFAULT),
        ] {
            assert_eq!(Script::for_activity(id), expected, "{id}");
        }
    }
}
