//! Changes of tables that own lookup vindexes. The lookup tables are changed first, in the same
//! transaction; if anything fails, the whole statement is undone.
use super::answer::Answer;
use super::plan::{BoundPlan, Planned};
use super::run::place_of;
use super::scatter::{Rows, Work};
use super::transaction::{EntryChange, quoted};
use super::wire::query_payload;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::exec::Collected;
use coregate_planner::control::SqlError;
use coregate_planner::plan::maintain::{ChangeEntries, Maintain, Owner};
use coregate_planner::plan::{Action, Combine, Route};
use coregate_planner::resolve::{Before, NewEntries, Step, change_statements};
use coregate_protocol::codes;
use coregate_protocol::walker::{ResponseKind, Summary};
use std::cell::RefCell;

/// The state before the statement, in a transaction of the client's.
const UNDO: &str = "_coregate_lookup";

/// A lock at the end of a query of our own.
const FOR_UPDATE: &[u8] = b" FOR UPDATE";

impl Session {
    /// Does what must come before a change. The change itself has to be run by `several`, which
    /// ends a transaction that is opened here; then [`Self::end_maintained`].
    pub(super) async fn begin_maintained(&mut self, route: &Route, before: &Before) -> Outcome {
        if self.transaction.locked {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: changing a table that owns a lookup vindex while LOCK \
                    TABLES holds; UNLOCK TABLES first",
            )
            .into());
        }
        self.adopt_transaction();
        self.transaction.keep_order();
        let own = self.transaction.is_own() || !self.in_transaction() && self.state.autocommit;
        if self.transaction.is_own() {
            // Opened already, to find the rows.
        } else if own {
            self.transaction.begin_own();
        } else {
            self.on_all_held(&format!("SAVEPOINT {}", quoted(UNDO)))
                .await?;
            self.transaction.add_savepoint(UNDO);
        }
        // What these are warned of, the statement itself will be.
        let told = self.last.warnings.take();
        let result = self.change_lookups(route, before).await;
        self.last.warnings = told;
        match result {
            Ok(()) => Ok(()),
            Err(failure) => {
                if own {
                    self.abandon_transaction().await;
                    return Err(failure);
                }
                self.end_maintained(Err(failure)).await.map(|_| ())
            }
        }
    }

    /// Ends what [`Self::begin_maintained`] began, with what came of the change.
    pub(super) async fn end_maintained(&mut self, result: Outcome<Summary>) -> Outcome<Summary> {
        if !self.transaction.has_savepoint(UNDO) {
            if result.is_err() && self.transaction.is_own() {
                self.abandon_transaction().await;
            }
            return result;
        }
        let failed = match result {
            Ok(summary) => {
                self.transaction.drop_savepoint(UNDO);
                let release = format!("RELEASE SAVEPOINT {}", quoted(UNDO));
                return match self.on_all_held(&release).await {
                    Ok(()) => Ok(summary),
                    // The client has its answer.
                    Err(Failure::Sql(error) | Failure::Fatal(error)) => {
                        self.send_error(&mut Answer::unasked(), &error);
                        Err(Failure::Close)
                    }
                    Err(Failure::Close) => Err(Failure::Close),
                };
            }
            Err(Failure::Sql(error)) => error,
            Err(failure) => return Err(failure),
        };
        let undone = self
            .on_all_held(&format!("ROLLBACK TO {}", quoted(UNDO)))
            .await;
        self.transaction.drop_savepoint(UNDO);
        let mut error = failed;
        match undone {
            Ok(()) => {}
            Err(failure @ (Failure::Fatal(_) | Failure::Close)) => return Err(failure),
            Err(Failure::Sql(_)) => {
                self.abandon_transaction().await;
                error.message.push_str(
                    " (the transaction was rolled back, to undo changes of lookup tables)",
                );
            }
        }
        Err(error.into())
    }

    pub(super) async fn change_lookups(&mut self, route: &Route, before: &Before) -> Outcome {
        match (before, route.maintain.as_deref()) {
            (Before::Statements(steps), _) => {
                for step in steps {
                    match step {
                        Step::Add(entries) => self.add_entries(entries, false).await?,
                        Step::Check { query, columns } => self.check_entry(query, columns).await?,
                    }
                }
            }
            (Before::Query { text, new }, Some(Maintain::Change(change))) => {
                let rows = self.read_entries(text, change).await?;
                let (removed, added) = change_statements(change, new, &rows)?;
                for sql in removed {
                    self.change_entries(&sql, EntryChange::Removed).await?;
                }
                for entries in added {
                    self.add_entries(&entries, false).await?;
                }
            }
            (Before::Query { .. }, _) => {
                return Err(sql_error(1105, "a plan lacks what its lookup tables need").into());
            }
        }
        Ok(())
    }

    /// Adds entries. One that stands for a row that is not there any more is given to the new row,
    /// as Vitess does. `there`: the new rows are there already.
    pub(super) async fn add_entries(&mut self, new: &NewEntries, there: bool) -> Outcome {
        let added = self.change_entries(&new.text(), EntryChange::Added).await;
        match added {
            // Of a vindex that is not unique, too, the table's key may be the looked-up columns.
            Err(Failure::Sql(error)) if error.code == codes::ER_DUP_ENTRY => {}
            added => return added,
        }
        for (at, entry) in new.entries.iter().enumerate() {
            let text = new.text_of(std::slice::from_ref(entry));
            match self.change_entries(&text, EntryChange::Added).await {
                Err(Failure::Sql(error)) if error.code == codes::ER_DUP_ENTRY => {
                    if new.def.unique {
                        self.reuse_entry(new, at, there, error).await?;
                    } else {
                        self.reuse_shared_entry(new, at, there, error).await?;
                    }
                }
                added => added?,
            }
        }
        Ok(())
    }

    #[cold]
    async fn reuse_entry(
        &mut self,
        new: &NewEntries,
        at: usize,
        there: bool,
        error: SqlError,
    ) -> Outcome {
        let (added, rest) = new.entries.split_at_checked(at).unwrap_or_default();
        let Some((values, id)) = rest.first() else { return Err(error.into()) };
        // An entry that another transaction is about to change is waited for.
        let holders = self.locked(&new.holder(values)).await?;
        // With several, the key is another: columns and keyspace id together.
        let [holder] = holders.as_slice() else { return Err(error.into()) };
        let held = new.def.id_in(holder.first().and_then(Option::as_deref));
        let held = held.map_err(|why| Failure::from(sql_error(1105, why)))?;
        // Rows of this very statement whose entries have just been added are not there yet, and yet
        // have the value.
        let own = held
            .as_ref()
            .is_some_and(|held| added.iter().any(|(_, id)| id == held));
        if !there && (own || !new.whole) {
            return Err(error.into());
        }
        let mut same_shard = false;
        if let (true, Some(held)) = (there, &held) {
            let snapshot = self.core.snapshot.borrow();
            let keyspace = snapshot
                .keyspaces
                .iter()
                .find(|k| k.name == new.owner.keyspace);
            same_shard = keyspace.is_some_and(|k| k.shard_for(held) == k.shard_for(id));
        }
        // The row itself is no other one.
        if self.locked(&new.row(values, "")).await?.len() > usize::from(same_shard) {
            return Err(error.into());
        }
        self.change_entries(&new.reuse(values, id), EntryChange::Added)
            .await
    }

    /// The same where many rows may have a value: the key that the entry met has more columns than
    /// the value's, or is one over it by the vindex table's own choice. An entry that says the
    /// row's own place already stays as it is.
    #[cold]
    async fn reuse_shared_entry(
        &mut self,
        new: &NewEntries,
        at: usize,
        there: bool,
        error: SqlError,
    ) -> Outcome {
        let (added, rest) = new.entries.split_at_checked(at).unwrap_or_default();
        let Some((values, id)) = rest.first() else { return Err(error.into()) };
        let mut held = Vec::new();
        for row in self.locked(&new.holder(values)).await? {
            let cell = row.first().and_then(|cell| cell.as_deref());
            let found = new.def.id_in(cell);
            held.extend(found.map_err(|why| Failure::from(sql_error(1105, why)))?);
        }
        let own = held
            .iter()
            .any(|held| added.iter().any(|(_, id)| id == held));
        if !there && (own || !new.whole) {
            return Err(error.into());
        }
        // Wherever they lie: what the entries say is in doubt.
        let hint = self.without_lookups(&new.owner);
        let others = self.locked(&new.row(values, &hint)).await?.len();
        match held.as_slice() {
            // The row itself is no other one.
            _ if others > usize::from(there) => Err(error.into()),
            all if all.contains(id) => Ok(()),
            [_] => {
                self.change_entries(&new.reuse(values, id), EntryChange::Added)
                    .await
            }
            _ => Err(error.into()),
        }
    }

    /// The hint by which no lookup vindex of a table finds its rows.
    fn without_lookups(&self, owner: &Owner) -> String {
        let snapshot = self.core.snapshot.borrow();
        let keyspace = snapshot.keyspaces.iter().find(|k| k.name == owner.keyspace);
        let table = keyspace.and_then(|k| {
            let table = owner.table.rsplit_once("`.`")?.1.strip_suffix('`')?;
            k.tables.get(&table.replace("``", "`"))
        });
        let vindexes = table.iter().flat_map(|table| &table.column_vindexes);
        let names: Vec<String> = vindexes
            .filter(|v| v.vindex.vindex.is_none())
            .map(|v| quoted(&v.vindex.name))
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(" IGNORE VINDEX ({})", names.join(", "))
        }
    }

    /// A statement that changes entries, noted with the shards that it goes to.
    pub(super) async fn change_entries(&mut self, sql: &[u8], change: EntryChange) -> Outcome {
        self.running.entries = Some(change);
        let changed = self.inner(sql, b"", Combine::Sum, Rows::Pass).await;
        self.running.entries = None;
        changed
    }

    /// The rows of a query of one column, locked. It is planned with its lock: lookup tables that
    /// find its shards are read as they are now, not as the transaction's snapshot has them.
    async fn locked(&mut self, query: &[u8]) -> Outcome<Vec<Vec<Option<Vec<u8>>>>> {
        let rows = RefCell::new(Collected::new(1, self.query_memory()));
        let query = [query, FOR_UPDATE].concat();
        // Whatever the session's sql_select_limit.
        let lock = format!(" LIMIT {} FOR UPDATE", u64::MAX);
        self.inner(&query, lock.as_bytes(), Combine::Concat, Rows::Gather(&rows))
            .await?;
        Ok(rows.into_inner().rows)
    }

    /// A value of another table's lookup vindex must lie where the vindex says.
    pub(super) async fn check_entry(&mut self, query: &[u8], columns: &str) -> Outcome {
        let rows = RefCell::new(Collected::new(1, self.query_memory()));
        self.inner(query, b"", Combine::Concat, Rows::Gather(&rows))
            .await?;
        if rows.into_inner().rows.is_empty() {
            let message = format!(
                "values for column [{columns}] do not map to the row's keyspace id: the lookup \
                    vindex, which another table owns, has no \
                 entry for them"
            );
            return Err(sql_error(1105, message).into());
        }
        Ok(())
    }

    /// The rows that will change: they are locked until the transaction ends.
    async fn read_entries(
        &mut self,
        text: &[u8],
        change: &ChangeEntries,
    ) -> Outcome<Vec<Vec<Option<Vec<u8>>>>> {
        let last = change
            .lookups
            .iter()
            .flat_map(|lookup| lookup.columns.iter().map(|(at, _)| usize::from(*at) + 1));
        let columns = last.max().unwrap_or(0).max(change.families.len());
        let rows = RefCell::new(Collected::new(columns, self.query_memory()));
        self.inner(text, b"", Combine::Concat, Rows::Gather(&rows))
            .await?;
        Ok(rows.into_inner().rows)
    }

    /// Runs a statement of our own in the session's transaction; the client does not hear of it.
    /// `tail`: what every server gets behind its text, in place of [`FOR_UPDATE`] where the text
    /// ends with that.
    pub(super) async fn inner(
        &mut self,
        sql: &[u8],
        tail: &[u8],
        combine: Combine,
        rows: Rows<'_>,
    ) -> Outcome {
        let Planned { entry, bound, .. } = self.planned(sql).await?;
        let plan = &entry.plan;
        if let (Action::Write(_), Combine::Sum, b"") = (&plan.action, combine, tail) {
            // A value that a server must compute first, or the like.
            return self.insert_by(sql).await.map(|_| ());
        }
        let (Action::Route(route), BoundPlan::Route(resolved)) = (&plan.action, bound) else {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a lookup vindex whose rows cannot be reached",
            )
            .into());
        };
        if resolved.before.is_some() {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a lookup table that owns a lookup vindex",
            )
            .into());
        }
        let mut wires: Vec<_> = resolved
            .shards
            .into_iter()
            .map(|shard| {
                let mut text = shard.text.unwrap_or_else(|| sql.to_vec());
                if !tail.is_empty() && text.ends_with(FOR_UPDATE) {
                    text.truncate(text.len() - FOR_UPDATE.len());
                }
                text.extend_from_slice(tail);
                (place_of(route, shard.id), query_payload(&text))
            })
            .collect();
        if let Some(change) = self.running.entries {
            for (place, _) in &wires {
                self.transaction.note_entries(*place, change);
            }
        }
        // As every statement takes its connections, so that no two wait for each other.
        wires.sort_by_key(|(place, _)| *place);
        let mut work =
            Work { plan, combine, kind: ResponseKind::Query, wires, keyspace: None, rows };
        match self
            .run_parts(&mut work, false, &mut Answer::first())
            .await?
        {
            (.., Some(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
