-- a lookup vindex of another table places the rows
insert into mails values ('p003@x', 1, 'x'), ('p004@x', 1, 'y')
insert into mails (body, email, n) values (concat('a', 'b'), lower('P005@X'), 3)
insert into mails select email, id + 10, note from people where email is not null
insert into mails values ('p001@x', 1, 'again')
insert ignore into mails values ('p001@x', 1, 'again'), ('p001@x', 9, 'new')
replace into mails values ('p001@x', 1, 'replaced'), ('p008@x', 1, 'new')
insert into mails values ('p001@x', 1, 'z'), ('p007@x', 1, 'z') on duplicate key update body = 'dup'
-- rows of a query
insert into notes select id + 100, id, name, level, balance from customers
insert into notes (id, customer_id, body) select id + 200, customer_id, note from orders where id < 30
insert into notes (id, customer_id) select max(id) + 1, min(customer_id) from notes
insert into customers (id, name, balance) select customer_id + 1000, 'from orders', sum(amount) from orders group by customer_id
insert into orders (id, customer_id, quantity, state, placed, note) select id + 500, customer_id + 1, quantity, state, placed, concat(note, '''"\\') from orders where id < 20 order by id desc limit 7
insert into customers (id, name) select 2000, 'a' union all select 2001, 'b' union all select 2002, '日本'
insert into customers (id, name) select id + 100, name from customers where id > 1000
insert into customers (id, name, region, balance) select 3000, 'x', null, 12345678901234.5678
insert into customers (id, name) select id, name from customers where id = 3
insert ignore into customers (id, name) select id + 28, 'ignored' from customers
replace into customers (id, name, level) select id + 25, 'replaced', 8 from customers
insert into customers (id, name, level) select id + 20, 'dup', 3 from customers order by id on duplicate key update level = values(level) + 10
insert into customers (id, name) select c.id + 4000, n.body from customers c join notes n on n.customer_id = c.id + 1 and n.id < 12
insert into pairs select id, concat('é', id), level, x'00ff27' from customers where id < 9
insert into keyless select level, name, balance from customers where balance < 10
insert into people (id, email, team, badge) select id + 300, concat(id, '@sel'), name, id + 9000 from customers where id < 14
insert into people (id, email, team) select id + 400, 'same@sel', name from customers where id < 4
insert into people (id, note) select id + 500, 'none' from customers where id = 1
insert into people (id, email) select 600, 'p001@x'
insert into countries select region, max(name) from customers where region is not null group by region
insert into plain.rates (code, rate, n) select concat('z', id), balance, level from customers where id < 9
insert into customers (id, name, balance) select n + 7000, code, rate from plain.rates
insert into notes (id, customer_id, body, weight) select id + 1000, customer_id, body, weight from notes where id < 10
insert into people (id, seen, bits, kind, data) select id + 700, seen, bits, kind, data from people where id < 6
insert into notes (id, customer_id) select id from customers
insert into notes (id, customer_id, weight) values (900, (select max(id) from customers), (select sum(weight) from notes))
-- values that a server computes
insert into customers (id, name) values (1000 + 1, 'sum'), (length('four') + 5000, upper('b')), (77, 'seven')
insert into customers (id, name) values (abs(-5001), concat('a', 'b'))
insert into customers set id = 5000 + 5, name = lower('SET')
insert into pairs (a, b, v) values (1, concat('x', 'y'), 5), (2, upper('abc'), 6), (2, trim('é '), 7)
insert into people (id, email, team, badge) values (800 + 1, lower('A@B'), concat('t', 1), 5 * 5), (802, 'plain@x', 'u', 26)
insert into people (id, email) values (810 + 1, lower('P002@X'))
insert into customers (id, name) values ((select max(id) from customers) + 1, (select min(name) from customers where id < 3))
replace into customers (id, name) values (1 + 1, 'two')
insert into customers (id, name) values (1 + 1, 'two') on duplicate key update name = 'dup', level = level + values(id)
insert ignore into customers (id, name) values (1 + 1, 'two'), (2 + 1, 'three'), (6000 + 1, 'new')
-- rows that may meet others, in a table that owns lookup vindexes
insert ignore into people (id, email, team) values (1, 'new@x', 't'), (901, 'n901@x', 't'), (2, 'other@x', 'u')
insert ignore into people (id, email, team, badge) values (902, null, null, null)
insert ignore into people (id, email) values (903, 'n903@x'), (903, 'again@x')
replace into people (id, email, team, badge) values (1, 'new@x', 't', 5), (2, null, null, null), (950, 'n950@x', 'u', 9500)
replace into people (id, email, note) values (3, 'p003@x', 'same')
replace into people (id, email) values (4, 'first@x'), (4, 'second@x')
replace into people set id = 5, email = 'set@x', team = 'y'
insert into people (id, email, team) values (1, 'new@x', 't') on duplicate key update email = values(email), note = 'dup'
insert into people (id, email, team, j) values (6, 'n6@x', 't', 5), (960, 'n960@x', 'v', 6) on duplicate key update team = concat('was ', team), j = j + values(j)
insert into people (id, email, badge) values (7, 'n7@x', 1) on duplicate key update badge = badge + 1000, email = null
insert into people (id, note) values (8, 'x') on duplicate key update note = note
insert into people (id, email) values (9, 'x') on duplicate key update kind = 'nosuch'
insert into people (id, email, team) values (970, 'n970@x', 'w'), (970, 'twice@x', 'z') on duplicate key update email = values(email), team = values(team)
-- rows of another keyspace
insert into customers (id, name, region, balance) select 300 + n, code, code, rate from plain.rates
insert into plain.rates select concat('r', id), balance, level from customers where id < 4
insert into plain.rates select c.region, max(c.balance), count(*) from customers c left join plain.rates r on r.code = c.region where r.code is null and c.region is not null group by c.region
replace into plain.rates select region, max(balance), 7 from customers where region is not null group by region
insert into plain.rates select region, 1, count(*) from customers where region = 'eu' group by region on duplicate key update n = n + 100
update plain.rates r join customers c on c.region = r.code set r.n = r.n + 1 where c.id < 5
update customers c join plain.rates r on c.region = r.code set c.balance = r.rate where c.id < 15
delete r from plain.rates r left join customers c on c.region = r.code where c.id is null
delete from customers where region in (select code from plain.rates where n = 1)
-- values that lose their kind as strings
insert into notes (id, customer_id, weight) select id + 500, customer_id, max(placed) from orders group by id, customer_id having id < 5
insert into notes (id, customer_id, weight) values (900, 1, (select max(placed) from orders))
insert into orders (id, customer_id, quantity, placed) select id + 900, customer_id, 1, sec_to_time(id * 60) from notes
-- rows on other shards that lookup vindexes know
replace into people (id, email, team) values (920, 'p001@x', 'n')
replace into people (id, email, team) values (920, 'p001@x', 'n'), (921, 'p002@x', 'm'), (922, 'new@x', 'm')
replace into people (id, email, badge) values (920, 'p001@x', 20)
replace into people (id, email, badge) values (1, 'p002@x', 30)
replace into people set id = 920, email = 'p003@x'
replace into people (id, email) select id + 920, email from people where id < 4
insert into people (id, email) values (920, 'p001@x') on duplicate key update note = 'dup'
insert into people (id, email) values (920, 'p001@x') on duplicate key update note = concat(id, '-', values(id)), j = j + values(id)
insert into people (id, email, badge) values (920, 'p001@x', 99) on duplicate key update badge = values(badge)
insert into people (id, email) values (920, 'p001@x'), (921, 'p002@x'), (922, 'new@x') on duplicate key update j = ifnull(j, 0) + 1
insert into people (id, email, badge) values (920, 'new@x', 20) on duplicate key update note = 'by badge', email = values(email)
insert into people (id, email) values (1, 'p002@x') on duplicate key update note = 'by id'
insert into people (id, email) values (1, 'p002@x') on duplicate key update email = values(email)
insert into people (id, email) values (920, 'p001@x') on duplicate key update email = 'other@x', team = 'moved'
insert ignore into people (id, email, team) values (920, 'p001@x', 'n'), (921, 'nn@x', 'm')
-- defaults and columns that keep their values
insert into people (id, email) values (930, default)
insert into people (id, email, badge) values (930, default, default), (931, 'z@x', default)
replace into people (id, email, team) values (1, default, 'q')
insert into people (id, email) values (1, default) on duplicate key update note = 'd'
insert into people (id, email) values (1, 'p001@x') on duplicate key update id = id
insert into people (id, email) values (1, 'other@x') on duplicate key update id = people.id, note = 'k'
insert into people (id, email) values (977, 'p001@x') on duplicate key update id = id
insert into customers (id, name) values (1, 'x') on duplicate key update id = id
insert into customers (id, name) values (1, 'x'), (50, 'y') on duplicate key update id = values(id), name = 'k'
insert into orders (id, customer_id, quantity) values (1, 12, 5), (1000, 1, 5) on duplicate key update customer_id = customer_id, quantity = 77
-- NULL where there can be none
insert ignore into customers (id, name) values (null, 'x'), (70, 'y')
insert ignore into orders (id, customer_id, quantity) values (5, null, 1)
insert ignore into pairs values (1, null, 2, null)
insert ignore into people (id, email) values (null, 'nn@x')
replace into customers (id, name) values (null, 'x')
-- values that are cut as they are read
insert into notes (id, customer_id) select id + 100, id from customers where name = 0
insert into notes (id, customer_id) select n.id + 100, c.id from notes n join customers c on c.id = n.customer_id where n.body = 12
insert ignore into notes (id, customer_id) select id + 100, level from customers where region + 0 = 0
