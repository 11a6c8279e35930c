//! The statements that move a primary, in the words of MariaDB and of MySQL. Pure.
use super::replication::Source;

/// The first MySQL that knows CHANGE REPLICATION SOURCE.
const MYSQL_MIN: (u32, u32, u32) = (8, 0, 23);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    MariaDb,
    MySql,
}

/// The names of semi-sync's variables: MariaDB's and MySQL's older ones, and MySQL's newer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SemiSyncNames {
    Master,
    Source,
}

impl SemiSyncNames {
    pub(crate) fn primary(self) -> &'static str {
        match self {
            Self::Master => "rpl_semi_sync_master",
            Self::Source => "rpl_semi_sync_source",
        }
    }

    pub(crate) fn replica(self) -> &'static str {
        match self {
            Self::Master => "rpl_semi_sync_slave",
            Self::Source => "rpl_semi_sync_replica",
        }
    }
}

/// `8.0.36-log`: its three numbers.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

impl Dialect {
    pub(crate) fn of(version: &str) -> Self {
        if version.contains("MariaDB") { Self::MariaDb } else { Self::MySql }
    }

    /// Does a server of this version know these statements?
    pub(crate) fn knows(self, version: &str) -> bool {
        self == Self::MariaDb || numbers(version).is_some_and(|n| n >= MYSQL_MIN)
    }

    /// No writes any more, on MySQL of nobody; or writes again.
    pub(crate) fn read_only(self, on: bool) -> &'static [&'static str] {
        match (self, on) {
            (Self::MariaDb, true) => &["SET GLOBAL read_only=ON"],
            (Self::MariaDb, false) => &["SET GLOBAL read_only=OFF"],
            // Sets read_only, too.
            (Self::MySql, true) => &["SET GLOBAL super_read_only=ON"],
            (Self::MySql, false) => &["SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF"],
        }
    }

    /// What it has committed or applied.
    pub(crate) fn position(self) -> &'static str {
        match self {
            Self::MariaDb => "gtid_current_pos",
            Self::MySql => "gtid_executed",
        }
    }

    /// What it has committed, where it is primary.
    pub(crate) fn committed(self) -> &'static str {
        match self {
            Self::MariaDb => "gtid_binlog_pos",
            Self::MySql => "gtid_executed",
        }
    }

    /// 0 when it has applied all of this; anything else: not within the time.
    pub(crate) fn wait_for(self, position: &str, seconds: f64) -> String {
        match self {
            Self::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3})"),
            Self::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds:.3})"),
        }
    }

    pub(crate) fn stop_replica(self) -> &'static str {
        match self {
            Self::MariaDb => "STOP SLAVE",
            Self::MySql => "STOP REPLICA",
        }
    }

    pub(crate) fn start_replica(self) -> &'static str {
        match self {
            Self::MariaDb => "START SLAVE",
            Self::MySql => "START REPLICA",
        }
    }

    pub(crate) fn stop_receiver(self) -> &'static str {
        match self {
            Self::MariaDb => "STOP SLAVE IO_THREAD",
            Self::MySql => "STOP REPLICA IO_THREAD",
        }
    }

    pub(crate) fn start_receiver(self) -> &'static str {
        match self {
            Self::MariaDb => "START SLAVE IO_THREAD",
            Self::MySql => "START REPLICA IO_THREAD",
        }
    }

    pub(crate) fn start_applier(self) -> &'static str {
        match self {
            Self::MariaDb => "START SLAVE SQL_THREAD",
            Self::MySql => "START REPLICA SQL_THREAD",
        }
    }

    pub(crate) fn forget_primary(self) -> &'static str {
        match self {
            Self::MariaDb => "RESET SLAVE ALL",
            Self::MySql => "RESET REPLICA ALL",
        }
    }

    /// # Errors
    /// Text that cannot be written in quotes; or MariaDB, which has nothing of the kind.
    pub(crate) fn clone_from(self, source: &Source) -> Result<CloneSql, String> {
        if self == Self::MariaDb {
            return Err("MariaDB cannot be made a copy of another server by a statement".to_owned());
        }
        let (user, password) = (quoted(&source.account.user)?, quoted(&source.account.password)?);
        let (host, port) = (&source.host, source.port);
        let donor = quoted(&format!("{host}:{port}"))?;
        Ok(CloneSql {
            // It stays read_only.
            prepare: [
                format!("SET GLOBAL clone_valid_donor_list={donor}"),
                "SET GLOBAL super_read_only=OFF".to_owned(),
            ],
            copy: format!(
                "CLONE INSTANCE FROM {user}@{}:{port} IDENTIFIED BY {password}",
                quoted(host)?
            ),
        })
    }

    /// # Errors
    /// Text that cannot be written in quotes.
    pub(crate) fn change_source(self, source: &Source) -> Result<String, String> {
        let (host, user) = (quoted(&source.host)?, quoted(&source.account.user)?);
        let (password, port) = (quoted(&source.account.password)?, source.port);
        Ok(match self {
            Self::MariaDb => format!(
                "CHANGE MASTER TO MASTER_HOST={host}, MASTER_PORT={port}, MASTER_USER={user}, \
                    MASTER_PASSWORD={password}, \
                 MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1"
            ),
            Self::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST={host}, SOURCE_PORT={port}, \
                    SOURCE_USER={user}, \
                 SOURCE_PASSWORD={password}, SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, \
                 SOURCE_CONNECT_RETRY=1, \
                 SOURCE_RETRY_COUNT=0, SOURCE_HEARTBEAT_PERIOD=1"
            ),
        })
    }
}

/// Statements that make a server a copy of another one.
pub(crate) struct CloneSql {
    pub(crate) prepare: [String; 2],
    pub(crate) copy: String,
}

/// A statement as messages show it: without an account.
pub(crate) fn shown(sql: &str) -> &str {
    let cut = [" MASTER_", " SOURCE_", " IDENTIFIED "]
        .into_iter()
        .filter_map(|word| sql.find(word))
        .min();
    cut.map_or(sql, |at| &sql[..at])
}

/// Text in quotes, whatever the SQL mode: these statements take no parameters.
fn quoted(text: &str) -> Result<String, String> {
    match text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\'' | '\\'))
    {
        true => {
            Err("names and passwords of replication cannot have quotes, backslashes or control \
                characters"
                .to_owned())
        }
        false => Ok(format!("'{text}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Account;

    #[test]
    fn what_needs_escapes_is_refused() {
        assert_eq!(quoted("repl-1%").unwrap(), "'repl-1%'");
        for wrong in ["a'b", "a\\", "a\nb"] {
            assert!(quoted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_are_known_by_their_version() {
        assert_eq!(Dialect::of("10.11.6-MariaDB-log"), Dialect::MariaDb);
        assert_eq!(Dialect::of("9.7.4-2"), Dialect::MySql);
        for (version, known) in [
            ("8.0.22", false),
            ("8.0.23", true),
            ("9.7.4-2", true),
            ("5.7.44-log", false),
            ("x", false),
        ] {
            assert_eq!(Dialect::MySql.knows(version), known, "{version}");
        }
        assert!(Dialect::MariaDb.knows("10.2.1-MariaDB"));
    }

    #[test]
    fn messages_show_no_account() {
        let account = Account { user: "u".into(), password: "secret".into() };
        let source = Source { host: "h".into(), port: 1, account };
        for dialect in [Dialect::MariaDb, Dialect::MySql] {
            let sql = dialect.change_source(&source).unwrap();
            assert!(sql.contains("'secret'") && !shown(&sql).contains("secret"), "{}", shown(&sql));
        }
        assert_eq!(shown("STOP SLAVE"), "STOP SLAVE");
    }
}
