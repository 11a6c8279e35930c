//! Which statements are for administrators only.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::plan::Effects;
use coregate_planner::route::SessionContext;
use support::*;

const PRIVILEGED: &[&str] = &[
    "shutdown",
    "SHUTDOWN WAIT FOR ALL REPLICAS",
    "restart",
    "/* x */ shutdown",
    "/*!50000 shutdown */",
    "create user u identified by 'x'",
    "create or replace user u",
    "create user if not exists u",
    "alter user u identified by 'x'",
    "ALTER USER IF EXISTS u ACCOUNT LOCK",
    "drop user u",
    "rename user a to b",
    "create role r",
    "drop role r",
    "grant all on *.* to u",
    "grant r to u",
    "revoke all on *.* from u",
    "set password = password('x')",
    "set password for u = 'x'",
    "set role r",
    "set default role r",
    "set global max_connections = 1",
    "set autocommit = 1, global max_connections = 1",
    "set @@global.max_connections = 1",
    "set @a = 1, @@GLOBAL . max_connections = 1",
    "set persist max_connections = 1",
    "set persist_only max_connections = 1",
    "set @@persist.max_connections = 1",
    "set global transaction read only",
    "set sql_log_bin = 0",
    "show grants",
    "show grants for current_user()",
    "show grants for root@localhost",
    "set @@session.SQL_LOG_BIN= 0",
    "set autocommit = 1, session gtid_domain_id := 7",
    "set local `server_id` = 7",
    "set statement gtid_domain_id = 7 for insert into t values (1)",
    "create procedure p() begin set sql_log_bin = 0; end",
    "prepare p from 'set sql_log_bin = 0'",
    "set statement max_statement_time = 1 for shutdown",
    "install plugin p soname 'p.so'",
    "install soname 'p.so'",
    "install component 'file://c'",
    "uninstall plugin p",
    "change master to master_host = 'h'",
    "change replication source to source_host = 'h'",
    "start slave",
    "start replica",
    "stop slave",
    "stop all slaves",
    "stop group_replication",
    "reset master",
    "reset binary logs and gtids",
    "reset slave all",
    "purge binary logs to 'x'",
    "binlog 'x'",
    "backup stage start",
    "prepare p from concat('a', 'b')",
    "prepare p from n'select 1'",
    "prepare p from _utf8mb4'select 1'",
    "prepare p from x'73'",
    "prepare p from @a + 1",
    "begin not atomic prepare p from concat(@a); execute p; end",
    "begin not atomic execute immediate @q; end",
    "create procedure p() begin execute immediate concat('a'); end",
    "create procedure p(s text) begin prepare p from s; execute p; end",
    "create procedure p() begin prepare p from @q; execute p; end",
    "create procedure p() begin prepare p from 'drop user u'; execute p; end",
    "create event e on schedule every 1 day do execute immediate concat('a')",
    "create procedure p() begin declare exit handler for sqlexception set global x = 1; select 1; \
        end",
    "create procedure p() begin declare continue handler for 1062, sqlstate '23000', not found \
        create user u; end",
    "begin not atomic declare exit handler for sqlexception shutdown; select 1; end",
    "call sys.execute_prepared_stmt('x')",
    "call `mysql`.p()",
    "create procedure p() begin call sys.execute_prepared_stmt('x'); end",
    "create server s foreign data wrapper mysql options (host 'h')",
    "create or replace server s foreign data wrapper mysql options (host 'h')",
    "alter server s options (host 'h')",
    "drop server s",
    "alter instance rotate innodb master key",
    "clone local data directory = '/x'",
    "create function f returns string soname 'f.so'",
    "create aggregate function f returns string soname 'f.so'",
    "show create user u",
    "select * from mysql.user",
    "select * from `mysql`.`global_priv`",
    "select 1 union select Password from mysql . user",
    "update mysql.user set password = 'x'",
    "insert into mysql.func values (1)",
    "drop table mysql.x",
    "select load_file('/etc/passwd')",
    "select `load_file`('/etc/passwd')",
    "insert into t values (load_file('/x'))",
    "select * from t into outfile '/x'",
    "select * into dumpfile '/x' from t",
    "load data infile '/x' into table t",
    "load xml infile '/x' into table t",
    "prepare p from 'shutdown'",
    "prepare p from 'kill 5'",
    "prepare p from 'drop user u'",
    "prepare p from 'set global x = 1'",
    "execute immediate 'shutdown'",
    "execute immediate @a",
    "execute immediate concat('shut', 'down')",
    "create procedure p() shutdown",
    "create procedure p() begin select 1; grant all on *.* to u; end",
    "create definer = root@localhost procedure p() sql security definer begin if 1 then drop user \
        u; end if; end",
    "create trigger r before insert on t for each row set global x = 1",
    "create event e on schedule every 1 day do shutdown",
    "begin not atomic create user u; end",
];

const ORDINARY: &[&str] = &[
    "select shutdown, `grant`, restart from t",
    "select user, password from users",
    "select shutdown from t",
    "insert into t (shutdown, role, server) values (1, 2, 3)",
    "set sql_mode = @@global.sql_mode",
    "set @a = @@global.max_connections, @b = (select 1, 2)",
    "set session wait_timeout = 1, autocommit = 0",
    "set @@session.autocommit = 0",
    "set global_x = 1",
    "set transaction read only",
    "set session transaction isolation level read committed",
    "set names utf8mb4",
    "set password_x = 1",
    "set @old = @@sql_log_bin",
    "set @sql_log_bin = 0",
    "set statement max_statement_time = 1 for select 1",
    "start transaction",
    "begin",
    "show variables",
    "show create table user",
    "kill 5",
    "kill user bob",
    "kill query id 7",
    "kill 1 + 1",
    "kill query 5",
    "flush tables",
    "create table user (id int)",
    "drop table role",
    "alter table server add x int",
    "create function f() returns int return 1",
    "create procedure p() begin select shutdown from t; end",
    "create trigger r before insert on t for each row set new.id = 1",
    "create view v as select * from user",
    "select * from mysql.time_zone_name",
    "select * from mysqlx.user",
    "select * from t into @a",
    "load data local infile 'x' into table t",
    "load data low_priority local infile 'x' into table t",
    "prepare p from 'select ?'",
    "prepare p from @a",
    "execute p using @a",
    "execute immediate 'select 1'",
    "execute immediate 'select ?' using 1",
    "select 'shutdown; drop user u'",
    "call p()",
    "call sys_x.p()",
    "create procedure p() begin prepare p from 'select ?'; execute p using @a; deallocate prepare \
        p; end",
    "create procedure p() begin declare exit handler for sqlexception begin rollback; end; select \
        1; end",
    "create procedure p() begin declare exit handler for sqlexception set @a = 1; update t set n = \
        1; end",
    "replace into t values (1)",
    "optimize table t",
];

fn is_privileged(sql: &str) -> bool {
    let snapshot = drop_in();
    let (plan, _) = plan_sql(&snapshot, &SessionContext::default(), sql)
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    plan.effects.contains(Effects::ADMIN)
}

#[test]
fn what_reaches_beyond_a_users_rows_is_for_administrators() {
    let missed: Vec<_> = PRIVILEGED
        .iter()
        .filter(|sql| !is_privileged(sql))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn everything_else_is_for_all() {
    let wrong: Vec<_> = ORDINARY.iter().filter(|sql| is_privileged(sql)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
