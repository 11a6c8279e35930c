//! VEXPLAIN QUERIES, ALL and TRACE: a query is run, its rows are dropped, and what went to which
//! server is told.
//!
//! <https://vitess.io/docs/user-guides/sql/vexplain/>
use super::answer::{Answer, text_column};
use super::wire::TEXT_AT;
use super::{Outcome, Session};
use crate::pool::Place;
use coregate_planner::plan::{Plan, VexplainKind};
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is kept of a statement that is run to be explained, in calls.
const CALLS_MAX: usize = 10_000;

/// One statement that one server got.
#[derive(Debug)]
struct Sent {
    /// Those of one call went out together.
    call: u64,
    place: Place,
    sql: Vec<u8>,
    rows: u64,
    spent: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    sent: Vec<Sent>,
    calls: u64,
    started: Option<Instant>,
}

impl Session {
    /// Notes what goes out, while a statement is run to be explained.
    #[inline]
    pub(super) fn note_sent(&mut self, wires: &[(Place, Vec<u8>)]) {
        if let Some(trace) = &mut self.running.trace
            && trace.sent.len() + wires.len() <= CALLS_MAX
        {
            trace.calls += 1;
            trace.started = Some(self.core.ring.now());
            let call = trace.calls;
            trace.sent.extend(wires.iter().map(|(place, payload)| Sent {
                call,
                place: *place,
                sql: payload.get(TEXT_AT..).unwrap_or_default().to_vec(),
                rows: 0,
                spent: Duration::ZERO,
            }));
        }
    }

    /// Notes how many rows each server has sent for the last call.
    #[inline]
    pub(super) fn note_answered(&mut self, rows: impl Iterator<Item = (Place, u64)>) {
        let now = self.core.ring.now();
        let Some(trace) = &mut self.running.trace else { return };
        let spent = trace
            .started
            .map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        for (place, count) in rows {
            let last = trace.sent.iter_mut().rev();
            let of_place = last
                .take_while(|sent| sent.call == trace.calls)
                .find(|sent| sent.place == place);
            if let Some(sent) = of_place {
                (sent.rows, sent.spent) = (count, spent);
            }
        }
    }

    pub(super) async fn vexplain(
        &mut self,
        plan: &Plan,
        (kind, sql, tree): (VexplainKind, &[u8], &str),
        answer: &mut Answer,
    ) -> Outcome {
        self.clear_warnings();
        self.running.trace = Some(Box::default());
        let rows = Box::pin(self.read(sql)).await;
        let trace = self.running.trace.take().unwrap_or_default();
        let rows = rows?.rows.len();
        self.last.found_rows = trace.sent.len() as u64;
        self.last.row_count = -1;
        match kind {
            VexplainKind::Queries => self.send_queries(&trace, answer),
            VexplainKind::Trace => {
                let calls: Vec<Value> = trace
                    .sent
                    .iter()
                    .map(|sent| self.told(sent, true))
                    .collect();
                let out = json!({ "Plan": parsed(tree), "RowsReturned": rows, "Calls": calls });
                self.send_json("Trace", &out, answer);
            }
            VexplainKind::All => {
                let mut calls = Vec::new();
                for sent in &trace.sent {
                    let mut told = self.told(sent, false);
                    let explain = [b"EXPLAIN FORMAT=JSON ", sent.sql.as_slice()].concat();
                    // What reads temporary tables, which are gone, has no plan of its own.
                    if let Ok(read) = Box::pin(self.read_at(plan, sent.place, &explain)).await
                        && let Some(Some(text)) = read.rows.first().and_then(|row| row.first())
                    {
                        told["mysql_explain_json"] = parsed(&String::from_utf8_lossy(text));
                    }
                    calls.push(told);
                }
                let out = json!({ "Plan": parsed(tree), "Queries": calls });
                self.send_json("JSON", &out, answer);
            }
        }
        Ok(())
    }

    fn send_queries(&mut self, trace: &Trace, answer: &mut Answer) {
        let number = ColumnDefinition::expression(b"#", ColumnType::LONG);
        let columns = [number, text_column("keyspace"), text_column("shard"), text_column("query")];
        let rows: Vec<Vec<Option<Vec<u8>>>> = trace
            .sent
            .iter()
            .map(|sent| {
                let (keyspace, shard) = self.names_of(sent.place);
                let call = (sent.call - 1).to_string();
                [call.into_bytes(), keyspace.into_bytes(), shard.into_bytes(), sent.sql.clone()]
                    .map(Some)
                    .into()
            })
            .collect();
        self.send_result(answer, &columns, &rows);
    }

    fn told(&self, sent: &Sent, with_times: bool) -> Value {
        let (keyspace, shard) = self.names_of(sent.place);
        let query = String::from_utf8_lossy(&sent.sql);
        let mut out =
            json!({ "Call": sent.call - 1, "Keyspace": keyspace, "Shard": shard, "Query": query });
        if with_times {
            out["Rows"] = json!(sent.rows);
            out["Microseconds"] = json!(sent.spent.as_micros() as u64);
        }
        out
    }

    fn send_json(&mut self, name: &str, value: &Value, answer: &mut Answer) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.send_rows(answer, &[name], &[vec![Some(text)]]);
    }

    fn names_of(&self, place: Place) -> (String, String) {
        let Place::Shard { shard: id, .. } = place else { return Default::default() };
        let snapshot = self.core.snapshot.borrow();
        let mut all = snapshot
            .keyspaces
            .iter()
            .flat_map(|k| k.shards.iter().map(move |s| (k, s)));
        all.find(|(_, shard)| shard.id == id)
            .map(|(keyspace, shard)| (keyspace.name.clone(), shard.name.clone()))
            .unwrap_or_default()
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}
