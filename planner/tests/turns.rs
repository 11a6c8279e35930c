//! Rows that may lie anywhere: on which shard they come.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::fingerprint::Fingerprint;
use coregate_planner::identity::ShardId;
use coregate_planner::plan::{Action, SessionValue};
use coregate_planner::resolve::{Binding, Resolved, Scratch, SessionValues, resolve};
use coregate_planner::route::SessionContext;
use coregate_planner::target::parse_target;
use support::*;

struct Loaded<'l> {
    turn: u64,
    loads: &'l [(ShardId, usize)],
}

impl SessionValues for Loaded<'_> {
    fn write(&self, _: SessionValue, _: &mut Vec<u8>) {}
    fn write_param(&self, _: u16, _: &mut Vec<u8>) {}
    fn turn(&self) -> u64 {
        self.turn
    }
    fn load(&self, shard: ShardId) -> Option<usize> {
        self.loads
            .iter()
            .find(|(id, _)| *id == shard)
            .map(|(_, load)| *load)
    }
}

#[test]
fn the_shard_with_the_least_to_do_comes_first_and_then_each_in_turn() {
    let snapshot = snapshot();
    let keyspace = parse_target("customer", &snapshot).unwrap().keyspace;
    let session = SessionContext { keyspace, ..SessionContext::default() };
    let sql = "INSERT INTO events (at, message) VALUES (1, 'a')";
    let (plan, fingerprint): (_, Fingerprint) = plan_sql(&snapshot, &session, sql).unwrap();
    let Action::Route(route) = &plan.action else { panic!("{plan:?}") };
    let ids: Vec<ShardId> = snapshot.keyspaces[usize::from(keyspace.unwrap())]
        .shards
        .iter()
        .map(|s| s.id)
        .collect();
    let chosen = |loads: &[usize], turn| {
        let loads: Vec<_> = ids.iter().copied().zip(loads.iter().copied()).collect();
        let binding = Binding {
            sql: sql.as_bytes(),
            fingerprint: &fingerprint,
            params: &[],
            sql_mode: Default::default(),
            charsets: Default::default(),
            session: &Loaded { turn, loads: &loads },
            prepared: false,
        };
        let mut found = Resolved::default();
        resolve(route, &snapshot, &binding, &mut Scratch::default(), &mut found).unwrap();
        assert_eq!(found.shards.len(), 1);
        found.shards[0].shard
    };
    let turns = |loads: &[usize]| -> Vec<u16> { (0..6).map(|turn| chosen(loads, turn)).collect() };
    assert_eq!(turns(&[]), [0, 1, 2, 0, 1, 2]);
    assert_eq!(turns(&[4, 4, 4]), [0, 1, 2, 0, 1, 2]);
    assert_eq!(turns(&[3, 1, 2]), [1; 6]);
    assert_eq!(turns(&[0, 5, 0]), [0, 2, 2, 0, 2, 2]);
}
