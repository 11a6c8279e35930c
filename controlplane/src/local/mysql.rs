//! What differs where the servers of a local cluster are MySQL's.
use crate::topology::{KeyspaceRecord, TabletRecord};

/// Fast rather than crash-proof against power loss; a killed server loses nothing.
pub(super) const OPTIONS: &[&str] = &[
    "--mysqlx=OFF",
    "--secure-file-priv=NULL",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-redo-log-capacity=32M",
    "--innodb-log-buffer-size=4M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=OFF",
    "--innodb-fast-shutdown=1",
    "--innodb-io-capacity=2000",
    "--key-buffer-size=4M",
    "--max-connections=1000",
    "--table-open-cache=1000",
    "--max-allowed-packet=64M",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--log-bin=bin",
    "--sync-binlog=0",
    "--max-binlog-size=256M",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--log-replica-updates=ON",
    "--relay-log=relay",
    "--relay-log-recovery=ON",
    "--replica-net-timeout=5",
    "--skip-replica-start=ON",
];

/// Of servers that replicate. They start read-only: the control plane knows who is primary.
pub(super) const REPLICATED: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--report-host=127.0.0.1",
    "--read-only=ON",
    "--super-read-only=ON",
    "--plugin-load-add=semisync_source.so",
    "--plugin-load-add=semisync_replica.so",
    "--plugin-load-add=mysql_clone.so",
    "--loose-rpl-semi-sync-replica-enabled=ON",
    "--loose-rpl-semi-sync-source-wait-point=AFTER_SYNC",
];

/// What a server runs before it listens: accounts and the database, without a trace in the binlog.
/// Each statement on a line of its own. The first account came without a password.
pub(super) fn init_sql(record: &KeyspaceRecord, tablet: &TabletRecord, replicated: bool) -> String {
    let TabletRecord { user, password, .. } = tablet;
    let mut lines = vec![
        "SET SESSION sql_log_bin=0".to_owned(),
        "SET GLOBAL super_read_only=OFF".to_owned(),
        "SET GLOBAL read_only=OFF".to_owned(),
        format!("ALTER USER IF EXISTS 'root'@'localhost' IDENTIFIED BY '{password}'"),
        format!("CREATE USER IF NOT EXISTS '{user}'@'localhost' IDENTIFIED BY '{password}'"),
        format!("GRANT ALL PRIVILEGES ON *.* TO '{user}'@'localhost' WITH GRANT OPTION"),
        format!("CREATE DATABASE IF NOT EXISTS `{}`", record.database()),
    ];
    if replicated {
        let repl = super::REPLICATION_USER;
        lines.push(format!(
            "CREATE USER IF NOT EXISTS '{repl}'@'127.0.0.1' IDENTIFIED BY '{password}'"
        ));
        // BACKUP_ADMIN: a server that has gone astray is made anew from its primary.
        lines.push(format!("GRANT REPLICATION SLAVE, BACKUP_ADMIN ON *.* TO '{repl}'@'127.0.0.1'"));
        lines.push("SET GLOBAL super_read_only=ON".to_owned());
    }
    lines.join(";\n") + ";\n"
}
