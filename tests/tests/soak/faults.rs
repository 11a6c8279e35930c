//! What goes wrong, one after another, and what each costs.
use crate::load::Load;
use crate::world::{PROCESSES, SERVERS, World};
use std::time::{Duration, Instant};

/// All is well again within this after a fault has ended.
const WELL: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Planned,
    KillPrimary,
    KillReplica,
    FreezePrimary,
    FreezeReplica,
    KillLeader,
    CutFromEtcd,
    KillEtcd,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::KillPrimary,
        Self::Planned,
        Self::KillLeader,
        Self::FreezePrimary,
        Self::CutFromEtcd,
        Self::KillEtcd,
        Self::KillReplica,
        Self::FreezeReplica,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned move",
            Self::KillPrimary => "kill -9 of the primary",
            Self::KillReplica => "kill -9 of a replica",
            Self::FreezePrimary => "SIGSTOP of the primary",
            Self::FreezeReplica => "SIGSTOP of a replica",
            Self::KillLeader => "kill -9 of the leading process",
            Self::CutFromEtcd => "a process cut off from etcd",
            Self::KillEtcd => "kill -9 of a member of etcd",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Until {
    Time(Duration),
    Rounds(usize),
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub kinds: Vec<Kind>,
    pub until: Until,
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub kind: Kind,
    /// Since the load's start.
    pub at: Duration,
    pub well: Duration,
    pub on: String,
    pub broken: Option<String>,
}

/// A small generator of its own: the same seed makes the same faults.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn pause(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(from_ms + self.next(to_ms - from_ms)));
    }
}

pub fn run(world: &World, load: &Load, plan: &Plan) -> Vec<Event> {
    let mut random = Random(plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (begun, mut events, mut bag) = (Instant::now(), Vec::<Event>::new(), Vec::new());
    let goes_on = |events: &Vec<Event>| match plan.until {
        Until::Time(time) => begun.elapsed() < time,
        Until::Rounds(rounds) => events.len() < rounds,
    };
    while goes_on(&events) {
        if bag.is_empty() {
            bag.clone_from(&plan.kinds);
        }
        let at = usize::try_from(random.next(bag.len() as u64)).unwrap();
        let kind = bag.remove(at);
        let event = one(world, load, kind, &mut random);
        let stops = event.broken.is_some();
        events.push(event);
        if stops {
            break;
        }
        load.wait_more(20);
    }
    events
}

fn one(world: &World, load: &Load, kind: Kind, random: &mut Random) -> Event {
    random.pause(200, 1_200);
    let (at, errors) = (load.began.elapsed(), load.errors());
    let mut on = happen(world, kind, random);
    let ended = Instant::now();
    let mut broken = None;
    while !world.is_well() {
        if ended.elapsed() > WELL {
            let why = format!(
                "{} of {on}: not well after {} s: {}",
                kind.name(),
                WELL.as_secs(),
                world.tablets()
            );
            broken = Some(why);
            break;
        }
        if let Some(server) = world.drained() {
            on.push_str(", drained and made anew");
            if let Err(why) = world.make_anew(server) {
                broken = Some(format!("{server} is drained, and cannot be made anew: {why}"));
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let more = load.errors() - errors;
    if kind == Kind::Planned && more > 0 {
        broken =
            Some(format!("a planned move cost {more} statements an error: {}", load.last_error()));
    }
    Event { kind, at, well: load.began.elapsed() - at, on, broken }
}

/// Gives whom it has met. It is over when it returns.
fn happen(world: &World, kind: Kind, random: &mut Random) -> String {
    let primary = world.primary().expect("a primary");
    let others: Vec<&'static str> = SERVERS.into_iter().filter(|s| *s != primary).collect();
    let replica = others[usize::try_from(random.next(others.len() as u64)).unwrap()];
    let process = usize::try_from(random.next(PROCESSES as u64)).unwrap();
    match kind {
        Kind::Planned => {
            let moved = world.ctl(process, &["planned-reparent-shard", "ks/0"]);
            moved.unwrap_or_else(|why| panic!("the move is refused: {why}"));
            format!("{primary}, by process {process}")
        }
        Kind::KillPrimary | Kind::KillReplica => {
            let server = if kind == Kind::KillPrimary { primary } else { replica };
            let how = world.kill_server(server);
            random.pause(3_000, 6_000);
            world.start_server(server, &how);
            server.to_owned()
        }
        Kind::FreezePrimary | Kind::FreezeReplica => {
            let server = if kind == Kind::FreezePrimary { primary } else { replica };
            world.freeze(server);
            random.pause(4_000, 8_000);
            world.thaw(server);
            server.to_owned()
        }
        Kind::KillLeader => {
            let leader = world.leader().expect("a leader");
            world.kill_process(leader);
            random.pause(500, 3_000);
            world.start_process(leader);
            format!("process {leader}")
        }
        Kind::CutFromEtcd => {
            world.cut(true);
            random.pause(2_000, 9_000);
            world.cut(false);
            "process 0".to_owned()
        }
        Kind::KillEtcd => {
            let member = usize::try_from(random.next(3)).unwrap();
            world.etcd.lock().unwrap().kill(member);
            random.pause(1_000, 4_000);
            world.etcd.lock().unwrap().restart(member);
            world.etcd.lock().unwrap().wait();
            format!("member {member}")
        }
    }
}
