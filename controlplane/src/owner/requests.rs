//! What cores and the admin API ask for.
use super::{Answer, Owner, done};
use crate::Error;
use crate::admin::Request;
use crate::plane::Command;
use crate::view::Shared;
use crate::world::{Loaded, general};
use coregate_planner::control::{ControlRequest, SqlError};
use coregate_planner::snapshot::Tablet;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Owner {
    pub(super) fn control(&mut self, request: ControlRequest, answer: Answer) {
        match request {
            ControlRequest::AlterVschema { sql, keyspace } => {
                let result = self.world.alter(&sql, keyspace.as_deref());
                tracing::info!(ok = result.is_ok(), "{sql}");
                self.pending.catalog |= result.is_ok();
                self.pending.answer(answer, result.and_then(|()| done()));
            }
            ControlRequest::SchemaChanged { keyspace } => self.read_columns(&keyspace, vec![answer]),
        }
    }

    pub(super) fn admin(&mut self, request: Request, answer: Answer) {
        let result = match request {
            Request::Reload => return self.reload(vec![answer]),
            Request::ApplySchema { keyspace, sql } => return self.apply_schema(keyspace, sql, answer),
            Request::Reparent { keyspace, shard, how } => {
                return self.reparent(&keyspace, &shard, how, answer);
            }
            Request::ApplyVschema { keyspace, vschema } => self.world.set_vschema(&keyspace, vschema),
            Request::ApplyRules(rules) => self.world.set_rules(rules),
            Request::SetKind { alias, kind } => {
                let changed = self.world.set_kind(&alias, kind);
                if changed.is_ok() {
                    self.follow_tablets();
                }
                self.pending.serving = true;
                self.pending.shown = true;
                return self
                    .pending
                    .answer(answer, in_sql(changed).and_then(|()| done()));
            }
            Request::DisableRecoveries(disabled) => {
                self.fleet.disabled = disabled;
                self.pending.shown = true;
                return self.pending.answer(answer, done());
            }
        };
        self.pending.catalog |= result.is_ok();
        self.pending
            .answer(answer, in_sql(result).and_then(|()| done()));
    }

    /// Reads the topology again, beside everything else.
    pub(super) fn reload(&mut self, answers: Vec<Answer>) {
        let Some((edits, reading)) = self.world.reload() else {
            return answers
                .into_iter()
                .for_each(|answer| self.pending.answer(answer, done()));
        };
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let loaded = reading.await;
            let _ = owner.send(Command::Loaded { edits, loaded, answers }).await;
        });
    }

    pub(super) fn loaded(&mut self, edits: u64, loaded: Result<Loaded, Error>, answers: Vec<Answer>) {
        match loaded.and_then(|loaded| self.world.reloaded(edits, loaded)) {
            // Something was changed through us meanwhile.
            Ok(false) => return self.reload(answers),
            Ok(true) => {}
            Err(e) => {
                tracing::error!("nothing has changed: {e}");
                for answer in answers {
                    self.pending.answer(answer, Err(general(e.to_string())));
                }
                return;
            }
        }
        self.pending.catalog = true;
        self.follow_tablets();
        self.forget_readings();
        let keyspaces: Vec<String> = self.world.keyspaces.keys().cloned().collect();
        let mut parts = Vec::new();
        for keyspace in keyspaces {
            let (tell, told) = oneshot::channel();
            parts.push(told);
            self.read_columns(&keyspace, vec![Answer::Part(tell)]);
        }
        tokio::spawn(async move {
            for part in parts {
                let _ = part.await;
            }
            answers.into_iter().for_each(|answer| answer.give(done()));
        });
    }

    /// Runs statements on all primaries of a keyspace, one after another.
    fn apply_schema(&mut self, keyspace: String, sql: String, answer: Answer) {
        let Some(known) = self.world.keyspaces.get(&keyspace) else {
            let why = format!("there is no keyspace {keyspace}");
            return self.pending.answer(answer, Err(general(why)));
        };
        let database = known.record.database().to_owned();
        let shards = known.record.shards.iter();
        let primaries: Vec<_> = shards
            .filter_map(|shard| Some((shard.name.clone(), known.primary(&shard.name)?)))
            .collect();
        let (shared, owner) = (Arc::clone(&self.shared), self.sender.clone());
        tokio::spawn(async move {
            let mut result = Ok(());
            for (shard, tablet) in primaries {
                result = apply(&shared, &tablet, (&keyspace, &shard), &database, &sql).await;
                if result.is_err() {
                    break;
                }
            }
            let _ = owner
                .send(Command::Applied { keyspace, result, answer })
                .await;
        });
    }

    pub(super) fn applied(&mut self, keyspace: &str, result: Result<(), Error>, answer: Answer) {
        match result {
            Ok(()) => self.read_columns(keyspace, vec![answer]),
            Err(e) => {
                // Some of the statements have run.
                self.read_columns(keyspace, Vec::new());
                self.pending.answer(answer, Err(general(e.to_string())));
            }
        }
    }
}

/// On one shard. What runs while its primary is moved may be on the old one only: then it is not acknowledged.
async fn apply(
    shared: &Shared,
    tablet: &Tablet,
    (keyspace, shard): (&str, &str),
    database: &str,
    sql: &str,
) -> Result<(), Error> {
    let is_primary = || {
        let serving = shared.serving();
        let mut shards = serving.shards.values();
        let found = shards.find(|s| s.keyspace == keyspace && s.shard == shard);
        found
            .and_then(|s| s.primary())
            .is_some_and(|primary| primary.alias == tablet.alias)
    };
    if !is_primary() {
        let what = format!("the primary of {keyspace}/{shard} is being moved: repeat it later");
        return Err(Error::Server(what));
    }
    crate::local::apply_sql(&shared.connector, tablet, database, shard, sql).await?;
    match is_primary() {
        true => Ok(()),
        false => Err(Error::Server(format!(
            "the primary of {keyspace}/{shard} was moved meanwhile: see what of the statements is there, then repeat the rest"
        ))),
    }
}

fn in_sql<T>(result: Result<T, Error>) -> Result<T, SqlError> {
    result.map_err(|e| general(e.to_string()))
}
