//! `/*vt+ KEY=VALUE KEY ... */`: what a comment asks of the proxy.
use crate::plan::Directives;
use crate::sql::ast::Span;

/// Reads all directives of a statement; those that are not known mean nothing, as in Vitess.
pub(super) fn read(sql: &[u8], comments: &[Span]) -> Directives {
    let mut found = Directives::default();
    for span in comments {
        let text = sql
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default();
        let inner = text
            .get(5..text.len().saturating_sub(2))
            .unwrap_or_default();
        for word in String::from_utf8_lossy(inner).split_ascii_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            let value = value.trim_matches('"');
            let on = matches!(value.to_ascii_lowercase().as_str(), "1" | "true");
            match key.to_ascii_uppercase().as_str() {
                "ALLOW_SCATTER" => found.allow_scatter = on,
                "SCATTER_ERRORS_AS_WARNINGS" => found.scatter_errors_as_warnings = on,
                "IGNORE_MAX_MEMORY_ROWS" => found.ignore_max_memory_rows = on,
                "FINISH" => found.finish = on,
                "QUERY_TIMEOUT_MS" => found.query_timeout_ms = value.parse().ok(),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_and_without_values() {
        let sql = b"/*vt+ ALLOW_SCATTER query_timeout_ms=20 X=1 */ /*vt+ SCATTER_ERRORS_AS_WARNINGS=false*/";
        let found = read(sql, &[Span { start: 0, end: 46 }, Span { start: 47, end: sql.len() as u32 }]);
        let wanted = Directives { allow_scatter: true, query_timeout_ms: Some(20), ..Directives::default() };
        assert_eq!(found, wanted);
    }
}
