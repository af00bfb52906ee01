//! The code is laid out as `docs/ARCHITECTURE.md` says.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::document;

/// A module that a path of the code names: the texts of its file, or of all files of its folder, and what is left of
/// the path.
fn module<'a>(path: &'a [&'a str]) -> Option<(Vec<String>, &'a [&'a str])> {
    (1..=path.len()).rev().find_map(|n| {
        let place = path[..n].join("/");
        let texts = if is_there(&format!("src/{place}/mod.rs")) {
            let folder = std::fs::read_dir(format!("{}/src/{place}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            folder.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok()).collect()
        } else {
            let file = [format!("src/{place}.rs"), format!("tests/{place}.rs")]
                .into_iter()
                .find(|file| is_there(file))?;
            vec![document(&file)]
        };
        Some((texts, &path[n..]))
    })
}

fn is_there(path: &str) -> bool {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// Whether one of these texts defines an item of this name.
fn defines(texts: &[String], name: &str) -> bool {
    const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    let is_end = |rest: &str| !rest.starts_with(|ch: char| ch.is_alphanumeric() || ch == '_');
    KEYWORDS.into_iter().any(|keyword| {
        let item = format!(" {keyword} {name}");
        texts.iter().flat_map(|text| text.lines()).any(|line| {
            format!(" {}", line.trim_start()).split_once(&item).is_some_and(|(_, rest)| is_end(rest))
        })
    })
}

#[test]
fn the_architecture_names_only_what_is_there() {
    let text = document("docs/ARCHITECTURE.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 50, "the tables are somewhere else");
    let mut n_names = 0;
    for row in rows {
        let mut last: Vec<String> = Vec::new();
        for name in row.split('`').skip(1).step_by(2) {
            n_names += 1;
            let is_path = name.contains('/') || name.contains('.') && !name.contains("::");
            if is_path {
                let is_column = name == "activities.state";
                let is_file =
                    ["", "src/", "src/domain/"].iter().any(|folder| is_there(&format!("{folder}{name}")));
                assert!(is_column || is_file, "{name}");
                continue;
            }
            let path: Vec<&str> = name.split("::").collect();
            match module(&path) {
                Some((texts, rest)) => {
                    for item in rest {
                        assert!(defines(&texts, item), "{name}: its module defines no {item}");
                    }
                    last = texts;
                }
                // An item of a module that was named before it in the row, or the type that the row is about.
                None => {
                    let is_item =
                        path.len() == 1 && (is_there(name) || name == "CHECK" || defines(&last, name));
                    let is_type = WALKED.contains(&name) || PREFIXES.contains(&name);
                    assert!(is_item || is_type, "{name}, in {row}");
                }
            }
        }
    }
    assert!(n_names > 150, "{n_names}");
}

/// What an answer becomes on its way; each is named before the module that makes it.
const WALKED: [&str; 4] = ["Answer", "Observation", "Verdict", "Decision"];

/// Beginnings of names.
const PREFIXES: [&str; 2] = ["stored-", "complaint-"];

#[test]
fn the_architecture_has_a_row_for_every_module() {
    let text = document("docs/ARCHITECTURE.md");
    for (folder, prefix) in [("src", ""), ("src/domain", "domain::")] {
        for entry in std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if !["lib", "main", "mod", "domain"].contains(&name.as_str()) {
                assert!(text.contains(&format!("`{prefix}{name}`")), "no row names {prefix}{name}");
            }
        }
    }
}

/// All texts of a module, its folder's included.
fn texts_of(module: &str) -> Vec<String> {
    let mut texts: Vec<String> = [format!("src/{module}.rs")]
        .iter()
        .filter(|file| is_there(file))
        .map(|file| document(file))
        .collect();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.extension() {
                Some(ending) if ending == "rs" => texts.push(std::fs::read_to_string(path).unwrap()),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    texts
}

/// The other modules of the crate that a module names.
fn modules_used_by(module: &str) -> BTreeSet<String> {
    let texts = texts_of(module);
    assert!(!texts.is_empty(), "{module}");
    let paths = texts.iter().flat_map(|text| text.split("crate::").skip(1));
    let names =
        paths.map(|path| path.split(|ch: char| !ch.is_ascii_lowercase() && ch != '_').next().unwrap());
    names.filter(|name| *name != module).map(str::to_owned).collect()
}

#[test]
fn modules_use_no_others_than_the_architecture_says() {
    for (module, others) in [
        ("domain", &[][..]),
        ("words", &["domain"]),
        ("page", &["domain", "store", "words"]),
        ("evidence", &["domain", "store", "words"]),
        ("store", &["aside", "clock", "domain", "file", "secret"]),
    ] {
        let used = modules_used_by(module);
        assert!(used.iter().all(|used| others.contains(&used.as_str())), "{module} uses {used:?}");
    }
}

#[test]
fn modules_use_each_other_in_one_direction() {
    let root = document("src/lib.rs");
    let of_the_crate = declared(&root).map(|module| (module.to_owned(), modules_used_by(module)));
    assert_no_circle(of_the_crate.collect());
    let domain = document("src/domain/mod.rs");
    let modules: BTreeSet<&str> = declared(&domain).collect();
    let of_the_domain = modules.iter().map(|module| {
        let texts = texts_of(&format!("domain/{module}"));
        // Comments refer to what comes later, too.
        let code =
            texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with("//"));
        let names = code.flat_map(|line| line.split("super::").skip(1)).map(first_name);
        let used = names.filter(|name| name != module && modules.contains(name)).map(str::to_owned);
        ((*module).to_owned(), used.collect())
    });
    assert_no_circle(of_the_domain.collect());
}

/// The modules that a text declares.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
}

/// The name that a path begins with.
fn first_name(path: &str) -> &str {
    path.split(|ch: char| !ch.is_ascii_lowercase() && ch != '_').next().unwrap()
}

/// No module uses itself by way of others. `uses`: the others that each of them uses.
fn assert_no_circle(mut uses: BTreeMap<String, BTreeSet<String>>) {
    assert!(uses.len() > 20, "{uses:?}");
    // Takes away what uses nothing that is left, again and again. What remains is in a circle, or uses one.
    loop {
        let is_free = |used: &BTreeSet<String>| !used.iter().any(|used| uses.contains_key(used));
        let free: Vec<String> =
            uses.iter().filter(|(_, used)| is_free(used)).map(|(module, _)| module.clone()).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| drop(uses.remove(module)));
    }
    assert!(uses.is_empty(), "in a circle, or using one: {uses:?}");
}

#[test]
fn a_test_that_can_t_be_tried_here_says_so_by_the_function_that_counts_it() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("it/helpers.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains(concat!("\"not ", "tried")), "{}", path.display());
            }
        }
    }
}
