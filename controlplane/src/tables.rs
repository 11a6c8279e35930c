//! What a server says of the tables of a database: columns, keys, foreign keys and views. One round
//! of queries for all tables.
use crate::sql::{Conn, Error, Row, Value};
use coregate_planner::snapshot::{Column, ColumnKey, ForeignKey, Key, ReferentialAction, Trigger};
use coregate_planner::vschema::ServerTable;
use std::collections::BTreeMap;

/// The tables and views of a database.
///
/// # Errors
/// The columns cannot be read, or the connection has ended. What else the server does not tell (an
/// old one, rights that are missing) stays unknown.
pub(crate) async fn tables(conn: &mut Conn, database: &str) -> Result<Vec<ServerTable>, Error> {
    let mut tables = Tables::default();
    for row in conn.exec::<Row>(COLUMNS, (database,)).await? {
        tables.column(Cells(row));
    }
    for row in conn.exec::<Row>(VIEWS, (database,)).await? {
        tables.view(Cells(row));
    }
    for row in unless_refused(conn.exec::<Row>(KEYS, (database,)).await, "keys", database)? {
        tables.key(Cells(row));
    }
    let foreign = conn.exec::<Row>(FOREIGN_KEYS, (database,)).await;
    for row in unless_refused(foreign, "foreign keys", database)? {
        tables.foreign_key(Cells(row));
    }
    let rules = conn.exec::<Row>(RULES, (database,)).await;
    for row in unless_refused(rules, "foreign keys' rules", database)? {
        tables.rule(Cells(row));
    }
    let triggers = conn.exec::<Row>(TRIGGERS, (database,)).await;
    for row in unless_refused(triggers, "triggers", database)? {
        tables.trigger(Cells(row));
    }
    Ok(tables.tables)
}

const COLUMNS: &str = "SELECT table_name, column_name, LOWER(data_type), column_type, is_nullable, \
    character_set_name, \
     collation_name, character_maximum_length, numeric_precision, numeric_scale, \
     datetime_precision, column_key, UPPER(extra), \
     column_default, VERSION() \
     FROM information_schema.columns WHERE table_schema = ? ORDER BY table_name, ordinal_position";

const VIEWS: &str =
    "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = ?";

const KEYS: &str = "SELECT table_name, index_name, non_unique, column_name, sub_part, index_type \
     FROM information_schema.statistics WHERE table_schema = ? ORDER BY table_name, index_name, \
     seq_in_index";

const FOREIGN_KEYS: &str = "SELECT table_name, constraint_name, column_name, \
    referenced_table_schema, referenced_table_name, \
     referenced_column_name FROM information_schema.key_column_usage \
     WHERE table_schema = ? AND referenced_table_name IS NOT NULL \
     ORDER BY table_name, constraint_name, ordinal_position";

const RULES: &str = "SELECT table_name, constraint_name, update_rule, delete_rule \
     FROM information_schema.referential_constraints WHERE constraint_schema = ?";

const TRIGGERS: &str = "SELECT event_object_table, trigger_name, event_manipulation, \
    action_statement \
     FROM information_schema.triggers WHERE event_object_schema = ? ORDER BY event_object_table, \
     action_order";

/// No rows where the server has refused: its tables are served all the same.
fn unless_refused(
    rows: Result<Vec<Row>, Error>,
    what: &str,
    database: &str,
) -> Result<Vec<Row>, Error> {
    match rows {
        Err(Error::Server(why)) => {
            tracing::warn!(database, "the tables' {what} cannot be read: {why}");
            Ok(Vec::new())
        }
        rows => rows,
    }
}

/// A row, cell by cell; what is not as expected counts as NULL.
struct Cells(Row);

impl Cells {
    fn text(&mut self, at: usize) -> Option<String> {
        match self.0.take(at) {
            Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    fn number(&mut self, at: usize) -> Option<u64> {
        match self.0.take(at) {
            Value::Int(n) => u64::try_from(n).ok(),
            Value::UInt(n) => Some(n),
            Value::Bytes(digits) => String::from_utf8(digits).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// As above; what is longer is as good as without end.
    fn size(&mut self, at: usize) -> Option<u32> {
        self.number(at)
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }
}

#[derive(Default)]
struct Tables {
    tables: Vec<ServerTable>,
    /// Names that differ in case only stand among one another: the servers order them as equal.
    by_name: BTreeMap<String, usize>,
}

impl Tables {
    fn named(&mut self, name: Option<String>) -> Option<&mut ServerTable> {
        let at = *self.by_name.get(&name?)?;
        self.tables.get_mut(at)
    }

    fn column(&mut self, mut cells: Cells) {
        let (Some(table), Some(name)) = (cells.text(0), cells.text(1)) else { return };
        let at = *self.by_name.entry(table).or_insert_with_key(|name| {
            self.tables
                .push(ServerTable { name: name.clone(), ..ServerTable::default() });
            self.tables.len() - 1
        });
        if let Some(table) = self.tables.get_mut(at) {
            table.columns.push(column(name, cells));
        }
    }

    fn view(&mut self, mut cells: Cells) {
        let (name, definition) = (cells.text(0), cells.text(1));
        if let Some(table) = self.named(name) {
            table.view = Some(definition.unwrap_or_default());
        }
    }

    /// A part of a key.
    fn key(&mut self, mut cells: Cells) {
        let (table, name, unique) = (cells.text(0), cells.text(1), cells.number(2) == Some(0));
        let (column, prefix, kind) = (cells.text(3), cells.number(4), cells.text(5));
        let (Some(table), Some(name)) = (self.named(table), name) else { return };
        if matches!(kind.as_deref(), Some("FULLTEXT" | "SPATIAL" | "VECTOR")) {
            return;
        }
        if unique && name == "PRIMARY" {
            table.primary_key.extend(column);
            return;
        }
        let keys = if unique { &mut table.unique_keys } else { &mut table.indexes };
        if keys.last().is_none_or(|key| key.name != name) {
            keys.push(Key { name, columns: Vec::new(), whole: true });
        }
        if let Some(key) = keys.last_mut() {
            key.whole &= column.is_some() && prefix.is_none();
            key.columns.extend(column);
        }
    }

    /// A column of a foreign key.
    fn foreign_key(&mut self, mut cells: Cells) {
        let (table, name, column) = (cells.text(0), cells.text(1), cells.text(2));
        let (schema, referenced, to) = (cells.text(3), cells.text(4), cells.text(5));
        let (Some(table), Some(name), Some(column), Some(to)) =
            (self.named(table), name, column, to)
        else {
            return;
        };
        if table.foreign_keys.last().is_none_or(|key| key.name != name) {
            let (referenced_schema, referenced_table) =
                (schema.unwrap_or_default(), referenced.unwrap_or_default());
            let key =
                ForeignKey { name, referenced_schema, referenced_table, ..ForeignKey::default() };
            table.foreign_keys.push(key);
        }
        if let Some(key) = table.foreign_keys.last_mut() {
            key.columns.push(column);
            key.referenced_columns.push(to);
        }
    }

    fn trigger(&mut self, mut cells: Cells) {
        let (table, name, event, body) =
            (cells.text(0), cells.text(1), cells.text(2), cells.text(3));
        if let (Some(table), Some(name), Some(event)) = (self.named(table), name, event) {
            // What cannot be read may be anything.
            let body = body.unwrap_or_else(|| "CALL".to_owned());
            table.triggers.push(Trigger { name, event, body });
        }
    }

    fn rule(&mut self, mut cells: Cells) {
        let (table, name) = (cells.text(0), cells.text(1));
        let (update, delete) = (action(cells.text(2)), action(cells.text(3)));
        let (Some(table), Some(name)) = (self.named(table), name) else { return };
        for key in table.foreign_keys.iter_mut().filter(|key| key.name == name) {
            (key.on_update, key.on_delete) = (update, delete);
        }
    }
}

fn action(text: Option<String>) -> Option<ReferentialAction> {
    match text?.as_str() {
        "RESTRICT" | "NO ACTION" => Some(ReferentialAction::Restrict),
        "CASCADE" => Some(ReferentialAction::Cascade),
        "SET NULL" => Some(ReferentialAction::SetNull),
        "SET DEFAULT" => Some(ReferentialAction::SetDefault),
        _ => None,
    }
}

/// A row of [`COLUMNS`].
fn column(name: String, mut cells: Cells) -> Column {
    let data_type = cells.text(2).unwrap_or_default();
    let column_type = cells.text(3);
    let extra = cells.text(12).unwrap_or_default();
    let nullable = cells.text(4).map(|text| text == "YES");
    let (default, version) = (cells.text(13), Version::of(&cells.text(14).unwrap_or_default()));
    let generated = (extra.contains("GENERATED") && !extra.contains("DEFAULT_GENERATED"))
        || matches!(extra.as_str(), "VIRTUAL" | "PERSISTENT");
    let null_default = !generated
        && nullable == Some(true)
        && default
            .as_deref()
            .is_none_or(|text| version.mariadb && text == "NULL")
        && !extra.contains("DEFAULT_GENERATED");
    Column {
        name,
        null_default,
        length: cells.size(7),
        unsigned: column_type
            .as_ref()
            .is_some_and(|text| text.contains("unsigned")),
        column_type: column_type.filter(|text| !version.may_lose_labels(&data_type, text)),
        nullable,
        charset: cells.text(5),
        collation: cells.text(6),
        numeric_precision: cells.size(8),
        numeric_scale: cells.size(9),
        datetime_precision: cells.size(10),
        key: match cells.text(11).as_deref() {
            Some("PRI") => ColumnKey::Primary,
            Some("UNI") => ColumnKey::Unique,
            Some("MUL") => ColumnKey::Multiple,
            _ => ColumnKey::None,
        },
        auto_increment: extra.contains("AUTO_INCREMENT"),
        has_default: !generated
            && (default.is_some() || (nullable == Some(true) && !version.writes_null_defaults())),
        generated,
        invisible: extra.contains("INVISIBLE"),
        computed_default: default.filter(|text| {
            !generated
                && (extra.contains("DEFAULT_GENERATED")
                    || version.mariadb && text.contains('(') && !text.starts_with('\''))
        }),
        on_update: extra.contains("ON UPDATE"),
        data_type,
    }
}

/// As `VERSION()` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    mariadb: bool,
    number: [u16; 3],
}

impl Version {
    fn of(text: &str) -> Self {
        let mut numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|n| n.parse().ok());
        Self {
            mariadb: text.contains("MariaDB"),
            number: std::array::from_fn(|_| numbers.next().unwrap_or(0)),
        }
    }

    /// Is `DEFAULT NULL` told apart from no default?
    fn writes_null_defaults(self) -> bool {
        self.mariadb && self.number >= [10, 2, 7]
    }

    /// Servers whose information_schema is in utf8mb3 write `?` for other characters in the labels
    /// of ENUM and SET.
    fn may_lose_labels(self, data_type: &str, column_type: &str) -> bool {
        let whole = !self.mariadb && self.number >= [8, 0, 0];
        matches!(data_type, "enum" | "set") && !whole && column_type.contains('?')
    }
}
