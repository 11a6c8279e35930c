//! What is set right without moving a primary.
use super::{Desk, Shard, require_mariadb};
use crate::Error;
use crate::topology::Kind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// The server that the topology names becomes writable.
    Primary,
    /// It is read-only, and follows the primary.
    Replica(String),
}

impl Repair {
    /// Gives what is so now.
    pub(crate) async fn run(&self, desk: &Desk, shard: &Shard) -> Result<String, Error> {
        match self {
            Self::Primary => {
                let mut server = desk.connect(&shard.primary.tablet).await?;
                require_mariadb(&mut server).await?;
                let alias = shard.primary.alias();
                server.promote(shard.semi_sync_with(alias)).await?;
                Ok(format!("{alias} takes writes"))
            }
            Self::Replica(alias) => {
                let Some(member) = shard.others.iter().find(|m| m.alias() == alias) else {
                    return Err(Error::Config(format!("{alias} is no tablet of the shard any more")));
                };
                let mut server = desk.connect(&member.tablet).await?;
                require_mariadb(&mut server).await?;
                if member.kind == Kind::Drained {
                    server.set_read_only(true).await?;
                    return Ok(format!("{alias} is read-only"));
                }
                let source = shard.source_of(&shard.primary)?;
                server
                    .follow(&source, shard.acknowledges(member.kind))
                    .await?;
                Ok(format!("{alias} follows {}", shard.primary.alias()))
            }
        }
    }
}
