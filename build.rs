//! Turns each message of `src/words/en.ftl` into a method, so that the compiler finds a message that is missing, is given
//! other arguments than it takes, or is never used. A test compares the other languages with the English file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};

const MESSAGES: &str = "src/words/en.ftl";

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={MESSAGES}");
    let text = std::fs::read_to_string(MESSAGES).map_err(|err| format!("{MESSAGES}: {err}"))?;
    let resource = fluent_syntax::parser::parse(text.as_str())
        .map_err(|(_, errors)| format!("{MESSAGES}: {errors:?}"))?;
    let mut methods = String::from("impl Words {\n");
    let (mut sentences, mut complaints) = (String::new(), String::new());
    for entry in resource.body {
        let Entry::Message(message) = entry else { continue };
        let key = message.id.name;
        let mut arguments = BTreeSet::new();
        if let Some(pattern) = &message.value {
            collect(pattern, &mut arguments);
        }
        if key.starts_with("stored-") {
            let _ = writeln!(sentences, "    {key:?},");
            continue;
        }
        if key.starts_with("complaint-") {
            let _ = writeln!(complaints, "    {key:?},");
            continue;
        }
        let name = key.replace('-', "_");
        let parameters: String =
            arguments.iter().map(|name| format!(", {name}: impl Into<Arg<'a>>")).collect();
        let values: String = arguments.iter().map(|name| format!("({name:?}, {name}.into()), ")).collect();
        let lifetime = if arguments.is_empty() { "'static" } else { "'a" };
        let generics = if arguments.is_empty() { "" } else { "<'a>" };
        let _ = writeln!(
            methods,
            "    pub(crate) fn {name}{generics}(self{parameters}) -> Said<{lifetime}> {{\n        \
             Said::new(self, {key:?}, vec![{values}])\n    }}"
        );
    }
    methods.push_str("}\n\n/// Messages that stand for sentences which the database keeps in English.\n");
    let _ = writeln!(methods, "const STORED: &[&str] = &[\n{sentences}];");
    methods.push_str("\n/// Messages that stand for what the program complains of in English.\n");
    let _ = writeln!(methods, "const COMPLAINTS: &[&str] = &[\n{complaints}];");
    let folder = std::env::var("OUT_DIR").map_err(|err| err.to_string())?;
    std::fs::write(Path::new(&folder).join("words.rs"), methods).map_err(|err| err.to_string())
}

/// The names of the arguments that a pattern takes.
fn collect<'a>(pattern: &Pattern<&'a str>, names: &mut BTreeSet<&'a str>) {
    for element in &pattern.elements {
        let PatternElement::Placeable { expression } = element else { continue };
        match expression {
            Expression::Inline(inline) => of_inline(inline, names),
            Expression::Select { selector, variants } => {
                of_inline(selector, names);
                variants.iter().for_each(|variant| collect(&variant.value, names));
            }
        }
    }
}

fn of_inline<'a>(inline: &InlineExpression<&'a str>, names: &mut BTreeSet<&'a str>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            names.insert(id.name);
        }
        InlineExpression::Placeable { expression } => {
            if let Expression::Inline(inner) = expression.as_ref() {
                of_inline(inner, names);
            }
        }
        _ => {}
    }
}
