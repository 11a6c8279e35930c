//! Comments that a server runs or skips by its version: `/*!50000 ... */`, `/*M!100100 ... */`.
//!
//! They are resolved before a statement is planned, to blanks of the same length, so that every
//! place stays where it is.
use super::lex::{Lexer, SqlMode, Tok};

/// Which server reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Else it is MySQL, or one that calls itself so.
    pub is_mariadb: bool,
    /// As comments write it: 90704 is MySQL 9.7.4, 101119 is MariaDB 10.11.19.
    pub version: u32,
}

/// MariaDB skips comments for MySQL from here on, as it goes its own way since.
const MYSQL_ONLY: std::ops::RangeInclusive<u32> = 50_700..=99_999;

impl Server {
    /// Reads what a server says in its greeting: `9.7.4`, `5.5.5-10.11.19-MariaDB-log`.
    pub fn parse(version: &str) -> Option<Self> {
        let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
        let bare =
            if is_mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
        let mut parts = bare
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse::<u32>().ok());
        let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
        let version = major.checked_mul(10_000)?.checked_add(minor * 100)? + patch.min(99);
        Some(Self { is_mariadb, version })
    }

    fn runs(self, comment: &[u8]) -> Option<usize> {
        let of_mariadb = matches!(comment.get(2), Some(b'M' | b'm'));
        if of_mariadb && !self.is_mariadb {
            return None;
        }
        let head = if of_mariadb { 4 } else { 3 };
        let digits: Vec<u32> = comment
            .get(head..)
            .unwrap_or_default()
            .iter()
            .take(6)
            .map_while(|b| char::from(*b).to_digit(10))
            .collect();
        // Fewer digits are part of the statement.
        if digits.len() < 5 {
            return Some(head);
        }
        let version = digits.iter().fold(0, |v, d| v * 10 + d);
        let wanted = version <= self.version
            && (!self.is_mariadb || of_mariadb || !MYSQL_ONLY.contains(&version));
        wanted.then_some(head + digits.len())
    }
}

/// Can a text have such comments?
pub fn may_have(sql: &[u8]) -> bool {
    memchr::memmem::find(sql, b"/*!").is_some()
        || memchr::memmem::find(sql, b"/*M!").is_some()
        || memchr::memmem::find(sql, b"/*m!").is_some()
}

/// The text with its version comments resolved: what the server runs stands there as it is, the
/// rest is blank. A text that cannot be read is left as it is from there on.
pub fn resolve(sql: &[u8], mode: SqlMode, server: Server) -> Vec<u8> {
    let mut out = sql.to_vec();
    let mut at = 0;
    while let Some(open) = find(&out, mode, at, Tok::VersionOpen) {
        let comment = out.get(open..).unwrap_or_default();
        at = match server.runs(comment) {
            Some(head) => {
                let close = find(&out, mode, open, Tok::VersionClose);
                blank(&mut out, open, open + head);
                if let Some(close) = close {
                    blank(&mut out, close, close + 2);
                }
                open + head
            }
            None => {
                let end = end_of_skipped(&out, open + 2);
                blank(&mut out, open, end);
                end
            }
        };
    }
    // A statement of skipped comments alone is no empty query (1065), as one of ordinary comments.
    let is_empty = out
        .iter()
        .find(|b| !b.is_ascii_whitespace())
        .is_none_or(|b| *b == b';');
    if is_empty
        && sql.starts_with(b"/*")
        && let Some(first) = out.first_chunk_mut()
    {
        *first = *b"/**/";
    }
    out
}

/// Where the next token of a kind stands.
fn find(sql: &[u8], mode: SqlMode, from: usize, wanted: Tok) -> Option<usize> {
    let mut lexer = Lexer::new(sql, mode);
    lexer.seek(from);
    loop {
        let token = lexer.next_token().ok()?;
        match token.tok {
            tok if tok == wanted => return Some(token.start as usize),
            Tok::End if token.start as usize >= sql.len() => return None,
            Tok::End => lexer.seek(token.start as usize + 1),
            _ => {}
        }
    }
}

/// The end of a comment that is skipped; plain comments may stand in it.
fn end_of_skipped(sql: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut inner = false;
    while let Some(pair) = sql.get(at..at + 2) {
        match pair {
            b"*/" if inner => {
                inner = false;
                at += 2;
            }
            b"*/" => return at + 2,
            b"/*" if !inner => {
                inner = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    sql.len()
}

fn blank(text: &mut [u8], from: usize, to: usize) {
    for byte in text.get_mut(from..to).unwrap_or_default() {
        // Lines are counted in messages.
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: Server = Server { is_mariadb: true, version: 101_119 };
    const MYSQL: Server = Server { is_mariadb: false, version: 90_704 };

    #[test]
    fn greetings_are_read() {
        assert_eq!(Server::parse("5.5.5-10.11.19-MariaDB-0+deb12u1-log"), Some(MARIADB));
        assert_eq!(Server::parse("10.11.19-MariaDB"), Some(MARIADB));
        assert_eq!(Server::parse("9.7.4-2"), Some(MYSQL));
        assert_eq!(Server::parse("8.0.40-coregate").map(|s| s.version), Some(80_040));
        assert_eq!(Server::parse("unknown"), None);
    }

    #[test]
    fn comments_are_resolved_by_the_version() {
        for (sql, on_mariadb, on_mysql) in [
            ("/*!40101 SET a = 1 */", " SET a = 1 ", " SET a = 1 "),
            ("select 1 /*!50708 + 1 */", "select 1 ", "select 1 + 1 "),
            ("select 1 /*!99999 + 1 */", "select 1 ", "select 1 "),
            ("select 1 /*!+ 1 */", "select 1 + 1 ", "select 1 + 1 "),
            ("select 1 /*!9 */", "select 1 9 ", "select 1 9 "),
            ("select 1 /*M!100100 + 1 */", "select 1 + 1 ", "select 1 "),
            ("/*M!999999\\- enable the sandbox mode */ x", " x", " x"),
            ("/*!99999 it's /* a */ ' */ x", " x", " x"),
            ("'/*!40101 a */'", "'/*!40101 a */'", "'/*!40101 a */'"),
            ("-- /*!40101 a\nb", "-- /*!40101 a\nb", "-- /*!40101 a\nb"),
            ("/*!40000 a */ /*!40000 b */;", " a b ;", " a b ;"),
            (
                "/*!50003 CREATE*/ /*!50020 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEGIN a; b; END \
                    */;c",
                " CREATE DEFINER=`a`@`b` TRIGGER t BEGIN a; b; END ;c",
                " CREATE DEFINER=`a`@`b` TRIGGER t BEGIN a; b; END ;c",
            ),
            ("/*!99999 SET a = 1 */", "/**/", "/**/"),
            ("/*!99999 SET a = 1 */; b", "/**/ ; b", "/**/ ; b"),
            ("/*!40000 a '*/' b", " a '*/' b", " a '*/' b"),
        ] {
            for (server, wanted) in [(MARIADB, on_mariadb), (MYSQL, on_mysql)] {
                let got = resolve(sql.as_bytes(), SqlMode::empty(), server);
                assert_eq!(got.len(), sql.len(), "{sql}");
                let squeezed = |text: &str| {
                    text.split(' ')
                        .filter(|w| !w.is_empty())
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                let got = String::from_utf8_lossy(&got);
                assert_eq!(squeezed(&got), squeezed(wanted), "{sql} {server:?}");
            }
        }
    }
}
