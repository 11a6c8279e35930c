//! A server of ours that has gone astray is made anew from its primary, by MySQL's CLONE. It is drained meanwhile. Beside everything
//! else, because it may take long; what fails leaves it drained.
use super::{Desk, Member, Shard};
use crate::Error;
use crate::plane::Edit;
use crate::servers::replication::Source;
use std::time::{Duration, Instant};

/// Copying a primary's data may take so long.
const CLONE_MAX: Duration = Duration::from_secs(3_600);
/// The server starts again on what it has copied within this time.
const BACK_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// Begins it. `false`: this server is not ours, or cannot.
pub(super) fn begin(desk: &Desk, shard: &Shard, member: &Member) -> bool {
    let (desk, shard, member) = (desk.clone(), shard.clone(), member.clone());
    let Ok(source) = shard.source_of(&shard.primary) else { return false };
    if !desk.fence.owns(member.alias()) {
        return false;
    }
    tokio::spawn(async move {
        let (alias, primary) = (member.alias(), shard.primary.alias());
        match anew(&desk, &shard, &member, &source).await {
            Ok(()) => tracing::info!(tablet = alias, "it was made anew from {primary}"),
            Err(e) => tracing::error!(tablet = alias, "it cannot be made anew and stays drained: {e}"),
        }
    });
    true
}

async fn anew(desk: &Desk, shard: &Shard, member: &Member, source: &Source) -> Result<(), Error> {
    let mut server = desk.connect(&member.tablet).await?;
    server.clone_from(source, CLONE_MAX).await?;
    drop(server);
    let end = Instant::now() + BACK_MAX;
    while let Err(e) = is_back(desk, shard, member).await {
        if Instant::now() >= end {
            return Err(e);
        }
        tokio::time::sleep(POLL).await;
    }
    desk.edit(shard, Edit::SetKind(member.alias().to_owned(), member.kind))
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
