-- INSERT, in the order of its rows
= insert into notes values (101,1,'a',1,1),(102,2,'b',null,2),(103,3,'c',3,3),(104,4,null,4,4) returning id, body, id * 2 as twice
= insert into notes (id, customer_id) values (101,1),(102,2),(103,3),(104,4),(105,5) returning id
= insert into notes set id = 300, customer_id = 4 returning id, customer_id
insert into notes values (101,1,'a',1,1),(1,2,'b',2,2) returning id
insert ignore into notes values (101,1,'a',1,1),(1,2,'b',2,2),(102,3,'c',3,3) returning id
= insert into notes (id, customer_id) values (1,1),(101,2),(2,3) on duplicate key update customer_id = 99 returning id, customer_id
= replace into notes (id, customer_id) values (1,1),(101,2),(2,3),(3,3),(4,4) returning id, customer_id, body
= insert into pairs (a, b, v) values (7,'x',1),(8,'y',2),(9,'z',3) returning a, b, v
insert into pairs (a, b, v) values (7,'x',1),(7,'x',2) returning a
= insert into countries values ('it','Italy'),('es','Spain') returning code, name
-- RETURNING of all columns
insert into pairs values (7,'x',1,x'ff00'),(8,'y',2,null),(9,'z',3,'') returning *
= insert into orders values (900,1,1.25,3,'new','2026-01-01 10:00:00.125','n'),(901,2,null,4,null,null,null),(902,3,7,5,'paid','2026-01-02','ü') returning *
-- owners of lookup vindexes
= insert into people (id, email, team, badge) values (201,'a@y','t',9001),(202,'b@y','t',9002),(203,null,'u',null) returning id, email, up
insert into people (id, email, team, badge) values (201,'a@y','t',9001),(202,'p001@x','t',9002) returning id
delete from people where id in (1, 2, 3, 4, 5) returning id, email
delete from people where team = 'team1' returning *
-- INSERT ... SELECT
= insert into notes (id, customer_id) select id + 500, level from customers where id < 8 order by id returning id, customer_id
insert into notes (id, customer_id) select id + 500, level from customers returning id, customer_id
insert into notes (id, customer_id) select id, level from customers returning id
insert into plain.rates select concat('r', id), balance, level from customers where id < 4 returning code, n
= insert into notes (id, customer_id) values (1000 + 1, 2), (floor(1002.5), 3) returning id, customer_id
-- DELETE
delete from notes where weight > 20 returning id, body
delete from notes where id in (1, 2, 3, 4, 99) returning id, customer_id
delete from notes where customer_id = 5 returning id as n, 'x', upper(body)
delete from notes where id = 5 returning id
delete from notes where id = 12345 returning id
delete from notes where weight < 0 returning id
delete from pairs where a = 1 returning *
delete from orders returning id, customer_id, amount, placed
delete from countries where code <> 'de' returning code
= delete from notes order by id desc limit 5 returning id, body
= delete from notes where weight > 3 order by weight, id limit 7 returning id, weight
= delete from customers order by balance desc, id limit 3 returning id, balance, name
delete from notes where customer_id in (select id from customers where level = 1) returning id
delete from keyless where a < 4 returning a, b
= delete from people order by id desc limit 3 returning id, email
-- without a primary key, and no rows
delete from keyless order by a desc, b limit 2 returning a
delete from notes where customer_id in (select id from customers where level = 12345) returning id as n, upper(body)
delete from keyless where a > 1000 order by a limit 3 returning *
insert into notes (id, customer_id) select id + 500, level from customers where id < 0 returning id, customer_id
replace into pairs (a, b) select id, name from customers where id < 0 returning *
