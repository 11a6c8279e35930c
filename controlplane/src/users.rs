//! Who may log in: Vitess's static auth file
//! (<https://vitess.io/docs/user-guides/configuration-advanced/user-management/>).
//!
//! `{"app": [{"Password": "...", "Groups": ["admin"], "SourceHost": "localhost"}], "other":
//! {"MysqlNativePassword": "*..."}}`; members of the group `admin` may run `ALTER VSCHEMA` and
//! `KILL` the sessions of others. `ReadOnly`, `Keyspaces`, `RequireTls` and `MaxConnections` are
//! ours.
use crate::Error;
use crate::plane::Config;
use coregate_planner::control::{UserEntry, Users};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The group whose members are administrators.
const ADMIN: &str = "admin";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    password: Option<String>,
    mysql_native_password: Option<String>,
    caching_sha2_password: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    source_host: Option<String>,
    #[serde(default)]
    read_only: bool,
    keyspaces: Option<Vec<String>>,
    #[serde(default)]
    require_tls: bool,
    max_connections: Option<u32>,
    /// Vitess's, which says it to its audit log; it has no meaning here.
    #[serde(rename = "UserData")]
    _user_data: Option<serde::de::IgnoredAny>,
}

/// Reads a users file; an error names the user and the field.
pub fn load(path: &Path) -> Result<Users, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::Config(format!("users file {}: {e}", path.display())))?;
    parse(&text).map_err(|e| Error::Config(format!("users file {}: {e}", path.display())))
}

fn parse(text: &str) -> Result<Users, String> {
    let file: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| e.to_string())?;
    let mut users = Users::default();
    for (name, value) in file {
        let entries = match value {
            serde_json::Value::Array(list) => list,
            one => vec![one],
        };
        let mut checked = Vec::with_capacity(entries.len());
        for value in entries {
            let entry: Entry = serde_path_to_error::deserialize(value)
                .map_err(|e| format!("user {name:?}: {}: {}", e.path(), e.inner()))?;
            checked.push(check(entry).map_err(|e| format!("user {name:?}: {e}"))?);
        }
        if checked.is_empty() {
            return Err(format!("user {name:?} has no entry; give at least a Password"));
        }
        users.by_name.insert(name, checked);
    }
    Ok(users)
}

fn check(entry: Entry) -> Result<UserEntry, String> {
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    let native = filled(entry.mysql_native_password);
    let sha2 = filled(entry.caching_sha2_password);
    let hex = |digits: &str| digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if native
        .as_deref()
        .is_some_and(|n| !n.strip_prefix('*').is_some_and(hex))
    {
        return Err(
            "MysqlNativePassword must be * and 40 hexadecimal digits, as MySQL's PASSWORD() gives \
                it"
            .to_owned(),
        );
    }
    if sha2.as_deref().is_some_and(|s| !s.starts_with("$A$")) {
        return Err("CachingSha2Password must start with $A$, as mysql.user holds it".to_owned());
    }
    if entry.password.is_none() && native.is_none() && sha2.is_none() {
        return Err(
            "one of Password, MysqlNativePassword and CachingSha2Password is needed".to_owned()
        );
    }
    let source_host = filled(entry.source_host);
    if source_host.as_deref().is_some_and(|h| h != "localhost") {
        return Err(format!(
            "SourceHost can only be localhost or left out, not {:?}",
            source_host.unwrap_or_default()
        ));
    }
    let groups = entry.groups.unwrap_or_default();
    let admin = groups.iter().any(|g| g == ADMIN);
    if admin && (entry.read_only || entry.keyspaces.is_some()) {
        return Err(
            "ReadOnly and Keyspaces are not for members of the group \"admin\", who may do \
                everything"
                .to_owned(),
        );
    }
    if entry.max_connections == Some(0) {
        return Err("MaxConnections must be at least 1; leave it out for no limit".to_owned());
    }
    // A plain password beside a hash is the hash's comment in Vitess: the hash decides.
    let password =
        if native.is_some() || sha2.is_some() { filled(entry.password) } else { entry.password };
    Ok(UserEntry {
        ed25519: None,
        admin,
        password,
        mysql_native_password: native,
        caching_sha2_password: sha2,
        groups,
        source_host,
        read_only: entry.read_only,
        keyspaces: entry.keyspaces,
        require_tls: entry.require_tls,
        connections_max: entry.max_connections,
    })
}

/// One user with one password and all rights.
pub fn single(name: &str, password: &str) -> Users {
    let mut users = Users::default();
    let entry =
        UserEntry { password: Some(password.to_owned()), admin: true, ..UserEntry::default() };
    users.by_name.insert(name.to_owned(), vec![entry]);
    users
}

/// The users of `coregate local`: `root` without password from this machine, `app` with the
/// password `app`.
pub fn local() -> Users {
    let mut users = single("app", "app");
    let mut root = single("root", "");
    for entry in root.by_name.values_mut().flatten() {
        entry.source_host = Some("localhost".to_owned());
    }
    users.by_name.extend(root.by_name);
    users
}

/// The file's users, and those of the configuration that the file does not name.
pub(crate) fn of(config: &Config) -> Result<Users, Error> {
    let mut users = match &config.users_file {
        Some(path) => load(path)?,
        None => Users::default(),
    };
    for (name, entries) in &config.users.by_name {
        users
            .by_name
            .entry(name.clone())
            .or_insert_with(|| entries.clone());
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_of_vitess() {
        let users = parse(
            r#"{"a": [{"Password": "p", "UserData": "x", "Groups": ["admin", "g"]},
                {"Password": "q"}],
                "b": {"MysqlNativePassword": "*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9",
                "Password": "", "SourceHost": "localhost"},
                "c": {"Password": "", "Groups": null}}"#,
        )
        .unwrap();
        let of = |name: &str| &users.by_name[name];
        assert!(
            of("a")[0].admin && !of("a")[1].admin && of("a")[1].password.as_deref() == Some("q")
        );
        assert_eq!(
            (of("b")[0].password.as_deref(), of("b")[0].source_host.as_deref()),
            (None, Some("localhost"))
        );
        assert_eq!(of("c")[0].password.as_deref(), Some(""));
        assert!(
            local().by_name["root"][0].source_host.is_some() && local().by_name["app"][0].admin
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            (r#"{"a": {}}"#, "user \"a\": one of Password"),
            (r#"{"a": []}"#, "no entry"),
            (r#"{"a": {"Password": "p", "ReadOnly": "yes"}}"#, "ReadOnly"),
            (r#"{"a": {"Password": "p", "ReadOnly": true, "Groups": ["admin"]}}"#, "ReadOnly"),
            (r#"{"a": {"Password": "p", "Keyspaces": [], "Groups": ["admin"]}}"#, "Keyspaces"),
            (r#"{"a": {"Password": "p", "MaxConnections": 0}}"#, "MaxConnections"),
            (r#"{"a": {"Password": 1}}"#, "user \"a\": Password"),
            (
                r#"{"a": {"Password": "p", "SourceHosts": "localhost"}}"#,
                "unknown field `SourceHosts`",
            ),
            (r#"{"a": {"MysqlNativePassword": "x"}}"#, "40 hexadecimal"),
            (r#"{"a": {"CachingSha2Password": "x"}}"#, "$A$"),
            (
                r#"{"a": {"Password": "p", "SourceHost": "10.0.0.1"}}"#,
                "SourceHost can only be localhost",
            ),
            ("[]", "map"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
