-- Each runs on the server itself and through the drop-in.
select 1
select 1 as one, 'two' as two, 3.5, null, 1e10, x'00ff', b'101', date'2024-02-29', true
select 'a' 'b', "double", 'it''s', 'back\\slash', 'ünïcödé 🦀'
/* a comment */ select /* inside */ 2 -- behind
# only a comment
select 1; select 2
select 1; selekt 2; select 3
select 1;
create table t (id int auto_increment primary key, v varchar(20), n decimal(10,3), unique (v))
insert into t (v, n) values ('a', 1.5)
insert into t (v, n) values ('b', 2), ('c', null), ('d', -1)
insert into t (v) values ('a')
insert ignore into t (v) values ('a'), ('e')
show warnings
insert into t (id, v) values (100, 'hundred')
insert into t (v) values ('after')
replace into t (id, v) values (100, 'replaced')
insert into t (v) values ('b') on duplicate key update n = 9
select * from t order by id
select t.*, t.id + 1 as next from t where v like '%e%' order by 1 desc limit 2
select sql_calc_found_rows id from t limit 2
select found_rows()
select found_rows() + 1, row_count(), user() is null
select sql_calc_found_rows id from t where id > 2 limit 1; select found_rows()
select id from t limit 2
select found_rows()
select count(*), sum(n), avg(n), max(v), group_concat(v order by v) from t
select v, count(*) from t group by v having count(*) > 0 order by v limit 3 offset 1
select a.id, b.v from t a left join t b on a.id = b.id + 1 order by a.id
select id, v from t where id in (select 3 union select 4) order by id
select id from t union select 7 order by 1
with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select * from r
select row_number() over (order by id) as rn, id from t
update t set n = n + 1
update t set v = v where id = 1
update t set v = 'b' where id = 1
delete from t where id = 404
delete from t where id = 2
select row_count()
select last_insert_id()
select * from nothing
select nothing from t
selekt 1
select from where
select * from t where
insert into t (v) values ('far too long a value for twenty characters')
insert into t (id) values ('not a number')
select 1/0
show warnings
select cast('12x' as signed), cast('x' as date)
show warnings
show count(*) warnings
select @@warning_count
show errors
select cast('12x' as signed)
select 1
set @a = 1
begin
commit
do 1
select @@warning_count, @@session.warning_count, @@error_count
show count(*) errors
show warnings
select count(*) from t
show warnings
insert into t (v) values ('a')
select 1
show errors
select @@error_count
begin
insert into t (v) values ('in transaction')
savepoint s
insert into t (v) values ('after savepoint')
rollback to savepoint s
select v from t where v like '%transaction' or v like '%savepoint'
rollback
select v from t where v like '%transaction'
start transaction read only
insert into t (v) values ('not allowed')
commit
set autocommit = 0
insert into t (v) values ('committed')
commit
set autocommit = 1
select @@autocommit
set @x = 5, @y = 'text'
select @x, @y, @x + 1, @nothing
set @x = @x + 1
select @x
set time_zone = '+03:00'
select @@time_zone, from_unixtime(0)
set sql_mode = 'ANSI_QUOTES'
select "id" from "t" where "id" = 1
select "no such"
set sql_mode = default
set names latin1
select 'x', @@character_set_client, @@collation_connection
set names utf8mb4
select @@character_set_results
set nothing = 1
set session transaction isolation level read committed
select @@tx_isolation
set session transaction isolation level repeatable read
create temporary table tmp (a int)
insert into tmp values (1), (2)
select * from tmp
drop temporary table tmp
select * from tmp
prepare s from 'select ? + 1 as r, ?'
set @p = 41
execute s using @p, @p
execute s
deallocate prepare s
execute s
create view vw as select id, v from t
select * from vw order by id
drop view vw
create procedure p(in a int) begin select a; select a + 1; end
call p(5)
drop procedure p
create function f(a int) returns int deterministic return a * 2
select f(21)
drop function f
show tables
show create table t
show columns from t
describe t
show variables like 'max_allowed_packet'
show collation like 'utf8mb4_general_ci'
select database(), schema()
use no_such_database
select database()
lock tables t write
insert into t (v) values ('locked')
unlock tables
alter table t add column extra int default 7
select id, extra from t order by id limit 2
truncate table t
select count(*) from t
insert into t (v) values ('anew')
select last_insert_id(), row_count()
insert into t (v) select concat('s', seq) from seq_1_to_3
select v from t order by id
create table j (id int primary key, d json, b bit(5), e enum('x','y'), g point)
insert into j values (1, '{"a": 1}', b'10101', 'y', point(1,2))
select id, d, b, e, json_value(d, '$.a') from j
insert into j (id, d) values (2, 'not json')
drop table j
kill 99999999
select sleep(0)
select get_lock('l', 0), release_lock('l')
checksum table t
analyze table t
flush tables
handler t open
handler t read first
handler t close
xa start 'x'
xa end 'x'
xa rollback 'x'
do 1
select benchmark(1, 1), connection_id() = connection_id(), user() like 'sb@%', version() = @@version
drop table t, no_such_table
drop table if exists t
