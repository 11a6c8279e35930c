//! `coregate tune grants`: the statements that make the account of a tablet, with no more than it
//! needs.

/// Rows and tables of the keyspace's database: what users may do there, the account must be able
/// to.
const ON_DATABASE: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, \
    CREATE VIEW, SHOW VIEW, \
                           CREATE ROUTINE, ALTER ROUTINE, EXECUTE, TRIGGER, EVENT, LOCK TABLES, \
                           CREATE TEMPORARY TABLES";

/// In `` `...` ``.
fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// In `'...'`.
fn string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The statements, to be run on every server by an administrator.
pub(crate) fn statements(user: &str, host: &str, databases: &[String]) -> String {
    let account = format!("{}@{}", string(user), string(host));
    let mut out = format!(
        "-- Run these on every server. The password is the tablet's (or the URL's of --upstream).\n\
         CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '...';\n\
         -- Rows and tables. In a pattern _ stands for any character, which a \\ before it takes \
         away.\n"
    );
    for database in databases {
        // A database's name in GRANT is a pattern.
        let pattern = database.replace('_', "\\_").replace('%', "\\%");
        out.push_str(&format!("GRANT {ON_DATABASE} ON {}.* TO {account};\n", name(&pattern)));
    }
    out.push_str(&format!(
        "-- information_schema.PROCESSLIST of all, and how far replicas are behind: of MySQL, and \
            of MariaDB from 10.5 on.\n\
         GRANT PROCESS ON *.* TO {account};\n\
         GRANT REPLICATION CLIENT ON *.* TO {account}; -- MySQL\n\
         GRANT REPLICA MONITOR ON *.* TO {account}; -- MariaDB\n\
         -- Where binary logs are on, users who make triggers and functions need \
         log_bin_trust_function_creators=1.\n\
         -- Not needed, and better not given: SUPER, FILE, SHUTDOWN, CREATE USER, GRANT OPTION, \
         RELOAD, anything on mysql.*.\n\
         -- KILL ends only connections of the same account, for which no privilege is needed.\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let sql = statements("o'neil", "10.%", &["my_db".to_owned(), "a`b".to_owned()]);
        assert!(sql.contains("TO 'o''neil'@'10.%';"), "{sql}");
        assert!(sql.contains("ON `my\\_db`.* TO") && sql.contains("ON `a``b`.* TO"), "{sql}");
        assert!(!sql.contains("ON mysql.* TO") && !sql.contains("GRANT ALL"), "{sql}");
    }
}
