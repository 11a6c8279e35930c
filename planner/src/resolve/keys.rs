//! Asks a leaf's shards for the values of tables that were gathered before it.
use super::{Found, Resolved, ShardText};
use crate::charset::Charsets;
use crate::column::{Family, Sought, sought};
use crate::lookup::{Literal, LookUp, Written};
use crate::plan::Target;
use crate::plan::tree::{Gather, GatherKey, KeyForm, KeyPlace, Leaf};
use crate::snapshot::{KeyRange, Snapshot};
use crate::value::Value;
use crate::vindex::loose::md5_number;
use crate::vindex::{KeyspaceId, Vindex};

/// The most values in one IN: from 1,000 on, MariaDB makes a subquery of it
/// (`in_predicate_conversion_threshold`). More values make several.
const LIST_MAX: usize = 900;

/// The most values that a lookup table is asked for; where there are more, all shards are asked.
pub(crate) const LOOKUP_VALUES_MAX: usize = 500;

/// Which keyspace ids each of a leaf's shards has, where its rows are found by values.
pub(super) fn ranges(
    leaf: &Leaf,
    gather: &Gather,
    snapshot: &Snapshot,
    found: &Resolved,
) -> Vec<KeyRange> {
    if gather.keys.iter().all(|key| key.place.is_none()) {
        return Vec::new();
    }
    let Target::Keyspace { keyspace, .. } = &leaf.route.to else { return Vec::new() };
    let keyspace = snapshot.keyspaces.get(usize::from(*keyspace));
    let shards = found.shards.iter().map(|shard| {
        let known = keyspace.and_then(|k| k.shards.get(usize::from(shard.shard)));
        known.map(|known| known.range.clone())
    });
    shards.collect::<Option<_>>().unwrap_or_default()
}

/// A value as a literal that compares with the key's column as the column that it comes from does.
/// `Ok(None)`: it equals none. `Err`: there is no such literal.
fn literal(form: &KeyForm, value: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let of = |written: &Written| Literal::of(Some(value), written).map(|l| l.sql).ok_or(());
    match form {
        KeyForm::Integer { min, max } => {
            let text = std::str::from_utf8(value).map_err(|_| ())?;
            let fits = match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(n), _) => n >= *min && u64::try_from(n).map_or(true, |n| n <= *max),
                (_, Ok(n)) => n <= *max,
                _ => return Err(()),
            };
            Ok(fits.then(|| value.to_vec()))
        }
        KeyForm::Decimal => of(&Written::Number).map(Some),
        // Days that there are not depend on the session's mode.
        KeyForm::Date if is_day(value) => Ok(Some([b"DATE'", value, b"'"].concat())),
        KeyForm::Moment if value.get(..10).is_some_and(is_day) => {
            of(&Written::Quoted).map(|quoted| Some([b"TIMESTAMP", quoted.as_slice()].concat()))
        }
        KeyForm::Date | KeyForm::Moment => Err(()),
        KeyForm::Text { charset, collation } => {
            let plain = value
                .iter()
                .all(|b| (b' '..=b'~').contains(b) && !b"'\\".contains(b));
            let wide = ["ucs2", "utf16", "utf16le", "utf32"].contains(&charset.as_str());
            let text =
                if plain && !wide { [b"'", value, b"'"].concat() } else { of(&Written::Bytes)? };
            let mut out = format!("_{charset} ").into_bytes();
            out.extend_from_slice(&text);
            out.extend_from_slice(format!(" COLLATE {collation}").as_bytes());
            Ok(Some(out))
        }
        KeyForm::Bytes => of(&Written::Bytes).map(Some),
    }
}

fn is_day(text: &[u8]) -> bool {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).and_then(|d| std::str::from_utf8(d).ok());
        digits.and_then(|d| d.parse::<u32>().ok()).unwrap_or(0)
    };
    let dashes = text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-');
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    text.len() == 10 && dashes && year > 0 && (1..=days).contains(&day)
}

/// The values of one key as literals; `None` where one has none: the table is asked without them.
fn literals(key: &GatherKey, values: &[Vec<u8>]) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut out = Vec::with_capacity(values.len());
    for (n, value) in values.iter().enumerate() {
        if let Some(literal) = literal(&key.form, value).ok()? {
            out.push((n, literal));
        }
    }
    Some(out)
}

/// The question to a lookup table for the shards of a key's values.
pub fn lookup_question(key: &GatherKey, values: &[Vec<u8>]) -> Option<LookUp> {
    let Some(KeyPlace::Lookup { vindex, locks }) = &key.place else { return None };
    if values.is_empty() || values.len() > LOOKUP_VALUES_MAX {
        return None;
    }
    let column = crate::lookup::quoted(vindex.from.first()?);
    let mut query = format!("{}{column} IN (", vindex.select_head()).into_bytes();
    for (n, value) in values.iter().enumerate() {
        let text = match &key.form {
            form if vindex.loose => {
                let utf8 = matches!(form,
                    KeyForm::Text { charset, .. } if charset.starts_with("utf8mb"));
                utf8.then(|| md5_number(value).to_string().into_bytes())?
            }
            // As a client writes it, so that the vindex of the lookup table itself finds it.
            KeyForm::Text { charset, .. } => {
                Literal::of(Some(value), &Written::Text(charset.clone()))?.sql
            }
            form => match literal(form, value).ok()? {
                Some(literal) => literal,
                None => continue,
            },
        };
        if n > 0 && query.last() != Some(&b'(') {
            query.push(b',');
        }
        query.extend_from_slice(&text);
    }
    if query.last() == Some(&b'(') {
        return None;
    }
    query.push(b')');
    Some(LookUp { query, vindex: vindex.clone(), locks: *locks, changes: false })
}

/// What was gathered for one key.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    /// Each once, none of them NULL. `None`: there are too many.
    pub values: Option<Vec<Vec<u8>>>,
    /// What a lookup table has told of them.
    pub ids: Option<Vec<KeyspaceId>>,
}

/// Restricts a leaf to the values of its keys, in their order. Shards that can have none of them
/// are not asked; nobody is, where there are no values. Returns whether anything restricts it.
pub fn ask_by_keys(
    gather: &Gather,
    ranges: &[KeyRange],
    found: &[KeyValues],
    out: &mut Resolved,
) -> bool {
    let mut lists = Vec::new();
    for (key, found) in gather.keys.iter().zip(found) {
        let Some(values) = &found.values else { continue };
        let Some(literals) = literals(key, values) else { continue };
        lists.push((key, values, literals, &found.ids));
    }
    if lists.iter().any(|(_, _, literals, _)| literals.is_empty()) {
        out.shards.clear();
    }
    let mut shards: Vec<(ShardText, Vec<Vec<u8>>)> = Vec::new();
    for (at, shard) in std::mem::take(&mut out.shards).into_iter().enumerate() {
        let range = ranges.get(at);
        let mut conditions = Vec::new();
        let mut empty = false;
        for (key, values, literals, ids) in &lists {
            let here = |n: usize| {
                let value = values.get(n).map_or(&[][..], Vec::as_slice);
                range.is_none_or(|range| may_lie_in(key, value, range))
            };
            let none = ids.as_ref().is_some_and(|ids| {
                range.is_some_and(|range| !ids.iter().any(|id| range.contains(id)))
            });
            let texts: Vec<&[u8]> = literals
                .iter()
                .filter(|(n, _)| here(*n))
                .map(|(_, text)| text.as_slice())
                .collect();
            empty |= none || texts.is_empty();
            conditions.push(condition(&key.column, &texts));
        }
        if !empty {
            shards.push((shard, conditions));
        }
    }
    for (mut shard, conditions) in shards {
        if let Some(text) = &mut shard.text {
            restrict(text, gather, &conditions);
        }
        out.shards.push(shard);
    }
    !lists.is_empty()
}

/// `(column IN (...) OR column IN (...))`
fn condition(column: &str, texts: &[&[u8]]) -> Vec<u8> {
    let mut out = b"(".to_vec();
    for (n, list) in texts.chunks(LIST_MAX).enumerate() {
        if n > 0 {
            out.extend_from_slice(b" OR ");
        }
        out.extend_from_slice(column.as_bytes());
        out.extend_from_slice(b" IN (");
        out.extend_from_slice(&list.join(&b','));
        out.push(b')');
    }
    out.push(b')');
    out
}

/// Puts conditions behind those that a leaf's query has.
fn restrict(text: &mut Vec<u8>, gather: &Gather, conditions: &[Vec<u8>]) {
    let tail = text.split_off(text.len().saturating_sub(gather.tail));
    for (n, condition) in conditions.iter().enumerate() {
        let first = n == 0 && !gather.filtered;
        text.extend_from_slice(if first { b" WHERE " } else { b" AND " });
        text.extend_from_slice(condition);
    }
    text.extend_from_slice(&tail);
}

/// Can a row with this value lie on the shard?
fn may_lie_in(key: &GatherKey, value: &[u8], range: &KeyRange) -> bool {
    let Some(KeyPlace::Vindex { vindex, family }) = &key.place else { return true };
    match place(vindex.as_ref(), *family, &key.form, value) {
        Found::Nothing => false,
        Found::Id(id) => range.contains(&id),
        Found::Range(_) | Found::Anywhere => true,
    }
}

fn place(vindex: &dyn Vindex, family: Family, form: &KeyForm, value: &[u8]) -> Found {
    let mut buffer = Vec::new();
    let text = std::str::from_utf8(value).unwrap_or_default();
    let value = match form {
        KeyForm::Integer { .. } => match (text.parse(), text.parse()) {
            (Ok(n), _) => Value::Int(n),
            (_, Ok(n)) => Value::UInt(n),
            _ => return Found::Anywhere,
        },
        KeyForm::Date => Value::Bytes(value),
        KeyForm::Text { .. } | KeyForm::Bytes => Value::Binary(value),
        KeyForm::Decimal | KeyForm::Moment => return Found::Anywhere,
    };
    match sought(family, value, Charsets::default(), &mut buffer) {
        Sought::Value(value) => Found::of(vindex, &[value], &[family]),
        Sought::Nothing => Found::Nothing,
        Sought::Anywhere => Found::Anywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ShardIdx;

    fn of(form: &KeyForm, value: &str) -> Option<String> {
        let literal = literal(form, value.as_bytes()).unwrap_or_else(|()| Some(b"?".to_vec()));
        literal.map(|sql| String::from_utf8(sql).unwrap())
    }

    #[test]
    fn literals_compare_as_columns_do() {
        let tiny = KeyForm::Integer { min: 0, max: 255 };
        assert_eq!(of(&tiny, "255").as_deref(), Some("255"));
        for outside in ["-1", "256", "18446744073709551615"] {
            assert_eq!(of(&tiny, outside), None, "{outside}");
        }
        let big = KeyForm::Integer { min: 0, max: u64::MAX };
        assert_eq!(of(&big, "18446744073709551615").as_deref(), Some("18446744073709551615"));
        let signed = KeyForm::Integer { min: i64::MIN, max: i64::MAX as u64 };
        assert_eq!(of(&signed, "-9223372036854775808").as_deref(), Some("-9223372036854775808"));
        let text = |charset: &str, collation: &str| KeyForm::Text {
            charset: charset.into(),
            collation: collation.into(),
        };
        let latin = text("latin1", "latin1_german2_ci");
        assert_eq!(of(&latin, "a b").as_deref(), Some("_latin1 'a b' COLLATE latin1_german2_ci"));
        assert_eq!(of(&latin, "a'").as_deref(), Some("_latin1 x'6127' COLLATE latin1_german2_ci"));
        let wide = text("ucs2", "ucs2_bin");
        assert_eq!(of(&wide, "ab").as_deref(), Some("_ucs2 x'6162' COLLATE ucs2_bin"));
        assert_eq!(of(&KeyForm::Bytes, "ab").as_deref(), Some("x'6162'"));
        assert_eq!(of(&KeyForm::Decimal, "-1.50").as_deref(), Some("-1.50"));
        assert_eq!(of(&KeyForm::Date, "2028-02-29").as_deref(), Some("DATE'2028-02-29'"));
        let moment = "2026-02-28 01:02:03.5";
        assert_eq!(of(&KeyForm::Moment, moment), Some(format!("TIMESTAMP'{moment}'")));
    }

    #[test]
    fn what_has_no_literal_restricts_nothing() {
        for day in [
            "0000-00-00",
            "2026-00-01",
            "2026-01-00",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-13-01",
            "2026-01-01 ",
            "x",
        ] {
            assert_eq!(of(&KeyForm::Date, day).as_deref(), Some("?"), "{day}");
        }
        assert_eq!(of(&KeyForm::Moment, "0000-00-00 00:00:00").as_deref(), Some("?"));
        assert_eq!(of(&KeyForm::Moment, "2026-01-01'--").as_deref(), Some("?"));
        assert_eq!(of(&KeyForm::Decimal, "1;DROP").as_deref(), Some("?"));
        let big = KeyForm::Integer { min: 0, max: u64::MAX };
        assert_eq!(of(&big, "1 OR 1").as_deref(), Some("?"));
    }

    fn gather(filtered: bool) -> Gather {
        let key = GatherKey {
            column: "`l`.`no`".into(),
            from: 0,
            value: 0,
            form: KeyForm::Integer { min: i64::MIN, max: i64::MAX as u64 },
            place: None,
        };
        Gather { keys: vec![key], filtered, tail: " LIMIT 9 FOR UPDATE".len(), ..Gather::default() }
    }

    fn asked(filtered: bool, values: Option<Vec<usize>>) -> Vec<String> {
        let head = if filtered { "SELECT 1 WHERE (a)" } else { "SELECT 1" };
        let text = format!("{head} LIMIT 9 FOR UPDATE").into_bytes();
        let shard =
            |shard: ShardIdx| ShardText { shard, id: Default::default(), text: Some(text.clone()) };
        let mut out = Resolved::default();
        out.shards.extend([shard(0), shard(1)]);
        let texts =
            |values: Vec<usize>| values.iter().map(|v| v.to_string().into_bytes()).collect();
        let found = KeyValues { values: values.map(texts), ids: None };
        ask_by_keys(&gather(filtered), &[], &[found], &mut out);
        let texts = out.shards.into_iter().filter_map(|shard| shard.text);
        texts.map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn conditions_stand_behind_those_of_the_query() {
        let of = |filtered, values: &[usize]| asked(filtered, Some(values.to_vec())).remove(0);
        assert_eq!(of(false, &[5, 7]), "SELECT 1 WHERE (`l`.`no` IN (5,7)) LIMIT 9 FOR UPDATE");
        assert_eq!(of(true, &[5]), "SELECT 1 WHERE (a) AND (`l`.`no` IN (5)) LIMIT 9 FOR UPDATE");
        let many = of(false, &(0..=LIST_MAX).collect::<Vec<_>>());
        assert!(many.contains(",899) OR `l`.`no` IN (900)) LIMIT"), "{many}");
        // Too many, and none.
        assert_eq!(asked(true, None), ["SELECT 1 WHERE (a) LIMIT 9 FOR UPDATE"; 2]);
        assert_eq!(asked(true, Some(Vec::new())), [""; 0]);
    }
}
