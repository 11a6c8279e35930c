//! What `apply-schema` runs on all shards: definitions. A row would stand on every shard, under
//! keys that are not all its own. Pure.

/// What begins a definition, or goes with one in a dump.
const DEFINES: [&str; 6] = ["create", "alter", "drop", "rename", "truncate", "set"];
/// What is a server's, not a keyspace's.
const FOREIGN: [&str; 9] = [
    "database",
    "schema",
    "user",
    "role",
    "server",
    "tablespace",
    "logfile",
    "instance",
    "resource",
];

/// # Errors
/// Why the statement is not run.
pub(super) fn check(sql: &str) -> Result<(), String> {
    let mut words = Words(sql);
    let first = words.next().unwrap_or_default();
    let shown: String = sql.trim().chars().take(60).collect();
    if !DEFINES.contains(&first.as_str()) {
        return Err(format!(
            "apply-schema runs definitions only (CREATE, ALTER, DROP, RENAME, TRUNCATE), on every \
                shard as they are, and this is none: \
             {shown}; send it to the MySQL port"
        ));
    }
    let mut next = words.next().unwrap_or_default();
    while ["or", "replace", "online", "offline", "ignore", "undo"].contains(&next.as_str()) {
        next = words.next().unwrap_or_default();
    }
    // SET PASSWORD, SET ROLE; SET GLOBAL is the server's, too.
    let foreign = FOREIGN.contains(&next.as_str())
        || first == "set" && ["password", "global", "persist", "default"].contains(&next.as_str());
    match foreign {
        true => Err(format!(
            "apply-schema changes what is in a keyspace's databases, not {next}: {shown}"
        )),
        false => Ok(()),
    }
}

/// Words in lower case, without comments; what stands in a comment with a version counts.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let rest = self.0.trim_start();
            if let Some(inner) = rest
                .strip_prefix("/*!")
                .or_else(|| rest.strip_prefix("/*M!"))
            {
                self.0 = inner.trim_start_matches(|c: char| c.is_ascii_digit());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                self.0 = comment.split_once("*/").map_or("", |(_, rest)| rest);
            } else if rest.starts_with('#') || rest.starts_with("-- ") || rest.starts_with("--\n") {
                self.0 = rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else {
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                self.0 = after;
                return (!word.is_empty()).then(|| word.to_ascii_lowercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_definitions_are_run() {
        for good in [
            "create table t (a int)",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "/* why */ alter table t add column b int",
            "-- why\ndrop table t",
            "/*!50001 CREATE ALGORITHM=UNDEFINED VIEW v AS SELECT 1 */",
            "/*!40101 SET @old = @@character_set_client */",
            "set names utf8mb4",
            "truncate t",
            "create unique index i on t (a)",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "insert into t values (1)",
            "/* x */ delete from t",
            "with c as (select 1) select * from c",
            "select 1",
            "call p()",
            "drop database ks",
            "DROP /* x */ SCHEMA ks",
            "create user u",
            "set global read_only = 1",
            "set password = 'x'",
            "(select 1)",
            "",
            "/*!50001 insert into t values (1) */",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
