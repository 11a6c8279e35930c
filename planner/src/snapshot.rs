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
    /// Addressed by [`KeyspaceIdx`].
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
    /// A rule with one target, `keyspace.table`.
    To {
        /// The target's keyspace.
        keyspace: KeyspaceIdx,
        /// The target's name there, without quotes.
        table: String,
    },
    /// A rule without a target.
    Disabled,
    /// A rule that cannot be followed, and why.
    Wrong(String),
}

/// A database as clients name it, which lies on one shard or is spread over several.
#[derive(Debug)]
pub struct Keyspace {
    /// What clients call it, and the topology.
    pub name: String,
    /// The database's name on the servers. The same as `name` in clusters that `coregate local`
    /// makes, so that qualified names need no rewriting.
    pub database: String,
    /// Its vschema says so, or it has more than one shard. Rows lie where their table's primary
    /// vindex puts them.
    pub sharded: bool,
    /// Sorted by start of range.
    pub shards: Vec<Shard>,
    /// Tables by name; names compare as MySQL's default on Linux: case-sensitive.
    pub tables: AHashMap<String, Arc<Table>>,
    /// All vindexes by their name in the vschema.
    pub vindexes: AHashMap<String, VindexDef>,
    /// Its tables are found with the keyspace's name before theirs only.
    pub require_explicit_routing: bool,
    /// No server has told its tables yet: where rows lie is not known for columns whose types the
    /// vschema does not say.
    pub(crate) columns_pending: bool,
    /// `foreignKeyMode` is `managed`.
    pub(crate) manages_foreign_keys: bool,
}

/// A part of a keyspace, with all rows whose keyspace ids lie in its range.
#[derive(Debug)]
pub struct Shard {
    /// What the shard is known by beyond this snapshot.
    pub id: ShardId,
    /// As Vitess writes it: `-80`, `80-`, `0`.
    pub name: String,
    /// The keyspace ids of its rows; all of them where the keyspace has one shard.
    pub range: KeyRange,
}

/// A half-open range of keyspace ids; an empty `end` is unbounded. Bytes compare as in Vitess: ids
/// are padded with zeros on the right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The first keyspace id in the range.
    pub start: Vec<u8>,
    /// The first keyspace id behind the range.
    pub end: Vec<u8>,
}

/// Vitess's tablet types that statements can be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TabletKind {
    /// Takes writes, and reads by default.
    #[default]
    Primary,
    /// For reads that may be a little behind.
    Replica,
    /// For long reads, as of reports and batches; may be further behind than replicas.
    Rdonly,
}

/// One database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablet {
    /// `zone1-100`.
    pub alias: String,
    /// What it is configured or elected as.
    pub kind: TabletKind,
    /// Where it listens for MySQL's protocol.
    pub address: Address,
    /// The host as it was configured: under `VerifyIdentity` the server's certificate must bear it.
    pub server_name: String,
    /// The account that the proxy logs in with, for all of its clients.
    pub user: String,
    /// That account's password, in plain text.
    pub password: String,
    /// Whether connections to it are encrypted.
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

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Names are resolved by the control plane, never on a core.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
    /// A name that had no address when it was last asked for; the control plane keeps asking.
    Unresolved {
        /// The name, as it was configured.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

/// MySQL's `ssl-mode` towards a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BackendTls {
    /// No TLS, even if the server offers it.
    Disabled,
    /// TLS if the server offers it, certificate not verified.
    #[default]
    Preferred,
    /// TLS or no connection, certificate not verified.
    Required,
    /// TLS, with a certificate that a trusted authority has signed.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must bear [`Tablet::server_name`].
    VerifyIdentity,
}

/// A vindex of the vschema.
#[derive(Debug, Clone)]
pub struct VindexDef {
    /// The key in the vschema's `vindexes`.
    pub name: String,
    /// Vitess's name of the type: `hash`, `consistent_lookup_unique`.
    pub kind: String,
    /// `None` for lookup vindexes, which are tables: see `lookup`.
    pub vindex: Option<Arc<dyn Vindex>>,
    /// The table whose changes keep the lookup table right, a name of the same keyspace.
    pub(crate) owner: Option<String>,
    /// The table of a lookup vindex; `None` for functional ones, and for types whose tables are not
    /// kept yet.
    pub(crate) lookup: Option<Arc<LookupDef>>,
}

/// The vschema's table types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TableKind {
    /// Rows lie where the primary vindex puts them, where the table is pinned, or on the keyspace's
    /// only shard.
    #[default]
    Normal,
    /// A copy on every shard.
    Reference,
    /// Numbers for other tables' AUTO_INCREMENT columns: one row, with `id`, `next_id` and `cache`.
    Sequence,
    /// Its rows need no place of their own: whole INSERTs go to the shards in turn.
    Log,
}

/// A table or a view, as the vschema and the servers describe it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Without the keyspace, as the server writes it.
    pub name: String,
    /// What the vschema's `type` says.
    pub kind: TableKind,
    /// The first is the primary vindex, which decides where a row lies. Empty for unsharded and
    /// reference tables.
    pub column_vindexes: Vec<ColumnVindex>,
    /// In table order. Empty when they are not known; complete when `columns_complete`.
    pub columns: Vec<Column>,
    /// All columns are known, with their order: from a server, or the vschema says that its list is
    /// authoritative.
    pub(crate) columns_complete: bool,
    /// The column whose numbers come from a sequence.
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
    /// Those of this table that refer to others.
    pub foreign_keys: Vec<ForeignKey>,
    /// Those that the server runs for changes of the table.
    pub(crate) triggers: Vec<Trigger>,
}

/// An index. Columns' names are as the server writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// The index's name.
    pub name: String,
    /// In order, without parts that are expressions.
    pub columns: Vec<String>,
    /// It holds whole columns: no part is an expression or a column's beginning.
    pub whole: bool,
}

/// A foreign key of a table, as information_schema tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// The table's own columns, in the key's order.
    pub columns: Vec<String>,
    /// The database's name on the server, which is not always the keyspace's.
    pub referenced_schema: String,
    /// The table referred to, in `referenced_schema`.
    pub referenced_table: String,
    /// As many as `columns`.
    pub referenced_columns: Vec<String>,
    /// `None`: the server does not say.
    pub on_update: Option<ReferentialAction>,
    /// As `on_update`, for rows that are deleted.
    pub on_delete: Option<ReferentialAction>,
}

/// What a server does with rows that refer to one that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferentialAction {
    /// RESTRICT, or NO ACTION, which is the same for InnoDB.
    Restrict,
    /// They change, or go, with it.
    Cascade,
    /// Their columns become NULL.
    SetNull,
    /// Their columns get their defaults.
    SetDefault,
}

/// A vindex over columns of a table.
#[derive(Debug, Clone)]
pub struct ColumnVindex {
    /// Lower case, as column names compare.
    pub columns: Vec<String>,
    /// The vindex that maps them, in the order of `columns`.
    pub vindex: VindexDef,
}

/// A column, as far as the server or the vschema describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// As written; compare case-insensitively.
    pub name: String,
    /// The server's type name, lower case (`bigint`, `varchar`), empty when unknown.
    pub data_type: String,
    /// Characters that fit, or bytes of a binary type; `None` when unknown or of another type.
    pub length: Option<u32>,
    /// The type is an UNSIGNED one.
    pub unsigned: bool,
    /// The type in full, as a definition of the column would have it: `enum('a','b')`,
    /// `decimal(10,2) unsigned`. Without character set and collation. `None`: not known exactly.
    pub column_type: Option<String>,
    /// Can it hold NULL? `None`: not known.
    pub nullable: Option<bool>,
    /// The character set's name, lower case; `None`: not of a text type, or not known.
    pub charset: Option<String>,
    /// The collation's name, as the server writes it; `None`: not of a text type, or not known.
    pub collation: Option<String>,
    /// Digits in all; of BIT, bits.
    pub numeric_precision: Option<u32>,
    /// Digits after the point; `None` of FLOAT and DOUBLE without any.
    pub numeric_scale: Option<u32>,
    /// Digits after the seconds of TIME, DATETIME and TIMESTAMP.
    pub datetime_precision: Option<u32>,
    /// Its place in keys, as `DESCRIBE` shows it.
    pub key: ColumnKey,
    /// The server gives numbers to it.
    pub auto_increment: bool,
    /// An INSERT may leave it out because a default is written, or because it may be NULL.
    /// AUTO_INCREMENT and generation are told by their own fields.
    pub has_default: bool,
    /// An INSERT that leaves it out writes NULL.
    pub null_default: bool,
    /// It is computed from other columns, stored or not; no statement gives it a value.
    pub generated: bool,
    /// `SELECT *` and INSERTs without a list of columns leave it out.
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
    /// Without the database.
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

/// A column whose numbers come from a sequence where a statement gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoIncrement {
    /// As the vschema writes it.
    pub(crate) column: String,
    /// The sequence's table, `table` or `keyspace.table`.
    pub(crate) sequence: String,
}
