//! Files of `/proc` and `/sys`, below a root that tests make.
use std::fs;
use std::path::{Path, PathBuf};

/// CPUs of one list, at most: more than any machine has.
const CPUS_MAX: usize = 1 << 16;

#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Is it this very machine?
    pub(crate) fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A file's text, trimmed.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// `0-3,8,10-11`, as the kernel writes lists of CPUs.
    pub(crate) fn list(&self, path: &str) -> Vec<usize> {
        parse_list(&self.read(path).unwrap_or_default())
    }
}

pub(crate) fn parse_list(text: &str) -> Vec<usize> {
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            out.extend(first..=last.min(first.saturating_add(CPUS_MAX)));
        }
    }
    out
}

/// The other way round.
pub(crate) fn format_list(cpus: &[usize]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(first) = cpus.get(at) {
        let mut last = *first;
        while cpus.get(at + 1) == Some(&(last + 1)) {
            last += 1;
            at += 1;
        }
        out.push(if last == *first { first.to_string() } else { format!("{first}-{last}") });
        at += 1;
    }
    out.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert!(parse_list("").is_empty() && parse_list("x").is_empty());
        assert_eq!(format_list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(format_list(&[]), "");
    }
}
