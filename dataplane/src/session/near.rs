//! Syntax errors in the words of the servers.
use super::Session;
use coregate_planner::raw;

impl Session {
    /// The planner's syntax errors are MySQL's; MariaDB's differ in one word, and show that there
    /// was more.
    pub(super) fn as_the_server(&self, message: &mut String) {
        let is_mariadb = self.core.config().server_version.contains("MariaDB");
        if is_mariadb {
            *message =
                message.replacen("your MySQL server version", "your MariaDB server version", 1);
        }
        const START: &str = " near '";
        let (Some(start), Some(end)) = (message.find(START), message.rfind("' at line ")) else {
            return;
        };
        let near = start + START.len()..end;
        if let Some(short) = message
            .get(near.clone())
            .and_then(|text| shortened(text, is_mariadb))
        {
            message.replace_range(near, &short);
        }
    }
}

/// Bytes of a text that a server shows in a syntax error.
const NEAR_MAX: usize = 80;

/// `None`: it is short enough.
fn shortened(text: &str, is_mariadb: bool) -> Option<String> {
    if raw::to_bytes(text).len() <= NEAR_MAX {
        return None;
    }
    let dots = if is_mariadb { "..." } else { "" };
    let fits = |end: &usize| {
        raw::to_bytes(text.get(..*end).unwrap_or_default()).len() <= NEAR_MAX - dots.len()
    };
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .take_while(fits)
        .last()
        .unwrap_or(0);
    Some(format!("{}{dots}", text.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened(&"a".repeat(80), true), None);
        assert_eq!(shortened(&"a".repeat(81), false), Some("a".repeat(80)));
        assert_eq!(shortened(&"a".repeat(81), true), Some("a".repeat(77) + "..."));
        assert_eq!(
            shortened(&("a".to_owned() + &"é".repeat(60)), false),
            Some("a".to_owned() + &"é".repeat(39))
        );
        assert_eq!(shortened(&"é".repeat(60), true), Some("é".repeat(38) + "..."));
        let odd = raw::to_text(&[0xE9; 90]);
        assert_eq!(&*raw::to_bytes(&shortened(&odd, false).unwrap()), [0xE9; 80]);
    }
}
