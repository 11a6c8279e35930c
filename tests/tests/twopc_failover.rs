//! `transaction_mode = TWOPC` while primaries die with prepared branches: the branches are on
//! whoever takes their place, so that a transaction is on all of its shards or on none, and what
//! was acknowledged is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{Answer, Connection, wait_until, world};
use rustix::process::{Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A transaction writes so many rows, wherever they lie.
const LEGS: u64 = 4;
const CLIENTS: usize = 6;

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Load {
    /// One client; one that is thrown out comes again.
    fn client(&self, proxy: std::net::SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut conn) =
                Connection::try_login(proxy, world::USER, world::PASSWORD, Some("ks"))
            else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            if conn.try_query("set transaction_mode = 'twopc'").is_err() {
                continue;
            }
            while !self.stop.load(Ordering::Relaxed) && self.transaction(&mut conn).is_ok() {
                std::hint::spin_loop();
            }
        }
    }

    fn transaction(&self, conn: &mut Connection) -> std::io::Result<()> {
        let tag = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut statements = vec!["begin".to_owned()];
        statements
            .extend((0..LEGS).map(|leg| {
                format!("insert into t (id, v) values ({}, '{tag}')", tag * LEGS + leg)
            }));
        for sql in statements {
            if conn.try_query(&sql)?.iter().any(Answer::is_error) {
                conn.try_query("rollback")?;
                return Ok(());
            }
        }
        if !conn.try_query("commit")?.iter().any(Answer::is_error) {
            self.acknowledged.lock().unwrap().insert(tag);
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// By shard: its primary.
fn primaries(cluster: &Cluster) -> Vec<String> {
    let mut rows = cluster.connect("ks").run("show vitess_tablets").rows();
    rows.retain(|row| row[3].as_deref() == Some("PRIMARY"));
    rows.sort_by(|a, b| a[2].cmp(&b[2]));
    rows.into_iter()
        .map(|row| row[5].clone().unwrap())
        .collect()
}

fn legs(cluster: &Cluster) -> BTreeMap<u64, u64> {
    let mut legs = BTreeMap::new();
    for primary in primaries(cluster) {
        for line in cluster
            .on(&primary, "select v, count(*) from t group by v")
            .lines()
        {
            let (tag, count) = line.split_once('\t').unwrap();
            *legs.entry(tag.parse().unwrap()).or_default() += count.parse::<u64>().unwrap();
        }
    }
    legs
}

/// Clients end with the test, also where it fails.
struct StopAtEnd<'s>(&'s AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn nothing_tears(cluster: &Cluster, signals: &[Signal], return_well: bool) {
    let load = Load::default();
    std::thread::scope(|scope| {
        let (address, load) = (cluster.proxy.mysql, &load);
        let _stop = StopAtEnd(&load.stop);
        for _ in 0..CLIENTS {
            scope.spawn(move || load.client(address));
        }
        for (round, signal) in signals.iter().enumerate() {
            let before = load.count();
            wait_until("transactions are acknowledged", || load.count() > before + 60 + 29 * round);
            let old = primaries(cluster)[round % 2].clone();
            kill_process(cluster.pid(&old), *signal).unwrap();
            wait_until("another is primary", || primaries(cluster)[round % 2] != old);
            if return_well {
                cluster.wait_well();
            }
        }
        let before = load.count();
        wait_until("transactions are acknowledged again", || load.count() > before + 60);
        load.stop.store(true, Ordering::Relaxed);
    });
    wait_until("the resolver has finished what was left", || {
        primaries(cluster)
            .iter()
            .all(|alias| cluster.on(alias, "xa recover").is_empty())
    });
    let legs = legs(cluster);
    for (tag, count) in &legs {
        assert_eq!(*count, LEGS, "transaction {tag} is torn");
    }
    let acknowledged = load.acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|tag| !legs.contains_key(tag))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged transactions are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    // Replicas that are up have neither more nor less, and nothing that is prepared.
    let state = |alias: &str| {
        (cluster.on(alias, "select id from t order by id"), cluster.on(alias, "xa recover"))
    };
    for primary in primaries(cluster) {
        let wanted = (state(&primary).0, String::new());
        let of_shard = |alias: &String| alias.starts_with(&primary[..primary.len() - 2]);
        let serving = cluster
            .tablets("REPLICA")
            .into_iter()
            .filter(|(_, state)| state == "SERVING");
        for (replica, _) in serving.filter(|(alias, _)| of_shard(alias)) {
            wait_until("a replica has what its primary has", || state(&replica) == wanted);
        }
    }
}

/// One death a shard: MariaDB that was killed with XA transactions that no replica has acknowledged
/// may refuse to start again.
#[test]
fn branches_outlive_the_primaries_of_mariadb() {
    let cluster = Cluster::of("twopc-failover", "ks:2:2", 6);
    nothing_tears(&cluster, &[Signal::KILL, Signal::STOP], false);
}

#[test]
fn branches_outlive_the_primaries_of_mysql() {
    let Some(cluster) = Cluster::of_mysql("my-twopc", "ks:2:2", 6) else { return };
    nothing_tears(&cluster, &[Signal::KILL, Signal::KILL, Signal::STOP, Signal::KILL], true);
}
