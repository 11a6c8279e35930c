-- joins across shards
= select c.id, n.id from customers c join notes n on n.customer_id = c.id order by c.id, n.id
= select c.id, n.id, n.body from customers c left join notes n on n.customer_id = c.id order by c.id, n.id
= select c.name, count(n.id) from customers c left join notes n on n.customer_id = c.id where c.id < 10 group by c.id, c.name order by c.id
= select a.id, b.id from customers a, customers b where a.id < 4 and b.id < 4 order by a.id, b.id
= select o.id, n.id from orders o join notes n using (customer_id) where o.id < 40 order by o.id, n.id
select count(*) from orders o join notes n on n.customer_id = o.customer_id and n.weight > 1
-- groups and windows
= select quantity, count(*) from orders group by quantity having count(*) > 25 order by quantity
select count(distinct customer_id), count(distinct state, quantity) from orders
= select state, group_concat(id order by id) from orders where id < 60 group by state order by state
= select quantity, sum(amount) / count(*) from orders group by quantity order by quantity
select sum(amount) * 2 + 1 from orders
= select quantity, count(*) from orders group by quantity with rollup
= select id, row_number() over (partition by state order by id) r from orders order by id limit 40
= select id, sum(quantity) over (order by id) s from orders order by id limit 20
select round(std(quantity), 6), round(variance(amount), 6) from orders
= select upper(name) u, count(*) from customers group by upper(name) order by u, 2
= select distinct lower(state) from orders order by 1
-- subqueries
= select id from customers where id in (select customer_id from notes where weight > 1) order by id
= select id from customers where id not in (select customer_id from notes) order by id
= select id, (select count(*) from notes n where n.customer_id = c.id) k from customers c order by id
= select id from customers c where exists (select 1 from notes n where n.customer_id = c.id and n.weight < 0) order by id
= select id from customers where balance = (select max(balance) from customers) order by id
= select amount, quantity from orders where amount = (select max(amount) from orders) order by amount, quantity
= select q, max(c) from (select quantity q, count(*) c from orders group by quantity, state) d group by q order by q
= select d.id from (select id from orders order by amount desc, id limit 10) d order by d.id
-- set operations and WITH
= select id from customers union select id from notes order by id
= select customer_id from orders except select customer_id from notes order by 1
= select customer_id from orders intersect select customer_id from notes order by 1
= with t as (select customer_id, count(*) n from orders group by customer_id) select c.id, t.n from customers c join t on t.customer_id = c.id order by c.id
= with recursive r as (select 1 n union all select n + 1 from r where n < 5) select r.n, c.name from r join customers c on c.id = r.n order by r.n
-- values of all types go through
= select a.id, a.f + 0e0, b.f * 2, a.bt + 0, b.se from things a join things b on b.id = a.id + 1 where a.id < 80 order by a.id
= select a.ti, b.bu, a.d, b.big, a.db, b.da, a.t, b.dt, a.ts, b.y, a.c, b.vc, a.ci, b.la, a.bin, b.en, a.se from things a join things b on b.id = a.id + 1 order by a.id
= select c.*, n.* from customers c join notes n on n.customer_id = c.id order by c.id, n.id
= select c.id, n.id from customers c join notes n on n.customer_id = c.id where c.id in (3, 4, 5, 6) order by n.id
-- columns of different types are compared as without an index
select count(*) from things a, things b where a.bt = b.t
select count(*) from things a, things b where a.t = b.y
select count(*) from things a, things b where a.se = b.la
select count(*) from things a left join things b on a.ti = b.y
select count(*) from things a where not exists (select 1 from things b where a.vc = b.da)
select count(*) from things a, things b where a.bu = b.db
select count(*) from things a, things b where a.da = b.dt
-- reference tables, and errors
= select c.id, k.name from customers c join countries k on k.code = 'de' join notes n on n.customer_id = c.id order by c.id, n.id limit 9
= select c.id from customers c join notes n on n.customer_id = c.no_such order by c.id
= select id from customers c join notes n on n.customer_id = c.id and 'no_such' = 'x' order by c.id
-- columns that * does not show
= select h.*, h.secret, n.id from hidden h join notes n on n.id = h.a order by h.id, n.id
= select h.*, n.id from hidden h join notes n on n.id = h.a order by h.id, n.id
= select t, max(secret) from hidden group by t having max(secret) > 1 order by t
select count(*) from hidden where secret in (select secret from hidden where id > 10)
-- rows and windows in other forms
= (values (1), (2)) union all (select id from customers) order by 1 limit 5
= select v.`1`, count(*) from (values (1, 2), (3, 4)) v join orders o on o.quantity = v.`1` group by v.`1` having count(*) > 0 order by 1
= select id, percentile_cont(0.5) within group (order by amount) over (partition by state) p from orders order by id
= select distinct state, percentile_disc(0.25) within group (order by quantity desc) over (partition by state) from orders order by 1
= select cast(p as decimal(12,4)), count(*) from (select percentile_cont(0.5) within group (order by amount) over (partition by quantity) p from orders) d group by p order by p
-- zeros in front, as the server prints them that sorts the groups again
= select da, count(distinct da, y), min(y) from things group by da order by count(*), da
= select mi, count(distinct uc, d30), max(mi) from kinds where id > 20 group by mi order by count(*), mi
