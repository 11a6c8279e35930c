//! What must be made before a lookup vindex is filled. Pure.
use coregate_planner::snapshot::{Column, Keyspace, Snapshot};

/// A lookup vindex as it is asked for.
pub(crate) struct Wanted<'w> {
    pub(crate) keyspace: &'w str,
    pub(crate) name: &'w str,
    pub(crate) kind: &'w str,
    pub(crate) owner: &'w str,
    pub(crate) columns: &'w [String],
    pub(crate) lookup_keyspace: &'w str,
    pub(crate) table: &'w str,
    pub(crate) ignore_nulls: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// The lookup table.
    pub(crate) create: Option<String>,
    /// ALTER VSCHEMA statements.
    pub(crate) alter: Vec<String>,
}

/// The lookup table's column for where a row lies.
const TO: &str = "keyspace_id";

/// Those whose table is filled: they hold the values and the keyspace id as they are, or its
/// number.
const KINDS: [&str; 6] = [
    "consistent_lookup",
    "consistent_lookup_unique",
    "lookup",
    "lookup_unique",
    "lookup_hash",
    "lookup_hash_unique",
];

impl Wanted<'_> {
    /// # Errors
    /// What stands against it, in a sentence.
    pub(crate) fn steps(&self, snapshot: &Snapshot) -> Result<Steps, String> {
        self.check_names()?;
        let ks = keyspace(snapshot, self.keyspace)?;
        let owner = ks
            .tables
            .get(self.owner)
            .ok_or_else(|| format!("there is no table {}.{}", self.keyspace, self.owner))?;
        let columns: Result<Vec<&Column>, String> = self
            .columns
            .iter()
            .map(|name| {
                let found = owner
                    .columns
                    .iter()
                    .find(|c| c.name.eq_ignore_ascii_case(name));
                found.ok_or_else(|| {
                    format!("table {}.{} has no column {name}", self.keyspace, self.owner)
                })
            })
            .collect();
        let columns = columns?;
        if columns.is_empty() {
            return Err("name the owner's columns".to_owned());
        }
        let there = keyspace(snapshot, self.lookup_keyspace)?;
        let mut steps = Steps::default();
        let known = there.tables.get(self.table);
        if known.is_none_or(|t| t.columns.is_empty()) {
            steps.create = Some(self.create(&columns)?);
        }
        if there.shards.len() > 1 && known.is_none_or(|t| t.column_vindexes.is_empty()) {
            let (ks, table, first) =
                (self.lookup_keyspace, self.table, columns.first().map_or("", |c| &c.name));
            let kind = columns.first().map_or("xxhash", |c| vindex_of(c));
            let using = if there.vindexes.contains_key(kind) {
                String::new()
            } else {
                format!(" USING {kind}")
            };
            steps.alter.push(format!(
                "ALTER VSCHEMA ON `{ks}`.`{table}` ADD VINDEX {kind} (`{first}`){using}"
            ));
        }
        if let Some(known) = ks.vindexes.get(self.name) {
            let used = owner
                .column_vindexes
                .iter()
                .any(|v| v.vindex.name == self.name);
            if known.kind == self.kind && used {
                return Ok(steps);
            }
            return Err(format!(
                "keyspace {} has another vindex {} already",
                self.keyspace, self.name
            ));
        }
        steps.alter.push(self.vindex(&columns));
        Ok(steps)
    }

    fn check_names(&self) -> Result<(), String> {
        if !KINDS.contains(&self.kind) {
            return Err(format!(
                "a lookup vindex is one of {}, not {}",
                KINDS.join(", "),
                self.kind
            ));
        }
        let names = [self.keyspace, self.name, self.owner, self.lookup_keyspace, self.table];
        let all = names
            .into_iter()
            .chain(self.columns.iter().map(String::as_str));
        for name in all {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-');
            if name.is_empty() || !name.chars().all(plain) {
                return Err(format!("{name:?} is no plain name of letters, digits, _, $ and -"));
            }
        }
        Ok(())
    }

    /// Kept by statements from then on, and not yet used.
    fn vindex(&self, columns: &[&Column]) -> String {
        let list = |quote: &str| -> Vec<String> {
            columns
                .iter()
                .map(|c| format!("{quote}{}{quote}", c.name))
                .collect()
        };
        let nulls = if self.ignore_nulls { ", ignore_nulls='true'" } else { "" };
        format!(
            "ALTER VSCHEMA ON `{}`.`{}` ADD VINDEX `{}` ({}) USING {} WITH owner='{}', \
                table='{}.{}', from='{}', to='{TO}', write_only='true'{nulls}",
            self.keyspace,
            self.owner,
            self.name,
            list("`").join(", "),
            self.kind,
            self.owner,
            self.lookup_keyspace,
            self.table,
            list("").join(","),
        )
    }

    fn create(&self, columns: &[&Column]) -> Result<String, String> {
        let mut lines = Vec::new();
        for column in columns {
            let kind = column.column_type.as_deref().ok_or_else(|| {
                format!("the type of column {} is not known exactly", column.name)
            })?;
            let charset = column
                .charset
                .as_deref()
                .map_or_else(String::new, |c| format!(" CHARACTER SET {c}"));
            let collation = column
                .collation
                .as_deref()
                .map_or_else(String::new, |c| format!(" COLLATE {c}"));
            lines.push(format!("`{}` {kind}{charset}{collation} NOT NULL", column.name));
        }
        let number = self.kind.starts_with("lookup_hash");
        let to = if number { "bigint unsigned" } else { "varbinary(128)" };
        lines.push(format!("`{TO}` {to} NOT NULL"));
        let mut key: Vec<String> = columns.iter().map(|c| format!("`{}`", c.name)).collect();
        if !self.kind.ends_with("_unique") {
            key.push(format!("`{TO}`"));
        }
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
        Ok(format!("CREATE TABLE IF NOT EXISTS `{}` ({})", self.table, lines.join(", ")))
    }
}

fn keyspace<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Keyspace, String> {
    let found = snapshot.keyspaces.iter().find(|k| k.name == name);
    found.ok_or_else(|| format!("there is no keyspace {name}"))
}

/// By which equal values lie together.
fn vindex_of(column: &Column) -> &'static str {
    let binary = column
        .collation
        .as_deref()
        .is_none_or(|c| c.ends_with("_bin") || c == "binary");
    if binary { "xxhash" } else { "unicode_loose_xxhash" }
}
