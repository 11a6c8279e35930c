//! The text of an OK for a person, added up over shards: `Records: 3  Duplicates: 0  Warnings: 0`.
use coregate_planner::plan::StatementClass;

/// Labels and numbers, as a server wrote them.
#[derive(Debug, Default)]
pub(super) struct Info {
    parts: Vec<(String, u64)>,
    /// A shard of an INSERT had one row, for which servers say nothing: records, duplicates.
    single: (u64, u64),
    warnings: u64,
}

impl Info {
    /// Adds what one server said; `affected` and `warnings` are its numbers.
    pub(super) fn add(&mut self, class: StatementClass, text: &[u8], affected: u64, warnings: u16) {
        if text.is_empty() && matches!(class, StatementClass::Insert | StatementClass::Replace) {
            // A row counts twice that replaced or changed another; one that was ignored leaves a
            // warning.
            let duplicates = if affected == 0 { u64::from(warnings > 0) } else { affected - 1 };
            self.single = (self.single.0 + 1, self.single.1 + duplicates);
            self.warnings += u64::from(warnings);
            return;
        }
        let parts = parse(text);
        if self.parts.is_empty() {
            self.parts = parts;
        } else if same_labels(&self.parts, &parts) {
            for (sum, (_, number)) in self.parts.iter_mut().zip(parts) {
                sum.1 = sum.1.saturating_add(number);
            }
        }
    }

    /// So many warnings are told of in all.
    pub(super) fn warned(&mut self, count: u16) {
        self.warnings = u64::from(count);
        if let Some((_, number)) = self.parts.iter_mut().find(|(label, _)| label == "Warnings") {
            *number = 0;
        }
    }

    /// More warnings than the servers told of, of a statement that has a text.
    pub(super) fn add_warnings(&mut self, class: StatementClass, count: u16) {
        use StatementClass::{Insert, Replace, Update};
        if matches!(class, Insert | Replace | Update) {
            self.warnings += u64::from(count);
        }
    }

    /// Rows that were replaced by other means.
    pub(super) fn add_duplicates(&mut self, class: StatementClass, count: u64) {
        if matches!(class, StatementClass::Insert | StatementClass::Replace) {
            self.single.1 += count;
        }
    }

    /// Adds what another step of the statement has said.
    pub(super) fn absorb(&mut self, other: Self) {
        self.single = (self.single.0 + other.single.0, self.single.1 + other.single.1);
        self.warnings += other.warnings;
        if self.parts.is_empty() {
            self.parts = other.parts;
        } else if same_labels(&self.parts, &other.parts) {
            for (sum, (_, number)) in self.parts.iter_mut().zip(other.parts) {
                sum.1 = sum.1.saturating_add(number);
            }
        }
    }

    /// Rows are told of even if there was one or none, as of INSERT ... SELECT.
    pub(super) fn counts_rows(&mut self) {
        if self.parts.is_empty() {
            self.parts = ["Records", "Duplicates", "Warnings"]
                .map(|label| (label.to_owned(), 0))
                .into();
        }
    }

    /// The same of a change that may have found no row.
    pub(super) fn of_change(mut self, class: StatementClass) -> String {
        if self.parts.is_empty() && class == StatementClass::Update {
            self.parts = ["Rows matched", "Changed", "Warnings"]
                .map(|label| (label.to_owned(), 0))
                .into();
        }
        self.text()
    }

    /// As a server would have said it of the whole statement.
    pub(super) fn text(mut self) -> String {
        let (records, duplicates) = self.single;
        if self.parts.is_empty() && records > 1 {
            self.parts = ["Records", "Duplicates", "Warnings"]
                .map(|label| (label.to_owned(), 0))
                .into();
        }
        for ((_, sum), more) in self
            .parts
            .iter_mut()
            .zip([records, duplicates, self.warnings])
        {
            *sum = sum.saturating_add(more);
        }
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|(label, number)| format!("{label}: {number}"))
            .collect();
        parts.join("  ")
    }
}

fn same_labels(one: &[(String, u64)], two: &[(String, u64)]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.0 == b.0)
}

/// Empty if it has any other form.
fn parse(text: &[u8]) -> Vec<(String, u64)> {
    let text = String::from_utf8_lossy(text);
    let part = |part: &str| {
        let (label, number) = part.split_once(": ")?;
        Some((label.to_owned(), number.parse().ok()?))
    };
    text.split("  ")
        .map(part)
        .collect::<Option<_>>()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(class: StatementClass, answers: &[(&str, u64, u16)]) -> String {
        let mut info = Info::default();
        for (text, affected, warnings) in answers {
            info.add(class, text.as_bytes(), *affected, *warnings);
        }
        info.text()
    }

    #[test]
    fn numbers_are_added() {
        let insert = StatementClass::Insert;
        let two = "Records: 2  Duplicates: 1  Warnings: 1";
        assert_eq!(
            sum(insert, &[(two, 1, 1), (two, 1, 1)]),
            "Records: 4  Duplicates: 2  Warnings: 2"
        );
        assert_eq!(
            sum(insert, &[(two, 1, 1), ("", 1, 0)]),
            "Records: 3  Duplicates: 1  Warnings: 1"
        );
        assert_eq!(
            sum(insert, &[("", 0, 1), (two, 1, 1)]),
            "Records: 3  Duplicates: 2  Warnings: 2"
        );
        assert_eq!(
            sum(insert, &[("", 2, 0), ("", 0, 0)]),
            "Records: 2  Duplicates: 1  Warnings: 0"
        );
        assert_eq!(sum(insert, &[("", 1, 0)]), "");
        let update = StatementClass::Update;
        let one = "Rows matched: 3  Changed: 1  Warnings: 0";
        assert_eq!(
            sum(update, &[(one, 1, 0), (one, 1, 0)]),
            "Rows matched: 6  Changed: 2  Warnings: 0"
        );
        assert_eq!(sum(StatementClass::Delete, &[("", 1, 0), ("", 1, 0)]), "");
        assert_eq!(sum(StatementClass::Ddl, &[("of another form", 0, 0), ("", 0, 0)]), "");
    }
}
