//! From signs to states. Pure: the same signs give the same states.
use super::{Beat, Health, State, Trouble, now_ms};
use crate::gtid::Position;
use crate::servers::galera::{RECV_QUEUE_MAX, Unfit};
use crate::servers::status::{Facts, Thread};
use crate::topology::Kind;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many signs in a row make a server unreachable: one may be an accident.
const BAD_SIGNS: u32 = 2;
/// Positions of a primary that are remembered, to tell how old they are.
const SAMPLES_MAX: usize = 4_096;
/// A heartbeat that takes so long is worth a word.
const STALL_SHOWN_MS: u64 = 3_000;

/// What one check has found.
#[derive(Debug, Clone)]
pub(crate) enum Sign {
    Alive(Box<Facts>),
    Dead(String),
    Silent(String),
    CutOff(String),
    Full(String),
    Refused(String),
}

/// One tablet's health, as the signs so far make it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    pub(crate) health: Health,
    bad: u32,
    /// A primary's positions, and when it had them first.
    samples: VecDeque<(Instant, Position)>,
    /// Since when commits wait while none is acknowledged, and how many were before.
    unacknowledged: Option<(Instant, u64)>,
    /// How far a replica has read its primary's log, and since when.
    received: Option<(Instant, u64)>,
    /// What has become of the last heartbeat.
    beat: Option<Beat>,
}

impl Watch {
    /// Takes a sign of a tablet of this type; `None`: a drop-in's server, which may be anything.
    /// `primary`: the watch over its primary.
    pub(crate) fn see(
        &mut self,
        sign: Sign,
        kind: Option<Kind>,
        primary: Option<&Self>,
        now: Instant,
    ) {
        let (trouble, why) = match sign {
            Sign::Alive(facts) => {
                self.bad = 0;
                return self.alive(*facts, kind, primary, now);
            }
            Sign::Dead(why) => (Trouble::Dead, why),
            Sign::Silent(why) => (Trouble::Frozen, why),
            Sign::CutOff(why) => (Trouble::CutOff, why),
            Sign::Full(why) => (Trouble::OutOfConnections, why),
            Sign::Refused(why) => (Trouble::Refused, why),
        };
        self.bad = self.bad.saturating_add(1);
        if self.bad < BAD_SIGNS && self.health.state != State::Unknown {
            return;
        }
        self.health.state = match trouble {
            // It is there, and answers.
            Trouble::OutOfConnections => State::NotServing,
            _ => State::Unreachable,
        };
        self.health.trouble = Some(trouble);
        self.health.message = Some(why);
        (self.health.lag_s, self.health.lag_ms) = (None, None);
    }

    fn alive(&mut self, facts: Facts, kind: Option<Kind>, primary: Option<&Self>, now: Instant) {
        let lag_ms = match kind {
            None | Some(Kind::Primary) => None,
            Some(_) => lag_ms(&facts, primary, now),
        };
        if let (Some(Kind::Primary), Some(position)) = (kind, &facts.position) {
            self.sample(position, now);
        }
        let beat = self.beat.as_ref().filter(|_| kind == Some(Kind::Primary));
        let why = kind.and_then(|kind| wrong(&facts, kind).or_else(|| unwritten(beat?)));
        let writes_stall_ms = beat.and_then(|beat| match beat {
            Beat::Stalled { ms, .. } => Some(*ms),
            _ => None,
        });
        let heartbeat_lag_ms = facts
            .heartbeat_ms
            .filter(|_| lag_ms.is_some())
            .map(|written| now_ms().saturating_sub(written));
        let waits = (facts.semi_sync.waiting > 0).then_some(facts.semi_sync.acknowledged);
        let unacknowledged_ms = since(&mut self.unacknowledged, waits, now);
        let read_to = facts.replication.as_ref().map(|r| r.read_to);
        let received_ms = since(&mut self.received, read_to, now);
        self.health = Health {
            unacknowledged_ms,
            received_ms,
            writes_stall_ms,
            heartbeat_lag_ms,
            state: if why.is_none() { State::Serving } else { State::NotServing },
            trouble: None,
            read_only: Some(facts.read_only),
            lag_s: lag_ms.map(|ms| ms.div_ceil(1_000)),
            lag_ms,
            message: why,
            position: facts.position.as_ref().map(Position::to_string),
            facts: Some(facts),
        };
    }

    /// Cores could not reach it: the next bad sign is not the first one.
    pub(crate) fn suspect(&mut self) {
        self.bad = self.bad.max(BAD_SIGNS - 1);
    }

    /// What has become of the heartbeat, shown with the next check.
    pub(crate) fn beat(&mut self, beat: Beat) {
        self.beat = Some(beat);
    }

    pub(crate) fn forget_beat(&mut self) {
        self.beat = None;
    }

    fn sample(&mut self, position: &Position, now: Instant) {
        if self
            .samples
            .back()
            .is_some_and(|(_, last)| last == position)
        {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, position.clone()));
    }

    /// Since when it has had something that is not in `applied`.
    fn first_after(&self, applied: &Position) -> Option<Instant> {
        let missing = |(_, position): &&(Instant, Position)| !applied.covers(position);
        self.samples.iter().find(missing).map(|(at, _)| *at)
    }
}

/// For how long a number has been the same. `None`: there is none.
fn since(known: &mut Option<(Instant, u64)>, number: Option<u64>, now: Instant) -> Option<u64> {
    *known = number.map(|number| match *known {
        Some((at, same)) if same == number => (at, same),
        _ => (now, number),
    });
    let (at, _) = (*known)?;
    Some(u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX))
}

/// By the primary's positions; what the replica says itself only where there are none, because it
/// counts from what it has received.
fn lag_ms(facts: &Facts, primary: Option<&Watch>, now: Instant) -> Option<u64> {
    let replication = facts.replication.as_ref()?;
    if replication.receiver != Thread::Running || !replication.applier {
        return None;
    }
    let own = replication.seconds_behind.map(|s| s * 1_000);
    match (&facts.position, primary.filter(|p| !p.samples.is_empty())) {
        (Some(applied), Some(primary)) => {
            let since = primary.first_after(applied);
            let lag = since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            Some(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX))
        }
        // The heartbeat is as old as the data, however the replica counts.
        _ => match facts.heartbeat_ms {
            Some(written) => Some(now_ms().saturating_sub(written)),
            None => own,
        },
    }
}

/// Why a primary that answers takes no writes.
fn unwritten(beat: &Beat) -> Option<String> {
    match beat {
        Beat::DiskFull(why) => Some(format!("no space is left on its disk ({why}): make room")),
        Beat::Stalled { ms, state } if *ms >= STALL_SHOWN_MS => Some(format!(
            "no write has ended for {ms} ms (its state: {state:?}): its disk stands still, or is \
                full"
        )),
        Beat::Stalled { .. } | Beat::Written => None,
    }
}

/// Why a server that answers does not serve.
fn wrong(facts: &Facts, kind: Kind) -> Option<String> {
    if let Some(database) = &facts.missing_database {
        return Some(format!("it has no database {database} that its user may see"));
    }
    if let Some(galera) = &facts.galera {
        return match (galera.fitness(), kind) {
            (Ok(()), Kind::Primary) if facts.read_only => {
                Some("the primary is read-only".to_owned())
            }
            (Ok(()), Kind::Primary) => None,
            (Ok(()), _) if galera.lags() => Some(format!(
                "wsrep_local_recv_queue is {}, above {RECV_QUEUE_MAX}",
                galera.recv_queue
            )),
            (Ok(()), _) => None,
            // It still answers; whether another one does, the analysis says.
            (Err(Unfit::Donor), Kind::Primary) => None,
            (Err(why), _) => Some(why.to_string()),
        };
    }
    if kind == Kind::Primary {
        return facts
            .read_only
            .then(|| "the primary is read-only".to_owned());
    }
    let Some(replication) = &facts.replication else {
        return Some("it does not replicate".to_owned());
    };
    if replication.receiver == Thread::Running && replication.applier {
        return None;
    }
    Some(match replication.error.as_str() {
        "" => "it does not replicate".to_owned(),
        error => error.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::status::Replication;

    fn facts(position: &str) -> Facts {
        Facts {
            version: "10.11.6-MariaDB".into(),
            position: Position::mariadb(position),
            ..Facts::default()
        }
    }

    fn replica(position: &str) -> Facts {
        let running = Replication {
            receiver: Thread::Running,
            applier: true,
            seconds_behind: Some(0),
            ..Replication::default()
        };
        Facts { read_only: true, replication: Some(running), ..facts(position) }
    }

    #[test]
    fn one_bad_sign_is_an_accident() {
        let (now, mut watch) = (Instant::now(), Watch::default());
        let mut see = |sign| {
            watch.see(sign, Some(Kind::Primary), None, now);
            (watch.health.state, watch.health.trouble)
        };
        assert_eq!(see(Sign::Alive(Box::new(facts("0-1-1")))), (State::Serving, None));
        assert_eq!(see(Sign::Silent("x".into())), (State::Serving, None));
        assert_eq!(see(Sign::Silent("x".into())), (State::Unreachable, Some(Trouble::Frozen)));
        assert_eq!(see(Sign::Dead("x".into())), (State::Unreachable, Some(Trouble::Dead)));
        assert_eq!(
            see(Sign::Full("x".into())),
            (State::NotServing, Some(Trouble::OutOfConnections))
        );
        assert_eq!(see(Sign::Alive(Box::new(facts("0-1-1")))), (State::Serving, None));
        assert_eq!(see(Sign::Dead("x".into())), (State::Serving, None), "counted anew");
        let mut fresh = Watch::default();
        fresh.see(Sign::Dead("x".into()), Some(Kind::Primary), None, now);
        assert_eq!(fresh.health.state, State::Unreachable, "nothing was known for it");
    }

    #[test]
    fn what_cores_have_seen_is_a_sign_too() {
        let (now, mut watch) = (Instant::now(), Watch::default());
        watch.see(Sign::Alive(Box::new(facts(""))), Some(Kind::Primary), None, now);
        watch.suspect();
        assert_eq!(watch.health.state, State::Serving, "a look must confirm it");
        watch.see(Sign::Dead("x".into()), Some(Kind::Primary), None, now);
        assert_eq!(watch.health.trouble, Some(Trouble::Dead));
        watch.see(Sign::Alive(Box::new(facts(""))), Some(Kind::Primary), None, now);
        watch.see(Sign::CutOff("x".into()), Some(Kind::Primary), None, now);
        assert_eq!(watch.health.state, State::Serving, "it has answered since");
        watch.see(Sign::CutOff("x".into()), Some(Kind::Primary), None, now);
        assert_eq!(watch.health.trouble, Some(Trouble::CutOff));
    }

    #[test]
    fn the_heartbeat_tells_of_the_disk_and_of_lag() {
        let (now, mut watch) = (Instant::now(), Watch::default());
        let mut see = |beat| {
            watch.beat(beat);
            watch.see(Sign::Alive(Box::new(facts(""))), Some(Kind::Primary), None, now);
            let health = watch.health.clone();
            (health.state, health.writes_stall_ms, health.message.unwrap_or_default())
        };
        assert_eq!(see(Beat::Written), (State::Serving, None, String::new()));
        let stalled = |ms| Beat::Stalled { ms, state: "Commit".into() };
        assert_eq!(see(stalled(900)), (State::Serving, Some(900), String::new()));
        let (state, ms, why) = see(stalled(4_000));
        assert!(
            state == State::NotServing && ms == Some(4_000) && why.contains("stands still"),
            "{why}"
        );
        let (state, ms, why) = see(Beat::DiskFull("The table 't' is full".into()));
        assert!(state == State::NotServing && ms.is_none() && why.contains("no space"), "{why}");
        // A server without positions: the heartbeat is better than what it says itself.
        let running = Facts { position: None, heartbeat_ms: Some(now_ms() - 5_000), ..replica("") };
        let mut replica = Watch::default();
        replica.see(Sign::Alive(Box::new(running)), Some(Kind::Replica), None, now);
        let lag = replica.health.lag_ms.unwrap();
        assert!(
            (5_000..60_000).contains(&lag) && replica.health.heartbeat_lag_ms.is_some(),
            "{lag}"
        );
    }

    #[test]
    fn servers_that_answer_may_be_wrong() {
        let state = |facts: Facts, kind| {
            let mut watch = Watch::default();
            watch.see(Sign::Alive(Box::new(facts)), Some(kind), None, Instant::now());
            (watch.health.state, watch.health.message.unwrap_or_default())
        };
        let (wrong, why) = state(Facts { read_only: true, ..facts("") }, Kind::Primary);
        assert_eq!((wrong, why.as_str()), (State::NotServing, "the primary is read-only"));
        assert_eq!(state(replica(""), Kind::Replica).0, State::Serving);
        assert_eq!(state(facts(""), Kind::Replica).0, State::NotServing);
        assert_eq!(
            state(Facts { missing_database: Some("ks".into()), ..facts("") }, Kind::Primary).0,
            State::NotServing
        );
    }

    #[test]
    fn lag_is_told_by_positions_not_by_the_replica() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut primary = Watch::default();
        for (ms, position) in [(0, "0-1-5"), (1_000, "0-1-6"), (2_000, "0-1-6"), (3_000, "0-1-9")] {
            primary.see(Sign::Alive(Box::new(facts(position))), Some(Kind::Primary), None, at(ms));
        }
        let lag = |applied, ms| {
            let mut watch = Watch::default();
            watch.see(
                Sign::Alive(Box::new(replica(applied))),
                Some(Kind::Replica),
                Some(&primary),
                at(ms),
            );
            watch.health.lag_ms
        };
        assert_eq!(lag("0-1-9", 9_000), Some(0), "nothing has been written since");
        assert_eq!(lag("0-1-6", 3_500), Some(500));
        assert_eq!(lag("0-1-5", 3_500), Some(2_500));
        assert_eq!(lag("0-1-4", 3_500), Some(3_500));
    }
}
