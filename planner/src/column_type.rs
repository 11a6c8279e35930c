//! What a column's type, written in full, says of the column: for schemas that come as text, and
//! for tests. A server says each of these by itself.
use crate::snapshot::Column;

impl Column {
    /// Of a type as a definition has it: `bigint unsigned`, `decimal(10,2)`, `enum('a','b')`. It
    /// may be NULL until said otherwise.
    pub fn of_type(name: &str, column_type: &str) -> Self {
        let text = lower(column_type.trim());
        let word = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        let rest = text.get(word.len()..).unwrap_or_default();
        let (data_type, alone) = canonical(word);
        let numbers = numbers(rest);
        let unsigned = attributes(rest).any(|word| word == "unsigned" || word == "zerofill");
        let (numeric_precision, numeric_scale) = numeric(data_type, &numbers, unsigned);
        Self {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            length: match data_type {
                // CHAR alone is CHAR(1).
                "char" | "binary" => Some(numbers.first().copied().unwrap_or(1)),
                "varchar" | "varbinary" => numbers.first().copied(),
                _ => None,
            },
            unsigned,
            column_type: Some(format!("{alone}{rest}")),
            nullable: Some(true),
            numeric_precision,
            numeric_scale,
            datetime_precision: match data_type {
                "time" | "datetime" | "timestamp" => Some(numbers.first().copied().unwrap_or(0)),
                _ => None,
            },
            ..Self::default()
        }
    }
}

/// The server's name of a type that has several, and how it writes the type where nothing follows.
fn canonical(word: &str) -> (&str, &str) {
    match word {
        "integer" => ("int", "int"),
        "bool" | "boolean" => ("tinyint", "tinyint(1)"),
        "dec" | "numeric" | "fixed" => ("decimal", "decimal"),
        "real" => ("double", "double"),
        word => (word, word),
    }
}

/// In lower case, without what stands in quotes.
fn lower(text: &str) -> String {
    let mut quoted = false;
    let one = |c: char| {
        quoted ^= c == '\'';
        if quoted { c } else { c.to_ascii_lowercase() }
    };
    text.chars().map(one).collect()
}

/// Those in the parentheses; none of ENUM and SET.
fn numbers(rest: &str) -> Vec<u32> {
    let inner = rest
        .trim_start()
        .strip_prefix('(')
        .and_then(|r| r.split(')').next());
    inner
        .into_iter()
        .flat_map(|r| r.split(','))
        .map_while(|n| n.trim().parse().ok())
        .collect()
}

/// The words after the parentheses.
fn attributes(rest: &str) -> impl Iterator<Item = &str> {
    rest.rsplit(')')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
}

fn numeric(data_type: &str, numbers: &[u32], unsigned: bool) -> (Option<u32>, Option<u32>) {
    let given = |n: usize| numbers.get(n).copied();
    match data_type {
        "tinyint" => (Some(3), Some(0)),
        "smallint" => (Some(5), Some(0)),
        "mediumint" => (Some(7), Some(0)),
        "int" => (Some(10), Some(0)),
        "bigint" => (Some(19 + u32::from(unsigned)), Some(0)),
        "decimal" => (Some(given(0).unwrap_or(10)), Some(given(1).unwrap_or(0))),
        "float" => (Some(given(0).unwrap_or(12)), given(1)),
        "double" => (Some(given(0).unwrap_or(22)), given(1)),
        "bit" => (Some(given(0).unwrap_or(1)), None),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        let c = Column::of_type("c", "DECIMAL(10,2) UNSIGNED");
        assert_eq!(c.column_type.as_deref(), Some("decimal(10,2) unsigned"));
        assert_eq!((c.numeric_precision, c.numeric_scale, c.unsigned), (Some(10), Some(2), true));
        let c = Column::of_type("c", "Enum('A (unsigned)','b''C')");
        assert_eq!(c.column_type.as_deref(), Some("enum('A (unsigned)','b''C')"));
        assert!(c.data_type == "enum" && !c.unsigned);
        let c = Column::of_type("c", "varchar(20)");
        assert_eq!((c.length, c.numeric_precision), (Some(20), None));
        assert_eq!(Column::of_type("c", "char").length, Some(1));
        assert_eq!(Column::of_type("c", "datetime(3)").datetime_precision, Some(3));
        let c = Column::of_type("c", "INTEGER");
        assert_eq!((c.data_type.as_str(), c.column_type.as_deref()), ("int", Some("int")));
        assert_eq!(Column::of_type("c", "bool").column_type.as_deref(), Some("tinyint(1)"));
    }
}
