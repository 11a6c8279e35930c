//! The characters that a column of text can hold: in others a server stores a question mark, unless
//! its mode is strict.
use super::{Charset, SINGLE};

/// ASCII that swe7 has other letters for.
const NOT_SWE7: &[u8] = b"@[\\]^`{|}~";

/// Which characters a column's character set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The column's character set is not known.
    Anything,
    /// utf8mb4, and the other forms of all of Unicode that ASCII is no part of.
    Unicode {
        /// It is utf8mb4, whose first 128 characters are ASCII's bytes.
        ascii: bool,
    },
    /// utf8mb3, and ucs2: no character above U+FFFF.
    Basic {
        /// It is utf8mb3.
        ascii: bool,
    },
    /// ascii
    Ascii,
    /// swe7: ASCII with Swedish letters in place of some signs.
    Swe7,
    /// Any other: latin1, gbk.
    Set(Charset),
}

impl Holds {
    /// A collation's name begins with its character set's.
    pub(crate) fn of_collation(collation: Option<&str>) -> Self {
        let Some(collation) = collation else { return Self::Anything };
        let name = collation.split('_').next().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "utf8mb4" => Self::Unicode { ascii: true },
            "utf8mb3" | "utf8" => Self::Basic { ascii: true },
            "ucs2" => Self::Basic { ascii: false },
            "utf16" | "utf16le" | "utf32" => Self::Unicode { ascii: false },
            "ascii" => Self::Ascii,
            "swe7" => Self::Swe7,
            other => Self::Set(Charset::by_name(other)),
        }
    }

    /// Are bytes that are given to the column text in UTF-8? `None`: not even those of ASCII stand
    /// for themselves.
    pub(crate) fn bytes_are_utf8(self) -> Option<bool> {
        match self {
            Self::Anything
            | Self::Unicode { ascii: true }
            | Self::Basic { ascii: true }
            | Self::Ascii => Some(true),
            Self::Unicode { .. }
            | Self::Basic { .. }
            | Self::Swe7
            | Self::Set(Charset::Foreign) => None,
            Self::Set(_) => Some(false),
        }
    }

    /// Has the column every character of a text in UTF-8? `None` where that is not known: of sets
    /// of several bytes a character.
    pub(crate) fn all_of(self, text: &[u8]) -> Option<bool> {
        match self {
            Self::Anything => return Some(true),
            Self::Swe7 => {
                return Some(text.is_ascii() && !text.iter().any(|b| NOT_SWE7.contains(b)));
            }
            _ if text.is_ascii() => return Some(true),
            _ => {}
        }
        let Ok(text) = std::str::from_utf8(text) else { return Some(false) };
        match self {
            Self::Basic { .. } => Some(text.chars().all(|c| c <= '\u{ffff}')),
            Self::Ascii => Some(false),
            Self::Set(Charset::Single(set)) => Some(text.chars().all(|c| has(set, c))),
            Self::Set(_) => None,
            Self::Anything | Self::Unicode { .. } | Self::Swe7 => Some(true),
        }
    }
}

/// Has a set of one byte a character this one?
fn has(set: u8, character: char) -> bool {
    let points = SINGLE
        .get(usize::from(set) * 256..)
        .and_then(|rest| rest.get(..256))
        .unwrap_or_default();
    let mut points = points
        .chunks_exact(2)
        .map(|p| u32::from(p[0]) | u32::from(p[1]) << 8);
    character.is_ascii() || points.any(|point| point == u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_characters_of_its_set() {
        for (collation, text, has) in [
            ("latin1_bin", "é", Some(true)),
            ("latin1_bin", "日本", Some(false)),
            ("ascii_bin", "é", Some(false)),
            ("ascii_bin", "e", Some(true)),
            ("utf8mb3_bin", "日本", Some(true)),
            ("utf8mb3_bin", "😀", Some(false)),
            ("utf8mb4_bin", "😀", Some(true)),
            ("ucs2_bin", "😀", Some(false)),
            ("swe7_bin", "[", Some(false)),
            ("koi8r_bin", "Да", Some(true)),
            ("gbk_bin", "日", None),
            ("gbk_bin", "a", Some(true)),
        ] {
            assert_eq!(
                Holds::of_collation(Some(collation)).all_of(text.as_bytes()),
                has,
                "{collation} {text}"
            );
        }
        assert_eq!(Holds::of_collation(Some("utf8mb4_bin")).all_of(b"\xff"), Some(false));
        assert_eq!(Holds::of_collation(Some("ucs2_bin")).bytes_are_utf8(), None);
        assert_eq!(Holds::of_collation(Some("latin1_bin")).bytes_are_utf8(), Some(false));
    }
}
