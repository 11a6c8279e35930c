-- one keyspace, by what the statement says
= select table_name, table_type, engine, table_collation from information_schema.tables where table_schema = 'test' order by table_name
= select table_name, table_type, engine from information_schema.tables where table_schema = 'lone' order by table_name
= select table_schema, table_name from information_schema.tables where table_schema = database() order by table_name
= select column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, column_type, column_key, extra from information_schema.columns where table_schema = 'lone' and table_name = 'marks' order by ordinal_position
= select column_name, column_type, collation_name from information_schema.COLUMNS c where c.table_schema = 'test' and c.table_name = 'things' order by c.ordinal_position
= select index_name, seq_in_index, column_name, non_unique from information_schema.statistics where table_schema = 'lone' order by table_name, index_name, seq_in_index
= select constraint_name, constraint_type from information_schema.table_constraints where table_schema in ('lone') and table_name = 'marks' order by constraint_name
= select k.column_name, k.constraint_name from information_schema.key_column_usage k join information_schema.table_constraints t on t.constraint_name = k.constraint_name and t.table_schema = k.table_schema and t.table_name = k.table_name where t.table_schema = 'lone' and k.table_name = 'marks' order by 1, 2
select distinct table_schema from information_schema.tables where table_schema = 'no_such_keyspace'
select count(*) from information_schema.columns where table_schema = 'test'
-- several
= select table_schema, table_name from information_schema.tables where table_schema in ('test', 'lone') order by table_schema, table_name
= select table_schema, table_name, column_name, data_type from information_schema.columns where table_schema in ('test', 'lone') and column_name like '%region%' order by 1, 2, 3
= select table_schema, count(*) from information_schema.columns where table_schema = 'test' or table_schema = 'lone' group by table_schema order by 1
= select schema_name, default_character_set_name from information_schema.schemata where schema_name in ('test', 'lone', 'mysql') order by schema_name
= select t.table_schema, t.table_name, c.column_name, c.data_type from information_schema.tables t join information_schema.columns c on c.table_schema = t.table_schema and c.table_name = t.table_name where t.table_schema in ('test', 'lone') and c.ordinal_position < 3 order by 1, 2, c.ordinal_position
= select table_name, index_name, column_name from information_schema.statistics where table_schema <> 'mysql' and table_name in ('marks', 'orders') order by 1, 2, seq_in_index
= select table_name from information_schema.tables where table_schema = 'lone' union select table_name from information_schema.tables where table_schema = 'test' order by 1
= select ordinal_position from information_schema.columns where table_schema = 'lone' and table_name = 'marks' union select ordinal_position from information_schema.columns where table_schema = 'test' and table_name = 'orders' order by 1
-- none
= select table_schema, table_name from information_schema.tables where table_name in ('customers', 'rates', 'no_such_table') order by 1, 2
= select table_schema, table_name from information_schema.columns where column_name = 'customer_id' order by 1, 2
select count(*) from information_schema.tables where table_schema not in ('sys', 'mysql', 'performance_schema', 'information_schema')
select character_set_name from information_schema.character_sets where maxlen = 4
= select s.schema_name, count(t.table_name) from information_schema.schemata s left join information_schema.tables t on t.table_schema = s.schema_name where s.schema_name in ('lone', 'test') group by s.schema_name order by 1
-- in subqueries, with tables of the keyspaces
= select m.id from lone.marks m where m.id = (select count(*) from information_schema.tables where table_schema = 'lone')
= select c.id from customers c where c.id <= (select count(*) from information_schema.tables where table_schema in ('lone', 'test')) order by c.id
= with t as (select table_name n from information_schema.tables where table_schema in ('lone', 'test')) select n from t where n like 'c%' order by n
-- numbers that are added up
= select table_name, table_rows > 100 from information_schema.tables where table_schema = 'test' and table_name in ('orders', 'countries') order by table_name
= select table_name, table_rows, data_length > 0 from information_schema.tables where table_schema in ('test', 'lone') and table_name in ('countries', 'marks', 'rates') order by table_name
= select table_name, auto_increment from information_schema.tables where table_schema = 'lone' and table_name = 'marks'
= select table_name, table_rows between 250 and 350 from information_schema.tables where table_schema = 'test' and table_rows > 200
-- errors
select no_such from information_schema.tables where table_schema in ('test', 'lone')
select table_name from information_schema.no_such where table_schema = 'test'
