//! What plans depend on, as both planes see it: published by the control plane, read by every core,
//! never changed. Which servers serve it at the moment is apart from it ([`crate::serving`]).
use crate::collation::Collation;
use crate::identity::{ShardId, ShardIds};
use crate::lookup::LookupDef;
use crate::vindex::Vindex;
use ahash::AHashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Index of a keyspace in [`Snapshot::keyspaces`]. Valid for one snapshot version only, as plans
/// are.
pub type KeyspaceIdx = u16;
/// Index of a shard in [`Keyspace::shards`].
pub type ShardIdx = u16;

/// Everything a core needs to know.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with every change; plan caches are cleared when it does.
    pub version: u64,
    pub keyspaces: Vec<Keyspace>,
    /// `Some` in the drop-in mode (`serve --upstream`): every database not listed in `keyspaces`
    /// lives on this server.
    pub drop_in: Option<Arc<Tablet>>,
    /// Tables that may be named without a keyspace when no database is selected (Vitess's global
    /// routing): name -> keyspaces.
    pub global_tables: AHashMap<String, Vec<KeyspaceIdx>>,
    /// Of the tables there that are the sources of reference tables: the keyspaces that have
    /// copies.
    pub global_copies: AHashMap<String, Vec<KeyspaceIdx>>,
    /// Routing rules: `table` or `keyspace.table`, each perhaps with `@replica` and the like ->
    /// where that is.
    pub routes: AHashMap<String, Routed>,
    /// Of this snapshot's shards, and of those that were there before.
    pub ids: ShardIds,
    /// By lower-case name: those in use, as far as their servers have told how they compare.
    pub collations: AHashMap<String, Arc<Collation>>,
}

impl Snapshot {
    /// How a collation compares; `None` when that is not known, or cannot be told by weights.
    pub fn collation(&self, name: &str) -> Option<&Arc<Collation>> {
        match self.collations.get(name) {
            None if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                self.collations.get(&name.to_ascii_lowercase())
            }
            found => found,
        }
    }
}

/// What a routing rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    To {
        keyspace: KeyspaceIdx,
        table: String,
    },
    /// A rule without a target.
    Disabled,
    /// A rule that cannot be followed, and why.
    Wrong(String),
}

#[derive(Debug)]
pub struct Keyspace {
    pub name: String,
    /// The database's name on the servers. The same as `name` in clusters that `coregate local`
    /// makes, so that qualified names need no rewriting.
    pub database: String,
    pub sharded: bool,
    /// Sorted by start of range.
    pub shards: Vec<Shard>,
    /// Tables by name; names compare as MySQL's default on Linux: case-sensitive.
    pub tables: AHashMap<String, Arc<Table>>,
    /// All vindexes by their name in the vschema.
    pub vindexes: AHashMap<String, VindexDef>,
    pub require_explicit_routing: bool,
    /// No server has told its tables yet: where rows lie is not known for columns whose types the
    /// vschema does not say.
    pub(crate) columns_pending: bool,
    /// `foreignKeyMode` is `managed`.
    pub(crate) manages_foreign_keys: bool,
}

#[derive(Debug)]
pub struct Shard {
    /// What the shard is known by beyond this snapshot.
    pub id: ShardId,
    /// As Vitess writes it: `-80`, `80-`, `0`.
    pub name: String,
    pub range: KeyRange,
}

/// A half-open range of keyspace ids; an empty `end` is unbounded. Bytes compare as in Vitess: ids
/// are padded with zeros on the right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub start: Vec<u8>,
    pub end: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TabletKind {
    #[default]
    Primary,
    Replica,
    Rdonly,
}

/// One database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablet {
    /// `zone1-100`.
    pub alias: String,
    pub kind: TabletKind,
    pub address: Address,
    /// The host as it was configured: under `VerifyIdentity` the server's certificate must bear it.
    pub server_name: String,
    pub user: String,
    pub password: String,
    pub tls: BackendTls,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Unresolved { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Names are resolved by the control plane, never on a core.
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A name that had no address when it was last asked for; the control plane keeps asking.
    Unresolved {
        host: String,
        port: u16,
    },
}

/// MySQL's `ssl-mode` towards a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BackendTls {
    Disabled,
    /// TLS if the server offers it, certificate not verified.
    #[default]
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

/// A vindex of the vschema.
#[derive(Debug, Clone)]
pub struct VindexDef {
    pub name: String,
    pub kind: String,
    /// `None`: a type that is known but cannot be used yet (lookup vindexes).
    pub vindex: Option<Arc<dyn Vindex>>,
    pub(crate) owner: Option<String>,
    /// The table of a lookup vindex.
    pub(crate) lookup: Option<Arc<LookupDef>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TableKind {
    #[default]
    Normal,
    /// A copy on every shard.
    Reference,
    Sequence,
    /// Its rows need no place of their own: whole INSERTs go to the shards in turn.
    Log,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub name: String,
    pub kind: TableKind,
    /// The first is the primary vindex, which decides where a row lies. Empty for unsharded and
    /// reference tables.
    pub column_vindexes: Vec<ColumnVindex>,
    /// In table order. Empty when they are not known; complete when `columns_complete`.
    pub columns: Vec<Column>,
    pub(crate) columns_complete: bool,
    pub(crate) auto_increment: Option<AutoIncrement>,
    /// Keyspace id (hex in the vschema) of a pinned table.
    pub(crate) pinned: Option<Vec<u8>>,
    /// Is it in the vschema, or only known from the server's schema?
    pub in_vschema: bool,
    /// Reference tables: the table they are a copy of, `keyspace.table`.
    pub(crate) source: Option<String>,
    /// Views: the query, as the server gives it.
    pub view: Option<String>,
    /// The primary key's columns, in order. Empty where there is none, or nothing is known of it:
    /// the vschema does not say it.
    pub primary_key: Vec<String>,
    /// Beside the primary key.
    pub unique_keys: Vec<Key>,
    /// Those that are neither primary nor unique, by which rows can be found in order: none of
    /// FULLTEXT and SPATIAL.
    pub indexes: Vec<Key>,
    pub foreign_keys: Vec<ForeignKey>,
    pub(crate) triggers: Vec<Trigger>,
}

/// An index. Columns' names are as the server writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    /// In order, without parts that are expressions.
    pub columns: Vec<String>,
    /// It holds whole columns: no part is an expression or a column's beginning.
    pub whole: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    /// The database's name on the server, which is not always the keyspace's.
    pub referenced_schema: String,
    pub referenced_table: String,
    /// As many as `columns`.
    pub referenced_columns: Vec<String>,
    /// `None`: the server does not say.
    pub on_update: Option<ReferentialAction>,
    pub on_delete: Option<ReferentialAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferentialAction {
    /// RESTRICT, or NO ACTION, which is the same for InnoDB.
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Debug, Clone)]
pub struct ColumnVindex {
    /// Lower case, as column names compare.
    pub columns: Vec<String>,
    pub vindex: VindexDef,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// As written; compare case-insensitively.
    pub name: String,
    /// The server's type name, lower case (`bigint`, `varchar`), empty when unknown.
    pub data_type: String,
    /// Characters that fit, or bytes of a binary type; `None` when unknown or of another type.
    pub length: Option<u32>,
    pub unsigned: bool,
    /// The type in full, as a definition of the column would have it: `enum('a','b')`,
    /// `decimal(10,2) unsigned`. Without character set and collation. `None`: not known exactly.
    pub column_type: Option<String>,
    pub nullable: Option<bool>,
    pub charset: Option<String>,
    pub collation: Option<String>,
    /// Digits in all; of BIT, bits.
    pub numeric_precision: Option<u32>,
    /// Digits after the point; `None` of FLOAT and DOUBLE without any.
    pub numeric_scale: Option<u32>,
    /// Digits after the seconds of TIME, DATETIME and TIMESTAMP.
    pub datetime_precision: Option<u32>,
    pub key: ColumnKey,
    pub auto_increment: bool,
    /// An INSERT may leave it out because a default is written, or because it may be NULL.
    /// AUTO_INCREMENT and generation are told by their own fields.
    pub has_default: bool,
    /// An INSERT that leaves it out writes NULL.
    pub null_default: bool,
    pub generated: bool,
    pub invisible: bool,
    /// The default that each server computes for itself, as it writes it: `uuid()`,
    /// `current_timestamp()`.
    pub computed_default: Option<String>,
    /// ON UPDATE CURRENT_TIMESTAMP
    pub on_update: bool,
}

/// A trigger of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub name: String,
    /// INSERT, UPDATE or DELETE.
    pub event: String,
    /// What it does.
    pub body: String,
}

/// A column's place in keys, as COLUMN_KEY of information_schema says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColumnKey {
    /// In none, or not first; or not known.
    #[default]
    None,
    /// PRI: in the primary key; or in a unique key without NULLs, where there is no primary one.
    Primary,
    /// UNI: a unique key for itself.
    Unique,
    /// MUL: first of a key whose values may repeat in it.
    Multiple,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoIncrement {
    pub(crate) column: String,
    pub(crate) sequence: String,
}
