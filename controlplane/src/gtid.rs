//! Positions in MariaDB's history: `0-100-25,1-101-7` is, for each domain, the server and the number of the last transaction.
use std::collections::BTreeMap;
use std::fmt;

/// By domain: server id and sequence number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(BTreeMap<u32, (u32, u64)>);

impl Position {
    /// `None`: this is no position of MariaDB's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let one = |part: &str| {
            let mut numbers = part.trim().split('-');
            let domain = numbers.next()?.parse().ok()?;
            let server = numbers.next()?.parse().ok()?;
            let seq = numbers.next()?.parse().ok()?;
            numbers.next().is_none().then_some((domain, (server, seq)))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(one).collect::<Option<_>>().map(Self)
    }

    /// Whoever is here has all that one at `other` has, as long as both have the same history.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(domain, (_, seq))| self.0.get(domain).is_some_and(|(_, own)| own >= seq))
    }

    /// The later of both, in each domain.
    pub(crate) fn merge(&mut self, other: &Self) {
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
        for (n, (domain, (server, seq))) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{domain}-{server}-{seq}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_compare_by_domain() {
        let at = |text: &str| Position::parse(text).unwrap();
        assert_eq!(at("0-100-25, 1-101-7").to_string(), "0-100-25,1-101-7");
        assert_eq!(at(""), Position::default());
        for wrong in ["x", "0-1", "0-1-2-3", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5"] {
            assert_eq!(Position::parse(wrong), None, "{wrong}");
        }
        assert!(at("0-101-26").covers(&at("0-100-25")) && !at("0-100-25").covers(&at("0-101-26")));
        assert!(!at("0-100-25").covers(&at("1-1-1")) && at("0-1-1").covers(&at("")));
        let mut merged = at("0-1-5,1-1-9");
        merged.merge(&at("0-2-7,1-2-8,2-1-1"));
        assert_eq!(merged, at("0-2-7,1-1-9,2-1-1"));
    }
}
