//! The two text formats of metrics, and which one a client wants.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::headers::preferences;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposition {
    /// Prometheus's older format, which every reader knows.
    Text,
    /// OpenMetrics, for clients that ask for it by name.
    OpenMetrics,
}

impl Exposition {
    /// The format that a client accepts: OpenMetrics if its `Accept` header names it and prefers it no less than plain
    /// text.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for (media_type, quality) in accepted.flat_map(preferences) {
            match media_type.as_str() {
                "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
                "text/plain" | "text/*" | "*/*" => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Converts a text in OpenMetrics to this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::Text => plain(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

/// In the older format a counter has the name of its samples, and there are no units and no end mark.
fn plain(open_metrics: &str) -> String {
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let described = |keyword: &str| line.strip_prefix(keyword)?.split_once(' ');
        let line = match (described("# HELP "), described("# TYPE ")) {
            _ if line == "# EOF" || line.starts_with("# UNIT ") => continue,
            (Some((name, rest)), _) if counters.contains(name) => {
                Cow::Owned(format!("# HELP {name}_total {rest}"))
            }
            (_, Some((name, rest))) if counters.contains(name) => {
                Cow::Owned(format!("# TYPE {name}_total {rest}"))
            }
            _ => Cow::Borrowed(line),
        };
        // Writing to a text can't fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        for (accept, wanted) in [
            ("", Exposition::Text),
            ("*/*", Exposition::Text),
            ("text/html, */*;q=0.8", Exposition::Text),
            ("application/json", Exposition::Text),
            ("text/plain;version=0.0.4", Exposition::Text),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;q=0.6", Exposition::Text),
            ("application/openmetrics-text; q=0", Exposition::Text),
            ("application/openmetrics-text; q=much", Exposition::Text),
            // Prometheus 2.5 and later, and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Exposition::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Exposition::OpenMetrics,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Exposition::wanted(&headers), wanted, "{accept}");
        }
        assert_eq!(Exposition::wanted(&HeaderMap::new()), Exposition::Text);
    }

    #[test]
    fn plain_text_calls_counters_what_their_samples_are_called() {
        let open_metrics = "# HELP a_polls Polls, a_polls.\n# TYPE a_polls counter\n\
                            a_polls_total{of=\"# EOF\"} 1\n# HELP a_size Size.\n# TYPE a_size gauge\n\
                            # UNIT a_size bytes\na_size 2\n# EOF\n";
        assert_eq!(
            plain(open_metrics),
            "# HELP a_polls_total Polls, a_polls.\n# TYPE a_polls_total counter\n\
             a_polls_total{of=\"# EOF\"} 1\n# HELP a_size Size.\n# TYPE a_size gauge\na_size 2\n"
        );
    }
}
