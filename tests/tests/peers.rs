//! Several processes on one etcd: what one changes all use, one of them leads, and any of them may
//! die.
#![allow(clippy::unwrap_used)]
use coregate_tests::etcd::Gate;
use coregate_tests::replicated::{self, Cluster};
use coregate_tests::{Connection, Coregate, Etcd, wait_until, world};
use std::process::Command;

/// `coregate serve` on the same topology.
fn serve(name: &str, etcd: &Etcd, root: &str) -> Coregate {
    serve_with(name, etcd, root, "")
}

fn serve_with(name: &str, etcd: &Etcd, root: &str, more: &str) -> Coregate {
    let users = world::users_file();
    Coregate::configured(
        name,
        &format!(
            "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \
                \"/{root}\"\n\
             [users]\nfile = {users:?}\n[failover]\nenabled = true\n{more}",
            etcd.endpoints()
        ),
    )
}

fn connect(coregate: &Coregate) -> Connection {
    coregate.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

fn processes(coregate: &Coregate) -> Vec<serde_json::Value> {
    serde_json::from_str(&coregate.admin("/api/processes")).unwrap()
}

/// The names of those that lead, as one process sees it.
fn leaders(coregate: &Coregate) -> Vec<String> {
    let list = processes(coregate);
    let leads = list.iter().filter(|p| p["leader"] == true);
    leads
        .map(|p| p["admin"].as_str().unwrap().to_owned())
        .collect()
}

fn ctl(coregate: &Coregate, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(coregate_tests::coregate::binary());
    let output = command
        .args(["ctl", "--admin", &coregate.admin.to_string()])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A local cluster in etcd, and so many processes beside it.
fn start(
    name: &str,
    keyspace: &str,
    tablets: usize,
    beside: usize,
) -> (Etcd, Cluster, Vec<Coregate>) {
    let etcd = Etcd::start(&format!("etcd-{name}"), 1);
    let topo = format!("--topo={}", etcd.url(name));
    let mut local = Cluster::with(name, keyspace, tablets, &[&topo]);
    let key = format!("/{name}/cells/zone1/tablets/zone1-100/Tablet");
    local.password = Some(replicated::password(&etcd.ctl(&["get", "--print-value-only", &key])));
    let others = (0..beside)
        .map(|n| serve(&format!("{name}-{n}"), &etcd, name))
        .collect();
    (etcd, local, others)
}

#[test]
fn what_one_process_changes_all_use_when_it_is_answered() {
    let (etcd, local, others) = start("changes", "ks:2:1", 4, 2);
    wait_until("all know each other", || others.iter().all(|o| processes(o).len() == 3));
    let mut own = local.connect("ks");
    own.run("insert into t (id, v) values (1, 'a'), (2, 'b'), (3, 'c')");
    for other in &others {
        assert_eq!(connect(other).run("select count(*) from t").rows()[0][0].as_deref(), Some("3"));
        assert_eq!(
            connect(other).run("show vitess_tablets").rows().len(),
            4,
            "the tablets are the same everywhere"
        );
    }
    // Tables, by any process: at once used by all.
    let mut first = connect(&others[0]);
    first.run("create table u (id bigint primary key, n int)");
    first.run("alter vschema on ks.u add vindex hash(id) using hash");
    for process in [&local.proxy, &others[0], &others[1]] {
        let mut conn = connect(process);
        conn.run("insert into u (id, n) values (10, 1), (11, 2), (12, 3), (13, 4)");
        assert_eq!(conn.run("select sum(n) from u").rows()[0][0].as_deref(), Some("10"));
        conn.run("delete from u");
    }
    // Changes at the same moment, of different processes: none is lost.
    std::thread::scope(|scope| {
        for (n, process) in [&local.proxy, &others[0], &others[1]]
            .into_iter()
            .enumerate()
        {
            scope.spawn(move || {
                let mut conn = connect(process);
                for i in 0..5 {
                    conn.run(&format!("alter vschema create vindex ks.made_{n}_{i} using hash"));
                }
            });
        }
    });
    let vschema = ctl(&others[1], &["get-vschema", "ks"]).unwrap();
    for n in 0..3 {
        for i in 0..5 {
            assert!(vschema.contains(&format!("made_{n}_{i}")), "made_{n}_{i} is lost: {vschema}");
        }
    }
    // By hand, in the store.
    let key = "/changes/global/keyspaces/ks/VSchema";
    let edited = etcd
        .ctl(&["get", "--print-value-only", key])
        .replace("made_0_0", "by_hand");
    etcd.ctl(&["put", key, &edited]);
    for process in [&local.proxy, &others[0], &others[1]] {
        wait_until("an edit by hand is used", || {
            ctl(process, &["get-vschema", "ks"])
                .unwrap()
                .contains("by_hand")
        });
    }
    own.run("alter vschema create vindex ks.behind using hash");
}

#[test]
fn one_leads_and_another_takes_over() {
    let (_etcd, mut local, mut others) = start("leads", "ks:1:2", 3, 2);
    let of_local = local.proxy.admin.to_string();
    wait_until("the first process leads", || leaders(&others[0]) == [of_local.clone()]);
    local
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    // Without an end: its lease runs out. Its servers go on.
    kill_only(&mut local.proxy);
    wait_until("another leads", || {
        let of = leaders(&others[0]);
        of.len() == 1 && of[0] != of_local && processes(&others[0]).len() == 2
    });
    assert_eq!(leaders(&others[0]), leaders(&others[1]));
    let mut conn = connect(&others[1]);
    conn.run("insert into t (id, v) values (2, 'b')");
    // The new leader replaces a primary that dies.
    let primary = conn
        .run("show vitess_tablets")
        .rows()
        .into_iter()
        .find(|r| r[3].as_deref() == Some("PRIMARY"));
    let primary = primary.unwrap()[5].clone().unwrap();
    rustix::process::kill_process(local.pid(&primary), rustix::process::Signal::KILL).unwrap();
    wait_until("writes go on", || {
        let Ok(mut conn) =
            Connection::try_login(others[0].mysql, world::USER, world::PASSWORD, Some("ks"))
        else {
            return false;
        };
        conn.try_query("insert into t (id, v) values (3, 'c')")
            .is_ok_and(|a| !a[0].is_error())
    });
    for other in &others {
        wait_until("all agree on the new one", || {
            let rows = connect(other).run("show vitess_tablets").rows();
            let primaries: Vec<_> = rows
                .iter()
                .filter(|r| r[3].as_deref() == Some("PRIMARY"))
                .collect();
            primaries.len() == 1 && primaries[0][5].as_deref() != Some(&primary)
        });
        assert_eq!(connect(other).run("select count(*) from t").rows()[0][0].as_deref(), Some("3"));
    }
    // An orderly end gives up the lead at once.
    let at = usize::from(leaders(&others[0])[0] == others[1].admin.to_string());
    assert!(others[at].process.terminate().success());
    let rest = others.remove(1 - at);
    wait_until("the last one leads", || leaders(&rest) == [rest.admin.to_string()]);
}

/// Not its servers, which are of process groups of their own.
fn kill_only(coregate: &mut Coregate) {
    coregate.process.kill();
}

#[test]
fn queries_go_on_without_the_store() {
    let (mut etcd, local, others) = start("away", "ks:1:2", 3, 1);
    let other = &others[0];
    let mut conn = connect(other);
    conn.run("insert into t (id, v) values (1, 'a')");
    wait_until("somebody leads", || leaders(other).len() == 1);
    etcd.kill_all();
    for process in [&local.proxy, other] {
        wait_until("it is said", || process.metric("coregate_store_up") == 0.0);
        let ready = process.admin("/readyz");
        assert!(ready.starts_with("ok\n") && ready.contains("the topology's store"), "{ready}");
    }
    conn.run("insert into t (id, v) values (2, 'b')");
    let refused = conn.try_query("alter vschema add table ks.x").unwrap();
    assert!(refused[0].is_error() && refused[0].error().message.contains("store"), "{refused:?}");
    // Others could not be told: they would place rows by columns that are no more.
    let refused = conn.query("create table later (id int primary key)");
    assert!(refused.error().message.contains("cannot be told"), "{refused:?}");
    let moved = ctl(other, &["planned-reparent-shard", "ks/0"]).unwrap_err();
    assert!(moved.contains("store"), "{moved}");
    etcd.restart_all();
    for process in [&local.proxy, other] {
        wait_until("it is back", || {
            process.metric("coregate_store_up") == 1.0 && leaders(process).len() == 1
        });
        assert!(!process.admin("/readyz").contains("store"));
    }
    conn.run("create table later (id int primary key)");
    let schema = ctl(&local.proxy, &["get-schema", "ks"]).unwrap();
    assert!(schema.contains("later"), "{schema}");
    conn.run("alter vschema add table ks.x");
    assert!(
        ctl(&local.proxy, &["get-vschema", "ks"])
            .unwrap()
            .contains("\"x\"")
    );
    local.wait_well();
    ctl(other, &["planned-reparent-shard", "ks/0"]).unwrap();
    conn.run("insert into t (id, v) values (3, 'c')");
    assert_eq!(
        local.connect("ks").run("select count(*) from t").rows()[0][0].as_deref(),
        Some("3")
    );
}

#[test]
fn a_planned_move_by_any_process_costs_nobody_an_error() {
    let (_etcd, local, others) = start("moves", "ks:1:2", 3, 2);
    let writers = local.writers(2);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let errors = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (n, other) in others.iter().enumerate() {
            let (stop, errors) = (&stop, &errors);
            scope.spawn(move || {
                let mut conn = connect(other);
                let mut id = 1_000_000 * (n + 1);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    id += 1;
                    let sql = format!("insert into t (id, v) values ({id}, 'o')");
                    match conn.try_query(&sql) {
                        Ok(answers) if !answers[0].is_error() => {}
                        Ok(answers) => errors
                            .lock()
                            .unwrap()
                            .push(answers[0].error().message.clone()),
                        Err(e) => {
                            errors.lock().unwrap().push(e.to_string());
                            return;
                        }
                    }
                }
            });
        }
        for round in 0..4 {
            writers.record.wait_more(20);
            let by = [&local.proxy, &others[0], &others[1]][round % 3];
            let moved = ctl(by, &["planned-reparent-shard", "ks/0"]);
            assert!(moved.is_ok(), "{moved:?}");
            local.wait_well();
        }
        writers.record.wait_more(20);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // The leader's last look at a server is older than the move of another: it is no reason for a
    // repair.
    let recoveries = local.proxy.admin("/api/recoveries");
    assert!(!recoveries.contains("PrimaryIsReadOnly"), "{recoveries}");
    let record = writers.stop();
    assert_eq!(*errors.lock().unwrap(), Vec::<String>::new());
    assert_eq!(*record.errors.lock().unwrap(), Vec::<String>::new());
    let count = |c: &Coregate| connect(c).run("select count(*) from t").rows()[0][0].clone();
    assert_eq!(count(&others[0]), count(&local.proxy));
}

/// Three `serve` beside the servers of a cluster whose own process has been killed.
fn three(name: &str) -> (Etcd, Cluster, Vec<Coregate>) {
    let (etcd, mut local, others) = start(name, "ks:1:2", 3, 3);
    let first = &others[0];
    wait_until("all know each other", || processes(first).len() == 4);
    kill_only(&mut local.proxy);
    wait_until("one of the three leads", || {
        processes(first).len() == 3 && leaders(first).len() == 1
    });
    (etcd, local, others)
}

/// One client, which goes to any process that takes it: what it has written.
fn write_until(
    others: &[Coregate],
    acknowledged: &mut std::collections::BTreeSet<u64>,
    more: usize,
) {
    let mut id = acknowledged.last().map_or(0, |last| last + 1000);
    let wanted = acknowledged.len() + more;
    let mut at = 0;
    wait_until("writes go on", || {
        at += 1;
        let to = &others[at % others.len()];
        let Ok(mut conn) =
            Connection::try_login(to.mysql, world::USER, world::PASSWORD, Some("ks"))
        else {
            return false;
        };
        while acknowledged.len() < wanted {
            id += 1;
            match conn.try_query(&format!("insert into t (id, v) values ({id}, 'x')")) {
                Ok(answers) if !answers[0].is_error() => drop(acknowledged.insert(id)),
                _ => break,
            }
        }
        acknowledged.len() >= wanted
    });
}

/// Every process agrees on one primary, which alone takes writes, and nothing acknowledged is lost.
fn check(local: &Cluster, others: &[Coregate], acknowledged: &std::collections::BTreeSet<u64>) {
    let primary_of = |c: &Coregate| -> Option<String> {
        let mut conn =
            Connection::try_login(c.mysql, world::USER, world::PASSWORD, Some("ks")).ok()?;
        let rows = conn.run("show vitess_tablets").rows();
        let mut primaries = rows
            .into_iter()
            .filter(|r| r[3].as_deref() == Some("PRIMARY"));
        let first = primaries.next()?[5].clone();
        assert!(primaries.next().is_none(), "two primaries");
        first
    };
    let mut writable = Vec::new();
    wait_until("all agree on one primary, which alone takes writes", || {
        let named: Vec<_> = others.iter().map(primary_of).collect();
        let aliases = ["zone1-100", "zone1-101", "zone1-102"];
        writable = aliases
            .into_iter()
            .filter(|a| local.on(a, "select @@read_only") == "0")
            .collect();
        writable.len() == 1
            && named
                .iter()
                .all(|name| name.as_deref() == Some(writable[0]))
    });
    for other in others {
        assert_eq!(leaders(other).len(), 1, "one leads");
    }
    let there = local.on(writable[0], "select id from t");
    let there: std::collections::BTreeSet<u64> =
        there.lines().map(|id| id.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn any_of_three_may_die_in_the_middle_of_a_move() {
    let (_etcd, local, mut others) = three("dies");
    let mut acknowledged = std::collections::BTreeSet::new();
    write_until(&others, &mut acknowledged, 20);
    // At different moments of a move: by the leader and by another one.
    for (round, delay_ms) in [(0_usize, 4), (1, 12), (2, 25), (3, 40)] {
        let leader = leaders(&others[0])[0].clone();
        let leads = |c: &Coregate| c.admin.to_string() == leader;
        let at = others
            .iter()
            .position(|c| leads(c) == (round % 2 == 0))
            .unwrap();
        let mover = others[at].admin.to_string();
        let asks = std::thread::spawn(move || {
            let _ = Command::new(coregate_tests::coregate::binary())
                .args(["ctl", "--admin", &mover, "planned-reparent-shard", "ks/0"])
                .output();
        });
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        let mut dead = others.remove(at);
        kill_only(&mut dead);
        asks.join().unwrap();
        write_until(&others, &mut acknowledged, 20);
        check(&local, &others, &acknowledged);
        others.push(serve(&format!("dies-again-{round}"), &_etcd, "dies"));
        wait_until("it is one of them", || processes(&others[0]).len() == 3);
        write_until(&others, &mut acknowledged, 20);
        check(&local, &others, &acknowledged);
    }
}

#[test]
fn the_store_may_die_in_the_middle_of_a_move() {
    let (mut etcd, local, others) = three("store-dies");
    let mut acknowledged = std::collections::BTreeSet::new();
    for delay_ms in [3, 8, 15, 30] {
        write_until(&others, &mut acknowledged, 20);
        let mover = others[0].admin.to_string();
        let asks = std::thread::spawn(move || {
            let _ = Command::new(coregate_tests::coregate::binary())
                .args(["ctl", "--admin", &mover, "planned-reparent-shard", "ks/0"])
                .output();
        });
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        etcd.kill_all();
        std::thread::sleep(std::time::Duration::from_millis(300));
        etcd.restart_all();
        asks.join().unwrap();
        write_until(&others, &mut acknowledged, 20);
        wait_until("one leads", || leaders(&others[0]).len() == 1);
        check(&local, &others, &acknowledged);
    }
}

#[test]
fn a_member_of_etcd_may_die() {
    let mut etcd = Etcd::start("etcd-members", 3);
    let topo = format!("--topo={}", etcd.url("members"));
    let local = Cluster::with("members", "ks:1:1", 2, &[&topo]);
    let other = serve("members-0", &etcd, "members");
    for n in 0..3 {
        etcd.kill(n);
        let sql = format!("alter vschema add table ks.after_{n}");
        wait_until("changes go on", || {
            connect(&other)
                .try_query(&sql)
                .is_ok_and(|answers| !answers[0].is_error())
                || ctl(&local.proxy, &["get-vschema", "ks"])
                    .unwrap()
                    .contains(&format!("after_{n}"))
        });
        wait_until("both use it", || {
            [&local.proxy, &other].iter().all(|c| {
                ctl(c, &["get-vschema", "ks"])
                    .unwrap()
                    .contains(&format!("after_{n}"))
            })
        });
        etcd.restart(n);
        etcd.wait();
    }
}

#[test]
fn a_process_that_is_cut_off_loses_nothing_when_others_move_the_primary() {
    use std::sync::atomic::Ordering::Relaxed;
    let (etcd, local, _) = start("cut", "ks:1:2", 3, 0);
    let gate = Gate::before(etcd.port(0));
    let users = world::users_file();
    let cut = Coregate::configured(
        "cut-off",
        &format!(
            "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = \
                [\"127.0.0.1:{}\"]\nroot = \"/cut\"\n\
             [users]\nfile = {users:?}\n[failover]\nenabled = true\n[buffer]\nwindow_ms = 500\n",
            gate.port
        ),
    );
    wait_until("both are there", || processes(&local.proxy).len() == 2);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let acknowledged = std::sync::Mutex::new(std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut id = 0_u64;
            while !stop.load(Relaxed) {
                let conn =
                    Connection::try_login(cut.mysql, world::USER, world::PASSWORD, Some("ks"));
                let Ok(mut conn) = conn else { continue };
                while !stop.load(Relaxed) {
                    id += 1;
                    match conn.try_query(&format!("insert into t (id, v) values ({id}, 'x')")) {
                        Ok(answers) if !answers[0].is_error() => {
                            acknowledged.lock().unwrap().insert(id);
                        }
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            }
        });
        let _stop = Stop(&stop);
        let count = || acknowledged.lock().unwrap().len();
        let more = |what: &str| {
            let wanted = count() + 20;
            wait_until(what, || count() >= wanted);
        };
        more("it writes");
        gate.set_open(false);
        wait_until("it counts as gone", || processes(&local.proxy).len() == 1);
        more("it writes although it is cut off");
        let moved = ctl(&local.proxy, &["planned-reparent-shard", "ks/0"]);
        assert!(moved.is_ok(), "{moved:?}");
        gate.set_open(true);
        more("it writes to the new primary");
    });
    check(&local, &[cut], &acknowledged.into_inner().unwrap());
}

/// Ends a writer, also where the test has failed.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
