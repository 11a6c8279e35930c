//! Tables that one of several processes changes, while it dies or cannot tell the others.
#![allow(clippy::unwrap_used)]
use coregate_tests::replicated::{self, Cluster};
use coregate_tests::{Connection, Coregate, Etcd, wait_until, world};
use rustix::process::Signal;

fn serve(name: &str, etcd: &Etcd, root: &str) -> Coregate {
    let users = world::users_file();
    let config = format!(
        "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \
            \"/{root}\"\n[users]\nfile = {users:?}\n",
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
        let held = "select max(id) from information_schema.processlist where info like 'select \
            sleep(120) as held%'";
        wait_until("it would have to wait", || {
            primaries.iter().all(|a| local.on(a, held) != "NULL")
        });
        let mut conn = connect(&dies);
        conn.send_command(3, b"alter table t modify v varchar(100) first, add column n int")
            .unwrap();
        let waits =
            "select count(*) from information_schema.processlist where info like 'alter table t%'";
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
    let columns = "select count(*) from information_schema.columns where table_schema = 'ks' and \
        table_name = 't'";
    wait_until("some server has taken it", || {
        primaries.iter().any(|a| local.on(a, columns) == "3")
    });
    // It ran on one shard after another, or on both: with the process gone, the rest is the
    // operator's. Those who live know it.
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

/// The tables' columns in the order of each shard.
fn columns(local: &Cluster, table: &str) -> Vec<String> {
    let sql = format!(
        "select group_concat(column_name order by ordinal_position) from \
            information_schema.columns \
         where table_schema = 'ks' and table_name = '{table}'"
    );
    let primaries = local.tablets("PRIMARY").into_iter();
    primaries.map(|(alias, _)| local.on(&alias, &sql)).collect()
}

#[test]
fn statements_of_all_processes_change_tables_one_after_another() {
    let (_etcd, local, others) = start("ddl-turns");
    let processes = [&local.proxy, &others[0], &others[1]];
    std::thread::scope(|scope| {
        for (n, process) in processes.into_iter().enumerate() {
            for session in 0..2 {
                scope.spawn(move || {
                    let mut conn = connect(process);
                    for i in 0..4 {
                        conn.run(&format!("alter table t add column c_{n}_{session}_{i} int"));
                    }
                });
            }
        }
    });
    let all = columns(&local, "t");
    assert_eq!(all[0].split(',').count(), 2 + 24, "{all:?}");
    assert_eq!(all[0], all[1], "the same order on all shards");
}

#[test]
fn who_waits_too_long_for_others_ddl_is_told_so() {
    let (etcd, local, [one, other]) = start("ddl-late");
    let users = world::users_file();
    let hasty = Coregate::configured(
        "ddl-hasty",
        &format!(
            "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \
                \"/ddl-late\"\nddl_wait_timeout_ms = 1000\n\
             [users]\nfile = {users:?}\n",
            etcd.endpoints()
        ),
    );
    let (primary, _) = local.tablets("PRIMARY").remove(0);
    let held = "select max(id) from information_schema.processlist where info like 'select \
        sleep(120) as held%'";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            local.try_on(&primary, "begin; select count(*) from t; select sleep(120) as held")
        });
        wait_until("it would have to wait", || local.on(&primary, held) != "NULL");
        let alters = scope.spawn(|| connect(&one).run("alter table t add column a int"));
        let waits =
            "select count(*) from information_schema.processlist where info like 'alter table t%'";
        wait_until("it waits on a server", || local.on(&primary, waits) != "0");
        let late = connect(&hasty).query("alter table t add column b int");
        let error = late.error();
        assert_eq!(error.code, 1205, "{error:?}");
        assert!(error.message.contains("DDL of "), "{error:?}");
        let refused = local.ctl(&["apply-schema", "ks", "--sql", "create table w (id int)"]);
        assert!(refused.as_ref().is_err_and(|why| why.contains("DDL of ")), "{refused:?}");
        // A client that goes away while it waits leaves nothing behind.
        let mut gone = connect(&other);
        gone.send_command(3, b"alter table t add column c int")
            .unwrap();
        drop(gone);
        let id = local.on(&primary, held);
        local.on(&primary, &format!("kill query {id}"));
        alters.join().unwrap();
    });
    connect(&hasty).run("alter table t add column b int");
    let all = columns(&local, "t");
    assert!(all[0] == all[1] && all[0].starts_with("id,v,a") && all[0].contains(",b"), "{all:?}");
}

#[test]
fn a_client_is_warned_of_processes_that_do_not_use_its_change() {
    let (etcd, _local, [one, _other]) = start("ddl-ghost");
    // One that is there, and takes nothing over.
    let ghost = r#"{"id": "ghost:1", "version": "0", "host": "ghost", "pid": 1, "mysql": "",
        "admin": "", "cores": 1,
        "cell": null, "started": "", "revision": 1}"#;
    etcd.ctl(&["put", "/ddl-ghost/global/processes/ghost:1", ghost]);
    wait_until("it is known", || one.admin("/api/processes").contains("ghost:1"));
    let mut conn = connect(&one);
    conn.run("create table u (id int primary key)");
    let rows = conn.run("show warnings").rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let cell = |at: usize| rows[0][at].clone().unwrap();
    assert_eq!((cell(0).as_str(), cell(1).as_str()), ("Warning", "1105"));
    assert!(cell(2).contains("ghost:1"), "{rows:?}");
    etcd.ctl(&["del", "/ddl-ghost/global/processes/ghost:1"]);
    wait_until("it has gone", || !one.admin("/api/processes").contains("ghost:1"));
    conn.run("drop table u");
    assert_eq!(conn.run("show warnings").rows().len(), 0);
}

#[test]
fn one_statement_right_behind_another_is_not_in_its_own_way() {
    let (_etcd, _local, [one, _other]) = start("ddl-spam");
    let mut conn = connect(&one);
    for n in 0..40 {
        conn.run(&format!("create table if not exists spam_{n} (id int primary key)"));
        conn.run(&format!("drop table if exists spam_{n}"));
    }
}
