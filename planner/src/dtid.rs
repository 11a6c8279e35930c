//! Names of transactions over several servers that commit on all of them or on none
//! (`transaction_mode = TWOPC`).
//!
//! One participant, the *decider*, commits as usual; the row that its transaction leaves in
//! [`TABLE`] is the decision. All others are XA branches, whose names say which transaction they
//! belong to and who decides: whoever finds a prepared one can finish it.
//! <https://dev.mysql.com/doc/refman/8.4/en/xa-statements.html>
use std::fmt;

/// The decisions of the transactions whose decider is a shard on that server: `(id, decision,
/// made_at)`.
pub const TABLE: &str = "`_coregate`.`transaction`";

/// An empty table: what reads it in a transaction has opened its snapshot.
pub const SNAPSHOT_TABLE: &str = "`_coregate`.`snapshot`";

/// Makes [`TABLE`] and [`SNAPSHOT_TABLE`] where they are missing. The id is the whole of the key,
/// so that a second decision fails.
pub const TABLE_DDL: [&str; 3] = [
    "CREATE DATABASE IF NOT EXISTS `_coregate`",
    "CREATE TABLE IF NOT EXISTS `_coregate`.`transaction` (id VARBINARY(64) NOT NULL PRIMARY KEY, \
     decision ENUM('commit', 'abort') NOT NULL, made_at TIMESTAMP NOT NULL DEFAULT \
     CURRENT_TIMESTAMP) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_coregate`.`snapshot` (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB",
];

/// The format of our XA ids ("CG"): other applications' are left alone.
pub const FORMAT: u32 = 0x4347;

/// The most bytes of an id, which with a branch's number make an XA id's first part (64 bytes at
/// most).
pub(crate) const ID_MAX: usize = 56;

/// One XA branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Branch {
    /// The transaction's id.
    pub id: String,
    /// Counts the branches of a transaction: two of them may lie on one server.
    pub number: u32,
    /// [`decider_key`] of the shard whose server holds the decision.
    pub decider: u64,
}

impl fmt::Display for Branch {
    /// As XA statements take it: `'gtrid','bqual',format`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}.{}','{:016x}',{FORMAT}", self.id, self.number, self.decider)
    }
}

impl Branch {
    /// Reads a row of XA RECOVER. `None`: not one of ours.
    pub fn parse(format: u64, gtrid_len: usize, data: &[u8]) -> Option<Self> {
        if format != u64::from(FORMAT) || gtrid_len > data.len() {
            return None;
        }
        let (gtrid, bqual) = data.split_at(gtrid_len);
        let (id, number) = std::str::from_utf8(gtrid).ok()?.rsplit_once('.')?;
        let decider = std::str::from_utf8(bqual)
            .ok()
            .filter(|key| key.len() == 16)?;
        let known = is_id(id);
        let (number, decider) = (number.parse().ok()?, u64::from_str_radix(decider, 16).ok()?);
        known.then(|| Self { id: id.to_owned(), number, decider })
    }
}

/// Can it be a transaction's id? Such text can stand in a statement as it is.
pub fn is_id(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain && !text.is_empty() && text.len() <= ID_MAX
}

/// A shard as XA ids name it, whose second part takes 64 bytes at most: FNV-1a over
/// `keyspace/shard`, the same in every process.
pub fn decider_key(keyspace: &str, shard: &str) -> u64 {
    let bytes = keyspace.bytes().chain([b'/']).chain(shard.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_read_back_from_what_recover_shows() {
        let branch =
            Branch { id: "18f-2a-0-7".into(), number: 3, decider: decider_key("main", "-80") };
        let sql = branch.to_string();
        let parts: Vec<&str> = sql.split(',').collect();
        let (gtrid, bqual) = (parts[0].trim_matches('\''), parts[1].trim_matches('\''));
        assert!(gtrid.len() <= 64 && bqual.len() <= 64);
        let data = format!("{gtrid}{bqual}");
        assert_eq!(
            Branch::parse(parts[2].parse().unwrap(), gtrid.len(), data.as_bytes()),
            Some(branch)
        );
    }

    #[test]
    fn ids_of_others_are_left_alone() {
        let key = "0123456789abcdef";
        let ours = |gtrid: &str, bqual: &str| {
            Branch::parse(u64::from(FORMAT), gtrid.len(), format!("{gtrid}{bqual}").as_bytes())
        };
        assert!(ours("a-1.0", key).is_some());
        assert!(Branch::parse(1, 5, format!("a-1.0{key}").as_bytes()).is_none());
        assert!(
            ours("a-1", key).is_none() && ours("a'b.1", key).is_none() && ours(".1", key).is_none()
        );
        assert!(ours("a.1", "short").is_none());
        assert!(Branch::parse(u64::from(FORMAT), 99, b"a.1").is_none());
    }

    #[test]
    fn shards_have_keys_of_their_own() {
        assert_ne!(decider_key("a", "b/c"), decider_key("a", "b"));
        assert_ne!(decider_key("main", "-80"), decider_key("main", "80-"));
    }
}
