//! Query parameters and cursors. A parameter that is unknown, given twice or malformed is refused.

use std::str::FromStr;

use url::form_urlencoded;

use super::problem::Problem;
use crate::domain::activity::Vat;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::store::TimeRange;

/// Rows in a slice if the client names no limit, and the highest limit that it may name.
const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// The parameters of a request. Handlers take those they know; [`Parameters::finish`] refuses the rest.
#[derive(Debug)]
pub(super) struct Parameters {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Parameters {
    pub(super) fn new(query: Option<&str>) -> Self {
        let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { given, known: Vec::new() }
    }

    /// All values of a parameter.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, rest) = std::mem::take(&mut self.given).into_iter().partition(|(given, _)| given == name);
        self.given = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            // PostgreSQL can't even compare with one.
            _ if values.iter().any(|value| value.contains('\0')) => {
                Err(Problem::bad_parameter(format!("Parameter `{name}` holds a NUL character.")))
            }
            0 | 1 => Ok(values.pop()),
            n => Err(Problem::bad_parameter(format!("Parameter `{name}` is given {n} times: give it once."))),
        }
    }

    pub(super) fn vat(&mut self) -> Result<Option<Vat>, Problem> {
        Ok(self.one("vat")?.map(|text| Vat::parse(&text)).transpose()?)
    }

    pub(super) fn span(&mut self, from: &'static str, until: &'static str) -> Result<TimeRange, Problem> {
        Ok(TimeRange { from: self.time(from)?, until: self.time(until)? })
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Some(Timestamp::from_millis(time.as_millisecond()))),
            Err(_) => Err(Problem::bad_parameter(format!(
                "Parameter `{name}`: {} is not a time: write it as 2026-05-26T10:00:00Z (a `+` in a URL is %2B).",
                quoted(&text)
            ))),
        }
    }

    pub(super) fn limit(&mut self) -> Result<u32, Problem> {
        let Some(text) = self.one("limit")? else { return Ok(DEFAULT_LIMIT) };
        match text.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(Problem::bad_parameter(format!(
                "Parameter `limit`: it must be a whole number from 1 to {MAX_LIMIT}."
            ))),
        }
    }

    pub(super) fn cursor<P: FromStr>(&mut self) -> Result<Option<P>, Problem> {
        let Some(text) = self.one("cursor")? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Problem::bad_parameter(
                "Parameter `cursor`: it is not from this list. Send the `next_cursor` of an answer unchanged, or leave \
                 it out to start from the beginning.",
            )
        })
    }

    /// Refuses parameters that no call has taken.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) if self.known.is_empty() => Err(Problem::bad_parameter(format!(
                "Parameter {} is not known: there are none here.",
                quoted(name)
            ))),
            Some((name, _)) => Err(Problem::bad_parameter(format!(
                "Parameter {} is not known here. These are: {}.",
                quoted(name),
                self.known.join(", ")
            ))),
        }
    }
}
