//! The names that a statement mentions, as hashes: with them one sees whether it can have run a
//! stored routine, a trigger or a view of those that leave something behind on their connection.
use crate::sql::input::Tokens;
use crate::sql::lex::Tok;

/// Stands for a name that is read differently in different character sets or quotings: it may be
/// any.
pub const ANY: u64 = 0;
/// Names of one statement that are told apart; more are [`ANY`].
const NAMES_MAX: usize = 4096;

/// A name's hash, the same everywhere (FNV-1a), whatever the case of its letters.
pub fn hash(name: &[u8]) -> u64 {
    let odd = |b: &u8| !b.is_ascii() || matches!(b, b'`' | b'"' | b'\\');
    if name.iter().any(odd) {
        return ANY;
    }
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(b.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Of a name with a point behind it.
pub fn qualifier(name: &[u8]) -> u64 {
    match hash(name) {
        ANY => ANY,
        hash => hash.rotate_left(32) ^ u64::from(b'.'),
    }
}

/// All words of a statement, sorted, those with a point behind them also as [`qualifier`]s; a table
/// that stands for another is in `tables`.
pub(crate) fn names(sql: &[u8], tokens: &Tokens<'_>, tables: &[String]) -> Vec<u64> {
    let bare = |item: &crate::sql::input::Item| {
        let text = sql
            .get(item.span.start as usize..item.span.end as usize)
            .unwrap_or_default();
        match item.tok {
            Tok::Word => Some(text),
            Tok::Quoted => text.get(1..text.len().saturating_sub(1)),
            _ => None,
        }
    };
    let mut names: Vec<u64> = tokens.items.iter().filter_map(bare).map(hash).collect();
    let pairs = tokens.items.windows(2);
    let qualified = pairs.filter_map(|pair| match pair {
        [name, point] if point.tok == Tok::Dot => bare(name),
        _ => None,
    });
    names.extend(qualified.map(qualifier));
    names.extend(
        tables
            .iter()
            .map(|t| hash(t.rsplit('.').next().unwrap_or_default().as_bytes())),
    );
    names.sort_unstable();
    names.dedup();
    if names.len() > NAMES_MAX {
        return vec![ANY];
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_doubt_is_any() {
        assert_eq!(hash(b"Orders"), hash(b"ORDERS"));
        assert_ne!(hash(b"orders"), hash(b"order"));
        assert_eq!((hash(b"\xe9t\xe9"), hash(b"a``b")), (ANY, ANY));
    }
}
