//! What it means when a statement cannot be finished on a connection: stopped, timed out, or its
//! server lost. One function, [`Session::lose`], decides what the loss of a connection means for
//! the client.
use super::answer::{Answer, Done};
use super::{Failure, Interrupt, Outcome, Session};
use crate::core::Core;
use crate::error::sql_error;
use crate::pool::{Backend, Place, kill_query};
use coregate_planner::control::SqlError;
use coregate_protocol::walker::Summary;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// A killed statement must have ended after so long; else its connection counts as lost.
pub(super) const STOP_MAX: Duration = Duration::from_millis(2_000);

impl Session {
    /// Has the client something to lose with this connection: its part of a transaction, or state
    /// that cannot be made again?
    pub(super) fn has_stake_in(&self, backend: &Backend) -> bool {
        self.transaction.pinned || self.takes_part(backend)
    }

    fn takes_part(&self, backend: &Backend) -> bool {
        let own = self.transaction.is_own();
        !own && (!self.state.autocommit || backend.in_transaction || self.in_transaction())
    }

    /// A connection cannot be used any more. If the client's transaction hung on it, the
    /// transaction ends here on every shard: the other connections are closed, on which their
    /// servers roll back, and the client is told so and disconnected. It must not go on as if the
    /// transaction were still open, and COMMIT must not find a part of it.
    #[cold]
    pub(super) fn lose(&mut self, mut backend: Box<Backend>, failure: Failure) -> Failure {
        let (in_transaction, has_stake) = (self.takes_part(&backend), self.has_stake_in(&backend));
        let in_xa = self.transaction.is_xa();
        if let Some(causal) = &mut self.reads.causal {
            causal.forget();
        }
        if backend.busy && backend.is_connected() {
            self.core.metrics().orphans_killed.add(1);
            let (core, pool) = (Rc::clone(&self.core), Rc::clone(&backend.pool));
            crate::executor::spawn(kill_query(core, pool, backend.thread_id, true));
            self.core.ring.mark_runnable();
        }
        if !backend.is_connected() {
            backend.pool.suspect(&self.core);
        }
        backend.tainted = true;
        drop(backend);
        if !has_stake {
            return failure;
        }
        self.drop_held();
        match failure {
            Failure::Sql(mut error) => {
                error.message.push_str(if in_xa {
                    "; whether the XA transaction is prepared or has ended is unknown (XA RECOVER \
                     tells), and the session ends"
                } else if in_transaction {
                    "; the transaction was rolled back on every shard, and the session ends"
                } else {
                    "; what the session had set up on that server is gone, and the session ends"
                });
                Failure::Fatal(error)
            }
            other => other,
        }
    }

    /// Closes every connection that the session holds: their servers roll back and forget.
    #[cold]
    pub(super) fn drop_held(&mut self) {
        self.transaction.held.clear();
        self.transaction.clear();
        self.transaction.locked = false;
        self.transaction.pinned = false;
        self.transaction.forget_xa();
        self.client.handle.in_transaction.set(false);
    }

    /// A statement failed on this side while its server still owed the answer, or part of it. Where
    /// the client has something to lose, the server is made to stop, and the connection lives on;
    /// else the connection is closed.
    #[cold]
    pub(super) async fn give_up(
        &mut self,
        place: Place,
        mut backend: Box<Backend>,
        failure: Failure,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        if !backend.busy {
            self.keep_or_return(place, backend);
            return Err(failure);
        }
        let told = matches!(failure, Failure::Sql(_));
        if !told || !self.has_stake_in(&backend) || !backend.is_connected() {
            return Err(self.lose(backend, failure));
        }
        let core = Rc::clone(&self.core);
        let stopped = stop(&core, vec![&mut backend]).await;
        let Some(summary) = stopped.into_iter().next().flatten() else {
            return Err(self.lose(backend, failure));
        };
        self.keep_or_return(place, backend);
        if summary.error.is_some() || summary.columns > 0 {
            return Err(failure);
        }
        // It was done before it could be stopped.
        let done = Done {
            affected_rows: summary.affected_rows,
            last_insert_id: summary.last_insert_id,
            ..Done::default()
        };
        self.send_ok(answer, done);
        Ok(summary)
    }
}

/// Stops what these servers do for a session: KILL QUERY on each, then their answers are read to
/// the end and dropped. In their order; `None`: the answer could not be had, the connection is
/// lost.
#[cold]
pub(super) async fn stop(core: &Rc<Core>, backends: Vec<&mut Backend>) -> Vec<Option<Summary>> {
    let ended: Vec<Cell<Option<Summary>>> = backends.iter().map(|_| Cell::new(None)).collect();
    let stops = backends.into_iter().zip(&ended).map(|(backend, ended)| {
        let work = async move {
            kill_query(Rc::clone(core), Rc::clone(&backend.pool), backend.thread_id, false).await;
            ended.set(backend.drain().await);
            // The KILL may have come when the statement was over.
            backend.unsure = true;
        };
        Box::pin(work) as Pin<Box<dyn Future<Output = ()> + '_>>
    });
    within(core, STOP_MAX, all(stops.collect())).await;
    ended.into_iter().map(Cell::into_inner).collect()
}

/// Runs all of them at once, until each is done.
pub(super) async fn all(mut work: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    poll_fn(|cx| {
        work.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if work.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs something for so long at most. `None`: it did not end in time.
pub(super) async fn within<T>(
    core: &Core,
    time: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let deadline = core.ring.now() + time;
    let mut armed = crate::timer::Armed::default();
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        core.timers
            .poll_until(cx, core.ring.now(), deadline, &mut armed)
            .map(|()| None)
    })
    .await
}

impl Session {
    /// The same for what must not be left half done: KILL QUERY and time limits come too late for
    /// it.
    pub(super) async fn unless_killed<T>(
        handle: &super::SessionHandle,
        work: impl Future<Output = T>,
    ) -> Outcome<T> {
        let mut work = pin!(work);
        loop {
            match Self::unless_interrupted(handle, work.as_mut()).await {
                Err(Failure::Sql(_)) => {}
                other => return other,
            }
        }
    }

    /// Waits for something of servers, unless the session is asked to stop meanwhile.
    pub(super) async fn unless_interrupted<T>(
        handle: &super::SessionHandle,
        work: impl Future<Output = T>,
    ) -> Outcome<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            handle
                .poll_interrupt(cx)
                .map(|why| Err(stopped(handle, why)))
        })
        .await
    }
}

/// How a statement ends that is stopped on this side.
#[cold]
pub(super) fn stopped(handle: &super::SessionHandle, why: Interrupt) -> Failure {
    match why {
        Interrupt::KillQuery | Interrupt::QueryTimeout => {
            handle.acknowledge();
            Failure::Sql(reason(if handle.was_killed() { Interrupt::KillQuery } else { why }))
        }
        _ => Failure::Fatal(handle.farewell()),
    }
}

fn reason(why: Interrupt) -> SqlError {
    match why {
        Interrupt::QueryTimeout => sql_error(
            3024,
            "Query execution was interrupted, maximum statement execution time exceeded",
        ),
        _ => sql_error(1317, "Query execution was interrupted"),
    }
}
