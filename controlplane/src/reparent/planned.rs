//! PlannedReparentShard: the primary is well, and its place is taken in order. Statements wait
//! meanwhile; none fails.
use super::{Desk, Member, PATIENCE, Shard, galera, may_be_named, require_movable};
use crate::Error;
use crate::servers::replication::Server;
use crate::servers::status::Thread;
use std::time::{Duration, Instant};

/// How often it is asked whether the last statement has ended.
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Default)]
pub(crate) struct Planned {
    /// Left out: the replica that is least behind.
    pub(crate) new_primary: Option<String>,
}

impl Planned {
    /// Gives the new primary's alias.
    ///
    /// # Errors
    /// The old one is primary still, and takes writes again; unless the error says otherwise.
    pub(crate) async fn run(&self, desk: &Desk, shard: &Shard) -> Result<String, Error> {
        if shard.galera.is_some() {
            let wanted = self.new_primary.as_deref();
            return galera::switch(desk, shard, wanted, galera::Way::Planned).await;
        }
        let mut old = desk.connect(&shard.primary.tablet).await?;
        require_movable(&mut old).await?;
        let (member, mut new) = self.candidate(desk, shard, &mut old).await?;
        let source = shard.source_of(member)?;
        let begun = Instant::now();
        desk.hold(shard).await?;
        let mut handed = hand_over(desk, shard, &mut old, &mut new).await;
        if handed.is_ok() {
            handed = desk.set_primary(shard, member.alias()).await;
        }
        if let Err(e) = handed {
            if may_be_named(&e) {
                // Nobody takes writes until the topology's store says who is primary; then that one
                // is repaired.
                return Err(e);
            }
            // Nobody else has been named: the old one goes on.
            take_back(desk, shard, old).await?;
            return Err(e);
        }
        // From here on the new one is primary, whatever happens: what fails now is repaired.
        let promoted = match desk.check() {
            Ok(()) => new.promote(shard.semi_sync_with(member.alias())).await,
            lost => lost,
        };
        let released = desk.release(shard).await;
        let ms = begun.elapsed().as_millis();
        tracing::info!(
            shard = shard.name(),
            "{} is primary; statements waited {ms} ms",
            member.alias()
        );
        promoted.and(released)?;
        let acknowledges = shard.acknowledges(crate::topology::Kind::Replica);
        if let Err(e) = old.follow(&source, acknowledges).await {
            tracing::warn!("the old primary does not follow yet, and is repaired: {e}");
        }
        for other in shard.others.iter().filter(|m| m.alias() != member.alias()) {
            let followed = async {
                let mut server = desk.connect(&other.tablet).await?;
                server.follow(&source, shard.acknowledges(other.kind)).await
            };
            if let Err(e) = followed.await {
                tracing::warn!("{} does not follow yet, and is repaired: {e}", other.alias());
            }
        }
        Ok(member.alias().to_owned())
    }

    /// Who is to be promoted: it replicates, and has caught up with what the primary has now.
    async fn candidate<'s>(
        &self,
        desk: &Desk,
        shard: &'s Shard,
        old: &mut Server,
    ) -> Result<(&'s Member, Server), Error> {
        let mut why =
            Error::Config(format!("shard {} has no replica that could be promoted", shard.name()));
        for member in shard
            .others
            .iter()
            .filter(|m| m.kind.is_candidate() && m.source.is_some())
        {
            if self
                .new_primary
                .as_deref()
                .is_some_and(|wanted| wanted != member.alias())
            {
                continue;
            }
            match caught_up(desk, member, old).await {
                Ok(server) => return Ok((member, server)),
                Err(e) => why = e,
            }
        }
        match &self.new_primary {
            Some(alias) if alias == shard.primary.alias() => {
                Err(Error::Config(format!("{alias} is the primary already")))
            }
            Some(alias) if !shard.others.iter().any(|m| m.alias() == alias) => {
                Err(Error::Config(format!("{alias} is no tablet of shard {}", shard.name())))
            }
            _ => Err(why),
        }
    }
}

async fn caught_up(desk: &Desk, member: &Member, old: &mut Server) -> Result<Server, Error> {
    let mut server = desk.connect(&member.tablet).await?;
    let facts = server.facts().await?;
    let replicates = facts
        .replication
        .is_some_and(|r| r.receiver == Thread::Running && r.applier);
    if !replicates {
        return Err(Error::Config(format!(
            "{} does not replicate: it cannot be promoted in order",
            member.alias()
        )));
    }
    if let Some(position) = old.facts().await?.position {
        server.wait_for(&position, desk.catch_up).await?;
    }
    Ok(server)
}

/// The old primary takes writes again, and statements go on. On a connection of its own: a
/// statement on the other may have no answer yet.
async fn take_back(desk: &Desk, shard: &Shard, old: Server) -> Result<(), Error> {
    drop(old);
    let undone = async {
        desk.connect(&shard.primary.tablet)
            .await?
            .set_read_only(false)
            .await
    };
    let undone = undone.await;
    desk.release(shard).await?;
    undone
}

/// Statements wait. Those that run end, or are ended; then the new one gets all of it.
async fn hand_over(
    desk: &Desk,
    shard: &Shard,
    old: &mut Server,
    new: &mut Server,
) -> Result<(), Error> {
    let alias = shard.primary.alias();
    let end = Instant::now() + desk.drain;
    while desk.in_use(alias).await? > 0 && Instant::now() < end {
        tokio::time::sleep(POLL).await;
    }
    // Transactions that are still open end here: their servers roll them back.
    let killed = old.kill_sessions().await?;
    desk.cut(alias).await?;
    if killed > 0 {
        tracing::info!(shard = shard.name(), "{killed} connections to {alias} were closed");
    }
    old.set_read_only(true).await?;
    desk.repel(old).await?;
    let position = old.last_position().await?;
    new.wait_for(&position, desk.catch_up.max(PATIENCE)).await
}
