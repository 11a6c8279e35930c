-- which flags say that a number is binary depends on the plan that each server takes
=select quantity, count(distinct customer_id) c, sum(amount) from orders group by quantity order by c desc, quantity limit 5
=select quantity, count(distinct state, amount) from orders group by quantity order by count(distinct state, amount), quantity limit 2, 4
=select customer_id, sum(distinct quantity) s, avg(distinct quantity) from orders group by customer_id order by s desc, customer_id
