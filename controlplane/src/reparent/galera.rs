//! A shard whose servers are a Galera cluster: another node gets the writes. Nobody is promoted,
//! since all have all data and take writes; the cluster itself certifies that what one has
//! committed, no other contradicts.
use super::{Desk, Member, PATIENCE, Shard};
use crate::Error;
use crate::servers::galera::Galera;
use crate::servers::replication::Server;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often it is asked whether the last statement has ended.
const POLL: Duration = Duration::from_millis(5);
/// How often nodes are asked whether the cluster has closed its ranks.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The writer is well: what runs there ends first.
    Planned,
    /// It is not.
    Emergency,
}

/// A node that could get the writes.
struct Able {
    member: Member,
    server: Server,
    galera: Galera,
}

/// Gives the new writer's alias.
pub(super) async fn switch(
    desk: &Desk,
    shard: &Shard,
    wanted: Option<&str>,
    way: Way,
) -> Result<String, Error> {
    check(shard, wanted)?;
    let begun = Instant::now();
    // Before anybody has to wait.
    if way == Way::Planned {
        elect(able(desk, shard).await, shard, wanted)?;
    }
    desk.hold(shard).await?;
    let named = hand_over(desk, shard, wanted, way).await;
    let released = desk.release(shard).await;
    let alias = named?;
    released?;
    let ms = begun.elapsed().as_millis();
    tracing::info!(shard = shard.name(), "{alias} gets the writes; statements waited {ms} ms");
    Ok(alias)
}

fn check(shard: &Shard, wanted: Option<&str>) -> Result<(), Error> {
    match wanted {
        Some(alias) if alias == shard.primary.alias() => {
            Err(Error::Config(format!("{alias} is the primary already")))
        }
        Some(alias) if !shard.others.iter().any(|m| m.alias() == alias) => {
            Err(Error::Config(format!("{alias} is no tablet of shard {}", shard.name())))
        }
        _ => Ok(()),
    }
}

/// Statements wait. No core sends the old writer anything more; the new one has all that it has
/// committed.
async fn hand_over(
    desk: &Desk,
    shard: &Shard,
    wanted: Option<&str>,
    way: Way,
) -> Result<String, Error> {
    let alias = shard.primary.alias();
    if way == Way::Planned {
        let end = Instant::now() + desk.drain;
        while desk.in_use(alias).await? > 0 && Instant::now() < end {
            tokio::time::sleep(POLL).await;
        }
        desk.connect(&shard.primary.tablet)
            .await?
            .kill_sessions()
            .await?;
    }
    desk.cut(alias).await?;
    if way == Way::Emergency && !shard.primary.reached {
        // One that stands still would stay a member, if it went on in time.
        desk.fence.stop(alias, PATIENCE).await;
    }
    let end = Instant::now() + desk.catch_up;
    loop {
        let elected = elect(able(desk, shard).await, shard, wanted);
        let tried = match elected {
            // A node whose cluster still waits for a lost member does not answer before it is
            // excluded.
            Ok(mut found) => found
                .server
                .causal(desk.catch_up)
                .await
                .map(|()| found.member),
            Err(e) => Err(e),
        };
        match tried {
            Ok(member) => {
                desk.set_primary(shard, member.alias()).await?;
                return Ok(member.alias().to_owned());
            }
            Err(e) if Instant::now() >= end => return Err(e),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// All that can be asked, are fit, and may get writes.
async fn able(desk: &Desk, shard: &Shard) -> Vec<Able> {
    let mut asked = JoinSet::new();
    for member in shard
        .others
        .iter()
        .filter(|m| m.kind.is_candidate())
        .cloned()
    {
        let desk = desk.clone();
        asked.spawn(async move {
            let mut server = desk.connect(&member.tablet).await.ok()?;
            let galera = server.facts().await.ok()?.galera?;
            galera.is_fit().then_some(Able { member, server, galera })
        });
    }
    let mut found = Vec::new();
    while let Some(answer) = asked.join_next().await {
        found.extend(answer.ok().flatten());
    }
    found
}

/// The one with the largest weight, of equals the one with the first node uuid: every process names
/// the same.
fn elect(mut able: Vec<Able>, shard: &Shard, wanted: Option<&str>) -> Result<Able, Error> {
    let fail = |why: &str| {
        Err(Error::Server(format!("no node of shard {} gets the writes: {why}", shard.name())))
    };
    let cluster = shard.galera.as_ref().and_then(|g| g.cluster_uuid.clone());
    able.retain(|a| {
        cluster
            .as_ref()
            .is_none_or(|uuid| *uuid == a.galera.cluster_uuid)
    });
    let Some(conf_id) = able.iter().map(|a| a.galera.conf_id).max() else {
        return fail(
            "none that is a replica or spare is synchronised and in the component with the \
                majority",
        );
    };
    let first = able.first().map(|a| a.galera.cluster_uuid.clone());
    if able
        .iter()
        .any(|a| Some(&a.galera.cluster_uuid) != first.as_ref())
    {
        return fail("they are of different clusters");
    }
    able.retain(|a| {
        a.galera.conf_id == conf_id && wanted.is_none_or(|alias| alias == a.member.alias())
    });
    able.sort_by(|a, b| {
        let weight = b.member.weight.cmp(&a.member.weight);
        weight.then_with(|| a.galera.node_uuid.cmp(&b.galera.node_uuid))
    });
    match able.into_iter().next() {
        Some(elected) => Ok(elected),
        None => {
            fail("the wanted one is not synchronised, or not in the component with the majority")
        }
    }
}
