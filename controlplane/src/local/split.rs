//! Splits a file of SQL into statements: `DELIMITER` as the `mysql` client knows it; without one a
//! statement ends where a server says, so that a routine is whole.
use coregate_planner::fingerprint::{SqlMode, end_of_first};

/// The statements of a file, without their delimiters. Comments stay (they may be `/*! ... */`);
/// what is nothing but comments is left out.
pub fn statements(sql: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut delimiter = ";".to_owned();
    let mut start = 0;
    let mut at = 0;
    let mut content = false;
    while at < sql.len() {
        let rest = &sql[at..];
        if !content && let Some((new, length)) = delimiter_line(rest) {
            delimiter = new;
            at += length;
            start = at;
        } else if !content
            && delimiter == ";"
            && begins(rest)
            && let Ok(length) = end_of_first(rest.as_bytes(), SqlMode::empty())
        {
            at += length.min(rest.len());
            content = true;
        } else if rest.starts_with(&delimiter) {
            push(&mut out, &sql[start..at], content);
            at += delimiter.len();
            (start, content) = (at, false);
        } else if let Some(length) = comment(rest) {
            content |= rest.starts_with("/*!") || rest.starts_with("/*M!");
            at += length;
        } else if let Some(quote) = rest
            .chars()
            .next()
            .filter(|c| matches!(c, '\'' | '"' | '`'))
        {
            content = true;
            at += quoted(rest, quote);
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            content |= !c.is_whitespace();
            at += c.len_utf8();
        }
    }
    push(&mut out, &sql[start..], content);
    out
}

fn push(out: &mut Vec<String>, statement: &str, content: bool) {
    if content {
        out.push(statement.trim().to_owned());
    }
}

/// Does a statement begin here? Comments that servers run are part of one.
fn begins(rest: &str) -> bool {
    let versioned = rest.starts_with("/*!") || rest.starts_with("/*M!");
    !rest.starts_with(|c: char| c.is_whitespace() || c == ';')
        && (versioned || comment(rest).is_none())
}

/// `DELIMITER x` on a line of its own: the new one, and the line's length.
fn delimiter_line(rest: &str) -> Option<(String, usize)> {
    const WORD: &str = "delimiter";
    let line = rest.split_inclusive('\n').next()?;
    let head = line.get(..WORD.len())?;
    let tail = &line[WORD.len()..];
    if !head.eq_ignore_ascii_case(WORD) || !tail.starts_with([' ', '\t']) {
        return None;
    }
    let new = tail.split_whitespace().next()?;
    Some((new.to_owned(), line.len()))
}

/// The length of a comment that begins here. One that is not closed goes to the end.
fn comment(rest: &str) -> Option<usize> {
    let line = rest.starts_with('#')
        || rest
            .strip_prefix("--")
            .is_some_and(|r| r.is_empty() || r.starts_with([' ', '\t', '\n', '\r']));
    if line {
        return Some(rest.find('\n').map_or(rest.len(), |end| end + 1));
    }
    rest.starts_with("/*")
        .then(|| rest[2..].find("*/").map_or(rest.len(), |end| end + 4))
}

/// The length of a quoted string that begins here, quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            // A doubled quote ends one string and begins the next: the same in the end.
            return at + 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_delimiters() {
        let split = |sql: &str| statements(sql).join("|");
        assert_eq!(split("a;b ;\n\n;c"), "a|b|c");
        assert_eq!(
            split("insert 'x;y' , \"a;\\\"b\", `c;d`; z"),
            "insert 'x;y' , \"a;\\\"b\", `c;d`|z"
        );
        assert_eq!(split("select 'it''s;'; b"), "select 'it''s;'|b");
        assert_eq!(
            split("-- no; \n# no;\n/* no; */\n a -- ;\n;"),
            "-- no; \n# no;\n/* no; */\n a -- ;"
        );
        assert_eq!(split("-- only\n; /* */ ;"), "");
        assert_eq!(split("/*!40101 set names utf8 */; a--1;"), "/*!40101 set names utf8 */|a--1");
        let sql = "a;\nDELIMITER //\nbegin x; y; end//\ndelimiter ;\nb;";
        assert_eq!(split(sql), "a|begin x; y; end|b");
        assert_eq!(split("'open; b"), "'open; b");
        assert_eq!(split("ä; 'ö;'"), "ä|'ö;'");
        let routine = "create procedure p() begin declare a int; if a then select 1; end if; end";
        assert_eq!(split(&format!("a; {routine}; b;")), format!("a|{routine}|b"));
        assert_eq!(
            split("-- c\ncreate trigger t before insert on x for each row set new.a = 1; b"),
            "-- c\ncreate trigger t before insert on x for each row set new.a = 1|b"
        );
    }
}
