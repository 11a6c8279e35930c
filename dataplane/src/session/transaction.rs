//! Transactions. BEGIN is remembered and sent to a shard with the first statement that goes there.
//! How they end is in `commit`.
use super::answer::{Answer, Done};
use super::atomic::Atomic;
use super::{Failure, Outcome, Session};
use crate::error::{BackendError, sql_error};
use crate::hot_rows::Turn;
use crate::pool::{Backend, Place};
use crate::shares::Share;
use coregate_planner::fold::fold;
use coregate_planner::plan::{AccessMode, Effects, SessionAction};
use smallvec::SmallVec;

type Characteristics = (Option<&'static str>, Option<String>);

/// Errors of a statement that has not come to its tables: what is refused or not known, and what
/// this side says itself.
const BEFORE_TABLES: [u16; 13] = [
    1040,
    1044,
    1046,
    1049,
    1064,
    1105,
    1142,
    1143,
    1146,
    1227,
    1235,
    1305,
    ER_CANT_EXECUTE_IN_READ_ONLY,
];
const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
const ER_CANT_EXECUTE_IN_READ_ONLY: u16 = 1792;

#[derive(Default)]
pub(super) struct Transaction {
    /// The statement that opens it on a shard; `None`: no explicit transaction.
    pub(super) begin: Option<&'static str>,
    /// `SET TRANSACTION ...` for the next one.
    pub(super) next: Option<String>,
    pub(super) savepoints: Vec<String>,
    /// Connections that only this session may use now: in a transaction, or with state that cannot
    /// be replayed.
    pub(super) held: SmallVec<[(Place, Box<Backend>); 1]>,
    /// They hold state that cannot be replayed.
    pub(super) pinned: bool,
    /// The connection whose state must be read before the next statement.
    pub(super) state_at: Option<Place>,
    /// LOCK TABLES holds tables on several shards, which a BEGIN would release.
    pub(super) locked: bool,
    /// The connection that knows what SQL_CALC_FOUND_ROWS has counted.
    pub(super) found_rows_at: Option<Place>,
    /// The last statement was answered with an error.
    pub(super) last_failed: bool,
    /// The first shard that took part.
    pub(super) first: Option<Place>,
    /// Set where others take part as XA branches.
    pub(super) atomic: Option<Box<Atomic>>,
    /// The snapshot is open on all shards that it covers: no other can join it.
    pub(super) has_snapshot: bool,
    /// Where the client has an XA transaction of its own, or has had one.
    pub(super) xa_at: Option<Place>,
    /// Shards whose entries of lookup tables were changed with rows, and how.
    entries: SmallVec<[(Place, EntryChange); 1]>,
    /// Its turn on a row that many change.
    pub(super) hot: Option<Turn>,
    /// Its part of its user's share of the connections.
    pub(super) share: Option<Share>,
    /// Opened by this side, for one statement of a client that is in no transaction.
    own: bool,
    /// It is a snapshot, for one SELECT of a client that is in no transaction.
    reads_snapshot: bool,
    /// Entries of lookup tables were changed with their rows.
    ordered: bool,
}

/// What a transaction has done to entries of lookup tables on one shard, in the order of COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntryChange {
    Added,
    /// None: rows only.
    None,
    Removed,
}

impl Transaction {
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        // With autocommit=0, SAVEPOINT may come before the first statement.
        self.begin.is_some() || !self.savepoints.is_empty()
    }

    /// Has it begun for the client? `SAVEPOINT` alone begins none.
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        self.begin.is_some()
    }

    /// Must the next statement be prepared for, on a connection that was in no transaction yet?
    #[inline]
    pub(super) fn concerns_next(&self) -> bool {
        self.is_open() || self.next.is_some()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.begin.is_some_and(|begin| begin.contains("READ ONLY"))
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        self.begin.is_some_and(|begin| begin.contains("SNAPSHOT"))
    }

    /// Opens one for a single statement on several shards.
    pub(super) fn begin_own(&mut self) {
        self.begin = Some("BEGIN");
        self.own = true;
    }

    /// Opens a snapshot for a single SELECT on several shards.
    pub(super) fn begin_snapshot_read(&mut self) {
        self.begin = Some(SNAPSHOT);
        (self.own, self.reads_snapshot) = (true, true);
    }

    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    #[inline]
    pub(super) fn reads_snapshot(&self) -> bool {
        self.reads_snapshot
    }

    pub(super) fn keep_order(&mut self) {
        self.ordered = true;
    }

    /// Does COMMIT go to one shard after another? A statement by itself is to be there whole or not
    /// at all, which it is if the first shard refuses; and no row may be without its entry.
    pub(super) fn commits_in_order(&self) -> bool {
        self.own || self.ordered
    }

    /// EntryChange of lookup tables have been changed at this place.
    pub(super) fn note_entries(&mut self, place: Place, change: EntryChange) {
        match self.entries.iter_mut().find(|(at, _)| *at == place) {
            Some((_, known)) => *known = (*known).min(change),
            None => self.entries.push((place, change)),
        }
    }

    /// Sorts the connections as COMMIT must go to them: new entries before the rows that they are
    /// of, old ones behind the rows that are gone. Whatever is lost between, no row that is there
    /// is without its entry. Where a transaction has added and removed entries on one shard, either
    /// order could leave such a row.
    pub(super) fn sort_for_commit(&mut self) {
        let entries = &self.entries;
        self.held.sort_by_key(|(place, _)| {
            let change = entries.iter().find(|(at, _)| at == place);
            change.map_or(EntryChange::None, |(_, change)| *change)
        });
    }

    /// The connection that the session keeps at a place; [`Session::keep_or_return`] puts it back.
    pub(super) fn take_at(&mut self, place: Place) -> Option<Box<Backend>> {
        let at = self.held.iter().position(|(held, _)| *held == place)?;
        Some(self.held.swap_remove(at).1)
    }

    pub(super) fn has_xa_at(&mut self, place: Place) {
        self.xa_at = Some(place);
    }

    /// The client has an XA transaction of its own, or has just ended one.
    pub(super) fn is_xa(&self) -> bool {
        self.xa_at.is_some()
    }

    pub(super) fn forget_xa(&mut self) {
        self.xa_at = None;
    }

    /// Takes what SET TRANSACTION said, which [`Transaction::clear`] forgets.
    pub(super) fn take_next(&mut self) -> Option<String> {
        self.next.take()
    }

    pub(super) fn restore_next(&mut self, next: Option<String>) {
        self.next = next;
    }

    pub(super) fn set_next(&mut self, sql: String) {
        self.next = Some(sql);
    }

    /// The form of its BEGIN without a snapshot, and what SET TRANSACTION said.
    fn characteristics(&self) -> Characteristics {
        let begin = self.begin.map(|begin| match begin {
            _ if begin.ends_with("READ ONLY") => "START TRANSACTION READ ONLY",
            _ if begin.ends_with("READ WRITE") => "START TRANSACTION READ WRITE",
            _ => "BEGIN",
        });
        (begin, self.next.clone())
    }

    /// What SET TRANSACTION said is for one transaction, which with autocommit is one statement:
    /// the first that comes to its tables, whether it succeeds there or not. `error` is the
    /// server's.
    #[inline]
    pub(super) fn statement_done(
        &mut self,
        autocommit: bool,
        effects: Effects,
        error: Option<u16>,
    ) {
        if self.next.is_some()
            && autocommit
            && self.begin.is_none()
            && !effects.contains(Effects::NO_TABLES)
            && error.is_none_or(|code| !BEFORE_TABLES.contains(&code))
        {
            self.next = None;
        }
    }

    /// One of our own, in front of a statement that may have to be undone.
    pub(super) fn add_savepoint(&mut self, name: &str) {
        self.savepoints.push(name.to_owned());
    }

    pub(super) fn has_savepoint(&self, name: &str) -> bool {
        self.savepoints.iter().any(|known| known == name)
    }

    pub(super) fn drop_savepoint(&mut self, name: &str) {
        self.savepoints.retain(|known| known != name);
    }

    pub(super) fn clear(&mut self) {
        self.begin = None;
        self.next = None;
        (self.own, self.ordered, self.has_snapshot) = (false, false, false);
        self.reads_snapshot = false;
        (self.first, self.atomic) = (None, None);
        self.entries.clear();
        (self.hot, self.share) = (None, None);
        self.savepoints.clear();
    }
}

impl Session {
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_open()
            || self
                .transaction
                .held
                .iter()
                .any(|(_, backend)| backend.in_transaction)
    }

    /// A transaction that a server has begun by itself (in a routine, a compound statement, a
    /// statement prepared by name) is the session's: shards that join later take part in it.
    pub(super) fn adopt_transaction(&mut self) {
        let begun = |(place, backend): &(Place, Box<Backend>)| {
            backend.in_transaction && self.transaction.xa_at != Some(*place)
        };
        if self.state.autocommit
            && self.transaction.begin.is_none()
            && self.transaction.held.iter().any(begun)
        {
            self.transaction.begin = Some("BEGIN");
        }
    }

    pub(super) async fn transaction_action(
        &mut self,
        action: &SessionAction,
        answer: &mut Answer,
    ) -> Outcome {
        let mut warnings = 0;
        match action {
            SessionAction::Begin { access, consistent_snapshot } => {
                // What SET TRANSACTION said is for the one that begins now.
                let next = self.transaction.next.take();
                self.commit_held().await?;
                self.transaction.next = next;
                self.transaction.begin = Some(begin_text(*access, *consistent_snapshot));
                let spans = *consistent_snapshot && self.needs_one_snapshot();
                if self.transaction.next.is_none() && !spans {
                    self.begin_on_pinned(begin_text(*access, *consistent_snapshot))
                        .await?;
                }
                if *consistent_snapshot {
                    self.open_snapshot().await?;
                }
            }
            SessionAction::Commit { chain, release } => {
                let characteristics = self.transaction.characteristics();
                self.commit_held().await?;
                self.after_end(characteristics, *chain, *release, answer)?;
            }
            SessionAction::Rollback { chain, release } => {
                let characteristics = self.transaction.characteristics();
                warnings = self.rollback_held().await?;
                self.after_end(characteristics, *chain, *release, answer)?;
            }
            SessionAction::Savepoint(name) => {
                self.on_all_held(&format!("SAVEPOINT {}", quoted(name)))
                    .await?;
                if self.in_transaction() || !self.state.autocommit {
                    self.transaction
                        .savepoints
                        .retain(|known| fold(known) != fold(name));
                    self.transaction.savepoints.push(name.clone());
                }
            }
            SessionAction::RollbackTo(name) => {
                let at = self.find_savepoint(name)?;
                self.on_all_held(&format!("ROLLBACK TO {}", quoted(name)))
                    .await?;
                self.transaction.savepoints.truncate(at + 1);
            }
            SessionAction::ReleaseSavepoint(name) => {
                let at = self.find_savepoint(name)?;
                self.on_all_held(&format!("RELEASE SAVEPOINT {}", quoted(name)))
                    .await?;
                self.transaction.savepoints.truncate(at);
            }
            _ => {}
        }
        self.client.handle.in_transaction.set(self.in_transaction());
        let session = self.transaction_report(action);
        self.send_ok(answer, Done { warnings, session: &session, ..Done::default() });
        Ok(())
    }

    /// AND CHAIN begins the next transaction with the isolation and access mode of the one that
    /// ended.
    fn after_end(
        &mut self,
        characteristics: Characteristics,
        chain: Option<bool>,
        release: Option<bool>,
        answer: &mut Answer,
    ) -> Outcome {
        let (chains, releases) = self.completion_type();
        if chain.unwrap_or_else(|| chains && release != Some(true)) {
            (self.transaction.begin, self.transaction.next) = characteristics;
            self.transaction.begin.get_or_insert("BEGIN");
        } else if release.unwrap_or_else(|| releases && chain != Some(true)) {
            self.send_ok(answer, Done::default());
            return Err(Failure::Close);
        }
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Outcome<usize> {
        let at = self
            .transaction
            .savepoints
            .iter()
            .position(|known| fold(known) == fold(name));
        at.ok_or_else(|| sql_error(1305, format!("SAVEPOINT {name} does not exist")).into())
    }

    pub(super) async fn on_all_held(&mut self, sql: &str) -> Outcome {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        for at in 0..self.transaction.held.len() {
            let Some((_, backend)) = self
                .transaction
                .held
                .get_mut(at)
                .filter(|(_, b)| b.in_transaction)
            else {
                continue;
            };
            let failure = match Self::unless_interrupted(&handle, backend.execute(&core, sql)).await
            {
                Ok(Ok(_)) => continue,
                Ok(Err(e @ BackendError::Refused { .. })) => return Err(e.into()),
                Ok(Err(e)) => e.into(),
                Err(failure) => failure,
            };
            let (_, backend) = self.transaction.held.swap_remove(at);
            return Err(self.lose(backend, failure));
        }
        Ok(())
    }

    /// Gives back what nothing keeps any more.
    pub(super) fn release_held(&mut self) {
        for (place, backend) in std::mem::take(&mut self.transaction.held) {
            self.keep_or_return(place, backend);
        }
        self.client.handle.in_transaction.set(self.in_transaction());
    }
}

fn begin_text(access: Option<AccessMode>, consistent_snapshot: bool) -> &'static str {
    match (access, consistent_snapshot) {
        (None, false) => "BEGIN",
        (None, true) => SNAPSHOT,
        (Some(AccessMode::ReadOnly), false) => "START TRANSACTION READ ONLY",
        (Some(AccessMode::ReadWrite), false) => "START TRANSACTION READ WRITE",
        (Some(AccessMode::ReadOnly), true) => {
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        }
        (Some(AccessMode::ReadWrite), true) => {
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE"
        }
    }
}

/// An identifier in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
