//! Signs of health, what they say about shards, and the tasks that do something about it.
use super::{Answer, Owner, done};
use crate::Error;
use crate::analysis::{Analysis, Recovery};
use crate::audit::RECOVERIES_MAX;
use crate::health::Sign;
use crate::plane::{Command, Edit, Job};
use crate::reparent::{Cluster, Desk, Emergency, Member, Planned, Repair, Shard};
use crate::store::{Guard, Peers, ShardLock};
use crate::topology::KeyspaceRecord;
use crate::view::Recovered;
use crate::world::{Change, general};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is to be done about a shard.
#[derive(Debug, Clone)]
pub(crate) enum How {
    Planned(Planned),
    Emergency(Emergency),
    Repair(Repair),
}

impl Owner {
    pub(super) fn checked(&mut self, alias: &str, sign: Sign) {
        let now = Instant::now();
        let has = |r: &KeyspaceRecord| {
            r.shards
                .iter()
                .flat_map(|s| &s.tablets)
                .any(|t| t.alias == alias)
        };
        let known = self
            .world
            .keyspaces
            .values()
            .find(|known| has(&known.record));
        let record = known.map(|known| &known.record);
        self.pending.serving |= self.fleet.see(alias, sign, record, now);
        if let Some(health) = self.fleet.health(alias) {
            let health = health.clone();
            self.views
                .change(|view| drop(view.health.insert(alias.to_owned(), health)));
        }
        let Some(record) = record.cloned() else { return };
        let of_tablet =
            |s: &&crate::topology::ShardRecord| s.tablets.iter().any(|t| t.alias == alias);
        let Some(shard) = record.shards.iter().find(of_tablet).map(|s| s.name.clone()) else {
            return;
        };
        if self.fleet.diagnose(&record, &shard) {
            let problems = self.fleet.problems();
            self.views.change(|view| view.problems = problems);
        }
        if self.leads()
            && let Some(problem) = self.fleet.problem(&record, &shard, now)
        {
            let keyspace = record.name.clone();
            self.recover(&keyspace, &shard, &problem);
        }
    }

    /// A core could not connect, or was thrown out.
    pub(super) fn suspected(&mut self, alias: &str) {
        self.fleet.suspect(alias);
        self.checks.poke(alias);
    }

    fn recover(&mut self, keyspace: &str, shard: &str, problem: &Analysis) {
        let how = match problem.recovery() {
            Recovery::Emergency => {
                How::Emergency(Emergency { confirm: true, ..Emergency::default() })
            }
            // The replicas hear of it, and nobody can write.
            Recovery::Blocked => How::Emergency(Emergency::default()),
            Recovery::Reconnect(alias) => How::Repair(Repair::Reconnect(alias)),
            Recovery::FixPrimary => How::Repair(Repair::Primary),
            Recovery::FixReplica(alias) => How::Repair(Repair::Replica(alias)),
            Recovery::SkipRollback(alias) => How::Repair(Repair::SkipRollback(alias)),
            Recovery::Drain(alias) => How::Repair(Repair::Errant(alias)),
            // Told by the change of the tablet's state.
            Recovery::Report => return,
        };
        self.start(keyspace, shard, how, problem.to_string(), None);
    }

    /// By order.
    pub(super) fn reparent(&mut self, keyspace: &str, shard: &str, how: How, answer: Answer) {
        let what = match &how {
            How::Planned(_) => "PlannedReparentShard",
            How::Emergency(_) => "EmergencyReparentShard",
            How::Repair(_) => "repair",
        };
        self.start(keyspace, shard, how, what.to_owned(), Some(answer));
    }

    fn start(
        &mut self,
        keyspace: &str,
        shard: &str,
        how: How,
        what: String,
        answer: Option<Answer>,
    ) {
        let refuse = |owner: &mut Self, answer: Option<Answer>, why: String| {
            if let Some(answer) = answer {
                owner.pending.answer(answer, Err(general(why)));
            }
        };
        let Some(found) = self.shard(keyspace, shard) else {
            return refuse(
                self,
                answer,
                format!("there is no shard {keyspace}/{shard} with a primary"),
            );
        };
        if let How::Emergency(Emergency { ignored, .. }) = &how
            && let Some(unknown) = ignored
                .iter()
                .find(|alias| !found.others.iter().any(|m| m.alias() == *alias))
        {
            return refuse(
                self,
                answer,
                format!("{unknown} is no other tablet of shard {keyspace}/{shard}"),
            );
        }
        if self.data.is_none() {
            return refuse(self, answer, "the cores have not started yet".to_owned());
        }
        if !self.fleet.begin(keyspace, shard) {
            let why =
                format!("shard {keyspace}/{shard} is being moved or repaired: repeat it later");
            return refuse(self, answer, why);
        }
        tracing::info!(keyspace, shard, "{what} begins");
        let (keyspace, shard) = (keyspace.to_owned(), shard.to_owned());
        let primary = found.primary.alias().to_owned();
        let job =
            Job { keyspace, shard, how, what, primary, answer, began: crate::world::now_utc() };
        if let Some(audit) = &self.audit {
            let event = Recovered {
                time: job.began.clone(),
                began: job.began.clone(),
                keyspace: job.keyspace.clone(),
                shard: job.shard.clone(),
                what: job.what.clone(),
                ok: false,
                result: String::new(),
            };
            audit.begins(&self.shared.process(), &event);
        }
        match &self.peers {
            Some(_) => self.lock(job),
            None => self.run(job, None),
        }
    }

    /// `None`: the cores have not started yet.
    pub(super) fn desk(&self, lock: Option<ShardLock>) -> Option<Desk> {
        let options = &self.fleet.options;
        Some(Desk {
            owner: self.sender.clone(),
            data: self.data.clone()?,
            connector: self.shared.connector.clone(),
            fence: self.fence.clone(),
            drain: Duration::from_millis(options.drain_ms),
            catch_up: Duration::from_millis(options.catch_up_ms),
            lock: lock.zip(self.peers.as_ref().map(Peers::watch)),
            process: self
                .peers
                .as_ref()
                .map(|peers| peers.id().to_owned())
                .unwrap_or_default(),
        })
    }

    pub(super) fn run(&mut self, job: Job, lock: Option<ShardLock>) {
        let Job { keyspace, shard, how, what, primary, answer, began } = job;
        let (Some(found), Some(desk)) = (self.shard(&keyspace, &shard), self.desk(lock)) else {
            return;
        };
        let moved = answer.is_none() && found.primary.alias() != primary;
        tokio::spawn(async move {
            let result = match &how {
                _ if moved => {
                    Err(Error::Server("another process has moved its primary meanwhile".to_owned()))
                }
                How::Planned(planned) => planned.run(&desk, &found).await.map(is_primary),
                How::Emergency(emergency) => emergency.run(&desk, &found).await.map(is_primary),
                How::Repair(repair) => repair.run(&desk, &found).await,
            };
            desk.unlock(&found, &result).await;
            let done = Command::Done { keyspace, shard, what, began, result, answer };
            let _ = desk.owner.send(done).await;
        });
    }

    fn aliases(&self, keyspace: &str, shard: &str) -> Vec<String> {
        let known = self.world.keyspaces.get(keyspace);
        let record = known.and_then(|k| k.record.shards.iter().find(|s| s.name == shard));
        record.map_or_else(Vec::new, |s| s.tablets.iter().map(|t| t.alias.clone()).collect())
    }

    pub(super) fn shard(&self, keyspace: &str, shard: &str) -> Option<Shard> {
        let known = self.world.keyspaces.get(keyspace)?;
        let view = self.fleet.view(&known.record, shard)?;
        let member = |m: &crate::analysis::Member<'_>| {
            Some(Member {
                tablet: known.tablets.get(&m.record.alias)?.clone(),
                kind: m.record.kind,
                source: m.record.source(),
                reached: m.facts().is_some(),
                stale: m.stale,
                weight: m.record.weight.unwrap_or(1),
            })
        };
        Some(Shard {
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            primary: member(&view.primary)?,
            others: view.replicas.iter().filter_map(member).collect(),
            semi_sync: self.fleet.options.semi_sync(),
            account: known.record.replication.clone(),
            galera: view
                .is_galera()
                .then(|| Cluster { cluster_uuid: view.cluster_uuid().map(str::to_owned) }),
        })
    }

    /// A change that a task asks for, answered when every core uses it.
    pub(super) fn edit(
        &mut self,
        keyspace: &str,
        shard: &str,
        edit: Edit,
        guard: Option<Guard>,
        answer: Answer,
    ) {
        match edit {
            Edit::Hold => self.fleet.set_moving(keyspace, shard, true),
            Edit::Release => self.fleet.set_moving(keyspace, shard, false),
            Edit::SetPrimary(alias) => {
                let (keyspace, shard) = (keyspace.to_owned(), shard.to_owned());
                return self.change(Change::Primary { keyspace, shard, alias }, guard, answer);
            }
            Edit::SetKind(alias, kind) => {
                return self.change(Change::Kind { alias, kind }, guard, answer);
            }
        }
        self.pending.serving = true;
        self.pending.answer(answer, done());
    }

    pub(super) fn recovered(
        &mut self,
        keyspace: &str,
        shard: &str,
        (what, began): (String, String),
        result: Result<String, Error>,
        answer: Option<Answer>,
    ) {
        self.fleet.end(keyspace, shard, &what, Instant::now());
        if let Err(Error::Unknown { .. }) = &result {
            // Who is primary is not known until the store is back: statements wait for that.
            self.fleet.doubt(keyspace, shard);
        }
        // A change of tables may have reached the new primary, and nobody has heard of it.
        if result.is_ok() {
            self.look_at(keyspace);
        }
        // What was seen last is from before.
        let aliases = self.aliases(keyspace, shard);
        self.checks.restart(&aliases);
        self.follow_tablets();
        self.pending.serving = true;
        self.pending.shown = true;
        let text = match &result {
            Ok(text) => text.clone(),
            Err(e) => e.to_string(),
        };
        match &result {
            Ok(_) => tracing::info!(keyspace, shard, "{what}: {text}"),
            Err(_) => tracing::warn!(keyspace, shard, "{what} has failed: {text}"),
        }
        if let Some(answer) = answer {
            let result = result.as_ref().map_err(|e| general(e.to_string()));
            self.pending
                .answer(answer, result.map(|text| json!({"ok": true, "result": text})));
        }
        let event = Recovered {
            time: crate::world::now_utc(),
            began,
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            what,
            ok: result.is_ok(),
            result: text,
        };
        if let Some(audit) = &self.audit {
            audit.ends(&self.shared.process(), &event);
        }
        self.views.change(|view| {
            if view.recoveries.len() >= RECOVERIES_MAX {
                view.recoveries.remove(0);
            }
            view.recovered[usize::from(!event.ok)] += 1;
            view.recoveries.push(event);
        });
    }
}

fn is_primary(alias: String) -> String {
    format!("{alias} is primary")
}
