//! A server of ours that has gone astray is made anew: MySQL's by CLONE from its primary; MariaDB's
//! begins with no data, and replays all that its primary has logged since its own beginning. It is
//! drained meanwhile. Beside everything else, because it may take long; what fails is tried again,
//! after a pause that grows.
use super::{Desk, Member, Shard};
use crate::Error;
use crate::plane::Edit;
use crate::servers::dialect::Dialect;
use crate::topology::Kind;
use std::time::{Duration, Instant};

/// Copying a primary's data may take so long.
const CLONE_MAX: Duration = Duration::from_secs(3_600);
/// The server starts again on what it has copied within this time.
const BACK_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// It follows its primary, as of `kind`, when this returns without an error.
pub(crate) async fn anew(desk: &Desk, shard: &Shard, alias: &str, kind: Kind) -> Result<(), Error> {
    let found = shard.others.iter().find(|m| m.alias() == alias);
    let member = found.ok_or_else(|| {
        Error::Config(format!("{alias} is the shard's primary, or none of its tablets"))
    })?;
    let mut primary = desk.connect(&shard.primary.tablet).await?;
    match primary.facts().await?.dialect() {
        Dialect::MySql => {
            let source = shard.source_of(&shard.primary)?;
            let mut server = desk.connect(&member.tablet).await?;
            server.clone_from(&source, CLONE_MAX).await?;
        }
        Dialect::MariaDb => {
            primary.require_all_logs().await?;
            desk.fence.renew(alias, BACK_MAX).await?;
        }
    }
    let end = Instant::now() + BACK_MAX;
    while let Err(e) = is_back(desk, shard, member).await {
        if Instant::now() >= end {
            return Err(e);
        }
        tokio::time::sleep(POLL).await;
    }
    desk.edit(shard, Edit::SetKind(alias.to_owned(), kind))
        .await
}

/// It answers, and has nothing that the primary has not.
async fn is_back(desk: &Desk, shard: &Shard, member: &Member) -> Result<(), Error> {
    let own = desk.connect(&member.tablet).await?.applied().await?;
    let primary = desk.connect(&shard.primary.tablet).await?.applied().await?;
    match primary.covers(&own) {
        true => Ok(()),
        false => Err(Error::Server(format!("it is at {own}"))),
    }
}
