//! Translates sentences that the database stores in English.
//!
//! Reasons of transitions, last errors and holds are public text, in English in views, events and logs. Messages whose
//! keys begin with `stored-` have the same wording. A stored sentence is matched with them piece by piece, and the
//! matched values are put into the other language's message. A sentence that matches none is somebody else's or of an
//! older version, and is shown as it is.

use std::sync::LazyLock;
use std::time::Duration;

use fluent_bundle::FluentArgs;
use fluent_syntax::ast::{Entry, Expression, InlineExpression, PatternElement};
use maud::{Markup, html};

use super::{BEGIN, COMPLAINTS, END, ENGLISH, STORED, Words, cut, formatted, theirs};
use crate::domain::activity::State;
use crate::domain::catalogue::Language;
use crate::domain::text::visible;

/// A message by which a sentence is recognised: its texts, and the names of the arguments between them.
struct Template {
    key: &'static str,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(&'static str),
    Name(&'static str),
}

static SENTENCES: LazyLock<Vec<Template>> = LazyLock::new(|| templates(&[STORED]));

/// Sentences that a command or a page may complain with. Stored sentences are not matched with them: they are short, so
/// what others wrote could look like one.
static COMPLAINABLE: LazyLock<Vec<Template>> = LazyLock::new(|| templates(&[STORED, COMPLAINTS]));

fn templates(keys: &[&[&'static str]]) -> Vec<Template> {
    // If the file has mistakes, the rest of it is used; a test finds them.
    let resource = match fluent_syntax::parser::parse(ENGLISH) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    let mut templates: Vec<Template> = resource
        .body
        .into_iter()
        .filter_map(|entry| {
            let Entry::Message(message) = entry else { return None };
            let key = keys.iter().copied().flatten().find(|key| **key == message.id.name)?;
            let pieces = message.value?.elements.into_iter().filter_map(|element| match element {
                PatternElement::TextElement { value } => Some(Piece::Text(value)),
                PatternElement::Placeable {
                    expression: Expression::Inline(InlineExpression::VariableReference { id }),
                } => Some(Piece::Name(id.name)),
                PatternElement::Placeable {
                    expression: Expression::Inline(InlineExpression::StringLiteral { value }),
                } => Some(Piece::Text(value)),
                PatternElement::Placeable { .. } => None,
            });
            Some(Template { key, pieces: pieces.collect() })
        })
        .collect();
    // Templates with more text of their own are tried first.
    let fixed = |template: &Template| -> usize {
        let texts =
            template.pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 });
        texts.sum()
    };
    templates.sort_by_key(|template| std::cmp::Reverse(fixed(template)));
    templates
}

impl Words {
    /// A sentence of ours that was stored in English, in this language; `None`: it stays as it is.
    pub fn stored(self, sentence: &str) -> Option<String> {
        if self.language == Language::English {
            return None;
        }
        self.marked(sentence, &SENTENCES).map(|said| said.replace([BEGIN, END], ""))
    }

    /// The same for a page, cut after `n_chars` characters. Each piece that others wrote is isolated.
    pub(crate) fn stored_markup(self, sentence: &str, n_chars: usize) -> Option<Markup> {
        if self.language == Language::English {
            return None;
        }
        let said = cut(&self.marked(sentence, &SENTENCES)?, n_chars);
        Some(html! {
            @for (nth, piece) in said.split(BEGIN).enumerate() {
                @let (their_own, rest) = piece.split_once(END).unwrap_or(if nth == 0 { ("", piece) } else { (piece, "") });
                @if !their_own.is_empty() { (theirs(their_own)) }
                (visible(rest))
            }
        })
    }

    /// A stored sentence in this language, with marks around what others wrote.
    fn marked(self, sentence: &str, templates: &[Template]) -> Option<String> {
        let Some((key, found)) = recognised(sentence, templates) else {
            // Some sentences end with a full stop in one place and without it in another.
            let with_stop = (!sentence.ends_with('.')).then(|| format!("{sentence}."))?;
            let (key, found) = recognised(&with_stop, templates)?;
            let said = self.with(key, found);
            return Some(said.strip_suffix('.').map(str::to_owned).unwrap_or(said));
        };
        Some(self.with(key, found))
    }

    /// A complaint of a command or a page in this language. Each line is translated for itself, after the places that
    /// it may begin with, as in `pcsid-watch.toml: http.listen: …`. An unknown sentence stays as it is.
    pub fn complaint(self, text: &str) -> String {
        if self.language == Language::English {
            return text.to_owned();
        }
        text.split('\n').map(|line| self.complaint_line(line)).collect::<Vec<_>>().join("\n")
    }

    fn complaint_line(self, line: &str) -> String {
        let mut starts = std::iter::once(0).chain(line.match_indices(": ").map(|(at, mark)| at + mark.len()));
        let known = starts.find_map(|at| {
            let sentence = line.get(at..)?;
            // A value or file name at the beginning must not swallow a place.
            let with_stop = format!("{sentence}.");
            let (_, found) =
                recognised(sentence, &COMPLAINABLE).or_else(|| recognised(&with_stop, &COMPLAINABLE))?;
            let is_whole = |(_, value): &(&str, &str)| sentence.starts_with(value) && value.contains(": ");
            if found.first().is_some_and(is_whole) {
                return None;
            }
            let said = self.marked(sentence, &COMPLAINABLE)?;
            Some((line.get(..at)?, said.replace([BEGIN, END], "")))
        });
        let Some((places, said)) = known else { return line.to_owned() };
        let places = places.split_inclusive(": ").map(|place| match place.strip_suffix(": ") {
            Some(place) => format!("{}: ", self.place(place).unwrap_or_else(|| place.to_owned())),
            None => place.to_owned(),
        });
        places.chain([said]).collect()
    }

    /// A place in a file, as it is named in English.
    fn place(self, text: &str) -> Option<String> {
        match text {
            "the whole file" => return Some(self.place_whole_file().to_string()),
            "standard input" => return Some(self.place_standard_input().to_string()),
            _ => {}
        }
        let rest = text.strip_prefix("line ")?;
        match rest.split_once(", column ") {
            None => Some(self.place_line(rest.parse::<u64>().ok()?).to_string()),
            Some((line, column)) => {
                let (line, column) = (line.parse::<u64>().ok()?, column.parse::<u64>().ok()?);
                Some(self.place_line_column(column, line).to_string())
            }
        }
    }

    /// A message with the values that were found in a stored sentence.
    fn with(self, key: &str, found: Vec<(&'static str, &str)>) -> String {
        let mut arguments = FluentArgs::new();
        for (name, value) in found {
            // A value may itself be a sentence of ours.
            let own = match name {
                "state" => State::from_label(value).map(|state| self.state_word(state).to_string()),
                "span" => span(value).map(|span| self.roughly(span)),
                "detail" => self.marked(value, &SENTENCES),
                "reason" => self.marked(value, &COMPLAINABLE),
                "place" => self.place(value),
                _ => None,
            };
            arguments
                .set(name, own.unwrap_or_else(|| format!("{BEGIN}{}{END}", value.replace([BEGIN, END], ""))));
        }
        formatted(self.language, key, &arguments)
    }
}

/// A span of time as it is written in sentences: `24h`, `6s`.
fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).map(Duration::from_millis)
}

fn recognised<'s>(
    sentence: &'s str,
    templates: &[Template],
) -> Option<(&'static str, Vec<(&'static str, &'s str)>)> {
    templates.iter().find_map(|template| Some((template.key, matched(&template.pieces, sentence)?)))
}

/// The values at the names of a template, each as short as possible; `None` if the sentence does not fit.
fn matched<'s>(pieces: &[Piece], sentence: &'s str) -> Option<Vec<(&'static str, &'s str)>> {
    match pieces {
        [] => sentence.is_empty().then(Vec::new),
        [Piece::Text(text), rest @ ..] => matched(rest, sentence.strip_prefix(text)?),
        [Piece::Name(name)] => (!sentence.is_empty()).then(|| vec![(*name, sentence)]),
        [Piece::Name(name), Piece::Text(text), rest @ ..] => {
            sentence.match_indices(text).filter(|(at, _)| *at > 0).find_map(|(at, text)| {
                let mut found = matched(rest, sentence.get(at + text.len()..)?)?;
                found.insert(0, (*name, sentence.get(..at)?));
                Some(found)
            })
        }
        [Piece::Name(_), ..] => None,
    }
}
