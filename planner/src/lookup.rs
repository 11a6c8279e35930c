//! Lookup vindexes: tables that say where the rows with a value lie. Whoever changes rows of the
//! table that owns one keeps it right, in the same transaction.
//!
//! <https://vitess.io/docs/reference/features/vindexes/#lookup-vindex-types>
use crate::keyrange::from_hex;
use crate::vindex::loose::md5_number;
use crate::vindex::{CreateError, KeyspaceId, Params, hash_of_number, hashed_number};
use std::borrow::Cow;
use std::sync::Arc;

/// A lookup vindex's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupDef {
    /// The vindex's name in the vschema.
    pub(crate) name: String,
    /// The table as SQL names it, in backticks.
    pub(crate) table: String,
    /// Its columns for the values.
    pub(crate) from: Vec<String>,
    /// The column of the keyspace id, or of the number.
    pub(crate) to: String,
    /// It holds not the keyspace id, but the number that `hash` makes it from.
    pub(crate) number: bool,
    /// It holds not the values, but a number of each, which texts share that `unicode_loose_md5`
    /// takes for equal.
    pub(crate) loose: bool,
    /// Rows with NULL have no entry.
    pub(crate) ignore_nulls: bool,
    /// A value names one keyspace id at most.
    pub unique: bool,
    /// It is still being filled: queries must not rely on it.
    pub(crate) write_only: bool,
    /// Values of tables that do not own it are taken as they come.
    pub(crate) no_verify: bool,
    /// How changes that are in a transaction lock the entries that they read.
    pub read_lock: ReadLock,
}

/// The param `read_lock`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadLock {
    /// `exclusive`: nobody else reads them with a lock until the transaction ends.
    #[default]
    Exclusive,
    /// `shared`: others may read them with such a lock, and change them not.
    Shared,
    /// `none`
    None,
}

impl ReadLock {
    /// What stands behind the query.
    pub fn clause(self) -> &'static str {
        match self {
            Self::Exclusive => " FOR UPDATE",
            Self::Shared => " LOCK IN SHARE MODE",
            Self::None => "",
        }
    }
}

/// A question to a lookup table: its answer has the keyspace ids, as the table holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The statement that asks, with its values.
    pub query: Vec<u8>,
    /// The lookup vindex whose table is asked.
    pub vindex: Arc<LookupDef>,
    /// The statement reads the newest rows and locks them.
    pub locks: bool,
    /// The statement changes entries of lookup tables: it must read and change them in one
    /// transaction.
    pub changes: bool,
}

/// How a value of a column is written as a literal that means the same under any settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// As it came: digits, sign, point and exponent.
    Number,
    /// Dates and times, whose text has neither quotes nor backslashes.
    Quoted,
    /// `x'...'`
    Bytes,
    /// In this character set.
    Text(String),
}

impl LookupDef {
    /// Reads the params of a lookup vindex; `None` for types that are not kept yet.
    ///
    /// # Errors
    /// Params that Vitess refuses, too.
    pub(crate) fn new(
        name: &str,
        kind: &str,
        params: &Params,
    ) -> Result<Option<Self>, CreateError> {
        let get = |key: &str| params.get(key).map(|value| value.trim().to_owned());
        let (Some(table), Some(from), Some(to)) = (get("table"), get("from"), get("to")) else {
            // Vitess takes it, and cannot use it.
            return Ok(None);
        };
        let from: Vec<String> = from
            .split(',')
            .map(|column| column.trim().to_owned())
            .collect();
        if table.is_empty() || to.is_empty() || from.iter().any(String::is_empty) {
            return Ok(None);
        }
        let is_set = |key: &str| match get(key).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                let why = format!("must be true or false, not {other:?}");
                Err(CreateError::Param { vindex: name.to_owned(), param: key.to_owned(), why })
            }
        };
        let loose = kind.starts_with("lookup_unicodeloosemd5");
        let quoted: Vec<String> = table.split('.').map(quoted).collect();
        Ok(Some(Self {
            name: name.to_owned(),
            table: quoted.join("."),
            from,
            to,
            number: kind.starts_with("lookup_hash") || loose,
            loose,
            ignore_nulls: is_set("ignore_nulls")?,
            unique: kind.contains("unique"),
            write_only: is_set("write_only")?,
            no_verify: is_set("no_verify")?,
            read_lock: match get("read_lock").as_deref() {
                None | Some("exclusive") => ReadLock::Exclusive,
                Some("shared") => ReadLock::Shared,
                Some("none") => ReadLock::None,
                Some(other) => {
                    let why = format!("must be exclusive, shared or none, not {other:?}");
                    return Err(CreateError::Param {
                        vindex: name.to_owned(),
                        param: "read_lock".to_owned(),
                        why,
                    });
                }
            },
        }))
    }

    /// A table without a keyspace is the vindex's keyspace's own, if that has it; else it is
    /// searched for by its name.
    pub(crate) fn in_keyspace(mut self, keyspace: &str, has_table: &dyn Fn(&str) -> bool) -> Self {
        let name = self.table.trim_matches('`');
        if !name.contains("`.`") && has_table(name) {
            self.table = format!("{}.{}", quoted(keyspace), self.table);
        }
        self
    }

    /// Vitess's cost.
    pub(crate) fn cost(&self) -> u8 {
        if self.unique { 10 } else { 20 }
    }

    /// `SELECT to FROM table WHERE `
    pub(crate) fn select_head(&self) -> String {
        format!("SELECT {} FROM {} WHERE ", quoted(&self.to), self.table)
    }

    /// `UPDATE table SET to = id WHERE `
    pub(crate) fn update_head(&self, id: &KeyspaceId) -> String {
        format!("UPDATE {} SET {}={} WHERE ", self.table, quoted(&self.to), self.id(id))
    }

    /// The keyspace id in a row of the table; `None`: it holds none.
    ///
    /// # Errors
    /// What the table holds instead.
    pub fn id_in(&self, cell: Option<&[u8]>) -> Result<Option<KeyspaceId>, String> {
        let Some(cell) = cell else { return Ok(None) };
        if !self.number {
            return Ok(Some(KeyspaceId::from_slice(cell)));
        }
        let text = std::str::from_utf8(cell).unwrap_or_default();
        let signed = || text.parse::<i64>().ok().map(i64::cast_unsigned);
        match text.parse::<u64>().ok().or_else(signed) {
            Some(number) => Ok(Some(KeyspaceId::from_slice(&hash_of_number(number)))),
            None => Err(format!("'{}' of lookup table {} holds no number", self.to, self.table)),
        }
    }

    /// The keyspace id as the table holds it.
    pub(crate) fn id(&self, id: &KeyspaceId) -> String {
        match (self.number, <[u8; 8]>::try_from(id.as_slice())) {
            (true, Ok(bytes)) => hashed_number(bytes).to_string(),
            _ => format!("x'{}'", crate::keyrange::to_hex(id)),
        }
    }

    /// A value as the table holds it.
    pub(crate) fn held<'l>(&self, value: &'l Literal) -> Cow<'l, [u8]> {
        if !self.loose || value.is_null {
            return Cow::Borrowed(&value.sql);
        }
        let text = value.text().unwrap_or(Cow::Borrowed(&value.sql));
        Cow::Owned(md5_number(&text).to_string().into_bytes())
    }

    /// `INSERT INTO table (from, to) VALUES `
    fn insert_head(&self, verb: &str) -> String {
        let columns: Vec<String> = self.columns().map(quoted).collect();
        format!("{verb} INTO {} ({}) VALUES ", self.table, columns.join(","))
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.from.iter().chain([&self.to]).map(String::as_str)
    }
}

/// An identifier in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.trim().trim_matches('`').replace('`', "``"))
}

/// A value as a literal, with what says whether it is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// The literal's text.
    pub sql: Vec<u8>,
    pub(crate) is_null: bool,
}

impl Literal {
    pub(crate) fn null() -> Self {
        Self { sql: b"NULL".to_vec(), is_null: true }
    }

    /// Appends the condition that a column has this value. `name`: as SQL names the column.
    pub(crate) fn equals(&self, name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(if self.is_null { b" IS " } else { b"=" });
        out.extend_from_slice(&self.sql);
    }

    /// The value, of a literal that [`Self::of`] has written.
    fn text(&self) -> Option<Cow<'_, [u8]>> {
        let sql = &self.sql;
        if let Some(inner) = sql.strip_prefix(b"'") {
            let inner = inner.strip_suffix(b"'")?;
            let plain = !inner.iter().any(|b| matches!(b, b'\'' | b'\\'));
            return plain.then_some(Cow::Borrowed(inner));
        }
        let hex = match sql.iter().position(|b| *b == b'\'') {
            None => return Some(Cow::Borrowed(sql)),
            Some(at) => sql.get(at + 1..sql.len() - 1)?,
        };
        from_hex(std::str::from_utf8(hex).ok()?).map(Cow::Owned)
    }

    /// A value that a server gave as text.
    pub fn of(value: Option<&[u8]>, written: &Written) -> Option<Self> {
        let Some(value) = value else { return Some(Self::null()) };
        let hex = || crate::keyrange::to_hex(value);
        let sql = match written {
            Written::Number => {
                let plain = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
                (!value.is_empty() && value.iter().all(plain)).then(|| value.to_vec())?
            }
            Written::Quoted => {
                let plain = |b: &u8| b.is_ascii() && !matches!(b, b'\'' | b'\\');
                value
                    .iter()
                    .all(plain)
                    .then(|| [b"'", value, b"'"].concat())?
            }
            Written::Bytes => format!("x'{}'", hex()).into_bytes(),
            // The same in all sets in which a session can write.
            Written::Text(_)
                if value
                    .iter()
                    .all(|b| (b' '..=b'~').contains(b) && !b"'\\".contains(b)) =>
            {
                [b"'", value, b"'"].concat()
            }
            Written::Text(charset) => format!("_{charset} x'{}'", hex()).into_bytes(),
        };
        Some(Self { sql, is_null: false })
    }
}

/// An entry: the values, and where the row lies.
pub type Entry<'e> = (&'e [Literal], &'e KeyspaceId);

/// Entries of one statement.
pub(crate) const BATCH: usize = 500;

/// The statements that add entries.
pub fn add<'e>(
    def: &LookupDef,
    entries: impl IntoIterator<Item = Entry<'e>>,
    out: &mut Vec<Vec<u8>>,
) {
    let mut rows = 0;
    let mut sql: Vec<u8> = Vec::new();
    for (values, id) in entries {
        if def.ignore_nulls && values.iter().any(|value| value.is_null) {
            continue;
        }
        if rows == 0 {
            sql.extend_from_slice(def.insert_head("INSERT").as_bytes());
        } else {
            sql.push(b',');
        }
        sql.push(b'(');
        for value in values {
            sql.extend_from_slice(&def.held(value));
            sql.push(b',');
        }
        sql.extend_from_slice(def.id(id).as_bytes());
        sql.push(b')');
        rows += 1;
        if rows == BATCH {
            rows = 0;
            out.push(std::mem::take(&mut sql));
        }
    }
    if rows > 0 {
        out.push(sql);
    }
}

/// The query that finds an entry; `None` for NULL, which has none. Who owns the vindex cannot take
/// it away before the transaction ends.
pub fn check(def: &LookupDef, (values, id): Entry<'_>) -> Option<Vec<u8>> {
    if values.iter().any(|value| value.is_null) {
        return None;
    }
    let mut sql = format!("{}{}={}", def.select_head(), quoted(&def.to), def.id(id)).into_bytes();
    for (column, value) in def.from.iter().zip(values) {
        sql.extend_from_slice(format!(" AND {}=", quoted(column)).as_bytes());
        sql.extend_from_slice(&def.held(value));
    }
    sql.extend_from_slice(b" LIMIT 1 LOCK IN SHARE MODE");
    Some(sql)
}

/// The statements that take entries away.
pub fn remove<'e>(
    def: &LookupDef,
    entries: impl IntoIterator<Item = Entry<'e>>,
    out: &mut Vec<Vec<u8>>,
) {
    for (values, id) in entries {
        if def.ignore_nulls && values.iter().any(|value| value.is_null) {
            continue;
        }
        let mut sql = format!("DELETE FROM {} WHERE ", def.table).into_bytes();
        for (column, value) in def.from.iter().zip(values) {
            sql.extend_from_slice(quoted(column).as_bytes());
            sql.extend_from_slice(if value.is_null { b" IS " } else { b"=" });
            sql.extend_from_slice(&def.held(value));
            sql.extend_from_slice(b" AND ");
        }
        sql.extend_from_slice(format!("{}={}", quoted(&def.to), def.id(id)).as_bytes());
        out.push(sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn def(kind: &str, more: &[(&str, &str)]) -> LookupDef {
        let mut params = Params::new();
        for (key, value) in
            [("table", "look.name_idx"), ("from", "name, part"), ("to", "keyspace_id")]
                .iter()
                .chain(more)
        {
            params.insert((*key).to_owned(), (*value).to_owned());
        }
        LookupDef::new("v", kind, &params).unwrap().unwrap()
    }

    fn literal(text: &str) -> Literal {
        Literal { sql: text.into(), is_null: text == "NULL" }
    }

    fn texts(sql: Vec<Vec<u8>>) -> Vec<String> {
        sql.into_iter()
            .map(|sql| String::from_utf8(sql).unwrap())
            .collect()
    }

    #[test]
    fn entries_are_added_and_removed_by_their_values_and_ids() {
        let id = KeyspaceId::from_slice(&[0x16, 0x6b, 0x40, 0xb4, 0x4a, 0xba, 0x4b, 0xd6]);
        let values = [literal("'a'"), literal("NULL")];
        let mut out = Vec::new();
        add(&def("lookup", &[]), [(&values[..], &id)], &mut out);
        remove(&def("lookup_hash_unique", &[]), [(&values[..], &id)], &mut out);
        add(&def("consistent_lookup", &[("ignore_nulls", "true")]), [(&values[..], &id)], &mut out);
        assert_eq!(
            texts(out),
            [
                "INSERT INTO `look`.`name_idx` (`name`,`part`,`keyspace_id`) VALUES \
                    ('a',NULL,x'166b40b44aba4bd6')",
                "DELETE FROM `look`.`name_idx` WHERE `name`='a' AND `part` IS NULL AND \
                    `keyspace_id`=1",
            ]
        );
    }

    #[test]
    fn a_loose_vindex_holds_a_number_for_all_forms_of_a_text() {
        let loose = def("lookup_unicodeloosemd5_hash", &[]);
        let held = |text: &str, written: Written| {
            let literal = Literal::of(Some(text.as_bytes()), &written).unwrap();
            String::from_utf8(loose.held(&literal).into_owned()).unwrap()
        };
        let utf8 = || Written::Text("utf8mb4".into());
        // The first half of what unicode_loose_md5 says.
        let id = u64::from_be_bytes([0x16, 0x6b, 0x40, 0xb4, 0x4a, 0xba, 0x4b, 0xd6]);
        let mut out = Vec::new();
        let key = KeyspaceId::from_slice(&id.to_be_bytes());
        let values =
            [Literal::of(Some(b"Test"), &utf8()).unwrap(), Literal::of(None, &utf8()).unwrap()];
        add(&loose, [(&values[..], &key)], &mut out);
        let number = held("test", utf8());
        assert_eq!(
            texts(out),
            [format!(
                "INSERT INTO `look`.`name_idx` (`name`,`part`,`keyspace_id`) VALUES \
                    ({number},NULL,1)"
            )]
        );
        assert_eq!(held("T\u{c9}ST ", utf8()), number);
        assert_eq!(held("t\u{e9}st", Written::Bytes), number);
        assert_ne!(held("tests", utf8()), number);
        assert_eq!(held("5", Written::Number), held("5", utf8()));
    }

    #[test]
    fn values_of_servers_become_literals_or_are_refused() {
        let of = |value: &str, written| Literal::of(Some(value.as_bytes()), &written);
        assert_eq!(of("-5", Written::Number).unwrap().sql, b"-5");
        assert!(of("5; DROP TABLE t", Written::Number).is_none());
        assert_eq!(of("2026-11-27", Written::Quoted).unwrap().sql, b"'2026-11-27'");
        assert!(of("'", Written::Quoted).is_none());
        assert_eq!(
            of("\u{e9}'", Written::Text("utf8mb4".into())).unwrap().sql,
            b"_utf8mb4 x'c3a927'"
        );
        assert!(Literal::of(None, &Written::Bytes).unwrap().is_null);
    }
}
