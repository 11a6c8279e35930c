//! `coregate local` in the place of Vitess's vttestserver image: the same variables of the
//! environment. What the command line says goes before them.
use crate::cli::LocalArgs;
use coregate_controlplane::local::KeyspaceArg;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// In vttestserver, MySQL's port is so far above PORT, which its web server has; here the admin API
/// has it.
const MYSQL_OFFSET: u16 = 3;

/// What the environment says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Environment {
    pub(crate) keyspaces: Vec<KeyspaceArg>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) server_version: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) foreign_key_mode: Option<String>,
    /// The variables that were there.
    pub(crate) used: Vec<&'static str>,
}

impl Environment {
    pub(crate) fn of_process() -> Result<Self, String> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// # Errors
    /// Names the variable, its value and what is allowed.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut all = Self::default();
        let mut get = |name: &'static str| {
            let value = variable(name)
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())?;
            all.used.push(name);
            Some(value)
        };
        let (keyspaces, shards) = (get("KEYSPACES"), get("NUM_SHARDS"));
        let (port, host) = (get("PORT"), get("MYSQL_BIND_HOST"));
        let max = get("MYSQL_MAX_CONNECTIONS");
        let version = get("MYSQL_SERVER_VERSION");
        let (charset, foreign) = (get("CHARSET"), get("FOREIGN_KEY_MODE"));
        all.keyspaces = keyspaces_of(keyspaces.as_deref(), shards.as_deref())?;
        (all.listen, all.admin) = addresses(port.as_deref(), host.as_deref())?;
        all.max_connections =
            match max {
                None => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    format!("MYSQL_MAX_CONNECTIONS = {text:?}: it must be a number")
                })?),
            };
        all.server_version = version;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(charset) = charset.as_deref().filter(|text| !text.chars().all(word)) {
            return Err(format!(
                "CHARSET = {charset:?}: it must be a character set's name, e.g. utf8mb4"
            ));
        }
        all.charset = charset;
        if let Some(mode) = foreign
            .as_deref()
            .filter(|mode| !["allow", "disallow"].contains(mode))
        {
            return Err(format!("FOREIGN_KEY_MODE = {mode:?}: it must be allow or disallow"));
        }
        all.foreign_key_mode = foreign;
        Ok(all)
    }

    /// Fills in what the command line leaves open.
    pub(crate) fn complete(&mut self, args: &mut LocalArgs) {
        let common = &mut args.common;
        common.listen = common.listen.or(self.listen);
        common.admin = common.admin.or(self.admin);
        common.max_connections = common.max_connections.or(self.max_connections);
        if args.keyspaces.is_empty() {
            args.keyspaces = std::mem::take(&mut self.keyspaces);
        }
    }
}

/// Names and numbers of shards, each list with commas between.
fn keyspaces_of(names: Option<&str>, shards: Option<&str>) -> Result<Vec<KeyspaceArg>, String> {
    let Some(names) = names else {
        return match shards {
            Some(shards) => {
                Err(format!("NUM_SHARDS = {shards:?}: KEYSPACES must name the keyspaces"))
            }
            None => Ok(Vec::new()),
        };
    };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let shards: Vec<&str> =
        shards.map_or_else(|| vec!["1"; names.len()], |s| s.split(',').map(str::trim).collect());
    if shards.len() != names.len() {
        return Err(format!(
            "NUM_SHARDS has {} numbers and KEYSPACES {} names: give one for each",
            shards.len(),
            names.len()
        ));
    }
    let of = |(name, count): (&&str, &&str)| {
        if !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("NUM_SHARDS: {count:?} is not a number"));
        }
        format!("{name}:{count}")
            .parse()
            .map_err(|why| format!("KEYSPACES: {why}"))
    };
    names.iter().zip(&shards).map(of).collect()
}

fn addresses(
    port: Option<&str>,
    host: Option<&str>,
) -> Result<(Option<SocketAddr>, Option<SocketAddr>), String> {
    let ip = match host {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(host) => host.parse().map_err(|_| {
            format!("MYSQL_BIND_HOST = {host:?}: it must be an IP address or localhost")
        })?,
    };
    let default = crate::config::LISTEN.1;
    let Some(port) = port else {
        return Ok((host.map(|_| SocketAddr::new(ip, default)), None));
    };
    let wrong =
        || format!("PORT = {port:?}: it must be a number from 1 to {}", u16::MAX - MYSQL_OFFSET);
    let base: u16 = port.parse().map_err(|_| wrong())?;
    let mysql = base
        .checked_add(MYSQL_OFFSET)
        .filter(|_| base > 0)
        .ok_or_else(wrong)?;
    Ok((Some(SocketAddr::new(ip, mysql)), Some((Ipv4Addr::LOCALHOST, base).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, String> {
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Environment::read(find)
    }

    #[test]
    fn the_image_s_variables_are_taken() {
        let all = read(&[
            ("KEYSPACES", "test, unsharded"),
            ("NUM_SHARDS", "2,1"),
            ("PORT", "33574"),
            ("MYSQL_BIND_HOST", "0.0.0.0"),
            ("MYSQL_MAX_CONNECTIONS", "70000"),
            ("MYSQL_SERVER_VERSION", "8.0.40-Vitess"),
            ("CHARSET", "utf8mb4"),
            ("FOREIGN_KEY_MODE", "allow"),
        ])
        .unwrap();
        let shards: Vec<String> = all
            .keyspaces
            .iter()
            .map(|k| format!("{}={}", k.name, k.shards.join(" ")))
            .collect();
        assert_eq!(shards, ["test=-80 80-", "unsharded=0"]);
        assert_eq!(all.listen, Some("0.0.0.0:33577".parse().unwrap()));
        assert_eq!(all.admin, Some("127.0.0.1:33574".parse().unwrap()));
        assert_eq!((all.max_connections, all.used.len()), (Some(70_000), 8));
        assert_eq!(read(&[("PORT", "")]).unwrap(), Environment::default());
    }

    #[test]
    fn mistakes_name_the_variable() {
        for (pairs, part) in [
            (
                &[("KEYSPACES", "a,b"), ("NUM_SHARDS", "1")][..],
                "NUM_SHARDS has 1 numbers and KEYSPACES 2 names",
            ),
            (&[("NUM_SHARDS", "1")], "KEYSPACES must name"),
            (&[("KEYSPACES", "a"), ("NUM_SHARDS", "-80,80-")], "NUM_SHARDS has 2"),
            (&[("KEYSPACES", "a"), ("NUM_SHARDS", "x")], "\"x\" is not a number"),
            (&[("KEYSPACES", "a b")], "KEYSPACES: \"a b\""),
            (&[("PORT", "65534")], "PORT = \"65534\""),
            (&[("MYSQL_BIND_HOST", "somewhere")], "MYSQL_BIND_HOST"),
            (&[("MYSQL_MAX_CONNECTIONS", "many")], "MYSQL_MAX_CONNECTIONS"),
            (&[("CHARSET", "a;b")], "CHARSET"),
            (&[("FOREIGN_KEY_MODE", "x")], "FOREIGN_KEY_MODE"),
        ] {
            let error = read(pairs).unwrap_err();
            assert!(error.contains(part), "{pairs:?}: {error}");
        }
    }
}
