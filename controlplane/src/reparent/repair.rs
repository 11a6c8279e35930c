//! What is set right without moving a primary.
use super::{Desk, Member, Shard, require_movable};
use crate::Error;
use crate::gtid::Set;
use crate::plane::Edit;
use crate::servers::replication::Server;
use crate::topology::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// The server that the topology names becomes writable.
    Primary,
    /// It is read-only, and follows the primary.
    Replica(String),
    /// It connects to its primary anew, and acknowledges from then on.
    Reconnect(String),
    /// It has transactions that the primary has not, and gets no statements until it is made anew.
    Errant(String),
    /// Its primary rolls back an XA branch that it has lost in a crash: there is nothing to do.
    SkipRollback(String),
}

impl Repair {
    /// Gives what is so now.
    pub(crate) async fn run(&self, desk: &Desk, shard: &Shard) -> Result<String, Error> {
        match self {
            Self::Primary => {
                let mut server = desk.connect(&shard.primary.tablet).await?;
                require_movable(&mut server).await?;
                let alias = shard.primary.alias();
                if shard.galera.is_some() {
                    server.set_read_only(false).await?;
                    return Ok(format!("{alias} takes writes"));
                }
                server.promote(shard.semi_sync_with(alias)).await?;
                Ok(format!("{alias} takes writes"))
            }
            Self::Replica(alias) => replica(desk, shard, member(shard, alias)?).await,
            Self::SkipRollback(alias) => {
                let mut server = desk.connect(&member(shard, alias)?.tablet).await?;
                server.skip_event("'XA ROLLBACK ").await?;
                Ok(format!("{alias} goes on behind the end of a branch that it does not have"))
            }
            Self::Reconnect(alias) => {
                let member = member(shard, alias)?;
                let mut server = desk.connect(&member.tablet).await?;
                server
                    .acknowledge_anew(shard.acknowledges(member.kind) == Some(true))
                    .await?;
                Ok(format!("{alias} has connected to {} anew", shard.primary.alias()))
            }
            Self::Errant(alias) => errant(desk, shard, member(shard, alias)?).await,
        }
    }
}

fn member<'s>(shard: &'s Shard, alias: &str) -> Result<&'s Member, Error> {
    let found = shard.others.iter().find(|m| m.alias() == alias);
    found.ok_or_else(|| Error::Config(format!("{alias} is no tablet of the shard any more")))
}

async fn replica(desk: &Desk, shard: &Shard, member: &Member) -> Result<String, Error> {
    let (alias, mut server) = (member.alias(), desk.connect(&member.tablet).await?);
    require_movable(&mut server).await?;
    if member.kind == Kind::Drained {
        if server.facts().await?.is_writable() {
            server.fence().await?;
        }
        if shard.semi_sync.is_some() {
            server.stop_acknowledging().await?;
        }
        return Ok(format!("{alias} is read-only and acknowledges nothing"));
    }
    let source = shard.source_of(&shard.primary)?;
    if server.facts().await?.is_writable() {
        server.fence().await?;
    }
    if let Some(beyond) = beyond_primary(desk, shard, &mut server).await? {
        return astray(desk, shard, member, server, Some(beyond)).await;
    }
    server
        .follow(&source, shard.acknowledges(member.kind))
        .await?;
    Ok(format!("{alias} follows {}", shard.primary.alias()))
}

async fn errant(desk: &Desk, shard: &Shard, member: &Member) -> Result<String, Error> {
    let mut server = desk.connect(&member.tablet).await?;
    let facts = server.facts().await?;
    // What is seen from afar may be of different times: asked in this order, it is certain.
    // MariaDB's replication says so itself.
    let beyond = beyond_primary(desk, shard, &mut server).await?;
    if beyond.is_none() && facts.server_uuid.is_some() {
        return Ok(format!(
            "{} has nothing that {} has not",
            member.alias(),
            shard.primary.alias()
        ));
    }
    astray(desk, shard, member, server, beyond).await
}

/// What this server has and the primary has not: its own set is taken first, so that the primary
/// has had time to commit all that may have come from it. `None`: nothing, or its positions do not
/// tell.
async fn beyond_primary(
    desk: &Desk,
    shard: &Shard,
    server: &mut Server,
) -> Result<Option<Set>, Error> {
    let own = server.applied().await?;
    let primary = desk.connect(&shard.primary.tablet).await?.applied().await?;
    Ok(own.beyond(&primary).filter(|beyond| !beyond.is_empty()))
}

async fn astray(
    desk: &Desk,
    shard: &Shard,
    member: &Member,
    mut server: Server,
    beyond: Option<Set>,
) -> Result<String, Error> {
    let alias = member.alias();
    let what = beyond.map_or_else(
        || "its history is not the primary's".to_owned(),
        |set| format!("it has transactions that {} has not: {set}", shard.primary.alias()),
    );
    let facts = server.facts().await?;
    if facts.is_writable() {
        server.fence().await?;
    }
    // What it acknowledged would count, and could never be promoted.
    server.leave().await?;
    desk.edit(shard, Edit::SetKind(alias.to_owned(), Kind::Drained))
        .await?;
    let anew = if desk.fence.mark(alias, member.kind) { "; it is made anew" } else { "" };
    Ok(format!("{alias} is drained: {what}{anew}"))
}
