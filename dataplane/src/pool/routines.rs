//! Which stored functions, triggers and views of a server can leave something behind on their
//! connection: user variables, temporary tables, settings. A statement that mentions none of them
//! costs nothing; after one that does, the connection is its session's, and is reset before another
//! session uses it.
use super::backend::Backend;
use super::tablet::TabletPool;
use crate::core::Core;
use crate::error::BackendError;
use ahash::AHashSet;
use coregate_planner::mention;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// What was made on the server itself, behind our back, is seen after so long.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(10);
/// Rounds in which routines are found that call routines; deeper, all count.
const ROUNDS_MAX: usize = 8;
/// Of the names in a question, in bytes; with more, all count.
const NAMES_MAX: usize = 16 << 10;

/// What a body must hold to leave something behind. Too much is found rather than too little: a
/// comment counts, too.
const LEAVES: &str = "@|temporary|_lock|call|execute|prepare|last_insert_id|(set|,) \
    *(session|local|global|names|character|charset|password|role|statement|transaction)|\
    (sql_|time_zone|_mode|charset|character_set|collation|autocommit|tx_|\
    transaction_|_checks|timestamp|insert_id|rand_seed|_timeout|_size|_switch|_limit|_increment|\
    _offset|completion_type|lc_|foreign_key)[a-z_]* *:?=";

/// The same of views, whose bodies the server writes: they take locks, and set LAST_INSERT_ID().
const VIEW_LEAVES: &str = "(get|release|release_all)_locks? *[(]|last_insert_id *[(] *[^ )]";

#[derive(Default)]
pub(crate) struct Routines {
    known: Cell<Option<u32>>,
    read: Cell<Option<Instant>>,
    marked: RefCell<Marked>,
    any: Cell<bool>,
    /// Somebody is asking; the others wait for that answer.
    reading: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    /// The next connection that comes back is asked on.
    wanted: Cell<bool>,
}

/// Somebody asks the server, until this is dropped.
struct Reading<'r> {
    routines: &'r Routines,
    core: &'r Core,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.routines.reading.set(false);
        for waker in self.routines.waiting.take() {
            self.core.ring.wake(waker);
        }
    }
}

#[derive(Default)]
struct Marked {
    all: bool,
    names: AHashSet<u64>,
}

impl Routines {
    /// Is what is known as of this count of schema changes?
    #[inline]
    pub(crate) fn is_current(&self, changes: u32) -> bool {
        self.known.get() == Some(changes)
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// Can a statement with these names have left something behind?
    #[inline]
    pub(crate) fn concern(&self, names: &[u64]) -> bool {
        self.any.get() && self.mentioned(names)
    }

    #[cold]
    fn mentioned(&self, names: &[u64]) -> bool {
        let marked = self.marked.borrow();
        marked.all
            || names
                .iter()
                .any(|name| *name == mention::ANY || marked.names.contains(name))
    }

    pub(super) fn is_old(&self, now: Instant) -> bool {
        let old = |read: Instant| now.saturating_duration_since(read) > AGE_MAX;
        self.read.get().is_some_and(old)
    }

    /// The next statement asks anew.
    pub(super) fn forget(&self) {
        self.known.set(None);
    }

    /// Makes sure that what is known is as of now: asks the server, or waits for the answer to
    /// somebody who has asked. A crowd that asks all at once would keep the server from everything
    /// else. `anew`: also what is known is asked for.
    pub(crate) async fn ensure(
        &self,
        core: &Core,
        backend: &mut Backend,
        anew: bool,
    ) -> Result<(), BackendError> {
        loop {
            let changes = core.routine_changes();
            if self.is_current(changes) && !anew {
                return Ok(());
            }
            if !self.reading.replace(true) {
                let _reading = Reading { routines: self, core };
                return self.read(core, backend, changes).await;
            }
            let mut waits = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut waits, true) && !self.reading.get() {
                    return Poll::Ready(());
                }
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }

    /// Asks the server. A refusal means that nothing is known, so that every statement counts.
    async fn read(
        &self,
        core: &Core,
        backend: &mut Backend,
        changes: u32,
    ) -> Result<(), BackendError> {
        let marked = match find(core, backend).await {
            Ok(marked) => marked,
            Err(e @ BackendError::Refused { .. }) => {
                tracing::warn!(
                    "cannot tell which routines and triggers leave something behind on {}: {e}; \
                        every statement counts as one",
                    backend.pool.tablet.alias
                );
                Marked { all: true, names: AHashSet::new() }
            }
            Err(e) => return Err(e),
        };
        self.any.set(marked.all || !marked.names.is_empty());
        *self.marked.borrow_mut() = marked;
        self.known.set(Some(changes));
        self.read.set(Some(core.ring.now()));
        Ok(())
    }
}

async fn find(core: &Core, backend: &mut Backend) -> Result<Marked, BackendError> {
    let mut found: Vec<Vec<u8>> = backend.column(core, &question(LEAVES, VIEW_LEAVES)).await?;
    let mut round = 0;
    let mut newest = found.clone();
    while !newest.is_empty() {
        round += 1;
        let plain = |name: &Vec<u8>| {
            name.iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
        };
        let length: usize = newest.iter().map(Vec::len).sum();
        if round > ROUNDS_MAX || length > NAMES_MAX || !newest.iter().all(plain) {
            return Ok(Marked { all: true, names: AHashSet::new() });
        }
        let names: Vec<String> = newest
            .iter()
            .map(|name| String::from_utf8_lossy(name).replace('$', "[$]"))
            .collect();
        let mention = format!("(^|[^a-z0-9_$])({})([^a-z0-9_$]|$)", names.join("|"));
        let more = backend.column(core, &question(&mention, &mention)).await?;
        newest = more
            .into_iter()
            .filter(|name| !found.contains(name))
            .collect();
        found.extend(newest.iter().cloned());
    }
    Ok(Marked { all: false, names: found.iter().map(|name| mention::hash(name)).collect() })
}

/// Names of functions, of tables with triggers, and of views, whose bodies match.
fn question(pattern: &str, views: &str) -> String {
    format!(
        "SELECT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = \
            'FUNCTION' \
         AND ROUTINE_SCHEMA NOT IN ('sys', 'mysql') \
         AND (ROUTINE_DEFINITION IS NULL OR LOWER(ROUTINE_DEFINITION) REGEXP '{pattern}') \
         UNION SELECT LOWER(EVENT_OBJECT_TABLE) FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA NOT IN ('sys', 'mysql') AND LOWER(ACTION_STATEMENT) REGEXP \
         '{pattern}' \
         UNION SELECT LOWER(TABLE_NAME) FROM information_schema.VIEWS \
         WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql') \
         AND (VIEW_DEFINITION = '' OR LOWER(VIEW_DEFINITION) REGEXP '{views}')"
    )
}

/// Reads again, in the background, what is old: on a connection that rests, or on the next that
/// comes back. Until then, statements go by what is known.
pub(crate) fn refresh(core: &Rc<Core>, pool: &Rc<TabletPool>) {
    let routines = &pool.routines;
    if !routines.is_old(core.ring.now()) || routines.reading.get() {
        return;
    }
    match pool.borrow_resting() {
        Some(backend) => ask_on(core, pool, backend),
        None => routines.wanted.set(true),
    }
}

/// Asks in the background, and gives the connection back.
#[cold]
pub(super) fn ask_on(core: &Rc<Core>, pool: &Rc<TabletPool>, mut backend: Box<Backend>) {
    pool.routines.wanted.set(false);
    core.ring.mark_runnable();
    let (core, pool) = (Rc::clone(core), Rc::clone(pool));
    crate::executor::spawn(async move {
        let anew = pool.routines.is_old(core.ring.now());
        if pool
            .routines
            .ensure(&core, &mut backend, anew)
            .await
            .is_err()
        {
            pool.routines.forget();
            backend.tainted = true;
        }
        pool.put(&core, backend);
    });
}
