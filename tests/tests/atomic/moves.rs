//! Rows that move between shards: each is on one place at any time, whoever is killed meanwhile.
use super::{CLUSTER, SHARDS, TURN};
use coregate_tests::{Answer, Connection, wait_until, world};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PIECES: u64 = 30;
const CLIENTS: usize = 6;

struct Moves {
    stop: AtomicBool,
    next_place: AtomicU64,
    done: AtomicU64,
    /// The clients' connection ids, for whoever kills them; 0: none.
    ids: [AtomicU64; CLIENTS],
}

impl Moves {
    fn client(&self, proxy: std::net::SocketAddr, number: usize) {
        let mut random = 0x9e37_79b9_u64.wrapping_mul(number as u64 + 1);
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut conn) =
                Connection::try_login(proxy, world::USER, world::PASSWORD, Some("ks"))
            else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let _ = self.session(&mut conn, number, &mut random);
            self.ids[number].store(0, Ordering::Relaxed);
        }
    }

    fn session(
        &self,
        conn: &mut Connection,
        number: usize,
        random: &mut u64,
    ) -> std::io::Result<()> {
        let id = conn.try_query("select connection_id()")?;
        let id = id
            .first()
            .filter(|answer| !answer.is_error())
            .and_then(Answer::value)
            .and_then(|id| id.parse().ok());
        self.ids[number].store(id.unwrap_or(0), Ordering::Relaxed);
        conn.try_query("set innodb_lock_wait_timeout = 1")?;
        while !self.stop.load(Ordering::Relaxed) {
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let kind = *random >> 60;
            match kind % 4 {
                0 => {
                    self.step(conn, *random)?;
                }
                1 => conn.try_query("set autocommit = 0").map(drop)?,
                2 => conn.try_query("begin").map(drop)?,
                _ => {}
            }
            if !kind.is_multiple_of(4) {
                // An error that leaves the transaction open is no reason to stop: what is done is
                // committed.
                for at in 0..1 + kind % 3 {
                    self.step(conn, random.rotate_left(7 * at as u32))?;
                }
                let end = if kind == 7 { "rollback" } else { "commit" };
                if !conn.try_query(end)?.iter().any(Answer::is_error) {
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                conn.try_query("set autocommit = 1")?;
            }
        }
        Ok(())
    }

    /// Moves a piece to a place where nobody has been.
    fn step(&self, conn: &mut Connection, random: u64) -> std::io::Result<()> {
        let place = self.next_place.fetch_add(1, Ordering::Relaxed);
        let piece = 1 + (random >> 33) % PIECES;
        let sql = format!("update piece set place = {place} where id = {piece}");
        conn.try_query(&sql).map(drop)
    }

    fn kill_clients(&self, proxy: std::net::SocketAddr) {
        let mut conn = Connection::login(proxy, world::USER, world::PASSWORD, Some("ks"));
        let mut turn = 0_usize;
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(60 + 30 * (turn as u64 % 5)));
            turn += 1;
            let id = self.ids[turn % CLIENTS].load(Ordering::Relaxed);
            if id != 0 {
                let what = if turn.is_multiple_of(3) { "query" } else { "connection" };
                // It may have gone by itself.
                let _ = conn.query(&format!("kill {what} {id}"));
            }
        }
    }
}

/// Where each piece lies: its shards, one for every row.
fn places() -> BTreeMap<String, Vec<usize>> {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for shard in 0..SHARDS.len() {
        for row in CLUSTER.direct(shard).query("select id from piece").rows() {
            places
                .entry(row[0].clone().unwrap())
                .or_default()
                .push(shard);
        }
    }
    places
}

#[test]
fn rows_that_move_are_on_one_place() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let proxy = CLUSTER.proxy();
    let moves = Moves {
        stop: AtomicBool::new(false),
        next_place: AtomicU64::new(1000),
        done: AtomicU64::new(0),
        ids: Default::default(),
    };
    let mut conn = super::connect(&proxy);
    conn.run("delete from piece");
    for piece in 1..=PIECES {
        conn.run(&format!("insert into piece (place, id) values ({piece}, {piece})"));
    }
    std::thread::scope(|scope| {
        let (address, moves) = (proxy.mysql, &moves);
        for number in 0..CLIENTS {
            scope.spawn(move || moves.client(address, number));
        }
        scope.spawn(move || moves.kill_clients(address));
        for round in 0..4 {
            let before = moves.done.load(Ordering::Relaxed);
            wait_until("pieces move", || moves.done.load(Ordering::Relaxed) > before + 25);
            let mut server = CLUSTER.servers[round % SHARDS.len()].lock().unwrap();
            server.kill();
            server.restart();
        }
        let before = moves.done.load(Ordering::Relaxed);
        wait_until("pieces move", || moves.done.load(Ordering::Relaxed) > before + 25);
        moves.stop.store(true, Ordering::Relaxed);
    });
    wait_until("the resolver has finished what was left", || CLUSTER.prepared() == 0);
    let places = places();
    let expected: Vec<String> = {
        let mut all: Vec<String> = (1..=PIECES).map(|piece| piece.to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(places.keys().cloned().collect::<Vec<_>>(), expected, "{places:?}");
    assert!(places.values().all(|shards| shards.len() == 1), "{places:?}");
}
