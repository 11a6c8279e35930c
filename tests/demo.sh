#!/bin/bash
# make demo: starts a local cluster in the foreground and says how to use it.
# demo.sh BINARY DIR LISTEN ADMIN
set -euo pipefail
binary=$1 dir=$2 listen=$3 admin=$4
mkdir -p "$dir"
# coregate's own standard output is the READY line only.
ready() {
  while read -r line; do
    [[ $line == READY* ]] || { echo "$line"; continue; }
    cat <<T

A sharded cluster is up on real MariaDB servers: keyspace commerce (1 shard), keyspace customer (2 shards), a replica each.

  connect     mariadb -h ${listen%:*} -P ${listen##*:} -u app -papp commerce
  try         insert into customer.customer(customer_id, email) values (1, 'a@example.com'), (4, 'd@example.com');
              select * from customer.customer;
              vexplain plan select * from customer.customer where customer_id = 4;
              show vitess_tablets;
  look        http://$admin/
  administer  $binary ctl --admin $admin get-tablets

Data is kept in $dir and used again at the next start. Ctrl-C stops all.

T
  done
}
# Not a pipe: a pipeline's end would not give coregate's code, and Ctrl-C must not end the reader first.
exec 3> >(trap '' INT; ready)
code=0
trap '' INT
(trap - INT; exec "$binary" local --dir "$dir" --listen "$listen" --admin "$admin" 1>&3) || code=$?
exec 3>&-
[ $code -eq 0 ] && echo "Stopped."
exit $code
