//! A connection that the session does not have yet: from the primary's pool, its own replica's, or
//! after waiting for a primary that is being replaced.
use super::{Outcome, Session};
use crate::buffer::Ticket;
use crate::error::BackendError;
use crate::pool::{Backend, Kind, Place, TabletPool};
use coregate_planner::serving::Writes;
use coregate_planner::snapshot::TabletKind;
use std::rc::Rc;

/// So often may the servers of a shard change under one statement.
const MOVES_MAX: usize = 16;

/// What the connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Statement,
    /// Finishing a statement over several shards.
    Finish,
}

impl Session {
    /// `None`: no such tablet now.
    #[inline]
    pub(super) fn pool_of(&mut self, place: Place) -> Option<Rc<TabletPool>> {
        let kind = match place {
            Place::DropIn | Place::Shard { kind: Kind::Primary, .. } => {
                return self.core.pools.get(place);
            }
            Place::Shard { kind: Kind::Replica, .. } => TabletKind::Replica,
            Place::Shard { kind: Kind::Rdonly, .. } => TabletKind::Rdonly,
        };
        let Place::Shard { shard, .. } = place else { return None };
        let found = self
            .core
            .pools
            .replica(shard, kind, self.core.id, &mut self.reads.replicas);
        match found {
            None if self.core.config().replicas_else_primary => self.core.pools.get(place),
            found => found,
        }
    }

    /// A connection to a place. Nothing has been sent for the statement yet, so that it may wait,
    /// and try again elsewhere.
    pub(super) async fn connection(
        &mut self,
        place: Place,
        what: Use,
    ) -> Outcome<(Rc<TabletPool>, Box<Backend>)> {
        self.connection_for(place, place, what).await
    }

    /// The same, with the settings of connections to another place, for which it stands.
    pub(super) async fn connection_for(
        &mut self,
        wanted: Place,
        place: Place,
        what: Use,
    ) -> Outcome<(Rc<TabletPool>, Box<Backend>)> {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let mut ticket: Option<Ticket> = None;
        let mut moves = 0;
        loop {
            let seen = core.serving.borrow().version;
            let why = match self.pool_of(place) {
                Some(pool) => {
                    let pool = match what {
                        Use::Statement => pool,
                        Use::Finish => pool.finisher(core.config().finisher_size_per_core),
                    };
                    let settings = self.settings_at(wanted);
                    let taken = pool.take(&core, self.state.flavour, &settings);
                    match Self::unless_interrupted(&handle, taken).await? {
                        Ok(backend) => {
                            if let Some(ticket) = ticket {
                                ticket.reached();
                            }
                            return Ok((pool, backend));
                        }
                        Err(why) => why,
                    }
                }
                None => place.missing(),
            };
            let moving = match (core.pools.writes(place), &why) {
                (Writes::Moving, _) => true,
                (Writes::Guarded, BackendError::Unreachable { .. }) => false,
                (_, BackendError::Moved) if moves < MOVES_MAX => {
                    moves += 1;
                    continue;
                }
                _ => return Err(why.into()),
            };
            if !self.transaction.held.is_empty() {
                return Err(if moving { in_transaction().into() } else { why.into() });
            }
            let Place::Shard { shard, .. } = place else { return Err(why.into()) };
            let waiting = match ticket.take() {
                Some(ticket) => ticket,
                None => match Ticket::take(&core, shard, moving, self.running.request_bytes) {
                    Ok(ticket) => ticket,
                    Err(full) => return Err(if moving { full.into() } else { why.into() }),
                },
            };
            if !Self::unless_interrupted(&handle, waiting.wait(seen, moving)).await? {
                return Err(if moving { too_late().into() } else { why.into() });
            }
            ticket = Some(waiting);
        }
    }
}

#[cold]
fn in_transaction() -> BackendError {
    BackendError::Moving {
        why: "statements of open transactions do not wait for that; roll back and repeat the \
            transaction"
            .into(),
    }
}

#[cold]
fn too_late() -> BackendError {
    BackendError::Moving {
        why: "the statement has waited as long as buffer.window_ms and buffer.max_failover_ms \
            allow; it was not run"
            .into(),
    }
}
