//! Decides for each code in running text whether it opens an error, and which text belongs to it.
//!
//! A segment is the text of one error, or of the few codes that share it. It is *headed* if its code is in front of the
//! message; then other codes in it are references. Without a head the codes are somewhere in a sentence or behind it,
//! and all of them count.

use std::ops::Range;

use super::view::{BLOCK, INLINE, MARK, View, is_hyphen, is_mark, is_space, quote_kind};
use super::{Candidate, Kind, KnownCodes, Level, RuleError, read_code, shortened};

/// How many codes may share one text. Each gets a copy, so with more of them a hostile text would take many times its
/// size.
const MAX_SHARED: usize = 8;

/// Longest line that may be a heading, in characters.
const MAX_HEADING: usize = 48;

/// What precedes a code, brackets and bullets aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The start of a text, line or list item, or a comma.
    Break,
    /// The end of a sentence.
    Sentence,
    /// A colon.
    Label,
    /// Text of the same sentence.
    Text,
}

/// What follows a code, brackets aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Colon,
    Dash,
    /// A comma, the end of the line or of the text.
    End,
    Text,
}

/// How a code is set off from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// The opening one of a pair of brackets around the code.
    bracket: Option<char>,
    after: After,
}

/// A code in its surroundings.
#[derive(Debug)]
struct Occurrence {
    candidate: Candidate,
    /// Where its brackets and bullets start; the text before does not belong to it.
    start: usize,
    before: Before,
    look: Look,
    /// Marked as the value of a code field.
    is_value: bool,
    /// Where its message would start.
    body: usize,
}

impl Look {
    /// A separator makes it look like the head of a message, not like a word of it.
    fn is_separated(self) -> bool {
        self.after == After::Colon || (self.after == After::Dash && self.bracket == Some('['))
    }
}

#[derive(Debug, Default)]
struct Segment {
    start: usize,
    codes: Vec<Candidate>,
    /// Text before the code is part of the sentence.
    has_lead: bool,
    is_headed: bool,
    /// What its first code looks like, and what precedes it.
    look: Option<Look>,
    before: Option<Before>,
    /// The last code's start, with its brackets, and end; and the start of the text behind it.
    code_start: usize,
    code_end: usize,
    body: usize,
    /// Where the last code that is only referred to ends.
    reference_end: Option<usize>,
    /// More specific codes in the message of a general one.
    inner: Vec<Candidate>,
}

impl Segment {
    fn new(start: usize) -> Self {
        Self { start, code_start: start, code_end: start, body: start, ..Self::default() }
    }
}

/// Finds the errors in what the records have left of a text, with their positions.
pub(super) fn split(view: &View, known: &KnownCodes, structured: bool) -> Vec<(usize, RuleError)> {
    let mut splitter =
        Splitter { view, structured, segment: Segment::new(0), read: 0, parentheses: 0, errors: Vec::new() };
    for word in &view.words {
        let marked = || unknown_code(view, word).filter(|_| view.before(word.start) == Some(MARK));
        if let Some(candidate) = read_code(view, word, known).or_else(marked) {
            let is_cut_off = structured && !candidate.known && candidate.range.end == view.len();
            if !is_cut_off && candidate.range.start >= splitter.read {
                splitter.read(candidate);
            }
        }
    }
    splitter.finish()
}

/// The rest of a message after a repetition of its own code, as in `[BR-CO-15]-…`.
pub(super) fn without_echo(view: &View, known: &KnownCodes, range: Range<usize>, code: &str) -> Range<usize> {
    let word = view.words.get(view.word_from(range.start)).filter(|word| word.end <= range.end);
    let echo = word.and_then(|word| read_code(view, word, known)).filter(|found| found.code == code);
    let echo = echo.filter(|echo| !view.has_text(range.start..echo.range.start));
    echo.map_or(range.clone(), |echo| view.body_after(echo.range.end).min(range.end)..range.end)
}

struct Splitter<'a> {
    view: &'a View,
    structured: bool,
    segment: Segment,
    /// Everything before this position has been read.
    read: usize,
    /// Parentheses open in the current segment.
    parentheses: usize,
    errors: Vec<(usize, RuleError)>,
}

impl Splitter<'_> {
    fn finish(mut self) -> Vec<(usize, RuleError)> {
        let end = self.view.len();
        self.read_gap(end);
        self.close(end, end);
        self.errors
    }

    fn read(&mut self, candidate: Candidate) {
        let (start, end) = (candidate.range.start, candidate.range.end);
        let floor = self.read;
        self.read_gap(start);
        let floor = floor.max(self.segment.start);
        let (lead, before, is_marked, level) = self.view.before_code(start, floor);
        let (level_after, head_end) =
            self.view.level_after(end).map_or((None, end), |(level, end)| (Some(level), end));
        // With nothing between it and the code before, there is no break.
        let before = if lead == floor && floor > self.segment.start { Before::Text } else { before };
        let code = Occurrence {
            start: lead,
            before,
            look: Look {
                bracket: self.view.bracket_around(start..end),
                after: self.view.after_code(head_end),
            },
            is_value: before == Before::Break && is_marked,
            body: self.view.body_after(head_end),
            candidate: Candidate { severity: level_after.or(level).and_then(Level::severity), ..candidate },
        };
        let is_code = match code.candidate.kind {
            Kind::Family | Kind::Success => true,
            Kind::Word if !code.candidate.known => code.is_value,
            Kind::Word | Kind::Status => self.starts_message(&code) || self.stands_out(&code),
        };
        if is_code {
            self.read = end;
            self.place(code);
        }
    }

    /// Reads the text up to a position: counts parentheses, and ends the segment at the end of a block.
    fn read_gap(&mut self, end: usize) {
        for at in self.read..end {
            match self.view.get(at) {
                Some('(') => self.parentheses += 1,
                Some(')') => self.parentheses = self.parentheses.saturating_sub(1),
                Some(BLOCK) => self.close(at, at + 1),
                _ => {}
            }
        }
        self.read = self.read.max(end);
    }

    /// Whether a code that can't be mistaken for a word counts where it is: in a sentence without a code at its head,
    /// or in the message of a general code.
    fn stands_out(&self, code: &Occurrence) -> bool {
        // In data a lone word is the value of some field.
        let is_in_sentence =
            code.before == Before::Text || code.before == Before::Sentence || code.look.after == After::Text;
        let is_free = self.segment.codes.is_empty() || !self.segment.is_headed;
        code.candidate.is_distinctive
            && (is_in_sentence || !self.structured)
            && (is_free || self.segment.codes.iter().any(|head| head.is_general))
    }

    /// Whether a code that looks like an ordinary word heads a message.
    fn starts_message(&self, code: &Occurrence) -> bool {
        if code.is_value {
            return true;
        }
        let may_head = match code.before {
            Before::Break => true,
            Before::Label => self.segment.codes.is_empty(),
            Before::Sentence | Before::Text => false,
        };
        // In data a lone word is the value of some field.
        let is_alone = !self.structured
            && code.look.after == After::End
            && !self.view.has_text(self.segment.body..code.start);
        let is_separated =
            matches!(code.look.after, After::Colon | After::Dash) || code.look.bracket == Some('[');
        code.candidate.kind == Kind::Word && may_head && (is_alone || is_separated)
    }

    /// Decides what a code means for the current segment: it begins a new one, shares its message, or is mentioned.
    fn place(&mut self, code: Occurrence) {
        let (Some(last), Some(look)) = (self.segment.codes.last(), self.segment.look) else {
            return self.open_first(code);
        };
        if code.is_value {
            return self.open(code);
        }
        let gap = self.segment.body.min(code.start)..code.start;
        let is_same = last.code == code.candidate.code;
        if is_same && self.repeats(&code, &gap) {
            return;
        }
        let breaks = code.before == Before::Break;
        if !breaks && self.view.only_connects(gap.clone()) {
            return self.share(code);
        }
        let own_parenthesis = usize::from(self.view.before(code.candidate.range.start) == Some('('));
        let is_aside = self.parentheses > own_parenthesis;
        if self.opens(&code, look, is_aside) {
            self.open(code);
        } else if self.segment.is_headed {
            self.mention(code);
        } else if self.segment.codes.iter().all(|known| known.code != code.candidate.code) {
            match self.view.last_break(self.segment.code_end, gap.start, gap.end).filter(|_| !is_aside) {
                Some(at) => {
                    self.close(at, at + 1);
                    self.open_first(code);
                }
                None => self.share(code),
            }
        } else if look.bracket == Some('(')
            && code.look.bracket == Some('(')
            && self.view.has_text(gap.clone())
        {
            // `line 1 … (BR-KSA-17), line 2 … (BR-KSA-17)`: each behind a text of its own.
            if let Some(at) =
                self.view.last_break(self.segment.code_end, gap.start, gap.end).filter(|_| !is_aside)
            {
                self.close(at, at + 1);
                self.open_first(code);
            }
        }
    }

    /// Whether the segment's last code is only repeated. `X : [X]-text` repeats the code; `[X]-text,[X]-text` are
    /// two errors.
    fn repeats(&mut self, code: &Occurrence, gap: &Range<usize>) -> bool {
        let breaks = code.before == Before::Break;
        let is_unbracketed = self.segment.look.is_some_and(|look| look.bracket.is_none());
        let is_bare_echo = is_unbracketed && code.look.bracket.is_some();
        if !self.view.has_text(gap.clone()) && (is_bare_echo || !breaks) {
            self.segment.body = code.body;
            return true;
        }
        is_bare_echo && !breaks
    }

    /// Whether a code begins an error of its own behind one that looks like `look`.
    fn opens(&self, code: &Occurrence, look: Look, is_aside: bool) -> bool {
        let is_separated = code.look.is_separated();
        if code.before == Before::Break {
            // `… with BR-KSA-42, BR-KSA-44 and …` mentions one more.
            let goes_on = |end: usize| self.view.only_connects(end..code.start);
            let refers_on = self.segment.reference_end.is_some_and(goes_on);
            return is_separated || !(is_aside || refers_on);
        }
        if is_aside {
            return false;
        }
        if !self.segment.is_headed {
            return code.before == Before::Sentence && is_separated;
        }
        // `Validation failed: X …, Validation failed: Y …`
        if code.before == Before::Label && self.segment.before == Some(Before::Label) && code.look == look {
            return true;
        }
        // Errors with only a space between them all look like the first one.
        let marks_head = match code.look.after {
            After::Colon | After::Dash => true,
            After::Text => code.look.bracket.is_some() || code.before == Before::Sentence,
            After::End => false,
        };
        is_separated || (marks_head && code.look == look)
    }

    /// Notes a code that the message of another code mentions. It counts if the other one is general.
    fn mention(&mut self, code: Occurrence) {
        let segment = &mut self.segment;
        segment.reference_end = Some(code.candidate.range.end);
        let mut known = segment.codes.iter().chain(&segment.inner);
        let is_news = known.all(|known| known.code != code.candidate.code);
        let is_general = segment.codes.iter().any(|head| head.is_general);
        if is_general && is_news && segment.inner.len() < MAX_SHARED {
            segment.inner.push(code.candidate);
        }
    }

    /// The first code of a segment, which may be behind some text.
    fn open_first(&mut self, code: Occurrence) {
        let is_separated = code.look.is_separated();
        let is_in_text = match code.before {
            Before::Break => false,
            Before::Sentence => !is_separated,
            // `Postal code is wrong: BR-KSA-66`
            Before::Label => code.look.after == After::End,
            Before::Text => true,
        };
        if is_in_text {
            self.segment.has_lead = true;
            self.segment.is_headed = is_separated;
            self.share(code);
        } else {
            self.open(code);
        }
    }

    /// Starts a segment with a code at its head.
    fn open(&mut self, code: Occurrence) {
        let start = if matches!(code.before, Before::Label | Before::Text) {
            // What introduces a code on its line belongs to it, not to the message before.
            let text = self.segment.body.min(code.start)..code.start;
            self.view.label_start(text, self.segment.codes.is_empty())
        } else {
            code.start
        };
        self.close(start, start);
        self.segment.has_lead = code.before == Before::Text && start < code.start;
        self.segment.is_headed = true;
        self.share(code);
    }

    /// Adds a code to the segment.
    fn share(&mut self, code: Occurrence) {
        if self.segment.codes.len() == MAX_SHARED {
            let is_headed = self.segment.is_headed;
            self.close(code.start, code.start);
            self.segment.is_headed = is_headed;
        }
        self.segment.look.get_or_insert(code.look);
        self.segment.before.get_or_insert(code.before);
        self.segment.is_headed |= code.look.is_separated();
        self.segment.code_start = code.start;
        self.segment.code_end = code.candidate.range.end;
        self.segment.body = code.body;
        self.segment.codes.push(code.candidate);
    }

    /// Ends the current segment and starts the next one, behind what separates the two.
    fn close(&mut self, end: usize, next: usize) {
        let segment = std::mem::replace(&mut self.segment, Segment::new(next));
        self.parentheses = 0;
        let is_last = next == self.view.len();
        let end_of_value = is_last || next > end;
        let end = self.view.without_heading(segment.body.min(end)..end, is_last);
        if segment.codes.is_empty() {
            let text = self.view.clean(segment.start..end);
            // A single word is a heading or a level. In data, text that no record used is only its notation.
            let says_something = text.contains(char::is_whitespace) && text.contains(char::is_alphanumeric);
            let is_scaffolding = self.structured && end_of_value;
            if says_something && !is_scaffolding && !text.lines().all(is_heading) {
                self.errors.push((segment.start, RuleError { message: text, ..RuleError::default() }));
            }
            return;
        }
        let message = self.message(&segment, end);
        for candidate in segment.codes.into_iter().chain(segment.inner) {
            if candidate.kind != Kind::Success {
                let (rule, severity) = (Some(candidate.code), candidate.severity);
                let error = RuleError { rule, message: message.clone(), severity, ..RuleError::default() };
                self.errors.push((candidate.range.start, error));
            }
        }
    }

    fn message(&self, segment: &Segment, end: usize) -> String {
        let body = segment.body.min(end)..end;
        let has_body = self.view.has_text(body.clone());
        let range = match (segment.has_lead, has_body) {
            (false, true) => body,
            // A code in brackets behind the text is no part of the sentence.
            (true, false) if segment.look.is_some_and(|look| look.bracket.is_some()) => {
                segment.start..segment.code_start
            }
            _ => segment.start..end,
        };
        let text = self.view.clean(range);
        if text.is_empty() { self.view.render(segment.start..end) } else { text }
    }
}

/// How a log calls what follows.
fn is_level(word: &str) -> bool {
    matches!(word, "error" | "errors" | "warning" | "warnings" | "warn" | "fatal" | "info" | "code" | "rule")
}

/// A line that only introduces what follows.
fn is_heading(line: &str) -> bool {
    let line = line.trim_matches(|ch| is_space(ch) || is_bullet(ch));
    line.ends_with([':', '：']) || !line.contains(is_space) || is_block_heading(line)
}

/// `ZATCA Validation Errors`
fn is_block_heading(line: &str) -> bool {
    let words = line.split(is_space).filter(|word| !word.is_empty() && !word.starts_with('('));
    let words: Vec<&str> = words.take(5).collect();
    let last =
        words.last().map(|word| word.trim_matches(|ch: char| !ch.is_alphanumeric()).to_ascii_lowercase());
    words.len() <= 4
        && matches!(
            last.as_deref(),
            Some("error" | "errors" | "warning" | "warnings" | "messages" | "results")
        )
}

/// The value of a code field, if the code is not known.
fn unknown_code(view: &View, word: &Range<usize>) -> Option<Candidate> {
    // A covered key says nothing.
    let code = Some(shortened(&view.render(word.clone()))).filter(|code| !code.is_empty())?;
    Some(Candidate {
        range: word.clone(),
        code,
        kind: Kind::Word,
        known: false,
        is_distinctive: false,
        is_general: true,
        severity: None,
    })
}

fn is_list_break(ch: char) -> bool {
    matches!(ch, ',' | ';' | '،' | '؛' | '|' | '\n' | BLOCK)
}

fn is_bullet(ch: char) -> bool {
    is_hyphen(ch)
        || matches!(ch, '*' | '•' | '·' | '#' | '[' | '(' | '{' | '}' | '<')
        || quote_kind(ch).is_some()
}

impl View {
    /// Where the brackets, bullets, numbers and levels before a code start, what is before them, whether there is a
    /// mark among them, and the level.
    fn before_code(&self, code: usize, floor: usize) -> (usize, Before, bool, Option<Level>) {
        let mut at = code;
        // Where the levels end: in the middle of a sentence they are words of it.
        let mut level_end = None;
        let mut is_labelled = false;
        let mut is_marked = false;
        let mut level = None;
        loop {
            let ch = self.before(at).filter(|ch| at > floor && !is_list_break(*ch));
            let Some(ch) = ch else { return (at, Before::Break, is_marked, level) };
            is_marked |= ch == MARK;
            if is_space(ch) || is_bullet(ch) || ch == MARK {
                at -= 1;
                continue;
            }
            let is_label = matches!(ch, ':' | '：' | '=');
            let word_end = at - usize::from(is_label || matches!(ch, ']' | ')' | '.'));
            if let Some(start) = self.level_before(word_end, floor) {
                level_end.get_or_insert(at);
                is_labelled |= is_label;
                let word: String = (start..word_end).filter_map(|at| self.get(at)).collect();
                level = level.or(Level::of(&word.to_ascii_lowercase()));
                at = start;
                continue;
            }
            let before = match ch {
                _ if is_label || is_labelled => Before::Label,
                '.' | '!' | '?' | '؟' => Before::Sentence,
                _ => Before::Text,
            };
            // In the middle of a sentence a level is a word of it.
            let level = level.filter(|_| before != Before::Text);
            return (level_end.unwrap_or(at), before, is_marked, level);
        }
    }

    /// The start of a level, or of an item's number at the start of a line.
    fn level_before(&self, end: usize, floor: usize) -> Option<usize> {
        let mut end = end;
        while end > floor && self.before(end).is_some_and(|ch| is_space(ch) && ch != '\n') {
            end -= 1;
        }
        let word = self.words.get(self.word_from(end).checked_sub(1)?)?;
        if word.end != end || word.start < floor {
            return None;
        }
        let folded = self.fold(word).0;
        let is_number = folded.len() <= 3 && folded.bytes().all(|byte| byte.is_ascii_digit());
        (is_level(&folded) || (is_number && self.is_line_start(word.start, floor))).then_some(word.start)
    }

    fn is_line_start(&self, mut at: usize, floor: usize) -> bool {
        while at > floor {
            match self.before(at) {
                Some(ch) if is_list_break(ch) => return true,
                Some(ch) if is_space(ch) || matches!(ch, '(' | '#') => at -= 1,
                _ => return false,
            }
        }
        true
    }

    /// The opening one of a pair of brackets that holds nothing but this code.
    fn bracket_around(&self, code: Range<usize>) -> Option<char> {
        let unseen = |at: &usize| !self.get(*at).is_some_and(is_mark);
        let before = (0..code.start).rev().find(unseen).and_then(|at| self.get(at));
        let after = (code.end..self.len()).find(unseen).and_then(|at| self.get(at));
        match (before?, after?) {
            ('[', ']') => Some('['),
            ('(', ')') => Some('('),
            _ => None,
        }
    }

    /// The position behind the brackets that a code is in.
    fn skip_closers(&self, mut at: usize) -> usize {
        while self.get(at).is_some_and(|ch| {
            matches!(ch, ']' | ')' | '*') || quote_kind(ch).is_some() || is_mark(ch) || ch == INLINE
        }) {
            at += 1;
        }
        at
    }

    /// The level behind a code, and where it ends: `BR-KSA-08 (warning)`, `BR-KSA-08|WARNING|…`.
    fn level_after(&self, code_end: usize) -> Option<(Level, usize)> {
        let open = self.skip_space(self.skip_closers(code_end));
        let start = self.skip_space(open + 1);
        let word = self.words.get(self.word_from(start)).filter(|word| word.start == start)?;
        let close = self.skip_space(word.end);
        let is_separator = |ch: char| matches!(ch, '|' | ',' | ':' | ';') || is_hyphen(ch);
        let end = match (self.get(open)?, self.get(close)?) {
            ('(', ')') | ('[', ']') => close + 1,
            (before, after) if is_separator(before) && is_separator(after) => word.end,
            _ => return None,
        };
        let folded = self.fold(word).0;
        let level = Level::of(&folded).filter(|_| is_level(&folded))?;
        Some((level, end))
    }

    fn after_code(&self, code_end: usize) -> After {
        let closed = self.skip_closers(code_end);
        let at = self.skip_space(closed);
        if self.units.get(closed..at).unwrap_or_default().iter().any(|unit| unit.ch == '\n') {
            return After::End;
        }
        match self.get(at) {
            None | Some(BLOCK | ',' | ';' | '،' | '؛' | '.' | '!' | '}' | ']') => After::End,
            Some(':' | '：' | '=' | '|') => After::Colon,
            Some(ch) if is_hyphen(ch) => After::Dash,
            Some(_) => After::Text,
        }
    }

    /// Where the message behind a code starts: after its brackets and one separator.
    fn body_after(&self, code_end: usize) -> usize {
        let mut at = self.skip_space(self.skip_closers(code_end));
        let mut is_first = true;
        while let Some(ch) = self.get(at) {
            let is_separator = match ch {
                ':' | '：' | '=' | '>' => true,
                ',' | ';' | '،' | '؛' | '|' | '.' => is_first,
                // Behind another separator it may be the sign of a number.
                _ if is_hyphen(ch) => {
                    is_first || self.get(at + 1).is_some_and(|ch| is_space(ch) || is_hyphen(ch))
                }
                _ => false,
            };
            if !is_separator {
                break;
            }
            is_first = false;
            at = self.skip_space(at + 1);
        }
        at
    }

    fn has_text(&self, range: Range<usize>) -> bool {
        self.units.get(range).is_some_and(|units| units.iter().any(|unit| unit.ch.is_alphanumeric()))
    }

    /// Whether nothing but `and` or the like is between two codes.
    fn only_connects(&self, range: Range<usize>) -> bool {
        let mut text = String::new();
        for unit in self.units.get(range).unwrap_or_default() {
            if unit.ch.is_alphanumeric() {
                text.push(unit.ch.to_ascii_lowercase());
                if text.len() > "أو".len() {
                    return false;
                }
            }
        }
        matches!(text.as_str(), "" | "and" | "or" | "و" | "أو")
    }

    /// The place between two sentences with a code in each: the first break right behind the former code, or else the
    /// last break before the latter.
    fn last_break(&self, code_end: usize, body: usize, next: usize) -> Option<usize> {
        let breaks = |at: &usize| self.get(*at).is_some_and(is_list_break);
        let ends = |at: &usize| breaks(at) || self.get(*at) == Some('.');
        (code_end..body).find(ends).or_else(|| (body..next).rev().find(breaks))
    }

    /// Where a label at the end of a text starts: at the start of its line, unless the message before is on that line
    /// too.
    fn label_start(&self, text: Range<usize>, is_free: bool) -> usize {
        self.line_break_in(text.clone()).map_or(if is_free { text.start } else { text.end }, |at| at + 1)
    }

    /// The end of a text without the headings (`… warnings :`) that introduce the next one.
    ///
    /// The last text has nothing to introduce, so a line at its end is a heading only if it can be nothing else.
    fn without_heading(&self, text: Range<usize>, is_last: bool) -> usize {
        let mut end = text.end;
        loop {
            let is_shown = |at: &usize| self.get(*at).is_some_and(|ch| !is_space(ch) && !is_bullet(ch));
            let Some(last) = (text.start..end).rev().find(is_shown) else { return end };
            let Some(line) = self.line_break_in(text.start..last) else { return end };
            let is_short = last - line <= MAX_HEADING;
            let is_introduction = !is_last && self.get(last) == Some(':');
            let is_heading = is_introduction || (is_short && is_block_heading(&self.render(line..end)));
            if !is_heading {
                return end;
            }
            end = line;
        }
    }

    fn line_break_in(&self, mut text: Range<usize>) -> Option<usize> {
        text.rfind(|at| matches!(self.get(*at), Some('\n' | BLOCK)))
    }
}
