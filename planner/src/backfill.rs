//! Fills a lookup vindex for rows that are there already, and compares both: the statements for it,
//! and what their answers mean. Who runs them reads an owner's rows in the order of their primary
//! key, and locks them until their entries are there.
mod places;

use crate::column::{Family, find};
use crate::lookup::{Literal, LookupDef, Written, quoted};
use crate::resolve::keyspace_id;
use crate::route::read_as;
use crate::snapshot::{KeyspaceIdx, ShardIdx, Snapshot, Table};
use crate::vindex::{KeyspaceId, Vindex};
use places::{Placed, keyspace_of, placed, table_of};
use smallvec::SmallVec;
use std::fmt::Write;
use std::sync::Arc;

/// Rows of one step.
pub const BATCH_ROWS: usize = 500;

/// A row as a server gives it.
pub type Cells = Vec<Option<Vec<u8>>>;

/// An entry as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In the order of the lookup vindex's columns.
    pub(crate) values: SmallVec<[Literal; 1]>,
    /// The keyspace id of the row that has the values.
    pub id: KeyspaceId,
    /// The values as they were read.
    cells: Cells,
}

/// A column: its name, how its values are selected, and how they are written again.
#[derive(Debug)]
struct Column {
    name: String,
    text: String,
    written: Written,
}

type Columns = Vec<Column>;

/// A lookup vindex, its owner, and its table.
#[derive(Debug)]
pub struct Backfill {
    /// The owner's.
    pub keyspace: KeyspaceIdx,
    pub(crate) def: Arc<LookupDef>,
    /// Where its table is.
    pub lookup_keyspace: KeyspaceIdx,
    lookup_table: String,
    placed: Placed,
    table: String,
    vindex: Arc<dyn Vindex>,
    families: SmallVec<[Family; 1]>,
    /// The owner's primary key, the columns of its primary vindex, and of the lookup.
    key: Columns,
    primary: Columns,
    values: Columns,
    /// The lookup table's primary key, and its columns for values and id.
    entry_key: Columns,
    entry: Columns,
}

impl Backfill {
    /// What filling the lookup vindex `name` of a keyspace takes, by the columns that its owner and
    /// its table have in the snapshot.
    ///
    /// # Errors
    /// What stands against it, in a sentence.
    pub fn new(snapshot: &Snapshot, keyspace: &str, name: &str) -> Result<Self, String> {
        let (index, ks) = keyspace_of(snapshot, keyspace)?;
        let known = ks
            .vindexes
            .get(name)
            .ok_or_else(|| format!("keyspace {keyspace} has no vindex {name}"))?;
        let def = known.lookup.clone().filter(|def| !def.loose);
        let def = def.ok_or_else(|| {
            format!("vindex {name} of keyspace {keyspace} is no lookup vindex that is kept")
        })?;
        let owner = known.owner.as_deref().ok_or_else(|| {
            format!("lookup vindex {name} has no owner, so nothing says which rows it is about")
        })?;
        let table = ks
            .tables
            .get(owner)
            .ok_or_else(|| format!("there is no table {keyspace}.{owner}"))?;
        let used = table.column_vindexes.iter().find(|v| v.vindex.name == name);
        let used =
            used.ok_or_else(|| format!("table {keyspace}.{owner} does not use vindex {name}"))?;
        let first = table.column_vindexes.first();
        let (first, vindex) = first
            .and_then(|v| Some((v, v.vindex.vindex.clone()?)))
            .ok_or_else(|| format!("table {keyspace}.{owner} has no functional primary vindex"))?;
        let (there, lookup_table) = table_of(snapshot, index, &def)?;
        let lookup = snapshot.keyspaces.get(usize::from(there));
        let lookup = lookup.and_then(|k| Some((k, k.tables.get(&lookup_table)?)));
        let (lookup_ks, lookup) =
            lookup.ok_or_else(|| format!("there is no lookup table {}", def.table))?;
        let entry_columns: Vec<String> = def.from.iter().chain([&def.to]).cloned().collect();
        let filler = Self {
            keyspace: index,
            lookup_keyspace: there,
            table: owner.to_owned(),
            vindex,
            families: first
                .columns
                .iter()
                .map(|c| Family::of_column(table, c))
                .collect(),
            key: read(table, &table.primary_key)?,
            primary: read(table, &first.columns)?,
            values: read(table, &used.columns)?,
            entry_key: read(lookup, &lookup.primary_key)?,
            entry: read(lookup, &entry_columns)?,
            placed: placed(lookup_ks, lookup, &def)?,
            lookup_table,
            def,
        };
        filler.check(lookup)?;
        Ok(filler)
    }

    /// Entries that are there must be told from those that are not, however often it is tried.
    fn check(&self, lookup: &Table) -> Result<(), String> {
        if self.key.is_empty() {
            return Err(format!(
                "table {} has no primary key, by which its rows are read in order",
                self.table
            ));
        }
        let is = |column: &str, name: &str| column.eq_ignore_ascii_case(name);
        let of_entry = |column: &String| {
            is(column, &self.def.to) || self.def.from.iter().any(|from| is(column, from))
        };
        if lookup.primary_key.is_empty() || !lookup.primary_key.iter().all(of_entry) {
            let (from, to) = (self.def.from.join(", "), &self.def.to);
            let wanted = if self.def.unique { from } else { format!("{from}, {to}") };
            return Err(format!(
                "lookup table {} needs the primary key ({wanted}), so that no entry is added twice",
                self.def.table
            ));
        }
        Ok(())
    }

    /// The owner's next rows on a shard, behind the key that [`Self::entries`] gave. `locks`: until
    /// the transaction ends.
    pub fn rows(&self, after: Option<&[Literal]>, locks: bool) -> String {
        let columns = self.key.iter().chain(&self.primary).chain(&self.values);
        let lock = if locks { " LOCK IN SHARE MODE" } else { "" };
        next(columns, &self.table, &self.key, after) + lock
    }

    /// The entries of rows that [`Self::rows`] has read, and the last one's key.
    ///
    /// # Errors
    /// A row that lies nowhere, or whose values cannot be written.
    pub fn entries(&self, rows: &[Cells]) -> Result<(Vec<Wanted>, Option<Vec<Literal>>), String> {
        let (key, primary) = (self.key.len(), self.primary.len());
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let id = self.id(row.get(key..key + primary).unwrap_or_default())?;
            let values: SmallVec<[Literal; 1]> =
                literals(row.get(key + primary..).unwrap_or_default(), &self.values)?.into();
            if !(self.def.ignore_nulls && values.iter().any(|v| v.is_null)) {
                let cells = row.get(key + primary..).unwrap_or_default().to_vec();
                all.push(Wanted { values, id, cells });
            }
        }
        let last = rows
            .last()
            .map(|row| literals(row, &self.key))
            .transpose()?;
        Ok((all, last))
    }

    fn id(&self, cells: &[Option<Vec<u8>>]) -> Result<KeyspaceId, String> {
        let row = cells.iter().map(Option::as_deref);
        keyspace_id(self.vindex.as_ref(), &self.families, row)
            .map_err(|e| format!("a row of {} that its vindex places nowhere: {e}", self.table))
    }

    /// The shard of the lookup table's keyspace on which an entry lies.
    ///
    /// # Errors
    /// Its values lie on none.
    pub fn place(&self, snapshot: &Snapshot, entry: &Wanted) -> Result<ShardIdx, String> {
        let Placed::By(vindex, families, columns) = &self.placed else { return Ok(0) };
        let row = columns
            .iter()
            .map(|n| entry.cells.get(*n).and_then(Option::as_deref));
        let id = keyspace_id(vindex.as_ref(), families, row).map_err(|e| {
            format!("an entry that lookup table {} places nowhere: {e}", self.def.table)
        })?;
        shard_of(snapshot, self.lookup_keyspace, &id)
            .ok_or_else(|| format!("no shard holds an entry of lookup table {}", self.def.table))
    }

    /// The statement that adds entries, on the shard where they lie.
    pub fn add(&self, entries: &[&Wanted]) -> Vec<u8> {
        let columns: Vec<&str> = self.entry.iter().map(|c| c.name.as_str()).collect();
        let mut sql =
            format!("INSERT INTO {} ({}) VALUES ", quoted(&self.lookup_table), columns.join(","))
                .into_bytes();
        for (n, entry) in entries.iter().enumerate() {
            sql.extend_from_slice(if n == 0 { b"(" } else { b",(" });
            for value in &entry.values {
                sql.extend_from_slice(&value.sql);
                sql.push(b',');
            }
            sql.extend_from_slice(self.def.id(&entry.id).as_bytes());
            sql.push(b')');
        }
        sql
    }

    /// Which of these entries are there, by their number: on the shard where they lie.
    pub fn are_there(&self, entries: &[&Wanted]) -> Vec<u8> {
        let mut sql = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let union = if n == 0 { "" } else { " UNION ALL " };
            let head = format!("{union}(SELECT {n} FROM {} WHERE ", quoted(&self.lookup_table));
            sql.extend_from_slice(head.as_bytes());
            for (column, value) in self.entry.iter().zip(&entry.values) {
                value.equals(&column.name, &mut sql);
                sql.extend_from_slice(b" AND ");
            }
            let to = format!("{}={} LIMIT 1)", quoted(&self.def.to), self.def.id(&entry.id));
            sql.extend_from_slice(to.as_bytes());
        }
        sql
    }

    /// The next entries on a shard of the lookup table.
    pub fn held(&self, after: Option<&[Literal]>) -> String {
        let columns = self.entry_key.iter().chain(&self.entry);
        next(columns, &self.lookup_table, &self.entry_key, after)
    }

    /// An entry that [`Self::held`] has read.
    ///
    /// # Errors
    /// The table holds no keyspace id, or what cannot be written.
    pub fn entry(&self, row: &Cells) -> Result<(Option<Wanted>, Vec<Literal>), String> {
        let key = literals(row, &self.entry_key)?;
        let cells = row.get(self.entry_key.len()..).unwrap_or_default();
        let (to, from) = cells.split_last().ok_or("an entry without columns")?;
        let id = self.def.id_in(to.as_deref())?;
        // Compared with the owner's columns, whose types may be others.
        let values = literals(from, &self.entry)?.into();
        Ok((id.map(|id| Wanted { values, id, cells: from.to_vec() }), key))
    }

    /// The rows that entries may be about, on the shard where their keyspace ids lie: an entry's
    /// number, and the columns of the primary vindex.
    pub fn rows_of(&self, entries: &[&Wanted]) -> Vec<u8> {
        let columns: Vec<&str> = self.primary.iter().map(|c| c.text.as_str()).collect();
        let columns = columns.join(",");
        let mut sql = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let union = if n == 0 { "" } else { " UNION ALL " };
            let head = format!("{union}(SELECT {n},{columns} FROM {} WHERE ", quoted(&self.table));
            sql.extend_from_slice(head.as_bytes());
            for (n, (column, value)) in self.values.iter().zip(&entry.values).enumerate() {
                if n > 0 {
                    sql.extend_from_slice(b" AND ");
                }
                value.equals(&column.name, &mut sql);
            }
            sql.push(b')');
        }
        sql
    }

    /// Is a row that [`Self::rows_of`] found the entry's? `cells`: behind the number.
    pub fn is_of(&self, entry: &Wanted, cells: &[Option<Vec<u8>>]) -> bool {
        self.id(cells).is_ok_and(|id| id == entry.id)
    }

    /// The shard of the owner's keyspace that a keyspace id belongs to.
    pub fn shard_of(&self, snapshot: &Snapshot, id: &KeyspaceId) -> Option<ShardIdx> {
        shard_of(snapshot, self.keyspace, id)
    }
}

fn shard_of(snapshot: &Snapshot, keyspace: KeyspaceIdx, id: &KeyspaceId) -> Option<ShardIdx> {
    snapshot.keyspaces.get(usize::from(keyspace))?.shard_for(id)
}

fn read(table: &Table, columns: &[String]) -> Result<Columns, String> {
    let of = |name: &String| {
        let column = find(table, name);
        let column = column
            .ok_or_else(|| format!("the type of column {}.{name} is not known", table.name))?;
        let (text, written) = read_as(column, "").ok_or_else(|| {
            format!(
                "values of column {}.{name}, of type {}, cannot be written again",
                table.name, column.data_type
            )
        })?;
        Ok(Column { name: quoted(&column.name), text, written })
    };
    columns.iter().map(of).collect()
}

fn literals(cells: &[Option<Vec<u8>>], columns: &[Column]) -> Result<Vec<Literal>, String> {
    let all = columns.iter().zip(cells).map(|(column, cell)| {
        Literal::of(cell.as_deref(), &column.written)
            .ok_or_else(|| format!("a value of column {} cannot be written again", column.name))
    });
    all.collect()
}

/// The next rows of a table in the order of its key.
fn next<'c>(
    columns: impl Iterator<Item = &'c Column>,
    table: &str,
    key: &[Column],
    after: Option<&[Literal]>,
) -> String {
    let columns: Vec<&str> = columns.map(|c| c.text.as_str()).collect();
    let names: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
    let names = names.join(",");
    let mut sql = format!("SELECT {} FROM {}", columns.join(","), quoted(table));
    if let Some(after) = after {
        let values: Vec<_> = after
            .iter()
            .map(|v| String::from_utf8_lossy(&v.sql))
            .collect();
        let _ = write!(sql, " WHERE ({names}) > ({})", values.join(","));
    }
    let _ = write!(sql, " ORDER BY {names} LIMIT {BATCH_ROWS}");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Column as Known;
    use crate::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};

    fn column(name: &str, kind: &str) -> Known {
        let text = kind == "varchar";
        Known {
            name: name.into(),
            data_type: kind.into(),
            charset: text.then(|| "utf8mb4".into()),
            collation: text.then(|| "utf8mb4_bin".into()),
            length: text.then_some(40),
            ..Known::default()
        }
    }

    fn snapshot(key: &[&str]) -> Snapshot {
        let json = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
            "xx": {"type": "xxhash"},
            "by_email": {"type": "consistent_lookup_unique", "owner": "users",
                         "params": {"table": "ks.users_email", "from": "email",
                         "to": "keyspace_id", "write_only": "true"}}},
            "tables": {"users": {"column_vindexes": [{"column": "id", "name": "hash"},
            {"column": "email", "name": "by_email"}]},
                       "users_email": {"column_vindexes": [{"column": "email", "name": "xx"}]}}}"#;
        let none = |_: &str| Err(String::new());
        let spec = KeyspaceSpec::new("ks", &["-80", "80-"], Keyspace::from_json(json).unwrap());
        let mut snapshot = SnapshotBuilder::new(1)
            .keyspace(spec, &none)
            .unwrap()
            .build();
        let tables = &mut snapshot.keyspaces[0].tables;
        let users = Arc::make_mut(tables.get_mut("users").unwrap());
        users.columns = vec![column("id", "bigint"), column("email", "varchar")];
        users.primary_key = vec!["id".into()];
        let lookup = Arc::make_mut(tables.get_mut("users_email").unwrap());
        lookup.columns = vec![column("email", "varchar"), column("keyspace_id", "varbinary")];
        lookup.primary_key = key.iter().map(|k| (*k).to_owned()).collect();
        snapshot
    }

    fn cell(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn rows_become_entries_on_the_lookup_table_s_shards() {
        let snapshot = snapshot(&["email"]);
        let filler = Backfill::new(&snapshot, "ks", "by_email").unwrap();
        assert_eq!(
            filler.rows(None, true),
            "SELECT `id`,`id`,CAST(`email` AS BINARY) FROM `users` ORDER BY `id` LIMIT 500 LOCK IN \
                SHARE MODE"
        );
        let rows =
            vec![vec![cell("1"), cell("1"), cell("a")], vec![cell("4"), cell("4"), cell("it's")]];
        let (entries, last) = filler.entries(&rows).unwrap();
        let after = filler.rows(last.as_deref(), false);
        assert!(after.contains(" WHERE (`id`) > (4) ORDER BY `id`"), "{after}");
        let all: Vec<&Wanted> = entries.iter().collect();
        assert_eq!(
            String::from_utf8_lossy(&filler.add(&all)),
            "INSERT INTO `users_email` (`email`,`keyspace_id`) VALUES \
                ('a',x'166b40b44aba4bd6'),(_utf8mb4 x'69742773',x'd2fd8867d50d2dfe')"
        );
        assert_eq!(
            String::from_utf8_lossy(&filler.are_there(&all[..1])),
            "(SELECT 0 FROM `users_email` WHERE `email`='a' AND `keyspace_id`=x'166b40b44aba4bd6' \
                LIMIT 1)"
        );
        // By xxhash of the text.
        let places: Vec<_> = entries
            .iter()
            .map(|e| filler.place(&snapshot, e).unwrap())
            .collect();
        assert_eq!(places, [0, 1]);
    }

    #[test]
    fn entries_find_their_rows() {
        let snapshot = snapshot(&["email"]);
        let filler = Backfill::new(&snapshot, "ks", "by_email").unwrap();
        assert_eq!(
            filler.held(None),
            "SELECT CAST(`email` AS BINARY),CAST(`email` AS BINARY),CAST(`keyspace_id` AS BINARY) \
                FROM `users_email` ORDER BY `email` LIMIT 500"
        );
        let id = vec![0x16, 0x6b, 0x40, 0xb4, 0x4a, 0xba, 0x4b, 0xd6];
        let (entry, key) = filler.entry(&vec![cell("a"), cell("a"), Some(id)]).unwrap();
        let entry = entry.unwrap();
        assert_eq!(key.len(), 1);
        let rows = filler.rows_of(&[&entry, &entry]);
        assert_eq!(
            String::from_utf8_lossy(&rows),
            "(SELECT 0,`id` FROM `users` WHERE `email`='a') UNION ALL (SELECT 1,`id` FROM `users` \
                WHERE `email`='a')"
        );
        assert!(filler.is_of(&entry, &[cell("1")]) && !filler.is_of(&entry, &[cell("2")]));
        assert_eq!(filler.shard_of(&snapshot, &entry.id), Some(0));
        let (entry, _) = filler.entry(&vec![cell("a"), cell("a"), None]).unwrap();
        assert_eq!(entry, None);
    }

    #[test]
    fn what_cannot_be_filled_is_told() {
        let why =
            |snapshot: &Snapshot, name: &str| Backfill::new(snapshot, "ks", name).unwrap_err();
        let good = snapshot(&["email"]);
        assert!(why(&good, "nothing").contains("has no vindex nothing"));
        assert!(why(&good, "hash").contains("no lookup vindex"));
        assert!(why(&snapshot(&[]), "by_email").contains("needs the primary key (email)"));
    }
}
