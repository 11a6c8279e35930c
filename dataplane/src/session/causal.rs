//! Reading from replicas what the session has written, and never what is older than it has seen:
//! `read_after_write_timeout`, as Vitess names it, or `replicas.read_after_write_ms` for all
//! sessions.
//!
//! Before it reads from a replica, a session that has been on the shard's primary asks that one how
//! far it is, and the replica to get there. What takes longer than the time is read from the
//! primary. A session that stays on its replica does not wait again.
use super::buffering::Use;
use super::{Outcome, Session};
use crate::error::{BackendError, sql_error};
use crate::pool::{Backend, Kind, Place, TabletPool};
use coregate_planner::identity::ShardId;
use smallvec::SmallVec;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of a position that is waited for. Sets of MySQL that are larger have hundreds of thousands
/// of gaps.
const POSITION_MAX: usize = 1 << 20;
/// ER_UNKNOWN_SYSTEM_VARIABLE
const UNKNOWN_VARIABLE: u16 = 1193;

pub(super) struct Causal {
    timeout: Duration,
    /// What the client itself wants the replicas to have.
    wanted: Option<String>,
    /// The command that waits, by its beginning, and how long it may: for all of its shards
    /// together.
    waits: Option<(Instant, Instant)>,
    /// Counted up by whatever the session does on primaries.
    seen: u64,
    shards: SmallVec<[Reached; 1]>,
}

/// How far a replica is known to be.
struct Reached {
    shard: ShardId,
    seen: u64,
    position: String,
    replica: Option<Rc<TabletPool>>,
}

impl Causal {
    pub(super) fn of(timeout: Duration) -> Option<Box<Self>> {
        let on = !timeout.is_zero();
        on.then(|| {
            Box::new(Self { timeout, wanted: None, waits: None, seen: 0, shards: SmallVec::new() })
        })
    }

    /// Who knows what the session has seen.
    #[cold]
    pub(super) fn forget(&mut self) {
        self.seen += 1;
    }

    fn has_reached(&self, shard: ShardId, pool: &Rc<TabletPool>) -> bool {
        let same = |r: &Reached| {
            r.shard == shard
                && r.seen == self.seen
                && r.replica.as_ref().is_some_and(|p| Rc::ptr_eq(p, pool))
        };
        self.shards.iter().any(same)
    }

    /// What a replica must have, if the primary was asked since the session was there.
    fn position(&self, shard: ShardId) -> Option<String> {
        let known = self
            .shards
            .iter()
            .find(|r| r.shard == shard && r.seen == self.seen)?;
        // A replica that takes another's place must have all that this one had, which may be more.
        known.replica.is_none().then(|| known.position.clone())
    }

    fn note(&mut self, shard: ShardId, position: String, replica: Option<Rc<TabletPool>>) {
        self.shards.retain(|r| r.shard != shard);
        self.shards
            .push(Reached { shard, seen: self.seen, position, replica });
    }
}

impl Session {
    /// Of a session that has SET nothing yet.
    pub(super) fn fresh_causal(&self) -> Option<Box<Causal>> {
        Causal::of(Duration::from_millis(self.core.config().read_after_write_ms))
    }

    /// Something has come to its end at a place: what is seen or done on a primary, replicas must
    /// have.
    #[cold]
    pub(super) fn note_visit(&mut self, place: Place) {
        if let Some(causal) = &mut self.reads.causal
            && !place.is_replica()
        {
            causal.seen += 1;
        }
    }

    /// Must a replica be asked to catch up before it is read from?
    #[cold]
    pub(super) fn is_behind(&self, place: Place, pool: &Rc<TabletPool>) -> bool {
        let (Some(causal), Place::Shard { shard, kind: Kind::Replica | Kind::Rdonly }) =
            (&self.reads.causal, place)
        else {
            return false;
        };
        !causal.has_reached(shard, pool)
    }

    /// A connection to a replica that has what the session has seen; or to the primary.
    pub(super) async fn causal_connection(
        &mut self,
        place: Place,
    ) -> Outcome<(Rc<TabletPool>, Box<Backend>)> {
        let Place::Shard { shard, kind: Kind::Replica | Kind::Rdonly } = place else {
            return Box::pin(self.connection(place, Use::Statement)).await;
        };
        // Before a connection of the replica is taken: nobody waits for one server while he holds
        // another.
        let position = match self.pool_of(place) {
            Some(pool) if self.is_behind(place, &pool) => Some(self.primary_position(shard).await?),
            _ => None,
        };
        let (pool, backend) = Box::pin(self.connection(place, Use::Statement)).await?;
        let primary = Place::Shard { shard, kind: Kind::Primary };
        let is_primary = self
            .core
            .pools
            .get(primary)
            .is_some_and(|p| Rc::ptr_eq(&p, &pool));
        if is_primary {
            // What is seen there may be newer than what any replica was asked for.
            self.note_visit(primary);
            return Ok((pool, backend));
        }
        if !self.is_behind(place, &pool) {
            return Ok((pool, backend));
        }
        // Another replica was chosen meanwhile: it is asked for as much.
        let position = match position {
            Some(position) => position,
            None => self.primary_position(shard).await?,
        };
        if let Some(backend) = self.catches_up(backend, &position).await? {
            if let Some(causal) = &mut self.reads.causal {
                causal.note(shard, position, Some(Rc::clone(&pool)));
            }
            return Ok((pool, backend));
        }
        self.core.metrics().causal_fallbacks.add(1);
        self.note_visit(primary);
        Box::pin(self.connection_for(place, primary, Use::Statement)).await
    }

    /// How far a shard's primary is now.
    async fn primary_position(&mut self, shard: ShardId) -> Outcome<String> {
        if let Some(position) = self.reads.causal.as_ref().and_then(|c| c.position(shard)) {
            return Ok(position);
        }
        let place = Place::Shard { shard, kind: Kind::Primary };
        let (pool, mut backend) = Box::pin(self.connection(place, Use::Finish)).await?;
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let asking = position_of(&core, &mut backend);
        let position = Self::unless_interrupted(&handle, asking).await;
        let position = match position {
            Ok(Ok(position)) => position,
            Ok(Err(e)) => return Err(self.lose(backend, e.into())),
            Err(failure) => return Err(self.lose(backend, failure)),
        };
        pool.put(&core, backend);
        if let Some(causal) = &mut self.reads.causal {
            causal.note(shard, position.clone(), None);
        }
        Ok(position)
    }

    /// Waits on a replica. `None`: it takes too long; the connection has been given back.
    async fn catches_up(
        &mut self,
        mut backend: Box<Backend>,
        position: &str,
    ) -> Outcome<Option<Box<Backend>>> {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let Some(causal) = &mut self.reads.causal else { return Ok(Some(backend)) };
        let (command, now) = (handle.since.get(), core.ring.now());
        let until = match causal.waits {
            Some((known, until)) if known == command => until,
            _ => now + causal.timeout,
        };
        causal.waits = Some((command, until));
        let wanted = causal.wanted.clone();
        for position in [Some(position.to_owned()), wanted].into_iter().flatten() {
            let left = until.saturating_duration_since(core.ring.now());
            let waiting = wait_for(&core, &mut backend, &position, left);
            match Self::unless_interrupted(&handle, waiting).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false) | Err(BackendError::Refused { .. })) => {
                    let pool = Rc::clone(&backend.pool);
                    pool.put(&core, backend);
                    return Ok(None);
                }
                Ok(Err(e)) => return Err(self.lose(backend, e.into())),
                Err(failure) => return Err(self.lose(backend, failure)),
            }
        }
        Ok(Some(backend))
    }

    /// `SET read_after_write_timeout = seconds`, `SET read_after_write_gtid = 'position'`.
    pub(super) fn set_read_after_write(&mut self, name: &str, value: &str) -> Outcome {
        let value = value.trim().trim_matches(['\'', '"']);
        let default = Duration::from_millis(self.core.config().read_after_write_ms);
        match name {
            "read_after_write_timeout" => {
                let timeout = match value {
                    "" => default,
                    seconds => match seconds.parse::<f64>() {
                        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => {
                            Duration::from_secs_f64(seconds)
                        }
                        _ => {
                            let message = format!(
                                "Variable 'read_after_write_timeout' can't be set to the value of \
                                    '{value}'"
                            );
                            return Err(sql_error(1231, message).into());
                        }
                    },
                };
                let wanted = self.reads.causal.take().and_then(|c| c.wanted);
                self.reads.causal =
                    Causal::of(timeout).map(|causal| Box::new(Causal { wanted, ..*causal }));
            }
            "read_after_write_gtid" => {
                if !is_position(value) && !value.is_empty() {
                    let message = format!(
                        "Variable 'read_after_write_gtid' can't be set to the value of '{value}'"
                    );
                    return Err(sql_error(1231, message).into());
                }
                let Some(causal) = &mut self.reads.causal else {
                    if value.is_empty() {
                        return Ok(());
                    }
                    let message = "set read_after_write_timeout first: how many seconds a replica \
                        may take to get there";
                    return Err(sql_error(1231, message).into());
                };
                causal.wanted = Some(value.to_owned()).filter(|v| !v.is_empty());
                causal.seen += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

/// It goes into a statement's text: it is nothing but a position.
fn is_position(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_hexdigit() || b"-:,".contains(&b);
    !text.is_empty() && text.len() <= POSITION_MAX && text.bytes().all(known)
}

async fn position_of(
    core: &crate::core::Core,
    backend: &mut Backend,
) -> Result<String, BackendError> {
    let position = match backend.value(core, "SELECT @@global.gtid_binlog_pos").await {
        Err(BackendError::Refused { code: UNKNOWN_VARIABLE, .. }) => {
            backend.value(core, "SELECT @@global.gtid_executed").await
        }
        found => found,
    };
    // MySQL breaks its lines.
    let text = position?.unwrap_or_default();
    Ok(text.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

async fn wait_for(
    core: &crate::core::Core,
    backend: &mut Backend,
    position: &str,
    time: Duration,
) -> Result<bool, BackendError> {
    // Without GTIDs nobody can tell.
    if !is_position(position) {
        return Ok(false);
    }
    let function =
        if position.contains(':') { "WAIT_FOR_EXECUTED_GTID_SET" } else { "MASTER_GTID_WAIT" };
    let sql = format!("SELECT {function}('{position}', {:.3})", time.as_secs_f64());
    Ok(backend.value(core, &sql).await?.as_deref() == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_go_into_a_text() {
        for good in ["0-13320-12", "0-1-5,7-3-9", "4f49185b-ea75-11f1-8072-02fc00000001:1-3:5"] {
            assert!(is_position(good), "{good}");
        }
        for bad in ["", "0-1-5'", "x", "0-1-5) or 1 --", "0 1"] {
            assert!(!is_position(bad), "{bad}");
        }
    }

    #[test]
    fn nobody_waits_who_has_not_been_elsewhere() {
        let mut causal = Causal::of(Duration::from_secs(1)).expect("on");
        let shard = ShardId(3);
        assert!(causal.position(shard).is_none() && Causal::of(Duration::ZERO).is_none());
        causal.note(shard, "0-1-5".into(), None);
        assert_eq!(causal.position(shard).as_deref(), Some("0-1-5"));
        causal.seen += 1;
        assert!(causal.position(shard).is_none(), "the session has been on the primary since");
    }
}
