//! Servers of `coregate local` that are to be made anew.
use super::Owner;
use crate::Error;
use crate::plane::Command;
use crate::reparent::{Desk, remake};
use crate::topology::Kind;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One that cannot be made anew is tried again after this, then after twice as long.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// By alias: when it is tried.
#[derive(Default)]
pub(super) struct Remakes(BTreeMap<String, Remake>);

struct Remake {
    runs: bool,
    next: Instant,
    pause: Duration,
}

impl Owner {
    /// Begins what is due.
    pub(super) fn remake(&mut self) {
        if self.data.is_none() {
            return;
        }
        let now = Instant::now();
        for (alias, becomes) in self.fence.marked() {
            let known = self.remakes.0.entry(alias.clone()).or_insert(Remake {
                runs: false,
                next: now,
                pause: PAUSE,
            });
            if known.runs || known.next > now {
                continue;
            }
            match self.place_of(&alias) {
                Some((keyspace, shard, Kind::Drained)) => {
                    self.make_anew(&keyspace, &shard, alias, becomes)
                }
                // Somebody has decided otherwise.
                Some((_, _, kind)) if kind != Kind::Primary => {
                    self.fence.unmark(&alias);
                    self.remakes.0.remove(&alias);
                }
                _ => {}
            }
        }
    }

    fn place_of(&self, alias: &str) -> Option<(String, String, Kind)> {
        self.world.keyspaces.values().find_map(|known| {
            known.record.shards.iter().find_map(|shard| {
                let tablet = shard.tablets.iter().find(|t| t.alias == alias)?;
                Some((known.record.name.clone(), shard.name.clone(), tablet.kind))
            })
        })
    }

    fn make_anew(&mut self, keyspace: &str, shard: &str, alias: String, becomes: Kind) {
        let (Some(found), Some(desk)) = (self.shard(keyspace, shard), self.desk(None)) else {
            return;
        };
        if let Some(known) = self.remakes.0.get_mut(&alias) {
            known.runs = true;
        }
        tracing::info!(tablet = alias, "it is made anew");
        tokio::spawn(async move {
            let result = remake::anew(&desk, &found, &alias, becomes).await;
            let Desk { owner, .. } = desk;
            let _ = owner.send(Command::Remade { alias, result }).await;
        });
    }

    pub(super) fn remade(&mut self, alias: &str, result: Result<(), Error>) {
        let Some(known) = self.remakes.0.get_mut(alias) else { return };
        match result {
            Ok(()) => {
                tracing::info!(tablet = alias, "it was made anew");
                self.fence.unmark(alias);
                self.remakes.0.remove(alias);
            }
            Err(e) => {
                let pause = known.pause;
                tracing::error!(
                    tablet = alias,
                    "it cannot be made anew, and is tried again in {} s: {e}",
                    pause.as_secs()
                );
                *known = Remake {
                    runs: false,
                    next: Instant::now() + pause,
                    pause: (pause * 2).min(PAUSE_MAX),
                };
            }
        }
    }
}
