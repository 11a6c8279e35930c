//! A prepared statement's plan, and what the values of one execution make of it.
use super::Statement;
use crate::cache::CachedPlan;
use crate::session::insert_id::Given;
use crate::session::plan::{BoundPlan, Kind};
use crate::session::values::Values;
use crate::session::{Outcome, Session};
use coregate_planner::PlanError;
use coregate_planner::charset::Charsets;
use coregate_planner::plan::{Action, Effects};
use coregate_planner::resolve::{self, Binding, Resolved, SessionValues};
use coregate_planner::value::Value;
use coregate_protocol::column::ColumnType;
use coregate_protocol::command::execute::ExecuteBody;
use coregate_protocol::value::Value as Bound;
use smallvec::SmallVec;
use std::rc::Rc;

impl Session {
    /// Binds a plan to the values of an execution. `None`: they lie on several shards, which this
    /// plan is not for.
    #[inline]
    pub(super) fn bind_execution(
        &self,
        statement: &Statement,
        entry: &CachedPlan,
        parsed: &ExecuteBody<'_>,
        given: &mut Given,
    ) -> Outcome<Option<BoundPlan>> {
        let plan = &entry.plan;
        let long = statement.long_data.borrow();
        let (bound, kinds) = statement.bound(parsed, &long)?;
        if plan.effects.contains(Effects::PLAIN_ROWS) {
            given.add_text(&statement.sql);
            given.add_values(&bound);
        }
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for value in &bound {
            if planner_value(value).is_none() {
                let mut text = Vec::new();
                value.write_text(&mut text);
                texts.push(text);
            }
        }
        let mut texts = texts.iter();
        let values: SmallVec<[Value<'_>; 8]> = bound
            .iter()
            .zip(kinds.iter().copied())
            .map(|(v, kind)| match (v, kind) {
                (Bound::Bytes(digits), ColumnType::DECIMAL | ColumnType::NEWDECIMAL) => {
                    Value::Decimal(digits)
                }
                (Bound::Bytes(bytes), kind) if is_blob(kind) => Value::Binary(bytes),
                _ => planner_value(v)
                    .unwrap_or_else(|| Value::Bytes(texts.next().map_or(&[], |t| t.as_slice()))),
            })
            .collect();
        let session_values = Values { session: self, params: &bound, kinds: &kinds };
        let charsets = statement.charsets().unwrap_or(self.state.charsets);
        self.bind_any(statement, entry, &values, charsets, &session_values)
    }

    /// The statement's plan, made anew when the snapshot has changed: for the keyspace that was
    /// selected when it was prepared.
    pub(in crate::session) fn current_plan(
        &mut self,
        statement: &Statement,
    ) -> Outcome<Rc<CachedPlan>> {
        let version = self.core.snapshot.borrow().version;
        let made_under = &statement.made_under;
        let keys_off = made_under
            .foreign_keys_off
            .replace(self.state.foreign_keys_off);
        if made_under.target.borrow().kind != self.target.kind
            || keys_off != self.state.foreign_keys_off
        {
            // The keyspace is the one that was selected then; the type of tablet is the one that is
            // selected now.
            made_under.target.borrow_mut().kind = self.target.kind;
            statement.plan.borrow_mut().0 = u64::MAX;
        } else {
            let plan = statement.plan.borrow();
            if plan.0 == version {
                return Ok(Rc::clone(&plan.1));
            }
        }
        let entry = self.plan_as_prepared(statement, Kind::PREPARED)?;
        *statement.plan.borrow_mut() = (version, Rc::clone(&entry));
        Ok(entry)
    }

    /// The plan for values that lie on several shards.
    #[cold]
    pub(in crate::session) fn split_plan(
        &mut self,
        statement: &Statement,
    ) -> Outcome<Rc<CachedPlan>> {
        self.plan_as_prepared(statement, Kind::PREPARED.split())
    }

    /// Plans a statement's text for what was selected when it was prepared.
    pub(in crate::session) fn plan_as_prepared(
        &mut self,
        statement: &Statement,
        kind: Kind,
    ) -> Outcome<Rc<CachedPlan>> {
        let planned =
            self.with_target_of(statement, |session| session.plan_prepared(&statement.sql, kind));
        Ok(planned?.1)
    }

    /// Does something under what was selected when a statement was prepared.
    pub(in crate::session) fn with_target_of<T>(
        &mut self,
        statement: &Statement,
        then: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let made_under = &statement.made_under;
        let target = std::mem::replace(&mut self.target, made_under.target.borrow().clone());
        let sql_mode = std::mem::replace(&mut self.state.sql_mode, made_under.sql_mode);
        let done = then(self);
        *made_under.target.borrow_mut() = std::mem::replace(&mut self.target, target);
        self.state.sql_mode = sql_mode;
        done
    }

    /// Binds a statement's route to the values of one execution.
    pub(in crate::session) fn bind(
        &self,
        statement: &Statement,
        entry: &CachedPlan,
        params: &[Value<'_>],
        charsets: Charsets,
        values: &dyn SessionValues,
    ) -> Outcome<Resolved> {
        match self.bind_any(statement, entry, params, charsets, values)? {
            Some(BoundPlan::Route(resolved)) => Ok(resolved),
            _ => Err(PlanError::Several.into()),
        }
    }

    /// Binds a statement's plan to the values of one execution. `None`: they lie on several shards,
    /// which this plan is not for.
    #[inline]
    pub(in crate::session) fn bind_any(
        &self,
        statement: &Statement,
        entry: &CachedPlan,
        params: &[Value<'_>],
        charsets: Charsets,
        values: &dyn SessionValues,
    ) -> Outcome<Option<BoundPlan>> {
        let mut scratch = self.core.scratch.borrow_mut();
        let scratch = &mut *scratch;
        let snapshot = self.core.snapshot.borrow();
        let binding = Binding {
            sql: &statement.sql,
            fingerprint: &statement.fingerprint,
            params,
            sql_mode: statement.made_under.sql_mode,
            charsets,
            session: values,
            prepared: true,
        };
        match &entry.plan.action {
            Action::Route(route) => {
                let (buffers, resolved) = (&mut scratch.resolve, &mut scratch.resolved);
                match resolve::resolve(route, &snapshot, &binding, buffers, resolved) {
                    Err(PlanError::Several) => Ok(None),
                    result => {
                        result.map_err(|error| self.not_bound(error))?;
                        Ok(Some(BoundPlan::Route(std::mem::take(resolved))))
                    }
                }
            }
            Action::Tree(tree) => {
                let parts = self.bind_tree(tree, &snapshot, &binding, &mut scratch.resolve)?;
                Ok(Some(BoundPlan::Tree(parts)))
            }
            Action::Write(write) => {
                let bound =
                    resolve::resolve_write(write, &snapshot, &binding, &mut scratch.resolve);
                let bound = bound.map_err(|error| self.not_bound(error))?;
                Ok(Some(BoundPlan::Write(Box::new(bound))))
            }
            _ => Ok(Some(BoundPlan::Own)),
        }
    }
}

/// Types whose values the server takes as bytes without a character set.
fn is_blob(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::TINY_BLOB | ColumnType::MEDIUM_BLOB | ColumnType::LONG_BLOB | ColumnType::BLOB
    )
}

fn planner_value<'a>(value: &Bound<'a>) -> Option<Value<'a>> {
    Some(match *value {
        Bound::Null => Value::Null,
        Bound::Int(n) => Value::Int(n),
        Bound::UInt(n) => Value::UInt(n),
        Bound::Float(f) => Value::Float(f64::from(f)),
        Bound::Double(f) => Value::Float(f),
        Bound::Bytes(bytes) => Value::Bytes(bytes),
        _ => return None,
    })
}
