//! EmergencyReparentShard, by order or by itself: the primary is gone, and the replica that has
//! everything takes its place.
use super::elect::{Candidate, elect};
use super::{Desk, Member, PATIENCE, Shard, galera, may_be_named, require_movable};
use crate::Error;
use crate::gtid::Position;
use crate::servers::replication::{Server, Source};
use crate::servers::status::Thread;
use crate::topology::Kind;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A replica that hears of the primary shows it within this time.
const CONFIRM: Duration = Duration::from_millis(1_300);
/// Replicas whose primary sends heartbeats as often as this are only listened to.
const HEARTBEAT_MAX: Duration = Duration::from_millis(1_000);
const POLL: Duration = Duration::from_millis(50);
/// The old primary is asked to stop writing for so long; it is probably gone.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Default)]
pub(crate) struct Emergency {
    pub(crate) new_primary: Option<String>,
    /// Replicas that are given up, with what only they may have.
    pub(crate) ignored: Vec<String>,
    /// By itself: replicas that still reach the primary stop it.
    pub(crate) confirm: bool,
}

/// A replica that can be asked.
struct Reached {
    member: Member,
    server: Server,
}

impl Emergency {
    /// Gives the new primary's alias.
    ///
    /// # Errors
    /// Nobody has been promoted; the topology is as it was. Or somebody has, and is repaired: the
    /// error says so.
    pub(crate) async fn run(&self, desk: &Desk, shard: &Shard) -> Result<String, Error> {
        if shard.galera.is_some() {
            let wanted = self.new_primary.as_deref();
            return galera::switch(desk, shard, wanted, galera::Way::Emergency).await;
        }
        let mut reached = reach(desk, shard).await;
        if reached.is_empty() {
            return Err(Error::Server(format!(
                "no replica of shard {} can be reached",
                shard.name()
            )));
        }
        let begun = Instant::now();
        desk.hold(shard).await?;
        let chosen = match self.choose(desk, shard, &mut reached).await {
            Ok(at) => at,
            Err(e) => {
                for replica in &mut reached {
                    let _ = replica.server.reconnect().await;
                }
                desk.release(shard).await?;
                return Err(e);
            }
        };
        let Reached { member, server: mut new } = reached.swap_remove(chosen);
        if let Err(e) = desk.set_primary(shard, member.alias()).await {
            // Where it is not known who is primary, nobody takes writes until the topology's store
            // says so.
            if !may_be_named(&e) {
                desk.release(shard).await?;
            }
            return Err(e);
        }
        // From here on it is primary, whatever happens: what fails now is repaired.
        let promoted = match desk.check() {
            Ok(()) => new.promote(shard.semi_sync_with(member.alias())).await,
            lost => lost,
        };
        let source = shard.source_of(&member);
        if let Ok(source) = &source {
            // First, because with semi-sync the new primary's commits wait for them.
            follow(&mut reached, shard, source).await;
        }
        let released = desk.release(shard).await;
        let ms = begun.elapsed().as_millis();
        tracing::warn!(
            shard = shard.name(),
            "{} is primary; statements waited {ms} ms",
            member.alias()
        );
        promoted.and(released)?;
        source?;
        Ok(member.alias().to_owned())
    }

    /// Statements wait. The old primary is shut out; then the one that has everything is elected,
    /// and applies it.
    async fn choose(
        &self,
        desk: &Desk,
        shard: &Shard,
        reached: &mut Vec<Reached>,
    ) -> Result<usize, Error> {
        if self.confirm {
            confirm(reached).await?;
        }
        // Nobody is shut out for an election that cannot succeed: the old primary may be alive.
        let mut now = Vec::new();
        for (replica, received) in each(reached, receives).await {
            now.push(self.candidate(&replica.member, received.ok()));
            reached.push(replica);
        }
        self.elect(shard, reached, &mut now)?;
        shut_out(desk, shard).await?;
        let mut candidates = Vec::new();
        for (replica, received) in each(reached, stop_receiving).await {
            if let Err(e) = &received {
                tracing::warn!("{} does not take part: {e}", replica.member.alias());
            }
            candidates.push(self.candidate(&replica.member, received.ok()));
            reached.push(replica);
        }
        let elected = self.elect(shard, reached, &mut candidates)?;
        let place = |alias: &str| reached.iter().position(|r| r.member.alias() == alias);
        let wanted = self.new_primary.as_deref().and_then(place);
        let (Some(best), Some(received)) = (place(&elected.alias), elected.received.clone()) else {
            return Err(Error::Gone);
        };
        let Some(source) = reached.get_mut(best) else { return Err(Error::Gone) };
        let from = shard.source_of(&source.member)?;
        source.server.start_applying().await?;
        source.server.wait_for(&received, desk.catch_up).await?;
        let at = wanted.unwrap_or(best);
        if let Some(new) = reached.get_mut(at).filter(|_| at != best) {
            // What it lacks it gets from the one that has it.
            shard.source_of(&new.member)?;
            new.server
                .follow(&from, shard.acknowledges(new.member.kind))
                .await?;
            new.server.wait_for(&received, desk.catch_up).await?;
        }
        Ok(at)
    }

    /// Of those that were asked, and with what is known of the others.
    fn elect(
        &self,
        shard: &Shard,
        reached: &[Reached],
        candidates: &mut Vec<Candidate>,
    ) -> Result<Candidate, Error> {
        let away = shard
            .others
            .iter()
            .filter(|m| !reached.iter().any(|r| r.member.alias() == m.alias()));
        candidates.extend(away.map(|member| self.candidate(member, None)));
        let cell = shard
            .primary
            .alias()
            .rsplit_once('-')
            .map_or("", |(cell, _)| cell);
        let semi_sync = shard.semi_sync == Some(true);
        elect(candidates, cell, self.new_primary.as_deref(), semi_sync)
            .cloned()
            .map_err(|why| {
                Error::Server(format!("nobody is promoted in shard {}: {why}", shard.name()))
            })
    }

    fn candidate(&self, member: &Member, received: Option<Position>) -> Candidate {
        let alias = member.alias().to_owned();
        let ignored = member.stale || self.ignored.contains(&alias);
        Candidate { alias, kind: member.kind, received, ignored }
    }
}

/// All replicas that answer, asked at the same time.
async fn reach(desk: &Desk, shard: &Shard) -> Vec<Reached> {
    let mut asked = JoinSet::new();
    for member in shard.others.iter().filter(|m| m.reached).cloned() {
        let desk = desk.clone();
        asked.spawn(async move {
            let mut server = desk.connect(&member.tablet).await?;
            require_movable(&mut server).await?;
            Ok::<_, Error>(Reached { member, server })
        });
    }
    let mut reached = Vec::new();
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(replica)) => reached.push(replica),
            Ok(Err(e)) => tracing::warn!("a replica does not take part: {e}"),
            Err(_) => {}
        }
    }
    reached.sort_by(|a, b| a.member.alias().cmp(b.member.alias()));
    reached
}

/// Does something on all replicas at the same time, and gives them back with what came of it.
async fn each<T: Send + 'static, F: Future<Output = (Reached, T)> + Send + 'static>(
    replicas: &mut Vec<Reached>,
    work: impl Fn(Reached) -> F,
) -> Vec<(Reached, T)> {
    let mut tasks = JoinSet::new();
    for replica in replicas.drain(..) {
        tasks.spawn(work(replica));
    }
    let mut done = Vec::new();
    while let Some(result) = tasks.join_next().await {
        done.extend(result.ok());
    }
    done.sort_by(|(a, _), (b, _)| a.member.alias().cmp(b.member.alias()));
    done
}

/// All follow the new primary; who does not is repaired.
async fn follow(reached: &mut Vec<Reached>, shard: &Shard, source: &Source) {
    let one = |mut replica: Reached| {
        let (source, acknowledges) = (source.clone(), shard.acknowledges(replica.member.kind));
        async move {
            let followed = match replica.member.kind {
                Kind::Drained => Ok(()),
                _ => replica.server.follow(&source, acknowledges).await,
            };
            (replica, followed)
        }
    };
    for (replica, followed) in each(reached, one).await {
        if let Err(e) = followed {
            tracing::warn!("{} does not follow yet, and is repaired: {e}", replica.member.alias());
        }
    }
}

async fn receives(mut replica: Reached) -> (Reached, Result<Position, Error>) {
    let facts = replica.server.facts().await;
    let received = facts.and_then(|f| f.received().ok_or(Error::Gone));
    (replica, received)
}

async fn stop_receiving(mut replica: Reached) -> (Reached, Result<Position, Error>) {
    let received = replica.server.stop_receiving().await;
    (replica, received)
}

async fn hears_primary(mut replica: Reached) -> (Reached, Result<bool, Error>) {
    let hears = hears(&mut replica.server).await;
    (replica, hears)
}

/// That we do not reach the primary is not enough: it may be us who are cut off. If a replica still
/// hears of it, it is alive.
async fn confirm(reached: &mut Vec<Reached>) -> Result<(), Error> {
    let mut alive = None;
    for (replica, hears) in each(reached, hears_primary).await {
        match hears {
            Ok(false) => {}
            Ok(true) => alive = Some(replica.member.alias().to_owned()),
            Err(e) => {
                tracing::warn!("{} cannot be asked about the primary: {e}", replica.member.alias())
            }
        }
        reached.push(replica);
    }
    match alive {
        None => Ok(()),
        Some(alias) => {
            Err(Error::Server(format!("the replica {alias} still hears of the primary")))
        }
    }
}

/// Events and heartbeats come while the primary is alive. Where heartbeats are rare, the replica
/// connects anew instead.
///
/// What has arrived before the primary's end may still be read for a while: only what comes twice,
/// a while apart, is a sign of life.
async fn hears(server: &mut Server) -> Result<bool, Error> {
    let (_, period) = server.heartbeats().await?;
    if period > HEARTBEAT_MAX {
        server.reconnect().await?;
        return comes(server, None).await;
    }
    for _ in 0..2 {
        let (beats, _) = server.heartbeats().await?;
        let read_to = server.facts().await?.replication.map_or(0, |r| r.read_to);
        if !comes(server, Some((beats, read_to))).await? {
            return Ok(false);
        }
        tokio::time::sleep(CONFIRM / 2).await;
    }
    Ok(true)
}

/// Does anything come, since so many heartbeats and this place in the log? `None`: does it connect?
async fn comes(server: &mut Server, since: Option<(u64, u64)>) -> Result<bool, Error> {
    let end = Instant::now() + CONFIRM;
    loop {
        let replication = server.facts().await?.replication.unwrap_or_default();
        let running = replication.receiver == Thread::Running;
        let heard = match since {
            Some((beats, read_to)) => {
                running && (replication.read_to != read_to || server.heartbeats().await?.0 != beats)
            }
            None => running,
        };
        // It has tried to connect, and failed.
        let refused = !running && replication.error_code != 0;
        if heard || refused || Instant::now() >= end {
            return Ok(heard);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// No core has a connection to it any more, and it acknowledges nothing to anybody, as far as that
/// can be had.
async fn shut_out(desk: &Desk, shard: &Shard) -> Result<(), Error> {
    let alias = shard.primary.alias();
    desk.cut(alias).await?;
    if desk.fence.stop(alias, PATIENCE).await {
        return Ok(());
    }
    let farewell = async {
        let mut old = Server::connect(&desk.connector, &shard.primary.tablet, FAREWELL).await?;
        old.fence().await
    };
    match farewell.await {
        Ok(()) => tracing::warn!("{alias} was still there; it is read-only now"),
        Err(e) => tracing::info!("the old primary is out of reach, as was to be expected: {e}"),
    }
    Ok(())
}
