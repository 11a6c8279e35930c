//! The source tree's own rules: sizes, the way of imports, and limits that are where their table
//! says.
//!
//! `tidy.txt` lists what is larger than it should be, with its size, which may only shrink;
//! `UPDATE_TIDY=1` writes it anew. Links of pages are checked in `benches/tests/docs.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::root;
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The most lines of a function and of a file.
const FUNCTION_MAX: usize = 70;
const FILE_MAX: usize = 500;
/// The most columns of a line. Addresses and tables of comments cannot be broken.
const COLUMNS_MAX: usize = 100;

/// What each crate may use of ours, besides in its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("planner", &[]),
    ("tuning", &[]),
    ("dataplane", &["planner", "protocol"]),
    ("controlplane", &["planner", "protocol"]),
    ("benches", &["dataplane", "protocol"]),
];

/// All files with this extension, by their path from the root, sorted.
fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, extension: &str, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir()
                && !name.starts_with('.')
                && !["target", "node_modules"].contains(&name.as_str())
            {
                walk(&path, extension, out);
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(&root(), extension, &mut out);
    out.sort();
    out
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Functions by name, with their lines: from `fn` to the brace that closes it, which rustfmt puts
/// below.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let bare = line.trim_start();
        let words = ["pub ", "const ", "async ", "unsafe "];
        let mut head = bare;
        if let Some((visibility, rest)) = head.split_once(") ")
            && visibility.starts_with("pub(")
        {
            head = rest;
        }
        while let Some(rest) = words.iter().find_map(|w| head.strip_prefix(w)) {
            head = rest;
        }
        let Some(rest) = head.strip_prefix("fn ") else { continue };
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let close = format!("{}}}", &line[..line.len() - bare.len()]);
        let body = lines[n..].iter().position(|l| *l == close);
        if let (Some(length), false) = (body, bare.ends_with(';') || bare.ends_with('}')) {
            found.push((name, length + 1));
        }
    }
    found
}

/// What is too large now.
fn large() -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for path in files("rs") {
        let text = read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > FILE_MAX {
            out.insert(short(&path), lines);
        }
        for (name, lines) in functions(&text) {
            if lines > FUNCTION_MAX {
                let entry = out.entry(format!("{} {name}", short(&path))).or_default();
                *entry = lines.max(*entry);
            }
        }
        let wide = text
            .lines()
            .filter(|l| l.chars().count() > COLUMNS_MAX)
            .filter(|l| {
                let comment = l.trim_start().starts_with("//");
                !(comment && (l.contains("https://") || l.contains("! |")))
            });
        match wide.count() {
            0 => {}
            wide => _ = out.insert(format!("{} (lines too wide)", short(&path)), wide),
        }
    }
    out
}

#[test]
fn files_and_functions_are_small() {
    let list = root().join("tests/tests/tidy.txt");
    let now = large();
    if std::env::var_os("UPDATE_TIDY").is_some() {
        let text: String = now
            .iter()
            .map(|(what, lines)| format!("{lines} {what}\n"))
            .collect();
        std::fs::write(&list, text).unwrap();
    }
    let text = read_to_string(&list).unwrap();
    let known: BTreeMap<&str, usize> = text
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(lines, what)| (what, lines.parse().unwrap()))
        .collect();
    let grown: Vec<_> = now
        .iter()
        .filter(|(what, lines)| known.get(what.as_str()).is_none_or(|known| *lines > known))
        .collect();
    assert!(
        grown.is_empty(),
        "functions over {FUNCTION_MAX} lines, files over {FILE_MAX}, lines over {COLUMNS_MAX} \
         columns: {grown:#?}"
    );
    let gone: Vec<_> = known
        .keys()
        .filter(|what| !now.contains_key(**what))
        .collect();
    assert!(gone.is_empty(), "no longer too large; take them out of tidy.txt: {gone:#?}");
}

#[test]
fn imports_run_one_way() {
    for (name, may) in ARROWS {
        let manifest = read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let uses = manifest.split("[dev-dependencies]").next().unwrap();
        let ours = uses
            .lines()
            .filter_map(|l| l.strip_prefix("coregate-")?.split(['.', ' ']).next());
        for other in ours {
            assert!(may.contains(&other), "{name} uses {other}");
        }
    }
}

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let manifest = read_to_string(root().join("Cargo.toml")).unwrap();
    let all: String = files("toml")
        .iter()
        .map(|p| read_to_string(p).unwrap())
        .collect();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let names = section
        .lines()
        .filter_map(|l| l.split_once(" = "))
        .map(|(name, _)| name.trim())
        .filter(|name| !name.starts_with('#'));
    let unused: Vec<_> = names
        .filter(|name| {
            let forms = [format!("\n{name}.workspace"), format!("\n{name} = {{ workspace")];
            !forms.iter().any(|form| all.contains(form.as_str()))
        })
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn limits_are_where_the_table_says() {
    let page = read_to_string(root().join("docs/architecture.md")).unwrap();
    let table = page.split("\n## Limits\n").nth(1).unwrap();
    let sources = files("rs");
    let mut checked = 0;
    for row in table.lines().filter(|l| l.starts_with('|')) {
        let Some(cell) = row.split('|').nth(3) else { continue };
        let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let Some(file) = quoted.iter().find(|q| q.ends_with(".rs")) else { continue };
        let upper = |q: &&&str| {
            q.chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        };
        for name in quoted.iter().filter(upper) {
            let end = format!("/{file}");
            let mut texts = sources
                .iter()
                .filter(|p| format!("/{}", short(p)).ends_with(&end))
                .map(|p| read_to_string(p).unwrap());
            assert!(texts.any(|t| t.contains(&format!("const {name}: "))), "no {name} in {file}");
            checked += 1;
        }
    }
    assert!(checked > 10, "the table has another form: {checked}");
}
