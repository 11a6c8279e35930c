//! Tables that one of several processes changes, while it dies or cannot tell the others.
#![allow(clippy::unwrap_used)]
use coregate_tests::replicated::{self, Cluster};
use coregate_tests::{Connection, Coregate, Etcd, wait_until, world};
use rustix::process::Signal;

fn serve(name: &str, etcd: &Etcd, root: &str) -> Coregate {
    let users = world::users_file();
    let config = format!(
        "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \"/{root}\"\n[users]\nfile = {users:?}\n",
        etcd.endpoints()
    );
    Coregate::configured(name, &config)
}

fn start(name: &str) -> (Etcd, Cluster, [Coregate; 2]) {
    let etcd = Etcd::start(&format!("etcd-{name}"), 1);
    let topo = format!("--topo={}", etcd.url(name));
    let mut local = Cluster::with(name, "ks:2:0", 2, &[&topo]);
    let key = format!("/{name}/cells/zone1/tablets/zone1-100/Tablet");
    local.password = Some(replicated::password(&etcd.ctl(&["get", "--print-value-only", &key])));
    let others = [0, 1].map(|n| serve(&format!("{name}-{n}"), &etcd, name));
    (etcd, local, others)
}

fn connect(coregate: &Coregate) -> Connection {
    coregate.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

fn knows_column(coregate: &Coregate, name: &str) -> bool {
    coregate
        .admin("/api/keyspaces/ks/schema")
        .contains(&format!("\"name\":\"{name}\""))
}

#[test]
fn a_process_that_dies_while_it_changes_tables_leaves_nobody_with_old_columns() {
    let (etcd, local, [dies, other]) = start("ddl-dies");
    connect(&other).run("insert into t (id, v) values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
    // The statement waits on its servers, for a transaction.
    let primaries: Vec<String> = local
        .tablets("PRIMARY")
        .into_iter()
        .map(|(alias, _)| alias)
        .collect();
    std::thread::scope(|scope| {
        for alias in &primaries {
            let hold = "begin; select count(*) from t; select sleep(120) as held";
            let local = &local;
            scope.spawn(move || local.try_on(alias, hold));
        }
        let held =
            "select max(id) from information_schema.processlist where info like 'select sleep(120) as held%'";
        wait_until("it would have to wait", || primaries.iter().all(|a| local.on(a, held) != "NULL"));
        let mut conn = connect(&dies);
        conn.send_command(3, b"alter table t modify v varchar(100) first, add column n int")
            .unwrap();
        let waits = "select count(*) from information_schema.processlist where info like 'alter table t%'";
        wait_until("it waits on a server", || primaries.iter().any(|a| local.on(a, waits) != "0"));
        // Everybody has been told.
        wait_until("it is said", || {
            etcd.ctl(&["get", "--prefix", "--keys-only", "/ddl-dies/global/locks/"])
                .contains("/ddl-")
        });
        dies.process.signal(Signal::KILL);
        for alias in &primaries {
            let id = local.on(alias, held);
            local.on(alias, &format!("kill query {id}"));
        }
    });
    let columns =
        "select count(*) from information_schema.columns where table_schema = 'ks' and table_name = 't'";
    wait_until("some server has taken it", || primaries.iter().any(|a| local.on(a, columns) == "3"));
    // It ran on one shard after another, or on both: with the process gone, the rest is the operator's. Those who live know it.
    let first = primaries
        .iter()
        .find(|a| local.on(a, columns) == "3")
        .unwrap();
    if first == &primaries[0] {
        wait_until("the other processes know it", || {
            knows_column(&other, "n") && knows_column(&local.proxy, "n")
        });
    }
    wait_until("the mark has gone with its process", || {
        !etcd
            .ctl(&["get", "--prefix", "--keys-only", "/ddl-dies/global/locks/"])
            .contains("/ddl-")
    });
}

#[test]
fn tables_are_not_changed_while_others_cannot_be_told() {
    let (mut etcd, local, [one, other]) = start("ddl-away");
    connect(&one).run("create table u (id int primary key)");
    connect(&other).run("drop table u");
    etcd.kill(0);
    wait_until("it is noticed", || other.metric("coregate_store_up") < 1.0);
    let refused = connect(&one).query("alter table t add column n int");
    assert!(refused.error().message.contains("cannot be told"), "{refused:?}");
    assert!(!knows_column(&local.proxy, "n"));
    connect(&one).run("insert into t (id, v) values (1, 'rows go on')");
    etcd.restart(0);
    wait_until("it is back", || {
        !connect(&one)
            .query("alter table t add column n int")
            .is_error()
    });
    assert!(knows_column(&other, "n") && knows_column(&local.proxy, "n"));
}
