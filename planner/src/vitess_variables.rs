//! System variables of ours and of Vitess's that no server knows: they are set and read in the
//! session.

/// What `SELECT @@name` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VitessKind {
    /// A text as it was set.
    Text,
    /// The name of a choice, in upper case.
    Name,
    /// A whole number, or one with a fraction.
    Number,
    /// 0 or 1.
    Switch,
    /// Can be set; there is nothing to read.
    Hidden,
}

/// One of these variables.
#[derive(Debug, PartialEq, Eq)]
pub struct VitessVariable {
    /// In lower case.
    pub name: &'static str,
    /// What it holds.
    pub kind: VitessKind,
    /// Its value before it is set, where the configuration has none.
    pub default: &'static str,
}

const fn variable(name: &'static str, kind: VitessKind, default: &'static str) -> VitessVariable {
    VitessVariable { name, kind, default }
}

/// All that have a name of their own.
const VARIABLES: &[VitessVariable] = &[
    variable("workload", VitessKind::Name, "UNSPECIFIED"),
    variable("transaction_mode", VitessKind::Name, "MULTI"),
    variable("cross_shard_snapshot", VitessKind::Switch, "0"),
    variable("ddl_strategy", VitessKind::Text, "direct"),
    variable("migration_context", VitessKind::Text, ""),
    variable("skip_query_plan_cache", VitessKind::Switch, "0"),
    variable("enable_system_settings", VitessKind::Switch, "1"),
    variable("query_timeout", VitessKind::Number, "0"),
    variable("transaction_timeout", VitessKind::Number, "0"),
    variable("read_after_write_gtid", VitessKind::Text, ""),
    variable("read_after_write_timeout", VitessKind::Number, "0"),
    variable("session_uuid", VitessKind::Hidden, ""),
];

/// A variable by its name, in any case. `None`: it is a server's, or nobody's.
pub fn find(name: &[u8]) -> Option<&'static VitessVariable> {
    VARIABLES
        .iter()
        .find(|variable| name.eq_ignore_ascii_case(variable.name.as_bytes()))
}

/// May `SET` name it, which goes to no server then? `name` is in lower case.
pub(crate) fn is_vitess(name: &str) -> bool {
    find(name.as_bytes()).is_some()
        || name.starts_with("read_after_write_")
        || name.starts_with("vitess_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(find(b"Transaction_Mode").map(|v| v.default), Some("MULTI"));
        assert!(find(b"sql_mode").is_none());
        assert!(is_vitess("vitess_metadata") && !is_vitess("autocommit"));
    }
}
