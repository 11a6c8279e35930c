//! The command line. `coregate --help` is the manual.
mod servers;
mod tune;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coregate_controlplane::local::KeyspaceArg;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use servers::Servers;
pub(crate) use tune::{Kind, Tune};

/// A MySQL endpoint that shards.
#[derive(Debug, Parser)]
#[command(name = "coregate", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the service, from a configuration file or in front of one server
    Serve(Box<ServeArgs>),
    /// Runs a whole cluster on this machine: starts the database servers, makes keyspaces and
    /// shards, serves
    Local(Box<LocalArgs>),
    /// Administers a running coregate
    Ctl(CtlArgs),
    /// Moves a topology between stores: directories, etcd, a JSON or YAML file
    Topo {
        #[command(subcommand)]
        what: Topo,
    },
    /// Shows how a statement would be run, without a server
    Explain(ExplainArgs),
    /// Puts load on a MySQL endpoint and measures
    Bench {
        #[command(subcommand)]
        what: coregate_benches::Command,
    },
    /// Is this machine fit, how to pin, deployment files
    Tune {
        #[command(subcommand)]
        what: Tune,
    },
}

/// What `serve` and `local` have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct CommonArgs {
    /// Where clients connect [default: 127.0.0.1:3307]
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Where clients of this machine connect, too: a Unix-domain socket, a path or @NAME in the
    /// abstract namespace
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Where the admin API and the metrics are [default: 127.0.0.1:3380]
    #[arg(long, value_name = "ADDR", value_parser = crate::config::address)]
    pub(crate) admin: Option<SocketAddr>,
    /// How many cores serve; 0 is one for each CPU [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<usize>,
    /// Who may log in, in the form of Vitess's static auth file
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Whether the servers' own accounts may log in, beside those of --users [default: static]
    #[arg(long, value_name = "WHO")]
    pub(crate) auth: Option<crate::config::Auth>,
    /// How log lines look, on stderr [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Certificate chain for clients, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Client connections, above which error 1040 is given [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file (coregate.toml); with --upstream, for everything but the servers
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One server to stand in front of: mysql://user:password@host:port; special characters
    /// percent-encoded [default: COREGATE_UPSTREAM of the environment]
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// A file with the password, where the URL has none, as other users of the machine see command
    /// lines [default: COREGATE_UPSTREAM_PASSWORD of the environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_password_file: Option<PathBuf>,
    /// Takes over from the process that runs with the same path, and hands over to the next: a
    /// restart that no client sees
    #[arg(long, value_name = "PATH")]
    pub(crate) handover: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// Where all state is kept; used again at the next start
    #[arg(long, value_name = "DIR", default_value = "coregate-data")]
    pub(crate) dir: PathBuf,
    /// A keyspace: SHARDS is a number or ranges (-80,80-); may be given several times [default: the
    /// commerce example]
    #[arg(long = "keyspace", value_name = "NAME[:SHARDS[:REPLICAS]]")]
    pub(crate) keyspaces: Vec<KeyspaceArg>,
    /// A directory of KEYSPACE.sql files, applied to new keyspaces
    #[arg(long, value_name = "DIR")]
    pub(crate) schema: Option<PathBuf>,
    /// A directory of KEYSPACE.json files, Vitess's vschemas of new keyspaces
    #[arg(long, value_name = "DIR")]
    pub(crate) vschema: Option<PathBuf>,
    /// Which database servers to start [default: what DIR holds, else mariadb]
    #[arg(long, value_enum)]
    pub(crate) flavor: Option<Flavor>,
    /// The server's program, if not the one in PATH
    #[arg(long, value_name = "PATH")]
    pub(crate) mysqld: Option<PathBuf>,
    /// Where the topology is kept: file, or etcd://HOST:PORT[,HOST:PORT...][/ROOT], which other
    /// processes can use, too
    #[arg(long, value_name = "TOPO", default_value = "file")]
    pub(crate) topo: String,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flavor {
    Mariadb,
    Mysql,
    Galera,
}

#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// The admin address of the coregate to talk to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3380")]
    pub(crate) admin: String,
    /// The token that it asks for [default: COREGATE_ADMIN_TOKEN of the environment]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Ctl,
}

/// Names are vtctldclient's; CamelCase works too.
#[derive(Debug, Subcommand)]
pub(crate) enum Ctl {
    /// Is it there?
    #[command(alias = "Ping")]
    Ping,
    /// All keyspaces
    #[command(alias = "GetKeyspaces")]
    GetKeyspaces,
    /// One keyspace
    #[command(alias = "GetKeyspace")]
    GetKeyspace { keyspace: String },
    /// Removes a keyspace from the topology; its databases stay
    #[command(alias = "DeleteKeyspace")]
    DeleteKeyspace {
        keyspace: String,
        /// Its shards and tablets, too
        #[arg(long, short)]
        recursive: bool,
    },
    /// The shards of a keyspace
    #[command(
        alias = "GetShards",
        alias = "FindAllShardsInKeyspace",
        alias = "find-all-shards-in-keyspace"
    )]
    GetShards { keyspace: String },
    /// One shard: KEYSPACE/SHARD
    #[command(alias = "GetShard")]
    GetShard {
        #[arg(value_name = "KEYSPACE/SHARD")]
        shard: String,
    },
    /// The database servers and how they are
    #[command(
        alias = "GetTablets",
        after_help = "Example:\n  coregate ctl get-tablets --keyspace shop --tablet-type primary"
    )]
    GetTablets {
        #[arg(long)]
        keyspace: Option<String>,
        #[arg(long, allow_hyphen_values = true)]
        shard: Option<String>,
        /// primary, replica or rdonly
        #[arg(long)]
        tablet_type: Option<String>,
    },
    /// A keyspace's vschema
    #[command(alias = "GetVSchema", alias = "get-v-schema")]
    GetVschema { keyspace: String },
    /// Replaces a keyspace's vschema
    #[command(
        alias = "ApplyVSchema",
        alias = "apply-v-schema",
        after_help = "Example:\n  coregate ctl apply-vschema shop --vschema-file shop.json"
    )]
    #[command(group(clap::ArgGroup::new("what").required(true).args(["vschema", "vschema_file"])))]
    ApplyVschema {
        keyspace: String,
        /// The vschema itself
        #[arg(long, value_name = "JSON")]
        vschema: Option<String>,
        #[arg(long, value_name = "FILE")]
        vschema_file: Option<PathBuf>,
    },
    /// The routing rules
    #[command(alias = "GetRoutingRules")]
    GetRoutingRules,
    /// Replaces the routing rules
    #[command(
        alias = "ApplyRoutingRules",
        after_help = "Example:\n  coregate ctl apply-routing-rules --rules-file rules.json"
    )]
    #[command(group(clap::ArgGroup::new("what").required(true).args(["rules", "rules_file"])))]
    ApplyRoutingRules {
        /// The rules themselves
        #[arg(long, value_name = "JSON")]
        rules: Option<String>,
        #[arg(long, value_name = "FILE")]
        rules_file: Option<PathBuf>,
    },
    /// The tables of a keyspace
    #[command(alias = "GetSchema")]
    GetSchema { keyspace: String },
    /// Runs statements on the primaries of all shards
    #[command(
        alias = "ApplySchema",
        after_help = "Where it has failed on a shard, the same command again goes on where it \
            stopped.\n\nExamples:\n  \
            coregate ctl apply-schema shop --sql 'alter table t add column n int'\n  coregate ctl \
            apply-schema shop --sql-file shop.sql"
    )]
    #[command(group(clap::ArgGroup::new("what").required(true).args(["sql", "sql_file"])))]
    ApplySchema {
        keyspace: String,
        #[arg(long)]
        sql: Vec<String>,
        #[arg(long, value_name = "FILE")]
        sql_file: Option<PathBuf>,
    },
    /// Lookup vindexes for tables that have rows already
    #[command(subcommand, alias = "LookupVindex")]
    LookupVindex(LookupVindexes),
    /// Makes a replica the primary of its shard, in order: statements wait meanwhile, none fails
    #[command(
        alias = "PlannedReparentShard",
        after_help = "Example:\n  coregate ctl planned-reparent-shard shop/-80 --new-primary \
            zone1-101"
    )]
    PlannedReparentShard {
        #[arg(value_name = "KEYSPACE/SHARD")]
        shard: String,
        /// Which one [default: the first replica that has caught up]
        #[arg(long, value_name = "ALIAS")]
        new_primary: Option<String>,
    },
    /// Makes the replica that has everything the primary of its shard, whose primary is gone
    #[command(
        alias = "EmergencyReparentShard",
        after_help = "Example:\n  coregate ctl emergency-reparent-shard shop/-80 --ignore-replicas \
            zone1-102"
    )]
    EmergencyReparentShard {
        #[arg(value_name = "KEYSPACE/SHARD")]
        shard: String,
        /// Which one of those that have everything
        #[arg(long, value_name = "ALIAS")]
        new_primary: Option<String>,
        /// Replicas that cannot be reached and are given up, with what only they may have
        #[arg(long, value_name = "ALIAS", value_delimiter = ',')]
        ignore_replicas: Vec<String>,
    },
    /// Gives a tablet another type: replica, rdonly, spare or drained
    #[command(
        alias = "ChangeTabletType",
        after_help = "Example:\n  coregate ctl change-tablet-type zone1-101 drained"
    )]
    ChangeTabletType { tablet: String, tablet_type: String },
    /// The processes that serve the same topology, and which of them leads
    #[command(alias = "GetProcesses")]
    GetProcesses,
    /// What was done about shards: primaries moved, replication repaired; also before the last
    /// restart
    #[command(alias = "GetRecoveries")]
    GetRecoveries,
    /// What is wrong with shards now, and what is done about it
    #[command(alias = "GetReplicationAnalysis")]
    GetReplicationAnalysis,
    /// Nothing is done by itself any more, until enable-recoveries or a restart
    #[command(alias = "DisableRecoveries")]
    DisableRecoveries,
    /// Dead primaries are replaced again
    #[command(alias = "EnableRecoveries")]
    EnableRecoveries,
    /// Transactions over several shards that are not finished
    #[command(subcommand, alias = "DistributedTransaction")]
    DistributedTransaction(Transactions),
    /// Reads the topology's files again
    Reload,
    #[command(flatten)]
    Servers(Servers),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LookupVindexes {
    /// Makes a lookup vindex that is write-only, and its table, and adds the entries of all rows;
    /// begun again, it passes over those that are there
    #[command(after_help = "Example:\n  coregate ctl lookup-vindex create shop by_email --type \
            consistent_lookup_unique \\\n    --table-owner users --table-owner-columns email \
            --keyspace main --table users_email")]
    Create {
        keyspace: String,
        name: String,
        /// consistent_lookup, consistent_lookup_unique, lookup, lookup_unique, lookup_hash or
        /// lookup_hash_unique
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// The table whose rows are found by it
        #[arg(long, value_name = "TABLE")]
        table_owner: String,
        #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
        table_owner_columns: Vec<String>,
        /// Where the lookup table is [default: KEYSPACE]
        #[arg(long = "keyspace", value_name = "KEYSPACE")]
        lookup_keyspace: Option<String>,
        /// The lookup table [default: NAME]
        #[arg(long)]
        table: Option<String>,
        /// Rows with NULL have no entry
        #[arg(long)]
        ignore_nulls: bool,
    },
    /// How far it is
    Show { keyspace: String, name: String },
    /// Counts rows without an entry, and entries without a row
    Verify { keyspace: String, name: String },
    /// Lets queries use it, if every row has its entry
    Externalize { keyspace: String, name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Transactions {
    /// Those that have prepared branches
    UnresolvedList {
        /// With a part in this one
        #[arg(long)]
        keyspace: Option<String>,
    },
    /// One of them: its state, and the shards with prepared branches
    #[command(
        after_help = "Example:\n  coregate ctl distributed-transaction get-info --dtid 18f2a-0-7"
    )]
    GetInfo {
        #[arg(long, value_name = "ID")]
        dtid: String,
    },
    /// Finishes one now, as it was decided; one that nobody has decided is rolled back
    #[command(
        after_help = "Example:\n  coregate ctl distributed-transaction conclude --dtid 18f2a-0-7"
    )]
    Conclude {
        #[arg(long, value_name = "ID")]
        dtid: String,
    },
}

/// A STORE is a directory, as `topology.dir` names it, or etcd://HOST:PORT[,HOST:PORT...][/ROOT].
/// Documents hold the servers' passwords.
#[derive(Debug, Subcommand)]
pub(crate) enum Topo {
    /// Writes a whole topology as one document
    #[command(after_help = "Examples:\n  coregate topo export /var/lib/coregate\n  \
        coregate topo export etcd://10.0.0.1:2379/shop --output shop.yaml")]
    Export {
        store: String,
        /// Where to [default: standard output]; YAML if its name ends with .yaml or .yml
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// YAML instead of JSON
        #[arg(long)]
        yaml: bool,
    },
    /// Brings keyspaces and routing rules into a store; what the source does not name stays
    #[command(after_help = "Examples:\n  coregate topo import /var/lib/coregate \
            etcd://10.0.0.1:2379/shop\n  \
        coregate topo import shop.yaml etcd://10.0.0.1:2379/shop --replace --dry-run\n  \
        coregate topo export etcd://10.0.0.1:2379/shop | coregate topo import - /tmp/copy")]
    Import {
        /// A STORE, a JSON or YAML file, or - for standard input
        source: String,
        store: String,
        /// What is there and is another is replaced
        #[arg(long)]
        replace: bool,
        /// Only says what would be done
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A keyspace's vschema, JSON; the file's name is the keyspace's
    #[arg(long, value_name = "FILE")]
    pub(crate) vschema: PathBuf,
    /// CREATE TABLE statements
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Number of shards, or their ranges
    #[arg(long, default_value = "2")]
    pub(crate) shards: String,
    /// The statement
    pub(crate) sql: String,
}
