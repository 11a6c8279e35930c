//! `coregate ctl`: single tablets, cells, and looks at the whole.
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Servers {
    /// The cells of all tablets
    #[command(alias = "GetCells", alias = "GetCellInfoNames", alias = "get-cell-info-names")]
    GetCells,
    /// One tablet
    #[command(alias = "GetTablet", after_help = "Example:\n  coregate ctl get-tablet zone1-101")]
    GetTablet { tablet: String },
    /// What is not as it should be: tablets, shards whose tables differ, processes; exit code 1 if
    /// there is anything
    #[command(
        alias = "Validate",
        alias = "ValidateKeyspace",
        alias = "validate-keyspace",
        alias = "ValidateSchemaKeyspace",
        alias = "validate-schema-keyspace",
        after_help = "Examples:\n  coregate ctl validate\n  coregate ctl validate shop"
    )]
    Validate {
        /// Only this one
        keyspace: Option<String>,
    },
    /// Makes a primary take writes, or a server take none; with recoveries enabled, a read-only
    /// primary is made writable again
    #[command(
        alias = "SetWritable",
        after_help = "Examples:\n  coregate ctl set-writable zone1-101 false\n  coregate ctl \
            set-writable zone1-101 true"
    )]
    SetWritable {
        tablet: String,
        #[arg(action = clap::ArgAction::Set)]
        writable: bool,
    },
    /// A replica replicates again
    #[command(
        alias = "StartReplication",
        after_help = "Example:\n  coregate ctl start-replication zone1-102"
    )]
    StartReplication { tablet: String },
    /// A replica stops replicating; with recoveries enabled, it is started again
    #[command(
        alias = "StopReplication",
        after_help = "Example:\n  coregate ctl disable-recoveries && coregate ctl stop-replication \
            zone1-102"
    )]
    StopReplication { tablet: String },
    /// Asks a tablet's server now, whatever the last check said
    #[command(
        alias = "RunHealthCheck",
        after_help = "Example:\n  coregate ctl run-health-check zone1-102"
    )]
    RunHealthCheck { tablet: String },
    /// What a tablet's server says of itself: variables, status, logs, replication
    #[command(
        alias = "GetFullStatus",
        after_help = "Example:\n  coregate ctl --json get-full-status zone1-101"
    )]
    GetFullStatus { tablet: String },
    /// The ranges of so many shards, as even as can be
    #[command(
        alias = "GenerateShardRanges",
        after_help = "Example:\n  coregate ctl generate-shard-ranges 4"
    )]
    GenerateShardRanges {
        /// How many
        #[arg(value_name = "SHARDS")]
        shards: usize,
    },
    /// What stands at a path of the topology, or below it
    #[command(
        alias = "GetTopologyPath",
        after_help = "Examples:\n  coregate ctl get-topology-path /\n  coregate ctl \
            get-topology-path /global/keyspaces/shop/VSchema"
    )]
    GetTopologyPath { path: String },
}
