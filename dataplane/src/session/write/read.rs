//! Queries that are steps of a statement: planned and run as a client's, and their rows kept.
use super::super::answer::Answer;
use super::super::plan::{BoundPlan, Planned};
use super::super::run::place_of;
use super::super::scatter::{Rows, Work};
use super::super::wire::query_payload;
use super::super::{Outcome, Session};
use crate::error::sql_error;
use crate::exec::Collected;
use crate::pool::Place;
use coregate_planner::plan::{Action, Combine, Plan};
use coregate_protocol::walker::ResponseKind;
use std::cell::RefCell;

const RESULTS: &str = "character_set_results";

impl Session {
    /// The rows of a query, from wherever they lie.
    pub(in crate::session) async fn read(&mut self, sql: &[u8]) -> Outcome<Collected> {
        let Planned { entry, bound, .. } = self.planned(sql).await?;
        let plan = &entry.plan;
        let rows = RefCell::new(Collected::any(self.query_memory()));
        match (&plan.action, bound) {
            (Action::Route(route), BoundPlan::Route(resolved)) => {
                let wires = resolved.shards.into_iter().map(|shard| {
                    let text = shard.text.unwrap_or_else(|| sql.to_vec());
                    (place_of(route, shard.id), query_payload(&text))
                });
                let wires = wires.collect();
                self.read_from(plan, wires, &rows).await?;
            }
            (Action::Tree(tree), BoundPlan::Tree(parts)) => {
                let mut nothing = Answer::first();
                Box::pin(self.tree_into(plan, tree, *parts, Some(&rows), &mut nothing)).await?;
            }
            _ => return Err(sql_error(1105, "a step of a statement is no query").into()),
        }
        Ok(rows.into_inner())
    }

    /// The same, with text in utf8mb4, which loses nothing.
    pub(super) async fn read_values(&mut self, sql: &[u8]) -> Outcome<Collected> {
        let before = self.results_in_utf8mb4();
        let result = self.read(sql).await;
        self.results_as(before);
        result
    }

    /// From now on text comes in utf8mb4. What is to be set again then, if it did not before.
    pub(in crate::session) fn results_in_utf8mb4(&mut self) -> Option<Vec<u8>> {
        let set = ["character set", RESULTS]
            .iter()
            .any(|name| self.state.settings.get(name).is_some());
        let own = self.state.settings.client_charset();
        if own == "utf8mb4" && !set {
            return None;
        }
        let mut settings = (*self.state.settings).clone();
        let wanted = match (settings.get(RESULTS), settings.get("character set")) {
            (Some(set), _) => set.to_vec(),
            // The server knows it as it is set.
            _ => format!("@@session.{RESULTS} = {own}").into_bytes(),
        };
        settings.set(RESULTS, format!("@@session.{RESULTS} = utf8mb4"));
        self.state.settings = self.core.settings.intern(settings);
        Some(wanted)
    }

    /// Said in full, as a connection that is held cannot go back to what was never said.
    pub(in crate::session) fn results_as(&mut self, wanted: Option<Vec<u8>>) {
        if let Some(wanted) = wanted {
            let mut settings = (*self.state.settings).clone();
            settings.set(RESULTS, wanted);
            self.state.settings = self.core.settings.intern(settings);
        }
    }

    /// The rows of one shard.
    pub(in crate::session) async fn read_at(
        &mut self,
        plan: &Plan,
        place: Place,
        sql: &[u8],
    ) -> Outcome<Collected> {
        let rows = RefCell::new(Collected::any(self.query_memory()));
        self.read_from(plan, vec![(place, query_payload(sql))], &rows)
            .await?;
        Ok(rows.into_inner())
    }

    async fn read_from(
        &mut self,
        plan: &Plan,
        mut wires: Vec<(Place, Vec<u8>)>,
        rows: &RefCell<Collected>,
    ) -> Outcome {
        // As every statement takes its connections, so that no two wait for each other.
        wires.sort_by_key(|(place, _)| *place);
        let (combine, kind) = (Combine::Concat, ResponseKind::Query);
        let mut work =
            Work { plan, combine, kind, wires, keyspace: None, rows: Rows::Gather(rows) };
        match self
            .run_parts(&mut work, false, &mut Answer::first())
            .await?
        {
            (.., Some(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
