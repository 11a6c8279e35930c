//! What has to hold of every kind of servers when primaries move and die, under continuous writes.
use crate::replicated::Cluster;
use crate::wait_until;
use rustix::process::{Signal, kill_process};

/// Moves the primary so often, in order: no statement fails, nothing is lost.
pub fn planned_moves_fail_no_statement(cluster: &Cluster, moves: usize) {
    let writers = cluster.writers(4);
    for _ in 0..moves {
        writers.record.wait_more(50);
        let old = cluster.primary();
        let said = cluster.ctl(&["planned-reparent-shard", "ks/0"]).unwrap();
        let new = cluster.primary();
        assert!(new != old && said.contains(&format!("{new} is primary")), "{old} {new}: {said}");
        writers.record.wait_more(50);
    }
    let record = writers.stop();
    assert_eq!(*record.errors.lock().unwrap(), Vec::<String>::new());
    cluster.check(&record);
    assert!(cluster.proxy.metric("coregate_buffered_total") > 0.0);
    let said = cluster.ctl(&["get-recoveries"]).unwrap();
    assert_eq!(said.matches("PlannedReparentShard").count(), moves, "{said}");
}

/// Takes the primary away so often by a signal: another takes its place, and nothing that was
/// acknowledged is lost.
pub fn a_lost_primary_loses_nothing(cluster: &Cluster, signal: Signal, times: usize) {
    let writers = cluster.writers(4);
    for _ in 0..times {
        writers.record.wait_more(100);
        let old = cluster.primary();
        kill_process(cluster.pid(&old), signal).unwrap();
        wait_until("another is primary", || cluster.primary() != old);
        writers.record.wait_more(100);
        cluster.wait_well();
    }
    let record = writers.stop();
    cluster.check(&record);
    let said = cluster.ctl(&["get-recoveries"]).unwrap();
    let what = if cluster.galera { "what: GaleraWriterUnfit" } else { "what: DeadPrimary" };
    assert!(said.matches(what).count() >= times, "{said}");
    for error in record.errors.lock().unwrap().iter() {
        // The fate of what was on its way is unknown; after one death, statements do not wait for
        // the next one so soon.
        let known = ["Lost connection", "unknown", "cannot connect to", "being replaced"];
        // Nodes say so themselves when the cluster breaks up under a statement.
        let of_galera = ["WSREP", "Primary Component", "Deadlock"];
        let of_galera = of_galera.iter().filter(|_| cluster.galera);
        assert!(
            known
                .iter()
                .chain(of_galera)
                .any(|part| error.contains(part)),
            "{error}"
        );
    }
}
