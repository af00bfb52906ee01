//! Help and complaints about arguments in Arabic. In English clap writes them itself, from the comment at each
//! argument.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::LazyLock;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::domain::catalogue::Language;
use crate::telemetry::harmless;
use crate::words::{Words, help};

/// What clap has to say, in Arabic: the help that was asked for, or a complaint as text.
pub(super) fn in_arabic(error: clap::Error) -> Result<clap::Error, String> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Parses the same arguments again, with help in Arabic.
    let error = match arabic().try_get_matches_from(arguments) {
        Err(again) if again.kind() == error.kind() => again,
        _ => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(error),
        _ => Err(complaint(&error)),
    }
}

/// The whole tree of commands with help in Arabic.
fn arabic() -> Command {
    let mut tree = Cli::command();
    // Adds the arguments and commands that clap adds itself, so that they get Arabic help as well.
    tree.build();
    said_in_arabic(tree, "help")
}

fn said_in_arabic(command: Command, key: &str) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{}: {{usage}}\n\n{{all-args}}",
        help("help-usage", &[]).unwrap_or_default()
    );
    let mut command = command
        .help_template(template)
        .subcommand_help_heading(headings().commands.as_str())
        .mut_args(|arg| described(arg, key));
    if let Some(about) = help(key, &[]) {
        command = command.about(about.clone()).long_about(about);
    }
    command.mut_subcommands(|below| {
        let key = match below.get_name() {
            // Below `help` clap repeats the tree of commands, without arguments.
            "help" => "help-help".to_owned(),
            name => format!("{}-{name}", key.strip_prefix("help-help").map_or(key, |_| "help")),
        };
        said_in_arabic(below, &key)
    })
}

/// Headings have to live as long as the program.
struct Headings {
    commands: String,
    arguments: String,
    options: String,
}

fn headings() -> &'static Headings {
    static HEADINGS: LazyLock<Headings> = LazyLock::new(|| {
        let of = |key| help(key, &[]).unwrap_or_default();
        Headings {
            commands: of("help-commands"),
            arguments: of("help-arguments"),
            options: of("help-options"),
        }
    });
    &HEADINGS
}

fn described(arg: Arg, key: &str) -> Arg {
    let heading = match arg.is_positional() {
        true => headings().arguments.as_str(),
        false => headings().options.as_str(),
    };
    let (id, of_command) = (arg.get_id().as_str().to_owned(), key.trim_start_matches("help"));
    let of = |prefix: &str, rest: &str| {
        help(&format!("{prefix}{of_command}--{id}{rest}"), &[])
            .or_else(|| help(&format!("{prefix}--{id}{rest}"), &[]))
    };
    let Some(mut text) = of("help", "") else { return arg.help_heading(heading) };
    let values = arg.get_possible_values();
    let takes_value = arg.get_action().takes_values();
    let mut long = text.clone();
    let names: Vec<&str> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
    if takes_value && !names.is_empty() {
        let label = help("help-values", &[]).unwrap_or_default();
        let _ = write!(text, " [{label}: {}]", names.join(", "));
        let _ = write!(long, "\n\n{label}:");
        for name in &names {
            let _ = write!(long, "\n- {name}");
            if let Some(meaning) = of("value", &format!("-{name}")) {
                let _ = write!(long, ": {meaning}");
            }
        }
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !default.is_empty() {
        let said = help("help-default", &[("value", &default.join(" "))]).unwrap_or_default();
        let _ = write!(text, " [{said}]");
        let _ = write!(long, "\n\n[{said}]");
    }
    arg.help(text).long_help(long).help_heading(heading).hide_possible_values(true).hide_default_value(true)
}

/// What is wrong with the arguments, how they are used, and where there is more help.
fn complaint(error: &clap::Error) -> String {
    let one = |kind| error.get(kind).map(said).unwrap_or_default();
    let given = match one(ContextKind::InvalidValue) {
        value if value.is_empty() => one(ContextKind::InvalidSubcommand),
        value => value,
    };
    let option = one(ContextKind::InvalidArg);
    let quoted = format!("`{option}`");
    let sentence = match error.kind() {
        ErrorKind::UnknownArgument if option.starts_with('-') => {
            help("usage-unknown-option", &[("given", &option)])
        }
        ErrorKind::UnknownArgument => help("usage-unexpected", &[("given", &option)]),
        ErrorKind::InvalidSubcommand => help("usage-unknown-command", &[("given", &given)]),
        ErrorKind::MissingSubcommand => help("usage-missing-command", &[]),
        ErrorKind::MissingRequiredArgument => help("usage-missing", &[("names", &option)]),
        ErrorKind::InvalidValue if given.is_empty() => help("usage-no-value", &[("option", &quoted)]),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            help("usage-bad-value", &[("given", &given), ("option", &quoted)])
        }
        ErrorKind::ArgumentConflict if one(ContextKind::PriorArg) == option => {
            help("usage-twice", &[("option", &quoted)])
        }
        ErrorKind::ArgumentConflict => {
            let others = format!("`{}`", one(ContextKind::PriorArg));
            help("usage-conflict", &[("option", &quoted), ("others", &others)])
        }
        kind => help("usage-other", &[("detail", kind.as_str().unwrap_or_default())]),
    };
    let mut text = sentence.unwrap_or_default();
    if let Some(why) = std::error::Error::source(error).map(ToString::to_string) {
        let _ = write!(text, ": {}", Words::of(Language::Arabic).complaint(&harmless(&why)));
    }
    text.push('\n');
    for (kind, key, name) in [
        (ContextKind::ValidValue, "usage-values", "values"),
        (ContextKind::SuggestedValue, "usage-meant", "meant"),
        (ContextKind::SuggestedArg, "usage-meant", "meant"),
        (ContextKind::SuggestedSubcommand, "usage-meant", "meant"),
    ] {
        let listed = one(kind);
        if !listed.is_empty() {
            let _ = write!(text, "\n{}", help(key, &[(name, &listed)]).unwrap_or_default());
        }
    }
    let usage = one(ContextKind::Usage);
    let usage = usage.trim_start_matches("Usage:").trim();
    if !usage.is_empty() {
        let _ = write!(text, "\n{}: {usage}", help("help-usage", &[]).unwrap_or_default());
    }
    let more = help("usage-more", &[("command", "--help")]).unwrap_or_default();
    let _ = write!(text, "\n{more}");
    text
}

fn said(value: &ContextValue) -> String {
    let plain = |styled: &StyledStr| styled.to_string();
    let said = match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => plain(text),
        ContextValue::StyledStrs(texts) => texts.iter().map(plain).collect::<Vec<_>>().join(", "),
        ContextValue::Number(number) => number.to_string(),
        _ => String::new(),
    };
    harmless(&said)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::words::tests::help_keys;

    fn is_arabic(text: &str) -> bool {
        text.contains(|c: char| ('\u{620}'..='\u{64a}').contains(&c))
    }

    fn walk(command: &Command, path: &str, used: &mut BTreeSet<String>) {
        if command.is_hide_set() {
            return;
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(is_arabic(&about), "{path}: {about}");
        used.insert(path.to_owned());
        let below = path.trim_start_matches("help");
        for arg in command.get_arguments() {
            let said = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(is_arabic(&said), "{path} {}: {said}", arg.get_id());
            let mut use_key = |prefix: &str, rest: &str, is_due: bool| {
                let own = format!("{prefix}{below}--{}{rest}", arg.get_id());
                let shared = format!("{prefix}--{}{rest}", arg.get_id());
                match help_keys().contains(&own) {
                    true => drop(used.insert(own)),
                    false => {
                        assert!(!is_due || help_keys().contains(&shared), "{own} is missing");
                        used.insert(shared);
                    }
                }
            };
            use_key("help", "", true);
            for value in arg.get_possible_values() {
                use_key("value", &format!("-{}", value.get_name()), value.get_help().is_some());
            }
        }
        for command in command.get_subcommands().filter(|_| !path.ends_with("-help")) {
            walk(command, &format!("{path}-{}", command.get_name()), used);
        }
    }

    #[test]
    fn every_command_and_option_is_explained_in_arabic_and_nothing_else_is() {
        let mut used = BTreeSet::new();
        walk(&arabic(), "help", &mut used);
        let of_tree = |key: &&String| key.contains("help-") || key.starts_with("value-");
        let framing = ["usage", "commands", "arguments", "options", "values", "default"];
        let unused: Vec<_> = help_keys()
            .iter()
            .filter(of_tree)
            .filter(|key| !framing.iter().any(|name| **key == format!("help-{name}")))
            .filter(|key| !used.contains(*key))
            .cloned()
            .collect();
        assert_eq!(unused, Vec::<String>::new());
    }
}
