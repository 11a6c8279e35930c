//! `mysql://user:password@host:port[/database][?pid=PID]`: where load goes.
use crate::mysql_url::MysqlUrl;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The database that is used when none is named.
const DATABASE: &str = "coregate_bench";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    /// The process whose CPU counts.
    pub(crate) pid: Option<u32>,
}

/// An endpoint with a name for tables.
#[derive(Debug, Clone)]
pub struct Named {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = MysqlUrl::parse(text)?;
        let host = url.host.trim_start_matches('[').trim_end_matches(']');
        let address = (host, url.port)
            .to_socket_addrs()
            .map_err(|e| format!("{host}: {e}"))?
            .next()
            .ok_or("the host has no address")?;
        let mut pid = None;
        for (key, value) in url.parameters {
            let parsed = value
                .parse()
                .map_err(|_| format!("pid is {value:?}, it must be a number"));
            match key.as_str() {
                "pid" => pid = Some(parsed?),
                other => return Err(format!("the parameter {other:?} is not known; there is pid")),
            }
        }
        let database = if url.path.is_empty() { DATABASE.to_owned() } else { url.path };
        Ok(Self { address, user: url.user, password: url.password, database, pid })
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("write NAME=mysql://...")?;
        Ok(Self { name: name.to_owned(), endpoint: url.parse()? })
    }
}

impl Endpoint {
    /// A server that only this harness knows.
    pub(crate) fn own(address: SocketAddr, user: &str, pid: u32) -> Self {
        let (user, database) = (user.to_owned(), DATABASE.to_owned());
        Self { address, user, password: String::new(), database, pid: Some(pid) }
    }

    /// The same server behind a proxy.
    pub(crate) fn behind(&self, address: SocketAddr, pid: u32) -> Self {
        Self { address, pid: Some(pid), ..self.clone() }
    }

    /// For `--upstream`, which takes no database.
    pub(crate) fn url(&self) -> String {
        let Self { address, user, password, .. } = self;
        format!("mysql://{}:{}@{address}", percent_encode(user), percent_encode(password))
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let e: Endpoint = "mysql://a%40b:p%3A@127.0.0.1:3310/db?pid=7"
            .parse()
            .unwrap();
        assert_eq!((e.user.as_str(), e.password.as_str(), e.database.as_str()), ("a@b", "p:", "db"));
        assert_eq!((e.address.port(), e.pid), (3310, Some(7)));
        assert_eq!(e.url(), "mysql://a%40b:p%3A@127.0.0.1:3310");
        let e: Endpoint = "mysql://root@127.0.0.1".parse().unwrap();
        assert_eq!((e.address.port(), e.database.as_str(), e.pid), (3306, DATABASE, None));
        for wrong in
            ["", "http://h", "mysql://u@h:1?pid=x", "mysql://u@127.0.0.1?x=1", "mysql://u:%zz@127.0.0.1"]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        assert!("x".parse::<Named>().is_err());
    }
}
