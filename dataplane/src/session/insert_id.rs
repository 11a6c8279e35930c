//! LAST_INSERT_ID(): the number that was generated last, or that a statement has given to the
//! function. The OK packet's id is another thing: it may be a number that the statement itself has
//! given. Where the OK leaves a doubt, the connection is asked behind the answer, while it still
//! knows.
use super::auto_column::{LastRow, Within};
use super::wire::{TEXT_AT, Wire};
use super::{Outcome, Session};
use crate::cache::CachedPlan;
use crate::pool::{Backend, Place};
use coregate_planner::mention;
use coregate_planner::plan::{Action, Destination, Effects, Plan, Route, StatementClass, Target};
use coregate_protocol::value::Value as Bound;
use coregate_protocol::walker::Summary;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Numbers of a statement that are remembered until its answer comes; with more, there is a doubt.
const NUMBERS_MAX: usize = 16;

/// The numbers that a statement itself gives.
#[derive(Default)]
pub(super) struct Given {
    numbers: SmallVec<[f64; NUMBERS_MAX]>,
    more: bool,
    /// Of a statement that is an INSERT of rows and nothing else.
    last_row: Option<(LastRow, Rc<CachedPlan>)>,
}

impl Given {
    /// Of a statement of which nothing is known.
    pub(super) fn doubtful() -> Self {
        Self { more: true, ..Self::default() }
    }

    /// Those of a text, wherever they stand in it.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        let mut at = 0;
        while let Some(start) = text
            .get(at..)
            .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
            .map(|n| at + n)
        {
            let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E');
            let rest = text.get(start..).unwrap_or_default();
            let len = rest.iter().position(|b| !number(b)).unwrap_or(rest.len());
            at = start + len;
            self.add_number(rest.get(..len).unwrap_or_default());
            // An exponent with its sign; it is a number of its own here, and the whole is doubted.
            let signed = rest
                .get(len - 1)
                .is_some_and(|b| b.eq_ignore_ascii_case(&b'e'))
                && matches!(rest.get(len), Some(b'+' | b'-'));
            // Hexadecimal or bits: `0x1F`, `x'1F'`.
            let before = text.get(start.saturating_sub(2)..start).unwrap_or_default();
            let other = matches!(rest.get(len), Some(b'x' | b'X' | b'b' | b'B'))
                || matches!(before, [b'x' | b'X' | b'b' | b'B', b'\'']);
            self.more |= signed || other;
            if self.more {
                return;
            }
        }
    }

    /// Those of the parts of a statement, which are whole texts.
    pub(super) fn of_parts(plan: &Plan, parts: &[(Place, Vec<u8>)]) -> Self {
        let mut given = Self::default();
        if plan.effects.contains(Effects::PLAIN_ROWS) && !gives_ids(plan) {
            parts
                .iter()
                .for_each(|(_, payload)| given.add_text(payload));
        }
        given
    }

    fn add_number(&mut self, digits: &[u8]) {
        let text = std::str::from_utf8(digits).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(number) if self.numbers.len() < NUMBERS_MAX => self.numbers.push(number),
            _ => self.more = true,
        }
    }

    pub(super) fn add_values(&mut self, values: &[Bound<'_>]) {
        for value in values {
            match value {
                Bound::Null => {}
                Bound::Int(n) => self.add_f64(*n as f64),
                Bound::UInt(n) => self.add_f64(*n as f64),
                Bound::Float(n) => self.add_f64(f64::from(*n)),
                Bound::Double(n) => self.add_f64(*n),
                Bound::Bytes(text) if text.len() <= 64 => self.add_text(text),
                Bound::Bytes(_) | Bound::Date(_) | Bound::DateTime(_) | Bound::Time(_) => {}
                _ => self.more = true,
            }
        }
    }

    fn add_f64(&mut self, number: f64) {
        if self.numbers.len() < NUMBERS_MAX {
            self.numbers.push(number);
        } else {
            self.more = true;
        }
    }

    /// May the statement have given this number itself, rounded or not? TRUE is 1.
    fn may_be(&self, id: u64) -> bool {
        let id = id as f64;
        let near = |number: &f64| (number - id).abs() <= 1f64.max(id * 1e-15);
        self.more || id <= 1.0 || self.numbers.iter().any(near)
    }
}

impl Session {
    /// What a statement gives, before it is sent.
    #[inline]
    pub(super) fn given(&self, plan: &Plan, wire: &Wire) -> Given {
        let mut given = Given::default();
        let gives = plan
            .effects
            .intersects(Effects::PLAIN_ROWS | Effects::ROWS_ONLY);
        if !gives || gives_ids(plan) {
            return given;
        }
        let payload = wire.payload();
        match wire {
            // Where no id was generated, servers tell the one of the last row.
            Wire::Rows(_, at, entry) if at.end > at.start => {
                let row = TEXT_AT + at.start as usize..TEXT_AT + at.end as usize;
                let row = payload.get(row).unwrap_or_default();
                given.add_text(row);
                given.last_row =
                    Some((LastRow::of(row, at.numbered, self.state.sql_mode), Rc::clone(entry)));
            }
            _ => given.add_text(payload),
        }
        given
    }

    /// Must the connection have the session's value before the statement, because it reads or sets
    /// it there?
    #[inline]
    pub(super) fn needs_insert_id(&self, plan: &Plan, backend: &Backend) -> bool {
        let runs_others = matches!(plan.class, StatementClass::Call | StatementClass::Prepare);
        if backend.last_insert_id == Some(self.last.insert_id) {
            return false;
        }
        runs_others
            || plan.effects.contains(Effects::SETS_INSERT_ID)
            || backend.pool.routines.concern(&plan.names)
            || matches!(plan.class, StatementClass::Other | StatementClass::LoadData)
                && mentions(&plan.names)
    }

    #[cold]
    pub(super) async fn give_insert_id(&mut self, backend: &mut Backend) -> Outcome {
        let core = self.core.clone();
        let sql = format!("SET @@session.last_insert_id = {}", self.last.insert_id);
        backend.execute(&core, sql).await?;
        backend.last_insert_id = Some(self.last.insert_id);
        Ok(())
    }

    /// Behind an answer: the session's value as it is now.
    #[inline]
    pub(super) async fn note_insert_id(
        &mut self,
        backend: &mut Backend,
        plan: &Plan,
        summary: &Summary,
        given: &Given,
    ) {
        use StatementClass as C;
        if self.running.numbers_from.is_some() {
            return;
        }
        let inserts = matches!(plan.class, C::Insert | C::Replace | C::LoadData);
        let sets = plan.effects.contains(Effects::SETS_INSERT_ID);
        if !sets && (!inserts || gives_ids(plan)) {
            return;
        }
        let id = summary.last_insert_id;
        if !sets && summary.error.is_none() {
            if id == 0 {
                return;
            }
            if plan.effects.contains(Effects::PLAIN_ROWS) && !given.may_be(id) {
                if let Some((_, entry)) = &given.last_row {
                    entry.auto.forget();
                }
                self.last.insert_id = id;
                backend.last_insert_id = Some(id);
                return;
            }
            if self.shows_given(given, id) {
                return;
            }
        }
        Box::pin(self.read_insert_id(backend, sets, id)).await;
        if !sets && summary.error.is_none() {
            self.learn(backend, given, id);
        }
    }

    /// Have earlier answers shown that the id is one that the statement gave? They may have been
    /// about another table than one that is temporary.
    fn shows_given(&self, given: &Given, id: u64) -> bool {
        let Some((row, entry)) = given.last_row.as_ref().filter(|_| !self.transaction.pinned)
        else {
            return false;
        };
        entry
            .auto
            .shows_given(row, id, self.within(), self.core.ring.now())
    }

    /// The server has been asked.
    #[cold]
    fn learn(&self, backend: &Backend, given: &Given, id: u64) {
        let Some((row, entry)) = given.last_row.as_ref().filter(|_| !self.transaction.pinned)
        else {
            return;
        };
        match backend.last_insert_id {
            Some(now) if now != id => {
                entry
                    .auto
                    .was_given(row, id, self.within(), self.core.ring.now())
            }
            _ => entry.auto.forget(),
        }
    }

    fn within(&self) -> Within {
        let database = self.target.database.as_deref().unwrap_or_default();
        let ddl = self.core.shared.ddl.load(Ordering::Relaxed);
        Within { database: mention::hash(database.as_bytes()), ddl }
    }

    /// `own`: the connection had the session's value before the statement.
    #[cold]
    pub(super) async fn read_insert_id(&mut self, backend: &mut Backend, own: bool, id: u64) {
        let core = self.core.clone();
        let before = backend.last_insert_id.take();
        // A connection that fails here is found out when it is used next.
        let Ok(Some(now)) = backend.value(&core, "SELECT LAST_INSERT_ID()").await else { return };
        let Ok(now) = now.parse::<u64>() else { return };
        backend.last_insert_id = Some(now);
        // What is generated is what the OK says; else it stands there since another session's
        // statement.
        let own = own || before == Some(self.last.insert_id);
        if own || id != 0 && id == now || id == 0 && before.is_some_and(|before| before != now) {
            self.last.insert_id = now;
        }
    }
}

/// Does every row give the AUTO_INCREMENT column a number, as binding has made sure where that
/// column places the rows? Then none is generated.
fn gives_ids(plan: &Plan) -> bool {
    let Action::Route(Route {
        to: Target::Keyspace { shards: Destination::Rows(rows), .. }, ..
    }) = &plan.action
    else {
        return false;
    };
    rows.numbered.is_some() && !plan.effects.contains(Effects::SETS_INSERT_ID)
}

/// Does a statement name the function or the variable?
pub(super) fn mentions(names: &[u64]) -> bool {
    let known = |name: &str| names.binary_search(&mention::hash(name.as_bytes())).is_ok();
    known("last_insert_id") || known("identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given {
        let mut given = Given::default();
        given.add_text(text.as_bytes());
        given
    }

    #[test]
    fn a_number_that_the_statement_gives_is_seen() {
        for text in [
            "values (7, 'x')",
            "values ('7x')",
            "values (6.6)",
            "values (0.7e1)",
            "values (7e-0)",
            "(-7)",
        ] {
            assert!(given(text).may_be(7), "{text}");
        }
        assert!(!given("insert into t (a, b) values (70, 'x17')").may_be(7));
        for text in
            ["values (0x7)", "values (x'07')", "values (b'111')", "values (0B111)", "values (0x1F)"]
        {
            assert!(given(text).may_be(7), "{text}");
        }
        assert!(given("values (1)").may_be(1) && given("values (true)").may_be(1));
        assert!(given(&"5, ".repeat(100)).may_be(7), "too many to tell");
    }
}
