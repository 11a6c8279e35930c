//! The pages do not point to what is not there: links to files and headings, and Rust files named
//! in the text.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// All files below `dir`, but for build products and hidden directories.
fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, out);
        } else if path.is_file() {
            out.push(path);
        }
    }
}

/// The text without code blocks, in which anything may stand.
fn prose(text: &str) -> String {
    let (mut inside, mut out) = (false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside && !line.starts_with("    ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// What GitHub makes of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let keep = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| keep(*c))
                .collect::<String>()
        })
        .map(|anchor| anchor.replace(' ', "-"))
        .collect()
}

fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split_once(close))
        .map(|(inside, _)| inside)
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    let mut all = Vec::new();
    files(&root, &mut all);
    let pages: Vec<&PathBuf> = all
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    assert!(pages.len() >= 5, "the pages are not found: {pages:?}");
    let mut wrong = Vec::new();
    for page in pages {
        let text = prose(&fs::read_to_string(page).unwrap());
        let here = page.strip_prefix(&root).unwrap().display();
        for link in between(&text, "](", ')') {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !target.exists() {
                wrong.push(format!("{here}: {link}"));
            } else if !anchor.is_empty()
                && !anchors(&fs::read_to_string(target).unwrap()).contains(anchor)
            {
                wrong.push(format!("{here}: {link}: there is no such heading"));
            }
        }
        // `session/query.rs`: the end of some file's path.
        for name in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.ends_with(".rs") && !name.contains(' '))
        {
            if !all.iter().any(|path| path.ends_with(name)) {
                wrong.push(format!("{here}: `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "these do not exist:\n{}", wrong.join("\n"));
}
