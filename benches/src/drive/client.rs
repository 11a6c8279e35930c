//! One connection's load: transactions in turn, each checked and recorded.
use super::Protocol;
use super::core::Core;
use super::wire::{Answer, Wire};
use crate::conn::packet;
use crate::table::{is_binary_row, is_text_row};
use crate::work::{Check, Draw, Random, Statement, Value, Work};
use coregate_protocol::Capabilities;
use coregate_protocol::command::{encode, execute};
use coregate_protocol::walker::ResponseKind;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Errors that end a transaction and nothing else: it is tried again, with other values. Record has
/// changed, lock wait timeout, deadlock.
const RETRIED: [u16; 3] = [1020, 1205, 1213];

/// A statement that was prepared.
#[derive(Debug, Clone, Copy)]
struct Prepared {
    id: u32,
    /// The types of its values went with an execution before.
    bound: bool,
}

pub(super) struct Client {
    /// `None`: each transaction connects.
    wire: Option<Wire>,
    work: Arc<Work>,
    protocol: Protocol,
    number: u32,
    random: Random,
    seq: i64,
    step: i64,
    /// Of each transaction, each statement.
    prepared: Vec<Vec<Option<Prepared>>>,
    named: Vec<Value>,
    values: Vec<Value>,
}

/// What one transaction came to.
#[derive(Default)]
struct Outcome {
    queries: u64,
    bytes: u64,
    retried: bool,
}

impl Client {
    pub(super) async fn open(core: &Core, number: u32) -> Result<Self, String> {
        let round = &core.shared.round;
        let work = Arc::clone(&round.work);
        let wire = match work.connects {
            true => None,
            false => Some(Wire::open(&core.ring, &round.endpoint, true).await?),
        };
        let none = work
            .transactions
            .iter()
            .map(|t| vec![None; t.statements.len()]);
        let mut client = Self {
            wire,
            protocol: round.protocol,
            number,
            random: Random::new(u64::from(number)),
            seq: i64::from(number) + 1,
            step: i64::from(round.connections),
            prepared: none.collect(),
            named: Vec::new(),
            values: Vec::new(),
            work,
        };
        client.prepare().await?;
        Ok(client)
    }

    async fn prepare(&mut self) -> Result<(), String> {
        let Some(wire) = self
            .wire
            .as_mut()
            .filter(|_| self.protocol == Protocol::Prepared)
        else {
            return Ok(());
        };
        // Statements that are repeated stand several times in a transaction.
        let mut known: HashMap<String, u32> = HashMap::new();
        for (transaction, ids) in self.work.transactions.iter().zip(&mut self.prepared) {
            for (statement, id) in transaction.statements.iter().zip(ids) {
                if !statement.preparable {
                    continue;
                }
                let text = statement.prepared_text();
                let prepared = match known.get(&text) {
                    Some(prepared) => *prepared,
                    None => {
                        let prepared = wire.prepare(&text).await?;
                        known.insert(text, prepared);
                        prepared
                    }
                };
                *id = Some(Prepared { id: prepared, bound: false });
            }
        }
        Ok(())
    }

    pub(super) async fn run(mut self, core: Rc<Core>) -> Result<(), String> {
        let start = loop {
            if core.shared.has_failed() {
                return Ok(());
            }
            match core.shared.start.get() {
                Some(start) => break *start,
                None => {
                    core.sleep_until(Instant::now() + Duration::from_millis(5))
                        .await
                }
            }
        };
        let round = &core.shared.round;
        let interval = round
            .rate
            .map(|rate| Duration::from_secs_f64(f64::from(round.connections) / f64::from(rate)));
        // Evenly spread: a rate is not a burst from all connections at once.
        let part = f64::from(self.number) / f64::from(round.connections);
        let mut due = start + interval.map_or(Duration::ZERO, |i| i.mul_f64(part));
        let (begin, end) = core.shared.window(start);
        core.sleep_until(due).await;
        loop {
            let sent = Instant::now();
            if sent >= end || due >= end {
                break;
            }
            let outcome = self.transaction(&core).await?;
            let done = Instant::now();
            // With a rate, what had to wait for the one before it has waited from when it was due.
            let from = if interval.is_some() { due } else { sent };
            if done >= begin && done < end {
                let mut recorder = core.recorder.borrow_mut();
                match outcome.retried {
                    true => recorder.retries += 1,
                    false => {
                        let took = done.saturating_duration_since(from);
                        recorder.record(done - begin, took, outcome.queries, outcome.bytes);
                    }
                }
            }
            if let Some(interval) = interval {
                due += interval;
                core.sleep_until(due).await;
            }
        }
        if let Some(interval) = interval {
            // What was due and could not be sent has waited until now at least: leaving it out
            // would flatter a slow target.
            let mut recorder = core.recorder.borrow_mut();
            while due < end {
                recorder.record_unsent(end.saturating_duration_since(due));
                due += interval;
            }
        }
        if let Some(wire) = self.wire {
            wire.quit();
        }
        Ok(())
    }

    async fn transaction(&mut self, core: &Core) -> Result<Outcome, String> {
        if !self.work.connects {
            return self.statements().await;
        }
        let round = &core.shared.round;
        self.wire = Some(Wire::open(&core.ring, &round.endpoint, true).await?);
        for bound in self.prepared.iter_mut().flatten() {
            *bound = None;
        }
        self.prepare().await?;
        let outcome = self.statements().await;
        if let Some(wire) = self.wire.take() {
            wire.quit();
        }
        outcome
    }

    async fn statements(&mut self) -> Result<Outcome, String> {
        let work = Arc::clone(&self.work);
        let chosen = work.choose(&mut self.random);
        let Some(transaction) = work.transactions.get(chosen) else {
            return Ok(Outcome::default());
        };
        self.named.clear();
        self.named.resize(transaction.names, Value::Int(0));
        let mut outcome = Outcome::default();
        for (index, statement) in transaction.statements.iter().enumerate() {
            for _ in 0..statement.times {
                let answer = self.statement(statement, (chosen, index)).await?;
                outcome.queries += 1;
                outcome.bytes += answer.bytes;
                let Some((code, _)) = answer.summary.error else { continue };
                if !RETRIED.contains(&code) {
                    let wire = self.wire.as_ref();
                    let message = wire.map(Wire::message).unwrap_or_default();
                    return Err(format!(
                        "error {code}: {message}, for: {}",
                        statement.prepared_text()
                    ));
                }
                if let Some(wire) = self
                    .wire
                    .as_mut()
                    .filter(|_| transaction.statements.len() > 1)
                {
                    wire.query("ROLLBACK").await?;
                }
                return Ok(Outcome { retried: true, ..outcome });
            }
        }
        Ok(outcome)
    }

    async fn statement(
        &mut self,
        statement: &Statement,
        at: (usize, usize),
    ) -> Result<Answer, String> {
        let (named, seq, random) = (&mut self.named, &mut self.seq, &mut self.random);
        let mut draw = Draw { random, named, seq, step: self.step, row: 1 };
        let prepared = self
            .prepared
            .get_mut(at.0)
            .and_then(|t| t.get_mut(at.1))
            .and_then(Option::as_mut);
        let (command, kind) = match prepared {
            None => {
                let command = packet(|w| {
                    encode::query(w, Capabilities::empty(), b"");
                    statement.text(&mut draw, w);
                });
                (command, ResponseKind::Query)
            }
            Some(prepared) => {
                self.values.clear();
                statement.draw(&mut draw, &mut self.values);
                (execution(prepared, &self.values), ResponseKind::Execute)
            }
        };
        let wire = self
            .wire
            .as_mut()
            .ok_or_else(|| "there is no connection".to_owned())?;
        let answer = wire.exchange(command, kind).await?;
        let summary = &answer.summary;
        let right = match statement.check {
            _ if summary.error.is_some() => true,
            Check::Good => true,
            Check::Rows(rows) => summary.rows == rows,
            Check::COf(name) => {
                let id = match self.named.get(name) {
                    Some(Value::Int(id)) => u32::try_from(*id).unwrap_or_default(),
                    _ => 0,
                };
                let is_row =
                    if kind == ResponseKind::Execute { is_binary_row } else { is_text_row };
                summary.rows == 1 && is_row(wire.row(), id)
            }
        };
        if right {
            return Ok(answer);
        }
        let (rows, text) = (summary.rows, statement.prepared_text());
        Err(format!("the answer to {text} is wrong ({rows} rows)"))
    }
}

/// As the C clients do it, the types of the values go with the first execution only.
fn execution(prepared: &mut Prepared, values: &[Value]) -> Vec<u8> {
    let mut body = Vec::with_capacity(16 + values.len() * 8);
    let params: Vec<_> = values.iter().map(Value::as_param).collect();
    execute::put_body(&mut body, Capabilities::empty(), &params);
    if std::mem::replace(&mut prepared.bound, true) && !values.is_empty() {
        // NULLs, "types follow", two bytes for each type, the values.
        let flag = values.len().div_ceil(8);
        body.splice(flag..flag + 1 + 2 * values.len(), [0]);
    }
    packet(|w| encode::stmt_execute(w, prepared.id, 0, &body))
}
