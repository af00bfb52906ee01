//! Finds keys with their values and turns complete records into errors.
//!
//! The text around a record need not be well-formed: a brace begins a record, and so does a key that the current one
//! has already. So lists that were cut off, dumps in any notation and plain `CODE : …, MESSAGE : …` lines are all read
//! the same way.

use std::collections::HashMap;
use std::ops::Range;

use super::prose::without_echo;
use super::view::{BLOCK, INLINE, MARK, View, is_hyphen, is_quote, is_space, quote_kind};
use super::{Candidate, Kind, KnownCodes, Level, MAX_CODE_CHARS, RuleError, Severity, read_code, shortened};

/// What was read from the records of a text.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// Errors with their positions.
    pub errors: Vec<(usize, RuleError)>,
    /// What records say of the codes that they leave to the next pass, by the codes' positions.
    pub levels: HashMap<usize, Severity>,
    /// Whether the text is data rather than prose. Text that no record uses is then only its notation.
    pub structured: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Code,
    /// The result of a request for a certificate: a code, or `ISSUED`.
    Disposition,
    Category,
    Message,
    Type,
    Status,
    Other,
}

impl Name {
    fn of(folded: &str) -> Self {
        match folded.replace(['_', '-'], "").as_str() {
            "code" | "errorcode" | "errcode" | "rule" | "rulecode" | "ruleid" | "rulename"
            | "messagecode" | "validationcode" | "zatcacode" | "zatcaerrorcode" | "faultcode"
            | "warningcode" => Self::Code,
            "dispositionmessage" => Self::Disposition,
            "category" | "errorcategory" => Self::Category,
            "message" | "errormessage" | "msg" | "errormsg" | "text" | "description" | "detail"
            | "errordescription" | "messagetext" | "warningmessage" => Self::Message,
            "type" | "severity" | "level" | "errortype" | "messagetype" | "flag" => Self::Type,
            "status" => Self::Status,
            _ => Self::Other,
        }
    }
}

/// A key with its quotes, brackets and separator.
#[derive(Debug)]
struct Key {
    name: Name,
    word: Range<usize>,
    start: usize,
    /// Where the value starts, its quote included.
    value: usize,
    /// Written as in data (`"code":`, `[code] =>`), not as a label in a log.
    strict: bool,
}

#[derive(Debug)]
struct Field {
    name: Name,
    /// The key as it is written.
    word: Range<usize>,
    strict: bool,
    quoted: bool,
    /// Ended by the end of the text instead of by its quote.
    cut_off: bool,
    start: usize,
    /// Without quotes. `None` as the end while an unquoted message goes on.
    value: usize,
    end: Option<usize>,
    /// Where the next record inside the same record starts.
    next_record: Option<usize>,
}

impl Field {
    fn range(&self) -> Range<usize> {
        self.value..self.end.unwrap_or(self.value)
    }

    /// Key, value and quotes.
    fn whole(&self) -> Range<usize> {
        self.start..self.range().end + usize::from(self.quoted && !self.cut_off)
    }
}

/// What follows a key.
enum Value {
    Plain(Field),
    /// A quoted text with a record in it, whose first key is at this position.
    Nested(usize),
    /// A list, a record or nothing.
    Unfit,
}

/// How a quoted value ends.
enum Closing {
    Quote(usize),
    /// At the end of the text, or at the next key.
    Missing(usize),
    /// See [`Value::Nested`].
    Nested(usize),
}

#[derive(Debug, Default)]
struct FieldRecord {
    fields: Vec<Field>,
    /// Keys of other fields, which end the text of the field before them.
    other_keys: Vec<Range<usize>>,
    /// A record inside this one was an error, so this one's message is only a summary.
    has_inner: bool,
}

impl FieldRecord {
    fn field(&self, name: Name) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn end_message(&mut self, end: usize) {
        for field in &mut self.fields {
            field.end.get_or_insert(end);
        }
    }
}

/// Reads all records, and covers in `view` the parts that must not be read again.
pub(super) fn extract(view: &mut View, known: &KnownCodes) -> Extracted {
    let mut reader = Reader { view, known, extracted: Extracted::default(), nested_until: 0 };
    reader.read();
    reader.extracted
}

struct Reader<'a> {
    view: &'a mut View,
    known: &'a KnownCodes,
    extracted: Extracted,
    /// Up to here the text is known to be the inside of a quoted value with a nested record in it. Without this, values
    /// nested in values would be searched again and again.
    nested_until: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut outer: Vec<FieldRecord> = Vec::new();
        let mut record = FieldRecord::default();
        let mut at = 0;
        let mut next_word = 0;
        while let Some(ch) = self.view.get(at) {
            while self.view.words.get(next_word).is_some_and(|word| word.start < at) {
                next_word += 1;
            }
            let word = self.view.words.get(next_word).filter(|word| word.start == at).cloned();
            at = match ch {
                '{' => {
                    record.end_message(at);
                    for field in &mut record.fields {
                        field.next_record.get_or_insert(at);
                    }
                    outer.push(std::mem::take(&mut record));
                    at + 1
                }
                '}' | BLOCK => {
                    let had_inner = self.finish(&mut record, at);
                    if let Some(parent) = outer.pop_if(|_| ch == '}') {
                        record = parent;
                    }
                    record.has_inner |= had_inner;
                    at + 1
                }
                _ => match word {
                    Some(word) => self.read_word(&word, &mut record, !outer.is_empty()),
                    None => at + 1,
                },
            };
        }
        let mut had_inner = self.finish(&mut record, at);
        while let Some(mut parent) = outer.pop() {
            parent.has_inner |= had_inner;
            had_inner = self.finish(&mut parent, at);
        }
    }

    /// Reads a key and its value, if the word is a key, and returns where to read on.
    fn read_word(&mut self, word: &Range<usize>, record: &mut FieldRecord, is_braced: bool) -> usize {
        let Some(key) = self.view.key(word, is_braced).filter(|key| key.start >= self.nested_until) else {
            return word.end;
        };
        self.extracted.structured |= key.strict;
        if key.name == Name::Other {
            record.end_message(key.start);
            // In `{"BR-KSA-17": "…"}` the key is the code; `publicKey` is more likely a field.
            let code = read_code(self.view, word, self.known);
            if !code.is_some_and(|found| found.code.contains(['-', '_'])) {
                record.other_keys.push(key.start..key.value);
            }
            return key.value.max(word.end);
        }
        if let Some(former) = record.field(key.name) {
            // `message` and `description` say the same thing twice; a second `message` belongs to another error.
            let is_synonym = self.view.fold(&former.word).0 != self.view.fold(&key.word).0;
            if is_synonym && key.name != Name::Code {
                record.end_message(key.start);
                record.other_keys.push(key.start..key.value);
                return key.value.max(word.end);
            }
            self.finish(record, key.start);
        }
        record.end_message(key.start);
        let field = match self.view.field(&key) {
            Value::Plain(field) => field,
            Value::Nested(until) => {
                self.nested_until = until;
                return key.value.max(word.end);
            }
            Value::Unfit => return key.value.max(word.end),
        };
        let read_on = field.end.unwrap_or(field.value);
        record.fields.push(field);
        read_on.max(word.end)
    }

    /// Ends a record, and returns whether it or a part of it was an error.
    fn finish(&mut self, record: &mut FieldRecord, end: usize) -> bool {
        let mut record = std::mem::take(record);
        record.end_message(end);
        let is_success = self.says(record.field(Name::Type), "info")
            || self.says(record.field(Name::Status), "pass")
            || self.says(record.field(Name::Status), "passed");
        let severity = self.severity(&record);
        let code = record.field(Name::Code).map(|field| (field, self.code_in(field)));
        let disposition = record.field(Name::Disposition);
        let disposed = disposition
            .filter(|field| !self.says(Some(field), "issued"))
            .and_then(|field| Some((field, self.code_in(field)?)));
        // If the code is an HTTP status, the category names the error.
        let (field, candidate) = match code {
            Some((field, Some(found))) if !is_status(&found.code) => (Some(field), Some(found)),
            Some((field, _)) if !self.is_status_or_null(field) => (None, None),
            _ => {
                let field = record.field(Name::Category);
                let known = field.and_then(|field| self.code_in(field)).filter(|found| found.known);
                (field, known.filter(|found| !is_status(&found.code)))
            }
        };
        if let Some((field, found)) = &disposed {
            self.push(field.value, Some(found.code.clone()), found.code.clone(), severity);
            self.view.cover(field.whole(), BLOCK);
        }
        let is_error = match (field, candidate) {
            (Some(field), Some(candidate)) => {
                let end = field.next_record.unwrap_or(end);
                let candidate = Candidate { severity, ..candidate };
                self.finish_coded(&record, field, candidate, is_success, end);
                true
            }
            _ => {
                self.finish_uncoded(&record, is_success || disposition.is_some(), severity)
                    || record.has_inner
            }
        };
        let is_error = is_error || disposed.is_some();
        for key in record.other_keys {
            self.view.cover(key, BLOCK);
        }
        is_error
    }

    fn finish_coded(
        &mut self,
        record: &FieldRecord,
        code: &Field,
        candidate: Candidate,
        is_success: bool,
        end: usize,
    ) {
        let message = record.field(Name::Message);
        let text = match message {
            _ if is_success || candidate.kind == Kind::Success => None,
            Some(message) if message.quoted || message.start < code.start => {
                let text = without_echo(self.view, self.known, message.range(), &candidate.code);
                Some(self.view.clean(text))
            }
            None if record.has_inner => Some(candidate.code.clone()),
            None if code.strict => Some(self.view.render(code.start..end)),
            // The next pass decides where an unquoted message ends.
            _ => return self.leave_to_prose(record, code, &candidate, message),
        };
        if let Some(text) = text {
            // An error is never shown without any text.
            let text = text.trim_matches(|ch| is_space(ch) || ch == ',');
            let text = if text.is_empty() { &candidate.code } else { text }.to_owned();
            // The codes in the message of a general code count as well.
            let inner =
                message.filter(|message| candidate.is_general && self.holds_code(message, &candidate.code));
            self.push(code.value, Some(candidate.code), text, candidate.severity);
            if let Some(message) = inner {
                for field in record.fields.iter().filter(|field| field.name != Name::Message) {
                    self.view.cover(field.whole(), BLOCK);
                }
                let end = message.whole().end.max(message.range().end);
                self.view.cover(message.start..message.value, BLOCK);
                self.view.cover(message.range().end..end, BLOCK);
                return;
            }
        }
        self.cover_fields(record);
    }

    /// Leaves the code, marked as such, and the record's message to the next pass.
    fn leave_to_prose(
        &mut self,
        record: &FieldRecord,
        code: &Field,
        candidate: &Candidate,
        message: Option<&Field>,
    ) {
        let message_start = message.map_or(usize::MAX, |message| message.start);
        if let Some(severity) = candidate.severity {
            self.extracted.levels.insert(candidate.range.start, severity);
        }
        // Other keys may be between the code and its message.
        if message.is_some_and(|message| message.start > code.range().end) {
            let between = code.whole().end..message_start;
            if !self.view.words_in(between.clone()).is_empty() {
                self.view.cover(between, INLINE);
            }
        }
        for field in &record.fields {
            if field.start == code.start {
                self.view.cover(field.start..field.value, BLOCK);
                self.view.cover(field.value - 1..field.value, MARK);
            } else if field.name == Name::Message {
                self.view.cover(field.start..field.value, INLINE);
            } else {
                let is_behind = field.start > message_start;
                self.view.cover(field.whole(), if is_behind { BLOCK } else { INLINE });
            }
        }
    }

    fn finish_uncoded(&mut self, record: &FieldRecord, is_success: bool, severity: Option<Severity>) -> bool {
        if !record.fields.iter().any(|field| field.strict) {
            return false;
        }
        let number =
            record.field(Name::Code).and_then(|field| self.code_in(field)).filter(|_| !record.has_inner);
        let message = record.field(Name::Message);
        let inside = message.is_some_and(|message| self.holds_code(message, ""));
        if is_success && !inside {
            self.cover_fields(record);
            return false;
        }
        let mut is_error = inside;
        if let Some(message) = message.filter(|_| !inside) {
            let code = number.as_ref().map_or("", |found| &found.code);
            let text = self.view.clean(without_echo(self.view, self.known, message.range(), code));
            is_error = !record.has_inner && (number.is_some() || !text.is_empty());
            if is_error {
                self.push(message.value, number.map(|found| found.code), text, severity);
            }
            self.view.cover(message.range(), BLOCK);
        } else if let Some(found) = number.filter(|_| !inside) {
            is_error = true;
            self.push(found.range.start, Some(found.code.clone()), found.code, severity);
        }
        for field in &record.fields {
            // A code field with several codes in it is left to the next pass, and so is a message.
            let keeps_value = match field.name {
                Name::Code => self.code_in(field).is_none() && self.view.only_word(field.range()).is_none(),
                Name::Message => true,
                _ => false,
            };
            self.view.cover(if keeps_value { field.start..field.value } else { field.whole() }, BLOCK);
        }
        is_error
    }

    fn push(&mut self, position: usize, rule: Option<String>, message: String, severity: Option<Severity>) {
        let error = RuleError { rule, message, severity, ..RuleError::default() };
        self.extracted.errors.push((position, error));
    }

    /// Whether its error blocks, as the record itself says.
    fn severity(&self, record: &FieldRecord) -> Option<Severity> {
        [Name::Type, Name::Status, Name::Category].into_iter().find_map(|name| {
            let value = self.view.render(record.field(name)?.range());
            Level::of(&value.trim_matches(is_space).to_ascii_lowercase())?.severity()
        })
    }

    fn cover_fields(&mut self, record: &FieldRecord) {
        for field in &record.fields {
            self.view.cover(field.whole(), BLOCK);
        }
    }

    /// The code, known or not, if the whole value is one.
    fn code_in(&self, field: &Field) -> Option<Candidate> {
        let known = self
            .view
            .only_word(field.range())
            .and_then(|word| read_code(self.view, &word, self.known).filter(|found| found.range == word));
        if let Some(found) = known {
            // `BR-KSA-1` at the end of a text that was cut off may have been `BR-KSA-17`.
            return (found.known || !field.cut_off).then_some(found);
        }
        let is_whole = if field.quoted { !field.cut_off } else { self.view.is_delimited(field.range().end) };
        let value = self.view.render(field.range());
        // It may be broken over lines.
        let value = value.split('\n').map(|line| line.trim_matches(is_space)).collect::<String>();
        if !is_whole || !looks_like_code(&value) {
            return None;
        }
        let official = self.known.official(&value);
        Some(Candidate {
            range: field.range(),
            code: official.map_or_else(|| shortened(&value), str::to_owned),
            kind: Kind::Word,
            known: official.is_some(),
            is_distinctive: false,
            is_general: self.known.is_general(&value),
            severity: None,
        })
    }

    fn is_status_or_null(&self, field: &Field) -> bool {
        let value = self.view.render(field.range());
        let value = value.trim_matches(is_space);
        value.is_empty() || is_status(value) || is_null(&value.to_ascii_lowercase())
    }

    fn says(&self, field: Option<&Field>, value: &str) -> bool {
        field.is_some_and(|field| {
            self.view.render(field.range()).trim_matches(is_space).eq_ignore_ascii_case(value)
        })
    }

    /// Whether the next pass will find a code in a message, other than its own.
    fn holds_code(&self, message: &Field, own: &str) -> bool {
        let words = self.view.words_in(message.range());
        words.iter().enumerate().any(|(index, word)| {
            let found = read_code(self.view, word, self.known).filter(|found| found.code != own);
            found.is_some_and(|found| match found.kind {
                Kind::Family => true,
                Kind::Word if found.is_distinctive => true,
                Kind::Word => index == 0 && self.view.get(self.view.skip_space(word.end)) == Some(':'),
                Kind::Status | Kind::Success => false,
            })
        })
    }
}

/// Whether it is an HTTP status, which says less than any other code.
fn is_status(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a value may be a code: one word or a few, but not a word for nothing or for success.
fn looks_like_code(value: &str) -> bool {
    let folded = value.to_ascii_lowercase();
    let is_empty_word = matches!(
        folded.as_str(),
        "null" | "none" | "nil" | "undefined" | "true" | "false" | "ok" | "success" | "n/a" | "-" | "0"
    );
    let is_good = is_status(value) && value.starts_with(['1', '2', '3']);
    !is_empty_word
        && !is_good
        && value.chars().count() <= MAX_CODE_CHARS
        && value.chars().any(|ch| ch.is_ascii_alphanumeric())
        && value.chars().all(|ch| ch.is_ascii_alphanumeric() || "-_./:# ".contains(ch) || is_hyphen(ch))
        && value.split(' ').count() <= 3
}

fn is_null(folded: &str) -> bool {
    matches!(folded, "null" | "none" | "nil")
}

impl View {
    fn words_in(&self, range: Range<usize>) -> &[Range<usize>] {
        self.words.get(self.word_from(range.start)..self.word_from(range.end)).unwrap_or_default()
    }

    /// The word that a range consists of, apart from brackets and the like.
    fn only_word(&self, range: Range<usize>) -> Option<Range<usize>> {
        let [word] = self.words_in(range.clone()) else {
            return None;
        };
        let around = self.render(range.start..word.start) + &self.render(word.end..range.end);
        (!around.chars().any(char::is_alphanumeric)).then(|| word.clone())
    }

    /// Whether a value without quotes ends here, and does not continue as a sentence.
    fn is_delimited(&self, end: usize) -> bool {
        let mut at = end;
        while self.get(at).is_some_and(|ch| (is_space(ch) && ch != '\n') || ch == ']') {
            at += 1;
        }
        match self.get(at) {
            None | Some('\n' | BLOCK | ',' | ';' | '،' | '؛' | '|' | '}' | ')' | '<' | '/') => true,
            Some(_) => {
                let word = self.words.get(self.word_from(at)).filter(|word| word.start <= at + 1);
                word.is_some_and(|word| self.key(word, false).is_some())
            }
        }
    }

    /// Whether a word is a key: a separator follows it, and then a value as in data.
    fn has_value(&self, word: &Range<usize>) -> bool {
        let separator = self.skip_space(word.end);
        if !matches!(self.get(separator), Some(':' | '=')) {
            return false;
        }
        let value = self.skip_space(separator + 1 + usize::from(self.get(separator + 1) == Some('>')));
        let next = self.words.get(self.word_from(value)).filter(|word| word.start == value);
        is_quote(self.get(value))
            || matches!(self.get(value), Some('[' | '{'))
            || next.is_some_and(|word| {
                let folded = self.fold(word).0;
                is_null(&folded)
                    || matches!(folded.as_str(), "true" | "false" | "undefined")
                    || folded.bytes().all(|byte| byte.is_ascii_digit())
            })
    }

    /// Reads the key that a word may be. In braces it needs no quotes.
    fn key(&self, word: &Range<usize>, is_braced: bool) -> Option<Key> {
        let before = self.before(word.start);
        let quoted = is_quote(before) && is_quote(self.get(word.end));
        let bracketed = before == Some('[') && self.get(word.end) == Some(']');
        let wrapped = usize::from(quoted || bracketed);
        let mut start = word.start - wrapped;
        let mut end = word.end + wrapped;
        // `["code"]=>` of a PHP dump.
        if quoted && self.before(start) == Some('[') && self.get(end) == Some(']') {
            start -= 1;
            end += 1;
        }
        let separator = self.skip_space(end);
        let name = Name::of(&self.fold(word).0);
        let value = match (self.get(separator)?, self.get(separator + 1)) {
            ('=', Some('>')) => separator + 2,
            (':' | '=' | '：', _) if !bracketed => separator + 1,
            // Text recognised in a picture may have a dot for the colon, or nothing.
            ('.' | ';', _) if quoted && is_quote(self.get(self.skip_space(separator + 1))) => separator + 1,
            (ch, _) if quoted && separator > end && name != Name::Other && quote_kind(ch).is_some() => {
                separator
            }
            _ => return None,
        };
        let value = self.skip_type(self.skip_space(value));
        let strict = quoted || bracketed || (is_braced && self.has_value(word));
        let is_attribute =
            self.get(separator) == Some('=') && (is_quote(self.get(value)) || value == word.end + 1);
        let qualified = self.skip_qualifier(start);
        // A quoted word before a colon may be part of a sentence, so what follows is checked too.
        let start = if bracketed || self.starts_item(start) {
            start
        } else if !strict && self.starts_item(qualified) {
            qualified
        } else if is_attribute && matches!(self.before(start), Some(' ' | '<')) {
            start
        } else {
            return None;
        };
        (strict || name != Name::Other).then_some(Key { name, word: word.clone(), start, value, strict })
    }

    /// Whether a position is where an item of a list or a line may start.
    fn starts_item(&self, mut at: usize) -> bool {
        while let Some(ch) = self.before(at) {
            if ch == '\n' {
                return true;
            }
            if is_hyphen(ch) && self.before(at - 1).is_none_or(is_space) {
                return true;
            }
            if !(is_space(ch) || matches!(ch, '*' | '•')) {
                return matches!(ch, ',' | ';' | '،' | '؛' | '|' | '{' | '(' | '[' | '}' | BLOCK | MARK);
            }
            at -= 1;
        }
        true
    }

    /// Steps back over the first word of a label such as `Error code`.
    fn skip_qualifier(&self, at: usize) -> usize {
        let end = at - usize::from(self.before(at) == Some(' '));
        let index = self.word_from(at).checked_sub(1);
        let word = index.and_then(|index| self.words.get(index)).filter(|word| word.end == end);
        let qualifies = |word: &&Range<usize>| {
            matches!(self.fold(word).0.as_str(), "error" | "rule" | "validation" | "zatca")
        };
        word.filter(qualifies).map_or(at, |word| word.start)
    }

    /// Steps over `string(9)`, which a PHP dump writes before a value.
    fn skip_type(&self, at: usize) -> usize {
        const TYPE: &str = "string(";
        if !TYPE.chars().enumerate().all(|(index, ch)| self.get(at + index) == Some(ch)) {
            return at;
        }
        let closing = (at..at + 16).find(|at| self.get(*at) == Some(')'));
        closing.map_or(at, |closing| self.skip_space(closing + 1))
    }

    /// Reads the value of a key.
    fn field(&self, key: &Key) -> Value {
        let quoted = is_quote(self.get(key.value));
        let value = key.value + usize::from(quoted);
        let (end, cut_off) = if quoted {
            match self.closing_quote(key.value) {
                Closing::Quote(end) => (Some(end), false),
                Closing::Missing(end) => (Some(end), true),
                Closing::Nested(until) => return Value::Nested(until),
            }
        } else {
            // `code: [X]` has a bracket before its value.
            let word = self.words.get(self.word_from(value)).filter(|word| word.start <= value + 1);
            // `[BR-KSA-37] - text` is a message that begins with its code.
            let is_headed = word.is_some_and(|word| {
                let after = self.get(self.skip_space(word.end + 1));
                self.get(word.end) == Some(']')
                    && after.is_some_and(|ch| ch.is_alphanumeric() || "-–:".contains(ch))
            });
            let is_list = key.strict && matches!(self.get(value), Some('[' | '{')) && !is_headed;
            let is_null = word.is_some_and(|word| is_null(&self.fold(word).0));
            match (key.name, word) {
                (Name::Message, _) if !is_list && !is_null => (None, true),
                (Name::Message, _) | (_, None) => return Value::Unfit,
                (_, Some(word)) => (Some(word.end), word.end == self.len()),
            }
        };
        Value::Plain(Field {
            name: key.name,
            word: key.word.clone(),
            strict: key.strict,
            quoted,
            cut_off,
            start: key.start,
            value,
            end,
            next_record: None,
        })
    }

    /// Where a quoted value ends.
    ///
    /// Quotes inside a value are not always escaped, so a quote ends it only if what follows may follow a value.
    fn closing_quote(&self, open: usize) -> Closing {
        let Some(quote) = self.units.get(open).copied() else {
            return Closing::Missing(open);
        };
        let mut next_word = self.word_from(open);
        let mut has_text = false;
        for (at, unit) in self.units.iter().enumerate().skip(open + 1) {
            has_text |= unit.ch.is_alphanumeric();
            let Some(kind) = quote_kind(unit.ch) else {
                continue;
            };
            if Some(kind) == quote_kind(quote.ch)
                && (unit.escapes < quote.escapes
                    || (unit.escapes == quote.escapes && self.ends_value(at + 1)))
            {
                return Closing::Quote(at);
            }
            while self.words.get(next_word).is_some_and(|word| word.start <= at) {
                next_word += 1;
            }
            let word = self.words.get(next_word).filter(|word| word.start == at + 1);
            if word
                .and_then(|word| self.key(word, false))
                .is_some_and(|key| key.strict && key.name != Name::Other)
            {
                return if unit.escapes > quote.escapes || !has_text {
                    Closing::Nested(at)
                } else {
                    Closing::Missing(at)
                };
            }
        }
        Closing::Missing(self.len())
    }

    /// Whether what follows a quote may follow a value.
    fn ends_value(&self, after: usize) -> bool {
        let next = self.skip_space(after);
        let gap = self.units.get(after..next).unwrap_or_default();
        if gap.iter().any(|unit| unit.ch == '\n') {
            return true;
        }
        match self.get(next) {
            None | Some('}' | ']' | '<' | '>' | '/' | BLOCK) => true,
            Some(')') => !self.get(self.skip_space(next + 1)).is_some_and(char::is_alphanumeric),
            Some(',' | ';') => {
                let item = self.skip_space(next + 1);
                matches!(self.get(item), None | Some('{' | '}' | ']' | ')')) || self.starts_key(item, true)
            }
            // The quote around the whole text.
            Some(ch) if quote_kind(ch).is_some() && self.get(next + 1).is_none() => true,
            Some(_) => self.starts_key(next, false),
        }
    }

    /// Whether a key starts here; in braces it needs no quotes.
    fn starts_key(&self, at: usize, is_braced: bool) -> bool {
        let opened = |at: usize| at + usize::from(is_quote(self.get(at)) || self.get(at) == Some('['));
        let start = opened(opened(at));
        let word = self.words.get(self.word_from(start)).filter(|word| word.start == start);
        // A key may be cut off, too.
        word.map_or(start >= self.len(), |word| word.end == self.len() || self.key(word, is_braced).is_some())
    }
}
