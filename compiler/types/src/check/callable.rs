//! A struct with a method `call` where a function is asked for: the lambda that calls it.

use tdl_syntax::ast::{self, ExprKind as A, Ident};

use super::{Checker, Entry};
use crate::thir::{Expr, ExprKind};
use crate::ty::{FnTy, Ty};

/// What the lambda calls; no name of a program is written like this.
const CALLEE: &str = "<callable>";

impl Checker<'_> {
    /// The value as a function, of the type that is wanted if there is one; what cannot be called stays as it is.
    pub(super) fn as_function(&mut self, e: Expr, wanted: Option<&FnTy>) -> Expr {
        let Ty::Struct(id, _) = self.zonk(&e.ty) else { return e };
        let Some(func) = self.method_of(id, "call").filter(|f| !self.takes_mut_self(*f)) else { return e };
        let span = e.span;
        let own = self.program.fns[func.index()].params.iter().skip(1).map(|p| p.name.clone());
        let names: Vec<Ident> = match wanted {
            // defaults may stand for the last ones
            Some(f) => own.take(f.params.len()),
            None => own.take(usize::MAX),
        }
        .map(|name| Ident { name: (*name).into(), span })
        .collect();
        let local = match e.kind {
            ExprKind::Local(local) => local,
            _ => self.temp(e),
        };
        let name = |name: &Ident| ast::Expr { kind: A::Name(name.clone()), span };
        let callee = Box::new(name(&Ident { name: CALLEE.into(), span }));
        let args = names.iter().map(|n| ast::Arg { label: None, value: name(n) }).collect();
        let param = |name: Ident| ast::Param { mutable: false, name, ty: None, default: None, span };
        let body = Box::new(ast::Expr { kind: A::Call { callee, args, args_span: span }, span });
        let params = names.into_iter().map(param).collect();
        let lambda = ast::Expr { kind: A::Lambda { params, result: None, body }, span };
        self.push_names();
        self.bind_name(CALLEE, Entry::Local(local));
        let f = match wanted {
            Some(f) => self.check_lambda(&lambda, f),
            None => self.lambda(&lambda, None),
        };
        self.pop_names();
        f
    }
}
