//! All texts for people, in their language: messages, numbers and spans of time.
//!
//! The messages are in `en.ftl` and `ar.ftl`, in the syntax of Fluent. `build.rs` turns each message of the English
//! file into a method of [`Words`], so the compiler finds a message that is missing, unused or given other arguments; a
//! test compares the Arabic file with the English one. A new text is a line in each file and a call.
//!
//! A message is a [`Said`], which is plain text for a terminal and markup for a page. In a page every argument is
//! escaped and isolated, so that an id in the middle of an Arabic sentence does not reorder it.

mod markup;
mod measures;
mod stored;
#[cfg(test)]
pub(crate) mod tests;
mod values;

use std::fmt;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::types::{FluentNumber, FluentNumberOptions};
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use maud::{Markup, PreEscaped, Render};

use crate::domain::catalogue::Language;

pub(crate) use markup::{code, cut, prose, their_lines, theirs};

const ENGLISH: &str = include_str!("en.ftl");
const ARABIC: &str = include_str!("ar.ftl");
/// Help of the command line. Its English text is the comment at each argument.
const ARABIC_HELP: &str = include_str!("help.ar.ftl");

/// The messages of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    language: Language,
}

impl Words {
    /// The words of a language.
    pub const fn of(language: Language) -> Self {
        Self { language }
    }

    /// The language.
    pub const fn language(self) -> Language {
        self.language
    }

    /// Which way it runs, as in the attribute `dir`.
    pub const fn direction(self) -> &'static str {
        match self.language {
            Language::English => "ltr",
            Language::Arabic => "rtl",
        }
    }

    /// Whether it runs from right to left.
    pub const fn is_rtl(self) -> bool {
        matches!(self.language, Language::Arabic)
    }

    /// Several things in a row: "a, b and c".
    pub fn listed(self, items: &[String]) -> String {
        match items.split_last() {
            None => String::new(),
            Some((only, [])) => only.clone(),
            Some((end, rest)) => {
                let comma = self.list_comma().to_string();
                self.list_and(Arg::Own(rest.join(&format!("{comma} "))), Arg::Own(end.clone())).to_string()
            }
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/words.rs"));

/// What is put into a message.
#[derive(Debug, Clone)]
pub enum Arg<'a> {
    /// A number: it chooses plural forms, and is written with its digits grouped.
    Number(u64),
    /// Somebody else's text, or an id.
    Theirs(&'a str),
    /// A text of ours in the same language.
    Own(String),
    /// Markup of ours, for pages alone.
    Markup(Markup),
}

impl From<u64> for Arg<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Theirs(text)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Theirs(text)
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Self::Own(text)
    }
}

impl From<Said<'_>> for Arg<'_> {
    fn from(said: Said<'_>) -> Self {
        Self::Own(said.to_string())
    }
}

impl From<Markup> for Arg<'_> {
    fn from(markup: Markup) -> Self {
        Self::Markup(markup)
    }
}

/// A message with its arguments. `Display` gives plain text, `Render` gives markup.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    words: Words,
    key: &'static str,
    arguments: Vec<(&'static str, Arg<'a>)>,
}

/// Enclose the position of an argument while a message is put together. No script uses these characters, and they are
/// removed from what others wrote.
const BEGIN: char = '\u{f8f0}';
const END: char = '\u{f8f1}';

impl<'a> Said<'a> {
    fn new(words: Words, key: &'static str, arguments: Vec<(&'static str, Arg<'a>)>) -> Self {
        Self { words, key, arguments }
    }

    /// The message with marks where arguments stand.
    fn pattern(&self) -> String {
        let mut arguments = FluentArgs::new();
        for (nth, (name, argument)) in self.arguments.iter().enumerate() {
            let value = match argument {
                // The formatter only needs to know its position among the arguments.
                Arg::Number(number) => {
                    let options =
                        FluentNumberOptions { minimum_integer_digits: Some(nth), ..Default::default() };
                    FluentValue::Number(FluentNumber::new(measures::of_same_plural(*number), options))
                }
                _ => FluentValue::from(format!("{BEGIN}{nth}{END}")),
            };
            arguments.set(*name, value);
        }
        formatted(self.words.language, self.key, &arguments)
    }

    /// Its pieces: text of the message, and arguments.
    fn pieces(&self, pattern: &str, mut each: impl FnMut(Piece<'_, 'a>)) {
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once(BEGIN) {
            each(Piece::Text(text));
            let Some((nth, after)) = after.split_once(END) else { break };
            if let Some((_, argument)) = nth.parse().ok().and_then(|nth: usize| self.arguments.get(nth)) {
                each(Piece::Argument(argument));
            }
            rest = after;
        }
        each(Piece::Text(rest));
    }
}

enum Piece<'p, 'a> {
    Text(&'p str),
    Argument(&'p Arg<'a>),
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plain = String::new();
        self.pieces(&self.pattern(), |piece| match piece {
            Piece::Text(text) => plain.push_str(text),
            Piece::Argument(Arg::Theirs(text)) => plain.push_str(text),
            Piece::Argument(Arg::Own(text)) => plain.push_str(text),
            Piece::Argument(Arg::Markup(markup)) => plain.push_str(&without_tags(&markup.0)),
            Piece::Argument(Arg::Number(number)) => plain.push_str(&self.words.number(*number)),
        });
        f.pad(&plain)
    }
}

impl Render for Said<'_> {
    fn render(&self) -> Markup {
        let mut html = String::new();
        self.pieces(&self.pattern(), |piece| match piece {
            Piece::Text(text) => text.render_to(&mut html),
            Piece::Argument(Arg::Theirs(text)) => theirs(text).render_to(&mut html),
            Piece::Argument(Arg::Own(text)) => text.render_to(&mut html),
            Piece::Argument(Arg::Markup(markup)) => html.push_str(&markup.0),
            Piece::Argument(Arg::Number(number)) => html.push_str(&self.words.number(*number)),
        });
        PreEscaped(html)
    }
}

/// The text of markup, for the few places of a page that hold only plain text.
fn without_tags(markup: &str) -> String {
    let mut text = String::new();
    let mut rest = markup;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

type Messages = FluentBundle<FluentResource>;

fn bundle(language: Language) -> &'static Messages {
    static BUNDLES: LazyLock<[Messages; 2]> = LazyLock::new(|| [read("en", ENGLISH), read("ar", ARABIC)]);
    match language {
        Language::English => &BUNDLES[0],
        Language::Arabic => &BUNDLES[1],
    }
}

/// A message that can't be read is missing from the bundle; a test finds it.
fn read(name: &str, text: &str) -> Messages {
    let languages = name.parse().into_iter().collect();
    let mut bundle = FluentBundle::new_concurrent(languages);
    // Pages isolate by markup, and terminals don't know the characters for it.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(measures::format_number));
    let resource = match FluentResource::try_new(text.to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    let _ = bundle.add_resource(resource);
    bundle
}

/// A message of the command line's help in Arabic; `None`: there is none of this name.
pub(crate) fn help(key: &str, arguments: &[(&str, &str)]) -> Option<String> {
    static BUNDLE: LazyLock<Messages> = LazyLock::new(|| read("ar", ARABIC_HELP));
    let pattern = BUNDLE.get_message(key)?.value()?;
    let arguments: FluentArgs<'_> = arguments.iter().map(|(name, value)| (*name, *value)).collect();
    Some(BUNDLE.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned())
}

fn formatted(language: Language, key: &str, arguments: &FluentArgs<'_>) -> String {
    let bundle = bundle(language);
    let pattern = bundle.get_message(key).and_then(|message| message.value());
    match pattern {
        Some(pattern) => bundle.format_pattern(pattern, Some(arguments), &mut Vec::new()).into_owned(),
        None => key.to_owned(),
    }
}
