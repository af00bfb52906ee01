//! serde's messages about what users write, a configuration or a request, in plain words.

/// A complaint such as ``invalid type: string "x", expected u32`` as `` `x` is not usable: it must be a whole number``.
///
/// `shows_value` says whether the value may be quoted. A value in the place of a section or a list never is: it may be
/// a secret that slipped into another key.
pub fn in_plain_words(text: &str, shows_value: bool) -> String {
    if let Some(field) = quoted_after(text, "missing field `") {
        return format!("`{field}` is missing");
    }
    if let Some(field) = quoted_after(text, "duplicate field `") {
        return format!("`{field}` stands twice");
    }
    let rest = ["invalid type: ", "invalid value: "].iter().find_map(|start| text.strip_prefix(start));
    let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return text.to_owned();
    };
    let wanted = wanted(expected);
    match found_value(found).filter(|_| shows_value && !is_compound(expected)) {
        Some(value) => format!("`{value}` is not usable: it must be {wanted}"),
        None => format!("{} is not usable: it must be {wanted}", found_kind(found)),
    }
}

fn quoted_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split('`').next()
}

fn is_compound(expected: &str) -> bool {
    expected.starts_with("struct ") || expected.contains("sequence") || expected.contains("map")
}

/// What belongs there, by the name that a type has in the program.
fn wanted(expected: &str) -> String {
    let plain = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a string" | "a borrowed string" | "string" => "text in quotes",
        "a sequence" | "sequence" => "a list in brackets",
        "a map" | "map" => "a section with keys of its own",
        _ if expected.starts_with("struct ") => "a section with keys of its own",
        other => other,
    };
    plain.to_owned()
}

/// The value itself, if it is a single one.
fn found_value(found: &str) -> Option<String> {
    if let Some(text) = found.strip_prefix("string ") {
        // Quoted and escaped by serde as Rust would write it.
        return Some(text.trim_matches('"').to_owned());
    }
    ["integer `", "floating point `", "boolean `", "character `"]
        .iter()
        .find_map(|start| Some(found.strip_prefix(start)?.trim_end_matches('`').to_owned()))
}

fn found_kind(found: &str) -> &'static str {
    match found.split(' ').next().unwrap_or_default() {
        "string" | "character" => "text",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "a section",
        "null" | "unit" | "Option" => "null",
        _ => "its value",
    }
}

#[cfg(test)]
mod tests {
    use super::in_plain_words;

    #[test]
    fn what_serde_complains_of_is_said_plainly() {
        for (text, shown, hidden) in [
            (
                "invalid type: string \"seven\", expected u32",
                "`seven` is not usable: it must be a whole number, 0 or more",
                "text is not usable: it must be a whole number, 0 or more",
            ),
            (
                "invalid value: integer `-5`, expected u32",
                "`-5` is not usable: it must be a whole number, 0 or more",
                "a number is not usable: it must be a whole number, 0 or more",
            ),
            (
                "invalid type: floating point `0.5`, expected u32",
                "`0.5` is not usable: it must be a whole number, 0 or more",
                "a number is not usable: it must be a whole number, 0 or more",
            ),
            (
                "invalid type: boolean `true`, expected a string",
                "`true` is not usable: it must be text in quotes",
                "true or false is not usable: it must be text in quotes",
            ),
            (
                "invalid type: string \"s3cr3t\", expected struct RawCredential",
                "text is not usable: it must be a section with keys of its own",
                "text is not usable: it must be a section with keys of its own",
            ),
            (
                "invalid type: map, expected a sequence",
                "a section is not usable: it must be a list in brackets",
                "a section is not usable: it must be a list in brackets",
            ),
            (
                "invalid type: null, expected f64",
                "null is not usable: it must be a number",
                "null is not usable: it must be a number",
            ),
            ("missing field `vat`", "`vat` is missing", "`vat` is missing"),
            ("anything else", "anything else", "anything else"),
        ] {
            assert_eq!(in_plain_words(text, true), shown);
            assert_eq!(in_plain_words(text, false), hidden);
        }
    }
}
