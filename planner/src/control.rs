//! What the planes say to each other. They never import each other: the binary hands each of them
//! the other's side of these traits.
use crate::serving::Serving;
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// A request from a core to the control plane.
#[derive(Debug)]
pub enum ControlRequest {
    /// `ALTER VSCHEMA ...` as written, and the session's keyspace.
    AlterVschema {
        /// The statement, up to its end.
        sql: String,
        /// The one that is meant where the statement names none.
        keyspace: Option<String>,
    },
    /// `CREATE DATABASE ...` as written.
    CreateDatabase {
        /// The new keyspace's name, without quotes.
        name: String,
        /// The statement, up to its end.
        sql: String,
    },
    /// `DROP DATABASE name`
    DropDatabase {
        /// The keyspace's name, without quotes.
        name: String,
    },
    /// Table definitions of this keyspace have changed.
    SchemaChanged {
        /// The keyspace's name.
        keyspace: String,
    },
    /// A statement that changes them is about to begin; answered when it may. `change` tells it
    /// from others.
    SchemaBegins {
        /// The keyspace's name.
        keyspace: String,
        /// A number that no other change has.
        change: u64,
    },
    /// It has ended, however; or will not begin.
    SchemaEnds {
        /// The keyspace's name.
        keyspace: String,
        /// The number that it began with.
        change: u64,
    },
    /// A change of table definitions of this keyspace has failed, and may yet have taken effect.
    /// `later`: or may still, on servers that go on with it. The reply does not wait for them.
    SchemaInDoubt {
        /// The keyspace's name.
        keyspace: String,
        /// Servers may still be at it.
        later: bool,
    },
}

/// An error in MySQL's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// MySQL's error number.
    pub code: u16,
    /// Five ASCII characters, as `42000`.
    pub sqlstate: [u8; 5],
    /// What the client is told, in UTF-8.
    pub message: String,
}

/// Called once, from any thread. It is done; and what the client is to be warned of, if anything.
pub type Reply = Box<dyn FnOnce(Result<Option<String>, SqlError>) + Send>;

/// The control plane, as a core sees it.
pub trait ControlPort: Send + Sync {
    /// Does not block. The reply comes when every core uses the new state.
    fn request(&self, request: ControlRequest, reply: Reply);
    /// A transaction over several shards was given up before or while it was decided: branches of
    /// it may be prepared. Does not block.
    fn given_up(&self, _transaction: &str) {}
    /// A connection to this tablet was refused, or has broken: it is worth a look. Does not block.
    fn suspect(&self, _alias: &str) {}
}

/// The data plane, as the control plane sees it.
pub trait DataPort: Send + Sync {
    /// Gives what has changed to every core; `done` is called when all of them use it. Does not
    /// block. A core that is given a new snapshot forgets its plans; what serves changes without
    /// that.
    fn publish(
        &self,
        snapshot: Option<Arc<Snapshot>>,
        serving: Arc<Serving>,
        done: Box<dyn FnOnce() + Send>,
    );
    /// How many connections to a tablet statements and transactions use at the moment, on all
    /// cores. Does not block.
    fn in_use(&self, alias: String, done: Box<dyn FnOnce(usize) + Send>);
    /// Cuts all connections to a tablet: whoever waits for an answer there is told that its fate is
    /// unknown. Does not block.
    fn cut(&self, alias: String, done: Box<dyn FnOnce() + Send>);
    /// Replaces the users. New logins see them.
    fn set_users(&self, users: Arc<Users>);
    /// What new clients are told that the server is, where no server could say it at the start.
    fn set_server_version(&self, _version: String) {}
    /// Every counter and gauge, read without stopping a core.
    fn metrics(&self) -> Vec<Metric>;
    /// The plans of all cores; `done` is called with them from a core's thread.
    fn plans(&self, done: Box<dyn FnOnce(Vec<PlanStats>) + Send>);
    /// The sessions of all cores; `done` is called with them from a core's thread.
    fn sessions(&self, done: Box<dyn FnOnce(Vec<SessionInfo>) + Send>) {
        done(Vec::new());
    }
    /// No new connections; idle sessions are closed, busy ones after their transaction or after
    /// `timeout_ms`. `done` when none is left.
    fn drain(&self, timeout_ms: u64, done: Box<dyn FnOnce() + Send>);
}

/// One sample of Prometheus's text format.
#[derive(Debug, Clone)]
pub struct Metric {
    /// `coregate_queries_total`
    pub name: &'static str,
    /// One sentence for the `# HELP` line.
    pub help: &'static str,
    /// What the `# TYPE` line says.
    pub kind: MetricKind,
    /// `[("core", "0"), ("shard", "customer/-80")]`
    pub labels: Vec<(&'static str, String)>,
    /// In the unit that the name ends in.
    pub value: f64,
}

/// Prometheus's types of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// One of `NAME_bucket`, `NAME_sum` and `NAME_count`.
    Histogram,
}

/// One row of `/queryz`.
#[derive(Debug, Clone)]
pub struct PlanStats {
    /// The normalised text.
    pub query: String,
    /// The name of the plan's [`StatementClass`](crate::plan::StatementClass).
    pub class: String,
    /// In a word, where it goes: `equal`, `scatter`, `merge`.
    pub destination: String,
    /// `keyspace.table`, those that it names.
    pub tables: Vec<String>,
    /// What `WORKLOAD_NAME` calls it.
    pub workload: Option<String>,
    /// Executions on this core since the plan was made.
    pub count: u64,
    /// Executions that ended with an error.
    pub errors: u64,
    /// Rows of results.
    pub rows: u64,
    /// Microseconds in all executions together.
    pub time_us: u64,
    /// Statements that were sent to shards for them.
    pub shard_queries: u64,
}

/// What a client's session does. Texts are normalised: they show no values.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// What `CONNECTION_ID()` says, and KILL takes.
    pub id: u32,
    /// The name that the client has logged in with.
    pub user: String,
    /// The client's address.
    pub host: String,
    /// What it has selected, as `USE` takes it.
    pub database: Option<String>,
    /// It waits for a command, as `Sleep` in SHOW PROCESSLIST.
    pub rests: bool,
    /// A transaction of its is open.
    pub in_transaction: bool,
    /// Since when it does that or rests.
    pub seconds: u64,
    /// What it runs.
    pub statement: Option<String>,
    /// It keeps its connection to a server: the statement for whose sake it does.
    pub pinned_by: Option<String>,
}

/// Who may log in. The form of Vitess's static auth file; see `docs` for the fields.
#[derive(Debug, Default, Clone)]
pub struct Users {
    /// Entries by the user's name, in the file's order.
    pub by_name: ahash::AHashMap<String, Vec<UserEntry>>,
}

/// One entry of a user; the first whose password fits is taken.
#[derive(Debug, Default, Clone)]
pub struct UserEntry {
    /// In plain text; `None` where only hashes are given.
    pub password: Option<String>,
    /// `*` and 40 hex digits: SHA1(SHA1(password)).
    pub mysql_native_password: Option<String>,
    /// `$A$005$...` as MySQL stores it.
    pub caching_sha2_password: Option<String>,
    /// MariaDB's `ed25519` key, in base64: of accounts of the servers only.
    pub ed25519: Option<String>,
    /// The file's `Groups`; members of `admin` have the admin right.
    pub groups: Vec<String>,
    /// `localhost`: loopback addresses and Unix sockets only.
    pub source_host: Option<String>,
    /// May run `ALTER VSCHEMA`, `KILL` others' sessions.
    pub admin: bool,
    /// May change nothing.
    pub read_only: bool,
    /// `None`: all.
    pub keyspaces: Option<Vec<String>>,
    /// May log in over TLS only.
    pub require_tls: bool,
    /// Sessions of the user in one process.
    pub connections_max: Option<u32>,
}
