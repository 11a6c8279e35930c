//! `mysql://user:password@host:port[/database][?pid=PID]`: where load goes.
use crate::mysql_url::MysqlUrl;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// The database that is used when none is named.
pub(crate) const DATABASE: &str = "coregate_bench";

/// How an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) address: Address,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    /// The processes whose CPU and memory count, together.
    pub(crate) pids: Vec<u32>,
    /// The tables get a vindex when they are made.
    pub(crate) sharded: bool,
}

/// An endpoint with a name for tables.
#[derive(Debug, Clone)]
pub struct Named {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
}

impl fmt::Display for Endpoint {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = MysqlUrl::parse(text)?;
        let (mut pids, mut socket, mut sharded) = (Vec::new(), None, false);
        for (key, value) in url.parameters {
            match key.as_str() {
                "pid" => {
                    let each = value.split(',').map(str::parse);
                    let wrong = |_| {
                        format!("pid is {value:?}, it must be a number, or several with commas")
                    };
                    pids = each.collect::<Result<_, _>>().map_err(wrong)?;
                }
                "socket" => socket = Some(PathBuf::from(value)),
                "sharded" => sharded = matches!(value.as_str(), "1" | "true"),
                other => {
                    return Err(format!(
                        "the parameter {other:?} is not known; there are pid, socket and sharded"
                    ));
                }
            }
        }
        let address = match socket {
            Some(path) => Address::Unix(path),
            None => {
                let host = url.host.trim_start_matches('[').trim_end_matches(']');
                let mut found = (host, url.port)
                    .to_socket_addrs()
                    .map_err(|e| format!("{host}: {e}"))?;
                Address::Tcp(found.next().ok_or("the host has no address")?)
            }
        };
        let database = if url.path.is_empty() { DATABASE.to_owned() } else { url.path };
        Ok(Self { address, user: url.user, password: url.password, database, pids, sharded })
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text
            .split_once('=')
            .filter(|(name, _)| !name.contains(':'))
            .ok_or("write NAME=mysql://...")?;
        Ok(Self { name: name.to_owned(), endpoint: url.parse()? })
    }
}

impl Endpoint {
    /// A server that only this harness knows.
    pub(crate) fn own(address: SocketAddr, user: &str, password: &str, pid: u32) -> Self {
        let (user, password, database) =
            (user.to_owned(), password.to_owned(), DATABASE.to_owned());
        Self {
            address: Address::Tcp(address),
            user,
            password,
            database,
            pids: vec![pid],
            sharded: false,
        }
    }

    /// The same server behind a proxy.
    pub(crate) fn behind(&self, address: SocketAddr, pid: u32) -> Self {
        Self { address: Address::Tcp(address), pids: vec![pid], ..self.clone() }
    }

    /// For `--upstream`, which takes no database.
    pub(crate) fn url(&self) -> String {
        let who = format!("{}:{}", percent_encode(&self.user), percent_encode(&self.password));
        match &self.address {
            Address::Tcp(address) => format!("mysql://{who}@{address}"),
            Address::Unix(path) => {
                format!(
                    "mysql://{who}@localhost?socket={}",
                    percent_encode(&path.to_string_lossy())
                )
            }
        }
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let e: Endpoint = "mysql://a%40b:p%3A@127.0.0.1:3310/db?pid=7,8"
            .parse()
            .unwrap();
        assert_eq!(
            (e.user.as_str(), e.password.as_str(), e.database.as_str()),
            ("a@b", "p:", "db")
        );
        assert_eq!(
            (e.to_string().as_str(), e.pids.as_slice()),
            ("127.0.0.1:3310", [7, 8].as_slice())
        );
        assert_eq!(e.url(), "mysql://a%40b:p%3A@127.0.0.1:3310");
        let e: Endpoint = "mysql://root@127.0.0.1".parse().unwrap();
        assert_eq!((e.to_string().as_str(), e.database.as_str()), ("127.0.0.1:3306", DATABASE));
        assert!(e.pids.is_empty() && !e.sharded);
        let e: Endpoint = "mysql://root@localhost/x?socket=/run/my.sock&sharded=1"
            .parse()
            .unwrap();
        assert_eq!(e.address, Address::Unix(PathBuf::from("/run/my.sock")));
        assert!(
            e.sharded && e.url() == "mysql://root:@localhost?socket=%2Frun%2Fmy%2Esock",
            "{}",
            e.url()
        );
        for wrong in [
            "",
            "http://h",
            "mysql://u@h:1?pid=x",
            "mysql://u@127.0.0.1?x=1",
            "mysql://u:%zz@127.0.0.1",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        assert!("x".parse::<Named>().is_err() && "mysql://u@h?pid=1".parse::<Named>().is_err());
    }
}
