#!/bin/bash
# The mariadb command line client.
set -u
failed=0 count=0
KV=${E2E_PREFIX}_kv AUTO=${E2E_PREFIX}_auto
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
client() { mariadb --no-defaults -h"$E2E_HOST" -P"$E2E_PORT" -u"$E2E_USER" -p"$E2E_PASSWORD" --default-character-set=utf8mb4 --max-allowed-packet=64M "$@"; }
# q SQL [OPTION...]: rows without a header
q() { local sql=$1; shift; client -N -B "$@" "$E2E_DATABASE" -e "$sql" 2>&1; }
# is NAME WANTED GOT
is() {
  count=$((count + 1))
  if [ "$2" = "$3" ]; then echo "ok $1"; else failed=$((failed + 1)); printf 'FAILED %s\n  wanted: %.300s\n  got:    %.300s\n' "$1" "$2" "$3"; fi
}
# error NAME CODE SQL
error() { local got; got=$(q "$3"); is "$1" "ERROR $2" "$(grep -o '^ERROR [0-9]*' <<<"$got" | head -1)"; }

is connects 1 "$(q 'select 1')"
is database "$E2E_DATABASE" "$(q 'select database()')"
is tls_off NONE "$(client --skip-ssl -e status | sed -n 's/^SSL:[[:space:]]*Not in use.*/NONE/p')"
is tls_on yes "$(client --ssl -e status | sed -n 's/^SSL:[[:space:]]*Cipher in use is .*/yes/p')"
is compressed "$(printf 'x%.0s' {1..3000})" "$(q "select repeat('x', 3000)" --compress)"
is compressed_tls 50000 "$(q "select length(repeat('x', 50000))" --compress --ssl)"
is sha2_tls 5 "$(mariadb --no-defaults -h"$E2E_HOST" -P"$E2E_PORT" -u"$E2E_SHA2_USER" -p"$E2E_SHA2_PASSWORD" --ssl -N -B -e 'select 5' 2>&1)"
is sha2_plain 5 "$(mariadb --no-defaults -h"$E2E_HOST" -P"$E2E_PORT" -u"$E2E_SHA2_USER" -p"$E2E_SHA2_PASSWORD" --skip-ssl -N -B -e 'select 5' 2>&1)"
is wrong_password "ERROR 1045 (28000)" "$(mariadb --no-defaults -h"$E2E_HOST" -P"$E2E_PORT" -u"$E2E_USER" -pwrong -e 'select 5' 2>&1 | grep -o '^ERROR 1045 (28000)')"
is emoji "🦀" "$(q "select '🦀'")"
q "delete from $KV where id in (1,2,3,4,5,6)" >/dev/null
is affected "Query OK, 6 rows affected" "$(client -vvv "$E2E_DATABASE" -e "insert into $KV (id, v) values (1,'a'),(2,'b'),(3,'c'),(4,'d'),(5,'e'),(6,'f')" | grep -o 'Query OK, 6 rows affected')"
is rows abcdef "$(q "select v from $KV where id in (1,2,3,4,5,6)" | sort | tr -d '\n')"
is rollback abcdef "$(q "begin; delete from $KV where id in (1,4); rollback; select v from $KV where id in (1,2,3,4,5,6)" | sort | tr -d '\n')"
is commit bcef "$(q "begin; delete from $KV where id in (1,4); commit; select v from $KV where id in (1,2,3,4,5,6)" | sort | tr -d '\n')"
is autocommit_off bcef "$(q "set autocommit=0; delete from $KV where id = 2"; q "select v from $KV where id in (1,2,3,4,5,6)" | sort | tr -d '\n')"
error duplicate 1062 "insert into $KV (id) values (3)"
error syntax 1064 "selekt 1"
error no_table 1146 "select * from no_such_table where id = 1"
error no_column 1054 "select nothing from $KV where id = 3"
error no_database 1049 "use no_such_database"
is multi "1 2 3" "$(q 'select 1; select 2; select 3' | paste -sd' ')"
is warnings "Warning 1292" "$(q "select cast('12x' as signed); show warnings" | awk '/Warning/ {print $1, $2}')"
is last_insert_id b "$(q "insert into $AUTO (v) values ('a'); insert into $AUTO (v) values ('b'); select v from $AUTO where id = last_insert_id()")"
is use "$E2E_OTHER_DATABASE" "$(q "use $E2E_OTHER_DATABASE; select database()")"
is variables "+05:30 ANSI" "$(q "set time_zone='+05:30'; set sql_mode='ANSI_QUOTES'; select @@time_zone, left(@@sql_mode, 4)" | paste -sd' ' | tr '\t' ' ')"
is prepare "7 8" "$(q "prepare s from 'select ? + 1'; set @a = 6; execute s using @a; set @a = 7; execute s using @a; deallocate prepare s" | paste -sd' ')"
is streams "100 104857600" "$(q 'select id, repeat(v, 1048576) from big' --quick | awk '{n++; b+=length($2)} END {print n, b}')"
# 32 MiB of hexadecimal digits, in a statement of its own file.
{ printf "replace into %s (id, v) values (30, '" "$KV"; head -c 16777216 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | tee "$work/value"; printf "');\n"; } >"$work/sql"
client "$E2E_DATABASE" <"$work/sql" || failed=$((failed + 1))
is large "$(sha256sum <"$work/value")" "$(q "select v from $KV where id = 30" | tr -d '\n' | sha256sum)"
q "delete from $KV where id = 30" >/dev/null
is show_tables "$KV" "$(q "show tables like '$KV'")"
is columns "id v" "$(q "show columns from $KV" | cut -f1 | paste -sd' ')"
echo "checks $count failed $failed"
[ $failed = 0 ]
