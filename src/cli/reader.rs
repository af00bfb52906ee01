//! The person who reads a command's output, and how values and columns are shown to them.

use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::routing::DeliveryStatus;
use crate::domain::rules::Severity;
use crate::domain::text::one_line;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::settings::Settings;
use crate::store::Cell;
use crate::words::{Said, Words};

/// The width if there is no terminal, as in a pipe or a file.
const WIDTH_ELSEWHERE: usize = 100;

/// The least width that output is laid out for.
pub(super) const LEAST_WIDTH: usize = 20;

/// The reader's language, time zone and width of the terminal.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) words: Words,
    pub(super) zone: Zone,
    /// In cells of the terminal.
    pub(super) width: usize,
}

impl Reader {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { words: Words::of(settings.language), zone: settings.zone.clone(), width: width() }
    }

    /// The line that names the time zone of the times above it.
    pub(super) fn zone_note(&self, at: Timestamp) -> String {
        let offset = self.zone.offset(at);
        let zone = match self.zone.name() {
            Zone::DEFAULT => self.words.zone_riyadh(offset).to_string(),
            name => self.words.zone_other(name.to_owned(), offset).to_string(),
        };
        self.words.sheet_zone(zone).to_string()
    }

    /// A stored time in the reader's time zone; any other text stays as it is.
    pub(super) fn time(&self, text: &str) -> String {
        Timestamp::parse_lenient(text).map_or_else(|| one_line(text), |at| self.zone.minute(at))
    }

    /// A sentence that the database keeps in English, in the reader's language.
    pub(super) fn stored(&self, sentence: &str) -> String {
        one_line(self.words.stored(sentence).as_deref().unwrap_or(sentence))
    }

    pub(super) fn state(&self, label: &str) -> String {
        State::from_label(label)
            .map_or_else(|| one_line(label), |state| self.words.state_word(state).to_string())
    }

    /// A value as people read it. The column decides how.
    pub(super) fn cell(&self, column: &str, cell: &Cell) -> String {
        let words = self.words;
        let word =
            |word: Option<Said<'_>>, text: &str| word.map_or_else(|| one_line(text), |word| word.to_string());
        match cell {
            Cell::Null => String::new(),
            Cell::Integer(n) if !column.ends_with("http_status") => {
                u64::try_from(*n).map_or_else(|_| n.to_string(), |n| words.number(n))
            }
            Cell::Integer(n) => n.to_string(),
            Cell::Real(n) => n.to_string(),
            Cell::Text(text) => match column {
                "state" | "latest_state" | "from_state" | "to_state" => self.state(text),
                "status" => {
                    word(DeliveryStatus::from_label(text).map(|status| words.delivery_word(status)), text)
                }
                "type" => words.event_word(text),
                "standing" => match text.as_str() {
                    "expired" => words.certificate_ended().to_string(),
                    "ending" => words.certificate_ending().to_string(),
                    _ => one_line(text),
                },
                "check_name" => word(words.check_word(text), text),
                "severity" => Severity::from_label(text).map_or_else(
                    || one_line(text),
                    |severity| severity.in_words().of(words.language()).to_owned(),
                ),
                "owner" | "next_step_owner" | "last_failure_owner" => {
                    word(Owner::from_label(text).map(|owner| words.owner_word(owner)), text)
                }
                "reason" | "held_reason" | "last_error" | "an_error" => self.stored(text),
                "upkeep" => match text.as_str() {
                    "yes" => words.yes().to_string(),
                    _ => words.no().to_string(),
                },
                column if is_time(column) => self.time(text),
                _ => one_line(text),
            },
        }
    }
}

/// The terminal's width, or what `COLUMNS` says.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse::<usize>().ok());
    let of_terminal = || {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col))
    };
    said.or_else(of_terminal).filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE).max(LEAST_WIDTH)
}

/// Whether a column holds times.
pub(super) fn is_time(column: &str) -> bool {
    column.ends_with("_at") || matches!(column, "since" | "last_sign_of_life")
}

/// A column's heading in a language.
pub(super) fn heading(words: Words, name: &str) -> String {
    let said = match name {
        "activities" => words.col_activities(),
        "activity_id" | "latest_activity_id" => words.col_activity_id(),
        "an_error" | "last_error" => words.fact_last_error(),
        "attempts" => words.col_attempts(),
        "attempts_until_pcsid" => words.col_attempts_until_pcsid(),
        "cancelled" => words.state_cancelled(),
        "credentials" => words.col_credentials(),
        "check_name" => words.col_check(),
        "concluded_at" => words.col_ended(),
        "consecutive_errors" => words.fact_bad_answers(),
        "deliveries" => words.nav_deliveries(),
        "days_left" => words.col_days_left(),
        "delivered_at" => words.delivery_delivered(),
        "device_id" => words.col_device(),
        "event_id" => words.col_event_id(),
        "expired" => words.state_expired(),
        "expires_at" => words.col_expires(),
        "failed" => words.state_failed(),
        "first_attempt_at" => words.col_first_attempt(),
        "held_reason" => words.col_held_reason(),
        "in_progress" => words.state_in_progress(),
        "last_failure_owner" | "owner" => words.col_owner(),
        "last_polled_at" => words.fact_last_poll(),
        "last_seen_at" => words.col_last_seen(),
        "last_sign_of_life" => words.col_last_sign(),
        "last_attempt_at" | "latest_attempt_at" => words.col_latest_attempt(),
        "latest_state" | "state" | "status" => words.col_state(),
        "meaning" | "meaning_ar" => words.col_meaning(),
        "message" => words.col_message(),
        "name" => words.col_daemon(),
        "next_attempt_at" => words.col_next_attempt(),
        "next_poll_at" => words.fact_next_poll(),
        "not_reported" => words.not_reported(),
        "obtained_at" => words.col_obtained(),
        "oldest_event_at" => words.col_oldest(),
        "pcsid_at" => words.state_succeeded(),
        "pending" => words.state_pending(),
        "poll_count" => words.fact_polls(),
        "reference" => words.col_reference(),
        "registered_at" => words.col_added(),
        "reminded_at" => words.col_reminded(),
        "rejected" => words.state_rejected(),
        "remedy" | "remedy_ar" => words.col_todo(),
        "rule" => words.col_rule(),
        "severity" => words.col_severity(),
        "since" => words.col_since(),
        "sink" => words.col_sink(),
        "sinks" => words.col_sinks(),
        "stalled_at" => words.col_late_since(),
        "standing" => words.col_standing(),
        "succeeded" => words.col_succeeded(),
        "type" => words.col_event(),
        "upkeep" => words.col_upkeep(),
        "vat" => words.col_vat(),
        "vats" => words.col_vats(),
        "version" => words.col_version(),
        other => return one_line(&other.replace('_', " ")),
    };
    said.to_string()
}
