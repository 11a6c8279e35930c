-- views whose rows several shards find together
= select * from totals order by quantity
select n from totals where quantity > 3
= select t.quantity, t.n, o.id from totals t join orders o on o.quantity = t.quantity where o.id < 30 order by o.id
select count(*) from last_notes
= select * from last_notes order by id
select * from grand
= select c.id, v.n from customers c join per_region v on v.region = c.region where c.id < 20 order by c.id
= select region, n from per_region where n > 2 union select quantity, n from totals order by 1, 2
