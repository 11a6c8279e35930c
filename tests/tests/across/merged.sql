-- order and limit
= select id, name from customers order by id
= select id from customers order by id desc limit 7
= select id from customers order by id limit 5, 10
= select id from customers order by id limit 10 offset 55
= select * from customers order by id limit 3
= select c.* from customers c order by c.id desc limit 3
= select id from customers order by 1 limit 4
= select id as n from customers order by n desc limit 4
= select name from customers order by id
= select id from customers where balance > 0 order by balance, id
= select id, balance from customers order by balance desc, id
= select id from customers order by name, id
= select id from customers order by name desc, id limit 20
= select id from customers order by region, id
= select id from customers order by region desc, name, id limit 9
= select id from customers order by born, id
= select id from things order by ti, id
= select id from things order by bu, id
= select id from things order by bu desc, id limit 30
= select id from things order by d, id
= select id from things order by big desc, id
= select id from things order by db, id
= select id from things order by da, id
= select id from things order by t, id
= select id from things order by t desc, id limit 50
= select id from things order by dt, id
= select id from things order by ts, id
= select id from things order by y, id
= select id from things order by c, id
= select id from things order by vc, id
= select id from things order by ci, id
= select id from things order by ci desc, id
= select id from things order by la, id
= select id from things order by bin, id
= select id from things order by bt, id
= select id from things order by en, id
= select id from things order by en desc, id limit 17
= select id from things order by se, id
= select id, weight from notes order by weight desc, id
= select id from notes order by body, id
= select id from notes order by at, id limit 12
= select o.id, c.name from orders o join customers c on c.id = o.customer_id order by o.id limit 20
= select o.id, c.name from customers c left join orders o on c.id = o.customer_id order by c.id, o.id
= select id from orders where customer_id in (1, 2, 3, 4, 5) order by id limit 8
= select id from orders where state = 'paid' and quantity > 3 order by placed desc, id limit 5
select count(*) from (select 1) x, customers where customers.id > 0
select id from customers limit 60
select name from customers where id > 1000 order by name limit 3
-- distinct
= select distinct quantity from orders order by quantity
= select distinct state from orders order by state desc
= select distinct quantity, state from orders order by state, quantity limit 11
select distinct customer_id, weight from notes
= select distinct amount from orders order by amount desc limit 9
= select distinct born from customers order by born
-- groups
= select state, count(*) from orders group by state order by state
select state, count(*) from orders group by state
= select quantity, count(*), sum(amount), min(amount), max(amount), avg(amount) from orders group by quantity order by quantity
= select quantity, count(amount) c from orders group by quantity order by c desc, quantity limit 4
= select quantity, sum(quantity), avg(quantity) from orders group by quantity order by 2 desc, quantity
= select quantity, state, count(*) from orders group by quantity, state order by state desc, quantity limit 13
= select state, quantity, max(placed), min(placed) from orders group by state, quantity order by state, quantity
= select sum(amount) s, quantity from orders group by quantity order by s limit 3
= select born, count(*) from customers group by born order by born desc
= select ti, bit_and(bu), bit_or(bu), bit_xor(bu) from things group by ti order by ti
= select y, min(da), max(t), min(dt), max(ts) from things group by y order by y
= select en, count(*) from things group by en order by en
= select year(placed) y, count(*) from orders group by year(placed) order by y
= select id from customers order by length(name), id
= select date(placed) d, count(*), sum(amount) from orders group by d order by d desc limit 7
= select quantity % 3 r, quantity > 4 b, count(*) from orders group by r, b order by r, b desc
= select c.id, o.id from customers c join orders o on o.customer_id = c.id where c.id in (1, 2, 3, 4, 5) order by o.id
-- one row
select count(*) from orders
select count(*), count(amount), sum(amount), avg(amount), min(amount), max(amount) from orders
select avg(amount * 1.000), sum(amount * 1.000) from orders
= select quantity, avg(amount * 1.000) from orders group by quantity order by quantity
select count(*) from orders where id < 0
select sum(amount), avg(amount), min(id), max(placed) from orders where id < 0
select sum(quantity), avg(quantity), min(quantity) from orders
select sum(big), avg(big), min(big), max(big) from things
select sum(d), avg(d), max(d) from things
select min(name), max(id) from customers where id in (5, 6, 7)
select bit_and(ti), bit_or(ti), bit_xor(id) from things
select count(*) from orders limit 1
select count(*) from orders limit 0
select min(da), max(da), min(t), max(t), min(dt), max(y) from things
select count(*) from orders o join customers c on c.id = o.customer_id
select count(*) as n, max(id) as m from customers where name like 'a%'
-- expressions of a certain type
= select year(placed) y, count(*) from orders group by year(placed) order by y
= select id from customers order by length(name), id
-- rows that are written down
= select v.`1`, c.id from (values (1, 2), (3, 4)) v join customers c on c.id = v.`1` order by c.id
select count(distinct region) from customers
select count(distinct name), count(*), min(born), sum(balance) from customers
select count(distinct name), sum(balance) from customers where id < 0
select count(distinct region), bit_or(id), bit_and(id), max(name), avg(balance), count(distinct region) from customers where id < 0
select count(distinct amount), count(amount), sum(distinct amount), avg(distinct amount), avg(quantity) from orders where id between 7 and 90
select sum(distinct quantity), avg(distinct quantity), count(distinct quantity) from orders
=select state, count(distinct amount), count(*), max(placed) from orders group by state order by state
=select region, count(distinct name), avg(balance) from customers group by region order by region desc
=select region, count(distinct region), count(distinct region) from customers group by region order by 1
=select customer_id, avg(distinct amount) a from orders group by customer_id order by a, customer_id
select count(distinct en), count(*) from things
select count(distinct ts), max(ts) from things
select count(distinct bt), count(bt) from things
select count(distinct ci, en) from things
select count(distinct la) from things where id > 20
select count(distinct year(da), month(da)) from things
select count(distinct ti + bu), sum(distinct ti + bu) from things where bu < 100
select max(distinct d), min(distinct big) from things
=select y, count(distinct d), sum(distinct d), avg(distinct d) from things group by y order by y
select count(distinct o.amount), count(distinct o.amount) from customers c join orders o on o.customer_id = c.id where c.region = 'eu' limit 3
select count(distinct region) n from customers x order by n
= select quantity, count(distinct state) from orders group by quantity order by quantity
= select count(distinct o.state) from customers c left join orders o on o.customer_id = c.id and o.quantity > 3 where c.id in (3, 4, 5, 6)
