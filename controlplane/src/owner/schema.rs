//! `apply-schema`: statements on the primaries of all shards, one shard after another, with a
//! report of what each has.
mod allowed;

use super::{Answer, Owner};
use crate::Error;
use crate::backend;
use crate::local::split;
use crate::plane::Command;
use crate::store::{Etcd, ShardLock, TABLES};
use crate::view::{SchemaProgress, ShardProgress, Shared};
use crate::world::general;
use coregate_planner::snapshot::Tablet;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long one statement of a schema may take: it may rebuild a large table.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(86_400);

/// Under which name a keyspace's tables are locked.
pub(super) const LOCK: &str = TABLES;

impl Owner {
    /// Runs statements on all primaries of a keyspace. Where they did not end well on all the last
    /// time, the same statements go on where they stopped.
    pub(super) fn apply_schema(&mut self, keyspace: String, sql: String, answer: Answer) {
        let Some(known) = self.world.keyspaces.get(&keyspace) else {
            let why = format!("there is no keyspace {keyspace}");
            return self.pending.answer(answer, Err(general(why)));
        };
        let statements = split::statements(&sql);
        if let Err(why) = statements
            .iter()
            .try_for_each(|statement| allowed::check(statement))
        {
            return self.pending.answer(answer, Err(general(why)));
        }
        let begun = self.shared.schema_progress(&keyspace);
        if !self.fleet.begin(&keyspace, LOCK) {
            let why = format!(
                "tables of keyspace {keyspace} are being changed (by another apply-schema or a \
                    session): repeat it later"
            );
            return self.pending.answer(answer, Err(general(why)));
        }
        let database = known.record.database().to_owned();
        let mut shards = Vec::new();
        for shard in &known.record.shards {
            if let Some(primary) = known.primary(&shard.name) {
                shards.push((shard.name.clone(), primary));
            }
        }
        let progress = SchemaProgress::begin(&sql, &shards, statements.len(), begun);
        self.shared.set_schema_progress(&keyspace, progress.clone());
        let run = Run {
            shared: Arc::clone(&self.shared),
            etcd: self.peers.as_ref().map(|peers| Arc::clone(&peers.etcd)),
            keyspace,
            database,
            statements,
        };
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let result = run.all(progress, shards).await;
            let keyspace = run.keyspace;
            let _ = owner
                .send(Command::Applied { keyspace, result, answer })
                .await;
        });
    }

    pub(super) fn applied(
        &mut self,
        keyspace: &str,
        result: Result<SchemaProgress, Error>,
        answer: Answer,
    ) {
        self.fleet
            .end(keyspace, LOCK, "ApplySchema", std::time::Instant::now());
        self.next_turn(keyspace);
        let progress = match result {
            Ok(progress) => progress,
            Err(e) => {
                if let Some(mut progress) = self.shared.schema_progress(keyspace) {
                    progress.running = false;
                    self.shared.set_schema_progress(keyspace, progress);
                }
                return self.pending.answer(answer, Err(general(e.to_string())));
            }
        };
        if progress.is_done() {
            let value = json!({"ok": true, "shards": progress.shards});
            return self.tables_changed(keyspace, Answer::With(Box::new(answer), value));
        }
        // Some of the statements have run.
        let (tell, _) = tokio::sync::oneshot::channel();
        self.tables_changed(keyspace, Answer::Part(tell));
        self.pending
            .answer(answer, Err(general(progress.report(keyspace))));
    }
}

struct Run {
    shared: Arc<Shared>,
    etcd: Option<Arc<Etcd>>,
    keyspace: String,
    database: String,
    statements: Vec<String>,
}

impl Run {
    async fn all(
        &self,
        mut progress: SchemaProgress,
        shards: Vec<(String, Arc<Tablet>)>,
    ) -> Result<SchemaProgress, Error> {
        let lock: Option<ShardLock> = match &self.etcd {
            Some(etcd) => Some(etcd.lock(&self.keyspace, LOCK, "ApplySchema").await?),
            None => None,
        };
        for (at, (shard, tablet)) in shards.iter().enumerate() {
            let Some(of_shard) = progress.shards.get(at).cloned() else { break };
            if of_shard.done < of_shard.statements {
                let ended = self.shard(&mut progress, at, shard, tablet).await;
                if ended.is_err() {
                    break;
                }
            }
        }
        progress.running = false;
        self.shared
            .set_schema_progress(&self.keyspace, progress.clone());
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        Ok(progress)
    }

    /// On one shard. What runs while its primary is moved may be on the old one only: then it does
    /// not count as done.
    async fn shard(
        &self,
        progress: &mut SchemaProgress,
        at: usize,
        shard: &str,
        tablet: &Arc<Tablet>,
    ) -> Result<(), ()> {
        let before = progress.shards.get(at).map_or(0, |s| s.done);
        let result = self.statements(progress, at, shard, tablet, before).await;
        if let (Err(why), Some(of_shard)) = (&result, progress.shards.get_mut(at)) {
            of_shard.error = Some(why.clone());
        }
        self.shared
            .set_schema_progress(&self.keyspace, progress.clone());
        result.map_err(drop)
    }

    async fn statements(
        &self,
        progress: &mut SchemaProgress,
        at: usize,
        shard: &str,
        tablet: &Arc<Tablet>,
        first: usize,
    ) -> Result<(), String> {
        let moved =
            || format!("the primary of {}/{shard} is being moved: repeat it later", self.keyspace);
        if !self.is_primary(shard, tablet) {
            return Err(moved());
        }
        let mut conn = self
            .shared
            .connector
            .connect(tablet)
            .await
            .map_err(|e| e.to_string())?;
        let name = backend::name(tablet);
        let used = tokio::time::timeout(
            backend::PATIENCE,
            conn.query_drop(format!("USE `{}`", self.database)),
        )
        .await;
        used.map_err(|_| format!("{name}: no answer"))?
            .map_err(|e| format!("{name}: {e}"))?;
        for (n, statement) in self.statements.iter().enumerate().skip(first) {
            let ran = tokio::time::timeout(STATEMENT_PATIENCE, conn.query_drop(statement)).await;
            let short: String = statement.chars().take(120).collect();
            let at_fault = |why: String| {
                format!("{name}: statement {}: {why}; the statement is: {short}", n + 1)
            };
            match ran {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(at_fault(e.to_string())),
                Err(_) => {
                    return Err(at_fault(
                        "it has not ended within a day, and may still run".to_owned(),
                    ));
                }
            }
            if !self.is_primary(shard, tablet) {
                return Err(at_fault(
                    "the primary was moved meanwhile: see whether it is there".to_owned(),
                ));
            }
            if let Some(of_shard) = progress.shards.get_mut(at) {
                of_shard.done = n + 1;
                of_shard.error = None;
            }
            self.shared
                .set_schema_progress(&self.keyspace, progress.clone());
        }
        Ok(())
    }

    fn is_primary(&self, shard: &str, tablet: &Tablet) -> bool {
        let serving = self.shared.serving();
        let found = serving
            .shards
            .values()
            .find(|s| s.keyspace == self.keyspace && s.shard == shard);
        found
            .and_then(|s| s.primary())
            .is_some_and(|primary| primary.alias == tablet.alias)
    }
}

impl SchemaProgress {
    /// From the beginning, or from where the same statements stopped.
    fn begin(
        sql: &str,
        shards: &[(String, Arc<Tablet>)],
        statements: usize,
        before: Option<Self>,
    ) -> Self {
        let before = before.filter(|old| old.sql == sql && !old.is_done());
        let of = |(shard, tablet): &(String, Arc<Tablet>)| {
            let old = before
                .as_ref()
                .and_then(|old| old.shards.iter().find(|s| s.shard == *shard));
            ShardProgress {
                shard: shard.clone(),
                tablet: tablet.alias.clone(),
                statements,
                done: old.map_or(0, |old| old.done.min(statements)),
                error: None,
            }
        };
        Self { sql: sql.to_owned(), running: true, shards: shards.iter().map(of).collect() }
    }

    fn is_done(&self) -> bool {
        self.shards.iter().all(|s| s.done == s.statements)
    }

    /// Which shards have what.
    fn report(&self, keyspace: &str) -> String {
        let of = |s: &ShardProgress| {
            let why = s
                .error
                .as_deref()
                .map_or_else(String::new, |why| format!(" ({why})"));
            format!("{}: {} of {} statements{why}", s.shard, s.done, s.statements)
        };
        let shards: Vec<String> = self.shards.iter().map(of).collect();
        format!(
            "the schema of {keyspace} is not the same on all shards now: {}; the same command \
                again goes on where it stopped",
            shards.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coregate_planner::snapshot::{Address, BackendTls, TabletKind};

    #[test]
    fn the_same_statements_go_on_where_they_stopped() {
        let tablet = |alias: &str| {
            Arc::new(Tablet {
                alias: alias.to_owned(),
                kind: TabletKind::Primary,
                address: Address::Unix("/s".into()),
                server_name: String::new(),
                user: String::new(),
                password: String::new(),
                tls: BackendTls::Disabled,
            })
        };
        let shards = [("-80".to_owned(), tablet("a-1")), ("80-".to_owned(), tablet("a-2"))];
        let mut first = SchemaProgress::begin("x; y", &shards, 2, None);
        first.shards[0].done = 2;
        first.shards[1].done = 1;
        first.shards[1].error = Some("no room".to_owned());
        let report = first.report("ks");
        assert!(
            report.contains("-80: 2 of 2 statements; 80-: 1 of 2 statements (no room)"),
            "{report}"
        );
        let done = |p: &SchemaProgress| p.shards.iter().map(|s| s.done).collect::<Vec<_>>();
        let mut again = SchemaProgress::begin("x; y", &shards, 2, Some(first.clone()));
        assert_eq!(done(&again), [2, 1]);
        assert_eq!(done(&SchemaProgress::begin("x; z", &shards, 2, Some(first))), [0, 0]);
        again.shards[1].done = 2;
        assert!(again.is_done());
        assert_eq!(done(&SchemaProgress::begin("x; y", &shards, 2, Some(again))), [0, 0]);
    }
}
