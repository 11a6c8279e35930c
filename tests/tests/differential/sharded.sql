create table customer (id bigint not null primary key, name varchar(50), age int, balance decimal(12,2), born date);
create table orders (id bigint not null, customer_id bigint not null, item varchar(50), price double, primary key (customer_id, id));
