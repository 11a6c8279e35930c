-- ORDER BY and LIMIT
update customers set level = level + 10 order by balance, id limit 4
update customers set level = level + 1, name = concat(name, '!') where region = 'eu' order by id desc limit 3
delete from orders order by amount desc, id limit 5
delete from orders where quantity > 2 order by placed, id limit 3
update orders set note = 'x' order by id limit 7
delete from notes where weight > 100000 limit 3
delete from notes where body = 'ANNA' order by id limit 1
update orders set amount = amount * 2 where customer_id in (3, 4, 5, 6) order by id limit 2
update orders set amount = amount * 2 where customer_id = 12 order by id limit 1
update pairs set v = v + 100 order by a desc, b limit 5
delete from pairs where v between 4 and 12 order by v limit 3
delete from uniques order by v limit 2
update uniques set v = v * 3 order by v desc limit 2
update keyless set c = c + 1 where a = 1 limit 5
delete from keyless where a < 3 order by a, b, c limit 20
-- subqueries
delete from notes where customer_id in (select id from customers where level = 2)
update customers set level = 7 where id in (select customer_id from notes where weight > 50)
update customers set balance = 0 where exists (select 1 from notes n where n.customer_id = customers.id and n.id < 20)
delete from orders where amount > (select avg(weight) from notes where id < 8)
update notes set body = (select name from customers where id = 3) where id between 5 and 12
update notes set body = (select c.name from customers c where c.id = notes.customer_id) where id < 25
update orders set amount = (select max(balance) from customers), note = 'max' where id < 10
delete from customers where id not in (select customer_id from orders)
update customers set level = 9 where balance < all (select weight from notes where id > 30)
update notes set weight = (select sum(amount) from orders o where o.customer_id = notes.customer_id)
update keyless set b = (select name from customers where id = 5) where a in (select level from customers where level > 2)
-- joins
delete o from orders o join customers c on c.id = o.customer_id where c.region = 'us'
delete n from notes n join customers c on c.id = n.customer_id where c.level = 3
delete from notes using notes join customers on customers.id = notes.customer_id where customers.name = 'zoë'
delete n, c from notes n join customers c on c.id = n.customer_id where c.level = 1
delete n, o from notes n join orders o on o.customer_id = n.customer_id + 1 where o.quantity < 2
delete c from customers c left join notes n on n.customer_id = c.id where n.id is null
delete c, n from customers c left join notes n on n.customer_id = c.id where c.id < 12
update notes n join customers c on c.id = n.customer_id set n.body = c.name, n.weight = n.weight + c.level where c.level > 1
update notes n, customers c set n.body = 'both', c.level = 20 where c.id = n.customer_id and n.id < 15
update notes n join customers c on c.id = n.customer_id set n.weight = n.weight * 2 where c.region = 'eu'
update orders o join notes n on n.id = o.id set o.amount = n.weight, o.note = n.body where o.id < 20
update orders o left join notes n on n.id = o.id set o.note = ifnull(n.body, 'none') where o.id > 30
update pairs p join customers c on c.id = p.v set p.w = c.name where c.id < 9
update customers c join (select customer_id, count(*) n from notes group by customer_id) t on t.customer_id = c.id set c.level = t.n
delete keyless from keyless join customers on customers.id = keyless.a where customers.level = 1
update notes set weight = weight + 0.5 where customer_id = (select customer_id from orders where id = 7)
-- nothing to do
update notes set body = 'x' where customer_id in (select id from customers where id > 1000)
delete n from notes n join customers c on c.id = n.customer_id where c.id > 1000
update customers set level = level where id in (select customer_id from notes)
-- copies, other keyspaces
update countries set name = upper(name) where code in (select lower(region) from customers)
delete from countries where exists (select 1 from customers where level = 2) and code = 'de'
update customers c join plain.rates r on r.code = c.region set c.balance = c.balance * r.rate
update plain.rates r join customers c on r.code = c.region set r.n = r.n + 10
delete from plain.rates where code in (select region from customers)
update countries c join plain.rates r set c.name = concat(c.name, r.n) where r.code = 'us'
-- errors undo everything
update customers set name = null where id in (select customer_id from notes)
update notes set id = 7 where customer_id in (select id from customers where level = 2)
update customers set level = 99999999999 order by id limit 3
update customers set nosuch = 1 order by id limit 2
delete from customers where nosuch = 1 order by id limit 2
update ignore pairs set a = 1 where b in (select 'b0') order by v limit 4
-- expressions of all kinds
update orders set note = concat_ws('-', state, quantity, date(placed)) order by id limit 9
update customers set name = replace(name, 'a', '''"\\') where id in (select id from notes) order by id
update pairs set w = concat(w, x'00ff') where a in (select level from customers)
update people set j = j + 1 where id in (select customer_id from notes)
update people set data = json_set(data, '$.b', 2) where kind = 'x' order by id limit 5
-- a lookup vindex of another table places the rows
update mails set body = 'all' order by email, n limit 2
update mails m join people p on p.email = m.email set m.body = p.note where p.id < 9
delete from mails where email in (select email from people where j > 0) order by n limit 3
delete m, p from mails m join people p on p.email = m.email where p.id = 1
update mails set n = n + 10 where body is not null order by n desc
-- values that lose their kind as strings
update notes set weight = (select max(placed) from orders) where id < 9
update notes set weight = (select sec_to_time(max(id)) from customers) where id < 9
-- values that are cut as rows are chosen
update notes n join customers c on c.id = n.customer_id set n.weight = 3 where c.name = 0
delete n from notes n join customers c on c.id = n.customer_id where c.name = 0
