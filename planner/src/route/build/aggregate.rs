//! Aggregates whose parts several shards can compute.
use super::kind::Kind;
use super::shape::{Shape, around};
use super::visible::find;
use crate::collation::Collation;
use crate::plan::tree::{Function, TextKey};
use crate::plan::{Piece, verbatim};
use crate::sql::ast::{Call, Expr, ExprKind};
use std::sync::Arc;

impl<'a> Shape<'_, '_, 'a> {
    /// What becomes of an expression that is an aggregate; `grouped`: there are no groups without
    /// rows.
    pub(super) fn aggregate(&mut self, expr: &Expr<'a>, grouped: bool) -> Option<Function> {
        let ExprKind::Call(call) = &expr.kind else { return None };
        if call.window || call.clauses || call.database.is_some() {
            return None;
        }
        let name = call.name.to_ascii_lowercase();
        // Of the least and the greatest value it does not matter.
        let distinct = if call.distinct && name != "min" && name != "max" {
            self.over_distinct(call)?;
            "DISTINCT "
        } else {
            ""
        };
        if name == "count" && call.distinct {
            return Some(Function::Count);
        }
        let [arg] = call.args else { return None };
        Some(match name.as_str() {
            "count" => Function::Count,
            "sum" => Function::Sum,
            "avg" => {
                let text = self.text(arg.span);
                let sum = self.hide(around(&format!("SUM({distinct}"), text.clone(), ")"))?;
                let count = self.hide(around(&format!("COUNT({distinct}"), text, ")"))?;
                Function::Avg { sum, count }
            }
            "min" => Function::Least { text: self.extreme(call, arg, expr)? },
            "max" => Function::Greatest { text: self.extreme(call, arg, expr)? },
            "bit_and" if self.is_integer(arg) => Function::BitAnd,
            "bit_or" if self.is_integer(arg) => Function::BitOr,
            "bit_xor" if self.is_integer(arg) => Function::BitXor,
            "any_value" if grouped => Function::First,
            _ => return None,
        })
    }

    /// How MIN and MAX compare.
    fn extreme(
        &mut self,
        call: &Call<'a>,
        arg: &Expr<'a>,
        whole: &Expr<'a>,
    ) -> Option<Option<TextKey>> {
        let weight = |column, collation| TextKey::Weight { column, ascii: false, collation };
        if let ExprKind::Column(name) = &arg.kind
            && let Some(found) = find(name, self.sources)
        {
            let zeros = |kind: &String| kind.contains("zerofill");
            self.filled |= found.column.data_type == "year"
                || found.column.column_type.as_ref().is_some_and(zeros);
        }
        Some(match self.kind(arg)? {
            Kind::Number | Kind::Float => None,
            Kind::Bytes => Some(TextKey::Bytes),
            Kind::Text(text) => {
                let column = self.hide(around("WEIGHT_STRING(", self.text(whole.span), ")"))?;
                Some(weight(column, text.collation))
            }
            Kind::Timestamp => {
                // Seconds, which are all of one length: an hour comes twice when clocks are set
                // back.
                let name = if call.name.eq_ignore_ascii_case("min") { "MIN" } else { "MAX" };
                let seconds = around(
                    &format!("LPAD({name}(UNIX_TIMESTAMP("),
                    self.text(arg.span),
                    ")),24,'0')",
                );
                let column = self.hide(seconds)?;
                let bytes =
                    Collation { name: "binary".into(), binary: true, ..Collation::default() };
                Some(weight(column, Arc::new(bytes)))
            }
            Kind::Index => return None,
        })
    }
}

/// The same text.
pub(super) fn is_constant(expr: &Expr<'_>) -> bool {
    matches!(expr.kind, ExprKind::Literal(_) | ExprKind::Null | ExprKind::Bool | ExprKind::Param(_))
}

pub(super) fn order_by(positions: &str) -> Vec<Piece> {
    vec![verbatim(format!("ORDER BY {positions}"))]
}
