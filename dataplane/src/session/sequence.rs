//! Statements that take numbers from a sequence: INSERTs whose rows lack them, and `SELECT NEXT
//! VALUE FOR`.
//!
//! An INSERT is planned anew with the numbers in its text. The numbers are taken outside of the
//! client's transaction, and are gone when it rolls back, as those of AUTO_INCREMENT are.
use super::answer::Answer;
use super::plan::{Kind, Planned};
use super::prepared::Statement;
use super::{Failure, Outcome, Session};
use crate::error::{BackendError, sql_error};
use crate::pool::{Backend, Place};
use crate::settings::Settings;
use coregate_planner::PlanError;
use coregate_planner::plan::generate::Sequence;
use coregate_planner::plan::{Effects, Plan};
use coregate_planner::resolve::Numbers;
use coregate_planner::snapshot::TabletKind;
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::walker::Summary;
use std::rc::Rc;

/// How often a block is asked for where connections fail: a block that was taken and not heard of
/// is lost, nothing else.
const ATTEMPTS_MAX: usize = 3;

impl Session {
    /// Plans an INSERT whose rows lacked numbers, with these in its text. `as_sent`: the text that
    /// came, for one that lacks none. `under`: the prepared statement that it is of.
    pub(super) async fn plan_numbered(
        &mut self,
        numbers: &Numbers,
        as_sent: &[u8],
        under: Option<&Statement>,
    ) -> Outcome<Planned> {
        self.give_numbers(numbers).await?;
        let made;
        let mut text = as_sent;
        let mut first = None;
        if !numbers.places.is_empty() {
            let sequence = numbers.sequence.as_ref();
            let sequence =
                sequence.map_err(|name| sql_error(1105, format!("'{name}' is no sequence")))?;
            let from = self
                .take_numbers(sequence, numbers.places.len() as u64)
                .await?;
            first = Some(from);
            made = numbers.text_with(from);
            text = &made;
        }
        let mut planned = match self.plan_under(text, Kind::TEXT.numbered(), under) {
            Ok(planned) => planned,
            Err(failure) => {
                Box::pin(self.plan_looking_up_as(text, Kind::TEXT.numbered(), under, failure))
                    .await?
            }
        };
        if let Some(from) = first {
            for shard in planned.bound.shards_mut() {
                shard.text.get_or_insert_with(|| text.to_vec());
            }
            // Of a statement of several steps, the first step's.
            self.running.numbers_from.get_or_insert(from);
        }
        Ok(planned)
    }

    /// Plans for what was selected when a statement was prepared.
    pub(super) fn plan_under(
        &mut self,
        text: &[u8],
        kind: Kind,
        under: Option<&Statement>,
    ) -> Result<Planned, Failure> {
        match under {
            None => self.plan_as(text, kind),
            Some(statement) => {
                self.with_target_of(statement, |session| session.plan_as(text, kind))
            }
        }
    }

    /// `SELECT NEXT VALUE FOR`, `SELECT NEXT n VALUES FROM`.
    pub(super) async fn next_values(
        &mut self,
        sequence: &Sequence,
        count: u64,
        answer: &mut Answer,
    ) -> Outcome {
        if count == 0 {
            return Err(PlanError::NotACount.into());
        }
        self.clear_warnings();
        let first = self.take_numbers(sequence, count).await?;
        let column = ColumnDefinition::expression(b"nextval", ColumnType::LONGLONG);
        (self.last.found_rows, self.last.row_count) = (1, -1);
        self.send_result(answer, &[column], &[vec![Some(first.to_string())]]);
        Ok(())
    }

    /// The first of so many numbers next to each other.
    async fn take_numbers(&mut self, sequence: &Sequence, count: u64) -> Outcome<u64> {
        let core = Rc::clone(&self.core);
        let take = || {
            let all = &core.shared.sequences;
            core.sequences.take(all, core.id, &sequence.name, count)
        };
        // Others may take what was fetched.
        for _ in 0..100 {
            if let Some(first) = take() {
                return Ok(first);
            }
            self.fetch_block(sequence, count).await?;
        }
        Err(sql_error(
            1205,
            format!("no numbers of the sequence {} can be had now; try again", sequence.name),
        )
        .into())
    }

    /// Heeds the numbers that a statement gives by itself.
    pub(super) async fn give_numbers(&mut self, numbers: &Numbers) -> Outcome {
        match (numbers.given, &numbers.sequence) {
            (Some(given), Ok(sequence)) => self.give_number(sequence, given).await,
            _ => Ok(()),
        }
    }

    /// A number that the statement gives by itself is not given out; the sequence goes on behind
    /// one that is ahead of it.
    pub(super) async fn give_number(&mut self, sequence: &Sequence, number: u64) -> Outcome {
        let core = Rc::clone(&self.core);
        let all = &core.shared.sequences;
        if i64::try_from(number).is_err()
            || !all.give(&core.sequences, core.id, &sequence.name, number)
        {
            return Ok(());
        }
        let next = number + 1;
        let sql = format!(
            "UPDATE {} SET next_id = LAST_INSERT_ID({next}) WHERE id = 0 AND next_id < {next}",
            sequence.table
        );
        if self.on_sequence(sequence, &sql).await?.is_some() {
            all.moved_on(&sequence.name, next);
        } else {
            // Somebody has moved it on before.
            let read = format!("SELECT next_id FROM {} WHERE id = 0", sequence.table);
            let high = self.value_of_sequence(sequence, &read).await?;
            all.note_high(&sequence.name, high);
        }
        Ok(())
    }

    /// Takes a block from the sequence's table.
    async fn fetch_block(&mut self, sequence: &Sequence, count: u64) -> Outcome {
        let core = Rc::clone(&self.core);
        let all = &core.shared.sequences;
        let mut before = all.before(&sequence.name);
        if before.cache.is_none() {
            let read = format!("SELECT cache FROM {} WHERE id = 0", sequence.table);
            let cache = self.value_of_sequence(sequence, &read).await?;
            if cache == 0 {
                let message = format!(
                    "the sequence {} has no positive number in its column cache",
                    sequence.name
                );
                return Err(sql_error(1105, message).into());
            }
            all.note_cache(&sequence.name, cache);
            before = all.before(&sequence.name);
        }
        let cache = before.cache.unwrap_or(1);
        let size = count.div_ceil(cache).saturating_mul(cache);
        let least = before.high.max(1);
        let sql = format!(
            "UPDATE {} SET next_id = LAST_INSERT_ID(GREATEST(next_id, {least})) + {size} WHERE id \
                = 0",
            sequence.table
        );
        let first = self.on_sequence(sequence, &sql).await?;
        let first = first
            .filter(|first| *first > 0)
            .ok_or_else(|| no_row(sequence))?;
        match first
            .checked_add(size)
            .filter(|end| i64::try_from(*end).is_ok())
        {
            Some(end) => all.add(&sequence.name, first..end, before),
            None => {
                return Err(sql_error(
                    1467,
                    format!("the sequence {} has no numbers left", sequence.name),
                )
                .into());
            }
        }
        Ok(())
    }

    async fn value_of_sequence(&mut self, sequence: &Sequence, sql: &str) -> Outcome<u64> {
        let mut attempts = 0;
        loop {
            let mut backend = self.sequence_connection(sequence).await?;
            let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
            let value = Self::unless_interrupted(&handle, backend.value(&core, sql)).await?;
            attempts += 1;
            match value {
                Ok(value) => {
                    let pool = Rc::clone(&backend.pool);
                    pool.put(&core, backend);
                    let value = value.ok_or_else(|| no_row(sequence))?;
                    return Ok(value.parse().unwrap_or(0));
                }
                Err(error)
                    if attempts >= ATTEMPTS_MAX
                        || matches!(error, BackendError::Refused { .. }) =>
                {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
    }

    /// Runs an UPDATE of the sequence's row, outside of the client's transaction. The number that
    /// its LAST_INSERT_ID() was given; `None`: it has changed nothing.
    async fn on_sequence(&mut self, sequence: &Sequence, sql: &str) -> Outcome<Option<u64>> {
        let mut attempts = 0;
        loop {
            let mut backend = self.sequence_connection(sequence).await?;
            let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
            let updated = Self::unless_interrupted(&handle, async {
                let summary = backend.execute(&core, sql).await?;
                if backend.in_transaction {
                    backend.execute(&core, "COMMIT").await?;
                }
                Ok(summary)
            });
            attempts += 1;
            match updated.await? {
                Ok(summary) => {
                    let pool = Rc::clone(&backend.pool);
                    // The next session's LAST_INSERT_ID() there is another.
                    backend.last_insert_id = None;
                    pool.put(&core, backend);
                    return Ok((summary.affected_rows > 0).then_some(summary.last_insert_id));
                }
                Err(error)
                    if attempts >= ATTEMPTS_MAX
                        || matches!(error, BackendError::Refused { .. }) =>
                {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
    }

    /// A connection that takes no part in the client's transaction. Who has one waits for nothing
    /// else.
    async fn sequence_connection(&mut self, sequence: &Sequence) -> Outcome<Box<Backend>> {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let place = Place::Shard { shard: sequence.shard, kind: TabletKind::Primary.into() };
        let pool = core.pools.get(place).ok_or_else(|| place.missing())?;
        let pool = pool.finisher(core.config().finisher_size_per_core);
        let settings = Settings {
            collation: self.state.settings.collation,
            globals: self.state.settings.globals,
            ..Settings::default()
        };
        let settings = core.settings.intern(settings);
        let taken = pool.take(&core, self.state.flavour, &settings);
        Ok(Self::unless_interrupted(&handle, taken).await??)
    }

    /// After a statement that took numbers of a sequence, or changed a sequence's table.
    #[inline]
    pub(super) fn sequence_done(&mut self, plan: &Plan, summary: Option<&Summary>) {
        if self.running.numbers_from.is_some() || plan.effects.contains(Effects::SEQUENCE) {
            self.end_sequence(plan, summary);
        }
    }

    #[cold]
    fn end_sequence(&mut self, plan: &Plan, summary: Option<&Summary>) {
        if plan.effects.contains(Effects::SEQUENCE) {
            self.core.shared.sequences.forget();
        }
        if let Some(first) = self.running.numbers_from.take()
            && summary.is_some_and(|summary| summary.error.is_none())
        {
            self.last.insert_id = first;
        }
    }
}

fn no_row(sequence: &Sequence) -> Failure {
    sql_error(
        1105,
        format!(
            "the sequence {0} has no row with numbers; INSERT INTO {0} (id, next_id, cache) VALUES \
                (0, 1, 1000)",
            sequence.name
        ),
    )
    .into()
}
