//! Collation ids, and the character sets behind them.
//!
//! <https://dev.mysql.com/doc/refman/8.4/en/charset-charsets.html>,
//! <https://mariadb.com/kb/en/supported-character-sets-and-collations/>

mod table;

use table::{CHARSETS, COLLATIONS};

/// Name, bytes per character at most, default collation of MySQL and of MariaDB.
type CharsetRow = (&'static str, u8, u16, u16);

/// Which family a server belongs to: defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// MariaDB. Its own defaults can be changed by `character_set_collations`, and are others from
    /// 11.5 on.
    MariaDb,
    /// MySQL 8 and later.
    MySql,
}

/// `utf8mb4_general_ci`, which every server since 5.5 has.
pub const UTF8MB4_GENERAL_CI: u16 = 45;
/// `utf8mb4_0900_ai_ci`, MySQL 8's default.
pub const UTF8MB4_0900_AI_CI: u16 = 255;
/// `binary`.
pub const BINARY: u16 = 63;

/// Ids that MySQL alone has: `utf8mb3_tolower_ci`, gb18030 and UCA 9.0.0.
const MYSQL_TOLOWER: u16 = 76;
const MYSQL_OWN: std::ops::RangeInclusive<u16> = 248..=323;

/// A character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset {
    row: &'static CharsetRow,
}

impl Charset {
    /// The character set of this name, as `utf8mb4`; `utf8` is `utf8mb3`. Letter case does not
    /// matter.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("utf8") { "utf8mb3" } else { name };
        CHARSETS
            .iter()
            .find(|row| row.0.eq_ignore_ascii_case(name))
            .map(|row| Self { row })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row.0
    }

    /// Bytes that a character takes at most.
    pub fn bytes_per_char_max(self) -> u8 {
        self.row.1
    }

    /// Its default collation; `None` if servers of this kind have not got it.
    pub fn default_collation(self, flavor: Flavor) -> Option<u16> {
        let id = match flavor {
            Flavor::MySql => self.row.2,
            Flavor::MariaDb => self.row.3,
        };
        (id != 0).then_some(id)
    }

    /// Whether statements in it can be read byte by byte as if they were ASCII: whether a byte
    /// below 0x80 is always the character that ASCII has there. Otherwise a quote or a backslash
    /// may be half of another character.
    pub fn is_ascii_safe(self) -> bool {
        !matches!(
            self.row.0,
            "big5"
                | "cp932"
                | "gb18030"
                | "gbk"
                | "sjis"
                | "ucs2"
                | "utf16"
                | "utf16le"
                | "utf32"
                | "swe7"
        )
    }

    /// Whether a client may have it as `character_set_client`: no server allows the wide ones
    /// there.
    pub fn is_client_charset(self) -> bool {
        !matches!(self.row.0, "ucs2" | "utf16" | "utf16le" | "utf32")
    }
}

/// A collation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collation {
    id: u16,
    charset: Charset,
    suffix: &'static str,
}

impl Collation {
    /// The collation of this id, of either family.
    pub fn by_id(id: u16) -> Option<Self> {
        let at = COLLATIONS.binary_search_by_key(&id, |row| row.0).ok()?;
        COLLATIONS.get(at).and_then(Self::from_row)
    }

    /// The collation that servers of this kind have under this name. Letter case does not matter,
    /// and `utf8_` stands for `utf8mb3_`.
    pub fn by_name(name: &str, flavor: Flavor) -> Option<Self> {
        let old = name
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("utf8_"));
        let rest = if old { name.get(5..) } else { None };
        let wanted = match rest {
            Some(rest) => format!("utf8mb3_{rest}"),
            None => name.to_owned(),
        };
        COLLATIONS
            .iter()
            .filter_map(Self::from_row)
            .find(|own| own.exists_in(flavor) && own.name(flavor).eq_ignore_ascii_case(&wanted))
    }

    /// Whether servers of this kind have it.
    pub fn exists_in(self, flavor: Flavor) -> bool {
        let only_mysql = self.id == MYSQL_TOLOWER || MYSQL_OWN.contains(&self.id);
        match flavor {
            Flavor::MariaDb => !only_mysql,
            Flavor::MySql => self.id <= *MYSQL_OWN.end(),
        }
    }

    fn from_row(&(id, charset, suffix): &(u16, u8, &'static str)) -> Option<Self> {
        let row = CHARSETS.get(usize::from(charset))?;
        Some(Self { id, charset: Charset { row }, suffix })
    }

    /// Its id.
    pub fn id(self) -> u16 {
        self.id
    }

    /// Its character set.
    pub fn charset(self) -> Charset {
        self.charset
    }

    /// Its name. MariaDB has collations of its own under the names of MySQL's Croatian ones, and
    /// renamed those.
    pub fn name(self, flavor: Flavor) -> String {
        let suffix = match flavor {
            Flavor::MariaDb => self.suffix,
            Flavor::MySql if self.suffix == "_croatian_mysql561_ci" => "_croatian_ci",
            Flavor::MySql => self.suffix,
        };
        format!("{}{suffix}", self.charset.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::collations::{Collation as Oracle, CollationId};

    #[test]
    fn agrees_with_the_oracle() {
        let mut seen = 0;
        for id in 1..1000u16 {
            let oracle = Oracle::resolve(CollationId::from(id));
            if oracle.id() == CollationId::UNKNOWN_COLLATION_ID {
                continue;
            }
            let Some(ours) = Collation::by_id(id) else {
                panic!("{id} {} is missing", oracle.collation())
            };
            let modern = |name: &str| match name.strip_prefix("utf8") {
                Some("") => "utf8mb3".to_owned(),
                Some(rest) if rest.starts_with('_') => format!("utf8mb3{rest}"),
                _ => name.to_owned(),
            };
            assert_eq!(ours.name(Flavor::MySql), modern(oracle.collation()), "{id}");
            assert_eq!(ours.charset().name(), modern(oracle.charset()));
            assert_eq!(ours.charset().bytes_per_char_max(), oracle.max_len(), "{id}");
            let default = ours.charset().default_collation(Flavor::MySql) == Some(id);
            assert_eq!(default, oracle.is_default(), "{id}");
            seen += 1;
        }
        assert!(seen > 250, "{seen}");
    }

    #[test]
    fn names_lead_back_to_ids() {
        for row in &COLLATIONS {
            let collation = Collation::from_row(row).unwrap();
            for flavor in [Flavor::MySql, Flavor::MariaDb] {
                let name = collation.name(flavor).to_uppercase();
                if collation.exists_in(flavor) {
                    assert_eq!(Collation::by_name(&name, flavor), Some(collation));
                }
            }
        }
        let id = |name, flavor| Collation::by_name(name, flavor).map(Collation::id);
        assert_eq!(id("utf8_general_ci", Flavor::MySql), Some(33));
        assert_eq!(id("utf8mb4_croatian_ci", Flavor::MySql), Some(245));
        assert_eq!(id("utf8mb4_croatian_ci", Flavor::MariaDb), Some(608));
        assert_eq!(id("utf8mb3_uca1400_ai_ci", Flavor::MariaDb), Some(2048));
        assert_eq!(id("no_such_ci", Flavor::MariaDb), None);
        assert_eq!(Charset::by_name("UTF8").map(Charset::name), Some("utf8mb3"));
        assert!(COLLATIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn defaults_differ_by_family() {
        let utf8mb4 = Charset::by_name("utf8mb4").unwrap();
        assert_eq!(utf8mb4.default_collation(Flavor::MySql), Some(UTF8MB4_0900_AI_CI));
        assert_eq!(utf8mb4.default_collation(Flavor::MariaDb), Some(UTF8MB4_GENERAL_CI));
        assert!(utf8mb4.is_ascii_safe());
        assert!(!Charset::by_name("gbk").unwrap().is_ascii_safe());
        assert_eq!(
            Charset::by_name("gb18030")
                .unwrap()
                .default_collation(Flavor::MariaDb),
            None
        );
    }
}
