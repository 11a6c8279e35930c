-- entries of lookup vindexes
delete from people order by id limit 3
delete from people where team in (select concat('team', level) from customers where id < 4)
delete p from people p join customers c on c.id = p.id where c.level = 2
update people set team = concat(team, 'x') where id < 9
update people set badge = badge + 1
update people set badge = badge * 2 + id where j > 2 order by id limit 6
update people set email = concat(email, '.net') where id in (select customer_id from notes)
update people set email = null, badge = null, team = null where id in (2, 3, 4)
update people set email = lower(upper(email)), note = 'same' where id < 20
update people p join customers c on c.id = p.id set p.email = concat(c.id, '@c'), p.team = c.name where c.level = 1
update people set email = 'one@x'
update people set email = 'one@x' where id = 7
update people set email = 'p003@x' where id = 7
update people set team = (select name from customers where id = 2) where id > 20
-- rows that move
update people set id = id + 100 where id = 5
update people set id = id + 1000
update people set id = id + 1 order by id desc
update people set id = 200, email = 'moved@x', badge = 9 where id = 3
update people set id = id + 50, team = 'far' where j = 2
update people set id = 4 where id = 3
update people set id = id where id < 10
update people set id = 7000 where id = 999
update people p join customers c on c.id = p.id set p.id = p.id + 500 where c.level = 3
update customers set id = id + 300 where id in (1, 2, 3, 4, 5)
update customers set id = id * 1000, name = concat(name, id) where region = 'us'
update customers set id = 700 where name = 'anna' order by id limit 1
update orders set customer_id = customer_id + 1 where id < 15
update orders set customer_id = 9
update orders set customer_id = 3, state = 'paid' order by id limit 4
update orders set customer_id = (select max(id) from customers) where id in (1, 2, 3)
update orders o join notes n on n.id = o.id set o.customer_id = n.customer_id
update pairs set b = concat(b, 'y') where a = 1
update pairs set b = upper(b)
update pairs set b = 'b0' where a = 2
update uniques set u = concat('z', u)
update uniques set u = 'a' where u = 'c'
update notes set id = id + 1000 where customer_id in (select id from customers where level = 1)
update keyless set b = 'only b' where a = 1
update notes set f = f, id = id + 40 where id = 7
-- IGNORE
update ignore people set email = 'p001@x' where id = 2
update ignore people set email = 'p001@x' order by id
update ignore people set email = 'p001@x', note = 'z' where id in (2, 3)
update ignore people set badge = 10 where id = 2
update ignore people set badge = badge + 10 order by id
update ignore people set badge = badge + 10 order by id desc
update ignore people set note = 'n' where email = 'p002@x'
update ignore people set team = 'x'
update ignore people p join customers c on c.id = p.id set p.email = 'p001@x' where c.level = 1 and p.id > 1
delete ignore from people where id = 1
delete ignore from people where team = 'team1'
delete ignore p from people p join customers c on c.id = p.id where c.level = 2
