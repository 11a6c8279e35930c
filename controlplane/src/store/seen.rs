//! What a write stands on.
use std::collections::BTreeMap;

/// What a record was made of when it was read, as its store needs to know it: who writes it later
/// can tell whether somebody else has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// By key: the revision of its last change, and its value. A file has no revisions.
    parts: BTreeMap<String, (i64, String)>,
}

impl Seen {
    pub(super) fn text(text: &str) -> Self {
        let mut seen = Self::default();
        seen.note("", 0, text);
        seen
    }

    /// Of a store with one text for each record.
    pub(super) fn as_text(&self) -> Option<&str> {
        self.parts.get("").map(|(_, text)| text.as_str())
    }

    pub(super) fn note(&mut self, key: &str, revision: i64, value: &str) {
        self.parts
            .insert(key.to_owned(), (revision, value.to_owned()));
    }

    /// 0: it was not there.
    pub(super) fn revision(&self, key: &str) -> i64 {
        self.parts.get(key).map_or(0, |(revision, _)| *revision)
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.parts.get(key).map(|(_, value)| value.as_str())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.parts.keys()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }
}
