//! The tablets' health, and what is being done about it. Owned by one task; the rest reads copies.
use crate::analysis::{Analysis, Member, Recovery, ShardView, analyse};
use crate::gtid::Position;
use crate::health::{Beat, Health, Limits, Sign, Watch};
use crate::servers::status::Facts;
use crate::topology::{KeyspaceRecord, Kind};
use crate::view::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// After a repair, the same one is tried again after so long, then after twice as long, up to
/// [`PAUSE_MAX`], until all is well.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whether commits wait for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Settings of semi-sync are left as they are.
    #[default]
    None,
    /// A commit is acknowledged when a replica has it.
    SemiSync,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Time between two checks of a tablet.
    pub interval_ms: u64,
    /// A check that takes longer has failed.
    pub timeout_ms: u64,
    /// A replica that is further behind is not read from.
    pub lag_max_ms: u64,
    /// The cell that this process is in: its replicas come first.
    pub cell: Option<String>,
    /// Dead primaries are replaced, and replication is repaired.
    pub recovers: bool,
    pub durability: Durability,
    /// A planned move gives transactions so long to end.
    pub drain_ms: u64,
    /// Catching up with a primary must not take longer.
    pub catch_up_ms: u64,
    /// A primary that answers, and ends no write for so long, is replaced.
    pub stall_ms: u64,
    /// Time between two heartbeats; 0: none.
    pub heartbeat_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval_ms: 500,
            timeout_ms: 1_000,
            lag_max_ms: 30_000,
            cell: None,
            recovers: false,
            durability: Durability::None,
            drain_ms: 2_000,
            catch_up_ms: 15_000,
            stall_ms: 10_000,
            heartbeat_ms: 1_000,
        }
    }
}

impl Options {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            interval: Duration::from_millis(self.interval_ms),
            timeout: Duration::from_millis(self.timeout_ms),
        }
    }

    /// What semi-sync has to be; `None`: whatever it is.
    pub(crate) fn semi_sync(&self) -> Option<bool> {
        (self.durability == Durability::SemiSync).then_some(true)
    }
}

type ShardName = (String, String);

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) options: Options,
    watches: BTreeMap<String, Watch>,
    /// Whose primaries are being replaced: statements wait.
    moving: BTreeSet<ShardName>,
    /// Where something is being done.
    busy: BTreeSet<ShardName>,
    /// Until when what was seen last may be from before the last change.
    settling: BTreeMap<ShardName, Instant>,
    /// By shard and problem: what has not helped is tried again ever later.
    paused: BTreeMap<(ShardName, String), (Instant, Duration)>,
    /// By replica that is away: a position of the primary from after it went. Who has that has all
    /// that it could have acknowledged.
    missed: BTreeMap<String, Missed>,
    /// Nothing is done by itself, by an operator's order.
    pub(crate) disabled: bool,
    /// Where other processes do something, and whether statements wait for it.
    others: BTreeMap<ShardName, bool>,
    /// Whose primary is not known until the store is back.
    doubted: BTreeSet<ShardName>,
    /// The topology's store is away: others may move primaries without our hearing of it.
    pub(crate) cut_off: bool,
    /// Keyspaces whose tables' change other processes have not been told of.
    pub(crate) untold: BTreeSet<String>,
    /// What is wrong with each shard, whether anything may be done about it or not.
    problems: BTreeMap<ShardName, Vec<Problem>>,
}

#[derive(Debug, Clone)]
struct Missed {
    mark: Option<Position>,
    /// Another replica has what it could have acknowledged.
    stale: bool,
}

impl Fleet {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    pub(crate) fn health(&self, alias: &str) -> Option<&Health> {
        self.watches.get(alias).map(|watch| &watch.health)
    }

    pub(crate) fn all(&self) -> BTreeMap<String, Health> {
        let health = |(alias, watch): (&String, &Watch)| (alias.clone(), watch.health.clone());
        self.watches.iter().map(health).collect()
    }

    /// Knows these tablets, and no others.
    pub(crate) fn follow(&mut self, aliases: &[String]) {
        self.watches.retain(|alias, _| aliases.contains(alias));
        self.missed.retain(|alias, _| aliases.contains(alias));
        for alias in aliases {
            self.watches.entry(alias.clone()).or_default();
        }
    }

    pub(crate) fn beat(&mut self, alias: &str, beat: Beat) {
        if let Some(watch) = self.watches.get_mut(alias) {
            watch.beat(beat);
        }
    }

    /// What was told of hearts that do not beat now is over.
    pub(crate) fn forget_beats(&mut self, hearts: &[(String, String, String)]) {
        let beating: BTreeSet<&str> = hearts.iter().map(|(.., alias)| alias.as_str()).collect();
        for (alias, watch) in &mut self.watches {
            if !beating.contains(alias.as_str()) {
                watch.forget_beat();
            }
        }
    }

    pub(crate) fn suspect(&mut self, alias: &str) {
        if let Some(watch) = self.watches.get_mut(alias) {
            watch.suspect();
        }
    }

    /// Whose heart beats: primaries of MariaDB and MySQL whose places are not being taken, where
    /// this process acts for all.
    pub(crate) fn hearts<'r>(
        &self,
        records: impl Iterator<Item = &'r KeyspaceRecord>,
    ) -> Vec<(String, String, String)> {
        if !self.options.recovers || self.options.heartbeat_ms == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        for record in records {
            for shard in &record.shards {
                let Some(view) = self.view(record, &shard.name) else { continue };
                let known = view.primary.facts().is_some_and(Facts::is_movable);
                let followed = view.replicas.iter().any(|r| r.record.kind != Kind::Drained);
                if known
                    && followed
                    && !view.is_galera()
                    && !self.is_moving(&record.name, &shard.name)
                {
                    let alias = view.primary.record.alias.clone();
                    found.push((record.name.clone(), shard.name.clone(), alias));
                }
            }
        }
        found
    }

    pub(crate) fn lags(&self, health: &Health) -> bool {
        health.lag_ms.is_some_and(|ms| ms > self.options.lag_max_ms)
    }

    pub(crate) fn is_moving(&self, keyspace: &str, shard: &str) -> bool {
        let name = name(keyspace, shard);
        self.moving.contains(&name)
            || self.doubted.contains(&name)
            || self.others.get(&name) == Some(&true)
    }

    /// Is a primary one no more, as it seems, while nobody tells? Then it gets nothing: its account
    /// may write although it is read-only.
    pub(crate) fn is_deposed(&self, alias: &str) -> bool {
        let facts = self.health(alias).and_then(|health| health.facts.as_ref());
        self.cut_off && facts.is_some_and(|facts| facts.read_only)
    }

    /// Where other processes do something now, as the store says. It says who is primary, too.
    pub(crate) fn take_locks(&mut self, others: BTreeMap<ShardName, bool>, now: Instant) {
        let freed: Vec<ShardName> = self
            .others
            .keys()
            .filter(|name| !others.contains_key(*name))
            .cloned()
            .collect();
        for name in freed {
            self.settle(name, now);
        }
        self.others = others;
        self.doubted.clear();
        self.cut_off = false;
    }

    /// Who is primary is not known.
    pub(crate) fn doubt(&mut self, keyspace: &str, shard: &str) {
        self.doubted.insert(name(keyspace, shard));
    }

    pub(crate) fn set_moving(&mut self, keyspace: &str, shard: &str, moves: bool) {
        let name = name(keyspace, shard);
        if moves {
            self.moving.insert(name);
        } else {
            self.moving.remove(&name);
        }
    }

    /// Begins something on a shard. `false`: something is being done there already.
    pub(crate) fn begin(&mut self, keyspace: &str, shard: &str) -> bool {
        self.busy.insert(name(keyspace, shard))
    }

    /// It is over, and was no repair.
    pub(crate) fn free(&mut self, keyspace: &str, shard: &str) {
        self.busy.remove(&name(keyspace, shard));
    }

    /// Where others do something.
    pub(crate) fn others(&self) -> impl Iterator<Item = &ShardName> {
        self.others.keys()
    }

    /// It is over. The same is not done again at once, whether it has failed or not helped.
    pub(crate) fn end(&mut self, keyspace: &str, shard: &str, what: &str, now: Instant) {
        let name = name(keyspace, shard);
        self.busy.remove(&name);
        self.moving.remove(&name);
        self.settle(name.clone(), now);
        let pause = self
            .paused
            .entry((name, what.to_owned()))
            .or_insert((now, PAUSE / 2));
        let next = (pause.1 * 2).min(PAUSE_MAX);
        *pause = (now + next, next);
    }

    /// What was seen last is from before it was changed.
    fn settle(&mut self, name: ShardName, now: Instant) {
        let settled = Duration::from_millis(self.options.interval_ms * 2) + PAUSE / 5;
        self.settling.insert(name, now + settled);
    }

    /// Nothing is wrong with a shard: what was tried has helped.
    fn forgive(&mut self, keyspace: &str, shard: &str) {
        let name = name(keyspace, shard);
        self.paused.retain(|(of, _), _| *of != name);
    }

    /// Takes a sign of a tablet. Does it change who gets statements?
    pub(crate) fn see(
        &mut self,
        alias: &str,
        sign: Sign,
        record: Option<&KeyspaceRecord>,
        now: Instant,
    ) -> bool {
        let shard = record.and_then(|r| {
            r.shards
                .iter()
                .find(|s| s.tablets.iter().any(|t| t.alias == alias))
        });
        let kind = shard
            .and_then(|s| s.tablets.iter().find(|t| t.alias == alias))
            .map(|t| t.kind);
        let primary = shard.and_then(|s| s.tablets.iter().find(|t| t.kind == Kind::Primary));
        let Some(mut watch) = self.watches.remove(alias) else { return false };
        let before = (watch.health.serves(), self.lags(&watch.health), watch.health.state);
        let of_primary = primary.and_then(|p| self.watches.get(&p.alias));
        watch.see(sign, kind, of_primary, now);
        let after = (watch.health.serves(), self.lags(&watch.health), watch.health.state);
        if before.2 != after.2 {
            tell(alias, &watch.health);
        }
        self.watches.insert(alias.to_owned(), watch);
        if let (Some(shard), Some(kind)) = (shard, kind) {
            let others: Vec<String> = shard
                .tablets
                .iter()
                .filter(|t| t.kind != Kind::Primary)
                .map(|t| t.alias.clone())
                .collect();
            self.note_missed(alias, kind, &others);
        }
        before != after
    }

    /// Keeps in mind which replicas that are away could know more than the others.
    fn note_missed(&mut self, alias: &str, kind: Kind, replicas: &[String]) {
        let Some(health) = self.health(alias) else { return };
        let alive = health.facts.as_ref().filter(|_| health.trouble.is_none());
        let position = alive.and_then(|facts| facts.received());
        if kind != Kind::Primary && alive.is_some() {
            self.missed.remove(alias);
        }
        for other in replicas.iter().filter(|other| *other != alias) {
            let away = self.health(other).is_some_and(|h| h.trouble.is_some());
            if !away {
                continue;
            }
            let missed = self
                .missed
                .entry(other.clone())
                .or_insert(Missed { mark: None, stale: false });
            match (&position, &missed.mark) {
                (Some(position), None) if kind == Kind::Primary => {
                    missed.mark = Some(position.clone())
                }
                (Some(position), Some(mark)) if kind.is_candidate() => {
                    missed.stale |= position.covers(mark)
                }
                _ => {}
            }
        }
    }

    /// Is this process doing something there?
    pub(crate) fn is_at(&self, keyspace: &str, shard: &str) -> bool {
        self.busy.contains(&name(keyspace, shard))
    }

    /// By this process, or another.
    fn is_busy(&self, name: &ShardName) -> bool {
        self.busy.contains(name) || self.doubted.contains(name) || self.others.contains_key(name)
    }

    /// A shard as the analysis sees it.
    pub(crate) fn view<'f>(
        &'f self,
        record: &'f KeyspaceRecord,
        shard: &str,
    ) -> Option<ShardView<'f>> {
        let shard = record.shards.iter().find(|s| s.name == shard)?;
        let member = |t: &'f crate::topology::TabletRecord| Member {
            record: t,
            health: self.health(&t.alias),
            stale: self.missed.get(&t.alias).is_some_and(|m| m.stale),
        };
        let (primary, replicas) = shard
            .tablets
            .iter()
            .partition::<Vec<_>, _>(|t| t.kind == Kind::Primary);
        Some(ShardView {
            primary: primary.first().map(|t| member(t))?,
            replicas: replicas.into_iter().map(member).collect(),
            semi_sync: self.options.semi_sync(),
            stall: Duration::from_millis(self.options.stall_ms),
        })
    }

    /// Looks at a shard. Has something else become wrong with it, or right?
    pub(crate) fn diagnose(&mut self, record: &KeyspaceRecord, shard: &str) -> bool {
        let key = name(&record.name, shard);
        let found = match self.view(record, shard) {
            Some(view) => analyse(&view),
            None => Vec::new(),
        };
        let known = self.problems.get(&key).map_or(&[][..], Vec::as_slice);
        let same = |p: &Problem, a: &Analysis| p.analysis == a.to_string();
        if known.len() == found.len() && known.iter().zip(&found).all(|(p, a)| same(p, a)) {
            return false;
        }
        let problem = |a: &Analysis| Problem {
            since: known
                .iter()
                .find(|p| same(p, a))
                .map_or_else(crate::world::now_utc, |p| p.since.clone()),
            keyspace: key.0.clone(),
            shard: key.1.clone(),
            analysis: a.to_string(),
            recovery: match a.recovery() {
                Recovery::Report => String::new(),
                recovery => recovery.name().to_owned(),
            },
        };
        let problems: Vec<Problem> = found.iter().map(problem).collect();
        for new in problems
            .iter()
            .filter(|p| !known.iter().any(|k| k.analysis == p.analysis))
        {
            tracing::warn!(keyspace = key.0, shard = key.1, "{}", new.analysis);
        }
        match problems.is_empty() {
            true => drop(self.problems.remove(&key)),
            false => drop(self.problems.insert(key, problems)),
        }
        true
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.values().flatten().cloned().collect()
    }

    /// What is wrong with a shard, as long as nothing is being done about it and something may be.
    pub(crate) fn problem(
        &mut self,
        record: &KeyspaceRecord,
        shard: &str,
        now: Instant,
    ) -> Option<Analysis> {
        let name = name(&record.name, shard);
        let settles = self.settling.get(&name).is_some_and(|until| now < *until);
        if !self.options.recovers || self.disabled || settles || self.is_busy(&name) {
            return None;
        }
        let view = self.view(record, shard)?;
        let problems = analyse(&view);
        if problems.is_empty() {
            let all_well = view
                .replicas
                .iter()
                .chain([&view.primary])
                .all(|m| m.health.is_some_and(Health::serves));
            if all_well {
                self.forgive(&record.name, shard);
            }
            return None;
        }
        // One that does not help yet holds up no other.
        problems.into_iter().find(|problem| {
            let key = (name.clone(), problem.to_string());
            self.paused.get(&key).is_none_or(|(until, _)| now >= *until)
        })
    }
}

fn name(keyspace: &str, shard: &str) -> ShardName {
    (keyspace.to_owned(), shard.to_owned())
}

/// Changes of state go to the log.
fn tell(alias: &str, health: &Health) {
    use crate::State;
    let why = health.message.as_deref().unwrap_or_default();
    match health.state {
        State::Serving | State::Unknown => {
            tracing::info!(tablet = alias, state = ?health.state, "{why}")
        }
        _ => {
            tracing::warn!(tablet = alias, state = ?health.state, trouble = ?health.trouble,
                "{why}")
        }
    }
}
