//! What keeps sessions from taking connections from each other: hot rows, and users' shares.
use super::plan::BoundPlan;
use super::run::{Form, place_of};
use super::{Outcome, Session};
use crate::error::sql_error;
use crate::hot_rows::{HotRowMode, HotRows, NoTurn};
use coregate_planner::control::SqlError;
use coregate_planner::hot_row::{self, Source};
use coregate_planner::plan::{Action, Effects, Plan, StatementClass};
use std::rc::Rc;

/// Vitess's code for what is exhausted.
const ER_TOO_MANY_USER_CONNECTIONS: u16 = 1203;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;

impl Session {
    /// Does a statement that begins its transaction have to wait for others that change the same
    /// row?
    #[inline]
    pub(super) fn may_be_hot(&self, plan: &Plan, shards: usize) -> bool {
        self.core.config().hot_rows.mode != HotRowMode::Disable
            && shards == 1
            && matches!(plan.class, StatementClass::Update | StatementClass::Delete)
            && matches!(&plan.action, Action::Route(route) if route.maintain.is_none())
    }

    #[cold]
    pub(super) async fn await_row(
        &mut self,
        plan: &Plan,
        bound: &BoundPlan,
        form: &Form<'_>,
    ) -> Outcome {
        let (Action::Route(route), BoundPlan::Route(resolved)) = (&plan.action, bound) else {
            return Ok(());
        };
        let Some(shard) = resolved.shards.first() else { return Ok(()) };
        let place = place_of(route, shard.id);
        let has_locks = self.transaction.held.iter().any(|(_, b)| b.in_transaction)
            || self.transaction.locked
            || self.transaction.pinned
            || self.transaction.hot.is_some();
        if has_locks {
            // Who waits with locks may wait for one who waits for these.
            return Ok(());
        }
        let Some(row) = self.row_key(form) else { return Ok(()) };
        let database = self.target.database.as_deref().unwrap_or_default();
        let key = [format!("{place:?} {database} ").as_bytes(), &row].concat();
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let turn = Self::unless_interrupted(&handle, HotRows::turn(&core, key)).await?;
        self.transaction.hot = Some(turn.map_err(|why| self.no_turn(&why, &row))?);
        Ok(())
    }

    fn no_turn(&self, why: &NoTurn, row: &[u8]) -> SqlError {
        let config = &self.core.config().hot_rows;
        let row = String::from_utf8_lossy(row);
        match why {
            NoTurn::RowFull(many) => sql_error(
                ER_TOO_MANY_USER_CONNECTIONS,
                format!(
                    "hot row protection: too many queued transactions ({many} >= {}) for the same \
                        row (table + WHERE clause: '{row}'); try again later, or raise \
                        hot_row_protection.max_queue_size",
                    config.queue_max
                ),
            ),
            NoTurn::Full(many) => sql_error(
                ER_TOO_MANY_USER_CONNECTIONS,
                format!(
                    "hot row protection: too many queued transactions ({many} >= {}); try again \
                        later, or raise hot_row_protection.max_global_queue_size",
                    config.global_queue_max
                ),
            ),
            NoTurn::Late => sql_error(
                ER_LOCK_WAIT_TIMEOUT,
                format!(
                    "Lock wait timeout exceeded; try restarting transaction (hot row protection: \
                        waited for hot_row_protection.wait_timeout_ms = {} ms, table + WHERE \
                        clause: '{row}')",
                    config.wait_timeout_ms
                ),
            ),
        }
    }

    fn row_key(&self, form: &Form<'_>) -> Option<Vec<u8>> {
        let (sql_mode, sql) = (self.state.sql_mode, form.text());
        match form {
            Form::Packet(..) | Form::Text(_) => {
                hot_row::key(sql, sql_mode, |source| self.variable_text(source))
            }
            Form::Binary(execution) => {
                let params = execution
                    .statement
                    .parameter_texts(execution.packet.payload(), self.client.capabilities);
                hot_row::key(sql, sql_mode, |source| match source {
                    Source::Param(n) => params.as_ref()?.get(n).cloned(),
                    source => self.variable_text(source),
                })
            }
            Form::Named(call) => hot_row::key(sql, sql_mode, |source| match source {
                Source::Param(n) => {
                    self.variable_text(Source::Variable(call.variables.get(n)?.as_bytes()))
                }
                source => self.variable_text(source),
            }),
        }
    }

    /// A user variable's value as the session's settings have it.
    fn variable_text(&self, source: Source<'_>) -> Option<Vec<u8>> {
        let Source::Variable(name) = source else { return None };
        let name: String = String::from_utf8_lossy(name)
            .chars()
            .filter(|c| !matches!(c, '`' | '\'' | '"'))
            .collect();
        let assigned = self.state.settings.get(&name.to_lowercase())?;
        let at = assigned.windows(3).position(|w| w == b" = ")?;
        assigned.get(at + 3..).map(<[u8]>::to_vec)
    }

    /// The user's part of the connections, before a transaction takes its first.
    #[inline]
    pub(super) fn take_share(&mut self, effects: Effects) -> Result<(), SqlError> {
        let share = self.core.config().transaction_limit_per_user;
        if share >= 1.0 || self.transaction.share.is_some() {
            return Ok(());
        }
        self.take_share_of(share, effects)
    }

    #[cold]
    fn take_share_of(&mut self, share: f64, effects: Effects) -> Result<(), SqlError> {
        let explicit = self.transaction.is_open() && !self.transaction.is_own();
        let implicit = !self.state.autocommit && !effects.contains(Effects::NO_TABLES);
        if !explicit && !implicit {
            return Ok(());
        }
        let size = self.core.config().pool_size_per_core;
        let max = ((size as f64 * share) as usize).max(1);
        let user = &self.client.login.0.user;
        match self.core.shares.take(user, max) {
            Ok(taken) => {
                self.transaction.share = Some(taken);
                Ok(())
            }
            Err(open) => {
                self.core.metrics().transaction_limit_refused.add(1);
                let user = self.login_user();
                Err(sql_error(
                    ER_TOO_MANY_USER_CONNECTIONS,
                    format!(
                        "User '{user}' has {open} transactions open on this core, as many as \
                            server.transaction_limit_per_user = {share} of pool.size_per_core = \
                            {size} allows; end some, or try again later"
                    ),
                ))
            }
        }
    }

    /// What a transaction has taken from others is theirs again when it is over.
    #[cold]
    pub(super) fn end_contention(&mut self) {
        if !self.in_transaction() {
            (self.transaction.hot, self.transaction.share) = (None, None);
        }
    }
}
