//! Makes text that others wrote safe to store, log and show.

/// Marks that change the direction of the text after them, and the two that end a line or a paragraph. A program must not
/// write them into a line: the reader would see a different text than is there, and a program that splits lines as
/// Unicode does would find one more.
pub const fn is_layout_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What JSON may hold unescaped although it reorders or breaks the line that it is printed on, or steers the terminal:
/// [marks of layout](is_layout_mark), and the control characters that JSON does not escape.
pub const fn acts_in_json(c: char) -> bool {
    is_layout_mark(c) || matches!(c, '\u{7f}'..='\u{9f}')
}

/// A text on one line, without control characters and marks of layout: each becomes a space.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_layout_mark(c) { ' ' } else { c }).collect()
}

/// What somebody typed or pasted, without invisible characters: they come along from other programs, and the page would
/// repeat them.
pub fn typed(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !is_layout_mark(*c)).collect()
}

/// Makes control characters and marks of layout visible. Line breaks and tabs stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\r' => {}
            c if c.is_control() || is_layout_mark(c) => shown.push_str(&named(c)),
            c => shown.push(c),
        }
    }
    shown
}

/// A character that can't be seen, by its number.
pub fn named(c: char) -> String {
    format!("⟦U+{:04X}⟧", u32::from(c))
}

/// An Arabic or Persian digit as an ASCII one; `None` for any other character.
pub fn ascii_digit(c: char) -> Option<char> {
    let zero = match c {
        '\u{660}'..='\u{669}' => 0x660,
        '\u{6f0}'..='\u{6f9}' => 0x6f0,
        _ => return None,
    };
    char::from_digit(u32::from(c) - zero, 10)
}

/// Arabic and Persian digits as ASCII ones: keyboards differ.
pub fn with_ascii_digits(text: &str) -> String {
    text.chars().map(|c| ascii_digit(c).unwrap_or(c)).collect()
}

/// Normalised for searching, so that different spellings match: letters in lower case, every decimal digit as an ASCII
/// one, and Arabic letters that are typed for one another as one: alef with and without hamza, teh marbuta and heh,
/// alef maksura and yeh. Marks above and below letters are left out.
pub fn folded(text: &str) -> String {
    text.chars().filter_map(folded_char).collect()
}

fn folded_char(c: char) -> Option<char> {
    match c {
        'أ' | 'إ' | 'آ' | 'ٱ' => Some('ا'),
        'ة' => Some('ه'),
        'ى' => Some('ي'),
        // Tatweel and the short vowels.
        '\u{640}' | '\u{64b}'..='\u{652}' => None,
        c => ascii_digit(c).or(Some(c.to_ascii_lowercase())),
    }
}

/// As [`one_line`], trimmed, and cut to so many characters; a text that is cut ends with `…`.
pub fn beginning(text: &str, max_chars: usize) -> String {
    // A character takes at most four bytes. One character more than is shown is enough to see that the text is longer.
    let head = &text[..text.floor_char_boundary((max_chars + 1) * 4)];
    let shown: String = head.chars().take(max_chars).collect();
    let more = if head.chars().nth(max_chars).is_some() { "…" } else { "" };
    format!("{}{more}", one_line(&shown).trim())
}

/// A value that somebody gave, in backticks: on one line, with invisible characters escaped, cut after 80 characters.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
    if value.chars().nth(80).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Cuts a text to so many bytes, with `…` at its end. Returns whether it was cut.
pub fn cut(text: &mut String, max_bytes: usize) -> bool {
    const MORE: &str = "…";
    if text.len() <= max_bytes {
        return false;
    }
    text.truncate(text.floor_char_boundary(max_bytes.saturating_sub(MORE.len())));
    text.push_str(MORE);
    // Frees the memory of what was cut off.
    text.shrink_to_fit();
    true
}

/// JSON in which everything is escaped that would act where it is printed. It means the same.
pub fn with_escaped_marks(json: String) -> String {
    // A quick check first: all of these characters begin with one of four bytes. It looks at every byte, many at a time.
    let may_act = |found, byte| found | matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2);
    if !json.bytes().fold(false, may_act) || !json.contains(acts_in_json) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        // Outside of texts JSON has none of them.
        match acts_in_json(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// How many bytes a character takes in a text of JSON, escaped as [`with_escaped_marks`] leaves it.
pub const fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ if acts_in_json(c) => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_a_line_around_is_taken_out_or_shown() {
        let evil = "a\u{1b}[2J\u{202e}b\r\nc\u{2066}d\u{61c}\u{85}\u{7f}\0e\u{2028}f\u{2029}";
        assert_eq!(one_line(evil), "a [2J b  c d    e f ");
        assert_eq!(typed(evil), "a[2Jbcdef");
        let json = serde_json::to_string(evil).unwrap();
        let escaped = with_escaped_marks(json);
        assert!(!escaped.contains(acts_in_json) && !escaped.contains(char::is_control));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), evil);
        assert_eq!(escaped.len(), 2 + evil.chars().map(json_bytes).sum::<usize>());
        for (alone, escaped) in
            [("\"\u{9b}2J\"", "\"\\u009b2J\""), ("\"\u{7f}\"", "\"\\u007f\""), ("\"é ا …\"", "\"é ا …\"")]
        {
            assert_eq!(with_escaped_marks(alone.to_owned()), escaped);
        }
    }

    #[test]
    fn what_can_not_be_seen_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{7}\r\n"), "a⟦U+202E⟧b⟦U+0007⟧\n");
        assert_eq!(visible("صندوق ١"), "صندوق ١");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(beginning("  طويل جدًا ", 5), "طوي…");
        assert_eq!(beginning("short", 5), "short");
        let mut text = "é".repeat(10);
        assert!(!cut(&mut text, 20));
        assert!(cut(&mut text, 10));
        assert_eq!(text, "ééé…");
    }

    #[test]
    fn what_is_typed_in_several_ways_is_one() {
        for (text, expected) in [
            ("Till-7", "till-7"),
            ("صندوق ١٢", "صندوق 12"),
            ("۳۱۰", "310"),
            ("الإدارة", "الاداره"),
            ("مُـحَمَّد", "محمد"),
            ("", ""),
        ] {
            assert_eq!(folded(text), expected);
        }
    }
}
