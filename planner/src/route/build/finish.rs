//! What one server must answer: every table's rows are gathered for it, and it runs the statement
//! over them.
use super::super::Planner;
use super::super::text::{Edits, quoted};
use super::keyed::Step;
use super::refs::References;
use crate::error::PlanError;
use crate::plan::tree::{Described, Finish, Form, Tree};
use crate::plan::{Effects, verbatim};
use crate::sql::ast::{ExprKind, Query, Span};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use ahash::AHashSet;

impl<'a> Planner<'_, 'a> {
    /// The plan for a query in which rows of several shards meet.
    pub(in crate::route) fn finished(
        &mut self,
        query: &'a Query<'a>,
        why: &str,
    ) -> Result<Tree, PlanError> {
        self.check_words()?;
        let all = References::of(self, query)?;
        if all.constants {
            return Err(PlanError::unsupported(
                "a parameter alone in ORDER BY or GROUP BY, in a statement that several shards \
                    must answer together",
            ));
        }
        let order = all.in_order();
        unique_names(&all)?;
        let words = self.words();
        let mut edits = self.edits.clone();
        self.leave_out(&all.qualifiers, &mut edits)?;
        let mut finish = Finish { why: why.to_owned(), ..Finish::default() };
        let (mut leaves, mut steps) = (Vec::new(), Vec::new());
        let mut text = edits.clone();
        for (at, &n) in order.iter().enumerate() {
            let Some(reference) = all.list.get(n) else { continue };
            let start = leaves.len();
            let (leaf, gather) = if reference.system {
                self.gather_system(at, reference, &edits, &mut leaves, &mut finish);
                (None, format!("_coregate_g{at}"))
            } else {
                let (leaf, gather) = self.gather(at, reference, &all, &words, &edits)?;
                let table = gather.table.clone();
                finish.gathers.push(gather);
                (Some(leaf), table)
            };
            let alias = if reference.bare {
                String::new()
            } else {
                format!(" AS {}", quoted(reference.name.exposed()))
            };
            let name = verbatim(format!("{}{alias}", quoted(&gather)));
            text.replace_all(reference.name.full_span, vec![name]);
            leaves.extend(leaf);
            steps.push(Step { reference: n, at: start..leaves.len() });
        }
        self.key(&all, &steps, &mut leaves, &mut finish);
        let cacheable = self.keep_names(&all, &mut text);
        let system = all.list.iter().any(|r| r.system);
        for &span in &all.locks {
            text.replace_all(span, Vec::new());
        }
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        finish.text = text.pieces(self.input.sql, self.tokens, Span { start: self.start, end });
        self.cacheable &= cacheable;
        // The rows that it found are counted where it is finished.
        finish.found_rows = self.effects.contains(Effects::CALC_FOUND_ROWS);
        self.effects -= Effects::CALC_FOUND_ROWS;
        let described = if self.several || system { Described::Finished } else { self.described() };
        Ok(Tree { leaves, form: Form::Finish(finish), described })
    }

    /// Takes keyspaces' names, with their dots, away from columns.
    fn leave_out(&self, qualifiers: &[Span], edits: &mut Edits) -> Result<(), PlanError> {
        for &span in qualifiers {
            // Alone, `5` and a dot begin a number.
            let next = self.input.sql.get(span.end as usize);
            if next.is_some_and(u8::is_ascii_digit) {
                return Err(PlanError::unsupported(
                    "names that begin with digits, behind a keyspace's name",
                ));
            }
            edits.replace_all(span, Vec::new());
        }
        Ok(())
    }

    /// Refuses what means something of the table itself, which its rows do not have.
    fn check_words(&self) -> Result<(), PlanError> {
        let items = self.tokens.items;
        for (n, item) in items.iter().enumerate() {
            let call = items.get(n + 1).is_some_and(|i| i.tok == Tok::Open);
            let after_dot = n
                .checked_sub(1)
                .and_then(|b| items.get(b))
                .is_some_and(|b| b.tok == Tok::Dot);
            match item.kw {
                Kw::Match if call && !after_dot => {
                    return Err(PlanError::unsupported(
                        "MATCH ... AGAINST in a statement that several shards must answer together",
                    ));
                }
                Kw::Default if call && !after_dot => {
                    return Err(PlanError::unsupported(
                        "DEFAULT(column) in a statement that several shards must answer together",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every word and name of the statement, in lower case: among them are all columns that it
    /// names.
    fn words(&self) -> AHashSet<String> {
        let names = self.tokens.items.iter().filter_map(|item| {
            let text = self
                .input
                .sql
                .get(item.span.start as usize..item.span.end as usize)?;
            let text = String::from_utf8_lossy(text);
            match item.tok {
                Tok::Word => Some(text.to_lowercase()),
                Tok::Quoted => {
                    let inner = text.get(1..text.len().saturating_sub(1))?;
                    let once = if text.starts_with('`') {
                        inner.replace("``", "`")
                    } else {
                        inner.replace("\"\"", "\"")
                    };
                    Some(once.to_lowercase())
                }
                _ => None,
            }
        });
        names.collect()
    }

    /// An expression is called by its text: where that changes, the client's is given as an alias.
    /// Returns whether the plan can be kept.
    fn keep_names(&self, all: &References<'_, '_, 'a>, text: &mut Edits) -> bool {
        let mut cacheable = true;
        for item in &all.items {
            let span = Span { start: item.expr.span.start, end: item.end };
            let inside = |s: &Span| s.start >= span.start && s.end <= span.end;
            let column = matches!(item.expr.kind, ExprKind::Column(_) | ExprKind::Star(_));
            let param = self
                .tokens
                .items
                .iter()
                .any(|i| i.tok == Tok::Param && inside(&i.span));
            let changed = param
                || all.qualifiers.iter().any(inside)
                || all.list.iter().any(|r| inside(&r.name.full_span));
            if column || !changed || text.has_insert(span.end) {
                continue;
            }
            text.insert(span.end, self.called(span));
            // The plan's text is shared by statements that differ in literals and blanks; this name
            // is not.
            cacheable = false;
        }
        cacheable
    }
}

impl References<'_, '_, '_> {
    /// The references as they stand in the text.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|&n| self.list.get(n).map(|r| r.name.span.start));
        order
    }
}

/// Two tables of one name in one statement can be told apart by their databases only, which the
/// temporary ones do not have.
fn unique_names(all: &References<'_, '_, '_>) -> Result<(), PlanError> {
    for (n, one) in all.list.iter().enumerate() {
        let clash = all.list.iter().skip(n + 1).any(|other| {
            other.keyspace != one.keyspace && other.name.exposed() == one.name.exposed()
        });
        if clash {
            return Err(PlanError::unsupported(format!(
                "two tables that are both called '{}', of different keyspaces, in one statement; \
                    give each an alias",
                one.name.exposed()
            )));
        }
    }
    Ok(())
}
