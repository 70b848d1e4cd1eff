//! `return`, `break` and `continue`.

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::Checker;
use super::body::RESULT;
use super::errors::{error_expr, mk};
use crate::thir::{Expr, ExprKind};
use crate::ty::Ty;

impl Checker<'_> {
    /// `return`, `break`, `continue`.
    pub(super) fn flow(&mut self, e: &ast::Expr) -> Expr {
        match &e.kind {
            A::Return(value) => {
                let Some(result) = self.body.result.clone() else {
                    self.error(Diagnostic::error(
                        code::E0310,
                        "`return` outside of a function",
                        e.span,
                        "nothing to return from",
                    ));
                    return error_expr(e.span);
                };
                let value = match value {
                    Some(v) => {
                        if result.is_unit() && self.body.ends.iter().all(|(what, ..)| what != RESULT) {
                            let value = self.statement(|cx| cx.expr(v, None));
                            let t = self.zonk(&value.ty);
                            if !t.is_unit() && !super::errors::has_error(&t) {
                                let text =
                                    format!("`return` with {}, but the function has no result type", self.show_ty(&t));
                                self.error(
                                    Diagnostic::error(code::E0301, text, v.span, self.show_ty(&t))
                                        .help(format!("write it after the parameters: `-> {}`", self.show_ty(&t))),
                                );
                            }
                            return mk(ExprKind::Return(Some(Box::new(value))), Ty::Never, e.span);
                        }
                        Some(Box::new(self.statement(|cx| cx.check_as(v, &result, RESULT))))
                    }
                    None => {
                        let t = self.zonk(&result);
                        if !t.is_unit() && !super::errors::has_error(&t) {
                            let text = format!("`return` without a value, but the result is {}", self.show_ty(&t));
                            let mut d = Diagnostic::error(code::E0301, text, e.span, "returns nothing")
                                .help("write `return x`; the last expression of a function needs no `return`");
                            if let Some((_, at, _)) = self.body.ends.iter().find(|(what, ..)| what == RESULT) {
                                d = d.label(*at, "declared here");
                            }
                            self.error(d);
                        }
                        None
                    }
                };
                mk(ExprKind::Return(value), Ty::Never, e.span)
            }
            other => {
                let (kind, name) = if matches!(other, A::Break) {
                    (ExprKind::Break, "break")
                } else {
                    (ExprKind::Continue, "continue")
                };
                if !self.body.in_loop {
                    self.error(Diagnostic::error(
                        code::E0310,
                        format!("`{name}` outside of a loop"),
                        e.span,
                        "no loop around",
                    ));
                    return error_expr(e.span);
                }
                mk(kind, Ty::Never, e.span)
            }
        }
    }
}
