//! Text normalised for searching, so that different spellings match.

use crate::domain::text::ascii_digit;

/// Letters in lower case, every decimal digit as an ASCII one, and Arabic letters that are typed for one another as
/// one: alef with and without hamza, teh marbuta and heh, alef maksura and yeh. Marks above and below letters are left
/// out.
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

#[cfg(test)]
mod tests {
    use super::*;

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
