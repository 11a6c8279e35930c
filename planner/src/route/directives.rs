//! `/*vt+ KEY=VALUE KEY ... */`: what a comment asks of the proxy.
use crate::error::PlanError;
use crate::plan::Directives;
use crate::sql::ast::Span;

/// The least important statements have it.
const PRIORITY_MAX: u8 = 100;

/// Characters of a workload's name that are kept.
const WORKLOAD_CHARS_MAX: usize = 64;

/// # Errors
/// [`PlanError::Priority`], as in Vitess, for a PRIORITY that is none.
pub(super) fn check(sql: &[u8], comments: &[Span]) -> Result<(), PlanError> {
    match read(sql, comments).priority {
        Some(None) => Err(PlanError::Priority),
        _ => Ok(()),
    }
}

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
                "WORKLOAD_NAME" => {
                    let name: String = value.chars().take(WORKLOAD_CHARS_MAX).collect();
                    found.workload_name = Some(name.into());
                }
                "PRIORITY" => {
                    found.priority = Some(value.parse().ok().filter(|n| *n <= PRIORITY_MAX))
                }
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
        let sql = b"/*vt+ ALLOW_SCATTER query_timeout_ms=20 X=1 */ /*vt+ \
            SCATTER_ERRORS_AS_WARNINGS=false*/";
        let found =
            read(sql, &[Span { start: 0, end: 46 }, Span { start: 47, end: sql.len() as u32 }]);
        let wanted =
            Directives { allow_scatter: true, query_timeout_ms: Some(20), ..Directives::default() };
        assert_eq!(found, wanted);
    }

    #[test]
    fn workloads_and_priorities() {
        let of = |sql: &str| {
            let span = Span { start: 0, end: sql.len() as u32 };
            (read(sql.as_bytes(), &[span]), check(sql.as_bytes(), &[span]))
        };
        let (found, fine) = of("/*vt+ WORKLOAD_NAME=nightly-report PRIORITY=0 */");
        assert_eq!(
            (found.workload_name.as_deref(), found.priority),
            (Some("nightly-report"), Some(Some(0)))
        );
        assert!(fine.is_ok());
        assert!(of("/*vt+ PRIORITY=100 */").1.is_ok() && of("/*vt+ PRIORITY=\"7\" */").1.is_ok());
        for text in ["PRIORITY=101", "PRIORITY=-1", "PRIORITY=high", "PRIORITY="] {
            assert_eq!(of(&format!("/*vt+ {text} */")).1, Err(PlanError::Priority), "{text}");
        }
        let long = format!("/*vt+ WORKLOAD_NAME={} */", "ä".repeat(500));
        assert_eq!(of(&long).0.workload_name.unwrap().chars().count(), WORKLOAD_CHARS_MAX);
    }
}
