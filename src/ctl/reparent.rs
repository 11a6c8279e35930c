//! Moving primaries, types of tablets, and what is done by itself.
use super::{Client, part};
use crate::Failure;
use crate::cli::Ctl;
use serde_json::{Value, json};

pub(super) fn run(client: &Client<'_>, command: &Ctl) -> Result<Value, Failure> {
    let switch = |to: &str| client.send(|agent| agent.put(client.url("recoveries")), to);
    match command {
        Ctl::PlannedReparentShard { shard, new_primary } => {
            planned(client, shard, new_primary.as_deref())
        }
        Ctl::EmergencyReparentShard { shard, new_primary, ignore_replicas } => {
            emergency(client, shard, new_primary.as_deref(), ignore_replicas)
        }
        Ctl::ChangeTabletType { tablet, tablet_type } => {
            let path = format!("tablets/{}/type", part(tablet));
            client.send(|agent| agent.put(client.url(&path)), tablet_type)
        }
        Ctl::GetReplicationAnalysis => client.get("replication-analysis", &[]),
        Ctl::DisableRecoveries => switch("disabled"),
        Ctl::EnableRecoveries => switch("enabled"),
        _ => client.get("recoveries", &[]),
    }
}

/// `KEYSPACE/SHARD`, as a path.
fn place(command: &str, shard: &str) -> Result<String, Failure> {
    let Some((keyspace, shard)) = shard.split_once('/') else {
        return Err(Failure::Usage(format!(
            "{command} {shard}: write KEYSPACE/SHARD, e.g. customer/-80"
        )));
    };
    Ok(format!("keyspaces/{}/shards/{}", part(keyspace), part(shard)))
}

fn planned(client: &Client<'_>, shard: &str, new: Option<&str>) -> Result<Value, Failure> {
    let path = place("planned-reparent-shard", shard)? + "/planned-reparent";
    client.post_json(&path, &json!({"new_primary": new}))
}

fn emergency(
    client: &Client<'_>,
    shard: &str,
    new: Option<&str>,
    ignored: &[String],
) -> Result<Value, Failure> {
    let path = place("emergency-reparent-shard", shard)? + "/emergency-reparent";
    client.post_json(&path, &json!({"new_primary": new, "ignore_replicas": ignored}))
}
