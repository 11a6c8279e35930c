-- joins of two keyspaces
= select c.id, m.mark, m.at, m.f + 0e0 from customers c join lone.marks m on m.customer_id = c.id order by c.id
= select c.id, c.region, r.rate, r.note from customers c left join lone.rates r on r.region = c.region order by c.id
= select c.*, r.* from customers c, lone.rates r where r.region = c.region and c.id < 20 order by c.id
= select lone.rates.rate, test.customers.name from lone.rates join test.customers using (region) where customers.id < 30 order by customers.id
= select o.id, o.amount * r.rate x from orders o join customers c on c.id = o.customer_id join lone.rates r using (region) where o.id < 100 order by o.id
= select r.region, count(*), sum(c.balance), min(c.name) from customers c join lone.rates r using (region) group by r.region order by r.region
-- subqueries
= select id, name from customers where id in (select customer_id from lone.marks where mark = 'bad') order by id
= select id, (select rate from lone.rates r where r.region = c.region) rate from customers c where id < 15 order by id
= select m.id from lone.marks m where not exists (select 1 from orders o where o.customer_id = m.customer_id) order by m.id
= select m.id, m.at from lone.marks m where m.customer_id = (select max(id) from customers where id < 10) order by m.id
-- one row of the sharded table
= select c.id, r.rate from customers c join lone.rates r using (region) where c.id = 7
select c.*, m.at from customers c left join lone.marks m on m.customer_id = c.id where c.id = 9
-- unions
select id from lone.marks union select id from customers
select id, 'm' k from lone.marks union all select id, 'n' from notes
= (select id from customers order by id desc limit 3) union all (select id from lone.marks order by id limit 2) order by id limit 4
select region from customers except select region from lone.rates
select region from customers intersect select region from lone.rates
-- windows, WITH, derived tables
= with w as (select customer_id, rank() over (order by at desc, id) n from lone.marks) select c.id, w.n from customers c join w on w.customer_id = c.id order by c.id
= select d.n, count(*) from (select m.mark n, c.id from customers c join lone.marks m on m.customer_id = c.id) d group by d.n order by d.n
= select id, sum(id) over (order by id) from (select id from lone.marks union select id from customers where id > 50) d order by id
-- nothing, and errors
select c.id from customers c join lone.marks m on m.id = c.id where c.id = null
select no_such from customers c join lone.rates r using (region)
select c.id from customers c join lone.no_such n on n.id = c.id
select id from customers c join lone.marks m on m.customer_id = c.id and 'no_such' = ''
