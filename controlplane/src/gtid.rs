//! Positions in a server's history. MariaDB's `0-100-25,1-101-7` is, for each domain, the server
//! and the number of the last transaction; MySQL's is the set of all transactions that it has.
mod sets;

pub(crate) use sets::Set;

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    MariaDb(Domains),
    MySql(Set),
}

/// By domain: server id and sequence number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Domains(BTreeMap<u32, (u32, u64)>);

impl Position {
    /// `None`: this is no position of MariaDB's.
    pub(crate) fn mariadb(text: &str) -> Option<Self> {
        let one = |part: &str| {
            let mut numbers = part.trim().split('-');
            let domain = numbers.next()?.parse().ok()?;
            let server = numbers.next()?.parse().ok()?;
            let seq = numbers.next()?.parse().ok()?;
            numbers.next().is_none().then_some((domain, (server, seq)))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let domains = parts.map(one).collect::<Option<_>>()?;
        Some(Self::MariaDb(Domains(domains)))
    }

    /// `None`: this is no set of MySQL's.
    pub(crate) fn mysql(text: &str) -> Option<Self> {
        Set::parse(text).map(Self::MySql)
    }

    /// Whoever is here has all that one at `other` has, as long as both have the same history.
    /// MySQL's sets tell this for certain.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MariaDb(own), Self::MariaDb(other)) => own.covers(other),
            (Self::MySql(own), Self::MySql(other)) => own.covers(other),
            _ => false,
        }
    }

    /// The later of both, in each domain.
    pub(crate) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::MariaDb(own), Self::MariaDb(other)) => own.merge(other),
            (Self::MySql(own), Self::MySql(other)) => own.merge(other),
            _ => {}
        }
    }

    /// What `self` has and `other` has not; `None`: positions of these servers do not tell.
    pub(crate) fn beyond(&self, other: &Self) -> Option<Set> {
        match (self, other) {
            (Self::MySql(own), Self::MySql(other)) => Some(own.minus(other)),
            _ => None,
        }
    }
}

impl Domains {
    fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(domain, (_, seq))| self.0.get(domain).is_some_and(|(_, own)| own >= seq))
    }

    fn merge(&mut self, other: &Self) {
        for (domain, at) in &other.0 {
            let own = self.0.entry(*domain).or_insert(*at);
            if at.1 > own.1 {
                *own = *at;
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(domains) => {
                for (n, (domain, (server, seq))) in domains.0.iter().enumerate() {
                    let comma = if n > 0 { "," } else { "" };
                    write!(f, "{comma}{domain}-{server}-{seq}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_compare_by_domain() {
        let at = |text: &str| Position::mariadb(text).unwrap();
        assert_eq!(at("0-100-25, 1-101-7").to_string(), "0-100-25,1-101-7");
        assert_eq!(at(""), Position::MariaDb(Domains::default()));
        for wrong in ["x", "0-1", "0-1-2-3", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5"] {
            assert_eq!(Position::mariadb(wrong), None, "{wrong}");
        }
        assert!(at("0-101-26").covers(&at("0-100-25")) && !at("0-100-25").covers(&at("0-101-26")));
        assert!(!at("0-100-25").covers(&at("1-1-1")) && at("0-1-1").covers(&at("")));
        let mut merged = at("0-1-5,1-1-9");
        merged.merge(&at("0-2-7,1-2-8,2-1-1"));
        assert_eq!(merged, at("0-2-7,1-1-9,2-1-1"));
    }

    #[test]
    fn histories_of_different_servers_do_not_compare() {
        let (maria, my) = (
            Position::mariadb("0-1-1").unwrap(),
            Position::mysql("3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5").unwrap(),
        );
        assert!(!maria.covers(&my) && !my.covers(&maria) && maria.beyond(&my).is_none());
        let mut merged = maria.clone();
        merged.merge(&my);
        assert_eq!(merged, maria);
    }
}
