//! Single tablets, cells, and looks at the whole.
use super::{Client, part};
use crate::Failure;
use crate::cli::Servers;
use coregate_planner::keyrange::shard_names;
use serde_json::{Value, json};

pub(super) fn run(client: &Client<'_>, command: &Servers) -> Result<Value, Failure> {
    let order = |tablet: &str, what: &str| {
        let path = format!("tablets/{}/{what}", part(tablet));
        client.send(|agent| agent.post(client.url(&path)), "")
    };
    match command {
        Servers::GetCells => client.get("cells", &[]),
        Servers::GetTablet { tablet } => client.get(&format!("tablets/{}", part(tablet)), &[]),
        Servers::Validate { keyspace } => client.get("validate", &[("keyspace", keyspace)]),
        Servers::SetWritable { tablet, writable } => {
            let path = format!("tablets/{}/writable", part(tablet));
            client.send(|agent| agent.put(client.url(&path)), &writable.to_string())
        }
        Servers::StartReplication { tablet } => order(tablet, "start-replication"),
        Servers::StopReplication { tablet } => order(tablet, "stop-replication"),
        Servers::RunHealthCheck { tablet } => order(tablet, "health-check"),
        Servers::GetFullStatus { tablet } => {
            client.get(&format!("tablets/{}/full-status", part(tablet)), &[])
        }
        Servers::GenerateShardRanges { shards } => shard_names(*shards)
            .map(|names| json!(names))
            .map_err(|e| Failure::Usage(format!("generate-shard-ranges {shards}: {e}"))),
        Servers::GetTopologyPath { path } => {
            let parts: Vec<String> = path
                .split('/')
                .filter(|p| !p.is_empty())
                .map(part)
                .collect();
            let under =
                if parts.is_empty() { String::new() } else { format!("/{}", parts.join("/")) };
            client.get(&format!("topology{under}"), &[])
        }
    }
}

/// Something is wrong: scripts see it by the exit code.
pub(super) fn is_bad(command: &Servers, answer: &Value) -> bool {
    let found = answer.get("results").and_then(Value::as_array);
    matches!(command, Servers::Validate { .. }) && found.is_some_and(|list| !list.is_empty())
}
