//! Giving the state to the cores and to those who read it.
use super::{Answer, Owner};
use crate::health::Heart;
use crate::missing;
use crate::world::general;
use coregate_planner::control::SqlError;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the cores may take to take over a state before the wait is given up.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// What has changed since the last time, and who waits for it to be used.
#[derive(Default)]
pub(super) struct Pending {
    /// What plans depend on.
    pub(super) catalog: bool,
    /// Who serves.
    pub(super) serving: bool,
    /// Only what pages show.
    pub(super) shown: bool,
    answers: Vec<(Answer, Result<Value, SqlError>)>,
}

impl Pending {
    pub(super) fn answer(&mut self, answer: Answer, result: Result<Value, SqlError>) {
        self.answers.push((answer, result));
    }
}

impl Owner {
    /// Gives what has changed to all cores. Those who wait are answered when every core uses it.
    pub(super) fn publish(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        if pending.catalog || pending.serving || pending.shown {
            self.follow_hearts();
        }
        let mut snapshot = None;
        if pending.catalog {
            match self.world.snapshot() {
                Ok(made) => {
                    self.snapshot = Arc::clone(&made);
                    snapshot = Some(made);
                }
                Err(e) => {
                    tracing::error!("the cores keep the old state: {e}");
                    // A primary that is named stays named: who moves it must not take the old one
                    // back for this.
                    for (_, result) in pending
                        .answers
                        .iter_mut()
                        .filter(|(a, r)| r.is_ok() && !a.is_task())
                    {
                        *result = Err(general(e.to_string()));
                    }
                }
            }
        }
        let mut changed = snapshot.is_some();
        if changed || pending.serving {
            let serving = self
                .world
                .serving(&self.snapshot, &self.fleet, self.serving.version + 1);
            if serving.shards != self.serving.shards || serving.drop_in != self.serving.drop_in {
                self.serving = Arc::new(serving);
                changed = true;
            }
        }
        if changed || pending.shown {
            self.show();
        }
        let data = self.data.clone().filter(|_| changed);
        let Some(data) = data else {
            return pending
                .answers
                .into_iter()
                .for_each(|(answer, result)| answer.give(result));
        };
        let (tell, published) = oneshot::channel();
        let used = Box::new(move || {
            let _ = tell.send(());
        });
        data.publish(snapshot, Arc::clone(&self.serving), used);
        let version = self.snapshot.version;
        tokio::spawn(async move {
            let late = tokio::time::timeout(PUBLISH_PATIENCE, published)
                .await
                .is_err();
            if late {
                tracing::error!(
                    version,
                    "a core has not taken over the state within {PUBLISH_PATIENCE:?}"
                );
            }
            for (answer, result) in pending.answers {
                // Who moves a primary must not go on while a core may still write to the old one.
                if late { answer.give_late(result) } else { answer.give(result) }
            }
        });
    }

    /// What pages and tasks see.
    pub(super) fn show(&self) {
        let tablets = self.world.tablets();
        let missing = self.world.missing();
        let lines = missing.lines(&tablets);
        let records = self
            .world
            .keyspaces
            .values()
            .map(|k| k.record.clone())
            .collect();
        self.views.change(|view| {
            missing::tell(&view.missing_lines, &lines);
            view.tablets = tablets;
            view.missing = missing;
            view.missing_lines = lines;
            view.records = Arc::new(records);
            view.rules = self.world.rules.clone();
            view.health = self.fleet.all();
            view.snapshot = Arc::clone(&self.snapshot);
            view.serving = Arc::clone(&self.serving);
            view.recoveries_disabled = self.fleet.disabled;
            view.leads = self.leads();
        });
    }

    /// Heartbeats are written to all primaries by the process that leads, and to none whose place
    /// is being taken.
    fn follow_hearts(&mut self) {
        let hearts = match self.leads() {
            true => self
                .fleet
                .hearts(self.world.keyspaces.values().map(|k| &k.record)),
            false => Vec::new(),
        };
        self.fleet.forget_beats(&hearts);
        let heart = |(keyspace, shard, _): (String, String, String)| {
            let tablet = self.world.keyspaces.get(&keyspace)?.primary(&shard)?;
            Some(Heart { keyspace, shard, tablet })
        };
        let hearts = hearts.into_iter().filter_map(heart).collect();
        let interval = Duration::from_millis(self.fleet.options.heartbeat_ms);
        let writer = self.shared.process();
        self.beats
            .follow(hearts, (interval, &writer), &self.shared.connector, &self.sender);
    }

    /// Checks run for all tablets of the topology, and no others.
    pub(super) fn follow_tablets(&mut self) {
        let databases = self.world.databases();
        let tablets: Vec<_> = self
            .world
            .tablets()
            .into_iter()
            .map(|tablet| {
                let database = databases.get(&tablet.alias).cloned();
                (tablet, database)
            })
            .collect();
        let aliases: Vec<String> = tablets.iter().map(|(t, _)| t.alias.clone()).collect();
        self.fleet.follow(&aliases);
        let limits = self.fleet.options.limits();
        self.checks
            .follow(&tablets, limits, &self.shared.connector, &self.sender);
    }
}
