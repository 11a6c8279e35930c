//! Texts for people that quote a client's bytes, which may be in any character set: in a `String`,
//! a byte that is no UTF-8 stands as a character of its own, and becomes that byte again on its way
//! to the client.
use std::borrow::Cow;

/// Characters of the last plane for private use, where nobody writes any.
const FIRST: u32 = 0x10_F700;

fn stand_in(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Bytes as a text.
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    text
}

/// At most so many bytes of them, without a character of which only a part fits.
pub(crate) fn to_short_text(bytes: &[u8], most: usize) -> String {
    let Some(short) = bytes.get(..most).filter(|short| short.len() < bytes.len()) else {
        return to_text(bytes);
    };
    let cut = match std::str::from_utf8(short) {
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        _ => short.len(),
    };
    to_text(short.get(..cut).unwrap_or(short))
}

/// The bytes again.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    let byte = |c: char| u8::try_from(u32::from(c).checked_sub(FIRST)?).ok();
    if !text.chars().any(|c| byte(c).is_some()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in
            [&b"plain"[..], "é 中 \u{1F600}".as_bytes(), b"caf\xE9 \xFF\x80", b"\xC3", &all]
        {
            assert_eq!(&*to_bytes(&to_text(bytes)), bytes);
        }
        assert!(matches!(to_bytes("plain é"), Cow::Borrowed(_)));
    }

    #[test]
    fn characters_are_not_cut() {
        assert_eq!(to_short_text("aéé".as_bytes(), 4), "aé");
        assert_eq!(to_short_text("aéé".as_bytes(), 5), "aéé");
        assert_eq!(to_short_text("aé".as_bytes(), 9), "aé");
        assert_eq!(&*to_bytes(&to_short_text(b"a\xE9b\xE9c", 4)), b"a\xE9b\xE9");
    }
}
