//! Which sinks get which events, and what became of a delivery.

use serde::{Deserialize, Serialize};

use super::activity::Vat;
use super::event::{Event, EventKind};

/// The sink that writes to standard output.
pub const LOG_SINK: &str = "log";

/// A pattern of event types: a full type, a prefix that ends in `.*`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern(String);

impl EventPattern {
    /// `None` if the pattern matches no event that exists, so that a typing error is noticed.
    pub fn parse(text: &str) -> Option<Self> {
        let pattern = Self(text.to_owned());
        EventKind::ALL.into_iter().any(|kind| pattern.matches(kind)).then_some(pattern)
    }

    /// Whether events of this kind fit.
    pub fn matches(&self, kind: EventKind) -> bool {
        match self.0.strip_suffix('*') {
            Some("") => true,
            Some(prefix) => prefix.ends_with('.') && kind.label().starts_with(prefix),
            None => kind.label() == self.0,
        }
    }
}

/// A sink and the events that it gets. An empty filter lets everything pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `log`, or the webhook's name.
    pub sink: String,
    /// Kinds of events; empty: all.
    pub events: Vec<EventPattern>,
    /// VATs; empty: all. An event about a credential has no VAT and passes.
    pub vats: Vec<Vat>,
}

impl Route {
    /// Whether the sink gets this event.
    pub fn takes(&self, event: &Event) -> bool {
        let wants_kind =
            self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(event.kind));
        let wants_vat = self.vats.is_empty() || event.vat.as_ref().is_none_or(|vat| self.vats.contains(vat));
        wants_kind && wants_vat
    }
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It is tried.
    Pending,
    /// The sink took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryStatus {
    /// All statuses, beginning with the one that somebody must act on.
    pub const ALL: [DeliveryStatus; 3] =
        [DeliveryStatus::Dead, DeliveryStatus::Pending, DeliveryStatus::Delivered];

    /// The one with this label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.label() == label)
    }

    /// As stored and printed.
    pub const fn label(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Dead => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_types_and_dotted_prefixes() {
        let matched = |text: &str| {
            EventPattern::parse(text)
                .map(|pattern| EventKind::ALL.into_iter().filter(|kind| pattern.matches(*kind)).count())
        };
        assert_eq!(matched("*"), Some(12));
        assert_eq!(matched("pcsid.*"), Some(8));
        assert_eq!(matched("pcsid.generation.*"), Some(2));
        assert_eq!(matched("pcsid.generation.failed"), Some(1));
        assert_eq!(matched("upstream.credential.*"), Some(2));
        for nothing in ["", "pcsid", "pcsid.gen*", "pcsid.generation.done", "PCSID.*", "**"] {
            assert_eq!(matched(nothing), None, "{nothing}");
        }
    }
}
