//! Statements that the session carries out itself.
use super::{Planner, session_plan};
use crate::error::PlanError;
use crate::fingerprint::{Literal, LiteralKind, literal_value};
use crate::plan::{
    Assignment, Effects, Plan, PrepareSource, Scope, SessionAction, SetValue, StatementClass,
};
use crate::sql::ast::{SetItem, SetItemKind, Span, Statement};
use crate::value::Value;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn session_statement(
        &self,
        statement: &Statement<'a>,
    ) -> Result<Option<Plan>, PlanError> {
        use SessionAction as A;
        use StatementClass as C;
        let (action, class) = match *statement {
            Statement::Begin { access, consistent } => {
                (A::Begin { access, consistent_snapshot: consistent }, C::Begin)
            }
            Statement::Commit { chain, release } => (A::Commit { chain, release }, C::Commit),
            Statement::Rollback { chain, release } => (A::Rollback { chain, release }, C::Rollback),
            Statement::Savepoint(name) => (A::Savepoint(name.to_owned()), C::Savepoint),
            Statement::RollbackTo(name) => (A::RollbackTo(name.to_owned()), C::Savepoint),
            Statement::ReleaseSavepoint(name) => {
                (A::ReleaseSavepoint(name.to_owned()), C::Savepoint)
            }
            Statement::Use(name) => (A::Use(name.trim().to_owned()), C::Use),
            Statement::Kill { query_only, whom, text } => {
                (A::Kill { query_only, whom, text: self.text(text) }, C::Kill)
            }
            Statement::Set(items) => {
                let all = items.iter().map(|i| self.assignment(i)).collect();
                (A::Set(all), C::Set)
            }
            Statement::Prepare { name, text, variable } => (
                A::Prepare { name: name.to_owned(), source: self.source(text, variable) },
                C::Prepare,
            ),
            Statement::Execute { name, using } => {
                (A::Execute { name: name.to_owned(), using: owned(using) }, C::Prepare)
            }
            Statement::ExecuteImmediate { text, variable, using } => {
                let source = self.source(text, variable);
                (A::ExecuteImmediate { source, using: owned(using) }, C::Prepare)
            }
            Statement::Deallocate(name) => (A::Deallocate { name: name.to_owned() }, C::Prepare),
            Statement::UnlockTables => (A::UnlockTables, C::Lock),
            _ => return Ok(None),
        };
        let mut plan = session_plan(action, class);
        if matches!(statement, Statement::UnlockTables) {
            plan.effects |= Effects::UNPIN;
        }
        if matches!(statement, Statement::Set(_)) {
            // A value may take a lock or assign other variables on the way.
            let kept = Effects::READS_VARIABLES | Effects::PIN | Effects::ASSIGNS_VARIABLES;
            plan.effects |= self.effects & kept;
        }
        Ok(Some(plan))
    }

    fn source(&self, text: Option<Span>, variable: Option<&str>) -> PrepareSource {
        match text {
            Some(span) => PrepareSource::Text(self.string(span)),
            None => PrepareSource::Variable(variable.unwrap_or_default().to_owned()),
        }
    }

    fn bytes(&self, span: Span) -> &'a [u8] {
        self.input
            .sql
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// For words and numbers, which are ASCII.
    fn text(&self, span: Span) -> String {
        String::from_utf8_lossy(self.bytes(span)).into_owned()
    }

    /// What a quoted text means.
    pub(super) fn string(&self, span: Span) -> Vec<u8> {
        let mut scratch = Vec::new();
        let literal = Literal { span: span.start..span.end, kind: LiteralKind::String };
        match literal_value(self.input.sql, &literal, &mut scratch, self.input.session.sql_mode) {
            Value::Bytes(bytes) | Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes) => {
                bytes.to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn assignment(&self, item: &SetItem<'a>) -> Assignment {
        let written = self.bytes(item.span).to_vec();
        let assigned = |name: String| [name.as_bytes(), b" = ", self.bytes(item.value)].concat();
        let sql = match item.scope {
            Scope::Session if !matches!(item.name, "names" | "character set" | "transaction") => {
                assigned(format!("@@session.{}", item.name))
            }
            Scope::Global
                if item.name != "transaction" && !written.windows(2).any(|w| w == b"@@") =>
            {
                // The scope's word may stand at an assignment before this one.
                assigned(format!("@@{}", self.global_name(&self.text(item.span), item.name)))
            }
            _ => written,
        };
        let guarded = item.scope == Scope::Session && super::privileged::is_guarded(item.name);
        let scope = match guarded && self.input.snapshot.drop_in.is_none() {
            true => Scope::Ignored,
            false => item.scope,
        };
        Assignment { scope, name: item.name.to_owned(), value: self.set_value(item), sql }
    }

    fn set_value(&self, item: &SetItem<'a>) -> SetValue {
        let text = self.text(item.value);
        let is_user = item.scope == Scope::User;
        match item.kind {
            SetItemKind::Default => SetValue::Default,
            SetItemKind::Literal if text.starts_with(['\'', '"']) => {
                let names = matches!(item.name, "names" | "character set");
                match String::from_utf8(self.string(item.value)) {
                    Ok(word) if names => SetValue::Literal(word),
                    Ok(plain) if !is_user && is_plain(&plain) => SetValue::Text(plain),
                    _ => SetValue::Expression(text),
                }
            }
            // Only a number, or a word that is no call in disguise (CURRENT_USER), is the same next
            // time.
            SetItemKind::Literal if is_user && !is_constant(&text) => SetValue::Expression(text),
            SetItemKind::Literal => SetValue::Literal(text.trim_matches('`').to_owned()),
            SetItemKind::Expression => match number(&text) {
                Some(number) => SetValue::Literal(number),
                None => SetValue::Expression(text),
            },
        }
    }

    fn global_name(&self, written: &str, name: &str) -> String {
        let first = written
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match first.as_str() {
            "persist" | "persist_only" => format!("{first}.{name}"),
            _ => format!("global.{name}"),
        }
    }
}

/// ASCII that no SQL mode reads otherwise.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'\'' | b'"' | b'\\' | b'`'))
}

fn is_constant(text: &str) -> bool {
    let word = ["null", "true", "false"]
        .iter()
        .any(|w| text.eq_ignore_ascii_case(w));
    word || text
        .as_bytes()
        .first()
        .is_some_and(|b| b.is_ascii_digit() || *b == b'.')
}

/// A signed number is as plain as an unsigned one.
fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-')?.trim_start();
    digits
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.')
        .then(|| format!("-{digits}"))
}
