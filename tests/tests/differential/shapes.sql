-- What a sharded keyspace supports: one shard, IN, all shards.
insert into customer (id, name, age, balance, born) values (1, 'ann', 20, 1.50, '2000-01-01')
insert into customer (id, name, age, balance, born) values (2, 'bob', 30, -2.25, '1990-12-31'), (3, 'cid', null, null, null), (4, 'dan', 40, 0, '2024-02-29'), (5, 'eve 🦀', 50, 99999.99, null), (6, 'fay', 60, 6, null)
insert into orders (id, customer_id, item, price) values (1, 1, 'pen', 1.5), (2, 1, 'ink', 2.5), (3, 4, 'cup', 3), (4, 4, 'pot', null), (5, 6, 'hat', 1e10)
insert into customer (id, name) values (1, 'again')
insert into customer (id, nothing) values (7, 1)
select * from customer where id = 1
select * from customer where id = 404
select id, name, age + 1 as older, upper(name) from customer where id = 5
select * from customer where id in (1, 4, 6)
select * from customer where id in (1, 404)
select * from customer where id in (404, 405)
select name from customer where id in (1, 2, 3) and age > 25
select * from customer
select name, age from customer where age >= 40
select name from customer where name like '%a%'
select name from customer where age is null
select * from customer where 1 = 0
select c.name, o.item from customer c join orders o on o.customer_id = c.id where c.id = 4
select c.name, o.item, o.price from customer c join orders o on o.customer_id = c.id
select c.name, o.item from customer c left join orders o on o.customer_id = c.id where c.id in (1, 2)
select o.item from orders o where o.customer_id = 1 order by o.item
select count(*), sum(price), max(item) from orders where customer_id = 4
select customer_id, count(*) from orders where customer_id = 1 group by customer_id
select name from customer where id = 1 union all select item from orders where customer_id = 1
select distinct item from orders where customer_id = 6
select name from customer where id = 4 for update
select (select count(*) from orders o where o.customer_id = c.id) as n, c.name from customer c where c.id = 1
select * from customer where id = 1 and nothing = 2
select nothing from customer
select * from no_such_table
update customer set age = age + 1 where id = 1
update customer set age = 0 where id in (2, 3)
update customer set age = 0 where id = 404
update orders set price = price * 2 where customer_id = 4
update customer set balance = 1 where age > 30
select id, age, balance from customer
delete from orders where customer_id = 4 and id = 3
delete from orders where customer_id in (1, 6)
delete from orders where customer_id = 404
select * from orders
begin
insert into customer (id, name) values (10, 'ten')
select name from customer where id = 10
rollback
select name from customer where id = 10
begin
update customer set name = 'changed' where id in (1, 4)
commit
select id, name from customer where id in (1, 4)
select 1
select 1 + 1 as two, 'x' as x, null as n
select database()
show tables
set @a = 5
select @a
select @a + 1, @nothing
replace into customer (id, name) values (1, 'replaced')
insert into customer (id, name) values (1, 'x') on duplicate key update name = 'updated'
select name from customer where id = 1
insert ignore into customer (id, name) values (1, 'ignored')
select name from customer where id = 1
truncate table orders
select * from orders
