//! Character sets, as far as a vindex must know them: rows are placed by text in UTF-8, whatever a
//! session or a column uses. That is what Vitess does, whose clients all speak utf8mb4.
mod holds;

pub use holds::Holds;

/// A character set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// utf8mb4, utf8mb3, ascii.
    #[default]
    Utf8,
    /// Bytes that are no text.
    Binary,
    /// One byte a character; which one of [`SETS`].
    Single(u8),
    /// Several bytes a character, all of them above 0x7f; not converted.
    Multi,
    /// As `Multi`, but the later bytes of a character may be `\` or a backtick.
    Ambiguous,
    /// Bytes below 0x80 are not ASCII.
    Foreign,
}

/// The order of single.bin.
const SETS: [&str; 23] = [
    "armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
    "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5",
    "latin7", "macce", "macroman", "tis620",
];

/// For each set, the code points of 0x80 to 0xff as little-endian u16; 0 where there is none. Made
/// by charset/generate.py.
static SINGLE: &[u8; SETS.len() * 256] = include_bytes!("charset/single.bin");

/// Those of MySQL and MariaDB that are not in [`SETS`].
const OTHERS: [&str; 19] = [
    "ascii", "big5", "binary", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis",
    "swe7", "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
];

/// Is there a character set of this name?
pub(crate) fn is_known(name: &[u8]) -> bool {
    let is = |set: &&str| set.as_bytes().eq_ignore_ascii_case(name);
    SETS.iter().chain(&OTHERS).any(is)
}

impl Charset {
    /// By MySQL's name; a name that is not known is a set that is not converted.
    pub fn by_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Self::Utf8,
            "binary" => Self::Binary,
            "euckr" | "gb2312" | "ujis" | "eucjpms" => Self::Multi,
            "big5" | "cp932" | "gb18030" | "gbk" | "sjis" => Self::Ambiguous,
            _ => SETS
                .iter()
                .position(|set| *set == name)
                .map_or(Self::Foreign, |n| Self::Single(n as u8)),
        }
    }

    /// A collation's name begins with its character set's.
    pub fn of_collation(collation: &str) -> Self {
        Self::by_name(collation.split('_').next().unwrap_or_default())
    }

    /// Do all bytes of a character lie outside of ASCII, unless it is one of ASCII's own?
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Utf8 | Self::Binary | Self::Single(_) | Self::Multi)
    }

    fn has_ascii(self) -> bool {
        self != Self::Foreign
    }

    /// Text in UTF-8; `None` where that cannot be told.
    fn to_utf8<'a>(self, text: &'a [u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match self {
            Self::Utf8 | Self::Binary => Some(text),
            _ if self.has_ascii() && text.is_ascii() => Some(text),
            Self::Single(set) => {
                let table = SINGLE.get(usize::from(set) * 256..)?;
                out.clear();
                for &byte in text {
                    let point = match byte {
                        0..0x80 => u32::from(byte),
                        _ => {
                            let at = usize::from(byte - 0x80) * 2;
                            u32::from(u16::from_le_bytes([*table.get(at)?, *table.get(at + 1)?]))
                        }
                    };
                    let character = char::from_u32(point).filter(|_| point != 0 || byte == 0)?;
                    let mut buffer = [0; 4];
                    out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                Some(out)
            }
            Self::Multi | Self::Ambiguous | Self::Foreign => None,
        }
    }
}

/// The character sets of a session's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charsets {
    /// `character_set_client`: in which statements are written.
    pub client: Charset,
    /// `character_set_connection`: to which their strings are converted.
    pub connection: Charset,
}

impl Charsets {
    /// The session that nearly everybody has: nothing is ever converted.
    #[inline]
    pub(crate) fn are_utf8(self) -> bool {
        self == Self::default()
    }

    /// Text as a column of text holds it, in UTF-8.
    pub(crate) fn as_text<'a>(self, text: &'a [u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let plain = self.client.has_ascii() && self.connection.has_ascii() && text.is_ascii();
        // In between, characters may be lost.
        let whole = self.connection == Charset::Utf8 || self.connection == self.client;
        if plain { Some(text) } else { self.client.to_utf8(text, out).filter(|_| whole) }
    }

    /// Text as a column of bytes holds it.
    pub(crate) fn as_bytes<'a>(self, text: &'a [u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match self.connection {
            connection if connection == self.client => Some(text),
            Charset::Utf8 => self.client.to_utf8(text, out),
            _ => Some(text)
                .filter(|t| self.client.has_ascii() && self.connection.has_ascii() && t.is_ascii()),
        }
    }

    /// Could the server read this text otherwise than the lexer does, which goes by bytes?
    pub fn is_ambiguous(self, sql: &[u8]) -> bool {
        self.client == Charset::Ambiguous
            && sql
                .windows(2)
                .any(|pair| pair[0] >= 0x80 && matches!(pair[1], b'\\' | b'`'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf8(name: &str, text: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        let text = Charset::by_name(name).to_utf8(text, &mut out)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    #[test]
    fn text_becomes_utf8() {
        assert_eq!(utf8("latin1", b"caf\xe9 \x80").as_deref(), Some("café €"));
        assert_eq!(utf8("cp1251", b"\xc4\xe0").as_deref(), Some("Да"));
        assert_eq!(utf8("KOI8R", b"\xe4\xc1").as_deref(), Some("Да"));
        assert_eq!(utf8("latin2", b"\xb3").as_deref(), Some("ł"));
        assert_eq!(utf8("tis620", b"\xa1").as_deref(), Some("ก"));
        assert_eq!(utf8("utf8mb4", "é".as_bytes()).as_deref(), Some("é"));
        assert_eq!(utf8("gbk", b"ascii").as_deref(), Some("ascii"));
        // No character: hebrew has none at 0xa1.
        for (set, text) in [
            ("gbk", &b"\xd6\xd0"[..]),
            ("hebrew", b"\xa1"),
            ("swe7", b"a"),
            ("utf16", b"a"),
            ("?", b"a"),
        ] {
            assert_eq!(utf8(set, text), None, "{set}");
        }
    }

    #[test]
    fn strings_pass_through_the_connection_s_set() {
        let charsets = |client: &str, connection: &str| Charsets {
            client: Charset::by_name(client),
            connection: Charset::by_name(connection),
        };
        let mut out = Vec::new();
        assert_eq!(charsets("latin1", "latin1").as_text(b"\xe9", &mut out), Some("é".as_bytes()));
        assert_eq!(charsets("latin1", "utf8mb4").as_text(b"\xe9", &mut out), Some("é".as_bytes()));
        assert_eq!(charsets("utf8mb4", "latin1").as_text("日".as_bytes(), &mut out), None);
        assert_eq!(charsets("utf8mb4", "latin1").as_text(b"a", &mut out), Some(&b"a"[..]));
        assert_eq!(charsets("latin1", "latin1").as_bytes(b"\xe9", &mut out), Some(&b"\xe9"[..]));
        assert_eq!(charsets("latin1", "utf8mb4").as_bytes(b"\xe9", &mut out), Some("é".as_bytes()));
        assert_eq!(charsets("utf8mb4", "latin1").as_bytes("é".as_bytes(), &mut out), None);
    }

    #[test]
    fn a_backslash_may_be_half_of_a_character() {
        let session = |name: &str| Charsets {
            client: Charset::by_name(name),
            connection: Charset::by_name(name),
        };
        assert!(session("gbk").is_ambiguous(b"select '\xbf\\'"));
        assert!(
            !session("latin1").is_ambiguous(b"select '\xbf\\'")
                && !session("gbk").is_ambiguous(b"'a\\n'")
        );
    }
}
