//! What is watched: an activity's identity, its state, and the row that schedules it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::Report;
use super::text::quoted;
use super::time::Timestamp;

/// Why a value can't be used. `Display` is one sentence that names the value and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// Outside `[A-Za-z0-9_-]{1,64}`.
    #[error("activity id {} is not usable: it must be 1 to 64 characters out of A-Z, a-z, 0-9, `_` and `-`", quoted(.0))]
    ActivityId(String),
    /// Outside `[A-Za-z0-9-]{1,32}`.
    #[error("VAT {} is not usable: it must be 1 to 32 characters out of A-Z, a-z, 0-9 and `-`", quoted(.0))]
    Vat(String),
    /// A device id or reference that is too long or holds control characters.
    #[error("{field} {} is not usable: it must be at most {MAX_LABEL_CHARS} characters without control characters", quoted(.value))]
    Label {
        /// `device id` or `reference`.
        field: &'static str,
        /// The refused text.
        value: String,
    },
}

/// Longest device id or reference, in characters. They are the user's own labels; the bound keeps rows,
/// events and tables readable.
const MAX_LABEL_CHARS: usize = 256;

/// A VAT or group VAT number, sent upstream as the `vat` header: 1 to 32 of `[A-Za-z0-9-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vat(String);

impl Vat {
    /// # Errors
    /// [`InvalidInput::Vat`] if the text can't be a safe header value.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidInput::Vat(text.to_owned())) }
    }

    /// Whether it looks like a Saudi VAT number: 15 digits, the first and the last a 3. Upstream does not require that,
    /// so another shape gets a warning and is not refused.
    pub fn has_saudi_shape(&self) -> bool {
        self.0.len() == 15
            && self.0.bytes().all(|byte| byte.is_ascii_digit())
            && self.0.starts_with('3')
            && self.0.ends_with('3')
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Vat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `PcsidGenerationActivityId`: opaque, 1 to 64 of `[A-Za-z0-9_-]`, so that it is one safe URL segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActivityId(String);

impl ActivityId {
    /// # Errors
    /// [`InvalidInput::ActivityId`] if the text is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidInput::ActivityId(text.to_owned())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActivityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL where upstream answers for an activity.
pub fn status_url(base_url: &str, activity_id: &str) -> String {
    format!("{base_url}{}", status_path(activity_id))
}

/// The part of that URL that follows the base URL.
pub fn status_path(activity_id: &str) -> String {
    format!("/onboarding/{activity_id}/pcsid-status")
}

/// What a user gives to have an activity watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The VAT that the activity belongs to.
    pub vat: Vat,
    /// The id that ClearTax answered the registration with.
    pub activity_id: ActivityId,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// Any text of the user's, such as an order or ticket number.
    pub reference: Option<String>,
}

impl Registration {
    /// Validates all four fields. Empty labels count as absent.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn parse(
        vat: &str,
        activity_id: &str,
        device_id: Option<&str>,
        reference: Option<&str>,
    ) -> Result<Self, InvalidInput> {
        Ok(Self {
            vat: Vat::parse(vat)?,
            activity_id: ActivityId::parse(activity_id)?,
            device_id: parse_label("device id", device_id)?,
            reference: parse_label("reference", reference)?,
        })
    }
}

pub(super) fn parse_label(field: &'static str, text: Option<&str>) -> Result<Option<String>, InvalidInput> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > MAX_LABEL_CHARS || text.chars().any(char::is_control) => {
            Err(InvalidInput::Label { field, value: text.to_owned() })
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}

/// The state of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Registered; upstream never answered for it yet.
    Pending,
    /// Upstream says that it is in progress.
    InProgress,
    /// The PCSID was generated.
    Succeeded,
    /// Finished without a PCSID.
    Failed,
    /// Upstream says that the id is no PCSID activity of this VAT.
    Rejected,
    /// Given up after `give_up_after`.
    Expired,
    /// An operator stopped watching.
    Cancelled,
}

impl State {
    /// All states, in the order reports show them.
    pub const ALL: [State; 7] = [
        State::Pending,
        State::InProgress,
        State::Succeeded,
        State::Failed,
        State::Rejected,
        State::Expired,
        State::Cancelled,
    ];

    /// Those of an activity that is still watched.
    pub const WAITING: [State; 2] = [State::Pending, State::InProgress];

    /// The public name, as stored and shown.
    pub const fn label(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::InProgress => "IN_PROGRESS",
            State::Succeeded => "SUCCEEDED",
            State::Failed => "FAILED",
            State::Rejected => "REJECTED",
            State::Expired => "EXPIRED",
            State::Cancelled => "CANCELLED",
        }
    }

    /// The state with this public name.
    pub fn from_label(label: &str) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.label() == label)
    }

    /// Whether watching has ended. A concluded activity is never polled.
    pub const fn is_concluded(self) -> bool {
        !matches!(self, State::Pending | State::InProgress)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// An activity as the store holds it at one moment: all that [`decide`](super::decide::decide) needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// The VAT that it belongs to.
    pub vat: Vat,
    /// Its id at ClearTax.
    pub activity_id: ActivityId,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// The user's own text.
    pub reference: Option<String>,
    /// Its state.
    pub state: State,
    /// Which watch this is: 1, and one more for each `retry`. It is part of an event's identity.
    pub round: u32,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// What its age counts from: the registration or the last `retry`, moved along if the wall clock jumped.
    pub watched_from: Timestamp,
    /// When it was reported as stalled.
    pub stalled_at: Option<Timestamp>,
    /// The backoff's next interval.
    pub interval: Duration,
    /// Requests made for it so far.
    pub n_polls: u32,
    /// Polls in a row without an answer that could be trusted.
    pub consecutive_errors: u32,
    /// Polls in a row that upstream refused as "no such activity".
    pub strikes: u32,
    /// What upstream last said of it, empty before its first answer. Its checks and errors are not kept here.
    pub report: Report,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_ids_of_both_published_shapes_are_accepted() {
        let longest = "x".repeat(64);
        for text in
            ["628f37b61ed71a6638b848e4", "0b6f6a3e-7a0c-4d0e-9a59-3f6e5a1f2b7c", "a", "A_b-9", &longest]
        {
            assert_eq!(ActivityId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_could_leave_its_url_segment_or_header_is_refused() {
        let too_long = "x".repeat(65);
        for text in ["", " ", "a b", "../x", "a/b", "a%2fb", "a\r\nb", "a\0", "é", "\u{feff}a", &too_long] {
            assert!(ActivityId::parse(text).is_err(), "{text:?}");
            assert!(Vat::parse(text).is_err(), "{text:?}");
        }
        assert!(Vat::parse("310_22").is_err());
        assert!(Vat::parse(&"3".repeat(33)).is_err());
    }

    #[test]
    fn a_refusal_names_the_value_on_one_line() {
        let error = ActivityId::parse("a\r\nx-evil: 1").map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("activity id `a\\r\\nx-evil: 1` is not usable: it must be 1 to 64 characters out of A-Z, a-z, \
                 0-9, `_` and `-`"
                .to_owned())
        );
    }

    #[test]
    fn only_fifteen_digits_between_threes_have_the_saudi_shape() {
        let shape = |text: &str| Vat::parse(text).map(|vat| vat.has_saudi_shape());
        assert_eq!(shape("310122393500003"), Ok(true));
        for other in ["310122393500004", "110122393500003", "31012239350003", "3x0122393500003"] {
            assert_eq!(shape(other), Ok(false), "{other}");
        }
    }

    #[test]
    fn labels_are_bounded_and_free_of_control_characters() {
        let registration = |label: &str| Registration::parse("3", "a", Some(label), None);
        assert_eq!(registration("صندوق ١").map(|r| r.device_id), Ok(Some("صندوق ١".to_owned())));
        assert_eq!(registration("").map(|r| r.device_id), Ok(None));
        assert!(registration("a\nb").is_err());
        assert!(registration("\u{1b}[31m").is_err());
        assert!(registration(&"x".repeat(MAX_LABEL_CHARS + 1)).is_err());
    }

    #[test]
    fn state_labels_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_label(state.label()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.label());
            assert_eq!(State::WAITING.contains(&state), !state.is_concluded());
        }
        assert_eq!(State::from_label("in_progress"), None);
    }
}
